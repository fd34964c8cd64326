//! `daemon.json` in the state directory of a stack: who its daemon is, and where it answers.
//!
//! The daemon writes it once it answers, and removes it when it ends. One that was killed leaves it behind:
//! whoever reads it tries the addresses, and takes a refused connection for no daemon.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StateError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonFile {
    pub pid: u32,
    /// Of env-manager: `0.1.0`.
    pub version: String,
    pub stack: String,
    /// Absolute.
    pub manifests: PathBuf,
    /// As it was bound: `0.0.0.0:50100`. `None`: not served.
    pub grpc: Option<String>,
    /// As it was bound. `None`: not served.
    pub http: Option<String>,
    /// Absolute. `None`: not served.
    pub socket: Option<PathBuf>,
    /// Of the task queue: where its gRPC and its HTTP were bound. `None`: not served, or by a daemon that had none yet.
    #[serde(default)]
    pub tasks_grpc: Option<String>,
    #[serde(default)]
    pub tasks_http: Option<String>,
    /// RFC 3339.
    pub started_at: String,
}

impl DaemonFile {
    pub const NAME: &str = "daemon.json";
    pub const SOCKET: &str = "daemon.sock";
    /// Bytes. Systems allow 104 to 108, with a zero at the end.
    const LONGEST_SOCKET: usize = 100;

    /// Where the daemon's socket belongs; `None` where that path is too long for one.
    pub fn socket_path(stack_dir: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(stack_dir.join(Self::SOCKET)).ok()?;
        (path.as_os_str().len() <= Self::LONGEST_SOCKET).then_some(path)
    }

    /// `None`: there is none, or nothing that can be understood.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read(stack_dir: &Path) -> Result<Option<Self>, StateError> {
        let path = stack_dir.join(Self::NAME);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "not understood"))
                .ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Under a new name that is then renamed: readers see the old one or the new one, whole.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&self, stack_dir: &Path) -> Result<(), StateError> {
        let path = stack_dir.join(Self::NAME);
        let partial = stack_dir.join("daemon.json.partial");
        let write = || -> io::Result<()> {
            fs::create_dir_all(stack_dir)?;
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
            file.write_all(b"\n")?;
            fs::rename(&partial, &path)
        };
        write().map_err(|source| StateError::Io { path, source })
    }

    /// One that is gone already is no error.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(stack_dir: &Path) -> Result<(), StateError> {
        let path = stack_dir.join(Self::NAME);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, source }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> DaemonFile {
        DaemonFile {
            pid: 7,
            version: "0.1.0".to_owned(),
            stack: "default".to_owned(),
            manifests: "/srv/manifests".into(),
            grpc: Some("127.0.0.1:50100".to_owned()),
            http: None,
            socket: Some("/srv/state/daemon.sock".into()),
            tasks_grpc: Some("127.0.0.1:50052".to_owned()),
            tasks_http: None,
            started_at: "2026-11-18T11:06:40.000Z".to_owned(),
        }
    }

    #[test]
    fn what_a_daemon_writes_is_found_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let stack = dir.path().join("stack");
        assert_eq!(DaemonFile::read(&stack).unwrap(), None);
        example().write(&stack).unwrap();
        assert_eq!(DaemonFile::read(&stack).unwrap(), Some(example()));
        let text = fs::read_to_string(stack.join(DaemonFile::NAME)).unwrap();
        assert!(text.contains("\"startedAt\"") && text.contains("\"http\": null"), "{text}");
        DaemonFile::remove(&stack).unwrap();
        DaemonFile::remove(&stack).unwrap();
        assert_eq!(DaemonFile::read(&stack).unwrap(), None);
    }

    #[test]
    fn the_file_of_a_daemon_without_a_task_queue_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = serde_json::to_value(example()).unwrap();
        let fields = old.as_object_mut().unwrap();
        fields.retain(|name, _| !name.starts_with("tasks"));
        assert_eq!(fields.len(), 8);
        fs::write(dir.path().join(DaemonFile::NAME), old.to_string()).unwrap();
        let read = DaemonFile::read(dir.path()).unwrap().unwrap();
        assert_eq!(read, DaemonFile { tasks_grpc: None, ..example() });
    }

    #[test]
    fn a_file_that_cannot_be_understood_names_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(DaemonFile::NAME), "{half").unwrap();
        assert_eq!(DaemonFile::read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_path_that_is_too_long_has_no_socket() {
        assert_eq!(DaemonFile::socket_path(Path::new("/s")), Some("/s/daemon.sock".into()));
        assert_eq!(DaemonFile::socket_path(&Path::new("/s").join("x".repeat(100))), None);
    }
}
