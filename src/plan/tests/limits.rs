//! Limits: set, changed, taken away, and what the engine refuses.

use std::time::Duration;

use super::case::{Case, describe, kafka};
use super::convergence::Convergence;
use crate::plan::types::{Action, Cause, ClosedBy, Op, Plan};
use crate::resource::limits::Limits;
use crate::resource::observed::RunState::{self, Created, Exited, Paused, Restarting, Running};
use crate::resource::spec::{Resources, RestartPolicy};
use crate::resource::status::Reason;
use crate::resource::units::{Bytes, NanoCpus};

type Edit = fn(&mut Resources);

/// Each limit: set, and set to something else.
const LIMITS: &[(&str, Edit, Edit)] = &[
    ("memory", |r| r.memory = Some(Bytes(64 << 20)), |r| r.memory = Some(Bytes(32 << 20))),
    (
        "memoryReservation",
        |r| r.memory_reservation = Some(Bytes(9 << 20)),
        |r| {
            r.memory_reservation = Some(Bytes(8 << 20));
        },
    ),
    ("cpus", |r| r.cpus = Some(NanoCpus(500_000_000)), |r| r.cpus = Some(NanoCpus(250_000_000))),
    ("cpuset", |r| r.cpuset = Some("0".to_owned()), |r| r.cpuset = Some("0-1".to_owned())),
    ("cpuShares", |r| r.cpu_shares = Some(512), |r| r.cpu_shares = Some(256)),
    ("pids", |r| r.pids = Some(99), |r| r.pids = Some(9)),
];

fn unlimited(_: &mut Resources) {}

/// Made with `was`, asked for with `wanted`.
fn changed(state: RunState, was: Edit, wanted: Edit) -> Case {
    let made = kafka().spec(|s| was(&mut s.container.resources)).has("kafka", state);
    let mut case = made.spec(|s| {
        s.container.resources = Resources::default();
        wanted(&mut s.container.resources);
    });
    case.remember_images();
    case
}

fn updates(plan: &Plan) -> Vec<&Limits> {
    let steps = plan.stages.iter().flat_map(|s| &s.steps);
    steps.filter_map(|s| if let Op::UpdateLimits { limits, .. } = &s.op { Some(limits) } else { None }).collect()
}

/// Kafka, with less memory than it uses.
fn refused(attempts: u32, wait: Option<Duration>) -> Case {
    let less: Edit = |r| r.memory = Some(Bytes(8 << 20));
    changed(Running, unlimited, less).failed(attempts, Reason::UpdateFailed, "device or resource busy", wait)
}

#[test]
fn p10_each_limit_is_set_and_changed_in_place() {
    for (name, set, change) in LIMITS {
        for (was, wanted) in [(unlimited as Edit, set), (*set, change), (*change, set)] {
            let plan = changed(Running, was, *wanted).plan();
            let fields: Vec<_> = plan.changes.iter().map(|c| (c.field.as_str(), c.closed_by)).collect();
            assert_eq!(fields, [(format!("resources.{name}").as_str(), ClosedBy::InPlace)]);
            assert_eq!((plan.action, plan.stages.len()), (Action::Update, 1), "{plan}");
            assert_eq!((plan.stages[0].steps.len(), updates(&plan).len()), (1, 1), "{plan}");
        }
    }
}

#[test]
fn p10_a_limit_that_is_taken_away_replaces_and_one_of_pids_does_not() {
    for (name, set, _) in LIMITS {
        let plan = changed(Running, *set, unlimited).plan();
        let expected = if *name == "pids" { Action::Update } else { Action::Replace };
        assert_eq!(plan.action, expected, "{plan}");
    }
}

#[test]
fn while_one_field_needs_another_container_no_limit_is_changed_in_place() {
    let plan = changed(Running, unlimited, |r| r.pids = Some(9)).spec(|s| s.container.tty = true).plan();
    assert_eq!((plan.action, updates(&plan).len()), (Action::Replace, 0), "{plan}");
}

#[test]
fn what_was_changed_outside_is_put_back_in_place_and_said_to_be_from_outside() {
    let case = kafka().has("kafka", Running).but(|c| c.config.resources.pids = Some(5));
    let plan = case.plan();
    assert_eq!(plan.changes[0].cause, Cause::ChangedOutside, "{plan}");
    assert_eq!(updates(&plan), [&Limits { pids: Some(0), ..Limits::default() }]);
    assert_eq!(plan.stages[0].steps[0].cause, Cause::ChangedOutside);
}

