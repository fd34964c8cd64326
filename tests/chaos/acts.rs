//! What is done from outside: to containers, the engine, the manifests and the daemon.

use std::time::Duration;

use tokio::time::Instant;

use crate::life::Life;
use crate::model::{APPS, DEAF, LEAVES, LONG, Manifests, SERVICES, Service};
use crate::stack::engine::IMAGE;
use crate::trace::lock;
use crate::witness::{CANARY, FOREIGN};
use crate::world::Container;

/// One kind of interference each; a full run meets all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    // Containers, by others.
    Kill,
    Stop,
    StopAndStart,
    Remove,
    Rename,
    Pause,
    Unpause,
    ChangeMemory,
    ChangePolicy,
    Disconnect,
    Connect,
    ProcessKilled,
    ForeignNext,
    ForeignName,
    ForeignGoes,
    Retag,
    PruneContainers,
    PruneNetworks,
    PruneSystem,
    // The engine itself.
    EngineKilled,
    EngineRestarted,
    EngineFrozen,
    // Manifests.
    Edit,
    EditToDeaf,
    Break,
    Repair,
    RemoveManifest,
    AddManifest,
    SourceEmpty,
    SourceMissing,
    // The daemon.
    DaemonKilled,
    DaemonEnded,
    DaemonDiesAtACall,
    AskSuspend,
    AskResume,
    AskRestart,
}

use Kind::*;

impl Kind {
    /// How many of each are in a deck.
    pub const ALL: [(Self, usize); 36] = [
        (Kill, 1),
        (Stop, 1),
        (StopAndStart, 1),
        (Remove, 2),
        (Rename, 1),
        (Pause, 1),
        (Unpause, 1),
        (ChangeMemory, 1),
        (ChangePolicy, 1),
        (Disconnect, 1),
        (Connect, 1),
        (ProcessKilled, 1),
        (ForeignNext, 1),
        (ForeignName, 1),
        (ForeignGoes, 2),
        (Retag, 1),
        (PruneContainers, 1),
        (PruneNetworks, 1),
        (PruneSystem, 1),
        (EngineKilled, 1),
        (EngineRestarted, 1),
        (EngineFrozen, 1),
        (Edit, 6),
        (EditToDeaf, 1),
        (Break, 1),
        (Repair, 1),
        (RemoveManifest, 1),
        (AddManifest, 1),
        (SourceEmpty, 1),
        (SourceMissing, 1),
        (DaemonKilled, 2),
        (DaemonEnded, 1),
        (DaemonDiesAtACall, 1),
        (AskSuspend, 1),
        (AskResume, 1),
        (AskRestart, 1),
    ];
}

