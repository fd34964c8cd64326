//! All probes of all services: one timer heap, one future.
//!
//! [`Prober::run`] is the only thing that waits: for the next try that is due, for tries that end,
//! and for changes of what is wanted. Tries are futures within it, so that dropping it ends
//! everything. Only *edges* are reported: ten thousand probes that go on passing tell nobody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::ROLES;
use super::check::{Tried, attempt};
use super::route::{Route, Target};
use super::watch::Watch;
use crate::clock::{Clock, Timestamp};
use crate::engine::Engine;
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::probe::{Check, LastTry, ProbeRole, ProbeState, Probes};

/// Execs in flight at once: each costs the engine some 30 ms of work.
const EXECS: usize = 8;
/// Other tries in flight at once: after a start all are due at the same moment, and each holds a
/// file descriptor.
const CONNECTIONS: usize = 256;

/// Is told of every try that counts: of what, whether it passed, how long it took.
type Meter = Box<dyn Fn(&ResourceKey, ProbeRole, bool, Duration) + Send + Sync>;

/// Probes every container that is wanted, and reports changes of what is known of it.
pub struct Prober<E> {
    engine: Arc<E>,
    clock: Arc<dyn Clock>,
    edge: Box<dyn Fn(ResourceKey) + Send + Sync>,
    meter: Meter,
    wake: Notify,
    execs: Semaphore,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Of each service the container that serves, and the one that is to take its place.
    watches: BTreeMap<(ResourceKey, ContainerId), Watch>,
    timers: BinaryHeap<Reverse<Timer>>,
    epochs: u64,
    order: u64,
}

/// Stale where the slot's `due` is another. Ordered by time, then by when it was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    order: u64,
    epoch: u64,
    subject: (ResourceKey, ContainerId),
    role: ProbeRole,
}

/// A try to be made.
struct Try {
    subject: (ResourceKey, ContainerId),
    role: ProbeRole,
    epoch: u64,
    version: u64,
    target: Target,
    probe: crate::resource::probe::Probe,
    route: Route,
    hanging: Option<String>,
}

struct Ended {
    subject: (ResourceKey, ContainerId),
    role: ProbeRole,
    epoch: u64,
    version: u64,
    route: Route,
    tried: Tried,
    at: Instant,
    is_exec: bool,
}

impl<E: Engine> Prober<E> {
    /// `edge` is called with every key whose [`ProbeState`] has changed in a way that matters. It
    /// must be quick; it may call back.
    pub fn new(engine: Arc<E>, clock: Arc<dyn Clock>, edge: impl Fn(ResourceKey) + Send + Sync + 'static) -> Self {
        Self {
            engine,
            clock,
            edge: Box::new(edge),
            meter: Box::new(|_, _, _, _| {}),
            wake: Notify::new(),
            execs: Semaphore::new(EXECS),
            inner: Mutex::default(),
        }
    }

    /// `meter` is called with every try that counts. It must be quick.
    #[must_use]
    pub fn with_meter(
        mut self,
        meter: impl Fn(&ResourceKey, ProbeRole, bool, Duration) + Send + Sync + 'static,
    ) -> Self {
        self.meter = Box::new(meter);
        self
    }

    /// Level-triggered: to be called with what is so now, as often as one likes. A changed
    /// container or start time begins anew; anything else is taken over in place. Others of the service
    /// are probed no more: they are gone, stopped or about to be.
    pub fn want(&self, key: &ResourceKey, targets: &[Target], probes: &Probes) {
        let now = Instant::now();
        let (mut changed, mut news) = (false, false);
        {
            let mut inner = self.lock();
            let inner = &mut *inner;
            inner.forget_but(key, targets);
            for target in targets {
                let subject = (key.clone(), target.container.clone());
                match inner.watches.get_mut(&subject) {
                    Some(watch) if watch.target.is_same_run(target) => {
                        if watch.target == *target && watch.probes == *probes {
                            continue;
                        }
                        watch.adjust(target.clone(), probes, now);
                    }
                    _ => {
                        inner.epochs += 1;
                        let watch = Watch::new(target.clone(), probes.clone(), inner.epochs, now);
                        inner.watches.insert(subject.clone(), watch);
                    }
                }
                inner.set_timers(&subject);
                changed = true;
                news |= inner.watches.get_mut(&subject).is_some_and(|w| w.take_news(now));
            }
        }
        if changed {
            self.wake.notify_one();
        }
        if news {
            (self.edge)(key.clone());
        }
    }

    /// No more of this service.
    pub fn forget(&self, key: &ResourceKey) {
        self.lock().forget_but(key, &[]);
    }

    /// What is known of this run of a container; nothing where another one is watched, or none: what was
    /// learnt of an earlier one no longer holds.
    pub fn state(&self, key: &ResourceKey, container: &ContainerId, started_at: Option<Timestamp>) -> ProbeState {
        let inner = self.lock();
        let watch = inner.watches.get(&(key.clone(), container.clone()));
        watch.filter(|w| w.target.started_at == started_at).map(Watch::state).unwrap_or_default()
    }

