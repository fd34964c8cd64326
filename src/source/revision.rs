//! Which commit a folder of manifests is, where it is kept in git.
//!
//! Asks the `git` program, and only where a `.git` is above the folder. A repository may name programs in its
//! configuration; none of them is run. `git status` alone would run `core.fsmonitor`, the clean filters of
//! `.gitattributes` and, in submodules, both again, and may fetch what a partial clone lacks.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Git has so long to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Of a source, for people and labels. What decides is the hash of the contents (`DesiredSet.revision`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRevision {
    /// A commit, a commit with `+edits`, or `sha256:…` of the contents.
    pub full: String,
    /// The same in seven digits: `3f2a91c`, `3f2a91c+edits`.
    pub short: String,
    /// Why it is no commit although the folder is in a git work tree.
    pub note: Option<String>,
}

/// What git says of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Of HEAD, whole.
    pub commit: String,
    /// Something below the folder was changed since, or is new and not ignored.
    pub has_edits: bool,
}

impl SourceRevision {
    /// By its whole name; `sha256:…` is that of the contents.
    pub fn named(full: &str) -> Self {
        Self { full: full.to_owned(), short: short_revision(full), note: None }
    }

    /// `content`: what is said where there is no commit.
    pub fn new(checkout: Result<Option<Checkout>, String>, content: &str) -> Self {
        match checkout {
            Ok(Some(Checkout { commit, has_edits })) => {
                Self::named(&format!("{commit}{}", if has_edits { "+edits" } else { "" }))
            }
            Ok(None) => Self::named(content),
            Err(note) => Self { note: Some(note), ..Self::named(content) },
        }
    }
}

/// The revision of a folder (or of one file) of manifests whose contents have this hash.
pub async fn revision(source: &Path, content: &str) -> SourceRevision {
    SourceRevision::new(checkout(source).await, content)
}

/// A revision as people are shown it, in seven digits: `3f2a91c`, `3f2a91c+edits`.
pub fn short_revision(revision: &str) -> String {
    let (digits, edits) = revision.split_at(revision.find('+').unwrap_or(revision.len()));
    let digits = digits.rsplit(':').next().unwrap_or(digits);
    format!("{}{edits}", digits.get(..7).unwrap_or(digits))
}

/// What git says of the folder; takes a few milliseconds, two seconds at most. `None` where there is nothing to
/// say: no work tree, no commit yet, no git, or nothing below the folder is tracked.
///
/// # Errors
/// Why git would not say.
pub async fn checkout(source: &Path) -> Result<Option<Checkout>, String> {
    let Some(ask) = Ask::about(source) else { return Ok(None) };
    tokio::time::timeout(PATIENCE, ask.checkout())
        .await
        .unwrap_or_else(|_| Err(format!("git did not answer within {} s", PATIENCE.as_secs())))
}

/// A question about one folder.
struct Ask {
    folder: PathBuf,
    /// In the folder: `.`, or the one file.
    path: OsString,
    /// No program that a filter names: `-c` and its value.
    without_filters: Vec<String>,
}

impl Ask {
    /// `None`: it is in no work tree, and git need not be asked.
    fn about(source: &Path) -> Option<Self> {
        let source = source.canonicalize().ok()?;
        let (folder, path) = if source.is_dir() {
            (source, OsString::from("."))
        } else {
            (source.parent()?.to_owned(), source.file_name()?.to_owned())
        };
        let is_inside = folder.ancestors().any(|f| f.join(".git").exists());
        is_inside.then(|| Self { folder, path, without_filters: Vec::new() })
    }

    async fn checkout(mut self) -> Result<Option<Checkout>, String> {
        let (filters, tracked) = tokio::join!(
            self.run(&["config", "-z", "--name-only", "--get-regexp", r"^filter\."]),
            self.run(&["ls-files", "-z", "--"]),
        );
        let (Some(filters), Some(tracked)) = (filters?, tracked?) else { return Ok(None) };
        // The first one is asked for what is wrong; `config` fails where there is no filter, too.
        let tracked = answer(tracked)?;
        if tracked.is_empty() {
            return Ok(None);
        }
        self.without_filters = without_filters(&filters.stdout)?;
        let question = [
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=normal",
            "--ignore-submodules=all",
            "--no-renames",
            "--no-ahead-behind",
            "--",
        ];
        let Some(status) = self.run(&question).await? else { return Ok(None) };
        let status = answer(status)?;
        Ok(read_status(&String::from_utf8_lossy(&status)))
    }

    /// `None`: there is no git.
    async fn run(&self, arguments: &[&str]) -> Result<Option<Output>, String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(["--no-pager", "-c", "core.fsmonitor=false"]);
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "safe.bareRepository=explicit"]);
        for setting in &self.without_filters {
            command.args(["-c", setting]);
        }
        command.args(arguments);
        if arguments.ends_with(&["--"]) {
            command.arg(&self.path);
        }
        // What a hook that started us would point elsewhere.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"] {
            command.env_remove(name);
        }
        for name in ["GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match command.output().await {
            Ok(output) => Ok(Some(output)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("cannot run git: {e}")),
        }
    }
}

/// What git printed.
///
/// # Errors
/// What it complained of.
fn answer(output: Output) -> Result<Vec<u8>, String> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("dubious ownership") {
        return Err("git does not trust the folder, since another user owns it; `git config --global --add \
                    safe.directory FOLDER` makes it"
            .to_owned());
    }
    let line = complaint.lines().next().unwrap_or_default();
    Err(format!("git says: {}", line.strip_prefix("fatal: ").unwrap_or(line)))
}

/// Switches off each filter that the configuration names.
fn without_filters(names: &[u8]) -> Result<Vec<String>, String> {
    let mut settings = Vec::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let name = std::str::from_utf8(name).ok().filter(|n| !n.contains(['=', '\n']));
        let Some(name) = name else { return Err("git's configuration has a filter with a strange name".to_owned()) };
        match name.rsplit_once('.') {
            Some((_, "clean" | "smudge" | "process")) => settings.push(format!("{name}=")),
            Some((_, "required")) => settings.push(format!("{name}=false")),
            _ => {}
        }
    }
    Ok(settings)
}

/// `None`: no commit yet.
fn read_status(text: &str) -> Option<Checkout> {
    let mut commit = None;
    let mut has_edits = false;
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(header) => commit = commit.or(header.strip_prefix("branch.oid ")),
            None => has_edits |= line.starts_with(['1', '2', 'u', '?']),
        }
    }
    let is_hash = |c: &&str| c.len() >= 40 && c.bytes().all(|b| b.is_ascii_hexdigit());
    commit.filter(is_hash).map(|commit| Checkout { commit: commit.to_owned(), has_edits })
}
