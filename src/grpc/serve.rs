//! The daemon's services behind its listeners.

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::health::Healths;
use super::reconciler::Reconciler;
use crate::daemon::Environment;
use crate::net::listen::{Limits, Listeners};
use crate::net::pull::Places;
use crate::net::serve::{self, ServeError, reflected};
use crate::proto;
use crate::proto::env_manager::v1::reconciler_service_server::SERVICE_NAME;

/// Answers until `shutdown`; see [`serve::serve`]. Streams end since the environment's `closing` is cancelled too.
///
/// # Errors
/// None that depend on callers.
pub async fn serve<E: Environment>(
    listeners: Listeners,
    environment: E,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    serve_within(listeners, environment, shutdown, Limits::default(), Places::default()).await
}

pub(super) async fn serve_within<E: Environment>(
    listeners: Listeners,
    environment: E,
    shutdown: CancellationToken,
    limits: Limits,
    places: Places,
) -> Result<(), ServeError> {
    let routes = Routes::new(Reconciler::service(environment.clone(), places.clone()))
        .add_service(Healths::service(environment, places));
    serve::serve(listeners, reflected(routes, SERVICE_NAME, proto::DESCRIPTORS)?, shutdown, limits).await
}
