//! Docker stops, dies and hangs below a daemon (P12: outages are weather), on an engine of each test's
//! own. What is asserted is state; nothing is timed, and what takes a while is waited for.

#[path = "common/private_engine.rs"]
mod private_engine;
#[path = "common/running.rs"]
mod running;
#[path = "common/stack.rs"]
mod stack;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use private_engine::PrivateEngine;
use running::{Daemon, service};
use serde_json::Value;
use stack::engine::IMAGE;
use stack::{Stack, idle, nanos, soon, text};

/// Nothing of the engine's network is reached from here: so it is asked by commands in containers.
const PROBE: &str = "probes: { startup: { exec: { command: [\"true\"] } } }";

fn daemon<'a>(stack: &'a Stack, engine: &PrivateEngine) -> Daemon<'a> {
    stack.daemon_with(|command| {
        command.env("DOCKER_HOST", engine.host());
    })
}

/// Three services, two of which wait for the first.
fn describe(stack: &Stack) {
    let waits = format!("dependsOn: [db]\n{PROBE}");
    stack.describe(&[idle("db", PROBE), idle("app", &waits), idle("web", &waits)]);
}

/// Names of all containers of the engine, without the scope: their ids.
fn containers(engine: &PrivateEngine, stack: &Stack) -> BTreeMap<String, String> {
    let listed = engine.docker(&["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}"]);
    let parts = listed.lines().filter_map(|line| line.split_once(' '));
    let short = |name: &str| name.strip_prefix(&format!("{}-", stack.name())).unwrap_or(name).to_owned();
    parts.map(|(name, id)| (short(name), id.to_owned())).collect()
}

#[track_caller]
fn all_run(engine: &PrivateEngine, count: usize) {
    assert_eq!(engine.docker(&["ps", "-q"]).lines().count(), count, "{}", engine.docker(&["ps", "-a"]));
}

/// Code and body of a GET.
fn ask(daemon: &Daemon, path: &str) -> (String, String) {
    let file = daemon.stack.daemon_file().expect("it runs");
    let mut stream = TcpStream::connect(text(&file["http"])).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).expect("a code").to_owned(), body.to_owned())
}

/// Waits until every service says that Docker is away (what was ready last is not forgotten). The
/// daemon itself is well.
#[track_caller]
fn says_it_is_away(daemon: &Daemon) -> Value {
    // What hangs is not gone.
    let reasons = ["EngineUnreachable", "EngineTimeout"];
    let status = daemon.until("everything EngineUnreachable", |status| {
        let services = status["services"].as_array().expect("a list");
        status["engine"]["reachable"] == false
            && !services.is_empty()
            && services.iter().all(|s| reasons.contains(&text(&s["reason"]).as_str()))
    });
    assert_eq!((&status["converged"], &status["healthy"]), (&false.into(), &false.into()), "{status:#}");
    assert_eq!(ask(daemon, "/livez").0, "200");
    let (code, body) = ask(daemon, "/health");
    assert_eq!(code, "503", "{body}");
    status
}

/// How often that is in the history.
fn times_told(daemon: &Daemon, reason: &str) -> usize {
    daemon.events().iter().filter(|event| event["reason"] == reason).count()
}

#[test]
fn p12_without_docker_the_daemon_stays_up_and_says_so_and_goes_on_when_there_is_one() {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    let stack = Stack::new("outage-absent");
    describe(&stack);
    let daemon = daemon(&stack, &engine);
    let status = says_it_is_away(&daemon);
    let why = text(&status["engine"]["error"]);
    assert!(why.contains("docker.sock"), "{why}");
    let (code, body) = ask(&daemon, "/readyz");
    assert_eq!(code, "503", "{body}");
    assert!(body.contains("the engine does not answer") && body.contains("docker.sock"), "{body}");

    engine.start();
    daemon.converged();
    all_run(&engine, 3);
    assert_eq!(ask(&daemon, "/health").0, "200");
    assert_eq!((times_told(&daemon, "EngineUnreachable"), times_told(&daemon, "EngineReachable")), (1, 1));
    assert_eq!(daemon.stop(), 0);
}

