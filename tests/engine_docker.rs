//! The adapter on a real engine: what `docs/engine.md` and the `Engine` trait promise.

#[path = "common/engine.rs"]
mod common;

use std::time::Duration;

use common::Scope;
use env_manager::engine::{Engine, ErrorKind};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::RestartPolicy;

#[tokio::test]
async fn the_version_is_negotiated_and_written_into_each_request() {
    let info = common::engine().info().await.unwrap();
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
