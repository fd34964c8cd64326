//! What is not ours, and is observed or taken over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::case::{Case, attachment, image, kafka, network, shows};
use super::convergence::Convergence;
use crate::plan::types::{Mode, Op};
use crate::resource::adoption::{COMPOSE_PROJECT, COMPOSE_SERVICE, adoptable};
use crate::resource::container::ContainerId;
use crate::resource::labels::ADOPTED_FROM;
use crate::resource::observed::{Container, EndpointState, RunState};
use crate::resource::revision::{Proven, Revision};
use crate::resource::spec::{Adopt, Mount, MountSource, NetworkAttachment, RestartPolicy, Whom};
use crate::resource::status::Reason;

use RunState::{Exited, Paused, Restarting, Running};

fn volume(name: &str, target: &str) -> Mount {
    let source = MountSource::Volume { name: name.to_owned(), subpath: None };
    Mount { target: target.to_owned(), source, read_only: false }
}

/// Kafka as a Compose project `shop` has made it: with its data in `shop_data`, and on `shop_default`.
fn composed(case: &Case, name: &str, state: RunState) -> Container {
    let made = case.clone().spec(|s| s.adopt = Adopt::Never).has("elsewhere", state);
    let mut container = made.observed.owned.into_iter().next_back().unwrap();
    container.id = ContainerId::new(crate::resource::hash::sha256_hex(name.as_bytes()));
    container.name = name.to_owned();
    container.owner = crate::resource::observed::Owner::default();
    container.files_marker = None;
    let config = &mut container.config;
    config.restart = RestartPolicy::Always;
    config.init = false;
    config.env.insert("PASSWORD".to_owned(), "canary".to_owned());
    config.labels = BTreeMap::from([
        (COMPOSE_PROJECT.to_owned(), "shop".to_owned()),
        (COMPOSE_SERVICE.to_owned(), "kafka".to_owned()),
    ]);
    config.mounts = vec![volume("shop_data", "/data"), volume("shop_log", "/log")];
    let aliases = ["kafka".to_owned(), "broker".to_owned()].into();
    config.networks =
        vec![NetworkAttachment { network: "shop_default".to_owned(), aliases, ipv4_address: None, priority: None }];
    let endpoint = EndpointState {
        network_id: crate::resource::container::NetworkId("net-shop".into()),
        address: None,
        aliases: config.networks[0].aliases.clone(),
        ipv4_address: None,
    };
    container.endpoints = BTreeMap::from([("shop_default".to_owned(), endpoint)]);
    adoptable(container, &[])
}

/// The manifest's volume is called as Compose calls it within the project.
fn manifest(adopt: fn(Whom) -> Adopt) -> Case {
    let mut case = kafka().spec(|s| {
        s.adopt = adopt(Whom::default());
        s.container.mounts = vec![volume("data", "/data")];
    });
    case.observed.networks.insert("shop_default".to_owned(), vec![network("shop_default", "net-shop")]);
    case
}

fn with(mut case: Case, found: Vec<Container>) -> Case {
    case.observed.adoptees = found;
    case
}

fn replacing(state: RunState) -> Case {
    let case = manifest(Adopt::Replace);
    let found = composed(&case, "shop_kafka_1", state);
    with(case, vec![found])
}

fn observing(state: RunState) -> Case {
    let case = manifest(Adopt::Observe);
    let found = composed(&case, "shop_kafka_1", state);
    with(case, vec![found])
}

#[test]
fn a_container_of_compose_is_taken_over_with_its_data_and_its_networks() {
    let case = replacing(Running);
    let plan = case.plan();
    let created = plan.stages[0].steps.iter().find_map(|s| match &s.op {
        Op::CreateContainer(create) => Some(create.clone()),
        _ => None,
    });
    let created = created.expect("one is made");
    let mounts = &created.service.spec.container.mounts;
    assert_eq!(mounts, &[volume("shop_data", "/data"), volume("shop_log", "/log")]);
    assert_eq!(created.service.hash, case.service().hash, "the hash is the manifest's");
    assert_eq!(created.labels[ADOPTED_FROM], *case.observed.adoptees[0].id.0);
    shows!(case.text());
}

