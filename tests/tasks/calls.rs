//! One call after the other: what it does, and why it fails.

use std::time::Duration;

use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::Extension;
use env_manager::proto::orchestrator::v1::orchestrator_service_server::SERVICE_NAME;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::rig::{OK, Rig, STALE, Worker, complete, fail, soon, task, until};

fn lease_ref(lease: &v1::lease_event::Lease) -> v1::LeaseRef {
    v1::LeaseRef { task_id: lease.task_id.clone(), lease_token: lease.lease_token.clone() }
}

/// INVALID_ARGUMENT, with this field.
#[track_caller]
fn blames<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let status = answer.expect_err("it is wrong");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().unwrap_or_else(|| panic!("no BadRequest: {status:?}"));
    assert!(details.field_violations.iter().any(|v| v.field == field), "{field}: {details:?}");
}

#[tokio::test]
async fn a_result_is_forgotten_after_its_time_and_the_id_is_free() {
    let Some(rig) = Rig::with(&[], |s| s.result_ttl = Duration::from_millis(1)).await else { return };
    let mut client = rig.client.clone();
    client.submit_task(task("a", "")).await.unwrap();
    let mut worker = Worker::enter(&rig.client, "w:1").await;
    worker.credit("cpu_short", 1).await;
    assert_eq!(complete(&rig.client, &worker.lease().await).await, OK);
    let asked = v1::GetTaskStatusRequest { task_id: "a".to_owned() };
    until("it is forgotten by a sweep", async || {
        let answer = client.clone().get_task_status(asked.clone()).await;
        answer.err().map(|status| assert_eq!(status.code(), Code::NotFound, "{status:?}"))
    })
    .await;
    let other = client.submit_task(v1::SubmitTaskRequest { priority: 7, ..task("a", "") }).await.unwrap().into_inner();
    assert!(other.success && !other.existed, "{other:?}");
}

