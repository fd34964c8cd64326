//! A model of an engine: what Docker does to the containers of one service, as far as plans depend
//! on it (`docker-facts.md`). It refuses what Docker refuses, and fails the test on what must never
//! be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::plan::types::{Cause, Op, Step, Target};
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint};
use crate::resource::hash::SaltedHash;
use crate::resource::image::ImageInfo;
use crate::resource::observed::{Container, EndpointState, Owner, RunState, ServiceObserved};
use crate::resource::spec::{ContainerSpec, Logging, Mount, MountSource, NamespaceMode, RestartPolicy};
use crate::resource::units::Bytes;

pub struct Engine {
    pub observed: ServiceObserved,
    pub now: Timestamp,
    /// Every call, as text.
    pub trace: Vec<String>,
    /// Two of the service may run at once, where the new one is started first.
    pub side_by_side: bool,
    /// Of those that are about to be switched to.
    pub ready: Vec<ContainerId>,
    ids: u32,
    /// Of the stage that is being carried out.
    created: Option<ContainerId>,
}

impl Engine {
    pub fn new(observed: ServiceObserved, now: Timestamp) -> Self {
        Self { observed, now, trace: Vec::new(), side_by_side: false, ready: Vec::new(), ids: 0, created: None }
    }

    pub fn begin_stage(&mut self) {
        self.created = None;
    }

    /// One call. `name`: that of the service's container.
    pub fn apply(&mut self, step: &Step, name: &str) -> Result<(), String> {
        self.trace.push(step.to_string());
        self.now = self.now.plus(Duration::from_millis(100));
        let now = self.now;
        match &step.op {
            Op::CreateContainer(create) => {
                self.name_is_free(&create.name)?;
                self.ids += 1;
                let image = self.observed.spec_image.clone().ok_or("no such image")?;
                let id = ContainerId::new(format!("{:0>64}", format!("c0ffee{}", self.ids)));
                self.created = Some(id.clone());
                self.observed.images.insert(image.id.clone(), Arc::clone(&image));
                self.observed.owned.push(created(create, id, &image, now));
            }
            Op::Connect { target, endpoint } => {
                let container = self.find(target)?;
                if container.state == RunState::Restarting {
                    return Err("500: no connect while restarting".to_owned());
                }
                attach(container, endpoint);
            }
            Op::Disconnect { target, network, .. } => {
                let container = self.find(target)?;
                if container.state == RunState::Restarting {
                    return Err("500: no disconnect while restarting".to_owned());
                }
                container.endpoints.remove(network);
            }
            Op::Upload { target, marker, .. } => self.find(target)?.files_marker = Some(marker.clone()),
            Op::Reload { target, marker, .. } => {
                let container = self.find(target)?;
                if container.state != RunState::Running {
                    return Err("409: the container does not run".to_owned());
                }
                container.files_marker = Some(marker.clone());
            }
            Op::SetRestartPolicy { target, policy } => self.find(target)?.config.restart = policy.on_engine(),
            Op::UpdateLimits { target, limits } => {
                let container = self.find(target)?;
                if container.state == RunState::Paused {
                    return Err("the container is paused".to_owned());
                }
                limits.apply(&mut container.config.resources);
            }
            Op::Start(target) => {
                let networks: BTreeSet<_> = self.observed.networks.values().flatten().map(|n| n.id.clone()).collect();
                let container = self.find(target)?;
                match container.state {
                    RunState::Paused => return Err("409: paused".to_owned()),
                    RunState::Dead | RunState::Removing => return Err("409: being removed".to_owned()),
                    _ => {}
                }
                if let Some(gone) = container.endpoints.values().find(|e| !networks.contains(&e.network_id)) {
                    return Err(format!("404: network {} not found", gone.network_id));
                }
                (container.state, container.started_at) = (RunState::Running, Some(now));
                let id = container.id.clone();
                let others = self.observed.owned.iter().filter(|c| c.id != id && !is_stray(c, name));
                let others = others.chain(self.observed.adoptees.iter().filter(|c| c.id != id));
                let running: Vec<_> = others.filter(|c| c.is_running()).map(|c| c.name.as_str()).collect();
                let beside = self.side_by_side && running.len() == 1;
                assert!(running.is_empty() || beside, "two run at once: {running:?}\n{}", self.trace.join("\n"));
            }
            Op::Stop { target, .. } => {
                self.replacement_is_there(target, step.cause, name);
                let container = self.find(target)?;
                if container.is_running() {
                    (container.state, container.exit_code) = (RunState::Exited, Some(143));
                    container.finished_at = Some(now);
                }
            }
            Op::Rename { target, to } => {
                self.next_one_serves(target, to, name);
                self.name_is_free(to)?;
                let container = self.find(target)?;
                if matches!(container.state, RunState::Restarting | RunState::Removing) {
                    return Err("404: sandbox not found".to_owned());
                }
                container.name.clone_from(to);
            }
            Op::RemoveContainer(target) => {
                self.replacement_is_there(target, step.cause, name);
                let id = self.find(target)?.id.clone();
                self.observed.owned.retain(|c| c.id != id);
                self.observed.adoptees.retain(|c| c.id != id);
            }
            Op::Drain(time) => self.now = self.now.plus(*time),
            op => panic!("not a call on a service's container: {op}"),
        }
        Ok(())
    }

