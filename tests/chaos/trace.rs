//! What happened, line by line, and where it is left for people.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A thread that panicked has told already.
pub fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Trace {
    pub begin: Instant,
    lines: Mutex<Vec<String>>,
    violation: Mutex<Option<String>>,
}

impl Trace {
    pub fn new() -> Self {
        Self { begin: Instant::now(), lines: Mutex::default(), violation: Mutex::default() }
    }

    pub fn at(&self) -> Duration {
        self.begin.elapsed()
    }

    pub fn add(&self, who: &str, what: &str) {
        let at = self.at();
        let line = format!("{:>4}.{:03} {who:<8} {what}", at.as_secs(), at.subsec_millis());
        if who != "engine" && who != "we" {
            println!("{line}");
        }
        lock(&self.lines).push(line);
    }

    /// The first one is what the run fails with.
    pub fn fail(&self, what: String) {
        self.add("VIOLATED", &what);
        lock(&self.violation).get_or_insert(what);
    }

    pub fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    /// How many lines there are, and those from there on.
    pub fn mark(&self) -> usize {
        lock(&self.lines).len()
    }

    pub fn since(&self, mark: usize) -> Vec<String> {
        lock(&self.lines).get(mark..).unwrap_or_default().to_vec()
    }

    /// Leaves everything in a folder, and says which.
    pub fn leave(&self, seed: u64, home: &Path) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(seed.to_string());
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("manifests")).expect("a folder");
        std::fs::write(folder.join("trace.log"), lock(&self.lines).join("\n") + "\n").expect("a file");
        let _ = std::fs::copy(home.join("daemon.log"), folder.join("daemon.log"));
        for manifest in std::fs::read_dir(home.join("manifests")).into_iter().flatten().flatten() {
            let _ = std::fs::copy(manifest.path(), folder.join("manifests").join(manifest.file_name()));
        }
        folder
    }
}

/// How often each occurred.
pub fn counts(of: impl IntoIterator<Item = (String, u64)>) -> String {
    of.into_iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}
