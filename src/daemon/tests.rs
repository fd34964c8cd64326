//! The whole daemon over an engine in memory, on the paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::environment::{Refusal, Synced};
use super::*;
use crate::backoff::Backoff;
use crate::clock::Timestamp;
use crate::controller::Settings;
use crate::engine::ErrorKind;
use crate::engine::fake::FakeEngine;
use crate::plan::prune::PruneGuards;
use crate::report::{SourceKind, SourceView, View};
use crate::resource::desired::{DesiredSet, DesiredSpec, Service};
use crate::resource::labels::SourceId;
use crate::resource::spec::{ContainerSpec, DesiredState, NetworkAttachment, NetworkSpec, PullPolicy, ServiceSpec};
use crate::resource::status::Phase;
use crate::source::{Completeness, Loaded};

const IMAGE: &str = "test/app:1";

mod held;
#[cfg(feature = "sim")]
mod moved;
mod pruned;

/// What the folder holds: services by name, each with a variable that makes a new spec, and after a blank
/// `stopped`, `suspended` or `always` pulled.
#[derive(Clone, Debug, Default)]
struct Folder {
    services: BTreeMap<String, String>,
    /// Broken files' services, and why.
    broken: BTreeMap<String, String>,
    missing: bool,
    /// Of the network.
    internal: bool,
}

impl Folder {
    fn read(&self) -> Reading {
        let mut set = DesiredSet {
            stack: "test".to_owned(),
            source: SourceId("here:/manifests".to_owned()),
            revision: format!("sha256:{self:?}"),
            has_errors: self.missing || !self.broken.is_empty(),
            ..DesiredSet::default()
        };
        let mut defined = BTreeMap::new();
        for (name, value) in self.services.iter().filter(|(name, _)| !self.missing && !self.broken.contains_key(*name))
        {
            let mut container = ContainerSpec::plain(name, IMAGE);
            let (value, how) = value.split_once(' ').unwrap_or((value, ""));
            container.env.insert("VALUE".to_owned(), value.to_owned());
            container.networks = vec![NetworkAttachment {
                network: "net".to_owned(),
                aliases: BTreeSet::new(),
                ipv4_address: None,
                priority: None,
            }];
            let state = if how == "stopped" { DesiredState::Stopped } else { DesiredState::Running };
            let pull_policy = if how == "always" { PullPolicy::Always } else { PullPolicy::IfNotPresent };
            let suspend = how == "suspended";
            let spec = ServiceSpec { pull_policy, state, suspend, ..ServiceSpec::plain(container) };
            let service = Service::new(name.as_str(), spec, BTreeMap::new(), BTreeMap::new());
            let key = ResourceKey::service(name.as_str());
            set.resources.insert(key.clone(), DesiredSpec::Service(Arc::new(service)));
            defined.insert(key, Arc::from(format!("{name}.yaml")));
        }
        if !set.resources.is_empty() {
            let network = NetworkSpec { name: "net".to_owned(), internal: self.internal, ..NetworkSpec::default() };
            set.resources.insert(ResourceKey::network("net"), DesiredSpec::Network(Arc::new(network)));
        }
        let broken = self.broken.iter().map(|(name, why)| (ResourceKey::service(name.as_str()), why.clone()));
        set.invalid = broken.collect();
        let completeness = if self.missing { Completeness::Missing } else { Completeness::Whole };
        let loaded = Loaded { defined, ..Loaded::of(set, completeness) };
        let view = SourceView {
            kind: SourceKind::Dir,
            location: "/manifests".to_owned(),
            revision: loaded.set.revision.clone(),
            short_revision: "1".to_owned(),
            error: self.missing.then(|| "no such folder".to_owned()),
        };
        Reading { loaded, view, invalid: self.broken.len(), findings: String::new() }
    }
}

struct World {
    engine: Arc<FakeEngine>,
    folder: Arc<Mutex<Folder>>,
    state: tempfile::TempDir,
    observe_only: bool,
    image_poll: Option<Duration>,
}

fn holder() -> Holder {
    Holder::current("env-manager run", Timestamp(0))
}

/// A daemon that runs.
struct Running<E: Engine = FakeEngine> {
    handle: Handle<E>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), DaemonError>>,
}

impl World {
    fn new(services: &[&str]) -> Self {
        let services = services.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        let folder = Folder { services, ..Folder::default() };
        Self {
            engine: Arc::new(FakeEngine::new(&[IMAGE])),
            folder: Arc::new(Mutex::new(folder)),
            state: tempfile::tempdir().unwrap(),
            observe_only: false,
            image_poll: None,
        }
    }

