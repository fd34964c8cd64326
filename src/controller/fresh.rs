//! Whether what is known of a service's dependencies is news or a memory (P8).
//!
//! A container that ended is started only on the strength of looks at its dependencies that were begun
//! after its end: what ended it may have ended them too, and a status says what was so at the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::wakes::Trigger;
use super::{Shared, lock};
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::plan::{Mode, Op, Plan};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::desired::{Desired, Service};
use crate::resource::key::Kind;
use crate::resource::observed::{Observed, RunState};

/// Since when a service's container is known to have ended.
#[derive(Debug)]
struct Down {
    container: ContainerId,
    started_at: Option<Timestamp>,
    /// Looks from this number on were begun later.
    since: u64,
}

#[derive(Debug, Default)]
pub struct Freshness {
    down: Mutex<BTreeMap<ResourceKey, Down>>,
    /// The connection to the engine broke, and there is a new one: nobody knows what happened meanwhile.
    engine_back: Mutex<Option<u64>>,
    /// Those that wait for a look at a dependency.
    waiting: Mutex<BTreeSet<ResourceKey>>,
}

impl Freshness {
    /// `ask`: the number that later looks have at least.
    fn note(&self, key: &ResourceKey, service: Option<&Service>, observed: &Observed, ask: impl FnOnce() -> u64) {
        let Observed::Service(observed) = observed else { return };
        let current = service.and_then(|s| observed.named(&s.spec.container.name));
        let mut down = lock(&self.down);
        match current.filter(|c| c.state == RunState::Exited) {
            None => {
                down.remove(key);
            }
            Some(c) if down.get(key).is_some_and(|d| d.container == c.id && d.started_at == c.started_at) => {}
            Some(c) => {
                let since = ask();
                down.insert(key.clone(), Down { container: c.id.clone(), started_at: c.started_at, since });
            }
        }
    }

    pub(super) fn engine_is_back(&self, ask: u64) {
        *lock(&self.engine_back) = Some(ask);
    }

    pub(super) fn forget(&self, key: &ResourceKey) {
        lock(&self.down).remove(key);
        lock(&self.waiting).remove(key);
    }

    /// Looks at dependencies count from this number on.
    fn since(&self, key: &ResourceKey) -> Option<u64> {
        let down = lock(&self.down).get(key).map(|d| d.since);
        down.max(*lock(&self.engine_back))
    }
}

fn starts_something(plan: &Plan) -> bool {
    plan.executable().is_some_and(|stage| stage.steps.iter().any(|step| matches!(step.op, Op::Start(_))))
}

impl<E: Engine> Shared<E> {
    /// A plan that starts nothing on the strength of an old look at what it needs.
    pub(super) fn plan_on_news(
        &self,
        key: &ResourceKey,
        desired: Option<&Desired>,
        observed: &Observed,
        mode: Mode,
    ) -> Plan {
        let service = desired.and_then(|d| d.spec.as_service());
        self.fresh.note(key, service.map(AsRef::as_ref), observed, || self.seen.ask());
        let plan = self.plan(key, desired, observed, mode, &[]);
        let unknown = self.to_be_looked_at_first(key, &plan);
        if unknown.is_empty() { plan } else { self.plan(key, desired, observed, mode, &unknown) }
    }

    /// The services that have to be looked at before this plan may start anything. They are asked for, and
    /// their looks wake it.
    fn to_be_looked_at_first(&self, key: &ResourceKey, plan: &Plan) -> Vec<ResourceKey> {
        if !starts_something(plan) {
            return Vec::new();
        }
        // Before it is judged: a look that ends in between wakes it.
        lock(&self.fresh.waiting).insert(key.clone());
        let old = self.dependencies_seen_too_early(key);
        if old.is_empty() {
            lock(&self.fresh.waiting).remove(key);
        }
        for dependency in &old {
            self.look_again(dependency.clone(), Trigger::DependencyChanged);
        }
        old
    }

    fn dependencies_seen_too_early(&self, key: &ResourceKey) -> Vec<ResourceKey> {
        let Some(since) = self.fresh.since(key) else { return Vec::new() };
        let graph = self.graph();
        let services = graph.needs(key).iter().map(|(needed, _)| needed).filter(|n| n.kind == Kind::Service);
        services.filter(|needed| self.seen.last(needed).is_none_or(|look| look < since)).cloned().collect()
    }

    /// A resource has been looked at: those that waited for that go on.
    pub(super) fn was_looked_at(&self, key: &ResourceKey) {
        let graph = self.graph();
        for dependent in graph.needed_by(key) {
            let waits = lock(&self.fresh.waiting).contains(dependent);
            if waits && self.dependencies_seen_too_early(dependent).is_empty() {
                lock(&self.fresh.waiting).remove(dependent);
                self.look_again(dependent.clone(), Trigger::DependencyChanged);
            }
        }
    }
}
