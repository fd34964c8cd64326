//! The wall clock: read once, then carried on by tokio's clock, so that a paused runtime pauses it too
//! and a step of the system's clock moves no deadline.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};

#[derive(Debug)]
pub struct WallClock {
    at_start: Timestamp,
    start: Instant,
}

impl WallClock {
    #[expect(clippy::disallowed_methods, reason = "one of two places where the system's clock is read")]
    pub fn new() -> Self {
        Self { at_start: Timestamp::from_system(SystemTime::now()), start: Instant::now() }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        self.at_start.plus(self.start.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "the other place where the system's clock is read")]
    fn system(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }
}
