//! P16: who calls from another network may read what a monitor needs, and change nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use env_manager::proto::DESCRIPTORS;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::networks::{HERE, Host, two_hosts};
use crate::rpcs::{self, Rpc};
use crate::stack::{Stack, idle};

/// Only in texts: of probes, of findings, of manifests.
const TEXT: &str = "hush-these-are-texts";

/// What this program is told when it runs on one of the hosts.
const GRPC: &str = "EM_TEST_GRPC";
const HTTP: &str = "EM_TEST_HTTP";
const TASKS: &str = "EM_TEST_TASKS";

/// This very program with one of its tests, on a host.
#[track_caller]
fn on(host: &Host, test: &str, addresses: [&str; 3]) {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args(["--ignored", "--exact", "--nocapture", test]).env(GRPC, addresses[0]).env(HTTP, addresses[1]);
    command.env(TASKS, addresses[2]);
    let done = host.run(&command).stdin(Stdio::null()).output().expect("nsenter is there");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("1 passed"), "{test}:\n{said}");
}

#[test]
fn p16_nobody_changes_anything_from_another_network() {
    let Some((here, there)) = two_hosts() else { return };
    let stack = Stack::new("elsewhere");
    let probe = format!("probes: {{ readiness: {{ exec: {{ command: \"echo {TEXT}; exit 1\" }}, interval: 1s }} }}");
    stack.describe(&[idle("web", ""), idle("sick", &format!("required: false\n{probe}"))]);
    let mut command = stack.daemon_command(&[]);
    command.env("ENV_MANAGER_GRPC_ADDR", "0.0.0.0:50100").env("ENV_MANAGER_METRICS_ADDR", "0.0.0.0:50101");
    // Who may call is asked before Redis is.
    command.env("ENV_MANAGER_TASKS_ENABLED", "true").env("ORCHESTRATOR_GRPC_ADDR", "0.0.0.0:50052");
    let daemon = stack.daemon_begun(here.run(&command));
    // By its unix socket, which needs no network.
    crate::stack::soon("what the probe says", || {
        let status = stack.status();
        status.out.contains(TEXT).then_some(())
    });
    let before = (stack.id("web"), stack.started_at("web"), stack.containers());

    on(
        &there,
        "elsewhere::as_somebody_elsewhere",
        [50100, 50101, 50052].map(|port| format!("{HERE}:{port}")).each_ref().map(String::as_str),
    );
    assert_eq!((stack.id("web"), stack.started_at("web"), stack.containers()), before);
    let status = stack.status().exits(0).json();
    assert_eq!(status["services"].as_array().unwrap().iter().filter(|s| s["phase"] == "Suspended").count(), 0);

    // The same calls are taken from here: it is not for another reason that they were refused.
    on(&here, "elsewhere::as_somebody_here", ["127.0.0.1:50100", "127.0.0.1:50101", "127.0.0.1:50052"]);
    drop(daemon);
}

/// The first message, encoded, if there is one.
type Answer = Result<Option<Vec<u8>>, Status>;

/// Every call of the contract.
fn call_all(request: impl Fn(&Rpc) -> Vec<u8>) -> Option<Vec<(Rpc, Answer)>> {
    call_all_of("env_manager.v1", GRPC, request)
}

fn call_all_of(package: &str, at: &str, request: impl Fn(&Rpc) -> Vec<u8>) -> Option<Vec<(Rpc, Answer)>> {
    let address = std::env::var(at).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Some(runtime.block_on(async {
        let channel: Channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut answers = Vec::new();
        for rpc in rpcs::all(DESCRIPTORS, package) {
            let call = rpcs::call(&channel, &rpc.path, request(&rpc));
            let answer = tokio::time::timeout(std::time::Duration::from_secs(20), call).await;
            // A stream that is open and has nothing to say.
            answers.push((rpc, answer.unwrap_or(Ok(None))));
        }
        answers
    }))
}

fn get(path: &str) -> String {
    let mut stream = TcpStream::connect(std::env::var(HTTP).unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
#[ignore = "runs on another host, for the test above"]
fn as_somebody_elsewhere() {
    for about in ["web", "sick", ""] {
        let request = |rpc: &Rpc| if about.is_empty() { Vec::new() } else { rpc.about(about) };
        let Some(answers) = call_all(request) else { return };
        for (rpc, answer) in answers {
            match answer {
                Ok(message) if rpc.is_reader() => {
                    let message = message.unwrap_or_else(|| panic!("{} says nothing", rpc.name));
                    assert!(!String::from_utf8_lossy(&message).contains(TEXT), "{} tells texts", rpc.name);
                }
                Err(status) if !rpc.is_reader() => {
                    assert!(
                        matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated),
                        "{}: {status:?}",
                        rpc.name
                    );
                    assert!(!format!("{status:?}").contains(TEXT), "{status:?}");
                }
                other => panic!("{}: {other:?}", rpc.name),
            }
        }
    }
    for (rpc, answer) in call_all_of("orchestrator.v1", TASKS, |_| Vec::new()).unwrap() {
        match answer {
            Ok(_) => assert!(matches!(rpc.name.as_str(), "Health" | "GetMetrics"), "{} is answered", rpc.name),
            Err(status) => assert_eq!(status.code(), Code::PermissionDenied, "{}: {status:?}", rpc.name),
        }
    }
    for path in ["/", "/metrics", "/health", "/livez", "/readyz", "/api/v1/status", "/api/v1/status?service=sick"] {
        let answer = get(path);
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains(TEXT), "{path}: {answer}");
    }
}

#[test]
#[ignore = "runs on another host, for the test above"]
fn as_somebody_here() {
    let Some(answers) = call_all(|rpc| rpc.about("sick")) else { return };
    for (rpc, answer) in &answers {
        assert!(answer.is_ok(), "{}: {answer:?}", rpc.name);
    }
    let told = |name: &str| {
        let (_, answer) = answers.iter().find(|(rpc, _)| rpc.name == name).unwrap();
        String::from_utf8_lossy(answer.as_ref().unwrap().as_ref().unwrap()).contains(TEXT)
    };
    assert!(told("GetConvergence") && told("DescribeService"), "texts are for callers here");
    assert!(get("/api/v1/status").contains(TEXT));
    for (rpc, answer) in call_all_of("orchestrator.v1", TASKS, |_| Vec::new()).unwrap() {
        let code = answer.err().map(|status| status.code());
        assert!(code != Some(Code::PermissionDenied), "{} is refused", rpc.name);
    }
}
