//! An environment whose answers a test sets, and which writes down what it is told to do.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::environment::{Context, Description, Environment, Identity, LogQuery, Refusal, Synced};
use crate::clock::Timestamp;
use crate::engine::{EngineError, LogLine};
use crate::history::History;
use crate::metrics::Metrics;
use crate::queue;
use crate::report::{EngineView, SourceKind, SourceView, View};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::event::Actor;
use crate::resource::image::ImageRef;
use crate::resource::status::{About, ContainerSummary, Phase, Reason, Status, StatusDraft};
use crate::store::Store;

/// Cheap to clone; clones are one. Every part can be set at any time.
#[derive(Clone)]
pub struct Played(Arc<Parts>);

pub struct Parts {
    pub identity: Identity,
    pub statuses: Store<ResourceKey, Status>,
    pub context: watch::Sender<Arc<Context>>,
    pub history: History,
    pub metrics: Metrics,
    pub queue: Mutex<queue::Snapshot<ResourceKey>>,
    pub descriptions: Mutex<BTreeMap<String, Description>>,
    /// What `view` says the time is.
    pub now: Mutex<Timestamp>,
    /// What every command and `logs` answer, where it is set.
    pub refusal: Mutex<Option<Refusal>>,
    pub synced: Mutex<Synced>,
    /// What `resume` says of those that stay suspended.
    pub still_suspended: Mutex<Vec<String>>,
    /// What `logs` gives; followed, it then goes on without an end.
    pub lines: Mutex<Vec<Result<LogLine, EngineError>>>,
    pub commands: Mutex<Vec<Command>>,
    pub closing: CancellationToken,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Sync { services: Vec<String>, allow_prune: bool, by: Actor },
    Suspend { services: Vec<String>, by: Actor },
    Resume { services: Vec<String>, by: Actor },
    Retry { services: Vec<String>, by: Actor },
    Restart { services: Vec<String>, by: Actor },
    Logs(LogQuery),
}

impl Deref for Played {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Played {
    /// Manifests read, the engine there, no services.
    fn default() -> Self {
        let revision = "3f2a91c4b8d00112233445566778899aabbccddee".to_owned();
        let context = Context {
            source: SourceView {
                kind: SourceKind::Dir,
                location: "/srv/manifests".to_owned(),
                revision: revision.clone(),
                short_revision: "3f2a91c".to_owned(),
                error: None,
            },
            engine: EngineView {
                reachable: true,
                address: "unix:///var/run/docker.sock".to_owned(),
                version: "20.10.24".to_owned(),
                message: String::new(),
                since: Timestamp(1_000),
            },
            invalid_manifests: 0,
            findings: String::new(),
            kept: Vec::new(),
            notes: Vec::new(),
            leaving: Some(0),
        };
        let identity = Identity {
            version: "0.1.0",
            stack: "default".to_owned(),
            manifests: PathBuf::from("/srv/manifests"),
            process_id: 7,
            started_at: Timestamp(1_000),
            observe_only: false,
        };
        let queue = queue::Snapshot { depth: 0, in_flight: Vec::new(), oldest_age: None, waiting: Vec::new() };
        let (history, metrics): (History, Metrics) = Default::default();
        Self(Arc::new(Parts {
            identity,
            statuses: Store::new(),
            context: watch::Sender::new(Arc::new(context)),
            history,
            metrics,
            queue: Mutex::new(queue),
            descriptions: Mutex::default(),
            now: Mutex::new(Timestamp(1_700_000_000_000)),
            refusal: Mutex::default(),
            synced: Mutex::new(Synced { revision, services: 0, message: String::new() }),
            still_suspended: Mutex::default(),
            lines: Mutex::default(),
            commands: Mutex::default(),
            closing: CancellationToken::new(),
        }))
    }
}

impl Played {
    /// A service that is ready, or (with another reason) not.
    pub fn set_service(&self, name: &str, required: bool, reason: Reason, message: &str) {
        self.statuses.set(&ResourceKey::service(name), Some(status(name, required, reason, message)));
    }

    pub fn ready(&self, name: &str) {
        self.set_service(name, true, Reason::ProbeSucceeded, "PING answered");
    }

    pub fn remove(&self, name: &str) {
        self.statuses.set(&ResourceKey::service(name), None);
    }

    pub fn change_context(&self, change: impl FnOnce(&mut Context)) {
        self.context.send_modify(|context| change(Arc::make_mut(context)));
    }

    pub fn refuse(&self, refusal: Option<Refusal>) {
        *lock(&self.refusal) = refusal;
    }

    /// What was asked for since the last call, oldest first.
    pub fn taken(&self) -> Vec<Command> {
        std::mem::take(&mut *lock(&self.commands))
    }

