//! Rollouts that do not become Ready (P9).

use serde_json::Value;

use crate::stack::{Stack, deaf, docker, line, soon, text};

/// The health check of the new one never passes.
fn fails() -> String {
    deaf("web", "update: { progressDeadline: 3s }\nstop: { gracePeriod: 1s }")
}

fn serves() -> String {
    line("web", "stop: { gracePeriod: 1s }")
}

fn is_rolled_back(service: &Value) -> bool {
    service["phase"] == "RolledBack" && service["ready"] == true
}

fn runs(stack: &Stack, name: &str) -> bool {
    stack.inspect(name)["State"]["Running"] == true
}

#[test]
fn p09_failing_health_is_rolled_back_to_the_same_container_and_not_tried_again() {
    let stack = Stack::new("rollback");
    stack.describe(&[serves()]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = stack.id("web");

    stack.describe(&[fails()]);
    daemon.service_is("web", "it is rolled back", is_rolled_back);
    assert_eq!(stack.id("web"), before);
    assert_eq!(text(&stack.inspect("web")["HostConfig"]["RestartPolicy"]["Name"]), "unless-stopped");
    assert!(runs(&stack, "web") && !runs(&stack, "web.failed"));
    daemon.told("web", "RolledBack", "not ready within 3");
    let status = daemon.status().unwrap();
    assert_eq!((&status["converged"], &status["healthy"]), (&Value::Bool(false), &Value::Bool(true)), "{status}");
    let logs = stack.run(&["logs", "web", "--failed"]).exits(0);
    assert!(!logs.to_string().is_empty());

    // Neither a resync nor another process tries it again, whichever record is left.
    let failed = stack.id("web.failed");
    stack.run(&["sync"]).exits(0);
    assert_eq!(stack.id("web.failed"), failed);
    daemon.kill();
    docker(&["rm", &stack.container("web.failed")]);
    let daemon = stack.daemon();
    daemon.service_is("web", "it is still refused", is_rolled_back);
    assert_eq!((stack.id("web"), stack.names().len()), (before.clone(), 1));

    // A person can have it tried again: another container, refused like the first.
    stack.run(&["retry", "web"]);
    soon("the second try to fail", || stack.names().iter().any(|n| n.ends_with("web.failed")).then_some(()));
    daemon.service_is("web", "it is rolled back once more", is_rolled_back);
    assert_eq!(stack.id("web"), before);

    // Another revision is another thing, and once it is Ready nothing is left of the refused one.
    stack.describe(&[line("web", "stop: { gracePeriod: 1s }\nenv: { FIXED: 1 }")]);
    daemon.replaced("web", &before);
    daemon.converged();
    assert_eq!(stack.names().len(), 1, "{:?}", stack.names());
}

#[test]
fn p09_what_cannot_be_started_is_given_up_at_once() {
    let stack = Stack::new("nostart");
    stack.describe(&[serves()]);
    stack.apply().exits(0);
    let before = stack.id("web");
    stack.describe(&[serves().replace("command: standin line", "init: false\n  entrypoint: [/no/such/program]")]);
    let applied = stack.apply().exits(3);
    let told = applied.service("web");
    assert!(is_rolled_back(&told) && text(&told["message"]).contains("/no/such/program"), "{applied}");
    assert_eq!(stack.id("web"), before);
    assert!(runs(&stack, "web"));
    // And so it stays.
    let failed = stack.id("web.failed");
    stack.apply().exits(3);
    assert_eq!((stack.id("web"), stack.id("web.failed")), (before, failed));
}
