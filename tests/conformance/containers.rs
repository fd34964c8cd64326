//! Containers: names, states, and calls that find the work done.

use std::time::Duration;

use env_manager::engine::{ContainerFilter, Engine, ErrorKind, Inspected};
use env_manager::resource::container::ContainerId;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, NamespaceMode, RestartPolicy};

use crate::rig::{Behaves, Rig};

const GRACE: Duration = Duration::from_secs(5);

scenarios![
    a_name_that_is_taken_is_refused_at_create_and_rename_and_names_its_holder,
    a_rename_to_its_own_name_is_done,
    what_is_started_or_stopped_twice_is_done,
    a_stop_of_what_never_ran_or_has_ended_changes_nothing,
    a_paused_one_is_stopped_but_not_started,
    a_deaf_one_is_killed_after_its_grace,
    a_start_clears_what_the_last_run_left,
    a_removal_leaves_the_name_free_and_a_second_one_is_done,
    a_removal_while_removing_waits_for_the_end,
    what_is_gone_is_not_found,
    a_container_is_found_by_its_whole_name_or_id_only,
    what_bears_no_stack_label_is_foreign,
    a_prune_takes_what_does_not_run,
    a_command_that_is_not_there_fails_the_start_or_ends_it_at_once,
    a_shared_namespace_needs_a_running_holder,
];

async fn a_name_that_is_taken_is_refused_at_create_and_rename_and_names_its_holder(rig: &impl Rig) {
    let spec = |part| rig.spec(part, Behaves::Sleeps);
    let (a, b) = (rig.create(spec("a")).await, rig.create(spec("b")).await);
    let holder = ErrorKind::NameTaken { holder: Some(a.0.to_string()) };
    let error = rig.engine().create_container(&rig.creation(spec("a"))).await.unwrap_err();
    assert_eq!(error.kind, holder, "{error}");
    let error = rig.engine().rename(&b, &rig.name("a")).await.unwrap_err();
    assert_eq!(error.kind, holder, "{error}");
    assert_eq!(rig.owned(&b).await.name, rig.name("b"));
    // Running ones alike.
    rig.engine().start(&b).await.unwrap();
    let error = rig.engine().rename(&b, &rig.name("a")).await.unwrap_err();
    assert_eq!(error.kind, holder, "{error}");
    rig.engine().rename(&b, &rig.name("b.old")).await.unwrap();
    rig.create(spec("b")).await;
}

async fn a_rename_to_its_own_name_is_done(rig: &impl Rig) {
    let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    rig.engine().rename(&id, &rig.name("a")).await.expect("it bears the name");
    rig.engine().start(&id).await.unwrap();
    rig.engine().rename(&id, &rig.name("a")).await.expect("it bears the name");
    assert_eq!(rig.owned(&id).await.name, rig.name("a"));
}

async fn what_is_started_or_stopped_twice_is_done(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::Sleeps)).await;
    let first = rig.owned(&id).await;
    rig.engine().start(&id).await.expect("it runs");
    let second = rig.owned(&id).await;
    assert_eq!((second.state, second.started_at), (RunState::Running, first.started_at));
    rig.engine().stop(&id, GRACE).await.unwrap();
    let first = rig.owned(&id).await;
    assert_eq!((first.state, first.exit_code), (RunState::Exited, Some(143)));
    rig.engine().stop(&id, GRACE).await.expect("it has ended");
    assert_eq!(rig.owned(&id).await, first);
}

async fn a_stop_of_what_never_ran_or_has_ended_changes_nothing(rig: &impl Rig) {
    let created = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    rig.engine().stop(&created, GRACE).await.unwrap();
    let seen = rig.owned(&created).await;
    assert_eq!((seen.state, seen.started_at, seen.finished_at), (RunState::Created, None, None));
    let ended = rig.run(rig.spec("b", Behaves::Exits(3))).await;
    let before = rig.wait(&ended, "exited", |c| c.state == RunState::Exited).await;
    rig.engine().stop(&ended, GRACE).await.unwrap();
    let after = rig.owned(&ended).await;
    assert_eq!((after.exit_code, &after), (Some(3), &before));
}

async fn a_paused_one_is_stopped_but_not_started(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::Sleeps)).await;
    rig.pause(&id);
    assert_eq!(rig.state(&id).await, RunState::Paused);
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Other, "{error}");
    assert_eq!(rig.state(&id).await, RunState::Paused);
    rig.engine().stop(&id, GRACE).await.unwrap();
    assert_eq!(rig.state(&id).await, RunState::Exited);
    rig.engine().start(&id).await.unwrap();
    rig.pause(&id);
    rig.unpause(&id);
    assert_eq!(rig.state(&id).await, RunState::Running);
    rig.pause(&id);
    rig.engine().remove_container(&id).await.expect("by force");
}

async fn a_deaf_one_is_killed_after_its_grace(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::IsDeaf)).await;
    rig.engine().stop(&id, Duration::from_secs(1)).await.unwrap();
    let seen = rig.owned(&id).await;
    assert_eq!((seen.state, seen.exit_code, seen.oom_killed), (RunState::Exited, Some(137), false));
}

async fn a_start_clears_what_the_last_run_left(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::Exits(3))).await;
    let ended = rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!((ended.exit_code, ended.restarts), (Some(3), 0));
    assert!(ended.finished_at >= ended.started_at, "{ended:?}");
    rig.engine().start(&id).await.unwrap();
    let again = rig.wait(&id, "ended again", |c| c.finished_at > ended.finished_at).await;
    assert!(again.started_at > ended.started_at, "{again:?}");
    assert_eq!(again.created_at, ended.created_at);
}

