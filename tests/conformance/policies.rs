//! Docker's own restart policies, while the engine runs.

use std::time::Duration;

use env_manager::engine::{Engine, ErrorKind};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, RestartPolicy};

use crate::rig::{Behaves, Rig};

const GRACE: Duration = Duration::from_secs(5);

scenarios![
    one_that_crashes_is_restarted_and_counted,
    failures_are_retried_so_often_and_no_more,
    one_that_ends_well_is_restarted_by_always_alone,
    one_that_restarts_is_stopped_before_it_is_renamed,
    one_that_restarts_is_renamed_or_disconnected_only_while_it_runs,
    what_is_killed_by_a_call_is_not_restarted,
    a_start_by_a_call_counts_anew,
    a_policy_holds_from_the_next_end_on,
];

fn crashing(rig: &impl Rig, part: &str, code: u8, restart: RestartPolicy) -> ContainerSpec {
    ContainerSpec { restart, ..rig.spec(part, Behaves::Exits(code)) }
}

async fn one_that_crashes_is_restarted_and_counted(rig: &impl Rig) {
    for (part, restart) in [
        ("a", RestartPolicy::Always),
        ("b", RestartPolicy::UnlessStopped),
        ("c", RestartPolicy::OnFailure { max_retries: 0 }),
    ] {
        let id = rig.run(crashing(rig, part, 3, restart)).await;
        let seen = rig.wait(&id, "restarting", |c| c.state == RunState::Restarting && c.restarts > 1).await;
        assert_eq!((seen.exit_code, seen.is_running()), (Some(3), true), "{restart}");
        let later = rig.wait(&id, "restarted", |c| c.restarts > seen.restarts).await;
        assert!(later.started_at > Some(later.created_at), "{later:?}");
        rig.engine().remove_container(&id).await.unwrap();
    }
}

async fn failures_are_retried_so_often_and_no_more(rig: &impl Rig) {
    let id = rig.run(crashing(rig, "a", 3, RestartPolicy::OnFailure { max_retries: 2 })).await;
    let seen = rig.wait(&id, "given up", |c| c.state == RunState::Exited).await;
    assert_eq!((seen.restarts, seen.exit_code), (2, Some(3)));
}

async fn one_that_ends_well_is_restarted_by_always_alone(rig: &impl Rig) {
    let done = rig.run(crashing(rig, "a", 0, RestartPolicy::OnFailure { max_retries: 0 })).await;
    let again = rig.run(crashing(rig, "b", 0, RestartPolicy::Always)).await;
    rig.wait(&again, "restarted", |c| c.restarts > 1).await;
    let seen = rig.wait(&done, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!((seen.restarts, seen.exit_code), (0, Some(0)));
}

async fn one_that_restarts_is_stopped_before_it_is_renamed(rig: &impl Rig) {
    let id = rig.run(crashing(rig, "a", 3, RestartPolicy::Always)).await;
    rig.wait(&id, "restarting", |c| c.state == RunState::Restarting && c.restarts > 2).await;
    rig.engine().set_restart_policy(&id, RestartPolicy::No).await.unwrap();
    rig.engine().stop(&id, GRACE).await.unwrap();
    let seen = rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!((seen.config.restart, seen.exit_code), (RestartPolicy::No, Some(3)));
    rig.engine().rename(&id, &rig.name("a.old")).await.unwrap();
}

async fn one_that_restarts_is_renamed_or_disconnected_only_while_it_runs(rig: &impl Rig) {
    let network = rig.network("n").await;
    let spec = ContainerSpec { network_mode: None, ..crashing(rig, "a", 3, RestartPolicy::Always) };
    let mut create = rig.creation(spec);
    create.network = Some(network.clone());
    let id = rig.engine().create_container(&create).await.unwrap();
    rig.engine().start(&id).await.unwrap();
    // Long enough for two calls: the waits double.
    rig.wait(&id, "restarting", |c| c.state == RunState::Restarting && c.restarts > 4).await;
    let error = rig.engine().rename(&id, &rig.name("b")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Other, "not gone: {error}");
    assert_eq!(rig.owned(&id).await.name, rig.name("a"));
    // The engine says that it is not connected, which it is, and stays.
    rig.engine().disconnect(&id.0, &network.id.0, false).await.unwrap();
    assert_eq!(rig.owned(&id).await.endpoints.len(), 1);
    rig.engine().remove_container(&id).await.expect("by force");
}

async fn what_is_killed_by_a_call_is_not_restarted(rig: &impl Rig) {
    let spec = rig.spec("a", Behaves::Sleeps);
    let id = rig.run(ContainerSpec { restart: RestartPolicy::Always, ..spec }).await;
    rig.kill(&id);
    let seen = rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!((seen.exit_code, seen.restarts), (Some(137), 0));
    rig.engine().start(&id).await.unwrap();
    assert_eq!(rig.state(&id).await, RunState::Running);
}

async fn a_start_by_a_call_counts_anew(rig: &impl Rig) {
    let id = rig.run(crashing(rig, "a", 3, RestartPolicy::OnFailure { max_retries: 2 })).await;
    let first = rig.wait(&id, "given up", |c| c.state == RunState::Exited).await;
    rig.engine().start(&id).await.unwrap();
    let seen = rig.wait(&id, "running or restarting", |c| c.started_at > first.started_at).await;
    assert!(seen.restarts < 2, "{seen:?}");
    let second =
        rig.wait(&id, "given up again", |c| c.state == RunState::Exited && c.finished_at > first.finished_at).await;
    assert_eq!(second.restarts, 2);
}

async fn a_policy_holds_from_the_next_end_on(rig: &impl Rig) {
    let id = rig.run(crashing(rig, "a", 3, RestartPolicy::No)).await;
    rig.engine().set_restart_policy(&id, RestartPolicy::Always).await.unwrap();
    rig.wait(&id, "restarted", |c| c.restarts > 0).await;
    rig.engine().set_restart_policy(&id, RestartPolicy::No).await.unwrap();
    let seen = rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!(seen.config.restart, RestartPolicy::No);
}