    /// The engine stops and starts again: policies decide what runs.
    pub fn restart(&mut self) {
        for container in self.observed.owned.iter_mut().chain(&mut self.observed.adoptees) {
            container.state = match (container.state, container.config.restart) {
                (RunState::Running | RunState::Restarting, RestartPolicy::No) => RunState::Exited,
                (RunState::Running | RunState::Restarting, _) | (RunState::Exited, RestartPolicy::Always) => {
                    RunState::Running
                }
                (RunState::Exited, RestartPolicy::OnFailure { .. }) if container.exit_code != Some(0) => {
                    RunState::Running
                }
                (state, _) => state,
            };
        }
    }

    /// Time passes: what is under way comes to its end.
    pub fn settle(&mut self) {
        self.now = self.now.plus(Duration::from_secs(30));
        self.observed.owned.retain(|c| c.state != RunState::Removing);
        for container in self.observed.owned.iter_mut().chain(&mut self.observed.adoptees) {
            if matches!(container.state, RunState::Restarting | RunState::Paused) {
                container.state = RunState::Running;
                container.started_at = Some(self.now);
            }
        }
    }

    /// P4: whatever is not in `owned` is not ours, but for what is to be adopted.
    fn find(&mut self, target: &Target) -> Result<&mut Container, String> {
        let created = self.created.clone();
        let id = match target {
            Target::Existing { id, .. } => Some(id),
            Target::Created { .. } => created.as_ref(),
        };
        let all = self.observed.owned.iter_mut().chain(&mut self.observed.adoptees);
        let found = all.into_iter().find(|c| Some(&c.id) == id);
        let foreign = &self.observed.foreign;
        assert!(
            found.is_some() || !foreign.iter().any(|f| f.name == target.name()),
            "touches a container that is not ours: {}",
            target.name()
        );
        found.ok_or_else(|| format!("404: no such container: {}", target.name()))
    }

    /// P9: the one that serves loses its name only to one that runs, and that is Ready.
    fn next_one_serves(&self, target: &Target, to: &str, name: &str) {
        let Target::Existing { id, .. } = target else { return };
        let bears_it = |c: &Container| c.id == *id && c.name == name && c.state == RunState::Running;
        let serves = self.observed.owned.iter().any(bears_it) && to.strip_suffix(".old") == Some(name);
        let takes_over = |c: &Container| c.name.strip_suffix(".next") == Some(name) && c.state == RunState::Running;
        let next = self.observed.owned.iter().find(|c| takes_over(c));
        assert!(
            !serves || next.is_some_and(|n| self.ready.contains(&n.id)),
            "{name} loses its name with nothing that serves in its place\n{}",
            self.trace.join("\n")
        );
    }

    fn name_is_free(&self, name: &str) -> Result<(), String> {
        let owned = self.observed.containers().map(|c| &c.name);
        let foreign = self.observed.foreign.iter().map(|f| &f.name);
        if owned.chain(foreign).any(|n| n == name) { Err(format!("409: {name} is in use")) } else { Ok(()) }
    }

    /// P9: the one that serves is stopped only once another is there, whole, that takes its place.
    fn replacement_is_there(&self, target: &Target, cause: Cause, name: &str) {
        let Target::Existing { id, .. } = target else { return };
        let adoptee = self.observed.adoptees.iter().find(|c| c.id == *id && c.state == RunState::Running);
        let serving =
            self.observed.owned.iter().find(|c| c.id == *id && c.name == name && c.state == RunState::Running);
        let serving = serving.or(adoptee);
        let meant = matches!(
            cause,
            Cause::LivenessFailed
                | Cause::Requested
                | Cause::DependencyRestarted
                | Cause::StateStopped
                | Cause::Down
                | Cause::Orphaned
        );
        let suffix = if cause == Cause::Refused { ".old" } else { ".next" };
        let there = |c: &Container| c.name.strip_suffix(suffix) == Some(name);
        assert!(
            serving.is_none() || meant || self.observed.owned.iter().any(there),
            "stops {name} with nothing to take its place\n{}",
            self.trace.join("\n")
        );
    }
}

pub fn is_stray(container: &Container, name: &str) -> bool {
    container.name != name && ![".next", ".old", ".failed"].iter().any(|s| container.name.ends_with(s))
}

pub fn attach(container: &mut Container, endpoint: &Endpoint) {
    let mut aliases: BTreeSet<_> = endpoint.aliases.iter().cloned().collect();
    aliases.insert(container.id.to_string());
    let state = EndpointState {
        network_id: endpoint.id.clone(),
        address: None,
        aliases,
        ipv4_address: endpoint.attachment.ipv4_address.clone(),
    };
    container.endpoints.insert(endpoint.attachment.network.clone(), state);
}

