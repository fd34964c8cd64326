//! What a daemon's messages become.

use super::super::describe::DescribeReport;
use super::super::events::{EventReport, Lines};
use super::super::follow::{Whole, is_stuck};
use super::super::json::to_json;
use super::super::progress::Seen;
use super::*;
use crate::grpc::convert::{convergence, moment, span};
use crate::proto::env_manager::v1;
use crate::report::StatusReport;

fn message(statuses: Vec<(ResourceKey, Status)>, whole: bool, removed: &[&str]) -> v1::WatchConvergenceResponse {
    v1::WatchConvergenceResponse {
        convergence: Some(convergence(StatusReport::new(&view(statuses), &[]), "0.1.0")),
        removed: removed.iter().map(|name| (*name).to_owned()).collect(),
        whole,
    }
}

#[test]
fn changes_are_put_into_the_whole() {
    let redis = || (ResourceKey::service("redis"), ready(true, "PONG"));
    let network = || (ResourceKey::network("env-manager"), ready(false, "exists"));
    let kafka = |reason| (ResourceKey::service("kafka"), at(reason, ""));
    let mut whole = Whole::default();
    assert!(whole.take_in(message(vec![redis()], false, &[])).is_none(), "a change of what is not known yet");

    let (report, seen) = whole.take_in(message(vec![network(), redis()], true, &[])).unwrap();
    assert_eq!(*report, StatusReport::new(&view(vec![network(), redis()]), &[]));
    assert_eq!(seen, [Seen::of_resource(&report.resources[0]), Seen::of_service(&report.services[0])]);

    let (report, seen) = whole.take_in(message(vec![kafka(Reason::Creating)], false, &[])).unwrap();
    let names: Vec<_> = report.services.iter().map(|s| &*s.name).collect();
    assert_eq!((names, report.converged, seen.len()), (vec!["kafka", "redis"], false, 1));
    assert_eq!(report.resources.len(), 1);

    let (report, _) = whole.take_in(message(vec![], false, &["kafka", "network/env-manager"])).unwrap();
    assert_eq!(*report, StatusReport::new(&view(vec![redis()]), &[]));

    // Another daemon begins anew.
    let (report, _) = whole.take_in(message(vec![kafka(Reason::Pending)], true, &[])).unwrap();
    assert_eq!(report.services.len(), 1);
}

#[test]
fn progress_is_the_same_whoever_makes_it() {
    let volume = Status { container: None, ..ready(false, "exists") };
    for (key, status) in [
        (ResourceKey::service("redis"), ready(true, " PONG ")),
        (ResourceKey::service("reddb"), stalled(true, Reason::ImageNotFound, "not found")),
        (ResourceKey::service("kafka"), at(Reason::Starting, "started")),
        (ResourceKey::network("n"), stalled(false, Reason::NetworkConflict, "taken")),
        (ResourceKey::volume("v"), volume),
    ] {
        let report = StatusReport::new(&view(vec![(key.clone(), status.clone())]), &[]);
        let told = match key.kind {
            crate::resource::Kind::Service => Seen::of_service(&report.services[0]),
            _ => Seen::of_resource(&report.resources[0]),
        };
        assert_eq!(told, Seen::of(&key, &status));
    }
}

#[test]
fn who_waits_for_what_is_stalled_waits_for_nothing() {
    let stuck = |view: &View| is_stuck(&StatusReport::new(view, &[]));
    let reddb = || (ResourceKey::service("reddb"), stalled(true, Reason::ImageNotFound, "not found"));
    let redis = || (ResourceKey::service("redis"), ready(true, "PONG"));
    let kafka = || (ResourceKey::service("kafka"), at(Reason::Starting, "started"));
    assert!(stuck(&view(vec![redis(), reddb()])));
    assert!(!stuck(&view(vec![reddb(), kafka()])), "one of them is on its way");
    assert!(!stuck(&view(vec![redis()])), "all is well");
    let mut invalid = view(vec![redis()]);
    invalid.invalid_manifests = 1;
    assert!(stuck(&invalid), "the others are as they should be");
    invalid.engine.reachable = false;
    assert!(!stuck(&invalid), "the engine may come back");
    let network = (ResourceKey::network("n"), stalled(false, Reason::NetworkConflict, "taken"));
    assert!(stuck(&view(vec![network])));
}

fn event(sequence: u64, subject: &str, reason: &str, message: &str) -> v1::Event {
    let time = Timestamp(NOW.0 - 3_600_000 + sequence * 1000);
    v1::Event {
        sequence,
        first_time: Some(moment(Timestamp(time.0 - 130_000))),
        last_time: Some(moment(time)),
        count: 1,
        subject: subject.to_owned(),
        warning: false,
        reason: reason.to_owned(),
        message: message.to_owned(),
        by: "env-manager".to_owned(),
        revision: "3f2a91c".to_owned(),
    }
}

fn events() -> Vec<v1::Event> {
    let outside = |e: v1::Event| v1::Event { by: "outside".to_owned(), warning: true, ..e };
    let old = Timestamp(NOW.0 - 90_000_000);
    vec![
        v1::Event { last_time: Some(moment(old)), ..event(0, "", "DaemonStarted", "env-manager 0.1.0") },
        outside(event(1, "zookeeper", "ContainerGone", "container removed outside env-manager (docker rm)")),
        event(2, "zookeeper", "Created", "from image cp-zookeeper:7.9.1, generation 1"),
        v1::Event { count: 7, warning: true, ..event(3, "kafka", "NotReady", "\u{1b}[2Jconnection\nrefused") },
        event(4, "network/env-manager", "Connected", "kafka"),
    ]
}

