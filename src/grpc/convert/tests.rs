use super::*;
use crate::daemon::environment::{Description, Environment};
use crate::daemon::played::{Played, status};
use crate::engine::{LogLine, LogStream};
use crate::history::Entry;
use crate::plan::FieldChange;
use crate::plan::types::{Cause, ClosedBy};
use crate::proto::env_manager::v1;
use crate::queue::Waiting;
use crate::report::StatusReport;
use crate::report::status::{ConditionReport, DependencyReport, EngineReport, ResourceReport};
use crate::report::{KeptReport, ServiceReport, SourceReport};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::ending::Ending;
use crate::resource::event::{Actor, EventReason};
use crate::resource::probe::{LastTry, ProbeRole};
use crate::resource::status::Reason;

fn text(of: &str) -> String {
    of.to_owned()
}

/// Every field set, and each to something of its own.
fn full() -> StatusReport {
    StatusReport {
        converged: true,
        healthy: true,
        stack: text("default"),
        source: SourceReport {
            kind: text("dir"),
            location: text("/srv/manifests"),
            revision: text("3f2a91c4b8"),
            short_revision: text("3f2a91c+edits"),
            error: Some(text("one file is unreadable")),
        },
        services: vec![ServiceReport {
            name: text("redis"),
            required: true,
            ready: true,
            phase: text("NotReady"),
            reason: text("ProbeFailed"),
            message: text("connection refused"),
            generation: 7,
            observed_generation: 6,
            converged: true,
            container_id: Some(text("0123abcd")),
            image: Some(text("redis:7")),
            ports: vec![text("127.0.0.1:6379:6379/tcp"), text("6380:6380/tcp")],
            stand_in: Some(text("valkey")),
            started_at: Some(text("2024-02-29T12:34:56.789Z")),
            restarts: 3,
            exit_code: Some(-1),
            revision: text("3f2a91c"),
            depends_on: vec![DependencyReport { service: text("kafka"), condition: text("Ready") }],
            conditions: vec![ConditionReport {
                kind: text("Stalled"),
                status: text("Unknown"),
                reason: text("DiskFull"),
                message: text("no space left"),
                last_transition_time: text("2024-02-29T12:34:56.001Z"),
            }],
            next: Some(text("read the message")),
        }],
        resources: vec![ResourceReport {
            kind: text("network"),
            name: text("env-manager"),
            ready: true,
            phase: text("Ready"),
            reason: text("Exists"),
            message: text("it is there"),
            converged: true,
        }],
        invalid_manifests: 2,
        notes: vec![text("an orphan"), text("another")],
        kept: vec![KeptReport {
            kind: text("service"),
            name: text("web"),
            reason: text("TooMany"),
            message: text("2 of 3 services would go at once"),
        }],
        engine: EngineReport {
            reachable: true,
            address: text("unix:///var/run/docker.sock"),
            version: text("20.10.24"),
            error: Some(text("it hangs")),
            since: text("2023-01-01T00:00:00.000Z"),
        },
        observe_only: true,
        findings: text("error: a.yaml:1:1"),
        time: text("2024-03-01T00:00:00.250Z"),
    }
}

#[test]
fn a_status_document_survives_the_way_to_a_client_and_back() {
    let document = full();
    // What the document would be if nothing had been taken along; every field has to differ from it.
    let bare = serde_json::to_value(report(v1::Convergence::default())).unwrap();
    let json = serde_json::to_value(&document).unwrap();
    for (field, value) in json.as_object().unwrap() {
        assert_ne!(Some(value), bare.get(field), "`{field}` is not set: this test shows nothing about it");
    }
    let message = convergence(document.clone(), "0.1.0");
    assert_eq!(message.version, "0.1.0");
    assert_eq!(report(message), document);
}

#[test]
fn what_is_not_there_is_not_there_afterwards_either() {
    let mut document = full();
    document.source.error = None;
    document.engine.error = None;
    let service = &mut document.services[0];
    service.container_id = None;
    service.image = None;
    service.stand_in = None;
    service.started_at = None;
    service.exit_code = None;
    service.next = None;
    service.ports.clear();
    assert_eq!(report(convergence(document.clone(), "")), document);
}

#[test]
fn a_daemon_s_view_and_the_document_made_of_it_say_the_same() {
    let environment = Played::default();
    environment.ready("redis");
    environment.set_service("kafka", true, Reason::ProbeFailed, "connection refused");
    environment
        .statuses
        .set(&ResourceKey::network("env-manager"), Some(status("env-manager", false, Reason::Exists, "it is there")));
    let view = environment.view();
    let whole = convergence(StatusReport::new(&view, &[]), "0.1.0");
    assert_eq!(report(whole.clone()), StatusReport::new(&view, &[]));
    let mut parts = convergence(StatusReport::header(&view), "0.1.0");
    parts.services =
        view.services().map(|(name, status)| service(crate::report::ServiceReport::new(name, status))).collect();
    parts.resources =
        view.others().map(|(key, status)| resource(crate::report::status::ResourceReport::new(key, status))).collect();
    assert_eq!(parts, whole);
}

