//! One job: observe, plan, publish, execute the first stage, and again until nothing is left to do now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Instrument, debug, info_span, warn};

use super::observe::Subject;
use super::wakes::Trigger;
use super::{Shared, lock};
use crate::engine::{Engine, EngineError};
use crate::execute::{End, execute, failure};
use crate::plan::{Dep, DepFacts, Gate, Mode, Plan, PlanContext, Policy, Restarts, Retry, plan};
use crate::probe::Target;
use crate::queue::{Lease, Outcome};
use crate::resource::ResourceKey;
use crate::resource::desired::{Desired, Service};
use crate::resource::key::Kind;
use crate::resource::labels::{NEXT, part_of};
use crate::resource::observed::{Container, Observed};
use crate::resource::overall::is_gone;
use crate::resource::printable::printable;
use crate::resource::probe::ProbeState;
use crate::resource::spec::{DesiredState, PullPolicy};
use crate::resource::status::{About, ConditionType, Phase, Reason, Status, StatusDraft, Truth};

/// A job that goes round this often has met a planner that does not settle. It ends as a failure, so
/// that backoff holds it (P13).
const MAX_ROUNDS: usize = 32;

pub async fn reconcile<E: Engine>(shared: Arc<Shared<E>>, lease: Lease<ResourceKey>) {
    let key = lease.key().clone();
    let trigger = shared.wakes.take(&key);
    let generation = shared.desired.get(&key).map_or(0, |d| d.generation);
    let reconcile_id = shared.reconciles.fetch_add(1, Ordering::Relaxed);
    let span = info_span!("reconcile", reconcile_id, %key, %trigger, generation);
    async move {
        let begun = Instant::now();
        let outcome = rounds(&shared, &lease).await;
        shared.count_reconcile(outcome, begun.elapsed());
        lease.done(outcome);
    }
    .instrument(span)
    .await;
}

async fn rounds<E: Engine>(shared: &Shared<E>, lease: &Lease<ResourceKey>) -> Outcome {
    let key = lease.key();
    for _ in 0..MAX_ROUNDS {
        // What came in until now is seen by the observation that follows.
        lease.refresh();
        let asked = shared.seen.asked();
        let desired = shared.desired.get(key);
        let mode = shared.mode(key);
        if mode == Mode::Normal && desired.is_none() {
            // Nothing asks for it, and whether it goes is not decided here.
            shared.let_go(key);
            return Outcome::Success;
        }
        if mode == Mode::Normal && shared.stands_on_unknown(key) {
            // Their first status, which is on its way, queues this key again.
            return Outcome::Success;
        }
        let subject = Subject {
            key,
            desired: desired.as_deref(),
            stack: &shared.settings.stack,
            removing: mode == Mode::Removing,
        };
        let (recalled, begun) = (shared.recent.get(key), shared.recent.begin());
        let observed = if let Some(observed) = &recalled {
            Arc::clone(observed)
        } else {
            let looked = tokio::select! {
                // Dropped in the middle it has changed nothing.
                biased;
                () = shared.stopping.cancelled() => return Outcome::Retry,
                looked = shared.observer.observe(&*shared.engine, subject) => looked,
            };
            match looked {
                Ok(mut observed) => {
                    shared.endings.note(key, &mut observed);
                    shared.recent.put(key, observed, begun)
                }
                Err(error) => {
                    shared.weather.doubt(&error);
                    shared.publish_engine_failure(key, desired.as_deref(), &error);
                    shared.seen.failed();
                    return Outcome::Retry;
                }
            }
        };
        let mut plan = shared.plan_on_news(key, desired.as_deref(), &observed, mode);
        if shared.settings.observe_only {
            plan.say_pending("only observed (`run --observe`)");
            plan.wants.image = None;
        }
        shared.set_wants(key, desired.as_deref(), &observed, &plan);
        shared.publish(key, desired.as_deref(), mode, &plan);
        shared.remember_revision(key, desired.as_deref(), &observed, &plan);
        if recalled.is_none() {
            shared.count_drift(key, &plan);
            shared.seen.look(key, asked, &plan, &observed);
            shared.was_looked_at(key);
        }
        shared.hear_last_words(key, desired.as_deref(), &observed, &plan).await;

        let Some(stage) = plan.executable() else {
            let wait = plan.wake_at.map(|at| at.since(shared.clock.now()).max(Duration::from_millis(1)));
            let backing_off = matches!(plan.stages.first().and_then(|s| s.gate.as_ref()), Some(Gate::Backoff(_)));
            return match wait {
                Some(wait) if backing_off => Outcome::RetryAfter(wait),
                Some(wait) => Outcome::RequeueAfter(wait),
                None => Outcome::Success,
            };
        };
        shared.recent.forget(key);
        if recalled.is_some() {
            // Nothing is done on the strength of a memory.
            continue;
        }
        debug!("{plan}");
        if shared.settings.observe_only {
            return Outcome::Success;
        }
        let is_out_of_date =
            || shared.stopping.is_cancelled() || shared.desired.get(key) != desired || shared.mode(key) != mode;
        let report = execute(
            &*shared.engine,
            stage,
            &shared.limits,
            &shared.steps_of(key, desired.as_ref().map_or(0, |d| d.generation)),
            is_out_of_date,
        )
        .await;
        match report.end {
            End::Completed => {
                lock(&shared.retries).remove(key);
            }
            End::Superseded => {}
            End::Failed(error) => {
                shared.weather.doubt(&error);
                shared.note_failure(key, &error);
            }
        }
    }
    warn!("it does not settle; trying again later");
    Outcome::Retry
}

