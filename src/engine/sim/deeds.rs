//! What is done to a container that is there: stopping, pausing, renaming, updating, removing.

use std::time::Duration;

use tokio::sync::oneshot;

use super::core::Core;
use super::faults::FaultKind;
use super::life::KILLED;
use super::refusal::{Refusal, marked_for_removal, no_such_container, refusal};
use super::unit::Unit;
use super::world::Target;
use crate::engine::docker::create;
use crate::resource::container::ContainerId;
use crate::resource::limits::Limits;
use crate::resource::observed::RunState;
use crate::resource::spec::RestartPolicy;

/// Of the host.
const CPUS: u32 = 2;

pub(super) type Answer = oneshot::Sender<Result<(), Refusal>>;

/// Who is no longer there is not told.
pub(super) fn answer(to: Answer, result: Result<(), Refusal>) {
    let _ = to.send(result);
}

impl Core {
    // ---- stopping and killing ------------------------------------------------------------------

    /// Answers when it has ended.
    pub fn stop(&mut self, id: &ContainerId, grace: Duration, to: Answer) {
        let Ok(unit) = self.unit(id) else { return answer(to, Err(no_such_container(&id.0))) };
        if !unit.runs() {
            // 304
            return answer(to, Ok(()));
        }
        unit.cancelled = true;
        unit.manually_stopped = true;
        if unit.state == RunState::Restarting {
            // Its wait is over, and nothing comes after it.
            unit.state = RunState::Exited;
            return answer(to, Ok(()));
        }
        let (run, stops_in, code) = (unit.run, unit.program.stops_in, unit.program.stop_code);
        self.resume(id);
        self.emit_container(id, "kill", &[("signal", "15".to_owned())]);
        let (delay, code) = match stops_in {
            Some(after) if after <= grace => (after, code),
            _ => (grace, KILLED),
        };
        let id = id.clone();
        self.later(delay, move |core| {
            if core.containers.get(&id).is_some_and(|u| u.run == run && u.lives()) {
                if code == KILLED {
                    core.emit_container(&id, "kill", &[("signal", "9".to_owned())]);
                }
                core.end(&id, code, false);
            }
            answer(to, Ok(()));
        });
    }

    /// `docker kill`: ends it, and its restart policy with it.
    pub fn kill(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let unit = self.unit(id)?;
        if !unit.runs() {
            return Err(refusal(409, format!("Cannot kill container: {0}: Container {0} is not running", id.0)));
        }
        unit.cancelled = true;
        unit.manually_stopped = true;
        self.extinguish(id);
        Ok(())
    }

    /// Ends it by the signal KILL, whatever it does.
    pub fn extinguish(&mut self, id: &ContainerId) {
        match self.containers.get_mut(id).map(|u| (u.lives(), u)) {
            Some((true, _)) => {
                self.emit_container(id, "kill", &[("signal", "9".to_owned())]);
                self.end(id, KILLED, false);
            }
            Some((false, unit)) if unit.state == RunState::Restarting => unit.state = RunState::Exited,
            _ => {}
        }
    }

    // ---- pausing -------------------------------------------------------------------------------

    pub fn pause(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let unit = self.unit(id)?;
        match unit.state {
            RunState::Running => unit.state = RunState::Paused,
            RunState::Paused => return Err(refusal(409, format!("Container {} is already paused", id.0))),
            _ => return Err(refusal(409, format!("Container {} is not running", id.0))),
        }
        self.emit_container(id, "pause", &[]);
        Ok(())
    }

    pub fn unpause(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        if self.unit(id)?.state != RunState::Paused {
            return Err(refusal(500, format!("Container {} is not paused", id.0)));
        }
        self.resume(id);
        Ok(())
    }

    pub fn resume(&mut self, id: &ContainerId) {
        if let Some(unit) = self.containers.get_mut(id).filter(|u| u.state == RunState::Paused) {
            unit.state = RunState::Running;
            self.emit_container(id, "unpause", &[]);
        }
    }

    // ---- renaming, updating --------------------------------------------------------------------

