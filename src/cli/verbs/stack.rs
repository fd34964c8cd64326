//! What the verbs that look at a stack have in common: its manifests, its engine, its controller.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::cli::exit::{Exit, Failure};
use crate::cli::source;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::controller::{Controller, Intent, Settings, WallClock};
use crate::engine::docker::Docker;
use crate::engine::docker::connect::{ConnectError, EngineAddress};
use crate::engine::docker::credentials::Keychain;
use crate::engine::{CallMeter, Engine, EngineInfo};
use crate::history::History;
use crate::lease::{self, Holder, LeaseError};
use crate::metrics::Metrics;
use crate::plan::prune::PruneGuards;
use crate::report::{EngineView, SourceView, View};
use crate::resource::Kind;
use crate::resource::labels::SourceId;
use crate::source::revision::checkout;
use crate::source::{Completeness, Loaded, SourceRevision};
use crate::state::StateDir;

/// The manifests of a stack, read.
#[derive(Debug)]
pub struct Manifests {
    pub loaded: Loaded,
    /// For people; that of the contents until [`Self::connect`] has asked git.
    pub revision: SourceRevision,
    read_at: Instant,
}

impl Manifests {
    /// Reads them and prints what is wrong with them.
    pub fn read(session: &Session, configuration: &config::Loaded) -> Self {
        let manifests = Self::read_silently(session, configuration);
        source::report(&manifests.loaded, false, &session.terminal.err);
        manifests
    }

    /// Reads them; what is wrong with them is for the caller to say.
    pub fn read_silently(session: &Session, configuration: &config::Loaded) -> Self {
        let loaded = source::read(configuration, &session.env);
        for note in &loaded.notes {
            tracing::debug!("{note}");
        }
        let revision = SourceRevision::named(&loaded.set.revision);
        Self { loaded, revision, read_at: Instant::now() }
    }

    /// Asks git which commit they are, while the engine is connected to.
    ///
    /// # Errors
    /// As [`Stack::connect`].
    pub async fn connect(&mut self, session: &Session, config: &Config) -> Result<Stack, Failure> {
        let (stack, checkout) = tokio::join!(Stack::connect(session, config), checkout(&config.manifests));
        self.revision = SourceRevision::new(checkout, &self.loaded.set.revision);
        if let Some(note) = &self.revision.note {
            tracing::debug!("{}: {note}", config.manifests.display());
        }
        stack
    }

    /// Refuses to go on with nothing.
    ///
    /// # Errors
    /// A folder that is missing or cannot be read, or that holds no manifest: exit code 4.
    pub fn require(&self, config: &Config) -> Result<(), Failure> {
        let folder = config.manifests.display();
        let wrong = match self.loaded.completeness {
            Completeness::Whole => return Ok(()),
            // What was wrong has been printed; the others go on.
            Completeness::Unreadable if !self.loaded.set.resources.is_empty() => return Ok(()),
            Completeness::Unreadable => format!("the manifests in {folder} cannot be read; nothing was changed"),
            Completeness::Missing => {
                format!("there is no folder {folder}; nothing was changed. Name the folder with --manifests")
            }
            Completeness::Empty => format!(
                "the folder {folder} holds no manifest; nothing was changed. To remove what runs, use `env-manager down`"
            ),
        };
        Err(Failure::new(Exit::Invalid, wrong))
    }

    /// Waits until the manifests have been as they are for `delay`, and says whether they still are.
    pub async fn are_settled(&self, session: &Session, configuration: &config::Loaded, delay: Duration) -> bool {
        tokio::time::sleep_until(self.read_at + delay).await;
        source::read(configuration, &session.env).set.revision == self.loaded.set.revision
    }

    pub fn services(&self) -> impl Iterator<Item = &str> + Clone {
        let keys = self.loaded.set.resources.keys().chain(self.loaded.set.invalid.keys());
        keys.filter(|k| k.kind == Kind::Service).map(|k| &*k.name)
    }

    /// Documents that cannot be applied.
    pub fn invalid(&self) -> usize {
        source::invalid_manifests(&self.loaded)
    }
}

/// What the verbs drive.
#[cfg(not(feature = "crash-points"))]
pub type CliEngine = Docker;
#[cfg(feature = "crash-points")]
pub type CliEngine = crate::engine::crash_points::CrashPoints<Docker>;

#[cfg(not(feature = "crash-points"))]
fn engine_of(docker: Docker) -> CliEngine {
    docker
}

#[cfg(feature = "crash-points")]
fn engine_of(docker: Docker) -> CliEngine {
    CliEngine::from_env(docker)
}

/// Where the engine is. Nobody has asked it yet.
pub struct Found {
    pub engine: Arc<CliEngine>,
    pub address: EngineAddress,
}

impl Found {
    /// Finds the engine as the docker command does. `meter` is told of every call.
    ///
    /// # Errors
    /// Exit code 4: no address.
    pub fn find(session: &Session, config: &Config, meter: Option<Arc<dyn CallMeter>>) -> Result<Self, Failure> {
        let variables = |name: &str| session.env.text(name);
        let address = EngineAddress::find(config.docker_host.as_deref(), &variables).map_err(|e| not_found(&e))?;
        let mut docker = Docker::at(&address).map_err(|e| not_found(&e))?.with_keychain(Keychain::new(&variables));
        if let Some(meter) = meter {
            docker = docker.with_meter(meter);
        }
        Ok(Self { engine: Arc::new(engine_of(docker)), address })
    }
}

