//! What happened, line by line: hashed always, kept for people.

use std::fmt::Write as _;
use std::time::Duration;

use env_manager::resource::hash::sha256_hex;

/// Lines kept for a failure; the last ones tell why.
const KEPT: usize = 6_000;

/// Virtual time, who, what.
#[derive(Default)]
pub struct Trace {
    lines: Vec<String>,
    cut: usize,
    /// Of all lines, also of those that are no longer kept.
    hash: String,
    unhashed: String,
}

impl Trace {
    pub fn add(&mut self, at: Duration, who: &str, what: &str) {
        let line = format!("{:>6}.{:03} {who:<8} {what}", at.as_secs(), at.subsec_millis());
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

    pub fn text(&self) -> String {
        let from = self.lines.len().saturating_sub(KEPT);
        let cut = self.cut + from;
        let begin = if cut > 0 { format!("… {cut} lines before\n") } else { String::new() };
        begin + &self.lines[from..].join("\n")
    }
}
