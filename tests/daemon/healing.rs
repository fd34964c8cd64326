//! What somebody does to containers and networks behind the daemon's back.

use crate::stack::{Stack, docker, idle, line, nanos, service, soon, text};

/// Runs, as far as the engine knows.
fn runs(stack: &Stack, name: &str) -> bool {
    let seen = std::process::Command::new("docker").args(["inspect", &stack.container(name)]).output();
    let Ok(seen) = seen else { return false };
    let all: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap_or_default();
    all[0]["State"]["Running"] == true
}

#[test]
fn what_is_removed_is_created_again_and_dependents_are_left_running() {
    let stack = Stack::new("rm");
    stack.describe(&[line("db", ""), line("web", "dependsOn: [db]")]);
    let daemon = stack.daemon();
    daemon.converged();
    let (db, web) = (stack.id("db"), stack.id("web"));
    docker(&["rm", "-f", &stack.container("db")]);
    daemon.replaced("db", &db);
    assert_eq!(stack.id("web"), web);
    daemon.told("db", "ContainerGone", "outside env-manager");
    daemon.told("db", "Created", "");
    daemon.told("db", "Ready", "");
    stack.is_converged(&["db", "web"]);
}

#[test]
fn what_is_stopped_or_killed_is_started_again() {
    let stack = Stack::new("stop");
    stack.describe(&[line("db", "stop: { gracePeriod: 1s }")]);
    let daemon = stack.daemon();
    daemon.converged();
    let id = stack.id("db");
    for (verb, reason) in [("stop", "ContainerStopped"), ("kill", "ContainerKilled")] {
        let started = stack.started_at("db");
        docker(&[verb, &stack.container("db")]);
        soon("it to be started again", || (runs(&stack, "db") && stack.started_at("db") > started).then_some(()));
        daemon.converged();
        assert_eq!(stack.id("db"), id);
        daemon.told("db", reason, "outside env-manager");
    }
}

