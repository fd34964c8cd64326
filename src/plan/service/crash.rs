//! What ended by itself, what was ended by somebody, and how long the former is held back.

use super::steps::own_policy;
use crate::clock::Timestamp;
use crate::plan::draft::Draft;
use crate::plan::types::{Cause, Gate, PlanContext};
use crate::resource::observed::Container;
use crate::resource::spec::RestartPolicy;
use crate::resource::status::Reason;
use crate::resource::units::human_duration;

/// A container that has ended although its policy would have had Docker start it again: by hand, in
/// an outage of the engine, or on purpose by us, who take its policy away first.
///
/// `asked`: by its manifest. Where that is `no` for Docker, its absence tells nothing: what we start
/// ourselves has then ended, one way or another, and is held back if it goes on doing so (P13).
pub(super) fn was_stopped(container: &Container, asked: RestartPolicy) -> bool {
    match container.config.restart {
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { max_retries } => {
            container.exit_code != Some(0) && (max_retries == 0 || container.restarts < u64::from(max_retries))
        }
        RestartPolicy::No | RestartPolicy::Managed => {
            own_policy(container).on_engine() != RestartPolicy::No && asked.on_engine() != RestartPolicy::No
        }
    }
}

/// Where a start failed, `State.Error` is set, and the exit code says nothing.
pub(super) fn start_failed(container: &Container) -> bool {
    container.error.as_deref().is_some_and(|e| !e.is_empty())
}

/// Why an ended container is started again, of which the manifest asks for this policy.
pub(super) fn cause_of_start(ended: &Container, asked: RestartPolicy, cx: &PlanContext<'_>) -> Cause {
    if cx.asks_to_restart(ended) {
        Cause::Requested
    } else if was_stopped(ended, asked) || start_failed(ended) {
        Cause::NotRunning
    } else {
        Cause::Exited
    }
}

/// P13. `what` happened, at a time on the engine's clock where that is known. Says whether the first
/// stage is held back.
pub(super) fn hold_back(d: &mut Draft<'_>, cx: &PlanContext<'_>, what: &str, ended_at: Option<Timestamp>) -> bool {
    let (restarts, now) = (cx.restarts, cx.now);
    // A failed attempt has its own pause, which is said already.
    let Some(at) = restarts.next_at(ended_at, now).filter(|_| d.first_gate().is_none()) else {
        return false;
    };
    let times = restarts.nth(ended_at.filter(|at| *at <= now).unwrap_or(now));
    let text = format!("{what} ({times}); started again in {}", human_duration(at.since(now)));
    if restarts.count() >= cx.policy.max_attempts {
        d.stalled = Some((Reason::CrashLoop, text.clone()));
    }
    d.reconciling = Some((Reason::CrashLoop, text));
    d.gate(Gate::Backoff(at));
    d.wake(Some(at));
    true
}
