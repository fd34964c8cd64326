//! A stack on an engine of its own, below a daemon whose calls pass by the witness.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::acts::Kind;
use crate::model::{APPS, DEAF, Manifests, SERVICES};
use crate::private_engine::PrivateEngine;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::running::Daemon;
use crate::stack::engine::IMAGE;
use crate::stack::{Ran, Stack};
use crate::trace::{Trace, lock};
use crate::witness::{CANARY, FOREIGN, MARK, Passing, Witness};
use crate::world::{Container, World};

pub struct Life<'a> {
    pub random: Random,
    pub stack: &'a Stack,
    pub daemon: Option<Daemon<'a>>,
    /// It is to die by itself.
    pub armed: bool,
    started: Instant,
    pub trace: Arc<Trace>,
    pub witness: Arc<Witness>,
    pub manifests: Manifests,
    /// What acts have put onto our names: ids, by the service.
    pub foreigners: BTreeMap<&'static str, String>,
    pub counts: BTreeMap<Kind, u64>,
    proxy: Proxy,
    _watching: JoinSet<()>,
    runtime: Runtime,
    /// Last, so that everything else ends first.
    pub engine: PrivateEngine,
}

impl<'a> Life<'a> {
    /// Images, canaries, and everything Ready for the first time. `None`: there can be no private engine.
    pub fn begin(stack: &'a Stack, seed: u64, trace: &Arc<Trace>) -> Option<Self> {
        let mut engine = PrivateEngine::new()?;
        engine.start();
        prepare(&engine);
        let volume = format!("{}_data", stack.name());
        let witness = Arc::new(Witness {
            stack: stack.name().to_owned(),
            socket: engine.path("docker.sock"),
            mark: engine.path("data/volumes").join(&volume).join("_data/mark"),
            volume,
            trace: Arc::clone(trace),
            state: std::sync::Mutex::default(),
        });
        let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
        let passing = Passing(Arc::clone(&witness));
        let proxy = runtime.block_on(async { Proxy::start(engine.path("docker.sock"), passing) });
        let mut watching = JoinSet::new();
        watching.spawn_on(Arc::clone(&witness).listen(), runtime.handle());
        watching.spawn_on(Arc::clone(&witness).look_on(), runtime.handle());
        let mut life = Self {
            random: Random::new(seed),
            stack,
            daemon: None,
            armed: false,
            started: Instant::now(),
            trace: Arc::clone(trace),
            witness,
            manifests: Manifests::new(stack),
            foreigners: BTreeMap::new(),
            counts: BTreeMap::new(),
            proxy,
            _watching: watching,
            runtime,
            engine,
        };
        life.read_anew();
        life.start_daemon(None);
        life.until(Duration::from_mins(2), "the first start", |life| {
            life.status().filter(|status| status["converged"] == true)
        })?;
        life.docker(&["exec", &stack.container("db"), "sh", "-c", &format!("echo {MARK} > /data/mark")]).ok()?;
        lock(&life.witness.state).marked = true;
        Some(life)
    }

    /// Waits for an answer; without one in time the run has failed.
    pub fn until<T>(&mut self, within: Duration, what: &str, mut ask: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let end = Instant::now() + within;
        loop {
            if let Some(answer) = ask(self) {
                return Some(answer);
            }
            if Instant::now() >= end {
                self.trace.fail(format!("waited {} s in vain for {what}", within.as_secs()));
                return None;
            }
            self.pass(Duration::from_millis(200));
        }
    }

