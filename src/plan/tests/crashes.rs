//! What ends by itself, what people stop, pause, suspend and restart, and what is said of it.

use std::time::Duration;

use proptest::prelude::*;

use super::case::{Case, NOW, kafka, shows};
use super::convergence::{PARTS, Part, STATES, populate, world};
use crate::clock::Timestamp;
use crate::plan::types::{Cause, Gate, Mode, Op, Target};
use crate::resource::image::ImageState;
use crate::resource::observed::RunState::{self, Created, Exited, Paused, Restarting, Running};
use crate::resource::spec::{DesiredState, RestartPolicy};
use crate::resource::status::Reason;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Made with a policy by which Docker starts nothing again; the manifest asks for another one now.
fn ended_by_itself() -> Case {
    let case = kafka().spec(|s| s.container.restart = RestartPolicy::No).has("kafka", Exited);
    case.spec(|s| s.container.restart = RestartPolicy::UnlessStopped)
}

fn failing() -> Case {
    let mut case = kafka().has("kafka", Running).probes(true, Some(false), "no answer within 2 s");
    case.probes.live = Some(false);
    case
}

fn one_shot(policy: RestartPolicy) -> Case {
    kafka().spec(|s| {
        s.container.restart = policy;
        s.probes.readiness = None;
    })
}

// ---- crash loops -----------------------------------------------------------------------------------

#[test]
fn what_ended_by_itself_is_started_again_at_once_the_first_time() {
    shows!(ended_by_itself().text());
}

#[test]
fn what_keeps_ending_is_held_back_and_says_how_often_and_until_when() {
    shows!(ended_by_itself().restarted(2, secs(2)).text());
}

#[test]
fn a_crash_loop_is_stalled_after_as_many_starts_as_attempts() {
    shows!(ended_by_itself().restarted(3, secs(2)).but(|c| c.oom_killed = true).text());
}

#[test]
fn once_the_pause_is_over_it_is_started_again() {
    let mut case = ended_by_itself().restarted(3, secs(2));
    case.now = NOW.plus(secs(40));
    shows!(case.text());
}

#[test]
fn a_failing_liveness_probe_restarts_with_the_same_pauses() {
    shows!(failing().restarted(1, secs(4)).text());
}

#[test]
fn what_docker_would_have_restarted_was_stopped_by_hand_and_is_started_at_once() {
    let by_hand = |policy, restarts| {
        let case = kafka().spec(|s| s.container.restart = policy).restarted(5, secs(1));
        case.has("kafka", Exited).but(|c| (c.restarts, c.exit_code) = (restarts, Some(137))).plan()
    };
    let thrice = RestartPolicy::OnFailure { max_retries: 3 };
    for (policy, restarts) in [
        (RestartPolicy::UnlessStopped, 0),
        (RestartPolicy::Always, 9),
        (RestartPolicy::OnFailure { max_retries: 0 }, 9),
        (thrice, 2),
    ] {
        let plan = by_hand(policy, restarts);
        let steps = &plan.executable().expect("at once").steps;
        assert!(matches!(steps[..], [ref s] if matches!(s.op, Op::Start(_)) && s.cause == Cause::NotRunning), "{plan}");
        assert!(!Cause::NotRunning.is_crash());
    }
    let plan = by_hand(thrice, 3);
    assert!(plan.is_empty() && plan.status.stalled.is_some(), "its retries are used up: {plan}");
}

#[test]
fn an_engine_that_could_not_start_it_has_a_pause_of_its_own() {
    let case = ended_by_itself().restarted(2, secs(2)).but(|c| c.error = Some("no such device".to_owned()));
    let plan = case.plan();
    let stage = plan.executable().expect("a failed start is not an end");
    assert!(stage.steps.iter().any(|s| s.cause == Cause::NotRunning), "{plan}");
}

#[test]
fn docker_restarting_it_says_code_count_and_memory() {
    let case = kafka().has("kafka", Restarting).but(|c| {
        (c.exit_code, c.restarts, c.oom_killed) = (Some(137), 7, true);
        c.started_at = Some(Timestamp(NOW.0 - 1_000));
    });
    let status = case.plan().status;
    let text = "exited with code 137, killed by the kernel: out of memory; Docker has restarted it 7 times";
    assert_eq!(status.message, text);
}

// ---- restart: Managed ------------------------------------------------------------------------------

fn managed() -> Case {
    kafka().spec(|s| s.container.restart = RestartPolicy::Managed)
}

/// The causes of the starts that are made now.
fn starts(case: &Case) -> Vec<Cause> {
    let plan = case.plan();
    let steps = plan.executable().map(|stage| stage.steps.clone()).unwrap_or_default();
    steps.into_iter().filter(|s| matches!(s.op, Op::Start(_))).map(|s| s.cause).collect()
}

