//! Workers, their credits, what is on its way to them. No waiting: time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{CALLS, LEASED_BYTES, MAX_CREDIT, MAX_SHARE, Taken, UNTAKEN};
use crate::tasks::settings::{ByClass, Class, TaskSettings};
use crate::tasks::task::{EventType, Lease, TaskEvent, TaskId, Token};

/// Attempts that are remembered, of each kind.
const RECENT: usize = 1_024;
/// Beyond the time limit of its class and a lease, an attempt is over, whether or not somebody has told.
const SLACK: Duration = Duration::from_mins(1);

/// What is sent to a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    Lease(Lease),
    Cancel { id: TaskId, token: Token, reason: String },
    Drain { reason: &'static str, grace: Duration },
}

/// A lease call that is to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub worker: u64,
    pub name: String,
    pub wanted: Vec<(Class, u32)>,
    pub lease: Duration,
    /// What had happened when it began.
    stirred: ByClass<u64>,
}

#[derive(Debug)]
pub struct State {
    settings: TaskSettings,
    workers: BTreeMap<u64, Worker>,
    next: u64,
    /// Who was served last.
    turn: u64,
    calls: usize,
    /// How often something happened to a class, and when it was seen to have nothing for us.
    stirred: ByClass<u64>,
    dry: ByClass<u64>,
    held: BTreeMap<TaskId, Held>,
    /// Attempts of which a cancellation came before the lease did.
    cancelled: Recent,
    /// Attempts that were answered here: an answer may be repeated.
    answered: Recent,
    releases: Vec<(TaskId, Token)>,
    closing: bool,
}

#[derive(Debug)]
struct Worker {
    name: String,
    lease: Duration,
    credits: ByClass<u32>,
    out: VecDeque<Out>,
    /// When the oldest lease came that is in `out`.
    untaken: Option<Instant>,
    /// Its stream waits for something to send.
    wants: bool,
    calling: bool,
    /// How many it is given at once where others wait, too.
    share: u32,
    drain: Draining,
    wake: Arc<Notify>,
}

#[derive(Debug, PartialEq, Eq)]
enum Draining {
    No,
    /// A call is in flight; what it brings is given back.
    Asked {
        reason: &'static str,
        grace: Duration,
    },
    Told,
}

/// An attempt that was leased here.
#[derive(Debug)]
struct Held {
    token: Token,
    worker: u64,
    class: Class,
    since: Instant,
}

/// The last of many.
#[derive(Debug, Default)]
struct Recent {
    tokens: BTreeSet<Token>,
    order: VecDeque<Token>,
}

impl Recent {
    /// Says whether it is new.
    fn add(&mut self, token: &Token) -> bool {
        if !self.tokens.insert(token.clone()) {
            return false;
        }
        self.order.push_back(token.clone());
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.tokens.remove(&oldest);
        }
        true
    }

    fn has(&self, token: &Token) -> bool {
        self.tokens.contains(token)
    }
}

impl State {
    pub fn new(settings: &TaskSettings) -> Self {
        Self {
            settings: settings.clone(),
            workers: BTreeMap::new(),
            next: 0,
            turn: 0,
            calls: 0,
            stirred: ByClass([1; 4]),
            dry: ByClass([0; 4]),
            held: BTreeMap::new(),
            cancelled: Recent::default(),
            answered: Recent::default(),
            releases: Vec::new(),
            closing: false,
        }
    }

    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub fn enter(&mut self, name: String, lease: Duration, wake: Arc<Notify>) -> u64 {
        self.next += 1;
        let worker = Worker {
            name,
            lease,
            credits: ByClass([0; 4]),
            out: VecDeque::new(),
            untaken: None,
            wants: false,
            calling: false,
            share: 1,
            drain: Draining::No,
            wake,
        };
        self.workers.insert(self.next, worker);
        if self.closing {
            self.stop(self.next, ENDING, Duration::ZERO);
        }
        self.next
    }

    /// What it has not been sent goes back.
    pub fn leave(&mut self, number: u64) {
        if let Some(worker) = self.workers.remove(&number) {
            self.give_back(worker.out);
        }
    }

    pub fn credit(&mut self, number: u64, class: Class, add: u32) -> Result<(), String> {
        let Some(worker) = self.workers.get_mut(&number) else { return Ok(()) };
        if worker.drain != Draining::No {
            return Ok(());
        }
        let credit = worker.credits.of_mut(class);
        *credit = credit
            .checked_add(add)
            .filter(|sum| *sum <= MAX_CREDIT)
            .ok_or_else(|| format!("a worker has at most {MAX_CREDIT} credits of a class"))?;
        Ok(())
    }

