//! Who waits for whom (P8).

use crate::stack::{Stack, deaf, idle, line, nanos, service};

const SECOND: u128 = 1_000_000_000;

#[test]
fn p08_a_service_starts_once_what_it_needs_is_ready() {
    let stack = Stack::new("order");
    stack.describe(&[
        line("zookeeper", "env: { STANDIN_START_DELAY: 2s }"),
        line("kafka", "dependsOn: [zookeeper]"),
        line("node-a", ""),
        line("node-b", "env: { STANDIN_START_DELAY: 1s }"),
        line("router", "dependsOn: [node-a, { service: node-b, condition: Ready }]"),
    ]);
    let ran = stack.apply().exits(0);
    for name in ["zookeeper", "kafka", "node-a", "node-b", "router"] {
        ran.is_ready(name);
    }
    // Nobody can have been answered before the delay was over.
    assert!(stack.started_at("kafka") >= stack.started_at("zookeeper") + 2 * SECOND);
    assert!(stack.started_at("router") >= stack.started_at("node-b") + SECOND);
    assert!(stack.started_at("router") >= stack.started_at("node-a"));
    let started: Vec<_> = ran.json()["started"].as_array().unwrap().iter().map(crate::stack::text).collect();
    let place = |name: &str| started.iter().position(|s| s == name).unwrap_or_else(|| panic!("{name}: {started:?}"));
    assert!(place("kafka") > place("zookeeper") && place("router") > place("node-b"), "{started:?}");
    stack.is_converged(&["kafka", "node-a", "node-b", "router", "zookeeper"]);
}

#[test]
fn p08_started_is_enough_where_a_manifest_says_so() {
    let stack = Stack::new("started");
    stack.describe(&[
        deaf("deaf", ""),
        idle("content", "dependsOn: [{ service: deaf, condition: Started }]"),
        idle("picky", "dependsOn: [{ service: deaf, condition: Ready }]"),
    ]);
    let ran = stack.apply().was_stuck();
    ran.is_ready("content");
    assert!(stack.started_at("content") >= stack.started_at("deaf"));
    ran.says("deaf", "StartupDeadlineExceeded", &["not ready within 2.0 s"]);
    ran.says("picky", "DependencyStalled", &["deaf", "not ready within 2.0 s"]);
    assert_eq!(stack.names(), ["content", "deaf"], "nothing is made for one that waits");
}

#[test]
fn p08_what_waits_for_completion_starts_after_it_and_a_one_shot_runs_once() {
    let stack = Stack::new("oneshot");
    let migrate = |more: &str| {
        service(
            "migrate",
            &format!(
                "command: standin oneshot --after 700ms\nrestart: No\nvolumes: [\"${{SCOPE}}_runs:/data\"]\n{more}"
            ),
        )
    };
    // The image's stand-in counts its runs in its data folder.
    let runs = || {
        let volume = format!("{}_runs:/data", stack.name());
        crate::stack::docker(&[
            "run",
            "--rm",
            "-v",
            &volume,
            crate::stack::engine::IMAGE,
            "cat",
            "/data/.standin-boots",
        ])
    };
    stack.describe(&[migrate(""), idle("web", "dependsOn: [{ service: migrate, condition: Completed }]")]);
    let ran = stack.apply().exits(0);
    assert_eq!(ran.service("migrate")["phase"], "Completed", "{ran}");
    let state = &stack.inspect("migrate")["State"];
    assert!(stack.started_at("web") >= nanos(&state["FinishedAt"]));
    assert_eq!((state["ExitCode"].as_i64(), runs().as_str()), (Some(0), "1"));
    stack.is_converged(&["migrate", "web"]);

    let before = stack.containers();
    stack.apply().exits(0);
    assert_eq!((stack.containers(), runs().as_str()), (before.clone(), "1"), "not again");

    stack.describe(&[migrate("env: { VERSION: \"2\" }")]);
    stack.apply().exits(0);
    assert_eq!(runs(), "2", "again, since its spec is another");
    let after = stack.containers();
    assert_ne!(after["migrate"], before["migrate"]);
    assert_eq!(after["web"], before["web"], "what waited for it once is left alone");
    stack.is_converged(&["migrate", "web"]);
}

#[test]
fn a_one_shot_that_fails_holds_back_what_needs_it_and_says_so() {
    let stack = Stack::new("failing");
    stack.describe(&[
        service("migrate", "command: standin oneshot --exit 7\nrestart: No"),
        idle("web", "dependsOn: [{ service: migrate, condition: Completed }]"),
        idle("other", ""),
    ]);
    let ran = stack.apply().was_stuck();
    ran.is_ready("other");
    ran.says("migrate", "ExitedWithError", &["code 7"]);
    ran.says("web", "DependencyStalled", &["migrate", "code 7"]);
    assert_eq!(stack.names(), ["migrate", "other"]);
}
