//! Numbers for Prometheus.
//!
//! | file | what |
//! |---|---|
//! | [`family`] | series of one name, in the order of their labels |
//! | [`histogram`] | durations in buckets, and which buckets |
//! | [`scrape`] | everything as text; what is read off a view at that moment |
//!
//! What is known to be counted exists at 0 from the start, since a rate needs a first value. How many
//! series there are is bounded by the services, the tables of calls and reasons, and nothing else: what
//! is counted of a service that [`Metrics::set_services`] does not name is dropped.
//!
//! `docs/metrics.md` lists every series; a test compares.

pub mod family;
pub mod histogram;
pub mod scrape;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use histogram::Distribution;
pub use scrape::Format;

use crate::engine::CallMeter;
use crate::engine::docker::call::{Call, DEADLINES};
use crate::queue::{Outcome, QueueMetrics};
use crate::resource::probe::ProbeRole;
use crate::resource::status::{Phase, Reason};
use family::Family;
use histogram::Histogram;

/// Every number that the daemon counts. Cheap to clone; clones are one.
///
/// Also what a [`crate::queue::Queue`] and the engine tell their numbers to.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    /// All of the below, by name. Never changes.
    registry: Registry,
    /// The services that are counted, and the restarts that each container had when it was last asked.
    services: Mutex<BTreeMap<Arc<str>, u64>>,

    queue_adds: Counter,
    queue_retries: Counter,
    queue_duration: Histogram,
    work_duration: Histogram,

    reconciles: Family<ByResult, Counter>,
    reconcile_duration: Histogram,
    drift: Family<ByKind, Counter>,
    time_to_converge: Histogram,
    docker: Family<ByOperation, Histogram>,
    source_errors: Counter,

    restarts: Family<ByService, Counter>,
    probes: Family<ByProbe, Histogram>,
    health_checks: Family<ByNameAndStatus, Histogram>,
    starts: Family<ByNameAndStatus, Counter>,
    stops: Family<ByNameAndStatus, Counter>,
    failed_starts: Family<ByNameAndReason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByOperation {
    operation: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByService {
    service: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByProbe {
    service: Arc<str>,
    probe: &'static str,
    result: &'static str,
}

/// The label's name is that of the system before this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByNameAndStatus {
    service_name: Arc<str>,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByNameAndReason {
    service_name: Arc<str>,
    reason: String,
}

/// What closes a difference between a manifest and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    InPlace,
    Replace,
}

impl DriftKind {
    const ALL: [Self; 2] = [Self::InPlace, Self::Replace];

    fn label(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::Replace => "replace",
        }
    }
}

const RESULTS: [&str; 4] = ["success", "requeue", "retry", "backoff"];

fn result(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::RequeueAfter(_) => "requeue",
        Outcome::Retry => "retry",
        Outcome::RetryAfter(_) => "backoff",
    }
}

/// Of a Docker call.
fn ok_or_error(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}

/// Of a probe.
fn passed_or_failed(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

/// Of a probe, in the status words of the system before this one.
fn healthy_or_not(passed: bool) -> &'static str {
    if passed { "healthy" } else { "unhealthy" }
}

/// Of a start or a stop.
fn success_or_failure(ok: bool) -> &'static str {
    if ok { "success" } else { "failure" }
}

fn role_label(role: ProbeRole) -> &'static str {
    match role {
        ProbeRole::Startup => "startup",
        ProbeRole::Readiness => "readiness",
        ProbeRole::Liveness => "liveness",
    }
}

const BOTH: [bool; 2] = [true, false];

/// Why a service can fail to start.
fn start_failures() -> impl Iterator<Item = Reason> {
    let is_failure = |r: &Reason| matches!(r.phase(), Phase::Failed | Phase::Conflict) || *r == Reason::CrashLoop;
    Reason::ALL.iter().copied().filter(is_failure).filter(|r| *r != Reason::PruneRefused)
}

/// With this program's own version.
impl Default for Metrics {
    fn default() -> Self {
        Self::new(env!("CARGO_PKG_VERSION"))
    }
}

