//! Streams that make a message when there is room for one, and end when the daemon does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::access::Peer;
use super::refuse::{ending, exhausted};
use crate::daemon::Environment;
use crate::daemon::environment::Context;
use crate::store::Revision;

pub type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Streams at the same time: those of callers elsewhere cannot use up those of callers here.
const MAX_LOCAL: usize = 4_096;
const MAX_REMOTE: usize = 2_048;

/// Makes one message after the other, each from what is then the newest.
pub trait Pull: Send + 'static {
    type Message: Send + 'static;

    /// Waits until there is something to say; `None`: that was all.
    ///
    /// It is not called while the reader has no room: then nothing is made, and nothing waits.
    ///
    /// # Errors
    /// What the stream ends with.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Message>, Status>> + Send;
}

/// `place`: given back when the stream ends, or its reader goes.
pub fn stream<P: Pull>(pull: P, place: Place) -> Stream<P::Message> {
    stream::unfold(Some((pull, place)), |running| async move {
        let (mut pull, place) = running?;
        match pull.next().await {
            Ok(message) => message.map(|message| (Ok(message), Some((pull, place)))),
            Err(status) => Some((Err(status), None)),
        }
    })
    .boxed()
}

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

/// How many streams there may be.
#[derive(Clone)]
pub struct Places {
    local: Arc<Semaphore>,
    remote: Arc<Semaphore>,
}

/// The right to one stream.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(MAX_LOCAL, MAX_REMOTE)
    }
}

impl Places {
    pub fn new(local: usize, remote: usize) -> Self {
        Self { local: Arc::new(Semaphore::new(local)), remote: Arc::new(Semaphore::new(remote)) }
    }

    /// # Errors
    /// RESOURCE_EXHAUSTED where all are taken.
    pub fn take(&self, peer: Peer, retry_after: Duration) -> Result<Place, Status> {
        let places = if peer.is_local() { &self.local } else { &self.remote };
        match Arc::clone(places).try_acquire_owned() {
            Ok(permit) => Ok(Place { _permit: permit }),
            Err(_) => {
                Err(exhausted("too many streams are open; close some, or watch several services by one", retry_after))
            }
        }
    }
}
