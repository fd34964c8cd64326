//! Promises, over a model of an engine. Each was seen to fail with the planner broken on purpose.

use proptest::prelude::*;

use super::case::{Case, NOW, describe};
use super::convergence::{Convergence, PARTS, Part, ROUNDS, STATES, populate, starting_first, world};
use crate::clock::Timestamp;
use crate::plan::prune::{OwnedResource, PruneGuards, prune};
use crate::plan::types::{Cause, DepFacts, Mode, Op, Target};
use crate::resource::ResourceKey;
use crate::resource::labels::{NEXT, OLD, SourceId};
use crate::resource::observed::{Container, RunState};
use crate::resource::spec::{DependencyCondition, DesiredState, RestartPolicy};

/// Everything that one part can be, as containers.
fn choices(world: &Case, index: usize) -> Vec<Option<Container>> {
    let whole = |state, fits| Part { state, fits, uploaded: true, hushed: state == RunState::Exited, exit_code: 143 };
    let parts = STATES.into_iter().flat_map(|state| [true, false].map(|fits| whole(state, fits)));
    let containers = parts.map(|part| populate(world, &[(index, part)]).observed.owned.pop());
    std::iter::once(None).chain(containers).collect()
}

#[test]
fn p11_every_combination_of_current_next_and_old_converges() {
    for world in [world(RestartPolicy::UnlessStopped), starting_first(RestartPolicy::UnlessStopped)] {
        every_combination_converges(&world);
    }
}

fn every_combination_converges(world: &Case) {
    let empty = populate(world, &[]);
    let [currents, nexts, olds] = [0, 1, 2].map(|index| choices(world, index));
    for (current, next, old) in currents
        .iter()
        .flat_map(|c| nexts.iter().map(move |n| (c, n)))
        .flat_map(|(c, n)| olds.iter().map(move |o| (c, n, o)))
    {
        let mut case = empty.clone();
        case.observed.owned = [current, next, old].into_iter().flatten().cloned().collect();
        let mut run = Convergence::of(case);
        run.older_is_ready = old.is_none();
        run.run();
        run.check();
    }
}

/// P9: what does not become Ready makes way for what was before, whoever dies meanwhile and whatever is
/// forgotten; and it is not tried again.
#[test]
fn p09_what_does_not_become_ready_makes_way_for_what_was_before() {
    let policies = [RestartPolicy::UnlessStopped, RestartPolicy::Always];
    for world in policies.map(world).into_iter().chain(policies.map(starting_first)) {
        let running = Part { state: RunState::Running, fits: false, uploaded: true, hushed: false, exit_code: 1 };
        let case = populate(&world, &[(0, running)]);
        let before = case.observed.named("kafka").unwrap().id.clone();
        let run = |crash_before, engine_too, remembers| {
            let mut run = Convergence::of(case.clone());
            run.newest_is_ready = false;
            (run.crash_before, run.engine_too, run.remembers) = (crash_before, engine_too, remembers);
            run.run();
            run.check();
            let trace = || run.engine.trace.join("\n");
            assert!(run.rolled_back, "{}", trace());
            assert_eq!(run.engine.observed.named("kafka").unwrap().id, before, "{}", trace());
            assert_eq!(run.names().len(), 2, "the refused one is kept for its logs\n{}", trace());
            let creations = run.engine.trace.iter().filter(|t| t.starts_with("create")).count();
            assert_eq!(creations, 1, "{}", trace());
            run.engine.trace.len()
        };
        let calls = run(None, false, true);
        for call in 0..calls {
            for (engine_too, remembers) in [(false, true), (false, false), (true, true), (true, false)] {
                run(Some(call), engine_too, remembers);
            }
        }
    }
}