impl Metrics {
    /// `version` is env-manager's: `0.1.0`.
    pub fn new(version: &'static str) -> Self {
        let counted = Counted {
            registry: Registry::default(),
            services: Mutex::default(),
            queue_adds: Counter::default(),
            queue_retries: Counter::default(),
            queue_duration: Histogram::new(histogram::QUEUE),
            work_duration: Histogram::new(histogram::QUEUE),
            reconciles: Family::new(Counter::default),
            reconcile_duration: Histogram::new(histogram::RECONCILE),
            drift: Family::new(Counter::default),
            time_to_converge: Histogram::new(histogram::CONVERGE),
            docker: Family::new(|| Histogram::new(histogram::DOCKER)),
            source_errors: Counter::default(),
            restarts: Family::new(Counter::default),
            probes: Family::new(|| Histogram::new(histogram::PROBE)),
            health_checks: Family::new(|| Histogram::new(histogram::PROBE)),
            starts: Family::new(Counter::default),
            stops: Family::new(Counter::default),
            failed_starts: Family::new(Counter::default),
        };
        for result in RESULTS {
            counted.reconciles.touch(ByResult { result });
        }
        for kind in DriftKind::ALL {
            counted.drift.touch(ByKind { kind: kind.label() });
        }
        // The event stream is no call with an end whose duration would tell anything.
        for row in DEADLINES.iter().filter(|row| row.call != Call::Events) {
            for ok in BOTH {
                counted.docker.touch(ByOperation { operation: row.operation, status: ok_or_error(ok) });
            }
        }
        let registry = counted.register(version);
        Self(Arc::new(Counted { registry, ..counted }))
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, u64>> {
        // What is done under the lock cannot panic half-way.
        self.0.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which services there are: the series of new ones begin at 0, those of others vanish.
    pub fn set_services(&self, names: impl IntoIterator<Item = impl Into<Arc<str>>>) {
        let mut services = self.services();
        let mut wanted: BTreeMap<Arc<str>, u64> = names.into_iter().map(|n| (n.into(), 0)).collect();
        for (name, seen) in services.iter() {
            match wanted.get_mut(name) {
                Some(slot) => *slot = *seen,
                None => self.0.forget(name),
            }
        }
        for name in wanted.keys().filter(|name| !services.contains_key(*name)) {
            self.0.begin(name);
        }
        *services = wanted;
    }

    /// The lock keeps a removal from passing between the look and the count.
    fn of_service(&self, name: &str, count: impl FnOnce(&Counted, Arc<str>)) {
        let services = self.services();
        if let Some((name, _)) = services.get_key_value(name) {
            count(&self.0, Arc::clone(name));
        }
    }

    /// One reconciliation has ended.
    pub fn reconciled(&self, outcome: Outcome, took: Duration) {
        self.0.reconciles.get(ByResult { result: result(outcome) }).inc();
        self.0.reconcile_duration.observe(took);
    }

    /// One field that somebody changed behind our back was found.
    pub fn drift(&self, kind: DriftKind) {
        self.0.drift.get(ByKind { kind: kind.label() }).inc();
    }

    /// One try of one probe has ended.
    pub fn probe(&self, service: &str, role: ProbeRole, passed: bool, took: Duration) {
        self.of_service(service, |counted, service| {
            // Both results exist from the first try on, so that the first failure is a change from 0.
            for result in BOTH {
                let labels = ByProbe {
                    service: Arc::clone(&service),
                    probe: role_label(role),
                    result: passed_or_failed(result),
                };
                let series = counted.probes.get(labels);
                if result == passed {
                    series.observe(took);
                }
            }
            let labels = ByNameAndStatus { service_name: service, status: healthy_or_not(passed) };
            counted.health_checks.get(labels).observe(took);
        });
    }

    /// One call to the engine has ended; see [`CallMeter`].
    pub fn docker_call(&self, operation: &'static str, ok: bool, took: Duration) {
        self.0.docker.get(ByOperation { operation, status: ok_or_error(ok) }).observe(took);
    }

    /// A container was started, or could not be.
    pub fn service_started(&self, name: &str, ok: bool) {
        self.of_service(name, |counted, service_name| {
            counted.starts.get(ByNameAndStatus { service_name, status: success_or_failure(ok) }).inc();
        });
    }

    /// A container was stopped, or could not be.
    pub fn service_stopped(&self, name: &str, ok: bool) {
        self.of_service(name, |counted, service_name| {
            counted.stops.get(ByNameAndStatus { service_name, status: success_or_failure(ok) }).inc();
        });
    }

    /// A service did not come up.
    pub fn start_failed(&self, name: &str, reason: Reason) {
        self.of_service(name, |counted, service_name| {
            counted.failed_starts.get(ByNameAndReason { service_name, reason: reason.to_string() }).inc();
        });
    }

    /// How often the engine has restarted the container that serves. The series goes on growing where the next
    /// container begins again at 0.
    pub fn restarts(&self, name: &str, total: u64) {
        let mut services = self.services();
        let Some(seen) = services.get_mut(name) else { return };
        let more = if total < *seen { total } else { total - *seen };
        *seen = total;
        self.0.restarts.get(ByService { service: name.into() }).inc_by(more);
    }

    /// The manifests were read, with so many errors.
    pub fn source_loaded(&self, errors: usize) {
        self.0.source_errors.inc_by(errors.try_into().unwrap_or(u64::MAX));
    }

    /// Everything is as described again, so long after it was not.
    pub fn converged(&self, after: Duration) {
        self.0.time_to_converge.observe(after);
    }

    /// What there is to say of the queue beside its snapshot.
    pub fn queue_totals(&self) -> QueueTotals {
        QueueTotals {
            adds: self.0.queue_adds.get(),
            retries: self.0.queue_retries.get(),
            queue_duration: self.0.queue_duration.distribution(),
            work_duration: self.0.work_duration.distribution(),
        }
    }
}

/// What the queue has done since the daemon began.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueTotals {
    pub adds: u64,
    pub retries: u64,
    /// From ready to taken.
    pub queue_duration: Distribution,
    /// From taken to done.
    pub work_duration: Distribution,
}

impl QueueMetrics for Metrics {
    fn added(&self) {
        self.0.queue_adds.inc();
    }

