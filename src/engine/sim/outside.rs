//! What others do to the engine, beside whoever holds it: people at a terminal, programs that end, the
//! machine. Each happens at once.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use tokio::sync::oneshot;

use super::SimEngine;
use super::core::Core;
use super::life::line;
use super::program::Program;
use super::refusal::{Refusal, no_such_container, no_such_network, refusal};
use super::unit::Attached;
use super::world::{By, Target};
use crate::engine::docker::{create, ports};
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::limits::Limits;
use crate::resource::spec::{NetworkSpec, Port, Protocol, RestartPolicy, VolumeSpec};

/// Containers are meant by name or id, networks too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The process ends by itself.
    Die {
        container: String,
        code: i64,
    },
    /// The kernel kills it for its memory.
    Oom {
        container: String,
    },
    /// `docker kill`
    Kill {
        container: String,
    },
    /// `docker stop`: here it ends at once.
    Stop {
        container: String,
    },
    /// `docker start`
    Start {
        container: String,
    },
    /// `docker rm -f`: it is gone at once.
    Remove {
        container: String,
    },
    /// `docker rename`
    Rename {
        container: String,
        name: String,
    },
    Pause {
        container: String,
    },
    Unpause {
        container: String,
    },
    /// `docker update --memory` and its like.
    UpdateLimits {
        container: String,
        limits: Limits,
    },
    /// `docker update --restart`
    UpdatePolicy {
        container: String,
        policy: RestartPolicy,
    },
    /// `docker network disconnect`
    Disconnect {
        container: String,
        network: String,
    },
    /// `docker network connect`
    Connect {
        container: String,
        network: String,
    },
    /// Its probes fail from now on, or pass again, until it is started anew.
    FlipHealth {
        container: String,
    },
    /// It writes a line.
    Write {
        container: String,
        line: String,
    },
    /// `docker create`, and `docker start` where it says so.
    CreateForeign(Foreigner),
    /// `docker network create`
    CreateNetwork {
        name: String,
    },
    /// `docker network rm`
    RemoveNetwork {
        network: String,
    },
    /// `docker volume create`
    CreateVolume {
        name: String,
    },
    /// `docker volume rm`
    RemoveVolume {
        name: String,
    },
    /// A build, or a pull by somebody: the tag points elsewhere.
    Retag {
        reference: String,
        program: Program,
    },
    /// `docker rmi`
    Untag {
        reference: String,
    },
    /// `docker container prune -f`
    PruneContainers,
    /// `docker system prune -f`
    PruneSystem,
    /// A process of the host takes a port,
    TakePort {
        port: u16,
        protocol: Protocol,
    },
    /// and gives it back.
    FreePort {
        port: u16,
        protocol: Protocol,
    },
    /// The engine ends, and stops what runs.
    EngineDown,
    /// It is killed: nothing is stopped, and nobody is told.
    EngineCrashes,
    /// It starts, and what its restart policies say with it.
    EngineUp,
    /// It takes calls and answers none,
    EngineFreezes,
    /// until it does.
    EngineThaws,
    /// Whoever listens to events has to listen anew.
    LoseEventStreams,
}

/// A container of somebody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreigner {
    pub name: String,
    pub image: String,
    pub labels: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    /// By name; none: Docker's own bridge.
    pub networks: Vec<String>,
    /// Volumes by target.
    pub volumes: BTreeMap<String, String>,
    pub policy: Option<RestartPolicy>,
    pub started: bool,
}

impl SimEngine {
    /// Does it at once. Returns the engine's words where it refuses, or where there is nothing to do it to.
    #[allow(clippy::must_use_candidate, reason = "most who interfere do not care whether it worked")]
    pub fn act(&self, what: Outside) -> Option<String> {
        self.with(|core| {
            core.by = By::Outside;
            let result = core.outside(what);
            core.by = By::Engine;
            result.err().map(|refusal| refusal.message)
        })
    }
}

impl Core {
    fn outside(&mut self, what: Outside) -> Result<(), Refusal> {
        match what {
            Outside::CreateForeign(foreigner) => return self.create_foreign(foreigner),
            Outside::EngineDown => {
                if self.up {
                    self.go_down("the engine ended the event stream");
                }
                return Ok(());
            }
            Outside::EngineCrashes => {
                if self.up {
                    self.crash("the connection was reset by the peer");
                }
                return Ok(());
            }
            Outside::EngineUp => {
                if !self.up {
                    self.forget_events();
                    self.come_up();
                }
                return Ok(());
            }
            Outside::EngineFreezes => self.frozen = self.up,
            Outside::EngineThaws => self.thaw(),
            Outside::LoseEventStreams => self.cut_streams("the connection was reset by the peer"),
            Outside::TakePort { port, protocol } => _ = self.held.insert((port, protocol)),
            Outside::FreePort { port, protocol } => _ = self.held.remove(&(port, protocol)),
            // What needs the engine's own program to run.
            _ if !self.up => return Err(refusal(503, "the engine is down")),
            what => return self.by_command(what),
        }
        Ok(())
    }

