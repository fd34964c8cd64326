//! Over real sockets, with a client that knows as much HTTP as it needs.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::played::Played;
use crate::net::http::server;
use crate::resource::status::{Condition, ConditionType, Reason, Truth};

const DEADLINE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    environment: Played,
    shutdown: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

struct Answer {
    code: u16,
    /// In lower case.
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no end of the head: {text:?}"));
        let code = head.split(' ').nth(1).and_then(|c| c.parse().ok()).expect("a status line");
        Self { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "joined by the test, or gone with its runtime")]
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (environment, shutdown) = (Played::default(), CancellationToken::new());
        let served = tokio::spawn(serve(listener, environment.clone(), shutdown.clone()));
        Self { address, environment, shutdown, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let head: String = headers.iter().flat_map(|h| [*h, "\r\n"]).collect();
        let mut stream = self.connect().await;
        let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{head}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::parse(&rest(&mut stream).await)
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &["Host: localhost"]).await
    }

    /// As somebody who is not known to be here: the tests have no other machine to ask from.
    async fn get_from_elsewhere(&self, path: &str) -> Answer {
        self.ask("GET", path, &["Host: env-manager.example"]).await
    }
}

/// All that comes until the end of the connection; nothing where it was cut.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = timeout(DEADLINE * 10, stream.read_to_end(&mut text)).await.expect("the connection stays open");
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn health_is_healthy_degraded_or_unhealthy() {
    let server = Server::start().await;
    let asked = |answer: Answer| (answer.code, answer.json()["status"].as_str().unwrap().to_owned());
    server.environment.ready("redis");
    server.environment.set_service("migrate", true, Reason::Completed, "done");
    let answer = server.get("/health").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let expected = serde_json::json!({
        "status": "healthy", "service": "env-manager", "timestamp": "2023-11-14T22:13:20.000Z"
    });
    assert_eq!(answer.json(), expected);
    server.environment.set_service("ollama", false, Reason::ProbeFailed, "refused");
    assert_eq!(asked(server.get("/health").await), (200, "degraded".to_owned()));
    server.environment.set_service("redis", true, Reason::ProbeFailed, "refused");
    assert_eq!(asked(server.get("/health").await), (503, "unhealthy".to_owned()));
    server.environment.ready("redis");
    server.environment.remove("ollama");
    server.environment.change_context(|context| context.engine.reachable = false);
    assert_eq!(asked(server.get("/health").await), (503, "unhealthy".to_owned()));
}

#[tokio::test]
async fn readiness_says_what_is_lacking_to_those_who_are_here() {
    let server = Server::start().await;
    let lively = async || assert_eq!(server.get("/livez").await.code, 200);
    assert_eq!((server.get("/readyz").await.code, server.get("/readyz").await.body), (200, "ready\n".to_owned()));
    let reason = async || {
        let here = server.get("/readyz").await;
        let elsewhere = server.get_from_elsewhere("/readyz").await;
        assert_eq!((here.code, elsewhere.code), (503, 503));
        assert_eq!(elsewhere.body, "not ready\n");
        here.body
    };
    server.environment.change_context(|context| context.leaving = None);
    assert_eq!(reason().await, "not ready: not everything on the engine has been looked at yet\n");
    server.environment.change_context(|context| context.engine.reachable = false);
    assert_eq!(reason().await, "not ready: the engine has not been asked yet\n");
    server.environment.change_context(|context| context.engine.message = "no such file".to_owned());
    assert_eq!(reason().await, "not ready: the engine does not answer: no such file\n");
    server.environment.change_context(|context| context.source.revision.clear());
    assert_eq!(reason().await, "not ready: the manifests have not been read yet\n");
    server.environment.change_context(|context| context.source.error = Some("no such folder".to_owned()));
    assert_eq!(reason().await, "not ready: the manifests could not be read: no such folder\n");
    lively().await;
}

#[tokio::test]
async fn status_is_the_document_that_the_command_prints() {
    let server = Server::start().await;
    server.environment.ready("kafka");
    server.environment.set_service("redis", true, Reason::ProbeFailed, "connection refused");
    let all = server.get("/api/v1/status").await;
    let expected = StatusReport::new(&server.environment.view(), &[]);
    assert_eq!(all.json(), serde_json::to_value(&expected).unwrap());
    assert_eq!(all.header("content-type"), Some("application/json"));
    let names = |answer: &Answer| {
        let services = answer.json()["services"].as_array().unwrap().clone();
        services.iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&all), ["kafka", "redis"]);
    assert_eq!(names(&server.get("/api/v1/status?service=redis&x=y").await), ["redis"]);
    assert_eq!(names(&server.get("/api/v1/status?service=redis&service=kafka").await), ["kafka", "redis"]);
    assert_eq!(names(&server.get("/api/v1/status?service=").await), ["kafka", "redis"]);
    let lost = server.get("/api/v1/status?service=radis").await;
    assert_eq!((lost.code, &*lost.body), (404, "there is no service `radis` in stack default\n"));
    assert_eq!(
        server.get("/api/v1/status?service=%3Cscript%3E").await.body,
        "there is no service `?` in stack default\n"
    );
}

