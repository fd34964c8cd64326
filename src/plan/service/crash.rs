//! What ended by itself, what was ended by somebody, and how long the former is held back.

use super::run::Run;
use super::steps::own_policy;
use crate::clock::Timestamp;
use crate::plan::draft::Draft;
use crate::plan::types::{Cause, Gate};
use crate::resource::observed::Container;
use crate::resource::spec::RestartPolicy;
use crate::resource::status::Reason;
use crate::resource::units::human_duration;

/// A container that has ended although its policy would have had Docker start it again: by hand, in
/// an outage of the engine, or on purpose by us, who take its policy away first.
pub(super) fn was_stopped(container: &Container) -> bool {
    match container.config.restart {
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { max_retries } => {
            container.exit_code != Some(0) && (max_retries == 0 || container.restarts < u64::from(max_retries))
        }
        RestartPolicy::No => own_policy(container) != RestartPolicy::No,
    }
}

/// Where a start failed, `State.Error` is set, and the exit code says nothing.
pub(super) fn start_failed(container: &Container) -> bool {
    container.error.as_deref().is_some_and(|e| !e.is_empty())
}

impl Run<'_> {
    /// Why an ended container is started again.
    pub fn cause_of_start(&self, ended: &Container) -> Cause {
        if self.cx.restart_asked {
            Cause::Requested
        } else if was_stopped(ended) || start_failed(ended) {
            Cause::NotRunning
        } else {
            Cause::Exited
        }
    }

    /// P13. `what` happened, at a time on the engine's clock where that is known. Says whether it is held back.
    pub fn hold_back(&self, d: &mut Draft<'_>, what: &str, ended_at: Option<Timestamp>) -> bool {
        let (restarts, now) = (self.cx.restarts, self.cx.now);
        // A failed attempt has its own pause, which is said already.
        let Some(at) = restarts.next_at(ended_at, now).filter(|_| d.first_gate().is_none()) else {
            return false;
        };
        let times = restarts.nth(ended_at.filter(|at| *at <= now).unwrap_or(now));
        let text = format!("{what} ({times}); started again in {}", human_duration(at.since(now)));
        if restarts.count() >= self.cx.policy.max_attempts {
            d.stalled = Some((Reason::CrashLoop, text.clone()));
        }
        d.reconciling = Some((Reason::CrashLoop, text));
        d.gate(Gate::Backoff(at));
        d.wake(Some(at));
        true
    }
}
