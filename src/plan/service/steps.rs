//! The few sequences that every decision is made of.

use std::time::Duration;

use crate::plan::types::{Cause, Op, Step, Target};
use crate::resource::observed::{Container, RunState};
use crate::resource::spec::RestartPolicy;

pub(super) fn existing(container: &Container) -> Target {
    Target::Existing { id: container.id.clone(), name: container.name.clone() }
}

pub(super) fn step(op: Op, cause: Cause) -> Step {
    Step { op, cause }
}

pub(super) fn rename(container: &Container, to: &str, cause: Cause) -> Step {
    step(Op::Rename { target: existing(container), to: to.to_owned() }, cause)
}

pub(super) fn start(container: &Container, cause: Cause) -> Step {
    step(Op::Start(existing(container)), cause)
}

pub(super) fn set_policy(container: &Container, policy: RestartPolicy, cause: Cause) -> Option<Step> {
    let policy = policy.on_engine();
    let op = Op::SetRestartPolicy { target: existing(container), policy };
    (container.config.restart != policy).then(|| step(op, cause))
}

/// The policy that it was created with. What is stopped on purpose has lost it (a managed one had none
/// on the engine, and so nothing tells that it was stopped).
pub(super) fn own_policy(container: &Container) -> RestartPolicy {
    container.owner.restart_policy.unwrap_or(container.config.restart)
}

/// Stops it for good. Policy `no` first: the engine starts the others when it starts itself.
pub(super) fn hush(container: &Container, grace: Duration, cause: Cause) -> Vec<Step> {
    let stop = Op::Stop { target: existing(container), grace };
    set_policy(container, RestartPolicy::No, cause)
        .into_iter()
        .chain(container.is_running().then(|| step(stop, cause)))
        .collect()
}

/// Removes it, without its volumes; one that runs gets its grace.
pub(super) fn discard(container: &Container, grace: Duration, cause: Cause) -> Vec<Step> {
    let mut steps = if container.is_running() { hush(container, grace, cause) } else { Vec::new() };
    if container.state != RunState::Removing {
        steps.push(step(Op::RemoveContainer(existing(container)), cause));
    }
    steps
}

/// Neither rename nor connect works while Docker waits to start it again, so it is stopped first.
pub(super) fn rename_from_any_state(container: &Container, to: &str, grace: Duration, cause: Cause) -> Vec<Step> {
    let mut steps = if container.state == RunState::Restarting { hush(container, grace, cause) } else { Vec::new() };
    steps.push(rename(container, to, cause));
    steps
}

/// The same container once more.
pub(super) fn stop_and_start(container: &Container, grace: Duration, cause: Cause) -> Vec<Step> {
    let stop = Op::Stop { target: existing(container), grace };
    vec![step(stop, cause), start(container, cause)]
}

/// Lets it serve again as it did before it was stopped on purpose.
pub(super) fn take_up(container: &Container, cause: Cause) -> Vec<Step> {
    [start(container, cause)].into_iter().chain(set_policy(container, own_policy(container), cause)).collect()
}