fn not_found(error: &ConnectError) -> Failure {
    Failure::from_error(if error.is_unreachable() { Exit::Unreachable } else { Exit::Invalid }, error)
}

/// What a controller is told. `source` is that of the manifests.
pub fn settings(
    config: &Config,
    source: SourceId,
    state: &StateDir,
    removing: Removing,
    history: History,
    metrics: Metrics,
) -> Settings {
    Settings {
        stack: config.stack.clone(),
        source,
        max_concurrent_starts: config.max_concurrent_starts,
        max_attempts: config.retry.max_attempts,
        backoff: config.retry.backoff,
        image_poll: None,
        // Whether the source was read whole is asked at each judgement.
        prune: PruneGuards {
            enabled: config.prune,
            limit_percent: config.prune_limit.0,
            source_is_whole: true,
            allowed: false,
        },
        remove_all: removing != Removing::Nothing,
        remove_volumes: matches!(removing, Removing::Stack { volumes: true, .. }),
        all_sources: matches!(removing, Removing::Stack { all_sources: true, .. }),
        files_dir: std::path::absolute(state.files_dir()).unwrap_or(state.files_dir()).display().to_string(),
        passed_gates: state.passed_gates().clone(),
        revisions: state.revisions().clone(),
        observe_only: false,
        history,
        metrics,
        seed: seed(),
    }
}

/// Of jitter and salts.
pub fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A stack with its engine.
pub struct Stack {
    pub engine: Arc<CliEngine>,
    pub info: EngineInfo,
    pub clock: Arc<WallClock>,
}

impl Stack {
    /// Finds the engine as the docker command does, and asks it who it is.
    ///
    /// # Errors
    /// Exit code 5.
    pub async fn connect(session: &Session, config: &Config) -> Result<Self, Failure> {
        let Found { engine, address } = Found::find(session, config, None)?;
        let info = match engine.info().await {
            Ok(info) => info,
            // A client's own error does not say what to do.
            Err(error) => {
                address.reach().await.map_err(|e| not_found(&e))?;
                return Err(Failure::from_error(Exit::Unreachable, &error));
            }
        };
        Ok(Self { engine, info, clock: Arc::new(WallClock::new()) })
    }

    /// Refuses where a daemon elsewhere (another host, another state directory) owns the stack on this engine.
    ///
    /// # Errors
    /// Exit code 1, naming it.
    pub async fn is_free(&self, config: &Config, what: &str) -> Result<(), Failure> {
        let me = Holder::current(what, self.clock.now());
        lease::is_free(&*self.engine, &config.stack, &me).await.map_err(|error| {
            let exit = if matches!(error, LeaseError::Engine(_)) { Exit::Unreachable } else { Exit::Error };
            Failure::from_error(exit, &error)
        })
    }

    /// A controller that knows what is desired. `removing`: of `down`, and whether volumes go too.
    pub fn controller(
        &self,
        config: &Config,
        manifests: &Manifests,
        state: &mut StateDir,
        removing: Removing,
    ) -> Controller<CliEngine> {
        let set = &manifests.loaded.set;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let history = History::in_memory(Arc::clone(&clock));
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        let settings = settings(config, set.source.clone(), state, removing, history, metrics);
        let controller = Controller::new(Arc::clone(&self.engine), self.info.clone(), settings, clock);
        let revision = Arc::from(manifests.revision.short.as_str());
        controller.set_desired(&Intent { suspended: state.suspended(), ..Intent::of(set, revision) }, state);
        controller
    }

    /// What there is to say right now.
    pub fn view(
        &self,
        config: &Config,
        controller: &Controller<CliEngine>,
        source: SourceView,
        invalid_manifests: usize,
    ) -> View {
        let known = controller.known();
        let mut statuses = controller.status().snapshot();
        statuses.retain(|key, _| known.contains(key));
        View {
            stack: config.stack.clone(),
            source,
            engine: EngineView {
                reachable: true,
                address: self.info.address.clone(),
                version: self.info.version.clone(),
                message: String::new(),
                since: self.clock.now(),
            },
            observe_only: false,
            leaving: Some(0),
            findings: String::new(),
            statuses,
            invalid_manifests,
            kept: Vec::new(),
            notes: Vec::new(),
            now: self.clock.now(),
            took: None,
        }
    }
}

/// What `down` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removing {
    Nothing,
    /// What these manifests have put into the stack.
    Stack {
        volumes: bool,
        /// What other manifests have put there, too.
        all_sources: bool,
    },
}

/// Opens the state directory of a stack.
///
/// # Errors
/// Exit code 1.
pub fn state_dir(config: &Config) -> Result<StateDir, Failure> {
    StateDir::open(config.stack_dir()).map_err(|e| Failure::from_error(Exit::Error, &e))
}
