//! Connections: how many, how long, and their end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at once; more wait to be accepted. Each may hold one answer, some 100 KiB.
pub const CONNECTIONS: usize = 128;
/// For the head of a request, and so for a connection that asks nothing.
pub const HEAD: Duration = Duration::from_secs(10);
/// For a whole connection: who reads an answer a byte at a time cannot keep others out.
pub const LIFETIME: Duration = Duration::from_mins(1);
/// For what is being answered when a connection has to end. All end within a second of a shutdown.
pub const GRACE: Duration = Duration::from_millis(800);
/// Where descriptors or memory have run out, accepting again at once would spin.
const SCARCE: Duration = Duration::from_millis(500);

/// Serves until it is told to end. Dropped, it ends all connections at once.
///
/// # Errors
/// The socket accepts no more.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    // Ended by us, too, and then without ending whatever else the caller's token is for.
    let ending = shutdown.child_token();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let end = loop {
        // Each branch is cancel-safe: nothing is accepted that is not returned.
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (slot, Ok((stream, peer))) => {
                let connection = connection(router.clone(), stream, peer, ending.clone());
                connections.spawn(async move {
                    let _slot = slot;
                    connection.await;
                });
            }
            (_, Err(error)) if is_of_one_connection(&error) => {}
            (_, Err(error)) if is_scarcity(&error) => {
                warn!("HTTP: cannot accept a connection: {error}; trying again");
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = sleep(SCARCE) => {}
                }
            }
            (_, Err(error)) => break Err(error),
        }
    };
    ending.cancel();
    while connections.join_next().await.is_some() {}
    end
}

async fn connection(router: Router, stream: TcpStream, peer: SocketAddr, ending: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(peer))));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                debug!(%peer, "HTTP: {error}");
            }
            return;
        }
        () = ending.cancelled() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    // What is not done by then is cut.
    let _ = timeout(GRACE, connection).await;
}

/// Of whoever connected and had gone again.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock)
}

/// Descriptors (of this process, of all), buffers or memory: ENFILE, EMFILE, ENOBUFS, ENOMEM.
fn is_scarcity(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12)) || error.kind() == io::ErrorKind::OutOfMemory
}
