//! How a container's last run ended, and what it wrote last.

use super::container::ContainerId;
use super::secret::{Secret, mask};
use crate::clock::Timestamp;

/// Kept of what a process wrote last.
pub const LINES: usize = 3;
/// To be read for them: some may say nothing.
pub const ASKED: usize = 12;
/// Characters of each line; the rest is cut off.
const LONGEST: usize = 200;
/// Bytes after which the engine cuts a line in pieces.
const PIECE: usize = 16 * 1024;

/// The last run of a service that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub container: ContainerId,
    /// On the engine's clock; `None`: the run has not ended, and does not become ready.
    pub at: Option<Timestamp>,
    /// `exited with code 137, killed by the kernel: out of memory`
    pub how: String,
    /// At most [`LINES`], of 200 characters each, without secrets. Only for callers that may read logs.
    pub lines: Vec<String>,
}

/// The last lines of a log, fit to be shown: secrets masked before anything is cut, so that no part of
/// one is left over. Of [`ASKED`] lines the first is not shown, since nobody knows what is before it.
pub fn last_lines(log: &[String], secrets: &[Secret]) -> Vec<String> {
    // What follows a whole piece is the middle of a line, and may begin in the middle of a secret.
    let whole = |i: &usize| if *i == 0 { log.len() < ASKED } else { log[i - 1].len() < PIECE };
    let shown = (0..log.len()).filter(whole).map(|i| excerpt(&mask(&log[i], secrets))).filter(|line| !line.is_empty());
    let mut lines: Vec<_> = shown.collect();
    lines.drain(..lines.len().saturating_sub(LINES));
    lines
}

fn excerpt(line: &str) -> String {
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    match clean.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(log: &[&str], secrets: &[&str]) -> Vec<String> {
        let log: Vec<_> = log.iter().map(|l| (*l).to_owned()).collect();
        let secrets: Vec<_> = secrets.iter().map(|s| Secret::new(*s)).collect();
        last_lines(&log, &secrets)
    }

    #[test]
    fn the_last_three_lines_that_say_something_are_kept_and_cut() {
        let long = "x".repeat(300);
        let shown = lines(&["first", "second", "", "third\r", "\u{1b}[31mfourth", "  ", &long], &[]);
        assert_eq!(shown[..2], ["third", "[31mfourth"]);
        assert_eq!(shown[2], format!("{}…", "x".repeat(200)));
    }

    #[test]
    fn p15_no_part_of_a_secret_is_left_over_by_a_cut() {
        let line = format!("{} password=hunter2hunter2", "x".repeat(185));
        let shown = lines(&[&line], &["hunter2hunter2"]);
        assert!(!shown[0].contains("hun"), "{shown:?}");
        // The engine cuts a line in pieces: the second begins in the middle of the secret.
        let piece = format!("{}hunter2", "x".repeat(PIECE - 7));
        assert_eq!(lines(&["before", &piece, "hunter2 refused", "after"], &["hunter2hunter2"])[2], "after");
        assert!(
            !format!("{:?}", lines(&["before", &piece, "hunter2 refused"], &["hunter2hunter2"])).contains("refused")
        );
    }
}
