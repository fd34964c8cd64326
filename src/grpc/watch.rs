//! What WatchConvergence and WatchEvents send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::convert;
use super::wakes::Wakes;
use crate::daemon::Environment;
use crate::history::{Entry, History, Sequence};
use crate::net::pull::Pull;
use crate::net::refuse::ending;
use crate::proto::env_manager::v1;
use crate::report::status::ResourceReport;
use crate::report::{ServiceReport, StatusReport, View};
use crate::resource::status::Status;
use crate::resource::{Kind, ResourceKey};

/// First the whole, then what changed.
pub struct ConvergenceWatch<E> {
    environment: E,
    /// Only these services; empty: all.
    names: Vec<String>,
    /// The reader is elsewhere.
    without_texts: bool,
    wakes: Wakes,
    sent: Option<Sent>,
}

/// What the reader knows.
struct Sent {
    /// Without services, resources and time.
    header: v1::Convergence,
    statuses: BTreeMap<ResourceKey, Arc<Status>>,
}

impl<E: Environment> ConvergenceWatch<E> {
    pub fn new(environment: E, names: Vec<String>, without_texts: bool) -> Self {
        let wakes = Wakes::new(&environment);
        Self { environment, names, without_texts, wakes, sent: None }
    }

    fn shows(&self, key: &ResourceKey) -> bool {
        key.kind != Kind::Service || self.names.is_empty() || self.names.iter().any(|name| **name == *key.name)
    }

    /// Compared with what was sent; `None`: it is the same. All of it is of one moment, so that the header
    /// claims nothing that the statuses, added up, do not.
    fn news(&mut self) -> Option<v1::WatchConvergenceResponse> {
        let view = self.environment.view();
        let mut header = StatusReport::header(&view);
        if self.without_texts {
            header.without_texts();
        }
        let mut header = convert::convergence(header, self.environment.identity().version);
        let time = header.time.take();
        let View { mut statuses, .. } = view;
        statuses.retain(|key, _| self.shows(key));
        let before = self.sent.as_ref();
        let old = |key: &ResourceKey| before.and_then(|sent| sent.statuses.get(key));

        // Most are the very same value: nothing is made of them.
        let changed = statuses.iter().filter(|(key, new)| old(key).is_none_or(|old| !Arc::ptr_eq(old, new)));
        let mut convergence = header.clone();
        for (key, new) in changed {
            let mut told = self.told(key, new);
            // Without its texts it may be what the reader knows already.
            if old(key).is_none_or(|old| self.told(key, old) != told) {
                convergence.services.append(&mut told.services);
                convergence.resources.append(&mut told.resources);
            }
        }
        let removed: Vec<_> = before
            .map(|sent| sent.statuses.keys().filter(|key| !statuses.contains_key(*key)).map(convert::key).collect())
            .unwrap_or_default();

        let whole = before.is_none();
        let same = before.is_some_and(|sent| sent.header == header)
            && convergence.services.is_empty()
            && convergence.resources.is_empty()
            && removed.is_empty();
        self.sent = Some(Sent { header, statuses });
        convergence.time = time;
        (!same).then_some(v1::WatchConvergenceResponse { convergence: Some(convergence), removed, whole })
    }

    /// One service or resource, and nothing else.
    fn told(&self, key: &ResourceKey, status: &Status) -> v1::Convergence {
        let mut one = v1::Convergence::default();
        match key.kind {
            Kind::Service => {
                let mut report = ServiceReport::new(&key.name, status);
                if self.without_texts {
                    report.without_texts();
                }
                one.services.push(convert::service(report));
            }
            Kind::Network | Kind::Volume => {
                let mut report = ResourceReport::new(key, status);
                if self.without_texts {
                    report.without_texts();
                }
                one.resources.push(convert::resource(report));
            }
        }
        one
    }
}

impl<E: Environment> Pull for ConvergenceWatch<E> {
    type Message = v1::WatchConvergenceResponse;

    async fn next(&mut self) -> Result<Option<Self::Message>, tonic::Status> {
        loop {
            self.wakes.look()?;
            if let Some(news) = self.news() {
                return Ok(Some(news));
            }
            self.wakes.changed().await?;
        }
    }
}

/// Kept for a reader at most: the history has the rest until there is room.
const BATCH: usize = 64;

/// From the past on, as it happens.
pub struct EventsWatch {
    history: History,
    /// Only about these; empty: all.
    subjects: Vec<ResourceKey>,
    newest: watch::Receiver<Sequence>,
    closing: CancellationToken,
    /// All up to here were taken from the history.
    seen: Sequence,
    /// The newest when the watch began: what was pushed out before is nobody's loss.
    start: Sequence,
    batch: VecDeque<Entry>,
    missed: u64,
    retry_after: Duration,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Now,
    /// With the newest so many.
    Past(usize),
    After(Sequence),
}

impl EventsWatch {
    pub fn new<E: Environment>(environment: &E, subjects: Vec<ResourceKey>, begin: Begin) -> Self {
        let history = environment.history().clone();
        let mut newest = history.subscribe();
        let now = *newest.borrow_and_update();
        newest.mark_changed();
        let seen = match begin {
            Begin::Now => now,
            Begin::Past(count) => {
                let oldest = history.list(&subjects, Some(count)).first().map(|entry| entry.sequence);
                oldest.map_or(now, |sequence| sequence.saturating_sub(1))
            }
            Begin::After(sequence) => sequence,
        };
        // Who names an event knows what came before it, and is told of all that was pushed out since.
        let start = if let Begin::After(sequence) = begin { sequence } else { now };
        Self {
            history,
            subjects,
            newest,
            closing: environment.closing(),
            seen,
            start,
            batch: VecDeque::new(),
            missed: 0,
            retry_after: environment.retry_after(),
        }
    }

    fn is_asked(&self, entry: &Entry) -> bool {
        self.subjects.is_empty() || entry.subject.as_ref().is_some_and(|subject| self.subjects.contains(subject))
    }

    /// Takes the next from the history.
    fn fill(&mut self) {
        let (newest, mut entries, missed) = self.history.since(self.seen);
        let more = entries.len() > BATCH;
        entries.truncate(BATCH);
        let until = if more { entries.last().map_or(newest, |entry| entry.sequence) } else { newest };
        // Only what was pushed out between where the watch began and the end of this batch.
        if until > self.start {
            let gone = |after: Sequence| self.history.since(after).2;
            let missed = if self.seen < self.start { gone(self.start) } else { missed };
            let later = if more { gone(until) } else { 0 };
            self.missed += missed.saturating_sub(later);
        }
        self.seen = until.max(self.seen);
        let asked: Vec<_> = entries.into_iter().filter(|entry| self.is_asked(entry)).collect();
        self.batch = asked.into();
        if more {
            self.newest.mark_changed();
        }
    }
}

impl Pull for EventsWatch {
    type Message = v1::WatchEventsResponse;

    async fn next(&mut self) -> Result<Option<Self::Message>, tonic::Status> {
        loop {
            if self.closing.is_cancelled() {
                return Err(ending(self.retry_after));
            }
            if let Some(entry) = self.batch.pop_front() {
                let missed = std::mem::take(&mut self.missed);
                return Ok(Some(v1::WatchEventsResponse { event: Some(convert::event(entry)), missed }));
            }
            tokio::select! {
                biased;
                // Both are cancel-safe. The end first: events could go on for ever.
                () = self.closing.cancelled() => {}
                changed = self.newest.changed() => changed.map_err(|_| ending(self.retry_after))?,
            }
            self.newest.mark_unchanged();
            self.fill();
        }
    }
}
