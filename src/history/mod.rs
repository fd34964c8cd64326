//! What happened, bounded: on disk, repeated events counted.
//!
//! | file | what |
//! |---|---|
//! | `ledger` | what is kept, and what is pushed out |
//! | `disk` | `events.jsonl` |
//!
//! A reader waits on [`History::subscribe`], then calls [`History::since`] with the number it has seen,
//! as with a [`Store`](crate::store::Store): slow readers coalesce, and memory is bounded by what is kept.

mod disk;
mod ledger;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::printable::printable;
use disk::Disk;
use ledger::Ledger;

/// Counts events and their repetitions; 0 is before the first.
///
/// Numbers begin at the clock's milliseconds since 1970, or after the last one on disk where that is
/// higher. So they go on growing where the file was deleted or its end was lost: no process records a
/// thousand events a second for long. They have gaps.
pub type Sequence = u64;

/// Kept in all: a week of a stack that has some trouble a day, and 4 MB at the very most.
pub const MAX_ENTRIES: usize = 2_000;

/// Kept of one subject, so that one that fails all day pushes out nobody else's past.
pub const MAX_ENTRIES_A_SUBJECT: usize = 200;

/// Bytes of a message; the rest is cut off. An engine's error can be pages long.
pub const MAX_MESSAGE: usize = 1_024;

/// Bytes of a caller's name.
const MAX_CALLER: usize = 128;

/// What happens again within this time is counted and not added. Longer than Docker's own and our own
/// backoff (at most five minutes), so that a crash loop is one line however slow it has become.
pub const REPEATS_WITHIN: Duration = Duration::from_mins(10);

/// Looked at for a repetition. A loop has several steps, each with its own line.
const REPEATS_AMONG: usize = 16;

/// From the first event to its being written, with what came meanwhile.
const BATCH: Duration = Duration::from_millis(200);

/// Between two tries to write where one failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("cannot read the event history {}; check its permissions, or remove it", path.display())]
    Read { path: PathBuf, source: io::Error },
}

/// What happened, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Grows with every event and every repetition: that of the last one. The order of entries,
    /// whatever clocks say.
    pub sequence: Sequence,
    pub first: Timestamp,
    pub last: Timestamp,
    /// How often it happened between the two.
    pub count: u64,
    /// `None`: the stack, the source, the engine or the daemon.
    pub subject: Option<ResourceKey>,
    pub reason: EventReason,
    pub message: String,
    pub by: Actor,
    /// Of the manifests, the last time.
    pub revision: Arc<str>,
}

/// What happened, bounded. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    /// Held for moments, and never while anything is written.
    ledger: Mutex<Ledger>,
    newest: watch::Sender<Sequence>,
    /// `None`: kept in memory only.
    disk: Option<Mutex<Disk>>,
}

