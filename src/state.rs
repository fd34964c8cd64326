//! The state directory: generation counters, which revisions have served or were refused, and the lock of
//! the stack.
//!
//! None of it is needed to converge. Losing it loses what it holds and nothing else.
//!
//! | file | what |
//! |---|---|
//! | [`daemon_file`] | where the daemon of the stack answers |

pub mod daemon_file;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use daemon_file::DaemonFile;

use crate::clock::Timestamp;
use crate::resource::container::ContainerId;
use crate::resource::hash::{SpecHash, service_hash};
use crate::resource::revision::Revisions;
use crate::resource::spec::ServiceSpec;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use the state directory {}; check its permissions, or choose another with --state-dir", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("another env-manager works on this stack: {holder} (lock {}); wait for it to end, or stop it", path.display())]
    Locked { holder: String, path: PathBuf },
}

/// What is remembered of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Counts spec changes, from 1.
    generation: u64,
    hash: SpecHash,
    /// The spec applied last. Secrets are not in it.
    spec: ServiceSpec,
}

/// A run of a container that has passed its startup gate: a later process need not ask again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedGate {
    pub container: ContainerId,
    pub started_at: Timestamp,
}

/// Hands off a service, by call (P19).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Who asked for it: `uid 0`.
    pub by: String,
    pub since: Timestamp,
}

impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {}", self.by, self.since)
    }
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    services: BTreeMap<String, Record>,
    passed_gates: BTreeMap<String, PassedGate>,
    /// By service: which has served, and which was refused. Secrets are not in them.
    revisions: BTreeMap<String, Revisions>,
    /// By service. Kept though its manifest goes away: it may come back.
    suspensions: BTreeMap<String, Suspension>,
}

/// Of one stack.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    content: Content,
    /// Something is to be written.
    changed: bool,
}

impl StateDir {
    const FILE: &str = "services.json";

