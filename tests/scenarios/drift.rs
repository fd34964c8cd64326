//! What somebody did behind our back is seen, said and undone (P1, P10).

use serde_json::Value;

use crate::stack::{Stack, docker, idle, line, text};

/// One service on two networks, one beside it that must never change.
fn two(test: &str) -> Stack {
    two_with(test, "")
}

fn two_with(test: &str, more: &str) -> Stack {
    let stack = Stack::new(test);
    stack.write(
        "back.yaml",
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n",
    );
    stack.describe(&[
        line("web", &format!("networks: [default, back]\nvolumes: [\"${{SCOPE}}_data:/data\"]\n{more}")),
        idle("other", ""),
    ]);
    stack.apply().exits(0);
    stack.exec("web", &["sh", "-c", "echo kept > /data/mark"]);
    stack
}

/// Plans, applies, and is as before; returns the container before and after.
fn is_mended(stack: &Stack, what: &str, action: &str, drift: &[&str]) -> (Value, Value) {
    let (was, other) = (stack.inspect("web"), stack.containers()["other"].clone());
    docker(drift);
    let plan = stack.plan().exits(2);
    assert_eq!(plan.change("web")["action"], action, "{what}: {plan}");
    stack.apply().exits(0);
    let is = stack.inspect("web");
    assert_eq!(
        (&is["State"]["Status"], &is["HostConfig"]["RestartPolicy"]),
        (&"running".into(), &was["HostConfig"]["RestartPolicy"]),
        "{what}"
    );
    let networks =
        |seen: &Value| seen["NetworkSettings"]["Networks"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(networks(&is), networks(&was), "{what}");
    assert_eq!(stack.exec("web", &["cat", "/data/mark"]), "kept", "{what}");
    assert_eq!(stack.containers()["other"], other, "{what}");
    stack.is_converged(&["other", "web"]);
    (was, is)
}

#[test]
fn p10_drift_that_can_be_undone_in_place_keeps_the_container() {
    let stack = two_with("drift", "resources: { memory: 64MiB, swap: 16MiB, cpus: 0.5 }");
    let web = stack.container("web");
    let stray = stack.scope.name("stray");
    for (what, action, drift) in [
        ("restart policy", "update", &["update", "--restart", "no", &web][..]),
        ("disconnected", "update", &["network", "disconnect", &stack.scope.name("back"), &web]),
        ("renamed", "update", &["rename", &web, &stray]),
        ("stopped", "start", &["stop", &web]),
        ("killed", "start", &["kill", &web]),
        ("memory", "update", &["update", "--memory", "32m", "--memory-swap", "32m", &web]),
        ("swap", "update", &["update", "--memory-swap", "128m", &web]),
        ("cpus", "update", &["update", "--cpus", "0.25", &web]),
        ("pids", "update", &["update", "--pids-limit", "77", &web]),
    ] {
        let (was, is) = is_mended(&stack, what, action, drift);
        assert_eq!(is["Id"], was["Id"], "{what}");
        for limit in ["Memory", "MemorySwap", "NanoCpus", "PidsLimit"] {
            let number = |seen: &Value| seen["HostConfig"][limit].as_i64().unwrap_or_default();
            assert_eq!(number(&is), number(&was), "{what}: {limit}");
        }
    }
    let outside = stack.scope.name("outside");
    docker(&["network", "create", &outside]);
    let (was, is) = is_mended(&stack, "connected elsewhere", "update", &["network", "connect", &outside, &web]);
    assert_eq!(is["Id"], was["Id"]);
    docker(&["network", "inspect", &outside]);
}

#[test]
fn p10_drift_that_docker_cannot_undo_replaces_the_container() {
    let stack = two("limits");
    let web = stack.container("web");
    let (was, is) =
        is_mended(&stack, "memory", "replace", &["update", "--memory", "64m", "--memory-swap", "64m", &web]);
    assert_ne!(is["Id"], was["Id"]);
    assert_eq!(is["HostConfig"]["Memory"], 0);
    let (was, is) = is_mended(&stack, "removed", "create", &["rm", "-f", &web]);
    assert_ne!(is["Id"], was["Id"]);
}

/// A manifest that asks for other limits changes them in what runs.
#[test]
fn p10_limits_of_a_manifest_are_changed_in_place() {
    let stack = Stack::new("limits-manifest");
    for (body, limit, value) in [
        ("", "Memory", 0),
        ("resources: { memory: 64MiB }", "Memory", 64 << 20),
        ("resources: { memory: 32MiB }", "MemorySwap", 64 << 20),
        ("resources: { memory: 32MiB, pids: 9 }", "PidsLimit", 9),
        ("resources: { memory: 32MiB, cpus: 0.5, cpuset: \"0\", cpuShares: 512 }", "PidsLimit", 0),
        ("resources: { memory: 32MiB, cpus: 0.5, cpuset: \"0\", cpuShares: 256 }", "CpuShares", 256),
    ] {
        let before = stack.containers();
        stack.describe(&[idle("web", body)]);
        stack.apply().exits(0);
        let limits = stack.inspect("web")["HostConfig"].clone();
        assert_eq!(limits[limit].as_i64().unwrap_or_default(), value, "{body}: {limits}");
        assert!(before.is_empty() || stack.containers() == before, "{body} made another container");
        stack.is_converged(&["web"]);
    }
}

/// Never a replacement by itself: the container that runs goes on as it is.
#[test]
fn p09_limits_that_the_engine_refuses_are_reported_and_held() {
    let stack = Stack::new("limits-refused");
    let eat = "command: [sh, -c, \"x=aaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; \
               do x=$x$x; done; echo > /tmp/full; sleep 1000000; true\"]\n\
               probes: { startup: { exec: { command: [stat, /tmp/full] }, interval: 1s } }";
    let with = |memory: &str| {
        let body = format!("image: {}\n{eat}\nresources: {{ memory: {memory}, swap: 0 }}", crate::stack::engine::IMAGE);
        stack.describe(&[crate::stack::service("web", &body)]);
    };
    with("256MiB");
    stack.apply().exits(0);
    let before = stack.inspect("web");
    with("8MiB");
    let ran = stack.apply_with(&["--timeout", "20s"]);
    let said = ran.service("web");
    assert_eq!((ran.code, text(&said["reason"]).as_str()), (Some(3), "UpdateFailed"), "{ran}");
    assert!(text(&said["message"]).contains("unable to set memory limit"), "{ran}");
    ran.is_ready("web");
    let after = stack.inspect("web");
    for part in ["Id", "State", "HostConfig"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    // What can be done is done, and in place.
    with("128MiB");
    stack.apply().exits(0);
    let after = stack.inspect("web");
    assert_eq!((&after["Id"], &after["HostConfig"]["Memory"]), (&before["Id"], &(128_i64 << 20).into()));
    stack.is_converged(&["web"]);
}

#[test]
fn a_paused_container_is_left_alone_and_said_to_be_paused() {
    let stack = two("paused");
    let before = stack.containers();
    docker(&["pause", &stack.container("web")]);
    let ran = stack.apply().was_stuck();
    ran.says("web", "Paused", &["paused"]);
    assert_eq!((stack.containers(), &stack.inspect("web")["State"]["Paused"]), (before.clone(), &true.into()));
    let status = stack.status();
    status.says("web", "Paused", &["paused"]);
    docker(&["unpause", &stack.container("web")]);
    stack.apply().exits(0);
    assert_eq!(stack.containers(), before);
    stack.is_converged(&["other", "web"]);
}

#[test]
fn p04_a_network_that_somebody_else_made_again_is_a_conflict_until_it_is_gone() {
    let stack = two("remade");
    let network = stack.network();
    let before = stack.containers();
    let leave = || {
        for name in ["web", "other"] {
            if !stack.inspect(name)["NetworkSettings"]["Networks"][&network].is_null() {
                docker(&["network", "disconnect", &network, &stack.container(name)]);
            }
        }
    };
    leave();
    docker(&["network", "rm", &network]);
    let foreign = docker(&["network", "create", &network]);
    let ran = stack.apply().was_stuck();
    let resources = ran.json()["status"]["resources"].clone();
    let said = resources.as_array().unwrap().iter().find(|r| r["name"] == network.as_str()).unwrap();
    assert_eq!(said["reason"], "NetworkConflict", "{ran}");
    assert!(text(&said["message"]).contains(&foreign[..12]), "{ran}");
    assert_eq!(docker(&["network", "inspect", "-f", "{{.Id}}", &network]), foreign);
    leave();
    docker(&["network", "rm", &network]);
    stack.apply().exits(0);
    assert_eq!(stack.containers(), before);
    stack.is_converged(&["other", "web"]);
}

#[test]
fn a_network_that_is_gone_is_made_again_and_everybody_joins_it() {
    let stack = two("gone");
    let network = stack.network();
    let before = stack.containers();
    for stopped in [false, true] {
        for name in ["web", "other"] {
            if stopped {
                docker(&["stop", &stack.container(name)]);
            } else {
                docker(&["network", "disconnect", &network, &stack.container(name)]);
            }
        }
        let old = docker(&["network", "inspect", "-f", "{{.Id}}", &network]);
        docker(&["network", "rm", &network]);
        stack.plan().exits(2);
        stack.apply().exits(0);
        let new = docker(&["network", "inspect", "-f", "{{.Id}}", &network]);
        assert_ne!(new, old);
        for name in ["web", "other"] {
            let seen = stack.inspect(name);
            assert_eq!(text(&seen["NetworkSettings"]["Networks"][&network]["NetworkID"]), new, "{name}");
            assert_eq!(seen["State"]["Status"], "running", "{name}");
        }
        assert_eq!(stack.containers(), before, "attachments are changed in place");
        stack.is_converged(&["other", "web"]);
    }
}

#[test]
fn a_moved_tag_replaces_the_container() {
    let stack = Stack::new("tag");
    let image = format!("{}:1", stack.name());
    docker(&["tag", crate::stack::STAND_IN, &image]);
    stack.describe(&[crate::stack::service("web", &format!("image: {image}\ncommand: [sleep, \"1000000\"]"))]);
    stack.apply().exits(0);
    let (was, image_id) = (stack.id("web"), text(&stack.inspect("web")["Image"]));
    docker(&["tag", crate::stack::engine::IMAGE, &image]);
    let plan = stack.plan().exits(2);
    assert_eq!(plan.change("web")["action"], "replace", "{plan}");
    stack.apply().exits(0);
    assert!(stack.id("web") != was && text(&stack.inspect("web")["Image"]) != image_id);
    stack.is_converged(&["web"]);
    stack.run(&["down"]).exits(0);
    docker(&["rmi", &image]);
}

/// Says in a file what it reads, at its start and at each SIGHUP.
fn reader(content: &str, fixed: &str, more: &str) -> String {
    let script = "trap 'read x < /etc/read; echo $$x >> /tmp/seen' HUP; read x < /etc/read; echo $$x >> /tmp/seen; \
                  while true; do sleep 1 & wait $$!; done";
    let files = format!(
        "files:\n  - {{ target: /etc/read, content: \"{content}\\n\", onChange: {{ signal: SIGHUP }} }}\n  \
         - {{ target: /etc/fixed, content: \"{fixed}\\n\" }}"
    );
    let image = crate::stack::engine::IMAGE;
    crate::stack::service("web", &format!("image: {image}\ncommand: [sh, -c, \"{more}{script}\"]\n{files}"))
}

#[test]
fn p10_a_changed_file_with_a_signal_is_put_into_the_running_container_and_its_process_told() {
    let stack = Stack::new("signal");
    stack.describe(&[reader("one", "a", "")]);
    stack.apply().exits(0);
    let seen = |lines: &str| {
        crate::stack::soon("it to read", || (stack.exec("web", &["cat", "/tmp/seen"]) == lines).then_some(()));
    };
    seen("one");
    let before = stack.inspect("web");
    stack.describe(&[reader("two", "a", "")]);
    let plan = stack.plan().exits(2);
    assert_eq!(plan.change("web")["action"], "update", "{plan}");
    stack.apply().exits(0);
    seen("one\ntwo");
    let after = stack.inspect("web");
    assert_eq!((&after["Id"], &after["State"]), (&before["Id"], &before["State"]));
    assert_eq!(stack.exec("web", &["cat", "/etc/read"]), "two");
    stack.is_converged(&["web"]);
    // The restart policy is as it was: Docker starts it again.
    let killed = std::process::Command::new("kill").args(["-9", &after["State"]["Pid"].to_string()]).status();
    assert!(killed.unwrap().success());
    crate::stack::soon("a restart by Docker", || (stack.inspect("web")["RestartCount"] == 1).then_some(()));
    // What the process does not read again takes another container.
    stack.describe(&[reader("two", "b", "")]);
    stack.apply().exits(0);
    assert_ne!(stack.inspect("web")["Id"], before["Id"]);
    stack.is_converged(&["web"]);
}

#[test]
fn a_signal_that_cannot_be_sent_is_reported_and_the_container_goes_on() {
    let stack = Stack::new("signal-refused");
    let without_shell = "busybox rm /bin/sh; ";
    stack.describe(&[reader("one", "a", without_shell)]);
    stack.apply().exits(0);
    crate::stack::soon("it to read", || (stack.exec("web", &["ls", "/tmp"]).contains("seen")).then_some(()));
    let before = stack.inspect("web");
    stack.describe(&[reader("two", "a", without_shell)]);
    let ran = stack.apply_with(&["--timeout", "30s"]);
    let said = ran.service("web");
    assert_eq!((ran.code, text(&said["reason"]).as_str()), (Some(3), "UpdateFailed"), "{ran}");
    assert!(text(&said["message"]).contains("/bin/sh"), "{ran}");
    ran.is_ready("web");
    let after = stack.inspect("web");
    assert_eq!((&after["Id"], &after["State"]), (&before["Id"], &before["State"]));
    // It was never told, so it is not done.
    assert_eq!(stack.plan().exits(2).change("web")["action"], "update");
}