#[tokio::test]
async fn a_task_is_submitted_leased_completed_and_its_result_is_told() {
    let Some(rig) = Rig::new().await else { return };
    let mut client = rig.client.clone();
    let answer = client.submit_task(task("a", "")).await.unwrap().into_inner();
    assert_eq!((answer.success, answer.task_id.as_str(), answer.existed), (true, "a", false));
    assert!(client.submit_task(task("a", "cpu_short")).await.unwrap().into_inner().existed, "the same");
    assert_eq!((rig.status("a").await.status.as_str(), rig.metric("env_queue_depth").await), ("pending", 1.0));

    let mut worker = Worker::enter(&rig.client, "w:1").await;
    worker.credit("cpu_short", 1).await;
    let lease = worker.lease().await;
    assert_eq!((lease.task_id.as_str(), lease.attempt, &lease.payload_json[..]), ("a", 1, &b"{\"of\":\"a\"}"[..]));
    assert_eq!((lease.max_attempts, lease.lease_ms, lease.time_limit_ms), (5, 30_000, 300_000));
    let running = rig.status("a").await;
    assert_eq!((running.status.as_str(), running.worker_id.as_str()), ("running", "w:1"));

    assert_eq!(complete(&rig.client, &lease).await, OK);
    assert_eq!(complete(&rig.client, &lease).await, OK, "repeated");
    let other = v1::lease_event::Lease { lease_token: "another".to_owned(), ..lease };
    assert_eq!(complete(&rig.client, &other).await, STALE);
    let done = rig.status("a").await;
    let result = (done.status.as_str(), done.result["n"].as_str(), &done.result_json[..]);
    assert_eq!(result, ("completed", "1", &b"{\"n\":1}"[..]));
    for (name, value) in [
        ("queue_tasks_submitted_total", 1.0),
        ("queue_tasks_duplicate_total", 1.0),
        ("queue_tasks_completed_total", 1.0),
        ("queue_run_seconds_count", 1.0),
        ("queue_wait_seconds_count", 1.0),
        ("env_queue_depth", 0.0),
    ] {
        rig.metric_is(name, value).await;
    }
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_with_the_field() {
    let Some(rig) = Rig::new().await else { return };
    let client = || rig.client.clone();
    let lease = || v1::LeaseRef { task_id: "a".to_owned(), lease_token: "t".to_owned() };
    for (field, wrong) in [
        ("id", v1::SubmitTaskRequest::default()),
        ("id", task("with space", "")),
        ("id", task(&"x".repeat(201), "")),
        ("class", task("a", "fpga")),
        ("priority", v1::SubmitTaskRequest { priority: 1_000_001, ..task("a", "") }),
        ("payload", v1::SubmitTaskRequest { payload_bytes: vec![1], ..task("a", "") }),
        ("payload_json", v1::SubmitTaskRequest { payload_json: b"NaN".to_vec(), ..task("a", "") }),
        ("workflow_id", v1::SubmitTaskRequest { workflow_id: "w".repeat(201), ..task("a", "") }),
    ] {
        blames(client().submit_task(wrong).await, field);
    }
    let many = v1::SubmitTasksRequest { tasks: vec![v1::SubmitTaskRequest::default(); 1_001] };
    blames(client().submit_tasks(many).await, "tasks");
    blames(client().get_task_status(v1::GetTaskStatusRequest::default()).await, "task_id");
    let metric_names = vec![String::new(); 1_001];
    blames(client().get_metrics(v1::GetMetricsRequest { metric_names }).await, "metric_names");
    let ids = |ids: &[&str]| v1::StreamTaskResultsRequest {
        task_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        include_completed: true,
    };
    blames(client().stream_task_results(ids(&["a", ""])).await, "task_ids[1]");
    let types = v1::StreamEventsRequest { event_types: vec!["task_eaten".to_owned()], since_timestamp: 0 };
    blames(client().stream_events(types).await, "event_types");
    let since = v1::StreamEventsRequest { since_timestamp: -1, ..Default::default() };
    blames(client().stream_events(since).await, "since_timestamp");
    let many = v1::ExtendLeaseRequest { leases: vec![lease(); 1_001], lease_ms: 0 };
    blames(client().extend_lease(many).await, "leases");
    let short = v1::ExtendLeaseRequest { leases: vec![lease()], lease_ms: 999 };
    blames(client().extend_lease(short).await, "lease_ms");
    let nameless = v1::LeaseRef { task_id: String::new(), ..lease() };
    let nameless = v1::ExtendLeaseRequest { leases: vec![lease(), nameless], lease_ms: 0 };
    blames(client().extend_lease(nameless).await, "leases[1].task_id");
    let tokenless = v1::CompleteTaskRequest { task_id: "a".to_owned(), ..Default::default() };
    blames(client().complete_task(tokenless.clone()).await, "lease_token");
    let no_json = v1::CompleteTaskRequest { lease_token: "t".to_owned(), result_json: b"{".to_vec(), ..tokenless };
    blames(client().complete_task(no_json).await, "result_json");
    let v1::LeaseRef { task_id, lease_token } = lease();
    let early = v1::FailTaskRequest { task_id, lease_token, retry_after_ms: -1, ..Default::default() };
    blames(client().fail_task(early).await, "retry_after_ms");
    blames(client().release_task(v1::ReleaseTaskRequest::default()).await, "task_id");
    blames(client().cancel_task(v1::CancelTaskRequest::default()).await, "task_id");
    blames(client().requeue_task(v1::RequeueTaskRequest::default()).await, "task_id");
    let list = v1::ListTasksRequest::default;
    blames(client().list_tasks(v1::ListTasksRequest { limit: 1_001, ..list() }).await, "limit");
    blames(client().list_tasks(v1::ListTasksRequest { page_token: "x".to_owned(), ..list() }).await, "page_token");
    blames(client().list_tasks(v1::ListTasksRequest { class: "fpga".to_owned(), ..list() }).await, "class");
    blames(client().list_tasks(v1::ListTasksRequest { statuses: vec!["odd".to_owned()], ..list() }).await, "statuses");
    blames(client().list_dead_tasks(v1::ListDeadTasksRequest { limit: -1, ..Default::default() }).await, "limit");
}

#[tokio::test]
async fn what_is_not_there_or_not_so_is_said() {
    let Some(rig) = Rig::new().await else { return };
    let client = || rig.client.clone();
    let id = || "nobody".to_owned();
    let ids = v1::StreamTaskResultsRequest { task_ids: vec![id()], include_completed: true };
    let unknown = [
        client().get_task_status(v1::GetTaskStatusRequest { task_id: id() }).await.unwrap_err(),
        client().cancel_task(v1::CancelTaskRequest { task_id: id(), ..Default::default() }).await.unwrap_err(),
        client().requeue_task(v1::RequeueTaskRequest { task_id: id() }).await.unwrap_err(),
        client().stream_task_results(ids).await.unwrap_err(),
    ];
    for status in unknown {
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        assert_eq!(status.get_details_resource_info().unwrap().resource_name, "nobody");
    }
    rig.submit("a", "").await;
    let other = client().submit_task(task("a", "cpu_long")).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    let early = client().requeue_task(v1::RequeueTaskRequest { task_id: "a".to_owned() }).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    assert!(early.get_details_precondition_failure().is_some() && early.message().contains("is pending"), "{early:?}");
    for status in [
        client().create_workflow(v1::CreateWorkflowRequest {}).await.unwrap_err(),
        client().start_workflow_run(v1::StartWorkflowRunRequest {}).await.unwrap_err(),
        client().stream_workflow_status(v1::StreamWorkflowStatusRequest {}).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().contains("not planned"), "{status:?}");
    }
}