#[test]
fn moments_keep_their_milliseconds_and_refuse_what_is_none() {
    for time in [0, 1, 999, 1_700_000_000_123, LAST] {
        assert_eq!(timestamp(&moment(Timestamp(time))), Some(Timestamp(time)));
    }
    assert_eq!(timestamp(&moment(Timestamp(u64::MAX))), Some(Timestamp(LAST)));
    for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (253_402_300_800, 0)] {
        assert_eq!(timestamp(&prost_types::Timestamp { seconds, nanos }), None, "{seconds} {nanos}");
    }
    // A daemon that sends nonsense makes no client fall over.
    let nonsense = prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX };
    let message = v1::Convergence { time: Some(nonsense), ..v1::Convergence::default() };
    assert_eq!(report(message).time, "");
}

#[test]
fn an_event_is_told_with_all_that_is_known_of_it() {
    let entry = Entry {
        sequence: 9,
        first: Timestamp(1_000),
        last: Timestamp(2_500),
        count: 3,
        subject: Some(ResourceKey::network("env-manager")),
        reason: EventReason::NetworkGone,
        message: text("somebody removed it"),
        by: Actor::Caller(text("uid 0")),
        revision: "3f2a91c".into(),
    };
    let told = event(entry.clone());
    let wanted = v1::Event {
        sequence: 9,
        first_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        last_time: Some(prost_types::Timestamp { seconds: 2, nanos: 500_000_000 }),
        count: 3,
        subject: text("network/env-manager"),
        warning: true,
        reason: text("NetworkGone"),
        message: text("somebody removed it"),
        by: text("caller uid 0"),
        revision: text("3f2a91c"),
    };
    assert_eq!(told, wanted);
    let about_nothing = event(Entry { subject: None, reason: EventReason::DaemonStarted, ..entry.clone() });
    assert_eq!((about_nothing.subject.as_str(), about_nothing.warning), ("", false));
    assert_eq!(event(Entry { subject: Some(ResourceKey::service("redis")), ..entry }).subject, "redis");
}

#[test]
fn a_description_leaves_nothing_out() {
    let description = Description {
        status: status("redis", true, Reason::ProbeSucceeded, "PING answered").into(),
        spec: text("image: redis:7\n"),
        manifest: text("manifests/redis.yaml"),
        dependents: vec![text("api")],
        drift: vec![FieldChange {
            field: text("resources.memory"),
            old: None,
            new: Some(text("512Mi")),
            closed_by: ClosedBy::InPlace,
            cause: Cause::ChangedOutside,
        }],
        plan: text("update redis"),
        probes: vec![LastTry {
            role: ProbeRole::Liveness,
            kind: "redis",
            route: text("container address 172.18.0.3:6379"),
            passed: false,
            message: text("refused"),
            latency: Duration::from_millis(1_500),
            at: Timestamp(3_000),
            in_a_row: 4,
        }],
        containers: vec![text("redis")],
        suspended_by: Some((Actor::Caller(text("uid 0")), Timestamp(0))),
        backoff: Some(Waiting {
            key: ResourceKey::service("redis"),
            failures: 2,
            due_in: Some(Duration::from_secs(4)),
        }),
        ending: Some(Ending {
            container: ContainerId("0123".into()),
            at: Some(Timestamp(5_000)),
            how: text("exited with code 1"),
            lines: vec![text("no such table")],
        }),
    };
    let v1::DescribeServiceResponse {
        service,
        spec,
        dependents,
        drift,
        plan,
        probes,
        events,
        manifest,
        containers,
        suspended_by,
        backoff,
        ending,
    } = super::description("redis", description, Vec::new());
    assert_eq!(service.unwrap().name, "redis");
    assert_eq!(
        (spec.as_str(), plan.as_str(), manifest.as_str()),
        ("image: redis:7\n", "update redis", "manifests/redis.yaml")
    );
    assert_eq!((dependents, containers, events), (vec![text("api")], vec![text("redis")], Vec::new()));
    assert_eq!(
        drift,
        [v1::FieldDrift {
            field: text("resources.memory"),
            old: None,
            new: Some(text("512Mi")),
            closed_by: text("in place"),
            cause: text("changed outside env-manager"),
        }]
    );
    assert_eq!(
        probes,
        [v1::ProbeResult {
            probe: text("liveness"),
            passed: false,
            message: text("refused"),
            route: text("container address 172.18.0.3:6379"),
            time: Some(prost_types::Timestamp { seconds: 3, nanos: 0 }),
            took: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            consecutive_failures: 4,
            kind: text("redis"),
        }]
    );
    assert_eq!(suspended_by, "caller uid 0, since 1970-01-01T00:00:00.000Z");
    let due_in = Some(prost_types::Duration { seconds: 4, nanos: 0 });
    assert_eq!(backoff, Some(v1::KeyBackoff { key: text("redis"), failures: 2, due_in }));
    let time = Some(prost_types::Timestamp { seconds: 5, nanos: 0 });
    assert_eq!(ending, Some(v1::Ending { how: text("exited with code 1"), time, lines: vec![text("no such table")] }));
}

#[test]
fn a_log_line_says_which_container_and_which_stream() {
    let line = LogLine {
        container: ContainerId("0123".into()),
        stream: LogStream::Stderr,
        time: Timestamp(1_000),
        line: text("hello"),
    };
    let wanted = v1::ReadLogsResponse {
        container_id: text("0123"),
        stream: text("stderr"),
        time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        line: text("hello"),
    };
    assert_eq!(log_line(line), wanted);
}
