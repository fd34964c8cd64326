//! Limits that are changed in place.

use crate::common::{Scope, inspect};
use env_manager::engine::docker::Docker;
use env_manager::engine::{Engine, ErrorKind, ExecResult};
use env_manager::resource::container::ContainerId;
use env_manager::resource::limits::{Limits, MemoryLimit};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, Resources, RestartPolicy};
use env_manager::resource::units::{Bytes, NanoCpus};

const MIB: u64 = 1 << 20;

fn wanted() -> Resources {
    Resources {
        memory: Some(Bytes(64 * MIB)),
        memory_reservation: Some(Bytes(32 * MIB)),
        swap: Some(Bytes(16 * MIB)),
        cpus: Some(NanoCpus(500_000_000)),
        cpuset: Some("0".to_owned()),
        cpu_shares: Some(512),
        pids: Some(99),
        ..Resources::default()
    }
}

async fn set(engine: &Docker, id: &ContainerId, was: &Resources, wanted: &Resources) {
    engine.update_limits(id, &Limits::between(was, wanted)).await.unwrap();
}

/// What the engine fills in by itself aside.
async fn limits(scope: &Scope, id: &ContainerId) -> Resources {
    Resources { shm_size: None, ..scope.owned(id).await.config.resources }
}

#[tokio::test]
async fn p10_every_limit_is_set_and_changed_in_place_whether_it_runs_or_not() {
    let scope = Scope::new("limits");
    let engine = &scope.engine;
    for state in [RunState::Created, RunState::Running, RunState::Exited] {
        let id = scope.create(scope.spec("a")).await;
        if state != RunState::Created {
            engine.start(&id).await.unwrap();
        }
        if state == RunState::Exited {
            engine.stop(&id, std::time::Duration::ZERO).await.unwrap();
        }
        set(engine, &id, &Resources::default(), &wanted()).await;
        assert_eq!(limits(&scope, &id).await, wanted(), "{state:?}");
        let more = Resources { memory: Some(Bytes(256 * MIB)), cpus: Some(NanoCpus(250_000_000)), ..wanted() };
        set(engine, &id, &wanted(), &more).await;
        assert_eq!(limits(&scope, &id).await, more, "{state:?}");
        // Swap that is not asked for is as much again, as at creation.
        let unasked = Resources { memory: Some(Bytes(128 * MIB)), swap: None, ..more.clone() };
        set(engine, &id, &more, &unasked).await;
        assert_eq!(limits(&scope, &id).await, Resources { swap: Some(Bytes(128 * MIB)), ..unasked.clone() });
        // The one that is taken away.
        set(engine, &id, &unasked, &Resources { pids: None, ..unasked.clone() }).await;
        assert_eq!(limits(&scope, &id).await.pids, None, "{state:?}: {}", inspect(&id.0)["HostConfig"]["PidsLimit"]);
        engine.remove_container(&id).await.unwrap();
    }
}

#[tokio::test]
async fn p10_limits_hold_in_the_running_process() {
    let scope = Scope::new("limits-run");
    let id = scope.run(scope.spec("a")).await;
    let limits = Limits { pids: Some(3), ..Limits::default() };
    scope.engine.update_limits(&id, &limits).await.unwrap();
    let fork = ["sh", "-c", "sleep 9 & sleep 9 & sleep 9 & true"].map(str::to_owned);
    let ran = async || scope.engine.exec(&id, &fork, &[], std::time::Duration::from_secs(20)).await;
    let refused = match ran().await {
        Ok(ExecResult::Ended(ended)) => ended.exit_code != 0 || ended.output.contains("fork"),
        Ok(ExecResult::TimedOut { .. }) => false,
        Err(_) => true,
    };
    assert!(refused, "three processes are there already");
    scope.engine.update_limits(&id, &Limits { pids: Some(0), ..Limits::default() }).await.unwrap();
    let again = ran().await.unwrap();
    assert!(matches!(&again, ExecResult::Ended(e) if e.exit_code == 0 && e.output.is_empty()), "{again:?}");
}

#[tokio::test]
async fn memory_below_what_is_in_use_is_refused_and_changes_nothing() {
    let scope = Scope::new("limits-use");
    let eat = "x=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do x=$x$x; done; \
               echo full; sleep 1000000; true";
    let resources = Resources { memory: Some(Bytes(256 * MIB)), swap: Some(Bytes(0)), ..Resources::default() };
    let command = Some(["sh", "-c", eat].map(str::to_owned).into());
    let id = scope.run(ContainerSpec { command, resources: resources.clone(), ..scope.spec("a") }).await;
    let full = crate::common::eventually(async || {
        let lines = scope.engine.log_tail(&id, 1).await.unwrap();
        lines.iter().any(|l| l.contains("full")).then_some(())
    });
    tokio::time::timeout(std::time::Duration::from_mins(1), full).await.expect("it eats 16 MiB");
    let before = limits(&scope, &id).await;
    let less = MemoryLimit { memory: Bytes(8 * MIB), swap: Some(Bytes(0)) };
    let error = scope.engine.update_limits(&id, &Limits { memory: Some(less), ..Limits::default() }).await.unwrap_err();
    assert_eq!((error.operation, &error.kind), ("update limits of container", &ErrorKind::Other), "{error}");
    assert_eq!(limits(&scope, &id).await, before);
    assert_eq!(scope.owned(&id).await.state, RunState::Running);
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_refused_for_good() {
    let scope = Scope::new("limits-no");
    let id = scope.run(scope.spec("a")).await;
    let beyond = Limits { cpuset: Some("0-999".to_owned()), ..Limits::default() };
    let error = scope.engine.update_limits(&id, &beyond).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert_eq!(limits(&scope, &id).await.cpuset, None);
}

#[tokio::test]
async fn limits_of_a_restarting_container_are_changed() {
    let scope = Scope::new("limits-restarting");
    let command = Some(["sh", "-c", "exit 3"].map(str::to_owned).into());
    let id = scope.run(ContainerSpec { command, restart: RestartPolicy::Always, ..scope.spec("a") }).await;
    scope.wait(&id, "restarting", |c| c.state == RunState::Restarting && c.restarts > 2).await;
    set(&scope.engine, &id, &Resources::default(), &wanted()).await;
    assert_eq!(limits(&scope, &id).await, wanted());
}