#[tokio::test]
async fn limits_are_kept_and_told() {
    let change = |settings: &mut env_manager::tasks::settings::TaskSettings| {
        (settings.max_payload, settings.max_result, settings.max_backlog) = (20, 20, 2);
    };
    let Some(rig) = Rig::with(&[], change).await else { return };
    let client = || rig.client.clone();
    let large = v1::SubmitTaskRequest { payload_json: format!("\"{}\"", "x".repeat(19)).into_bytes(), ..task("a", "") };
    let status = client().submit_task(large).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("payload_json has 21 bytes; 20 are taken"), "{status:?}");
    assert!(status.get_details_retry_info().is_none(), "no retry helps");

    rig.submit_all([task("a", ""), task("b", "")]).await;
    let status = client().submit_task(task("c", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some() && status.message().contains("`max_backlog`"), "{status:?}");
    assert!(client().submit_task(task("a", "")).await.unwrap().into_inner().existed, "it is no new one");

    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 1).await;
    let v1::LeaseRef { task_id, lease_token } = lease_ref(&worker.lease().await);
    let result_bytes = vec![0; 21];
    let large = v1::CompleteTaskRequest { task_id, lease_token, result_bytes, ..Default::default() };
    assert_eq!(client().complete_task(large).await.unwrap_err().code(), Code::ResourceExhausted);
    // The request as a whole.
    let payload_bytes = vec![0; 1 << 20];
    let tasks = (0..4).map(|n| v1::SubmitTaskRequest {
        id: format!("l{n}"),
        payload_bytes: payload_bytes.clone(),
        ..Default::default()
    });
    let tasks = v1::SubmitTasksRequest { tasks: tasks.collect() };
    let status = client().submit_tasks(tasks).await.unwrap_err();
    assert!(matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange), "{status:?}");
}

