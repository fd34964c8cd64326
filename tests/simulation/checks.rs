//! What must hold at every step: judged at the moment of each effect of a call of ours, over the whole
//! engine, by what was read, published and asked until then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use env_manager::engine::sim::{By, Call, ContainerView, View, Waiting, World};
use env_manager::plan::DepFacts;
use env_manager::resource::desired::{DesiredSet, Service};
use env_manager::resource::labels::{self, FAILED, NEXT, OLD};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::DependencyCondition;
use env_manager::resource::status::{Phase, Reason, Status};
use env_manager::resource::{Kind, ResourceKey};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::adoption;
use crate::daemon::STACK;
use crate::refusals::Refusals;
use crate::trace::Trace;

/// A reading of the manifests.
pub struct Read {
    pub at: Duration,
    pub set: Arc<DesiredSet>,
    /// Services of ours on the engine at any one moment while this was the newest reading.
    pub most_owned: usize,
    /// Removed since nobody described them any more, from this reading on.
    pub pruned: BTreeSet<String>,
    /// Somebody lifted the limit.
    pub allowed: bool,
}

pub struct Checks {
    pub trace: Trace,
    /// The first one; nothing is judged after it.
    pub violation: Option<String>,
    /// Rung with it: also where time stands still.
    pub over: Arc<Notify>,
    pub reads: Vec<Read>,
    /// The last good spec of each service that this daemon has seen.
    pub known: BTreeMap<String, Arc<Service>>,
    /// When a status last said that it holds.
    pub held: BTreeMap<(ResourceKey, DependencyCondition), Duration>,
    /// Since when a service has been Ready in the same container.
    pub ready_since: BTreeMap<String, (String, Duration)>,
    /// Ids that once bore the name of a replacement, and have not been started.
    pub replacements: BTreeSet<String>,
    /// When a container was last stopped by us.
    pub stopped: BTreeMap<String, Duration>,
    /// When others last removed a container of ours: of which service, and which it was to take the place of.
    pub taken: BTreeMap<String, Duration>,
    /// When somebody last asked to restart it.
    pub restart_asked: BTreeMap<String, Duration>,
    /// Until when a reading is one that somebody lifted the limit for.
    pub allow_until: Duration,
    /// From then on nothing is to be done; and what was.
    pub resting: bool,
    /// Calls of ours: of which resource, and what.
    pub in_flight: BTreeMap<u64, (String, String)>,
    pub begin: Instant,
    pub busy: Vec<(String, String)>,
    pub refusals: Refusals,
    /// Services of which it is said that they went back to the revision before.
    pub rolled_back: BTreeSet<String>,
    /// Services of which it is said that they have converged, and since when.
    pub converged: BTreeMap<String, Duration>,
    pub last_change: Duration,
    /// Changing calls of ours that took effect.
    pub changes: u64,
}

impl Checks {
    pub fn new(begin: Instant) -> Self {
        Self {
            trace: Trace::default(),
            violation: None,
            over: Arc::default(),
            reads: Vec::new(),
            known: BTreeMap::new(),
            held: BTreeMap::new(),
            ready_since: BTreeMap::new(),
            replacements: BTreeSet::new(),
            stopped: BTreeMap::new(),
            taken: BTreeMap::new(),
            restart_asked: BTreeMap::new(),
            allow_until: Duration::ZERO,
            resting: false,
            in_flight: BTreeMap::new(),
            begin,
            busy: Vec::new(),
            refusals: Refusals::default(),
            rolled_back: BTreeSet::new(),
            converged: BTreeMap::new(),
            last_change: Duration::ZERO,
            changes: 0,
        }
    }

    pub fn fail(&mut self, at: Duration, what: String) {
        if self.violation.is_some() && self.trace.is_full() {
            return;
        }
        self.trace.add(at, "VIOLATED", &what);
        self.violation.get_or_insert(what);
        self.over.notify_one();
    }

    /// A line of the trace; one that has no end is a violation.
    pub fn note(&mut self, at: Duration, who: &str, what: &str) {
        if self.trace.is_full() {
            return;
        }
        self.trace.add(at, who, what);
        if self.trace.is_full() {
            let (lines, bytes) = self.trace.size();
            self.fail(at, format!("a runaway: its trace has come to {lines} lines and {bytes} bytes"));
        }
    }

    /// A new process knows nothing.
    pub fn daemon_died(&mut self) {
        self.known.clear();
        self.converged.clear();
    }

