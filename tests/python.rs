//! The programs under `python/examples` ask a real daemon. `deploy/python-env` makes what they need.

#[path = "common/running.rs"]
mod running;
#[path = "common/stack.rs"]
mod stack;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stack::{Stack, idle, service, text};

fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".env-manager/python/bin/python");
    if !python.exists() {
        let made = Command::new(root.join("deploy/python-env")).status();
        assert!(made.is_ok_and(|s| s.success()), "deploy/python-env makes {}", python.display());
    }
    python
}

fn ask(program: &str, arguments: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/examples").join(program);
    Command::new(python()).arg(path).args(arguments).output().expect("python runs")
}

#[track_caller]
fn says(output: &Output, code: i32, words: &[&str]) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[test]
fn python_programs_hear_whether_the_environment_is_well() {
    let stack = Stack::new("python");
    stack.describe(&[idle("redis", ""), idle("web", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let address = text(&stack.daemon_file().expect("it runs")["grpc"]);
    says(&ask("health.py", &[&address]), 0, &["environment: SERVING"]);
    says(&ask("health.py", &[&address, "redis"]), 0, &["redis: SERVING"]);
    says(&ask("health.py", &[&address, "nobody"]), 2, &["NOT_FOUND"]);
    says(&ask("convergence.py", &[&address]), 0, &["converged: 2 of 2"]);

    let sick = "command: [sleep, \"1000000\"]\nprobes: { startup: { exec: { command: [\"false\"] }, deadline: 1s } }";
    stack.describe(&[service("sick", &format!("image: {}\n{sick}", stack::engine::IMAGE))]);
    daemon.service_is("sick", "it is given up", |s| s["reason"] == "StartupDeadlineExceeded");
    says(&ask("health.py", &[&address]), 1, &["environment: NOT_SERVING"]);
    says(&ask("convergence.py", &[&address]), 1, &["not converged: 2 of 3", "sick"]);
    assert_eq!(daemon.stop(), 0);
    says(&ask("health.py", &[&address]), 2, &["UNAVAILABLE"]);
}
