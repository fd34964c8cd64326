//! Revisions that do not become Ready.

use std::time::Duration;

use super::case::{Case, NOW, kafka, shows};
use crate::clock::Timestamp;
use crate::plan::types::{Dep, DepFacts, Failure, Mode, Op};
use crate::resource::ResourceKey;
use crate::resource::observed::RunState::{self, Created, Exited, Running};
use crate::resource::probe::{Check, Probe, Probes};
use crate::resource::revision::{Proven, Revision};
use crate::resource::spec::{DependencyCondition, RestartPolicy, ServiceSpec};
use crate::resource::status::Reason;
use crate::resource::update::UpdateStrategy;

/// The new one runs beside a stopped old one for so long, and does not answer.
fn rollout(up_for: Duration) -> Case {
    let since = Timestamp(NOW.0 - u64::try_from(up_for.as_millis()).unwrap());
    kafka()
        .has("kafka.old", Exited)
        .but(|c| c.finished_at = Some(since))
        .image_is("kafka:2")
        .has("kafka", Running)
        .but(|c| (c.created_at, c.started_at) = (since, Some(since)))
        .probes(false, Some(false), "HTTP 503")
}

fn rolled_back() -> Case {
    kafka().has("kafka", Running).image_is("kafka:2").has("kafka.failed", Exited)
}

fn overdue() -> Case {
    rollout(Duration::from_secs(61))
}

#[test]
fn one_that_does_not_become_ready_in_time_makes_way_for_the_old_one() {
    shows!(overdue().text());
}

#[test]
fn until_then_it_is_waited_for_and_nothing_is_stalled() {
    shows!(rollout(Duration::from_secs(20)).text());
}

#[test]
fn with_rollback_switched_off_it_stays_and_is_stalled() {
    let plan = overdue().spec(|s| s.update.rollback = false).plan();
    assert!(plan.executable().is_none() && plan.refuses.is_none(), "{plan}");
    assert_eq!(plan.status.stalled.as_ref().unwrap().0, Reason::StartupDeadlineExceeded);
}

#[test]
fn one_that_cannot_be_started_at_all_makes_way_at_once() {
    let mut case = kafka().has("kafka.old", Exited).image_is("kafka:2").has("kafka", Created);
    case.retry.attempts = 1;
    let message = "start container kafka: exec: \"srv\": executable file not found in $PATH".to_owned();
    case.retry.failure = Some(Failure { reason: Reason::StartFailed, terminal: true, message });
    case.retry.next_at = Some(NOW.plus(Duration::from_secs(30)));
    shows!(case.text());
}

#[test]
fn what_happened_while_nobody_watched_is_not_held_against_it() {
    let mut case = rollout(Duration::from_mins(30)).but(|c| c.restarts = 4);
    assert!(case.plan().refuses.is_some());
    case.watched_since = Timestamp(NOW.0 - 1_000);
    let plan = case.plan();
    assert!(plan.refuses.is_none() && plan.executable().is_none(), "{plan}");
    assert_eq!(plan.wake_at, Some(NOW.plus(Duration::from_secs(59))));
}

#[test]
fn one_that_keeps_ending_gets_no_more_time_by_starting_again() {
    let case = overdue().but(|c| (c.restarts, c.started_at) = (3, Some(NOW)));
    assert!(case.plan().refuses.is_some(), "{}", case.text());
    let started_anew = overdue().but(|c| c.started_at = Some(NOW));
    assert!(started_anew.plan().refuses.is_none(), "the engine was away: {}", started_anew.text());
}

#[test]
fn a_foreign_container_of_the_failed_ones_name_keeps_nobody_from_rolling_back() {
    let plan = overdue().foreign("kafka.failed").plan();
    let text = plan.to_string();
    assert!(text.contains("remove container kafka (cause") && !text.contains("to kafka.failed"), "{text}");
}

#[test]
fn a_refused_revision_is_not_tried_again() {
    shows!(rolled_back().text());
}

