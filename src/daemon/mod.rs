//! The daemon: the controller in a loop that never ends, fed by manifests, the engine, probes and
//! resyncs; and what the faces may ask of it.
//!
//! | file | what |
//! |---|---|
//! | this one | the parts and who supervises them |
//! | [`source`] | manifests, resyncs, prunes, suspensions |
//! | [`environment`] | [`Environment`]: everything that gRPC and HTTP ask |
//! | [`handle`] | what a running daemon answers to it |

pub mod environment;
pub mod handle;
#[cfg(test)]
pub mod played;
pub mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use environment::Environment;
pub use handle::Handle;
pub use source::{Load, Reading, Rhythm};

use crate::clock::Clock;
use crate::controller::{Controller, ControllerError, Settings};
use crate::engine::{Engine, EngineInfo};
use crate::history::History;
use crate::lease::{self, Holder, LeaseError};
use crate::metrics::Metrics;
use crate::report::EngineView;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason};
use crate::state::{StateDir, Suspension};
use environment::{Context, Identity};
use source::{Command, SourceLoop};

/// Before an engine that does not answer is asked again.
const RECONNECT: Duration = Duration::from_secs(1);

/// The lease is given back within this at the end; else the next process finds it stale.
const RELEASE: Duration = Duration::from_secs(2);

/// Callers that may wait for the source loop at once.
const COMMANDS: usize = 64;

/// What a daemon is made of.
pub struct Options<E> {
    pub identity: Identity,
    pub engine: Arc<E>,
    /// As far as it is known without asking it.
    pub info: EngineInfo,
    /// `source` is filled in from the first reading.
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub load: Load,
    pub state: StateDir,
    pub rhythm: Rhythm,
    /// Who takes the stack on the engine; `None`: who only observes takes nothing.
    pub holder: Option<Holder>,
}

/// Why a daemon ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("{name} ended unexpectedly: {message}")]
    PartEnded { name: &'static str, message: String },
}

/// What the parts and the faces share.
pub(crate) struct Parts<E: Engine> {
    identity: Identity,
    engine: Arc<E>,
    controller: Controller<E>,
    clock: Arc<dyn Clock>,
    context: watch::Sender<Arc<Context>>,
    history: History,
    metrics: Metrics,
    commands: mpsc::Sender<Command>,
    closing: CancellationToken,
    /// The stack is ours: until then the engine is only looked for.
    leads: watch::Sender<bool>,
    /// Which file each key stands in.
    manifests: Mutex<BTreeMap<ResourceKey, Arc<str>>>,
    suspensions: Mutex<BTreeMap<String, Suspension>>,
    /// Answers that are waited for.
    answers: TaskTracker,
    aborts: Mutex<Vec<AbortHandle>>,
}

impl<E: Engine> Parts<E> {
    fn change_context(&self, change: impl FnOnce(&mut Context)) {
        self.context.send_if_modified(|context| {
            let mut new = (**context).clone();
            change(&mut new);
            let changed = new != **context;
            if changed {
                *context = Arc::new(new);
            }
            changed
        });
    }

    fn manifests(&self) -> MutexGuard<'_, BTreeMap<ResourceKey, Arc<str>>> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspensions(&self) -> MutexGuard<'_, BTreeMap<String, Suspension>> {
        self.suspensions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    /// Owned: ended with the daemon.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.answers.spawn(task).abort_handle();
        let mut aborts = self.aborts.lock().unwrap_or_else(PoisonError::into_inner);
        aborts.retain(|h| !h.is_finished());
        aborts.push(handle);
    }
}

/// A daemon that has read its manifests and not begun.
pub struct Daemon<E: Engine> {
    parts: Arc<Parts<E>>,
    source: SourceLoop<E>,
    commands: mpsc::Receiver<Command>,
    holder: Option<Holder>,
    resync: Duration,
}

