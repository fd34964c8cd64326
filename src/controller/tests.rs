//! The loop over an engine in memory, on the paused clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::converge::{Ending, Goal};
use super::*;
use crate::backoff::Backoff;
use crate::clock::Timestamp;
use crate::engine::ErrorKind;
use crate::engine::fake::{Behaviour, FakeEngine};
use crate::history::History;
use crate::metrics::Metrics;
use crate::plan::prune::PruneGuards;
use crate::resource::container::ContainerId;
use crate::resource::desired::DesiredSpec;
use crate::resource::desired::Service;
use crate::resource::image::ImageRef;
use crate::resource::labels::SourceId;
use crate::resource::observed::RunState;
use crate::resource::probe::{Check, Probe, Probes};
use crate::resource::spec::{
    ContainerSpec, Dependency, DependencyCondition, DesiredState, NetworkAttachment, NetworkSpec, RestartPolicy,
    ServiceSpec,
};
use crate::resource::status::{About, ContainerSummary, Phase, Reason, Status, StatusDraft};
use crate::state::StateDir;
use std::collections::BTreeSet;

mod crashes;
#[cfg(feature = "sim")]
mod wiped;

const IMAGE: &str = "test/app:1";

/// A service with an exec probe, on the network `net`.
fn service(name: &str, needs: &[(&str, DependencyCondition)]) -> ServiceSpec {
    let probe = Probe {
        check: Check::Exec { command: vec!["well?".to_owned()] },
        interval: Probe::DEFAULT_INTERVAL,
        timeout: Probe::DEFAULT_TIMEOUT,
        deadline: None,
        failure_threshold: 1,
        success_threshold: 1,
    };
    let attachment =
        NetworkAttachment { network: "net".to_owned(), aliases: BTreeSet::new(), ipv4_address: None, priority: None };
    let container = ContainerSpec { networks: vec![attachment], ..ContainerSpec::plain(name, IMAGE) };
    ServiceSpec {
        depends_on: needs
            .iter()
            .map(|(name, condition)| Dependency { service: (*name).to_owned(), condition: *condition, restart: false })
            .collect(),
        probes: Probes { readiness: Some(probe), ..Probes::default() },
        ..ServiceSpec::plain(container)
    }
}

fn set(services: impl IntoIterator<Item = ServiceSpec>) -> DesiredSet {
    let mut set = DesiredSet {
        stack: "test".to_owned(),
        source: SourceId("here:/manifests".to_owned()),
        revision: "sha256:1".to_owned(),
        ..DesiredSet::default()
    };
    for spec in services {
        let name = spec.container.name.clone();
        let service = Service::new(name.as_str(), spec, BTreeMap::new(), BTreeMap::new());
        for key in service.resources() {
            let spec = NetworkSpec { name: key.name.to_string(), ..NetworkSpec::default() };
            set.resources.insert(key, DesiredSpec::Network(Arc::new(spec)));
        }
        set.resources.insert(ResourceKey::service(name.as_str()), DesiredSpec::Service(Arc::new(service)));
    }
    set
}

fn settings(set: &DesiredSet, remove_all: bool) -> Settings {
    Settings {
        stack: set.stack.clone(),
        source: set.source.clone(),
        max_concurrent_starts: 5,
        max_attempts: 3,
        backoff: Backoff::default(),
        image_poll: None,
        prune: PruneGuards { enabled: true, limit_percent: 50, source_is_whole: true, allowed: false },
        remove_all,
        remove_volumes: false,
        all_sources: false,
        files_dir: String::new(),
        passed_gates: BTreeMap::new(),
        revisions: BTreeMap::new(),
        observe_only: false,
        history: History::default(),
        metrics: Metrics::default(),
        seed: 1,
    }
}

