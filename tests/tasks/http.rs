//! What is asked by HTTP.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, soon, until};

pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub async fn ask(at: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let headers: String = headers.iter().flat_map(|h| [*h, "\r\n"]).collect();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    // Who is refused need not be heard to the end.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, head: head.to_owned(), body: body.to_owned() }
}

pub async fn get(at: SocketAddr, path: &str) -> Answer {
    ask(at, "GET", path, &["Host: localhost"], "").await
}

const JSON: [&str; 2] = ["Host: localhost", "Content-Type: application/json"];

async fn submit(rig: &Rig, body: &Value) -> Answer {
    ask(rig.daemon.http, "POST", "/queue/submit", &JSON, &body.to_string()).await
}

#[tokio::test]
async fn a_task_is_submitted_as_by_the_call() {
    let Some(rig) = Rig::new().await else { return };
    let body = json!({ "id": "a", "class": "gpu", "payload": { "b": [1, null] }, "priority": 7, "workflow_id": "w" });
    let answer = submit(&rig, &body).await;
    assert_eq!((answer.code, answer.json()), (200, json!({ "success": true, "task_id": "a", "existed": false })));
    assert_eq!(submit(&rig, &body).await.json()["existed"], true);
    let task = rig.status("a").await;
    assert_eq!((task.class.as_str(), task.priority, task.workflow_id.as_str()), ("gpu_long", 7, "w"));
    for (wrong, code) in [
        (json!({ "id": "a" }), 409),
        (json!({ "id": "no spaces" }), 400),
        (json!({ "id": "b", "class": "fpga" }), 400),
        (json!({ "id": "b", "klass": "cpu_short" }), 400),
        (json!({}), 400),
        (json!({ "id": "b", "payload": "x".repeat(1 << 20) }), 429),
        (json!({ "id": "b", "payload": "x".repeat(4 << 20) }), 413),
    ] {
        let answer = submit(&rig, &wrong).await;
        assert_eq!(answer.code, code, "{}: {}", answer.head, answer.body);
    }
    // A page in a browser could send this.
    let simple = ["Host: localhost", "Content-Type: text/plain"];
    assert_eq!(ask(rig.daemon.http, "POST", "/queue/submit", &simple, "{\"id\":\"c\"}").await.code, 415);
    let elsewhere = ["Host: evil.example", "Content-Type: application/json"];
    assert_eq!(ask(rig.daemon.http, "POST", "/queue/submit", &elsewhere, "{\"id\":\"c\"}").await.code, 403);
    assert_eq!(get(rig.daemon.http, "/queue/submit").await.code, 405);
}

#[tokio::test]
async fn the_queue_and_its_health_are_told() {
    let Some(rig) = Rig::new().await else { return };
    until("health", || async { (get(rig.daemon.http, "/health").await.code == 200).then_some(()) }).await;
    let health = get(rig.daemon.http, "/health").await.json();
    let expected = json!({ "status": "healthy", "service": "orchestrator", "version": "0.0.0",
        "timestamp": "2023-11-14T22:13:20.000Z", "redis": "ready", "durability": "always" });
    assert_eq!(health, expected);
    rig.submit("a", "cpu_long").await;
    let status = until("a task that waits", || async {
        Some(get(rig.daemon.http, "/queue/status").await.json()).filter(|s| s["classes"]["cpu_long"]["waiting"] == 1)
    })
    .await;
    assert_eq!((&status["ready"], &status["dead"], &status["workers"]), (&json!(true), &json!(0), &json!(0)));
    let documented = include_str!("../../docs/http.md");
    for line in get(rig.daemon.http, "/").await.body.lines().filter(|line| line.starts_with('/')) {
        let path = line.split(' ').next().unwrap();
        assert!(documented.contains(&format!("| `{path}` |")), "docs/http.md lacks {path}");
    }
    let lost = get(rig.daemon.http, "/nothing").await;
    assert!(lost.code == 404 && lost.body.contains("/queue/submit"), "{}", lost.body);
}

#[tokio::test]
async fn p16_somebody_elsewhere_learns_numbers_and_whether_it_is_well() {
    let Some(rig) = Rig::new().await else { return };
    let from_elsewhere = async |path| ask(rig.daemon.http, "GET", path, &["Host: queue.example"], "").await;
    assert_eq!(from_elsewhere("/metrics").await.code, 200);
    let health = from_elsewhere("/health").await.json();
    assert!(health["redis"].is_null() && health["durability"].is_null(), "{health}");
    assert_eq!(from_elsewhere("/queue/status").await.code, 403);
}
