//! A daemon as `env-manager run` makes it, but for its faces: over the simulated engine, with manifests of a
//! folder that nobody watches, since who edits them also tells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use env_manager::backoff::Backoff;
use env_manager::clock::{Clock, Timestamp};
use env_manager::controller::Settings;
use env_manager::daemon::environment::Identity;
use env_manager::daemon::{Daemon, DaemonError, Handle, Load, Options, Reading, Rhythm};
use env_manager::engine::sim::SimEngine;
use env_manager::engine::{Engine, EngineInfo};
use env_manager::history::History;
use env_manager::lease::Holder;
use env_manager::manifest::Defaults;
use env_manager::metrics::Metrics;
use env_manager::plan::prune::PruneGuards;
use env_manager::report::{SourceKind, SourceView};
use env_manager::resource::desired::DesiredSet;
use env_manager::resource::labels::SourceId;
use env_manager::source::{LoadContext, Loaded, WatchSet, dir};
use env_manager::state::StateDir;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::history::lock;

pub const STACK: &str = "sim";
pub const SOURCE: &str = "sim:/manifests";
pub const PRUNE_LIMIT: u8 = 50;
pub const RESYNC: Duration = Duration::from_mins(1);

/// What was read last, for whoever checks what is done about it.
pub type Readings = Arc<Mutex<Vec<(Instant, Arc<DesiredSet>)>>>;

/// Of which edition, and what it gave.
type LastReading = (u64, Arc<DesiredSet>, Loaded);

/// What survives the death of a daemon.
pub struct Home {
    pub folder: PathBuf,
    pub state: PathBuf,
    pub holder: Holder,
    pub seed: u64,
    /// New readings, taken out by whoever checks.
    pub readings: Readings,
    /// Counts changes of the folder.
    pub edition: Arc<AtomicU64>,
    /// The last reading, for as long as the folder is the same: reading is most of what a resync costs.
    pub last: Arc<Mutex<Option<LastReading>>>,
    pub history: History,
}

/// A daemon that runs. Dropped without [`Running::stop`] it dies as by `kill -9`.
pub struct Running {
    pub handle: Handle<SimEngine>,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), DaemonError>>,
}

impl Home {
    pub async fn start(&self, engine: &Arc<SimEngine>, clock: &Arc<dyn Clock>) -> Running {
        let state = StateDir::open(&self.state).expect("the state directory is there");
        let settings = Settings {
            stack: STACK.to_owned(),
            source: SourceId::default(),
            max_concurrent_starts: 5,
            max_attempts: 3,
            backoff: Backoff::default(),
            image_poll: None,
            prune: PruneGuards { enabled: true, limit_percent: PRUNE_LIMIT, source_is_whole: true, allowed: false },
            remove_all: false,
            remove_volumes: false,
            all_sources: false,
            files_dir: self.state.join("files").display().to_string(),
            passed_gates: state.passed_gates().clone(),
            revisions: state.revisions().clone(),
            observe_only: false,
            history: self.history.clone(),
            metrics: Metrics::new("sim"),
            seed: self.seed,
        };
        let identity = Identity {
            version: "sim",
            stack: STACK.to_owned(),
            manifests: "/manifests".into(),
            process_id: 1,
            started_at: clock.now(),
            observe_only: false,
        };
        let daemon = Daemon::start(Options {
            identity,
            engine: Arc::clone(engine),
            info: EngineInfo { local: true, ..engine.known() },
            settings,
            clock: Arc::clone(clock),
            load: self.load(),
            state,
            rhythm: Rhythm { resync: RESYNC, prune_delay: Duration::from_secs(2), seed: self.seed },
            holder: Some(self.holder.clone()),
        })
        .await;
        let handle = daemon.handle();
        let shutdown = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(daemon.run(shutdown.clone()));
        Running { handle, shutdown, task }
    }

    fn load(&self) -> Load {
        let (folder, readings) = (self.folder.clone(), Arc::clone(&self.readings));
        let (edition, last) = (Arc::clone(&self.edition), Arc::clone(&self.last));
        Arc::new(move || {
            let now = edition.load(Ordering::Relaxed);
            let mut last = last.lock().expect("nobody panics with it");
            if last.as_ref().is_none_or(|(then, _, _)| *then != now) {
                let loaded = read(&folder);
                *last = Some((now, Arc::new(loaded.set.clone()), loaded));
            }
            let (_, set, loaded) = last.as_ref().expect("it was just read");
            readings.lock().expect("nobody panics with it").push((Instant::now(), Arc::clone(set)));
            let loaded = loaded.clone();
            let reading = shown(loaded);
            Box::pin(async move { reading })
        })
    }
}

