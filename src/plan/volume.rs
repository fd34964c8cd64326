//! Volumes. They are data (P7): created where missing, and removed by `down --volumes` alone.

use std::sync::Arc;
use std::time::Duration;

use super::network::{Draft, owner_labels};
use super::types::{Action, Cause, Gate, Mode, Op, Plan, PlanContext, Step};
use crate::resource::ResourceKey;
use crate::resource::observed::VolumeObserved;
use crate::resource::spec::VolumeSpec;
use crate::resource::status::Reason;

const POLL: Duration = Duration::from_secs(30);

pub fn plan(
    key: &ResourceKey,
    spec: Option<&Arc<VolumeSpec>>,
    observed: &VolumeObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let mut plan = Draft::new(key);
    let ours = observed.volume.as_ref().filter(|v| v.stack.as_deref() == Some(&cx.policy.stack));
    let removing = cx.mode == Mode::Removing;
    match (spec, &observed.volume) {
        (_, Some(volume)) if removing => {
            let external = spec.is_some_and(|s| s.external);
            if ours.is_none() || external || !cx.policy.remove_volumes {
                plan.say(true, Reason::Exists, "kept");
                return plan.finish();
            }
            plan.say(true, Reason::Removing, "to be removed");
            let steps = vec![Step { op: Op::RemoveVolume { name: volume.name.clone() }, cause: Cause::Down }];
            let gate = (!cx.dependents.is_empty()).then(|| Gate::Dependents(cx.dependents.to_vec()));
            plan.act(Action::Remove, steps, Reason::Removing, "removing", gate, cx);
        }
        (_, None) if removing => plan.say(false, Reason::Removing, "removed"),
        (_, Some(_)) => {
            let whose = if ours.is_some() { "there" } else { "there; not made by this stack, and never removed by it" };
            plan.say(true, Reason::Exists, whose);
        }
        (Some(spec), None) if spec.external => {
            plan.say(false, Reason::VolumeMissing, "an external volume, and it is not there");
            plan.stalled = Some((
                Reason::VolumeMissing,
                format!("volume {} is external and does not exist; create it, or drop `external`", spec.name),
            ));
            plan.wake_at = Some(cx.now.plus(POLL));
        }
        (Some(spec), None) => {
            plan.say(false, Reason::Pending, "not there yet");
            let op = Op::CreateVolume { spec: Arc::clone(spec), labels: owner_labels(cx) };
            let steps = vec![Step { op, cause: Cause::Missing }];
            plan.act(Action::Create, steps, Reason::Creating, "creating", None, cx);
        }
        (None, None) => plan.say(false, Reason::Removing, "not there"),
    }
    plan.finish()
}
