//! Redis that is away, full, or would lose tasks; and the end of the daemon.

use std::time::Duration;

use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::lease_event::Event;
use env_manager::tasks::settings::Durability;
use tonic::Code;
use tonic_types::StatusExt;

use crate::http::get;
use crate::rig::{OK, Rig, Worker, complete, fail, soon, task, until};

async fn health_is(rig: &Rig, healthy: bool) -> v1::HealthResponse {
    until("health", || async {
        let health = rig.client.clone().health(v1::HealthRequest {}).await.unwrap().into_inner();
        (health.healthy == healthy).then_some(health)
    })
    .await
}

#[tokio::test]
async fn p20_nothing_is_taken_where_redis_could_lose_it() {
    let Some(mut rig) = Rig::with(&["--appendfsync", "everysec"], |_| {}).await else { return };
    let status = rig.client.submit_task(task("a", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let violations = status.get_details_precondition_failure().unwrap().violations;
    assert_eq!((violations[0].r#type.as_str(), violations[0].subject.as_str()), ("DURABILITY", "appendfsync"));
    let many = v1::SubmitTasksRequest { tasks: vec![task("a", ""), task("b", "")] };
    assert_eq!(rig.client.submit_tasks(many).await.unwrap_err().code(), Code::FailedPrecondition);
    let body = "{\"id\":\"a\"}";
    let headers = ["Host: localhost", "Content-Type: application/json"];
    assert_eq!(crate::http::ask(rig.daemon.http, "POST", "/queue/submit", &headers, body).await.code, 412);
    let health = until("the setting", || async {
        let health = rig.client.clone().health(v1::HealthRequest {}).await.unwrap().into_inner();
        health.services["durability"].contains("appendfsync").then_some(health)
    })
    .await;
    assert!(!health.healthy && health.services["redis"] == "ready", "{health:?}");
    assert_eq!(get(rig.daemon.http, "/health").await.code, 503);
    assert_eq!(rig.metric("queue_durable").await.to_bits(), 0.0_f64.to_bits());
    let unknown = v1::GetTaskStatusRequest { task_id: "a".to_owned() };
    assert_eq!(rig.client.get_task_status(unknown).await.unwrap_err().code(), Code::NotFound, "it was not kept");
}

#[tokio::test]
async fn relaxed_takes_it_and_says_so() {
    let relaxed = |settings: &mut env_manager::tasks::settings::TaskSettings| settings.durability = Durability::Relaxed;
    let Some(rig) = Rig::with(&["--appendfsync", "everysec"], relaxed).await else { return };
    rig.submit("a", "").await;
    assert_eq!(health_is(&rig, true).await.services["durability"], "relaxed");
    rig.metric_is("queue_ready", 1.0).await;
    rig.metric_is("queue_durable", 0.0).await;
}

#[tokio::test]
async fn while_redis_is_away_calls_are_unavailable_and_afterwards_all_goes_on() {
    let Some(mut rig) = Rig::new().await else { return };
    rig.submit_all(["a", "b"].map(|id| task(id, ""))).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 2).await;
    let lease = worker.lease().await;
    worker.lease().await;
    worker.credit("cpu_short", 1).await;
    let events = v1::StreamEventsRequest { event_types: vec!["task_completed".to_owned()], since_timestamp: 0 };
    let mut events = rig.client.stream_events(events).await.unwrap().into_inner();
    rig.redis.kill();
    let calls = [
        rig.client.submit_task(task("c", "")).await.unwrap_err(),
        rig.client.get_task_status(v1::GetTaskStatusRequest { task_id: "a".to_owned() }).await.unwrap_err(),
        rig.client.list_tasks(v1::ListTasksRequest::default()).await.unwrap_err(),
    ];
    for status in calls {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{status:?}");
    }
    let health = health_is(&rig, false).await;
    assert!(health.services["redis"] != "ready" && health.services["durability"] == "unknown", "{health:?}");
    // Numbers are still told.
    rig.metric_is("queue_ready", 0.0).await;

    rig.redis.start_again().await;
    health_is(&rig, true).await;
    assert_eq!(complete(&rig.client, &lease).await, OK, "a lease outlives it");
    assert_eq!(soon("an event", events.message()).await.unwrap().unwrap().resource_id, "a");
    // The same stream, and the credit that it had.
    rig.submit("c", "").await;
    assert_eq!(worker.lease().await.task_id, "c");
}

#[tokio::test]
async fn a_full_redis_takes_no_tasks_and_lets_workers_go_on() {
    let Some(rig) = Rig::with(&["--maxmemory", "8mb"], |_| {}).await else { return };
    let mut client = rig.client.clone();
    let large = |n: usize| v1::SubmitTaskRequest {
        id: format!("t{n:03}"),
        payload_bytes: vec![0; 500_000],
        ..Default::default()
    };
    let mut taken = 0;
    let status = loop {
        match client.submit_task(large(taken)).await {
            Ok(_) => taken += 1,
            Err(status) => break status,
        }
        assert!(taken < 100, "it is never full");
    };
    assert!(taken > 0 && status.code() == Code::ResourceExhausted, "{taken}: {status:?}");
    assert!(status.get_details_retry_info().is_some() && status.message().contains("memory"), "{status:?}");
    let mut worker = Worker::enter(&rig.client, "w").await;
    for _ in 0..taken {
        worker.credit("cpu_short", 1).await;
        let lease = worker.lease().await;
        assert_eq!(complete(&rig.client, &lease).await, OK);
    }
    until("room again", || async { rig.client.clone().submit_task(large(taken)).await.ok() }).await;
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_after_its_pause_until_it_is_dead() {
    let quick = |settings: &mut env_manager::tasks::settings::TaskSettings| {
        settings.classes.of_mut(env_manager::tasks::settings::Class::CpuShort).max_attempts = 2;
    };
    let Some(rig) = Rig::with(&[], quick).await else { return };
    rig.submit("a", "").await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 2).await;
    let first = worker.lease().await;
    assert!(!fail(&rig.client, &first, true).await.dead);
    let second = worker.lease().await;
    assert_eq!((second.attempt, second.task_id.as_str()), (2, "a"));
    assert!(fail(&rig.client, &second, true).await.dead, "attempts are used up");
    let dead = rig.status("a").await;
    assert_eq!((dead.status.as_str(), dead.error.as_str(), dead.attempts), ("failed", "it was too hard", 2));
}

#[tokio::test]
async fn the_end_of_the_daemon_is_told_to_workers_who_may_still_answer() {
    let Some(mut rig) = Rig::new().await else { return };
    rig.submit_all(["a", "b"].map(|id| task(id, ""))).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 1).await;
    let lease = worker.lease().await;
    let everything = v1::StreamTaskResultsRequest::default();
    let mut results = rig.client.stream_task_results(everything).await.unwrap().into_inner();
    let mut events = rig.client.stream_events(v1::StreamEventsRequest::default()).await.unwrap().into_inner();
    rig.daemon.shutdown.cancel();
    let Event::Drain(told) = worker.event().await else { panic!("no end of leases") };
    assert_eq!((told.reason.as_str(), told.grace_ms), ("the daemon is ending", 2_000));
    assert_eq!(worker.next().await.unwrap(), None, "the stream ends well");
    assert_eq!(complete(&rig.client, &lease).await, OK);
    for status in
        [soon("the end", results.message()).await.unwrap_err(), soon("the end", events.message()).await.unwrap_err()]
    {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the daemon is ending"));
    }
    rig.daemon.ended().await;
    assert!(tokio::net::TcpStream::connect(rig.daemon.grpc).await.is_err(), "it still listens");
}

#[tokio::test]
async fn the_end_does_not_wait_for_workers_that_do_not_answer() {
    let Some(mut rig) = Rig::new().await else { return };
    rig.submit("a", "").await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 1).await;
    let _unanswered = worker.lease().await;
    let deaf = Worker::enter(&rig.daemon.client().await, "deaf").await;
    rig.daemon.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), rig.daemon.ended()).await.expect("the daemon has ten seconds");
    drop(deaf);
}
