//! What people ask for: look now, try again, restart. And what was last seen, for `describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::wakes::Trigger;
use super::weather::Met;
use super::{Controller, Shared, lock};
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::plan::{FieldChange, Mode, Plan};
use crate::queue;
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::ending::Ending;
use crate::resource::observed::Observed;
use crate::resource::probe::LastTry;
use crate::resource::spec::Adopt;
use crate::resource::status::{Reason, Status, StatusDraft};

/// One run of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub container: ContainerId,
    pub started_at: Option<Timestamp>,
}

/// What was last seen of each resource.
#[derive(Debug)]
pub struct Seen {
    looks: Mutex<BTreeMap<ResourceKey, Look>>,
    /// Counts looks.
    count: watch::Sender<u64>,
    /// Counts those who asked for one.
    asked: AtomicU64,
    /// Runs that somebody asked to restart.
    restarts: Mutex<BTreeMap<ResourceKey, Run>>,
}

/// The last look at a resource.
#[derive(Clone, Debug)]
pub struct Look {
    /// How many had asked for a look when it was begun: before anything of it was read.
    pub asked: u64,
    /// What is to be done, as text; empty: nothing.
    pub plan: String,
    pub changes: Vec<FieldChange>,
    /// Names on the engine.
    pub containers: Vec<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            looks: Mutex::default(),
            count: watch::Sender::new(0),
            asked: AtomicU64::new(0),
            restarts: Mutex::default(),
        }
    }
}

impl Seen {
    /// For [`Self::look`], before anything is read.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn look(&self, key: &ResourceKey, asked: u64, plan: &Plan, observed: &Observed) {
        let containers = match observed {
            Observed::Service(observed) => observed.owned.iter().map(|c| c.name.clone()).collect(),
            _ => Vec::new(),
        };
        let text = if plan.is_empty() { String::new() } else { plan.to_string() };
        let look = Look { asked, plan: text, changes: plan.changes.clone(), containers };
        lock(&self.looks).insert(key.clone(), look);
        self.count.send_modify(|n| *n += 1);
    }

    /// It could not be looked at.
    pub(super) fn failed(&self) {
        self.count.send_modify(|n| *n += 1);
    }

    pub(super) fn forget(&self, key: &ResourceKey) {
        lock(&self.looks).remove(key);
        lock(&self.restarts).remove(key);
    }

    /// What differed at the last look.
    pub(super) fn changes(&self, key: &ResourceKey) -> Vec<FieldChange> {
        lock(&self.looks).get(key).map(|look| look.changes.clone()).unwrap_or_default()
    }

    /// Asks for a look. Those that are begun from now on have at least this number.
    pub(super) fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the last look.
    pub(super) fn last(&self, key: &ResourceKey) -> Option<u64> {
        lock(&self.looks).get(key).map(|look| look.asked)
    }

    fn of(&self, key: &ResourceKey) -> Option<Look> {
        lock(&self.looks).get(key).cloned()
    }
}

impl<E: Engine> Shared<E> {
    pub(super) fn look_again(&self, key: ResourceKey, trigger: Trigger) {
        self.recent.forget(&key);
        self.wakes.add(key, trigger);
    }

    /// The container whose run, as it still is, somebody asked to restart.
    pub(super) fn restart_asked(&self, key: &ResourceKey, observed: &Observed) -> Option<ContainerId> {
        let mut asked = lock(&self.seen.restarts);
        let run = asked.get(key)?;
        let Observed::Service(observed) = observed else { return None };
        let id = run.container.clone();
        if observed.containers().any(|c| c.id == id && c.started_at == run.started_at) {
            return Some(id);
        }
        // It was restarted, by whomever, or replaced.
        asked.remove(key);
        None
    }
}

/// Resources that are looked at in full at each resync; above that they are spread over
/// [`ROLLING_PERIOD`].
const ROLLING: usize = 500;
const ROLLING_PERIOD: Duration = Duration::from_mins(10);

impl<E: Engine> Controller<E> {
    /// Whether the engine answers, as it changes.
    pub fn weather(&self) -> watch::Receiver<Met> {
        self.shared.weather.subscribe()
    }

    /// Of every resource that is known or on its way out; one that has not been looked at is Pending.
    pub fn statuses(&self) -> BTreeMap<ResourceKey, Arc<Status>> {
        let mut statuses = self.shared.status.snapshot();
        for key in self.known().into_iter().chain(self.removing()) {
            statuses.entry(key).or_insert_with_key(|key| {
                let desired = self.shared.desired.get(key);
                let draft = StatusDraft {
                    ready: false,
                    reason: Reason::Pending,
                    message: "it has not been looked at yet".to_owned(),
                    reconciling: Some((Reason::Pending, "it has not been looked at yet".to_owned())),
                    stalled: None,
                    dependency_failing: None,
                    settled: false,
                    container: None,
                };
                Arc::new(self.shared.status_of(desired.as_deref(), draft, None))
            });
        }
        statuses
    }

