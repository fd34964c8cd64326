//! Services that env-manager itself starts again (`restart: Managed`), and what is said of runs that ended.

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::engine::{Inspected, LogStream};
use crate::resource::desired::DesiredSpec;
use crate::resource::secret::Secret;

fn managed(name: &str, needs: &[(&str, DependencyCondition)]) -> ServiceSpec {
    let mut spec = service(name, needs);
    spec.container.restart = RestartPolicy::Managed;
    spec
}

/// A loop that runs until it is dropped.
struct Daemon {
    controller: Controller<FakeEngine>,
    _tasks: JoinSet<()>,
}

impl Daemon {
    fn start(world: &World, set: &DesiredSet) -> Self {
        let controller = world.controller(set, false);
        for key in controller.known() {
            controller.shared.look_again(key, Trigger::ManifestChanged);
        }
        let mut tasks = JoinSet::new();
        let running = controller.clone();
        tasks.spawn(async move { running.run(CancellationToken::new()).await.unwrap() });
        Self { controller, _tasks: tasks }
    }

    /// Waits until the engine has been told so often to start this container, and says when that was, in
    /// seconds since `from`.
    async fn started(&self, world: &World, name: &str, times: usize, from: Instant) -> u64 {
        let call = format!("start {name}");
        while world.engine.calls().iter().filter(|c| **c == call).count() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(from.elapsed() < Duration::from_hours(2), "{:?}", world.engine.calls());
        }
        from.elapsed().as_secs()
    }

    async fn ready(&self, name: &str) {
        wait_until_ready(&self.controller, name).await;
    }
}

