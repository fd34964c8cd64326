//! Images: one pull for all who want it.
//!
//! Level-triggered like everything else: [`Images::want`] says what a service needs for a container
//! that is to be created, as often as one likes; [`Images::leave`] says that it needs nothing any
//! more. What comes of it is an [`ImageState`], an input of `plan`. Backoff belongs to the image, so
//! that nine services on a dead registry back off once.
//!
//! | pull policy | |
//! |---|---|
//! | `IfNotPresent` | the engine is asked first; pulled if it does not have it |
//! | `Always` | pulled once from when a service begins to want it until it leaves, which is: at each create and replace. A failed pull is an error though an older image is there, as in Kubernetes |
//! | `Never` | the engine has it, or that is an error |
//!
//! | file | what |
//! |---|---|
//! | `ledger` | pure: who wants what, what is known, what is to be done next |
//! | [`poll`] | pure: which tags are asked about while services run, and what follows from the answers |
//! | `message` | pure: what people are told of a failure |

mod ledger;
mod message;
pub mod poll;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::backoff::{Backoff, Noise};
use crate::clock::Clock;
use crate::engine::{Engine, EngineError, ErrorKind};
use crate::plan::ImageWant;
use crate::resource::ResourceKey;
use crate::resource::image::{ImageRef, ImageState, PullProgress};
pub use ledger::PullId;
use ledger::{Found, Job, Ledger};

/// Pulls in flight at once. Docker itself fetches three layers at a time.
const PULLS: usize = 3;
/// Progress is worth a new status this often.
const PROGRESS: Duration = Duration::from_secs(1);

type Changed = Box<dyn Fn(&[ResourceKey]) + Send + Sync>;

/// Looks for images, and pulls them.
pub struct Images<E> {
    engine: Arc<E>,
    clock: Arc<dyn Clock>,
    changed: Changed,
    wake: Notify,
    pulls: Semaphore,
    ledger: Mutex<Ledger>,
}

/// How a job ended.
struct Ended {
    id: PullId,
    /// `None`: aborted, since nobody wants it any more.
    result: Option<Result<Found, EngineError>>,
}

impl<E: Engine> Images<E> {
    /// `changed` is called with everyone whose [`ImageState`] has changed. It must be quick; it may
    /// call back.
    pub fn new(
        engine: Arc<E>,
        clock: Arc<dyn Clock>,
        backoff: Backoff,
        noise: Noise,
        changed: impl Fn(&[ResourceKey]) + Send + Sync + 'static,
    ) -> Self {
        Self {
            engine,
            clock,
            changed: Box::new(changed),
            wake: Notify::new(),
            pulls: Semaphore::new(PULLS),
            ledger: Mutex::new(Ledger::new(backoff, noise)),
        }
    }

    /// `key` needs this image, and no other.
    pub fn want(&self, key: &ResourceKey, want: &ImageWant) {
        if self.lock().want(key, want, Instant::now()) {
            self.wake.notify_one();
        }
    }

    /// `key` needs no image any more. The last to leave ends the pull.
    pub fn leave(&self, key: &ResourceKey) {
        self.lock().leave(key);
    }

    /// Of the image that `key` wants; `Unknown` where it wants none.
    pub fn state(&self, key: &ResourceKey) -> ImageState {
        self.lock().state(key)
    }

    /// Images of the engine may have changed: looks again for all that are wanted. Pulls nothing
    /// before its time.
    pub fn refresh(&self) {
        self.lock().refresh(Instant::now());
        self.wake.notify_one();
    }

    /// Tries again at once what failed for `key`.
    pub fn retry(&self, key: &ResourceKey) {
        self.lock().retry(key, Instant::now());
        self.wake.notify_one();
    }

    /// Somebody needs it for a container that is to be created, so that it is pulled as that asks.
    pub fn is_wanted(&self, id: &PullId) -> bool {
        self.lock().is_wanted(id)
    }

    /// Pulls what a registry has under a tag that the engine may have, too.
    ///
    /// # Errors
    /// Of the pull.
    pub async fn renew(&self, id: &PullId) -> Result<(), EngineError> {
        let Ok(_permit) = self.pulls.acquire().await else { return Ok(()) };
        self.engine.pull(&id.image, id.platform.as_deref(), &|_| {}).await
    }

    /// Looks and pulls until it is dropped. Only one may run.
    pub async fn run(&self) {
        let mut jobs: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send + '_>>> = FuturesUnordered::new();
        loop {
            let next = loop {
                let now = Instant::now();
                let mut ledger = self.lock();
                match ledger.take_due(now) {
                    Ok((id, job)) => {
                        let (handle, registration) = AbortHandle::new_pair();
                        ledger.begun(&id, handle);
                        drop(ledger);
                        jobs.push(Box::pin(async move {
                            let result = Abortable::new(self.carry_out(&id, job), registration).await.ok();
                            Ended { id, result }
                        }));
                    }
                    Err(next) => break next,
                }
            };
            tokio::select! {
                biased;
                // Cancel-safe: what is not returned stays in `jobs`.
                Some(ended) = jobs.next(), if !jobs.is_empty() => self.take_in(ended),
                // Cancel-safe: a notification that is not received stays stored.
                () = self.wake.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    async fn carry_out(&self, id: &PullId, job: Job) -> Result<Found, EngineError> {
        let there = self.look(id).await?;
        if job == Job::Look || (there && job == Job::Fetch) {
            return Ok(Found { there, pulled: false });
        }
        // The permit comes first: waiting for it is nobody's failure.
        let Ok(_permit) = self.pulls.acquire().await else { return Ok(Found { there, pulled: false }) };
        let reported = Mutex::new(None::<Instant>);
        let progress = |progress: PullProgress| {
            let now = Instant::now();
            self.lock().progressed(id, progress);
            let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.is_none_or(|at| now.duration_since(at) >= PROGRESS) {
                *reported = Some(now);
                drop(reported);
                let news = self.lock().news(id);
                (self.changed)(&news);
            }
        };
        progress(PullProgress::default());
        self.engine.pull(&id.image, id.platform.as_deref(), &progress).await?;
        if self.look(id).await? {
            return Ok(Found { there: true, pulled: true });
        }
        let message = "the engine says that it is pulled, and does not have it";
        Err(EngineError::new("pull", id.image.to_string(), ErrorKind::Other, message))
    }

    /// Whether the engine has it, now.
    async fn look(&self, id: &PullId) -> Result<bool, EngineError> {
        let found = self.engine.inspect_image(id.image.as_str()).await?.map(Arc::new);
        self.lock().looked(id, found.as_ref());
        Ok(found.is_some())
    }

    fn take_in(&self, ended: Ended) {
        let Ended { id, result } = ended;
        let news = self.lock().ended(&id, result, Instant::now(), self.clock.now());
        if !news.is_empty() {
            (self.changed)(&news);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an image is called on the engine, for messages.
fn place(image: &ImageRef) -> String {
    let (name, _) = image.name_and_tag();
    let registry = image.registry();
    let path = name.strip_prefix(registry).map_or(name, |p| p.trim_start_matches('/'));
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{registry}/{folder}"),
        None if registry == "docker.io" => "docker.io/library".to_owned(),
        None => registry.to_owned(),
    }
}
