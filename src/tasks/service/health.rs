//! `grpc.health.v1.Health`: of the whole, and of the service.

use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::MAX_REQUEST;
use super::refuse::{RETRY_AFTER, ending};
use crate::net::peer::Peer;
use crate::net::pull::{self, Places, Pull, Stream};
use crate::proto::orchestrator::v1::orchestrator_service_server::SERVICE_NAME;
use crate::tasks::queue::Queue;
use crate::tasks::ready::Readiness;
use crate::tasks::store::TaskStore;

pub struct Healths<S> {
    queue: Queue<S>,
    places: Places,
}

impl<S: TaskStore> Healths<S> {
    pub fn service(queue: Queue<S>, places: Places) -> HealthServer<Self> {
        HealthServer::new(Self { queue, places }).max_decoding_message_size(MAX_REQUEST)
    }
}

/// Of the whole (`""`): tasks are taken. Of the API itself: it answers.
fn serving(readiness: &Readiness, name: &str) -> ServingStatus {
    match name {
        "" if readiness.is_ready() => ServingStatus::Serving,
        "" => ServingStatus::NotServing,
        SERVICE_NAME => ServingStatus::Serving,
        _ => ServingStatus::ServiceUnknown,
    }
}

#[async_trait]
impl<S: TaskStore> Health for Healths<S> {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match serving(&self.queue.readiness.borrow(), &request.into_inner().service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found(format!("there is no such service; there is {SERVICE_NAME}")))
            }
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = Stream<HealthCheckResponse>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let place = self.places.take(Peer::of(&request), RETRY_AFTER)?;
        let readiness = self.queue.readiness.clone();
        let watch = Watch { queue: self.queue.clone(), readiness, name: request.into_inner().service, sent: None };
        Ok(Response::new(pull::stream(watch, place)))
    }
}

struct Watch<S> {
    queue: Queue<S>,
    readiness: watch::Receiver<Readiness>,
    name: String,
    sent: Option<ServingStatus>,
}

impl<S: TaskStore> Pull for Watch<S> {
    type Message = HealthCheckResponse;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        loop {
            let status = serving(&self.readiness.borrow_and_update(), &self.name);
            if self.sent != Some(status) {
                self.sent = Some(status);
                return Ok(Some(HealthCheckResponse { status: status.into() }));
            }
            // Both are cancel-safe.
            tokio::select! {
                changed = self.readiness.changed() => changed.map_err(|_| ending())?,
                () = self.queue.closing.cancelled() => return Err(ending()),
            }
        }
    }
}