#[test]
fn either_record_tells_of_a_refusal() {
    let mut case = kafka().has("kafka", Running).image_is("kafka:2");
    assert!(case.plan().executable().is_some());
    case.revisions.refused = overdue().plan().refuses;
    let plan = case.plan();
    assert!(plan.is_empty(), "{plan}");
    let (reason, message) = plan.status.stalled.unwrap();
    assert_eq!(reason, Reason::RolledBack);
    assert!(message.contains("not ready within 60 s: HTTP 503"), "{message}");
    // The image behind the tag is another one now.
    case.observed.spec_image = Some(super::case::image("kafka:3"));
    assert!(case.plan().executable().is_some(), "{}", case.plan());
}

/// Both records are there. It was too little time, or the wrong question.
#[test]
fn p09_on_other_terms_a_refused_revision_is_tried_again() {
    let mut case = rolled_back();
    case.revisions.refused = overdue().plan().refuses;
    let with = |edit: fn(&mut ServiceSpec)| case.clone().spec(edit);
    assert!(case.plan().is_empty(), "{}", case.plan());
    let others: [fn(&mut ServiceSpec); 3] = [
        |s| s.update.progress_deadline *= 2,
        |s| s.update.strategy = UpdateStrategy::StartFirst,
        |s| s.probes.readiness = None,
    ];
    for edit in others {
        let plan = with(edit).plan();
        assert!(plan.executable().is_some(), "{plan}");
        assert_eq!(plan.status.stalled, None, "{plan}");
        let why = &plan.status.reconciling.as_ref().expect("it is told").1;
        assert_eq!(why, "to be tried again, with another strategy, deadline or probes");
    }
    // Nothing of what it has to pass.
    assert!(with(|s| s.required = !s.required).plan().is_empty());
}

/// Others have changed it, so it was to be replaced by another one of the same revision, which failed.
#[test]
fn p09_what_serves_after_that_is_kept_though_it_is_of_the_refused_revision() {
    let mut case = kafka().has("kafka", Running).but(|c| {
        c.config.env.insert("SOMEBODY".to_owned(), "else".to_owned());
    });
    assert!(case.plan().executable().is_some());
    case = case.has("kafka.failed", Exited);
    let current = |case: &mut Case| case.observed.owned.iter().position(|c| c.name == "kafka").unwrap();
    let proven = Proven { spec: case.spec.clone(), revision: Revision::of(&case.service(), None, "salt") };
    for (ready, proven) in [(true, None), (false, None), (true, Some(proven.clone())), (false, Some(proven.clone()))] {
        let mut case = case.clone().probes(ready, Some(ready), "");
        case.revisions.proven = proven;
        let plan = case.plan();
        assert!(plan.is_empty(), "{plan}");
        assert_eq!(plan.status.stalled.or(plan.status.reconciling).unwrap().0, Reason::RolledBack);
    }
    // Nor where it is as it was made again, and nobody has asked it yet: nothing else was before it.
    let at = current(&mut case);
    case.observed.owned[at].config.env.remove("SOMEBODY");
    case.revisions.proven = Some(proven);
    let plan = case.probes(false, None, "").plan();
    assert!(plan.executable().is_none(), "{plan}");
}

#[test]
fn another_spec_is_tried_and_the_failed_one_kept_until_it_has_made_it() {
    let case = rolled_back().image_is("kafka:3");
    let text = case.plan().to_string();
    assert!(text.contains("create container kafka.next") && !text.contains("kafka.failed"), "{text}");
    let done = kafka()
        .has("kafka.old", Exited)
        .image_is("kafka:2")
        .has("kafka.failed", Exited)
        .image_is("kafka:3")
        .has("kafka", Running);
    shows!(done.text());
}

#[test]
fn a_person_can_have_it_tried_again() {
    let mut case = rolled_back();
    case.retry_asked = true;
    shows!(case.text());
    let broken = case.mode(Mode::Frozen).plan();
    assert!(broken.executable().is_none(), "{broken}");
}

