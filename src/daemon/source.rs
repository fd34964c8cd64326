//! The source side: reads manifests when they change, at each resync and when asked, and hands the
//! controller what they ask for. It owns the state directory, so everything that is remembered goes
//! through here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Parts;
use super::environment::Synced;
use crate::backoff::Noise;
use crate::controller::Intent;
use crate::controller::intent::ManifestChange;
use crate::engine::{Engine, EngineError};
use crate::plan::prune::Prune;
use crate::report::SourceView;
use crate::resource::ResourceKey;
use crate::resource::desired::DesiredSet;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::key::Kind;
use crate::resource::overall::Kept;
use crate::resource::units::human_duration;
use crate::source::watch::Watcher;
use crate::source::{self, Loaded};
use crate::state::{StateDir, Suspension};

/// What one look at the manifests gave.
#[derive(Debug)]
pub struct Reading {
    pub loaded: Loaded,
    pub view: SourceView,
    /// Documents that could not be applied.
    pub invalid: usize,
    /// What is wrong with them, as `validate` prints it; empty where nothing is.
    pub findings: String,
}

/// Reads the manifests.
pub type Load = Arc<dyn Fn() -> BoxFuture<'static, Reading> + Send + Sync>;

/// Those that were suspended by call, and those that go on being so by their manifest.
pub(super) type Resumed = (Vec<String>, Vec<String>);

/// What callers ask of the loop.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody knows that the manifests have changed.
    Reread,
    Sync {
        services: BTreeSet<ResourceKey>,
        allow_prune: bool,
        by: Actor,
        answer: oneshot::Sender<Synced>,
    },
    Suspend {
        services: Vec<String>,
        by: Actor,
        answer: oneshot::Sender<Vec<String>>,
    },
    Resume {
        services: Vec<String>,
        by: Actor,
        answer: oneshot::Sender<Resumed>,
    },
}

/// How often and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// ± 10 %.
    pub resync: Duration,
    /// Nothing is pruned before the source has been as it is for so long.
    pub prune_delay: Duration,
    /// Of the jitter.
    pub seed: u64,
}

/// A clock that is disciplined drifts by less between two resyncs.
const STEP: Duration = Duration::from_secs(2);

/// How long a sync waits for everything to be looked at once.
const SYNC: Duration = Duration::from_secs(10);

/// What a look at the orphans was about.
struct Judgement {
    /// Of the contents.
    revision: String,
    /// The source has been still for long enough: what is to go goes.
    act: bool,
}

pub(super) struct SourceLoop<E: Engine> {
    parts: Arc<Parts<E>>,
    state: StateDir,
    load: Load,
    watcher: Watcher,
    rhythm: Rhythm,
    noise: Noise,
    intent: Intent,
    /// Which file defines which key, when it was last in order.
    defined: BTreeMap<ResourceKey, Arc<str>>,
    /// Whether the last reading was in order.
    readable: bool,
    /// When what was judged to go is judged again, and goes.
    prune_at: Option<Instant>,
    /// A person lifted the limit for this revision of the contents.
    allowed: Option<String>,
    judging: JoinSet<(Judgement, Result<Prune, EngineError>)>,
    /// What was told of refused removals, so that it is told once.
    kept: Vec<Kept>,
    /// Where the next resync goes on.
    cursor: usize,
    /// Milliseconds that the system's clock is ahead of our own.
    ahead: i128,
}