    pub fn rename(&mut self, id: &ContainerId, name: &str) -> Result<(), Refusal> {
        let holder = self.holder(name);
        let sandbox = self.containers.get(id).map_or(0, |u| u.run);
        let unit = self.unit(id)?;
        if unit.name == name {
            return Err(refusal(400, "Renaming a container with the same name as its current name"));
        }
        if let Some(holder) = holder {
            let Refusal { status, message } = super::refusal::name_taken(name, &holder);
            return Err(refusal(status, format!("Error when allocating new name: {message}")));
        }
        if unit.state == RunState::Restarting {
            return Err(refusal(404, format!("sandbox {sandbox:064x} not found")));
        }
        let old = std::mem::replace(&mut unit.name, name.to_owned());
        self.emit_container(id, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    pub fn set_policy(&mut self, id: &ContainerId, policy: RestartPolicy) -> Result<(), Refusal> {
        self.update(id, |unit| {
            unit.host.restart_policy = Some(create::restart_policy(policy));
            Ok(())
        })
    }

    pub fn update(
        &mut self,
        id: &ContainerId,
        change: impl FnOnce(&mut Unit) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let unit = self.unit(id)?;
        if matches!(unit.state, RunState::Removing | RunState::Dead) {
            return Err(marked_for_removal(id, "\"update\""));
        }
        change(unit)?;
        self.emit_container(id, "update", &[]);
        Ok(())
    }

    /// All of it or nothing.
    pub fn update_limits(&mut self, id: &ContainerId, limits: &Limits) -> Result<(), Refusal> {
        self.update(id, |unit| {
            let body = create::update(limits);
            let memory = body.memory.unwrap_or_default();
            if unit.lives() && memory > 0 && u64::try_from(memory).unwrap_or_default() < unit.program.uses_memory {
                let text = format!(
                    "Cannot update container {}: runc did not terminate successfully: exit status 1: unable to set \
                     memory limit to {memory} (current usage: {1}, peak usage: {1})\n: unknown",
                    unit.id.0, unit.program.uses_memory
                );
                return Err(refusal(500, text));
            }
            if let Some(asked) = body.cpuset_cpus.as_ref().filter(|set| !set.split([',', '-']).all(is_cpu)) {
                let text = format!("Requested CPUs are not available - requested {asked}, available: 0-{}", CPUS - 1);
                return Err(refusal(400, text));
            }
            let host = &mut unit.host;
            // 0 and nothing: unchanged; but for `pids`, which it takes away.
            let set = |to: &mut Option<i64>, limit: Option<i64>| *to = limit.filter(|n| *n != 0).or(*to);
            set(&mut host.memory, body.memory);
            set(&mut host.memory_swap, body.memory_swap);
            set(&mut host.memory_reservation, body.memory_reservation);
            set(&mut host.nano_cpus, body.nano_cpus);
            set(&mut host.cpu_shares, body.cpu_shares);
            host.cpuset_cpus = body.cpuset_cpus.filter(|set| !set.is_empty()).or(host.cpuset_cpus.take());
            host.pids_limit = body.pids_limit.or(host.pids_limit);
            Ok(())
        })
    }

    // ---- removing ------------------------------------------------------------------------------

    /// By force. Answers when nothing bears the id any more.
    pub fn remove(&mut self, id: &ContainerId, to: Answer) {
        let Ok(unit) = self.unit(id) else { return answer(to, Ok(())) };
        unit.waiters.push(to);
        if unit.state == RunState::Removing {
            return;
        }
        unit.cancelled = true;
        self.extinguish(id);
        self.release(id);
        if let Some(unit) = self.containers.get_mut(id) {
            unit.state = RunState::Removing;
        }
        let (delay, fails) = (self.about(70), self.dice.roll(FaultKind::RemovalFails));
        let id = id.clone();
        self.later(delay, move |core| {
            if !fails {
                let _ = core.change("remove container", Target::Container(id.clone()), |core| {
                    core.vanish(&id);
                    Ok(())
                });
            } else if let Some(unit) = core.containers.get_mut(&id) {
                unit.state = RunState::Dead;
                let text = format!(
                    "container {}: driver \"overlay2\" failed to remove root filesystem: device or resource busy",
                    id.0
                );
                for waiter in std::mem::take(&mut unit.waiters) {
                    answer(waiter, Err(refusal(500, text.clone())));
                }
            }
        });
    }

    /// Without its volumes.
    pub fn vanish(&mut self, id: &ContainerId) {
        self.emit_container(id, "destroy", &[]);
        if let Some(unit) = self.containers.remove(id) {
            self.execs.retain(|_, (of, _)| of != id);
            for waiter in unit.waiters {
                answer(waiter, Ok(()));
            }
        }
    }
}

fn is_cpu(number: &str) -> bool {
    number.trim().parse::<u32>().is_ok_and(|n| n < CPUS)
}
