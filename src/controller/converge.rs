//! Runs the loop until there is nothing left to do: `apply` and `down`.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Controller, ControllerError};
use crate::engine::Engine;
use crate::resource::ResourceKey;
use crate::resource::overall::{Overall, is_gone};
use crate::resource::status::Status;

/// What to run towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything desired is converged, and what is pruned is gone.
    Converged,
    /// Nothing is left on the engine.
    Gone,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Reached,
    /// What has not reached the goal is stalled: waiting longer helps nobody.
    Stuck,
    TimedOut,
    Interrupted,
}

impl<E: Engine> Controller<E> {
    /// Runs until the goal is reached, nothing can progress any more, the time is over, or `interrupt`
    /// resolves. `tell` hears of every status as it changes.
    ///
    /// # Errors
    /// Where the loop itself failed.
    pub async fn converge(
        &self,
        goal: Goal,
        within: Option<Duration>,
        interrupt: impl Future<Output = ()>,
        mut tell: impl FnMut(&ResourceKey, Option<&Status>),
    ) -> Result<Ending, ControllerError> {
        let shutdown = CancellationToken::new();
        let until = within.map(|d| Instant::now() + d);
        let watch = async {
            tokio::pin!(interrupt);
            let mut news = self.status().subscribe();
            let mut seen = 0;
            loop {
                news.borrow_and_update();
                let changes;
                (seen, changes) = self.status().since(seen);
                for (key, status) in &changes {
                    tell(key, status.as_deref());
                }
                if let Some(ending) = self.ending(goal) {
                    return ending;
                }
                tokio::select! {
                    // Whoever interrupts wants out, whatever else happens at this moment.
                    biased;
                    () = &mut interrupt => return Ending::Interrupted,
                    _ = news.changed() => {}
                    () = async { match until { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                        return Ending::TimedOut;
                    }
                }
            }
        };
        let run = self.run(shutdown.clone());
        tokio::pin!(watch, run);
        let ending = tokio::select! {
            biased;
            ending = &mut watch => ending,
            // It was not asked to end, so it says why it did.
            ended = &mut run => return ended.map(|()| Ending::Interrupted),
        };
        shutdown.cancel();
        run.await?;
        Ok(ending)
    }

    fn ending(&self, goal: Goal) -> Option<Ending> {
        let statuses = self.status().snapshot();
        let status = |key: &ResourceKey| statuses.get(key).map(|s| &**s);
        let mut leaving = self.removing();
        leaving.retain(|key| !status(key).is_some_and(is_left));
        let leaving_stuck = leaving.iter().all(|key| status(key).is_some_and(Status::is_stalled));
        let (reached, stuck) = match goal {
            Goal::Converged => {
                let overall = self.overall(&statuses);
                (overall.converged, overall.converged || overall.stuck)
            }
            Goal::Gone => (true, true),
        };
        if reached && leaving.is_empty() {
            Some(Ending::Reached)
        } else {
            (stuck && leaving_stuck).then_some(Ending::Stuck)
        }
    }

    /// Of everything that is desired, broken manifests included.
    pub fn overall(&self, statuses: &BTreeMap<ResourceKey, Arc<Status>>) -> Overall {
        let keys = self.known();
        Overall::of(keys.iter().map(|key| statuses.get(key).map(|s| &**s)))
    }
}

/// Gone, or (a volume) kept.
fn is_left(status: &Status) -> bool {
    is_gone(status) || (status.settled && status.ready)
}
