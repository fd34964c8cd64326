//! What has to be watched so that no change of a source is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Links on one path, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Folders, and what matters in each. One watch of the system a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSet {
    /// By their true paths: no link, no `..`.
    folders: BTreeMap<PathBuf, Interest>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interest {
    /// It is read as a folder of manifests: each manifest and each folder in it matters.
    is_walked: bool,
    /// Entries that matter whatever they look like.
    names: BTreeSet<OsString>,
}

/// Whether a change of a path may change what the source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relevance {
    No,
    Yes,
    /// Only if it is a folder now, or a link to one.
    IfFolder,
}

impl WatchSet {
    /// A folder that is read for manifests, by its true path.
    pub fn walked(&mut self, folder: &Path) {
        self.folders.entry(folder.to_owned()).or_default().is_walked = true;
    }

    /// One entry of a folder, by the folder's true path.
    pub fn name(&mut self, folder: &Path, name: &OsStr) {
        self.folders.entry(folder.to_owned()).or_default().names.insert(name.to_owned());
    }

    /// A file that is read, or was looked for. Absolute.
    pub fn file(&mut self, path: &Path) {
        self.follow(path, true);
    }

    /// The way to a folder; the folder itself is [`Self::walked`]. Absolute.
    pub fn way_to(&mut self, folder: &Path) {
        self.follow(folder, false);
    }

    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Goes along the path as the kernel does. What can be replaced under our feet is each link on it; what
    /// is missing appears in the last folder that there is.
    fn follow(&mut self, path: &Path, last_too: bool) {
        let mut ahead: Vec<OsString> = backwards(path);
        let mut here = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            if part == "/" {
                here = PathBuf::from("/");
                continue;
            }
            let next = here.join(&part);
            let found = fs::symlink_metadata(&next).ok();
            let is_link = found.as_ref().is_some_and(fs::Metadata::is_symlink);
            // A file in the place of a folder is as good as nothing.
            let is_end = !is_link && !found.is_some_and(|m| ahead.is_empty() || m.is_dir());
            if is_link || is_end || (last_too && ahead.is_empty()) {
                self.name(&here, &part);
            }
            if is_end {
                return;
            }
            if is_link {
                links += 1;
                let Some(target) = fs::read_link(&next).ok().filter(|_| links <= MAX_LINKS) else { return };
                ahead.extend(backwards(&target));
            } else {
                here = next;
            }
        }
    }

    /// Whether something matters here that did not matter in `before`.
    pub(super) fn has_more_than(&self, before: &Self) -> bool {
        self.folders.iter().any(|(folder, now)| {
            before
                .folders
                .get(folder)
                .is_none_or(|then| (now.is_walked && !then.is_walked) || !now.names.is_subset(&then.names))
        })
    }

    /// Of a change that leaves the path where it is, or is about no folder that is watched.
    pub(super) fn relevance(&self, path: &Path) -> Relevance {
        if self.folders.get(path).is_some_and(|itself| itself.is_walked) {
            return Relevance::Yes;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Relevance::No };
        let Some(interest) = self.folders.get(folder) else { return Relevance::No };
        if interest.names.contains(name) {
            return Relevance::Yes;
        }
        // Backups and half-written copies of editors end otherwise or are hidden; when one is renamed to a
        // manifest, that is a change of the manifest.
        if !interest.is_walked || is_hidden(name) {
            Relevance::No
        } else if is_yaml(Path::new(name)) {
            Relevance::Yes
        } else {
            Relevance::IfFolder
        }
    }

    /// Folders whose watches are gone when `path` is removed or renamed.
    pub(super) fn at_or_below(&self, path: &Path) -> impl Iterator<Item = &Path> {
        let path = path.to_owned();
        self.folders.range(path.clone()..).map(|(f, _)| f.as_path()).take_while(move |f| f.starts_with(&path))
    }
}

/// The parts of a path, last one first; `.` left out.
fn backwards(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter(|c| *c != Component::CurDir);
    parts.map(|c| c.as_os_str().to_owned()).collect()
}

pub(in crate::source) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

pub(in crate::source) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}
