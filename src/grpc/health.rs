//! `grpc.health.v1.Health`, for the whole and by service.
//!
//! Over the statuses themselves rather than with tonic-health's reporter: that one is told of every service by
//! a task of ours, and can be behind; this one looks when it is asked.

use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::refuse::{no_such_service, refused};
use super::wakes::Wakes;
use super::{MAX_REQUEST, MAX_RESPONSE};
use crate::daemon::Environment;
use crate::net::peer::Peer;
use crate::net::pull::{self, Places, Pull, Stream};
use crate::proto::env_manager::v1::reconciler_service_server::SERVICE_NAME;
use crate::report::serves;
use crate::resource::ResourceKey;

pub struct Healths<E> {
    environment: E,
    places: Places,
}

impl<E: Environment> Healths<E> {
    pub fn service(environment: E, places: Places) -> HealthServer<Self> {
        HealthServer::new(Self { environment, places })
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_RESPONSE)
    }
}

/// Of the whole (`""`), of the API itself (it answers), of a service.
fn serving<E: Environment>(environment: &E, name: &str) -> ServingStatus {
    let of = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    match name {
        "" => of(environment.view().is_healthy()),
        SERVICE_NAME => ServingStatus::Serving,
        name => match environment.statuses().get(&ResourceKey::service(name)) {
            Some(status) => of(serves(&status)),
            None => ServingStatus::ServiceUnknown,
        },
    }
}

#[async_trait]
impl<E: Environment> Health for Healths<E> {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let status = serving(&self.environment, &name);
        if status == ServingStatus::ServiceUnknown {
            let refusal = no_such_service(&self.environment.view(), &name);
            return Err(refused(refusal, self.environment.retry_after()));
        }
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Stream<HealthCheckResponse>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let place = self.places.take(Peer::of(&request), self.environment.retry_after())?;
        let wakes = Wakes::new(&self.environment);
        let name = request.into_inner().service;
        let watch = HealthWatch { environment: self.environment.clone(), name, wakes, sent: None };
        Ok(Response::new(pull::stream(watch, place)))
    }
}

/// Of one name, that need not be one of a service yet.
struct HealthWatch<E> {
    environment: E,
    name: String,
    wakes: Wakes,
    sent: Option<ServingStatus>,
}

impl<E: Environment> Pull for HealthWatch<E> {
    type Message = HealthCheckResponse;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        loop {
            self.wakes.look()?;
            let status = serving(&self.environment, &self.name);
            if self.sent != Some(status) {
                self.sent = Some(status);
                return Ok(Some(HealthCheckResponse { status: status.into() }));
            }
            self.wakes.changed().await?;
        }
    }
}
