//! What the probes of one run of one container have shown, and what is asked when. Pure: time is
//! an argument, and nothing here does I/O. `prober.rs` drives it.
//!
//! * The **gate** is the startup probe, or the readiness probe where there is none. It is asked
//!   every [`Probe::STARTUP_INTERVAL`] until it passes, so that dependents start at once. Until then
//!   there are no verdicts: how long it may take is the planner's business.
//! * **Readiness** is asked at the gate's pace until it has passed once, and at its own interval
//!   from then on. **Liveness** begins once the gate is open.
//! * What the engine could not ask is no answer of liveness: an engine that is away restarts nothing.
//! * After [`PATIENCE`] a gate is asked once a second only.

use std::time::Duration;

use tokio::time::Instant;

use super::ROLES;
use super::check::Tried;
use super::route::{Route, Target, no_route, routes};
use crate::clock::Timestamp;
use crate::resource::probe::{Check, LastTry, Probe, ProbeRole, ProbeState, Probes};

/// How long a gate without a deadline is asked at full speed.
const PATIENCE: Duration = Duration::from_mins(1);
/// And how often after that.
const SLOW_GATE: Duration = Duration::from_secs(1);
/// Whatever a manifest says.
const SHORTEST: Duration = Duration::from_millis(10);
/// A changed message of a failing probe is news at most this often.
const MESSAGE_NEWS: Duration = Duration::from_secs(2);

/// One probe's standing.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Counts changes of the probe: an earlier one's answers say nothing about this.
    pub version: u64,
    pub routes: Vec<Route>,
    /// Which of them is asked.
    route: usize,
    /// When the next try begins, while one is planned.
    pub due: Option<Instant>,
    /// When the prober's timer for it goes off.
    pub timed: Option<Instant>,
    pub in_flight: bool,
    /// An exec that has outlived its timeout.
    pub hanging: Option<String>,
    passes: u32,
    failures: u32,
    /// Past thresholds.
    verdict: Option<bool>,
    pub last: Option<LastTry>,
}

impl Slot {
    pub fn route(&self) -> Option<&Route> {
        self.routes.get(self.route)
    }
}

#[derive(Debug)]
pub(super) struct Watch {
    pub target: Target,
    pub probes: Probes,
    /// Tells this watch's tries from those of an earlier one.
    pub epoch: u64,
    begun: Instant,
    /// When the gate opened.
    started: Option<Instant>,
    /// Readiness has passed once.
    passed_once: bool,
    slots: [Slot; 3],
    told: Told,
}

/// What was last reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    started: bool,
    ready: Option<bool>,
    live: Option<bool>,
    unreachable: bool,
    spoken: bool,
    /// Only of a failing probe, whose messages bear no latencies.
    failing: Option<String>,
    at: Option<Instant>,
}

impl Watch {
    pub fn new(target: Target, probes: Probes, epoch: u64, now: Instant) -> Self {
        let mut watch = Self {
            target,
            probes,
            epoch,
            begun: now,
            started: None,
            passed_once: false,
            slots: Default::default(),
            told: Told::default(),
        };
        // Without a readiness probe the gate is all there is to ask.
        let passed_before = watch.target.passed_before && watch.probes.readiness.is_some();
        if watch.gate().is_none() || (passed_before && watch.probes.startup.is_some()) {
            watch.started = Some(now);
            // Whoever wants it knows that; news is what its probes say.
            watch.told.started = true;
        }
        watch.find_routes();
        watch.plan(now);
        watch
    }

    pub fn probe(&self, role: ProbeRole) -> Option<&Probe> {
        match role {
            ProbeRole::Startup => self.probes.startup.as_ref(),
            ProbeRole::Readiness => self.probes.readiness.as_ref(),
            ProbeRole::Liveness => self.probes.liveness.as_ref(),
        }
    }

    pub fn slot(&mut self, role: ProbeRole) -> &mut Slot {
        &mut self.slots[role as usize]
    }

    fn peek(&self, role: ProbeRole) -> &Slot {
        &self.slots[role as usize]
    }

    pub fn due(&self, role: ProbeRole) -> Option<Instant> {
        self.peek(role).due
    }

    fn gate(&self) -> Option<ProbeRole> {
        [ProbeRole::Startup, ProbeRole::Readiness].into_iter().find(|r| self.probe(*r).is_some())
    }

    /// Whose answers say whether it is ready, now.
    fn decider(&self) -> Option<ProbeRole> {
        match self.started {
            Some(_) if self.probes.readiness.is_some() => Some(ProbeRole::Readiness),
            _ => self.gate(),
        }
    }

