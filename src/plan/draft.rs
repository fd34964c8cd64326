//! A plan in the making, for services, networks and volumes alike: stages, gates, what is said, and
//! the one rule for what failures do to all of it.

use super::readiness::Verdict;
use super::types::{Action, FieldChange, Gate, Plan, PlanContext, Stage, Step, Wants};
use crate::clock::Timestamp;
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::revision::Refusal;
use crate::resource::spec::DependencyCondition;
use crate::resource::status::{ContainerSummary, Reason, StatusDraft};
use crate::resource::units::human_duration;

/// A reason and the sentence that goes with it.
pub(super) type Said = (Reason, String);

pub(super) fn said(reason: Reason, message: impl Into<String>) -> Said {
    (reason, message.into())
}

pub(super) struct Draft<'a> {
    key: &'a ResourceKey,
    cx: &'a PlanContext<'a>,
    action: Action,
    stages: Vec<Stage>,
    pub(super) changes: Vec<FieldChange>,
    pub(super) wants: Wants,
    /// How it is, whatever is done about it.
    pub(super) verdict: Verdict,
    /// Set where something is done, or waited for.
    pub(super) reconciling: Option<Said>,
    pub(super) stalled: Option<Said>,
    pub(super) container: Option<ContainerSummary>,
    wake_at: Option<Timestamp>,
    settled: Settled,
    pub(super) refuses: Option<Refusal>,
}

/// Whether the engine is as desired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// If nothing differs and nothing is to be done.
    IfEmpty,
    /// Whatever differs: hands off.
    Held,
    /// No: something is waited for, or what is desired is not known.
    Never,
}

impl<'a> Draft<'a> {
    pub(super) fn new(key: &'a ResourceKey, cx: &'a PlanContext<'a>, verdict: Verdict) -> Self {
        Self {
            key,
            cx,
            action: Action::None,
            stages: Vec::new(),
            changes: Vec::new(),
            wants: Wants::default(),
            verdict,
            reconciling: None,
            stalled: None,
            container: None,
            wake_at: None,
            settled: Settled::IfEmpty,
            refuses: None,
        }
    }

    pub(super) fn say(&mut self, ready: bool, reason: Reason, message: impl Into<String>) {
        self.verdict = Verdict::new(ready, reason, message);
    }

    pub(super) fn subject(&self) -> &'a str {
        &self.key.name
    }

    pub(super) fn hold(&mut self) {
        self.settled = Settled::Held;
    }

    pub(super) fn unsettle(&mut self) {
        self.settled = Settled::Never;
    }

    pub(super) fn wake(&mut self, at: Option<Timestamp>) {
        self.wake_at = match (self.wake_at, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Nothing can be done now: somebody else is at it, or has to be.
    pub(super) fn wait(&mut self, what: Said, until: Timestamp) {
        self.reconciling = Some(what);
        self.unsettle();
        self.wake(Some(until));
    }

    /// Adds steps that can be taken now.
    ///
    /// After a failure nothing is tried until its time has come (P13); what failed is said meanwhile.
    pub(super) fn act(&mut self, action: Action, steps: Vec<Step>, what: Said) {
        self.act_at_once(action, steps, what);
        let retry = self.cx.retry;
        let next_at = retry.next_at.filter(|at| *at > self.cx.now);
        if let Some(failure) = &retry.failure {
            let again = next_at
                .map(|at| format!("; next try in {}", human_duration(at.since(self.cx.now))))
                .unwrap_or_default();
            let (n, max) = (retry.attempts, self.cx.policy.max_attempts);
            if failure.terminal || n >= max {
                self.stalled = Some((failure.reason, format!("{}{again}", failure.message)));
            } else {
                let text = format!("attempt {n} of {max} failed: {}{again}", failure.message);
                self.reconciling = Some((Reason::RetryBackoff, text));
            }
        }
        if let Some(at) = next_at {
            self.gate(Gate::Backoff(at));
            self.wake(Some(at));
        }
    }

    /// The same, whatever failed before: it was something else.
    pub(super) fn act_at_once(&mut self, action: Action, steps: Vec<Step>, what: Said) {
        self.action = action;
        self.reconciling = Some(what);
        self.stages.push(Stage { gate: None, steps });
    }

    /// Adds steps that mend something while the service goes on: nobody is told unless that fails.
    pub(super) fn mend(&mut self, steps: Vec<Step>) {
        self.act(Action::Update, steps, said(Reason::Starting, "mending it in place"));
        if self.cx.retry.failure.is_none() {
            self.reconciling = None;
        }
    }

    /// Puts a gate before the first stage.
    pub(super) fn gate(&mut self, gate: Gate) {
        if let Some(first) = self.stages.first_mut() {
            first.gate = Some(gate);
        }
    }

    pub(super) fn has_no_steps(&self) -> bool {
        self.stages.is_empty()
    }

    /// What holds the first stage back.
    pub(super) fn first_gate(&self) -> Option<&Gate> {
        self.stages.first()?.gate.as_ref()
    }

    /// Adds steps for later.
    pub(super) fn then(&mut self, gate: Gate, steps: Vec<Step>) {
        self.stages.push(Stage { gate: Some(gate), steps });
    }

    /// Adds steps before everything else, to be taken now.
    pub(super) fn first(&mut self, steps: Vec<Step>) {
        self.stages.insert(0, Stage { gate: None, steps });
    }

    pub(super) fn is_acting(&self, action: Action) -> bool {
        self.action == action
    }

    /// Names the plan, where it consists of steps for later alone.
    pub(super) fn name(&mut self, action: Action) {
        self.action = action;
    }

    pub(super) fn probe(&mut self, container: ContainerId) {
        if !self.wants.probes.contains(&container) {
            self.wants.probes.push(container);
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        let cx = self.cx;
        self.wake(self.verdict.wake_at);
        let Verdict { ready, reason, message, stalled, .. } = self.verdict;
        // Something that is being done about it may help.
        let at_it = self.stages.first().is_some_and(|s| s.gate.is_none() && !s.steps.is_empty());
        let stalled = self.stalled.or_else(|| (stalled && !at_it).then(|| (reason, message.clone())));
        let on_its_way = matches!(reason, Reason::Starting | Reason::Creating | Reason::CrashLoop);
        let reconciling =
            self.reconciling.or_else(|| (!ready && stalled.is_none() && on_its_way).then(|| (reason, message.clone())));
        let failing: Vec<_> = cx
            .deps
            .iter()
            .filter(|d| !d.is_met())
            .map(|d| format!("{} is not {}", d.key, condition_word(d.condition)))
            .collect();
        let empty = self.stages.iter().all(|s| s.steps.is_empty());
        let status = StatusDraft {
            ready,
            reason,
            message: match self.container.as_ref().and_then(|c| c.stand_in.as_deref()) {
                Some(program) => format!("{message} (stand-in for {program})"),
                None => message,
            },
            reconciling,
            stalled,
            dependency_failing: (ready && !failing.is_empty()).then(|| failing.join(", ")),
            settled: match self.settled {
                Settled::Held => true,
                Settled::Never => false,
                Settled::IfEmpty => empty && self.changes.is_empty(),
            },
            container: self.container,
        };
        Plan {
            key: self.key.clone(),
            action: self.action,
            stages: self.stages,
            changes: self.changes,
            wants: self.wants,
            status,
            wake_at: self.wake_at,
            refuses: self.refuses,
        }
    }
}

pub(super) fn condition_word(condition: DependencyCondition) -> &'static str {
    match condition {
        DependencyCondition::Started => "started",
        DependencyCondition::Ready => "ready",
        DependencyCondition::Completed => "completed",
    }
}
