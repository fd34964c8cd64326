//! RFC 3339 as the engine writes it: nanoseconds or none, UTC or the engine's own offset.

use std::time::Duration;

use crate::clock::Timestamp;

/// `None` for the engine's "never" (`0001-01-01T00:00:00Z`) and for what is no time at all.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (local, offset) = split_offset(text)?;
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let utc = if offset >= 0 {
        time.checked_sub(Duration::from_secs(offset.unsigned_abs()))
    } else {
        time.checked_add(Duration::from_secs(offset.unsigned_abs()))
    };
    utc.map(Timestamp::from_system).filter(|t| t.0 > 0)
}

/// The part without the offset, and the offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix('Z') {
        return Some((local, 0));
    }
    let at = text.len().checked_sub(6)?;
    let (local, offset) = (text.get(..at)?, text.get(at..)?);
    let sign = match offset.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    Some((local, sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_offset() {
        let noon = Some(Timestamp(1_767_268_800_000));
        assert_eq!(parse("2026-01-01T12:00:00Z"), noon);
        assert_eq!(parse("2026-01-01T13:30:00+01:30"), noon);
        assert_eq!(parse("2026-01-01T07:00:00.000000001-05:00"), noon);
        assert_eq!(parse("2026-01-01T12:00:00.123456789Z"), Some(Timestamp(1_767_268_800_123)));
    }

    #[test]
    fn never_and_nonsense_are_no_time() {
        for text in ["0001-01-01T00:00:00Z", "", "Z", "yesterday", "2026-01-01T12:00:00~01:00", "€€"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
