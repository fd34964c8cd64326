//! Networks.
//!
//! Names are not unique on the engine: a network is ours by its label, and surplus ones of ours are
//! removed before any container is created (they make the name ambiguous). Two folders of one stack
//! may share a network; only the one that made it changes or removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::draft::{Draft, said};
use super::readiness::Verdict;
use super::types::{Action, Cause, ClosedBy, FieldChange, Gate, Mode, Op, Plan, PlanContext, Step, Target};
use crate::resource::ResourceKey;
use crate::resource::hash::hash_of;
use crate::resource::labels;
use crate::resource::observed::{Network, NetworkObserved, NetworkUser};
use crate::resource::spec::NetworkSpec;
use crate::resource::status::Reason;

/// Waiting for somebody else's container to leave.
const POLL: Duration = Duration::from_secs(30);

pub fn plan(
    key: &ResourceKey,
    spec: Option<&Arc<NetworkSpec>>,
    observed: &NetworkObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let draft = Draft::new(key, cx, Verdict::new(false, Reason::Pending, "not there yet"));
    let mut planner = Planner { observed, cx, draft };
    match spec {
        _ if cx.mode == Mode::Removing => planner.remove(spec),
        Some(spec) if spec.external => planner.external(spec),
        Some(spec) => planner.ours(spec),
        None if observed.networks.is_empty() => {
            planner.draft.say(false, Reason::ManifestInvalid, "not there, and its manifest is broken");
        }
        None => planner.draft.say(true, Reason::Exists, "there; left as it is"),
    }
    planner.draft.finish()
}

struct Planner<'a> {
    observed: &'a NetworkObserved,
    cx: &'a PlanContext<'a>,
    draft: Draft<'a>,
}

impl<'a> Planner<'a> {
    fn of_stack(&self) -> impl Iterator<Item = &'a Network> + use<'a> {
        let stack = &self.cx.policy.stack;
        self.observed.networks.iter().filter(move |n| n.stack.as_ref() == Some(stack))
    }

    fn made_here(&self, network: &Network) -> bool {
        self.cx.policy.owns(&network.source)
    }

    fn users(&self, network: &Network) -> impl Iterator<Item = &'a NetworkUser> + use<'a> {
        self.observed.users.get(&network.id).into_iter().flatten()
    }

    fn external(&mut self, spec: &NetworkSpec) {
        if !self.observed.networks.is_empty() {
            return self.draft.say(true, Reason::Exists, "external, and there");
        }
        self.draft.say(false, Reason::NetworkMissing, "an external network, and it is not there");
        let what = format!("network {} is external and does not exist; create it, or drop `external`", spec.name);
        self.draft.stalled = Some((Reason::NetworkMissing, what));
        self.draft.wake(Some(self.cx.now.plus(POLL)));
    }

    fn ours(&mut self, spec: &Arc<NetworkSpec>) {
        let Some(kept) = self.of_stack().next() else { return self.create(spec) };
        // Surplus ones first: with two of a name a start is refused as ambiguous.
        let surplus: Vec<_> = self
            .of_stack()
            .skip(1)
            .filter(|n| self.made_here(n) && self.users(n).next().is_none())
            .map(|n| remove(n, Cause::Surplus))
            .collect();
        if !surplus.is_empty() {
            self.draft.say(true, Reason::Exists, "there, and surplus ones of its name too");
            let what = said(Reason::Removing, "removing surplus networks of its name");
            return self.draft.act(Action::Update, surplus, what);
        }
        let hash = hash_of(&**spec);
        // P5: while the manifests are broken, what is there is not compared.
        if kept.spec_hash.0.is_empty() || kept.spec_hash == hash || self.cx.mode == Mode::Frozen {
            return self.draft.say(true, Reason::Exists, "there");
        }
        if !self.made_here(kept) {
            let whose = format!("there; {} made it, with another spec, and keeps it", kept.source);
            return self.draft.say(true, Reason::Exists, whose);
        }
        self.draft.say(true, Reason::Exists, "there, from an earlier spec");
        self.draft.changes.push(FieldChange {
            field: "spec".to_owned(),
            old: Some(kept.spec_hash.to_string()),
            new: Some(hash.to_string()),
            closed_by: ClosedBy::Replace,
            cause: Cause::SpecChanged,
        });
        self.replace(spec, kept);
    }

    fn create(&mut self, spec: &Arc<NetworkSpec>) {
        let steps = vec![self.create_step(spec, Cause::Missing)];
        self.draft.act(Action::Create, steps, said(Reason::Creating, "creating"));
        if let Some(foreign) = self.observed.networks.first() {
            let what = format!(
                "a network named {} is there already ({}) and not ours; declare it `external: true`, or give another name",
                foreign.name, foreign.id
            );
            self.conflict(what, format!("network {}", foreign.name));
        }
    }

