//! Situations of services, whole: plan, status, what is asked for. What is said before `has` was so
//! when the container was made, what is said after it is news.

use std::time::Duration;

use super::case::{NOW, attachment, kafka, network, shows};
use crate::clock::Timestamp;
use crate::plan::types::{DepFacts, Failure};
use crate::resource::image::{ImageState, PullFailureReason, PullProgress};
use crate::resource::labels::SourceId;
use crate::resource::observed::Owner;
use crate::resource::observed::RunState::{Created, Dead, Exited, Paused, Removing, Restarting, Running};
use crate::resource::probe::Probes;
use crate::resource::spec::{DependencyCondition, NetworkMode, Port, Protocol, PullPolicy};
use crate::resource::status::Reason;

/// Died between two calls of a replace.
fn port(host: u16) -> Port {
    Port { host_ip: None, host_port: Some(host), container_port: 9092, protocol: Protocol::Tcp }
}

// ---- from nothing ----------------------------------------------------------------------------------

#[test]
fn nothing_there_is_created_and_started() {
    shows!(kafka().text());
}

#[test]
fn further_networks_and_files_come_between_create_and_start() {
    let mut case = kafka().file("/etc/kafka/server.properties", "a=1").spec(|s| {
        let mut metrics = attachment("metrics");
        metrics.priority = Some(10);
        s.container.networks.push(metrics);
    });
    case.observed.networks.insert("metrics".to_owned(), vec![network("metrics", "net-2")]);
    shows!(case.text());
}

#[test]
fn a_missing_image_is_asked_for_and_waited_for() {
    shows!(kafka().image_absent(ImageState::Absent).text());
}

#[test]
fn a_pull_shows_how_far_it_has_come() {
    let progress = PullProgress { current: 41_000_000, total: 120_000_000 };
    shows!(kafka().image_absent(ImageState::Pulling(progress)).text());
}

fn pull_failed(terminal: bool, attempts: u32) -> ImageState {
    ImageState::Failed {
        message: "pull kafka:1: registry.example does not have it".to_owned(),
        reason: PullFailureReason::NotFound,
        terminal,
        attempts,
        next_at: Some(NOW.plus(Duration::from_secs(8))),
    }
}

#[test]
fn a_pull_that_failed_once_is_tried_again() {
    shows!(kafka().image_absent(pull_failed(false, 1)).text());
}

#[test]
fn an_image_that_is_nowhere_to_be_had_stalls() {
    shows!(kafka().image_absent(pull_failed(true, 1)).text());
}

#[test]
fn pull_policy_always_waits_for_the_registry_even_with_the_image_there() {
    shows!(kafka().spec(|s| s.pull_policy = PullPolicy::Always).text());
}

#[test]
fn an_unmet_dependency_holds_back_the_creation_but_not_the_pull() {
    let case = kafka().dep("zookeeper", DependencyCondition::Ready, DepFacts::default());
    shows!(case.image_absent(ImageState::Absent).text());
}

#[test]
fn a_dependency_that_is_stuck_says_why() {
    let facts = DepFacts { stalled: Some("host port 2181 is taken by nginx".to_owned()), ..DepFacts::default() };
    shows!(kafka().dep("zookeeper", DependencyCondition::Ready, facts).text());
}

#[test]
fn a_one_shot_that_failed_blocks_who_waits_for_its_completion() {
    let facts = DepFacts { completed: Some(3), started: true, ..DepFacts::default() };
    shows!(kafka().dep("migrate", DependencyCondition::Completed, facts).text());
}

#[test]
fn a_host_port_that_is_taken_is_a_conflict_that_names_who() {
    let mut case = kafka().spec(|s| s.container.ports.push(port(9092)));
    case.observed.port_holders.insert((9092, Protocol::Tcp), "container legacy-kafka".to_owned());
    shows!(case.text());
}

#[test]
fn a_foreign_container_of_the_name_is_a_conflict_and_left_alone() {
    shows!(kafka().foreign("kafka").text());
}