/// A cold start, an update, an update of what does not come up, and one that is given up.
fn scenarios(world: &Case) -> Vec<Case> {
    let part = |state, fits| Part { state, fits, uploaded: true, hushed: false, exit_code: 1 };
    let stopped = Part { hushed: true, exit_code: 143, ..part(RunState::Exited, true) };
    [
        vec![],
        vec![(0, part(RunState::Running, false))],
        vec![(0, part(RunState::Restarting, false))],
        vec![(0, part(RunState::Running, false)), (2, stopped)],
        vec![(0, part(RunState::Running, false)), (2, Part { fits: false, ..stopped })],
        vec![(0, part(RunState::Running, true)), (1, part(RunState::Created, false))],
        vec![(0, part(RunState::Created, false))],
        vec![(4, part(RunState::Running, false))],
        vec![(2, stopped)],
    ]
    .iter()
    .map(|parts| populate(world, parts))
    .collect()
}

#[test]
fn p11_dying_before_any_call_of_any_sequence_converges() {
    let on_failure = RestartPolicy::OnFailure { max_retries: 0 };
    let mut deaths = 0;
    let policies = [RestartPolicy::UnlessStopped, RestartPolicy::Always, on_failure, RestartPolicy::Managed];
    for world in policies.map(world).into_iter().chain(policies.map(starting_first)) {
        for (case, older_is_ready) in scenarios(&world).iter().flat_map(|c| [(c, true), (c, false)]) {
            let run = |crash_before, engine_too| {
                let mut run = Convergence::of(case.clone());
                (run.crash_before, run.engine_too, run.older_is_ready) = (crash_before, engine_too, older_is_ready);
                run.run();
                run.check();
                run.engine.trace.len()
            };
            for call in 0..run(None, false) {
                run(Some(call), false);
                run(Some(call), true);
                deaths += 2;
            }
        }
    }
    assert!(deaths > 300, "only {deaths}");
}

fn part() -> impl Strategy<Value = Part> {
    let state = proptest::sample::select(STATES.to_vec());
    (state, any::<bool>(), any::<bool>(), any::<bool>(), proptest::sample::select(vec![0, 1, 143]))
        .prop_map(|(state, fits, uploaded, hushed, exit_code)| Part { state, fits, uploaded, hushed, exit_code })
}

fn parts() -> impl Strategy<Value = Vec<(usize, Part)>> {
    proptest::collection::vec(proptest::option::of(part()), PARTS.len())
        .prop_map(|parts| parts.into_iter().enumerate().filter_map(|(i, p)| Some((i, p?))).collect())
}

/// How a service is treated.
#[derive(Clone, Copy, Debug)]
struct Treated {
    policy: RestartPolicy,
    new_one_first: bool,
}

impl Treated {
    fn world(self) -> Case {
        if self.new_one_first { starting_first(self.policy) } else { world(self.policy) }
    }
}

fn treated() -> impl Strategy<Value = Treated> {
    let policies = vec![RestartPolicy::UnlessStopped, RestartPolicy::Always, RestartPolicy::Managed];
    (proptest::sample::select(policies), any::<bool>())
        .prop_map(|(policy, new_one_first)| Treated { policy, new_one_first })
}

