//! A folder of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::outside::{Machine, read_regular};
use super::{Completeness, LoadContext, Loaded};
use crate::manifest::{self, Finding, MAX_FILE_BYTES, ReadError, SourceFile};
use crate::resource::desired::DesiredSet;
use crate::resource::hash::sha256_hex;
use crate::resource::labels::SourceId;

/// Manifest files of one source.
pub const MAX_FILES: usize = 2_000;
/// All manifest files together.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// Files and folders looked at; a source is not a home directory.
const MAX_ENTRIES: usize = 50_000;
const MAX_DEPTH: usize = 16;

/// Reads the folder (or one file) and builds what it asks for.
pub fn load(path: &Path, cx: &LoadContext<'_>) -> Loaded {
    let mut walk = Walk::default();
    let shown = path.strip_prefix("./").unwrap_or(path);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let root = fs::canonicalize(&absolute).unwrap_or(absolute);
    let mut completeness = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            walk.folder(path, shown, 0);
            Completeness::Whole
        }
        Ok(_) => {
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
    let built = manifest::build(&files, cx.stack, &cx.defaults, cx.overrides, &machine);
    // What a manifest puts into a container is no manifest, and may be YAML of any shape, templates too.
    let contents: Vec<String> =
        files.iter().filter(|f| is_content(f, &machine)).map(|f| f.name().to_string()).collect();
    let is_about =
        |text: &str| contents.iter().any(|c| text.strip_prefix(c.as_str()).is_some_and(|r| r.starts_with(':')));
    let mut findings = walk.findings;
    findings.extend(built.findings.into_iter().filter(|f| !f.place.as_ref().is_some_and(|p| is_about(&p.to_string()))));
    let mut notes = walk.notes;
    notes.extend(built.notes.into_iter().filter(|n| !is_about(n)));
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
    Loaded { set, findings, notes, completeness, files: files.len() - contents.len() }
}

/// A file that a manifest names in `files`, and that does not look like a manifest itself.
fn is_content(file: &SourceFile, machine: &Machine<'_>) -> bool {
    machine.seen.borrow().contains_key(&path_of(file)) && !file.text().contains("env-manager.dev/")
}

fn path_of(file: &SourceFile) -> PathBuf {
    file.dir().join(Path::new(&**file.name()).file_name().unwrap_or_default())
}

/// Of every file that was read, by its path below the folder: the same on every machine.
fn revision(root: &Path, files: &[SourceFile], hashes: &[String], seen: &BTreeMap<PathBuf, String>) -> String {
    let mut lines = Vec::new();
    for (file, hash) in files.iter().zip(hashes) {
        let path = path_of(file);
        lines.push(format!("{} {hash}", path.strip_prefix(root).unwrap_or(&path).display()));
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
        self.notes.push(format!("{}: skipped, {why}", shown.display()));
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
        if !self.visited.insert(real) {
            return self.note(shown, "a link to a folder that is read already");
        }
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
        let mut names: Vec<_> = entries.into_iter().map(|e| e.file_name()).collect();
        names.sort();
        for name in names {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.error(
                    shown,
                    &format!("more than {MAX_ENTRIES} files and folders"),
                    "give the folder of the manifests alone",
                );
            }
            self.entry(&path.join(&name), &shown.join(&name), depth);
        }
    }

    fn entry(&mut self, path: &Path, shown: &Path, depth: usize) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if name.starts_with('.') {
            if is_yaml {
                self.note(shown, "a hidden file");
            }
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, shown, depth + 1),
            Ok(_) if !is_yaml => {}
            Ok(_) if is_stranger(&name) => self.note(shown, "it belongs to another tool"),
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