#[test]
fn a_container_of_another_folder_is_a_conflict_that_names_the_folder() {
    let mut case = kafka().foreign("kafka");
    let owner = Owner { stack: "default".to_owned(), source: SourceId("host:/other".to_owned()), ..Owner::default() };
    case.observed.foreign[0].owner = Some(owner);
    shows!(case.text());
}

#[test]
fn a_shared_namespace_waits_for_its_host() {
    let case = kafka().spec(|s| {
        s.container.networks.clear();
        s.container.network_mode = Some(NetworkMode::Service("gateway".to_owned()));
    });
    shows!(case.text());
}

#[test]
fn a_creation_that_failed_backs_off_and_says_what_failed() {
    let wait = Some(Duration::from_millis(950));
    shows!(kafka().failed(2, Reason::CreateFailed, "create container kafka: no such device", wait).text());
}

#[test]
fn after_three_failures_it_is_stalled_and_tried_on() {
    let wait = Some(Duration::from_secs(30));
    shows!(kafka().failed(3, Reason::CreateFailed, "create container kafka: no such device", wait).text());
}

#[test]
fn a_terminal_failure_stalls_at_once() {
    let mut case = kafka();
    case.retry.attempts = 1;
    case.retry.failure = Some(Failure {
        reason: Reason::StartFailed,
        terminal: true,
        message: "start container kafka: exec not found: /bin/kafka".to_owned(),
    });
    shows!(case.text());
}

// ---- there, and as it should be --------------------------------------------------------------------

#[test]
fn what_is_as_it_should_be_plans_to_nothing() {
    shows!(kafka().has("kafka", Running).text());
}

#[test]
fn readiness_lost_is_said_and_nothing_is_done() {
    let case = kafka().has("kafka", Running).probes(true, Some(false), "port 9092: connection refused");
    shows!(case.text());
}

#[test]
fn a_dependency_that_fails_later_marks_and_does_not_restart() {
    let case = kafka().dep("zookeeper", DependencyCondition::Ready, DepFacts::default());
    shows!(case.has("kafka", Running).text());
}

#[test]
fn a_start_shows_until_when_it_is_waited_for() {
    let case = kafka().has("kafka", Running).but(|c| c.started_at = Some(Timestamp(NOW.0 - 20_000)));
    shows!(case.probes(false, None, "").text());
}

#[test]
fn what_does_not_come_up_in_time_is_stalled_with_the_last_answer() {
    let case = kafka().has("kafka", Running).but(|c| c.started_at = Some(Timestamp(NOW.0 - 61_000)));
    shows!(case.probes(false, Some(false), "port 9092: connection refused").text());
}

#[test]
fn after_a_restart_of_the_daemon_nobody_has_asked_yet_and_nothing_is_stalled() {
    shows!(kafka().has("kafka", Running).but(|c| c.restarts = 7).probes(false, None, "").text());
}

#[test]
fn a_probe_that_reaches_no_port_is_never_ready() {
    let mut case = kafka().has("kafka", Running).probes(false, None, "no route to port 9092");
    case.probes.unreachable = true;
    shows!(case.but(|c| c.started_at = Some(Timestamp(NOW.0 - 1_000))).text());
}

#[test]
fn paused_outside_is_left_alone() {
    shows!(kafka().has("kafka", Paused).text());
}

#[test]
fn dockers_own_restarts_are_a_crash_loop_once_they_repeat() {
    let case = kafka().has("kafka", Restarting).but(|c| {
        c.restarts = 4;
        c.started_at = Some(Timestamp(NOW.0 - 2_000));
        c.oom_killed = true;
    });
    shows!(case.text());
}

#[test]
fn a_start_in_the_future_tells_of_a_clock_that_was_set() {
    let since = |at| {
        let case = kafka().has("kafka", Running).but(|c| (c.restarts, c.started_at) = (1, Some(Timestamp(at))));
        case.spec(|s| s.probes = Probes::default()).plan()
    };
    assert!(since(NOW.0 + 3_000_000).status.ready);
    assert!(!since(NOW.0 - 1_000).status.ready);
}