fn foreigners() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["kafka", "kafka.next", "kafka.old", "kafka.failed"], 0..=2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p11_any_state_converges_with_a_crash_anywhere(
        parts in parts(), treated in treated(), crash in 0usize..16, engine_too: bool, older_is_ready: bool,
    ) {
        let mut run = Convergence::of(populate(&treated.world(), &parts));
        (run.crash_before, run.engine_too, run.older_is_ready) = (Some(crash), engine_too, older_is_ready);
        run.run();
        run.check();
    }

    /// Converged means: an empty plan, however often it is asked for.
    #[test]
    fn p03_what_has_converged_plans_to_nothing(parts in parts(), treated in treated()) {
        let mut run = Convergence::of(populate(&treated.world(), &parts));
        run.run();
        let before = run.engine.trace.len();
        for _ in 0..3 {
            run.engine.now = run.engine.now.plus(std::time::Duration::from_mins(10));
            let plan = run.observe();
            prop_assert!(plan.is_empty() && (plan.status.settled || run.rolled_back), "{}", describe(&plan, run.engine.now));
        }
        prop_assert_eq!(before, run.engine.trace.len());
    }

    #[test]
    fn p04_what_is_not_ours_is_never_touched(
        parts in parts(), foreign in foreigners(), treated in treated(), mode in 0usize..4, stopped: bool,
    ) {
        let parts: Vec<_> = parts.into_iter().filter(|(i, _)| !foreign.contains(&PARTS[*i])).collect();
        let mut case = populate(&treated.world(), &parts)
            .mode([Mode::Normal, Mode::Suspended, Mode::Frozen, Mode::Removing][mode]);
        if stopped {
            case.spec.state = DesiredState::Stopped;
        }
        for name in &foreign {
            case = case.foreign(name);
        }
        let theirs = case.observed.foreign.clone();
        let mut run = Convergence::of(case);
        for _ in 0..ROUNDS {
            let plan = run.observe();
            for (target, step) in plan.stages.iter().flat_map(|s| &s.steps).filter_map(|s| Some((target(&s.op)?, s))) {
                let known = match target {
                    Target::Existing { id, .. } => run.engine.observed.owned.iter().any(|c| c.id == *id),
                    Target::Created { .. } => true,
                };
                prop_assert!(known, "{step}");
            }
            let Some(stage) = plan.executable() else { break };
            run.engine.begin_stage();
            for step in &stage.steps {
                if run.engine.apply(step, "kafka").is_err() {
                    break;
                }
            }
        }
        prop_assert_eq!(&run.engine.observed.foreign, &theirs);
    }

    #[test]
    fn the_order_of_lists_is_irrelevant(parts in parts(), treated in treated(), seed: u64) {
        let case = populate(&treated.world(), &parts);
        let mut shuffled = case.clone();
        let mut noise = crate::backoff::Noise::new(seed);
        shuffled.observed.owned.sort_by_cached_key(|_| noise.next_u64());
        prop_assert_eq!(case.plan(), shuffled.plan());
    }

    /// P5: with its manifest broken a service may be started, renamed and rid of what a replace left
    /// behind; it is never stopped, and what serves is never removed.
    #[test]
    fn p05_a_broken_manifest_stops_nothing_that_serves(
        parts in parts(), treated in treated(), forgotten: bool,
    ) {
        let mut case = populate(&treated.world(), &parts).mode(Mode::Frozen);
        case.unknown = forgotten;
        let serving = case.observed.named("kafka").filter(|c| c.state == RunState::Running).cloned();
        let mut run = Convergence::of(case);
        for _ in 0..ROUNDS {
            let plan = run.observe();
            prop_assert!(!plan.status.settled, "says that it has converged");
            let Some(stage) = plan.executable() else { break };
            run.engine.begin_stage();
            for step in &stage.steps {
                prop_assert!(!forgotten || !removes(&step.op), "removes with nothing known: {step}");
                if run.engine.apply(step, "kafka").is_err() {
                    break;
                }
            }
        }
        if let Some(serving) = serving {
            let now = run.engine.observed.named("kafka");
            prop_assert!(now.is_some_and(|c| c.id == serving.id && c.state == RunState::Running));
        }
    }

    #[test]
    fn p06_a_source_that_is_not_whole_prunes_nothing(
        owned in proptest::collection::btree_set("[a-f]", 0..6), desired in proptest::collection::btree_set("[a-f]", 0..6),
        allowed: bool, limit_percent in 0u8..=100,
    ) {
        let guards = PruneGuards { enabled: true, limit_percent, source_is_whole: false, allowed };
        let ours = SourceId("here".to_owned());
        let owned: Vec<_> = owned.iter().map(|n| owned_service(n, "here")).collect();
        let judged = prune(&owned, |key| desired.contains(&*key.name), &ours, guards);
        prop_assert!(judged.remove.is_empty());
        prop_assert!(judged.refused.iter().all(|r| !desired.contains(&*r.key.name)));
    }

    #[test]
    fn p06_more_than_the_limit_is_kept_unless_somebody_allows_it(
        owned in proptest::collection::btree_set("[a-h]", 1..8), desired in proptest::collection::btree_set("[a-h]", 0..8),
        theirs in proptest::collection::btree_set("[a-h]", 0..3), limit_percent in 0u8..=100, allowed: bool,
    ) {
        let ours = SourceId("here".to_owned());
        let source = |name: &str| if theirs.contains(name) { "elsewhere" } else { "here" };
        let resources: Vec<_> = owned.iter().map(|n| owned_service(n, source(n))).collect();
        let guards = PruneGuards { enabled: true, limit_percent, source_is_whole: true, allowed };
        let judged = prune(&resources, |key| desired.contains(&*key.name), &ours, guards);
        let mine = owned.difference(&theirs).count();
        let gone: Vec<_> = judged.remove.iter().map(|k| k.name.to_string()).collect();
        prop_assert!(gone.iter().all(|n| !desired.contains(n) && !theirs.contains(n)));
        prop_assert!(allowed || gone.len() * 100 <= mine * usize::from(limit_percent));
        // And each that nothing asks for is answered for, one way or the other.
        let asked_about = owned.difference(&desired).count();
        prop_assert_eq!(judged.remove.len() + judged.refused.len(), asked_about);
    }

    /// P8: nothing is created or started while a dependency does not hold, unless a replace is under
    /// way; and what is there goes on.
    #[test]
    fn p08_dependencies_come_first(parts in parts(), treated in treated(), removing: bool) {
        let case = populate(&treated.world(), &parts);
        let case = if removing {
            Case { dependents: vec![ResourceKey::service("router")], mode: Mode::Removing, ..case }
        } else {
            case.dep("zookeeper", DependencyCondition::Ready, DepFacts::default())
        };
        let begun = case.observed.owned.iter().any(|c| c.name.ends_with(NEXT) || c.name.ends_with(OLD));
        // A rollback that has not given the policy back yet.
        let part = |index: usize| parts.iter().find(|(i, _)| *i == index).map(|(_, p)| *p);
        let begun = begun || (part(0).is_some_and(|p| p.hushed) && part(3).is_some_and(|p| p.fits));
        let plan = case.plan();
        let steps = || plan.executable().into_iter().flat_map(|s| &s.steps);
        if removing {
            prop_assert!(steps().next().is_none(), "{plan}");
        } else {
            let brings_up = |op: &Op| matches!(op, Op::CreateContainer(_) | Op::Start(_));
            let held = begun || !steps().any(|s| brings_up(&s.op) && s.cause != Cause::Resumed);
            prop_assert!(held, "{plan}");
            prop_assert!(!steps().any(|s| matches!(s.op, Op::CreateContainer(_))), "{plan}");
        }
    }

    /// P9, as text: in any stage a running container that bears the name is stopped only after the
    /// creation of the one that takes its place.
    #[test]
    fn p09_the_new_one_is_created_before_the_old_one_stops(parts in parts(), treated in treated()) {
        let case = populate(&treated.world(), &parts);
        let Some(current) = case.observed.named("kafka").filter(|c| c.state == RunState::Running) else {
            return Ok(());
        };
        let plan = case.plan();
        let mut replacement = case.observed.owned.iter().any(|c| c.name == "kafka.next" && fits_and_is_new(c, &case));
        for step in plan.stages.iter().flat_map(|s| &s.steps) {
            match &step.op {
                Op::CreateContainer(_) => replacement = true,
                Op::Stop { target: Target::Existing { id, .. }, .. } | Op::RemoveContainer(Target::Existing { id, .. })
                    if *id == current.id && step.cause != Cause::Superseded => prop_assert!(replacement, "{plan}"),
                _ => {}
            }
        }
    }

    /// P13: after a failure nothing but looking is done until its time has come.
    #[test]
    fn p13_nothing_is_done_while_backing_off(parts in parts(), treated in treated(), attempts in 1u32..6) {
        let wait = std::time::Duration::from_secs(4);
        let reason = crate::resource::status::Reason::StartFailed;
        let case = populate(&treated.world(), &parts).failed(attempts, reason, "no luck", Some(wait));
        let plan = case.plan();
        // What failed is given up: that is another thing to do, and it cannot wait.
        let given_up = plan.refuses.is_some();
        prop_assert!(plan.executable().is_none() || given_up, "{plan}");
        if !given_up && !plan.is_empty() {
            let said = plan.status.stalled.iter().chain(&plan.status.reconciling).any(|(_, m)| m.contains("no luck"));
            let waits_for_nothing_else = plan.stages.first().is_some_and(|s| matches!(s.gate, Some(crate::plan::Gate::Backoff(_))));
            prop_assert!(!waits_for_nothing_else || (said && plan.wake_at.is_some()), "{}", describe(&plan, case.now));
        }
    }

    #[test]
    fn p19_what_is_suspended_is_left_as_it_is(parts in parts(), treated in treated()) {
        let plan = populate(&treated.world(), &parts).mode(Mode::Suspended).plan();
        prop_assert!(plan.is_empty() && plan.status.settled && plan.wake_at.is_none());
    }

    /// `down` and prune leave nothing of a service, whatever it was in the middle of.
    #[test]
    fn removal_leaves_nothing(parts in parts(), treated in treated(), known: bool) {
        let mut case = populate(&treated.world(), &parts).mode(Mode::Removing);
        case.unknown = !known;
        let mut run = Convergence::of(case);
        for _ in 0..4 {
            if let Some(stage) = run.observe().executable() {
                run.engine.begin_stage();
                for step in &stage.steps {
                    run.engine.apply(step, "kafka").unwrap();
                }
            }
            run.engine.settle();
        }
        prop_assert!(run.names().is_empty(), "{:?}", run.names());
    }

    #[test]
    fn stopped_is_stopped_and_does_not_come_back_with_the_engine(parts in parts(), treated in treated()) {
        let mut case = populate(&treated.world(), &parts);
        case.spec.state = DesiredState::Stopped;
        let mut run = Convergence::of(case);
        for _ in 0..4 {
            if let Some(stage) = run.observe().executable() {
                run.engine.begin_stage();
                for step in &stage.steps {
                    run.engine.apply(step, "kafka").unwrap();
                }
            }
            run.engine.settle();
        }
        let runs = |c: &&Container| c.is_running();
        run.engine.restart();
        prop_assert!(run.engine.observed.owned.iter().find(runs).is_none());
        prop_assert!(run.observe().status.settled);
    }
}

