//! Crash loops: how long to wait before a service is started once more that does not stay up.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::resource::units::human_duration;

/// Before the second start of ours in a row; the first is made at once.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// It doubles each time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Ready for so long, a service is over it.
const OVER_AFTER: Duration = Duration::from_mins(10);

/// The starts in a row that were ours, of a service whose process ended by itself or whose liveness
/// probe failed: those of steps whose [`Cause`](super::Cause) says so. What Docker's own policy
/// restarts is not among them, nor what somebody stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    count: u32,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
}

impl Restarts {
    /// Another one was made. To be called once such a step was taken.
    pub fn started(&mut self, now: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.first_at = self.first_at.or(Some(now));
        self.last_at = Some(now);
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Forgets them.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Forgets them once the service has been Ready for ten minutes. Says how much longer that takes;
    /// `None`: there is nothing (any more) to forget.
    pub fn ready_for(&mut self, how_long: Duration) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let left = OVER_AFTER.checked_sub(how_long).filter(|left| !left.is_zero());
        if left.is_none() {
            self.reset();
        }
        left
    }

    /// When the next one may be made; `None`: at once. Without chance, so that the same plan comes of
    /// the same state. `ended_at` is on the engine's clock, and counts only where that agrees with ours.
    pub(super) fn next_at(&self, ended_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let last_at = self.last_at?;
        let doublings = self.count.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        let from = ended_at.filter(|at| *at >= last_at && *at <= now).unwrap_or(last_at);
        Some(from.plus(pause)).filter(|at| *at > now)
    }

    /// `third time in 40 s`: of an end (or a failure of liveness) at this time.
    pub(super) fn nth(&self, at: Timestamp) -> String {
        let n = self.count.saturating_add(1);
        let nth = match n {
            1 => "first time".to_owned(),
            2 => "second time".to_owned(),
            3 => "third time".to_owned(),
            n => format!("{n} times"),
        };
        match self.first_at {
            Some(first) => format!("{nth} in {}", human_duration(at.since(first))),
            None => nth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp(1_800_000_000_000 + secs * 1000)
    }

    #[test]
    fn the_first_start_is_at_once_and_pauses_double_up_to_five_minutes() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.next_at(Some(at(0)), at(0)), None);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            restarts.started(at(now));
            // It ends one second after each start.
            now += 1;
            let next = restarts.next_at(Some(at(now)), at(now)).unwrap();
            let pause = next.since(at(now)).as_secs();
            assert_eq!(restarts.next_at(Some(at(now)), next), None, "its time has come");
            pauses.push(pause);
            now += pause;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
        restarts.count = u32::MAX;
        restarts.started(at(now));
        assert_eq!(restarts.next_at(None, at(now)), Some(at(now + 300)));
    }

    #[test]
    fn an_end_on_a_clock_that_disagrees_does_not_count() {
        let mut restarts = Restarts::default();
        restarts.started(at(100));
        assert_eq!(restarts.next_at(Some(at(104)), at(105)), Some(at(114)));
        for ended_at in [None, Some(at(5000)), Some(at(3))] {
            assert_eq!(restarts.next_at(ended_at, at(105)), Some(at(110)), "{ended_at:?}");
        }
    }

    #[test]
    fn ten_minutes_of_readiness_end_it() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.ready_for(Duration::ZERO), None);
        restarts.started(at(0));
        assert_eq!(restarts.ready_for(Duration::from_secs(599)), Some(Duration::from_secs(1)));
        assert_eq!(restarts.count(), 1);
        assert_eq!(restarts.ready_for(Duration::from_mins(10)), None);
        assert_eq!(restarts, Restarts::default());
    }

    #[test]
    fn times_are_counted_in_words() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.nth(at(0)), "first time");
        restarts.started(at(0));
        restarts.started(at(11));
        assert_eq!(restarts.nth(at(40)), "third time in 40 s");
        restarts.started(at(50));
        assert_eq!(restarts.nth(at(51)), "4 times in 51 s");
    }
}