    pub fn drain(&mut self, number: u64) {
        self.stop(number, ASKED, Duration::ZERO);
    }

    pub fn close(&mut self, grace: Duration) {
        self.closing = true;
        let all: Vec<_> = self.workers.keys().copied().collect();
        for number in all {
            self.stop(number, ENDING, grace);
        }
    }

    fn stop(&mut self, number: u64, reason: &'static str, grace: Duration) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        worker.credits = ByClass([0; 4]);
        worker.untaken = None;
        let back: VecDeque<_>;
        (back, worker.out) = worker.out.drain(..).partition(|out| matches!(out, Out::Lease(_)));
        if worker.calling {
            worker.drain = Draining::Asked { reason, grace };
        } else {
            worker.tell_drained(reason, grace);
        }
        worker.wake.notify_one();
        self.give_back(back);
    }

    pub fn take(&mut self, number: u64, now: Instant) -> Taken {
        let Some(worker) = self.workers.get_mut(&number) else { return Taken::End };
        match worker.out.pop_front() {
            Some(out) => {
                let more = worker.out.iter().any(|out| matches!(out, Out::Lease(_)));
                worker.untaken = more.then_some(now);
                Taken::Out(out)
            }
            None if self.closing && worker.drain == Draining::Told => Taken::End,
            None => {
                worker.wants = true;
                Taken::Nothing
            }
        }
    }

    /// Something happened to tasks of a class: it may have some for us.
    pub fn stir(&mut self, class: Class) {
        *self.stirred.of_mut(class) += 1;
    }

    /// Says whether there may be something to be done.
    pub fn event(&mut self, event: &TaskEvent) -> bool {
        let TaskEvent { what, id, class, token, error, .. } = event;
        if *what == EventType::Started {
            return false;
        }
        let over = self.held.get(id).is_some_and(|held| held.token.0 == *token);
        if over {
            let held = self.held.remove(id).expect("it was there");
            if *what == EventType::Cancelled {
                self.cancel(held, id, error);
            }
        } else if *what == EventType::Cancelled && !token.is_empty() {
            // Its lease may be on its way to us.
            self.cancelled.add(&Token(token.clone()));
        }
        let waits = matches!(what, EventType::Submitted | EventType::Requeued | EventType::Released);
        // Whatever ends an attempt makes room.
        if waits || self.settings.classes.of(*class).concurrency > 0 {
            self.stir(*class);
            return true;
        }
        !self.releases.is_empty()
    }

    fn cancel(&mut self, held: Held, id: &TaskId, reason: &str) {
        let Some(worker) = self.workers.get_mut(&held.worker) else { return };
        let before = worker.out.len();
        worker.out.retain(|out| !matches!(out, Out::Lease(lease) if lease.token == held.token));
        if worker.out.len() < before {
            // It never got there.
            *worker.credits.of_mut(held.class) += 1;
            return;
        }
        worker.out.push_back(Out::Cancel { id: id.clone(), token: held.token, reason: reason.to_owned() });
        worker.wake.notify_one();
    }

    pub fn attempt(&self, id: &TaskId, token: &Token) -> Option<(Class, Instant)> {
        self.held.get(id).filter(|held| held.token == *token).map(|held| (held.class, held.since))
    }

    pub fn answered(&mut self, id: &TaskId, token: &Token) -> bool {
        if self.attempt(id, token).is_some() {
            self.held.remove(id);
        }
        self.answered.add(token)
    }

    pub fn tick(&mut self, now: Instant) {
        let mut back = VecDeque::new();
        for worker in self.workers.values_mut() {
            if worker.untaken.is_some_and(|since| now - since >= UNTAKEN) {
                worker.untaken = None;
                let (leases, rest): (VecDeque<_>, _) =
                    worker.out.drain(..).partition(|out| matches!(out, Out::Lease(_)));
                worker.out = rest;
                for out in &leases {
                    if let Out::Lease(lease) = out {
                        *worker.credits.of_mut(lease.class) += 1;
                    }
                }
                back.extend(leases);
            }
        }
        self.give_back(back);
        let limits = self.settings.classes;
        let lease = self.settings.lease;
        self.held.retain(|_, held| now - held.since < limits.of(held.class).time_limit + lease + SLACK);
    }

