//! What is restarted with a service that it needs.

use std::time::Duration;

use super::case::{Case, NOW, kafka, shows};
use crate::clock::Timestamp;
use crate::plan::types::{Action, Cause, Dep, DepFacts, Mode, Op, Plan};
use crate::resource::ResourceKey;
use crate::resource::observed::RunState::{Created, Exited, Paused, Restarting, Running};
use crate::resource::revision::{Refusal, Revision};
use crate::resource::spec::{DependencyCondition, DesiredState, RestartPolicy};

/// Ready, and started so many seconds before now.
fn started(seconds_ago: u64) -> DepFacts {
    let started_at = Some(NOW.minus(Duration::from_secs(seconds_ago)));
    DepFacts { started: true, ready: true, started_at, ..DepFacts::default() }
}

impl Case {
    fn restarted_with(mut self, name: &str, facts: DepFacts) -> Self {
        let key = ResourceKey::service(name);
        self.deps.push(Dep { key, condition: DependencyCondition::Ready, restarts: true, facts });
        self
    }
}

/// One that has run for an hour.
fn running() -> Case {
    kafka().has("kafka", Running)
}

fn restarts(plan: &Plan) -> bool {
    plan.stages.iter().flat_map(|s| &s.steps).any(|s| s.cause == Cause::DependencyRestarted)
}

#[test]
fn one_is_restarted_in_place_where_what_it_needs_was_started_later() {
    shows!(running().restarted_with("zookeeper", started(60)).text());
}

#[test]
fn it_is_restarted_once_what_it_needs_is_ready_again_and_nothing_more_is_to_come() {
    let with = |facts| restarts(&running().restarted_with("zookeeper", facts).plan());
    assert!(with(started(60)));
    assert!(!with(DepFacts { ready: false, ..started(60) }), "on its way up");
    assert!(!with(DepFacts { changing: true, ..started(60) }), "about to be replaced");
    assert!(!with(DepFacts { started_at: None, ..started(60) }), "nothing runs");
    assert!(!with(started(3_600)), "at the same moment");
    assert!(!with(started(3_601)), "started before it, as it should be");
    let not_asked = running().dep("zookeeper", DependencyCondition::Ready, started(60));
    assert!(not_asked.plan().is_empty(), "P8: who did not ask for it is left running");
    // One of several is enough.
    assert!(restarts(&running().restarted_with("zookeeper", started(7_200)).restarted_with("db", started(60)).plan()));
}

#[test]
fn once_it_was_restarted_nothing_is_left_to_be_done() {
    let case = running().but(|c| c.started_at = Some(NOW)).restarted_with("zookeeper", started(60));
    assert!(case.plan().is_empty(), "{}", case.plan());
    assert!(case.plan().status.settled);
}

#[test]
fn what_is_held_ended_or_being_replaced_is_not_restarted() {
    let with = |case: Case| restarts(&case.restarted_with("zookeeper", started(60)).plan());
    for mode in [Mode::Suspended, Mode::Frozen, Mode::Removing] {
        assert!(!with(running().mode(mode)), "{mode:?}");
    }
    assert!(!with(running().spec(|s| s.state = DesiredState::Stopped)));
    for state in [Paused, Restarting, Created, Exited] {
        assert!(!with(kafka().has("kafka", state)), "{state:?}");
    }
    let one_shot = kafka().spec(|s| s.container.restart = RestartPolicy::No).has("kafka", Exited);
    let completed = one_shot.but(|c| c.exit_code = Some(0)).restarted_with("zookeeper", started(60));
    assert!(completed.plan().is_empty(), "{}", completed.plan());
    // The new one may be given up still.
    let rollout = kafka().has("kafka.old", Exited).image_is("kafka:2").has("kafka", Running);
    assert!(!with(rollout.probes(true, None, "")));
    let replaced = running().image_is("kafka:2").restarted_with("zookeeper", started(60)).plan();
    assert_eq!(replaced.action, Action::Replace);
    assert!(!restarts(&replaced));
}

#[test]
fn what_serves_after_a_rollback_is_left_as_it_is() {
    let mut case = running().image_is("kafka:2");
    let image = case.observed.spec_image.as_ref().map(|i| i.id.clone());
    let revision = Revision::of(&case.service(), image.as_ref(), "salt");
    case.revisions.refused = Some(Refusal::new(revision, &case.service().spec, "not ready within 60 s", NOW));
    assert!(!restarts(&case.restarted_with("zookeeper", started(60)).plan()));
}

/// Somebody has set the engine's clock back by an hour since the dependency was started: a restart would
/// be followed by the next (P13).
#[test]
fn p13_a_start_in_the_future_is_waited_for() {
    let mut case = running().restarted_with("zookeeper", started(60));
    case.engine_now = Some(NOW.minus(Duration::from_hours(1)));
    case = case.but(|c| c.started_at = Some(NOW.minus(Duration::from_hours(2))));
    let plan = case.plan();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.wake_at, Some(NOW.plus(Duration::from_mins(59))));
    case.engine_now = Some(Timestamp(NOW.0 - 60_000));
    let plan = case.plan();
    assert!(restarts(&plan));
    assert!(plan.stages[0].steps.iter().any(|s| matches!(s.op, Op::Start(_))));
}
