//! What the faces ask of a daemon. They are generic over it, so that their tests need no engine.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::engine::{EngineError, LogLine};
use crate::history::History;
use crate::metrics::Metrics;
use crate::plan::FieldChange;
use crate::queue;
use crate::report::{EngineView, SourceKind, SourceView, View};
use crate::resource::ResourceKey;
use crate::resource::ending::Ending;
use crate::resource::event::Actor;
use crate::resource::overall::Kept;
use crate::resource::probe::LastTry;
use crate::resource::status::Status;
use crate::store::Store;

/// Who a daemon is. Never changes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Of env-manager: `0.1.0`.
    pub version: &'static str,
    pub stack: String,
    /// Absolute.
    pub manifests: PathBuf,
    pub process_id: u32,
    pub started_at: Timestamp,
    /// `run --observe`: nothing is changed, whatever the plans say.
    pub observe_only: bool,
}

/// What there is to say beside the statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub source: SourceView,
    pub engine: EngineView,
    /// Documents that could not be applied.
    pub invalid_manifests: usize,
    /// What is wrong with the manifests, as `validate` prints it.
    pub findings: String,
    /// What no manifest describes, and is not removed.
    pub kept: Vec<Kept>,
    /// What else is worth a line: refused prunes, orphans of other folders.
    pub notes: Vec<String>,
    /// Resources that nothing asks for any more and that are about to go; `None`: not looked for yet.
    pub leaving: Option<usize>,
}

impl Context {
    /// Before anything was read or asked.
    pub fn nothing_read(identity: &Identity) -> Self {
        Self {
            source: SourceView {
                kind: SourceKind::Dir,
                location: identity.manifests.display().to_string(),
                revision: String::new(),
                short_revision: String::new(),
                error: None,
            },
            engine: EngineView::default(),
            invalid_manifests: 0,
            findings: String::new(),
            kept: Vec::new(),
            notes: Vec::new(),
            leaving: None,
        }
    }
}

/// Everything about one service.
#[derive(Clone, Debug)]
pub struct Description {
    pub status: Arc<Status>,
    /// In YAML; no values of secrets. Empty where the manifest is broken and no good one is known.
    pub spec: String,
    /// Of the manifest: `manifests/redis.yaml`. Empty where none is known.
    pub manifest: String,
    pub dependents: Vec<String>,
    pub drift: Vec<FieldChange>,
    /// As `plan` prints it; empty: nothing is to be done.
    pub plan: String,
    pub probes: Vec<LastTry>,
    /// Names on the engine.
    pub containers: Vec<String>,
    /// By call: who, and since when.
    pub suspended_by: Option<(Actor, Timestamp)>,
    pub backoff: Option<queue::Waiting<ResourceKey>>,
    /// How the last run of its container ended that went wrong.
    pub ending: Option<Ending>,
}

/// What [`Environment::sync`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Of the manifests that were read.
    pub revision: String,
    /// Services that a manifest describes.
    pub services: usize,
    /// Why something could not be looked at in time; empty: everything was.
    pub message: String,
}

/// Which lines of a service's container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub service: String,
    pub follow: bool,
    /// The last so many; `None`: all.
    pub tail: Option<u32>,
    pub since: Option<Timestamp>,
    /// Of the container of the revision that failed.
    pub failed: bool,
}

/// Why a call was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no service `{name}` in stack {stack}{hint}")]
    NoSuchService {
        name: String,
        stack: String,
        /// ` - did you mean …?`, or nothing.
        hint: String,
    },
    #[error("this daemon only observes (`run --observe`): it changes nothing")]
    ObserveOnly,
    #[error("{0}")]
    NotNow(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the daemon is ending; ask again when it is back")]
    Ending,
}

/// Everything that the faces ask.
pub trait Environment: Clone + Send + Sync + 'static {
    fn identity(&self) -> &Identity;

    /// Of every resource. Follow it with `subscribe` and `since`.
    fn statuses(&self) -> &Store<ResourceKey, Status>;

    /// What there is to say beside the statuses, as it changes.
    fn context(&self) -> watch::Receiver<Arc<Context>>;

    /// The whole, at one moment. Cheap.
    fn view(&self) -> View;

    fn history(&self) -> &History;

    fn metrics(&self) -> &Metrics;

    fn queue(&self) -> queue::Snapshot<ResourceKey>;

    /// `None`: no service of that name.
    fn describe(&self, service: &str) -> Option<Description>;

    /// Reads the manifests and looks at these services (none: all) now. Returns when both have been done
    /// once, or after ten seconds with a message.
    fn sync(
        &self,
        services: Vec<String>,
        allow_prune: bool,
        by: Actor,
    ) -> impl Future<Output = Result<Synced, Refusal>> + Send;

    /// Those that were not suspended before.
    fn suspend(&self, services: Vec<String>, by: Actor) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// Those that were suspended by call, and those that go on being so by their manifest.
    fn resume(
        &self,
        services: Vec<String>,
        by: Actor,
    ) -> impl Future<Output = Result<(Vec<String>, Vec<String>), Refusal>> + Send;

    /// Forgets backoff, failed pulls and refused revisions; none: of all that have failed.
    fn retry(&self, services: Vec<String>, by: Actor) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// Stops and starts containers in place.
    fn restart(&self, services: Vec<String>, by: Actor) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// Ends when the container's log does, or (following) when the container is removed.
    fn logs(
        &self,
        query: LogQuery,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<LogLine, EngineError>>, Refusal>> + Send;

    /// Cancelled when the daemon ends: streams end then, with the code UNAVAILABLE.
    fn closing(&self) -> CancellationToken;

    /// How long callers should wait before they ask again after [`Refusal::Engine`] and [`Refusal::Ending`].
    fn retry_after(&self) -> Duration {
        Duration::from_secs(1)
    }
}