    /// Reads what is there, and makes nothing. A file that cannot be parsed counts as lost, with a warning.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StateError> {
        let dir = dir.into();
        let wrap = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        let path = dir.join(Self::FILE);
        let content = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "state file cannot be read; generations begin again");
                Content::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(wrap(&path)(error)),
        };
        Ok(Self { dir, content, changed: false })
    }

    /// Where files are written that containers with a read-only root bind.
    pub fn files_dir(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// The generation of a service with this spec: one more where the spec differs from the one
    /// remembered. Remembers it; [`StateDir::save`] writes.
    pub fn generation(&mut self, name: &str, spec: &ServiceSpec) -> u64 {
        let hash = service_hash(spec);
        match self.content.services.get(name) {
            Some(record) if record.hash == hash => record.generation,
            old => {
                let generation = old.map_or(1, |r| r.generation + 1);
                self.content.services.insert(name.to_owned(), Record { generation, hash, spec: spec.clone() });
                self.changed = true;
                generation
            }
        }
    }

    /// Forgets a service that was removed.
    pub fn forget(&mut self, name: &str) {
        self.changed |= self.content.services.remove(name).is_some();
        self.changed |= self.content.passed_gates.remove(name).is_some();
        self.changed |= self.content.revisions.remove(name).is_some();
    }

    pub fn passed_gates(&self) -> &BTreeMap<String, PassedGate> {
        &self.content.passed_gates
    }

    pub fn set_passed_gates(&mut self, gates: BTreeMap<String, PassedGate>) {
        self.changed |= self.content.passed_gates != gates;
        self.content.passed_gates = gates;
    }

    pub fn revisions(&self) -> &BTreeMap<String, Revisions> {
        &self.content.revisions
    }

    pub fn set_revisions(&mut self, revisions: BTreeMap<String, Revisions>) {
        self.changed |= self.content.revisions != revisions;
        self.content.revisions = revisions;
    }

    pub fn suspensions(&self) -> &BTreeMap<String, Suspension> {
        &self.content.suspensions
    }

    /// The same as text, by service.
    pub fn suspended(&self) -> BTreeMap<String, String> {
        self.content.suspensions.iter().map(|(name, s)| (name.clone(), s.to_string())).collect()
    }

    /// The spec applied last says `suspend: true`.
    pub fn suspends_itself(&self, name: &str) -> bool {
        self.content.services.get(name).is_some_and(|record| record.spec.suspend)
    }

    /// Says whether it was not suspended before.
    pub fn suspend(&mut self, name: &str, suspension: Suspension) -> bool {
        if self.content.suspensions.contains_key(name) {
            return false;
        }
        self.content.suspensions.insert(name.to_owned(), suspension);
        self.changed = true;
        true
    }

    /// Says whether it was suspended.
    pub fn resume(&mut self, name: &str) -> bool {
        let was = self.content.suspensions.remove(name).is_some();
        self.changed |= was;
        was
    }

    /// Writes what changed: to a new file that is then renamed, so that a crash leaves the old or the
    /// new one whole.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save(&mut self) -> Result<(), StateError> {
        if !self.changed {
            return Ok(());
        }
        let path = self.dir.join(Self::FILE);
        let partial = self.dir.join("services.json.partial");
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&self.dir)?;
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec(&self.content).map_err(io::Error::other)?)?;
            file.sync_all()?;
            std::fs::rename(&partial, &path)
        };
        write().map_err(|source| StateError::Io { path: path.clone(), source })?;
        self.changed = false;
        Ok(())
    }

    /// Takes the stack for this process, until the lock is dropped.
    ///
    /// # Errors
    /// [`StateError::Locked`] names who has it.
    pub fn lock(&self, what: &str) -> Result<Lock, StateError> {
        let path = self.dir.join("lock");
        let wrap = |source| StateError::Io { path: path.clone(), source };
        std::fs::create_dir_all(&self.dir).map_err(wrap)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(wrap)?;
        match file.try_lock() {
            Ok(()) => {
                let text = format!("{what}, process {}", std::process::id());
                let write = |file: &mut File| -> io::Result<()> {
                    file.set_len(0)?;
                    file.rewind()?;
                    file.write_all(text.as_bytes())
                };
                write(&mut file).map_err(wrap)?;
                Ok(Lock { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The name is for people; without it the refusal stands.
                let _ = file.read_to_string(&mut holder);
                Err(StateError::Locked { holder, path })
            }
            Err(TryLockError::Error(source)) => Err(wrap(source)),
        }
    }
}

/// Held as long as this lives; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::spec::ContainerSpec;

    fn spec(image: &str) -> ServiceSpec {
        ServiceSpec::plain(ContainerSpec::plain("redis", image))
    }

    #[test]
    fn generations_count_spec_changes_and_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.generation("redis", &spec("redis:7")), 1);
        assert_eq!(state.generation("redis", &spec("redis:7")), 1);
        assert_eq!(state.generation("redis", &spec("redis:8")), 2);
        state.save().unwrap();
        let mut state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.generation("redis", &spec("redis:8")), 2);
        assert_eq!(state.generation("redis", &spec("redis:7")), 3);
    }

    #[test]
    fn a_gate_that_was_passed_is_remembered_until_its_service_goes() {
        let dir = tempfile::tempdir().unwrap();
        let gate = PassedGate { container: ContainerId::new("c1"), started_at: Timestamp(7) };
        let mut state = StateDir::open(dir.path()).unwrap();
        state.set_passed_gates(BTreeMap::from([("redis".to_owned(), gate.clone())]));
        state.save().unwrap();
        let mut state = StateDir::open(dir.path()).unwrap();
        assert_eq!(state.passed_gates().get("redis"), Some(&gate));
        state.forget("redis");
        state.save().unwrap();
        assert!(StateDir::open(dir.path()).unwrap().passed_gates().is_empty());
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let stack = dir.path().join("stack");
        let mut state = StateDir::open(&stack).unwrap();
        state.generation("redis", &spec("redis:7"));
        assert!(!stack.exists());
    }

    #[test]
    fn a_spoilt_file_loses_counts_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(StateDir::FILE), "{half").unwrap();
        assert_eq!(StateDir::open(dir.path()).unwrap().generation("redis", &spec("redis:7")), 1);
    }

    #[test]
    fn the_second_owner_of_a_stack_is_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let lock = state.lock("apply").unwrap();
        let error = state.lock("apply").unwrap_err().to_string();
        assert!(error.contains(&format!("apply, process {}", std::process::id())), "{error}");
        drop(lock);
        state.lock("down").unwrap();
    }
}