    pub fn read(&mut self, at: Duration, set: Arc<DesiredSet>) {
        for (key, spec) in &set.resources {
            if let Some(service) = spec.as_service() {
                self.known.insert(key.name.to_string(), Arc::clone(service));
            }
        }
        // What no manifest speaks of any more is not known when one speaks of it again, and is broken.
        self.known.retain(|name, _| asks_for(&set, &ResourceKey::service(name.as_str())));
        self.refusals.read(&set);
        let same = self.reads.last().filter(|last| {
            last.set.revision == set.revision
                && last.set.has_errors == set.has_errors
                && last.set.resources == set.resources
        });
        if same.is_none() {
            let what = if set.has_errors { " (with errors)" } else { "" };
            let names: Vec<_> = set.resources.keys().filter(|k| k.kind == Kind::Service).map(|k| &*k.name).collect();
            self.note(at, "read", &format!("{}{what}", names.join(" ")));
            let allowed = at <= self.allow_until;
            self.reads.push(Read { at, set, most_owned: 0, pruned: BTreeSet::new(), allowed });
        }
    }

    /// Of the manifests as they are, or as they will be read in a moment.
    pub fn allow_prune(&mut self, at: Duration) {
        self.allow_until = at + Duration::from_secs(15);
        if let Some(read) = self.reads.last_mut() {
            read.allowed = true;
        }
    }

    pub fn watch_rest(&mut self) {
        self.resting = true;
    }

    /// Services, and what was done to them at rest.
    pub fn busy_at_rest(&self) -> Vec<(String, String)> {
        self.busy.clone()
    }

    /// Every change on the engine, whoever made it.
    pub fn heard(&mut self, at: Duration, call: &Call<'_>) {
        let name = call.view().map_or("", |v| v.name());
        let name = if name.is_empty() { format!("{:?}", call.target) } else { name.to_owned() };
        let what = match &call.refused {
            Some(refused) => format!("{} {name}: {refused}", call.operation),
            None => match (&call.before, &call.after) {
                (Some(View::Container(a)), Some(View::Container(b))) if a.name != b.name => {
                    format!("{} {} to {}", call.operation, a.name, b.name)
                }
                (Some(View::Container(a)), Some(View::Container(b))) if a.state != b.state => {
                    format!("{} {name}: {:?} to {:?}", call.operation, a.state, b.state)
                }
                _ => format!("{} {name}", call.operation),
            },
        };
        let who = match call.by {
            By::Client => "we",
            By::Outside => "others",
            By::Engine => "engine",
        };
        self.note(at, who, &what);
        self.effect(at, call.begun.saturating_duration_since(self.begin), call);
    }

    pub fn was_taken(&mut self, at: Duration, gone: &ContainerView) {
        if let Some(service) = service_of(gone) {
            self.taken.insert(service.to_owned(), at);
        }
        if let Some(note) = adoption::note_of(gone) {
            self.taken.insert(note.from.0.to_string(), at);
        }
    }

    /// Whoever is in the middle of something has not seen it yet.
    pub fn was_just_taken(&self, at: Duration, of: &str) -> bool {
        self.taken.get(of).is_some_and(|when| at.saturating_sub(*when) < Duration::from_mins(1))
    }

    /// P2: of one resource there is one call at a time.
    pub fn waited(&mut self, at: Duration, waiting: &Waiting) {
        let Waiting { number, operation, subject, labels, begins } = waiting;
        if !begins {
            self.in_flight.remove(number);
            return;
        }
        // Images are pulled beside everything else, once for all who want them; a lease is nobody's.
        if *operation == "pull image" || subject.starts_with("env-manager-lease-") {
            return;
        }
        // By the name that it is about to have, where it is not there yet.
        let base = [NEXT, OLD, FAILED].iter().find_map(|s| subject.strip_suffix(s)).unwrap_or(subject);
        let by_name = || self.known.values().find(|s| s.spec.container.name == base).map(|s| s.name.to_string());
        let network = operation.contains("network") && !operation.contains("connect");
        let of = match labels.get(labels::SERVICE) {
            Some(service) => service.clone(),
            None if network || operation.contains("volume") => format!("{operation} {subject}"),
            None => by_name().unwrap_or_else(|| base.to_owned()),
        };
        // A network that is replaced takes its users off it itself.
        let is_disconnect = operation.contains("disconnect");
        if let Some(other) = self.in_flight.values().find(|(other, _)| *other == of && !is_disconnect) {
            let what = format!("P2: {operation} {subject} was begun while {} was under way", other.1);
            self.fail(at, what);
        }
        if !is_disconnect {
            self.in_flight.insert(*number, (of, format!("{operation} {subject}")));
        }
    }

