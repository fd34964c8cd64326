//! What goes into the event history and the metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Shared, lock};
use crate::engine::{Engine, EngineError, EngineEvent, EventKind};
use crate::execute::{Watch, failure};
use crate::happenings::{self, EngineFact, Onlooker, Thing};
use crate::metrics::DriftKind;
use crate::plan::types::ClosedBy;
use crate::plan::{Cause, FieldChange, Op, Plan, Step};
use crate::queue::Outcome;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::key::Kind;
use crate::resource::labels;
use crate::resource::spec::Resources;
use crate::resource::status::Status;

/// A container that is removed by force first dies; its removal is what there is to tell. So a death
/// is told a moment later.
const REMOVAL_FOLLOWS: Duration = Duration::from_secs(1);

/// Deaths that are told in a moment.
#[derive(Debug, Default)]
pub(super) struct Deaths(Vec<(Instant, String, Happening)>);

impl Deaths {
    fn add(&mut self, container: &str, happening: Happening) {
        self.0.push((Instant::now() + REMOVAL_FOLLOWS, container.to_owned(), happening));
    }

    /// It was removed: that is told instead.
    fn removed(&mut self, container: &str) {
        self.0.retain(|(_, id, _)| id != container);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|(at, _, _)| *at).min()
    }

    fn take_due(&mut self, now: Instant) -> Vec<Happening> {
        let (due, rest) = std::mem::take(&mut self.0).into_iter().partition(|(at, _, _)| *at <= now);
        self.0 = rest;
        let due: Vec<(Instant, String, Happening)> = due;
        due.into_iter().map(|(_, _, happening)| happening).collect()
    }
}

/// What the reader of the event stream remembers for telling.
#[derive(Debug)]
pub(super) struct Listening {
    onlooker: Onlooker,
    pub(super) deaths: Deaths,
}

impl Listening {
    pub(super) fn new(stack: &str) -> Self {
        Self { onlooker: Onlooker::new(stack), deaths: Deaths::default() }
    }
}

/// The steps of one resource, as they are taken.
pub(super) struct Steps<'a, E: Engine> {
    shared: &'a Shared<E>,
    key: &'a ResourceKey,
    generation: u64,
}

impl<E: Engine> Watch for Steps<'_, E> {
    fn begins(&self, step: &Step) {
        self.shared.own.begins(&step.op);
    }

    fn ended(&self, step: &Step, result: Result<(), &EngineError>) {
        let shared = self.shared;
        shared.own.ended(&step.op);
        let outcome = result.map_err(|error| error.message.as_str());
        if let Some(happening) = happenings::step(self.key, step, self.generation, outcome) {
            shared.settings.history.record(happening);
        }
        shared.count_step(self.key, step, result);
        if matches!(step.op, Op::Start(_)) && step.cause.is_crash() && result.is_ok() {
            lock(&shared.restarts).entry(self.key.clone()).or_default().started(shared.clock.now());
        }
    }
}

impl<E: Engine> Shared<E> {
    pub(super) fn steps_of<'a>(&'a self, key: &'a ResourceKey, generation: u64) -> Steps<'a, E> {
        Steps { shared: self, key, generation }
    }

    pub(super) fn tell(&self, subject: Option<&ResourceKey>, reason: EventReason, message: String, by: Actor) {
        self.settings.history.record(Happening { subject: subject.cloned(), reason, message, by });
    }

    /// A status has changed.
    pub(super) fn tell_status(&self, key: &ResourceKey, before: Option<&Status>, after: &Status) {
        let now = self.clock.now();
        for happening in happenings::status_change(key, before, Some(after), self.endings.how(key).as_deref(), now) {
            self.settings.history.record(happening);
        }
        if let Some(container) = after.container.as_ref().filter(|_| key.kind == Kind::Service) {
            self.settings.metrics.restarts(&key.name, container.restarts);
        }
    }

