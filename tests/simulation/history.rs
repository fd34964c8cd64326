//! One history: a stack, what is done to it and to its engine over some minutes, and the quiet after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use env_manager::clock::{Clock, Timestamp};
use env_manager::daemon::Environment;
use env_manager::engine::sim::{Call, FaultKind, Outside, SimEngine};
use env_manager::history::History;
use env_manager::lease::Holder;
use env_manager::resource::ResourceKey;
use env_manager::resource::event::Actor;
use env_manager::resource::status::{Phase, Status};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::acts::{self, Act, Ask};
use crate::checks::Checks;
use crate::daemon::{self, Home, Running, SimClock};
use crate::edits::Edit;
use crate::model::Stack;
use crate::random::Random;

/// Bytes of what one status says, some twenty times the most of seeds 0 to 300 (422). Words that repeat each other's
/// grow with each.
const MOST_WORDS: usize = 8_000;

/// What a history came to.
#[derive(Default)]
pub struct Outcome {
    pub seed: u64,
    pub hash: String,
    pub violation: Option<String>,
    /// Of a failure, or where it was asked for.
    pub trace: String,
    pub counts: Counts,
}

/// What occurred, for the report.
#[derive(Clone, Default)]
pub struct Counts {
    pub faults: BTreeMap<FaultKind, u64>,
    pub acts: BTreeMap<Act, u64>,
    pub edits: BTreeMap<Edit, u64>,
    pub phases: BTreeMap<Phase, u64>,
    pub changes: u64,
    pub most: Most,
    /// Virtual.
    pub time: Duration,
}

/// The most of any one history; for all of it there is a limit.
#[derive(Clone, Default)]
pub struct Most {
    /// Of its trace.
    pub lines: usize,
    pub bytes: usize,
    /// Bytes of what one status says.
    pub words: usize,
    /// How often the time was asked for: at one moment, and in all.
    pub asked: (u64, u64),
}

/// Dies after so many more effects.
#[derive(Default)]
pub struct Fuse {
    pub left: Mutex<Option<u64>>,
    bell: Notify,
}

pub struct Life {
    begin: Instant,
    pub random: Random,
    pub engine: SimEngine,
    pub clock: Arc<SimClock>,
    pub stack: Stack,
    pub home: Home,
    pub running: Option<Running>,
    /// Statuses of the daemon that runs, and what was seen of them.
    news: Option<(watch::Receiver<u64>, u64)>,
    pub statuses: BTreeMap<ResourceKey, Arc<Status>>,
    pub checks: Arc<Mutex<Checks>>,
    pub fuse: Arc<Fuse>,
    /// When a daemon that is down comes back.
    back_at: Option<Instant>,
    asks: JoinSet<()>,
    pub counts: Counts,
    folder_text: String,
    /// What programs behind tags do, as far as they were changed.
    pub tags: BTreeMap<String, crate::model::Image>,
    pub frozen: bool,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In memory where there is such a place: state files are synced.
fn folder() -> tempfile::TempDir {
    let shared = PathBuf::from("/dev/shm");
    let made = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    made.expect("a folder for state and manifests")
}

/// Runs one, on a runtime of its own.
pub fn run(seed: u64, keep_trace: bool) -> Outcome {
    let dir = folder();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let mut outcome = runtime.block_on(async {
        let mut life = Life::new(seed, dir.path());
        life.live().await;
        life.outcome(seed, keep_trace)
    });
    let panics = crate::report::panics();
    if let Some(panic) = panics.first() {
        outcome.violation = Some(format!("a panic: {panic}"));
    }
    outcome
}

impl Life {
    fn new(seed: u64, dir: &Path) -> Self {
        let mut random = Random::new(seed);
        let clock = Arc::new(SimClock::new());
        let engine = SimEngine::new(random.next(), Arc::clone(&clock) as Arc<dyn Clock>);
        let mut drawing = random.branch();
        let stack = Stack::draw(&mut drawing);
        let folder = dir.join("manifests");
        let home = Home {
            folder,
            state: dir.join("state"),
            holder: Holder::current("env-manager run", Timestamp(0)),
            seed: random.next(),
            readings: Arc::default(),
            edition: Arc::default(),
            last: Arc::default(),
            history: History::in_memory(Arc::clone(&clock) as Arc<dyn Clock>),
        };
        let begin = Instant::now();
        let checks = Arc::new(Mutex::new(Checks::new(begin)));
        let fuse: Arc<Fuse> = Arc::default();
        acts::install(&engine, &mut random);
        let watcher = (Arc::clone(&checks), Arc::clone(&fuse));
        engine.watch(move |call: &Call<'_>| {
            let (checks, fuse) = &watcher;
            let at = begin.elapsed();
            let mut checks = lock(checks);
            checks.heard(at, call);
            if call.by == env_manager::engine::sim::By::Client {
                let mut left = lock(&fuse.left);
                match *left {
                    Some(0) => {
                        *left = None;
                        fuse.bell.notify_one();
                    }
                    Some(n) => *left = Some(n - 1),
                    None => {}
                }
            }
        });
        let follower = Arc::clone(&checks);
        engine.follow(move |waiting| lock(&follower).waited(begin.elapsed(), waiting));
        let folder_text = home.folder.display().to_string();
        Self {
            begin,
            random,
            engine,
            clock,
            stack,
            home,
            running: None,
            news: None,
            statuses: BTreeMap::new(),
            checks,
            fuse,
            back_at: None,
            asks: JoinSet::new(),
            counts: Counts::default(),
            folder_text,
            tags: BTreeMap::new(),
            frozen: false,
        }
    }

