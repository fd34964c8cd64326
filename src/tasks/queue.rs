//! The queue as a whole: what works behind the faces, and their end.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dispatch::{self, Dispatcher};
use super::hub::Hub;
use super::metered::Metered;
use super::metrics::{Moment, TaskMetrics};
use super::ready::{self, Readiness};
use super::settings::TaskSettings;
use super::store::{Depths, Submitted, TaskStore};
use super::submit::{self, Inbox, Submitter};
use super::{http, service};
use crate::clock::Clock;
use crate::net;
use crate::net::listen::{Limits, Listeners};
use crate::net::serve::ServeError;

/// Between two sweeps.
const SWEEP: Duration = Duration::from_millis(500);
/// How old what is said of the depths may be.
const FRESH: Duration = Duration::from_millis(200);
/// How long somebody who asks waits for fresh ones.
const PATIENCE: Duration = Duration::from_secs(1);
/// For answers of workers, once they have been told that the daemon ends.
const GRACE: Duration = Duration::from_secs(2);
/// For what is under way once nobody is served any more.
const LAST: Duration = Duration::from_secs(2);

/// Whose queue this is, and at which daemon.
#[derive(Clone)]
pub struct Identity {
    pub stack: String,
    /// Of env-manager.
    pub version: &'static str,
    /// As workers are told: it differs from that of every other daemon.
    pub daemon: String,
    /// For what is told as a time, and is not Redis's.
    pub clock: Arc<dyn Clock>,
}

/// Everything that a call needs. Cheap to clone; clones are one.
pub struct Queue<S>(Arc<Inner<S>>);

impl<S> Clone for Queue<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pub struct Inner<S> {
    pub store: Metered<S>,
    pub settings: TaskSettings,
    pub identity: Identity,
    pub metrics: TaskMetrics,
    pub submitter: Submitter,
    pub hub: Arc<Hub>,
    pub dispatcher: Dispatcher,
    pub readiness: watch::Receiver<Readiness>,
    /// Streams end with it.
    pub closing: CancellationToken,
    depths: tokio::sync::Mutex<Option<(Instant, Depths)>>,
    /// The same, without waiting.
    last: Mutex<Option<Depths>>,
}

impl<S> std::ops::Deref for Queue<S> {
    type Target = Inner<S>;

    fn deref(&self) -> &Inner<S> {
        &self.0
    }
}

impl<S: TaskStore> Inner<S> {
    /// As it is now; as it was last, where the store does not answer.
    pub async fn moment(&self) -> Moment {
        // One asks, the others wait for what it is told.
        let _ = timeout(PATIENCE, async {
            let mut depths = self.depths.lock().await;
            if depths.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH)
                && let Ok(now) = self.store.depths().await
            {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.clone());
                *depths = Some((Instant::now(), now));
            }
        })
        .await;
        Moment {
            depths: self.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            readiness: self.readiness.borrow().clone(),
            workers: self.dispatcher.workers(),
        }
    }
}

async fn sweep<S: TaskStore>(store: S, metrics: TaskMetrics, dispatcher: Dispatcher) {
    loop {
        match store.sweep().await {
            Ok(swept) => metrics.lapsed(swept.lapsed),
            Err(error) => tracing::debug!(%error, "the task queue cannot be swept"),
        }
        dispatcher.tick();
        sleep(SWEEP).await;
    }
}

/// What works behind the faces.
pub struct Works {
    /// Ends by itself once nobody submits any more.
    inbox: JoinSet<()>,
    /// Ends by itself once the dispatcher is closed.
    dispatch: JoinSet<()>,
    /// Goes on until it is dropped.
    rest: JoinSet<()>,
}

impl<S: TaskStore> Queue<S> {
    /// A queue, and what works for it for as long as it is kept.
    pub fn start(store: S, settings: TaskSettings, identity: Identity) -> (Self, Works) {
        let metrics = TaskMetrics::default();
        let store = Metered::new(store, metrics.clone());
        let (submitter, inbox) = submit::channel();
        let (found, readiness) = watch::channel(Readiness::default());
        let queue = Self(Arc::new(Inner {
            store: store.clone(),
            identity,
            metrics: metrics.clone(),
            submitter,
            hub: Arc::default(),
            dispatcher: Dispatcher::new(&settings),
            readiness,
            closing: CancellationToken::new(),
            depths: tokio::sync::Mutex::default(),
            last: Mutex::default(),
            settings,
        }));
        let mut works = Works { inbox: JoinSet::new(), dispatch: JoinSet::new(), rest: JoinSet::new() };
        works.inbox.spawn(queue.taking(inbox));
        works.dispatch.spawn(dispatch::run::run(queue.dispatcher.clone(), store.clone(), metrics.clone()));
        // None of these has the queue itself: submissions end with its last owner.
        let (hub, dispatcher, of_hub) = (Arc::clone(&queue.hub), queue.dispatcher.clone(), store.clone());
        works.rest.spawn(async move { hub.run(of_hub, |event| dispatcher.event(event)).await });
        works.rest.spawn(ready::follow(store.clone(), queue.settings.durability, found));
        works.rest.spawn(sweep(store, metrics, queue.dispatcher.clone()));
        (queue, works)
    }

    fn taking(&self, inbox: Inbox) -> impl Future<Output = ()> + Send + 'static {
        let (dispatcher, metrics) = (self.dispatcher.clone(), self.metrics.clone());
        submit::run(self.store.clone(), inbox, move |tasks, outcomes| {
            for outcome in outcomes {
                metrics.submitted(outcome);
            }
            let new = tasks.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Submitted::New);
            dispatcher.arrived(new.map(|(task, _)| task.class));
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    #[error("the task queue cannot be served")]
    Grpc(#[from] ServeError),
    #[error("the task queue's HTTP cannot be served")]
    Http(#[from] io::Error),
}

/// Serves a queue until `shutdown`. Then workers are told, streams end, and answers of workers are taken for two
/// seconds more.
///
/// # Errors
/// None that depend on callers.
pub async fn serve<S: TaskStore>(
    queue: Queue<S>,
    mut works: Works,
    grpc: TcpListener,
    web: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), TasksError> {
    let stop = CancellationToken::new();
    let mut faces: JoinSet<Result<(), TasksError>> = JoinSet::new();
    let (routes, until) = (service::routes(queue.clone())?, stop.clone());
    faces.spawn(async move {
        let listeners = Listeners { tcp: grpc, unix: None };
        Ok(net::serve::serve(listeners, routes, until, Limits::default()).await?)
    });
    let (pages, until) = (http::router(queue.clone()), stop.clone());
    faces.spawn(async move { Ok(net::http::serve(web, pages, until).await?) });
    let result = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = faces.join_next() => ended.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())),
        // None of these ends by itself: it has panicked, and so do we.
        Some(Err(panicked)) = works.inbox.join_next() => std::panic::resume_unwind(panicked.into_panic()),
        Some(Err(panicked)) = works.dispatch.join_next() => std::panic::resume_unwind(panicked.into_panic()),
        Some(Err(panicked)) = works.rest.join_next() => std::panic::resume_unwind(panicked.into_panic()),
    };
    queue.dispatcher.close(GRACE);
    queue.closing.cancel();
    let answered = async {
        while queue.dispatcher.held() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(GRACE, answered).await;
    stop.cancel();
    while faces.join_next().await.is_some() {}
    drop(queue);
    // Submissions that nobody waits for any more, leases that are given back.
    let Works { mut inbox, mut dispatch, rest } = works;
    let _ = timeout(LAST, async { tokio::join!(inbox.join_next(), dispatch.join_next()) }).await;
    drop(rest);
    result
}
