//! Sizes, CPU shares and durations as manifests write them and as people read them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A size in bytes; written `512MiB`, `2GiB`, `10m`, `1024`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const SIZE_UNITS: &[(&str, u64)] = &[
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    // Docker's own one-letter units are powers of two.
    ("t", 1 << 40),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("k", 1 << 10),
    ("b", 1),
];

impl Bytes {
    /// Parses a size.
    ///
    /// # Errors
    /// Says what is wrong with the text, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let t = text.trim().to_ascii_lowercase();
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(suffix, unit)| t.strip_suffix(suffix).map(|n| (n.trim_end().to_owned(), *unit)))
            .unwrap_or((t, 1));
        let wrong = || format!("`{text}` is not a size; write it as `512MiB`, `2GiB` or a number of bytes");
        let value: f64 = number.parse().map_err(|_| wrong())?;
        if !value.is_finite() || value < 0.0 {
            return Err(wrong());
        }
        // Whole numbers stay exact; only `1.5GiB` goes through a float.
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(unit).map(Self).ok_or_else(|| format!("`{text}` is too large a size"));
        }
        #[expect(clippy::cast_precision_loss, reason = "units are powers well below 2^53")]
        let bytes = (value * unit as f64).round();
        if bytes > 9e18 {
            return Err(format!("`{text}` is too large a size"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be finite, positive and below 9e18"
        )]
        Ok(Self(bytes as u64))
    }

    /// As the engine's API takes it.
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        u64::deserialize(d).map(Self)
    }
}

/// CPUs in billionths (`1.5` is 1,500,000,000), the unit of Docker's `NanoCpus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoCpus(pub u64);

impl NanoCpus {
    /// Parses `1.5`, `0.25`, `2`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a number of CPUs; write it as `0.5` or `2`");
        let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
        let total = whole.checked_mul(1_000_000_000).and_then(|w| w.checked_add(nanos)).ok_or_else(wrong)?;
        if total == 0 { Err(wrong()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for NanoCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A duration for people: at most two units, no false precision (`0.3 ms`, `1.8 s`, `3m 20s`).
pub fn human_duration(d: Duration) -> String {
    let secs = d.as_secs_f64();
    match d.as_secs() {
        0 if secs < 0.01 => format!("{:.1} ms", secs * 1e3),
        0 => format!("{:.0} ms", secs * 1e3),
        1..=9 => format!("{secs:.1} s"),
        s @ 10..=119 => format!("{s} s"),
        s @ 120..=7199 if s % 60 == 0 => format!("{}m", s / 60),
        s @ 120..=7199 => format!("{}m {}s", s / 60, s % 60),
        s @ 7200..=172_799 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        s => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// serde for durations as humantime text, for what is written to disk.
pub mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(*d))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_and_kubernetes_write_them() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("2GiB", 2 << 30),
            ("10m", 10 << 20),
            ("1.5g", 3 << 29),
            ("1024", 1024),
            ("3 kB", 3000),
            ("64b", 64),
        ] {
            assert_eq!(Bytes::parse(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "GiB", "-1", "1e400", "nan", "99999999999999TiB", "2 apples"] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_whole_unit() {
        assert_eq!(Bytes(2 << 30).to_string(), "2GiB");
        assert_eq!(Bytes(1536 << 20).to_string(), "1536MiB");
        assert_eq!(Bytes(1000).to_string(), "1000");
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(NanoCpus::parse("1.5"), Ok(NanoCpus(1_500_000_000)));
        assert_eq!(NanoCpus::parse("0.000000001"), Ok(NanoCpus(1)));
        assert_eq!(NanoCpus(250_000_000).to_string(), "0.25");
        assert_eq!(NanoCpus(2_000_000_000).to_string(), "2");
        for text in ["0", "-1", "1.0000000001", "", ".5", "two"] {
            assert!(NanoCpus::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_well() {
        for (ms, text) in [(0, "0.0 ms"), (42, "42 ms"), (1800, "1.8 s"), (41_000, "41 s"), (200_000, "3m 20s")] {
            assert_eq!(human_duration(Duration::from_millis(ms)), text);
        }
    }
}