#[test]
fn p17_what_is_observed_is_never_changed_and_its_differences_are_shown() {
    shows!(observing(Running).text());
}

#[test]
fn an_observed_one_that_fails_or_has_ended_is_not_ready_and_observed_all_the_same() {
    let failing = observing(Running).probes(true, Some(false), "port 9092: connection refused");
    shows!(format!("{}{}{}", failing.text(), observing(Exited).text(), observing(Paused).text()));
}

#[test]
fn where_nothing_is_to_be_observed_nothing_is_made() {
    let named = manifest(Adopt::Observe).spec(|s| {
        s.adopt = Adopt::Observe(Whom { project: Some("shop".to_owned()), service: Some("broker".to_owned()) });
    });
    shows!(format!("{}{}", manifest(Adopt::Observe).text(), named.text()));
}

#[test]
fn p17_what_was_refused_before_is_no_reason_to_make_one_that_is_only_observed() {
    let made = manifest(Adopt::Observe).spec(|s| s.adopt = Adopt::Never).has("kafka.failed", Exited);
    let mut case = made.spec(|s| s.adopt = Adopt::Observe(Whom::default()));
    for proven in [false, true] {
        let revision = Revision::of(&case.service(), None, "salt");
        case.revisions.proven = proven.then(|| Proven { spec: case.spec.clone(), revision });
        let plan = case.plan();
        assert!(plan.is_empty() && plan.status.reason == Reason::NothingToObserve, "{plan}");
    }
}

#[test]
fn p17_several_that_could_be_meant_are_named_and_left_alone() {
    let case = manifest(Adopt::Replace);
    let found = vec![composed(&case, "shop_kafka_1", Running), composed(&case, "shop_kafka_2", Running)];
    shows!(with(case, found).text());
}

#[test]
fn p17_one_that_would_vanish_when_stopped_is_left_alone() {
    let mut case = replacing(Running);
    case.observed.adoptees[0].auto_remove = true;
    shows!(case.text());
}

#[test]
fn p17_a_file_that_would_be_written_into_a_kept_mount_is_refused() {
    let case = replacing(Running).file("/log/settings", "a=1");
    let plan = case.plan();
    assert!(plan.executable().is_none(), "{plan}");
    let (_, why) = plan.status.stalled.expect("it says why");
    assert!(why.contains("its mount at /log would be kept") && why.contains("/log/settings"), "{why}");
}

#[test]
fn p17_what_looks_like_half_a_takeover_is_named_and_not_made_anew() {
    shows!(manifest(Adopt::Replace).foreign("kafka.old").text());
}

#[test]
fn what_the_engine_left_of_a_takeover_s_end_is_removed_once_more() {
    let mut run = Convergence::of(replacing(Running));
    run.run();
    let mut done = run.case.clone();
    let mut left = composed(&manifest(Adopt::Replace), "shop_kafka_1", RunState::Dead);
    left.name = "kafka.old".to_owned();
    done.observed.adoptees = vec![left];
    let text = done.plan().to_string();
    assert!(text.contains("remove container kafka.old"), "{text}");
    // Of one that has not begun it is said, and nothing is done.
    let mut case = replacing(RunState::Dead);
    case.observed.adoptees[0].name = "kafka.old".to_owned();
    assert!(case.plan().executable().is_none(), "{}", case.plan());
}

#[test]
fn a_broken_manifest_begins_no_takeover_and_carries_on_one_that_has_begun() {
    let plan = replacing(Running).mode(Mode::Frozen).plan();
    assert!(plan.is_empty() && plan.status.ready, "{plan}");
    let mut run = Convergence::of(replacing(Running));
    run.crash_before = Some(1);
    run.observe();
    let plan = run.case.plan();
    run.engine.begin_stage();
    run.engine.apply(&plan.stages[0].steps[0], "kafka").unwrap();
    run.observe();
    run.case.mode = Mode::Frozen;
    assert!(run.case.plan().executable().is_some(), "{}", run.case.plan());
}

