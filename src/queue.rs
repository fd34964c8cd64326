//! The work queue, with the semantics of client-go's `workqueue`:
//!
//! - **Deduplicated**: a key that is added many times before it is taken is taken once.
//! - **Never twice at once** (P2): a key that is added while it is being worked on is *dirty*, and
//!   becomes ready exactly once when its lease ends.
//! - **Fair**: first in, first out.
//! - **Delayed adds** keep the earliest time; an add without delay comes first.
//! - **Backoff** per key: 500 ms, doubled to 30 s, ± 10 %; forgotten on success.
//!
//! A lease that is dropped without [`Lease::done`] (a panic) counts as a failure, so nothing is lost.
//!
//! Source: `k8s.io/client-go/util/workqueue` (doc.go, queue.go, `delaying_queue.go`, `rate_limiting_queue.go`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::backoff::{Backoff, Noise};

/// How work on a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Backoff is forgotten.
    Success,
    /// The same, and the key comes again after this.
    RequeueAfter(Duration),
    /// The key comes again after its backoff.
    Retry,
    /// Backoff is kept as it is; the key comes again after this.
    RetryAfter(Duration),
}

/// What a queue tells of itself: client-go's seven metrics are made of these.
pub trait QueueMetrics: Send + Sync + 'static {
    fn added(&self) {}
    /// A key was taken, having been ready this long.
    fn taken(&self, _waited: Duration) {}
    /// Work on a key ended.
    fn ended(&self, _worked: Duration) {}
    fn retried(&self) {}
    fn depth(&self, _keys: usize) {}
}

/// Counts nothing.
impl QueueMetrics for () {}

/// The queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot<K> {
    /// Keys that are ready to be worked on.
    pub depth: usize,
    /// Keys that are worked on, and for how long.
    pub in_flight: Vec<(K, Duration)>,
    /// How long the key at the head has been ready.
    pub oldest_age: Option<Duration>,
    /// Keys that failed, or that are planned for a time.
    pub waiting: Vec<Waiting<K>>,
}

/// A key that failed, or that is planned for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<K> {
    pub key: K,
    /// In a row.
    pub failures: u32,
    /// Until it comes again; `None`: it is not planned.
    pub due_in: Option<Duration>,
}

/// Shared by all who add and the one who takes.
pub struct Queue<K: Ord + Clone> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: Ord + Clone> {
    state: Mutex<State<K>>,
    wake: Notify,
    backoff: Backoff,
    metrics: Box<dyn QueueMetrics>,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Since when each ready key has waited.
    ready_since: BTreeMap<K, Instant>,
    processing: BTreeMap<K, Instant>,
    /// Added while being worked on.
    dirty: BTreeSet<K>,
    /// When a key becomes ready, and the index by time.
    delayed: BTreeMap<K, Instant>,
    timers: BTreeSet<(Instant, K)>,
    failures: BTreeMap<K, u32>,
    noise: Noise,
    closed: bool,
}

impl<K: Ord + Clone> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Ord + Clone + std::fmt::Debug> std::fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Queue")
            .field("ready", &state.ready)
            .field("processing", &state.processing)
            .field("dirty", &state.dirty)
            .field("delayed", &state.delayed)
            .finish_non_exhaustive()
    }
}

impl<K: Ord + Clone> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Every change below is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Queue<K> {
    pub fn new(backoff: Backoff, noise: Noise) -> Self {
        Self::with_metrics(backoff, noise, Box::new(()))
    }