#[test]
fn docker_has_no_policy_for_what_env_manager_restarts_and_that_is_no_drift() {
    let case = managed().has("kafka", Running);
    let container = &case.observed.owned[0];
    assert_eq!(
        (container.config.restart, container.owner.restart_policy),
        (RestartPolicy::No, Some(RestartPolicy::Managed))
    );
    let plan = case.plan();
    assert!(plan.is_empty() && plan.changes.is_empty() && plan.status.settled, "{plan}");
    let stopped = case.spec(|s| s.state = DesiredState::Stopped);
    assert!(!stopped.plan().to_string().contains("policy"), "{}", stopped.plan());
}

#[test]
fn a_policy_that_somebody_gave_it_on_the_engine_is_taken_away() {
    shows!(managed().has("kafka", Running).but(|c| c.config.restart = RestartPolicy::Always).text());
}

#[test]
fn p13_whatever_it_ended_with_a_managed_one_is_started_with_pauses() {
    for exit_code in [0, 1, 137, 143] {
        let ended = managed().has("kafka", Exited).but(|c| c.exit_code = Some(exit_code));
        assert_eq!(starts(&ended), [Cause::Exited], "{exit_code}");
        assert_eq!(starts(&ended.clone().restarted(1, secs(1))), [], "{exit_code}");
        let mut frozen = ended.mode(Mode::Frozen);
        frozen.unknown = true;
        assert_eq!(starts(&frozen), [Cause::Exited], "{exit_code}");
        assert_eq!(starts(&frozen.restarted(1, secs(1))), [], "{exit_code}");
    }
}

#[test]
fn p13_one_that_became_managed_or_a_one_shot_in_place_is_not_taken_for_one_that_was_stopped() {
    let was = kafka().has("kafka", Exited).but(|c| (c.config.restart, c.exit_code) = (RestartPolicy::No, Some(1)));
    let now = was.clone().spec(|s| s.container.restart = RestartPolicy::Managed);
    assert_eq!(starts(&now), [Cause::Exited]);
    assert_eq!(starts(&now.restarted(1, secs(1))), []);
    let now = was.spec(|s| s.container.restart = RestartPolicy::No);
    assert_eq!((starts(&now), now.plan().status.reason), (vec![], Reason::ExitedWithError));
}

#[test]
fn p13_the_old_one_that_serves_while_a_replacement_waits_is_held_back_too() {
    let case = managed().has("kafka", Exited).has("kafka.next", Created).image_is("kafka:2");
    let case = case.image_absent(ImageState::Unknown);
    assert_eq!(starts(&case), [Cause::Exited]);
    let held = case.restarted(1, secs(1));
    assert_eq!(starts(&held), []);
    assert_eq!(held.plan().wake_at, Some(NOW.plus(secs(10))));
}

#[test]
fn what_started_again_says_how_it_had_ended() {
    let case = kafka().has("kafka", Running).spec(|s| s.probes.readiness = None).but(|c| {
        (c.exit_code, c.oom_killed, c.restarts, c.started_at) = (Some(137), true, 2, Some(NOW));
    });
    let text = "exited with code 137, killed by the kernel: out of memory, and has just been started again; \
                Docker has restarted it 2 times";
    assert_eq!(case.plan().status.message, text);
}

// ---- asked for -------------------------------------------------------------------------------------

#[test]
fn a_restart_that_is_asked_for_stops_and_starts_the_same_container() {
    shows!(kafka().has("kafka", Running).restart_asked().text());
}

#[test]
fn a_completed_one_shot_runs_again_when_asked() {
    let case = one_shot(RestartPolicy::No).has("kafka", Exited).but(|c| c.exit_code = Some(0));
    shows!(case.restart_asked().text());
}

#[test]
fn what_is_held_back_starts_when_asked() {
    let plan = ended_by_itself().restarted(5, secs(1)).restart_asked().plan();
    let steps = &plan.executable().expect("now").steps;
    assert!(steps.iter().any(|s| matches!(s.op, Op::Start(_)) && s.cause == Cause::Requested), "{plan}");
    let plan = failing().restarted(5, secs(1)).restart_asked().plan();
    assert!(plan.executable().expect("now").steps.iter().all(|s| s.cause == Cause::Requested), "{plan}");
}

#[test]
fn a_restart_waits_for_nobody_but_in_a_replace_it_is_void() {
    let requested = |case: &Case| {
        let plan = case.plan();
        plan.stages.iter().flat_map(|s| &s.steps).any(|s| s.cause == Cause::Requested)
    };
    for state in [Running, Paused, Restarting] {
        assert!(requested(&kafka().has("kafka", state).restart_asked()), "{state:?}");
    }
    // The manifest asks for another image; the new one is up and not ready yet; a suspended one.
    assert!(!requested(&kafka().has("kafka", Running).image_is("kafka:2").restart_asked()));
    let with_old = kafka().has("kafka.old", Exited).has("kafka", Running).probes(false, None, "");
    assert!(!requested(&with_old.restart_asked()));
    assert!(!requested(&kafka().has("kafka", Running).mode(Mode::Suspended).restart_asked()));
    // It was asked for while that one bore the name; the one that does now has nothing to do with it.
    for other in ["kafka.failed", "kafka-debug"] {
        assert!(!requested(&kafka().has("kafka", Running).has(other, Exited).restart_asked_of(other)), "{other}");
    }
    // A broken manifest does not keep anybody from it, whether a good one is known or not.
    let mut frozen = kafka().has("kafka", Running).mode(Mode::Frozen).restart_asked();
    assert!(requested(&frozen));
    frozen.unknown = true;
    assert!(requested(&frozen));
    let with_next = frozen.has("kafka.next", Created);
    assert!(!requested(&with_next));
}