/// It has the other one's mounts, and that one runs on.
#[test]
fn p17_what_was_made_for_a_takeover_that_nobody_wants_any_more_is_removed_and_never_started() {
    let mut run = Convergence::of(replacing(Running));
    let plan = run.observe();
    run.engine.begin_stage();
    run.engine.apply(&plan.executable().unwrap().steps[0], "kafka").unwrap();
    run.observe();
    let removes = |case: Case| {
        let plan = case.plan();
        let steps = plan.executable().map(|stage| stage.steps.iter().map(ToString::to_string).collect::<Vec<_>>());
        steps.is_some_and(|steps| steps.iter().all(|step| step.contains("remove container kafka.next")))
    };
    for adopt in [Adopt::Never, Adopt::Observe(Whom::default())] {
        assert!(removes(run.case.clone().spec(|s| s.adopt = adopt.clone())), "{adopt:?}");
    }
    assert!(!removes(run.case.clone()));
    let case = run.case.clone().spec(|s| s.adopt = Adopt::Never);
    assert!(!removes(case.mode(Mode::Frozen)), "nothing is decided anew for a broken manifest");
}

fn one_shot(adopt: fn(Whom) -> Adopt, edit: impl FnOnce(&mut Container)) -> Case {
    let case = manifest(adopt).spec(|s| {
        s.container.restart = RestartPolicy::No;
        s.probes = crate::resource::probe::Probes::default();
    });
    let mut found = composed(&case, "shop_migrate_1", Exited);
    found.config.env.remove("PASSWORD");
    found.exit_code = Some(0);
    edit(&mut found);
    let mut case = with(case, vec![adoptable(found, &[])]);
    case.remember_images();
    case
}

#[test]
fn a_one_shot_that_compose_has_run_is_completed_and_not_run_again() {
    for adopt in [Adopt::Observe as fn(Whom) -> Adopt, Adopt::Replace] {
        let plan = one_shot(adopt, |_| {}).plan();
        assert!(plan.is_empty() && plan.status.ready && plan.status.settled, "{plan}");
        assert_eq!(plan.status.reason, crate::resource::status::Reason::Completed);
    }
}

#[test]
fn a_one_shot_that_ran_as_something_else_or_failed_is_run_as_the_manifest_says() {
    let another = |c: &mut Container| c.config.command = Some(vec!["other".to_owned()]);
    let failed = |c: &mut Container| c.exit_code = Some(2);
    for edit in [another as fn(&mut Container), failed] {
        let plan = one_shot(Adopt::Replace, edit).plan();
        assert!(plan.executable().is_some(), "{plan}");
        let plan = one_shot(Adopt::Observe, edit).plan();
        assert!(plan.is_empty() && !plan.status.ready, "{plan}");
    }
}

#[test]
fn a_one_shot_that_still_runs_is_left_to_its_end() {
    let running = |policy| {
        one_shot(Adopt::Replace, |c| {
            c.state = Running;
            c.config.restart = policy;
        })
        .plan()
    };
    let plan = running(RestartPolicy::No);
    assert!(plan.is_empty() && !plan.status.ready && !plan.status.settled, "{plan}");
    // It would be waited for without end.
    let plan = running(RestartPolicy::Always);
    assert!(plan.executable().is_none(), "{plan}");
    let (reason, message) = plan.status.stalled.unwrap();
    assert_eq!(reason, Reason::AdoptionRefused);
    assert!(message.contains("docker update --restart no shop_migrate_1"), "{message}");
}

/// `PASSWORD=canary` is on the container of somebody else.
#[test]
fn p15_no_value_of_a_foreign_environment_is_told() {
    for case in [observing(Running), replacing(Running)] {
        let text = format!("{}{:?}", case.text(), case.plan());
        assert!(text.contains("env.PASSWORD") && !text.contains("canary"), "{text}");
    }
}

fn taken_over(run: &Convergence) {
    run_is_alone(run);
    let current = run.engine.observed.named("kafka").unwrap();
    assert_eq!(current.image_id, image("kafka:1").id);
    assert!(current.config.mounts.contains(&volume("shop_data", "/data")), "{:?}", current.config.mounts);
    assert!(current.config.mounts.contains(&volume("shop_log", "/log")), "{:?}", current.config.mounts);
    let kept = &current.endpoints["shop_default"].aliases;
    assert!(kept.contains("broker") && current.endpoints.contains_key("env-manager"), "{:?}", current.endpoints);
}