    /// A network cannot be changed. Its containers are taken off, and their own plans put them on the
    /// new one, without being replaced.
    fn replace(&mut self, spec: &Arc<NetworkSpec>, kept: &Network) {
        let cause = Cause::SpecChanged;
        let detach = |user: &NetworkUser| Step {
            op: Op::Disconnect {
                target: Target::Existing { id: user.id.clone(), name: user.name.clone() },
                network: kept.name.clone(),
                id: kept.id.clone(),
            },
            cause,
        };
        let mut steps: Vec<_> = self.users(kept).map(detach).collect();
        steps.push(remove(kept, cause));
        steps.push(self.create_step(spec, cause));
        self.draft.act(Action::Replace, steps, said(Reason::Replacing, "replacing the network"));
        let foreign = names(self.users(kept).filter(|u| u.owner.is_none()));
        let is_held =
            |user: &&NetworkUser| self.cx.dependents.iter().any(|k| user.owner.is_some() && *k.name == *user.service);
        let held: BTreeSet<_> = self.users(kept).filter(is_held).map(|u| u.service.as_str()).collect();
        if let Some(service) = held.first() {
            // Taken off it, it would not be as it was (P19).
            let who = held.iter().copied().collect::<Vec<_>>().join(", ");
            let what = format!(
                "waits to be replaced: {who} is attached to it and suspended; `env-manager resume {service}`, or set `suspend: false`"
            );
            self.draft.reconciling = Some(said(Reason::Suspended, what));
            self.draft.gate(Gate::Conflict(format!("{who} (suspended)")));
        } else if !foreign.is_empty() {
            let what = format!("cannot be replaced while containers that are not ours are attached to it ({foreign})");
            self.conflict(what, foreign);
        }
    }

    fn remove(&mut self, spec: Option<&Arc<NetworkSpec>>) {
        let cause = if spec.is_some() { Cause::Down } else { Cause::Orphaned };
        let external = spec.is_some_and(|s| s.external);
        let ours: Vec<_> = self.of_stack().filter(|n| self.made_here(n) && !external).collect();
        if self.observed.networks.is_empty() {
            return self.draft.say(false, Reason::Removing, "removed");
        }
        if ours.is_empty() {
            return self.draft.say(true, Reason::Exists, "kept; not made by these manifests");
        }
        let users: Vec<_> = ours.iter().flat_map(|n| self.users(n)).collect();
        let users = || users.iter().copied();
        let elsewhere = names(users().filter(|u| u.owner.as_ref().is_some_and(|o| !self.cx.policy.owns(o))));
        if self.cx.dependents.is_empty() && !elsewhere.is_empty() {
            let what = format!("kept: containers of another folder are attached to it ({elsewhere})");
            return self.draft.say(true, Reason::Exists, what);
        }
        self.draft.say(false, Reason::Removing, "to be removed");
        let steps = ours.iter().map(|n| remove(n, cause)).collect();
        self.draft.act(Action::Remove, steps, said(Reason::Removing, "removing"));
        let (all, foreign) = (names(users()), names(users().filter(|u| u.owner.is_none())));
        if !self.cx.dependents.is_empty() {
            self.draft.gate(Gate::Dependents(self.cx.dependents.to_vec()));
        } else if !foreign.is_empty() {
            let what = format!("kept: containers that are not ours are attached to it ({foreign})");
            self.conflict(what, foreign);
        } else if !all.is_empty() {
            // About to be moved by their own plans.
            self.draft.reconciling = Some(said(Reason::Removing, format!("waits until {all} let go of it")));
            self.draft.wake(Some(self.cx.now.plus(POLL)));
            self.draft.gate(Gate::Conflict(all));
        }
    }

    fn conflict(&mut self, what: String, who: String) {
        self.draft.stalled = Some((Reason::NetworkConflict, what));
        self.draft.wake(Some(self.cx.now.plus(POLL)));
        self.draft.gate(Gate::Conflict(who));
    }

    fn create_step(&self, spec: &Arc<NetworkSpec>, cause: Cause) -> Step {
        let mut labels = owner_labels(self.cx);
        labels.insert(labels::SPEC_HASH.to_owned(), hash_of(&**spec).0);
        Step { op: Op::CreateNetwork { spec: Arc::clone(spec), labels }, cause }
    }
}

fn names<'a>(users: impl Iterator<Item = &'a NetworkUser>) -> String {
    users.map(|u| u.name.as_str()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
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
