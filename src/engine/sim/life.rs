//! The life of a container, and of the engine: starts, ends, and restarts by policy.

use std::time::Duration;

use super::core::Core;
use super::refusal::{Refusal, no_such_container, refusal};
use super::unit::Unit;
use super::world::{By, Target};
use crate::clock::Timestamp;
use crate::engine::{LogLine, LogStream};
use crate::resource::container::ContainerId;
use crate::resource::observed::RunState;
use crate::resource::spec::RestartPolicy;

/// Docker's own: the first wait before a restart, doubled each time,
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// up to this one,
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// and back to the first after a run of this length.
const LONG_RUN: Duration = Duration::from_secs(10);
/// What a shell says of a command that is not there.
const NOT_FOUND: i64 = 127;
/// What Docker notes where the signal KILL ended it.
pub(super) const KILLED: i64 = 137;

impl Core {
    pub fn unit(&mut self, id: &ContainerId) -> Result<&mut Unit, Refusal> {
        self.containers.get_mut(id).ok_or_else(|| no_such_container(&id.0))
    }

    // ---- starting ------------------------------------------------------------------------------

    /// By a call, or because the engine starts.
    pub fn start(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let unit = self.unit(id)?;
        match unit.state {
            RunState::Paused => return Err(refusal(409, "cannot start a paused container, try unpause instead")),
            // 304
            RunState::Running | RunState::Restarting => return Ok(()),
            RunState::Removing | RunState::Dead => {
                return Err(refusal(409, "container is marked for removal and cannot be started"));
            }
            RunState::Created | RunState::Exited => {}
        }
        unit.manually_stopped = false;
        unit.cancelled = false;
        unit.restarts = 0;
        unit.wait = Duration::ZERO;
        self.begin(id)
    }

    /// What cannot begin keeps its state, with the reason in `State.Error`.
    fn begin(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        if let Err(refusal) = self.attempt(id) {
            self.release(id);
            let unit = self.unit(id)?;
            unit.error.clone_from(&refusal.message);
            if unit.exit_code == 0 {
                unit.exit_code = 128;
            }
            return Err(refusal);
        }
        let (at, now) = (self.at, self.now);
        let unit = self.unit(id)?;
        unit.state = RunState::Running;
        unit.exit_code = 0;
        unit.oom_killed = false;
        unit.error.clear();
        unit.started_at = Some(now);
        unit.began = Some(at);
        unit.run += 1;
        unit.flipped = false;
        let (run, program) = (unit.run, unit.program.clone());
        unit.logs.extend(program.writes.iter().map(|line| LogLine {
            container: id.clone(),
            stream: LogStream::Stdout,
            time: now,
            line: line.clone(),
        }));
        self.emit_container(id, "start", &[]);
        if program.has_no_command {
            self.end_later(id, run, Duration::from_millis(10), NOT_FOUND, false);
        } else if let Some((after, code)) = program.exits_after {
            self.end_later(id, run, after, code, program.exits_by_oom);
        }
        self.watch_health(id);
        Ok(())
    }

    fn attempt(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        self.check_namespaces(id)?;
        self.attach_all(id)?;
        self.bind_ports(id)?;
        let unit = self.unit(id)?;
        // With a first process of the engine's own it is that one which finds out, once started.
        if unit.program.has_no_command && !unit.host.init.unwrap_or_default() {
            unit.exit_code = NOT_FOUND;
            let text = "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \
                        \"program\": executable file not found in $PATH: unknown";
            return Err(refusal(400, text));
        }
        Ok(())
    }

    fn check_namespaces(&self, id: &ContainerId) -> Result<(), Refusal> {
        let Some(unit) = self.containers.get(id) else { return Ok(()) };
        for mode in [&unit.host.network_mode, &unit.host.pid_mode, &unit.host.ipc_mode] {
            let Some(other) = mode.as_deref().and_then(|m| m.strip_prefix("container:")) else { continue };
            let Some(other) = self.find(other).and_then(|id| self.containers.get(&id)) else {
                return Err(no_such_container(other));
            };
            if !other.lives() {
                let text = format!("cannot join network of a non running container: {}", other.id.0);
                return Err(refusal(409, text));
            }
        }
        Ok(())
    }