impl History {
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, Ledger::default(), None)
    }

    /// Reads what is there, and makes nothing. A torn last line (`kill -9`) or a spoilt file loses
    /// only that, with a warning.
    ///
    /// `dir`: the stack's state directory. [`History::run`] writes.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, HistoryError> {
        let (disk, entries) =
            Disk::open(dir).map_err(|source| HistoryError::Read { path: dir.join(disk::FILE), source })?;
        let mut ledger = Ledger::default();
        for kept in entries {
            ledger.restore(kept);
        }
        Ok(Self::new(clock, ledger, Some(disk)))
    }

    fn new(clock: Arc<dyn Clock>, mut ledger: Ledger, disk: Option<Disk>) -> Self {
        let newest = ledger.begin_after(clock.now().0);
        let (ledger, disk) = (Mutex::new(ledger), disk.map(Mutex::new));
        Self { shared: Arc::new(Shared { clock, ledger, newest: watch::Sender::new(newest), disk }) }
    }

    /// Of the manifests: stamped on what is recorded from now on.
    pub fn set_revision(&self, revision: Arc<str>) {
        self.shared.ledger().revision = revision;
    }

    /// Cheap; never waits for the disk, and never fails.
    pub fn record(&self, happening: Happening) -> Sequence {
        let message = printable(&happening.message, MAX_MESSAGE);
        let by = match happening.by {
            Actor::Caller(who) => Actor::Caller(printable(&who, MAX_CALLER)),
            by => by,
        };
        let happening = Happening { message, by, ..happening };
        let now = self.shared.clock.now();
        let sequence = self.shared.ledger().record(happening, now);
        // Two recorders may get here in either order; the number only grows.
        self.shared.newest.send_if_modified(|seen| {
            let newer = sequence > *seen;
            *seen = sequence.max(*seen);
            newer
        });
        sequence
    }

    /// The newest `limit` about these subjects (none: about anything), oldest first.
    pub fn list(&self, subjects: &[ResourceKey], limit: Option<usize>) -> Vec<Entry> {
        let asked = |e: &Entry| subjects.is_empty() || e.subject.as_ref().is_some_and(|s| subjects.contains(s));
        let ledger = self.shared.ledger();
        let newest_first = ledger.newest_first().filter(|e| asked(e)).take(limit.unwrap_or(MAX_ENTRIES));
        let mut entries: Vec<_> = newest_first.cloned().collect();
        entries.reverse();
        entries
    }

    /// The number to go on from; what happened after `seen`, oldest first, each entry once and as it is
    /// now; and how many were pushed out before they could be read.
    ///
    /// A reader that begins with 0 gets everything and has missed nothing. One that has fallen behind
    /// by more than 16,384 pushed-out entries may be told of more than it missed. What an earlier
    /// process pushed out is not counted.
    pub fn since(&self, seen: Sequence) -> (Sequence, Vec<Entry>, u64) {
        let ledger = self.shared.ledger();
        (ledger.newest(), ledger.after(seen).map(|kept| kept.entry.clone()).collect(), ledger.missed(seen))
    }

    pub fn subscribe(&self) -> watch::Receiver<Sequence> {
        self.shared.newest.subscribe()
    }

    /// Writes what is recorded until `shutdown`, and then what is left. Errors (a full disk) are warned
    /// about once a kind, and it is tried again. Does nothing while nothing happens.
    ///
    /// Cancel-safe: a write that has begun goes on, and what it did not cover is written by the next run.
    pub async fn run(&self, shutdown: CancellationToken) {
        if self.shared.disk.is_none() {
            return shutdown.cancelled().await;
        }
        let mut newest = self.subscribe();
        newest.mark_changed();
        let mut warned = BTreeSet::new();
        let mut pause = BATCH;
        loop {
            tokio::select! {
                biased;
                // Both are cancel-safe. The end first, since events could go on for ever.
                () = shutdown.cancelled() => break,
                // The sender lives as long as `self`.
                _ = newest.changed() => {}
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = sleep(pause) => {}
            }
            newest.borrow_and_update();
            pause = match self.flush().await {
                Ok(()) => {
                    if !warned.is_empty() {
                        tracing::info!("the event history is written again");
                        warned.clear();
                    }
                    BATCH
                }
                Err(error) => {
                    warn_once(&mut warned, &error);
                    newest.mark_changed();
                    pause.saturating_mul(2).clamp(RETRY.0, RETRY.1)
                }
            };
        }
        if let Err(error) = self.flush().await {
            warn_once(&mut warned, &error);
        }
    }

    /// Writes what is not on disk yet. On a thread of its own, since a disk can hang.
    async fn flush(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.flush()).await.unwrap_or_else(|e| Err(io::Error::other(e)))
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing panics under the lock but for want of memory.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        let (batch, kept) = {
            let ledger = self.ledger();
            (ledger.after(disk.written()).cloned().collect::<Vec<_>>(), ledger.len())
        };
        if batch.is_empty() {
            return Ok(());
        }
        if disk.is_due(batch.len(), kept) || !disk.append(&batch)? {
            // Its own statement: the lock must be gone before anything is written.
            let all: Vec<_> = self.ledger().after(0).cloned().collect();
            disk.rewrite(&all)?;
        }
        Ok(())
    }
}

/// In memory, with a clock that stands still: for what runs once and shows nobody its history.
impl Default for History {
    fn default() -> Self {
        struct Still;
        impl Clock for Still {
            fn now(&self) -> Timestamp {
                Timestamp::default()
            }
        }
        Self::in_memory(Arc::new(Still))
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("ledger", &*self.shared.ledger()).finish_non_exhaustive()
    }
}

fn warn_once(warned: &mut BTreeSet<io::ErrorKind>, error: &io::Error) {
    if warned.insert(error.kind()) {
        tracing::warn!(%error, "the event history cannot be written; it is kept in memory and tried again");
    }
}
