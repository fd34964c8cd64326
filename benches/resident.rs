//! `env-manager run`, what it says of itself, and what it uses.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::child::Process;
use crate::docker::{Error, Result, ask, error};
use crate::proxy::Proxy;
use crate::{frame, stage};

/// For everything that is waited for.
pub const LIMIT: Duration = Duration::from_mins(1);
/// A daemon at rest makes no call for so long.
const SILENCE: Duration = Duration::from_millis(300);
/// Rare enough that nothing that is measured is found by it.
const RESYNC: &str = "1h";
/// The unit of processor times in `/proc` on every Linux, in milliseconds.
const TICK_MS: u64 = 10;

pub struct Resident {
    process: Process,
    folder: PathBuf,
}

/// Since it was started.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// User and system.
    pub cpu_ms: u64,
    pub resident_kib: u64,
    pub most_resident_kib: u64,
}

impl Resident {
    /// Starts it over `manifests`, its engine behind `proxy`, its state in `folder`; returns when it answers.
    pub async fn start(folder: &Path, manifests: &Path, config: &Path, proxy: &Proxy) -> Result<Self> {
        let command = command(&["run"], folder, config, manifests, proxy);
        let process = Process::start(command, folder.join("daemon.log"))?;
        let mut resident = Self { process, folder: folder.join("state").join(stage::STACK) };
        let deadline = Instant::now() + LIMIT;
        while resident.status().await.is_err() {
            resident.process.in_time(deadline, "an answer").await?;
        }
        Ok(resident)
    }

    pub async fn status(&self) -> Result<Value> {
        let failed = |e: std::io::Error| Error(format!("the daemon does not answer: {e}"));
        let file = std::fs::read(self.folder.join("daemon.json")).map_err(failed)?;
        let file: Value = serde_json::from_slice(&file).unwrap_or_default();
        if file["pid"] != self.process.id() {
            return error("the daemon does not answer yet");
        }
        let stream = TcpStream::connect(file["http"].as_str().unwrap_or_default()).await.map_err(failed)?;
        match ask(stream, "GET", "/api/v1/status", "application/json", &[]).await.map_err(failed)? {
            Some((200, body)) => Ok(serde_json::from_slice(&body).unwrap_or_default()),
            other => error(format!("the daemon does not answer its status: {:?}", other.map(|(code, _)| code))),
        }
    }

    /// Waits until the status is so.
    pub async fn until(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.status().await?;
            if is_so(&status) {
                return Ok(status);
            }
            self.process.in_time(deadline, what).await?;
        }
    }

    /// Waits until the status is so, everything is converged, and nothing goes on.
    pub async fn at_rest(&mut self, proxy: &mut Proxy, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let status = self.until("converged", |status| status["converged"] == true && is_so(status)).await?;
        proxy.silent_for(SILENCE).await;
        Ok(status)
    }

    pub fn used(&self) -> Result<Used> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.process.id());
            std::fs::read_to_string(&path).or_else(|e| error(format!("{path}: {e}")))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        // The name of the program, in brackets, may contain anything. After it: state, ten more, utime, stime.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        let kib = |field: &str| {
            let value = status.lines().find_map(|l| l.strip_prefix(field)?.split_whitespace().nth(1)?.parse().ok());
            value.unwrap_or_default()
        };
        Ok(Used { cpu_ms: ticks * TICK_MS, resident_kib: kib("VmRSS"), most_resident_kib: kib("VmHWM") })
    }

    pub async fn stop(self) -> Result<()> {
        self.process.stop(LIMIT).await
    }
}

/// A verb over the benchmark's stack.
pub fn command(verb: &[&str], folder: &Path, config: &Path, manifests: &Path, proxy: &Proxy) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_env-manager"));
    command.args(verb).arg("--config").arg(config).arg("--manifests").arg(manifests);
    command.args(["--stack", stage::STACK, "--state-dir"]).arg(folder.join("state"));
    frame::with_environment_cleared(&mut command);
    command
        .env("DOCKER_HOST", format!("unix://{}", proxy.socket.display()))
        .env("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:0")
        .env("ENV_MANAGER_METRICS_ADDR", "127.0.0.1:0")
        // There is no Redis for it here.
        .env("ENV_MANAGER_TASKS_ENABLED", "false")
        .env("ENV_MANAGER_RESYNC", RESYNC)
        .current_dir(folder);
    command
}
