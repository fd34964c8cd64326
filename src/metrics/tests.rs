#![expect(clippy::float_cmp, reason = "what is counted here is whole, or made of what floats hold exactly")]

use std::collections::BTreeSet;

use super::*;
use crate::backoff::{Backoff, Noise};
use crate::daemon::Environment;
use crate::daemon::played::Played;
use crate::queue::{Queue, Snapshot};
use crate::report::View;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn idle() -> Snapshot<u8> {
    Snapshot { depth: 0, in_flight: Vec::new(), oldest_age: None, waiting: Vec::new() }
}

fn value(metrics: &Metrics, view: &View, name: &str) -> Option<f64> {
    metrics.values(view, &idle()).get(&format!("env_manager_{name}")).copied()
}

/// As `(name, type, label names)`.
fn series(text: &str) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    let mut current = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            current = (name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once("} ")).map_or("", |(l, _)| l);
            let names = labels.split(',').filter_map(|l| l.split_once('=')).map(|(name, _)| name);
            let names: Vec<_> = names.filter(|name| *name != "le").collect();
            found.insert((current.0.clone(), current.1.clone(), names.join(", ")));
        }
    }
    found
}

/// A metric of every kind, of one service.
fn told() -> (Metrics, Played) {
    let (metrics, environment) = (Metrics::new("0.1.0"), Played::default());
    environment.ready("redis");
    metrics.set_services(["redis"]);
    metrics.probe("redis", ProbeRole::Readiness, true, ms(2));
    (metrics, environment)
}

#[test]
fn every_series_bears_its_name_and_has_a_row_in_the_documentation() {
    let (metrics, environment) = told();
    let text = metrics.render(Format::Text, &environment.view(), &idle());
    let shown = series(&text);
    let docs = include_str!("../../docs/metrics.md");
    let cells = |line: &str| line.split('|').map(|c| c.trim().replace('`', "")).collect::<Vec<_>>();
    let documented: BTreeSet<_> = docs
        .lines()
        .filter(|l| l.starts_with("| `env_manager_"))
        .map(cells)
        // name, type, unit, labels, meaning
        .map(|c| (c[1].clone(), c[2].clone(), c[4].clone()))
        .collect();
    assert_eq!(shown, documented);

    // What stands in the contract with users.
    let names: BTreeSet<_> = shown.iter().map(|(name, _, _)| name.strip_prefix("env_manager_").unwrap()).collect();
    let promised = [
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_queue_duration_seconds",
        "workqueue_work_duration_seconds",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
        "workqueue_retries_total",
        "reconcile_total",
        "reconcile_duration_seconds",
        "active_workers",
        "drift_total",
        "converged",
        "healthy",
        "time_to_converge_seconds",
        "service_ready",
        "service_restarts_total",
        "probe_duration_seconds",
        "docker_api_duration_seconds",
        "source_revision_info",
        "source_errors_total",
        "build_info",
        "service_start_total",
        "service_stop_total",
        "failed_service_starts_total",
        "active_services",
        "service_health_check_duration_seconds",
    ];
    assert_eq!(names, promised.into_iter().collect());
}

#[test]
fn both_formats_have_the_same_samples() {
    let (metrics, environment) = told();
    let samples = |format| {
        let text = metrics.render(format, &environment.view(), &idle());
        // Where `le` stands and how numbers are written differs.
        let lines = text.lines().filter(|l| !l.starts_with('#') && !l.contains("le=\""));
        lines.filter_map(|l| l.rsplit_once(' ').map(|(name, _)| name.to_owned())).collect::<Vec<_>>()
    };
    let (ours, theirs) = (samples(Format::Text), samples(Format::OpenMetrics));
    assert!(ours == theirs, "{ours:?}");
    let text = metrics.render(Format::OpenMetrics, &environment.view(), &idle());
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    assert!(text.contains("# TYPE env_manager_source_revision info\n"));
}

