//! An engine in memory, for unit tests of execute and controller: containers that are created,
//! started, stopped and removed, with names, ports and networks. It proves the controller, never Docker.
//!
//! Services do what a test tells them with [`FakeEngine::behave`]. Probes are `exec` probes: they pass
//! while the service's [`Behaviour`] says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;

use super::{
    Archive, ContainerFilter, Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, EventKind, ExecOutput,
    ExecResult, Inspected, LogLine, LogOptions, LogStream, ObjectFilter, Result,
};
use crate::clock::{Clock, Timestamp};
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::hash::{SaltedHash, SpecHash};
use crate::resource::image::{ImageId, ImageInfo, ImageRef, PullProgress};
use crate::resource::labels::{self, SourceId};
use crate::resource::limits::Limits;
use crate::resource::observed::{Container, ContainerRow, EndpointState, Foreign, Network, Owner, RunState, Volume};
use crate::resource::spec::{NetworkSpec, RestartPolicy, VolumeSpec};

/// What a service's containers do once started.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// Runs, and its probes pass.
    #[default]
    Healthy,
    /// Runs, and its probes never pass.
    Unhealthy,
    /// Ends at once with this code; Docker does not restart it.
    Exits(i64),
}

#[derive(Default)]
struct State {
    containers: BTreeMap<ContainerId, Container>,
    foreign: BTreeMap<ContainerId, Foreign>,
    networks: BTreeMap<NetworkId, Network>,
    volumes: BTreeMap<String, Volume>,
    images: BTreeSet<String>,
    behaviours: BTreeMap<String, Behaviour>,
    /// The next calls whose text begins so fail like this.
    failures: VecDeque<(String, EngineError)>,
    calls: Vec<String>,
    logs: Vec<LogLine>,
    log_reads: usize,
    events: u64,
    next_id: u64,
}

/// Tokio's clock, from a fixed date on.
#[derive(Clone, Copy, Debug)]
pub struct FakeClock(Instant);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).plus(self.0.elapsed())
    }
}

pub struct FakeEngine {
    pub clock: FakeClock,
    state: Mutex<State>,
    events: broadcast::Sender<EngineEvent>,
    /// Why nobody answers, where nobody does.
    away: watch::Sender<Option<String>>,
    /// `None`: the container's log has ended.
    written: broadcast::Sender<(ContainerId, Option<LogLine>)>,
}