/// Everything is Ready, Docker ends by `signal` and comes back.
fn docker_is_ended_and_comes_back(name: &str, signal: &str) {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let stack = Stack::new(name);
    describe(&stack);
    let daemon = daemon(&stack, &engine);
    daemon.converged();
    let before = containers(&engine, &stack);

    engine.end(signal);
    says_it_is_away(&daemon);
    assert_eq!((times_told(&daemon, "EngineUnreachable"), times_told(&daemon, "EngineReachable")), (1, 0));

    engine.start();
    daemon.converged();
    all_run(&engine, 3);
    assert_eq!(containers(&engine, &stack), before, "the same ones");
    assert_eq!((times_told(&daemon, "EngineUnreachable"), times_told(&daemon, "EngineReachable")), (1, 1));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn p12_docker_stops_below_what_is_ready_and_comes_back() {
    docker_is_ended_and_comes_back("outage-stopped", "TERM");
}

#[test]
fn p12_docker_is_killed_below_what_is_ready_and_comes_back() {
    docker_is_ended_and_comes_back("outage-killed", "KILL");
}

#[test]
fn p08_after_an_outage_managed_services_are_started_in_order() {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let stack = Stack::new("outage-order");
    let managed = |needs: &str| format!("restart: Managed\n{PROBE}\n{needs}");
    stack.describe(&[
        idle("db", &managed("")),
        idle("app", &managed("dependsOn: [db]")),
        idle("web", &managed("dependsOn: [app]")),
    ]);
    let daemon = daemon(&stack, &engine);
    daemon.converged();
    let before = containers(&engine, &stack);

    engine.end("KILL");
    says_it_is_away(&daemon);
    engine.start();
    daemon.converged();
    all_run(&engine, 3);
    assert_eq!(containers(&engine, &stack), before, "the same ones");
    let started = ["db", "app", "web"].map(|name| {
        let format = "{{.HostConfig.RestartPolicy.Name}} {{.State.StartedAt}}";
        let seen = engine.docker(&["inspect", "--format", format, &stack.container(name)]);
        nanos(&seen.strip_prefix("no ").expect("Docker has no policy for it").into())
    });
    assert!(started.is_sorted(), "{started:?}");
    assert_eq!(daemon.stop(), 0);
}

/// Containers of an engine that is dead that it had created and not started.
fn never_started(engine: &PrivateEngine) -> usize {
    let folders = std::fs::read_dir(engine.path("data/containers")).expect("a folder");
    let states = folders.filter_map(|folder| {
        let text = std::fs::read_to_string(folder.expect("a folder").path().join("config.v2.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    states.filter(|state| text(&state["State"]["StartedAt"]).starts_with("0001-")).count()
}

#[test]
fn p12_docker_killed_between_create_and_start_leaves_nothing_behind() {
    let names = ["a1", "a2", "a3", "a4", "a5", "a6"];
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let stack = Stack::new("outage-between");
    stack.describe(&names.map(|name| idle(name, "")));
    let daemon = daemon(&stack, &engine);
    let mut hit = 0;
    for _ in 0..3 {
        soon("a container that is not started yet", || {
            (!engine.docker(&["ps", "-aq", "--filter", "status=created"]).is_empty()).then_some(())
        });
        engine.end("KILL");
        hit += never_started(&engine);
        engine.start();
        daemon.converged();
        assert_eq!(containers(&engine, &stack).into_keys().collect::<Vec<_>>(), names);
        all_run(&engine, names.len());
        let ids = engine.docker(&["ps", "-q"]);
        engine.docker(&[&["rm", "-f"][..], &ids.lines().collect::<Vec<_>>()].concat());
    }
    assert_ne!(hit, 0, "in no round anything was between create and start");
    daemon.converged();
    assert_eq!(daemon.stop(), 0);
}

/// Debian's registry, on the engine's own loopback.
struct Registry(Child);

impl Registry {
    fn start(engine: &PrivateEngine) -> Option<Self> {
        let config = engine.path("registry.yml");
        let data = engine.path("registry");
        let lines = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: '{}' }}\n",
            data.display(),
            Self::ADDRESS
        );
        std::fs::write(&config, lines).expect("a file");
        if std::process::Command::new("docker-registry").arg("--version").output().is_err() {
            eprintln!("skipped: docker-registry is not installed; deploy/test-tools installs it");
            return None;
        }
        let mut command = engine.inside("docker-registry");
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Self(command.spawn().expect("nsenter is there")))
    }

    const ADDRESS: &str = "127.0.0.1:5000";

    fn signal(&self, signal: &str) {
        let parent = self.0.id();
        let child = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it runs");
        for pid in [child.trim(), &parent.to_string()] {
            let sent = std::process::Command::new("kill").args([&format!("-{signal}"), pid]).status();
            assert!(sent.expect("kill is there").success());
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn p12_docker_killed_during_a_pull_pulls_again() {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let Some(registry) = Registry::start(&engine) else { return };
    let image = format!("{}/em-test/busybox:1", Registry::ADDRESS);
    engine.docker(&["tag", IMAGE, &image]);
    // It may not listen yet.
    soon("the image to be there", || {
        let pushed =
            std::process::Command::new("docker").args(["--host", &engine.host(), "push", "-q", &image]).output();
        pushed.expect("docker is installed").status.success().then_some(())
    });
    engine.docker(&["rmi", IMAGE, &image]);

    let stack = Stack::new("outage-pull");
    let body = format!("image: {image}\npullPolicy: IfNotPresent\ncommand: [sleep, \"1000000\"]");
    stack.describe(&[stack::service("web", &body)]);
    registry.signal("STOP");
    let daemon = daemon(&stack, &engine);
    daemon.service_is("web", "it is pulled", |web| web["reason"] == "Pulling");
    engine.end("KILL");
    says_it_is_away(&daemon);
    registry.signal("CONT");
    engine.start();
    let status = daemon.converged();
    assert_eq!(service(&status, "web").expect("it is there")["ready"], true);
    all_run(&engine, 1);
    assert_eq!(engine.docker(&["images", "-q", &image]).lines().count(), 1);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn p12_docker_hangs_and_is_found_out_and_goes_on() {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let stack = Stack::new("outage-hanging");
    describe(&stack);
    let daemon = stack.daemon_with(|command| {
        command.env("DOCKER_HOST", engine.host()).env("ENV_MANAGER_RESYNC", "2s");
    });
    daemon.converged();
    let before = containers(&engine, &stack);

    engine.signal("STOP");
    // A call runs out of its time; then the engine is asked whether it is there at all.
    let status = says_it_is_away(&daemon);
    assert!(text(&status["engine"]["error"]).contains("within"), "{status:#}");
    assert_eq!((times_told(&daemon, "EngineUnreachable"), times_told(&daemon, "EngineReachable")), (1, 0));

    engine.signal("CONT");
    daemon.converged();
    assert_eq!(containers(&engine, &stack), before);
    all_run(&engine, 3);
    assert_eq!((times_told(&daemon, "EngineUnreachable"), times_told(&daemon, "EngineReachable")), (1, 1));
    assert_eq!(daemon.stop(), 0);
}

/// Docker starts `Always` and failed `OnFailure` containers when it starts itself, in any order.
#[test]
fn p19_what_is_stopped_or_suspended_is_so_when_docker_and_the_daemon_start_anew() {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let stack = Stack::new("outage-held");
    let policies = [("stop-a", "Always"), ("stop-f", "OnFailure"), ("hold-a", "Always"), ("hold-f", "OnFailure")];
    let describe = |version: usize, state: &str| {
        let one = |(name, policy): (&str, &str)| {
            let state = if name.starts_with("stop") { state } else { "Running" };
            idle(name, &format!("{PROBE}\nrestart: {policy}\nstate: {state}\nenv: {{ V: {version} }}"))
        };
        stack.describe(&policies.map(one));
    };
    describe(1, "Running");
    let daemon = self::daemon(&stack, &engine);
    daemon.converged();
    for name in ["hold-a", "hold-f"] {
        stack.run(&["suspend", name]).exits(0);
    }
    describe(2, "Stopped");
    let phase = |status: &Value, name: &str| text(&service(status, name).expect("it is described")["phase"]);
    let is_held = |status: &Value| {
        status["converged"] == true
            && ["stop-a", "stop-f"].iter().all(|name| phase(status, name) == "Stopped")
            && ["hold-a", "hold-f"].iter().all(|name| phase(status, name) == "Suspended")
    };
    daemon.until("two are stopped and two suspended", is_held);
    let before = containers(&engine, &stack);
    // Hands off, whatever somebody does with it.
    engine.docker(&["stop", "-t", "0", &stack.container("hold-f")]);
    let running: Vec<_> =
        policies.iter().map(|(name, _)| *name).filter(|name| engine_runs(&engine, &stack.container(name))).collect();
    assert_eq!(running, ["hold-a"]);
    assert_eq!(daemon.stop(), 0);

    for signal in ["TERM", "KILL"] {
        engine.end(signal);
        engine.start();
        let daemon = self::daemon(&stack, &engine);
        daemon.until("as it was", is_held);
        stack.run(&["sync"]).exits(0);
        assert_eq!(containers(&engine, &stack), before, "the same ones, after {signal}");
        for name in ["stop-a", "stop-f"] {
            let container = stack.container(name);
            assert!(!engine_runs(&engine, &container), "{name} was started after {signal}");
            let policy = engine.docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &container]);
            assert_eq!(policy, "no", "{name}");
        }
        let started = daemon.events().into_iter().filter(|e| e["reason"] == "Started").count();
        assert_eq!(started, policies.len(), "nothing but the first start of each");
        assert_eq!(daemon.stop(), 0);
    }

    describe(2, "Running");
    let daemon = self::daemon(&stack, &engine);
    for name in ["hold-a", "hold-f"] {
        stack.run(&["resume", name]).exits(0);
    }
    daemon.until("all of them run", |s| {
        s["converged"] == true && policies.iter().all(|(name, _)| phase(s, name) == "Ready")
    });
    for (name, policy) in
        [("stop-a", "always"), ("stop-f", "on-failure"), ("hold-a", "always"), ("hold-f", "on-failure")]
    {
        let container = stack.container(name);
        assert_eq!(engine.docker(&["exec", &container, "sh", "-c", "echo $V"]), "2", "{name}");
        assert_eq!(
            engine.docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &container]),
            policy,
            "{name}"
        );
    }
    assert_eq!(containers(&engine, &stack).len(), policies.len());
    assert_eq!(daemon.stop(), 0);
}

fn engine_runs(engine: &PrivateEngine, container: &str) -> bool {
    engine.docker(&["inspect", "-f", "{{.State.Running}}", container]) == "true"
}

/// The program dies after each call of a replacement, and what has stopped is pruned before the next run.
/// Prunes would meet everybody's containers: so on an engine of its own.
#[cfg(feature = "crash-points")]
#[test]
fn p11_docker_prunes_after_any_call_of_a_replacement_harm_nothing() {
    let Some(mut engine) = PrivateEngine::with(&[IMAGE]) else { return };
    engine.start();
    let stack = Stack::new("outage-pruned");
    let db = stack.container("db");
    stack.write(
        "back.yaml",
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n",
    );
    let count = stack.home().join("calls");
    // The calls that were begun, of an apply of this version.
    let apply = |version: usize, dies_after: Option<usize>| {
        let more =
            "networks: [default, back]\nvolumes: [\"${SCOPE}_data:/data\", /anonymous]\nstop: { gracePeriod: 1s }";
        stack.describe(&[idle("db", &format!("{PROBE}\n{more}\nenv: {{ V: {version} }}"))]);
        let _ = std::fs::remove_file(&count);
        let mut command = stack.command(&["apply"]);
        command.env("DOCKER_HOST", engine.host()).env("ENV_MANAGER_CRASH_COUNT_FILE", &count);
        if let Some(call) = dies_after {
            command.env("ENV_MANAGER_CRASH_AT", format!("{call}:after"));
        }
        let code = stack::Ran::of(command).code;
        assert_eq!(code, if dies_after.is_some() { None } else { Some(0) }, "version {version}");
        std::fs::read_to_string(&count).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let exec = |script: &str| engine.docker(&["exec", &db, "sh", "-c", script]);
    let marked = "cat /data/mark /anonymous/mark 2>/dev/null || true";
    apply(1, None);
    exec("echo kept > /data/mark; echo kept > /anonymous/mark");
    let calls = apply(2, None);
    for operation in ["create_container", "stop", "rename", "start", "remove_container"] {
        assert!(calls.iter().any(|c| c.contains(operation)), "{operation} is tried: {calls:#?}");
    }
    for call in 1..=calls.len() {
        let version = call + 2;
        apply(version, Some(call));
        let prune = if call % 2 == 0 { ["container", "prune", "-f"] } else { ["system", "prune", "-f"] };
        engine.docker(&prune);
        let left = engine.docker(&["ps", "-aq"]).lines().count();
        apply(version, None);
        let told = format!("{prune:?} after {}", calls[call - 1]);
        assert_eq!(containers(&engine, &stack).into_keys().collect::<Vec<_>>(), ["db"], "{told}");
        assert_eq!(exec("echo $V; cat /data/mark"), format!("{version}\nkept"), "{told}");
        // Of an anonymous volume only containers know.
        if left > 0 {
            assert_eq!(exec(marked), "kept\nkept", "{told}");
        }
        exec("echo kept > /anonymous/mark");
        let networks = engine.docker(&["inspect", "-f", "{{len .NetworkSettings.Networks}}", &db]);
        assert_eq!(networks, "2", "{told}");
        let named = engine.docker(&["network", "ls", "--format", "{{.Name}}", "--filter", "driver=bridge"]);
        assert_eq!(named.lines().filter(|n| n.contains(stack.name())).count(), 2, "{told}: {named}");
    }
}
