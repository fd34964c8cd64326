//! Killed at every step (P11): the program dies before or after each engine call that changes
//! something, and the next `apply` ends where an undisturbed one would have.
//!
//! Needs the feature `crash-points`.

#![cfg(feature = "crash-points")]

#[path = "common/stack.rs"]
mod stack;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use stack::engine::IMAGE;
use stack::{Ran, Stack, service};

/// Stacks that are worked on at once; more only wait for the engine.
const WORKERS: usize = 4;
const SERVICES: [&str; 2] = ["app", "db"];

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
fn apply_dying_at(stack: &Stack, at: Option<(usize, &str)>) -> Vec<String> {
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

/// Exactly what is described, and nothing besides.
fn is_as_described(stack: &Stack, version: usize) {
    stack.apply().exits(0);
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
    assert!(stack.started_at("app") >= stack.started_at("db"), "P8");
}

fn anonymous(stack: &Stack) -> String {
    let mounts = stack.inspect("db")["Mounts"].as_array().expect("mounts").clone();
    stack::text(&mounts.iter().find(|m| m["Destination"] == "/anonymous").expect("it is mounted")["Name"])
}

/// Every call, before and after, shared among the workers. All that failed is told at the end.
fn at_every_step(what: &str, calls: &[String], run: impl Fn(&Stack, usize, (usize, &'static str)) + Sync) {
    assert!(!calls.is_empty(), "no call is counted: nothing would be tried");
    let points: Vec<_> = (1..=calls.len()).flat_map(|n| [(n, "before"), (n, "after")]).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (next, failed, run, points) = (&next, &failed, &run, &points);
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
        // One stack takes many points: each replaces what the one before has left.
        let version = number + 1;
        if stack.names().is_empty() {
            describe(stack, 1);
            stack.apply().exits(0);
            stack.exec("db", &["sh", "-c", "echo kept > /data/mark; echo kept > /anonymous/mark"]);
        }
        let (before, volume) = (stack.containers(), anonymous(stack));
        describe(stack, version);
        let begun = apply_dying_at(stack, Some(point));
        // Calls for the other service may have been under way.
        assert!(begun.len() >= point.0, "{begun:#?}");
        // Never less than before: of each service something is there, and what is there can go on.
        for name in SERVICES {
            let parts = stack.names().into_iter().filter(|n| n.split('.').next() == Some(name)).count();
            assert!(parts > 0, "nothing is left of {name}: {begun:#?}");
        }
        is_as_described(stack, version);
        let after = stack.containers();
        for name in SERVICES {
            assert_ne!(after[name], before[name], "{name}");
        }
        assert_eq!(anonymous(stack), volume, "rules 4");
        assert_eq!(stack.exec("db", &["cat", "/data/mark", "/anonymous/mark"]), "kept\nkept");
    });
}

#[test]
fn p11_down_killed_at_any_call_is_carried_on_by_the_next() {
    let up = |stack: &Stack| {
        describe(stack, 1);
        stack.apply().exits(0);
    };
    let down = |stack: &Stack, at: Option<(usize, &str)>| {
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