    // ---- ending --------------------------------------------------------------------------------

    /// By itself. A paused one has no time, and goes on when it is let.
    fn end_later(&mut self, id: &ContainerId, run: u64, after: Duration, code: i64, oom: bool) {
        let id = id.clone();
        let effect = move |core: &mut Self| match core.containers.get(&id) {
            Some(unit) if unit.run == run && unit.state == RunState::Paused => {
                core.end_later(&id, run, Duration::from_secs(1), code, oom);
            }
            Some(unit) if unit.run == run && unit.lives() => core.end(&id, code, oom),
            _ => {}
        };
        self.later_by(By::Engine, after, Box::new(effect));
    }

    /// The process is no more; the restart policy decides what follows.
    pub fn end(&mut self, id: &ContainerId, code: i64, oom: bool) {
        let _ = self.change("end", Target::Container(id.clone()), |core| {
            let now = core.now;
            core.release(id);
            let unit = core.unit(id)?;
            let ran = unit.started_at.map_or(Duration::ZERO, |at| now.since(at));
            unit.exit_code = code;
            unit.oom_killed = oom;
            unit.finished_at = Some(now);
            unit.began = None;
            unit.health = None;
            let again = should_restart(unit, ran);
            let (run, wait) = (unit.run, unit.wait);
            unit.state = if again { RunState::Restarting } else { RunState::Exited };
            if again {
                unit.restarts += 1;
            }
            let auto_remove = !again && unit.host.auto_remove.unwrap_or_default();
            if oom {
                core.emit_container(id, "oom", &[]);
            }
            core.emit_container(id, "die", &[("exitCode", code.to_string())]);
            if again {
                let id = id.clone();
                core.later_by(By::Engine, wait, Box::new(move |core| core.restart(&id, run)));
            } else if auto_remove {
                let id = id.clone();
                core.later_by(By::Engine, Duration::from_millis(100), Box::new(move |core| core.vanish(&id)));
            }
            Ok(())
        });
    }

    /// By policy. What cannot begin stays exited: Docker does not try again.
    fn restart(&mut self, id: &ContainerId, run: u64) {
        let waits = |u: &Unit| u.run == run && u.state == RunState::Restarting;
        if !self.containers.get(id).is_some_and(waits) {
            return;
        }
        let _ = self.change("restart", Target::Container(id.clone()), |core| {
            let result = core.begin(id);
            if result.is_err() {
                core.unit(id)?.state = RunState::Exited;
            }
            result
        });
    }

    /// What a run holds: addresses and ports.
    pub fn release(&mut self, id: &ContainerId) {
        let Some(unit) = self.containers.get_mut(id) else { return };
        unit.published.clear();
        let mut left = Vec::new();
        for (name, attached) in &mut unit.endpoints {
            if attached.address.take().is_some() {
                left.push((name.clone(), attached.network_id.clone()));
            }
        }
        for (name, network) in left {
            self.emit_attachment("disconnect", id, &name, network.as_ref());
        }
    }

    // ---- the engine itself ---------------------------------------------------------------------

    /// It ends and stops what runs, which nobody did on purpose.
    pub fn go_down(&mut self, reason: &str) {
        let living: Vec<_> = self.containers.values().filter(|u| u.runs()).map(|u| u.id.clone()).collect();
        for id in living {
            let Some(unit) = self.containers.get_mut(&id) else { continue };
            unit.cancelled = true;
            let code = unit.stop_code();
            if unit.lives() {
                self.resume(&id);
                self.end(&id, code, false);
            } else {
                unit.state = RunState::Exited;
            }
        }
        self.crash(reason);
    }

