//! What happened, line by line: hashed always, kept for people.

use std::fmt::Write as _;
use std::time::Duration;

use env_manager::resource::hash::sha256_hex;

/// Lines kept for a failure; the last ones tell why.
const KEPT: usize = 6_000;
/// Of a runaway, whose lines are all alike.
const KEPT_OF_A_RUNAWAY: usize = 100;

/// A history that comes to more is a runaway, and what it would come to is not collected. Each is some twenty times
/// the most of seeds 0 to 300 (1,885 lines, 160,571 bytes).
const MOST_LINES: usize = 40_000;
const MOST_BYTES: usize = 3_000_000;

/// Virtual time, who, what.
#[derive(Default)]
pub struct Trace {
    lines: Vec<String>,
    cut: usize,
    /// Of all lines.
    bytes: usize,
    /// Of all lines, also of those that are no longer kept.
    hash: String,
    unhashed: String,
}

impl Trace {
    pub fn add(&mut self, at: Duration, who: &str, what: &str) {
        let line = format!("{:>6}.{:03} {who:<8} {what}", at.as_secs(), at.subsec_millis());
        self.bytes += line.len();
        let _ = writeln!(self.unhashed, "{line}");
        if self.unhashed.len() > 64 << 10 {
            self.fold();
        }
        self.lines.push(line);
        if self.lines.len() > 2 * KEPT {
            self.lines.drain(..KEPT);
            self.cut += KEPT;
        }
    }

    fn fold(&mut self) {
        let text = format!("{}{}", self.hash, std::mem::take(&mut self.unhashed));
        self.hash = sha256_hex(text.as_bytes());
    }

    pub fn hash(&mut self) -> String {
        self.fold();
        self.hash.clone()
    }

    /// Lines and bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.cut + self.lines.len(), self.bytes)
    }

    pub fn is_full(&self) -> bool {
        let (lines, bytes) = self.size();
        lines > MOST_LINES || bytes > MOST_BYTES
    }

    pub fn text(&self) -> String {
        let kept = if self.is_full() { KEPT_OF_A_RUNAWAY } else { KEPT };
        let from = self.lines.len().saturating_sub(kept);
        let cut = self.cut + from;
        let begin = if cut > 0 { format!("… {cut} lines before\n") } else { String::new() };
        begin + &self.lines[from..].join("\n")
    }
}
