//! An engine under test, and what others do to it: simulated, or real.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use env_manager::engine::Engine;
use env_manager::engine::docker::Docker;
use env_manager::engine::sim::{Foreigner, Outside, Program, SimEngine, VirtualClock};
use env_manager::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use env_manager::resource::image::ImageRef;
use env_manager::resource::labels;
use env_manager::resource::observed::{Container, RunState};
use env_manager::resource::spec::{ContainerSpec, NetworkMode, NetworkSpec, RestartPolicy};

use crate::private_engine::PrivateEngine;
use crate::stack::engine::{self, Scope, endpoint, service};

/// What the containers of an image do. It is the image that decides, on either engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaves {
    /// For ever; the stop signal ends it with 143.
    Sleeps,
    /// The same, of another build.
    SleepsToo,
    /// Ends a moment after it was started, with this code.
    Exits(u8),
    /// The stop signal ends it with 0.
    EndsWell,
    /// It does not hear the stop signal.
    IsDeaf,
    /// Writes `one` and `two`, and ends.
    Writes,
    /// Keeps 16 MiB and more, and then writes `full`.
    EatsMemory,
    /// `VOLUME /v`
    HasVolume,
    /// Its command is not in it.
    HasNoCommand,
}

impl Behaves {
    fn tag(self) -> String {
        match self {
            Self::Exits(code) => format!("em-test/behaves-exits-{code}:1"),
            other => format!("em-test/behaves-{}:1", format!("{other:?}").to_lowercase()),
        }
    }

    fn program(self) -> Program {
        let moment = Duration::from_millis(200);
        let well = Program::default();
        match self {
            Self::Sleeps => well,
            Self::SleepsToo => Program { build: 1, ..well },
            Self::Exits(code) => Program::exits(moment, code.into()),
            Self::EndsWell => Program { stop_code: 0, stops_in: Some(moment), ..well },
            Self::IsDeaf => Program { stops_in: None, ..well },
            Self::Writes => {
                let writes = ["one", "two"].map(str::to_owned).into();
                Program { writes, ..Program::exits(Duration::from_millis(1), 0) }
            }
            Self::EatsMemory => Program { writes: vec!["full".to_owned()], uses_memory: 17 << 20, ..well },
            Self::HasVolume => Program { volumes: ["/v".to_owned()].into(), ..well },
            Self::HasNoCommand => Program { has_no_command: true, ..well },
        }
    }

    /// For `docker commit --change`.
    fn changes(self) -> Vec<String> {
        let shell = |script: &str| vec![format!("CMD {}", serde_json::json!(["sh", "-c", script]))];
        match self {
            Self::Sleeps => vec!["LABEL build=0".to_owned()],
            Self::SleepsToo => vec!["LABEL build=1".to_owned()],
            Self::Exits(code) => shell(&format!("sleep 0.2; exit {code}")),
            Self::EndsWell => shell("trap 'exit 0' TERM; while :; do sleep 0.1; done"),
            Self::IsDeaf => shell("trap '' TERM; while :; do sleep 1; done"),
            Self::Writes => shell("echo one; echo two"),
            Self::EatsMemory => shell(
                "x=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do x=$x$x; done; \
                 echo full; sleep 1000000; true",
            ),
            Self::HasVolume => vec!["VOLUME /v".to_owned()],
            Self::HasNoCommand => vec![r#"CMD ["nothing-like-it"]"#.to_owned()],
        }
    }
}

/// What a scenario may use: the engine, and what others do to it.
pub trait Rig {
    type Engine: Engine;

