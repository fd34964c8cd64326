use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::engine::fake::FakeEngine;
use crate::plan::{Cause, Step};
use crate::resource::spec::{NetworkSpec, VolumeSpec};

fn volume(name: &str) -> Step {
    let spec = Arc::new(VolumeSpec { name: name.to_owned(), ..VolumeSpec::default() });
    Step { op: Op::CreateVolume { spec, labels: BTreeMap::new() }, cause: Cause::Missing }
}

fn network(name: &str) -> Step {
    let spec = Arc::new(NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() });
    Step { op: Op::CreateNetwork { spec, labels: BTreeMap::new() }, cause: Cause::Missing }
}

fn stage(steps: Vec<Step>) -> Stage {
    Stage { gate: None, steps }
}

#[tokio::test(start_paused = true)]
async fn steps_are_taken_in_order() {
    let engine = FakeEngine::new(&[]);
    let stage = stage(vec![volume("a"), network("n"), volume("b")]);
    let report = execute(&engine, &stage, &Limits::new(1), &(), || false).await;
    assert!(matches!(report, Report { done: 3, end: End::Completed }), "{report:?}");
    assert_eq!(engine.calls(), ["create volume a", "create network n", "create volume b"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_a_stage() {
    let engine = FakeEngine::new(&[]);
    engine.fail("create network", ErrorKind::NoAddress, "pools are exhausted");
    let stage = stage(vec![volume("a"), network("n"), volume("b")]);
    let report = execute(&engine, &stage, &Limits::new(1), &(), || false).await;
    assert!(matches!(report, Report { done: 1, end: End::Failed(_) }), "{report:?}");
    assert_eq!(engine.volumes(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_date_is_not_begun() {
    let engine = FakeEngine::new(&[]);
    let asked = Cell::new(0);
    let stage = stage(vec![volume("a"), volume("b")]);
    let report = execute(&engine, &stage, &Limits::new(1), &(), || asked.replace(asked.get() + 1) > 0).await;
    assert!(matches!(report, Report { done: 1, end: End::Superseded }), "{report:?}");
    assert_eq!(engine.volumes(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_not_created_cannot_be_started() {
    let engine = FakeEngine::new(&[]);
    let start = Step { op: Op::Start(Target::Created { name: "x".to_owned() }), cause: Cause::Missing };
    let report = execute(&engine, &stage(vec![start]), &Limits::new(0), &(), || false).await;
    assert!(matches!(report, Report { done: 0, end: End::Failed(_) }), "{report:?}");
    assert!(engine.calls().is_empty());
}
