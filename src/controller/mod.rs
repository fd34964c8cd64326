//! The loop: the only place that knows both sides.
//!
//! One task and no pool of workers: one job per key, which holds the key's lease, any number of keys
//! at once. What is limited is engine calls (see `execute`). Facts come in as additions to the queue;
//! what they were is read afresh by the job, so no fact has to be seen for the next to be right (P1).
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | what a controller is told at its start |
//! | [`graph`] | who needs whom |
//! | `adoption` | finds the containers that are not ours and that a manifest means |
//! | [`observe`] | reads what the engine has of one resource |
//! | `reconcile` | one job: observe, plan, publish, execute the first stage, again |
//! | [`survey`] | one pass over everything that changes nothing (`plan`, `status`) |
//! | [`converge`] | runs the loop until there is nothing left to do (`apply`, `down`) |
//! | [`intent`] | what the stack should be, as it changes |
//! | [`wakes`] | why a resource is looked at |
//! | [`weather`] | whether the engine answers |
//! | `events` | what Docker says has changed |
//! | `own` | which of those events are of our own making |
//! | `revisions` | which revisions have served, and which were refused |
//! | [`asks`] | what people ask for: look now, try again, restart |
//! | `image_poll` | asks registries whether a tag has moved |
//! | `endings` | how runs ended, and what the process wrote last |
//! | `fresh` | whether what is known of dependencies is news |
//! | `telling` | what goes into the event history and the metrics |

mod adoption;
pub mod asks;
mod clock;
pub mod converge;
mod endings;
mod events;
mod fresh;
pub mod graph;
mod image_poll;
pub mod intent;
pub mod observe;
mod own;
mod reconcile;
mod revisions;
pub mod settings;
pub mod survey;
mod telling;
pub mod wakes;
pub mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use clock::WallClock;
pub use intent::Intent;
pub use settings::Settings;

use crate::backoff::Noise;
use crate::clock::Clock;
use crate::engine::{ContainerFilter, Engine, EngineError, EngineInfo, ObjectFilter};
use crate::execute::Limits;
use crate::images::Images;
use crate::plan::prune::{OwnedResource, Prune, Refused, WhyKept, prune};
use crate::plan::{Mode, Restarts, Retry};
use crate::probe::Prober;
use crate::queue::Queue;
use crate::resource::ResourceKey;
use crate::resource::desired::{Desired, DesiredSet};
use crate::resource::key::Kind;
use crate::resource::status::Status;
use crate::state::PassedGate;
use crate::store::Store;

use graph::Graph;
use wakes::{Trigger, Wakes};
use weather::Weather;

/// How long jobs in hand may take to end after a shutdown was asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Keeps one stack converged.
pub struct Controller<E: Engine> {
    shared: Arc<Shared<E>>,
}

impl<E: Engine> Clone for Controller<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E: Engine> std::fmt::Debug for Controller<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("stack", &self.shared.settings.stack).finish_non_exhaustive()
    }
}

/// What jobs share.
struct Shared<E: Engine> {
    engine: Arc<E>,
    /// The engine is on this host. Known without asking it.
    local: bool,
    weather: Weather,
    settings: Settings,
    clock: Arc<dyn Clock>,
    queue: Queue<ResourceKey>,
    wakes: Wakes,
    desired: Store<ResourceKey, Desired>,
    status: Store<ResourceKey, Status>,
    /// Where a resource is not treated normally.
    modes: Mutex<BTreeMap<ResourceKey, Mode>>,
    /// Whose manifest is broken, however they are treated.
    frozen: Mutex<BTreeSet<ResourceKey>>,
    /// Why: the finding of a broken manifest, or who suspended it.
    whys: Mutex<BTreeMap<ResourceKey, Arc<str>>>,
    graph: RwLock<Arc<Graph>>,
    retries: Mutex<BTreeMap<ResourceKey, Retry>>,
    /// Starts of ours after crashes.
    restarts: Mutex<BTreeMap<ResourceKey, Restarts>>,
    /// By service.
    revisions: revisions::Known,
    noise: Mutex<Noise>,
    limits: Limits,
    images: Images<E>,
    prober: Prober<E>,
    observer: observe::Observer,
    recent: observe::Recent,
    seen: asks::Seen,
    endings: endings::Endings,
    fresh: fresh::Freshness,
    own: own::OwnActs,
    /// Counts reconciles: their ids.
    reconciles: AtomicU64,
    /// Nothing new is begun: who only looks need not see the end of it.
    stopping: CancellationToken,
}