    /// Writes a command down; refuses it where it was told to, or where it names what is not there.
    fn note(&self, command: Command, services: &[String]) -> Result<(), Refusal> {
        lock(&self.commands).push(command);
        if let Some(refusal) = lock(&self.refusal).clone() {
            return Err(refusal);
        }
        match services.iter().find(|name| self.statuses.get(&ResourceKey::service(name.as_str())).is_none()) {
            Some(name) => Err(Refusal::NoSuchService {
                name: name.clone(),
                stack: self.identity.stack.clone(),
                hint: String::new(),
            }),
            None => Ok(()),
        }
    }
}

/// Of a service with a running container.
pub fn status(name: &str, required: bool, reason: Reason, message: &str) -> Status {
    let ready = reason.phase() == Phase::Ready;
    let image = ImageRef::parse(&format!("{name}:1")).expect("a service's name is one of an image");
    let container = ContainerSummary {
        id: ContainerId(format!("{name}-0123456789abcdef").into()),
        name: name.to_owned(),
        image: image.clone(),
        running: true,
        started_at: Some(Timestamp(1_600_000_000_000)),
        restarts: 0,
        exit_code: None,
        revision: "3f2a91c".to_owned(),
        ports: Vec::new(),
        stand_in: None,
    };
    let draft = StatusDraft {
        ready,
        reason,
        message: message.to_owned(),
        reconciling: None,
        stalled: None,
        dependency_failing: None,
        settled: ready,
        container: Some(container),
    };
    let about =
        About { required, generation: 1, image: Some(image), depends_on: Vec::new(), revision: "3f2a91c".into() };
    Status::from_draft(draft, about, None, Timestamp(1_600_000_000_000))
}

impl Environment for Played {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn statuses(&self) -> &Store<ResourceKey, Status> {
        &self.statuses
    }

    fn context(&self) -> watch::Receiver<Arc<Context>> {
        self.context.subscribe()
    }

    fn view(&self) -> View {
        let context = self.context.borrow().clone();
        let Context { source, engine, invalid_manifests, findings, kept, notes, leaving } = (*context).clone();
        View {
            stack: self.identity.stack.clone(),
            source,
            engine,
            observe_only: self.identity.observe_only,
            findings,
            statuses: self.statuses.snapshot(),
            invalid_manifests,
            leaving,
            kept,
            notes,
            now: *lock(&self.now),
            took: None,
        }
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn queue(&self) -> queue::Snapshot<ResourceKey> {
        lock(&self.queue).clone()
    }

    fn describe(&self, service: &str) -> Option<Description> {
        if let Some(description) = lock(&self.descriptions).get(service) {
            return Some(description.clone());
        }
        let status = self.statuses.get(&ResourceKey::service(service))?;
        Some(Description {
            status,
            spec: format!("image: {service}:1\n"),
            manifest: format!("manifests/{service}.yaml"),
            dependents: Vec::new(),
            drift: Vec::new(),
            plan: String::new(),
            probes: Vec::new(),
            containers: vec![service.to_owned()],
            suspended_by: None,
            backoff: None,
            ending: None,
        })
    }

    async fn sync(&self, services: Vec<String>, allow_prune: bool, by: Actor) -> Result<Synced, Refusal> {
        self.note(Command::Sync { services: services.clone(), allow_prune, by }, &services)?;
        Ok(lock(&self.synced).clone())
    }

    async fn suspend(&self, services: Vec<String>, by: Actor) -> Result<Vec<String>, Refusal> {
        self.note(Command::Suspend { services: services.clone(), by }, &services)?;
        Ok(services)
    }

    async fn resume(&self, services: Vec<String>, by: Actor) -> Result<(Vec<String>, Vec<String>), Refusal> {
        self.note(Command::Resume { services: services.clone(), by }, &services)?;
        let still = lock(&self.still_suspended).clone();
        Ok((services, still))
    }

    async fn retry(&self, services: Vec<String>, by: Actor) -> Result<Vec<String>, Refusal> {
        self.note(Command::Retry { services: services.clone(), by }, &services)?;
        Ok(services)
    }

    async fn restart(&self, services: Vec<String>, by: Actor) -> Result<Vec<String>, Refusal> {
        self.note(Command::Restart { services: services.clone(), by }, &services)?;
        Ok(services)
    }

    async fn logs(&self, query: LogQuery) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, Refusal> {
        let follow = query.follow;
        let services = [query.service.clone()];
        self.note(Command::Logs(query), &services)?;
        let lines = stream::iter(lock(&self.lines).clone());
        Ok(if follow { lines.chain(stream::pending()).boxed() } else { lines.boxed() })
    }

    fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }
}
