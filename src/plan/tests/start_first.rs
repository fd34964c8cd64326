//! The new one first: what is done about each state on the way.

use std::time::Duration;

use super::case::{Case, NOW, kafka, shows};
use crate::clock::Timestamp;
use crate::plan::types::{DepFacts, Op};
use crate::resource::adoption::Adopted;
use crate::resource::observed::RunState::{Created, Exited, Running};
use crate::resource::probe::{Check, ProbeState};
use crate::resource::revision::{Refusal, Revision};
use crate::resource::spec::{
    DependencyCondition, Device, Mount, MountSource, Port, Protocol, RestartPolicy, ServiceSpec,
};
use crate::resource::update::UpdateStrategy;

/// One of before runs; the manifest asks for another image.
fn changed() -> Case {
    kafka().spec(|s| s.update.strategy = UpdateStrategy::StartFirst).has("kafka", Running).image_is("kafka:2")
}

/// And the new one beside it, started so long ago.
fn begun(ago: Duration) -> Case {
    changed().has("kafka.next", Running).but(|c| {
        let since = Timestamp(NOW.0 - u64::try_from(ago.as_millis()).unwrap());
        (c.created_at, c.started_at) = (since, Some(since));
    })
}

fn next_says(mut case: Case, ready: bool, message: &str) -> Case {
    case.next_probes =
        ProbeState { started: ready, ready: Some(ready), message: message.to_owned(), ..ProbeState::default() };
    case
}

fn starts_first(case: &Case) -> bool {
    let stages = case.plan().stages;
    let first = stages.first().unwrap_or_else(|| panic!("nothing is planned"));
    let stops = first.steps.iter().any(|s| matches!(s.op, Op::Stop { .. }));
    let starts = first.steps.iter().any(|s| matches!(s.op, Op::Start(_)));
    assert!(starts, "{}", case.text());
    !stops
}

#[test]
fn the_new_one_is_started_beside_the_current_one() {
    shows!(changed().text());
}

#[test]
fn p09_until_the_new_one_is_ready_the_current_one_keeps_the_name() {
    shows!(next_says(begun(Duration::from_secs(2)), false, "port 9092 refused the connection").text());
}

#[test]
fn once_the_new_one_is_ready_it_takes_the_name_and_the_other_drains() {
    let mut case = next_says(begun(Duration::from_secs(2)), true, "port 9092 answered");
    // An earlier revision was refused.
    let failed = case.clone().image_is("kafka:3").has("kafka.failed", Exited).observed.owned.pop().unwrap();
    case.observed.owned.push(failed);
    shows!(case.text());
}

#[test]
fn without_drain_the_other_is_stopped_at_once() {
    let case = next_says(begun(Duration::from_secs(2)), true, "port 9092 answered");
    let plan = case.spec(|s| s.update.drain = Duration::ZERO).plan();
    assert!(!plan.stages.iter().flat_map(|s| &s.steps).any(|s| matches!(s.op, Op::Drain(_))), "{plan}");
}

#[test]
fn a_switch_that_was_begun_is_finished() {
    let case = kafka().spec(|s| s.update.strategy = UpdateStrategy::StartFirst).has("kafka.old", Running);
    shows!(case.image_is("kafka:2").has("kafka.next", Running).text());
}

#[test]
fn a_new_one_that_is_not_ready_in_time_is_given_up_and_the_current_one_serves_on() {
    shows!(next_says(begun(Duration::from_mins(2)), false, "port 9092 refused the connection").text());
}

#[test]
fn where_nothing_is_to_be_taken_back_the_late_one_is_waited_for() {
    let case = next_says(begun(Duration::from_mins(2)), false, "port 9092 refused the connection");
    shows!(case.spec(|s| s.update.rollback = false).text());
}

#[test]
fn a_refused_one_that_still_runs_is_set_aside_for_its_logs() {
    let mut case = next_says(begun(Duration::from_mins(2)), false, "port 9092 refused the connection");
    let revision = Revision::of(&case.service(), case.observed.spec_image.as_ref().map(|i| &i.id), "salt");
    case.revisions.refused = Some(Refusal::new(revision, &case.service().spec, "not ready within 1m", NOW));
    shows!(case.text());
}

#[test]
fn where_the_current_one_has_ended_the_new_one_takes_its_place_at_once() {
    let mut case = next_says(begun(Duration::from_secs(2)), false, "port 9092 refused the connection");
    case.observed.owned[0].state = Exited;
    case.observed.owned[0].exit_code = Some(1);
    shows!(case.text());
}

