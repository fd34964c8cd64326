//! Creating containers: what was asked for, with what the image and the engine fill in.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerConfig, ContainerCreateBody, HostConfig, HostConfigLogConfig, MountPoint, MountType};

use super::core::Core;
use super::networks::Vol;
use super::program::Program;
use super::refusal::{Refusal, name_taken, refusal};
use super::unit::{Attached, Unit};
use crate::engine::EventKind;
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::observed::RunState;

/// Below this the engine refuses a limit of memory, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;

impl Core {
    pub fn create(&mut self, name: &str, body: ContainerCreateBody) -> Result<ContainerId, Refusal> {
        let reference = body.image.clone().unwrap_or_default();
        // The image first: one that is missing wins over a name that is taken.
        let Some((image_id, program)) = self.image(&reference).map(|i| (i.id.clone(), i.program.clone())) else {
            return Err(refusal(404, format!("No such image: {reference}")));
        };
        let mut host = body.host_config.clone().unwrap_or_default();
        if host.memory.is_some_and(|m| m > 0 && m < LEAST_MEMORY) {
            return Err(refusal(400, "Minimum memory limit allowed is 6MB"));
        }
        if let Some(holder) = self.holder(name) {
            return Err(name_taken(name, &holder));
        }
        self.shared_ids(&mut host)?;
        let id = ContainerId::new(self.new_id());
        let endpoints = endpoints(&body, &host);
        let mounts = self.mounted(&host, &program);
        fill_in(&mut host);
        let unit = Unit {
            id: id.clone(),
            name: name.to_owned(),
            config: merged(body, &program, &id),
            host,
            mounts,
            endpoints,
            image_id,
            program,
            state: RunState::Created,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            created_at: self.now,
            started_at: None,
            finished_at: None,
            restarts: 0,
            manually_stopped: false,
            cancelled: false,
            wait: Duration::ZERO,
            run: 0,
            began: None,
            flipped: false,
            health: None,
            published: Vec::new(),
            marker: None,
            logs: Vec::new(),
            waiters: Vec::new(),
        };
        self.containers.insert(id.clone(), unit);
        self.emit_container(&id, "create", &[]);
        Ok(id)
    }

    /// Whose name it is.
    pub fn holder(&self, name: &str) -> Option<ContainerId> {
        self.containers.values().find(|u| u.name == name).map(|u| u.id.clone())
    }

    /// By id, by name, or by the beginning of an id.
    pub fn find(&self, id_or_name: &str) -> Option<ContainerId> {
        if let Some(unit) = self.containers.get(&ContainerId::new(id_or_name)) {
            return Some(unit.id.clone());
        }
        self.holder(id_or_name).or_else(|| {
            let begins = |u: &&Unit| id_or_name.len() >= 4 && u.id.0.starts_with(id_or_name);
            self.containers.values().find(begins).map(|u| u.id.clone())
        })
    }

    /// A namespace is shared with a container that is there, and is kept as its id.
    fn shared_ids(&self, host: &mut HostConfig) -> Result<(), Refusal> {
        for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode] {
            if let Some(other) = mode.as_deref().and_then(|m| m.strip_prefix("container:")) {
                let Some(id) = self.find(other) else {
                    return Err(refusal(400, format!("No such container: {other}")));
                };
                *mode = Some(format!("container:{}", id.0));
            }
        }
        Ok(())
    }

    /// Volumes that are not there are made, with names or without.
    fn mounted(&mut self, host: &HostConfig, program: &Program) -> Vec<MountPoint> {
        let mut points = Vec::new();
        for mount in host.mounts.iter().flatten() {
            let target = mount.target.clone().unwrap_or_default();
            let (typ, name, source) = match mount.typ {
                Some(MountType::VOLUME) => {
                    let name = mount.source.clone().filter(|s| !s.is_empty()).unwrap_or_else(|| self.new_id());
                    self.ensure_volume(&name);
                    ("volume", Some(name), None)
                }
                Some(MountType::TMPFS) => ("tmpfs", None, None),
                _ => ("bind", None, mount.source.clone()),
            };
            points.push(point(typ, name, source, target, !mount.read_only.unwrap_or_default()));
        }
        for bind in host.binds.iter().flatten() {
            let mut parts = bind.splitn(3, ':');
            let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().to_owned());
            if source.starts_with('/') {
                points.push(point("bind", None, Some(source.to_owned()), target, true));
            } else {
                self.ensure_volume(source);
                points.push(point("volume", Some(source.to_owned()), None, target, true));
            }
        }
        for target in &program.volumes {
            if !points.iter().any(|p| p.destination.as_ref() == Some(target)) {
                let name = self.new_id();
                self.ensure_volume(&name);
                points.push(point("volume", Some(name), None, target.clone(), true));
            }
        }
        points
    }

    fn ensure_volume(&mut self, name: &str) {
        if !self.volumes.contains_key(name) {
            let volume = Vol { name: name.to_owned(), driver: "local".to_owned(), labels: BTreeMap::new() };
            self.volumes.insert(name.to_owned(), volume);
            self.emit(EventKind::Volume, "create", name, BTreeMap::from([("driver".into(), "local".into())]));
        }
    }
}

