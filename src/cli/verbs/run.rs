//! `run`: the daemon.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Session;
use super::stack::{self, CliEngine, Found, Removing};
use crate::address::Address;
use crate::cli::exit::{Exit, Failure};
use crate::cli::progress::{LogLines, Progress, Seen};
use crate::cli::{interrupted, logging, source};
use crate::clock::Clock;
use crate::config::keys::{Key, KeyInfo};
use crate::config::{self, Config};
use crate::controller::{Settings, WallClock};
use crate::daemon::environment::Identity;
use crate::daemon::{Daemon, Environment, Handle, Load, Options, Reading, Rhythm};
use crate::engine::Engine;
use crate::grpc;
use crate::history::History;
use crate::http;
use crate::lease::{self, Holder};
use crate::metrics::Metrics;
use crate::net::listen::Listeners;
use crate::resource::Kind;
use crate::resource::labels::SourceId;
use crate::source::SourceRevision;
use crate::source::revision::checkout;
use crate::state::DaemonFile;
use crate::tasks::store::redis::RedisStore;
use crate::tasks::{self, Queue};

/// Watch manifests and engine, keep the stack converged, and serve its status; until it is told to end
///
/// Ends on SIGTERM or Ctrl-C within ten seconds; containers keep running. Goes on without Docker until it
/// is there.
#[derive(Clone, Copy, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager run\n  env-manager run --manifests ./staging --stack staging\n  env-manager run --observe"
)]
pub struct Arguments {
    /// Plan, probe and report, and change nothing
    #[arg(long)]
    pub observe: bool,
}

/// # Errors
/// What keeps it from beginning, and what ended it although nobody asked it to.
pub async fn run(session: &Session, arguments: Arguments) -> Result<Exit, Failure> {
    let configuration = Arc::new(session.load(false)?);
    let config = &configuration.config;
    logging::announce(config, true);
    if arguments.observe {
        info!("  Observing only: nothing is changed");
    }
    let failed = |e: &dyn std::error::Error| Failure::from_error(Exit::Error, e);
    let state = stack::state_dir(config)?;
    // First of all: whoever comes second must disturb nothing of the first one's.
    let _lock = state.lock("env-manager run").map_err(|e| failed(&e))?;
    let listeners = Listening::bind(config).await?;
    let store = config.tasks.enabled.then(|| RedisStore::connect(&config.tasks, &config.stack)).transpose();
    let store = store.map_err(|wrong| Failure::new(Exit::Invalid, wrong))?;

    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let found = Found::find(session, config, Some(Arc::new(metrics.clone())))?;
    let clock: Arc<dyn Clock> = Arc::new(WallClock::new());
    let history = History::open(&config.stack_dir(), Arc::clone(&clock)).map_err(|e| failed(&e))?;
    let identity = Identity {
        version: env!("CARGO_PKG_VERSION"),
        stack: config.stack.clone(),
        manifests: std::path::absolute(&config.manifests).unwrap_or_else(|_| config.manifests.clone()),
        process_id: std::process::id(),
        started_at: clock.now(),
        observe_only: arguments.observe,
    };
    let started_at = identity.started_at;
    let file = listeners.file(&identity);
    let load = loader(session, &configuration);
    let settings = stack::settings(config, SourceId::default(), &state, Removing::Nothing, history, metrics);
    logging::connecting(config);
    let daemon = Daemon::start(Options {
        settings: Settings {
            observe_only: arguments.observe,
            // A pull changes the engine.
            image_poll: config.image_poll.filter(|_| !arguments.observe),
            ..settings
        },
        engine: Arc::clone(&found.engine),
        info: found.engine.known(),
        clock: Arc::clone(&clock),
        load,
        state,
        rhythm: Rhythm { resync: config.resync, prune_delay: config.prune_delay, seed: stack::seed() },
        holder: (!arguments.observe).then(|| Holder::current("env-manager run", started_at)),
        identity,
    })
    .await;
    let handle = daemon.handle();
    let dir = config.stack_dir();
    file.write(&dir).map_err(|e| failed(&e))?;
    let tasks = store.map(|store| task_queue(store, config, clock));
    let result = serve(daemon, &handle, listeners, tasks).await;
    // Nobody looks for a daemon that is gone.
    if let Err(error) = DaemonFile::remove(&dir) {
        warn!("{error}");
    }
    result.map(|()| Exit::Done)
}

