//! When a row of changes is over.

use std::time::Duration;

use tokio::time::Instant;

/// No change for so long: whoever was writing is done.
pub(super) const QUIET: Duration = Duration::from_millis(50);
/// So long after the first change it is told, even if more keep coming.
pub(super) const LONGEST: Duration = Duration::from_millis(250);

/// Changes that have not been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Burst {
    /// The first and the last one.
    ends: Option<(Instant, Instant)>,
}

impl Burst {
    pub fn add(&mut self, now: Instant) {
        self.ends = Some((self.ends.map_or(now, |(first, _)| first), now));
    }

    /// When to tell; `None`: nothing to tell.
    pub fn due(&self) -> Option<Instant> {
        self.ends.map(|(first, last)| (last + QUIET).min(first + LONGEST))
    }

    /// Whether it is to be told now; then it is over.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.ends = None;
        }
        is_due
    }
}