impl<E: Engine> Daemon<E> {
    /// Reads the manifests. Nothing is asked of the engine yet.
    pub async fn start(options: Options<E>) -> Self {
        let Options { identity, engine, info, mut settings, clock, load, state, rhythm, holder } = options;
        let first = load().await;
        // For as long as the daemon runs: the folder may go away, or be a link that points elsewhere.
        settings.source.clone_from(&first.loaded.set.source);
        let (commands, received) = mpsc::channel(COMMANDS);
        let (history, metrics) = (settings.history.clone(), settings.metrics.clone());
        let now = clock.now();
        let engine_view = EngineView {
            reachable: false,
            address: info.address.clone(),
            version: info.version.clone(),
            message: "it has not been asked yet".to_owned(),
            since: now,
        };
        let controller = Controller::new(Arc::clone(&engine), info, settings, Arc::clone(&clock));
        let context = Context { engine: engine_view, ..Context::nothing_read(&identity) };
        let parts = Arc::new(Parts {
            engine,
            controller,
            clock,
            context: watch::Sender::new(Arc::new(context)),
            history,
            metrics,
            commands,
            closing: CancellationToken::new(),
            leads: watch::Sender::new(false),
            manifests: Mutex::default(),
            suspensions: Mutex::new(state.suspensions().clone()),
            answers: TaskTracker::new(),
            aborts: Mutex::default(),
            identity,
        });
        let source = SourceLoop::start(Arc::clone(&parts), state, load, rhythm, first);
        Self { parts, source, commands: received, holder, resync: rhythm.resync }
    }

    pub fn handle(&self) -> Handle<E> {
        Handle { parts: Arc::clone(&self.parts) }
    }

    /// Runs until `shutdown`; containers are kept.
    ///
    /// # Errors
    /// Another process has the stack, or a part of the daemon ended by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DaemonError> {
        let handle = self.handle();
        let Self { parts, source, commands, holder, resync } = self;
        let identity = &parts.identity;
        let started = format!("env-manager {}, process {}", identity.version, identity.process_id);
        parts.tell(None, EventReason::DaemonStarted, started, Actor::EnvManager);

        let mut tasks: JoinSet<Ended> = JoinSet::new();
        let stop = CancellationToken::new();
        let history_stop = CancellationToken::new();
        let (it, token) = (Arc::clone(&parts), stop.clone());
        let me = holder.clone();
        tasks.spawn(async move { ("the controller", lead(&it, me.as_ref(), resync, token).await) });
        let token = stop.clone();
        tasks.spawn(async move {
            source.run(commands, token).await;
            ("the source", Ok(()))
        });
        let it = Arc::clone(&parts);
        tasks.spawn(async move { ("the engine's weather", follow_weather(&it).await) });
        let it = handle.clone();
        tasks.spawn(async move { ("the measure of convergence", measure(&it).await) });
        let (history, token) = (parts.history.clone(), history_stop.clone());
        tasks.spawn(async move {
            history.run(token).await;
            ("the history", Ok(()))
        });

        // Those whose end is waited for: they finish the call in hand, and save.
        let mut left = vec!["the controller", "the source"];
        let result = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            // Nobody asked it to.
            ended = tasks.join_next() => {
                if let Some(Ok((name, _))) = &ended {
                    left.retain(|n| n != name);
                }
                Err(ended_early(ended))
            }
        };
        info!("stopping; containers keep running");
        parts.tell(None, EventReason::DaemonStopping, "containers keep running".to_owned(), Actor::EnvManager);
        // Streams end first, so that nobody waits for what will not come.
        parts.closing.cancel();
        stop.cancel();
        for handle in parts.aborts.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            handle.abort();
        }
        while !left.is_empty()
            && let Some(ended) = tasks.join_next().await
        {
            match ended {
                Ok((name, _)) => left.retain(|n| *n != name),
                // One that panicked is none that is waited for twice.
                Err(_) => break,
            }
        }
        if let Some(me) = holder.filter(|_| parts.leads()) {
            let release = lease::release(&*parts.engine, &parts.identity.stack, &me);
            if tokio::time::timeout(RELEASE, release).await.is_err() {
                warn!("the engine did not take the lease back in time; the next start finds it stale");
            }
        }
        // Last, so that it holds what was told until now.
        history_stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            if matches!(ended, Ok(("the history", _))) {
                break;
            }
        }
        tasks.shutdown().await;
        result
    }
}

