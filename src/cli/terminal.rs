//! Where text goes. Everything is rendered with ANSI styles; a stream that wants none strips them.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};

use crate::config::load::Environment;

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BUSY: Style = AnsiColor::Cyan.on_default();
pub const WARN: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const ERROR: Style = AnsiColor::BrightRed.on_default().bold();
pub const HEAD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const PLAIN: Style = Style::new();

/// `text` in a style.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    // On a terminal, unless NO_COLOR or CI is set.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// How a stream wants its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub stream: Stream,
    pub color: bool,
    /// Lines may be redrawn.
    pub live: bool,
    /// Columns to fit into; `None`: never wrap or cut.
    pub width: Option<usize>,
}

impl Look {
    /// `width`: of the terminal; `None` where the stream is none.
    pub fn new(stream: Stream, when: When, env: &Environment, width: Option<usize>) -> Self {
        let set = |name: &str| env.0.get(OsStr::new(name)).is_some_and(|v| !v.is_empty());
        let is = |name: &str, value: &str| env.0.get(OsStr::new(name)).is_some_and(|v| v == value);
        let terminal = width.is_some() && !is("TERM", "dumb") && !set("CI");
        let forced = set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0");
        let color = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => !set("NO_COLOR") && (terminal || forced),
        };
        Self { stream, color, live: terminal, width }
    }

    /// Writes text that may be styled. A reader that has gone away (`| head`) is no error; whoever would go
    /// on for ever is told by `false`.
    pub fn print(&self, text: &str) -> bool {
        #[cfg(test)]
        if super::tests::kept(self.stream, text) {
            return true;
        }
        let choice = if self.color { ColorChoice::AlwaysAnsi } else { ColorChoice::Never };
        let result = match self.stream {
            Stream::Out => {
                let mut stream = AutoStream::new(std::io::stdout().lock(), choice);
                stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
            }
            Stream::Err => {
                let mut stream = AutoStream::new(std::io::stderr().lock(), choice);
                stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
            }
        };
        // Nothing is left to say an error with.
        result.is_ok()
    }
}

/// Both streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    pub out: Look,
    pub err: Look,
}

impl Terminal {
    pub fn of_process(when: When, env: &Environment) -> Self {
        let columns = |terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>| {
            terminal.then(|| size.map_or(80, |(w, _)| usize::from(w.0)).max(20))
        };
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let out_width = columns(out.is_terminal(), terminal_size::terminal_size_of(&out));
        let err_width = columns(err.is_terminal(), terminal_size::terminal_size_of(&err));
        Self { out: Look::new(Stream::Out, when, env, out_width), err: Look::new(Stream::Err, when, env, err_width) }
    }
}
