//! What both benchmarks have around them: the runtime, the signals, a clean stage before and after, the machine, and
//! the file of JSON lines.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::docker::{Docker, Result, error};
use crate::stage;

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

/// One benchmark at a time, on a stage that is clean before and, whatever happens, after.
pub async fn on_stage(docker: &Docker, limit: Duration, work: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let _lock = stage::lock()?;
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return error("cannot listen to signals");
    };
    let work = async {
        stage::clean(docker, false).await?;
        work.await
    };
    // Dropping the work kills the program that is being measured; then the stage is cleaned.
    let ended = tokio::select! {
        done = timeout(limit, work) => match done {
            Ok(done) => done.map(|()| ExitCode::SUCCESS),
            Err(_) => error(format!("not done after {limit:?}")),
        },
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
        _ = hangup.recv() => Ok(ExitCode::from(129)),
    };
    eprintln!("removing what the benchmark made");
    let cleaned = stage::clean(docker, true).await;
    let code = ended?;
    cleaned.map(|()| code)
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

/// When, on which machine, with which engine.
pub async fn about(docker: &Docker) -> Result<Value> {
    let engine = docker.get("/version").await?;
    let (_, now) = now();
    Ok(json!({
        "date": humantime::format_rfc3339_seconds(now).to_string(),
        "engine": engine["Version"],
        "kernel": engine["KernelVersion"],
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "profile": if cfg!(debug_assertions) { "debug" } else { "optimised" },
    }))
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