/// The folder lies elsewhere in each run; what is read does not say so.
fn read(folder: &Path) -> Loaded {
    let deadline = Duration::from_mins(1);
    let context = LoadContext {
        stack: STACK,
        defaults: Defaults { progress_deadline: deadline, startup_deadline: deadline, ..Defaults::default() },
        overrides: &[],
        variables: &|_| None,
        host: "sim",
    };
    let mut loaded = dir::load(folder, &context);
    loaded.set.source = SourceId(SOURCE.to_owned());
    loaded.watched = WatchSet::default();
    loaded
}

fn shown(loaded: Loaded) -> Reading {
    let view = SourceView {
        kind: SourceKind::Dir,
        location: "/manifests".to_owned(),
        revision: loaded.set.revision.clone(),
        short_revision: loaded.set.revision.chars().skip("sha256:".len()).take(7).collect(),
        error: loaded.errors().next().map(ToString::to_string),
    };
    let invalid = loaded.errors().count();
    Reading { loaded, view, invalid, findings: String::new() }
}

impl Running {
    /// As by SIGTERM.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.task.join_next().await.is_some() {}
    }

    /// It ended by itself, and why.
    pub fn ended(&mut self) -> Option<String> {
        match self.task.try_join_next()? {
            Ok(Ok(())) => Some("nobody asked it to".to_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Manifests as files; exactly these.
pub fn write(folder: &Path, files: Option<&BTreeMap<String, String>>) {
    let old: BTreeMap<_, _> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(Result::ok).map(|e| (e.file_name(), e.path())).collect())
        .unwrap_or_default();
    let Some(files) = files else {
        return std::fs::remove_dir_all(folder).unwrap_or_default();
    };
    std::fs::create_dir_all(folder).expect("a folder in memory");
    for (name, text) in files {
        let path = folder.join(name);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
            std::fs::write(path, text).expect("a file in memory");
        }
    }
    for (name, path) in old {
        if !files.contains_key(&*name.to_string_lossy()) {
            std::fs::remove_file(path).unwrap_or_default();
        }
    }
}

/// Of the paused clock, from a fixed date on; the system's can be set.
pub struct SimClock {
    start: Instant,
    /// Milliseconds.
    pub ahead: AtomicI64,
    pub was_set: AtomicBool,
    asked: Mutex<Asked>,
    bell: Notify,
}

/// How often for the time: at this moment, at most at any one, and in all.
struct Asked {
    at: Instant,
    now: u64,
    most: u64,
    all: u64,
}

/// Whoever goes on for ever asks for the time again and again, and time does not go on while somebody does. Some
/// twenty times the most of seeds 0 to 300 (110).
const MOST_ASKED: u64 = 2_500;
/// Where each round makes a call, time goes on, if slowly. The most of one was 70,099.
const MOST_ASKED_IN_ALL: u64 = 2_000_000;

impl SimClock {
    pub fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            ahead: AtomicI64::new(0),
            was_set: AtomicBool::new(false),
            asked: Mutex::new(Asked { at: start, now: 0, most: 0, all: 0 }),
            bell: Notify::new(),
        }
    }

    /// At most at one moment, and in all.
    pub fn asked(&self) -> (u64, u64) {
        let asked = lock(&self.asked);
        (asked.most, asked.all)
    }

    /// Once it has been asked for the time too often.
    pub async fn runs_away(&self) {
        self.bell.notified().await;
    }

    fn count(&self) {
        let mut asked = lock(&self.asked);
        let now = Instant::now();
        if asked.at != now {
            (asked.at, asked.now) = (now, 0);
        }
        asked.now += 1;
        asked.all += 1;
        asked.most = asked.most.max(asked.now);
        if asked.now > MOST_ASKED || asked.all > MOST_ASKED_IN_ALL {
            self.bell.notify_one();
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.count();
        Timestamp(1_700_000_000_000).plus(self.start.elapsed())
    }

    fn system(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Timestamp(self.now().0.saturating_add_signed(ahead))
    }
}
