//! Streams that make a message when there is room for one, and end when the daemon does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::peer::Peer;
use super::refuse::exhausted;

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
                Err(exhausted("too many streams are open; close some, or ask for several things by one", retry_after))
            }
        }
    }
}
