//! What is restarted with a service that it needs, and what is not.

use crate::running::Daemon;
use crate::stack::{Stack, docker, line, soon, text};

/// How often a service was started since something that it needs was.
fn restarts(daemon: &Daemon<'_>, service: &str) -> u64 {
    let all = daemon.events();
    let of = all.iter().filter(|e| {
        text(&e["subject"]) == service
            && matches!(e["reason"].as_str(), Some("Started" | "Restarted"))
            && text(&e["message"]).contains("dependency restarted")
    });
    of.map(|e| e["count"].as_u64().expect("a number")).sum()
}

/// Waits until each was started after the one before it, and the stack is converged.
#[track_caller]
fn follows(daemon: &Daemon<'_>, chain: &[&str]) {
    soon("each to be started after what it needs", || {
        let times: Vec<_> = chain.iter().map(|name| daemon.stack.started_at(name)).collect();
        (times.is_sorted_by(|a, b| a < b) && daemon.status()?["converged"] == true).then_some(())
    });
}

#[test]
fn who_asks_for_it_is_restarted_in_place_once_for_each_start_of_what_it_needs() {
    let stack = Stack::new("with");
    let db = |version: u32| line("db", &format!("env: {{ VERSION: \"{version}\" }}"));
    stack.describe(&[
        db(1),
        line("web", "dependsOn: [{ service: db, restart: true }]\nstop: { gracePeriod: 1s }"),
        line("front", "dependsOn: [{ service: web, restart: true }]\nstop: { gracePeriod: 1s }"),
        line("other", "dependsOn: [db]"),
    ]);
    let daemon = stack.daemon();
    daemon.converged();
    let ids = |stack: &Stack| ["web", "front", "other"].map(|name| stack.id(name));
    let (before, other) = (ids(&stack), stack.started_at("other"));
    assert_eq!(restarts(&daemon, "web"), 0);

    // By somebody; with it goes what needs it, and with that what needs that.
    docker(&["restart", "-t", "1", &stack.container("db")]);
    follows(&daemon, &["db", "web", "front"]);
    // By its own end, and Docker's policy.
    let started = stack.started_at("db");
    let process = stack.inspect("db")["State"]["Pid"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &process]).status().expect("kill is there").success());
    soon("Docker to restart it", || (stack.started_at("db") > started).then_some(()));
    follows(&daemon, &["db", "web", "front"]);
    // By env-manager.
    let id = stack.id("db");
    stack.describe(&[db(2)]);
    daemon.replaced("db", &id);
    follows(&daemon, &["db", "web", "front"]);

    assert_eq!(ids(&stack), before, "in place");
    assert_eq!(stack.started_at("other"), other, "it did not ask for it");
    assert_eq!([restarts(&daemon, "web"), restarts(&daemon, "front"), restarts(&daemon, "other")], [3, 3, 0]);
    stack.is_converged(&["db", "front", "other", "web"]);
}

#[test]
fn a_suspended_one_is_restarted_once_it_is_resumed() {
    let stack = Stack::new("held");
    let web = "dependsOn: [{ service: db, restart: true }]\nstop: { gracePeriod: 1s }";
    stack.describe(&[line("db", ""), line("web", web)]);
    let daemon = stack.daemon();
    daemon.converged();
    let (web, started) = (stack.id("web"), stack.started_at("web"));
    stack.run(&["suspend", "web"]).exits(0);
    daemon.service_is("web", "it is suspended", |s| s["phase"] == "Suspended");
    docker(&["restart", "-t", "1", &stack.container("db")]);
    daemon.service_is("db", "it is ready again", |s| s["ready"] == true && s["generation"] == 1);
    daemon.converged();
    assert_eq!(stack.started_at("web"), started, "hands off");
    // What happened meanwhile is made up for.
    stack.run(&["resume", "web"]).exits(0);
    follows(&daemon, &["db", "web"]);
    assert_eq!((stack.id("web"), restarts(&daemon, "web")), (web, 1));
}