impl<E: Engine> Shared<E> {
    /// `unknown`: dependencies of which only a memory is known.
    pub(super) fn plan(
        &self,
        key: &ResourceKey,
        desired: Option<&Desired>,
        observed: &Observed,
        mode: Mode,
        unknown: &[ResourceKey],
    ) -> Plan {
        let mut deps = self.deps(key);
        deps.iter_mut().filter(|dep| unknown.contains(&dep.key)).for_each(|dep| dep.facts = DepFacts::default());
        let probes = self.probe_state(key, desired, observed);
        self.plan_with(key, desired, observed, mode, (&probes, &self.next_probe_state(key, observed)), &deps)
    }

    pub(super) fn plan_with(
        &self,
        key: &ResourceKey,
        desired: Option<&Desired>,
        observed: &Observed,
        mode: Mode,
        (probes, next_probes): (&ProbeState, &ProbeState),
        deps: &[Dep],
    ) -> Plan {
        let dependents = match (mode, key.kind) {
            (Mode::Removing, _) => self.dependents(key),
            (_, Kind::Network) => self.suspended(),
            _ => Vec::new(),
        };
        let image = self.images.state(key);
        let retry = lock(&self.retries).get(key).cloned().unwrap_or_default();
        let restarts = self.restarts_of(key, desired);
        let why = self.why(key);
        let revisions = self.revisions.of(key);
        let policy = Policy {
            stack: self.settings.stack.clone(),
            source: self.settings.source.clone(),
            revision: desired.map(|d| Arc::clone(&d.revision)).unwrap_or_default(),
            max_attempts: self.settings.max_attempts,
            salt: self.salt(),
            remove_volumes: self.settings.remove_volumes,
            all_sources: self.settings.all_sources,
            engine_local: self.local,
            files_dir: self.settings.files_dir.clone(),
        };
        let restart_asked = self.restart_asked(key, observed);
        let cx = PlanContext {
            now: self.clock.now(),
            engine_now: if self.local { self.clock.system() } else { self.clock.now() },
            deps,
            dependents: &dependents,
            image: &image,
            probes,
            next_probes,
            retry: &retry,
            restarts: &restarts,
            restart_asked: restart_asked.as_ref(),
            revisions: &revisions,
            retry_asked: self.retry_asked(key, observed),
            watched_since: self.weather.watched_since().max(self.revisions.since),
            mode,
            why: why.as_deref(),
            policy: &policy,
        };
        plan(key, desired, observed, &cx)
    }