    fn taken(&self, waited: Duration) {
        self.0.queue_duration.observe(waited);
    }

    fn ended(&self, worked: Duration) {
        self.0.work_duration.observe(worked);
    }

    fn retried(&self) {
        self.0.queue_retries.inc();
    }
}

impl CallMeter for Metrics {
    fn called(&self, operation: &'static str, ok: bool, took: Duration) {
        self.docker_call(operation, ok, took);
    }
}

impl Counted {
    /// Names as the encoder wants them: it adds `_total` and `_info`.
    fn register(&self, version: &'static str) -> Registry {
        let mut registry = Registry::with_prefix("env_manager");
        let r = &mut registry;
        r.register("build", "What runs", Info::new([("version", version)]));
        r.register("workqueue_adds", "Keys that were made ready", self.queue_adds.clone());
        r.register("workqueue_retries", "Keys that come again after a failure", self.queue_retries.clone());
        let help = "How long keys were ready before they were taken";
        r.register("workqueue_queue_duration_seconds", help, self.queue_duration.clone());
        r.register("workqueue_work_duration_seconds", "How long keys were worked on", self.work_duration.clone());
        r.register("reconcile", "Reconciliations, by how they ended", self.reconciles.clone());
        r.register("reconcile_duration_seconds", "How long reconciliations took", self.reconcile_duration.clone());
        r.register("drift", "Fields changed behind our back, by what closes the difference", self.drift.clone());
        let help = "From the first change to everything being as described and ready";
        r.register("time_to_converge_seconds", help, self.time_to_converge.clone());
        r.register("docker_api_duration_seconds", "How long calls to the engine took", self.docker.clone());
        r.register("source_errors", "Errors in manifests, counted at every load", self.source_errors.clone());
        r.register("service_restarts", "Restarts by the engine", self.restarts.clone());
        r.register("probe_duration_seconds", "How long probes took", self.probes.clone());
        let help = "How long probes took, under the name of the system before this one";
        r.register("service_health_check_duration_seconds", help, self.health_checks.clone());
        r.register("service_start", "Containers started, and attempts that failed", self.starts.clone());
        r.register("service_stop", "Containers stopped, and attempts that failed", self.stops.clone());
        r.register("failed_service_starts", "Services that did not come up, by why", self.failed_starts.clone());
        registry
    }

    /// Probes begin with their first try: which ones a service has is not known here.
    fn begin(&self, name: &Arc<str>) {
        self.restarts.touch(ByService { service: Arc::clone(name) });
        for ok in BOTH {
            let (status, service_name) = (success_or_failure(ok), Arc::clone(name));
            self.starts.touch(ByNameAndStatus { service_name: Arc::clone(&service_name), status });
            self.stops.touch(ByNameAndStatus { service_name: Arc::clone(&service_name), status });
            self.health_checks.touch(ByNameAndStatus { service_name, status: healthy_or_not(ok) });
        }
        for reason in start_failures() {
            self.failed_starts.touch(ByNameAndReason { service_name: Arc::clone(name), reason: reason.to_string() });
        }
    }

    fn forget(&self, name: &str) {
        self.restarts.retain(|l| &*l.service != name);
        self.probes.retain(|l| &*l.service != name);
        self.health_checks.retain(|l| &*l.service_name != name);
        self.starts.retain(|l| &*l.service_name != name);
        self.stops.retain(|l| &*l.service_name != name);
        self.failed_starts.retain(|l| &*l.service_name != name);
    }
}

#[cfg(test)]
mod tests;
