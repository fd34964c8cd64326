//! Who calls, and what is theirs to know.

use std::fmt;
use std::net::SocketAddr;

use tonic::{Request, Status};

/// The other end of a connection. Every request of it carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// By the daemon's unix socket; the user where the kernel tells.
    Unix(Option<u32>),
    Tcp(SocketAddr),
    /// It was gone before it could be asked.
    Unknown,
}

impl Peer {
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or(Self::Unknown)
    }

    /// On this machine.
    pub fn is_local(self) -> bool {
        match self {
            Self::Unix(_) => true,
            // A socket for both families shows IPv4 peers as `::ffff:127.0.0.1`.
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unknown => false,
        }
    }
}

/// As who called is named: `uid 1000`, `127.0.0.1`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(Some(uid)) => write!(f, "uid {uid}"),
            Self::Unix(None) => f.write_str("unix socket"),
            Self::Tcp(address) => write!(f, "{}", address.ip().to_canonical()),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// # Errors
/// PERMISSION_DENIED for callers elsewhere. `what`: the call's name.
pub fn local<T>(request: &Request<T>, what: &str) -> Result<Peer, Status> {
    let peer = Peer::of(request);
    if peer.is_local() {
        return Ok(peer);
    }
    Err(Status::permission_denied(format!(
        "{what} is only for callers on this machine: call it there, at 127.0.0.1 or by the daemon's unix socket"
    )))
}
