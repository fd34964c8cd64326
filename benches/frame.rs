//! What all benchmarks have around them: the runtime, the signals, the machine, the file of JSON lines, and how figures
//! are written.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::docker::{Result, error};

/// Runs it on this thread, and tells what went wrong.
pub fn run(work: impl Future<Output = Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(e) => error(format!("cannot start the runtime: {e}")),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// One benchmark at a time on a machine: two would take each other's containers for an earlier run's, and each other's time.
pub fn lock() -> Result<File> {
    let path = std::env::temp_dir().join("env-manager-bench.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.or_else(|e| error(format!("{}: {e}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => error(format!("another benchmark is running ({} is locked)", path.display())),
        Err(TryLockError::Error(e)) => error(format!("{}: {e}", path.display())),
    }
}

/// Until it is done, or a signal ends it. Dropping the work ends what it has started, and removes its folder.
pub async fn until_ended(limit: Duration, work: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return error("cannot listen to signals");
    };
    tokio::select! {
        done = timeout(limit, work) => match done {
            Ok(done) => done.map(|()| ExitCode::SUCCESS),
            Err(_) => error(format!("not done after {limit:?}")),
        },
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
        _ = hangup.recv() => Ok(ExitCode::from(129)),
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where results go.
pub fn target() -> PathBuf {
    // target/PROFILE/env-manager
    Path::new(env!("CARGO_BIN_EXE_env-manager")).ancestors().nth(2).unwrap_or(&root()).join("bench")
}

/// For manifests, state and logs.
pub fn temporary() -> Result<tempfile::TempDir> {
    let temporary = tempfile::Builder::new().prefix("em-bench-").tempdir();
    temporary.or_else(|e| error(format!("cannot make a temporary folder: {e}")))
}

/// Takes the variables away that would change what a contender does.
pub fn with_environment_cleared(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ENV_MANAGER_") || text.starts_with("COMPOSE_") || text == "REDDB_ADMIN_TOKEN" {
            command.env_remove(&name);
        }
    }
}

/// When, and on which machine.
pub fn about() -> Value {
    let (_, now) = now();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "date": humantime::format_rfc3339_seconds(now).to_string(),
        "kernel": kernel.trim(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "profile": if cfg!(debug_assertions) { "debug" } else { "optimised" },
        "load": load(),
    })
}

#[expect(clippy::disallowed_methods, reason = "the engine's times are times of day of this machine")]
pub fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// A file of JSON lines, written as they come.
pub struct Lines {
    file: File,
    pub path: PathBuf,
}

impl Lines {
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.jsonl"));
        let file = std::fs::create_dir_all(folder).and_then(|()| File::create(&path));
        let file = file.or_else(|e| error(format!("{}: {e}", path.display())))?;
        Ok(Self { file, path })
    }

    pub fn add(&mut self, value: &Value) -> Result<()> {
        writeln!(self.file, "{value}").or_else(|e| error(format!("{}: {e}", self.path.display())))
    }
}

pub fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| if v < 100.0 { format!("{v:.1} ms") } else { format!("{v:.0} ms") })
}

pub fn round_1(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The least value that `percent` of all do not exceed.
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}
