use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::{Daemon, soon};
use crate::clock::Timestamp;
use crate::daemon::Environment;
use crate::daemon::environment::{LogQuery, Refusal, Synced};
use crate::daemon::played::Command;
use crate::engine::{EngineError, ErrorKind, LogLine, LogStream};
use crate::grpc::client::Client;
use crate::grpc::convert;
use crate::proto::env_manager::v1;
use crate::queue::{Snapshot, Waiting};
use crate::report::StatusReport;
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::status::Reason;

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|&n| n.to_owned()).collect()
}

fn happening(subject: &str, message: &str) -> Happening {
    Happening {
        subject: Some(ResourceKey::service(subject)),
        reason: EventReason::Ready,
        message: message.to_owned(),
        by: Actor::EnvManager,
    }
}

#[tokio::test]
async fn the_status_is_the_document_that_the_command_line_prints() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    daemon.environment.set_service("kafka", false, Reason::CrashLoop, "it ended with 1");
    for mut client in [daemon.by_port().await, daemon.by_socket().await] {
        let get = |names| v1::GetConvergenceRequest { service_names: names };
        let all = client.get_convergence(get(vec![])).await.unwrap().into_inner().convergence.unwrap();
        assert_eq!(all.version, "0.1.0");
        assert_eq!(convert::report(all), StatusReport::new(&daemon.environment.view(), &[]));
        let one = client.get_convergence(get(names(&["kafka"]))).await.unwrap().into_inner().convergence.unwrap();
        assert_eq!(convert::report(one), StatusReport::new(&daemon.environment.view(), &names(&["kafka"])));

        let health = client.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
        assert!(health.healthy && !health.converged);
        assert_eq!((health.stack.as_str(), health.version.as_str()), ("default", "0.1.0"));
        assert_eq!(health.services.len(), 2);
        assert_eq!(health.services["redis"], "ready");
        assert_eq!(health.services["kafka"], "backoff");
    }
}

#[tokio::test]
async fn commands_reach_the_environment_with_who_asked() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    *daemon.environment.synced.lock().unwrap() =
        Synced { revision: "abc".to_owned(), services: 1, message: "kafka did not answer".to_owned() };
    *daemon.environment.still_suspended.lock().unwrap() = names(&["redis"]);
    let user = format!("uid {}", rustix::process::getuid().as_raw());
    for (mut client, who) in [(daemon.by_socket().await, user), (daemon.by_port().await, "127.0.0.1".to_owned())] {
        let redis = || names(&["redis", "redis"]);
        let request = v1::SyncRequest { service_names: redis(), allow_prune: true };
        let synced = client.sync(request).await.unwrap().into_inner();
        let wanted =
            v1::SyncResponse { revision: "abc".to_owned(), services: 1, message: "kafka did not answer".to_owned() };
        assert_eq!(synced, wanted);
        let suspended = client.suspend(v1::SuspendRequest { service_names: redis() }).await.unwrap().into_inner();
        assert_eq!(suspended.changed, ["redis"]);
        let resumed = client.resume(v1::ResumeRequest { service_names: redis() }).await.unwrap().into_inner();
        assert_eq!((resumed.changed, resumed.still_suspended), (names(&["redis"]), names(&["redis"])));
        let retried = client.retry(v1::RetryRequest { service_names: redis() }).await.unwrap().into_inner();
        assert_eq!(retried.retried, ["redis"]);
        let restarted = client.restart(v1::RestartRequest { service_names: redis() }).await.unwrap().into_inner();
        assert_eq!(restarted.restarting, ["redis"]);

        let by = Actor::Caller(who);
        // What is named twice is asked for once.
        let services = names(&["redis"]);
        let wanted = [
            Command::Sync { services: services.clone(), allow_prune: true, by: by.clone() },
            Command::Suspend { services: services.clone(), by: by.clone() },
            Command::Resume { services: services.clone(), by: by.clone() },
            Command::Retry { services: services.clone(), by: by.clone() },
            Command::Restart { services, by },
        ];
        assert_eq!(daemon.environment.taken(), wanted);
    }
}