    /// Nothing is stopped: what runs goes on without it, and is ended when it comes back.
    pub fn crash(&mut self, reason: &str) {
        self.up = false;
        self.frozen = false;
        self.forget_agenda();
        self.cut_streams(reason);
    }

    /// It starts, and with it what its restart policy says, in any order.
    pub fn come_up(&mut self) {
        self.up = true;
        let left: Vec<_> = self.containers.values().filter(|u| u.runs()).map(|u| u.id.clone()).collect();
        for id in left {
            self.end_orphan(&id);
        }
        let mut again = Vec::new();
        for unit in self.containers.values_mut() {
            unit.waiters.clear();
            if unit.state == RunState::Removing {
                unit.state = RunState::Dead;
            }
            unit.cancelled = false;
            let ran = unit.started_at.zip(unit.finished_at).map_or(Duration::ZERO, |(from, to)| to.since(from));
            if unit.state == RunState::Exited && unit.started_at.is_some() && should_restart(unit, ran) {
                again.push(unit.id.clone());
            }
        }
        for id in again {
            let delay = self.moment();
            self.later_by(
                By::Engine,
                delay,
                Box::new(move |core| {
                    let _ = core.change("restart", Target::Container(id.clone()), |core| core.start(&id));
                }),
            );
        }
    }

    /// What a killed engine left running is stopped, as if it were on purpose: `unless-stopped` does not
    /// start it again.
    fn end_orphan(&mut self, id: &ContainerId) {
        let Some(unit) = self.containers.get_mut(id) else { return };
        unit.cancelled = true;
        unit.manually_stopped = true;
        let code = unit.stop_code();
        if unit.lives() {
            self.resume(id);
            self.end(id, code, false);
        } else {
            unit.state = RunState::Exited;
        }
    }

    fn moment(&mut self) -> Duration {
        self.about(500)
    }
}

/// Docker's restart manager.
fn should_restart(unit: &mut Unit, ran: Duration) -> bool {
    if unit.cancelled {
        return false;
    }
    if ran >= LONG_RUN {
        unit.wait = Duration::ZERO;
    }
    unit.wait = if unit.wait.is_zero() { FIRST_WAIT } else { (unit.wait * 2).min(LONGEST_WAIT) };
    match unit.policy() {
        RestartPolicy::No | RestartPolicy::Managed => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !unit.manually_stopped,
        RestartPolicy::OnFailure { max_retries } => {
            unit.exit_code != 0 && (max_retries == 0 || unit.restarts < i64::from(max_retries))
        }
    }
}

impl Core {
    /// The image's HEALTHCHECK, where it is on.
    fn watch_health(&mut self, id: &ContainerId) {
        let Some(unit) = self.containers.get_mut(id) else { return };
        let test = unit.config.healthcheck.as_ref().and_then(|h| h.test.as_ref());
        if test.and_then(|t| t.first()).is_none_or(|word| word == "NONE") {
            return;
        }
        unit.health = Some(false);
        let (id, run) = (id.clone(), unit.run);
        self.later_by(By::Engine, Duration::from_secs(1), Box::new(move |core| core.check_health(&id, run)));
    }

    fn check_health(&mut self, id: &ContainerId, run: u64) {
        let at = self.at;
        let Some(unit) = self.containers.get_mut(id).filter(|u| u.run == run && u.lives()) else { return };
        let well = unit.is_ready(at);
        let changed = unit.state == RunState::Running && unit.health != Some(well);
        if changed {
            unit.health = Some(well);
        }
        if changed {
            let word = if well { "health_status: healthy" } else { "health_status: unhealthy" };
            self.emit_container(id, word, &[]);
        }
        let id = id.clone();
        self.later_by(By::Engine, Duration::from_secs(1), Box::new(move |core| core.check_health(&id, run)));
    }
}

/// For a container that wrote nothing yet.
pub(super) fn line(container: &ContainerId, time: Timestamp, line: &str) -> LogLine {
    LogLine { container: container.clone(), stream: LogStream::Stdout, time, line: line.to_owned() }
}
