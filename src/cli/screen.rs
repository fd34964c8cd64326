//! Text that is drawn again in place, where there is a terminal.

use std::io::Write;

use unicode_width::UnicodeWidthStr;

use super::terminal::{DIM, paint};

const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";
const CLEAR_BELOW: &str = "\u{1b}[J";

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

/// What stands on a terminal, from the line on which it began.
#[derive(Debug)]
pub struct Screen {
    color: bool,
    /// Columns of each line that was drawn.
    drawn: Vec<usize>,
    /// All of it has been shown.
    whole: bool,
    /// The cursor is hidden.
    hidden: bool,
}

impl Screen {
    pub fn new(color: bool) -> Self {
        Self { color, drawn: Vec::new(), whole: true, hidden: false }
    }

    /// Draws `text` where the one before stood. `text` may be styled, and is cut to the terminal.
    pub fn draw(&mut self, text: &str, size: Size) {
        let text = self.text(text);
        let lines: Vec<&str> = text.lines().collect();
        let shown = fit(&lines, size);
        let hide = if std::mem::replace(&mut self.hidden, true) { "" } else { HIDE_CURSOR };
        write(&format!("{hide}{}", frame(&self.drawn, &shown, size)));
        self.whole = shown.len() == lines.len();
        self.drawn = shown.iter().map(|line| columns(line)).collect();
    }

    /// Leaves `text`, which was drawn last, on the terminal, and whole.
    pub fn leave(self, text: &str, size: Size) {
        if !self.whole {
            write(&format!("{}{CLEAR_BELOW}{}", up(&self.drawn, size), self.text(text)));
        }
    }

    fn text(&self, text: &str) -> String {
        if self.color { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() }
    }
}

/// However it ends: the cursor is seen again, and what the terminal echoed (`^C`) is not.
impl Drop for Screen {
    fn drop(&mut self) {
        if self.hidden {
            write(&format!("\r{CLEAR_BELOW}{SHOW_CURSOR}"));
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

/// Back to the first line of what was drawn, as it stands at the terminal's present width.
fn up(drawn: &[usize], size: Size) -> String {
    let rows: usize = drawn.iter().map(|columns| rows(*columns, size.width)).sum();
    // What has left the screen at the top cannot be reached.
    match rows.min(size.height - 1) {
        0 => "\r".to_owned(),
        n => format!("\r\u{1b}[{n}A"),
    }
}

fn frame(drawn: &[usize], lines: &[String], size: Size) -> String {
    let mut out = format!("{}{CLEAR_BELOW}", up(drawn, size));
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// As much as the terminal has room for: the beginning, and always the last line.
fn fit(lines: &[&str], size: Size) -> Vec<String> {
    let owned = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
    // The cursor stands below.
    let room = size.height - 1;
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

    const SIZE: Size = Size { width: 20, height: 6 };

    #[test]
    fn a_frame_begins_where_the_one_before_began() {
        let lines = ["one".to_owned(), "two".to_owned()];
        assert_eq!(frame(&[], &lines, SIZE), "\r\u{1b}[Jone\ntwo\n");
        assert_eq!(frame(&[3, 3], &lines, SIZE), "\r\u{1b}[2A\u{1b}[Jone\ntwo\n");
        // The terminal broke a line, or became narrower since.
        assert_eq!(up(&[21, 3], SIZE), "\r\u{1b}[3A");
        assert_eq!(up(&[20, 3], SIZE), "\r\u{1b}[2A");
        assert_eq!(up(&[20, 3], Size { width: 7, ..SIZE }), "\r\u{1b}[4A");
        // It became shorter.
        assert_eq!(up(&[1; 30], SIZE), "\r\u{1b}[5A");
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_last_line_stays() {
        let lines: Vec<String> = (1..=9).map(|n| format!("line {n}")).chain(["the end".to_owned()]).collect();
        let lines: Vec<&str> = lines.iter().map(|l| &**l).collect();
        let shown = |lines: &[&str], size| -> Vec<String> {
            fit(lines, size).iter().map(|l| anstream::adapter::strip_str(l).to_string()).collect()
        };
        let more = |n| format!("… {n} more lines; the terminal has no room for them");
        let wide = Size { width: 80, height: 6 };
        assert_eq!(shown(&lines, wide), ["line 1", "line 2", "line 3", &more(6), "the end"]);
        assert_eq!(shown(&lines[..5], wide), &lines[..5]);
        assert_eq!(shown(&lines, Size { width: 80, height: 11 }), lines);
        // A line that the terminal breaks takes two rows.
        let long = "x".repeat(100);
        assert_eq!(shown(&[&long, "b", "c", "d", "e"], wide), [&long, "b", &more(2), "e"]);
        assert_eq!(shown(&lines, Size { width: 80, height: 4 }), ["line 1", &more(8), "the end"]);
    }
}