#[tokio::test]
async fn the_queue_and_the_metrics_are_told_with_their_numbers() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    *daemon.environment.queue.lock().unwrap() = Snapshot {
        depth: 3,
        in_flight: vec![(ResourceKey::service("redis"), Duration::from_secs(1))],
        oldest_age: Some(Duration::from_millis(2_500)),
        waiting: vec![Waiting { key: ResourceKey::network("env-manager"), failures: 2, due_in: None }],
    };
    let mut client = daemon.by_port().await;
    let queue = client.get_queue_metrics(v1::GetQueueMetricsRequest {}).await.unwrap().into_inner();
    assert_eq!((queue.depth, queue.in_flight), (3, 1));
    assert_eq!(queue.oldest_age, Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
    assert_eq!(queue.backoff, [v1::KeyBackoff { key: "network/env-manager".to_owned(), failures: 2, due_in: None }]);
    for histogram in [queue.queue_duration.unwrap(), queue.work_duration.unwrap()] {
        assert!(histogram.buckets.last().unwrap().upper_bound.is_infinite());
    }

    let get = |names| v1::GetMetricsRequest { names };
    let all = client.get_metrics(get(vec![])).await.unwrap().into_inner().metrics;
    assert_eq!(all["env_manager_service_ready{service=\"redis\"}"].to_bits(), 1.0_f64.to_bits());
    let some = client.get_metrics(get(names(&["env_manager_converged"]))).await.unwrap().into_inner().metrics;
    assert_eq!(some.keys().collect::<Vec<_>>(), ["env_manager_converged"]);
    let histogram = all.keys().find_map(|name| name.strip_suffix("_sum")).expect("a histogram without labels");
    let both = client.get_metrics(get(names(&[histogram]))).await.unwrap().into_inner().metrics;
    assert_eq!(both.len(), 2, "{both:?}");
}

#[tokio::test]
async fn events_are_listed_by_service_and_the_newest_so_many() {
    let daemon = Daemon::start().await;
    for (subject, message) in [("redis", "one"), ("kafka", "two"), ("redis", "three")] {
        daemon.environment.history.record(happening(subject, message));
    }
    let mut client = daemon.by_port().await;
    let mut list = async |of: &[&str], limit| {
        let request = v1::ListEventsRequest { service_names: names(of), limit };
        let events = client.list_events(request).await.unwrap().into_inner().events;
        events.into_iter().map(|e| e.message).collect::<Vec<_>>()
    };
    assert_eq!(list(&[], 0).await, ["one", "two", "three"]);
    assert_eq!(list(&[], 2).await, ["two", "three"]);
    assert_eq!(list(&["redis"], 0).await, ["one", "three"]);
    // What is gone still has a past, and what never was has none.
    assert!(list(&["never"], 0).await.is_empty());
}

#[tokio::test]
async fn a_service_is_described_with_its_events() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    daemon.environment.history.record(happening("kafka", "not mine"));
    daemon.environment.history.record(happening("redis", "mine"));
    let mut client = daemon.by_port().await;
    let request = v1::DescribeServiceRequest { service_name: "redis".to_owned() };
    let described = client.describe_service(request).await.unwrap().into_inner();
    assert_eq!(described.service.unwrap().name, "redis");
    assert_eq!(described.spec, "image: redis:1\n");
    assert_eq!(described.events.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["mine"]);
}

fn line(text: &str) -> LogLine {
    LogLine {
        container: ContainerId("0123".into()),
        stream: LogStream::Stdout,
        time: Timestamp(1_000),
        line: text.to_owned(),
    }
}

fn engine_error(kind: ErrorKind) -> EngineError {
    EngineError { operation: "read logs", subject: "redis".to_owned(), kind, message: "it hung up".to_owned() }
}

#[tokio::test]
async fn logs_come_line_by_line_and_end_as_the_log_does() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    *daemon.environment.lines.lock().unwrap() = vec![Ok(line("one")), Ok(line("two"))];
    let mut client = daemon.by_port().await;
    let request = v1::ReadLogsRequest {
        service_name: "redis".to_owned(),
        follow: false,
        tail: Some(7),
        since: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
        failed: true,
    };
    let mut lines = client.read_logs(request.clone()).await.unwrap().into_inner();
    assert_eq!(soon(lines.message()).await.unwrap().unwrap().line, "one");
    assert_eq!(soon(lines.message()).await.unwrap().unwrap().line, "two");
    assert!(soon(lines.message()).await.unwrap().is_none());
    let query = LogQuery {
        service: "redis".to_owned(),
        follow: false,
        tail: Some(7),
        since: Some(Timestamp(5_000)),
        failed: true,
    };
    assert_eq!(daemon.environment.taken(), [Command::Logs(query)]);

    let broken = vec![Ok(line("one")), Err(engine_error(ErrorKind::Unreachable)), Ok(line("never"))];
    *daemon.environment.lines.lock().unwrap() = broken;
    let mut lines = client.read_logs(request).await.unwrap().into_inner();
    assert_eq!(soon(lines.message()).await.unwrap().unwrap().line, "one");
    let status = soon(lines.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "read logs redis: it hung up"));
    assert!(status.get_details_retry_info().is_some());
}

