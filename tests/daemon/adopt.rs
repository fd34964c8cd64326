//! What is not ours comes, fails, goes, and is taken over, while a daemon looks.

use crate::stack::engine::{IMAGE, inspect};
use crate::stack::{Stack, docker, idle, text};

const ADOPT: &str = "adopt: { policy: POLICY, composeProject: \"${SCOPE}\" }";

#[test]
fn p17_the_daemon_follows_what_it_observes_and_takes_it_over_once_it_is_told_to() {
    let stack = Stack::new("adopt-watch");
    stack.describe(&[idle("web", &ADOPT.replace("POLICY", "Observe"))]);
    let daemon = stack.daemon();
    daemon.service_is("web", "it says that nothing is there", |s| s["reason"] == "NothingToObserve");
    assert!(stack.names().is_empty(), "none is made");

    let (project, name) = (format!("com.docker.compose.project={}", stack.name()), stack.scope.name("web_1"));
    let labels = ["--label", &project, "--label", "com.docker.compose.service=web"];
    let run = [&["run", "-d", "--name", &name, "-e", "PASSWORD=canary-of-theirs"][..], &labels].concat();
    let id = docker(&[&run[..], &[IMAGE, "sleep", "1000000"]].concat());
    let seen = daemon.service_is("web", "it is observed", |s| s["reason"] == "Observed" && s["ready"] == true);
    assert_eq!((text(&seen["containerId"]), text(&seen["phase"])), (id.clone(), "Observed".to_owned()));
    daemon.converged();

    let described = stack.run(&["describe", "web"]).exits(0);
    assert!(described.out.contains("env.PASSWORD") && !described.out.contains("canary-of-theirs"), "{described}");
    let refused = stack.run(&["restart", "web"]);
    assert_eq!(refused.code, Some(1), "{refused}");

    docker(&["stop", "-t", "1", &id]);
    daemon.service_is("web", "its end is noticed", |s| s["ready"] == false && s["phase"] == "Observed");
    docker(&["start", &id]);
    daemon.service_is("web", "its start is noticed", |s| s["ready"] == true);
    docker(&["rm", "-f", &id]);
    daemon.service_is("web", "its removal is noticed", |s| s["reason"] == "NothingToObserve");
    assert!(stack.names().is_empty(), "none is made");

    let id = docker(&[&run[..], &[IMAGE, "sleep", "1000000"]].concat());
    daemon.service_is("web", "it is observed", |s| s["reason"] == "Observed" && s["ready"] == true);
    stack.describe(&[idle("web", &ADOPT.replace("POLICY", "Replace"))]);
    let ours = daemon.replaced("web", &id);
    assert_eq!(text(&inspect(&ours)["Config"]["Labels"]["dev.env-manager.adopted-from"]), id);
    assert_eq!(stack.names(), ["web"]);
    assert!(!daemon.log().contains("canary-of-theirs"));
    let events = stack.run(&["events", "-o", "json"]).exits(0);
    assert!(events.out.contains("taken over") && !events.out.contains("canary-of-theirs"), "{events}");
}