/// A part's name, and how it ended.
type Ended = (&'static str, Result<(), DaemonError>);

fn ended_early(ended: Option<Result<Ended, JoinError>>) -> DaemonError {
    match ended {
        Some(Ok((_, Err(error)))) => error,
        Some(Ok((name, Ok(())))) => DaemonError::PartEnded { name, message: "it says nothing".to_owned() },
        Some(Err(error)) => DaemonError::PartEnded { name: "a part of the daemon", message: error.to_string() },
        None => DaemonError::PartEnded { name: "every part", message: "nothing runs".to_owned() },
    }
}

/// Waits for the engine, takes the stack, and keeps it converged.
async fn lead<E: Engine>(
    parts: &Arc<Parts<E>>,
    holder: Option<&Holder>,
    resync: Duration,
    shutdown: CancellationToken,
) -> Result<(), DaemonError> {
    let begin = async {
        let info = loop {
            match parts.engine.info().await {
                Ok(info) => break info,
                Err(error) => parts.controller.is_away(&error),
            }
            sleep(RECONNECT).await;
        };
        let Some(me) = holder else { return Ok::<_, DaemonError>(info) };
        loop {
            match lease::take(&*parts.engine, &parts.identity.stack, me, false).await {
                Ok(_) => return Ok(info),
                Err(LeaseError::Engine(error)) => parts.controller.is_away(&error),
                Err(error) => return Err(error.into()),
            }
            sleep(RECONNECT).await;
        }
    };
    let info = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        reached = begin => reached?,
    };
    info!("✓ Docker connection successful");
    parts.leads.send_replace(true);
    parts.controller.is_there(&info);
    let keep = async {
        match holder {
            Some(me) => keep_lease(parts, me, resync).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // The loop first: its end is what is waited for. Dropped in the middle, the other has changed nothing
        // but, at most, the lease itself.
        biased;
        ended = parts.controller.run(shutdown) => Ok(ended?),
        lost = keep => Err(lost.into()),
    }
}

/// Looks after the lease; it may go with `docker volume prune`. Ends when somebody else has the stack.
async fn keep_lease<E: Engine>(parts: &Parts<E>, me: &Holder, resync: Duration) -> LeaseError {
    let stack = &parts.identity.stack;
    loop {
        sleep(resync).await;
        match lease::look(&*parts.engine, stack).await {
            Ok(Some(holder)) if holder == *me => continue,
            // An engine that is away is found out by others.
            Err(LeaseError::Engine(_)) => continue,
            Ok(_) | Err(_) => {}
        }
        match lease::take(&*parts.engine, stack, me, false).await {
            Ok(_) => warn!("the lease of the stack was removed; it was taken again"),
            Err(LeaseError::Engine(_)) => {}
            Err(error) => return error,
        }
    }
}

/// How long it takes to become converged again, from the first moment that it was not.
async fn measure<E: Engine>(handle: &Handle<E>) -> Result<(), DaemonError> {
    let mut statuses = handle.statuses().subscribe();
    let mut context = handle.context();
    let mut since = Some(Instant::now());
    loop {
        statuses.borrow_and_update();
        context.borrow_and_update();
        match (handle.view().is_converged(), since) {
            (true, Some(begun)) => {
                handle.metrics().converged(begun.elapsed());
                since = None;
            }
            (false, None) => since = Some(Instant::now()),
            _ => {}
        }
        let changed = tokio::select! {
            // Both are cancel-safe, and either is followed by a look at both.
            biased;
            changed = statuses.changed() => changed,
            changed = context.changed() => changed,
        };
        if changed.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Keeps what is said of the engine.
async fn follow_weather<E: Engine>(parts: &Parts<E>) -> Result<(), DaemonError> {
    let mut weather = parts.controller.weather();
    let mut leads = parts.leads.subscribe();
    loop {
        leads.borrow_and_update();
        let met = weather.borrow_and_update().clone();
        let reachable = met.away.is_none() && parts.leads();
        if reachable || met.away.is_some() {
            parts.change_context(|context| {
                context.engine = EngineView {
                    reachable,
                    address: met.info.address.clone(),
                    version: met.info.version.clone(),
                    message: met.away.clone().unwrap_or_default(),
                    since: met.since,
                };
            });
        }
        let changed = tokio::select! {
            // Both are cancel-safe, and either is followed by a look at both.
            biased;
            changed = weather.changed() => changed,
            changed = leads.changed() => changed,
        };
        if changed.is_err() {
            return std::future::pending().await;
        }
    }
}
