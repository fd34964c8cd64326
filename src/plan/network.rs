//! Networks.
//!
//! Names are not unique on the engine: a network is ours by its label, and surplus ones of ours are
//! removed before any container is created (they make the name ambiguous).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::types::{
    Action, Cause, ClosedBy, FieldChange, Gate, Mode, Op, Plan, PlanContext, Stage, Step, Target, Wants,
};
use crate::resource::ResourceKey;
use crate::resource::hash::hash_of;
use crate::resource::labels;
use crate::resource::observed::{Network, NetworkObserved, NetworkUser};
use crate::resource::spec::NetworkSpec;
use crate::resource::status::{Reason, StatusDraft};
use crate::resource::units::human_duration;

/// Waiting for somebody else's container to leave.
const POLL: Duration = Duration::from_secs(30);

pub fn plan(
    key: &ResourceKey,
    spec: Option<&Arc<NetworkSpec>>,
    observed: &NetworkObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let ours: Vec<&Network> =
        observed.networks.iter().filter(|n| n.stack.as_deref() == Some(&cx.policy.stack)).collect();
    let users = |network: &Network| observed.users.get(&network.id);
    let unused = |network: &Network| users(network).is_none_or(BTreeSet::is_empty);
    let mut plan = Draft::new(key);

    let spec = match spec {
        Some(spec) if cx.mode != Mode::Removing => spec,
        spec => return removal(key, spec, &ours, observed, cx),
    };

    if spec.external {
        if observed.networks.is_empty() {
            plan.say(false, Reason::NetworkMissing, "an external network, and it is not there");
            plan.stalled = Some((
                Reason::NetworkMissing,
                format!("network {} is external and does not exist; create it, or drop `external`", spec.name),
            ));
            plan.wake_at = Some(cx.now.plus(POLL));
        } else {
            plan.say(true, Reason::Exists, "external, and there");
        }
        return plan.finish();
    }

    let Some(kept) = ours.first() else {
        plan.say(false, Reason::Pending, "not there yet");
        let steps = vec![create(spec, cx, Cause::Missing)];
        let gate = observed.networks.first().map(|foreign| {
            let message = format!(
                "a network named {} is there already ({}) and not ours; declare it `external: true`, or give another name",
                foreign.name, foreign.id
            );
            plan.stalled = Some((Reason::NetworkConflict, message));
            plan.wake_at = Some(cx.now.plus(POLL));
            Gate::Conflict(format!("network {}", foreign.name))
        });
        plan.act(Action::Create, steps, Reason::Creating, "creating", gate, cx);
        return plan.finish();
    };

    // Surplus ones first: with two of a name a start is refused as ambiguous.
    let surplus: Vec<_> = ours[1..].iter().filter(|n| unused(n)).map(|n| remove(n, Cause::Surplus)).collect();
    if !surplus.is_empty() {
        plan.say(true, Reason::Exists, "there, and surplus ones of its name too");
        plan.act(Action::Update, surplus, Reason::Removing, "removing surplus networks of its name", None, cx);
        return plan.finish();
    }

    let hash = hash_of(&**spec);
    if kept.spec_hash.0.is_empty() || kept.spec_hash == hash {
        plan.say(true, Reason::Exists, "there");
        return plan.finish();
    }
    // A network cannot be changed. Its containers are taken off, and their own plans put them on the
    // new one, without being replaced.
    plan.changes.push(FieldChange {
        field: "spec".to_owned(),
        old: Some(kept.spec_hash.to_string()),
        new: Some(hash.to_string()),
        closed_by: ClosedBy::Replace,
        cause: Cause::SpecChanged,
    });
    plan.say(true, Reason::Exists, "there, from an earlier spec");
    let empty = BTreeSet::new();
    let attached: Vec<&NetworkUser> = users(kept).unwrap_or(&empty).iter().collect();
    let mut steps: Vec<_> = attached
        .iter()
        .map(|user| Step {
            op: Op::Disconnect {
                target: Target::Existing { id: user.id.clone(), name: user.name.clone() },
                network: kept.name.clone(),
                id: kept.id.clone(),
            },
            cause: Cause::SpecChanged,
        })
        .collect();
    steps.push(remove(kept, Cause::SpecChanged));
    steps.push(create(spec, cx, Cause::SpecChanged));
    let foreign: Vec<_> = attached.iter().filter(|u| !u.owned).map(|u| u.name.as_str()).collect();
    let gate = (!foreign.is_empty()).then(|| {
        let names = foreign.join(", ");
        plan.stalled = Some((
            Reason::NetworkConflict,
            format!("cannot be replaced while containers that are not ours are attached to it ({names})"),
        ));
        plan.wake_at = Some(cx.now.plus(POLL));
        Gate::Conflict(names)
    });
    plan.act(Action::Replace, steps, Reason::Replacing, "replacing the network", gate, cx);
    plan.finish()
}