#[test]
fn swap_is_changed_in_place_where_a_label_remembers_it() {
    let memory: Edit = |r| r.memory = Some(Bytes(64 << 20));
    let with: Edit = |r| (r.memory, r.swap) = (Some(Bytes(64 << 20)), Some(Bytes(16 << 20)));
    let more: Edit = |r| (r.memory, r.swap) = (Some(Bytes(64 << 20)), Some(Bytes(32 << 20)));
    for (was, wanted, expected) in [
        (with, more, Action::Update),
        (memory, with, Action::Replace),
        (with, memory, Action::Replace),
        (memory, memory, Action::None),
    ] {
        let plan = changed(Running, was, wanted).plan();
        assert_eq!(plan.action, expected, "{plan}");
    }
    let plan = changed(Running, with, more).plan();
    assert_eq!(updates(&plan)[0].to_string(), "memory 64MiB with swap 32MiB");
}

#[test]
fn limits_are_right_before_it_starts() {
    for state in [Created, Exited] {
        let plan = changed(state, unlimited, |r| r.pids = Some(9)).plan();
        let steps: Vec<_> = plan.stages[0].steps.iter().map(|s| s.op.to_string()).collect();
        let limits = steps.iter().position(|s| s == "set limits of container kafka to pids 9");
        let start = steps.iter().position(|s| s == "start container kafka");
        assert!(limits.is_some() && limits < start, "{state:?}: {plan}");
    }
}

#[test]
fn what_is_paused_is_left_alone_and_what_restarts_gets_its_limits() {
    let set: Edit = |r| r.memory = Some(Bytes(64 << 20));
    assert_eq!(updates(&changed(Paused, unlimited, set).plan()).len(), 0);
    assert_eq!(updates(&changed(Restarting, unlimited, set).plan()).len(), 1);
}

#[test]
fn a_replacement_that_was_begun_gets_the_limits_of_now_and_is_not_made_anew() {
    let case = kafka().has("kafka", Running).image_is("kafka:2").has("kafka.next", Created);
    let mut case = case.spec(|s| s.container.resources.pids = Some(9));
    case.remember_images();
    let plan = case.plan();
    let ops: Vec<_> = plan.stages[0].steps.iter().map(|s| s.op.to_string()).collect();
    assert_eq!(ops[0], "set limits of container kafka.next to pids 9", "{plan}");
    assert!(!ops.iter().any(|op| op.starts_with("create")), "{plan}");
    let mut run = Convergence::of(case);
    run.run();
    assert_eq!(run.names(), ["kafka"]);
}

#[test]
fn what_the_engine_refuses_is_said_and_held_and_never_becomes_a_replacement() {
    let plan = refused(1, Some(Duration::from_secs(2))).plan();
    let said = plan.status.reconciling.clone().unwrap();
    assert_eq!(said.0, Reason::RetryBackoff);
    assert!(said.1.contains("device or resource busy; next try in 2.0 s"), "{said:?}");
    assert!(plan.status.ready && !plan.status.settled && plan.executable().is_none(), "{plan}");
    // As often as may be, and beyond.
    for attempts in [3, 30] {
        let plan = refused(attempts, None).plan();
        assert_eq!(plan.action, Action::Update, "{plan}");
        assert_eq!(plan.status.stalled.as_ref().map(|s| s.0), Some(Reason::UpdateFailed));
        assert!(plan.status.ready && plan.executable().is_some(), "{}", describe(&plan, super::case::NOW));
    }
}

#[test]
fn what_the_engine_refuses_holds_up_nothing_else() {
    let plan = refused(3, None).restart_asked().plan();
    assert_eq!((plan.action, updates(&plan).len()), (Action::Restart, 0), "{plan}");
    let mut case = refused(3, None);
    case.probes.live = Some(false);
    assert_eq!(case.plan().action, Action::Restart, "{}", case.plan());
    let stopped = refused(3, None).but(|c| (c.state, c.exit_code) = (Exited, Some(137)));
    let plan = stopped.plan();
    assert_eq!((plan.action, updates(&plan).len()), (Action::Start, 0), "{plan}");
    let renewed = refused(3, None).has("kafka.old", Exited);
    assert_eq!(renewed.plan().action, Action::Replace, "the old one goes: {}", renewed.plan());
}

#[test]
fn a_one_shot_that_has_ended_gets_its_new_limits_and_is_not_run_again() {
    let made = kafka().spec(|s| s.container.restart = RestartPolicy::No).has("kafka", Exited);
    let mut case = made.but(|c| c.exit_code = Some(0)).spec(|s| s.container.resources.memory = Some(Bytes(64 << 20)));
    case.remember_images();
    let plan = case.plan();
    assert_eq!((updates(&plan).len(), plan.action), (1, Action::Update), "{plan}");
    assert!(!plan.stages.iter().flat_map(|s| &s.steps).any(|s| matches!(s.op, Op::Start(_))), "{plan}");
}
