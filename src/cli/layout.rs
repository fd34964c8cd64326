//! Tables: columns two spaces apart, the last one wrapped or cut to the width of a terminal.

use clap::builder::styling::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::terminal::{HEAD, PLAIN};

const GAP: usize = 2;
/// A last column narrower than this goes below its row instead.
const NARROW: usize = 28;

/// What happens to a last cell that is too long for its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Ends in `…`: nobody needs the rest.
    Cut,
    /// Goes on in the next line: it says what is wrong.
    Wrap,
}

#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
    fit: Fit,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()), style: PLAIN, fit: Fit::Cut }
    }

    #[must_use]
    pub fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    #[must_use]
    pub fn fit(mut self, fit: Fit) -> Self {
        self.fit = fit;
        self
    }
}

/// One line without control characters: text of containers and registries must not steer the terminal.
pub fn clean(text: &str) -> String {
    let text = text.trim();
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let plain = anstream::adapter::strip_str(text).to_string();
    let spaced: String = plain.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// As many cells as the header has.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// `width`: of the terminal; without one nothing is wrapped or cut.
    pub fn render(&self, width: Option<usize>) -> String {
        let header: Vec<Cell> = self.header.iter().map(|h| Cell::new(h).styled(HEAD)).collect();
        let all = || std::iter::once(&header).chain(&self.rows);
        let last = self.header.len().saturating_sub(1);
        let widths: Vec<usize> =
            (0..last).map(|i| all().filter_map(|r| r.get(i)).map(|c| c.text.width()).max().unwrap_or(0)).collect();
        let indent: usize = widths.iter().map(|w| w + GAP).sum();
        let mut out = String::new();
        for row in all() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                push(&mut line, cell, width + GAP);
            }
            if let Some(cell) = row.get(last) {
                finish(&mut line, cell, indent, width);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn push(line: &mut String, cell: &Cell, width: usize) {
    let Cell { text, style, .. } = cell;
    line.push_str(&format!("{style}{text}{style:#}"));
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(text.width())));
}

fn finish(line: &mut String, cell: &Cell, indent: usize, width: Option<usize>) {
    let Cell { text, style, fit } = cell;
    let Some(width) = width else { return push(line, cell, 0) };
    let room = width.saturating_sub(indent);
    if text.width() <= room {
        return push(line, cell, 0);
    }
    let (lines, indent) = match fit {
        Fit::Cut if room < 2 => (Vec::new(), indent),
        Fit::Cut => (vec![cut(text, room)], indent),
        Fit::Wrap if room < NARROW => (wrap(text, width.saturating_sub(4).max(16)), 4),
        Fit::Wrap => (wrap(text, room), indent),
    };
    for (i, part) in lines.iter().enumerate() {
        // What goes below its row begins on a line of its own.
        if i > 0 || (*fit == Fit::Wrap && room < NARROW) {
            line.truncate(line.trim_end().len());
            line.push('\n');
            line.extend(std::iter::repeat_n(' ', indent));
        }
        line.push_str(&format!("{style}{part}{style:#}"));
    }
}

/// At most `room` columns, with `…` where something is missing.
pub fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Lines of at most `room` columns, broken at spaces where there are any.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word.to_owned();
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(&word);
        } else if line.width() + 1 + word.width() <= room {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(std::mem::take(&mut word));
        }
        // A word longer than a line (a digest, a path) is broken where it must be.
        while let Some(line) = lines.last_mut().filter(|l| l.width() > room) {
            let mut used = 0;
            let fits = line.char_indices().find(|(_, c)| {
                used += c.width().unwrap_or(0);
                used > room
            });
            let at = fits.map_or(line.len(), |(i, _)| i.max(1));
            if !line.is_char_boundary(at) || at == line.len() {
                break;
            }
            let rest = line.split_off(at);
            lines.push(rest);
        }
    }
    lines
}
