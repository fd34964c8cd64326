//! The task queue as `run` serves it.

use std::net::TcpListener;

use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::lease_event::Event;
use env_manager::proto::orchestrator::v1::lease_request::{Credit, Hello, Request};
use env_manager::proto::orchestrator::v1::orchestrator_service_client::OrchestratorServiceClient;
use serde_json::Value;

use crate::redis_server::RedisServer;
use crate::running::{exchange, get};
use crate::stack::{Ran, Stack, idle, soon, text};

const PASSWORD: &str = "canary-of-redis";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn p15_p20_tasks_are_served_beside_the_services_and_end_with_the_daemon() {
    let runtime = runtime();
    let Some(redis) = runtime.block_on(RedisServer::start(&["--requirepass", PASSWORD])) else { return };
    let url = redis.url().replace("redis://", &format!("redis://:{PASSWORD}@"));
    let stack = Stack::new("tasks");
    let mut command = stack.daemon_command(&["-vv"]);
    command.env("ENV_MANAGER_TASKS_ENABLED", "true").env("ENV_MANAGER_TASKS_REDIS", &url);
    let daemon = stack.daemon_of(command);
    let file = stack.daemon_file().expect("it answers");
    let (grpc, http) = (text(&file["tasksGrpc"]), text(&file["tasksHttp"]));
    soon("the queue", || get(&http, "/health").filter(|health| health.contains("\"status\":\"healthy\"")));
    let body = "{\"id\":\"a\"}";
    let request = format!(
        "POST /queue/submit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (_, answer) = exchange(std::net::TcpStream::connect(&http).unwrap(), &request).unwrap();
    assert!(answer.contains("\"success\":true"), "{answer}");

    let (mut client, mut events, requests) = runtime.block_on(async {
        let mut client = OrchestratorServiceClient::connect(format!("http://{grpc}")).await.unwrap();
        let health = client.health(v1::HealthRequest {}).await.unwrap().into_inner();
        assert_eq!((health.stack.as_str(), health.version.as_str()), (stack.name(), env!("CARGO_PKG_VERSION")));
        let (send, requests) = tokio::sync::mpsc::channel(10);
        let hello = Hello { worker_id: "w".to_owned(), instance_id: "w.1".to_owned(), ..Default::default() };
        let credit = Credit { class: "cpu_short".to_owned(), add: 1 };
        for request in [Request::Hello(hello), Request::Credit(credit)] {
            send.send(v1::LeaseRequest { request: Some(request) }).await.unwrap();
        }
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let events = client.lease_tasks(requests).await.unwrap().into_inner();
        (client, events, send)
    });
    let mut next = || runtime.block_on(events.message()).unwrap().map(|event| event.event.unwrap());
    assert!(matches!(next(), Some(Event::Welcome(_))));
    let Some(Event::Lease(lease)) = next() else { panic!("no lease") };
    daemon.signal("TERM");
    assert!(matches!(next(), Some(Event::Drain(told)) if told.grace_ms > 0));
    let v1::lease_event::Lease { task_id, lease_token, .. } = lease;
    let done = v1::CompleteTaskRequest { task_id, lease_token, ..Default::default() };
    let answer = runtime.block_on(client.complete_task(done)).unwrap().into_inner().answer;
    assert_eq!(answer, i32::from(v1::Answer::Ok), "there is time for an answer");
    assert!(next().is_none());
    drop(requests);
    let log = daemon.log();
    assert_eq!(daemon.end().code(), Some(0));
    assert!(log.contains("Starting task queue on 127.0.0.1:") && log.contains("task queue ready"), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");

    let mut show = stack.command(&["config", "show", "-o", "json"]);
    show.env("ENV_MANAGER_TASKS_REDIS", &url);
    let shown = Ran::of(show).exits(0);
    assert!(!format!("{}{}", shown.out, shown.err).contains(PASSWORD), "{shown}");
    let shown: Value = shown.json();
    assert!(text(&shown["tasks.redis"]["value"]).contains(":***@"), "{shown}");
}

#[test]
fn an_address_that_is_taken_is_told_with_its_key_before_anything_is_done() {
    let stack = Stack::new("tasks-taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, key) in
        [("ORCHESTRATOR_GRPC_ADDR", "tasks.grpc_addr"), ("ORCHESTRATOR_HTTP_ADDR", "tasks.http_addr")]
    {
        let mut command = stack.daemon_command(&[]);
        command.env("ENV_MANAGER_TASKS_ENABLED", "true").env(variable, &address);
        let ended = Ran::of(command).exits(1);
        assert!(ended.err.contains(&format!("cannot serve on {address} ({key})")), "{ended}");
        assert!(ended.err.contains(&format!("Choose another address with {variable}")), "{ended}");
    }
    assert!(stack.daemon_file().is_none());
    // Off, it takes no address.
    let mut command = stack.daemon_command(&[]);
    command.env("ORCHESTRATOR_GRPC_ADDR", &address);
    let daemon = stack.daemon_of(command);
    let file = stack.daemon_file().unwrap();
    assert!(file["tasksGrpc"].is_null() && file["tasksHttp"].is_null(), "{file}");
    assert_eq!(daemon.stop(), 0);
}

/// One variable says where the daemon serves and where its clients find it.
#[test]
fn an_address_may_have_a_name_which_only_who_serves_or_connects_looks_up() {
    let stack = Stack::new("tasks-named");
    stack.describe(&[idle("web", "")]);
    let (variable, name) = ("ORCHESTRATOR_GRPC_ADDR", "nobody.invalid:50052");
    let mut command = stack.command(&["validate"]);
    command.env(variable, name);
    Ran::of(command).exits(0);
    let mut command = stack.daemon_command(&[]);
    command.env("ENV_MANAGER_TASKS_ENABLED", "true").env(variable, name);
    let ended = Ran::of(command).exits(1);
    assert!(ended.err.contains("cannot serve on nobody.invalid:50052 (tasks.grpc_addr)"), "{ended}");

    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    if std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0)).is_err() {
        return println!("not tried: this machine's name, {host}, cannot be looked up");
    }
    let mut command = stack.daemon_command(&[]);
    command.env("ENV_MANAGER_GRPC_ADDR", format!("{host}:0"));
    let daemon = stack.daemon_of(command);
    assert!(stack.daemon_file().is_some_and(|file| text(&file["grpc"]).parse::<std::net::SocketAddr>().is_ok()));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_daemon_runs_without_redis_and_says_that_tasks_are_not_taken() {
    let stack = Stack::new("tasks-away");
    stack.describe(&[idle("web", "")]);
    let mut command = stack.daemon_command(&[]);
    // A port that nobody has.
    command.env("ENV_MANAGER_TASKS_ENABLED", "true").env("ENV_MANAGER_TASKS_REDIS", "redis://127.0.0.1:1");
    let daemon = stack.daemon_of(command);
    daemon.converged();
    let http = text(&stack.daemon_file().unwrap()["tasksHttp"]);
    let health = soon("the reason", || get(&http, "/health").filter(|health| health.contains("Redis is not ready")));
    assert!(health.contains("\"status\":\"unhealthy\""), "{health}");
    soon("a line of the log", || daemon.log().contains("tasks are taken again once it is there").then_some(()));
    assert!(get(&http, "/metrics").unwrap().contains("\nenv_queue_depth 0\n"));
    assert_eq!(daemon.stop(), 0);
}
