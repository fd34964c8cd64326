//! Connections: by TCP and by unix socket, so many at a time, and all cut off at the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::peer::Peer;

/// Open connections of one server. All servers together, HTTP's among them, stay below the 1,024 files that a
/// process may usually open. Each way has its own, so that whoever fills the port locks out nobody who comes by
/// the socket.
const MAX_TCP: usize = 256;
const MAX_UNIX: usize = 128;

/// The daemon as a whole has ten seconds.
const GRACE: Duration = Duration::from_secs(3);

/// From the accept until the other end has said that it speaks HTTP/2. Its later silence is noticed by
/// HTTP/2's own pings.
const GREETING: Duration = Duration::from_secs(10);
/// Bytes in which it does (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// After an accept that failed for want of something (files, memory).
const PAUSE: Duration = Duration::from_millis(100);

/// Where the daemon is reached.
#[derive(Debug)]
pub struct Listeners {
    pub tcp: TcpListener,
    /// Who may connect is the business of the socket file's mode. Removing the file is its maker's.
    pub unix: Option<UnixListener>,
}

/// How many connections there may be, and how long they have at the end.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub tcp: usize,
    pub unix: usize,
    /// For the first words of a connection.
    pub greeting: Duration,
    /// From the shutdown until what has not ended by itself is cut off.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tcp: MAX_TCP, unix: MAX_UNIX, greeting: GREETING, grace: GRACE }
    }
}

/// Accepts for as long as it is polled. `cut` ends every connection that came of it.
pub fn connections(
    listeners: Listeners,
    limits: Limits,
    cut: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let door = Door {
        listeners,
        tcp: Arc::new(Semaphore::new(limits.tcp)),
        unix: Arc::new(Semaphore::new(limits.unix)),
        greeting: limits.greeting,
        cut,
    };
    stream::unfold(door, |door| async move { Some((Ok(door.next().await), door)) })
}

struct Door {
    listeners: Listeners,
    tcp: Arc<Semaphore>,
    unix: Arc<Semaphore>,
    greeting: Duration,
    cut: CancellationToken,
}

impl Door {
    async fn next(&self) -> Connection {
        loop {
            match self.accept().await {
                Ok((io, peer)) => {
                    let places = if matches!(io, Io::Unix(_)) { &self.unix } else { &self.tcp };
                    // Without a place it is closed at once: that can be told from a daemon that hangs.
                    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                        tracing::warn!(?peer, "a gRPC connection is refused: too many are open");
                        continue;
                    };
                    let cut = Box::pin(self.cut.clone().cancelled_owned());
                    let greeting = Some(Greeting { left: PREFACE, deadline: Box::pin(sleep(self.greeting)) });
                    return Connection { io, peer, cut, greeting, _place: place };
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a gRPC connection; it is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<(Io, Peer)> {
        let Listeners { tcp, unix } = &self.listeners;
        let by_socket = async {
            match unix {
                Some(unix) => unix.accept().await,
                None => std::future::pending().await,
            }
        };
        // Both are cancel-safe.
        tokio::select! {
            accepted = tcp.accept() => {
                let (stream, peer) = accepted?;
                stream.set_nodelay(true)?;
                Ok((Io::Tcp(stream), Peer::Tcp(peer)))
            }
            accepted = by_socket => {
                let (stream, _) = accepted?;
                let peer = Peer::Unix(stream.peer_cred().ok().map(|who| who.uid()));
                Ok((Io::Unix(stream), peer))
            }
        }
    }
}

/// The other end is gone already; nothing is wrong here.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    // macOS says "invalid" of an option that is set on a socket whose other end is gone.
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected)
}

enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One accepted connection. Ends when it is cut, whatever it waits for: tonic serves it in a task of its own
/// that nothing else reaches.
pub struct Connection {
    io: Io,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until it is over.
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
}

/// What is to come of the preface, and by when.
struct Greeting {
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    /// Who connects and says nothing would keep a place for ever.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.greeting.as_mut().map(|greeting| greeting.deadline.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Err(io::Error::new(io::ErrorKind::TimedOut, "the caller says nothing")),
            _ => Ok(()),
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the daemon has ended")),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_cut(cx)?;
        this.poll_silence(cx)?;
        let before = into.filled().len();
        let read = match &mut this.io {
            Io::Tcp(io) => Pin::new(io).poll_read(cx, into),
            Io::Unix(io) => Pin::new(io).poll_read(cx, into),
        };
        if let Some(greeting) = &mut this.greeting {
            greeting.left = greeting.left.saturating_sub(into.filled().len() - before);
            if greeting.left == 0 {
                this.greeting = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_cut(cx)?;
        match &mut this.io {
            Io::Tcp(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Unix(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_cut(cx)?;
        match &mut this.io {
            Io::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bytes),
            Io::Unix(io) => Pin::new(io).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(io) => io.is_write_vectored(),
            Io::Unix(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Tcp(io) => Pin::new(io).poll_flush(cx),
            Io::Unix(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Io::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