    /// Time goes by, and others do what they do.
    pub fn pass(&self, period: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(period).await });
    }

    pub fn world(&self) -> Option<World> {
        self.witness.world()
    }

    /// The manifests were changed, or are about to be.
    pub fn read_anew(&self) {
        self.witness.described(self.manifests.source());
    }

    /// The docker command; what it wrote, or why not.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let out = self.engine.command(arguments).output().expect("docker is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    fn beside(&self, mut command: Command, socket: &Path) -> Command {
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        self.engine.beside(&command)
    }

    /// A verb, which speaks to the engine without the witness.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.beside(self.stack.command(arguments), &self.engine.path("docker.sock")))
    }

    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.run(&["status", "-o", "json"]).out).ok()
    }

    /// `dies`: at which call of its own, counted from 1, and on which side of it.
    pub fn start_daemon(&mut self, dies: Option<&str>) {
        let mut command = self.stack.daemon_command(&[]);
        command.env("ENV_MANAGER_RESYNC", "10s").env("ENV_MANAGER_PRUNE_DELAY", "1s");
        if let Some(at) = dies {
            command.env("ENV_MANAGER_CRASH_AT", at);
        }
        let command = self.beside(command, &self.proxy.socket);
        self.daemon = Some(self.stack.daemon_begun(command));
        (self.armed, self.started) = (dies.is_some(), Instant::now());
    }

    pub fn kill_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
        self.witness.daemon_died();
    }

    /// By SIGTERM: whatever is under way, it ends well.
    pub fn end_daemon(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        daemon.signal("TERM");
        let end = daemon.end();
        // It does not listen for the signal from its first moment on.
        let is_young = self.started.elapsed() < Duration::from_secs(2) && end.signal() == Some(15);
        if !end.success() && !self.armed && !is_young {
            self.trace.fail(format!("P12: the daemon ended badly: {end}"));
        }
        self.witness.daemon_died();
    }

    /// One that was to die has a successor; no other may end.
    pub fn tend_daemon(&mut self) {
        let ended = self.daemon.as_mut().is_some_and(Daemon::ended);
        if !ended {
            return;
        }
        if self.armed {
            self.trace.add("daemon", "it has died at a call of its own; the next one starts");
        } else {
            self.trace.fail("P12: the daemon has ended by itself".to_owned());
        }
        self.daemon = None;
        self.witness.daemon_died();
        self.start_daemon(None);
    }

    /// A container of one of these services under its own name that is so.
    pub fn container_of(
        &mut self,
        services: &[&'static str],
        is_so: impl Fn(&Container) -> bool,
    ) -> Option<(&'static str, Container)> {
        let first = self.random.index(services.len());
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            if let Some(world) = self.world() {
                for service in services[first..].iter().chain(&services[..first]) {
                    let name = self.stack.container(service);
                    let found = world.of(self.stack.name(), service).find(|c| c.name == name && is_so(c));
                    if let Some(container) = found {
                        return Some((service, container.clone()));
                    }
                }
            }
            if Instant::now() >= end {
                return None;
            }
            self.pass(Duration::from_millis(50));
        }
    }

    pub fn write(&mut self, service: &str) {
        self.read_anew();
        self.manifests.write(self.stack, service);
    }

    /// Everything is described in order again.
    pub fn repair_manifests(&mut self) {
        for service in &mut self.manifests.services {
            (service.gone, service.broken) = (false, None);
            if service.image == DEAF {
                service.image = APPS[0];
            }
        }
        self.read_anew();
        for name in SERVICES {
            self.manifests.write(self.stack, name);
        }
    }
}

/// Images of the one that is there, and what is nobody's business.
fn prepare(engine: &PrivateEngine) {
    crate::stack::engine::ensure_image();
    engine.load(IMAGE);
    engine.docker(&["create", "--name", "base", IMAGE]);
    for (change, image) in [("ENV BUILD=1", APPS[0]), ("ENV BUILD=2", APPS[1]), ("ENV DEAF=1", DEAF)] {
        engine.docker(&["commit", "--change", change, "base", image]);
    }
    engine.docker(&["tag", APPS[0], APPS[2]]);
    engine.docker(&["rm", "base"]);
    let label = format!("{FOREIGN}=1");
    engine.docker(&["network", "create", "--label", &label, CANARY]);
    engine.docker(&["volume", "create", "--label", &label, CANARY]);
    let volume = format!("{CANARY}:/data");
    let run = ["run", "-d", "--init", "--restart", "always", "--name", CANARY, "--label", &label];
    engine.docker(&[&run[..], &["--network", CANARY, "--volume", &volume, IMAGE]].concat());
}