#[test]
fn what_serves_after_a_rollback_is_asked_what_it_was_asked_before() {
    let mut case = rolled_back();
    let probe = |path: &str| Probe {
        check: Check::Exec { command: vec![path.to_owned()] },
        ..case.spec.probes.readiness.clone().unwrap()
    };
    let (before, wrong) = (probe("/health"), probe("/typo"));
    let proven = Probes { readiness: Some(before.clone()), ..Probes::default() };
    let mut spec = kafka().spec;
    spec.probes = proven.clone();
    let revision = Revision::of(&kafka().service(), None, "salt");
    case.revisions.proven = Some(Proven { spec, revision });
    case.spec.probes.readiness = Some(wrong);
    assert_eq!(case.plan().wants.as_proven, Some(proven));
}

#[test]
fn the_one_taken_back_joins_its_networks_as_they_are_now_and_gets_its_policy_back() {
    let case = overdue();
    let mut case = Case { observed: case.observed.clone(), ..case };
    case.observed.networks.insert("env-manager".to_owned(), vec![super::case::network("env-manager", "net-2")]);
    for c in &mut case.observed.owned {
        if c.name == "kafka" {
            c.endpoints.get_mut("env-manager").unwrap().network_id =
                crate::resource::container::NetworkId("net-2".into());
        }
    }
    shows!(case.text());
}

#[test]
fn one_whose_old_container_was_pruned_is_made_again_from_what_was_ready_last() {
    let mut case = overdue();
    case.revisions.refused = case.plan().refuses;
    case.observed.owned.retain(|c| c.name == "kafka");
    let older = kafka();
    let image = super::case::image("kafka:1").id.clone();
    case.revisions.proven =
        Some(Proven { revision: Revision::of(&older.service(), Some(&image), "salt"), spec: older.spec });
    shows!(case.text());
}

#[test]
fn one_shots_are_never_rolled_back() {
    let one_shot = |state: RunState| {
        overdue().spec(|s| s.container.restart = RestartPolicy::No).but(|c| {
            c.config.restart = RestartPolicy::No;
            c.state = state;
            c.exit_code = Some(1);
        })
    };
    for state in [Running, Exited] {
        assert!(one_shot(state).plan().refuses.is_none());
    }
}

#[test]
fn a_broken_manifest_rolls_nothing_back() {
    let plan = overdue().mode(Mode::Frozen).plan();
    assert!(plan.refuses.is_none() && plan.executable().is_none(), "{plan}");
}

/// P8, in a change of two services at once.
#[test]
fn p08_a_replace_waits_for_a_dependency_that_is_being_replaced_itself() {
    let facts = |changing| DepFacts { started: true, ready: true, changing, ..DepFacts::default() };
    let changed = kafka().has("kafka", Running).image_is("kafka:2");
    let creates = |case: &Case| {
        let plan = case.plan();
        plan.executable().is_some_and(|s| s.steps.iter().any(|s| matches!(s.op, Op::CreateContainer(_))))
    };
    assert!(!creates(&changed.clone().dep("zookeeper", DependencyCondition::Ready, facts(true))));
    assert!(creates(&changed.clone().dep("zookeeper", DependencyCondition::Ready, facts(false))));
    // A network's own count of generations means nothing to who is on it.
    let mut on_network = changed;
    let key = ResourceKey::network("env-manager");
    on_network.deps.push(Dep { key, condition: DependencyCondition::Ready, restarts: false, facts: facts(true) });
    assert!(creates(&on_network));
}

#[test]
fn p08_a_start_after_a_rollback_waits_for_its_dependencies() {
    let ended = kafka().has("kafka", Exited).image_is("kafka:2").has("kafka.failed", Exited);
    let ended = ended.dep("zookeeper", DependencyCondition::Ready, DepFacts::default());
    assert!(ended.plan().executable().is_none(), "{}", ended.plan());
    // The rollback itself is carried to its end whatever they say.
    let mut under_way = ended;
    under_way.observed.owned[0].config.restart = RestartPolicy::No;
    assert!(under_way.plan().executable().is_some(), "{}", under_way.plan());
}