/// What inspect shows of a container that was created so: with all that image and engine fill in.
pub fn created(create: &ContainerCreate, id: ContainerId, image: &ImageInfo, now: Timestamp) -> Container {
    let service = &create.service;
    let spec = &service.spec.container;
    let or_image = |ours: &Option<String>, image: &String| Some(ours.clone().unwrap_or_else(|| image.clone()));
    let merged = |ours: &BTreeMap<String, String>, image: &BTreeMap<String, String>| {
        image.iter().chain(ours).map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeMap<_, _>>()
    };
    let mut env = merged(&spec.env, &image.env);
    env.retain(|name, _| !spec.secret_env.contains_key(name));
    let mut mounts = spec.mounts.clone();
    let mut anonymous = create.inherited.clone();
    for (target, name) in &create.inherited {
        mounts.retain(|m| m.target != *target);
        let source = MountSource::Volume { name: name.clone(), subpath: None };
        mounts.push(Mount { target: target.clone(), source, read_only: false });
    }
    let ours = spec.mounts.iter().filter(|m| m.source == MountSource::Anonymous).map(|m| &m.target);
    for target in image.volumes.iter().chain(ours) {
        let bare = !mounts.iter().any(|m| m.target == *target);
        if bare {
            mounts.push(Mount { target: target.clone(), source: MountSource::Anonymous, read_only: false });
        }
        if mounts.iter().any(|m| m.target == *target && m.source == MountSource::Anonymous) {
            anonymous.entry(target.clone()).or_insert_with(|| format!("{}{target}", id.0));
        }
    }
    for (target, path) in &create.file_binds {
        let source = MountSource::Bind { path: path.clone(), propagation: None, selinux: None };
        mounts.push(Mount { target: target.clone(), source, read_only: true });
    }
    let mut resources = spec.resources.clone();
    resources.shm_size = resources.shm_size.or(Some(Bytes(64 << 20)));
    resources.swap = resources.swap.or(resources.memory);
    let shared = |name: &String| create.namespaces.get(name).map(|id| id.0.to_string()).unwrap_or_default();
    let namespace = |mode: &Option<NamespaceMode>| match mode {
        Some(NamespaceMode::Service(name)) => Some(NamespaceMode::Plain(format!("container:{}", shared(name)))),
        mode => mode.clone(),
    };
    let network_mode = match &spec.network_mode {
        Some(crate::resource::spec::NetworkMode::Service(name)) => {
            Some(crate::resource::spec::NetworkMode::Container(shared(name)))
        }
        mode => mode.clone(),
    };
    let image_command = if spec.entrypoint.is_some() { Vec::new() } else { image.command.clone() };
    let config = ContainerSpec {
        name: create.name.clone(),
        labels: merged(&spec.labels, &image.labels),
        entrypoint: Some(spec.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone())),
        command: Some(spec.command.clone().unwrap_or(image_command)),
        working_dir: or_image(&spec.working_dir, &image.working_dir),
        user: or_image(&spec.user, &image.user),
        hostname: Some(spec.hostname.clone().unwrap_or_else(|| id.to_string())),
        env,
        secret_env: BTreeMap::new(),
        stop_signal: Some(spec.stop_signal.clone().unwrap_or_else(|| "SIGTERM".to_owned())),
        mounts,
        files: Vec::new(),
        network_mode,
        resources,
        pid_mode: namespace(&spec.pid_mode),
        ipc_mode: namespace(&spec.ipc_mode).or(Some(NamespaceMode::Plain("private".to_owned()))),
        cgroup_parent: spec.cgroup_parent.clone().or(Some(String::new())),
        runtime: spec.runtime.clone().or(Some("runc".to_owned())),
        mac_address: spec.mac_address.clone().or(Some("02:42:ac:12:00:02".to_owned())),
        logging: spec.logging.clone().or(Some(Logging { driver: "json-file".to_owned(), options: BTreeMap::new() })),
        restarted_at: None,
        restart: spec.restart.on_engine(),
        ..spec.clone()
    };
    let mut container = Container {
        id,
        name: create.name.clone(),
        state: RunState::Created,
        exit_code: None,
        oom_killed: false,
        error: None,
        created_at: now,
        started_at: None,
        finished_at: None,
        restarts: 0,
        health: None,
        owner: Owner::from_labels(&create.labels).unwrap(),
        config,
        image_id: image.id.clone(),
        endpoints: BTreeMap::new(),
        published: Vec::new(),
        anonymous,
        files_marker: None,
        auto_remove: false,
    };
    if let Some(endpoint) = &create.network {
        attach(&mut container, endpoint);
    }
    container
}

/// A completed upload.
pub fn marker(service: &crate::resource::desired::Service) -> Option<SaltedHash> {
    let uploads = !service.spec.container.security.read_only_root_filesystem;
    SaltedHash::of_files(service, "another-salt").filter(|_| uploads)
}
