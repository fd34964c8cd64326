//! Files that are changed in a running container, whose process is then told.

use super::case::{Case, kafka};
use super::convergence::Convergence;
use crate::plan::types::{Action, ClosedBy, Plan};
use crate::resource::observed::RunState::{self, Created, Exited, Paused, Running};
use crate::resource::status::Reason;

/// A file that is read again at SIGHUP, beside one that is not.
fn signalled(case: Case, target: &str, content: &str) -> Case {
    let mut case = case.file(target, content);
    let files = &mut case.spec.container.files;
    files.last_mut().unwrap().signal = Some("SIGHUP".to_owned());
    files.sort_by(|a, b| a.target.cmp(&b.target));
    case
}

fn two_files(state: RunState) -> Case {
    signalled(kafka().file("/etc/fixed", "a"), "/etc/read", "b").has("kafka", state)
}

fn ops(plan: &Plan) -> Vec<String> {
    plan.stages.iter().flat_map(|s| &s.steps).map(|s| s.op.to_string()).collect()
}

const UPLOAD: &str = "upload /etc/fixed, /etc/read into container kafka";
const SIGNAL: &str = "send SIGHUP to the process of container kafka";

#[test]
fn p10_a_file_with_a_signal_is_changed_in_place_and_the_process_is_told() {
    assert!(two_files(Running).plan().is_empty());
    let case = signalled(two_files(Running), "/etc/read", "c");
    let plan = case.plan();
    assert_eq!((plan.action, plan.changes[0].field.as_str()), (Action::Update, "files"), "{plan}");
    assert_eq!(plan.changes[0].closed_by, ClosedBy::InPlace);
    assert_eq!(ops(&plan), [UPLOAD, SIGNAL]);
    let mut run = Convergence::of(case);
    run.run();
    assert_eq!(run.engine.trace.len(), 2, "{:?}", run.engine.trace);
}

#[test]
fn what_differs_beside_it_takes_another_container() {
    let read = |case| signalled(case, "/etc/read", "c");
    let fixed = read(two_files(Running)).file("/etc/fixed", "b");
    let one_more = signalled(read(two_files(Running)), "/etc/more", "d");
    let mut one_less = read(two_files(Running));
    one_less.spec.container.files.remove(0);
    // Without a signal now, or made before it had one.
    let restart = two_files(Running).file("/etc/read", "c");
    let late = read(two_files(Running)).but(|c| c.owner.files_hash = None);
    for case in [&fixed, &one_more, &one_less, &restart, &late] {
        assert_eq!(case.plan().action, Action::Replace, "{}", case.plan());
    }
}

#[test]
fn who_died_before_the_signal_sends_it() {
    let case = signalled(two_files(Running), "/etc/read", "c");
    let mut run = Convergence::of(case);
    run.crash_before = Some(1);
    run.run();
    let calls = |what: &str| run.engine.trace.iter().filter(|t| t.contains(what)).count();
    assert_eq!((calls("upload"), calls("SIGHUP")), (2, 1), "{:?}", run.engine.trace);
}

#[test]
fn what_does_not_run_gets_the_files_and_no_signal() {
    for state in [Created, Exited] {
        let plan = signalled(two_files(state), "/etc/read", "c").plan();
        let ops = ops(&plan);
        assert!(ops.contains(&UPLOAD.to_owned()) && !ops.contains(&SIGNAL.to_owned()), "{state:?}: {plan}");
        assert!(ops.iter().any(|op| op == "start container kafka"), "{plan}");
    }
    assert_eq!(ops(&signalled(two_files(Paused), "/etc/read", "c").plan()), [""; 0]);
}

#[test]
fn a_signal_that_cannot_be_sent_is_held_and_holds_up_nothing_else() {
    let refused =
        || signalled(two_files(Running), "/etc/read", "c").failed(3, Reason::UpdateFailed, "no /bin/sh", None);
    let plan = refused().plan();
    assert_eq!(
        (plan.action, plan.status.stalled.as_ref().unwrap().0),
        (Action::Update, Reason::UpdateFailed),
        "{plan}"
    );
    assert_eq!(refused().restart_asked().plan().action, Action::Restart);
}