    fn by_command(&mut self, what: Outside) -> Result<(), Refusal> {
        match what {
            Outside::Die { container, code } => self.container("die", &container, |core, id| {
                core.living(id)?;
                core.end(id, code, false);
                Ok(())
            }),
            Outside::Oom { container } => self.container("oom", &container, |core, id| {
                core.living(id)?;
                core.end(id, 137, true);
                Ok(())
            }),
            Outside::Kill { container } => self.container("kill container", &container, Self::kill),
            Outside::Stop { container } => self.container("stop container", &container, |core, id| {
                let (to, _) = oneshot::channel();
                core.stop(id, Duration::ZERO, to);
                // Its end is on the agenda, and would come before anything else.
                core.extinguish(id);
                Ok(())
            }),
            Outside::Start { container } => self.container("start container", &container, Self::start),
            Outside::Remove { container } => self.container("remove container", &container, |core, id| {
                core.unit(id)?.cancelled = true;
                core.extinguish(id);
                core.release(id);
                core.vanish(id);
                Ok(())
            }),
            Outside::Rename { container, name } => {
                self.container("rename container", &container, |core, id| core.rename(id, &name))
            }
            Outside::Pause { container } => self.container("pause container", &container, Self::pause),
            Outside::Unpause { container } => self.container("unpause container", &container, Self::unpause),
            Outside::UpdateLimits { container, limits } => {
                self.container("update container", &container, |core, id| core.update_limits(id, &limits))
            }
            Outside::UpdatePolicy { container, policy } => {
                self.container("update container", &container, |core, id| core.set_policy(id, policy))
            }
            Outside::Disconnect { container, network } => {
                self.container("disconnect container", &container, |core, id| core.disconnect(&id.0, &network, false))
            }
            Outside::Connect { container, network } => self
                .container("connect container", &container, |core, id| core.connect(id, &network, Attached::default())),
            Outside::FlipHealth { container } => self.container("flip health", &container, |core, id| {
                core.living(id)?;
                let unit = core.unit(id)?;
                unit.flipped = !unit.flipped;
                Ok(())
            }),
            Outside::Write { container, line: text } => self.container("write", &container, |core, id| {
                let now = core.now;
                core.unit(id)?.logs.push(line(id, now, &text));
                Ok(())
            }),
            Outside::CreateNetwork { name } => {
                let spec = NetworkSpec { name, ..NetworkSpec::default() };
                let target = |id: Option<&NetworkId>| Target::Network(id.cloned().unwrap_or_default());
                self.creation("create network", target, |core| core.create_network(&spec, &BTreeMap::new())).map(drop)
            }
            Outside::RemoveNetwork { network } => {
                let named = |n: &&super::networks::Net| n.name == network || *n.id.0 == *network;
                let Some(id) = self.networks.values().find(named).map(|n| n.id.clone()) else {
                    return Err(no_such_network(&network));
                };
                self.change("remove network", Target::Network(id.clone()), |core| core.remove_network(&id))
            }
            Outside::CreateVolume { name } => {
                let spec = VolumeSpec { name: name.clone(), ..VolumeSpec::default() };
                self.change("create volume", Target::Volume(name), |core| {
                    core.create_volume(&spec, &BTreeMap::new());
                    Ok(())
                })
            }
            Outside::RemoveVolume { name } => {
                self.change("remove volume", Target::Volume(name.clone()), |core| core.remove_volume(&name))
            }
            Outside::Retag { reference, program } => {
                let target = Target::Image(super::program::canonical(&reference));
                self.change("tag image", target, |core| {
                    core.tag(&reference, program, "tag");
                    Ok(())
                })
            }
            Outside::Untag { reference } => {
                let target = Target::Image(super::program::canonical(&reference));
                self.change("remove image", target, |core| core.untag(&reference))
            }
            Outside::PruneContainers => {
                self.prune_containers();
                Ok(())
            }
            Outside::PruneSystem => {
                self.prune_system();
                Ok(())
            }
            // Those that need no engine were done.
            _ => Ok(()),
        }
    }

    fn container(
        &mut self,
        operation: &'static str,
        id_or_name: &str,
        change: impl FnOnce(&mut Self, &ContainerId) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(id) = self.find(id_or_name) else { return Err(no_such_container(id_or_name)) };
        self.change(operation, Target::Container(id.clone()), |core| change(core, &id))
    }

    fn living(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let lives = self.unit(id)?.lives();
        lives.then_some(()).ok_or_else(|| refusal(409, format!("Container {} is not running", id.0)))
    }

    fn create_foreign(&mut self, foreigner: Foreigner) -> Result<(), Refusal> {
        let Foreigner { name, image, labels, env, ports, networks, volumes, policy, started } = foreigner;
        if !self.up {
            return Err(refusal(503, "the engine is down"));
        }
        let mounts = volumes.into_iter().map(|(target, source)| Mount {
            target: Some(target),
            source: Some(source),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        });
        let host = HostConfig {
            network_mode: networks.first().cloned(),
            port_bindings: Some(ports::bindings(&ports)),
            mounts: Some(mounts.collect()),
            restart_policy: policy.map(create::restart_policy),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image),
            labels: Some(labels.into_iter().collect()),
            env: Some(env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            exposed_ports: Some(ports::exposed(&ports)),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let target = |id: Option<&ContainerId>| Target::Container(id.cloned().unwrap_or_default());
        let id = self.creation("create container", target, |core| core.create(&name, body))?;
        for network in networks.iter().skip(1) {
            self.connect(&id, network, Attached::default())?;
        }
        if started {
            self.change("start container", Target::Container(id.clone()), |core| core.start(&id))?;
        }
        Ok(())
    }
}