/// Every call that takes names, with these.
async fn with_names(client: &mut Client, service_names: Vec<String>) -> Vec<(&'static str, Option<Status>)> {
    let n = || service_names.clone();
    vec![
        ("GetConvergence", client.get_convergence(v1::GetConvergenceRequest { service_names: n() }).await.err()),
        ("WatchConvergence", client.watch_convergence(v1::WatchConvergenceRequest { service_names: n() }).await.err()),
        ("Sync", client.sync(v1::SyncRequest { service_names: n(), allow_prune: false }).await.err()),
        ("Suspend", client.suspend(v1::SuspendRequest { service_names: n() }).await.err()),
        ("Resume", client.resume(v1::ResumeRequest { service_names: n() }).await.err()),
        ("Retry", client.retry(v1::RetryRequest { service_names: n() }).await.err()),
        ("Restart", client.restart(v1::RestartRequest { service_names: n() }).await.err()),
        ("ListEvents", client.list_events(v1::ListEventsRequest { service_names: n(), limit: 0 }).await.err()),
        (
            "WatchEvents",
            client.watch_events(v1::WatchEventsRequest { service_names: n(), past: 0, after_sequence: 0 }).await.err(),
        ),
    ]
}

#[tokio::test]
async fn names_that_cannot_be_right_are_refused_with_their_field() {
    let daemon = Daemon::start().await;
    let mut client = daemon.by_port().await;
    let cases = [
        (names(&["redis", ""]), "service_names[1]"),
        (vec!["x".repeat(64)], "service_names[0]"),
        (names(&["red is"]), "service_names[0]"),
        (names(&["r\u{e9}dis"]), "service_names[0]"),
        (names(&["a\nb"]), "service_names[0]"),
        (vec!["redis".to_owned(); 1_001], "service_names"),
    ];
    for (wrong, field) in cases {
        for (call, status) in with_names(&mut client, wrong.clone()).await {
            let status = status.unwrap_or_else(|| panic!("{call} took {wrong:?}"));
            assert_eq!(status.code(), Code::InvalidArgument, "{call}: {status:?}");
            let details = status.get_details_bad_request().unwrap();
            assert_eq!(details.field_violations[0].field, field, "{call}");
            assert!(status.message().contains(field), "{call}: {}", status.message());
        }
    }
    // A thousand wrong names are answered in few words: they come in a header.
    let all = with_names(&mut client, vec![String::new(); 1_000]).await;
    for (call, status) in all {
        assert_eq!(status.map(|s| s.code()), Some(Code::InvalidArgument), "{call}");
    }
    assert!(daemon.environment.taken().is_empty(), "nothing of it reached the environment");
}

#[tokio::test]
async fn only_calls_that_could_mean_all_take_no_names() {
    let daemon = Daemon::start().await;
    let mut client = daemon.by_port().await;
    for (call, status) in with_names(&mut client, vec![]).await {
        let needed = ["Suspend", "Resume", "Restart"].contains(&call);
        assert_eq!(status.map(|s| s.code()), needed.then_some(Code::InvalidArgument), "{call}");
    }
    let describe = client.describe_service(v1::DescribeServiceRequest::default()).await.unwrap_err();
    let logs = client.read_logs(v1::ReadLogsRequest::default()).await.unwrap_err();
    for status in [describe, logs] {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "service_name");
    }
    let since = Some(prost_types::Timestamp { seconds: -1, nanos: 0 });
    let request = v1::ReadLogsRequest { service_name: "redis".to_owned(), since, ..Default::default() };
    let status = client.read_logs(request).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "since");
    let status = client.get_metrics(v1::GetMetricsRequest { names: vec![String::new(); 1_001] }).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "names");
}

