//! Over real sockets, with a played environment.

mod access;
mod calls;
mod health;
mod lifetime;
#[path = "../../../tests/common/rpcs.rs"]
mod rpcs;
mod watch;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::client::{Address, Client, connect};
use super::serve::serve_within;
use crate::daemon::played::Played;
use crate::net::listen::{Limits, Listeners};
use crate::net::pull::Places;
use crate::net::serve::ServeError;

/// A served environment. Ends with the test.
struct Daemon {
    environment: Played,
    tcp: SocketAddr,
    unix: PathBuf,
    shutdown: CancellationToken,
    server: JoinSet<Result<(), ServeError>>,
    _folder: TempDir,
}

impl Daemon {
    async fn start() -> Self {
        Self::with(Limits::default(), Places::default()).await
    }

    async fn with(limits: Limits, places: Places) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let unix = folder.path().join("daemon.sock");
        // All addresses: whoever connects to one that is not loopback comes from there.
        let tcp = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let listeners = Listeners { tcp, unix: Some(UnixListener::bind(&unix).unwrap()) };
        let environment = Played::default();
        let shutdown = CancellationToken::new();
        let mut server = JoinSet::new();
        server.spawn(serve_within(listeners, environment.clone(), shutdown.clone(), limits, places));
        Self { environment, tcp: address, unix, shutdown, server, _folder: folder }
    }

    fn address(&self) -> Address {
        Address::of_listener(self.tcp)
    }

    async fn by_port(&self) -> Client {
        soon(connect(&self.address())).await.unwrap()
    }

    async fn by_socket(&self) -> Client {
        soon(connect(&Address::Unix(self.unix.clone()))).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        soon(Endpoint::from_shared(self.address().to_string()).unwrap().connect()).await.unwrap()
    }

    /// Takes in no more than HTTP/2's smallest usual windows before it is read.
    async fn narrow(&self) -> Client {
        let endpoint = Endpoint::from_shared(self.address().to_string()).unwrap();
        let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
        Client::new(soon(endpoint.connect()).await.unwrap())
    }
}

/// With a deadline that only a hang reaches.
async fn soon<F: Future>(of: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), of).await.expect("no answer within 30 s")
}

async fn message<T>(stream: &mut Streaming<T>) -> T {
    soon(stream.message()).await.unwrap().expect("the stream goes on")
}