    /// What has been Ready for long enough is over its crashes, and so is what is stopped on purpose.
    fn restarts_of(&self, key: &ResourceKey, desired: Option<&Desired>) -> Restarts {
        let mut all = lock(&self.restarts);
        if desired.and_then(|d| d.spec.as_service()).is_some_and(|s| s.spec.state == DesiredState::Stopped) {
            all.remove(key);
        }
        let Some(restarts) = all.get_mut(key) else { return Restarts::default() };
        let ready = self.status.get(key).filter(|s| s.ready);
        if let Some(condition) = ready.as_ref().and_then(|s| s.condition(ConditionType::Ready)) {
            restarts.ready_for(self.clock.now().since(condition.last_transition));
        }
        restarts.clone()
    }

    /// What a resource needs, with what is known of each.
    pub(super) fn deps(&self, key: &ResourceKey) -> Vec<Dep> {
        let graph = self.graph();
        let dep = |(needed, condition): &(ResourceKey, _)| {
            let facts = self.status.get(needed).map(|s| facts(&s)).unwrap_or_default();
            let restarts = graph.is_restarted_with(key, needed);
            Dep { key: needed.clone(), condition: *condition, restarts, facts }
        };
        graph.needs(key).iter().map(dep).collect()
    }

    /// A network or volume that it needs has not been looked at yet.
    fn stands_on_unknown(&self, key: &ResourceKey) -> bool {
        let graph = self.graph();
        graph.needs(key).iter().any(|(k, _)| k.kind != Kind::Service && self.status.get(k).is_none())
    }

    /// Those that need a resource which is to be removed, and are not gone yet.
    fn dependents(&self, key: &ResourceKey) -> Vec<ResourceKey> {
        let present = |k: &ResourceKey| self.status.get(k).is_none_or(|s| !is_gone(&s));
        let graph = self.graph();
        let mut left: Vec<_> = graph.needed_by(key).filter(|k| present(k)).cloned().collect();
        if key.kind != Kind::Service {
            // Of orphans nobody knows what they use: networks and volumes wait for all of them.
            let modes = lock(&self.modes);
            let orphans = modes
                .iter()
                .filter(|(k, mode)| k.kind == Kind::Service && **mode == Mode::Removing)
                .map(|(k, _)| k)
                .filter(|k| self.desired.get(k).is_none() && self.status.get(k).is_some_and(|s| !is_gone(&s)));
            left.extend(orphans.cloned());
        }
        left
    }

    /// Of the container that the plan will judge, and of no other: in a replacement the old one was
    /// the last to be asked, and must not speak for the new one (P9).
    fn probe_state(&self, key: &ResourceKey, desired: Option<&Desired>, observed: &Observed) -> ProbeState {
        let Observed::Service(observed) = observed else { return ProbeState::default() };
        let named = desired.and_then(|d| d.spec.as_service()).and_then(|s| observed.named(&s.spec.container.name));
        // Where none bears the name, one under another name is the service's.
        let serving = named.or_else(|| {
            let mut others = observed.owned.iter().filter(|c| part_of(&c.name).is_none());
            others.find(|c| self.answers_of(key, c) != ProbeState::default())
        });
        // Nor one of ours: what is to be adopted serves.
        let serving = serving.or_else(|| observed.adoptees.first());
        serving.map(|c| self.answers_of(key, c)).unwrap_or_default()
    }

    fn answers_of(&self, key: &ResourceKey, container: &Container) -> ProbeState {
        self.prober.state(key, &container.id, container.started_at)
    }

    /// Of the one that was started beside it, under whatever `containerName`.
    fn next_probe_state(&self, key: &ResourceKey, observed: &Observed) -> ProbeState {
        let Observed::Service(observed) = observed else { return ProbeState::default() };
        let mut nexts = observed.owned.iter().filter(|c| part_of(&c.name) == Some(NEXT));
        let asked = nexts.find_map(|c| Some(self.answers_of(key, c)).filter(|s| *s != ProbeState::default()));
        asked.unwrap_or_default()
    }

