//! Execs, logs, events.

use std::time::Duration;

use crate::common::{Scope, docker, eventually};
use env_manager::clock::Timestamp;
use env_manager::engine::{Engine, EngineEvent, ErrorKind, EventKind, ExecResult, LogLine, LogOptions, LogStream};
use env_manager::resource::container::ContainerId;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, NetworkMode};
use futures_util::StreamExt;

#[tokio::test]
async fn an_exec_says_how_it_ended_and_what_it_wrote() {
    let scope = Scope::new("exec");
    let id = scope.run(scope.spec("a")).await;
    let run = async |script: &str| {
        let command = ["sh", "-c", script].map(str::to_owned);
        match scope.engine.exec(&id, &command, &["TOKEN=em".to_owned()], Duration::from_secs(20)).await.unwrap() {
            ExecResult::Ended(ended) => (ended.exit_code, ended.output),
            timed_out @ ExecResult::TimedOut { .. } => panic!("{timed_out:?}"),
        }
    };
    // The engine does not keep the order between the two streams.
    let (code, output) = run("echo $TOKEN; echo err >&2; exit 7").await;
    assert!(code == 7 && (output == "em\nerr\n" || output == "err\nem\n"), "{code} {output:?}");
    assert_eq!(run("true").await, (0, String::new()));
    let (code, output) = run("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done").await;
    assert_eq!((code, output.len()), (0, 4096));
    assert!(output.ends_with("line 1999\n"), "the end is kept");
    let missing = scope.engine.exec(&id, &["nothing".to_owned()], &[], Duration::from_secs(20)).await;
    assert!(
        matches!(&missing, Ok(ExecResult::Ended(e)) if e.exit_code == 127 || e.exit_code == 126)
            || matches!(&missing, Err(e) if e.kind == ErrorKind::Refused),
        "{missing:?}"
    );
}

#[tokio::test]
async fn an_exec_that_times_out_goes_on_running() {
    let scope = Scope::new("exectime");
    let engine = &scope.engine;
    let id = scope.run(scope.spec("a")).await;
    let command = ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done"].map(str::to_owned);
    let ExecResult::TimedOut { exec_id } = engine.exec(&id, &command, &[], Duration::from_millis(300)).await.unwrap()
    else {
        panic!("it waits for a file")
    };
    assert!(engine.exec_running(&exec_id).await.unwrap());
    docker(&["exec", &id.0, "sh", "-c", ": > /tmp/go"]);
    let ended = eventually(async || (!engine.exec_running(&exec_id).await.unwrap()).then_some(()));
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends");
    assert!(!engine.exec_running(&"0".repeat(64)).await.unwrap(), "an exec that nobody knows does not run");

    engine.stop(&id, Duration::ZERO).await.unwrap();
    let error = engine.exec(&id, &command, &[], Duration::from_secs(5)).await.unwrap_err();
    assert!(error.message.contains("is not running"), "{error}");
}

#[tokio::test]
async fn the_last_lines_of_both_streams_are_read() {
    let scope = Scope::new("logs");
    for tty in [false, true] {
        let script = "echo one; echo two; echo err >&2; echo three; printf four";
        let command = Some(["sh", "-c", script].map(str::to_owned).into());
        let name = if tty { "tty" } else { "plain" };
        let id = scope.run(ContainerSpec { command, tty, ..scope.spec(name) }).await;
        scope.wait(&id, "exited", |c| c.state == RunState::Exited).await;
        assert_eq!(scope.engine.log_tail(&id, 2).await.unwrap().len(), 2, "{name}");
        let mut all = scope.engine.log_tail(&id, 100).await.unwrap();
        // The order between two streams is the engine's, the one within a stream the program's.
        let err = all.iter().position(|line| line == "err").expect("the other stream");
        all.remove(err);
        assert_eq!(all, ["one", "two", "three", "four"], "{name}");
    }
}

#[tokio::test]
async fn a_log_is_read_line_by_line_with_stream_and_time() {
    let scope = Scope::new("loglines");
    for tty in [false, true] {
        // The last line is longer than a piece, and has no end.
        let long = "i=0; while [ $i -lt 200 ]; do printf %0100d $i; i=$((i+1)); done";
        let script = format!("echo one; echo; echo err >&2; {long}");
        let command = Some(["sh", "-c", &script].map(str::to_owned).into());
        let name = if tty { "tty" } else { "plain" };
        let network_mode = Some(NetworkMode::None);
        let id = scope.run(ContainerSpec { command, tty, network_mode, ..scope.spec(name) }).await;
        let ended = scope.wait(&id, "exited", |c| c.state == RunState::Exited).await;
        let read = async |options: LogOptions| {
            let all: Vec<_> = scope.engine.logs(&id, options).collect().await;
            all.into_iter().map(Result::unwrap).collect::<Vec<LogLine>>()
        };
        let all = read(LogOptions::default()).await;
        let (errs, outs): (Vec<_>, Vec<_>) = all.iter().partition(|l| l.line == "err");
        let wanted = if tty { LogStream::Stdout } else { LogStream::Stderr };
        assert!(errs.len() == 1 && errs[0].stream == wanted, "{name}: {errs:?}");
        assert_eq!(outs[..2].iter().map(|l| l.line.as_str()).collect::<Vec<_>>(), ["one", ""], "{name}");
        assert!(outs[2..].iter().all(|l| l.line.len() <= 16 << 10), "{name}");
        let long: String = outs[2..].iter().map(|l| l.line.as_str()).collect();
        let written: String = (0..200).map(|i| format!("{i:0100}")).collect::<Vec<_>>().concat();
        assert_eq!((outs.len(), long == written), (4, true), "{name}: {} bytes in {} lines", long.len(), outs.len());
        assert!(all.iter().all(|l| l.container == id && l.time >= ended.created_at), "{name}");
        assert_eq!(read(LogOptions { tail: Some(1), ..LogOptions::default() }).await, all[all.len() - 1..], "{name}");
        let later = all.iter().map(|l| Timestamp(l.time.0 + 1)).max();
        assert_eq!(read(LogOptions { since: later, ..LogOptions::default() }).await, [], "{name}");
        let since = Some(all[0].time);
        assert_eq!(read(LogOptions { since, ..LogOptions::default() }).await, all, "{name}");
    }
}