impl<E: Engine> SourceLoop<E> {
    /// `first`: the first reading.
    pub fn start(parts: Arc<Parts<E>>, state: StateDir, load: Load, rhythm: Rhythm, first: Reading) -> Self {
        let mut it = Self {
            parts,
            state,
            load,
            watcher: Watcher::new(),
            noise: Noise::new(rhythm.seed),
            rhythm,
            intent: Intent::default(),
            defined: BTreeMap::new(),
            readable: true,
            prune_at: None,
            allowed: None,
            judging: JoinSet::new(),
            kept: Vec::new(),
            cursor: 0,
            ahead: 0,
        };
        it.intent.set.source.clone_from(&first.loaded.set.source);
        it.take_in(first, true);
        it
    }

    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, shutdown: CancellationToken) -> StateDir {
        let mut resync_at = self.next_resync();
        let mut leads = self.parts.leads.subscribe();
        let mut revisions = self.parts.controller.revision_changes();
        loop {
            let prune_at = self.prune_at;
            tokio::select! {
                // Shutdown first; then those who wait for an answer; files before timers, since what they
                // say decides what timers do. All are cancel-safe.
                biased;
                () = shutdown.cancelled() => break,
                Some(command) = commands.recv() => self.obey(command).await,
                () = self.watcher.changed() => self.reload().await,
                // The stack is ours from now on.
                Ok(()) = leads.changed() => self.judge(false),
                // A refusal is to outlive this process.
                Ok(()) = revisions.changed() => self.remember(),
                Some(judged) = self.judging.join_next(), if !self.judging.is_empty() => {
                    if let Ok((judgement, result)) = judged {
                        self.judged(&judgement, result);
                    }
                }
                () = async { match prune_at { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                    self.prune_at = None;
                    self.judge(true);
                }
                () = sleep_until(resync_at) => {
                    self.look_at_the_clock();
                    // A lost event of the file system costs a resync and not correctness.
                    self.reload().await;
                    self.parts.controller.resync(&mut self.cursor, self.rhythm.resync);
                    self.judge(false);
                    self.remember();
                    resync_at = self.next_resync();
                }
            }
        }
        self.remember();
        self.state
    }

    fn next_resync(&mut self) -> Instant {
        let jitter = 0.9 + 0.2 * self.noise.unit();
        Instant::now() + self.rhythm.resync.mul_f64(jitter)
    }

    async fn reload(&mut self) {
        let reading = (self.load)().await;
        self.take_in(reading, false);
    }

    fn take_in(&mut self, reading: Reading, first: bool) {
        let Reading { loaded, view, invalid, findings } = reading;
        self.watcher.watch(&loaded.watched);
        for note in &loaded.notes {
            debug!("{note}");
        }
        let mut frozen = loaded.set.invalid.clone();
        frozen.extend(source::frozen(&self.defined, &loaded));
        let mut set = loaded.set.clone();
        // The folder may be away, or be a link that points elsewhere now: it is the same source.
        set.source.clone_from(&self.intent.set.source);
        let unchanged = !first
            && set.revision == self.intent.set.revision
            && set.resources == self.intent.set.resources
            && frozen == self.intent.frozen
            && set.has_errors == self.intent.set.has_errors;
        self.say_source(&view, invalid, findings, &loaded);
        self.defined = source::remembered(&self.defined, &loaded);
        self.parts.manifests().clone_from(&self.defined);
        if unchanged {
            return;
        }
        let removed = self.adopt(set, view.short_revision.as_str(), frozen, first);
        if self.allowed.as_deref().is_some_and(|allowed| allowed != self.intent.set.revision) {
            self.allowed = None;
        }
        // What is not described any more waits until the source has been still for a while; a change
        // meanwhile begins the wait anew.
        let was_pending = self.prune_at.take().is_some();
        if removed > 0 {
            self.parts.change_context(|context| context.leaving = Some(removed));
        }
        if removed > 0 || was_pending || !self.kept.is_empty() {
            self.judge(false);
        }
    }

    /// Says how many are no longer described.
    fn adopt(&mut self, set: DesiredSet, revision: &str, frozen: BTreeMap<ResourceKey, String>, first: bool) -> usize {
        let revision: Arc<str> = revision.into();
        self.parts.history.set_revision(Arc::clone(&revision));
        self.intent = Intent { set, revision, frozen, suspended: self.state.suspended() };
        let changes = self.parts.controller.set_desired(&self.intent, &mut self.state);
        self.save();
        self.parts.metrics.set_services(self.services());
        for (key, change) in &changes {
            self.say_change(key, change, first);
        }
        changes.iter().filter(|(_, change)| *change == ManifestChange::Removed).count()
    }

    fn services(&self) -> BTreeSet<String> {
        let keys = self.parts.controller.known();
        keys.into_iter().filter(|k| k.kind == Kind::Service).map(|k| k.name.to_string()).collect()
    }

    fn say_change(&self, key: &ResourceKey, change: &ManifestChange, first: bool) {
        let (reason, message) = match change {
            // At the start everything is new.
            ManifestChange::Added if first => return,
            ManifestChange::Added => (EventReason::ManifestAdded, "its manifest was added".to_owned()),
            ManifestChange::Changed(generation) => {
                (EventReason::ManifestChanged, format!("its manifest has changed: generation {generation}"))
            }
            ManifestChange::Removed => (EventReason::ManifestRemoved, "its manifest was removed".to_owned()),
            ManifestChange::Broken(why) => (EventReason::ManifestInvalid, why.clone()),
            ManifestChange::Repaired => (EventReason::ManifestRepaired, "its manifest is in order again".to_owned()),
        };
        if reason == EventReason::ManifestInvalid {
            warn!("{key}: {message}");
        } else {
            info!("{key}: {message}");
        }
        self.parts.tell(Some(key), reason, message, Actor::Outside);
    }

    fn say_source(&mut self, view: &SourceView, invalid: usize, findings: String, loaded: &Loaded) {
        self.parts.metrics.source_loaded(loaded.errors().count());
        let readable = loaded.read_whole();
        if readable != self.readable {
            let error = view.error.clone().unwrap_or_default();
            let (reason, message) = if readable {
                (EventReason::SourceReadable, "the manifests can be read again".to_owned())
            } else {
                (EventReason::SourceUnreadable, format!("{error}; everything is kept as it is"))
            };
            if readable {
                info!("{message}");
            } else {
                warn!("{message}");
            }
            self.parts.tell(None, reason, message, Actor::Outside);
            self.readable = readable;
        }
        self.parts.change_context(|context| {
            context.source = view.clone();
            context.invalid_manifests = invalid;
            context.findings = findings;
        });
    }

    /// Asks the engine what the stack owns, and judges it. In a task of its own: the engine may be slow.
    fn judge(&mut self, act: bool) {
        if !*self.parts.leads.borrow() {
            return;
        }
        // One that is under way may be about other manifests.
        self.judging.abort_all();
        let controller = self.parts.controller.clone();
        let mut set = self.intent.set.clone();
        set.invalid.extend(self.intent.frozen.clone());
        let allowed = self.allowed.as_deref() == Some(set.revision.as_str());
        self.judging.spawn(async move {
            let result = controller.judge_orphans(&set, allowed).await;
            (Judgement { revision: set.revision, act }, result)
        });
    }

    fn judged(&mut self, judgement: &Judgement, result: Result<Prune, EngineError>) {
        let prune = match result {
            Ok(prune) => prune,
            // The next resync asks again.
            Err(error) => return debug!("{error}"),
        };
        if judgement.revision != self.intent.set.revision {
            return self.judge(false);
        }
        let (kept, notes) = (prune.kept(), prune.refusals());
        for (kept, note) in kept.iter().zip(&notes).filter(|(kept, _)| !self.kept.contains(kept)) {
            warn!("{note}");
            let message = format!("no manifest describes it, and it was kept: {}", kept.message);
            self.parts.tell(Some(&kept.key), EventReason::PruneRefused, message, Actor::EnvManager);
        }
        self.kept.clone_from(&kept);
        let leaving = prune.remove.iter().filter(|key| !self.parts.controller.is_leaving(key)).count();
        let act = judgement.act && !self.parts.identity.observe_only;
        self.parts.change_context(|context| {
            context.kept = kept;
            context.notes = notes;
            context.leaving = Some(if act { 0 } else { leaving });
        });
        if act {
            for key in prune.remove.iter().filter(|k| k.kind == Kind::Service) {
                self.state.forget(&key.name);
            }
            self.save();
            self.parts.controller.remove(prune.remove);
        } else if leaving > 0 && self.prune_at.is_none() {
            self.prune_at = Some(Instant::now() + self.rhythm.prune_delay);
        }
    }

    /// Deadlines do not go by the system's clock; times that people read do.
    fn look_at_the_clock(&mut self) {
        let (now, system) = (self.parts.clock.now(), self.parts.clock.system());
        let ahead = i128::from(system.0) - i128::from(now.0);
        let step = ahead - self.ahead;
        if step.unsigned_abs() > STEP.as_millis() {
            let by = Duration::from_millis(u64::try_from(step.unsigned_abs()).unwrap_or(u64::MAX));
            let (by, where_to) = (human_duration(by), if step > 0 { "forward" } else { "back" });
            let message = format!("the system's clock was set {where_to} by {by}; deadlines go on as they were");
            warn!("{message}");
            self.parts.tell(None, EventReason::ClockStepped, message, Actor::Outside);
            self.ahead = ahead;
        }
    }

    /// What a process that is killed should not lose.
    fn remember(&mut self) {
        self.state.set_passed_gates(self.parts.controller.passed_gates());
        self.state.set_revisions(self.parts.controller.revisions());
        self.save();
    }

    fn save(&mut self) {
        if self.parts.identity.observe_only {
            return;
        }
        if let Err(error) = self.state.save() {
            // It is needed for nothing but generation counts; the next change tries again.
            warn!("{error}");
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Reread => self.reload().await,
            Command::Sync { services, allow_prune, by, answer } => {
                self.parts.tell(None, EventReason::SyncRequested, "a sync was asked for".to_owned(), by);
                self.reload().await;
                if allow_prune {
                    self.allowed = Some(self.intent.set.revision.clone());
                }
                self.judge(false);
                self.answer_sync(services, answer);
            }
            Command::Suspend { services, by, answer } => {
                let now = self.parts.clock.now();
                let suspension = Suspension { by: by.to_string(), since: now };
                let changed: Vec<_> =
                    services.into_iter().filter(|name| self.state.suspend(name, suspension.clone())).collect();
                self.say_asked(&changed, EventReason::Suspended, "left as it is until it is resumed", &by);
                self.restate();
                self.judge(false);
                self.answer_once_looked_at(changed.clone(), answer, changed);
            }
            Command::Resume { services, by, answer } => {
                let by_manifest = |name: &String| {
                    let service = self.intent.set.resources.get(&ResourceKey::service(name.as_str()));
                    service.and_then(|s| s.as_service()).is_some_and(|s| s.spec.suspend)
                };
                let still = services.iter().filter(|n| by_manifest(n)).cloned().collect();
                let changed: Vec<_> = services.into_iter().filter(|name| self.state.resume(name)).collect();
                self.say_asked(&changed, EventReason::Resumed, "kept as described again", &by);
                self.restate();
                let described = self.parts.controller.described();
                if changed.iter().any(|name| !described.contains(&ResourceKey::service(name.as_str()))) {
                    // What no manifest describes any more goes now, if nothing else is against it.
                    self.parts.change_context(|context| context.leaving = None);
                }
                self.judge(false);
                self.answer_once_looked_at(changed.clone(), answer, (changed, still));
            }
        }
    }

    /// So that a status which is read after the answer knows of it.
    fn answer_once_looked_at<T: Send + 'static>(&self, names: Vec<String>, answer: oneshot::Sender<T>, with: T) {
        let controller = self.parts.controller.clone();
        let keys = names.into_iter().map(ResourceKey::service).collect();
        let is_away = controller.weather().borrow().away.is_some();
        self.parts.spawn(async move {
            if !is_away {
                controller.look(keys, SYNC).await;
            }
            // Whoever asked may have gone.
            let _ = answer.send(with);
        });
    }

    fn say_asked(&self, names: &[String], reason: EventReason, message: &str, by: &Actor) {
        for name in names {
            let key = ResourceKey::service(name.as_str());
            self.parts.tell(Some(&key), reason, message.to_owned(), by.clone());
        }
    }

    /// The same manifests, with other suspensions.
    fn restate(&mut self) {
        self.intent.suspended = self.state.suspended();
        *self.parts.suspensions() = self.state.suspensions().clone();
        self.parts.controller.set_desired(&self.intent, &mut self.state);
        self.parts.metrics.set_services(self.services());
        self.save();
    }

    /// Answers once everything that was asked for has been looked at; this loop goes on meanwhile.
    fn answer_sync(&self, services: BTreeSet<ResourceKey>, answer: oneshot::Sender<Synced>) {
        let controller = self.parts.controller.clone();
        let known = controller.known();
        let keys = if services.is_empty() { known.clone() } else { services };
        let mut synced = Synced {
            revision: self.parts.context.borrow().source.revision.clone(),
            services: controller.described().iter().filter(|k| k.kind == Kind::Service).count(),
            message: String::new(),
        };
        let away = self.parts.controller.weather().borrow().away.clone();
        self.parts.spawn(async move {
            let left = match away {
                Some(why) => {
                    synced.message = format!("the engine does not answer: {why}");
                    BTreeSet::new()
                }
                None => controller.look(keys, SYNC).await,
            };
            if !left.is_empty() {
                let names: Vec<_> = left.iter().map(ToString::to_string).collect();
                synced.message = format!("not looked at within 10 s: {}", names.join(", "));
            }
            let _ = answer.send(synced);
        });
    }
}

impl<E: Engine> Parts<E> {
    pub(super) fn tell(&self, subject: Option<&ResourceKey>, reason: EventReason, message: String, by: Actor) {
        self.history.record(Happening { subject: subject.cloned(), reason, message, by });
    }
}
