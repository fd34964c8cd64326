//! What wakes those who follow the environment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::daemon::Environment;
use crate::daemon::environment::Context;
use crate::net::refuse::ending;
use crate::store::Revision;

/// Wakes whoever follows statuses and what stands beside them.
pub struct Wakes {
    statuses: watch::Receiver<Revision>,
    context: watch::Receiver<Arc<Context>>,
    closing: CancellationToken,
    retry_after: Duration,
}

impl Wakes {
    pub fn new<E: Environment>(environment: &E) -> Self {
        Self {
            statuses: environment.statuses().subscribe(),
            context: environment.context(),
            closing: environment.closing(),
            retry_after: environment.retry_after(),
        }
    }

    /// Call it *before* looking: what changes meanwhile wakes again.
    ///
    /// # Errors
    /// UNAVAILABLE when the daemon is ending.
    pub fn look(&mut self) -> Result<(), Status> {
        self.statuses.mark_unchanged();
        self.context.mark_unchanged();
        if self.closing.is_cancelled() { Err(ending(self.retry_after)) } else { Ok(()) }
    }

    /// Waits until there may be something to see.
    ///
    /// # Errors
    /// UNAVAILABLE when the daemon is ending.
    pub async fn changed(&mut self) -> Result<(), Status> {
        let goes_on = tokio::select! {
            biased;
            // All are cancel-safe. The end first: changes could go on for ever.
            () = self.closing.cancelled() => false,
            changed = self.statuses.changed() => changed.is_ok(),
            changed = self.context.changed() => changed.is_ok(),
        };
        if goes_on { Ok(()) } else { Err(ending(self.retry_after)) }
    }
}
