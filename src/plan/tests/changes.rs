//! Situations of services that change, that died in the middle of changing, or that are not to run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::case::{Case, attachment, kafka, network, shows};
use crate::plan::types::{DepFacts, Mode};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::image::ImageState;
use crate::resource::observed::RunState::{self, Created, Exited, Restarting, Running};
use crate::resource::secret::Secret;
use crate::resource::spec::{
    DependencyCondition, DesiredState, Mount, MountSource, NetworkMode, Port, Protocol, RestartPolicy, SecretSource,
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
fn files_under_a_read_only_root_are_refused_where_the_engine_is_elsewhere() {
    let mut case = kafka().file("/etc/kafka/server.properties", "a=1");
    case = case.spec(|s| s.container.security.read_only_root_filesystem = true);
    case.policy.engine_local = false;
    let plan = case.plan();
    assert!(plan.executable().is_none());
    let (reason, message) = plan.status.stalled.unwrap();
    assert_eq!(reason, Reason::CreateFailed);
    assert!(message.contains("an engine on this host"), "{message}");
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

#[test]
fn a_network_that_is_about_to_be_replaced_is_not_joined_again() {
    let plan = |is_leaving| {
        let facts = DepFacts { started: true, ready: true, is_leaving, ..DepFacts::default() };
        let mut case = kafka().has("kafka", Running).but(|c| c.endpoints.clear());
        let key = crate::resource::ResourceKey::network("env-manager");
        case.deps.push(crate::plan::Dep { key, condition: DependencyCondition::Ready, restarts: false, facts });
        case.plan()
    };
    assert!(!plan(false).is_empty(), "it is mended");
    let waits = plan(true);
    assert!(waits.is_empty() && !waits.status.settled, "{waits}");
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