/// A loop that ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("{0} ended unexpectedly")]
    TaskEnded(&'static str),
    #[error("{name} failed: {message}")]
    TaskFailed { name: &'static str, message: String },
}

impl<E: Engine> Controller<E> {
    pub fn new(engine: Arc<E>, info: EngineInfo, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let metrics = settings.metrics.clone();
        let queue = Queue::with_metrics(settings.backoff, Noise::new(settings.seed), Box::new(metrics.clone()));
        let wakes = Wakes::new(queue.clone());
        let edge = wakes.clone();
        let prober = Prober::new(Arc::clone(&engine), Arc::clone(&clock), move |key| edge.add(key, Trigger::Probe))
            .with_meter(move |key, role, passed, took| metrics.probe(&key.name, role, passed, took));
        let edge = wakes.clone();
        let images = Images::new(
            Arc::clone(&engine),
            Arc::clone(&clock),
            settings.backoff,
            Noise::new(settings.seed ^ 1),
            move |keys: &[ResourceKey]| keys.iter().for_each(|key| edge.add(key.clone(), Trigger::Image)),
        );
        let revisions = revisions::Known::new(settings.revisions.clone(), clock.now());
        let shared = Shared {
            limits: Limits::new(settings.max_concurrent_starts),
            noise: Mutex::new(Noise::new(settings.seed ^ 2)),
            engine,
            local: info.local,
            weather: Weather::new(info, clock.now()),
            settings,
            clock,
            queue,
            wakes,
            desired: Store::new(),
            status: Store::new(),
            modes: Mutex::new(BTreeMap::new()),
            frozen: Mutex::default(),
            whys: Mutex::new(BTreeMap::new()),
            graph: RwLock::new(Arc::new(Graph::default())),
            retries: Mutex::new(BTreeMap::new()),
            restarts: Mutex::new(BTreeMap::new()),
            revisions,
            images,
            prober,
            observer: observe::Observer::default(),
            recent: observe::Recent::default(),
            seen: asks::Seen::default(),
            endings: endings::Endings::default(),
            fresh: fresh::Freshness::default(),
            own: own::OwnActs::default(),
            reconciles: AtomicU64::new(1),
            stopping: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is said about each resource. Follow it with `since`.
    pub fn status(&self) -> &Store<ResourceKey, Status> {
        &self.shared.status
    }

    pub fn desired(&self) -> &Store<ResourceKey, Desired> {
        &self.shared.desired
    }

    /// Lists what our stack owns on the engine, and judges what nothing asks for.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn judge_orphans(&self, set: &DesiredSet, allow_prune: bool) -> Result<Prune, EngineError> {
        let shared = &self.shared;
        let owned = owned_resources(&*shared.engine, &shared.settings.stack).await?;
        let mut guards = shared.settings.prune;
        guards.source_is_whole &= !set.has_errors;
        guards.allowed |= allow_prune;
        let is_described = |key: &ResourceKey| set.resources.contains_key(key) || set.invalid.contains_key(key);
        let is_suspended = |key: &ResourceKey| self.is_suspended(key);
        let mut judged = prune(&owned, |key| is_described(key) || is_suspended(key), &set.source, guards);
        let left: BTreeSet<_> =
            owned.into_iter().map(|r| r.key).filter(|k| !is_described(k) && is_suspended(k)).collect();
        judged.refused.extend(left.into_iter().map(|key| Refused {
            why: WhyKept::Suspended { by: shared.why(&key).map(|w| w.to_string()).unwrap_or_default() },
            key,
        }));
        Ok(judged)
    }

    /// What is still to be removed. An orphan leaves this list when it is gone.
    fn removing(&self) -> Vec<ResourceKey> {
        lock(&self.shared.modes).iter().filter(|(_, m)| **m == Mode::Removing).map(|(k, _)| k.clone()).collect()
    }

    /// Runs that have passed their startup gate, for the next process.
    pub fn passed_gates(&self) -> BTreeMap<String, PassedGate> {
        let shared = &self.shared;
        let gate = |(key, status): (ResourceKey, Arc<Status>)| {
            let container = status.container.as_ref().filter(|c| c.running)?;
            let passed = shared.prober.state(&key, &container.id, container.started_at).started;
            let gate = PassedGate { container: container.id.clone(), started_at: container.started_at? };
            passed.then(|| (key.name.to_string(), gate))
        };
        shared.status.snapshot().into_iter().filter_map(gate).collect()
    }

    /// Runs until `shutdown`, then lets the jobs in hand finish the call they are in.
    ///
    /// # Errors
    /// Where a part of the loop ended by itself.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), ControllerError> {
        let mut parts = JoinSet::new();
        let mut jobs: JoinSet<()> = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        parts.spawn(async move {
            shared.prober.run().await;
            "the prober"
        });
        let shared = Arc::clone(&self.shared);
        parts.spawn(async move {
            shared.images.run().await;
            "the image puller"
        });
        if let Some(every) = self.shared.settings.image_poll {
            let controller = self.clone();
            parts.spawn(async move {
                controller.poll_images(every).await;
                "the poll of images"
            });
        }
        let controller = self.clone();
        parts.spawn(async move {
            controller.pump(None).await;
            "the event stream"
        });
        let result = loop {
            tokio::select! {
                // Shutdown first: whatever else is ready must not be begun.
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(ended) = parts.join_next() => break Err(match ended {
                    Ok(name) => ControllerError::TaskEnded(name),
                    Err(error) => ControllerError::TaskFailed { name: "a part of the controller", message: error.to_string() },
                }),
                // Ended jobs before new ones, so that the set stays small. A panicked job has dropped
                // its lease, and its key comes again with backoff.
                Some(ended) = jobs.join_next(), if !jobs.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a reconcile panicked; its resource is tried again");
                    }
                }
                lease = self.shared.queue.next() => match lease {
                    Some(lease) => {
                        jobs.spawn(reconcile::reconcile(Arc::clone(&self.shared), lease));
                    }
                    None => break Ok(()),
                },
            }
        };
        self.shared.queue.close();
        self.shared.stopping.cancel();
        let drain = async { while jobs.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, drain).await.is_err() {
            tracing::warn!("an engine call is still under way; what it did is seen at the next start");
        }
        parts.shutdown().await;
        result
    }
}

