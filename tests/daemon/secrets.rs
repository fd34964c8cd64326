//! P15: whatever a daemon is asked, and whatever goes wrong, values of secrets are in no answer, log or file.

use std::path::PathBuf;

use env_manager::proto::DESCRIPTORS;
use tonic::transport::Endpoint;

use crate::rpcs;
use crate::running::{Daemon, service};
use crate::stack::{Ran, Stack, docker, idle, service as stand_in, text};

/// In every secret of this test, and in nothing else.
const MARK: &str = "kAnAry";

const SERVICES: [&str; 4] = ["web", "crash", "nothing", "taken"];

fn describe(stack: &Stack, password: &str) {
    stack.write("password.txt", &format!("{MARK}-{password}-from-file\n"));
    stack.write("key.txt", &format!("{MARK}-as-file"));
    let secrets = "secretEnv: { TOKEN: { fromEnv: THE_TOKEN }, PASSWORD: { fromFile: password.txt } }\n\
                   secretFiles: [{ target: /run/key, fromFile: key.txt }, { target: /run/token, fromEnv: THE_TOKEN }]";
    // A probe that says them all, for as long as it fails.
    let probe = "probes: { readiness: { exec: { command: \"test -e /tmp/well || { echo $$TOKEN $$PASSWORD; cat /run/key /run/token >&2; exit 1; }\" }, interval: 1s } }";
    let web = idle("web", &format!("{secrets}\n{probe}"));
    // Its last words are them.
    let crash = idle("crash", &format!("{secrets}\nrestart: OnFailure")).replace(
        "[sleep, \"1000000\"]",
        "[sh, -c, \"echo $$TOKEN; cat /run/key /run/token; echo $$PASSWORD >&2; exit 3\"]",
    );
    // Created, and then there is nothing to run.
    let nothing = idle("nothing", secrets).replace("[sleep, \"1000000\"]", "[/no/such/program]");
    // Not even created: the engine refuses it whole.
    let taken = stand_in("taken", &format!("{secrets}\nruntime: no-such-runtime"));
    stack.describe(&[web, crash, nothing, taken]);
}

/// Everything that is asked, with what was answered.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn add(&mut self, what: impl Into<String>, answer: impl Into<String>) {
        self.0.push((what.into(), answer.into()));
    }

    /// Every verb that prints something.
    fn verbs(&mut self, stack: &Stack) {
        let mut all: Vec<Vec<&str>> =
            vec![vec!["validate"], vec!["graph"], vec!["config", "show"], vec!["config", "show", "-o", "json"]];
        for format in ["table", "wide", "json", "yaml"] {
            all.extend([
                vec!["status", "-o", format],
                vec!["events", "-o", format],
                vec!["plan", "-o", format],
                vec!["diff", "-o", format],
            ]);
            all.extend(SERVICES.iter().map(|name| vec!["describe", name, "-o", format]));
        }
        for arguments in all {
            let mut command = stack.command(&[&["-vv"][..], &arguments].concat());
            command.env("THE_TOKEN", token()).env("RUST_LOG", "trace");
            let ran = Ran::of(command);
            assert!(ran.code != Some(1) || arguments[0] == "describe", "{ran}");
            self.add(arguments.join(" "), ran.to_string());
        }
    }

    fn http(&mut self, daemon: &Daemon<'_>) {
        for path in [
            "/",
            "/metrics",
            "/health",
            "/livez",
            "/readyz",
            "/api/v1/status",
            "/api/v1/status?service=crash",
            "/nothing",
        ] {
            self.add(path, daemon.ask(path).expect("an answer"));
        }
    }

    /// Every call, about every service.
    fn rpcs(&mut self, stack: &Stack) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = text(&stack.daemon_file().expect("it runs")["grpc"]);
        runtime.block_on(async {
            let channel =
                Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.expect("it answers");
            for rpc in rpcs::all(DESCRIPTORS, "env_manager.v1") {
                for name in SERVICES {
                    // What a container writes is its own: `logs` hands it on as it is.
                    if rpc.name == "ReadLogs" && name == "crash" {
                        continue;
                    }
                    let call = rpcs::call(&channel, &rpc.path, rpc.about(name));
                    // Streams may have nothing to say.
                    let patience = if rpc.name.starts_with("Watch") || rpc.name.starts_with("Read") { 1 } else { 15 };
                    let answer = tokio::time::timeout(std::time::Duration::from_secs(patience), call).await;
                    let answer = match answer {
                        Ok(Ok(message)) => String::from_utf8_lossy(&message.unwrap_or_default()).into_owned(),
                        Ok(Err(status)) => format!("{status:?} {:?}", status.metadata()),
                        Err(_) => String::new(),
                    };
                    self.add(format!("{} {name}", rpc.name), answer);
                }
            }
        });
    }

    /// What the engine has been told, but for the environment of containers and their logs.
    fn engine(&mut self, stack: &Stack) {
        for id in stack.containers().into_values() {
            let mut inspected = crate::stack::engine::inspect(&id);
            inspected["Config"]["Env"].take();
            self.add(format!("docker inspect {id}"), inspected.to_string());
        }
        for kind in ["network", "volume"] {
            let names =
                docker(&[kind, "ls", "--quiet", "--filter", &format!("label=dev.env-manager.stack={}", stack.name())]);
            for name in names.lines() {
                self.add(format!("{kind} {name}"), docker(&[kind, "inspect", name]));
            }
        }
    }

    fn everything(&mut self, stack: &Stack, daemon: &Daemon<'_>) {
        self.http(daemon);
        self.verbs(stack);
        self.engine(stack);
        // Last, since some of them change something.
        self.rpcs(stack);
    }

    #[track_caller]
    fn is_silent(&self) {
        for (what, answer) in &self.0 {
            if let Some(at) = answer.find(MARK) {
                let (from, to) =
                    (answer.floor_char_boundary(at.saturating_sub(600)), answer.ceil_char_boundary(at + 200));
                panic!("{what} tells it: …{}…", &answer[from..to]);
            }
        }
    }
}

