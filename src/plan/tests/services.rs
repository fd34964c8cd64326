//! Situations of services, whole: plan, status, what is asked for. What is said before `has` was so
//! when the container was made, what is said after it is news.

use std::collections::BTreeMap;
use std::time::Duration;

use super::case::{Case, NOW, attachment, kafka, network, shows};
use crate::clock::Timestamp;
use crate::plan::types::{DepFacts, Failure, Mode};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::image::{ImageState, PullFailureReason, PullProgress};
use crate::resource::labels::SourceId;
use crate::resource::observed::Owner;
use crate::resource::observed::RunState::{self, Created, Dead, Exited, Paused, Removing, Restarting, Running};
use crate::resource::secret::Secret;
use crate::resource::spec::{
    DependencyCondition, DesiredState, Mount, MountSource, NetworkMode, Port, Protocol, PullPolicy, RestartPolicy,
    SecretSource,
};
use crate::resource::status::Reason;

fn older(state: RunState) -> Case {
    kafka().has("kafka", state).image_is("kafka:2")
}

/// Died between two calls of a replace.
fn replacing(current: Option<RunState>, next: Option<RunState>, old: Option<RunState>) -> Case {
    let mut case = kafka();
    for (name, state) in [("kafka.old", old), ("kafka", current)] {
        if let Some(state) = state {
            // The current one is the new one, where the old one is out of the way.
            if name == "kafka" && old.is_some() {
                case = case.image_is("kafka:2");
            }
            case = case.has(name, state);
        }
    }
    case = case.image_is("kafka:2");
    if let Some(state) = next {
        case = case.has("kafka.next", state);
    }
    case
}

fn port(host: u16) -> Port {
    Port { host_ip: None, host_port: Some(host), container_port: 9092, protocol: Protocol::Tcp }
}

