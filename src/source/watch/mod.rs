//! Tells when a source has changed: inotify (elsewhere what the system has) by `notify`, and one timer.
//!
//! | file | what |
//! |---|---|
//! | this one | [`Watcher`] |
//! | [`set`] | [`WatchSet`]: what matters where |
//! | [`burst`] | when a row of changes is over |
//!
//! A round is: load, [`Watcher::watch`] what was read, [`Watcher::changed`]. Between the load and the watch
//! anything may happen unseen, so whatever is newly watched counts as one more change: the load after that
//! sees it. An event that is lost costs the wait for the next resync, nothing else.

mod burst;
mod set;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use burst::Burst;
use set::Relevance;
pub use set::WatchSet;
pub(super) use set::{is_hidden, is_yaml};

/// Watches the folders of one source.
pub struct Watcher {
    shared: Arc<Shared>,
    /// `None`: the system gave none.
    system: Option<RecommendedWatcher>,
    /// What is watched. A folder that was replaced has another identity under the same path.
    placed: BTreeMap<PathBuf, Identity>,
    /// What could not be watched the last time.
    refused: BTreeSet<PathBuf>,
    has_warned: bool,
}

/// Device and inode.
type Identity = (u64, u64);

/// What the system's thread and the task have in common.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    burst: Burst,
    wanted: WatchSet,
    /// Folders that were removed or renamed since they were watched: their watches are gone, or are
    /// elsewhere with them.
    lost: BTreeSet<PathBuf>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        self.state().burst.add(Instant::now());
        self.bell.notify_one();
    }

    /// On the system's thread, for every event of a watched folder.
    fn heard(&self, event: &Event) {
        let is_gone = match event.kind {
            // Reading is no change, ours least of all.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => false,
        };
        let mut is_change = false;
        let mut maybe = Vec::new();
        {
            let State { wanted, lost, .. } = &mut *self.state();
            if event.need_rescan() {
                // Events were dropped: anything may have happened.
                lost.extend(wanted.folders().map(Path::to_owned));
                is_change = true;
            }
            for path in &event.paths {
                if is_gone {
                    for folder in wanted.at_or_below(path) {
                        lost.insert(folder.to_owned());
                        is_change = true;
                    }
                }
                match wanted.relevance(path) {
                    Relevance::No => {}
                    Relevance::Yes => is_change = true,
                    Relevance::IfFolder => maybe.push(path),
                }
            }
        }
        // Asked without the lock: a file system may take its time.
        if is_change || maybe.into_iter().any(|path| path.is_dir()) {
            self.ring();
        }
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher {
    /// Watches nothing yet. Never fails: where the system refuses, it says so once in the log, and the
    /// source lives from resyncs.
    pub fn new() -> Self {
        Self {
            shared: Arc::default(),
            system: None,
            placed: BTreeMap::new(),
            refused: BTreeSet::new(),
            has_warned: false,
        }
    }

    fn open(&mut self) {
        if self.system.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let heard = move |event: notify::Result<Event>| match event {
            Ok(event) => shared.heard(&event),
            Err(error) => tracing::debug!("watching the manifests: {error}"),
        };
        match notify::recommended_watcher(heard) {
            Ok(system) => self.system = Some(system),
            Err(error) => self.warn(&error, "instances"),
        }
    }

    /// Watches exactly these folders from now on. Blocks for some ten microseconds a folder. Whatever was not
    /// watched before counts as one more change, since it may have changed after it was read.
    pub fn watch(&mut self, wanted: &WatchSet) {
        // A source that names no folder costs the system nothing.
        if !wanted.is_empty() {
            self.open();
        }
        let (lost, has_more) = {
            let mut state = self.shared.state();
            let has_more = wanted.has_more_than(&state.wanted);
            state.wanted = wanted.clone();
            (std::mem::take(&mut state.lost), has_more)
        };
        let mut now = BTreeMap::new();
        for folder in wanted.folders() {
            now.insert(folder.to_owned(), identity(folder));
        }
        let stale: Vec<PathBuf> = self
            .placed
            .iter()
            .filter(|(folder, was)| lost.contains(*folder) || now.get(*folder) != Some(&Some(**was)))
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in stale {
            self.placed.remove(&folder);
            if let Some(system) = &mut self.system {
                // Fails where the folder is gone, which is as good.
                system.unwatch(&folder).ok();
            }
        }
        let mut is_news = has_more && self.system.is_some();
        let mut refused = BTreeSet::new();
        for (folder, identity) in now {
            if self.placed.contains_key(&folder) {
                continue;
            }
            let Some(system) = &mut self.system else { break };
            match (system.watch(&folder, RecursiveMode::NonRecursive), identity) {
                (Ok(()), Some(identity)) => {
                    self.placed.insert(folder, identity);
                    is_news = true;
                }
                // It is gone already, or came this moment.
                (Ok(()), None) => is_news = true,
                (Err(error), _) => {
                    // Once, or a folder that is refused for good would be loaded for ever.
                    is_news |= !self.refused.contains(&folder);
                    if is_limit(&error) {
                        self.warn(&error, "watches");
                    } else {
                        tracing::debug!("cannot watch {}: {error}", folder.display());
                    }
                    refused.insert(folder);
                }
            }
        }
        self.refused = refused;
        if is_news {
            self.shared.ring();
        }
    }

    /// Waits until what is watched has changed: 50 ms after the last change of a row, 250 ms after its
    /// first one at most. Once a row. Can be dropped and called again without losing a change; while
    /// nothing changes, nothing wakes.
    pub async fn changed(&mut self) {
        loop {
            let due = {
                let mut state = self.shared.state();
                if state.burst.take(Instant::now()) {
                    return;
                }
                state.burst.due()
            };
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => self.shared.bell.notified().await,
            }
        }
    }

    /// How many folders are watched.
    pub fn folders(&self) -> usize {
        self.placed.len()
    }

    fn warn(&mut self, error: &notify::Error, what: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!(
                "changes of the manifests are noticed by the regular rescan only, since the system refuses to watch \
                 folders: {error}; raise the sysctl fs.inotify.max_user_{what} (and `ulimit -n`, if files are short)"
            );
        }
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    std::fs::metadata(folder).ok().map(|m| (m.dev(), m.ino()))
}

/// `ENOSPC` is what inotify says when a user has too many watches.
fn is_limit(error: &notify::Error) -> bool {
    matches!(error.kind, ErrorKind::MaxFilesWatch)
}