fn fits_and_is_new(container: &Container, case: &Case) -> bool {
    container.state == RunState::Created
        && Some(&container.image_id) == case.observed.spec_image.as_ref().map(|i| &i.id)
}

fn owned_service(name: &str, source: &str) -> OwnedResource {
    OwnedResource { key: ResourceKey::service(name), source: SourceId(source.to_owned()) }
}

fn target(op: &Op) -> Option<&Target> {
    match op {
        Op::Connect { target, .. }
        | Op::Disconnect { target, .. }
        | Op::Upload { target, .. }
        | Op::Reload { target, .. }
        | Op::SetRestartPolicy { target, .. }
        | Op::UpdateLimits { target, .. }
        | Op::Start(target)
        | Op::Stop { target, .. }
        | Op::Rename { target, .. }
        | Op::RemoveContainer(target) => Some(target),
        Op::CreateContainer(_)
        | Op::Drain(_)
        | Op::CreateNetwork { .. }
        | Op::RemoveNetwork { .. }
        | Op::CreateVolume { .. }
        | Op::RemoveVolume { .. } => None,
    }
}

fn removes(op: &Op) -> bool {
    matches!(op, Op::RemoveContainer(_) | Op::RemoveNetwork { .. } | Op::RemoveVolume { .. } | Op::Stop { .. })
}

#[test]
fn a_one_shot_that_is_done_is_not_run_again_by_a_crash() {
    let done = Part { state: RunState::Exited, fits: true, uploaded: true, hushed: false, exit_code: 0 };
    let case = populate(&world(RestartPolicy::No), &[(0, done)]);
    let plan = case.plan();
    assert!(plan.is_empty() && plan.status.ready, "{}", describe(&plan, NOW));
    let stale = Part { state: RunState::Created, fits: false, ..done };
    let mut run = Convergence::of(populate(&world(RestartPolicy::No), &[(0, done), (1, stale)]));
    run.run();
    assert_eq!(run.names(), ["kafka"]);
    assert!(!run.engine.trace.iter().any(|t| t.contains("start")), "{:?}", run.engine.trace);
    assert!(Timestamp(1) < run.engine.now);
}