#[tokio::test]
async fn of_many_each_has_an_outcome_of_its_own() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all([task("old", ""), task("taken", "cpu_long")]).await;
    let tasks = vec![
        task("new", ""),
        task("old", ""),
        task("taken", ""),
        task("", ""),
        task("new", "cpu_short"),
        task("new", "cpu_long"),
        v1::SubmitTaskRequest { payload_json: b"NaN".to_vec(), ..task("nan", "") },
    ];
    let results = rig.client.clone().submit_tasks(v1::SubmitTasksRequest { tasks }).await.unwrap().into_inner().results;
    let told: Vec<_> = results.iter().map(|r| (r.task_id.as_str(), r.success, r.existed, Code::from(r.code))).collect();
    assert_eq!(
        told,
        [
            ("new", true, false, Code::Ok),
            ("old", true, true, Code::Ok),
            ("taken", false, false, Code::AlreadyExists),
            ("", false, false, Code::InvalidArgument),
            ("new", true, true, Code::Ok),
            ("new", false, false, Code::AlreadyExists),
            ("nan", false, false, Code::InvalidArgument),
        ]
    );
    assert!(results.iter().all(|r| r.success == r.error.is_empty()), "{results:?}");
}

#[tokio::test]
async fn tasks_are_listed_cancelled_and_put_back() {
    let Some(rig) = Rig::new().await else { return };
    let mut client = rig.client.clone();
    rig.submit_all((0..7).map(|n| task(&format!("t{n}"), "cpu_long"))).await;
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTasksRequest { limit: 3, page_token, ..Default::default() };
        let page = client.list_tasks(request).await.unwrap().into_inner();
        assert!(page.tasks.len() <= 3);
        seen.extend(page.tasks.into_iter().map(|task| task.task_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["t0", "t1", "t2", "t3", "t4", "t5", "t6"], "waiting ones: the next one first");

    let cancel = v1::CancelTaskRequest { task_id: "t0".to_owned(), reason: "not needed".to_owned() };
    assert_eq!(client.cancel_task(cancel.clone()).await.unwrap().into_inner().previous_status, "pending");
    assert_eq!(client.cancel_task(cancel).await.unwrap().into_inner().previous_status, "cancelled", "again");
    let cancelled = rig.status("t0").await;
    assert_eq!((cancelled.status.as_str(), cancelled.error.as_str()), ("cancelled", "not needed"));

    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_long", 1).await;
    let lease = worker.lease().await;
    let failed = fail(&rig.client, &lease, false).await;
    assert_eq!((failed.answer, failed.dead), (OK, true));
    let dead = client.list_dead_tasks(v1::ListDeadTasksRequest::default()).await.unwrap().into_inner().tasks;
    let [dead] = &dead[..] else { panic!("{dead:?}") };
    assert_eq!((dead.task_id.as_str(), dead.status.as_str(), dead.error.as_str()), ("t1", "failed", "it was too hard"));
    let cancel = v1::CancelTaskRequest { task_id: "t1".to_owned(), ..Default::default() };
    assert_eq!(client.cancel_task(cancel).await.unwrap_err().code(), Code::FailedPrecondition);
    client.requeue_task(v1::RequeueTaskRequest { task_id: "t1".to_owned() }).await.unwrap();
    let again = rig.status("t1").await;
    assert_eq!((again.status.as_str(), again.attempts), ("pending", 0));
    rig.metric_is("queue_dead_tasks", 0.0).await;
}

#[tokio::test]
async fn leases_are_extended_failed_and_given_back() {
    let Some(rig) = Rig::new().await else { return };
    let mut client = rig.client.clone();
    rig.submit_all(["a", "b", "c"].map(|id| task(id, ""))).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 3).await;
    let (a, b, c) = (worker.lease().await, worker.lease().await, worker.lease().await);
    let released = v1::ReleaseTaskRequest { task_id: a.task_id.clone(), lease_token: a.lease_token.clone() };
    assert_eq!(client.release_task(released).await.unwrap().into_inner().answer, OK);
    assert_eq!(rig.status("a").await.attempts, 0, "it does not count");
    let failed = fail(&rig.client, &b, true).await;
    assert!(failed.answer == OK && !failed.dead && failed.retry_in_ms > 0, "{failed:?}");
    client.cancel_task(v1::CancelTaskRequest { task_id: "c".to_owned(), ..Default::default() }).await.unwrap();
    worker.credit("cpu_short", 2).await;
    let again = [soon("a", worker.lease_past_cancels()).await, soon("b", worker.lease_past_cancels()).await];
    let a2 = again.iter().find(|lease| lease.task_id == "a").unwrap();
    let b2 = again.iter().find(|lease| lease.task_id == "b").unwrap();
    assert_eq!((a2.attempt, b2.attempt), (1, 2));
    let leases = [&a, a2, b2, &c].map(lease_ref).to_vec();
    let extended = client.extend_lease(v1::ExtendLeaseRequest { leases, lease_ms: 0 }).await.unwrap().into_inner();
    assert_eq!(extended.extensions, [Extension::Lost, Extension::Ok, Extension::Ok, Extension::Cancel].map(i32::from));
    assert_eq!(complete(&rig.client, &c).await, STALE, "whatever it still answers");
    assert_eq!(fail(&rig.client, &a, true).await.answer, STALE);
    rig.metric_is("orchestrator_task_errors_total", 1.0).await;
}