#[test]
fn what_is_paused_is_left_alone_and_said() {
    let stack = Stack::new("pause");
    stack.describe(&[line("db", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    docker(&["pause", &stack.container("db")]);
    daemon.service_is("db", "it is said", |s| s["reason"] == "Paused" && s["ready"] == false);
    assert_eq!(stack.inspect("db")["State"]["Paused"], true);
    docker(&["unpause", &stack.container("db")]);
    daemon.converged();
    daemon.told("db", "ContainerPaused", "");
}

#[test]
fn what_is_renamed_gets_its_name_back() {
    let stack = Stack::new("rename");
    stack.describe(&[line("db", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let id = stack.id("db");
    docker(&["rename", &stack.container("db"), &stack.scope.name("elsewhere")]);
    soon("its name again", || (stack.names() == ["db"]).then_some(()));
    daemon.converged();
    assert_eq!(stack.id("db"), id);
    daemon.told("db", "ContainerRenamed", "");
}

/// By its event: the daemon looks at everything once an hour.
#[test]
fn p10_what_docker_update_has_changed_is_put_back_without_a_new_container() {
    let stack = Stack::new("update");
    stack.describe(&[line("db", "resources: { memory: 64MiB, cpus: 0.5 }")]);
    let daemon = stack.daemon();
    daemon.converged();
    let (id, started) = (stack.id("db"), stack.started_at("db"));
    let limits = || {
        let host = stack.inspect("db")["HostConfig"].clone();
        ["Memory", "MemorySwap", "NanoCpus", "PidsLimit"].map(|limit| host[limit].as_i64().unwrap_or_default())
    };
    let before = limits();
    for (field, change) in [
        ("resources.memory", &["--memory", "48m", "--memory-swap", "48m"][..]),
        ("resources.cpus", &["--cpus", "0.25"]),
        ("resources.pids", &["--pids-limit", "77"]),
        ("restart", &["--restart", "no"]),
    ] {
        docker(&[&["update"], change, &[&stack.container("db")]].concat());
        soon("the limits of the manifest", || {
            (limits() == before && stack.inspect("db")["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped")
                .then_some(())
        });
        daemon.converged();
        daemon.told("db", "DriftFound", field);
    }
    assert_eq!((stack.id("db"), stack.started_at("db")), (id, started));
    daemon.told("db", "ContainerUpdated", "outside env-manager");
    daemon.told("db", "DriftFound", "resources.memory: 48MiB → 64MiB (changed outside env-manager)");
    daemon.told("db", "Updated", "limits of");
    let counted = daemon.ask("/metrics").unwrap();
    assert!(counted.contains("env_manager_drift_total{kind=\"in_place\"} 4\n"), "{counted}");
    assert!(counted.contains("env_manager_drift_total{kind=\"replace\"} 0\n"), "{counted}");
    stack.is_converged(&["db"]);
}

#[test]
fn what_is_disconnected_is_connected_again() {
    let stack = Stack::new("disconnect");
    stack.describe(&[line("db", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let id = stack.id("db");
    docker(&["network", "disconnect", &stack.network(), &stack.container("db")]);
    soon("the network again", || {
        let networks = stack.inspect("db")["NetworkSettings"]["Networks"].clone();
        networks.as_object().is_some_and(|n| n.contains_key(&stack.network())).then_some(())
    });
    daemon.converged();
    assert_eq!(stack.id("db"), id);
}

#[test]
fn a_network_that_is_removed_is_made_again_and_joined() {
    let stack = Stack::new("network-rm");
    stack.describe(&[line("db", ""), line("web", "dependsOn: [db]")]);
    let daemon = stack.daemon();
    daemon.converged();
    let ids = stack.containers();
    let old = docker(&["network", "inspect", "--format", "{{.Id}}", &stack.network()]);
    // Left to itself it connects them again faster than the network can be removed.
    daemon.signal("STOP");
    for name in ["db", "web"] {
        docker(&["network", "disconnect", "--force", &stack.network(), &stack.container(name)]);
    }
    docker(&["network", "rm", &old]);
    daemon.signal("CONT");
    soon("another network", || {
        let out = std::process::Command::new("docker")
            .args(["network", "inspect", "--format", "{{.Id}}", &stack.network()])
            .output()
            .ok()?;
        let id = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        (out.status.success() && id != old).then_some(())
    });
    daemon.converged();
    assert_eq!(stack.containers(), ids, "what runs is not created again");
    stack.is_converged(&["db", "web"]);
}

#[test]
fn out_of_memory_is_said() {
    let stack = Stack::new("oom");
    let eat =
        "command: [sh, -c, \"sleep 1; x=a; while true; do x=$x$x; done\"]\nresources: { memory: 16MiB, swap: 16MiB }";
    stack.describe(&[service("eater", &format!("image: {}\n{eat}", crate::stack::engine::IMAGE))]);
    let daemon = stack.daemon();
    daemon.told("eater", "OutOfMemory", "memory");
}

#[test]
fn p13_a_process_that_ends_again_and_again_backs_off_and_says_why() {
    let stack = Stack::new("loops");
    let ends = |name: &str, code: u8, policy: &str| {
        service(
            name,
            &format!(
                "image: {}\ncommand: [sh, -c, \"echo bye; exit {code}\"]\nrestart: {policy}",
                crate::stack::engine::IMAGE
            ),
        )
    };
    stack.describe(&[ends("failing", 1, "UnlessStopped"), ends("ending", 0, "UnlessStopped")]);
    let daemon = stack.daemon();
    for (name, code) in [("failing", "1"), ("ending", "0")] {
        let status = daemon.service_is(name, "it backs off", |s| s["phase"] == "BackOff");
        let message = text(&status["message"]);
        assert!(message.contains(&format!("code {code}")), "{message}");
    }
}

#[test]
fn p13_a_managed_service_is_started_after_10_s_then_20_s_and_says_what_it_wrote() {
    let stack = Stack::new("managed");
    let body = format!(
        "image: {}\ncommand: [sh, -c, \"echo reading; echo token is $TOKEN; echo no such table >&2; exit 3\"]\n\
         restart: Managed\nsecretEnv: {{ TOKEN: {{ fromEnv: TOKEN }} }}",
        crate::stack::engine::IMAGE
    );
    stack.describe(&[service("app", &body)]);
    let daemon = stack.daemon_with(|command| {
        command.env("TOKEN", "hunter2hunter2");
    });
    // Start and end of each run, by the engine's own clock. One that is very short may be missed.
    let mut runs = std::collections::BTreeMap::new();
    let pauses = soon("a pause of 20 s", || {
        let seen = std::process::Command::new("docker").args(["inspect", &stack.container("app")]).output().ok()?;
        let all: serde_json::Value = serde_json::from_slice(&seen.stdout).ok()?;
        let state = &all[0]["State"];
        if state["Status"] == "exited" {
            runs.insert(nanos(&state["StartedAt"]), nanos(&state["FinishedAt"]));
        }
        let ends = runs.values().zip(runs.keys().skip(1));
        let pauses: Vec<u128> = ends.map(|(ended, started)| (started - ended) / 1_000_000_000).collect();
        pauses.last().is_some_and(|pause| *pause >= 20).then_some(pauses)
    });
    assert!(pauses[pauses.len() - 2] >= 10, "{pauses:?}");
    assert!(pauses.len() <= 3, "the first start is followed by one at once: {pauses:?}");
    assert_eq!(stack.inspect("app")["HostConfig"]["RestartPolicy"]["Name"], "no");
    let status = daemon.service_is("app", "a crash loop", |s| s["phase"] == "BackOff");
    assert!(text(&status["message"]).starts_with("exited with code 3 ("), "{status:#}");
    daemon.told("app", "BackOff", "exited with code 3");
    let ran = stack.run(&["describe", "app", "-o", "json"]).exits(0).fits("describe");
    let ending = &ran.json()["ending"];
    assert_eq!(ending["how"], "exited with code 3");
    // Docker reads the two streams by turns as it likes.
    let mut lines: Vec<_> = ending["lines"].as_array().unwrap().iter().map(text).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["no such table", "reading", "token is <secret>"]);
    let told = stack.run(&["describe", "app"]).exits(0).out;
    assert!(told.contains("no such table") && told.contains("by env-manager"), "{told}");
    assert!(!told.contains("hunter2") && !daemon.log().contains("hunter2"), "p15");
}

#[test]
fn out_of_memory_is_why_a_crash_loop_loops() {
    let stack = Stack::new("oom-loop");
    let eater = |name: &str, policy: &str| {
        let more = "command: [sh, -c, \"echo eating; tail /dev/zero\"]\nresources: { memory: 16MiB, swap: 16MiB }";
        service(name, &format!("image: {}\n{more}\nrestart: {policy}", crate::stack::engine::IMAGE))
    };
    stack.describe(&[eater("managed", "Managed"), eater("dockers", "UnlessStopped")]);
    let daemon = stack.daemon();
    for name in ["managed", "dockers"] {
        daemon.service_is(name, "it is said", |s| {
            s["phase"] == "BackOff" && text(&s["message"]).contains("killed by the kernel: out of memory")
        });
        daemon.told(name, "BackOff", "out of memory");
        let ran = soon("its last words", || {
            let ran = stack.run(&["describe", name, "-o", "json"]).exits(0);
            ran.json()["ending"]["lines"].as_array().is_some_and(|lines| !lines.is_empty()).then_some(ran)
        });
        let ending = &ran.json()["ending"];
        assert!(text(&ending["how"]).contains("out of memory"), "{ran}");
        assert!(ending["lines"].as_array().unwrap().iter().all(|line| line == "eating"), "{ran}");
    }
}

#[test]
fn a_dependency_that_is_lost_marks_its_dependents_and_is_healed() {
    let stack = Stack::new("lost");
    stack.describe(&[line("db", ""), line("web", "dependsOn: [db]")]);
    let daemon = stack.daemon();
    daemon.converged();
    let web = (stack.id("web"), stack.started_at("web"));
    docker(&["pause", &stack.container("db")]);
    daemon.service_is("web", "web is marked", |s| {
        s["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["type"] == "DependenciesReady" && c["status"] == "False"))
    });
    docker(&["unpause", &stack.container("db")]);
    daemon.converged();
    assert_eq!((stack.id("web"), stack.started_at("web")), web, "P8: it is not restarted");
    daemon.told("web", "DependencyNotReady", "db");
}

#[test]
fn a_failing_liveness_probe_restarts() {
    let stack = Stack::new("liveness");
    let probe = "probes: { liveness: { exec: { command: [sh, -c, \"test ! -e /tmp/sick\"] }, interval: 1s, failureThreshold: 1 } }";
    let body = format!(
        "image: {}\ncommand: [sh, -c, \"rm -f /tmp/sick; sleep 1000000\"]\nstop: {{ gracePeriod: 1s }}\n{probe}",
        crate::stack::engine::IMAGE
    );
    stack.describe(&[service("app", &body)]);
    let daemon = stack.daemon();
    daemon.converged();
    let (id, started) = (stack.id("app"), stack.started_at("app"));
    stack.exec("app", &["sh", "-c", "echo > /tmp/sick"]);
    soon("a restart", || (runs(&stack, "app") && stack.started_at("app") > started).then_some(()));
    assert_eq!(stack.id("app"), id);
    daemon.converged();
}

#[test]
fn p04_what_is_not_ours_is_never_touched() {
    let stack = Stack::new("foreign");
    stack.describe(&[idle("web", "")]);
    docker(&["run", "-d", "--name", &stack.scope.name("stranger"), crate::stack::engine::IMAGE]);
    let stranger = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &stack.scope.name("stranger")]);
    let daemon = stack.daemon();
    daemon.converged();
    stack.forget("web");
    stack.describe(&[idle("stranger", "")]);
    let status = daemon.service_is("stranger", "a conflict", |s| s["phase"] == "Conflict");
    assert!(text(&status["message"]).contains("not made by env-manager"), "{status:#}");
    assert_eq!(
        docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &stack.scope.name("stranger")]),
        stranger
    );
}
