//! Killed at every step (P11): the program dies before or after each engine call that changes
//! something, and the next `apply`, or the next daemon, ends where an undisturbed one would have.
//!
//! Needs the feature `crash-points`.

#![cfg(feature = "crash-points")]

#[path = "common/running.rs"]
mod running;
#[path = "common/stack.rs"]
mod stack;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use stack::engine::IMAGE;
use stack::{Ran, Stack, docker, service, soon, text};

/// Stacks that are worked on at once; more only wait for the engine.
const WORKERS: usize = 4;
const SERVICES: [&str; 2] = ["app", "db"];

/// Which changing call, from 1, and on which side of it.
type Point = (usize, &'static str);

/// Two services, one needs the other: networks, a named and an anonymous volume, files, a secret.
fn describe(stack: &Stack, version: usize) {
    let network =
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n";
    stack.write("back.yaml", network);
    let both = format!(
        "image: {IMAGE}\ncommand: [sh, -c, \"trap 'exit 0' TERM; echo > /tmp/up; sleep 1000000 & wait\"]\ninit: false\n\
         env: {{ VERSION: \"{version}\" }}\n\
         probes: {{ startup: {{ exec: {{ command: [\"true\"] }} }} }}\n\
         files: [{{ target: /etc/service.conf, content: \"version = {version}\\n\" }}]"
    );
    stack.describe(&[
        service("db", &format!("{both}\nnetworks: [default, back]\nvolumes: [\"${{SCOPE}}_data:/data\", /anonymous]")),
        service("app", &format!("{both}\ndependsOn: [db]")),
    ]);
}

/// Runs `apply` and lets it die. Returns the calls that were begun.
fn apply_dying_at(stack: &Stack, at: Option<Point>) -> Vec<String> {
    let count = stack.home().join("calls");
    let _ = std::fs::remove_file(&count);
    let mut command = stack.command(&["apply"]);
    command.env("ENV_MANAGER_CRASH_COUNT_FILE", &count);
    let Some((number, side)) = at else {
        Ran::of(command).exits(0);
        return calls(&count);
    };
    command.env("ENV_MANAGER_CRASH_AT", format!("{number}:{side}"));
    let output = assert_cmd::Command::from_std(command).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(6), "it should have died at {number}:{side}: {said}");
    calls(&count)
}

