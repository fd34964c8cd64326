//! Programs that are run, and do not outlive the benchmark: one that is measured, and one that goes on until it is ended.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use wait4::Wait4;

use crate::docker::{Result, error};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From before the fork until it was reaped.
    pub wall: Duration,
    /// Its own, user and system; the engine's is not in it.
    pub cpu: Duration,
    pub max_rss_kib: u64,
}

/// Fails unless it exits with 0 within `limit`. What it writes goes to `log`, and its end into the error.
pub async fn run(command: Command, log: &Path, limit: Duration) -> Result<Measured> {
    let name = name(&command);
    let (child, begin, mut guard) = start(command, log)?;
    let waiting = spawn_blocking(move || {
        let used = child.wait4();
        (used, begin.elapsed())
    });
    let (used, wall) = match timeout(limit, waiting).await {
        Ok(Ok((Ok(used), wall))) => {
            guard.reaped();
            (used, wall)
        }
        Ok(Ok((Err(e), _))) => return error(format!("cannot wait for {name}: {e}")),
        Ok(Err(e)) => return error(format!("cannot wait for {name}: {e}")),
        Err(_) => return error(format!("{name} was not done after {limit:?}\n{}", tail(log))),
    };
    if !used.status.success() {
        return error(format!("{name} failed: {}\n{}", used.status, tail(log)));
    }
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok(Measured { wall, cpu, max_rss_kib: used.rusage.maxrss / 1024 })
}

/// What it writes goes to `log`. The time is that before the fork.
fn start(mut command: Command, log: &Path) -> Result<(Child, Instant, Guard)> {
    let files = File::create(log).and_then(|out| Ok((out.try_clone()?, out)));
    let (out, err) = files.or_else(|e| error(format!("{}: {e}", log.display())))?;
    // A group of its own, so that a Ctrl-C at the terminal reaches the benchmark alone, which then ends it.
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);

    let begin = Instant::now();
    let child = command.spawn().or_else(|e| error(format!("cannot run {}: {e}", name(&command))))?;
    let guard = Guard(Some(Pid::from_child(&child)));
    Ok((child, begin, guard))
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Kills the group when dropped, unless it has been reaped: its number may be another's then.
struct Guard(Option<Pid>);

impl Guard {
    fn reaped(&mut self) {
        self.0 = None;
    }

    fn terminate(&self) -> Result<()> {
        let Some(group) = self.0 else { return Ok(()) };
        kill_process_group(group, Signal::TERM).or_else(|e| error(format!("cannot end {group:?}: {e}")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A program that goes on until it is ended. Dropped, it is killed, and gone: what it wrote can be removed then.
pub struct Process {
    child: Child,
    guard: Option<Guard>,
    name: String,
    log: PathBuf,
}

impl Process {
    /// What it writes goes to `log`.
    pub fn start(command: Command, log: PathBuf) -> Result<Self> {
        let name = name(&command);
        let (child, _, guard) = start(command, &log)?;
        Ok(Self { child, guard: Some(guard), name, log })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.child.try_wait();
        let ended = ended.or_else(|e| error(format!("cannot wait for {}: {e}", self.name)))?;
        if ended.is_some()
            && let Some(guard) = &mut self.guard
        {
            guard.reaped();
        }
        Ok(ended)
    }

    /// Before another look for `what`: a pause, or why there will be none.
    pub async fn in_time(&mut self, deadline: Instant, what: &str) -> Result<()> {
        if let Some(status) = self.has_ended()? {
            return error(format!("{} ended ({status}):\n{}", self.name, tail(&self.log)));
        }
        if Instant::now() > deadline {
            return error(format!("waited in vain for {what}; the log of {}:\n{}", self.name, tail(&self.log)));
        }
        sleep(PAUSE).await;
        Ok(())
    }

    /// As a user ends it.
    pub async fn stop(mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        self.guard.as_ref().map_or(Ok(()), Guard::terminate)?;
        loop {
            match self.has_ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return error(format!("{} ended with {status}:\n{}", self.name, tail(&self.log))),
                None if Instant::now() < deadline => sleep(PAUSE).await,
                None => return error(format!("{} does not end:\n{}", self.name, tail(&self.log))),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.take());
        let _ = self.child.wait();
    }
}

/// The last lines.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
