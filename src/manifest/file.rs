//! One file of manifests: its text, its lines, and the documents in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::{Finding, printable_name};

/// A manifest file may have this many bytes; 4 MiB is a thousand times what one needs.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Bytes whose characters are counted once.
const BLOCK: usize = 4_096;

/// Characters that begin in a piece of UTF-8.
fn characters_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b & 0xc0 != 0x80).count()
}

/// A file's text with an index of its lines.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: Arc<str>,
    path: PathBuf,
    dir: PathBuf,
    text: String,
    line_starts: Vec<usize>,
    /// How many characters begin before each block of [`BLOCK`] bytes.
    characters: Vec<usize>,
    problem: Option<Finding>,
}

impl SourceFile {
    /// `name` is how the file is shown; `dir` is the absolute folder that its relative paths count from.
    pub fn new(name: &str, dir: impl Into<PathBuf>, text: String) -> Self {
        let dir = dir.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        let mut characters = vec![0];
        for block in text.as_bytes().chunks(BLOCK) {
            characters.push(characters[characters.len() - 1] + characters_in(block));
        }
        let path = dir.join(Path::new(name).file_name().unwrap_or_default());
        Self { name: printable_name(name), path, dir, text, line_starts, characters, problem: None }
    }

    /// A file that is not UTF-8 is an error as a whole; what can be read of it tells which services it is about.
    pub fn from_bytes(name: &str, dir: &Path, bytes: Vec<u8>) -> Self {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            let message = "the file is UTF-16; manifests are UTF-8";
            let problem = Finding::error(message).in_file(name).help("convert it: `iconv -f UTF-16 -t UTF-8`");
            return Self { problem: Some(problem), ..Self::new(name, dir, String::new()) };
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
                Self::new(name, dir, text)
            }
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                let bytes = e.into_bytes();
                let byte = bytes.get(at).copied().unwrap_or_default();
                let mut file = Self::new(name, dir, String::from_utf8_lossy(&bytes).into_owned());
                // Up to the byte both texts are the same.
                let problem = Finding::error(format!("not UTF-8: byte 0x{byte:02x}")).at(file.place(at, 1));
                file.problem = Some(problem.help("save the file as UTF-8"));
                file
            }
        }
    }

    /// Why nothing in the file counts.
    pub fn problem(&self) -> Option<&Finding> {
        self.problem.as_ref()
    }

    /// As it is shown: printable.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number (from 1) and first byte of the line that holds byte `at`.
    pub(super) fn line_of(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        (line, self.line_starts[line - 1])
    }

    /// Where line `line` (from 1) ends, without its line feed.
    pub(super) fn line_end(&self, line: usize) -> usize {
        self.line_starts.get(line).map_or(self.text.len(), |next| next - 1)
    }

    /// Characters of the text up to byte `at`, in a time that does not depend on its length.
    pub(super) fn characters_before(&self, at: usize) -> usize {
        let block = at / BLOCK;
        self.characters[block] + characters_in(&self.text.as_bytes()[block * BLOCK..at])
    }

    /// The byte at a line and column (both from 1, columns in characters) of the text from `base` on.
    pub(super) fn offset_of(&self, base: usize, line: usize, column: usize) -> usize {
        let first = self.line_of(base).0;
        let start = self.line_starts.get(first + line - 2).copied().unwrap_or(self.text.len()).max(base);
        let rest = &self.text[start..];
        let line = rest.split('\n').next().unwrap_or(rest);
        start + line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(i, _)| i)
    }

    /// The documents, each from its `---` on, so that an error in one does not hide the next.
    ///
    /// A line that begins with `---` or `...` ends a document whatever stands before it, inside
    /// quotes and block scalars too (YAML 1.2, production `c-forbidden`), so no parser is needed.
    pub fn documents(&self) -> Vec<Range<usize>> {
        let marker = |line: &str, word: &str| {
            line.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        let mut documents = Vec::new();
        let mut start = 0;
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            if marker(line, "---") {
                documents.push(start..at);
                start = at;
            } else if marker(line, "...") {
                documents.push(start..at);
                start = at + line.len();
            }
            at += line.len();
        }
        documents.push(start..at);
        documents.retain(|d| has_content(&self.text[d.clone()]));
        documents
    }
}

pub fn too_large(name: &str) -> Finding {
    Finding::error(format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20))
        .in_file(name)
        .help("a manifest file is a few kilobytes; move data into `files` or a volume")
}

/// Comments, blank lines, directives and a bare `---` make no document.
fn has_content(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with(['#', '%'])
    })
}
