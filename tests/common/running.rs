//! A daemon of a test's own stack, and what it says.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::stack::{Stack, soon, text};

/// How often the daemon looks at everything in these tests: rarely enough that what is seen earlier
/// was not found by it.
pub const RESYNC: &str = "1h";

pub struct Daemon<'a> {
    pub stack: &'a Stack,
    child: Child,
    log: PathBuf,
}

impl Stack {
    /// `run` over this stack, its log in `daemon.log`.
    pub fn daemon_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&[&["run"][..], arguments].concat());
        command
            .env("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:0")
            .env("ENV_MANAGER_METRICS_ADDR", "127.0.0.1:0")
            // Where there is a task queue it has a Redis of the test's.
            .env("ENV_MANAGER_TASKS_ENABLED", "false")
            .env("ORCHESTRATOR_GRPC_ADDR", "127.0.0.1:0")
            .env("ORCHESTRATOR_HTTP_ADDR", "127.0.0.1:0")
            .env("ENV_MANAGER_RESYNC", RESYNC)
            .env("ENV_MANAGER_PRUNE_DELAY", "200ms");
        command
    }

    pub fn daemon(&self) -> Daemon<'_> {
        self.daemon_with(|_| {})
    }

    /// A daemon that answers.
    pub fn daemon_with(&self, change: impl FnOnce(&mut Command)) -> Daemon<'_> {
        let mut command = self.daemon_command(&[]);
        change(&mut command);
        self.daemon_of(command)
    }

    pub fn daemon_of(&self, command: Command) -> Daemon<'_> {
        let mut daemon = self.daemon_begun(command);
        soon("the daemon to answer", || {
            assert!(!daemon.ended(), "it ended:\n{}", daemon.log());
            daemon.ask("/livez").map(drop)
        });
        daemon
    }

    /// One that may end before it answers.
    pub fn daemon_begun(&self, mut command: Command) -> Daemon<'_> {
        let path = self.home().join("daemon.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let child = command.spawn().expect("the program starts");
        Daemon { stack: self, child, log: path }
    }

    /// `daemon.json`.
    pub fn daemon_file(&self) -> Option<Value> {
        let path = self.home().join("state").join(self.name()).join("daemon.json");
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }
}

impl Daemon<'_> {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// SIGTERM, and its exit code.
    #[track_caller]
    pub fn stop(self) -> i32 {
        self.signal("TERM");
        self.end().code().unwrap_or(-1)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        soon("the end of the daemon", || self.ended().then_some(()));
        self.child.wait().expect("a child")
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }

    /// Body of a GET, whatever the code.
    pub fn ask(&self, path: &str) -> Option<String> {
        // An earlier one's address may be anybody's by now.
        let file = self.stack.daemon_file().filter(|file| file["pid"] == self.pid())?;
        let address = text(&file["http"]);
        get(&address, path)
    }

    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.ask("/api/v1/status")?).ok()
    }

    /// Waits until the status is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let runtime = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            soon(what, || {
                last = self.status();
                last.clone().filter(|status| is_so(status))
            })
        }));
        runtime.unwrap_or_else(|_| {
            let last = last.map(|s| serde_json::to_string_pretty(&s).expect("JSON")).unwrap_or_default();
            panic!("waited in vain for {what}; last status:\n{last}\nlog:\n{}", self.log())
        })
    }

    #[track_caller]
    pub fn converged(&self) -> Value {
        self.until("converged", |status| status["converged"] == true)
    }

    #[track_caller]
    pub fn service_is(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let status = self.until(what, |status| service(status, name).is_some_and(|s| is_so(&s)));
        service(&status, name).expect("it was there")
    }

    /// Waits until converged with another container than `before`.
    #[track_caller]
    pub fn replaced(&self, name: &str, before: &str) -> String {
        let status = self.until("converged with another container", |status| {
            let id = service(status, name).map(|s| text(&s["containerId"]));
            status["converged"] == true && id.is_some_and(|id| id != before && id.len() == 64)
        });
        text(&service(&status, name).expect("it is there")["containerId"])
    }

    pub fn events(&self) -> Vec<Value> {
        let ran = self.stack.run(&["events", "-o", "json"]).exits(0);
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Waits until such an event is in the history.
    #[track_caller]
    pub fn told(&self, subject: &str, reason: &str, words: &str) {
        let mut last = Vec::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            soon("an event", || {
                last = self.events();
                let found = last.iter().any(|e| {
                    text(&e["subject"]) == subject
                        && text(&e["reason"]) == reason
                        && text(&e["message"]).contains(words)
                });
                found.then_some(())
            });
        }));
        assert!(found.is_ok(), "no {reason} of {subject} with `{words}` among {last:#?}\n{}", self.log());
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn service(status: &Value, name: &str) -> Option<Value> {
    status["services"].as_array()?.iter().find(|s| s["name"] == name).cloned()
}

/// Body of an HTTP answer; `None` where nobody answers.
pub fn get(address: &str, path: &str) -> Option<String> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Some(exchange(stream, &request)?.1)
}

/// Head and body of an HTTP answer that the end of the connection ends.
pub fn exchange(mut stream: impl Read + Write, request: &str) -> Option<(String, String)> {
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned()))
}