#[tokio::test]
async fn health_says_what_redis_is_like() {
    let Some(rig) = Rig::new().await else { return };
    let health = crate::rig::until("health", || async {
        Some(rig.client.clone().health(v1::HealthRequest {}).await.unwrap().into_inner()).filter(|h| h.healthy)
    })
    .await;
    assert_eq!((health.version.as_str(), health.stack.as_str()), ("0.0.0", "test"));
    assert_eq!((health.services["redis"].as_str(), health.services["durability"].as_str()), ("ready", "always"));
    let mut standard = HealthClient::new(rig.daemon.channel().await);
    for service in ["", SERVICE_NAME] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(standard.check(request).await.unwrap().into_inner().status, 1, "{service}");
    }
    let request = HealthCheckRequest { service: "nothing".to_owned() };
    assert_eq!(standard.check(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn results_are_told_as_they_come_until_the_last() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all(["a", "b", "c", "d"].map(|id| task(id, ""))).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 3).await;
    let (a, b, c) = (worker.lease().await, worker.lease().await, worker.lease().await);
    complete(&rig.client, &a).await;
    let of = |include_completed| v1::StreamTaskResultsRequest {
        task_ids: ["a", "b", "c", "b"].map(str::to_owned).to_vec(),
        include_completed,
    };
    let mut with = rig.client.clone().stream_task_results(of(true)).await.unwrap().into_inner();
    let mut without = rig.client.clone().stream_task_results(of(false)).await.unwrap().into_inner();
    let everything = |include_completed| v1::StreamTaskResultsRequest { task_ids: Vec::new(), include_completed };
    let mut all = rig.client.clone().stream_task_results(everything(true)).await.unwrap().into_inner();
    let mut from_now = rig.client.clone().stream_task_results(everything(false)).await.unwrap().into_inner();
    let next = async |stream: &mut tonic::Streaming<v1::TaskResult>| {
        soon("a result", stream.message()).await.unwrap().map(|result| (result.task_id, result.status))
    };
    let told = |id: &str, status: &str| Some((id.to_owned(), status.to_owned()));
    assert_eq!(next(&mut with).await, told("a", "completed"));
    assert_eq!(next(&mut all).await, told("a", "completed"));
    fail(&rig.client, &b, false).await;
    for stream in [&mut with, &mut without, &mut all, &mut from_now] {
        assert_eq!(next(stream).await, told("b", "failed"));
    }
    let cancel = v1::CancelTaskRequest { task_id: c.task_id, reason: "enough".to_owned() };
    rig.client.clone().cancel_task(cancel).await.unwrap();
    for stream in [&mut with, &mut without] {
        assert_eq!(next(stream).await, told("c", "cancelled"));
        assert_eq!(next(stream).await, None, "that was the last one");
    }
    assert_eq!(next(&mut from_now).await, told("c", "cancelled"));
}