#[test]
fn one_crash_after_days_is_no_crash_loop() {
    shows!(kafka().has("kafka", Restarting).but(|c| c.restarts = 4).text());
}

#[test]
fn a_failing_liveness_probe_restarts() {
    let mut case = kafka().has("kafka", Running).probes(true, Some(false), "no answer within 2 s");
    case.probes.live = Some(false);
    shows!(case.text());
}

#[test]
fn a_container_that_somebody_stopped_is_started_again() {
    shows!(kafka().has("kafka", Exited).text());
}

#[test]
fn a_start_that_failed_keeps_the_container_and_repeats_what_the_engine_said() {
    let case = kafka().has("kafka", Created).but(|c| {
        c.error = Some("driver failed programming external connectivity: port is already allocated".to_owned());
    });
    shows!(case.text());
}

#[test]
fn a_creation_cut_short_is_completed() {
    let case = kafka().file("/etc/kafka/server.properties", "a=1");
    shows!(case.has("kafka", Created).but(|c| c.files_marker = None).text());
}

#[test]
fn what_the_engine_left_half_removed_goes_first() {
    shows!(kafka().has("kafka", Dead).text());
}

#[test]
fn a_removal_under_way_is_waited_for() {
    shows!(kafka().has("kafka", Removing).text());
}

#[test]
fn a_misnamed_container_is_renamed_back() {
    shows!(kafka().has("kafka-debug", Running).text());
}

/// An `.old` may have been renamed before the one that came after it was.
#[test]
fn of_two_misnamed_containers_the_one_that_serves_is_renamed_back() {
    for names in [["a", "z"], ["z", "a"]] {
        let [serves, ended] = names;
        let made_first = kafka().has(serves, Running).but(|c| c.created_at = Timestamp(1)).has(ended, Exited);
        let text = made_first.plan().to_string();
        assert!(text.contains(&format!("rename container {serves} to kafka")), "{text}");
    }
}

#[test]
fn a_misnamed_container_beside_the_right_one_is_reported_and_left() {
    shows!(kafka().has("kafka", Running).has("kafka-debug", Running).text());
}

#[test]
fn a_changed_container_name_is_a_rename() {
    shows!(kafka().has("kafka", Running).spec(|s| s.container.name = "broker".to_owned()).text());
}

#[test]
fn a_step_of_the_systems_clock_makes_no_service_late_and_gives_none_more_time() {
    let day = Duration::from_hours(24);
    for engine_now in [NOW.plus(day), NOW.minus(day), NOW] {
        let verdict = |started_before: Duration| {
            let started_at = engine_now.minus(started_before);
            let mut case = kafka().has("kafka", Running).but(|c| c.started_at = Some(started_at));
            case.engine_now = Some(engine_now);
            (case.probes.started, case.probes.ready) = (false, Some(false));
            case.plan()
        };
        let young = verdict(Duration::from_secs(20));
        assert_eq!(young.status.reason, Reason::Starting, "{engine_now}");
        assert_eq!(young.wake_at, Some(NOW.plus(Duration::from_secs(40))), "{engine_now}");
        assert_eq!(verdict(Duration::from_secs(61)).status.reason, Reason::StartupDeadlineExceeded, "{engine_now}");
    }
}

#[test]
fn what_a_killed_engine_can_never_start_is_made_again() {
    let case = kafka().has("kafka", Created).but(|c| c.error = Some("task 4a1c577c3f39: already exists".to_owned()));
    let plan = case.plan();
    let text = plan.to_string();
    assert!(text.contains("remove container kafka") && !text.contains("start container"), "{text}");
    let other = kafka().has("kafka", Created).but(|c| c.error = Some("driver failed: already exists".to_owned()));
    assert!(other.plan().to_string().contains("start container"), "what may start is started");
}