fn one_shot() -> Case {
    kafka().spec(|s| {
        s.container.restart = RestartPolicy::No;
        s.probes.readiness = None;
    })
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

#[test]
fn a_misnamed_container_beside_the_right_one_is_reported_and_left() {
    shows!(kafka().has("kafka", Running).has("kafka-debug", Running).text());
}

#[test]
fn a_changed_container_name_is_a_rename() {
    shows!(kafka().has("kafka", Running).spec(|s| s.container.name = "broker".to_owned()).text());
}

// ---- changed ---------------------------------------------------------------------------------------

#[test]
fn another_image_replaces() {
    shows!(older(Running).text());
}

#[test]
fn another_image_that_is_not_there_yet_leaves_the_old_one_running() {
    shows!(older(Running).image_absent(ImageState::Absent).text());
}

#[test]
fn a_replace_waits_for_dependencies_while_the_old_one_serves() {
    shows!(older(Running).dep("zookeeper", DependencyCondition::Ready, DepFacts::default()).text());
}

#[test]
fn a_tag_that_points_elsewhere_replaces() {
    let mut case = kafka().has("kafka", Running);
    case.observed.spec_image = Some(super::case::image("kafka:2"));
    shows!(case.text());
}

#[test]
fn a_crash_loop_is_replaced_by_stopping_it_first() {
    shows!(older(Restarting).text());
}

#[test]
fn env_and_ports_are_shown_field_by_field() {
    let case = kafka().spec(|s| {
        s.container.env.insert("KAFKA_BROKER_ID".to_owned(), "1".to_owned());
        s.container.ports.push(port(9092));
    });
    let case = case.has("kafka", Running).spec(|s| {
        s.container.env.insert("KAFKA_BROKER_ID".to_owned(), "2".to_owned());
        s.container.env.insert("KAFKA_LISTENERS".to_owned(), "PLAINTEXT://:9092".to_owned());
        s.container.ports[0] = port(19092);
    });
    shows!(case.text());
}

#[test]
fn p15_a_changed_secret_replaces_and_is_not_shown() {
    let mut case = kafka().spec(|s| {
        s.container.secret_env.insert("TOKEN".to_owned(), SecretSource::FromEnv("TOKEN".to_owned()));
    });
    case.secrets = BTreeMap::from([("TOKEN".to_owned(), Secret::new("hunter2"))]);
    let mut case = case.has("kafka", Running);
    case.secrets.insert("TOKEN".to_owned(), Secret::new("correct horse"));
    let text = case.text();
    assert!(!format!("{text}{:?}", case.plan()).contains("horse"));
    shows!(text);
}

#[test]
fn changed_files_replace() {
    let case = kafka().file("/etc/kafka/server.properties", "a=1").has("kafka", Running);
    shows!(case.file("/etc/kafka/server.properties", "a=2").text());
}

#[test]
fn files_under_a_read_only_root_are_bound_by_their_contents() {
    let case = kafka().file("/etc/kafka/server.properties", "a=1");
    let case = case.spec(|s| s.container.security.read_only_root_filesystem = true).has("kafka", Running);
    shows!(case.file("/etc/kafka/server.properties", "a=2").text());
}

#[test]
fn what_somebody_changed_is_told_from_what_the_manifest_changed() {
    let case = kafka().has("kafka", Running).but(|c| {
        c.config.env.insert("DEBUG".to_owned(), "1".to_owned());
    });
    shows!(case.text());
}

#[test]
fn a_restart_policy_is_changed_in_place() {
    shows!(kafka().has("kafka", Running).spec(|s| s.container.restart = RestartPolicy::Always).text());
}

#[test]
fn a_network_that_was_made_again_is_joined_in_place() {
    let mut case = kafka().has("kafka", Running);
    case.observed.networks.insert("env-manager".to_owned(), vec![network("env-manager", "net-9")]);
    shows!(case.text());
}

#[test]
fn further_networks_are_joined_and_left_in_place() {
    let mut case = kafka().has("kafka", Running).spec(|s| s.container.networks = vec![attachment("metrics")]);
    case.observed.networks.insert("metrics".to_owned(), vec![network("metrics", "net-2")]);
    shows!(case.text());
}

#[test]
fn an_in_place_change_that_failed_is_said_and_never_silently_a_replace() {
    let case = kafka().has("kafka", Running).spec(|s| s.container.restart = RestartPolicy::Always);
    let wait = Some(Duration::from_secs(1));
    shows!(case.failed(1, Reason::StartFailed, "update container kafka: 500", wait).text());
}

#[test]
fn sharing_the_namespace_of_a_replaced_container_replaces() {
    let share = |id: &str| ContainerId::new(id.repeat(64));
    let mut case = kafka().spec(|s| {
        s.container.networks.clear();
        s.container.network_mode = Some(NetworkMode::Service("gateway".to_owned()));
    });
    case.observed.namespaces.insert("gateway".to_owned(), share("a"));
    let mut case = case.has("kafka", Running);
    case.observed.namespaces.insert("gateway".to_owned(), share("b"));
    shows!(case.text());
}

#[test]
fn anonymous_volumes_are_handed_on() {
    let mount = |source| Mount { target: "/data".to_owned(), source, read_only: false };
    let case = kafka().spec(|s| s.container.mounts.push(mount(MountSource::Anonymous))).has("kafka", Running);
    let handed = case.observed.owned[0].anonymous.clone();
    let plan = case.image_is("kafka:2").plan();
    let crate::plan::Op::CreateContainer(create) = &plan.stages[0].steps[0].op else { panic!("{plan}") };
    assert_eq!(create.inherited, handed);
    assert_eq!(handed.len(), 1);
}

#[test]
fn a_foreign_container_in_the_way_of_a_replace_is_named_and_the_old_one_serves() {
    shows!(older(Running).foreign("kafka.next").text());
}

// ---- died in the middle of it ------------------------------------------------------------------------

#[test]
fn created_next_while_the_old_one_serves_goes_on() {
    shows!(replacing(Some(Running), Some(Created), None).text());
}

#[test]
fn a_replace_that_has_begun_goes_on_without_its_dependencies() {
    let case = replacing(Some(Exited), Some(Created), None);
    shows!(case.dep("zookeeper", DependencyCondition::Ready, DepFacts::default()).text());
}

#[test]
fn old_and_next_without_a_current_one_goes_on() {
    shows!(replacing(None, Some(Created), Some(Exited)).text());
}

#[test]
fn the_new_one_created_under_the_name_is_started_whatever_dependencies_say() {
    let case = replacing(Some(Created), None, Some(Exited));
    shows!(case.dep("zookeeper", DependencyCondition::Ready, DepFacts::default()).text());
}

#[test]
fn the_new_one_started_is_waited_for() {
    let case = replacing(Some(Running), None, Some(Exited)).probes(false, None, "");
    shows!(case.text());
}

#[test]
fn once_the_new_one_is_ready_the_old_one_is_removed() {
    shows!(replacing(Some(Running), None, Some(Exited)).text());
}

#[test]
fn old_alone_is_created_anew() {
    shows!(replacing(None, None, Some(Exited)).text());
}

#[test]
fn old_alone_serves_while_the_new_image_is_not_there() {
    shows!(replacing(None, None, Some(Exited)).image_absent(ImageState::Absent).text());
}

#[test]
fn old_alone_that_fits_again_is_taken_back() {
    shows!(replacing(None, None, Some(Exited)).image_is("kafka:1").text());
}

#[test]
fn an_edit_in_the_middle_of_a_replace_discards_the_stale_one() {
    shows!(replacing(Some(Running), Some(Created), None).image_is("kafka:3").text());
}

#[test]
fn an_edit_after_the_old_one_was_stopped_lets_it_serve_until_the_newest_image_is_there() {
    let case = replacing(Some(Exited), Some(Created), None).but(|_| {});
    let mut case = case.image_is("kafka:3").image_absent(ImageState::Absent);
    let current = &mut case.observed.owned[0];
    (current.config.restart, current.exit_code) = (RestartPolicy::No, Some(143));
    shows!(case.text());
}

#[test]
fn an_edit_back_removes_the_replacement() {
    shows!(replacing(Some(Running), Some(Created), None).image_is("kafka:1").text());
}

#[test]
fn a_newer_revision_supersedes_one_that_does_not_come_up_and_keeps_the_old_one() {
    let case = replacing(Some(Running), None, Some(Exited)).probes(false, Some(false), "connection refused");
    shows!(case.image_is("kafka:3").text());
}

#[test]
fn an_old_one_that_somebody_started_is_stopped() {
    shows!(replacing(Some(Running), None, Some(Running)).probes(false, None, "").text());
}

#[test]
fn a_refused_revision_is_kept_and_stays_quiet() {
    shows!(kafka().has("kafka", Running).has("kafka.failed", Exited).text());
}

// ---- one-shots -------------------------------------------------------------------------------------

#[test]
fn a_one_shot_that_is_done_is_completed() {
    shows!(one_shot().has("kafka", Exited).but(|c| c.exit_code = Some(0)).text());
}

#[test]
fn a_one_shot_that_failed_is_stalled_and_not_run_again() {
    shows!(one_shot().has("kafka", Exited).but(|c| c.exit_code = Some(3)).text());
}

#[test]
fn a_changed_one_shot_runs_again() {
    shows!(one_shot().has("kafka", Exited).but(|c| c.exit_code = Some(0)).image_is("kafka:2").text());
}

// ---- not to run ------------------------------------------------------------------------------------

#[test]
fn a_stopped_service_loses_its_policy_before_it_is_stopped() {
    shows!(kafka().has("kafka", Running).spec(|s| s.state = DesiredState::Stopped).text());
}

#[test]
fn a_stopped_service_is_settled() {
    let case = kafka().has("kafka", Exited).but(|c| c.config.restart = RestartPolicy::No);
    shows!(case.spec(|s| s.state = DesiredState::Stopped).text());
}

#[test]
fn a_service_that_was_stopped_on_purpose_gets_its_policy_back() {
    shows!(kafka().has("kafka", Exited).but(|c| c.config.restart = RestartPolicy::No).text());
}

#[test]
fn a_suspended_service_is_left_as_it_is() {
    shows!(older(Exited).mode(Mode::Suspended).text());
}

#[test]
fn a_broken_manifest_leaves_what_runs() {
    let mut case = older(Running).mode(Mode::Frozen);
    case.unknown = true;
    shows!(case.text());
}

#[test]
fn a_broken_manifest_does_not_keep_what_ended_from_being_started_again() {
    let mut case = older(Exited).mode(Mode::Frozen);
    case.unknown = true;
    shows!(case.text());
}

#[test]
fn a_broken_manifest_goes_on_with_the_last_good_spec_and_compares_nothing() {
    shows!(older(Running).mode(Mode::Frozen).text());
}

#[test]
fn a_broken_manifest_in_mid_replace_takes_the_old_one_back() {
    let mut case = replacing(None, Some(Created), Some(Exited)).mode(Mode::Frozen);
    case.unknown = true;
    shows!(case.text());
}

#[test]
fn down_removes_everything_of_it() {
    let case = kafka().has("kafka", Running).has("kafka.failed", Exited).mode(Mode::Removing);
    shows!(case.text());
}

#[test]
fn down_waits_for_those_that_need_it() {
    let mut case = kafka().has("kafka", Running).mode(Mode::Removing);
    case.dependents = vec![ResourceKey::service("router")];
    shows!(case.text());
}

#[test]
fn an_orphan_is_removed() {
    let mut case = kafka().has("kafka", Running).mode(Mode::Removing);
    case.unknown = true;
    shows!(case.text());
}

#[test]
fn not_asked_for_and_not_to_be_removed_is_left() {
    let mut case = kafka().has("kafka", Running);
    case.unknown = true;
    shows!(case.text());
}
