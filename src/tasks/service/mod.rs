//! `orchestrator.v1.OrchestratorService`, `grpc.health.v1.Health` and reflection.
//!
//! | file | what |
//! |---|---|
//! | [`calls`] | one answer for one question |
//! | [`lease`] | LeaseTasks |
//! | [`results`] | StreamTaskResults |
//! | [`events`] | StreamEvents |
//! | [`health`] | `grpc.health.v1` |
//! | [`convert`] | our types as messages, and back |
//! | [`refuse`] | why a call fails |

pub mod calls;
pub mod convert;
pub mod events;
pub mod health;
pub mod lease;
pub mod refuse;
pub mod results;

use tonic::service::Routes;
use tonic::{Request, Status};

use super::queue::Queue;
use super::store::TaskStore;
use crate::net::peer::Peer;
use crate::net::pull::Places;
use crate::net::serve::{ServeError, reflected};
use crate::proto;
use crate::proto::orchestrator::v1::orchestrator_service_server::{OrchestratorServiceServer, SERVICE_NAME};

/// What is taken in one message, in bytes: three MiB of tasks and what is around them.
pub const MAX_REQUEST: usize = 4 << 20;
/// What is given in one message, in bytes.
pub const MAX_RESPONSE: usize = 16 << 20;

pub struct Orchestrator<S> {
    queue: Queue<S>,
    places: Places,
}

/// # Errors
/// The description of the services cannot be read.
pub fn routes<S: TaskStore>(queue: Queue<S>) -> Result<Routes, ServeError> {
    let places = Places::default();
    let service = OrchestratorServiceServer::new(Orchestrator { queue: queue.clone(), places: places.clone() })
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_RESPONSE);
    let routes = Routes::new(service).add_service(health::Healths::service(queue, places));
    reflected(routes, SERVICE_NAME, proto::DESCRIPTORS)
}

impl<S: TaskStore> Orchestrator<S> {
    /// # Errors
    /// PERMISSION_DENIED for callers elsewhere, unless `[tasks] allow_remote`. `what`: the call's name.
    fn admit<T>(&self, request: &Request<T>, what: &str) -> Result<Peer, Status> {
        let peer = Peer::of(request);
        if peer.is_local() || self.queue.settings.allow_remote {
            return Ok(peer);
        }
        Err(Status::permission_denied(format!(
            "{what} is only for callers on this machine; `allow_remote = true` in [tasks] of the daemon lets others in"
        )))
    }
}
