//! Our types as messages, and the status document back again, so that `status` prints the same with and
//! without a daemon.
//!
//! Texts that are not there are empty in messages. What is taken apart is taken apart exhaustively: a new
//! field does not compile until it has a place here, or is left out on purpose.

mod detail;
mod queue;
mod status;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use detail::{description, event, key, log_line, waiting};
pub use queue::queue_metrics;
pub use status::{convergence, report, resource, service, service_report};

use crate::clock::Timestamp;

/// The last moment that has a text: 9999-12-31T23:59:59.999Z.
const LAST: u64 = 253_402_300_799_999;

pub fn moment(time: Timestamp) -> prost_types::Timestamp {
    let time = time.0.min(LAST);
    prost_types::Timestamp {
        seconds: i64::try_from(time / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(time % 1_000 * 1_000_000).unwrap_or(0),
    }
}

/// `None`: before 1970, after 9999, or no moment at all.
pub fn timestamp(moment: &prost_types::Timestamp) -> Option<Timestamp> {
    let seconds = u64::try_from(moment.seconds).ok()?;
    let nanos = u64::try_from(moment.nanos).ok().filter(|n| *n < 1_000_000_000)?;
    let millis = seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)?;
    (millis <= LAST).then_some(Timestamp(millis))
}

/// Of RFC 3339.
fn moment_of_text(text: &str) -> Option<prost_types::Timestamp> {
    let time: SystemTime = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok()?;
    Some(moment(Timestamp::from_system(time)))
}

/// RFC 3339; empty where there is none.
fn text_of_moment(moment: Option<&prost_types::Timestamp>) -> Option<String> {
    moment.and_then(timestamp).map(|t| t.to_string())
}

pub fn span(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Numbers of things: there are never so many.
fn many(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn few(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