    /// Starts, changes or ends probes and pulls, as the plan wants them.
    fn set_wants(&self, key: &ResourceKey, desired: Option<&Desired>, observed: &Observed, plan: &Plan) {
        let Observed::Service(observed) = observed else { return };
        // What is there needs nobody to fetch it.
        let there = observed.spec_image.is_some();
        match plan.wants.image.as_ref().filter(|want| !there || want.policy == PullPolicy::Always) {
            Some(want) => self.images.want(key, want),
            None => self.images.leave(key),
        }
        let service = desired.and_then(|d| d.spec.as_service());
        let Some(service) = service else { return self.prober.forget(key) };
        let wanted = plan.wants.probes.iter().filter_map(|id| observed.containers().find(|c| c.id == *id));
        let targets: Vec<_> =
            wanted.map(|c| self.probe_target(service, c, observed.network_holder.as_deref())).collect();
        // What serves after a rollback is asked what it was asked when it was Ready.
        let probes = plan.wants.as_proven.as_ref().unwrap_or(&service.spec.probes);
        self.prober.want(key, &targets, probes);
    }

    pub(super) fn probe_target(
        &self,
        service: &Service,
        container: &Container,
        network_holder: Option<&Container>,
    ) -> Target {
        let passed = self
            .settings
            .passed_gates
            .get(&*service.name)
            .is_some_and(|gate| gate.container == container.id && Some(gate.started_at) == container.started_at);
        let target = Target::of(container, &self.weather.met().info).masking(service.secrets()).passed_before(passed);
        match network_holder {
            Some(holder) => target.within(holder),
            None => target,
        }
    }

    fn note_failure(&self, key: &ResourceKey, error: &EngineError) {
        let failure = failure(error);
        let mut retries = lock(&self.retries);
        let attempts = retries.get(key).map_or(0, |r| r.attempts).saturating_add(1);
        let given_up = failure.terminal || attempts >= self.settings.max_attempts;
        // Failed is tried on, at the cap.
        let delay = if given_up {
            self.settings.backoff.max
        } else {
            self.settings.backoff.delay(attempts, lock(&self.noise).unit())
        };
        warn!(attempt = attempts, "{key}: {error}");
        let next_at = Some(self.clock.now().plus(delay));
        retries.insert(key.clone(), Retry { attempts, failure: Some(failure), next_at });
    }

    pub(super) fn publish_engine_failure(&self, key: &ResourceKey, desired: Option<&Desired>, error: &EngineError) {
        let failure = failure(error);
        warn!("{error}");
        let previous = self.status.get(key);
        let draft = StatusDraft {
            // Readiness is not known; what was known stands until it is.
            ready: previous.as_ref().is_some_and(|s| s.ready),
            reason: failure.reason,
            message: failure.message.clone(),
            reconciling: Some((failure.reason, failure.message)),
            stalled: None,
            dependency_failing: None,
            settled: false,
            container: previous.as_ref().and_then(|s| s.container.clone()),
        };
        self.publish_draft(key, desired, draft);
    }

    /// Nothing is said of it, and nothing asked of it, any more.
    fn let_go(&self, key: &ResourceKey) {
        self.prober.forget(key);
        self.images.leave(key);
        self.seen.forget(key);
        self.endings.forget(key);
        self.fresh.forget(key);
        lock(&self.retries).remove(key);
        lock(&self.restarts).remove(key);
        self.status.set(key, None);
    }

    pub(super) fn publish(&self, key: &ResourceKey, desired: Option<&Desired>, mode: Mode, plan: &Plan) {
        if mode == Mode::Removing && desired.is_none() && plan.is_empty() {
            // An orphan is gone: nothing is left to be told of it.
            lock(&self.modes).remove(key);
            self.seen.forget(key);
            self.endings.forget(key);
            self.fresh.forget(key);
            self.status.set(key, None);
            self.wake_neighbours(key, false);
            return;
        }
        self.publish_draft(key, desired, plan.status.clone());
    }

    pub(super) fn status_of(&self, desired: Option<&Desired>, draft: StatusDraft, previous: Option<&Status>) -> Status {
        let service = desired.and_then(|d| d.spec.as_service());
        let about = About {
            // What is suspended and not described is not missed.
            required: service.map_or(draft.reason != Reason::Suspended, |s| s.spec.required),
            generation: desired.map_or(0, |d| d.generation),
            image: service.map(|s| s.spec.container.image.clone()),
            depends_on: service.map(|s| s.spec.depends_on.clone()).unwrap_or_default(),
            revision: desired.map(|d| Arc::clone(&d.revision)).unwrap_or_default(),
        };
        Status::from_draft(draft, about, previous, self.clock.now())
    }