    pub fn is_suspended(&self, key: &ResourceKey) -> bool {
        self.shared.mode(key) == Mode::Suspended
    }

    /// It is being removed.
    pub fn is_leaving(&self, key: &ResourceKey) -> bool {
        self.shared.mode(key) == Mode::Removing
    }

    pub fn queue(&self) -> queue::Snapshot<ResourceKey> {
        self.shared.queue.snapshot()
    }

    /// What was last seen of a resource, and what each of its probes said last.
    pub fn seen(&self, key: &ResourceKey) -> (Option<Look>, Vec<LastTry>) {
        let container = self.shared.status.get(key).and_then(|s| s.container.clone());
        let last = container.map(|c| self.shared.prober.last(key, &c.id)).unwrap_or_default();
        (self.shared.seen.of(key), last)
    }

    /// How the last run of its container ended that went wrong.
    pub fn last_end(&self, key: &ResourceKey) -> Option<Ending> {
        self.shared.endings.of(key)
    }

    /// Those that need it.
    pub fn dependents(&self, key: &ResourceKey) -> Vec<ResourceKey> {
        self.shared.graph().needed_by(key).cloned().collect()
    }

    /// Looks at these now. Ends when each has been looked at since, and says which have not within
    /// `within`.
    pub async fn look(&self, keys: BTreeSet<ResourceKey>, within: Duration) -> BTreeSet<ResourceKey> {
        let shared = &self.shared;
        let asked = shared.seen.ask();
        let mut count = shared.seen.count.subscribe();
        for key in &keys {
            shared.look_again(key.clone(), Trigger::Asked);
        }
        let mut left = keys;
        let all = async {
            loop {
                count.borrow_and_update();
                left.retain(|key| shared.seen.of(key).is_none_or(|look| look.asked < asked));
                if left.is_empty() || count.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(within, all).await;
        left
    }

    /// Looks at everything, or above 500 resources at the next share of them, from `cursor` on. Whatever
    /// events were lost, this finds what they would have told (P1).
    pub fn resync(&self, cursor: &mut usize, every: Duration) {
        let shared = &self.shared;
        let keys: Vec<_> = self.known().into_iter().collect();
        shared.images.refresh();
        let share = if keys.len() <= ROLLING {
            keys.len()
        } else {
            let rounds = (ROLLING_PERIOD.as_secs_f64() / every.as_secs_f64().max(0.001)).max(1.0);
            // A share is a small positive number.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "bounded by the number of keys"
            )]
            let share = (keys.len() as f64 / rounds).ceil() as usize;
            share.clamp(1, keys.len())
        };
        for i in 0..share {
            shared.look_again(keys[(*cursor + i) % keys.len()].clone(), Trigger::Resync);
        }
        *cursor = if keys.is_empty() { 0 } else { (*cursor + share) % keys.len() };
    }

    /// Forgets what has failed and tries again at once.
    pub fn retry(&self, keys: impl IntoIterator<Item = ResourceKey>) {
        let shared = &self.shared;
        for key in keys {
            lock(&shared.retries).remove(&key);
            lock(&shared.restarts).remove(&key);
            shared.queue.forget(&key);
            shared.images.retry(&key);
            shared.revisions.try_again(&key);
            shared.look_again(key, Trigger::Asked);
        }
    }

    /// Those of `keys` that have failed: backing off, or stalled.
    pub fn failed(&self) -> Vec<ResourceKey> {
        let failing = |status: &Status| status.is_stalled();
        let statuses = self.shared.status.snapshot();
        let retrying = lock(&self.shared.retries).clone();
        statuses
            .into_iter()
            .filter(|(key, status)| {
                failing(status) || retrying.contains_key(key) || self.shared.queue.failures(key) > 0
            })
            .map(|(key, _)| key)
            .collect()
    }

    /// Restarts the container of a service as it runs now. Says whether there is one.
    pub fn restart(&self, key: &ResourceKey) -> bool {
        let container = self.shared.status.get(key).and_then(|s| s.container.clone());
        let Some(container) = container else { return false };
        let desired = self.shared.desired.get(key);
        let adopt = desired.as_ref().and_then(|d| d.spec.as_service()).map(|s| &s.spec.adopt);
        // One that is not ours and is only observed; all of ours have a revision.
        if matches!(adopt, Some(Adopt::Observe(_))) && container.revision.is_empty() {
            return false;
        }
        let run = Run { container: container.id, started_at: container.started_at };
        lock(&self.shared.seen.restarts).insert(key.clone(), run);
        self.shared.look_again(key.clone(), Trigger::Asked);
        true
    }

    /// Says of every resource that the engine does not answer.
    pub(super) fn say_away(&self, error: &crate::engine::EngineError) {
        for key in self.known() {
            let desired: Option<Arc<_>> = self.shared.desired.get(&key);
            self.shared.publish_engine_failure(&key, desired.as_deref(), error);
        }
    }
}