impl Life<'_> {
    /// Does it, and says what. `None`: there was nothing to do it to.
    #[expect(clippy::too_many_lines, reason = "a table of what is done")]
    pub fn perform(&mut self, kind: Kind) -> Option<String> {
        let runs = |c: &Container| c.state == "running";
        match kind {
            Kill => self.one_of(&LONG, runs, &["kill", "@"]),
            Stop => self.one_of(&LONG, runs, &["stop", "-t", "1", "@"]),
            StopAndStart => {
                let stopped = self.one_of(&LONG, runs, &["stop", "-t", "1", "@"])?;
                let name = stopped.split(' ').next_back()?.to_owned();
                Some(format!("{stopped}; {}", self.try_docker(&["start", &name])))
            }
            Remove => self.one_of(&SERVICES, |_| true, &["rm", "-f", "@"]),
            Rename => {
                let away = self.stack.scope.name("moved");
                self.one_of(&LONG, |_| true, &["rename", "@", &away])
            }
            Pause => self.one_of(&LONG, runs, &["pause", "@"]),
            Unpause => {
                let is_paused = |c: &Container| c.state == "paused";
                let found = self.world()?.containers.iter().any(is_paused);
                let first = if found { None } else { Some(self.perform(Pause)?) };
                let second = self.one_of(&LONG, is_paused, &["unpause", "@"])?;
                Some(first.into_iter().chain([second]).collect::<Vec<_>>().join("; "))
            }
            ChangeMemory => self.one_of(&LONG, runs, &["update", "--memory", "48m", "--memory-swap", "96m", "@"]),
            ChangePolicy => {
                let policy = *self.random.pick(&["no", "always", "on-failure:2"])?;
                self.one_of(&LONG, runs, &["update", "--restart", policy, "@"])
            }
            Disconnect => {
                let network = self.stack.network();
                self.one_of(&LONG, runs, &["network", "disconnect", &network, "@"])
            }
            Connect => self.one_of(&LONG, runs, &["network", "connect", CANARY, "@"]),
            ProcessKilled => self.one_of(&LONG, runs, &["exec", "@", "sh", "-c", "kill -9 -1"]),
            ForeignNext => {
                let service = *self.random.pick(&LONG)?;
                let name = format!("{}.next", self.stack.container(service));
                let done = self.put_foreigner(service, &name)?;
                Some(format!("{done}, and {}", self.edit(service)))
            }
            ForeignName => self.foreign_name(),
            ForeignGoes => {
                if self.foreigners.is_empty() {
                    self.perform(ForeignNext)?;
                    self.pass(Duration::from_secs(1));
                }
                self.drop_foreigner()
            }
            Retag => {
                let build = *self.random.pick(&APPS[..2])?;
                Some(self.try_docker(&["tag", build, APPS[2]]))
            }
            PruneContainers => Some(self.prune(&["container", "prune", "-f"])),
            PruneNetworks => Some(self.prune(&["network", "prune", "-f"])),
            PruneSystem => Some(self.prune(&["system", "prune", "-f"])),
            EngineKilled => Some(self.shake_engine(Some("KILL"))),
            EngineRestarted => Some(self.shake_engine(Some("TERM"))),
            EngineFrozen => Some(self.shake_engine(None)),
            Edit => {
                let service = *self.random.pick(&SERVICES)?;
                Some(self.edit(service))
            }
            EditToDeaf => {
                let service = *self.random.pick(&LONG)?;
                self.manifests.of(service).image = DEAF;
                self.write(service);
                Some(format!("{service}: {DEAF}, which is never ready"))
            }
            Break => {
                let service = *self.random.pick(&SERVICES)?;
                let way = self.random.index(3);
                self.manifests.of(service).broken = Some(way);
                self.write(service);
                Some(format!("{service}: broken in way {way}"))
            }
            Repair => {
                if self.manifests.services.iter().all(|s| s.broken.is_none()) {
                    self.perform(Break)?;
                    self.pass(Duration::from_secs(2));
                }
                let broken: Vec<_> =
                    self.manifests.services.iter().filter(|s| s.broken.is_some()).map(|s| s.name).collect();
                for name in &broken {
                    self.manifests.of(name).broken = None;
                    self.write(name);
                }
                Some(broken.join(" "))
            }
            RemoveManifest => {
                // Nothing goes while anything is broken.
                let broken = if self.random.one_in(2) { self.perform(Break) } else { None };
                let service = *self.random.pick(&LEAVES)?;
                self.manifests.of(service).gone = true;
                self.write(service);
                Some(format!("{service}{}", broken.map(|what| format!(", after {what}")).unwrap_or_default()))
            }
            AddManifest => {
                if self.manifests.services.iter().all(|s| !s.gone) {
                    self.perform(RemoveManifest)?;
                    self.pass(Duration::from_secs(3));
                }
                let gone: Vec<_> = self.manifests.services.iter().filter(|s| s.gone).map(|s| s.name).collect();
                let service = *self.random.pick(&gone)?;
                self.manifests.of(service).gone = false;
                self.write(service);
                Some(service.to_owned())
            }
            SourceEmpty => Some(self.source_away(true)),
            SourceMissing => Some(self.source_away(false)),
            DaemonKilled => {
                self.kill_daemon();
                Some(self.daemon_again(None))
            }
            DaemonEnded => {
                self.end_daemon();
                Some(self.daemon_again(None))
            }
            DaemonDiesAtACall => {
                self.end_daemon();
                let side = if self.random.one_in(2) { "before" } else { "after" };
                let at = format!("{}:{side}", self.random.range(2, 12));
                let started = self.daemon_again(Some(&at));
                // So that there are calls.
                let services = [*self.random.pick(&LONG)?, *self.random.pick(&SERVICES)?];
                let edits = services.map(|service| self.edit(service));
                Some(format!("{started}, to die at its call {at}; {}", edits.join(", ")))
            }
            AskSuspend => {
                let service = self.described_and_not_suspended()?;
                self.ask("suspend", service)?;
                lock(&self.witness.state).suspended.insert(service.to_owned(), Instant::now());
                Some(service.to_owned())
            }
            AskResume => {
                let first = lock(&self.witness.state).suspended.keys().next().cloned();
                let service = if let Some(service) = first {
                    service
                } else {
                    let service = self.perform(AskSuspend)?;
                    self.pass(Duration::from_secs(1));
                    service
                };
                // From now on it may be touched.
                lock(&self.witness.state).suspended.insert(service.clone(), Instant::now());
                self.ask("resume", &service)?;
                lock(&self.witness.state).suspended.remove(&service);
                Some(service)
            }
            AskRestart => {
                let service = self.described_and_not_suspended()?;
                lock(&self.witness.state).restart_asked.insert(service.to_owned(), Instant::now());
                self.ask("restart", service)?;
                Some(service.to_owned())
            }
        }
    }

    /// The docker command; where it is refused, that is told: somebody was faster.
    fn try_docker(&self, arguments: &[&str]) -> String {
        let refused = self.docker(arguments).err().map(|why| format!(" - refused: {}", why.replace('\n', " ")));
        format!("docker {}{}", arguments.join(" "), refused.unwrap_or_default())
    }

    /// To a container of one of these services that is so: `@` is its name.
    fn one_of(
        &mut self,
        services: &[&'static str],
        is_so: impl Fn(&Container) -> bool,
        command: &[&str],
    ) -> Option<String> {
        let (service, container) = self.container_of(services, is_so)?;
        let command: Vec<_> = command.iter().map(|word| if *word == "@" { &container.name } else { *word }).collect();
        self.witness.disturb(&[service]);
        let done = self.docker(&command);
        self.witness.disturb(&[service]);
        // Where somebody was faster it is no act.
        done.ok()?;
        Some(format!("docker {}", command.join(" ")))
    }

    pub fn edit(&mut self, service: &'static str) -> String {
        let round = self.random.range(2, 1_000);
        let what = self.random.range(0, 4);
        let image = *self.random.pick(&APPS).expect("there are some");
        let of = self.manifests.of(service);
        // One that nobody can be ready with is not left for long.
        if of.image == DEAF || what == 1 {
            of.image = image;
        }
        match what {
            0 => of.file = round,
            2 => of.memory = 48 + round % 64,
            _ => of.round = round,
        }
        let told = format!("{service}: {} round {}, file {}, {} MiB", of.image, of.round, of.file, of.memory);
        self.write(service);
        told
    }

    fn put_foreigner(&mut self, service: &'static str, name: &str) -> Option<String> {
        if self.foreigners.contains_key(service) {
            return None;
        }
        let label = format!("{FOREIGN}=1");
        self.witness.disturb(&[service]);
        let run = ["run", "-d", "--init", "--restart", "always", "--network", CANARY, "--label", &label];
        let id = self.docker(&[&run[..], &["--name", name, IMAGE]].concat());
        self.witness.disturb(&[service]);
        self.foreigners.insert(service, id.ok()?);
        Some(format!("a foreign {name}"))
    }

    /// Faster than the daemon, which is stopped for that moment.
    fn foreign_name(&mut self) -> Option<String> {
        let (service, container) = self.container_of(&LONG, |_| true)?;
        self.witness.disturb(&[service]);
        if let Some(daemon) = &self.daemon {
            daemon.signal("STOP");
        }
        let removed = self.docker(&["rm", "-f", &container.id]);
        let done = removed.ok().and_then(|_| self.put_foreigner(service, &container.name));
        if let Some(daemon) = &self.daemon {
            daemon.signal("CONT");
        }
        self.witness.disturb(&[service]);
        done
    }

    /// P17: it is as it was put there.
    pub fn drop_foreigner(&mut self) -> Option<String> {
        let (service, id) = self.foreigners.pop_first()?;
        let name = self.docker(&["inspect", "--format", "{{.Name}} {{.State.Running}}", &id]);
        let container = self.stack.container(service);
        match name {
            Ok(seen) if [format!("/{container} true"), format!("/{container}.next true")].contains(&seen) => {}
            other => self.trace.fail(format!("P17: the foreign container at {service} is {other:?}")),
        }
        self.witness.disturb(&[service]);
        let done = self.try_docker(&["rm", "-f", &id]);
        self.witness.disturb(&[service]);
        Some(format!("of {service}: {done}"))
    }

    fn prune(&self, arguments: &[&str]) -> String {
        self.witness.disturb(&SERVICES);
        let done = self.try_docker(arguments);
        self.witness.disturb(&SERVICES);
        done
    }

    /// Ends it by a signal, or freezes it; one time in two something else happens meanwhile.
    fn shake_engine(&mut self, signal: Option<&str>) -> String {
        self.witness.engine_is_shaken();
        match signal {
            Some(signal) => self.engine.end(signal),
            None => self.engine.signal("STOP"),
        }
        let meanwhile = match self.random.range(0, 4) {
            0 => {
                let service = *self.random.pick(&SERVICES).expect("there are some");
                format!(", meanwhile {}", self.edit(service))
            }
            1 => {
                self.kill_daemon();
                format!(", meanwhile {}", self.daemon_again(None))
            }
            _ => String::new(),
        };
        let away = self.random.millis(0, 3_000);
        self.pass(away);
        match signal {
            Some(_) => self.engine.start(),
            None => self.engine.signal("CONT"),
        }
        self.witness.engine_is_shaken();
        format!("away for {} ms{meanwhile}", away.as_millis())
    }

    fn source_away(&mut self, empty: bool) -> String {
        self.manifests.away = true;
        self.read_anew();
        Manifests::put_away(self.stack, empty);
        let away = self.random.millis(500, 4_000);
        self.pass(away);
        self.manifests.away = false;
        self.read_anew();
        Manifests::bring_back(self.stack);
        format!("for {} ms", away.as_millis())
    }

    fn daemon_again(&mut self, dies: Option<&str>) -> String {
        let away = self.random.millis(0, 1_500);
        self.pass(away);
        self.start_daemon(dies);
        format!("the daemon was away for {} ms", away.as_millis())
    }

    fn described_and_not_suspended(&mut self) -> Option<&'static str> {
        let suspended: Vec<_> = lock(&self.witness.state).suspended.keys().cloned().collect();
        let is_so = |s: &&Service| !s.gone && LONG.contains(&s.name) && !suspended.iter().any(|other| other == s.name);
        let services: Vec<_> = self.manifests.services.iter().filter(is_so).map(|s| s.name).collect();
        self.random.pick(&services).copied()
    }

    /// Of the daemon, which may have to start first.
    fn ask(&mut self, verb: &str, service: &str) -> Option<()> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            self.tend_daemon();
            let ran = self.run(&[verb, service]);
            if ran.code == Some(0) {
                return Some(());
            }
            if Instant::now() >= end {
                self.trace.add("act", &format!("{verb} {service} is refused: {}", ran.err.trim()));
                return None;
            }
            self.pass(Duration::from_millis(200));
        }
    }
}