#[tokio::test]
async fn events_are_told_from_now_or_from_a_moment_on() {
    let Some(rig) = Rig::new().await else { return };
    let events = |event_types: &[&str], since_timestamp| {
        let event_types = event_types.iter().map(|name| (*name).to_owned()).collect();
        let mut client = rig.client.clone();
        async move {
            client.stream_events(v1::StreamEventsRequest { event_types, since_timestamp }).await.unwrap().into_inner()
        }
    };
    let next =
        async |stream: &mut tonic::Streaming<v1::TaskEvent>| soon("an event", stream.message()).await.unwrap().unwrap();
    rig.submit("before", "").await;
    let mut from_now = events(&[], 0).await;
    let mut ends = events(&["task_completed", "task_failed"], 1).await;
    rig.submit("a", "gpu").await;
    let event = next(&mut from_now).await;
    assert_eq!((event.event_type.as_str(), event.resource_id.as_str()), ("task_submitted", "a"));
    assert!(event.data["class"] == "gpu_long" && event.timestamp > 1_600_000_000_000, "{event:?}");
    let mut worker = Worker::enter(&rig.client, "w:1").await;
    worker.credit("gpu_long", 1).await;
    complete(&rig.client, &worker.lease().await).await;
    let started = next(&mut from_now).await;
    let data = (started.data["worker"].as_str(), started.data["attempt"].as_str());
    assert_eq!((started.event_type.as_str(), data), ("task_started", ("w:1", "1")));
    assert_eq!(next(&mut ends).await.event_type, "task_completed");
    // From the beginning.
    let mut all = events(&[], 1).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = next(&mut all).await;
        seen.push((event.event_type, event.resource_id));
    }
    let expected =
        [("task_submitted", "before"), ("task_submitted", "a"), ("task_started", "a"), ("task_completed", "a")];
    assert_eq!(seen, expected.map(|(what, of)| (what.to_owned(), of.to_owned())));
}

#[tokio::test]
async fn every_number_is_there_from_the_start_and_documented() {
    let Some(rig) = Rig::new().await else { return };
    let all = rig.client.clone().get_metrics(v1::GetMetricsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.timestamp, 1_700_000_000_000);
    let documented = include_str!("../../docs/metrics.md");
    for name in [
        "env_queue_depth",
        "gpu_wait_seconds",
        "env_error_rate",
        "queue_tasks_submitted_total",
        "queue_tasks_processed_total",
        "queue_tasks_completed_total",
        "orchestrator_inflight_tasks",
        "orchestrator_task_errors_total",
    ] {
        assert_eq!(all.metrics.get(name), Some(&0.0), "{name}");
    }
    for name in all.metrics.keys() {
        let bare = name.split('{').next().unwrap();
        let bare = bare.strip_suffix("_sum").or_else(|| bare.strip_suffix("_count")).unwrap_or(bare);
        assert!(documented.contains(&format!("| `{bare}` |")), "docs/metrics.md lacks {bare}");
    }
    assert_eq!(rig.metric("no_such_number").await.to_bits(), 0.0_f64.to_bits());
    let scraped = crate::http::get(rig.daemon.http, "/metrics").await;
    for name in all.metrics.keys() {
        assert!(scraped.body.contains(&format!("\n{name} ")), "/metrics lacks {name}");
    }
}

#[tokio::test]
async fn the_age_of_the_oldest_gpu_task_is_told() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all([task("c", "cpu_long"), task("g", "gpu_short")]).await;
    crate::rig::until("some age", || async { (rig.metric("gpu_wait_seconds").await > 0.0).then_some(()) }).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("gpu_short", 1).await;
    worker.lease().await;
    rig.metric_is("gpu_wait_seconds", 0.0).await;
    rig.metric_is("orchestrator_inflight_tasks", 1.0).await;
    assert!(rig.settings.lease == Duration::from_secs(30));
}
