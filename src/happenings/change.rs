//! How resources are: what differs between two statuses, where it is worth telling.

use std::time::Duration;

use super::happening;
use crate::clock::Timestamp;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::status::{Condition, ConditionType, Reason, Status, Truth};
use crate::resource::units::human_duration;

/// What a new status tells. `before`: the one published last, `None` at the first look; `after`: `None`
/// where the resource is gone (the step that removed it has told).
///
/// A first look tells of trouble alone: what is well already is no news. The words of trouble may
/// change without its being told again (`HTTP 503`, then `HTTP 500`).
///
/// `ended`: how its last run did that is known of, `exited with code 1`.
pub fn status_change(
    key: &ResourceKey,
    before: Option<&Status>,
    after: Option<&Status>,
    ended: Option<&str>,
    now: Timestamp,
) -> Vec<Happening> {
    let Some(after) = after else { return Vec::new() };
    let tell = |(reason, message): (EventReason, String)| happening(key, reason, message, Actor::EnvManager);
    let state = state_change(before, after, ended).or_else(|| before.and_then(|before| came_up(before, after, now)));
    [state, dependencies(key, before, after)].into_iter().flatten().map(tell).collect()
}

/// What kind of news a status is by itself, and what of. Not how it was told.
fn state(status: &Status) -> Option<(EventReason, Reason)> {
    let head = status.reason;
    let told = match head {
        Reason::Pulling => match status.image.as_ref().map(ToString::to_string) {
            // Not asked for yet, and it may be there.
            Some(image) if status.message == format!("needs image {image}") => return None,
            Some(image) if !status.message.starts_with(&format!("pulling {image}")) => EventReason::PullFailed,
            _ => EventReason::Pulling,
        },
        Reason::ImageNotFound | Reason::ImagePullDenied | Reason::ImagePullFailed => EventReason::PullFailed,
        Reason::NameConflict | Reason::AdoptionRefused | Reason::PortConflict | Reason::NetworkConflict => {
            EventReason::Conflict
        }
        // Its container, which nobody here changes, does not serve.
        Reason::Observed if !status.ready => EventReason::NotReady,
        Reason::CrashLoop => EventReason::BackOff,
        Reason::RolledBack => EventReason::RolledBack,
        Reason::DependencyStalled => EventReason::DependencyNotReady,
        Reason::ProbeFailed | Reason::ProbeUnreachable | Reason::Paused => EventReason::NotReady,
        Reason::Completed => EventReason::Completed,
        // Told for all at once, by the source, the engine and the controller.
        Reason::ManifestInvalid | Reason::EngineUnreachable | Reason::PruneRefused => return None,
        _ if status.is_stalled() => EventReason::Stalled,
        // Something is done about it, or nothing is wrong.
        _ => return None,
    };
    Some((told, head))
}

fn state_change(before: Option<&Status>, after: &Status, ended: Option<&str>) -> Option<(EventReason, String)> {
    let now = state(after)?;
    if before.and_then(state) == Some(now) || (before.is_none() && now.0 == EventReason::Completed) {
        return None;
    }
    let message = match now.0 {
        EventReason::Completed => "ran to its end with exit code 0".to_owned(),
        EventReason::Pulling => match &after.image {
            Some(image) => format!("pulling {image}"),
            None => "pulling its image".to_owned(),
        },
        // The count in the message would make each time another event.
        EventReason::BackOff => {
            let how = ended.map(|how| format!(" ({how})")).unwrap_or_default();
            format!("its process keeps ending{how}; it is started again after a pause")
        }
        _ => after.message.clone(),
    };
    Some((now.0, message))
}

/// It is ready, and was not.
fn came_up(before: &Status, after: &Status, now: Timestamp) -> Option<(EventReason, String)> {
    let answers = matches!(
        after.condition(ConditionType::Ready)?.reason,
        Reason::ProbeSucceeded | Reason::Running | Reason::Observed
    );
    if before.ready || !after.ready || !answers {
        return None;
    }
    let was = before.condition(ConditionType::Ready)?;
    let started_at = after.container.as_ref()?.started_at?;
    let in_this_run = was.last_transition > started_at;
    // At the first look all conditions are equally old.
    let never_seen_ready = before.conditions.iter().all(|c| c.last_transition >= was.last_transition);
    let failed = matches!(
        was.reason,
        Reason::ProbeFailed
            | Reason::ProbeUnreachable
            | Reason::Paused
            | Reason::Observed
            | Reason::NothingToObserve
            | Reason::CrashLoop
            | Reason::StartupDeadlineExceeded
    );
    if in_this_run && !failed && (never_seen_ready || was.reason == Reason::EngineUnreachable) {
        // It ran before anybody looked: now it is known to be well.
        return None;
    }
    let message = if in_this_run && failed {
        format!("again after {}", seconds(now.since(was.last_transition)))
    } else {
        format!("after {}", seconds(now.since(started_at)))
    };
    Some((EventReason::Ready, message))
}

fn dependencies(key: &ResourceKey, before: Option<&Status>, after: &Status) -> Option<(EventReason, String)> {
    let failing = |status: &Status| -> Option<String> {
        let condition: &Condition = status.condition(ConditionType::DependenciesReady)?;
        (condition.status == Truth::False).then(|| condition.message.clone())
    };
    match (before.and_then(failing), failing(after)) {
        (None, Some(why)) => Some((EventReason::DependencyNotReady, format!("{why}; {} is left running", key.name))),
        // Said of what is ready alone: where it is not any more, the condition says nothing.
        (Some(_), None) if after.ready => {
            Some((EventReason::DependencyReady, "everything that it needs is well again".to_owned()))
        }
        _ => None,
    }
}

/// `0.9 s`, where `human_duration` would say `900 ms`.
fn seconds(d: Duration) -> String {
    if (100..1_000).contains(&d.as_millis()) { format!("{:.1} s", d.as_secs_f64()) } else { human_duration(d) }
}
