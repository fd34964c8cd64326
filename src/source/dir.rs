//! A folder of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::outside::{Machine, read_regular};
use super::watch::{self, WatchSet};
use super::{Completeness, LoadContext, Loaded};
use crate::manifest::{self, Finding, MAX_FILE_BYTES, ReadError, SourceFile};
use crate::resource::ResourceKey;
use crate::resource::desired::DesiredSet;
use crate::resource::hash::sha256_hex;
use crate::resource::labels::SourceId;
use crate::resource::printable::printable;

/// Manifest files of one source.
pub const MAX_FILES: usize = 2_000;
/// All manifest files together.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// Files and folders looked at; a source is not a home directory.
const MAX_ENTRIES: usize = 50_000;
const MAX_DEPTH: usize = 16;
/// Longest path in a note, in bytes; the longest that Linux has.
const MAX_SHOWN: usize = 4_096;

/// Reads the folder (or one file) and builds what it asks for.
pub fn load(path: &Path, cx: &LoadContext<'_>) -> Loaded {
    let mut walk = Walk::default();
    let shown = path.strip_prefix("./").unwrap_or(path);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Before anything is read: what is replaced meanwhile is noticed then.
    walk.watched.way_to(&absolute);
    let root = fs::canonicalize(&absolute).unwrap_or_else(|_| absolute.clone());
    let mut completeness = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            walk.folder(path, shown, 0);
            Completeness::Whole
        }
        Ok(_) => {
            walk.watched.file(&absolute);
            walk.found.insert(shown.to_owned(), path.to_owned());
            Completeness::Whole
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            walk.error(shown, "no such folder", "give the folder of the manifests with `--manifests`");
            Completeness::Missing
        }
        Err(e) => {
            walk.error(shown, &e.to_string(), "nothing is removed while the source cannot be read");
            Completeness::Unreadable
        }
    };
    let files = walk.read();
    if walk.failed && completeness == Completeness::Whole {
        completeness = Completeness::Unreadable;
    }

    let machine = Machine::new(cx.variables);
    let read = |files: &[SourceFile]| manifest::build(files, cx.stack, &cx.defaults, cx.overrides, &machine);
    let mut built = read(&files);
    // What a manifest puts into a container is no manifest, and may be YAML of any shape, templates too.
    let (contents, manifests): (Vec<SourceFile>, Vec<SourceFile>) =
        files.iter().cloned().partition(|f| is_content(f, &machine));
    if !contents.is_empty() {
        built = read(&manifests);
    }
    let mut findings = walk.findings;
    findings.extend(built.findings);
    let mut notes = walk.notes;
    notes.extend(built.notes);
    let mut watched = walk.watched;
    machine.asked.borrow().iter().for_each(|path| watched.file(path));
    if completeness == Completeness::Whole
        && built.resources.is_empty()
        && built.invalid.is_empty()
        && findings.is_empty()
    {
        completeness = Completeness::Empty;
        let help = "nothing is removed for it; `down` removes a stack";
        findings.push(Finding::error("no manifest in the folder").in_file(&shown.to_string_lossy()).help(help));
    }
    let set = DesiredSet {
        stack: cx.stack.to_owned(),
        source: SourceId(format!("{}:{}", cx.host, root.display())),
        revision: revision(&root, &files, &walk.hashes, &machine.seen.borrow()),
        resources: built.resources,
        invalid: built.invalid,
        has_errors: completeness != Completeness::Whole || findings.iter().any(Finding::is_error),
    };
    let broken_files = broken_files(&findings, &set.invalid, &built.defined);
    Loaded { set, findings, notes, completeness, files: manifests.len(), defined: built.defined, broken_files, watched }
}

/// Each file that may define more than could be read of it, with why.
fn broken_files(
    findings: &[Finding],
    invalid: &BTreeMap<ResourceKey, String>,
    defined: &BTreeMap<ResourceKey, Arc<str>>,
) -> BTreeMap<Arc<str>, String> {
    let mut broken = BTreeMap::new();
    for finding in findings.iter().filter(|f| f.is_error()) {
        if let Some(file) = finding.file() {
            broken.entry(Arc::clone(file)).or_insert_with(|| finding.to_string());
        }
    }
    // With a service, what only it asks for is missing too: its volumes and networks.
    for (key, why) in invalid {
        if let Some(file) = defined.get(key) {
            broken.entry(Arc::clone(file)).or_insert_with(|| why.clone());
        }
    }
    broken
}

/// A file that a manifest names in `files`, and that does not look like a manifest itself.
fn is_content(file: &SourceFile, machine: &Machine<'_>) -> bool {
    machine.seen.borrow().contains_key(file.path()) && !file.text().contains("env-manager.dev/")
}

/// Of every file that was read, by its path below the folder: the same on every machine.
fn revision(root: &Path, files: &[SourceFile], hashes: &[String], seen: &BTreeMap<PathBuf, String>) -> String {
    let mut lines = Vec::new();
    for (file, hash) in files.iter().zip(hashes) {
        lines.push(format!("{} {hash}", file.path().strip_prefix(root).unwrap_or(file.path()).display()));
    }
    for (path, hash) in seen {
        lines.push(format!("{} {hash}", path.strip_prefix(root).unwrap_or(path).display()));
    }
    format!("sha256:{}", sha256_hex(lines.join("\n").as_bytes()))
}