struct World {
    engine: Arc<FakeEngine>,
    state: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { engine: Arc::new(FakeEngine::new(&[IMAGE])), state: tempfile::tempdir().unwrap() }
    }

    fn controller(&self, set: &DesiredSet, remove_all: bool) -> Controller<FakeEngine> {
        let mut state = StateDir::open(self.state.path()).unwrap();
        let settings = Settings { revisions: state.revisions().clone(), ..settings(set, remove_all) };
        let info = EngineInfo { local: true, ..EngineInfo::default() };
        let controller = Controller::new(Arc::clone(&self.engine), info, settings, Arc::new(self.engine.clock));
        controller.set_desired(&Intent::of(set, Arc::from("1")), &mut state);
        state.save().unwrap();
        controller
    }

    /// One `apply`, within ten minutes of the paused clock.
    async fn apply(&self, set: &DesiredSet) -> (Ending, Controller<FakeEngine>) {
        let controller = self.controller(set, false);
        let prune = controller.judge_orphans(set, false).await.unwrap();
        controller.remove(prune.remove);
        let within = Some(Duration::from_mins(10));
        let ending = controller.converge(Goal::Converged, within, std::future::pending(), |_, _| {}).await.unwrap();
        (ending, controller)
    }

    /// One `apply` that must reach its goal.
    async fn converge(&self, set: &DesiredSet) -> Controller<FakeEngine> {
        let (ending, controller) = self.apply(set).await;
        let told: Vec<_> =
            controller.status().snapshot().iter().map(|(k, s)| format!("{k}: {} {}", s.phase, s.message)).collect();
        assert_eq!(ending, Ending::Reached, "{told:#?}\n{:#?}", self.engine.calls());
        controller
    }

    fn running(&self) -> Vec<String> {
        let all = self.engine.containers();
        all.into_iter().filter(|(_, state)| *state == RunState::Running).map(|(name, _)| name).collect()
    }
}