impl<E: Engine> Shared<E> {
    fn mode(&self, key: &ResourceKey) -> Mode {
        lock(&self.modes).get(key).copied().unwrap_or(Mode::Normal)
    }

    fn graph(&self) -> Arc<Graph> {
        Arc::clone(&self.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn salt(&self) -> String {
        format!("{:016x}", lock(&self.noise).next_u64())
    }
}

/// A panicked holder leaves these maps whole: every change to them is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything on the engine that bears the stack's label.
///
/// # Errors
/// Where the engine does not answer.
pub async fn owned_resources<E: Engine>(engine: &E, stack: &str) -> Result<Vec<OwnedResource>, EngineError> {
    let filter = ContainerFilter { stack: Some(stack.to_owned()), service: None };
    let objects = ObjectFilter::Stack(stack.to_owned());
    let (containers, networks, volumes) = tokio::try_join!(
        engine.list_containers(&filter),
        engine.list_networks(&objects),
        engine.list_volumes(&objects)
    )?;
    let containers =
        containers.into_iter().filter_map(|row| row.owner).filter(|owner| !owner.service.is_empty()).map(|owner| {
            OwnedResource { key: ResourceKey::new(Kind::Service, owner.service.as_str()), source: owner.source }
        });
    let networks =
        networks.into_iter().map(|n| OwnedResource { key: ResourceKey::network(n.name.as_str()), source: n.source });
    let volumes =
        volumes.into_iter().map(|v| OwnedResource { key: ResourceKey::volume(v.name.as_str()), source: v.source });
    Ok(containers.chain(networks).chain(volumes).collect())
}

#[cfg(test)]
mod tests;
