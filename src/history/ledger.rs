//! What is kept, and what is pushed out. Knows no clock and no disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Entry, MAX_ENTRIES, MAX_ENTRIES_A_SUBJECT, REPEATS_AMONG, REPEATS_WITHIN, Sequence};
use crate::clock::Timestamp;
use crate::resource::ResourceKey;
use crate::resource::event::Happening;

/// Numbers of pushed-out entries that are remembered, for slow readers.
const PUSHED_OUT: usize = 16_384;

/// An entry, and what it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The number that it was first recorded with. Stays through repetitions.
    pub id: Sequence,
    pub entry: Entry,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub revision: Arc<str>,
    entries: BTreeMap<Sequence, Kept>,
    by_subject: BTreeMap<Option<ResourceKey>, BTreeSet<Sequence>>,
    newest: Sequence,
    pushed_out: BTreeSet<Sequence>,
    /// Those that `pushed_out` has no more: how many, and the last of them.
    forgotten: (u64, Sequence),
}

impl Ledger {
    /// Numbers go on from here. Says where that is.
    pub fn begin_after(&mut self, least: Sequence) -> Sequence {
        self.newest = self.newest.max(least).max(1);
        self.newest
    }

    pub fn record(&mut self, happening: Happening, now: Timestamp) -> Sequence {
        self.newest += 1;
        let sequence = self.newest;
        let revision = Arc::clone(&self.revision);
        let kept = if let Some(mut kept) = self.take_earlier(&happening, now) {
            let entry = &mut kept.entry;
            entry.sequence = sequence;
            entry.count += 1;
            entry.last = now;
            // A clock that was put back must not make it end before it began.
            entry.first = entry.first.min(now);
            entry.revision = revision;
            kept
        } else {
            let Happening { subject, reason, message, by } = happening;
            let (first, last, count) = (now, now, 1);
            let entry = Entry { sequence, first, last, count, subject, reason, message, by, revision };
            Kept { id: sequence, entry }
        };
        self.insert(kept);
        sequence
    }

    /// As it was recorded by an earlier process. In any order; numbers are those it had.
    pub fn restore(&mut self, kept: Kept) {
        self.newest = self.newest.max(kept.entry.sequence);
        self.insert(kept);
        // No reader has waited for it.
        self.pushed_out.clear();
    }

    /// Removes the entry that this repeats.
    fn take_earlier(&mut self, happening: &Happening, now: Timestamp) -> Option<Kept> {
        let Happening { subject, reason, message, by } = happening;
        let sequences = self.by_subject.get(subject)?;
        let earlier = sequences.iter().rev().take(REPEATS_AMONG).copied().find(|s| {
            self.entries.get(s).is_some_and(|Kept { entry: e, .. }| {
                e.reason == *reason && e.message == *message && e.by == *by && now.since(e.last) <= REPEATS_WITHIN
            })
        })?;
        self.remove(earlier)
    }

    fn insert(&mut self, kept: Kept) {
        let subject = kept.entry.subject.clone();
        let of_subject = self.by_subject.entry(subject).or_default();
        of_subject.insert(kept.entry.sequence);
        let too_many = (of_subject.len() > MAX_ENTRIES_A_SUBJECT).then(|| of_subject.first().copied()).flatten();
        self.entries.insert(kept.entry.sequence, kept);
        self.push_out(too_many);
        let too_many = (self.entries.len() > MAX_ENTRIES).then(|| self.entries.keys().next().copied()).flatten();
        self.push_out(too_many);
    }

    fn push_out(&mut self, sequence: Option<Sequence>) {
        let Some(sequence) = sequence else { return };
        self.remove(sequence);
        self.pushed_out.insert(sequence);
        if self.pushed_out.len() > PUSHED_OUT
            && let Some(first) = self.pushed_out.pop_first()
        {
            self.forgotten = (self.forgotten.0 + 1, self.forgotten.1.max(first));
        }
    }

    fn remove(&mut self, sequence: Sequence) -> Option<Kept> {
        let kept = self.entries.remove(&sequence)?;
        if let Some(of_subject) = self.by_subject.get_mut(&kept.entry.subject) {
            of_subject.remove(&sequence);
            if of_subject.is_empty() {
                self.by_subject.remove(&kept.entry.subject);
            }
        }
        Some(kept)
    }

    pub fn newest(&self) -> Sequence {
        self.newest
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Oldest first.
    pub fn after(&self, seen: Sequence) -> impl Iterator<Item = &Kept> {
        self.entries.range(seen.saturating_add(1)..).map(|(_, kept)| kept)
    }

    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().rev().map(|kept| &kept.entry)
    }

    /// How many were pushed out that a reader who was last here at `seen` never saw.
    pub fn missed(&self, seen: Sequence) -> u64 {
        if seen == 0 {
            return 0;
        }
        let known = self.pushed_out.range(seen.saturating_add(1)..).count();
        let forgotten = if seen < self.forgotten.1 { self.forgotten.0 } else { 0 };
        u64::try_from(known).unwrap_or(u64::MAX).saturating_add(forgotten)
    }
}
