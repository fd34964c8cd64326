//! `grpc.health.v1.Health/Check`, over plain HTTP/2.

use std::time::Duration;

use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::check::{Failure, connect_failure};
use super::route::Route;
use crate::resource::units::human_duration;

/// An empty `service` asks for the server as a whole.
pub(super) async fn check(route: &Route, service: &str, limit: Duration) -> Result<String, Failure> {
    let Some(authority) = route.authority() else {
        return Err(Failure { unroutable: true, ..Failure::new("the probe needs an address") });
    };
    let begun = tokio::time::Instant::now();
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|e| Failure::new(format!("{authority} is not an address: {e}")))?
        .connect_timeout(limit)
        .user_agent(concat!("env-manager/", env!("CARGO_PKG_VERSION")))
        .map_err(|e| Failure::new(e.to_string()))?;
    let channel = endpoint.connect().await.map_err(|e| match io_source(&e) {
        Some(io) => connect_failure(io, &authority),
        None => Failure::new("the peer hangs up, or does not speak gRPC"),
    })?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let status = match HealthClient::new(channel).check(request).await {
        Ok(response) => response.into_inner().status(),
        Err(status) => {
            return Err(Failure::new(match status.code() {
                Code::Unimplemented => "the server has no grpc.health.v1.Health service".to_owned(),
                Code::NotFound => format!("the server's health service does not know `{service}`"),
                // Only a failure on our side of the wire has a source; what the server says has none.
                _ if std::error::Error::source(&status).is_some() => {
                    "the peer hangs up, or does not speak gRPC".to_owned()
                }
                code => format!("health check failed: {code:?} {}", super::check::excerpt(status.message())),
            }));
        }
    };
    match status {
        ServingStatus::Serving => Ok(format!("SERVING in {}", human_duration(begun.elapsed()))),
        other => Err(Failure::new(other.as_str_name())),
    }
}

/// The error of the operating system beneath tonic's own, which only says "transport error".
fn io_source<'a>(e: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let mut next = Some(e);
    while let Some(e) = next {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        next = e.source();
    }
    None
}