#[tokio::test]
async fn p16_callers_elsewhere_get_no_texts_and_no_ids() {
    let server = Server::start().await;
    let text = "a-text-that-somebody-wrote";
    let mut status = crate::daemon::played::status("redis", true, Reason::CrashLoop, text);
    status.conditions.push(Condition {
        kind: ConditionType::Stalled,
        status: Truth::True,
        reason: Reason::CrashLoop,
        message: text.to_owned(),
        last_transition: crate::clock::Timestamp(0),
    });
    server.environment.statuses.set(&ResourceKey::service("redis"), Some(status.clone()));
    server.environment.statuses.set(&ResourceKey::network("env-manager"), Some(status));
    server.environment.change_context(|context| {
        context.notes = vec![text.to_owned()];
        context.findings = text.to_owned();
        context.source.error = Some(text.to_owned());
        context.engine.message = text.to_owned();
    });
    let secrets = [text, "redis-0123456789abcdef"];
    let here = server.get("/api/v1/status").await;
    assert!(secrets.iter().all(|s| here.body.contains(s)), "{}", here.body);
    assert!(here.json()["services"][0]["next"].is_string());
    let by_proxy = server.ask("GET", "/api/v1/status", &["Host: localhost", "X-Forwarded-For: 192.0.2.1"]).await;
    for elsewhere in [server.get_from_elsewhere("/api/v1/status").await, by_proxy] {
        assert_eq!(elsewhere.code, 200);
        assert!(!secrets.iter().any(|s| elsewhere.body.contains(s)), "{}", elsewhere.body);
        let report = elsewhere.json();
        let service = &report["services"][0];
        assert_eq!((&service["phase"], &service["reason"]), (&"BackOff".into(), &"CrashLoop".into()));
        assert!(service["next"].is_null());
        // That there is an error is no secret.
        assert_eq!((&report["source"]["error"], &report["engine"]["error"]), (&"".into(), &"".into()));
    }
}

#[tokio::test]
async fn metrics_are_written_as_the_scraper_asks() {
    let server = Server::start().await;
    server.environment.ready("redis");
    let plain = server.get("/metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(plain.body.contains("\nenv_manager_service_ready{service=\"redis\"} 1\n"), "{}", plain.body);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let open = server.ask("GET", "/metrics", &["Host: localhost", accept]).await;
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_is() {
    let server = Server::start().await;
    let documented = include_str!("../../docs/http.md");
    let index = server.get("/").await;
    assert_eq!(index.code, 200);
    for path in index.body.lines().filter(|l| l.starts_with('/')).filter_map(|l| l.split(' ').next()) {
        assert_eq!(server.get(path).await.code, 200, "{path}");
        assert!(documented.contains(&format!("| `{path}` |")), "docs/http.md lacks {path}");
    }
    for path in ["/nothing", "/metrics/", "/api/v1", "//", "/api/v1/status/redis"] {
        let answer = server.get(path).await;
        assert_eq!((answer.code, answer.header("content-type")), (404, Some("text/plain; charset=utf-8")), "{path}");
        assert!(answer.body.contains("/metrics ") && answer.body.contains("/api/v1/status "), "{}", answer.body);
    }
}

#[tokio::test]
async fn p16_only_questions_are_answered() {
    let server = Server::start().await;
    let (full, head) = (server.get("/metrics").await, server.ask("HEAD", "/metrics", &["Host: localhost"]).await);
    assert_eq!((head.code, &*head.body), (200, ""));
    assert_eq!(head.header("content-type"), full.header("content-type"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = server.ask(method, "/api/v1/status", &["Host: localhost", "Content-Length: 0"]).await;
        assert_eq!((answer.code, answer.header("allow")), (405, Some("get,head")), "{method}");
    }
}

#[tokio::test]
async fn p16_a_body_is_not_read_and_harms_nobody() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert_eq!(server.get("/livez").await.code, 200);
}

#[tokio::test]
async fn every_answer_forbids_to_guess_and_to_keep() {
    let server = Server::start().await;
    server.environment.change_context(|context| context.engine.reachable = false);
    for path in ["/", "/metrics", "/health", "/livez", "/readyz", "/api/v1/status", "/nothing"] {
        let answer = server.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    assert_eq!(server.ask("POST", "/", &["Host: localhost"]).await.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

// The clock below stands still and jumps to the next timer whenever nothing else is left to do: no real
// second passes.

#[tokio::test(start_paused = true)]
async fn p16_who_never_ends_a_request_is_cut_off() {
    let server = Server::start().await;
    let begun = Instant::now();
    for text in ["", "GET /livez HTTP/1.1\r\nHost: loc"] {
        let mut stream = server.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert!(begun.elapsed() < 2 * server::HEAD + Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn p16_a_connection_has_an_end_however_slowly_it_asks() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let begun = Instant::now();
    let mut answers = 0;
    // One request in five seconds: never late with one.
    while stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.is_ok() {
        let mut buffer = [0; 4096];
        if stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
            answers += 1;
        } else {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(begun.elapsed() < 2 * server::LIFETIME, "it is open for ever");
    }
    assert!(answers > 5, "{answers}");
}

#[tokio::test(start_paused = true)]
async fn p16_connections_beyond_the_most_wait_until_one_ends() {
    let server = Server::start().await;
    let mut held = Vec::new();
    for _ in 0..server::CONNECTIONS {
        let mut stream = server.connect().await;
        // Answered, so accepted.
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        held.push(stream);
    }
    let mut late = server.connect().await;
    late.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut buffer = [0; 1];
    // The kernel has taken it in, we have not.
    assert!(timeout(Duration::from_secs(1), late.read(&mut buffer)).await.is_err(), "one too many is served");
    held.pop();
    assert!(rest(&mut late).await.contains("200 OK"));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_every_connection_within_a_second() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut buffer = [0; 4096];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(b"GET /livez HT").await.unwrap();
    // Asked after the others, so they have been accepted.
    assert_eq!(server.get("/livez").await.code, 200);

    let begun = Instant::now();
    server.shutdown.cancel();
    server.served.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for stream in [&mut idle, &mut silent, &mut half] {
        assert!(!rest(stream).await.contains(" 200 "));
    }
    assert!(TcpStream::connect(server.address).await.is_err(), "somebody still listens");
}