fn point(typ: &str, name: Option<String>, source: Option<String>, target: String, writable: bool) -> MountPoint {
    let driver = name.as_ref().map(|_| "local".to_owned());
    let point = MountPoint { typ: Some(typ.to_owned()), name, source, driver, ..MountPoint::default() };
    MountPoint { destination: Some(target), rw: Some(writable), ..point }
}

fn endpoints(body: &ContainerCreateBody, host: &HostConfig) -> BTreeMap<String, Attached> {
    let mut endpoints = BTreeMap::new();
    let mode = match host.network_mode.as_deref().unwrap_or_default() {
        "" | "default" => "bridge",
        mode if mode.starts_with("container:") => return endpoints,
        mode => mode,
    };
    endpoints.insert(mode.to_owned(), Attached::default());
    let asked = body.networking_config.as_ref().and_then(|n| n.endpoints_config.as_ref());
    for (name, settings) in asked.into_iter().flatten() {
        let attached = Attached {
            network_id: settings.network_id.clone().filter(|id| !id.is_empty()).map(|id| NetworkId(id.into())),
            aliases: settings.aliases.clone().unwrap_or_default(),
            ipv4_address: settings.ipam_config.as_ref().and_then(|c| c.ipv4_address.clone()),
            address: None,
        };
        endpoints.insert(name.clone(), attached);
    }
    endpoints
}

/// The spec's first, the image's where the spec says nothing.
fn merged(body: ContainerCreateBody, program: &Program, id: &ContainerId) -> ContainerConfig {
    let mut env = body.env.unwrap_or_default();
    let has = |env: &[String], name: &str| env.iter().any(|e| e.split('=').next() == Some(name));
    let more: Vec<_> = program.env.iter().filter(|(k, _)| !has(&env, k)).map(|(k, v)| format!("{k}={v}")).collect();
    env.extend(more);
    let mut labels: BTreeMap<_, _> = program.labels.clone();
    labels.extend(body.labels.into_iter().flatten());
    let cmd = body.cmd.filter(|c| !c.is_empty());
    // An entrypoint of the spec's drops the image's command.
    let image_cmd = (body.entrypoint.is_none() && !program.command.is_empty()).then(|| program.command.clone());
    let short = id.0.get(..12).unwrap_or(&id.0).to_owned();
    let healthcheck = body.healthcheck.or_else(|| {
        let test = program.has_healthcheck.then(|| vec!["CMD".to_owned(), "check".to_owned()]);
        test.map(|test| bollard::models::HealthConfig { test: Some(test), ..Default::default() })
    });
    ContainerConfig {
        hostname: body.hostname.filter(|h| !h.is_empty()).or(Some(short)),
        user: body.user,
        exposed_ports: body.exposed_ports,
        tty: body.tty,
        open_stdin: body.open_stdin,
        env: Some(env),
        cmd: cmd.or(image_cmd),
        healthcheck,
        image: body.image,
        volumes: (!program.volumes.is_empty()).then(|| program.volumes.iter().cloned().collect()),
        working_dir: body.working_dir,
        entrypoint: body.entrypoint,
        labels: Some(labels.into_iter().collect()),
        stop_signal: body.stop_signal,
        stop_timeout: body.stop_timeout,
        ..ContainerConfig::default()
    }
}

/// What the engine says where nobody did.
fn fill_in(host: &mut HostConfig) {
    let memory = host.memory.unwrap_or_default();
    host.memory.get_or_insert(0);
    if host.memory_swap.unwrap_or_default() == 0 {
        host.memory_swap = Some(2 * memory);
    }
    host.shm_size.get_or_insert(64 << 20);
    host.oom_score_adj.get_or_insert(0);
    host.ipc_mode.get_or_insert_with(|| "private".to_owned());
    host.runtime.get_or_insert_with(|| "runc".to_owned());
    host.log_config.get_or_insert_with(|| HostConfigLogConfig { typ: Some("json-file".to_owned()), config: None });
    if !host.privileged.unwrap_or_default() {
        host.masked_paths.get_or_insert_with(|| vec!["/proc/kcore".to_owned()]);
        host.readonly_paths.get_or_insert_with(|| vec!["/proc/sys".to_owned()]);
    }
}