impl FakeEngine {
    /// With these images on it.
    pub fn new(images: &[&str]) -> Self {
        let state = State { images: images.iter().map(|i| (*i).to_owned()).collect(), ..State::default() };
        Self {
            clock: FakeClock(Instant::now()),
            state: Mutex::new(state),
            events: broadcast::Sender::new(1024),
            away: watch::Sender::new(None),
            written: broadcast::Sender::new(1024),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn behave(&self, service: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(service.to_owned(), behaviour);
    }

    /// Nobody answers any more; whoever follows the events is told.
    pub fn go_away(&self, message: &str) {
        self.away.send_replace(Some(message.to_owned()));
    }

    pub fn come_back(&self) {
        self.away.send_replace(None);
    }

    fn is_there(&self) -> Result<()> {
        self.away.borrow().as_deref().map_or(Ok(()), |message| Err(absent(message)))
    }

    /// The next call whose text begins with `call` fails.
    pub fn fail(&self, call: &str, kind: ErrorKind, message: &str) {
        let error = EngineError::new("start container", call, kind, message);
        self.lock().failures.push_back((call.to_owned(), error));
    }

    pub fn add_foreign(&self, name: &str) {
        let mut state = self.lock();
        let id = state.new_id();
        let image = ImageRef::parse("somebody/elses").unwrap();
        state.foreign.insert(id.clone(), Foreign { id, name: name.to_owned(), image, owner: None, container: None });
    }

    /// Changing calls so far, each as text.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    pub fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    /// A container writes a line.
    pub fn write(&self, name: &str, stream: LogStream, line: &str) {
        let mut state = self.lock();
        let container = state.containers.values().find(|c| c.name == name).map(|c| c.id.clone()).unwrap();
        let time = self.clock.now();
        let line = LogLine { container: container.clone(), stream, time, line: line.to_owned() };
        state.logs.push(line.clone());
        // Nobody listens: it is kept. Sent under the lock, so that a follower misses none.
        let _ = self.written.send((container, Some(line)));
    }

    /// How often a log was read.
    pub fn log_reads(&self) -> usize {
        self.lock().log_reads
    }

    /// Names of containers with their states, sorted.
    pub fn containers(&self) -> Vec<(String, RunState)> {
        let state = self.lock();
        let mut all: Vec<_> = state.containers.values().map(|c| (c.name.clone(), c.state)).collect();
        all.extend(state.foreign.values().map(|c| (c.name.clone(), RunState::Running)));
        all.sort();
        all
    }

    /// Ours, whole.
    pub fn all(&self) -> Vec<Container> {
        self.lock().containers.values().cloned().collect()
    }

    pub fn volumes(&self) -> Vec<String> {
        self.lock().volumes.keys().cloned().collect()
    }

    pub fn networks(&self) -> Vec<String> {
        self.lock().networks.values().map(|n| n.name.clone()).collect()
    }

    /// Somebody removes a container behind our back.
    pub fn remove_behind_our_back(&self, name: &str) {
        let mut state = self.lock();
        let id = state.containers.values().find(|c| c.name == name).map(|c| c.id.clone()).unwrap();
        let container = state.containers.remove(&id).unwrap();
        drop(state);
        self.tell(&container, "destroy");
    }

    /// Somebody changes a container behind our back.
    pub fn change_behind_our_back(&self, name: &str, action: &str, f: impl FnOnce(&mut Container)) {
        let id = self.lock().containers.values().find(|c| c.name == name).map(|c| c.id.clone()).unwrap();
        self.change(&id, action, f).unwrap();
    }

    /// Its process ends, and Docker does not start it again. `tell`: there is an event.
    pub fn end(&self, name: &str, exit_code: i64, tell: bool) {
        let now = self.clock.now();
        let mut state = self.lock();
        let container = state.containers.values_mut().find(|c| c.name == name).unwrap();
        container.state = RunState::Exited;
        (container.exit_code, container.finished_at) = (Some(exit_code), Some(now));
        let container = container.clone();
        drop(state);
        if tell {
            self.tell(&container, "die");
        }
    }

    /// With its endpoints, as a forced removal does.
    pub fn remove_network_behind_our_back(&self, name: &str) {
        let mut state = self.lock();
        state.networks.retain(|_, n| n.name != name);
        for container in state.containers.values_mut() {
            container.endpoints.remove(name);
        }
    }

    fn tell(&self, container: &Container, action: &str) {
        let attributes = BTreeMap::from([
            (labels::STACK.to_owned(), container.owner.stack.clone()),
            (labels::SERVICE.to_owned(), container.owner.service.clone()),
        ]);
        if matches!(action, "die" | "destroy") {
            let _ = self.written.send((container.id.clone(), None));
        }
        let mut state = self.lock();
        state.events += 1;
        let cursor = format!("{:010}.0", state.events);
        drop(state);
        // Nobody listening is fine: an event is a hint.
        let _ = self.events.send(EngineEvent {
            kind: EventKind::Container,
            action: action.to_owned(),
            id: container.id.0.to_string(),
            attributes,
            time: Timestamp(0),
            cursor,
        });
    }

    /// Notes a changing call, fails it if a test wants so, and lets other tasks run: a real call
    /// takes time too.
    async fn call(&self, text: String) -> Result<()> {
        self.is_there()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut state = self.lock();
        let failing = state.failures.iter().position(|(call, _)| text.starts_with(call));
        state.calls.push(text);
        match failing.and_then(|i| state.failures.remove(i)) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn change<T>(&self, id: &ContainerId, action: &str, f: impl FnOnce(&mut Container) -> T) -> Result<T> {
        let mut state = self.lock();
        let container = state.containers.get_mut(id).ok_or_else(|| not_found(id))?;
        let result = f(container);
        let container = container.clone();
        drop(state);
        self.tell(&container, action);
        Ok(result)
    }

    fn name(&self, id: &ContainerId) -> String {
        self.lock().containers.get(id).map_or_else(|| id.to_string(), |c| c.name.clone())
    }
}

fn absent(message: &str) -> EngineError {
    EngineError::new("connect to", "the engine", ErrorKind::Unreachable, message)
}

fn not_found(id: &ContainerId) -> EngineError {
    EngineError::new("find container", id.to_string(), ErrorKind::NotFound, "no such container")
}

impl State {
    fn new_id(&mut self) -> ContainerId {
        self.next_id += 1;
        ContainerId::new(format!("{:064x}", self.next_id))
    }

    fn name_is_taken(&self, name: &str) -> bool {
        self.containers.values().any(|c| c.name == name) || self.foreign.values().any(|c| c.name == name)
    }
}

impl Engine for FakeEngine {
    fn known(&self) -> EngineInfo {
        EngineInfo { local: true, ..EngineInfo::default() }
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.is_there()?;
        Ok(self.known())
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerRow>> {
        self.is_there()?;
        let state = self.lock();
        let ours = state.containers.values().filter(|c| {
            filter.stack.as_ref().is_none_or(|s| c.owner.stack == *s)
                && filter.service.as_ref().is_none_or(|s| c.owner.service == *s)
        });
        let row = |c: &Container| ContainerRow {
            id: c.id.clone(),
            name: c.name.clone(),
            image: c.config.image.clone(),
            state: c.state,
            owner: Some(c.owner.clone()),
            labels: BTreeMap::new(),
            published: if c.is_running() { c.config.ports.clone() } else { Vec::new() },
            networks: c.endpoints.iter().map(|(n, e)| (n.clone(), e.network_id.clone())).collect(),
        };
        Ok(ours.map(row).collect())
    }

    async fn inspect_container(&self, id_or_name: &str) -> Result<Option<Inspected>> {
        self.is_there()?;
        let state = self.lock();
        let found = state.containers.values().find(|c| c.name == id_or_name || *c.id.0 == *id_or_name);
        if let Some(container) = found {
            return Ok(Some(Inspected::Owned(Box::new(container.clone()))));
        }
        let foreign = state.foreign.values().find(|c| c.name == id_or_name);
        Ok(foreign.map(|f| Inspected::Foreign(Box::new(f.clone()))))
    }

    async fn files_marker(&self, id: &ContainerId) -> Result<Option<String>> {
        Ok(self.lock().containers.get(id).and_then(|c| c.files_marker.as_ref()).map(ToString::to_string))
    }

    async fn list_networks(&self, filter: &ObjectFilter) -> Result<Vec<Network>> {
        self.is_there()?;
        let state = self.lock();
        let wanted = |n: &&Network| match filter {
            ObjectFilter::Names(names) => names.contains(&n.name),
            ObjectFilter::Stack(stack) => n.stack.as_ref() == Some(stack),
        };
        Ok(state.networks.values().filter(wanted).cloned().collect())
    }

    async fn list_volumes(&self, filter: &ObjectFilter) -> Result<Vec<Volume>> {
        self.is_there()?;
        let state = self.lock();
        let wanted = |v: &&Volume| match filter {
            ObjectFilter::Names(names) => names.contains(&v.name),
            ObjectFilter::Stack(stack) => v.stack.as_ref() == Some(stack),
        };
        Ok(state.volumes.values().filter(wanted).cloned().collect())
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        self.is_there()?;
        let reference = reference.strip_prefix("sha256:").unwrap_or(reference);
        let there = self.lock().images.contains(reference);
        Ok(there.then(|| ImageInfo { id: ImageId(format!("sha256:{reference}")), ..ImageInfo::default() }))
    }

    async fn registry_digest(&self, image: &ImageRef) -> Result<String> {
        self.is_there()?;
        let message = "page not found";
        Err(EngineError::new("ask the registry about image", image.to_string(), ErrorKind::Unsupported, message))
    }

    fn events(&self, _: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        if let Err(error) = self.is_there() {
            return Box::pin(stream::iter([Err(error)]));
        }
        let told = BroadcastStream::new(self.events.subscribe());
        let mut away = self.away.subscribe();
        let end = async move {
            let gone = away.wait_for(Option::is_some).await.ok().and_then(|m| m.clone());
            Err(absent(&gone.unwrap_or_default()))
        };
        let told = told.filter_map(|event| async move { event.ok().map(Ok) });
        Box::pin(stream::select(told, stream::once(end)))
    }

    async fn log_tail(&self, id: &ContainerId, lines: u32) -> Result<Vec<String>> {
        let state = self.lock();
        let all: Vec<_> = state.logs.iter().filter(|l| l.container == *id).map(|l| l.line.clone()).collect();
        Ok(all[all.len().saturating_sub(lines as usize)..].to_vec())
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogLine>> {
        let LogOptions { follow, tail, since } = options;
        let mut state = self.lock();
        state.log_reads += 1;
        let Some(container) = state.containers.get(id) else {
            return Box::pin(stream::iter([Err(not_found(id))]));
        };
        let mine = state.logs.iter().filter(|l| l.container == *id && since.is_none_or(|at| l.time >= at));
        let all: Vec<_> = mine.cloned().map(Ok).collect();
        let skip = tail.map_or(0, |n| all.len().saturating_sub(n as usize));
        let so_far = stream::iter(all.into_iter().skip(skip));
        if !follow || !container.is_running() {
            return Box::pin(so_far);
        }
        let wanted = id.clone();
        let news = BroadcastStream::new(self.written.subscribe()).filter_map(move |item| {
            let line = item.ok().filter(|(id, _)| *id == wanted).map(|(_, line)| line);
            async move { line }
        });
        Box::pin(
            so_far.chain(
                news.take_while(|line| std::future::ready(line.is_some()))
                    .filter_map(|line| std::future::ready(line.map(Ok))),
            ),
        )
    }

    async fn create_container(&self, create: &ContainerCreate) -> Result<ContainerId> {
        self.call(format!("create {}", create.name)).await?;
        let mut state = self.lock();
        let spec = &create.service.spec.container;
        if state.name_is_taken(&create.name) {
            let kind = ErrorKind::NameTaken { holder: None };
            return Err(EngineError::new("create container", create.name.clone(), kind, "the name is taken"));
        }
        if !state.images.contains(spec.image.as_str()) {
            let kind = ErrorKind::ImageNotFound;
            return Err(EngineError::new("create container", create.name.clone(), kind, "no such image"));
        }
        let id = state.new_id();
        let mut config = spec.clone();
        config.name.clone_from(&create.name);
        config.files.clear();
        config.restart = config.restart.on_engine();
        let mut container = Container {
            id: id.clone(),
            name: create.name.clone(),
            state: RunState::Created,
            exit_code: None,
            oom_killed: false,
            error: None,
            created_at: Timestamp(0),
            started_at: None,
            finished_at: None,
            restarts: 0,
            health: None,
            owner: Owner::from_labels(&create.labels).unwrap_or_default(),
            image_id: ImageId(format!("sha256:{}", spec.image)),
            config,
            endpoints: BTreeMap::new(),
            published: Vec::new(),
            anonymous: create.inherited.clone(),
            files_marker: None,
            auto_remove: false,
        };
        if let Some(endpoint) = &create.network {
            attach(&mut container, endpoint);
        }
        state.containers.insert(id.clone(), container.clone());
        drop(state);
        self.tell(&container, "create");
        Ok(id)
    }

    async fn connect(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<()> {
        self.call(format!("connect {} {}", self.name(id), endpoint.attachment.network)).await?;
        self.change(id, "connect", |c| attach(c, endpoint))
    }

    async fn disconnect(&self, container: &str, network: &str, _: bool) -> Result<()> {
        let id = ContainerId::new(container);
        self.call(format!("disconnect {} {network}", self.name(&id))).await?;
        self.change(&id, "disconnect", |c| c.endpoints.retain(|_, e| *e.network_id.0 != *network))
    }

    async fn upload(&self, id: &ContainerId, _: &Archive) -> Result<()> {
        self.call(format!("upload {}", self.name(id))).await?;
        self.change(id, "upload", |c| c.files_marker = SaltedHash::parse("v1:salt:hash"))
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.call(format!("start {}", self.name(id))).await?;
        let service = self.lock().containers.get(id).map(|c| c.owner.service.clone()).unwrap_or_default();
        let behaviour = self.lock().behaviours.get(&service).cloned().unwrap_or_default();
        let now = self.clock.now();
        self.change(id, "start", |c| {
            c.started_at = Some(now);
            match behaviour {
                Behaviour::Exits(code) => {
                    c.state = RunState::Exited;
                    (c.exit_code, c.finished_at) = (Some(code), Some(now));
                }
                Behaviour::Healthy | Behaviour::Unhealthy => c.state = RunState::Running,
            }
        })
    }

    async fn stop(&self, id: &ContainerId, _: Duration) -> Result<()> {
        self.call(format!("stop {}", self.name(id))).await?;
        let now = self.clock.now();
        self.change(id, "die", |c| {
            c.state = RunState::Exited;
            (c.exit_code, c.finished_at) = (Some(0), Some(now));
        })
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.call(format!("rename {} {name}", self.name(id))).await?;
        if self.lock().name_is_taken(name) {
            let kind = ErrorKind::NameTaken { holder: None };
            return Err(EngineError::new("rename container", name, kind, "the name is taken"));
        }
        self.change(id, "rename", |c| name.clone_into(&mut c.name))
    }

    async fn set_restart_policy(&self, id: &ContainerId, policy: RestartPolicy) -> Result<()> {
        self.call(format!("policy {} {policy}", self.name(id))).await?;
        self.change(id, "update", |c| c.config.restart = policy.on_engine())
    }

    async fn update_limits(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        self.call(format!("limits {} {limits}", self.name(id))).await?;
        self.change(id, "update", |c| limits.apply(&mut c.config.resources))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.call(format!("remove {}", self.name(id))).await?;
        let container = self.lock().containers.remove(id).ok_or_else(|| not_found(id))?;
        self.tell(&container, "destroy");
        Ok(())
    }

    async fn create_network(&self, spec: &NetworkSpec, labels: &BTreeMap<String, String>) -> Result<NetworkId> {
        self.call(format!("create network {}", spec.name)).await?;
        let mut state = self.lock();
        let id = NetworkId(state.new_id().0);
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let network = Network {
            id: id.clone(),
            name: spec.name.clone(),
            driver: "bridge".to_owned(),
            stack: labels.get(labels::STACK).cloned(),
            source: SourceId(label(labels::SOURCE)),
            spec_hash: SpecHash(label(labels::SPEC_HASH)),
            created_at: Timestamp(0),
        };
        state.networks.insert(id.clone(), network);
        Ok(id)
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        self.call(format!("remove network {id}")).await?;
        self.lock().networks.remove(id);
        Ok(())
    }

    async fn create_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Result<Volume> {
        self.call(format!("create volume {}", spec.name)).await?;
        let volume = Volume {
            name: spec.name.clone(),
            driver: "local".to_owned(),
            stack: labels.get(labels::STACK).cloned(),
            source: SourceId(labels.get(labels::SOURCE).cloned().unwrap_or_default()),
            labels: labels.clone(),
        };
        Ok(self.lock().volumes.entry(spec.name.clone()).or_insert(volume).clone())
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.call(format!("remove volume {name}")).await?;
        self.lock().volumes.remove(name);
        Ok(())
    }

    async fn pull(&self, image: &ImageRef, _: Option<&str>, _: &(dyn Fn(PullProgress) + Send + Sync)) -> Result<()> {
        self.call(format!("pull {image}")).await?;
        let message = "not found in docker.io/library";
        Err(EngineError::new("pull image", image.to_string(), ErrorKind::ImageNotFound, message))
    }

    async fn exec(&self, id: &ContainerId, _: &[String], _: &[String], _: Duration) -> Result<ExecResult> {
        let state = self.lock();
        let service = state.containers.get(id).map(|c| c.owner.service.clone()).ok_or_else(|| not_found(id))?;
        let healthy = matches!(state.behaviours.get(&service), None | Some(Behaviour::Healthy));
        let output = if healthy { "well" } else { "not well" }.to_owned();
        Ok(ExecResult::Ended(ExecOutput { exit_code: i64::from(!healthy), output }))
    }

    async fn exec_running(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
}

fn attach(container: &mut Container, endpoint: &Endpoint) {
    let state = EndpointState {
        network_id: endpoint.id.clone(),
        address: None,
        aliases: endpoint.aliases.iter().cloned().collect(),
        ipv4_address: endpoint.attachment.ipv4_address.clone(),
    };
    container.endpoints.insert(endpoint.attachment.network.clone(), state);
}
