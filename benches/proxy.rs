//! A relay before the engine that hands every byte on, and notes when it was called and for what.
//!
//! The daemon's client opens a connection per call, so a connection is a call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::docker::{Result, error};
use crate::frame;

#[derive(Clone, Debug)]
pub struct Call {
    /// When the connection was accepted.
    pub at: Instant,
    /// `GET /v1.41/containers/json?… HTTP/1.1`
    pub line: String,
}

pub struct Proxy {
    pub socket: PathBuf,
    calls: UnboundedReceiver<Call>,
    _serving: JoinSet<()>,
}

impl Proxy {
    pub fn start(socket: PathBuf, engine: &Path) -> Result<Self> {
        let listener = UnixListener::bind(&socket).or_else(|e| error(format!("{}: {e}", socket.display())))?;
        let (sender, calls) = unbounded_channel();
        let engine: Arc<Path> = engine.into();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (at, _) = frame::now();
                let (engine, sender) = (Arc::clone(&engine), sender.clone());
                connections.spawn(async move {
                    // Whoever hangs up first ends it.
                    let _ = relay(client, &engine, at, &sender).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { socket, calls, _serving: serving })
    }

    /// What came since it was last asked.
    pub fn so_far(&mut self) -> Vec<Call> {
        std::iter::from_fn(|| self.calls.try_recv().ok()).collect()
    }

    /// Waits for the first call at or after `begin`.
    pub async fn first_after(&mut self, begin: Instant, limit: Duration) -> Result<Call> {
        let first = timeout(limit, async {
            loop {
                match self.calls.recv().await {
                    Some(call) if call.at >= begin => return Some(call),
                    Some(_) => {}
                    None => return None,
                }
            }
        });
        match first.await {
            Ok(Some(call)) => Ok(call),
            _ => error(format!("no call of the engine within {limit:?}")),
        }
    }

    /// Waits until there has been no call for so long.
    pub async fn silent_for(&mut self, pause: Duration) {
        while let Ok(Some(_)) = timeout(pause, self.calls.recv()).await {}
    }
}

async fn relay(
    mut client: UnixStream,
    engine: &Path,
    at: Instant,
    calls: &UnboundedSender<Call>,
) -> std::io::Result<()> {
    let mut upstream = UnixStream::connect(engine).await?;
    let mut head = Vec::with_capacity(1024);
    while !head.contains(&b'\n') && client.read_buf(&mut head).await? > 0 {}
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    // Nobody listens any more once the benchmark ends.
    let _ = calls.send(Call { at, line });
    upstream.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(|_| ())
}