fn run_is_alone(run: &Convergence) {
    let trace = || run.engine.trace.join("\n");
    assert_eq!(run.names(), ["kafka"], "{}", trace());
    assert!(run.engine.observed.adoptees.is_empty(), "{}", trace());
}

#[test]
fn p11_a_takeover_dying_before_any_call_converges_with_the_data_it_had() {
    let mut deaths = 0;
    for name in ["shop_kafka_1", "kafka"] {
        for state in [Running, Paused, Restarting, Exited, RunState::Created] {
            let case = manifest(Adopt::Replace);
            let found = composed(&case, name, state);
            let case = with(case, vec![found]);
            let run = |crash_before, engine_too| {
                let mut run = Convergence::of(case.clone());
                (run.crash_before, run.engine_too) = (crash_before, engine_too);
                run.run();
                taken_over(&run);
                run.engine.trace.len()
            };
            for call in 0..run(None, false) {
                run(Some(call), false);
                run(Some(call), true);
                deaths += 2;
            }
        }
    }
    assert!(deaths > 80, "only {deaths}");
}

/// And once it is ours, it is like every other: nothing is planned, an edit replaces it, and what it was
/// mounted with stays.
#[test]
fn p03_what_was_taken_over_is_at_rest_and_keeps_its_data_through_edits() {
    let mut run = Convergence::of(replacing(Running));
    run.run();
    let calls = run.engine.trace.len();
    for _ in 0..3 {
        run.engine.now = run.engine.now.plus(Duration::from_mins(10));
        let plan = run.observe();
        assert!(plan.is_empty() && plan.status.settled, "{plan}");
    }
    assert_eq!(run.engine.trace.len(), calls);
    for edit in ["a", "b"] {
        run.case.spec.container.env.insert("EDIT".to_owned(), edit.to_owned());
        run.run();
        taken_over(&run);
    }
    // Until the manifest names another.
    run.case.spec.container.mounts = vec![volume("other", "/data")];
    run.run();
    let mounts = &run.engine.observed.named("kafka").unwrap().config.mounts;
    assert!(mounts.contains(&volume("other", "/data")) && mounts.contains(&volume("shop_log", "/log")), "{mounts:?}");
}

#[test]
fn a_spec_that_changes_in_the_middle_of_a_takeover_keeps_the_data_and_the_way_back() {
    for call in 0..10 {
        let mut run = Convergence::of(replacing(Running));
        run.crash_before = Some(call);
        let plan = run.observe();
        run.engine.begin_stage();
        for step in plan.executable().unwrap().steps.iter().take(call) {
            run.engine.apply(step, "kafka").unwrap();
        }
        run.case.spec.container.env.insert("EDIT".to_owned(), "a".to_owned());
        run.crash_before = None;
        run.run();
        taken_over(&run);
    }
}

/// The network that was kept is removed while the container does not run: it would never start again.
#[test]
fn a_kept_network_that_is_gone_is_let_go() {
    let mut run = Convergence::of(replacing(Running));
    run.run();
    run.engine.observed.networks.remove("shop_default");
    run.engine.observed.owned[0].state = Exited;
    run.engine.observed.owned[0].exit_code = Some(1);
    let before = run.engine.observed.owned[0].id.clone();
    run.run();
    // Docker takes no container off a network that is gone.
    assert_ne!(run.engine.observed.named("kafka").unwrap().id, before);
    assert!(!run.engine.observed.named("kafka").unwrap().endpoints.contains_key("shop_default"));
}

#[test]
fn the_manifest_s_own_attachment_to_a_kept_network_wins() {
    let mut case = replacing(Running);
    case.spec.container.networks.push(attachment("shop_default"));
    let mut run = Convergence::of(case);
    run.run();
    let current = run.engine.observed.named("kafka").unwrap();
    assert!(!current.endpoints["shop_default"].aliases.contains("broker"));
}