fn removal(
    key: &ResourceKey,
    spec: Option<&Arc<NetworkSpec>>,
    ours: &[&Network],
    observed: &NetworkObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let mut plan = Draft::new(key);
    let cause = if spec.is_some() { Cause::Down } else { Cause::Orphaned };
    let steps: Vec<_> =
        if spec.is_some_and(|s| s.external) { Vec::new() } else { ours.iter().map(|n| remove(n, cause)).collect() };
    plan.say(false, Reason::Removing, if steps.is_empty() { "removed" } else { "to be removed" });
    if steps.is_empty() {
        return plan.finish();
    }
    let users = || ours.iter().filter_map(|n| observed.users.get(&n.id)).flatten();
    let gate = if !cx.dependents.is_empty() {
        Some(Gate::Dependents(cx.dependents.to_vec()))
    } else if users().any(|u| !u.owned) {
        let names =
            users().map(|u| u.name.as_str()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("kept: containers that are not ours are attached to it ({names})");
        plan.stalled = Some((Reason::NetworkConflict, message));
        Some(Gate::Conflict(names))
    } else {
        None
    };
    plan.act(Action::Remove, steps, Reason::Removing, "removing", gate, cx);
    plan.finish()
}

/// What networks and volumes have in common: few states, no image, no probes.
pub(super) struct Draft {
    key: ResourceKey,
    action: Action,
    stages: Vec<Stage>,
    pub(super) changes: Vec<FieldChange>,
    ready: bool,
    reason: Reason,
    message: String,
    reconciling: Option<(Reason, String)>,
    pub(super) stalled: Option<(Reason, String)>,
    pub(super) wake_at: Option<crate::clock::Timestamp>,
}

impl Draft {
    pub(super) fn new(key: &ResourceKey) -> Self {
        Self {
            key: key.clone(),
            action: Action::None,
            stages: Vec::new(),
            changes: Vec::new(),
            ready: false,
            reason: Reason::Pending,
            message: String::new(),
            reconciling: None,
            stalled: None,
            wake_at: None,
        }
    }

    pub(super) fn say(&mut self, ready: bool, reason: Reason, message: impl Into<String>) {
        (self.ready, self.reason, self.message) = (ready, reason, message.into());
    }

    pub(super) fn act(
        &mut self,
        action: Action,
        steps: Vec<Step>,
        reason: Reason,
        message: &str,
        gate: Option<Gate>,
        cx: &PlanContext<'_>,
    ) {
        self.action = action;
        self.reconciling = Some((reason, message.to_owned()));
        let backoff = cx.retry.next_at.filter(|at| *at > cx.now);
        if let Some(failure) = &cx.retry.failure {
            let again =
                backoff.map(|at| format!("; next try in {}", human_duration(at.since(cx.now)))).unwrap_or_default();
            let said = format!("{}{again}", failure.message);
            if failure.terminal || cx.retry.attempts >= cx.policy.max_attempts {
                self.stalled = Some((failure.reason, said));
            } else {
                self.reconciling = Some((Reason::RetryBackoff, said));
            }
        }
        self.wake_at = self.wake_at.or(backoff);
        self.stages.push(Stage { gate: gate.or(backoff.map(Gate::Backoff)), steps });
    }

    pub(super) fn finish(self) -> Plan {
        let settled = self.stages.iter().all(|s| s.steps.is_empty());
        let status = StatusDraft {
            ready: self.ready,
            reason: self.reason,
            message: self.message,
            reconciling: self.reconciling,
            stalled: self.stalled,
            dependency_failing: None,
            settled,
            container: None,
        };
        Plan {
            key: self.key,
            action: self.action,
            stages: self.stages,
            changes: self.changes,
            wants: Wants::default(),
            status,
            wake_at: self.wake_at,
        }
    }
}

fn create(spec: &Arc<NetworkSpec>, cx: &PlanContext<'_>, cause: Cause) -> Step {
    let mut labels = owner_labels(cx);
    labels.insert(labels::SPEC_HASH.to_owned(), hash_of(&**spec).0);
    Step { op: Op::CreateNetwork { spec: Arc::clone(spec), labels }, cause }
}

fn remove(network: &Network, cause: Cause) -> Step {
    Step { op: Op::RemoveNetwork { name: network.name.clone(), id: network.id.clone() }, cause }
}

pub(super) fn owner_labels(cx: &PlanContext<'_>) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::STACK.to_owned(), cx.policy.stack.clone()),
        (labels::SOURCE.to_owned(), cx.policy.source.0.clone()),
    ])
}
