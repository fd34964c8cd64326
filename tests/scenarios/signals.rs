//! Interrupted, started twice, and without an engine.

use crate::stack::{Ran, Stack, idle, line, soon};

#[test]
fn an_interrupted_apply_exits_130_and_the_next_one_converges() {
    for signal in ["INT", "TERM"] {
        let stack = Stack::new(&format!("signal-{}", signal.to_lowercase()));
        stack.describe(&[
            line("db", "env: { STANDIN_START_DELAY: 3s }"),
            idle("web", "dependsOn: [db]"),
            idle("other", ""),
        ]);
        let running = stack.spawn(&["apply", "-o", "json"]);
        soon("the first container", || (!stack.names().is_empty()).then_some(()));
        running.signal(signal);
        let ran = running.wait().exits(130);
        assert_eq!(ran.json()["exitCode"], 130, "{ran}");
        assert!(!stack.names().contains(&"web".to_owned()), "{ran}");
        let kept = stack.containers();
        stack.apply().exits(0);
        for (name, id) in kept {
            assert_eq!(stack.id(&name), id, "what was made is not made again");
        }
        stack.is_converged(&["db", "other", "web"]);
    }
}

#[test]
fn p02_a_second_apply_at_the_same_time_is_refused_and_told_of_the_first() {
    let stack = Stack::new("twice");
    stack.describe(&[line("db", "env: { STANDIN_NEVER_LISTEN: 1 }")]);
    let first = stack.spawn(&["apply"]);
    soon("the first container", || (!stack.names().is_empty()).then_some(()));
    let before = stack.containers();
    for verb in [&["apply"][..], &["down"]] {
        let second = stack.run(verb).exits(1);
        assert!(
            second.err.contains(&format!("process {}", first.pid())) && second.err.contains("env-manager apply"),
            "{second}"
        );
    }
    assert_eq!(stack.containers(), before);
    stack.plan().exits(0);
    first.signal("INT");
    first.wait().exits(130);
    stack.describe(&[line("db", "")]);
    stack.apply().exits(0);
    stack.is_converged(&["db"]);
}

#[test]
fn an_engine_that_does_not_answer_exits_5_and_says_where_it_was_looked_for() {
    let stack = Stack::new("dead");
    stack.describe(&[idle("web", "")]);
    let nowhere = stack.home().join("no.sock");
    let silent = stack.home().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&silent).unwrap());
    for socket in [&nowhere, &silent] {
        for verb in [&["apply"][..], &["plan"], &["status"], &["down"]] {
            let mut command = stack.command(verb);
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
            let ran = Ran::of(command).exits(5);
            assert!(ran.err.contains(socket.to_str().unwrap()), "{ran}");
        }
    }
    let mut command = stack.command(&["apply"]);
    command.env("DOCKER_HOST", "tcp://127.0.0.1:1");
    Ran::of(command).exits(5);
}
