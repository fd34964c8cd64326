//! What is under `python/`, against the program of this build: the examples, and the package's own tests by
//! `python/check`. `deploy/python-env` makes what they need.

#[path = "common/running.rs"]
mod running;
#[path = "common/stack.rs"]
mod stack;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use stack::{Stack, engine, idle, service, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Of the environment with the newest of what the package needs.
fn python() -> PathBuf {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let lock = std::fs::File::create(std::env::temp_dir().join("env-manager-python-env.lock")).expect("a file");
        lock.lock().expect("a lock");
        let made = Command::new(root().join("deploy/python-env")).status();
        assert!(made.is_ok_and(|s| s.success()), "deploy/python-env");
    });
    root().join(".env-manager/python/bin/python")
}

fn ask(program: &str, arguments: &[&str]) -> Output {
    let path = root().join("python/examples").join(program);
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

/// `python/check WHAT`, with the program of this build and the image that its manifests name.
#[track_caller]
fn check(what: &str) {
    python();
    let output = Command::new(root().join("python/check"))
        .arg(what)
        .env("ENV_MANAGER_TEST_BIN", env!("CARGO_BIN_EXE_env-manager"))
        .env("ENV_MANAGER_TEST_HOME", std::env::var_os("HOME").unwrap_or_default())
        .output()
        .expect("bash runs");
    says(&output, 0, &[]);
    println!("{}", String::from_utf8_lossy(&output.stdout));
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
    stack.describe(&[service("sick", &format!("image: {}\n{sick}", engine::IMAGE))]);
    daemon.service_is("sick", "it is given up", |s| s["reason"] == "StartupDeadlineExceeded");
    says(&ask("health.py", &[&address]), 1, &["environment: NOT_SERVING"]);
    says(&ask("convergence.py", &[&address]), 1, &["not converged: 2 of 3", "sick"]);
    assert_eq!(daemon.stop(), 0);
    says(&ask("health.py", &[&address]), 2, &["UNAVAILABLE"]);
}

#[test]
fn the_package_is_typed_and_tidy() {
    check("lint");
}

#[test]
fn the_package_works_with_the_newest_of_what_it_needs() {
    check("units");
}

#[test]
fn the_package_works_with_the_oldest_and_its_stubs_are_fresh() {
    check("lowest");
}

#[test]
fn the_package_works_with_the_real_daemon_and_its_guide_is_true() {
    engine::ensure_image();
    check("daemon");
}

#[test]
fn pip_installs_the_package_and_the_daemon() {
    engine::ensure_image();
    let inode = || std::fs::metadata(env!("CARGO_BIN_EXE_env-manager")).expect("the program of this build").ino();
    let before = inode();
    check("install");
    assert_eq!(inode(), before, "pip's build must not replace the program that other tests run meanwhile");
}