    /// The last try of each probe of a container, for `describe`.
    pub fn last(&self, key: &ResourceKey, container: &ContainerId) -> Vec<LastTry> {
        self.lock().watches.get(&(key.clone(), container.clone())).map(Watch::last).unwrap_or_default()
    }

    /// Probes until it is dropped. Only one may run.
    pub async fn run(&self) {
        let mut tries: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send + '_>>> = FuturesUnordered::new();
        let mut connections = 0;
        loop {
            let next = loop {
                if connections >= CONNECTIONS {
                    break None;
                }
                match self.take_due(Instant::now()) {
                    Ok(due) => {
                        connections += usize::from(!is_exec(&due));
                        tries.push(Box::pin(self.make(due)));
                    }
                    Err(next) => break next,
                }
            };
            // An endless stream of results must not starve the timers, nor the other way round:
            // each branch returns to the loop above, which takes all that is due.
            tokio::select! {
                biased;
                // Cancel-safe: what is not returned stays in `tries`.
                Some(ended) = tries.next(), if !tries.is_empty() => {
                    connections -= usize::from(!ended.is_exec);
                    self.take_in(ended);
                }
                // Cancel-safe: a notification that is not received stays stored.
                () = self.wake.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// The next try that is due; or else when one will be.
    fn take_due(&self, now: Instant) -> Result<Try, Option<Instant>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        loop {
            let Some(Reverse(timer)) = inner.timers.peek() else { return Err(None) };
            if timer.due > now && inner.is_current(timer) {
                return Err(Some(timer.due));
            }
            let Some(Reverse(timer)) = inner.timers.pop() else { return Err(None) };
            let current = inner.is_current(&timer);
            let Timer { subject, role, epoch, due, .. } = timer;
            let Some(watch) = inner.watches.get_mut(&subject).filter(|w| w.epoch == epoch) else { continue };
            if watch.slot(role).timed == Some(due) {
                watch.slot(role).timed = None;
            }
            if !current {
                continue;
            }
            let Some(probe) = watch.probe(role).cloned() else { continue };
            let target = watch.target.clone();
            let slot = watch.slot(role);
            slot.due = None;
            let Some(route) = slot.route().cloned() else { continue };
            slot.in_flight = true;
            let (version, hanging) = (slot.version, slot.hanging.take());
            return Ok(Try { subject, role, epoch, version, target, probe, route, hanging });
        }
    }

    async fn make(&self, it: Try) -> Ended {
        let is_exec = is_exec(&it);
        let Try { subject, role, epoch, version, target, probe, route, hanging } = it;
        // The permit comes first: waiting for it is not the container's fault.
        let _permit = if is_exec { self.execs.acquire().await.ok() } else { None };
        let tried = attempt(&*self.engine, &target, &probe, &route, hanging).await;
        Ended { subject, role, epoch, version, route, tried, at: Instant::now(), is_exec }
    }

    fn take_in(&self, ended: Ended) {
        let Ended { subject, role, epoch, version, route, tried, at, .. } = ended;
        let (passed, took) = (tried.passed, tried.latency);
        let (news, counts) = {
            let mut inner = self.lock();
            let Some(watch) = inner.watches.get_mut(&subject).filter(|w| w.epoch == epoch) else { return };
            let counts = watch.slot(role).version == version;
            if counts {
                watch.record(role, &route, tried, at, self.clock.now());
            } else {
                watch.discard(role, tried.hanging, at);
            }
            let news = watch.take_news(at);
            inner.set_timers(&subject);
            (news, counts)
        };
        if counts {
            (self.meter)(&subject.0, role, passed, took);
        }
        if news {
            (self.edge)(subject.0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_but(&mut self, key: &ResourceKey, targets: &[Target]) {
        // Ids are never empty, so this comes before all of them.
        let from = (key.clone(), ContainerId::new(""));
        let mine = self.watches.range(from..).map(|(subject, _)| subject).take_while(|(k, _)| k == key);
        let left: Vec<_> = mine.filter(|(_, id)| !targets.iter().any(|t| t.container == *id)).cloned().collect();
        for subject in left {
            self.watches.remove(&subject);
        }
    }

    /// Sees to it that every planned try has a timer. One too many does no harm.
    fn set_timers(&mut self, subject: &(ResourceKey, ContainerId)) {
        let Some(watch) = self.watches.get_mut(subject) else { return };
        let epoch = watch.epoch;
        for role in ROLES {
            if let Some(due) = watch.slot(role).due
                && watch.slot(role).timed != Some(due)
            {
                watch.slot(role).timed = Some(due);
                self.order += 1;
                self.timers.push(Reverse(Timer { due, order: self.order, epoch, subject: subject.clone(), role }));
            }
        }
    }

    fn is_current(&self, timer: &Timer) -> bool {
        self.watches.get(&timer.subject).is_some_and(|w| w.epoch == timer.epoch && w.due(timer.role) == Some(timer.due))
    }
}

fn is_exec(it: &Try) -> bool {
    matches!(it.probe.check, Check::Exec { .. })
}

#[cfg(test)]
impl<E> Prober<E> {
    pub(super) fn engine_for_tests(&self) -> Arc<E> {
        self.engine.clone()
    }
}