    pub fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    pub fn note(&self, who: &str, what: &str) {
        let what = what.replace(&self.folder_text, "manifests");
        lock(&self.checks).note(self.now(), who, &what);
    }

    pub fn is_over(&self) -> bool {
        lock(&self.checks).violation.is_some()
    }

    pub fn fail(&self, what: String) {
        lock(&self.checks).fail(self.now(), what);
    }

    async fn live(&mut self) {
        self.write();
        crate::foreign::settle_in(self);
        self.start().await;
        let end = Instant::now() + self.random.millis(60_000, 420_000);
        while Instant::now() < end && !self.is_over() {
            let gap = match self.random.range(0, 10) {
                0..4 => self.random.millis(0, 400),
                4..7 => self.random.millis(400, 5_000),
                _ => self.random.millis(5_000, 40_000),
            };
            self.pass(Instant::now() + gap).await;
            if self.is_over() {
                return;
            }
            self.act().await;
        }
        if self.is_over() {
            return;
        }
        self.calm().await;
        self.settle().await;
        self.rest().await;
        // Whoever runs away would not end when asked to.
        if let Some(running) = self.running.take().filter(|_| !self.is_over()) {
            running.stop().await;
        }
    }

    // ---- the daemon ----------------------------------------------------------------------------

    pub fn write(&self) {
        let files = (!self.stack.missing).then(|| self.stack.files());
        daemon::write(&self.home.folder, files.as_ref());
        self.home.edition.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    pub async fn start(&mut self) {
        self.back_at = None;
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let running = self.home.start(&Arc::new(self.engine.clone()), &clock).await;
        self.news = Some((running.handle.statuses().subscribe(), 0));
        self.running = Some(running);
        self.note("daemon", "starts");
        self.take_readings();
    }

    /// As by `kill -9`.
    pub async fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        drop(running);
        self.gone("is killed").await;
    }