    /// Whether it is asked at present.
    fn is_asked(&self, role: ProbeRole) -> bool {
        self.probe(role).is_some()
            && !self.target.paused
            && match role {
                ProbeRole::Startup => self.started.is_none(),
                ProbeRole::Readiness => self.started.is_some() || self.probes.startup.is_none(),
                ProbeRole::Liveness => self.started.is_some(),
            }
    }

    /// The same run, perhaps with other addresses or other probes. What still holds is kept.
    pub fn adjust(&mut self, target: Target, probes: &Probes, now: Instant) {
        debug_assert!(self.target.is_same_run(&target), "another run has a watch of its own");
        let changed: Vec<_> = ROLES.into_iter().filter(|r| self.probe(*r) != probe_of(probes, *r)).collect();
        let was_paused = self.target.paused;
        let moved = self.target != target;
        self.target = target;
        self.probes.clone_from(probes);
        for role in &changed {
            let slot = self.slot(*role);
            // What is under way or left behind stays known: execs never overlap.
            *slot = Slot {
                version: slot.version + 1,
                in_flight: slot.in_flight,
                hanging: slot.hanging.take(),
                ..Slot::default()
            };
            if *role == ProbeRole::Readiness {
                self.passed_once = false;
            }
        }
        if self.started.is_none() && self.gate().is_none() {
            self.started = Some(now);
        }
        if moved || !changed.is_empty() {
            self.find_routes();
        }
        if was_paused && !self.target.paused {
            // Whatever it said before it was frozen is no longer known to hold.
            for slot in &mut self.slots {
                (slot.passes, slot.failures) = (0, 0);
            }
            self.slot(ProbeRole::Readiness).verdict = None;
        }
        self.plan(now);
    }

    fn find_routes(&mut self) {
        for role in ROLES {
            let found = self.probe(role).map(|p| routes(&p.check, &self.target)).unwrap_or_default();
            let slot = self.slot(role);
            if slot.routes != found {
                slot.routes = found;
                slot.route = 0;
            }
        }
    }

    /// Plans a first try of whatever should be asked and is not yet, and no try of what should not.
    fn plan(&mut self, now: Instant) {
        for role in ROLES {
            let asked = self.is_asked(role);
            let slot = self.slot(role);
            if !asked || slot.routes.is_empty() {
                slot.due = None;
            } else if slot.due.is_none() && !slot.in_flight {
                slot.due = Some(now);
            }
        }
    }

    /// From the end of a try to the begin of the next.
    fn gap(&self, role: ProbeRole, now: Instant) -> Option<Duration> {
        let probe = self.probe(role)?;
        let opening = role == ProbeRole::Startup || (role == ProbeRole::Readiness && !self.passed_once);
        let mut gap = match role {
            ProbeRole::Readiness if opening => probe.interval.min(Probe::STARTUP_INTERVAL),
            _ => probe.interval,
        };
        if opening && now.duration_since(self.begun) >= probe.deadline.map_or(PATIENCE, |d| d.0) {
            gap = gap.max(SLOW_GATE);
        }
        let least = match (&probe.check, opening) {
            (Check::Exec { .. }, true) => Probe::EXEC_STARTUP_INTERVAL,
            (Check::Exec { .. }, false) => Probe::EXEC_INTERVAL,
            _ => SHORTEST,
        };
        Some(gap.max(least))
    }

    /// A try of a probe that has been changed meanwhile has ended.
    pub fn discard(&mut self, role: ProbeRole, hanging: Option<String>, now: Instant) {
        let slot = self.slot(role);
        slot.in_flight = false;
        slot.hanging = hanging;
        self.plan(now);
    }

