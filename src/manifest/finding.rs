//! Findings: what is wrong with a set of manifests, where, and what would be right.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::file::SourceFile;
use crate::resource::ResourceKey;
use crate::resource::printable::{printable, printable_char};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The resource is not applied as it stands.
    Error,
    /// It is applied; it may not be what was meant.
    Warning,
}

/// A piece of one line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// As it is shown: relative to where the command was given, printable.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In characters; at least 1.
    pub length: usize,
    /// The line itself, without its end, printable; long ones are cut around the place.
    pub text: String,
    /// Where in `text` the place begins, in bytes.
    #[serde(skip)]
    pub(super) text_offset: usize,
}

impl Place {
    /// Whether `text` begins after the line does.
    pub(super) fn is_cut(&self) -> bool {
        self.text[..self.text_offset].chars().count() + 1 != self.column
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong or doubtful.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    /// Lower case, one sentence, without the place; printable, and at most [`MAX_MESSAGE`] bytes.
    pub message: String,
    /// `None` only where a whole folder or the configuration is meant.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The file where no line can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Arc<str>>,
    /// Further places, each with what stands there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The resources that an error freezes; none where it is not known which.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "key_texts", rename = "resources")]
    pub keys: Vec<ResourceKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    #[serde(flatten)]
    pub place: Place,
    pub label: String,
}

fn key_texts<S: Serializer>(keys: &[ResourceKey], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(keys.iter().map(ToString::to_string))
}

impl Finding {
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: printable(&message.into(), MAX_MESSAGE),
            place: None,
            path: None,
            related: Vec::new(),
            help: None,
            keys: Vec::new(),
        }
    }

    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// About a file as a whole.
    #[must_use]
    pub fn in_file(mut self, path: &str) -> Self {
        self.path = Some(printable_name(path));
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(printable(&help.into(), MAX_MESSAGE));
        self
    }

    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { place, label: printable(&label.into(), MAX_MESSAGE) });
        self
    }

    #[must_use]
    pub fn about(mut self, key: impl IntoIterator<Item = ResourceKey>) -> Self {
        self.keys.extend(key);
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Which file it is about, as it is shown.
    pub fn file(&self) -> Option<&Arc<str>> {
        self.place.as_ref().map(|p| &p.file).or(self.path.as_ref())
    }

    /// Files in order, then lines; errors of a folder first.
    pub(crate) fn sort_key(&self) -> (Option<Arc<str>>, usize, usize) {
        let place = self.place.as_ref();
        (self.file().cloned(), place.map_or(0, |p| p.line), place.map_or(0, |p| p.column))
    }
}

/// One line: `manifests/kafka.yaml:9:3: unknown field …`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        } else if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Longest message or help, in bytes. A value of a megabyte must not become a finding of a megabyte.
pub(super) const MAX_MESSAGE: usize = 1_000;

/// Of a file, as it is shown.
pub(super) fn printable_name(name: &str) -> Arc<str> {
    name.chars().map(printable_char).collect::<String>().into()
}

/// Longest piece of a line that is kept in a [`Place`], in characters.
const EXCERPT: usize = 160;

impl SourceFile {
    /// The place of `len` bytes at byte `start`; what reaches over the line's end is cut off.
    pub fn place(&self, start: usize, len: usize) -> Place {
        let text = self.text();
        let start = floor_boundary(text, start.min(text.len()));
        let (line, line_start) = self.line_of(start);
        // Nothing here may take as long as the line is: a line of a megabyte can have fifty thousand findings.
        let whole = text[line_start..self.line_end(line)].trim_end_matches('\r');
        let in_line = (start - line_start).min(whole.len());
        let end = floor_boundary(whole, in_line.saturating_add(len.min(4 * EXCERPT)).min(whole.len()));
        let column = self.characters_before(line_start + in_line) - self.characters_before(line_start) + 1;
        let length = whole[in_line..end.max(in_line)].trim_end().chars().count().max(1);
        let from = whole[..in_line].char_indices().rev().nth(EXCERPT / 2).map_or(0, |(i, _)| i);
        let from = if whole.char_indices().nth(EXCERPT).is_none() { 0 } else { from };
        let to = whole[from..].char_indices().nth(EXCERPT).map_or(whole.len(), |(i, _)| from + i);
        Place {
            file: self.name().clone(),
            line,
            column,
            length: length.min(EXCERPT / 2),
            text: whole[from..to].chars().map(printable_char).collect(),
            // What is replaced may have another length.
            text_offset: whole[from..in_line].chars().map(|c| printable_char(c).len_utf8()).sum(),
        }
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A longer word, in bytes, is no slip of the finger.
const MAX_WORD: usize = 64;

/// The nearest of `candidates`, if it is near enough to be a slip of the finger.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    // The distance takes time and memory by the product of both lengths; it is at least what they differ by.
    let allowed = |c: &str| (word.len().max(c.len()) / 3).max(1);
    candidates
        .into_iter()
        .filter(|c| word.len().max(c.len()) <= MAX_WORD && word.len().abs_diff(c.len()) <= allowed(c))
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_ascii_lowercase()), c))
        .filter(|(distance, c)| *distance <= allowed(c))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// `, did you mean `x`?` or nothing.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean(word, candidates).map_or_else(String::new, |c| format!(", did you mean `{c}`?"))
}
