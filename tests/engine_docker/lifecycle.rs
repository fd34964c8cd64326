//! Containers: from created to removed, and whose they are.

use std::time::Duration;

use crate::common::{Scope, docker};
use env_manager::engine::{ContainerFilter, Engine, ErrorKind, Inspected};
use env_manager::resource::image::ImageRef;
use env_manager::resource::observed::{Health, RunState};
use env_manager::resource::spec::{ContainerSpec, RestartPolicy};

#[tokio::test]
async fn the_version_is_negotiated_and_written_into_each_request() {
    let info = crate::common::engine().info().await.unwrap();
    assert!(info.version.contains('.') && info.api_version.starts_with("1."), "{info:?}");
    assert_eq!((info.address.as_str(), info.local), ("unix:///var/run/docker.sock", true));
}

#[tokio::test]
async fn a_container_is_created_started_stopped_renamed_and_removed() {
    let scope = Scope::new("life");
    let engine = &scope.engine;
    let id = scope.create(scope.spec("a")).await;
    let created = scope.owned(&id).await;
    assert_eq!((created.state, created.started_at, created.exit_code), (RunState::Created, None, None));
    assert_eq!(created.name, scope.name("a"));

    engine.start(&id).await.unwrap();
    engine.start(&id).await.expect("starting what runs is done already");
    let running = scope.owned(&id).await;
    assert_eq!((running.state, running.finished_at), (RunState::Running, None));
    assert!(running.started_at >= Some(running.created_at), "{running:?}");

    engine.set_restart_policy(&id, RestartPolicy::OnFailure { max_retries: 3 }).await.unwrap();
    assert_eq!(scope.owned(&id).await.config.restart, RestartPolicy::OnFailure { max_retries: 3 });

    engine.rename(&id, &scope.name("b")).await.unwrap();
    engine.rename(&id, &scope.name("b")).await.expect("it bears the name already");
    assert_eq!(scope.owned(&id).await.name, scope.name("b"));

    engine.stop(&id, Duration::from_secs(5)).await.unwrap();
    engine.stop(&id, Duration::from_secs(5)).await.expect("stopping what does not run is done already");
    let stopped = scope.owned(&id).await;
    assert_eq!((stopped.state, stopped.exit_code), (RunState::Exited, Some(143)));
    assert!(stopped.finished_at > stopped.started_at);

    engine.remove_container(&id).await.unwrap();
    engine.remove_container(&id).await.expect("removing what is gone is done already");
    assert_eq!(engine.inspect_container(&id.0).await.unwrap(), None);
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_taken_name_names_its_holder() {
    let scope = Scope::new("name");
    let (a, b) = (scope.create(scope.spec("a")).await, scope.create(scope.spec("b")).await);
    let holder = ErrorKind::NameTaken { holder: Some(a.0.to_string()) };
    let error = scope.engine.create_container(&scope.create_of(scope.spec("a"))).await.unwrap_err();
    assert_eq!(error.kind, holder, "{error}");
    let error = scope.engine.rename(&b, &scope.name("a")).await.unwrap_err();
    assert_eq!(error.kind, holder, "{error}");
}

#[tokio::test]
async fn a_container_is_found_by_its_whole_name_or_id_only() {
    let scope = Scope::new("find");
    let id = scope.create(scope.spec("a")).await;
    let find = async |what: &str| scope.engine.inspect_container(what).await.unwrap().is_some();
    assert!(find(&id.0).await && find(&scope.name("a")).await);
    // The engine itself finds it by the beginning of its id.
    assert!(!find(&id.0[..12]).await && !find(&scope.name("")).await && !find("em-test-nothing").await);
}

#[tokio::test]
async fn containers_without_a_stack_label_are_foreign() {
    let scope = Scope::new("foreign");
    let name = scope.name("theirs");
    let id = docker(&["create", "--name", &name, "--label", "dev.env-manager.service=web", crate::common::IMAGE]);
    match scope.engine.inspect_container(&name).await.unwrap() {
        Some(Inspected::Foreign(foreign)) => {
            assert_eq!((&*foreign.id.0, foreign.image.as_str(), foreign.owner), (&*id, crate::common::IMAGE, None));
        }
        other => panic!("{other:?}"),
    }
    let ours = scope.create(scope.spec("ours")).await;
    let filter = ContainerFilter { stack: Some(scope.name.clone()), service: None };
    let rows = scope.engine.list_containers(&filter).await.unwrap();
    assert_eq!(rows.iter().map(|r| &r.id).collect::<Vec<_>>(), [&ours]);
    let filter = ContainerFilter { service: Some("other".to_owned()), ..filter };
    assert_eq!(scope.engine.list_containers(&filter).await.unwrap(), []);
    let all = scope.engine.list_containers(&ContainerFilter::default()).await.unwrap();
    let theirs = all.iter().find(|r| r.name == name).unwrap();
    assert_eq!((theirs.state, &theirs.owner), (RunState::Created, &None));
}

#[tokio::test]
async fn a_restarting_container_is_stopped_before_it_is_renamed() {
    let scope = Scope::new("restarting");
    let engine = &scope.engine;
    let command = Some(["sh", "-c", "exit 3"].map(str::to_owned).into());
    let id = scope.run(ContainerSpec { command, restart: RestartPolicy::Always, ..scope.spec("a") }).await;
    let restarting = scope.wait(&id, "restarting", |c| c.state == RunState::Restarting && c.restarts > 1).await;
    assert_eq!(restarting.exit_code, Some(3));
    engine.set_restart_policy(&id, RestartPolicy::No).await.unwrap();
    engine.stop(&id, Duration::ZERO).await.unwrap();
    let stopped = scope.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!(stopped.config.restart, RestartPolicy::No);
    engine.rename(&id, &scope.name("a.old")).await.unwrap();
}

#[tokio::test]
async fn a_paused_container_is_paused_and_can_be_stopped() {
    let scope = Scope::new("paused");
    let id = scope.run(scope.spec("a")).await;
    docker(&["pause", &id.0]);
    assert_eq!(scope.owned(&id).await.state, RunState::Paused);
    scope.engine.stop(&id, Duration::ZERO).await.unwrap();
    assert_eq!(scope.owned(&id).await.state, RunState::Exited);
}

#[tokio::test]
async fn two_removals_at_once_leave_the_name_free() {
    let scope = Scope::new("remove");
    for _ in 0..3 {
        let id = scope.run(scope.spec("a")).await;
        let (a, b) = tokio::join!(scope.engine.remove_container(&id), scope.engine.remove_container(&id));
        a.unwrap();
        b.unwrap();
        let again = scope.create(scope.spec("a")).await;
        scope.engine.remove_container(&again).await.unwrap();
    }
}

#[tokio::test]
async fn an_images_health_check_is_off_unless_asked_for() {
    let scope = Scope::new("health");
    let base = scope.create(scope.spec("base")).await;
    let image = format!("{}:1", scope.name("image"));
    let check = r#"HEALTHCHECK --interval=1s CMD ["sh", "-c", "echo all is well"]"#;
    docker(&["commit", "--change", check, "--change", "VOLUME /v", "--change", "ENTRYPOINT []", &base.0, &image]);
    let reference = ImageRef::parse(&image).unwrap();
    let info = scope.engine.inspect_image(&image).await.unwrap().unwrap();
    assert!(info.has_healthcheck && info.volumes.contains("/v"), "{info:?}");
    assert_eq!(scope.engine.inspect_image("em-test/nothing:1").await.unwrap(), None);

    let on = scope.run(ContainerSpec { image: reference.clone(), image_healthcheck: true, ..scope.spec("on") }).await;
    let off = scope.run(ContainerSpec { image: reference, ..scope.spec("off") }).await;
    let healthy = scope.wait(&on, "healthy", |c| c.health == Some(Health::Healthy)).await;
    assert!(healthy.config.image_healthcheck);
    assert_eq!(healthy.anonymous.keys().collect::<Vec<_>>(), ["/v"], "the image's VOLUME");
    let off = scope.owned(&off).await;
    assert_eq!((off.health, off.config.image_healthcheck), (None, false));
    docker(&["rm", "-fv", &on.0, &off.id.0]);
    docker(&["rmi", &image]);
}