#[tokio::test(start_paused = true)]
async fn p13_a_managed_service_is_started_at_once_then_after_10_s_doubling_to_5_minutes() {
    let world = World::new();
    // Exit code 0 is an end like any other.
    world.engine.behave("redis", Behaviour::Exits(0));
    let set = set([managed("redis", &[])]);
    let daemon = Daemon::start(&world, &set);
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    // Of the first start nothing is said: it creates.
    daemon.started(&world, "redis", 1, last).await;
    for n in 2..=10 {
        pauses.push(daemon.started(&world, "redis", n, last).await);
        last = Instant::now();
    }
    assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    let status = status(&daemon.controller, "redis");
    assert_eq!((status.phase, status.reason), (Phase::BackOff, Reason::CrashLoop));
    assert!(status.is_stalled() && status.message.contains("exited with code 0"), "{}", status.message);
    assert_eq!(world.engine.calls().iter().filter(|c| c.starts_with("create redis")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn p13_the_pauses_begin_anew_after_ten_minutes_of_readiness_and_not_before() {
    let world = World::new();
    let set = set([managed("redis", &[])]);
    let daemon = Daemon::start(&world, &set);
    daemon.ready("redis").await;
    let mut starts = 1;
    let mut pauses = Vec::new();
    for ready_for in [60, 60, 60, 599, 601, 60] {
        daemon.ready("redis").await;
        tokio::time::sleep(Duration::from_secs(ready_for)).await;
        world.engine.end("redis", 1, true);
        starts += 1;
        pauses.push(daemon.started(&world, "redis", starts, Instant::now()).await);
        // Its readiness is a state of before until it has been looked at.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pauses, [0, 10, 20, 40, 0, 10]);
}

#[tokio::test(start_paused = true)]
async fn p08_after_an_outage_managed_services_are_started_in_order() {
    let world = World::new();
    let set = set([
        managed("a-router", &[("b-node", DependencyCondition::Ready)]),
        managed("b-node", &[("c-redis", DependencyCondition::Ready)]),
        managed("c-redis", &[]),
    ]);
    let daemon = Daemon::start(&world, &set);
    for name in ["a-router", "b-node", "c-redis"] {
        daemon.ready(name).await;
    }
    world.engine.forget_calls();
    world.engine.go_away("no such file: docker.sock");
    for name in ["a-router", "b-node", "c-redis"] {
        world.engine.end(name, 0, false);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.engine.come_back();
    daemon.started(&world, "a-router", 1, Instant::now()).await;
    assert_eq!(world.engine.calls(), ["start c-redis", "start b-node", "start a-router"]);
}

#[tokio::test(start_paused = true)]
async fn p08_what_ended_with_its_dependency_waits_for_it_though_nobody_has_told_yet() {
    let world = World::new();
    let set = set([managed("a-router", &[("c-redis", DependencyCondition::Ready)]), managed("c-redis", &[])]);
    let daemon = Daemon::start(&world, &set);
    daemon.ready("a-router").await;
    world.engine.forget_calls();
    // The event of the dependency's end is lost, or comes later.
    world.engine.end("c-redis", 137, false);
    world.engine.end("a-router", 137, true);
    daemon.started(&world, "a-router", 1, Instant::now()).await;
    assert_eq!(world.engine.calls(), ["start c-redis", "start a-router"]);
    daemon.ready("a-router").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_on_purpose_is_started_at_once_when_it_is_wanted_again() {
    let world = World::new();
    world.engine.behave("redis", Behaviour::Exits(1));
    let looping = set([managed("redis", &[])]);
    let daemon = Daemon::start(&world, &looping);
    daemon.started(&world, "redis", 4, Instant::now()).await;
    let turn = |state| {
        let mut spec = managed("redis", &[]);
        spec.state = state;
        let mut state_dir = StateDir::open(world.state.path()).unwrap();
        daemon.controller.set_desired(&Intent::of(&set([spec]), Arc::from("2")), &mut state_dir);
        daemon.controller.shared.look_again(ResourceKey::service("redis"), Trigger::ManifestChanged);
    };
    turn(DesiredState::Stopped);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&daemon.controller, "redis").phase, Phase::Stopped);
    world.engine.forget_calls();
    turn(DesiredState::Running);
    assert_eq!(daemon.started(&world, "redis", 1, Instant::now()).await, 0);
}

#[tokio::test(start_paused = true)]
async fn p13_last_words_are_read_once_for_each_end_and_p15_without_secrets() {
    let world = World::new();
    let mut set = set([managed("redis", &[])]);
    let key = ResourceKey::service("redis");
    let secrets = BTreeMap::from([("TOKEN".to_owned(), Secret::new("hunter2"))]);
    let mut spec = managed("redis", &[]);
    let source = crate::resource::spec::SecretSource::FromEnv("TOKEN".to_owned());
    spec.container.secret_env.insert("TOKEN".to_owned(), source);
    let service = Service::new("redis", spec.clone(), secrets, BTreeMap::new());
    set.resources.insert(key.clone(), DesiredSpec::Service(Arc::new(service)));
    let daemon = Daemon::start(&world, &set);
    daemon.ready("redis").await;
    assert_eq!(daemon.controller.last_end(&key), None);
    for line in ["one", "two", "refused: hunter2", "leaving"] {
        world.engine.write("redis", LogStream::Stderr, line);
    }
    world.engine.end("redis", 3, true);
    daemon.started(&world, "redis", 2, Instant::now()).await;
    world.engine.end("redis", 3, true);
    // Many looks while it is held back.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        daemon.controller.shared.look_again(key.clone(), Trigger::Asked);
    }
    let ending = daemon.controller.last_end(&key).unwrap();
    assert_eq!(ending.how, "exited with code 3");
    assert_eq!(ending.lines, ["two", "refused: <secret>", "leaving"]);
    assert_eq!(world.engine.log_reads(), 1);

    // Its manifest has another secret by now: nobody can tell what to mask.
    let changed = BTreeMap::from([("TOKEN".to_owned(), Secret::new("another"))]);
    let frozen = Service::new("redis", spec, changed, BTreeMap::new());
    let Ok(Some(Inspected::Owned(container))) = world.engine.inspect_container("redis").await else { panic!() };
    assert!(!super::super::endings::has_known_secrets(&frozen, &container));
}