#[test]
fn a_new_one_that_ends_again_and_again_is_held_back() {
    let case = begun(Duration::from_secs(20)).spec(|s| s.container.restart = RestartPolicy::Managed).but(|c| {
        c.config.restart = RestartPolicy::No;
        c.owner.restart_policy = Some(RestartPolicy::Managed);
        (c.state, c.exit_code, c.finished_at) = (Exited, Some(3), Some(NOW));
    });
    shows!(case.restarted(1, Duration::from_secs(5)).text());
}

#[test]
fn one_that_was_created_and_not_started_waits_for_its_dependencies() {
    let case = changed().has("kafka.next", Created);
    shows!(case.dep("zookeeper", DependencyCondition::Ready, DepFacts::default()).text());
}

#[test]
fn a_newer_revision_replaces_the_one_that_is_on_its_way() {
    shows!(begun(Duration::from_secs(2)).image_is("kafka:3").text());
}

#[test]
fn a_manifest_that_goes_back_ends_the_one_beside() {
    shows!(begun(Duration::from_secs(2)).image_is("kafka:1").text());
}

#[test]
fn a_foreign_container_under_a_name_that_is_needed_is_not_touched() {
    shows!(changed().foreign("kafka.old").text());
}

/// Whether the new one comes first where the manifest does not say.
fn by_default(edit: impl FnOnce(&mut ServiceSpec)) -> bool {
    let case = kafka().spec(|s| s.update.strategy = UpdateStrategy::Auto).spec(edit);
    starts_first(&case.has("kafka", Running).image_is("kafka:2"))
}

#[test]
fn by_default_it_comes_first_only_if_it_is_asked_over_the_network() {
    assert!(by_default(|_| {}));
    assert!(!by_default(|s| s.probes.readiness = None));
    let exec = Check::Exec { command: vec!["true".to_owned()] };
    assert!(!by_default(|s| s.probes.readiness.as_mut().unwrap().check = exec));
}

#[test]
fn by_default_it_comes_first_only_if_the_two_write_to_nothing_in_common() {
    let with = |source, read_only| {
        by_default(|s| s.container.mounts.push(Mount { target: "/data".to_owned(), source, read_only }))
    };
    let volume = || MountSource::Volume { name: "data".to_owned(), subpath: None };
    assert!(!with(volume(), false));
    assert!(with(volume(), true));
    assert!(!with(MountSource::Anonymous, false));
    assert!(with(MountSource::Tmpfs { size: None, mode: None }, false));
    let device =
        Device { host: "/dev/fuse".to_owned(), container: "/dev/fuse".to_owned(), permissions: "rwm".to_owned() };
    assert!(!by_default(|s| s.container.devices.push(device)));
}

#[test]
fn what_only_one_can_have_keeps_it_from_coming_first() {
    let with_port = |host_port| {
        let port = Port { host_ip: None, host_port, container_port: 9092, protocol: Protocol::Tcp };
        by_default(|s| s.container.ports.push(port))
    };
    assert!(!with_port(Some(9092)));
    assert!(with_port(None), "the engine chooses another");
    assert!(!by_default(|s| s.container.restart = RestartPolicy::No));
    assert!(!by_default(|s| s.container.hostname = Some("kafka.example".to_owned())));
    assert!(!by_default(|s| _ = s.container.networks[0].aliases.insert("broker".to_owned())));
    assert!(!by_default(|s| s.container.networks[0].ipv4_address = Some("172.20.0.9".to_owned())));
    assert!(!by_default(|s| s.container.mac_address = Some("02:42:ac:14:00:09".to_owned())));
}

#[test]
fn an_image_with_a_volume_of_its_own_is_not_run_twice_by_default() {
    let case = kafka().spec(|s| s.update.strategy = UpdateStrategy::Auto).has("kafka", Running).but(|c| {
        c.anonymous.insert("/data".to_owned(), "0123abcd".to_owned());
    });
    assert!(!starts_first(&case.image_is("kafka:2")));
}

#[test]
fn what_has_taken_over_another_is_not_run_twice() {
    let mut case = changed();
    let adopted = Adopted::of(&case.observed.owned[0]);
    case.observed.owned[0].owner.adopted = Some(Box::new(adopted));
    assert!(!starts_first(&case));
}

#[test]
fn one_that_does_not_serve_is_not_waited_for() {
    let mut dead = changed().probes(true, Some(true), "port 9092 answered");
    dead.probes.live = Some(false);
    assert!(!starts_first(&dead), "its liveness probe has failed");
    assert!(!starts_first(&changed().has("kafka.old", Exited).probes(true, Some(false), "no")), "it was never ready");
}