#[derive(Default)]
struct Walk {
    /// By the path that is shown, so that the order is the same everywhere; and the path that is read.
    found: BTreeMap<PathBuf, PathBuf>,
    /// Folders by their true paths: a link back into one of them would never end.
    visited: BTreeSet<PathBuf>,
    /// Of the contents, in the order of the files.
    hashes: Vec<String>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    watched: WatchSet,
    entries: usize,
    /// A part could not be read.
    failed: bool,
}

impl Walk {
    fn error(&mut self, shown: &Path, message: &str, help: &str) {
        self.failed = true;
        self.findings.push(Finding::error(message).in_file(&shown.to_string_lossy()).help(help));
    }

    fn note(&mut self, shown: &Path, why: &str) {
        self.notes.push(format!("{}: skipped, {why}", printable(&shown.to_string_lossy(), MAX_SHOWN)));
    }

    fn folder(&mut self, path: &Path, shown: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            self.error(shown, &format!("folders are nested more than {MAX_DEPTH} deep"), "move the manifests up");
            return;
        }
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(e) => {
                return self.error(
                    shown,
                    &format!("cannot read the folder: {e}"),
                    "nothing is removed while it cannot be read",
                );
            }
        };
        if !self.visited.insert(real.clone()) {
            return self.note(shown, "a link to a folder that is read already");
        }
        self.watched.walked(&real);
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(e) => {
                return self.error(
                    shown,
                    &format!("cannot read the folder: {e}"),
                    "nothing is removed while it cannot be read",
                );
            }
        };
        let is_link = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_symlink());
        let mut entries: Vec<_> = entries.into_iter().map(|e| (e.file_name(), is_link(&e))).collect();
        entries.sort();
        for (name, is_link) in entries {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.error(
                    shown,
                    &format!("more than {MAX_ENTRIES} files and folders"),
                    "give the folder of the manifests alone",
                );
            }
            self.entry(&path.join(&name), &shown.join(&name), is_link.then_some(&real), depth);
        }
    }

    /// `link_in`: it is a link in this folder.
    fn entry(&mut self, path: &Path, shown: &Path, link_in: Option<&PathBuf>, depth: usize) {
        let name = path.file_name().unwrap_or_default();
        let is_yaml = watch::is_yaml(path);
        if watch::is_hidden(name) {
            if is_yaml {
                self.note(shown, "a hidden file");
            }
            return;
        }
        let metadata = fs::metadata(path);
        if let Some(folder) = link_in
            && (is_yaml || !metadata.as_ref().is_ok_and(fs::Metadata::is_file))
        {
            // Where it leads, or would lead.
            self.watched.file(&folder.join(name));
        }
        match metadata {
            Ok(metadata) if metadata.is_dir() => self.folder(path, shown, depth + 1),
            Ok(_) if !is_yaml => {}
            Ok(_) if is_stranger(&name.to_string_lossy()) => self.note(shown, "it belongs to another tool"),
            Ok(_) | Err(_) if is_yaml => {
                self.found.insert(shown.to_owned(), path.to_owned());
            }
            // A dangling link to no manifest is nobody's business.
            _ => {}
        }
    }

    fn read(&mut self) -> Vec<SourceFile> {
        let found = std::mem::take(&mut self.found);
        if found.len() > MAX_FILES {
            let first = found.keys().next().cloned().unwrap_or_default();
            self.error(
                &first,
                &format!("the source has {} manifest files, more than {MAX_FILES}", found.len()),
                "split it into stacks",
            );
            return Vec::new();
        }
        let mut files = Vec::new();
        let mut total = 0;
        for (shown, path) in found {
            let name = shown.to_string_lossy();
            match read_regular(&path, MAX_FILE_BYTES) {
                Ok(bytes) => {
                    total += bytes.len() as u64;
                    if total > MAX_TOTAL_BYTES {
                        self.error(
                            &shown,
                            &format!("the manifests have more than {} MiB together", MAX_TOTAL_BYTES >> 20),
                            "move data out of them",
                        );
                        return files;
                    }
                    let hash = sha256_hex(&bytes);
                    let absolute = fs::canonicalize(path.parent().unwrap_or(&path));
                    let dir = absolute.unwrap_or_else(|_| path.parent().unwrap_or(&path).to_owned());
                    files.push(SourceFile::from_bytes(&name, &dir, bytes));
                    self.hashes.push(hash);
                }
                Err(ReadError::TooLarge(_)) => self.unread(manifest::too_large(&name)),
                Err(e) => {
                    let finding = Finding::error(format!("cannot read the manifest: {e}")).in_file(&name);
                    self.unread(finding);
                }
            }
        }
        files
    }

    /// Which services stand in the file is not known.
    fn unread(&mut self, finding: Finding) {
        self.failed = true;
        self.findings.push(finding);
    }
}

/// Files that other tools own, by their names.
fn is_stranger(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    ["kustomization", "docker-compose", "compose"]
        .iter()
        .any(|s| stem == *s || stem.strip_prefix(s).is_some_and(|rest| rest.starts_with(['.', '-'])))
}