fn status(controller: &Controller<FakeEngine>, name: &str) -> Arc<Status> {
    controller.status().get(&ResourceKey::service(name)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_service_becomes_ready_and_a_second_apply_changes_nothing() {
    let world = World::new();
    let set = set([service("redis", &[])]);
    let controller = world.converge(&set).await;
    assert_eq!(status(&controller, "redis").phase, Phase::Ready);
    assert_eq!(world.engine.calls(), ["create network net", "create redis", "start redis"]);
    world.engine.forget_calls();
    world.converge(&set).await;
    assert!(world.engine.calls().is_empty(), "p03: {:?}", world.engine.calls());
}

#[tokio::test(start_paused = true)]
async fn a_container_that_came_up_long_ago_is_not_late() {
    let world = World::new();
    let set = set([service("redis", &[])]);
    world.converge(&set).await;
    tokio::time::advance(Duration::from_hours(1)).await;
    world.converge(&set).await;
}

#[tokio::test(start_paused = true)]
async fn p08_a_service_starts_after_what_it_needs_is_ready() {
    let world = World::new();
    let set = set([
        service("a-router", &[("b-node", DependencyCondition::Ready)]),
        service("b-node", &[("c-redis", DependencyCondition::Ready)]),
        service("c-redis", &[]),
    ]);
    world.converge(&set).await;
    let starts: Vec<_> = world.engine.calls().into_iter().filter(|c| c.starts_with("start")).collect();
    assert_eq!(starts, ["start c-redis", "start b-node", "start a-router"]);
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_lets_its_dependents_go_on_when_it_has_completed() {
    let world = World::new();
    let mut migrate = service("migrate", &[]);
    migrate.container.restart = RestartPolicy::No;
    migrate.probes = Probes::default();
    world.engine.behave("migrate", Behaviour::Exits(0));
    let set = set([migrate, service("app", &[("migrate", DependencyCondition::Completed)])]);
    let controller = world.converge(&set).await;
    assert_eq!(status(&controller, "migrate").phase, Phase::Completed);
    assert_eq!(status(&controller, "app").phase, Phase::Ready);
    world.engine.forget_calls();
    world.converge(&set).await;
    assert!(world.engine.calls().is_empty(), "a completed one-shot ran again: {:?}", world.engine.calls());
}

#[tokio::test(start_paused = true)]
async fn a_failed_one_shot_stops_its_dependents_and_says_why() {
    let world = World::new();
    let mut migrate = service("migrate", &[]);
    migrate.container.restart = RestartPolicy::No;
    migrate.probes = Probes::default();
    world.engine.behave("migrate", Behaviour::Exits(3));
    let set = set([migrate, service("app", &[("migrate", DependencyCondition::Completed)])]);
    let (ending, controller) = world.apply(&set).await;
    assert_eq!(ending, Ending::Stuck);
    let app = status(&controller, "app");
    assert_eq!(app.reason, Reason::DependencyStalled);
    assert!(app.message.contains("exited with code 3"), "{}", app.message);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_is_stopped_on_purpose() {
    let world = World::new();
    let mut redis = service("redis", &[]);
    redis.state = DesiredState::Stopped;
    let (ending, controller) =
        world.apply(&set([redis, service("app", &[("redis", DependencyCondition::Ready)])])).await;
    assert_eq!(ending, Ending::Stuck);
    assert_eq!(status(&controller, "redis").phase, Phase::Stopped);
    let app = status(&controller, "app");
    assert_eq!(app.reason, Reason::DependencyStalled);
    assert!(app.message.contains("stopped, as its manifest says"), "{}", app.message);
}

#[tokio::test(start_paused = true)]
async fn apply_ends_as_soon_as_nothing_can_progress() {
    let world = World::new();
    world.engine.behave("reddb", Behaviour::Unhealthy);
    let set =
        set([service("reddb", &[]), service("redis", &[]), service("app", &[("reddb", DependencyCondition::Ready)])]);
    let begun = tokio::time::Instant::now();
    let (ending, controller) = world.apply(&set).await;
    assert_eq!(ending, Ending::Stuck);
    // Its startup deadline, and not the timeout of the command.
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(status(&controller, "redis").phase, Phase::Ready);
    assert_eq!(status(&controller, "reddb").reason, Reason::StartupDeadlineExceeded);
    assert_eq!(status(&controller, "app").reason, Reason::DependencyStalled);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_three_times_with_backoff_before_it_counts_as_failed() {
    let world = World::new();
    for _ in 0..3 {
        world.engine.fail("start redis", ErrorKind::Other, "the engine stumbled");
    }
    let begun = tokio::time::Instant::now();
    let (ending, controller) = world.apply(&set([service("redis", &[])])).await;
    assert_eq!(ending, Ending::Stuck);
    let redis = status(&controller, "redis");
    assert_eq!((redis.phase, redis.reason), (Phase::Failed, Reason::StartFailed));
    assert!(redis.message.contains("the engine stumbled"), "{}", redis.message);
    // 500 ms and 1 s, each ± 10 %.
    assert!((1.3..1.7).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    let starts = world.engine.calls().iter().filter(|c| *c == "start redis").count();
    assert_eq!(starts, 3);
}

#[tokio::test(start_paused = true)]
async fn a_passing_hitch_is_overcome() {
    let world = World::new();
    world.engine.fail("create redis", ErrorKind::Timeout, "no answer");
    world.engine.fail("start redis", ErrorKind::Other, "busy");
    world.converge(&set([service("redis", &[])])).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_help_is_not_tried_again_while_somebody_waits() {
    let world = World::new();
    world.engine.fail("start redis", ErrorKind::PortTaken { port: Some(6379) }, "port is already allocated");
    let begun = tokio::time::Instant::now();
    let (ending, controller) = world.apply(&set([service("redis", &[])])).await;
    assert_eq!(ending, Ending::Stuck);
    assert_eq!(status(&controller, "redis").phase, Phase::Conflict);
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn p17_a_foreign_container_of_the_name_is_left_alone_and_named() {
    let world = World::new();
    world.engine.add_foreign("redis");
    let (ending, controller) = world.apply(&set([service("redis", &[]), service("app", &[])])).await;
    assert_eq!(ending, Ending::Stuck);
    let redis = status(&controller, "redis");
    assert_eq!(redis.phase, Phase::Conflict);
    assert!(redis.message.contains("redis") && redis.message.contains("somebody/elses"), "{}", redis.message);
    assert_eq!(world.running(), ["app", "redis"]);
    assert!(!world.engine.calls().iter().any(|c| c.contains("redis")), "{:?}", world.engine.calls());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_nobody_has_holds_up_only_its_own_service() {
    let world = World::new();
    let mut missing = service("missing", &[]);
    missing.container.image = ImageRef::parse("not/there:1").unwrap();
    let (ending, controller) = world.apply(&set([missing, service("redis", &[])])).await;
    assert_eq!(ending, Ending::Stuck);
    assert_eq!(status(&controller, "redis").phase, Phase::Ready);
    let missing = status(&controller, "missing");
    assert_eq!(missing.reason, Reason::ImageNotFound);
    assert!(missing.message.contains("not/there:1"), "{}", missing.message);
}

#[tokio::test(start_paused = true)]
async fn what_no_manifest_asks_for_any_more_is_removed() {
    let world = World::new();
    let (_, controller) = world.apply(&set([service("a", &[]), service("b", &[]), service("c", &[])])).await;
    let known = controller.revisions();
    assert!(known.contains_key("c"));
    let mut state = StateDir::open(world.state.path()).unwrap();
    state.set_revisions(known);
    state.save().unwrap();
    let controller = world.converge(&set([service("a", &[]), service("b", &[])])).await;
    assert_eq!(world.running(), ["a", "b"]);
    assert!(controller.status().get(&ResourceKey::service("c")).is_none());
    // Whoever comes under its name is somebody else.
    assert!(controller.revisions().into_keys().eq(["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn p06_an_empty_source_removes_nothing_and_more_than_half_needs_leave() {
    let world = World::new();
    world.apply(&set([service("a", &[]), service("b", &[]), service("c", &[])])).await;
    let mut empty = set([]);
    empty.has_errors = true;
    world.apply(&empty).await;
    world.apply(&set([service("a", &[])])).await;
    assert_eq!(world.running(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn p05_a_broken_manifest_leaves_its_service_running_and_prunes_nothing() {
    let world = World::new();
    world.apply(&set([service("a", &[]), service("b", &[]), service("c", &[])])).await;
    let mut broken = set([service("a", &[])]);
    broken.invalid.insert(ResourceKey::service("b"), "unknown field".to_owned());
    broken.has_errors = true;
    world.engine.forget_calls();
    let (ending, controller) = world.apply(&broken).await;
    assert_eq!(ending, Ending::Stuck);
    assert_eq!(world.running(), ["a", "b", "c"]);
    assert_eq!(status(&controller, "b").phase, Phase::Invalid);
    assert!(world.engine.calls().is_empty(), "{:?}", world.engine.calls());
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_replaces_the_container_and_leaves_nothing_over() {
    let world = World::new();
    world.apply(&set([service("redis", &[])])).await;
    let mut changed = service("redis", &[]);
    changed.container.env.insert("X".to_owned(), "1".to_owned());
    world.engine.forget_calls();
    world.converge(&set([changed])).await;
    assert_eq!(
        world.engine.calls(),
        [
            "create redis.next",
            "policy redis no",
            "stop redis",
            "rename redis redis.old",
            "rename redis.next redis",
            "start redis",
            "remove redis.old",
        ]
    );
    assert_eq!(world.engine.containers(), [("redis".to_owned(), RunState::Running)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_behind_our_back_comes_again() {
    let world = World::new();
    let controller = world.controller(&set([service("redis", &[])]), false);
    let shutdown = CancellationToken::new();
    let running = controller.clone();
    let mut tasks = JoinSet::new();
    let token = shutdown.clone();
    tasks.spawn(async move { running.run(token).await.unwrap() });
    wait_until_ready(&controller, "redis").await;
    let first = status(&controller, "redis").container.clone().unwrap().id;
    world.engine.remove_behind_our_back("redis");
    let mut changes = controller.status().subscribe();
    while status(&controller, "redis").container.as_ref().is_none_or(|c| c.id == first)
        || !status(&controller, "redis").ready
    {
        changes.changed().await.unwrap();
    }
    shutdown.cancel();
    tasks.join_all().await;
    assert_eq!(world.running(), ["redis"], "a daemon that ends leaves its containers running");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_gone_is_made_again_and_its_services_join_it() {
    let world = World::new();
    let set = set([service("redis", &[])]);
    world.converge(&set).await;
    world.engine.remove_network_behind_our_back("net");
    world.engine.forget_calls();
    world.converge(&set).await;
    assert_eq!(world.engine.calls(), ["create network net", "connect redis net"]);
}

async fn wait_until_ready(controller: &Controller<FakeEngine>, name: &str) {
    let mut changes = controller.status().subscribe();
    while controller.status().get(&ResourceKey::service(name)).is_none_or(|s| !s.ready) {
        changes.changed().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn down_removes_everything_in_reverse_order_and_keeps_volumes() {
    let world = World::new();
    let set = set([service("app", &[("redis", DependencyCondition::Ready)]), service("redis", &[])]);
    world.apply(&set).await;
    world.engine.forget_calls();
    let controller = world.controller(&set, true);
    let ending =
        controller.converge(Goal::Gone, Some(Duration::from_mins(1)), std::future::pending(), |_, _| {}).await.unwrap();
    assert_eq!(ending, Ending::Reached);
    let removals: Vec<_> = world.engine.calls().into_iter().filter(|c| c.starts_with("remove")).collect();
    assert_eq!(removals[..2], ["remove app", "remove redis"]);
    assert!(removals[2].starts_with("remove network"), "{removals:?}");
    assert!(world.engine.containers().is_empty() && world.engine.networks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_service_is_left_as_it_is() {
    let world = World::new();
    world.apply(&set([service("redis", &[])])).await;
    world.engine.forget_calls();
    let mut suspended = service("redis", &[]);
    suspended.suspend = true;
    suspended.container.env.insert("X".to_owned(), "1".to_owned());
    let controller = world.converge(&set([suspended])).await;
    assert_eq!(status(&controller, "redis").phase, Phase::Suspended);
    assert!(world.engine.calls().is_empty(), "{:?}", world.engine.calls());
}

/// P8: what is to run on, and does not, has not started; a one-shot that failed has.
#[test]
fn p08_what_has_ended_and_waits_for_its_next_run_is_not_started() {
    let facts = |stalled| {
        let container = ContainerSummary { exit_code: Some(143), ..summary("db") };
        let draft = StatusDraft {
            ready: false,
            reason: Reason::ExitedWithError,
            message: "exited with code 143".to_owned(),
            reconciling: None,
            stalled: Some((stalled, String::new())),
            dependency_failing: None,
            settled: false,
            container: Some(container),
        };
        let about =
            About { required: true, generation: 1, image: None, depends_on: Vec::new(), revision: Arc::default() };
        super::reconcile::facts(&Status::from_draft(draft, about, None, Timestamp(1)))
    };
    assert!(!facts(Reason::ImageNotFound).started);
    assert!(facts(Reason::ExitedWithError).started);
}

/// As they may where one of them is broken, and its last good spec goes on.
#[test]
fn p03_two_that_wait_for_each_other_do_not_wake_each_other_without_end() {
    let stalled = |message: &str| {
        let draft = StatusDraft {
            ready: false,
            reason: Reason::DependencyStalled,
            message: message.to_owned(),
            reconciling: None,
            stalled: Some((Reason::DependencyStalled, message.to_owned())),
            dependency_failing: None,
            settled: false,
            container: None,
        };
        let about =
            About { required: true, generation: 1, image: None, depends_on: Vec::new(), revision: Arc::default() };
        super::reconcile::facts(&Status::from_draft(draft, about, None, Timestamp(1))).stalled.unwrap()
    };
    let mut said = "not described in order".to_owned();
    for n in 0.. {
        let next = stalled(&format!("möwe does not become ready: {said}"));
        if next == said {
            break;
        }
        assert!(n < 100 && next.len() < 400, "{next}");
        said = next;
    }
}

fn summary(name: &str) -> ContainerSummary {
    ContainerSummary {
        id: ContainerId::new(name),
        name: name.to_owned(),
        image: ImageRef::parse(IMAGE).unwrap(),
        running: false,
        started_at: None,
        restarts: 0,
        exit_code: None,
        revision: String::new(),
        ports: Vec::new(),
        stand_in: None,
    }
}