/// Where it serves.
struct Listening {
    daemon: Ports,
    tasks: Option<Ports>,
    unix: Option<UnixListener>,
    socket: Option<PathBuf>,
}

impl Listening {
    /// Binds before anything else is done: an address that is taken is found out at once.
    async fn bind(config: &Config) -> Result<Self, Failure> {
        let (grpc, http) = ((&config.grpc_addr, Key::GrpcAddr), (&config.metrics_http_addr, Key::MetricsHttpAddr));
        let daemon = Ports::bind(grpc, http).await?;
        let of = &config.tasks;
        let (grpc, http) = ((&of.grpc_addr, Key::TasksGrpcAddr), (&of.http_addr, Key::TasksHttpAddr));
        let tasks = if of.enabled { Some(Ports::bind(grpc, http).await?) } else { None };
        let dir = config.stack_dir();
        let socket = DaemonFile::socket_path(&dir);
        let unix = match &socket {
            None => None,
            Some(path) => std::fs::create_dir_all(&dir).and_then(|()| bind_socket(path)).map(Some).map_err(|e| {
                Failure::new(Exit::Error, format!("cannot serve on the socket {}: {e}", path.display()))
            })?,
        };
        Ok(Self { daemon, tasks, unix, socket })
    }

    fn file(&self, identity: &Identity) -> DaemonFile {
        DaemonFile {
            pid: identity.process_id,
            version: identity.version.to_owned(),
            stack: identity.stack.clone(),
            manifests: identity.manifests.clone(),
            grpc: Some(self.daemon.grpc_at.to_string()),
            http: Some(self.daemon.http_at.to_string()),
            socket: self.socket.clone(),
            tasks_grpc: self.tasks.as_ref().map(|tasks| tasks.grpc_at.to_string()),
            tasks_http: self.tasks.as_ref().map(|tasks| tasks.http_at.to_string()),
            started_at: identity.started_at.to_string(),
        }
    }
}

/// Where one face is served: the daemon's, or the task queue's.
struct Ports {
    grpc: TcpListener,
    http: TcpListener,
    grpc_at: SocketAddr,
    http_at: SocketAddr,
}

impl Ports {
    async fn bind(grpc: (&Address, Key), http: (&Address, Key)) -> Result<Self, Failure> {
        let (grpc, grpc_at) = bind(grpc.0, grpc.1).await?;
        let (http, http_at) = bind(http.0, http.1).await?;
        Ok(Self { grpc, http, grpc_at, http_at })
    }
}

async fn bind(address: &Address, key: Key) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = async {
        let listener = TcpListener::bind(address.to_string()).await?;
        let at = listener.local_addr()?;
        Ok::<_, io::Error>((listener, at))
    };
    bound.await.map_err(|e| {
        let hint = if e.kind() == io::ErrorKind::AddrInUse {
            "; is another env-manager running? Choose another address"
        } else {
            "; choose another address"
        };
        let KeyInfo { name, env, .. } = key.info();
        let variable = env.unwrap_or(name);
        Failure::new(Exit::Error, format!("cannot serve on {address} ({name}): {e}{hint} with {variable}"))
    })
}

/// One that an earlier daemon left behind makes way: the lock says that it is gone. Only its owner may
/// connect.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

struct Tasks {
    queue: Queue<RedisStore>,
    works: tasks::Works,
    /// Where it is kept, without a password.
    redis: String,
}

fn task_queue(store: RedisStore, config: &Config, clock: Arc<dyn Clock>) -> Tasks {
    let identity = tasks::Identity {
        stack: config.stack.clone(),
        version: env!("CARGO_PKG_VERSION"),
        // Daemons of several hosts may share a queue.
        daemon: format!("{}:{}", lease::host(), std::process::id()),
        clock,
    };
    let redis = store.address().to_owned();
    let (queue, works) = Queue::start(store, config.tasks.clone(), identity);
    Tasks { queue, works, redis }
}