fn token() -> String {
    format!("{MARK}-from-env")
}

fn daemon<'a>(stack: &'a Stack, format: &str) -> Daemon<'a> {
    let mut command = stack.daemon_command(&["-vv", "--log-format", format]);
    command.env("THE_TOKEN", token()).env("RUST_LOG", "trace").env("ENV_MANAGER_RETRY_MAX", "1s");
    stack.daemon_of(command)
}

#[test]
fn p15_no_secret_is_told_by_a_daemon_whatever_goes_wrong() {
    let stack = Stack::new("canary");
    let mut heard = Heard::default();
    describe(&stack, "first");
    let first = daemon(&stack, "json");
    // It says what the probe says, but for the secrets in it.
    first.service_is("web", "the probe's words", |s| text(&s["message"]).contains("<secret>"));
    first.service_is("nothing", "a start that fails", |s| text(&s["message"]).contains("127"));
    first.service_is("taken", "a failed create", |s| text(&s["message"]).contains("no-such-runtime"));
    first.service_is("crash", "an end with code 3", |s| text(&s["message"]).contains('3'));
    let told = stack.exec("web", &["sh", "-c", "echo $TOKEN $PASSWORD; cat /run/key /run/token"]);
    assert_eq!(told.matches(MARK).count(), 4, "the container has them all: {told}");
    heard.everything(&stack, &first);

    // One changes, and the service is well with it.
    let before = stack.id("web");
    describe(&stack, "second");
    first.service_is("web", "another container", |s| {
        let id = text(&s["containerId"]);
        id.len() == 64 && id != before
    });
    stack.exec("web", &["sh", "-c", "echo > /tmp/well"]);
    first.service_is("web", "ready", |s| s["ready"] == true);
    heard.everything(&stack, &first);
    assert_eq!(first.stop(), 0);

    // One that finds all of it there, and people read its log.
    let second = daemon(&stack, "pretty");
    second.until("all of them", |status| SERVICES.iter().all(|name| service(status, name).is_some()));
    second.service_is("web", "ready", |s| s["ready"] == true);
    heard.everything(&stack, &second);
    assert_eq!(second.stop(), 0);

    // Without a daemon.
    heard.verbs(&stack);
    for arguments in [&["apply", "--timeout", "5s", "-o", "json"][..], &["apply", "--timeout", "5s"], &["down"]] {
        let mut command = stack.command(&[&["-vv"][..], arguments].concat());
        command.env("THE_TOKEN", token()).env("RUST_LOG", "trace");
        heard.add(arguments.join(" "), Ran::of(command).to_string());
    }
    heard.is_silent();
    assert!(heard.0.len() > 200, "{} answers", heard.0.len());
    // The log of the daemons, the history, specs and generations.
    assert_eq!(stack.files_with(&[MARK]), Vec::<PathBuf>::new());
}
