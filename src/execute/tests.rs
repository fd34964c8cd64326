use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::fake::FakeEngine;
use crate::plan::{Cause, Step};
use crate::resource::container::ContainerCreate;
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

/// Whatever is out of date meanwhile: in between nobody bears the name.
#[tokio::test(start_paused = true)]
async fn two_renames_belong_together() {
    let engine = FakeEngine::new(&["img:1"]);
    let create = ContainerCreate::plain("a", "img:1");
    let rename = |to: &str| Op::Rename { target: Target::Created { name: "a".to_owned() }, to: to.to_owned() };
    let ops = [Op::CreateContainer(Box::new(create)), rename("b"), rename("c")];
    let steps = ops.map(|op| Step { op, cause: Cause::SpecChanged }).into_iter().chain([volume("v")]).collect();
    let has_renamed = || engine.calls().iter().any(|c| c.starts_with("rename"));
    let report = execute(&engine, &stage(steps), &Limits::new(1), &(), has_renamed).await;
    assert!(matches!(report, Report { done: 3, end: End::Superseded }), "{report:?}");
    assert_eq!(engine.containers().len(), 1);
    assert_eq!(engine.containers()[0].0, "c");
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_its_time_and_is_no_call() {
    let engine = FakeEngine::new(&[]);
    let drain = Step { op: Op::Drain(Duration::from_secs(7)), cause: Cause::Superseded };
    let before = tokio::time::Instant::now();
    let report = execute(&engine, &stage(vec![volume("a"), drain, volume("b")]), &Limits::new(1), &(), || false).await;
    assert!(matches!(report, Report { done: 3, end: End::Completed }), "{report:?}");
    assert!(before.elapsed() >= Duration::from_secs(7));
    assert_eq!(engine.calls(), ["create volume a", "create volume b"]);
}
