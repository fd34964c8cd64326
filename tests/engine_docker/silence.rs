//! Engines that are not there, hang, or break off. The clock is paused: it runs on by itself whenever
//! nothing else can happen, so that a deadline of minutes passes at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use env_manager::engine::docker::Docker;
use env_manager::engine::docker::call::{Call, DEADLINES};
use env_manager::engine::docker::connect::EngineAddress;
use env_manager::engine::{ContainerFilter, Engine, EngineError, EngineInfo, ErrorKind, LogOptions};
use env_manager::resource::container::ContainerId;
use env_manager::resource::image::ImageRef;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::common::over;

struct Stub {
    socket: PathBuf,
    _dir: tempfile::TempDir,
    _serving: JoinSet<()>,
}

/// Answers `/version` rightly, and everything else by `answer`; then hangs, or hangs up.
fn stub(answer: &'static str, hangs: bool) -> Stub {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("stub.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(async move {
                let _ = serve(client, answer, hangs).await;
            });
        }
    });
    Stub { socket, _dir: dir, _serving: serving }
}

async fn serve(mut client: UnixStream, answer: &str, hangs: bool) -> std::io::Result<()> {
    let mut head = vec![0; 4096];
    let n = client.read(&mut head).await?;
    if head[..n].starts_with(b"GET /version ") {
        let body = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        return client.write_all(format!("{head}{body}").as_bytes()).await;
    }
    client.write_all(answer.as_bytes()).await?;
    if hangs {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// An engine of this version at a socket.
fn engine_at(socket: &Path, api: &'static str, seen: &Arc<Mutex<Vec<String>>>) -> JoinSet<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let seen = Arc::clone(seen);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let n = client.read(&mut head).await.unwrap_or_default();
            let line = String::from_utf8_lossy(&head[..n]).lines().next().unwrap_or_default().to_owned();
            let body = if line.starts_with("GET /version ") {
                format!(r#"{{"Version":"x","ApiVersion":"{api}","MinAPIVersion":"1.24"}}"#)
            } else {
                seen.lock().unwrap().push(line);
                "[]".to_owned()
            };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    serving
}

#[tokio::test]
async fn an_engine_that_comes_later_goes_away_and_is_exchanged_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("later.sock");
    let url = format!("unix://{}", socket.display());
    let docker = Docker::at(&EngineAddress::find(Some(&url), &|_| None).unwrap()).unwrap();
    assert_eq!(docker.known(), EngineInfo { address: url, local: true, ..EngineInfo::default() });
    let list = async || docker.list_containers(&ContainerFilter::default()).await;
    assert_eq!(list().await.unwrap_err().kind, ErrorKind::Unreachable, "before it is there");

    let seen = Arc::new(Mutex::new(Vec::new()));
    let first = engine_at(&socket, "1.41", &seen);
    list().await.unwrap();
    drop(first);
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(list().await.unwrap_err().kind, ErrorKind::Unreachable, "while it is away");

    let _second = engine_at(&socket, "1.44", &seen);
    list().await.unwrap();
    let versions: Vec<_> = seen.lock().unwrap().iter().map(|l| l[..11].to_owned()).collect();
    assert_eq!(versions, ["GET /v1.41/", "GET /v1.44/"]);
}

fn engine(stub: &Stub) -> Docker {
    over(stub.socket.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dead.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let docker = over(socket.to_str().unwrap());
    let error = docker.info().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    let address = format!("unix://{}", socket.display());
    assert_eq!(
        error.to_string(),
        format!("connect to {address}: the engine at {address} cannot be reached: connection refused")
    );
    let error = docker.start(&ContainerId::new("0123456789abcdef")).await.unwrap_err();
    assert_eq!((error.operation, error.subject.as_str()), ("start container", "0123456789ab"));
    assert_eq!(error.kind, ErrorKind::Unreachable);
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(docker.info().await.unwrap_err().kind, ErrorKind::Unreachable, "no file either");
    let first = docker.events(None).next().await.unwrap();
    assert_eq!(first.unwrap_err().kind, ErrorKind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_engine_is_given_up_at_the_deadline_of_each_call() {
    const HEADERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let id = ContainerId::new("0123456789abcdef");
    // Before the headers, and after them, where bollard's own timeout no longer holds.
    for answer in ["", HEADERS] {
        let stub = stub(answer, true);
        let docker = engine(&stub);
        docker.info().await.unwrap();
        let secs = |call| DEADLINES.iter().find(|d| d.call == call).unwrap().seconds;
        let gives_up = async |call, error: EngineError, took: Duration| {
            assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
            assert_eq!(took.as_secs(), secs(call), "{error}");
        };
        let clock = tokio::time::Instant::now;
        let begun = clock();
        let error = docker.list_containers(&ContainerFilter::default()).await.unwrap_err();
        gives_up(Call::ListContainers, error, begun.elapsed()).await;
        let begun = clock();
        let error = docker.inspect_container("web").await.unwrap_err();
        gives_up(Call::InspectContainer, error, begun.elapsed()).await;
        let begun = clock();
        let error = docker.log_tail(&id, 5).await.unwrap_err();
        gives_up(Call::LogTail, error, begun.elapsed()).await;
        let begun = clock();
        let error = docker.exec(&id, &["true".to_owned()], &[], Duration::from_secs(1)).await.unwrap_err();
        gives_up(Call::Exec, error, begun.elapsed()).await;
        let begun = clock();
        let image = ImageRef::parse("redis:7").unwrap();
        let error = docker.pull(&image, None, &|_| {}).await.unwrap_err();
        gives_up(Call::Pull, error, begun.elapsed()).await;
    }
    // A stop is given its grace first; an answer without a body is done at its headers.
    let stub = stub("", true);
    let docker = engine(&stub);
    let begun = tokio::time::Instant::now();
    let error = docker.stop(&id, Duration::from_secs(30)).await.unwrap_err();
    assert_eq!((error.kind, begun.elapsed().as_secs()), (ErrorKind::Timeout, 40));
    let begun = tokio::time::Instant::now();
    let first = docker.events(None).next().await.unwrap().unwrap_err();
    assert_eq!((first.kind, begun.elapsed().as_secs()), (ErrorKind::Timeout, 10));
    let begun = tokio::time::Instant::now();
    let mut log = docker.logs(&id, LogOptions::default());
    let first = log.next().await.unwrap().unwrap_err();
    assert_eq!((first.kind, begun.elapsed().as_secs()), (ErrorKind::Timeout, 10));
    assert!(log.next().await.is_none(), "nothing after the error");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_never_told_is_given_up_too() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("hangs.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let docker = over(socket.to_str().unwrap());
    let error = docker.start(&ContainerId::new("0123456789abcdef")).await.unwrap_err();
    assert_eq!((error.operation, error.kind), ("start container", ErrorKind::Timeout));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_breaks_off_is_unreachable_and_ends_its_streams_with_an_error() {
    let event =
        r#"{"Type":"container","Action":"start","Actor":{"ID":"1","Attributes":{}},"timeNano":1767268800123456789}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{event}\n\r\n", event.len() + 1);
    let stub = stub(answer.leak(), false);
    let docker = engine(&stub);
    let mut events = docker.events(None);
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.action.as_str(), first.cursor.as_str()), ("start", "1767268800.123456789"));
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(events.next().await.is_none(), "nothing after the error");

    let error = docker.list_containers(&ContainerFilter::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    let image = ImageRef::parse("redis:7").unwrap();
    let error = docker.pull(&image, None, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
}
