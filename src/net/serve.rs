//! gRPC: one router behind all listeners, its limits and its end.

use std::pin::pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::{Request, Status};
use tonic_reflection::server::Builder;

use super::listen::{Limits, Listeners, connections};
use super::peer::local;

/// Of one connection at the same time; calls beyond wait at the caller.
const MAX_CONCURRENT_STREAMS: u32 = 2_000;
/// Bytes of a request's headers.
const MAX_HEADERS: u32 = 16 << 10;
/// Bytes that a caller may send ahead: in one call, in all of a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// After so much silence the other end is asked whether it is there; after so much more it is not.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Services that every server has beside its own.
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Until a call is answered, or a stream begins.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the description of the gRPC services cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("gRPC cannot be served")]
    Transport(#[from] tonic::transport::Error),
}

/// Answers until `shutdown`. Then nothing is accepted any more; calls may end; after the grace of `limits` what is left
/// is cut off.
///
/// Dropped before its end, it cuts off everything at once.
///
/// # Errors
/// None that depend on callers.
pub async fn serve(
    listeners: Listeners,
    routes: Routes,
    shutdown: CancellationToken,
    limits: Limits,
) -> Result<(), ServeError> {
    let cut = CancellationToken::new();
    let at_drop = cut.clone().drop_guard();
    let server = Server::builder()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .timeout(CALL_TIMEOUT)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections(listeners, limits, cut), shutdown.clone().cancelled_owned());
    let mut server = pin!(server);
    tokio::select! {
        // Polled on below where it has not ended.
        ended = &mut server => return Ok(ended?),
        () = async { shutdown.cancelled().await; tokio::time::sleep(limits.grace).await } => {}
    }
    drop(at_drop);
    Ok(server.await?)
}

/// `routes` with a description of `service`, which is among `descriptors`, and of health, for callers on this machine.
///
/// # Errors
/// The descriptors cannot be read.
pub fn reflected(routes: Routes, service: &str, descriptors: &[u8]) -> Result<Routes, ServeError> {
    let reflection = |itself: &str| {
        Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(service)
            .with_service_name(HEALTH)
            .with_service_name(itself)
    };
    Ok(routes
        .add_service(InterceptedService::new(reflection(REFLECTION).build_v1()?, only_local))
        .add_service(InterceptedService::new(reflection(REFLECTION_ALPHA).build_v1alpha()?, only_local)))
}

fn only_local(request: Request<()>) -> Result<Request<()>, Status> {
    local(&request, "reflection")?;
    Ok(request)
}
