//! What is restarted with a service that it needs (`dependsOn: [{restart: true}]`).

use super::run::Run;
use crate::plan::draft::Draft;
use crate::resource::ResourceKey;
use crate::resource::observed::{Container, RunState};

impl Run<'_> {
    /// The service that `current` is to be restarted with: one that was started after it, by whomever, and
    /// is what it waits for again. Judged from what the engine says of both, so that a restart is asked for
    /// once, whoever has seen or done what.
    pub fn restarted_dependency(&self, d: &mut Draft<'_>, current: &Container) -> Option<&ResourceKey> {
        // One that is being replaced is started anew anyway, or is restarted after that.
        let is_at_rest = current.state == RunState::Running && self.cast.old.is_none();
        let started_at = current.started_at.filter(|_| is_at_rest && self.compares())?;
        for dependency in self.cx.deps.iter().filter(|x| x.restarts && x.is_met_anew()) {
            let Some(at) = dependency.facts.started_at.filter(|at| *at > started_at) else { continue };
            if at <= self.cx.engine_now {
                return Some(&dependency.key);
            }
            // Somebody has set the engine's clock back: what is restarted now would have been started before
            // it still, again and again.
            d.wake(Some(self.cx.now.plus(at.since(self.cx.engine_now))));
        }
        None
    }
}
