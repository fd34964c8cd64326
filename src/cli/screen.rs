//! Text that is drawn again and again, where there is a terminal.
//!
//! It has the terminal's second screen for itself, as `top` has: lines that move when the terminal is resized
//! cannot get in its way. At the end the first screen comes back, with what was drawn last below what was there.

use std::io::Write;

use unicode_width::UnicodeWidthStr;

use super::terminal::{DIM, paint};

/// The second screen, without a cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// Shown at once, where the terminal knows how (others ignore it).
const BEGIN: &str = "\u{1b}[?2026h\u{1b}[H\u{1b}[J";
const END: &str = "\u{1b}[?2026l";

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    /// Of the terminal on stdout.
    pub fn of_stdout() -> Self {
        let size = terminal_size::terminal_size_of(std::io::stdout());
        size.map_or(Self { width: 80, height: 24 }, |(w, h)| Self {
            width: usize::from(w.0).max(20),
            height: usize::from(h.0).max(4),
        })
    }
}

/// What has the terminal.
#[derive(Debug)]
pub struct Screen {
    color: bool,
    entered: bool,
}

impl Screen {
    pub fn new(color: bool) -> Self {
        Self { color, entered: false }
    }

    /// Draws `text`, which may be styled, as far as the terminal has room for it.
    pub fn draw(&mut self, text: &str, size: Size) {
        let enter = if std::mem::replace(&mut self.entered, true) { "" } else { ENTER };
        let text = self.text(text);
        let lines = fit(&text.lines().collect::<Vec<_>>(), size).join("\r\n");
        write(&format!("{enter}{BEGIN}{lines}{END}"));
    }

    /// Leaves `text` on the terminal, whole.
    pub fn leave(self, text: &str) {
        let text = self.text(text);
        // Gives the first screen back.
        drop(self);
        write(&text);
    }

    fn text(&self, text: &str) -> String {
        if self.color { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() }
    }
}

/// However it ends, by an error too: the terminal is as it was.
impl Drop for Screen {
    fn drop(&mut self) {
        if self.entered {
            write(LEAVE);
        }
    }
}

fn columns(line: &str) -> usize {
    anstream::adapter::strip_str(line).to_string().width()
}

/// Rows that a line of so many columns takes: terminals break what is too long.
fn rows(columns: usize, width: usize) -> usize {
    columns.div_ceil(width.max(1)).max(1)
}

/// As much as the terminal has room for: the beginning, and always the last line.
fn fit(lines: &[&str], size: Size) -> Vec<String> {
    let owned = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    let room = size.height;
    let taken = |lines: &[&str]| -> usize { lines.iter().map(|l| rows(columns(l), size.width)).sum() };
    let Some((last, rest)) = lines.split_last().filter(|_| taken(lines) > room) else { return owned(lines) };
    let mut used = rows(columns(last), size.width) + 1;
    let kept = rest.iter().take_while(|line| {
        used += rows(columns(line), size.width);
        used <= room
    });
    let mut out = owned(&kept.copied().collect::<Vec<_>>());
    let more = rest.len() - out.len();
    out.push(paint(DIM, &format!("… {more} more lines; the terminal has no room for them")));
    out.push((*last).to_owned());
    out
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nothing is left to say it with.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_the_last_line_stays() {
        let lines: Vec<String> = (1..=9).map(|n| format!("line {n}")).chain(["the end".to_owned()]).collect();
        let lines: Vec<&str> = lines.iter().map(|l| &**l).collect();
        let shown = |lines: &[&str], size| -> Vec<String> {
            fit(lines, size).iter().map(|l| anstream::adapter::strip_str(l).to_string()).collect()
        };
        let more = |n| format!("… {n} more lines; the terminal has no room for them");
        let wide = Size { width: 80, height: 5 };
        assert_eq!(shown(&lines, wide), ["line 1", "line 2", "line 3", &more(6), "the end"]);
        assert_eq!(shown(&lines[..5], wide), &lines[..5]);
        assert_eq!(shown(&lines, Size { width: 80, height: 10 }), lines);
        // A line that the terminal breaks takes two rows.
        let long = "x".repeat(100);
        assert_eq!(shown(&[&long, "b", "c", "d", "e"], wide), [&long, "b", &more(2), "e"]);
        assert_eq!(shown(&lines, Size { width: 80, height: 3 }), ["line 1", &more(8), "the end"]);
    }
}
