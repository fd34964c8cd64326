//! What verbs ask of a daemon, and what they do without one.

use crate::stack::{Stack, docker, engine, idle, line, service, soon};

/// Says something on both streams, then nothing for ever.
fn talking(name: &str) -> String {
    let command = r#"command: [sh, -c, "echo to stdout; echo to stderr >&2; exec sleep 1000000"]"#;
    service(name, &format!("image: {}\n{command}\n", engine::IMAGE))
}

#[test]
fn logs_are_the_same_with_and_without_a_daemon() {
    let stack = Stack::new("logs");
    stack.describe(&[talking("web")]);
    let daemon = stack.daemon();
    daemon.converged();
    let through = soon("both lines", || {
        let ran = stack.run(&["logs", "web"]).exits(0);
        (!ran.out.is_empty() && !ran.err.is_empty()).then_some(ran)
    });
    assert_eq!((through.out.as_str(), through.err.as_str()), ("to stdout\n", "to stderr\n"));
    stack.run(&["logs", "web", "--failed"]).exits(1);
    assert_eq!(daemon.stop(), 0);
    let directly = stack.run(&["logs", "web"]).exits(0);
    assert_eq!((directly.out, directly.err), (through.out, through.err));
    stack.run(&["logs", "web", "--failed"]).exits(1);
    stack.run(&["logs", "nobody"]).exits(1);
}

#[test]
fn what_is_asked_is_done_and_waited_for() {
    let stack = Stack::new("asked");
    stack.describe(&[line("db", ""), idle("web", "dependsOn: [db]")]);
    let daemon = stack.daemon();
    stack.run(&["apply"]).exits(0);
    let (id, started) = (stack.id("db"), stack.started_at("db"));
    stack.run(&["restart", "db", "--wait"]).exits(0);
    assert_eq!(stack.id("db"), id, "in place");
    assert_ne!(stack.started_at("db"), started);

    stack.run(&["suspend", "web"]).exits(0);
    docker(&["rm", "-f", &stack.id("web")]);
    let held = stack.run(&["status", "web", "-o", "json"]).exits(0);
    assert_eq!(held.json()["services"][0]["phase"], "Suspended");
    stack.run(&["resume", "web"]).exits(0);
    stack.run(&["sync", "--wait"]).exits(0);
    stack.id("web");

    let seen = stack.run(&["events", "web", "-o", "json"]).exits(0);
    let reasons: Vec<String> = seen
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object a line")["reason"].to_string())
        .collect();
    for reason in ["Created", "Suspended", "ContainerGone", "Resumed", "Ready"] {
        assert!(reasons.contains(&format!("\"{reason}\"")), "no {reason} in {reasons:?}");
    }
    let described = stack.run(&["describe", "web", "-o", "json"]).exits(0).fits("describe").json();
    assert_eq!(
        (&described["dependencies"][0]["service"], &described["dependencies"][0]["ready"]),
        (&"db".into(), &true.into())
    );
    let refused = stack.run(&["down"]).exits(1);
    assert!(refused.err.contains(&format!("process {}", daemon.pid())), "{refused}");
    assert_eq!(daemon.stop(), 0);
}
