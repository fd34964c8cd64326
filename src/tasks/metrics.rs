//! Numbers of the task queue. `docs/metrics.md` lists them; a test compares.
//!
//! What is counted is what this daemon did; daemons that share a queue are added up. How full the queue is is a fact of
//! the store, and the same at each of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::ready::Readiness;
use super::settings::Class;
use super::store::{ClassDepth, Depths, Submitted};
use crate::metrics::Format;
use crate::metrics::family::Family;
use crate::metrics::histogram::Histogram;
use crate::metrics::scrape::{seconds, whole, write};

/// From a task that a worker waits for to a night's backlog.
const WAITS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0];
/// From a function call to a day's training.
const RUNS: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0];
/// From a read to a disk that stalls until the call is given up.
const CALLS: &[f64] = &[0.000_2, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// What `env_error_rate` looks back on, in spans of a hundredth.
const WINDOW: Duration = Duration::from_mins(5);
const SPAN: Duration = Duration::from_secs(3);

/// The calls that are timed. [`super::metered`] names them.
pub const TIMED: [&str; 13] = [
    "submit", "lease", "extend", "complete", "fail", "release", "cancel", "requeue", "get", "list", "depths", "sweep",
    "ready",
];

/// Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct TaskMetrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    registry: Registry,
    submitted: Counter,
    duplicates: Counter,
    refused: Counter,
    processed: Counter,
    completed: Counter,
    errors: Counter,
    lapsed: Counter,
    waits: Family<ByClassLabel, Histogram>,
    runs: Family<ByClassLabel, Histogram>,
    calls: Family<ByCall, Histogram>,
    recent: Mutex<Recent>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByClassLabel {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByCall {
    call: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByClassAndState {
    class: &'static str,
    state: &'static str,
}

/// Attempts that ended lately, in spans of time.
#[derive(Debug, Default)]
struct Recent(VecDeque<Span>);

#[derive(Debug)]
struct Span {
    began: Instant,
    ended: u64,
    failed: u64,
}

impl Recent {
    fn add(&mut self, now: Instant, failed: bool, count: u64) {
        self.forget(now);
        if self.0.back().is_none_or(|span| now - span.began >= SPAN) {
            self.0.push_back(Span { began: now, ended: 0, failed: 0 });
        }
        if let Some(span) = self.0.back_mut() {
            span.ended += count;
            span.failed += if failed { count } else { 0 };
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|span| now - span.began > WINDOW) {
            self.0.pop_front();
        }
    }

    /// 0 to 1; 0 where nothing ended.
    fn rate(&mut self, now: Instant) -> f64 {
        self.forget(now);
        let (ended, failed) = self.0.iter().fold((0, 0), |(e, f), span| (e + span.ended, f + span.failed));
        #[expect(clippy::cast_precision_loss, reason = "a share, of counts well below 2^53")]
        let rate = if ended == 0 { 0.0 } else { failed as f64 / ended as f64 };
        rate
    }
}

/// What is read off at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// `None`: not known yet.
    pub depths: Option<Depths>,
    pub readiness: Readiness,
    /// Workers whose stream is open at this daemon.
    pub workers: usize,
}

fn ok_or_error(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}

impl Default for TaskMetrics {
    fn default() -> Self {
        let mut counted = Counted {
            registry: Registry::default(),
            submitted: Counter::default(),
            duplicates: Counter::default(),
            refused: Counter::default(),
            processed: Counter::default(),
            completed: Counter::default(),
            errors: Counter::default(),
            lapsed: Counter::default(),
            waits: Family::new(|| Histogram::new(WAITS)),
            runs: Family::new(|| Histogram::new(RUNS)),
            calls: Family::new(|| Histogram::new(CALLS)),
            recent: Mutex::default(),
        };
        for class in Class::ALL.map(Class::name) {
            counted.waits.touch(ByClassLabel { class });
            counted.runs.touch(ByClassLabel { class });
        }
        for call in TIMED {
            for ok in [true, false] {
                counted.calls.touch(ByCall { call, status: ok_or_error(ok) });
            }
        }
        counted.registry = counted.register();
        Self(Arc::new(counted))
    }
}

impl Counted {
    /// The encoder adds `_total`.
    fn register(&self) -> Registry {
        let mut registry = Registry::default();
        let r = &mut registry;
        r.register("queue_tasks_submitted", "Tasks taken, each once", self.submitted.clone());
        let help = "Submissions of a task that was there already, with the same content";
        r.register("queue_tasks_duplicate", help, self.duplicates.clone());
        let help = "Submissions refused: another content under the same id, or a full backlog";
        r.register("queue_tasks_refused", help, self.refused.clone());
        r.register("queue_tasks_processed", "Attempts that workers ended, well or not", self.processed.clone());
        r.register("queue_tasks_completed", "Tasks completed", self.completed.clone());
        let help = "Attempts that failed, lapsed leases among them";
        r.register("orchestrator_task_errors", help, self.errors.clone());
        r.register("queue_leases_lapsed", "Leases that nobody extended or answered", self.lapsed.clone());
        r.register("queue_wait_seconds", "How long tasks waited until a worker had them", self.waits.clone());
        let help = "How long attempts took, of those that were leased and answered at this daemon";
        r.register("queue_run_seconds", help, self.runs.clone());
        r.register("queue_store_call_seconds", "How long calls to Redis took", self.calls.clone());
        registry
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // What is done under the lock cannot panic half-way.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskMetrics {
    pub fn submitted(&self, outcome: &Submitted) {
        match outcome {
            Submitted::New => self.0.submitted.inc(),
            Submitted::Same => self.0.duplicates.inc(),
            Submitted::Conflict | Submitted::Full => self.0.refused.inc(),
        };
    }

    /// A worker gets a task.
    pub fn leased(&self, class: Class, waited: Duration) {
        self.0.waits.get(ByClassLabel { class: class.name() }).observe(waited);
    }

    /// A worker answered an attempt; how long it took is known where it was leased here.
    pub fn answered(&self, completed: bool, took: Option<(Class, Duration)>) {
        self.0.processed.inc();
        if completed {
            self.0.completed.inc();
        } else {
            self.0.errors.inc();
        }
        self.0.recent().add(Instant::now(), !completed, 1);
        if let Some((class, took)) = took {
            self.0.runs.get(ByClassLabel { class: class.name() }).observe(took);
        }
    }

    pub fn lapsed(&self, count: u64) {
        if count > 0 {
            self.0.lapsed.inc_by(count);
            self.0.errors.inc_by(count);
            self.0.recent().add(Instant::now(), true, count);
        }
    }

    pub fn called(&self, call: &'static str, ok: bool, took: Duration) {
        self.0.calls.get(ByCall { call, status: ok_or_error(ok) }).observe(took);
    }

    pub fn render(&self, format: Format, moment: &Moment) -> String {
        write(format, &[&self.0.registry, &self.of_the_moment(moment)])
    }

    fn of_the_moment(&self, moment: &Moment) -> Registry {
        let mut registry = Registry::default();
        let r = &mut registry;
        let of_class = |class| moment.depths.as_ref().map(|d| *d.by_class.of(class)).unwrap_or_default();
        let sum = |of: fn(ClassDepth) -> u64| count(Class::ALL.into_iter().map(|class| of(of_class(class))).sum());
        r.register(
            "env_queue_depth",
            "Tasks that wait, for a worker or for their next attempt",
            sum(|d| d.waiting + d.delayed),
        );
        r.register("orchestrator_inflight_tasks", "Tasks that workers have", sum(|d| d.running));
        let oldest = Class::ALL.into_iter().filter(|class| class.is_gpu()).map(|class| of_class(class).oldest).max();
        let help = "How long the gpu task that waits longest has waited";
        r.register("gpu_wait_seconds", help, seconds(oldest.unwrap_or_default()));
        let help = "Of the attempts that ended in the last five minutes, the share that failed";
        let rate = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        rate.set(self.0.recent().rate(Instant::now()));
        r.register("env_error_rate", help, rate);
        let depth: Family<ByClassAndState, Gauge> = Family::new(Gauge::default);
        for class in Class::ALL {
            let ClassDepth { waiting, delayed, running, oldest: _ } = of_class(class);
            for (state, number) in [("waiting", waiting), ("delayed", delayed), ("running", running)] {
                depth.get(ByClassAndState { class: class.name(), state }).set(number.try_into().unwrap_or(i64::MAX));
            }
        }
        r.register("queue_depth", "Tasks by class and by what they wait for", depth);
        let kept = |of: fn(&Depths) -> u64| count(moment.depths.as_ref().map(of).unwrap_or_default());
        r.register("queue_dead_tasks", "Dead tasks that are kept", kept(|d| d.dead));
        r.register("queue_ended_tasks", "Completed and cancelled tasks that are still known", kept(|d| d.done));
        r.register("queue_workers", "Workers that are connected to this daemon", whole(moment.workers));
        r.register("queue_ready", "Tasks are taken", whole(moment.readiness.is_ready().into()));
        let help = "What was acknowledged is on the disk; 0: it may be lost, or it is not known";
        r.register("queue_durable", help, whole(moment.readiness.is_durable().into()));
        registry
    }
}

fn count(number: u64) -> Gauge {
    whole(usize::try_from(number).unwrap_or(usize::MAX))
}
