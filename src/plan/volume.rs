//! Volumes. They are data (P7): created where missing, and removed by `down --volumes` alone.

use std::sync::Arc;
use std::time::Duration;

use super::draft::{Draft, said};
use super::network::owner_labels;
use super::readiness::Verdict;
use super::types::{Action, Cause, Gate, Mode, Op, Plan, PlanContext, Step};
use crate::resource::ResourceKey;
use crate::resource::observed::{Volume, VolumeObserved};
use crate::resource::spec::VolumeSpec;
use crate::resource::status::Reason;

const POLL: Duration = Duration::from_secs(30);

pub fn plan(
    key: &ResourceKey,
    spec: Option<&Arc<VolumeSpec>>,
    observed: &VolumeObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let mut draft = Draft::new(key, cx, Verdict::new(false, Reason::Pending, "not there yet"));
    let ours = |v: &Volume| v.stack.as_deref() == Some(&cx.policy.stack) && cx.policy.owns(&v.source);
    match (&observed.volume, spec) {
        (Some(volume), _) if cx.mode == Mode::Removing => {
            let external = spec.is_some_and(|s| s.external);
            if !ours(volume) || external || !cx.policy.remove_volumes {
                draft.say(true, Reason::Exists, "kept");
                return draft.finish();
            }
            draft.say(true, Reason::Removing, "to be removed");
            let steps = vec![Step { op: Op::RemoveVolume { name: volume.name.clone() }, cause: Cause::Down }];
            draft.act(Action::Remove, steps, said(Reason::Removing, "removing"));
            if !cx.dependents.is_empty() {
                draft.gate(Gate::Dependents(cx.dependents.to_vec()));
            }
        }
        (None, _) if cx.mode == Mode::Removing => draft.say(false, Reason::Removing, "removed"),
        (Some(volume), _) => {
            let whose = if ours(volume) { "there" } else { "there; not made by these manifests, and never removed" };
            draft.say(true, Reason::Exists, whose);
        }
        (None, Some(spec)) if spec.external => {
            draft.say(false, Reason::VolumeMissing, "an external volume, and it is not there");
            let what = format!("volume {} is external and does not exist; create it, or drop `external`", spec.name);
            draft.stalled = Some((Reason::VolumeMissing, what));
            draft.wake(Some(cx.now.plus(POLL)));
        }
        (None, Some(spec)) => {
            let op = Op::CreateVolume { spec: Arc::clone(spec), labels: owner_labels(cx) };
            let steps = vec![Step { op, cause: Cause::Missing }];
            draft.act(Action::Create, steps, said(Reason::Creating, "creating"));
        }
        (None, None) => draft.say(false, Reason::ManifestInvalid, "not there, and its manifest is broken"),
    }
    draft.finish()
}
