//! Sources: where the desired state comes from.
//!
//! | file | what |
//! |---|---|
//! | this one | [`Loaded`]: what a source gave, and how much of it could be read |
//! | [`dir`] | a folder of manifests |
//! | [`outside`] | the variables and files that manifests refer to |
//! | [`watch`] | tells when it has changed |
//! | [`revision`] | which commit it is, where it is kept in git |
//! | [`frozen`] | what an error keeps as it was |

pub mod dir;
mod frozen;
mod outside;
pub mod revision;
#[cfg(test)]
mod tests;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::manifest::{Defaults, Finding, Override};
use crate::resource::ResourceKey;
use crate::resource::desired::DesiredSet;

pub use frozen::{frozen, remembered};
pub use revision::{SourceRevision, short_revision};
pub use watch::{WatchSet, Watcher};

/// What a source is read with.
#[derive(Clone)]
pub struct LoadContext<'a> {
    pub stack: &'a str,
    pub defaults: Defaults,
    /// `[[service_overrides]]` of the configuration.
    pub overrides: &'a [Override],
    /// A variable of env-manager's own environment.
    pub variables: &'a dyn Fn(&str) -> Option<String>,
    /// Name of this machine, for the source's identity; see [`host_name`].
    pub host: &'a str,
}

/// How much of a source could be read. Anything but `Whole` prunes nothing (P6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    Whole,
    /// It is there and holds no manifest.
    Empty,
    Missing,
    /// A part of it could not be read.
    Unreadable,
}

/// What a source gave.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// `has_errors` is set for every [`Completeness`] but `Whole`, too.
    pub set: DesiredSet,
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
    /// What was skipped, and why.
    pub notes: Vec<String>,
    pub completeness: Completeness,
    /// Manifest files that were read.
    pub files: usize,
    /// The file that each resource stands in, as it is shown; also of invalid ones, where it is known. What no
    /// manifest of its own describes stands where the first service that names it does.
    pub defined: BTreeMap<ResourceKey, Arc<str>>,
    /// Files with an error, that may define more than could be read of them; each with its first error,
    /// in one line.
    pub broken_files: BTreeMap<Arc<str>, String>,
    /// What has to be watched to notice that it changes.
    pub watched: WatchSet,
}

#[cfg(test)]
impl Loaded {
    /// For tests: this set, from nowhere.
    pub fn of(set: DesiredSet, completeness: Completeness) -> Self {
        Self {
            set,
            findings: Vec::new(),
            notes: Vec::new(),
            completeness,
            files: 0,
            defined: BTreeMap::new(),
            broken_files: BTreeMap::new(),
            watched: WatchSet::default(),
        }
    }
}

impl Loaded {
    /// Everything was read. Only then may something be pruned, and only if `set.has_errors` is false.
    pub fn read_whole(&self) -> bool {
        self.completeness == Completeness::Whole
    }

    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.is_error())
    }
}

/// The name of this machine, as the kernel has it.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
