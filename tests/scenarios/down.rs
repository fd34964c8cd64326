//! Everything goes, last started first; data stays (P7, P8).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::stack::{Stack, docker, idle, line};

/// Less than the half minute after which a controller looks again by itself: every step has to be woken
/// by the one before.
const DOWN: [&str; 3] = ["down", "--timeout", "25s"];
const DOWN_WITH_VOLUMES: [&str; 4] = ["down", "--volumes", "--timeout", "25s"];

#[test]
fn p08_down_takes_what_needs_others_first() {
    let stack = Stack::new("down");
    // The longer a service takes to stop, the later those that it needs may be asked to.
    stack.describe(&[
        line("db", "volumes: [\"${SCOPE}_db:/data\"]"),
        line("api", "dependsOn: [db]\nenv: { STANDIN_STOP_DELAY: 1s }"),
        line("web", "dependsOn: [api]\nenv: { STANDIN_STOP_DELAY: 1s }"),
        idle("alone", ""),
    ]);
    stack.apply().exits(0);
    let label = format!("label=dev.env-manager.stack={}", stack.name());
    let since = docker(&["info", "--format", "{{.SystemTime}}"]);
    let mut events = Command::new("docker")
        .args(["events", "--since", &since, "--filter", &label, "--filter", "event=die", "--filter", "event=kill"])
        .args(["--format", "{{.TimeNano}} {{.Action}} {{.Actor.Attributes.name}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (told, heard) = mpsc::channel();
    let lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
    let down = stack.run(&DOWN).exits(0);
    assert!(down.out.contains("nothing of stack") && down.out.contains("kept"), "{down}");

    // On the engine's clock: when each was asked to stop, and when it had.
    let (mut asked, mut ended) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    while ended.len() < 4 {
        let line = heard.recv_timeout(Duration::from_secs(30)).expect("an event for each");
        let mut words = line.split(' ');
        let (time, action) = (words.next().unwrap().parse::<u128>().unwrap(), words.next().unwrap());
        let name = words.next_back().unwrap().strip_prefix(stack.name()).unwrap()[1..].to_owned();
        let which = if action == "die" { &mut ended } else { &mut asked };
        which.entry(name).or_insert(time);
    }
    let _ = events.kill();
    let _ = events.wait();
    let _ = reader.join();
    assert!(asked["api"] >= ended["web"], "{asked:?} {ended:?}");
    assert!(asked["db"] >= ended["api"], "{asked:?} {ended:?}");

    assert_eq!((stack.names(), stack.objects("network")), (vec![], vec![]));
    assert_eq!(stack.objects("volume"), ["S_db"], "P7");
    let again = stack.run(&DOWN).exits(0);
    assert!(again.out.contains("nothing of stack"), "{again}");
    assert_eq!(stack.objects("volume"), ["S_db"]);
}

#[test]
fn p07_down_with_volumes_removes_ours_and_keeps_foreign_ones() {
    let stack = Stack::new("volumes");
    let foreign = stack.scope.name("foreign");
    docker(&["volume", "create", &foreign]);
    stack.describe(&[idle("web", "volumes: [\"${SCOPE}_ours:/ours\", \"${SCOPE}-foreign:/foreign\"]")]);
    stack.apply().exits(0);
    stack.exec("web", &["sh", "-c", "echo kept > /ours/mark; echo kept > /foreign/mark"]);
    assert_eq!(stack.objects("volume"), ["S_ours"], "one that was there is used and never owned");

    stack.run(&DOWN).exits(0);
    stack.apply().exits(0);
    assert_eq!(stack.exec("web", &["cat", "/ours/mark", "/foreign/mark"]), "kept\nkept");

    stack.run(&DOWN_WITH_VOLUMES).exits(0);
    assert_eq!((stack.names(), stack.objects("volume")), (vec![], vec![]));
    docker(&["volume", "inspect", &foreign]);
    stack.run(&DOWN_WITH_VOLUMES).exits(0);
    stack.apply().exits(0);
    assert_eq!(stack.exec("web", &["cat", "/foreign/mark"]), "kept");
    assert_eq!(stack.exec("web", &["ls", "/ours"]), "");
}

#[test]
fn down_needs_no_manifest_and_takes_leftovers_of_a_replacement_too() {
    let stack = Stack::new("leftover");
    stack.describe(&[idle("web", "")]);
    stack.apply().exits(0);
    let label = |name: &str, value: &str| format!("dev.env-manager.{name}={value}");
    let source = stack.inspect("web")["Config"]["Labels"]["dev.env-manager.source"].as_str().unwrap().to_owned();
    for suffix in ["next", "old", "failed"] {
        let (a, b, c) = (label("stack", stack.name()), label("service", "web"), label("source", &source));
        let name = stack.container(&format!("web.{suffix}"));
        docker(&["create", "--name", &name, "-l", &a, "-l", &b, "-l", &c, crate::stack::engine::IMAGE, "sleep", "9"]);
    }
    stack.write("web.yaml", "spec: [\n");
    stack.run(&DOWN).exits(0);
    assert_eq!((stack.names(), stack.objects("network")), (vec![], vec![]));
}
