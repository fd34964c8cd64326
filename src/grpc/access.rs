//! Who calls, and what is theirs to know.

use std::net::{IpAddr, SocketAddr};

use tonic::{Request, Status};

use crate::proto::env_manager::v1;
use crate::resource::event::Actor;

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

    pub fn actor(self) -> Actor {
        let ip = |ip: IpAddr| ip.to_canonical().to_string();
        Actor::Caller(match self {
            Self::Unix(Some(uid)) => format!("uid {uid}"),
            Self::Unix(None) => "unix socket".to_owned(),
            Self::Tcp(address) => ip(address.ip()),
            Self::Unknown => "unknown".to_owned(),
        })
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

/// Takes out every text that a person or program wrote, since they may name files, users and hosts; and ids of
/// containers (P16).
pub fn without_texts(convergence: &mut v1::Convergence) {
    // Exhaustive: whether a new field is for everybody is decided here.
    let v1::Convergence {
        converged: _,
        healthy: _,
        stack: _,
        source,
        services,
        resources,
        invalid_manifests: _,
        notes,
        engine,
        observe_only: _,
        time: _,
        findings,
        version: _,
    } = convergence;
    notes.clear();
    findings.clear();
    if let Some(v1::Source { kind: _, location: _, revision: _, short_revision: _, error }) = source {
        error.clear();
    }
    if let Some(v1::EngineStatus { reachable: _, address: _, version: _, message, since: _ }) = engine {
        message.clear();
    }
    services.iter_mut().for_each(service_without_texts);
    for v1::ResourceStatus { kind: _, name: _, ready: _, phase: _, reason: _, message, converged: _ } in resources {
        message.clear();
    }
}

fn service_without_texts(service: &mut v1::ServiceStatus) {
    let v1::ServiceStatus {
        name: _,
        required: _,
        ready: _,
        phase: _,
        reason: _,
        message,
        generation: _,
        observed_generation: _,
        converged: _,
        container_id,
        image: _,
        ports: _,
        stand_in: _,
        started_at: _,
        restarts: _,
        exit_code: _,
        revision: _,
        depends_on: _,
        conditions,
        next,
    } = service;
    message.clear();
    next.clear();
    container_id.clear();
    for v1::Condition { r#type: _, status: _, reason: _, message, last_transition_time: _ } in conditions {
        message.clear();
    }
}