    /// The engine told something.
    pub(super) fn tell_event(&self, event: &EngineEvent, listening: &mut Listening) {
        let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
        let subjects = [Some(event.id.as_str()), attribute("name"), attribute("container")];
        let own = self.own.is_own(&event.action, subjects.into_iter().flatten());
        let service = attribute(labels::SERVICE).map(ResourceKey::service);
        let about = match event.kind {
            EventKind::Container => None,
            EventKind::Network if matches!(event.action.as_str(), "connect" | "disconnect") => {
                attribute("container").and_then(|id| self.service_of(id))
            }
            EventKind::Network => Some(ResourceKey::network(attribute("name").unwrap_or(&event.id))),
            EventKind::Volume => Some(ResourceKey::volume(attribute("name").unwrap_or(&event.id))),
            EventKind::Image => self.user_of(event),
        };
        let about = about.filter(|key| self.desired.get(key).is_some());
        let of = service.as_ref().or(about.as_ref());
        let status = of.and_then(|key| self.status.get(key));
        let running = status.as_ref().is_some_and(|s| s.container.as_ref().is_some_and(|c| c.running));
        let desired = of.and_then(|key| self.desired.get(key));
        let container = desired.as_ref().and_then(|d| d.spec.as_service()).map(|s| &s.spec.container);
        let fact = EngineFact {
            thing: match event.kind {
                EventKind::Container => Thing::Container,
                EventKind::Network => Thing::Network,
                EventKind::Volume => Thing::Volume,
                EventKind::Image => Thing::Image,
            },
            action: &event.action,
            id: &event.id,
            attributes: &event.attributes,
            time: event.time,
            own,
            about,
            running,
            completes: container.is_some_and(|c| c.restart.is_one_shot()),
            memory: container.and_then(|c| {
                let Resources { memory, .. } = &c.resources;
                *memory
            }),
            removing: false,
        };
        let happening = listening.onlooker.see(&fact);
        if event.kind == EventKind::Container && event.action == "destroy" {
            listening.deaths.removed(&event.id);
        }
        match happening {
            Some(happening) if event.action == "die" => listening.deaths.add(&event.id, happening),
            Some(happening) => {
                self.settings.history.record(happening);
            }
            None => {}
        }
    }

    pub(super) fn tell_deaths(&self, listening: &mut Listening) {
        for happening in listening.deaths.take_due(Instant::now()) {
            self.settings.history.record(happening);
        }
    }

    pub(super) fn count_reconcile(&self, outcome: Outcome, took: Duration) {
        self.settings.metrics.reconciled(outcome, took);
    }

    /// What the last look did not say yet: counted where somebody else made the difference, and told.
    pub(super) fn count_drift(&self, key: &ResourceKey, plan: &Plan) {
        let before = self.seen.changes(key);
        let is_new = |change: &&FieldChange| before.iter().all(|c| c.field != change.field);
        let news: Vec<_> = plan.changes.iter().filter(is_new).collect();
        for change in news.iter().filter(|c| c.cause != Cause::SpecChanged) {
            self.settings.metrics.drift(match change.closed_by {
                ClosedBy::InPlace => DriftKind::InPlace,
                ClosedBy::Replace => DriftKind::Replace,
            });
        }
        // What we stop on purpose loses its policy to us, which is no news.
        for happening in happenings::drift(key, news.into_iter().filter(|c| c.cause != Cause::NotRunning)) {
            self.settings.history.record(happening);
        }
    }

    fn count_step(&self, key: &ResourceKey, step: &Step, result: Result<(), &EngineError>) {
        if key.kind != Kind::Service {
            return;
        }
        let metrics = &self.settings.metrics;
        match &step.op {
            Op::Start(_) => metrics.service_started(&key.name, result.is_ok()),
            Op::Stop { .. } => metrics.service_stopped(&key.name, result.is_ok()),
            _ => {}
        }
        if let (Op::CreateContainer(_) | Op::Start(_), Err(error)) = (&step.op, result) {
            metrics.start_failed(&key.name, failure(error).reason);
        }
    }

    /// A service that uses the image which an event is about.
    fn user_of(&self, event: &EngineEvent) -> Option<ResourceKey> {
        let name = event.attributes.get("name")?;
        let uses = |spec: &Arc<crate::resource::desired::Desired>| {
            spec.spec.as_service().is_some_and(|s| s.spec.container.image.as_str() == name)
        };
        self.desired.snapshot().into_iter().find(|(_, desired)| uses(desired)).map(|(key, _)| key)
    }
}
