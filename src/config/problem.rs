//! What is wrong with the configuration: always with the key, and where its value came from.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

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
pub struct Document {
    pub path: Arc<str>,
    pub text: String,
}

impl Document {
    /// Line and column, from 1, of a byte offset; past the end is the end.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    pub fn origin(&self, offset: usize) -> Origin {
        let (line, column) = self.position(offset);
        Origin::File { path: Arc::clone(&self.path), line, column }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Lower case, names the key.
    pub message: String,
    pub origin: Option<Origin>,
    pub help: Option<String>,
    place: Option<(Arc<Document>, Range<usize>)>,
}

impl Problem {
    pub fn new(message: impl Into<String>, origin: Option<Origin>) -> Self {
        Self { message: message.into(), origin, help: None, place: None }
    }

    pub fn in_file(message: impl Into<String>, document: &Arc<Document>, span: Range<usize>) -> Self {
        let origin = Some(document.origin(span.start));
        Self { message: message.into(), origin, help: None, place: Some((Arc::clone(document), span)) }
    }

    #[must_use]
    pub fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Attaches the place in a file that a value was read from.
    #[must_use]
    pub fn at(mut self, place: Option<(Arc<Document>, Range<usize>)>) -> Self {
        self.place = place;
        self
    }

    /// In its file, for sorting.
    pub fn offset(&self) -> usize {
        self.place.as_ref().map_or(0, |(_, span)| span.start)
    }

    /// For people: with the line and a caret where there is one. `styled`: with ANSI colours.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let message = match (&self.place, &self.origin) {
            (None, Some(origin)) => format!("{} (from {origin})", self.message),
            _ => self.message.clone(),
        };
        let title = Level::ERROR.primary_title(message.as_str());
        let mut group = match &self.place {
            Some((document, span)) => title.element(
                Snippet::source(document.text.as_str())
                    .path(&*document.path)
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            None => Group::with_title(title),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

/// One line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(origin) = &self.origin {
            write!(f, " (from {origin})")?;
        }
        match &self.help {
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