// ---- held, and why ---------------------------------------------------------------------------------

#[test]
fn who_suspended_it_and_how_to_resume_it_is_said() {
    let case = kafka().has("kafka", Running).mode(Mode::Suspended);
    shows!(case.because("uid 0 since 2026-11-24T14:00:00.000Z").text());
}

#[test]
fn why_a_manifest_is_not_applied_is_said_with_its_place() {
    let why = "unknown field `imagge` (manifests/kafka.yaml:9:3)";
    let case = kafka().has("kafka", Running).mode(Mode::Frozen).because(why);
    let mut unknown = case.clone();
    unknown.unknown = true;
    let down = case.clone().probes(true, Some(false), "port 9092: connection refused");
    shows!(format!("{}{}{}", case.text(), down.text(), unknown.text()));
}

#[test]
fn a_paused_container_is_ready_again_once_it_goes_on() {
    let paused = kafka().has("kafka", Paused);
    let plan = paused.plan();
    assert!(plan.is_empty() && !plan.status.ready && plan.wants.probes.is_empty(), "asked, it might answer: {plan}");
    let mut on = paused.but(|c| c.state = Running);
    // Its probes begin anew: hours after its start nobody has asked it yet.
    on = on.probes(false, None, "");
    let plan = on.plan();
    assert!(plan.is_empty() && plan.status.stalled.is_none() && !plan.wants.probes.is_empty(), "{plan}");
    assert!(on.probes(true, Some(true), "port 9092 answered").plan().status.ready);
}

// ---- properties ------------------------------------------------------------------------------------

fn part() -> impl Strategy<Value = Part> {
    let state = proptest::sample::select(STATES.to_vec());
    (state, any::<bool>(), any::<bool>(), proptest::sample::select(vec![0, 1, 143]))
        .prop_map(|(state, fits, hushed, exit_code)| Part { state, fits, uploaded: true, hushed, exit_code })
}

fn parts() -> impl Strategy<Value = Vec<(usize, Part)>> {
    proptest::collection::vec(proptest::option::of(part()), PARTS.len())
        .prop_map(|parts| parts.into_iter().enumerate().filter_map(|(i, p)| Some((i, p?))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// P13: whatever else there is to do, what ends by itself is not started before its time, and the
    /// plan is made again then.
    #[test]
    fn p13_no_crash_is_followed_by_a_start_before_its_time(
        parts in parts(), before in 1u64..9, ago in 0u64..400, live: bool, was_one_shot: bool,
    ) {
        let made_with = if was_one_shot { RestartPolicy::No } else { RestartPolicy::UnlessStopped };
        let mut case = populate(&world(made_with), &parts).restarted(before, secs(ago));
        case.spec.container.restart = RestartPolicy::UnlessStopped;
        case.probes.live = Some(live);
        // What a state says it ended at is now.
        let pause = secs((10 << (before - 1)).min(300));
        let plan = case.plan();
        if let Some(stage) = plan.executable() {
            let from = |s: &RunState| if *s == Exited { case.now } else { Timestamp(case.now.0 - ago * 1000) };
            let current = case.observed.named("kafka").map(|c| c.state);
            let crash = stage.steps.iter().any(|s| s.cause.is_crash());
            prop_assert!(!crash || current.is_some_and(|s| from(&s).plus(pause) <= case.now), "{}", plan);
        }
        if let Some(Gate::Backoff(at)) = plan.stages.first().and_then(|s| s.gate.as_ref()) {
            prop_assert!(*at > case.now && plan.wake_at.is_some_and(|wake| wake <= *at), "{}", plan);
        }
    }

    /// A restart that is asked for is of the container that serves, and of no other.
    #[test]
    fn a_restart_that_is_asked_for_is_of_what_serves(parts in parts(), frozen: bool, unknown: bool) {
        let mut case = populate(&world(RestartPolicy::UnlessStopped), &parts).restart_asked();
        if frozen {
            (case.mode, case.unknown) = (Mode::Frozen, unknown);
        }
        let under_way = parts.iter().any(|(i, p)| PARTS[*i] == "kafka.old" && p.state != RunState::Dead
            && p.state != RunState::Removing);
        let plan = case.plan();
        for step in plan.stages.iter().flat_map(|s| &s.steps).filter(|s| s.cause == Cause::Requested) {
            let target = match &step.op {
                Op::Stop { target, .. } | Op::Start(target) | Op::SetRestartPolicy { target, .. } => target,
                op => panic!("{op}"),
            };
            let alone = matches!(target, Target::Existing { .. }) && target.name() == "kafka";
            let stop = matches!(step.op, Op::Stop { .. });
            prop_assert!((alone || unknown) && !(under_way && stop), "{}", plan);
        }
    }
}