    pub fn published(&mut self, at: Duration, key: &ResourceKey, status: Option<&Status>) {
        let Some(status) = status else {
            self.ready_since.remove(&*key.name);
            self.converged.remove(&*key.name);
            return;
        };
        if key.kind == Kind::Service && status.is_converged() {
            self.converged.entry(key.name.to_string()).or_insert(at);
        } else if key.kind == Kind::Service {
            self.converged.remove(&*key.name);
        }
        match status.phase {
            Phase::RolledBack => drop(self.rolled_back.insert(key.name.to_string())),
            Phase::Ready | Phase::Stopped | Phase::Terminating => drop(self.rolled_back.remove(&*key.name)),
            _ => {}
        }
        let facts = facts(status);
        let mut held = |condition| {
            self.held.insert((key.clone(), condition), at);
        };
        if facts.started {
            held(DependencyCondition::Started);
        }
        if facts.ready {
            held(DependencyCondition::Ready);
        }
        if facts.completed == Some(0) {
            held(DependencyCondition::Completed);
        }
        if key.kind == Kind::Service {
            let container = status.container.as_ref().filter(|_| status.ready).map(|c| c.id.0.to_string());
            match (container, self.ready_since.get(&*key.name)) {
                (Some(id), Some((before, _))) if *before == id => {}
                (Some(id), _) => drop(self.ready_since.insert(key.name.to_string(), (id, at))),
                (None, _) => drop(self.ready_since.remove(&*key.name)),
            }
        }
    }

    /// What stood for a while before it stopped being so held until now.
    pub fn still(&mut self, at: Duration, statuses: &BTreeMap<ResourceKey, Arc<Status>>) {
        for (key, status) in statuses {
            self.published(at, key, Some(status));
        }
    }

    /// The reading that was the newest when a call was begun.
    pub fn reading(&self, begun: Duration) -> Option<&Read> {
        self.reads.iter().rev().find(|read| read.at <= begun)
    }

    pub fn effect(&mut self, at: Duration, begun: Duration, call: &Call<'_>) {
        if call.by != By::Client || call.operation == "pull image" {
            return;
        }
        if call.refused.is_some() || call.before == call.after {
            return;
        }
        self.last_change = at;
        self.changes += 1;
        if self.resting {
            let service = call.view().and_then(|v| v.container()).and_then(service_of).unwrap_or_default();
            let what = format!("{} {}", call.operation, call.view().map_or("", |v| v.name()));
            self.busy.push((service.to_owned(), what));
        }
        let verdicts = self.judge(at, begun, call);
        for verdict in verdicts {
            self.fail(at, format!("{verdict} ({} {})", call.operation, call.view().map_or("", |v| v.name())));
        }
        self.remember(at, call);
    }

    fn remember(&mut self, at: Duration, call: &Call<'_>) {
        let world = call.world();
        let owned = services(&world).len();
        if let Some(read) = self.reads.last_mut() {
            read.most_owned = read.most_owned.max(owned);
        }
        let Some(after) = call.after.as_ref().and_then(|v| v.container()) else { return };
        let id = after.id.0.to_string();
        if after.name.ends_with(NEXT) {
            self.replacements.insert(id.clone());
        }
        if call.operation == "rename container"
            && after.name.ends_with(FAILED)
            && let Some(service) = service_of(after)
        {
            self.rolled_back.insert(service.to_owned());
        }
        match call.operation {
            "start container" => {
                self.replacements.remove(&id);
            }
            "stop container" => {
                if let Some(service) = service_of(after) {
                    self.restart_asked.remove(service);
                }
                self.stopped.insert(id, at);
            }
            _ => {}
        }
    }

    /// Also while nothing is done.
    pub fn count_owned(&mut self, world: &World) {
        let owned = services(world).len();
        if let Some(read) = self.reads.last_mut() {
            read.most_owned = read.most_owned.max(owned);
        }
    }

    pub fn newest(&self) -> Option<&Arc<DesiredSet>> {
        self.reads.last().map(|read| &read.set)
    }
}

/// By label; `None`: it is not of our stack.
pub fn service_of(container: &ContainerView) -> Option<&str> {
    let ours = container.labels.get(labels::STACK).is_some_and(|stack| stack == STACK);
    container.labels.get(labels::SERVICE).filter(|_| ours).map(String::as_str)
}

/// Services of ours that have a container.
fn services(world: &World) -> BTreeSet<&str> {
    world.containers.values().filter_map(service_of).collect()
}

/// The containers of a service but for one.
pub fn others<'a>(world: &'a World, service: &str, id: &str) -> Vec<&'a ContainerView> {
    world
        .containers
        .values()
        .filter(|c| service_of(c) == Some(service) && *c.id.0 != *id && c.state != RunState::Removing)
        .collect()
}

pub fn asks_for(set: &DesiredSet, key: &ResourceKey) -> bool {
    set.resources.contains_key(key) || set.invalid.contains_key(key)
}

/// What dependents may count on.
fn facts(status: &Status) -> DepFacts {
    let reason = status.conditions.first().map(|c| c.reason);
    let completed = (reason == Some(Reason::Completed)).then_some(0);
    let started = status.container.as_ref().is_some_and(|c| c.running) || completed.is_some();
    DepFacts { started, ready: status.ready, completed, ..DepFacts::default() }
}