#[test]
fn events_stand_in_columns_with_their_counts() {
    let reports: Vec<_> = events().into_iter().map(EventReport::new).collect();
    let text = |mut lines: Lines| {
        lines.measure(&reports);
        plain(&reports.iter().map(|e| lines.line(e, NOW)).collect::<String>())
    };
    insta::assert_snapshot!(text(Lines::new(false)));
    insta::assert_snapshot!("events_wide", text(Lines::new(true)));
    let mut lines = Lines::new(false);
    let followed: Vec<_> = reports.iter().map(|e| plain(&lines.line(e, NOW))).collect();
    assert!(followed[1].starts_with("10:06:41  zookeeper  ContainerGone  container removed"), "{followed:?}");
    assert!(Lines::new(false).line(&reports[1], NOW).contains("\u{1b}[33mContainerGone\u{1b}[0m"));
    let line = plain(&Lines::new(false).expecting(["infermesh-node-a"].into_iter()).line(&reports[4], NOW));
    assert_eq!(line, "10:06:44  network/env-manager  Connected            kafka\n");
    let line = plain(&Lines::new(false).expecting(["infermesh-node-a"].into_iter()).line(&reports[2], NOW));
    assert!(line.starts_with("10:06:42  zookeeper         Created              from"), "{line}");
    insta::assert_snapshot!("event_json", to_json(&reports[3]));
}

fn described() -> DescribeReport {
    let mut kafka = ready(false, "HTTP 200 from /health");
    kafka.container.as_mut().unwrap().restarts = 3;
    let zookeeper =
        Dependency { service: "zookeeper".to_owned(), condition: DependencyCondition::Ready, restart: false };
    let gone = Dependency { service: "gone".to_owned(), condition: DependencyCondition::Started, restart: false };
    kafka.depends_on = vec![zookeeper, gone];
    let all = view(vec![
        (ResourceKey::service("kafka"), kafka.clone()),
        (ResourceKey::service("zookeeper"), stalled(true, Reason::CrashLoop, "ended")),
    ]);
    let probe = |role: &str, kind: &str, failures: u32| v1::ProbeResult {
        probe: role.to_owned(),
        passed: failures == 0,
        message: if failures == 0 { "HTTP 200 from /health" } else { "connection refused" }.to_owned(),
        route: "container address 172.18.0.3:8082".to_owned(),
        time: Some(moment(Timestamp(NOW.0 - 4_000))),
        took: Some(span(Duration::from_micros(1_300))),
        consecutive_failures: failures,
        kind: kind.to_owned(),
    };
    let drift = v1::FieldDrift {
        field: "resources.memory".to_owned(),
        old: Some("2GiB".to_owned()),
        new: None,
        closed_by: "in place".to_owned(),
        cause: "spec differs".to_owned(),
    };
    let description = v1::DescribeServiceResponse {
        service: Some(crate::grpc::convert::service(crate::report::ServiceReport::new("kafka", &kafka))),
        spec: "container:\n  image: confluentinc/cp-kafka:7.9.1\n  restart: UnlessStopped\nports:\n- 127.0.0.1:9092:29092/tcp\n".to_owned(),
        dependents: vec!["app".to_owned(), "ui".to_owned()],
        drift: vec![drift],
        plan: "kafka: change in place\n    resources.memory  2GiB → (unset)".to_owned(),
        probes: vec![probe("readiness", "http", 0), probe("liveness", "tcp", 4)],
        events: (0..12).map(|n| event(n, "kafka", "Ready", &format!("number {n}"))).collect(),
        manifest: "manifests/kafka.yaml".to_owned(),
        containers: vec!["kafka".to_owned()],
        suspended_by: "caller uid 0, since 2026-11-18T10:00:00.000Z".to_owned(),
        backoff: Some(v1::KeyBackoff {
            key: "kafka".to_owned(),
            failures: 3,
            due_in: Some(span(Duration::from_secs(20))),
        }),
        ending: Some(v1::Ending {
            how: "exited with code 1".to_owned(),
            time: Some(moment(Timestamp(NOW.0 - 4_000))),
            lines: vec!["ERROR no such table".to_owned(), "\u{1b}[31mleaving".to_owned()],
        }),
    };
    DescribeReport::new(description, &StatusReport::new(&all, &[]))
}

#[test]
fn a_description_has_everything_and_the_newest_events() {
    insta::assert_snapshot!(plain(&described().render(None)));
    insta::assert_snapshot!("describe_json", to_json(&described()));
    for line in plain(&described().render(Some(80))).lines() {
        assert!(line.chars().count() <= 80 || line.contains("http"), "{line}");
    }
}

#[test]
fn a_description_leaves_out_what_there_is_not() {
    let service = crate::grpc::convert::service(crate::report::ServiceReport::new(
        "x",
        &at(Reason::Pending, "not looked at yet"),
    ));
    let description = v1::DescribeServiceResponse { service: Some(service), ..Default::default() };
    let report = DescribeReport::new(description, &StatusReport::new(&view(vec![]), &[]));
    insta::assert_snapshot!(plain(&report.render(None)));
}