/// Reads the manifests, away from the threads that serve: files may be many, or on a slow disk.
fn loader(session: &Session, configuration: &Arc<config::Loaded>) -> Load {
    let (env, configuration) = (session.env.clone(), Arc::clone(configuration));
    Arc::new(move || {
        let (env, configuration) = (env.clone(), Arc::clone(&configuration));
        Box::pin(async move {
            let manifests = configuration.config.manifests.clone();
            let checkout = checkout(&manifests);
            let for_reading = Arc::clone(&configuration);
            let reading = tokio::task::spawn_blocking(move || source::read(&for_reading, &env));
            let (checkout, loaded) = tokio::join!(checkout, reading);
            // Only a panic of the reader ends up here; it is one of ours, so it is passed on.
            let loaded = loaded.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
            let revision = SourceRevision::new(checkout, &loaded.set.revision);
            let view = source::view(&configuration, &loaded, &revision);
            Reading { view, invalid: source::invalid_manifests(&loaded), findings: source::findings(&loaded), loaded }
        })
    })
}

/// Runs the daemon and its faces until the first of them ends, or until somebody asks for the end.
async fn serve(
    daemon: Daemon<CliEngine>,
    handle: &Handle<CliEngine>,
    listening: Listening,
    tasks: Option<Tasks>,
) -> Result<(), Failure> {
    let Listening { daemon: Ports { grpc, http, grpc_at, http_at }, tasks: tasks_at, unix, socket } = listening;
    let stop = CancellationToken::new();
    // Workers get to answer what they have, while the daemon ends.
    let closing = stop.child_token();
    let mut faces: JoinSet<Result<(), Failure>> = JoinSet::new();
    info!("🌐 Starting gRPC server on {grpc_at}");
    let (it, token) = (handle.clone(), stop.clone());
    faces.spawn(async move {
        let served = grpc::serve(Listeners { tcp: grpc, unix }, it, token).await;
        served.map_err(|e| Failure::from_error(Exit::Error, &e))
    });
    info!("📊 Starting metrics server on {http_at}");
    let (it, token) = (handle.clone(), stop.clone());
    faces.spawn(async move {
        let served = http::serve(http, it, token).await;
        served.map_err(|e| Failure::from_error(Exit::Error, &e))
    });
    if let Some((at, Tasks { queue, works, redis })) = tasks_at.zip(tasks) {
        info!("🌐 Starting task queue on {} (Redis: {redis})", at.grpc_at);
        info!("📊 Starting task metrics server on {}", at.http_at);
        let token = closing.clone();
        faces.spawn(async move {
            let served = tasks::serve(queue, works, at.grpc, at.http, token).await;
            served.map_err(|e| Failure::from_error(Exit::Error, &e))
        });
    }
    let it = handle.clone();
    let token = stop.clone();
    faces.spawn(async move {
        token.run_until_cancelled(tell(&it)).await;
        Ok(())
    });
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let running = daemon.run(shutdown.clone());
    tokio::pin!(running);
    let result = tokio::select! {
        // The daemon first: it knows best why it ends.
        biased;
        ended = &mut running => ended.map_err(|e| Failure::from_error(Exit::Error, &e)),
        Some(face) = faces.join_next() => {
            closing.cancel();
            token.cancel();
            let _ = running.await;
            face.unwrap_or_else(|e| Err(Failure::from_error(Exit::Error, &e)))
        }
        () = interrupted() => {
            closing.cancel();
            token.cancel();
            running.await.map_err(|e| Failure::from_error(Exit::Error, &e))
        }
    };
    stop.cancel();
    // Streams have ended with the daemon; what is left is cut off.
    let _ = tokio::time::timeout(FACES, async { while faces.join_next().await.is_some() {} }).await;
    faces.shutdown().await;
    if let Some(path) = socket {
        let _ = std::fs::remove_file(path);
    }
    result
}

/// How long connections may take to end.
const FACES: std::time::Duration = std::time::Duration::from_secs(5);

/// The log's lines about services.
async fn tell(handle: &Handle<CliEngine>) {
    let services = handle.view().statuses.keys().filter(|k| k.kind == Kind::Service).count();
    let mut lines = LogLines::new(services);
    let mut news = handle.statuses().subscribe();
    let mut seen = 0;
    let mut complete = false;
    loop {
        news.borrow_and_update();
        let changes;
        (seen, changes) = handle.statuses().since(seen);
        for (key, status) in changes {
            if let Some(status) = status {
                lines.update(&Seen::of(&key, &status));
            }
        }
        let view = handle.view();
        if !complete && !view.statuses.is_empty() && view.statuses.values().all(|s| s.is_converged() || s.is_stalled())
        {
            complete = true;
            lines.finish();
        }
        if news.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