async fn a_removal_leaves_the_name_free_and_a_second_one_is_done(rig: &impl Rig) {
    for _ in 0..2 {
        let id = rig.run(rig.spec("a", Behaves::Sleeps)).await;
        rig.engine().remove_container(&id).await.unwrap();
        assert_eq!(rig.engine().inspect_container(&id.0).await.unwrap(), None);
        rig.engine().remove_container(&id).await.expect("it is gone");
    }
}

async fn a_removal_while_removing_waits_for_the_end(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::Sleeps)).await;
    let engine = rig.engine();
    let (a, b) = tokio::join!(engine.remove_container(&id), engine.remove_container(&id));
    a.unwrap();
    b.unwrap();
    let again = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    assert_ne!(again, id);
}

async fn what_is_gone_is_not_found(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::Sleeps)).await;
    rig.engine().remove_container(&id).await.unwrap();
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = rig.engine().stop(&id, GRACE).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = rig.engine().rename(&id, &rig.name("b")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = rig.engine().set_restart_policy(&id, RestartPolicy::No).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = rig.engine().exec(&id, &["true".to_owned()], &[], GRACE).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert_eq!(rig.engine().files_marker(&id).await.unwrap(), None);
    assert_eq!(rig.engine().log_tail(&id, 1).await.unwrap_err().kind, ErrorKind::NotFound);
}

async fn a_container_is_found_by_its_whole_name_or_id_only(rig: &impl Rig) {
    let id = rig.create(rig.spec("abc", Behaves::Sleeps)).await;
    let there = async |what: &str| rig.engine().inspect_container(what).await.unwrap().is_some();
    assert!(there(&id.0).await && there(&rig.name("abc")).await);
    assert!(!there(&id.0[..12]).await && !there(&rig.name("ab")).await && !there("em-test-nothing").await);
}

async fn what_bears_no_stack_label_is_foreign(rig: &impl Rig) {
    rig.foreign("theirs", Behaves::Sleeps);
    let found = rig.engine().inspect_container(&rig.name("theirs")).await.unwrap();
    assert!(matches!(&found, Some(Inspected::Foreign(f)) if f.name == rig.name("theirs")), "{found:?}");
    let ours = rig.create(rig.spec("ours", Behaves::Sleeps)).await;
    let filter = ContainerFilter { stack: Some(rig.scope().to_owned()), service: None };
    let rows = rig.engine().list_containers(&filter).await.unwrap();
    assert_eq!(rows.iter().map(|r| &r.id).collect::<Vec<_>>(), [&ours]);
    let filter = ContainerFilter { service: Some("other".to_owned()), ..filter };
    assert_eq!(rig.engine().list_containers(&filter).await.unwrap(), []);
    let all = rig.engine().list_containers(&ContainerFilter::default()).await.unwrap();
    let theirs = all.iter().find(|r| r.name == rig.name("theirs")).unwrap();
    assert_eq!((theirs.state, &theirs.owner), (RunState::Created, &None));
    let error = rig.engine().rename(&ours, &rig.name("theirs")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NameTaken { holder: Some(theirs.id.0.to_string()) }, "{error}");
}

async fn a_prune_takes_what_does_not_run(rig: &impl Rig) {
    let created = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    let ended = rig.run(rig.spec("b", Behaves::Exits(0))).await;
    let spec = rig.spec("c", Behaves::Exits(1));
    let restarting = rig.run(ContainerSpec { restart: RestartPolicy::Always, ..spec }).await;
    let paused = rig.run(rig.spec("d", Behaves::Sleeps)).await;
    rig.pause(&paused);
    rig.wait(&ended, "exited", |c| c.state == RunState::Exited).await;
    rig.wait(&restarting, "restarting", |c| c.state == RunState::Restarting && c.restarts > 2).await;
    rig.prune();
    let there = async |id: &ContainerId| rig.engine().inspect_container(&id.0).await.unwrap().is_some();
    assert_eq!([there(&created).await, there(&ended).await], [false; 2]);
    assert_eq!([there(&restarting).await, there(&paused).await], [true; 2]);
}

async fn a_command_that_is_not_there_fails_the_start_or_ends_it_at_once(rig: &impl Rig) {
    let spec = rig.spec("a", Behaves::HasNoCommand);
    let id = rig.create(ContainerSpec { init: false, ..spec }).await;
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    let seen = rig.owned(&id).await;
    assert_eq!((seen.state, seen.started_at), (RunState::Created, None));
    assert!(seen.error.is_some_and(|e| e.contains("executable file not found")), "{error}");
    // The first process starts, and finds out.
    let id = rig.run(rig.spec("b", Behaves::HasNoCommand)).await;
    let seen = rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!((seen.exit_code, seen.error), (Some(127), None));
}

async fn a_shared_namespace_needs_a_running_holder(rig: &impl Rig) {
    let holder = rig.run(rig.spec("a", Behaves::Sleeps)).await;
    let pid_mode = Some(NamespaceMode::Service("holder".to_owned()));
    let mut create = rig.creation(ContainerSpec { pid_mode, ..rig.spec("b", Behaves::Sleeps) });
    let error = rig.engine().create_container(&create).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NamespaceGone, "nobody is known: {error}");
    create.namespaces = [("holder".to_owned(), holder.clone())].into();
    let id = rig.engine().create_container(&create).await.unwrap();
    rig.engine().start(&id).await.unwrap();
    rig.engine().stop(&id, GRACE).await.unwrap();
    rig.engine().stop(&holder, GRACE).await.unwrap();
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NamespaceGone, "stopped: {error}");
    rig.engine().remove_container(&holder).await.unwrap();
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NamespaceGone, "removed: {error}");
}