    pub fn with_metrics(backoff: Backoff, noise: Noise, metrics: Box<dyn QueueMetrics>) -> Self {
        let state = State {
            ready: VecDeque::new(),
            ready_since: BTreeMap::new(),
            processing: BTreeMap::new(),
            dirty: BTreeSet::new(),
            delayed: BTreeMap::new(),
            timers: BTreeSet::new(),
            failures: BTreeMap::new(),
            noise,
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake: Notify::new(), backoff, metrics }) }
    }

    /// Makes a key ready, now.
    pub fn add(&self, key: K) {
        let depth = {
            let mut state = self.shared.lock();
            if state.closed {
                return;
            }
            state.cancel_timer(&key);
            state.push(key);
            state.ready.len()
        };
        self.shared.metrics.added();
        self.shared.metrics.depth(depth);
        self.shared.wake.notify_one();
    }

    /// Makes a key ready after a while. Of several delays the earliest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        {
            let mut state = self.shared.lock();
            if state.closed {
                return;
            }
            state.delay(key, Instant::now() + delay);
        }
        self.shared.wake.notify_one();
    }

    /// The next key to work on; `None` once the queue is closed. For one caller at a time.
    ///
    /// Cancel safe: a key leaves the queue only with its lease.
    pub async fn next(&self) -> Option<Lease<K>> {
        loop {
            let wait_until = {
                let mut state = self.shared.lock();
                if state.closed {
                    return None;
                }
                let now = Instant::now();
                state.promote(now);
                if let Some(key) = state.ready.pop_front() {
                    let since = state.ready_since.remove(&key).unwrap_or(now);
                    state.processing.insert(key.clone(), now);
                    let depth = state.ready.len();
                    drop(state);
                    self.shared.metrics.taken(now - since);
                    self.shared.metrics.depth(depth);
                    return Some(Lease { key, shared: Arc::clone(&self.shared), ended: false });
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match wait_until {
                // Either a timer or an add wakes; both look again.
                Some(at) => tokio::select! {
                    biased;
                    () = self.shared.wake.notified() => {}
                    () = sleep_until(at) => {}
                },
                None => self.shared.wake.notified().await,
            }
        }
    }

    /// Takes no more keys: [`Queue::next`] ends. Leases in hand go on.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }

    /// A key is ready or being worked on: who works on it may know less than is known by now.
    pub fn is_busy(&self, key: &K) -> bool {
        let state = self.shared.lock();
        state.ready_since.contains_key(key) || state.processing.contains_key(key)
    }

    pub fn snapshot(&self) -> Snapshot<K> {
        let state = self.shared.lock();
        let now = Instant::now();
        let mut waiting: BTreeMap<&K, Waiting<K>> = BTreeMap::new();
        let unplanned = |key: &K| Waiting { key: key.clone(), failures: 0, due_in: None };
        for (key, failures) in &state.failures {
            waiting.entry(key).or_insert_with(|| unplanned(key)).failures = *failures;
        }
        for (key, at) in &state.delayed {
            waiting.entry(key).or_insert_with(|| unplanned(key)).due_in = Some(at.saturating_duration_since(now));
        }
        Snapshot {
            depth: state.ready.len(),
            in_flight: state.processing.iter().map(|(key, since)| (key.clone(), now - *since)).collect(),
            oldest_age: state.ready.front().and_then(|key| state.ready_since.get(key)).map(|since| now - *since),
            waiting: waiting.into_values().collect(),
        }
    }

    /// Forgets the failures of a key, so that its backoff begins anew.
    pub fn forget(&self, key: &K) {
        self.shared.lock().failures.remove(key);
    }

    /// Failures in a row of a key.
    pub fn failures(&self, key: &K) -> u32 {
        self.shared.lock().failures.get(key).copied().unwrap_or(0)
    }
}

impl<K: Ord + Clone> State<K> {
    fn push(&mut self, key: K) {
        if self.processing.contains_key(&key) {
            self.dirty.insert(key);
        } else if !self.ready_since.contains_key(&key) {
            self.ready_since.insert(key.clone(), Instant::now());
            self.ready.push_back(key);
        }
    }

    fn delay(&mut self, key: K, at: Instant) {
        if self.ready_since.contains_key(&key) || self.delayed.get(&key).is_some_and(|old| *old <= at) {
            return;
        }
        self.cancel_timer(&key);
        self.delayed.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    fn cancel_timer(&mut self, key: &K) {
        if let Some(at) = self.delayed.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    fn promote(&mut self, now: Instant) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.timers.pop_first() {
                self.delayed.remove(&key);
                self.push(key);
            }
        }
    }
}

/// The right to work on a key. While it is held nobody else gets the same key.
pub struct Lease<K: Ord + Clone> {
    key: K,
    shared: Arc<Shared<K>>,
    ended: bool,
}

impl<K: Ord + Clone + std::fmt::Debug> std::fmt::Debug for Lease<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<K: Ord + Clone> Lease<K> {
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The key was added again since it was taken: what this work knows may be out of date.
    pub fn superseded(&self) -> bool {
        self.shared.lock().dirty.contains(&self.key)
    }

    /// Takes note of what made the key dirty: whoever plans anew right now needs no second run for it.
    /// Call it *before* observing.
    pub fn refresh(&self) {
        self.shared.lock().dirty.remove(&self.key);
    }

    /// Ends the work. Returns when the key comes again by itself, if it does.
    pub fn done(mut self, outcome: Outcome) -> Option<Duration> {
        self.end(outcome)
    }

    fn end(&mut self, outcome: Outcome) -> Option<Duration> {
        self.ended = true;
        let (delay, worked) = {
            let mut state = self.shared.lock();
            let now = Instant::now();
            let worked = state.processing.remove(&self.key).map(|since| now - since).unwrap_or_default();
            let delay = match outcome {
                Outcome::Success => {
                    state.failures.remove(&self.key);
                    None
                }
                Outcome::RequeueAfter(delay) => {
                    state.failures.remove(&self.key);
                    Some(delay)
                }
                Outcome::Retry => {
                    let failures = state.failures.entry(self.key.clone()).or_default();
                    *failures = failures.saturating_add(1);
                    let attempt = *failures;
                    let noise = state.noise.unit();
                    Some(self.shared.backoff.delay(attempt, noise))
                }
                Outcome::RetryAfter(delay) => Some(delay),
            };
            if state.dirty.remove(&self.key) {
                state.cancel_timer(&self.key);
                let key = self.key.clone();
                state.push(key);
            } else if let Some(delay) = delay
                && !state.closed
            {
                let key = self.key.clone();
                state.delay(key, now + delay);
            }
            (delay, worked)
        };
        self.shared.metrics.ended(worked);
        if matches!(outcome, Outcome::Retry | Outcome::RetryAfter(_)) {
            self.shared.metrics.retried();
        }
        self.shared.wake.notify_one();
        delay
    }
}

impl<K: Ord + Clone> Drop for Lease<K> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Outcome::Retry);
        }
    }
}

#[cfg(test)]
mod tests;