    /// Takes a try's outcome into account, and plans the next.
    pub fn record(&mut self, role: ProbeRole, route: &Route, tried: Tried, ended: Instant, at: Timestamp) {
        let Tried { passed, message, unroutable, hanging, unasked, latency } = tried;
        let Some(probe) = self.probe(role) else { return };
        let (kind, need, bear) = (probe.check.kind(), probe.success_threshold.max(1), probe.failure_threshold.max(1));
        let interval = probe.interval;
        let slot = self.slot(role);
        slot.in_flight = false;
        slot.hanging = hanging;
        if unasked && role == ProbeRole::Liveness {
            // Nothing is restarted since the engine is away.
        } else if passed {
            slot.failures = 0;
            slot.passes = slot.passes.saturating_add(1);
        } else {
            slot.passes = 0;
            slot.failures = slot.failures.saturating_add(1);
        }
        let in_a_row = slot.passes.max(slot.failures);
        slot.last = Some(LastTry { role, kind, route: route.to_string(), passed, message, latency, at, in_a_row });
        if unroutable && slot.route() == Some(route) {
            slot.route = (slot.route + 1) % slot.routes.len();
        }
        let (enough, too_many) = (slot.passes >= need, slot.failures >= bear);
        if enough {
            slot.verdict = Some(true);
            if role == ProbeRole::Readiness {
                self.passed_once = true;
            }
            if self.started.is_none() && self.gate() == Some(role) {
                self.started = Some(ended);
                if role == ProbeRole::Startup {
                    self.pass_same_question(ended);
                }
            }
        } else if too_many && self.may_fail(role, interval * bear, ended) {
            self.slot(role).verdict = Some(false);
        }
        let next = self.gap(role, ended).map(|gap| ended + gap);
        self.slot(role).due = next;
        // Opens what waited for the gate, closes the gate's own probe.
        self.plan(ended);
    }

    /// Readiness that asks just what startup asked has its first answer.
    fn pass_same_question(&mut self, now: Instant) {
        let (Some(startup), Some(readiness)) = (&self.probes.startup, &self.probes.readiness) else { return };
        if startup.check != readiness.check || readiness.success_threshold > 1 {
            return;
        }
        let interval = readiness.interval;
        let last = self.peek(ProbeRole::Startup).last.clone();
        self.passed_once = true;
        let slot = self.slot(ProbeRole::Readiness);
        slot.verdict = Some(true);
        slot.passes = 1;
        slot.last = last.map(|last| LastTry { role: ProbeRole::Readiness, ..last });
        slot.due = Some(now + interval);
    }

    /// A probe that has never passed is asked many times a second; its failures count only after
    /// as long as they would take at its own pace, and the gate's never do.
    fn may_fail(&self, role: ProbeRole, bear: Duration, now: Instant) -> bool {
        match self.started {
            None => false,
            Some(since) if role == ProbeRole::Readiness && !self.passed_once => now.duration_since(since) >= bear,
            Some(_) => true,
        }
    }

    pub fn state(&self) -> ProbeState {
        let decider = self.decider();
        let slot = decider.map(|r| self.peek(r));
        let unreachable = slot.is_some_and(|s| s.routes.is_empty());
        let started = self.started.is_some();
        let mut ready = match (started, &self.probes.readiness) {
            (false, _) => None,
            (true, Some(_)) => self.peek(ProbeRole::Readiness).verdict,
            (true, None) => Some(true),
        };
        let mut message = slot.and_then(|s| s.last.as_ref()).map(|l| l.message.clone()).unwrap_or_default();
        if unreachable {
            ready = ready.map(|_| false);
            message = decider.and_then(|r| self.probe(r)).map(|p| no_route(&p.check, &self.target)).unwrap_or_default();
        }
        if self.target.paused {
            ready = Some(false);
            "the container is paused".clone_into(&mut message);
        }
        ProbeState { started, ready, live: self.peek(ProbeRole::Liveness).verdict, message, unreachable }
    }

    pub fn last(&self) -> Vec<LastTry> {
        self.slots.iter().filter_map(|s| s.last.clone()).collect()
    }

    /// Whether there is news since this was last asked.
    pub fn take_news(&mut self, now: Instant) -> bool {
        let state = self.state();
        let failing =
            self.decider().and_then(|r| self.peek(r).last.as_ref()).filter(|l| !l.passed).map(|l| l.message.clone());
        let mut fresh = Told {
            started: state.started,
            ready: state.ready,
            live: state.live,
            unreachable: state.unreachable,
            spoken: !state.message.is_empty(),
            failing,
            at: Some(now),
        };
        let waited = self.told.at.is_none_or(|at| now.duration_since(at) >= MESSAGE_NEWS);
        // A probe that fails now and then within its threshold is no news either way.
        let grumbles = fresh.failing.is_none() || self.told.failing == fresh.failing || state.ready == Some(true);
        if grumbles || !waited {
            fresh.failing.clone_from(&self.told.failing);
        }
        fresh.at = self.told.at;
        let news = fresh != self.told;
        if news {
            fresh.at = Some(now);
            self.told = fresh;
        }
        news
    }
}

fn probe_of(probes: &Probes, role: ProbeRole) -> Option<&Probe> {
    match role {
        ProbeRole::Startup => probes.startup.as_ref(),
        ProbeRole::Readiness => probes.readiness.as_ref(),
        ProbeRole::Liveness => probes.liveness.as_ref(),
    }
}
