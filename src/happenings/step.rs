//! What env-manager did.

use super::happening;
use crate::plan::{Cause, Op, Step};
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::labels::{FAILED, NEXT, OLD};

/// A step that was taken, or that failed with `Err(why)` (without secrets, as all errors of the engine).
///
/// `generation`: of the spec, 0 where it is not known.
///
/// `None`: nothing that anybody would want to be told.
pub fn step(key: &ResourceKey, step: &Step, generation: u64, outcome: Result<(), &str>) -> Option<Happening> {
    if let Err(why) = outcome {
        let what = format!("{}: {why}", step.op);
        return Some(happening(key, EventReason::ActionFailed, what, Actor::EnvManager));
    }
    let (reason, what) = told(step, generation)?;
    let message = match cause(step.cause) {
        Some(cause) => format!("{what} ({cause})"),
        None => what,
    };
    Some(happening(key, reason, message, Actor::EnvManager))
}

/// Where it says more than the step itself.
fn cause(cause: Cause) -> Option<String> {
    match cause {
        Cause::Missing => None,
        cause => Some(cause.to_string()),
    }
}

fn told(step: &Step, generation: u64) -> Option<(EventReason, String)> {
    Some(match &step.op {
        Op::CreateContainer(create) => {
            let image = &create.service.spec.container.image;
            let role =
                if create.name.ends_with(NEXT) { format!("{}, the replacement, ", create.name) } else { String::new() };
            let generation = if generation == 0 { String::new() } else { format!(", generation {generation}") };
            (EventReason::Created, format!("{role}from image {image}{generation}"))
        }
        Op::Connect { target, endpoint } => {
            (EventReason::Connected, format!("{} to network {}", target.name(), endpoint.attachment.network))
        }
        Op::Disconnect { target, network, .. } => {
            (EventReason::Disconnected, format!("{} from network {network}", target.name()))
        }
        Op::Upload { target, service, .. } => {
            let files: Vec<_> = service.spec.container.files.iter().map(|f| f.target.as_str()).collect();
            (EventReason::FilesUploaded, format!("{} into {}", files.join(", "), target.name()))
        }
        Op::Reload { target, signal, .. } => (
            EventReason::Signalled,
            format!("{signal} to the process of {}, since its files have changed", target.name()),
        ),
        Op::SetRestartPolicy { target, policy } => {
            (EventReason::Updated, format!("restart policy of {} set to {policy}", target.name()))
        }
        Op::UpdateLimits { target, limits } => {
            (EventReason::Updated, format!("limits of {} set to {limits}", target.name()))
        }
        // Its stop has told of itself.
        Op::Start(target) if step.cause == Cause::LivenessFailed => {
            (EventReason::Restarted, format!("container {}", target.name()))
        }
        Op::Start(target) => (EventReason::Started, format!("container {}", target.name())),
        Op::Stop { target, .. } => (EventReason::Stopped, format!("container {}", target.name())),
        Op::Rename { target, to } => (EventReason::Renamed, renamed(target.name(), to)),
        Op::Drain(_) => return None,
        Op::RemoveContainer(target) => (EventReason::Removed, format!("container {}", target.name())),
        Op::CreateNetwork { spec, .. } => (EventReason::Created, format!("network {}", spec.name)),
        Op::RemoveNetwork { name, .. } => (EventReason::Removed, format!("network {name}")),
        Op::CreateVolume { spec, .. } => (EventReason::Created, format!("volume {}", spec.name)),
        Op::RemoveVolume { name } => (EventReason::Removed, format!("volume {name} and the data in it")),
    })
}

/// The names of a replacement, in words.
fn renamed(from: &str, to: &str) -> String {
    let is = |name: &str, of: &str, suffix: &str| name.strip_suffix(suffix) == Some(of);
    let why = if is(to, from, OLD) {
        ": it makes way for its replacement"
    } else if is(to, from, FAILED) {
        ": kept for its logs"
    } else if is(from, to, NEXT) {
        ": the replacement takes its place"
    } else if is(from, to, OLD) || is(from, to, FAILED) {
        ": taken back"
    } else {
        ""
    };
    format!("{from} → {to}{why}")
}