#[tokio::test]
async fn a_followed_log_goes_on_until_the_container_ends() {
    let scope = Scope::new("logfollow");
    let script = "echo one; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo two >&2";
    let command = Some(["sh", "-c", script].map(str::to_owned).into());
    let network_mode = Some(NetworkMode::None);
    let id = scope.run(ContainerSpec { command, network_mode, ..scope.spec("a") }).await;
    let mut log = scope.engine.logs(&id, LogOptions { follow: true, ..LogOptions::default() });
    let reading = tokio::time::timeout(Duration::from_secs(20), async {
        let one = log.next().await.unwrap().unwrap();
        docker(&["exec", &id.0, "sh", "-c", ": > /tmp/go"]);
        let two = log.next().await.unwrap().unwrap();
        (one, two, log.next().await)
    });
    let (one, two, end) = reading.await.expect("both lines and the end");
    assert_eq!((one.line.as_str(), one.stream), ("one", LogStream::Stdout));
    assert_eq!((two.line.as_str(), two.stream), ("two", LogStream::Stderr));
    assert!(end.is_none(), "{end:?}");

    let missing = ContainerId::new("0".repeat(64));
    let all: Vec<_> = scope.engine.logs(&missing, LogOptions::default()).collect().await;
    assert!(matches!(&all[..], [Err(e)] if e.kind == ErrorKind::NotFound), "{all:?}");
}

#[tokio::test]
async fn events_are_told_and_told_again_from_a_cursor_on() {
    let scope = Scope::new("events");
    let engine = &scope.engine;
    let mine = |event: &EngineEvent, id: &ContainerId| event.kind == EventKind::Container && event.id == *id.0;
    let first = scope.create(scope.spec("first")).await;
    let second = scope.run(scope.spec("second")).await;
    let _exec = engine.exec(&second, &["true".to_owned()], &[], Duration::from_secs(20)).await.unwrap();
    engine.stop(&second, Duration::ZERO).await.unwrap();
    engine.rename(&second, &scope.name("third")).await.unwrap();
    engine.remove_container(&second).await.unwrap();

    let cursor = {
        // `events(None)` may have opened late, so the beginning is asked for by time.
        let created = scope.owned(&first).await.created_at;
        format!("{}.{:03}000000", created.0 / 1000, created.0 % 1000)
    };
    let mut replay = engine.events(Some(&cursor));
    let mut actions = Vec::new();
    let mut last = None;
    let all = async {
        while let Some(event) = replay.next().await {
            let event = event.unwrap();
            if mine(&event, &second) {
                assert_eq!(
                    event.attributes["name"],
                    if event.action == "destroy" || event.action == "rename" {
                        scope.name("third")
                    } else {
                        scope.name("second")
                    }
                );
                actions.push(event.action.clone());
                if event.action == "destroy" {
                    last = Some(event.cursor);
                    return;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("all of them");
    // One or two: SIGTERM, and SIGKILL after no grace at all.
    assert!(actions.iter().any(|a| a == "kill"), "it tells a stop from a crash: {actions:?}");
    actions.retain(|a| a != "kill");
    assert_eq!(actions, ["create", "start", "die", "rename", "destroy"], "no exec events, no stop");

    // From the last one on, which is told once more.
    let mut rest = engine.events(last.as_deref());
    let next = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let event = rest.next().await.unwrap().unwrap();
            if mine(&event, &second) {
                return event.action;
            }
        }
    });
    assert_eq!(next.await.unwrap(), "destroy");

    // Without a cursor, of what comes from now on: something happens until it is told.
    let mut stream = engine.events(None);
    let told = async {
        loop {
            let event = stream.next().await.unwrap().unwrap();
            if event.attributes.get("name") == Some(&scope.name("again")) && event.action == "destroy" {
                return event;
            }
        }
    };
    let happening = async {
        loop {
            let id = scope.create(scope.spec("again")).await;
            engine.remove_container(&id).await.unwrap();
        }
    };
    let event = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! { biased; event = told => event, () = happening => unreachable!("it has no end") }
    });
    let event = event.await.expect("told");
    assert!(event.time > scope.owned(&first).await.created_at, "{event:?}");
}