    fn edit(&self, edit: impl FnOnce(&mut Folder)) {
        edit(&mut self.folder.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn run_as(&self, holder: Holder) -> Running {
        self.run_on(Arc::clone(&self.engine), Arc::new(self.engine.clock), holder).await
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own task, which it ends")]
    async fn run_on<E: Engine>(&self, engine: Arc<E>, clock: Arc<dyn Clock>, holder: Holder) -> Running<E> {
        let folder = Arc::clone(&self.folder);
        let load: Load = Arc::new(move || {
            let reading = folder.lock().unwrap_or_else(PoisonError::into_inner).read();
            Box::pin(async move { reading })
        });
        let settings = Settings {
            stack: "test".to_owned(),
            source: SourceId::default(),
            max_concurrent_starts: 5,
            max_attempts: 3,
            backoff: Backoff::default(),
            image_poll: self.image_poll,
            prune: PruneGuards { enabled: true, limit_percent: 50, source_is_whole: true, allowed: false },
            remove_all: false,
            remove_volumes: false,
            all_sources: false,
            files_dir: String::new(),
            passed_gates: BTreeMap::new(),
            revisions: BTreeMap::new(),
            observe_only: self.observe_only,
            history: History::in_memory(Arc::clone(&clock)),
            metrics: Metrics::new("0.1.0"),
            seed: 1,
        };
        let identity = Identity {
            version: "0.1.0",
            stack: "test".to_owned(),
            manifests: "/manifests".into(),
            process_id: 1,
            started_at: clock.now(),
            observe_only: self.observe_only,
        };
        let daemon = Daemon::start(Options {
            identity,
            engine,
            info: EngineInfo { local: true, ..EngineInfo::default() },
            settings,
            clock,
            load,
            state: StateDir::open(self.state.path()).unwrap(),
            rhythm: Rhythm { resync: Duration::from_mins(1), prune_delay: Duration::from_secs(2), seed: 1 },
            holder: (!self.observe_only).then_some(holder),
        })
        .await;
        let handle = daemon.handle();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(daemon.run(shutdown.clone()));
        Running { handle, shutdown, task }
    }

    async fn run(&self) -> Running {
        self.run_as(holder()).await
    }

    fn running(&self) -> Vec<String> {
        self.engine.containers().into_iter().map(|(name, _)| name).collect()
    }
}

impl<E: Engine> Running<E> {
    /// Waits, for ten minutes of the paused clock, until it is so.
    async fn until(&self, what: &str, is_so: impl Fn(&View) -> bool) {
        let mut statuses = self.handle.statuses().subscribe();
        let mut context = self.handle.context();
        let wait = async {
            while !is_so(&self.handle.view()) {
                tokio::select! {
                    changed = statuses.changed() => changed.unwrap(),
                    changed = context.changed() => changed.unwrap(),
                }
            }
        };
        let came = timeout(Duration::from_mins(10), wait).await;
        assert!(came.is_ok(), "never so: {what}\n{:#?}", self.handle.view());
    }

    async fn converged(&self) {
        self.until("converged", View::is_converged).await;
    }

    async fn sync(&self) -> Synced {
        self.handle.sync(Vec::new(), false, Actor::Caller("test".to_owned())).await.unwrap()
    }

    fn reasons(&self) -> Vec<EventReason> {
        self.handle.history().list(&[], None).into_iter().map(|e| e.reason).collect()
    }

    fn phase(&self, name: &str) -> Phase {
        self.handle.view().statuses[&ResourceKey::service(name)].phase
    }

    async fn end(self) -> Result<(), DaemonError> {
        self.shutdown.cancel();
        self.task.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn p14_an_edit_is_converged_to_and_never_said_to_be_before() {
    let world = World::new(&["app", "redis"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.engine.forget_calls();
    world.edit(|folder| {
        folder.services.insert("app".to_owned(), "2".to_owned());
    });
    daemon.sync().await;
    daemon.converged().await;
    let status = Arc::clone(&daemon.handle.view().statuses[&ResourceKey::service("app")]);
    assert_eq!((status.generation, status.observed_generation), (2, 2));
    assert!(!world.engine.calls().iter().any(|c| c.contains("redis")), "{:?}", world.engine.calls());
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p14_a_changed_manifest_is_not_converged_from_the_moment_it_was_read() {
    let world = World::new(&["app"]);
    let daemon = world.run().await;
    daemon.converged().await;
    let controller = &daemon.handle.parts.controller;
    let mut state = StateDir::open(world.state.path()).unwrap();
    world.edit(|folder| {
        folder.services.insert("app".to_owned(), "2".to_owned());
    });
    let set = world.folder.lock().unwrap().read().loaded.set;
    // Nothing else has run in between.
    controller.set_desired(&crate::controller::Intent::of(&set, Arc::from("2")), &mut state);
    assert!(!daemon.handle.view().is_converged());
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p05_a_broken_manifest_keeps_its_service_as_it_was_last_good() {
    let world = World::new(&["app", "redis"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.engine.forget_calls();
    world.edit(|folder| {
        folder.broken.insert("app".to_owned(), "unknown field `imagge` (app.yaml:4:3)".to_owned());
    });
    daemon.sync().await;
    daemon.until("app is Invalid", |_| daemon.phase("app") == Phase::Invalid).await;
    assert!(!daemon.handle.view().is_converged() && daemon.handle.view().is_healthy());
    assert_eq!(world.engine.calls(), [""; 0]);
    // It is kept: put right again though nothing good describes it.
    world.engine.remove_behind_our_back("app");
    daemon.until("app is back", |_| world.running() == ["app", "redis"]).await;
    world.edit(|folder| folder.broken.clear());
    daemon.sync().await;
    daemon.converged().await;
    let reasons = daemon.reasons();
    assert!(reasons.contains(&EventReason::ManifestInvalid) && reasons.contains(&EventReason::ManifestRepaired));
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_described_goes_after_two_seconds_of_quiet() {
    let world = World::new(&["app", "redis", "web"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.edit(|folder| {
        folder.services.remove("web");
    });
    daemon.sync().await;
    assert!(!daemon.handle.view().is_converged(), "something is still to go");
    tokio::time::advance(Duration::from_millis(1_900)).await;
    assert!(world.running().contains(&"web".to_owned()));
    daemon.converged().await;
    assert_eq!(world.running(), ["app", "redis"]);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p06_a_folder_that_vanishes_prunes_nothing() {
    let world = World::new(&["app", "redis"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.edit(|folder| folder.missing = true);
    daemon.sync().await;
    tokio::time::advance(Duration::from_mins(5)).await;
    assert_eq!(world.running(), ["app", "redis"]);
    assert!(daemon.reasons().contains(&EventReason::SourceUnreadable));
    world.edit(|folder| folder.missing = false);
    daemon.converged().await;
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p06_more_than_half_go_only_when_a_person_allows_it() {
    let world = World::new(&["app", "redis", "web"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.edit(|folder| {
        folder.services.retain(|name, _| name == "app");
    });
    daemon.sync().await;
    daemon.until("it is refused and said", |view| view.notes.len() == 2).await;
    tokio::time::advance(Duration::from_mins(5)).await;
    assert_eq!(world.running(), ["app", "redis", "web"]);
    daemon.handle.sync(Vec::new(), true, Actor::Caller("test".to_owned())).await.unwrap();
    daemon.until("they are gone", |_| world.running() == ["app"]).await;
    daemon.until("nothing is noted any more", |view| view.notes.is_empty()).await;
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p01_what_no_event_tells_is_found_at_the_next_resync() {
    let world = World::new(&["app"]);
    let daemon = world.run().await;
    daemon.converged().await;
    // The fake tells of no network.
    world.engine.remove_network_behind_our_back("net");
    daemon.until("the network is there again", |_| world.engine.networks() == ["net"]).await;
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p03_a_converged_daemon_changes_nothing() {
    let world = World::new(&["app", "redis"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.engine.forget_calls();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(world.engine.calls(), [""; 0]);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p19_a_suspension_by_call_outlives_the_daemon() {
    let world = World::new(&["app", "redis"]);
    let daemon = world.run().await;
    daemon.converged().await;
    let by = Actor::Caller("uid 0".to_owned());
    assert_eq!(daemon.handle.suspend(vec!["app".to_owned()], by.clone()).await.unwrap(), ["app"]);
    assert_eq!(daemon.handle.suspend(vec!["app".to_owned()], by.clone()).await.unwrap(), [""; 0]);
    daemon.until("app is suspended", |_| daemon.phase("app") == Phase::Suspended).await;
    daemon.end().await.unwrap();

    world.engine.remove_behind_our_back("app");
    let daemon = world.run().await;
    daemon.until("converged", View::is_converged).await;
    assert_eq!(world.running(), ["redis"], "hands off");
    assert!(daemon.handle.describe("app").unwrap().suspended_by.is_some());
    let (resumed, still) = daemon.handle.resume(vec!["app".to_owned()], by).await.unwrap();
    assert_eq!((resumed, still), (vec!["app".to_owned()], Vec::new()));
    daemon.converged().await;
    assert_eq!(world.running(), ["app", "redis"]);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_only_observes_changes_nothing_and_says_what_it_would_do() {
    let mut world = World::new(&["app"]);
    world.observe_only = true;
    let daemon = world.run().await;
    daemon
        .until("it says so", |view| {
            let status = view.statuses.get(&ResourceKey::network("net"));
            status.is_some_and(|s| s.message.contains("only observed"))
        })
        .await;
    assert!(!daemon.handle.view().is_converged());
    assert_eq!(world.engine.calls(), [""; 0]);
    let refused = daemon.handle.restart(vec!["app".to_owned()], Actor::Outside).await;
    assert!(matches!(refused, Err(Refusal::ObserveOnly)));
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_daemon_of_a_stack_names_the_first_and_ends() {
    let world = World::new(&["app"]);
    let first = world.run().await;
    first.converged().await;
    world.engine.forget_calls();
    let mut other = holder();
    "elsewhere".clone_into(&mut other.host);
    let second = world.run_as(other).await;
    let error = timeout(Duration::from_mins(1), second.task).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, DaemonError::Lease(_)), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    first.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_pruned_is_taken_again_and_one_that_was_taken_ends_the_daemon() {
    let world = World::new(&["app"]);
    let daemon = world.run().await;
    daemon.converged().await;
    let lease = lease::volume_name("test");
    world.engine.remove_volume(&lease).await.unwrap();
    assert!(!world.engine.volumes().contains(&lease));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(world.engine.volumes().contains(&lease));
    world.engine.remove_volume(&lease).await.unwrap();
    let mut other = holder();
    "elsewhere".clone_into(&mut other.host);
    lease::take(&*world.engine, "test", &other, false).await.unwrap();
    let error = timeout(Duration::from_mins(2), daemon.task).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("elsewhere"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn p12_an_engine_that_is_away_at_the_start_is_waited_for_and_said() {
    let world = World::new(&["app"]);
    world.engine.go_away("connection refused");
    let daemon = world.run().await;
    daemon.until("it is said", |view| !view.engine.reachable && view.engine.message == "connection refused").await;
    assert!(!daemon.handle.view().is_converged() && !daemon.handle.view().is_healthy());
    world.engine.come_back();
    daemon.converged().await;
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p12_an_engine_that_goes_away_is_weather() {
    let world = World::new(&["app", "redis"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.engine.go_away("connection refused");
    daemon.until("it is said", |view| !view.engine.reachable).await;
    daemon.until("of every service", |view| view.statuses.values().all(|s| !s.is_converged())).await;
    tokio::time::advance(Duration::from_mins(3)).await;
    assert!(!daemon.task.is_finished());
    world.engine.come_back();
    daemon.converged().await;
    let reasons = daemon.reasons();
    let count = |reason| reasons.iter().filter(|r| **r == reason).count();
    assert_eq!((count(EventReason::EngineUnreachable), count(EventReason::EngineReachable)), (1, 1), "{reasons:?}");
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p12_a_call_that_is_never_answered_ends_nothing() {
    let world = World::new(&["app"]);
    world.engine.fail("create app", ErrorKind::Timeout, "no answer within 60 s");
    let daemon = world.run().await;
    daemon.converged().await;
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_asked_for_once_and_done_once() {
    let world = World::new(&["app"]);
    let daemon = world.run().await;
    daemon.converged().await;
    world.engine.forget_calls();
    daemon.handle.restart(vec!["app".to_owned()], Actor::Caller("test".to_owned())).await.unwrap();
    daemon.until("it was restarted", |_| world.engine.calls() == ["stop app", "start app"]).await;
    daemon.converged().await;
    daemon.sync().await;
    assert_eq!(world.engine.calls(), ["stop app", "start app"]);
    let unknown = daemon.handle.restart(vec!["apq".to_owned()], Actor::Outside).await.unwrap_err();
    assert!(unknown.to_string().contains("did you mean `app`"), "{unknown}");
    daemon.end().await.unwrap();
}
