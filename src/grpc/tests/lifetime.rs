use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt;

use super::{Daemon, message, soon};
use crate::net::listen::Limits;
use crate::net::pull::Places;
use crate::proto::env_manager::v1;
use crate::resource::status::Reason;

async fn end(daemon: &mut Daemon) {
    soon(daemon.server.join_next()).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn streams_end_with_the_daemon_and_the_port_is_free() {
    let mut daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    let mut client = daemon.by_port().await;
    let mut convergence = client.watch_convergence(v1::WatchConvergenceRequest::default()).await.unwrap().into_inner();
    let mut events = client.watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    let request = v1::ReadLogsRequest { service_name: "redis".to_owned(), follow: true, ..Default::default() };
    let mut logs = client.read_logs(request).await.unwrap().into_inner();
    message(&mut convergence).await;

    daemon.environment.closing.cancel();
    daemon.shutdown.cancel();
    let statuses = [
        soon(convergence.message()).await.unwrap_err(),
        soon(events.message()).await.unwrap_err(),
        soon(logs.message()).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the daemon is ending"));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    }
    end(&mut daemon).await;
    assert!(TcpStream::connect(("127.0.0.1", daemon.tcp.port())).await.is_err(), "it still listens");
    assert_eq!(daemon.environment.context.receiver_count(), 0, "a watcher is left");
}

#[tokio::test]
async fn who_does_not_end_is_cut_off() {
    let limits = Limits { grace: Duration::from_millis(50), ..Limits::default() };
    let mut daemon = Daemon::with(limits, Places::default()).await;
    daemon.environment.ready("redis");
    // One that would go on, one that does not read at all, and one that has said nothing yet.
    let mut client = daemon.by_port().await;
    let mut watch = client.watch_convergence(v1::WatchConvergenceRequest::default()).await.unwrap().into_inner();
    let mut narrow = daemon.narrow().await;
    let _blocked = narrow.watch_convergence(v1::WatchConvergenceRequest::default()).await.unwrap().into_inner();
    let mut silent = TcpStream::connect(("127.0.0.1", daemon.tcp.port())).await.unwrap();
    for n in 0..100 {
        let text = format!("{n} {}", "x".repeat(4_000));
        daemon.environment.set_service("redis", true, Reason::ProbeFailed, &text);
        message(&mut watch).await;
    }
    daemon.shutdown.cancel();
    end(&mut daemon).await;
    loop {
        match soon(watch.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if all were well"),
            Err(_) => break,
        }
    }
    let _ = soon(silent.read_to_end(&mut Vec::new())).await;
    // The streams themselves are gone soon after their connections.
    soon(async {
        while daemon.environment.context.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_drops_the_server_cuts_off_all() {
    let mut daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    let mut client = daemon.by_port().await;
    let mut watch = client.watch_convergence(v1::WatchConvergenceRequest::default()).await.unwrap().into_inner();
    message(&mut watch).await;
    soon(daemon.server.shutdown()).await;
    assert!(soon(watch.message()).await.is_err());
}

#[tokio::test]
async fn p16_connections_beyond_the_limit_are_closed_and_the_socket_has_its_own() {
    let daemon = Daemon::with(Limits { tcp: 1, ..Limits::default() }, Places::default()).await;
    let mut first = daemon.by_port().await;
    first.get_health(v1::GetHealthRequest {}).await.unwrap();
    let mut second = TcpStream::connect(("127.0.0.1", daemon.tcp.port())).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(second.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
    daemon.by_socket().await.get_health(v1::GetHealthRequest {}).await.unwrap();
    first.get_health(v1::GetHealthRequest {}).await.unwrap();
    drop(first);
    // Its place is free again.
    soon(async { while super::connect(&daemon.address()).await.is_err() {} }).await;
}

#[tokio::test]
async fn p16_streams_beyond_the_limit_are_refused_until_one_ends() {
    let daemon = Daemon::with(Limits::default(), Places::new(1, 1)).await;
    let mut client = daemon.by_port().await;
    let request = v1::WatchConvergenceRequest::default;
    let mut first = client.watch_convergence(request()).await.unwrap().into_inner();
    message(&mut first).await;
    let status = client.watch_convergence(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some());
    let status = client.watch_events(v1::WatchEventsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(first);
    soon(async { while client.watch_convergence(request()).await.is_err() {} }).await;
}

#[tokio::test]
async fn p16_who_connects_and_says_nothing_is_hung_up_on_and_the_others_go_on() {
    let limits = Limits { greeting: Duration::from_millis(50), ..Limits::default() };
    let daemon = Daemon::with(limits, Places::default()).await;
    daemon.environment.ready("redis");
    let mut client = daemon.by_port().await;
    let mut watch = client.watch_convergence(v1::WatchConvergenceRequest::default()).await.unwrap().into_inner();
    message(&mut watch).await;
    for words in ["", "PRI * HTTP/2.0"] {
        let mut half = TcpStream::connect(("127.0.0.1", daemon.tcp.port())).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut half, words.as_bytes()).await.unwrap();
        let _ = soon(half.read_to_end(&mut Vec::new())).await;
    }
    // Who has spoken once may be silent for as long as it likes.
    daemon.environment.set_service("redis", true, Reason::ProbeFailed, "news");
    message(&mut watch).await;
}
