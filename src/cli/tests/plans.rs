use super::super::changes::PlanReport;
use super::super::json::to_json;
use super::*;
use crate::plan::types::ClosedBy;
use crate::plan::{Action, Cause, FieldChange, Gate, Op, Plan, Stage, Step, Target, Wants};
use crate::report::SourceReport;

fn plan_of(key: ResourceKey, action: Action, changes: Vec<FieldChange>, stages: Vec<Stage>) -> Plan {
    Plan {
        key,
        action,
        stages,
        changes,
        wants: Wants::default(),
        status: draft(Reason::Pending, ""),
        wake_at: None,
        refuses: None,
    }
}

fn change(field: &str, old: Option<&str>, new: Option<&str>, closed_by: ClosedBy) -> FieldChange {
    let text = |s: &str| s.to_owned();
    FieldChange { field: text(field), old: old.map(text), new: new.map(text), closed_by, cause: Cause::SpecChanged }
}

fn source_report() -> SourceReport {
    SourceReport::new(&view(vec![]).source)
}

fn example_plans() -> Vec<Plan> {
    let target = || Target::Existing { id: ContainerId::new("a"), name: "kafka".to_owned() };
    let stop = Step { op: Op::Stop { target: target(), grace: Duration::from_secs(30) }, cause: Cause::SpecChanged };
    let remove = Step { op: Op::RemoveContainer(target()), cause: Cause::Superseded };
    let volume = Step { op: Op::RemoveVolume { name: "old".to_owned() }, cause: Cause::Orphaned };
    vec![
        plan_of(
            ResourceKey::service("kafka"),
            Action::Replace,
            vec![
                change(
                    "image",
                    Some("confluentinc/cp-kafka:7.9.1"),
                    Some("confluentinc/cp-kafka:7.9.2"),
                    ClosedBy::Replace,
                ),
                change("env.KAFKA_HEAP_OPTS", None, Some("-Xmx1g"), ClosedBy::Replace),
            ],
            vec![
                Stage { gate: None, steps: vec![stop] },
                Stage { gate: Some(Gate::Ready("kafka".to_owned())), steps: vec![remove] },
            ],
        ),
        plan_of(
            ResourceKey::service("redis"),
            Action::Update,
            vec![change("resources.memory", Some("3GiB"), Some("2GiB"), ClosedBy::InPlace)],
            vec![],
        ),
        plan_of(ResourceKey::volume("old"), Action::Remove, vec![], vec![Stage { gate: None, steps: vec![volume] }]),
        plan_of(ResourceKey::service("zookeeper"), Action::None, vec![], vec![]),
    ]
}

#[test]
fn plans_are_shown_field_by_field() {
    let report = PlanReport::new("default", source_report(), &example_plans());
    assert_eq!(report.exit(), Exit::Changes);
    insta::assert_snapshot!(plain(&report.render(false)), @r"
    kafka: replace container
        image                confluentinc/cp-kafka:7.9.1 → 7.9.2  cause: spec differs
        env.KAFKA_HEAP_OPTS  (unset) → -Xmx1g                     cause: spec differs
    redis: change in place
        resources.memory  3GiB → 2GiB  cause: spec differs
    volume old: remove (no manifest asks for it)
    1 to replace, 1 to change in place, 1 unchanged
    ");
}

#[test]
fn detailed_plans_show_every_step_and_what_it_waits_for() {
    let report = PlanReport::new("default", source_report(), &example_plans()[..1]);
    insta::assert_snapshot!(plain(&report.render(true)));
    insta::assert_snapshot!("plan_json", to_json(&report));
}

#[test]
fn nothing_to_change_is_said_and_exits_0_unless_manifests_are_broken() {
    let mut report = PlanReport::new("default", source_report(), &example_plans()[3..]);
    assert_eq!(
        (plain(&report.render(false)).as_str(), report.exit()),
        ("nothing to change: 1 of 1 as described\n", Exit::Done)
    );
    report.invalid_manifests = 2;
    assert_eq!(plain(&report.render(false)), "nothing to change: 1 of 1 as described · 2 invalid manifests\n");
    assert_eq!(report.exit(), Exit::Invalid);
}
