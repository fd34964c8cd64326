//! What cannot come up is said in one sentence, at once, and holds nobody else back (rules 23).

use crate::stack::{Stack, deaf, idle, line, service};

#[test]
fn a_required_service_that_never_becomes_ready_ends_the_run_once_nothing_else_can_progress() {
    let stack = Stack::new("never");
    stack.describe(&[
        deaf("deaf", ""),
        line("slow", "env: { STANDIN_START_DELAY: 3s }"),
        idle("needs-slow", "dependsOn: [slow]"),
    ]);
    let ran = stack.apply_with(&["--timeout", "1h"]).was_stuck();
    ran.says("deaf", "StartupDeadlineExceeded", &["not ready within 2.0 s", "connection refused"]);
    ran.is_ready("slow");
    ran.is_ready("needs-slow");
    let json = ran.json();
    assert_eq!((&json["status"]["healthy"], &json["failed"]), (&false.into(), &serde_json::json!(["deaf"])));
    assert_eq!(stack.plan().code, Some(0), "there is nothing to change: it is up, and not ready");
}

#[test]
fn time_that_is_over_is_told_apart_from_being_stuck() {
    let stack = Stack::new("late");
    stack.describe(&[line("slow", "env: { STANDIN_NEVER_LISTEN: 1 }")]);
    let ran = stack.run(&["apply", "-o", "json", "--timeout", "1s"]).exits(3);
    assert!(ran.notes().contains(&"not converged within 1s".to_owned()), "{ran}");
}

#[test]
fn a_missing_image_keeps_nobody_else_from_coming_up() {
    let stack = Stack::new("image");
    stack.describe(&[
        service("absent", "image: em-test/absent:1"),
        // Nothing listens there.
        service("unpullable", "image: 127.0.0.1:1/em-test/absent:1\npullPolicy: IfNotPresent"),
        idle("web", ""),
        idle("needs", "dependsOn: [absent]"),
    ]);
    let ran = stack.apply().was_stuck();
    ran.is_ready("web");
    ran.says("absent", "ImageNotFound", &["em-test/absent:1", "Never"]);
    assert!(
        ["ImagePullFailed", "ImageNotFound"].contains(&ran.service("unpullable")["reason"].as_str().unwrap()),
        "{ran}"
    );
    ran.says("needs", "DependencyStalled", &["absent"]);
    assert_eq!(stack.names(), ["web"]);
    let plan = stack.plan().exits(2);
    assert_eq!(plan.change("absent")["action"], "create");
}

#[test]
fn a_program_that_dies_again_and_again_is_a_crash_loop() {
    let stack = Stack::new("crash");
    stack.describe(&[
        line("dies", "env: { STANDIN_NEVER_LISTEN: 1, STANDIN_EXIT_AFTER: 50ms, STANDIN_EXIT_CODE: 9 }"),
        idle("web", ""),
    ]);
    let ran = stack.apply().was_stuck();
    ran.is_ready("web");
    ran.says("dies", "CrashLoop", &["Docker has restarted it"]);
    assert_eq!(ran.service("dies")["phase"], "BackOff");
}

#[test]
fn a_command_that_is_not_in_the_image_fails_and_says_which() {
    let stack = Stack::new("command");
    let wrong = "command: [no-such-program]";
    // An init starts, and then cannot start the program; without one the engine itself refuses.
    stack.describe(&[service("web", &format!("{wrong}\ninit: false")), service("inner", wrong), idle("other", "")]);
    let ran = stack.apply().was_stuck();
    ran.is_ready("other");
    ran.says("web", "StartFailed", &["no-such-program"]);
    ran.says("inner", "CrashLoop", &["code 127"]);
    stack.forget("inner");
    stack.describe(&[service("web", "command: standin line")]);
    stack.apply().exits(0);
    stack.is_converged(&["other", "web"]);
}

#[test]
fn a_service_that_is_not_required_leaves_the_stack_healthy_without_being_converged() {
    let stack = Stack::new("optional");
    stack.describe(&[deaf("deaf", "required: false"), idle("web", "")]);
    let ran = stack.apply().was_stuck();
    let status = &ran.json()["status"];
    assert_eq!((&status["healthy"], &status["converged"]), (&true.into(), &false.into()));
}