    fn give_back(&mut self, out: VecDeque<Out>) {
        for out in out {
            if let Out::Lease(lease) = out {
                self.held.remove(&lease.id);
                self.releases.push((lease.id, lease.token));
            }
        }
    }

    pub fn take_releases(&mut self) -> Vec<(TaskId, Token)> {
        std::mem::take(&mut self.releases)
    }

    /// Nothing is under way, and nothing will be.
    pub fn is_done(&self) -> bool {
        self.closing && self.calls == 0 && self.releases.is_empty()
    }

    /// The next lease call. [`State::called`] has to follow.
    pub fn next_call(&mut self) -> Option<Call> {
        if self.closing || self.calls >= CALLS {
            return None;
        }
        let (stirred, dry) = (self.stirred, self.dry);
        let classes = |worker: &Worker| -> Vec<(Class, u32)> {
            let ready = worker.wants && !worker.calling && worker.drain == Draining::No;
            let has = |(class, credit): (Class, &u32)| {
                (ready && *credit > 0 && dry.of(class) < stirred.of(class)).then_some((class, *credit))
            };
            worker.credits.iter().filter_map(has).collect()
        };
        // Whoever has just got some waits for the next, too: it shares with the others.
        let alone = self.workers.values().filter(|w| w.credits.iter().any(|(_, credit)| *credit > 0)).count() == 1;
        let after = self.workers.range(self.turn + 1..).chain(self.workers.range(..=self.turn));
        let (number, classes) =
            after.map(|(number, worker)| (*number, classes(worker))).find(|(_, classes)| !classes.is_empty())?;
        self.turn = number;
        self.calls += 1;
        let worker = self.workers.get_mut(&number)?;
        worker.calling = true;
        worker.wants = false;
        let share = if alone { MAX_SHARE } else { worker.share };
        let among = u32::try_from(classes.len()).unwrap_or(1);
        let each = (share / among).max(1);
        let wanted = classes.into_iter().map(|(class, credit)| (class, credit.min(each))).collect();
        Some(Call { worker: number, name: worker.name.clone(), wanted, lease: worker.lease, stirred })
    }

    /// What came of a call; `None`: it failed.
    pub fn called(&mut self, call: &Call, leases: Option<Vec<Lease>>, now: Instant) {
        self.calls -= 1;
        let failed = leases.is_none();
        let leases = leases.unwrap_or_default();
        let bytes: usize = leases.iter().map(|lease| lease.payload.size()).sum();
        let mut short = false;
        for (class, asked) in &call.wanted {
            let got = leases.iter().filter(|lease| lease.class == *class).count();
            if !failed && got < *asked as usize && bytes < LEASED_BYTES {
                short = true;
                let dry = self.dry.of_mut(*class);
                *dry = (*dry).max(*call.stirred.of(*class));
            }
        }
        let Some(worker) = self.workers.get_mut(&call.worker) else {
            return self.give_back(leases.into_iter().map(Out::Lease).collect());
        };
        worker.calling = false;
        if let Draining::Asked { reason, grace } = worker.drain {
            worker.tell_drained(reason, grace);
            worker.wake.notify_one();
            return self.give_back(leases.into_iter().map(Out::Lease).collect());
        }
        worker.share = if short { 1 } else { (worker.share * 2).min(MAX_SHARE) };
        // Its stream still waits, where nothing came in between.
        worker.wants = leases.is_empty() && worker.out.is_empty();
        for lease in leases {
            if self.cancelled.has(&lease.token) {
                continue;
            }
            let credit = worker.credits.of_mut(lease.class);
            *credit = credit.saturating_sub(1);
            let held = Held { token: lease.token.clone(), worker: call.worker, class: lease.class, since: now };
            self.held.insert(lease.id.clone(), held);
            worker.untaken.get_or_insert(now);
            worker.out.push_back(Out::Lease(lease));
        }
        worker.wake.notify_one();
    }
}

impl Worker {
    fn tell_drained(&mut self, reason: &'static str, grace: Duration) {
        if self.drain != Draining::Told || reason == ENDING {
            self.out.push_back(Out::Drain { reason, grace });
        }
        self.drain = Draining::Told;
    }
}

const ENDING: &str = "the daemon is ending";
const ASKED: &str = "as the worker asked";
