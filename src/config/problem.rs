//! What is wrong with the configuration: always with the key, and where its value came from.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::{Finding, Place, SourceFile, render};
use crate::tasks::settings::hidden;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        path: Arc<str>,
        /// From 1; columns count characters.
        line: usize,
        column: usize,
    },
    Env(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Env(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A file's text with its name, for positions and for the line that a message shows.
#[derive(Debug)]
pub struct Document(SourceFile);

impl Document {
    pub fn new(path: &str, text: String) -> Self {
        Self(SourceFile::new(path, "", text))
    }

    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// The first line of a span of bytes; past the end is the end. Passwords of addresses are hidden in it.
    fn place(&self, span: &Range<usize>) -> Place {
        let mut place = self.0.place(span.start, span.len());
        // A star for each byte, so that what is marked stays where it is.
        place.text = hidden(&place.text, |password| "*".repeat(password.len()));
        place
    }

    pub fn origin(&self, offset: usize) -> Origin {
        let place = self.0.place(offset, 1);
        Origin::File { path: place.file, line: place.line, column: place.column }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Names the key, the place where there is one, and what would be right.
    finding: Box<Finding>,
    pub origin: Option<Origin>,
    /// In its file, in bytes.
    offset: usize,
}

impl Problem {
    /// `message`: lower case, names the key.
    pub fn new(message: impl Into<String>, origin: Option<Origin>) -> Self {
        Self { finding: Box::new(Finding::error(message)), origin, offset: 0 }
    }

    pub fn in_file(message: impl Into<String>, document: &Arc<Document>, span: Range<usize>) -> Self {
        let origin = Some(document.origin(span.start));
        Self::new(message, origin).at(Some((Arc::clone(document), span)))
    }

    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        if let Some(help) = help {
            self.finding = Box::new(self.finding.help(help));
        }
        self
    }

    /// Attaches the place in a file that a value was read from.
    #[must_use]
    pub fn at(mut self, place: Option<(Arc<Document>, Range<usize>)>) -> Self {
        if let Some((document, span)) = place {
            self.offset = span.start;
            self.finding.place = Some(document.place(&span));
        }
        self
    }

    /// In its file, for sorting.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// For people: with the line and a caret where there is one. `styled`: with ANSI colours.
    pub fn render(&self, styled: bool) -> String {
        let finding = match (&self.finding.place, &self.origin) {
            (None, Some(origin)) => {
                let message = format!("{} (from {origin})", self.finding.message);
                Problem::new(message, None).with_help(self.finding.help.clone()).finding
            }
            _ => self.finding.clone(),
        };
        render(&[*finding], styled)
    }
}

/// One line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)?;
        if let Some(origin) = &self.origin {
            write!(f, " (from {origin})")?;
        }
        match &self.finding.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Why there is no configuration: everything that is wrong with it, at once.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path} ({named_by})")]
    Read {
        path: String,
        /// `flag --config`, `variable ENV_MANAGER_CONFIG`, or what else made us read it.
        named_by: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration file {path} ({named_by}) {what}")]
    NotText { path: String, named_by: String, what: &'static str },
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl ConfigError {
    /// For people, one block a problem, ending with a newline.
    pub fn render(&self, styled: bool) -> String {
        match self {
            Self::Invalid(problems) => {
                problems.iter().map(|p| format!("{}\n", p.render(styled))).collect::<Vec<_>>().join("\n")
            }
            Self::Read { source, .. } => {
                let title = format!("{self}: {source}");
                let problem = Problem::new(title, None)
                    .with_help(Some("create it, or name another with --config or ENV_MANAGER_CONFIG".to_owned()));
                format!("{}\n", problem.render(styled))
            }
            Self::NotText { .. } => format!("{}\n", Problem::new(self.to_string(), None).render(styled)),
        }
    }
}

/// `~` and `~/…` become the home directory.
pub fn expand_home(path: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    match path.strip_prefix('~') {
        None => Ok(PathBuf::from(path)),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = home.ok_or("`~` cannot be expanded: the variable HOME is not set")?;
            Ok(home.join(rest.trim_start_matches('/')))
        }
        Some(_) => Err(format!("`{path}`: another user's home directory is not looked up; write the path in full")),
    }
}