    fn engine(&self) -> &Self::Engine;
    /// Prefix of all names, and the stack.
    fn scope(&self) -> &str;
    fn image(&self, behaves: Behaves) -> ImageRef;
    /// Lets a tag of this scope point at it.
    fn tag(&self, part: &str, behaves: Behaves) -> ImageRef;
    /// A host port that nobody has.
    fn free_port(&self) -> u16;
    fn pause(&self, id: &ContainerId);
    fn unpause(&self, id: &ContainerId);
    /// `docker kill`
    fn kill(&self, id: &ContainerId);
    /// `docker create` by somebody else.
    fn foreign(&self, part: &str, behaves: Behaves);
    /// `docker container prune`, of this scope.
    fn prune(&self);
    /// What `docker system prune` takes, of this scope.
    fn prune_system(&self);

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.scope())
    }

    fn labels(&self) -> BTreeMap<String, String> {
        [(labels::STACK, self.scope()), (labels::SOURCE, "test:/here"), (labels::SERVICE, "web")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    /// Without a network.
    fn spec(&self, part: &str, behaves: Behaves) -> ContainerSpec {
        ContainerSpec {
            name: self.name(part),
            image: self.image(behaves),
            init: true,
            restart: RestartPolicy::No,
            network_mode: Some(NetworkMode::None),
            ..ContainerSpec::default()
        }
    }

    fn creation(&self, spec: ContainerSpec) -> ContainerCreate {
        ContainerCreate {
            name: spec.name.clone(),
            service: Arc::new(service(spec)),
            labels: self.labels(),
            network: None,
            inherited: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            file_binds: BTreeMap::new(),
        }
    }

    async fn create(&self, spec: ContainerSpec) -> ContainerId {
        self.engine().create_container(&self.creation(spec)).await.expect("created")
    }

    async fn run(&self, spec: ContainerSpec) -> ContainerId {
        let id = self.create(spec).await;
        self.engine().start(&id).await.expect("started");
        id
    }

    /// Attached to a network.
    async fn create_on(&self, part: &str, network: &Endpoint) -> ContainerId {
        let spec = ContainerSpec { network_mode: None, ..self.spec(part, Behaves::Sleeps) };
        let create = ContainerCreate { network: Some(network.clone()), ..self.creation(spec) };
        self.engine().create_container(&create).await.expect("created")
    }

    async fn network(&self, part: &str) -> Endpoint {
        let spec = NetworkSpec { name: self.name(part), ..NetworkSpec::default() };
        let id = self.engine().create_network(&spec, &self.labels()).await.expect("a network");
        endpoint(&spec.name, id)
    }

    async fn owned(&self, id: &ContainerId) -> Container {
        engine::owned(self.engine(), id).await
    }

    async fn state(&self, id: &ContainerId) -> RunState {
        self.owned(id).await.state
    }

    /// Waits for a state, with a deadline.
    async fn wait(&self, id: &ContainerId, what: &str, until: impl Fn(&Container) -> bool) -> Container {
        engine::wait(self.engine(), id, Duration::from_mins(1), what, until).await
    }
}

// ---- simulated -------------------------------------------------------------------------------------

pub struct Simulated {
    scope: String,
    engine: SimEngine,
    ports: Mutex<u16>,
}

impl Simulated {
    pub fn new(scenario: &str) -> Self {
        let engine = SimEngine::new(1, Arc::new(VirtualClock::new()));
        Self { scope: format!("em-test-{scenario}"), engine, ports: Mutex::new(8000) }
    }

    #[track_caller]
    fn act(&self, what: Outside) {
        assert_eq!(self.engine.act(what), None);
    }

    /// Ends the engine in order or not, and starts it again.
    pub fn restart(&self, in_order: bool) {
        self.act(if in_order { Outside::EngineDown } else { Outside::EngineCrashes });
        self.act(Outside::EngineUp);
    }
}

impl Rig for Simulated {
    type Engine = SimEngine;

    fn engine(&self) -> &SimEngine {
        &self.engine
    }

    fn scope(&self) -> &str {
        &self.scope
    }

    fn image(&self, behaves: Behaves) -> ImageRef {
        self.engine.add_image(&behaves.tag(), behaves.program());
        ImageRef::parse(&behaves.tag()).expect("a reference")
    }

    fn tag(&self, part: &str, behaves: Behaves) -> ImageRef {
        let tag = format!("{}:1", self.name(part));
        self.act(Outside::Retag { reference: tag.clone(), program: behaves.program() });
        ImageRef::parse(&tag).expect("a reference")
    }

    fn free_port(&self) -> u16 {
        let mut port = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        *port += 1;
        *port
    }

    fn pause(&self, id: &ContainerId) {
        self.act(Outside::Pause { container: id.0.to_string() });
    }

    fn unpause(&self, id: &ContainerId) {
        self.act(Outside::Unpause { container: id.0.to_string() });
    }

    fn kill(&self, id: &ContainerId) {
        self.act(Outside::Kill { container: id.0.to_string() });
    }

    fn foreign(&self, part: &str, behaves: Behaves) {
        let image = self.image(behaves).to_string();
        self.act(Outside::CreateForeign(Foreigner { name: self.name(part), image, ..Foreigner::default() }));
    }

    fn prune(&self) {
        self.act(Outside::PruneContainers);
    }

    fn prune_system(&self) {
        self.act(Outside::PruneSystem);
    }
}

// ---- real ------------------------------------------------------------------------------------------

/// The common engine, or one of a test's own.
pub struct Real {
    /// Of the common engine, and removed with it.
    scope: Option<Scope>,
    private: Option<Mutex<PrivateEngine>>,
    name: String,
    engine: Docker,
    /// To be removed.
    tags: Mutex<Vec<String>>,
}

/// On the common engine. Kept for the next run, as the image that they are made of is.
fn ensure_behaviour(behaves: Behaves) {
    engine::ensure_image();
    let tag = behaves.tag();
    let there = Command::new("docker").args(["image", "inspect", &tag]).output().is_ok_and(|o| o.status.success());
    if there {
        return;
    }
    let name = format!("em-test-{}-{}", std::process::id(), tag.replace(['/', ':'], "-"));
    let base = engine::docker(&["create", "--name", &name, engine::IMAGE]);
    let changes = behaves.changes();
    let changes = changes.iter().flat_map(|change| ["--change", change.as_str()]);
    let arguments: Vec<_> = ["commit"].into_iter().chain(changes).chain([base.as_str(), tag.as_str()]).collect();
    engine::docker(&arguments);
    engine::docker(&["rm", &base]);
}

impl Real {
    pub fn new(scenario: &str) -> Self {
        let scope = Scope::new(&scenario.replace('_', "-"));
        let (name, engine) = (scope.name.clone(), scope.engine.clone());
        Self { scope: Some(scope), private: None, name, engine, tags: Mutex::default() }
    }

    /// An engine that may be restarted; it has no networks. `None`, and said why, where there can be none.
    pub fn private(scenario: &str, images: &[Behaves]) -> Option<Self> {
        images.iter().copied().for_each(ensure_behaviour);
        let tags: Vec<_> = images.iter().map(|behaves| behaves.tag()).collect();
        let mut private = PrivateEngine::with(&tags.iter().map(String::as_str).collect::<Vec<_>>())?;
        private.start();
        let socket = private.host().trim_start_matches("unix://").to_owned();
        let name = format!("em-test-{}", scenario.replace('_', "-"));
        let engine = engine::over(&socket);
        Some(Self { scope: None, private: Some(Mutex::new(private)), name, engine, tags: Mutex::default() })
    }

    /// Ends the engine in order or not, and starts it again.
    pub fn restart(&self, in_order: bool) {
        let private = self.private.as_ref().expect("a private one");
        let mut private = private.lock().unwrap_or_else(PoisonError::into_inner);
        private.end(if in_order { "TERM" } else { "KILL" });
        private.start();
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("docker");
        if let Some(private) = &self.private {
            let host = private.lock().unwrap_or_else(PoisonError::into_inner).host();
            command.args(["--host", &host]);
        }
        let out = command.args(arguments).stdin(Stdio::null()).output().expect("docker is installed");
        assert!(out.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}

impl Rig for Real {
    type Engine = Docker;

    fn engine(&self) -> &Docker {
        &self.engine
    }

    fn scope(&self) -> &str {
        &self.name
    }

    fn image(&self, behaves: Behaves) -> ImageRef {
        if self.private.is_none() {
            ensure_behaviour(behaves);
        }
        ImageRef::parse(&behaves.tag()).expect("a reference")
    }

    fn tag(&self, part: &str, behaves: Behaves) -> ImageRef {
        let tag = format!("{}:1", self.name(part));
        self.docker(&["tag", self.image(behaves).as_str(), &tag]);
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).push(tag.clone());
        ImageRef::parse(&tag).expect("a reference")
    }

    fn free_port(&self) -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
    }

    fn pause(&self, id: &ContainerId) {
        self.docker(&["pause", &id.0]);
    }

    fn unpause(&self, id: &ContainerId) {
        self.docker(&["unpause", &id.0]);
    }

    fn kill(&self, id: &ContainerId) {
        self.docker(&["kill", &id.0]);
    }

    fn foreign(&self, part: &str, behaves: Behaves) {
        self.docker(&["create", "--name", &self.name(part), self.image(behaves).as_str()]);
    }

    fn prune(&self) {
        let label = format!("label={}={}", labels::STACK, self.name);
        self.docker(&["container", "prune", "-f", "--filter", &label]);
    }

    fn prune_system(&self) {
        self.prune();
        // Images without a tag too, but those are everybody's.
        let label = format!("label={}={}", labels::STACK, self.name);
        self.docker(&["network", "prune", "-f", "--filter", &label]);
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // First the containers that were made of them.
        drop(self.scope.take());
        for tag in std::mem::take(&mut *self.tags.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = Command::new("docker").args(["rmi", &tag]).output();
        }
    }
}

/// An endpoint of a network that is not there.
pub fn nowhere() -> Endpoint {
    endpoint("em-test-nowhere", NetworkId("0123456789abcdef".repeat(4).into()))
}