#[test]
fn what_can_be_counted_is_there_at_zero_from_the_start() {
    let (metrics, environment) = (Metrics::new("0.1.0"), Played::default());
    let view = environment.view();
    let mut values = metrics.values(&view, &idle());
    assert_eq!(values.remove("env_manager_build_info{version=\"0.1.0\"}"), Some(1.0));
    let revision = format!("env_manager_source_revision_info{{revision=\"{}\"}}", view.source.revision);
    assert_eq!(values.remove(&revision), Some(1.0));
    for verdict in ["env_manager_converged", "env_manager_healthy"] {
        assert_eq!(values.remove(verdict), Some(1.0), "{verdict} of nothing");
    }
    assert!(values.values().all(|v| *v == 0.0), "{values:?}");
    for row in DEADLINES {
        let name = format!(
            "env_manager_docker_api_duration_seconds_count{{operation=\"{}\",status=\"error\"}}",
            row.operation
        );
        assert_eq!(values.contains_key(&name), row.call != Call::Events, "{name}");
    }
    for name in
        ["reconcile_total{result=\"retry\"}", "drift_total{kind=\"replace\"}", "workqueue_adds_total", "active_workers"]
    {
        assert!(values.contains_key(&format!("env_manager_{name}")), "{name}");
    }

    metrics.set_services(["redis"]);
    environment.set_service("redis", true, Reason::Starting, "no answer yet");
    for name in [
        "service_ready{service=\"redis\"}",
        "service_restarts_total{service=\"redis\"}",
        "service_start_total{service_name=\"redis\",status=\"failure\"}",
        "service_stop_total{service_name=\"redis\",status=\"success\"}",
        "failed_service_starts_total{service_name=\"redis\",reason=\"PortConflict\"}",
        "service_health_check_duration_seconds_count{service_name=\"redis\",status=\"unhealthy\"}",
    ] {
        assert_eq!(value(&metrics, &environment.view(), name), Some(0.0), "{name}");
    }
}

#[test]
fn what_is_told_is_counted() {
    let (metrics, environment) = told();
    let view = environment.view();
    let of = |name: &str| value(&metrics, &view, name).unwrap_or_else(|| panic!("{name}"));
    metrics.reconciled(Outcome::Success, ms(20));
    metrics.reconciled(Outcome::RequeueAfter(ms(1)), ms(30));
    metrics.reconciled(Outcome::Retry, ms(1));
    metrics.reconciled(Outcome::RetryAfter(ms(1)), ms(1));
    for result in RESULTS {
        assert_eq!(of(&format!("reconcile_total{{result=\"{result}\"}}")), 1.0, "{result}");
    }
    assert_eq!(of("reconcile_duration_seconds_count"), 4.0);
    assert!((of("reconcile_duration_seconds_sum") - 0.052).abs() < 1e-9);
    metrics.drift(DriftKind::InPlace);
    assert_eq!(of("drift_total{kind=\"in_place\"}"), 1.0);
    metrics.probe("redis", ProbeRole::Liveness, false, ms(3));
    assert_eq!(of("probe_duration_seconds_count{service=\"redis\",probe=\"liveness\",result=\"failed\"}"), 1.0);
    assert_eq!(of("probe_duration_seconds_count{service=\"redis\",probe=\"liveness\",result=\"passed\"}"), 0.0);
    assert_eq!(of("service_health_check_duration_seconds_count{service_name=\"redis\",status=\"unhealthy\"}"), 1.0);
    CallMeter::called(&metrics, "start container", false, ms(120));
    assert_eq!(of("docker_api_duration_seconds_count{operation=\"start container\",status=\"error\"}"), 1.0);
    metrics.service_started("redis", true);
    metrics.service_stopped("redis", false);
    metrics.start_failed("redis", Reason::CrashLoop);
    assert_eq!(of("service_start_total{service_name=\"redis\",status=\"success\"}"), 1.0);
    assert_eq!(of("service_stop_total{service_name=\"redis\",status=\"failure\"}"), 1.0);
    assert_eq!(of("failed_service_starts_total{service_name=\"redis\",reason=\"CrashLoop\"}"), 1.0);
    metrics.source_loaded(2);
    metrics.source_loaded(1);
    assert_eq!(of("source_errors_total"), 3.0);
    metrics.converged(ms(1500));
    assert_eq!(of("time_to_converge_seconds_sum"), 1.5);
}