    pub async fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop().await;
        self.gone("has ended").await;
    }

    async fn gone(&mut self, how: &str) {
        self.note("daemon", how);
        self.news = None;
        self.statuses.clear();
        *lock(&self.fuse.left) = None;
        // What was killed is swept away when it would have gone on.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.take_readings();
        lock(&self.checks).daemon_died();
        let pause =
            if self.random.one_in(3) { self.random.millis(5_000, 60_000) } else { self.random.millis(1, 3_000) };
        self.back_at = Some(Instant::now() + pause);
    }

    pub fn light(&mut self, effects: u64) {
        *lock(&self.fuse.left) = Some(effects);
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    // ---- time ----------------------------------------------------------------------------------

    /// Lets time pass, and sees what happens meanwhile.
    pub async fn pass(&mut self, until: Instant) {
        loop {
            self.look();
            if self.is_over() {
                return;
            }
            let back_at = self.back_at;
            let wake = until.min(back_at.unwrap_or(until));
            let news = self.news.as_mut().map(|(news, _)| news);
            let over = Arc::clone(&lock(&self.checks).over);
            tokio::select! {
                biased;
                () = over.notified() => {}
                () = self.clock.runs_away() => {
                    let (most, all) = self.clock.asked();
                    self.fail(format!("a runaway: the time was asked for {most} times at one moment, {all} in all"));
                }
                () = self.fuse.bell.notified() => {
                    self.kill().await;
                }
                () = changed(news) => {}
                () = sleep_until(wake) => {
                    if back_at.is_some_and(|at| at <= Instant::now()) {
                        self.start().await;
                    } else {
                        return self.look();
                    }
                }
            }
        }
    }

    fn look(&mut self) {
        self.engine.tick();
        self.take_readings();
        while self.asks.try_join_next().is_some() {}
        if let Some(why) = self.running.as_mut().and_then(Running::ended) {
            self.fail(format!("the daemon has ended: {why}"));
        }
        let now = self.now();
        // What stood until now held until now.
        let before = std::mem::take(&mut self.statuses);
        lock(&self.checks).still(now, &before);
        self.statuses = before;
        let (Some(running), Some((_, seen))) = (&self.running, &mut self.news) else { return };
        let (newest, changes) = running.handle.statuses().since(*seen);
        *seen = newest;
        for (key, status) in changes {
            let old = self.statuses.get(&key);
            let words = |s: &Status| format!("{} {}: {}", s.phase, s.reason, s.message);
            if let Some(status) = &status {
                let said = status.message.len();
                self.counts.most.words = self.counts.most.words.max(said);
                if said > MOST_WORDS {
                    lock(&self.checks).fail(now, format!("a runaway: {key} says {said} bytes"));
                    return;
                }
                if old.is_none_or(|old| words(old) != words(status)) {
                    let line = format!("{key} {}", words(status)).replace(&self.folder_text, "manifests");
                    lock(&self.checks).note(now, "status", &line);
                }
                if old.is_none_or(|old| old.phase != status.phase) {
                    *self.counts.phases.entry(status.phase).or_default() += 1;
                }
            } else {
                lock(&self.checks).note(now, "status", &format!("{key} is no more"));
            }
            lock(&self.checks).published(now, &key, status.as_deref());
            match status {
                Some(status) => drop(self.statuses.insert(key, status)),
                None => drop(self.statuses.remove(&key)),
            }
        }
    }

    fn take_readings(&self) {
        let new = std::mem::take(&mut *lock(&self.home.readings));
        if new.is_empty() {
            return;
        }
        let (now, world) = (self.now(), self.engine.world());
        let mut checks = lock(&self.checks);
        for (at, set) in new {
            checks.read(at.saturating_duration_since(self.begin).min(now), set);
            checks.count_owned(&world);
        }
    }

    // ---- what happens --------------------------------------------------------------------------

    async fn act(&mut self) {
        let act = Act::draw(&mut self.random);
        let Some(what) = acts::perform(self, act).await else { return };
        *self.counts.acts.entry(act).or_default() += 1;
        if !what.is_empty() {
            self.note("act", &what);
        }
    }

    /// Somebody edits the manifests; whoever watches is mostly told.
    pub fn edit(&mut self) -> Option<String> {
        let edit = self.random.weighed(Edit::ALL)?;
        let what = edit.apply(&mut self.stack, &mut self.random)?;
        *self.counts.edits.entry(edit).or_default() += 1;
        self.write();
        let told = !self.random.one_in(8);
        if let Some(running) = self.running.as_ref().filter(|_| told) {
            running.handle.reread();
        }
        Some(format!("{what}{}", if told { "" } else { " (nobody is told)" }))
    }

    /// Of the daemon.
    pub fn ask(&mut self, ask: Ask) -> Option<String> {
        let handle = self.running.as_ref()?.handle.clone();
        let names: Vec<String> = self.stack.services.keys().cloned().collect();
        let name = self.random.pick(&names)?.clone();
        let by = Actor::Caller("somebody".to_owned());
        let services = if self.random.one_in(3) { Vec::new() } else { vec![name.clone()] };
        let what = format!("{ask:?} {}", services.join(" "));
        let checks = Arc::clone(&self.checks);
        let begin = self.begin;
        match ask {
            Ask::Sync => self.asks.spawn(async move { drop(handle.sync(services, false, by).await) }),
            Ask::SyncAndPrune => self.asks.spawn(async move {
                lock(&checks).allow_prune(begin.elapsed());
                drop(handle.sync(Vec::new(), true, by).await);
            }),
            Ask::Retry => self.asks.spawn(async move {
                lock(&checks).refusals.may_be_tried_again(&services, begin.elapsed());
                drop(handle.retry(services, by).await);
            }),
            Ask::Restart => self.asks.spawn(async move {
                lock(&checks).restart_asked.insert(name.clone(), begin.elapsed());
                drop(handle.restart(vec![name], by).await);
            }),
            Ask::Suspend => self.asks.spawn(async move { drop(handle.suspend(vec![name], by).await) }),
            Ask::Resume => self.asks.spawn(async move { drop(handle.resume(names, by).await) }),
        };
        Some(what)
    }

    pub fn outside(&mut self, outside: Outside) {
        self.engine.act(outside);
    }

    fn outcome(mut self, seed: u64, keep_trace: bool) -> Outcome {
        self.counts.faults = self.engine.counts();
        self.counts.time = self.now();
        let mut checks = lock(&self.checks);
        self.counts.changes = checks.changes;
        (self.counts.most.lines, self.counts.most.bytes) = checks.trace.size();
        self.counts.most.asked = self.clock.asked();
        let violation = checks.violation.clone();
        let trace = if violation.is_some() || keep_trace { checks.trace.text() } else { String::new() };
        Outcome { seed, hash: checks.trace.hash(), violation, trace, counts: self.counts.clone() }
    }
}

async fn changed(news: Option<&mut watch::Receiver<u64>>) {
    match news {
        Some(news) => drop(news.changed().await),
        None => std::future::pending().await,
    }
}