#[tokio::test]
async fn a_name_that_no_service_has_is_not_found_and_the_nearest_is_named() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    let mut client = daemon.by_port().await;
    let request = v1::DescribeServiceRequest { service_name: "Reddis".to_owned() };
    let describe = client.describe_service(request).await.unwrap_err();
    let request = v1::GetConvergenceRequest { service_names: names(&["redis", "Reddis"]) };
    let status = client.get_convergence(request).await.unwrap_err();
    for status in [describe, status] {
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "there is no service `Reddis` in stack default, did you mean `redis`?");
        assert_eq!(status.get_details_resource_info().unwrap().resource_name, "Reddis");
    }
    let status = client.suspend(v1::SuspendRequest { service_names: names(&["reddis"]) }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "the environment's own refusal");
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_contract() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    let mut client = daemon.by_port().await;
    let throttled = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(42)) };
    let cases = [
        (Refusal::ObserveOnly, Code::FailedPrecondition, None),
        (Refusal::NotNow("it is being removed".to_owned()), Code::FailedPrecondition, None),
        (Refusal::Ending, Code::Unavailable, Some(1)),
        (Refusal::Engine(engine_error(ErrorKind::Unreachable)), Code::Unavailable, Some(1)),
        (Refusal::Engine(engine_error(ErrorKind::NotFound)), Code::Unavailable, Some(1)),
        (Refusal::Engine(engine_error(throttled)), Code::Unavailable, Some(42)),
        (Refusal::Engine(engine_error(ErrorKind::Refused)), Code::FailedPrecondition, None),
    ];
    for (refusal, code, retry_after) in cases {
        let said = refusal.to_string();
        daemon.environment.refuse(Some(refusal));
        let redis = || names(&["redis"]);
        let logs = v1::ReadLogsRequest { service_name: "redis".to_owned(), ..Default::default() };
        let statuses = [
            client.sync(v1::SyncRequest { service_names: redis(), allow_prune: false }).await.unwrap_err(),
            client.suspend(v1::SuspendRequest { service_names: redis() }).await.unwrap_err(),
            client.resume(v1::ResumeRequest { service_names: redis() }).await.unwrap_err(),
            client.retry(v1::RetryRequest { service_names: redis() }).await.unwrap_err(),
            client.restart(v1::RestartRequest { service_names: redis() }).await.unwrap_err(),
            client.read_logs(logs).await.unwrap_err(),
        ];
        for status in statuses {
            assert_eq!((status.code(), status.message()), (code, said.as_str()));
            let wait = status.get_details_retry_info().and_then(|r| r.retry_delay);
            assert_eq!(wait, retry_after.map(Duration::from_secs), "{said}");
        }
    }
    daemon.environment.refuse(Some(Refusal::NotNow("\u{e9}".repeat(100_000))));
    let status = client.retry(v1::RetryRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "an endless message would not come through: {status:?}");
}

#[tokio::test]
async fn p16_what_is_too_large_or_no_message_at_all_is_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start().await;
    let channel = daemon.channel().await;
    let mut client = Client::new(channel.clone());
    let large = v1::GetConvergenceRequest { service_names: vec!["x".repeat(2 << 20)] };
    let status = soon(client.get_convergence(large)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");

    // Its first field is a number where the call expects a text.
    let mut raw = Grpc::new(channel);
    soon(raw.ready()).await.unwrap();
    let codec = ProstCodec::<v1::GetHealthResponse, v1::DescribeServiceResponse>::default();
    let path = PathAndQuery::from_static("/env_manager.v1.ReconcilerService/DescribeService");
    let wrong = v1::GetHealthResponse { healthy: true, ..Default::default() };
    let status = soon(raw.unary(Request::new(wrong.clone()), path, codec)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");

    soon(raw.ready()).await.unwrap();
    let codec = ProstCodec::<v1::GetHealthResponse, v1::DescribeServiceResponse>::default();
    let path = PathAndQuery::from_static("/env_manager.v1.ReconcilerService/NoSuchCall");
    let status = soon(raw.unary(Request::new(wrong), path, codec)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");

    soon(client.get_health(v1::GetHealthRequest {})).await.unwrap();
}

#[tokio::test]
async fn p16_what_is_no_http2_is_hung_up_on_and_others_are_served() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let daemon = Daemon::start().await;
    let settings = [0_u8, 0, 0, 4, 0, 0, 0, 0, 0];
    // A frame of 16 MiB, headers that are none, data of a stream that nobody opened.
    let too_long = [PREFACE, &settings, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat();
    let no_headers = [PREFACE, &settings, &[0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]].concat();
    let no_stream = [PREFACE, &settings, &[0, 0, 1, 0, 0, 0, 0, 0, 7, 0]].concat();
    let garbage = vec![0xa5; 4096];
    for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), garbage, too_long, no_headers, no_stream] {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.tcp.port())).await.unwrap();
        // It may hang up before all is written.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
    }
    let mut client = daemon.by_port().await;
    soon(client.get_health(v1::GetHealthRequest {})).await.unwrap();
}