#[test]
fn a_service_that_is_removed_takes_its_series_along_and_none_comes_back() {
    let (metrics, environment) = told();
    metrics.set_services(["redis", "kafka"]);
    environment.ready("kafka");
    metrics.probe("kafka", ProbeRole::Startup, true, ms(1));
    let before = metrics.values(&environment.view(), &idle());
    assert!(before.keys().any(|k| k.contains("kafka")));
    metrics.set_services(["redis"]);
    environment.remove("kafka");
    // What was under way when it was removed.
    metrics.probe("kafka", ProbeRole::Startup, false, ms(1));
    metrics.service_stopped("kafka", true);
    metrics.start_failed("kafka", Reason::StartFailed);
    metrics.restarts("kafka", 3);
    let after = metrics.values(&environment.view(), &idle());
    assert_eq!(after.keys().filter(|k| k.contains("kafka")).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(
        after.keys().filter(|k| k.contains("redis")).count(),
        before.keys().filter(|k| k.contains("redis")).count()
    );
}

#[test]
fn services_that_stay_keep_their_numbers() {
    let (metrics, environment) = told();
    metrics.service_started("redis", true);
    metrics.restarts("redis", 2);
    metrics.set_services(["kafka", "redis"]);
    metrics.restarts("redis", 3);
    let view = environment.view();
    assert_eq!(value(&metrics, &view, "service_start_total{service_name=\"redis\",status=\"success\"}"), Some(1.0));
    assert_eq!(value(&metrics, &view, "service_restarts_total{service=\"redis\"}"), Some(3.0));
}

#[test]
fn restarts_never_fall_though_the_next_container_begins_at_zero() {
    let (metrics, environment) = told();
    let view = environment.view();
    for (total, expected) in [(0, 0.0), (2, 2.0), (2, 2.0), (0, 2.0), (1, 3.0), (4, 6.0), (3, 9.0)] {
        metrics.restarts("redis", total);
        assert_eq!(value(&metrics, &view, "service_restarts_total{service=\"redis\"}"), Some(expected), "{total}");
    }
}

#[test]
fn what_is_a_fact_of_the_moment_follows_the_view() {
    let (metrics, environment) = told();
    environment.set_service("kafka", true, Reason::Completed, "done");
    environment.set_service("ollama", false, Reason::ProbeFailed, "refused");
    let at = |name: &str| value(&metrics, &environment.view(), name);
    assert_eq!(at("service_ready{service=\"redis\"}"), Some(1.0));
    assert_eq!(at("service_ready{service=\"kafka\"}"), Some(1.0));
    assert_eq!(at("service_ready{service=\"ollama\"}"), Some(0.0));
    assert_eq!((at("healthy"), at("converged"), at("active_services")), (Some(1.0), Some(0.0), Some(3.0)));
    environment.set_service("redis", true, Reason::ProbeFailed, "refused");
    assert_eq!((at("service_ready{service=\"redis\"}"), at("healthy")), (Some(0.0), Some(0.0)));
    environment.change_context(|context| context.source.revision = "abc".to_owned());
    assert_eq!(at("source_revision_info{revision=\"abc\"}"), Some(1.0));

    let busy = Snapshot { depth: 3, in_flight: vec![(1, ms(500)), (2, ms(1500))], ..idle() };
    let values = metrics.values(&environment.view(), &busy);
    assert_eq!(values["env_manager_workqueue_depth"], 3.0);
    assert_eq!(values["env_manager_active_workers"], 2.0);
    assert_eq!(values["env_manager_workqueue_unfinished_work_seconds"], 2.0);
    assert_eq!(values["env_manager_workqueue_longest_running_processor_seconds"], 1.5);
}

#[tokio::test(start_paused = true)]
async fn a_queue_tells_its_numbers() {
    let metrics = Metrics::new("0.1.0");
    let queue: Queue<&str> = Queue::with_metrics(Backoff::default(), Noise::new(1), Box::new(metrics.clone()));
    queue.add("redis");
    tokio::time::advance(ms(2)).await;
    let lease = queue.next().await.unwrap();
    tokio::time::advance(ms(100)).await;
    lease.done(Outcome::Retry);
    let totals = metrics.queue_totals();
    assert_eq!((totals.adds, totals.retries), (1, 1));
    assert_eq!((totals.queue_duration.count, totals.work_duration.count), (1, 1));
    assert!((totals.queue_duration.sum - 0.002).abs() < 1e-9 && (totals.work_duration.sum - 0.1).abs() < 1e-9);
    let below: Vec<_> = totals.queue_duration.buckets.iter().map(|(_, n)| *n).collect();
    assert_eq!(below, [0, 0, 0, 1, 1, 1, 1, 1]);
}

#[test]
fn buckets_are_cumulative_and_their_bounds_inclusive() {
    let histogram = Histogram::new(&[0.01, 0.1]);
    for took in [ms(10), ms(11), ms(100), ms(101)] {
        histogram.observe(took);
    }
    let Distribution { count, sum, buckets } = histogram.distribution();
    assert_eq!((count, buckets), (4, vec![(0.01, 1), (0.1, 3), (f64::INFINITY, 4)]));
    assert!((sum - 0.222).abs() < 1e-9);
}

#[test]
fn every_table_of_buckets_ascends() {
    for bounds in [histogram::QUEUE, histogram::RECONCILE, histogram::DOCKER, histogram::PROBE, histogram::CONVERGE] {
        assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
    }
}

#[test]
fn the_format_is_what_the_scraper_prefers() {
    // As Prometheus 2.45, 3.0 and a browser ask.
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                        text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let text_first = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    assert_eq!(Format::accepted(prometheus_2), Format::OpenMetrics);
    assert_eq!(Format::accepted(text_first), Format::Text);
    assert_eq!(Format::accepted("Application/OpenMetrics-Text; q=0"), Format::Text);
    for anything in [browser, "", "*/*", ";;q=,", "application/openmetrics-text;q=0.1,text/plain"] {
        assert_eq!(Format::accepted(anything), Format::Text, "{anything}");
    }
}