    fn publish_draft(&self, key: &ResourceKey, desired: Option<&Desired>, draft: StatusDraft) {
        let previous = self.status.get(key);
        let status = self.status_of(desired, draft, previous.as_deref());
        let before = previous.as_deref().map(facts);
        let after = facts(&status);
        let gone = (previous.as_deref().is_some_and(is_gone), is_gone(&status));
        self.tell_status(key, previous.as_deref(), &status);
        self.status.set(key, Some(status));
        if before.as_ref() != Some(&after) || gone.0 != gone.1 {
            let good_news = after.ready && after.stalled.is_none() && !gone.1;
            self.wake_neighbours(key, good_news);
        }
    }

    /// Dependents hear of a resource's facts; when it is being removed, so does what it needs.
    ///
    /// `good_news`: it is ready. That changes nothing for who has all it needs already, which in a
    /// converged stack is everybody, unless it is restarted with it.
    fn wake_neighbours(&self, key: &ResourceKey, good_news: bool) {
        let graph = self.graph();
        let content = |status: &Status| {
            let dependencies = status.condition(ConditionType::DependenciesReady);
            status.settled && dependencies.is_some_and(|c| c.status == Truth::True)
        };
        for dependent in graph.needed_by(key) {
            // One that is being planned at this moment may have read the older facts.
            let at_rest = !self.queue.is_busy(dependent);
            let is_indifferent = good_news && !graph.is_restarted_with(dependent, key);
            if !(is_indifferent && at_rest && self.status.get(dependent).is_some_and(|s| content(&s))) {
                // What it saw of this one is out of date.
                self.look_again(dependent.clone(), Trigger::DependencyChanged);
            }
        }
        // What is being removed waits for those that need it; networks and volumes, of which nobody
        // knows who among the orphans needs them, wait for all.
        let waits = |k: &ResourceKey| k.kind != Kind::Service || graph.needs(key).iter().any(|(n, _)| n == k);
        let removing = lock(&self.modes).clone();
        for (other, mode) in removing {
            if mode == Mode::Removing && other != *key && waits(&other) {
                // A network remembers who was attached to it.
                self.look_again(other, Trigger::DependencyChanged);
            }
        }
    }
}

/// Bytes of the words that a dependent repeats. A last good spec and a new one may need each other, where nobody else
/// would let that pass: then each repeats the other, and without a limit their words would grow, and wake each other,
/// without end.
const MAX_WHY: usize = 300;

/// What dependents may know.
pub fn facts(status: &Status) -> DepFacts {
    let ready_condition = status.conditions.first();
    let stalled = status.condition(ConditionType::Stalled).filter(|c| c.status == Truth::True);
    let is_the_end = stalled.is_some_and(|c| c.reason == Reason::ExitedWithError);
    let completed = match ready_condition.map(|c| c.reason) {
        Some(Reason::Completed) => Some(0),
        // Of a one-shot that is an end, which nobody goes on from; what is to run on has not come to one.
        Some(Reason::ExitedWithError) if is_the_end => status.container.as_ref().and_then(|c| c.exit_code),
        _ => None,
    };
    // Held on purpose: it stays as it is until somebody changes a manifest.
    let held = matches!(status.phase, Phase::Stopped | Phase::Suspended);
    DepFacts {
        started: status.container.as_ref().is_some_and(|c| c.running) || completed.is_some(),
        ready: status.ready,
        // Where it cannot become what is asked for, what there is has to do.
        changing: status.observed_generation != status.generation && !status.is_stalled() && !held,
        completed,
        started_at: status.container.as_ref().and_then(|c| c.started_at),
        stalled: ((status.is_stalled() || held) && !status.ready).then(|| printable(&status.message, MAX_WHY)),
        is_leaving: !status.settled && ready_condition.is_some_and(|c| c.reason == Reason::Exists),
    }
}