fn calls(count: &std::path::Path) -> Vec<String> {
    std::fs::read_to_string(count).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Runs a daemon and lets it die; one that is not to die ends once it is converged. With `edit` the
/// services get that version while it runs. Returns the calls that were begun.
fn daemon_dying_at(stack: &Stack, at: Option<Point>, edit: Option<usize>) -> Vec<String> {
    let count = stack.home().join("calls");
    let _ = std::fs::remove_file(&count);
    let mut command = stack.daemon_command(&[]);
    command.env("ENV_MANAGER_CRASH_COUNT_FILE", &count);
    if let Some((number, side)) = at {
        command.env("ENV_MANAGER_CRASH_AT", format!("{number}:{side}"));
    }
    let mut daemon = stack.daemon_begun(command);
    // Ends where it is dead too.
    let mut lives_until = |what: &str, is_so: &dyn Fn(&Value) -> bool| {
        let so = |daemon: &running::Daemon| daemon.status().is_some_and(|status| is_so(&status));
        soon(what, || (daemon.ended() || so(&daemon)).then_some(()));
        !daemon.ended()
    };
    let mut lives = lives_until("a converged daemon", &|status| status["converged"] == true);
    if let Some(version) = edit.filter(|_| lives) {
        let before = stack.containers();
        describe(stack, version);
        let is_new = |status: &Value, name: &str| {
            running::service(status, name).is_some_and(|s| text(&s["containerId"]) != before[name])
        };
        lives = lives_until("a daemon converged to the edit", &|status| {
            status["converged"] == true && SERVICES.iter().all(|name| is_new(status, name))
        });
    }
    if lives {
        // The lease is given back: a call too.
        daemon.signal("TERM");
    }
    let log = stack.home().join("daemon.log");
    let end = daemon.end();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    match at {
        None => assert_eq!(end.code(), Some(0), "{}", said()),
        Some(point) => assert_eq!(end.signal(), Some(6), "it should have died at {point:?}: {}", said()),
    }
    calls(&count)
}

/// The next daemon puts it right and ends well.
fn is_carried_on(stack: &Stack, version: usize) {
    let lease = format!("env-manager-lease-{}", stack.name());
    let leases = || docker(&["volume", "ls", "--quiet", "--filter", &format!("name=^{lease}")]);
    let daemon = stack.daemon();
    daemon.converged();
    is_so(stack, version);
    // It owns the stack, and nothing of a takeover is left.
    assert_eq!(leases(), lease);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(leases(), "");
}

/// Exactly what is described, and nothing besides.
fn is_as_described(stack: &Stack, version: usize) {
    stack.apply().exits(0);
    is_so(stack, version);
    is_in_order(stack);
}

fn is_so(stack: &Stack, version: usize) {
    stack.is_converged(&SERVICES);
    assert_eq!(stack.objects("network"), ["S-back", "env-manager-S"]);
    assert_eq!(stack.objects("volume"), ["S_data"]);
    for name in SERVICES {
        let seen = stack.inspect(name);
        assert_eq!((&seen["State"]["Running"], &seen["RestartCount"]), (&true.into(), &0.into()), "{name}");
        assert_eq!(seen["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped", "{name}");
        assert_eq!(stack.exec(name, &["sh", "-c", "echo $VERSION"]), version.to_string(), "{name}");
        assert_eq!(stack.exec(name, &["cat", "/etc/service.conf"]), format!("version = {version}"), "{name}");
    }
    let networks = stack.inspect("db")["NetworkSettings"]["Networks"].as_object().map(serde_json::Map::len);
    assert_eq!(networks, Some(2));
}

fn is_in_order(stack: &Stack) {
    assert!(stack.started_at("app") >= stack.started_at("db"), "P8");
}

fn anonymous(stack: &Stack) -> String {
    let mounts = stack.inspect("db")["Mounts"].as_array().expect("mounts").clone();
    stack::text(&mounts.iter().find(|m| m["Destination"] == "/anonymous").expect("it is mounted")["Name"])
}

/// Every call, before and after.
fn at_every_step(what: &str, calls: &[String], run: impl Fn(&Stack, usize, Point) + Sync) {
    let points: Vec<_> = (1..=calls.len()).flat_map(|n| [(n, "before"), (n, "after")]).collect();
    at_each(what, calls, &points, run);
}

/// Each point, shared among the workers. All that failed is told at the end.
fn at_each(what: &str, calls: &[String], points: &[Point], run: impl Fn(&Stack, usize, Point) + Sync) {
    assert!(!calls.is_empty(), "no call is counted: nothing would be tried");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, failed, run) = (&next, &failed, &run);
            scope.spawn(move || {
                let fresh = || Stack::new(&format!("killed-{what}-{worker}"));
                let mut stack = fresh();
                while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let number = next.load(Ordering::SeqCst);
                    if catch_unwind(AssertUnwindSafe(|| run(&stack, number, *point))).is_err() {
                        failed.lock().expect("no panic holds it").insert(*point, calls[point.0 - 1].clone());
                        // What the failed one has left must not fail the next one.
                        drop(stack);
                        stack = fresh();
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic holds it");
    assert!(failed.is_empty(), "{} of {} points failed: {failed:#?}\ncalls: {calls:#?}", failed.len(), points.len());
}

#[test]
fn p11_a_cold_start_killed_at_any_call_is_carried_on_by_the_next() {
    let counted = {
        let stack = Stack::new("killed-cold-count");
        describe(&stack, 1);
        let counted = apply_dying_at(&stack, None);
        is_as_described(&stack, 1);
        assert_eq!(apply_dying_at(&stack, None), Vec::<String>::new(), "P3: a converged stack gets no call");
        counted
    };
    for operation in ["create_network", "create_volume", "create_container", "connect", "upload", "start"] {
        assert!(counted.iter().any(|c| c.contains(operation)), "{operation} is tried: {counted:#?}");
    }
    at_every_step("cold", &counted, |stack, _, point| {
        stack.run(&["down", "--volumes"]).exits(0);
        let _ = std::fs::remove_dir_all(stack.home().join("state"));
        describe(stack, 1);
        let begun = apply_dying_at(stack, Some(point));
        // Calls for the other service may have been under way.
        assert!(begun.len() >= point.0, "{begun:#?}");
        is_as_described(stack, 1);
    });
}

/// One stack takes many points: each replaces what the one before has left. `die` begins, and dies there;
/// `go_on` is the next one.
fn is_replaced(stack: &Stack, point: Point, die: impl FnOnce() -> Vec<String>, go_on: impl FnOnce()) {
    if stack.names().is_empty() {
        describe(stack, 1);
        stack.apply().exits(0);
        stack.exec("db", &["sh", "-c", "echo kept > /data/mark; echo kept > /anonymous/mark"]);
    }
    let (before, volume) = (stack.containers(), anonymous(stack));
    let begun = die();
    // Calls for the other service may have been under way.
    assert!(begun.len() >= point.0, "{begun:#?}");
    // Never less than before: of each service something is there, and what is there can go on.
    for name in SERVICES {
        let parts = stack.names().into_iter().filter(|n| n.split('.').next() == Some(name)).count();
        assert!(parts > 0, "nothing is left of {name}: {begun:#?}");
    }
    go_on();
    let after = stack.containers();
    for name in SERVICES {
        assert_ne!(after[name], before[name], "{name}");
    }
    assert_eq!(anonymous(stack), volume, "rules 4");
    assert_eq!(stack.exec("db", &["cat", "/data/mark", "/anonymous/mark"]), "kept\nkept");
}

#[test]
fn p11_a_replacement_killed_at_any_call_is_carried_on_by_the_next() {
    let counted = {
        let stack = Stack::new("killed-replace-count");
        describe(&stack, 1);
        stack.apply().exits(0);
        describe(&stack, 2);
        let counted = apply_dying_at(&stack, None);
        is_as_described(&stack, 2);
        counted
    };
    for operation in ["create_container", "upload", "set_restart_policy", "stop", "rename", "start", "remove_container"]
    {
        assert!(counted.iter().any(|c| c.contains(operation)), "{operation} is tried: {counted:#?}");
    }
    at_every_step("replace", &counted, |stack, number, point| {
        let version = number + 1;
        let die = || {
            describe(stack, version);
            apply_dying_at(stack, Some(point))
        };
        is_replaced(stack, point, die, || is_as_described(stack, version));
    });
}

#[test]
fn p11_down_killed_at_any_call_is_carried_on_by_the_next() {
    let up = |stack: &Stack| {
        describe(stack, 1);
        stack.apply().exits(0);
    };
    let down = |stack: &Stack, at: Option<Point>| {
        let count = stack.home().join("calls");
        let _ = std::fs::remove_file(&count);
        let mut command = stack.command(&["down", "--volumes"]);
        command.env("ENV_MANAGER_CRASH_COUNT_FILE", &count);
        if let Some((number, side)) = at {
            command.env("ENV_MANAGER_CRASH_AT", format!("{number}:{side}"));
            let output = assert_cmd::Command::from_std(command).output().expect("the program runs");
            assert_eq!(output.status.signal(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
        } else {
            Ran::of(command).exits(0);
        }
        calls(&count)
    };
    let counted = {
        let stack = Stack::new("killed-down-count");
        up(&stack);
        down(&stack, None)
    };
    at_every_step("down", &counted, |stack, _, point| {
        up(stack);
        down(stack, Some(point));
        stack.run(&["down", "--volumes"]).exits(0);
        assert_eq!((stack.names(), stack.objects("network"), stack.objects("volume")), (vec![], vec![], vec![]));
    });
}

#[test]
fn p11_a_daemon_killed_at_any_call_of_a_cold_start_is_carried_on_by_the_next() {
    let counted = {
        let stack = Stack::new("killed-daemon-cold-count");
        describe(&stack, 1);
        let counted = daemon_dying_at(&stack, None, None);
        is_carried_on(&stack, 1);
        let again = daemon_dying_at(&stack, None, None);
        assert!(again.iter().all(|c| c.contains("env-manager-lease-")), "P3: only the lease: {again:#?}");
        counted
    };
    for operation in ["create_network", "create_volume", "create_container", "upload", "start", "remove_volume"] {
        assert!(counted.iter().any(|c| c.contains(operation)), "{operation} is tried: {counted:#?}");
    }
    at_every_step("daemon-cold", &counted, |stack, _, point| {
        stack.run(&["down", "--volumes"]).exits(0);
        let _ = std::fs::remove_dir_all(stack.home().join("state"));
        describe(stack, 1);
        let begun = daemon_dying_at(stack, Some(point), None);
        assert!(begun.len() >= point.0, "{begun:#?}");
        is_carried_on(stack, 1);
        is_in_order(stack);
    });
}

#[test]
fn p11_a_daemon_killed_at_any_call_of_a_replacement_is_carried_on_by_the_next() {
    let counted = {
        let stack = Stack::new("killed-daemon-replace-count");
        describe(&stack, 1);
        stack.apply().exits(0);
        let counted = daemon_dying_at(&stack, None, Some(2));
        is_carried_on(&stack, 2);
        counted
    };
    for operation in ["create_container", "stop", "rename", "start", "remove_container", "remove_volume"] {
        assert!(counted.iter().any(|c| c.contains(operation)), "{operation} is tried: {counted:#?}");
    }
    // Every call but the two of the lease, its side by turns: the engine sees the same calls as those of
    // `apply`, where both sides are tried.
    let points: Vec<_> = (2..counted.len()).map(|n| (n, if n % 2 == 0 { "before" } else { "after" })).collect();
    at_each("daemon-replace", &counted, &points, |stack, number, point| {
        let version = number + 1;
        let die = || daemon_dying_at(stack, Some(point), Some(version));
        is_replaced(stack, point, die, || {
            // Where it died before the edit, the next one meets it at its start.
            describe(stack, version);
            is_carried_on(stack, version);
        });
    });
}

#[test]
fn p11_a_daemon_killed_while_it_takes_over_from_a_dead_one_is_taken_over_itself() {
    let dead_one = |stack: &Stack| {
        // Its lease is made, and nobody gives it back.
        daemon_dying_at(stack, Some((1, "after")), None);
    };
    let counted = {
        let stack = Stack::new("killed-lease-count");
        describe(&stack, 1);
        stack.apply().exits(0);
        dead_one(&stack);
        daemon_dying_at(&stack, None, None)
    };
    assert!(counted.iter().any(|c| c.contains(".takeover")), "it is taken over: {counted:#?}");
    // The first and the last are those of any daemon, and tried above.
    let points: Vec<_> = (2..counted.len()).flat_map(|n| [(n, "before"), (n, "after")]).collect();
    at_each("lease", &counted, &points, |stack, _, point| {
        if stack.names().is_empty() {
            describe(stack, 1);
            stack.apply().exits(0);
        }
        let before = stack.containers();
        dead_one(stack);
        daemon_dying_at(stack, Some(point), None);
        is_carried_on(stack, 1);
        assert_eq!(stack.containers(), before);
    });
}

/// As `docker-compose` would have made it, with a mark in its volume.
fn compose_runs_db(stack: &Stack) -> String {
    let name = stack.scope.name("shop_db_1");
    let volume = format!("{}:/data", stack.scope.name("shop_data"));
    let labels =
        ["project=shop", "service=db"].map(|l| format!("com.docker.compose.{l}").replace("shop", stack.name()));
    let script = "trap 'exit 0' TERM; sleep 1000000 & wait";
    let id = docker(&[
        "run",
        "-d",
        "--name",
        &name,
        "--label",
        &labels[0],
        "--label",
        &labels[1],
        "-v",
        &volume,
        "--restart",
        "always",
        IMAGE,
        "sh",
        "-c",
        script,
    ]);
    docker(&["exec", &id, "sh", "-c", "echo kept > /data/mark"]);
    id
}

fn describe_takeover(stack: &Stack) {
    let body = format!(
        "image: {IMAGE}\ncommand: [sh, -c, \"trap 'exit 0' TERM; sleep 1000000 & wait\"]\n\
         files: [{{ target: /etc/service.conf, content: \"a = 1\\n\" }}]\n\
         adopt: {{ policy: Replace, composeProject: \"${{SCOPE}}\" }}"
    );
    stack.describe(&[service("db", &body)]);
}

/// Ours alone is left, and serves the data that was Compose's.
fn is_taken_over(stack: &Stack, was: &str) {
    stack.apply().exits(0);
    stack.is_converged(&["db"]);
    let db = stack.inspect("db");
    assert_eq!((&db["State"]["Running"], &db["RestartCount"]), (&true.into(), &0.into()));
    assert_eq!(db["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    assert_eq!(text(&db["Config"]["Labels"]["dev.env-manager.adopted-from"]), was);
    assert_eq!(stack.exec("db", &["cat", "/data/mark", "/etc/service.conf"]), "kept\na = 1");
}

#[test]
fn p11_a_takeover_killed_at_any_call_is_carried_on_by_the_next() {
    let counted = {
        let stack = Stack::new("killed-takeover-count");
        let was = compose_runs_db(&stack);
        describe_takeover(&stack);
        let counted = apply_dying_at(&stack, None);
        is_taken_over(&stack, &was);
        counted
    };
    for operation in ["create_container", "upload", "set_restart_policy", "stop", "rename", "start", "remove_container"]
    {
        assert!(counted.iter().any(|c| c.contains(operation)), "{operation} is tried: {counted:#?}");
    }
    at_every_step("takeover", &counted, |stack, _, point| {
        stack.run(&["down", "--volumes"]).exits(0);
        let _ = std::fs::remove_dir_all(stack.home().join("state"));
        let was = compose_runs_db(stack);
        describe_takeover(stack);
        let begun = apply_dying_at(stack, Some(point));
        assert!(begun.len() >= point.0, "{begun:#?}");
        let parts = stack.names();
        assert!(!parts.is_empty(), "nothing is left of db: {begun:#?}");
        is_taken_over(stack, &was);
    });
}

/// One that is started first, under its service's own name.
fn describe_web(stack: &Stack, version: usize) {
    let names =
        "apiVersion: env-manager.dev/v1\nkind: Stack\nmetadata: { name: stack }\nspec: { stop: { gracePeriod: 5s } }\n";
    stack.write("stack.yaml", names);
    let probe = "probes: { readiness: { http: { port: 8080, path: /health }, interval: 50ms } }";
    let env = format!("env: {{ STANDIN_NAME: v{version} }}\nupdate: {{ strategy: StartFirst, drain: 1ms }}");
    stack.describe(&[service(&stack.container("web"), &format!("command: standin http\n{env}\n{probe}"))]);
}

#[test]
fn p11_a_start_first_update_killed_at_any_call_is_carried_on_and_one_serves_at_any_time() {
    let serves = |stack: &Stack, version: usize| {
        stack.apply().exits(0);
        stack.is_converged(&["web"]);
        assert_eq!(stack.exec("web", &["sh", "-c", "echo $STANDIN_NAME"]), format!("v{version}"));
        assert_eq!(stack.inspect("web")["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    };
    let counted = {
        let stack = Stack::new("killed-first-count");
        describe_web(&stack, 1);
        serves(&stack, 1);
        describe_web(&stack, 2);
        let counted = apply_dying_at(&stack, None);
        serves(&stack, 2);
        counted
    };
    for operation in ["create_container", "start", "rename", "set_restart_policy", "stop", "remove_container"] {
        assert!(counted.iter().any(|c| c.contains(operation)), "{operation} is tried: {counted:#?}");
    }
    at_every_step("first", &counted, |stack, number, point| {
        if stack.names().is_empty() {
            describe_web(stack, 1);
            serves(stack, 1);
        }
        describe_web(stack, number + 1);
        apply_dying_at(stack, Some(point));
        // Whatever they are called: one of them runs.
        let running = docker(&["ps", "--filter", &format!("label=dev.env-manager.stack={}", stack.name()), "-q"]);
        assert!(!running.is_empty(), "nothing serves after {point:?}");
        serves(stack, number + 1);
    });
}
