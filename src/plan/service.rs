//! Services: create, start, replace, stop, remove.
//!
//! A replace goes through names that tell a fresh process how far it has come (P9, P11):
//!
//! | state on the engine | what it means, and what comes next |
//! |---|---|
//! | `kafka` | nothing is under way |
//! | `kafka`, `kafka.next` | the new one is made, the old one serves: complete the new one, stop the old one, swap names |
//! | `kafka.old`, `kafka.next` | the old one is stopped: the new one takes the name and starts |
//! | `kafka.old`, `kafka` | the new one has started: wait until it is Ready, then remove the old one |
//! | `kafka.old` | the new one was lost: create it again |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::drift::{drift, sets_label};
use super::readiness::{Verdict, exit_text, summary, verdict};
use super::types::{
    Action, Cause, ClosedBy, FieldChange, Gate, ImageWant, Mode, Op, Plan, PlanContext, Stage, Step, Target, Wants,
};
use crate::clock::Timestamp;
use crate::resource::ResourceKey;
use crate::resource::container::{ContainerCreate, Endpoint};
use crate::resource::desired::Service;
use crate::resource::hash::{SaltedHash, sha256_hex};
use crate::resource::image::{ImageState, PullFailureReason};
use crate::resource::labels::{self, FAILED, NEXT, OLD};
use crate::resource::observed::{Container, Network, RunState, ServiceObserved};
use crate::resource::spec::{DesiredState, NamespaceMode, NetworkAttachment, NetworkMode, PullPolicy, RestartPolicy};
use crate::resource::status::{ContainerSummary, Reason, StatusDraft};
use crate::resource::units::human_duration;

/// For what no manifest describes any more, and so nobody knows the grace of.
const ORPHAN_GRACE: Duration = Duration::from_secs(30);
/// A removal by somebody else that is under way, and a conflict that may have gone, are looked at again after this.
const REMOVAL_POLL: Duration = Duration::from_millis(200);
const CONFLICT_POLL: Duration = Duration::from_secs(30);

pub fn plan(
    key: &ResourceKey,
    generation: u64,
    service: Option<&Arc<Service>>,
    observed: &ServiceObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let mut planner = Planner { key, observed, cx, draft: Draft::default() };
    match (cx.mode, service) {
        (Mode::Removing, _) => planner.remove(service),
        (Mode::Suspended, Some(service)) => planner.suspended(service),
        (Mode::Frozen, service) => planner.frozen(service),
        (_, None) => planner.remove(None),
        (Mode::Normal, Some(service)) => match service.spec.state {
            DesiredState::Running => planner.run(service, generation),
            DesiredState::Stopped => planner.stop(service),
        },
    }
    planner.finish()
}

/// Where a file is bound from when the root is read-only: below the files folder, by contents.
pub fn file_bind(service: &Service, target: &str) -> String {
    let content = sha256_hex(service.file_content(target));
    format!("{}/{}/{}", service.name, &content[..16], target.trim_start_matches('/').replace('/', "_"))
}

#[derive(Default)]
struct Draft {
    action: Option<Action>,
    stages: Vec<Stage>,
    changes: Vec<FieldChange>,
    wants: Wants,
    verdict: Option<Verdict>,
    reconciling: Option<(Reason, String)>,
    stalled: Option<(Reason, String)>,
    container: Option<ContainerSummary>,
    wake_at: Option<Timestamp>,
    /// Only for what is held as it is (suspended, frozen): counts as settled whatever the plan.
    held: bool,
}

struct Planner<'a> {
    key: &'a ResourceKey,
    observed: &'a ServiceObserved,
    cx: &'a PlanContext<'a>,
    draft: Draft,
}

impl Planner<'_> {
    fn finish(self) -> Plan {
        let Draft { action, stages, changes, wants, verdict, mut reconciling, stalled, container, mut wake_at, held } =
            self.draft;
        let verdict = verdict.unwrap_or_else(|| Verdict::new(false, Reason::Pending, "nothing runs yet"));
        wake_at = earliest(wake_at, verdict.wake_at);
        let stalled = stalled.or_else(|| verdict.stalled.then(|| (verdict.reason, verdict.message.clone())));
        let empty = stages.iter().all(|s| s.steps.is_empty());
        if stalled.is_none() && reconciling.is_none() && !verdict.ready {
            // On its way up: said as such, so that a phase shows it.
            if matches!(verdict.reason, Reason::Starting | Reason::Creating | Reason::CrashLoop) {
                reconciling = Some((verdict.reason, verdict.message.clone()));
            }
        }
        let failing: Vec<_> = self
            .cx
            .deps
            .iter()
            .filter(|d| !d.is_met())
            .map(|d| format!("{} is not {}", d.key, condition_word(d.condition)))
            .collect();
        let status = StatusDraft {
            ready: verdict.ready,
            reason: verdict.reason,
            message: with_stand_in(verdict.message, container.as_ref()),
            reconciling,
            stalled,
            dependency_failing: (verdict.ready && !failing.is_empty()).then(|| failing.join(", ")),
            settled: empty || held,
            container,
        };
        Plan { key: self.key.clone(), action: action.unwrap_or(Action::None), stages, changes, wants, status, wake_at }
    }

    // ---- modes ---------------------------------------------------------------------------------

    fn suspended(&mut self, service: &Arc<Service>) {
        self.draft.held = true;
        let current = self.observed.named(&service.spec.container.name);
        let what = self.say_container(service, current);
        let mut verdict = what.unwrap_or_else(|| Verdict::new(false, Reason::Suspended, "nothing runs"));
        verdict.wake_at = None;
        verdict.stalled = false;
        let message = format!("suspended; left as it is ({})", verdict.message);
        self.draft.verdict = Some(Verdict { reason: Reason::Suspended, message, ..verdict });
    }

    /// Its manifest is broken: what runs goes on running, and is started again if it ended (rules 2).
    fn frozen(&mut self, service: Option<&Arc<Service>>) {
        let current = match service {
            Some(service) => self.observed.named(&service.spec.container.name),
            None => self.observed.owned.iter().find(|c| ![NEXT, OLD, FAILED].iter().any(|s| c.name.ends_with(s))),
        };
        let Some(current) = current else {
            self.draft.verdict = Some(Verdict::new(false, Reason::ManifestInvalid, "nothing runs"));
            self.draft.stalled = Some((Reason::ManifestInvalid, "manifest not applied, and nothing runs".to_owned()));
            return;
        };
        self.draft.container = Some(summary(current, self.observed));
        let policy = current.owner.restart_policy.unwrap_or(current.config.restart);
        if current.state == RunState::Exited && !policy.is_one_shot() {
            let mut steps = Vec::new();
            if current.config.restart != policy {
                steps.push(step(Op::SetRestartPolicy { target: existing(current), policy }, Cause::NotRunning));
            }
            steps.push(step(Op::Start(existing(current)), Cause::NotRunning));
            self.act(Action::Start, steps, (Reason::Starting, "starting what runs under a broken manifest".to_owned()));
        }
        let running = current.state == RunState::Running;
        let word = if running { "running as last applied" } else { "not running" };
        self.draft.verdict = Some(Verdict::new(running, Reason::ManifestInvalid, word));
        self.draft.stalled = Some((Reason::ManifestInvalid, format!("{word}; manifest not applied")));
    }

    fn remove(&mut self, service: Option<&Arc<Service>>) {
        let cause = if service.is_some() { Cause::Down } else { Cause::Orphaned };
        let grace = service.map_or(ORPHAN_GRACE, |s| s.spec.stop_grace);
        let mut steps = Vec::new();
        for container in &self.observed.owned {
            match container.state {
                RunState::Removing => self.draft.wake_at = Some(self.cx.now.plus(REMOVAL_POLL)),
                RunState::Running | RunState::Paused | RunState::Restarting => {
                    steps.extend(quiet_stop(container, grace, cause));
                    steps.push(step(Op::RemoveContainer(existing(container)), cause));
                }
                RunState::Created | RunState::Exited | RunState::Dead => {
                    steps.push(step(Op::RemoveContainer(existing(container)), cause));
                }
            }
        }
        if steps.is_empty() && self.draft.wake_at.is_none() {
            self.draft.verdict = Some(Verdict::new(false, Reason::Removing, "removed"));
            return;
        }
        if let Some(first) = self.observed.owned.iter().find(|c| c.is_running()) {
            self.draft.container = Some(summary(first, self.observed));
        }
        self.draft.verdict = Some(Verdict::new(false, Reason::Removing, "to be removed"));
        self.act(Action::Remove, steps, (Reason::Removing, "removing".to_owned()));
        if !self.cx.dependents.is_empty() {
            let names = self.cx.dependents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            self.draft.reconciling = Some((Reason::Removing, format!("waits until {names} is gone")));
            self.gate(Gate::Dependents(self.cx.dependents.to_vec()));
        }
    }

    /// `state: Stopped`: what is there is kept, stopped.
    fn stop(&mut self, service: &Arc<Service>) {
        let name = &service.spec.container.name;
        let mut steps = Vec::new();
        for container in self.observed.owned.iter().filter(|c| c.is_running()) {
            steps.extend(quiet_stop(container, service.spec.stop_grace, Cause::StateStopped));
        }
        self.draft.container = self.observed.named(name).map(|c| summary(c, self.observed));
        self.draft.verdict = Some(Verdict::new(false, Reason::StoppedAsDesired, "stopped, as its manifest says"));
        if !steps.is_empty() {
            self.act(Action::Stop, steps, (Reason::Stopping, "stopping".to_owned()));
        }
    }

    // ---- running -------------------------------------------------------------------------------

    fn run(&mut self, service: &Arc<Service>, generation: u64) {
        let name = service.spec.container.name.as_str();
        if let Some(foreign) = self.observed.foreign.iter().find(|f| f.name == name) {
            return self.conflict(service, foreign);
        }
        let suffixed = |suffix: &str| self.observed.named(&format!("{name}{suffix}"));
        let (next, old) = (suffixed(NEXT), suffixed(OLD));
        let current = self.observed.named(name);
        // One of ours under a name of its own is the current one, renamed behind our back or by an
        // edit of `containerName`. If there is a current one too, it is left and reported.
        let stray = self
            .observed
            .owned
            .iter()
            .find(|c| ![NEXT, OLD, FAILED].iter().any(|s| c.name.ends_with(s)) && c.name != name);
        match (current, stray) {
            (None, Some(stray)) if next.is_none() && old.is_none() => self.rename_back(service, stray),
            (Some(current), _) => self.with_current(service, current, next, old, generation),
            (None, _) => self.without_current(service, next, old),
        }
    }

    fn conflict(&mut self, service: &Arc<Service>, foreign: &crate::resource::observed::Foreign) {
        let whose = match &foreign.owner {
            Some(owner) if owner.stack == self.cx.policy.stack => format!("of the folder {}", owner.source),
            Some(owner) => format!("of stack {}", owner.stack),
            None => "not made by env-manager".to_owned(),
        };
        let message = format!(
            "a container named {} is there already ({}, image {}, {whose}); it is left alone",
            foreign.name, foreign.id, foreign.image
        );
        self.draft.verdict = Some(Verdict::new(false, Reason::NameConflict, message.clone()));
        self.draft.stalled = Some((Reason::NameConflict, message.clone()));
        self.draft.wake_at = Some(self.cx.now.plus(CONFLICT_POLL));
        let steps = self.create_steps(service, &service.spec.container.name, Cause::Missing, None);
        self.draft.action = Some(Action::Create);
        self.draft.stages = vec![Stage { gate: Some(Gate::Conflict(format!("container {}", foreign.name))), steps }];
    }

    fn rename_back(&mut self, service: &Arc<Service>, stray: &Container) {
        let name = service.spec.container.name.clone();
        self.draft.changes.push(FieldChange {
            field: "containerName".to_owned(),
            old: Some(stray.name.clone()),
            new: Some(name.clone()),
            closed_by: ClosedBy::InPlace,
            cause: if stray.owner.spec_hash == service.hash { Cause::ChangedOutside } else { Cause::SpecChanged },
        });
        self.draft.verdict = self.say_container(service, Some(stray));
        self.draft.container = Some(summary(stray, self.observed));
        if matches!(stray.state, RunState::Restarting | RunState::Removing) {
            // Neither can be renamed now; the next event or this timer looks again.
            self.draft.wake_at = Some(self.cx.now.plus(REMOVAL_POLL));
            return;
        }
        let cause = self.draft.changes[0].cause;
        let op = Op::Rename { target: existing(stray), to: name };
        self.act(Action::Update, vec![step(op, cause)], (Reason::Starting, "taking its name".to_owned()));
    }

    /// Nothing bears the name.
    fn without_current(&mut self, service: &Arc<Service>, next: Option<&Container>, old: Option<&Container>) {
        let name = &service.spec.container.name;
        if let Some(next) = next {
            if self.is_current(service, next) && next.state != RunState::Removing {
                // Died between the renames, or the old one was removed by somebody: go on.
                let mut steps = self.complete_steps(service, next);
                steps.push(step(Op::Rename { target: existing(next), to: name.clone() }, Cause::Resumed));
                if !next.is_running() {
                    steps.push(step(Op::Start(existing(next)), Cause::Resumed));
                }
                self.draft.verdict = Some(Verdict::new(false, Reason::Replacing, "the new container takes over"));
                let said = (Reason::Replacing, "carrying on a replacement that was begun".to_owned());
                self.act(Action::Replace, steps, said);
                return self.then_remove_old(service, old);
            }
            let mut steps = vec![step(Op::RemoveContainer(existing(next)), Cause::Resumed)];
            steps.extend(self.create_and_start(service, name, Cause::Missing, old));
            self.draft.verdict = Some(Verdict::new(false, Reason::Pending, "nothing runs"));
            self.act(Action::Create, steps, (Reason::Creating, "creating the container".to_owned()));
            self.gate_creation(service, true);
            return self.then_remove_old(service, old);
        }
        let steps = self.create_and_start(service, name, Cause::Missing, old);
        self.draft.verdict = Some(Verdict::new(false, Reason::Pending, "nothing runs yet"));
        self.act(Action::Create, steps, (Reason::Creating, "creating the container".to_owned()));
        self.gate_creation(service, true);
        self.then_ready(service);
        if old.is_some() {
            self.then_remove_old(service, old);
        }
    }

    fn with_current(
        &mut self,
        service: &Arc<Service>,
        current: &Container,
        next: Option<&Container>,
        old: Option<&Container>,
        generation: u64,
    ) {
        self.draft.container = Some(summary(current, self.observed));
        self.draft.verdict = self.say_container(service, Some(current));
        match current.state {
            RunState::Removing => {
                self.draft.reconciling = Some((Reason::Removing, "somebody is removing it".to_owned()));
                self.draft.wake_at = Some(self.cx.now.plus(REMOVAL_POLL));
                return;
            }
            RunState::Dead => {
                let steps = vec![step(Op::RemoveContainer(existing(current)), Cause::Dead)];
                return self.act(
                    Action::Replace,
                    steps,
                    (Reason::Removing, "removing what the engine left".to_owned()),
                );
            }
            _ => {}
        }
        let changes = drift(service, current, self.observed);
        let replace = changes.iter().any(|c| c.closed_by == ClosedBy::Replace);
        self.draft.changes = changes;
        if replace {
            return self.replace(service, current, next, old, generation);
        }
        if let Some(next) = next {
            // The spec went back to what runs: the replacement is not wanted any more.
            let steps = vec![step(Op::RemoveContainer(existing(next)), Cause::SpecChanged)];
            return self.act(
                Action::Update,
                steps,
                (Reason::Removing, "removing a replacement no longer wanted".to_owned()),
            );
        }
        self.keep(service, current, old);
    }

    /// As the spec asks, but for what can be mended in place.
    fn keep(&mut self, service: &Arc<Service>, current: &Container, old: Option<&Container>) {
        let mut steps = Vec::new();
        if current.config.restart != service.spec.container.restart {
            let op = Op::SetRestartPolicy { target: existing(current), policy: service.spec.container.restart };
            let cause = self.draft.changes.first().map_or(Cause::ChangedOutside, |c| c.cause);
            steps.push(step(op, cause));
        }
        match current.state {
            RunState::Running | RunState::Paused => {
                let attach = self.attachment_steps(service, current, Cause::ChangedOutside);
                self.say_attachments(service, current, &attach);
                steps.extend(attach);
                if !steps.is_empty() {
                    let said = (Reason::Starting, "mending it in place".to_owned());
                    self.act(Action::Update, steps, said);
                    self.draft.reconciling = None;
                } else if self.draft.verdict.as_ref().is_some_and(|v| v.dead) {
                    self.restart(service, current);
                } else if let Some(old) = old
                    && self.draft.verdict.as_ref().is_some_and(|v| v.ready)
                {
                    let steps = vec![step(Op::RemoveContainer(existing(old)), Cause::Superseded)];
                    self.act(Action::Replace, steps, (Reason::Replacing, "removing the old container".to_owned()));
                } else if old.is_some() {
                    self.draft.action = Some(Action::Replace);
                    self.draft.reconciling = Some((Reason::Replacing, self.ready_message()));
                    self.then_remove_old(service, old);
                }
            }
            RunState::Created => {
                let mut all = self.complete_steps(service, current);
                all.extend(steps);
                all.push(step(Op::Start(existing(current)), Cause::Resumed));
                let said = match current.error.as_deref().filter(|e| !e.is_empty()) {
                    Some(error) => format!("starting again: {error}"),
                    None => "starting".to_owned(),
                };
                self.act(Action::Start, all, (Reason::Starting, said));
                self.gate_start(service);
                self.then_remove_old(service, old);
            }
            RunState::Exited => self.exited(service, current, steps, old),
            // No connect, disconnect or rename while Docker waits to start it again; the other two
            // were dealt with before.
            RunState::Restarting | RunState::Dead | RunState::Removing => {}
        }
    }

    fn exited(&mut self, service: &Arc<Service>, current: &Container, mut steps: Vec<Step>, old: Option<&Container>) {
        // Docker's stop leaves a code too; only a one-shot is meant to end. Where a start failed,
        // `State.Error` is set and the code says nothing.
        let start_failed = current.error.as_deref().is_some_and(|e| !e.is_empty());
        if service.spec.container.restart.is_one_shot() && !start_failed {
            let done = current.exit_code == Some(0);
            self.draft.verdict = Some(if done {
                Verdict::new(true, Reason::Completed, "completed with exit code 0")
            } else {
                let mut verdict = Verdict::new(false, Reason::ExitedWithError, exit_text(current));
                verdict.stalled = true;
                verdict
            });
            if done && let Some(old) = old {
                steps.push(step(Op::RemoveContainer(existing(old)), Cause::Superseded));
            }
            if !steps.is_empty() {
                self.act(Action::Update, steps, (Reason::Starting, "mending it in place".to_owned()));
                self.draft.reconciling = None;
            }
            return;
        }
        let attach = self.complete_steps(service, current);
        steps.splice(0..0, attach);
        steps.push(step(Op::Start(existing(current)), Cause::NotRunning));
        self.draft.verdict = Some(Verdict::new(false, Reason::Starting, exit_text(current)));
        self.act(Action::Start, steps, (Reason::Starting, format!("starting again: {}", exit_text(current))));
        self.gate_start(service);
        self.then_remove_old(service, old);
    }

    fn restart(&mut self, service: &Arc<Service>, current: &Container) {
        let steps = vec![
            step(Op::Stop { target: existing(current), grace: service.spec.stop_grace }, Cause::LivenessFailed),
            step(Op::Start(existing(current)), Cause::LivenessFailed),
        ];
        let said = format!("restarting: {}", self.ready_message());
        self.act(Action::Restart, steps, (Reason::Restarting, said));
    }

    fn replace(
        &mut self,
        service: &Arc<Service>,
        current: &Container,
        next: Option<&Container>,
        old: Option<&Container>,
        generation: u64,
    ) {
        let name = service.spec.container.name.as_str();
        let cause = self
            .draft
            .changes
            .iter()
            .find(|c| c.closed_by == ClosedBy::Replace)
            .map_or(Cause::SpecChanged, |c| c.cause);
        let (next_name, old_name) = (format!("{name}{NEXT}"), format!("{name}{OLD}"));
        if let Some(foreign) = self.observed.foreign.iter().find(|f| f.name == next_name || f.name == old_name) {
            let message =
                format!("a container named {} that is not ours is in the way of the replacement", foreign.name);
            self.draft.stalled = Some((Reason::NameConflict, message));
            self.draft.wake_at = Some(self.cx.now.plus(CONFLICT_POLL));
            self.draft.action = Some(Action::Replace);
            let steps = self.create_steps(service, &next_name, cause, Some(current));
            self.draft.stages =
                vec![Stage { gate: Some(Gate::Conflict(format!("container {}", foreign.name))), steps }];
            return;
        }
        let serving = self.draft.verdict.as_ref().is_some_and(|v| v.ready);
        let mut steps = Vec::new();
        if let Some(old) = old {
            if serving || current.state == RunState::Exited && service.spec.container.restart.is_one_shot() {
                // The last replacement is done but for this.
                steps.push(step(Op::RemoveContainer(existing(old)), Cause::Superseded));
            } else {
                // A newer revision supersedes one that has not come up: that one goes, the old one stays.
                let mut steps = quiet_stop_if_running(current, service.spec.stop_grace, cause);
                steps.push(step(Op::RemoveContainer(existing(current)), cause));
                steps.extend(self.create_and_start(service, name, cause, Some(old)));
                let said = format!("replacing the container (generation {generation})");
                self.act(Action::Replace, steps, (Reason::Replacing, said));
                self.gate_creation(service, false);
                return self.then_remove_old(service, Some(old));
            }
        }
        let target = match next {
            Some(next) if self.is_current(service, next) && next.state == RunState::Created => {
                steps.extend(self.complete_steps(service, next));
                existing(next)
            }
            _ => {
                if let Some(next) = next {
                    steps.push(step(Op::RemoveContainer(existing(next)), Cause::SpecChanged));
                }
                steps.extend(self.create_steps(service, &next_name, cause, Some(current)));
                Target::Created { name: next_name }
            }
        };
        let begun = matches!(target, Target::Existing { .. });
        steps.extend(quiet_stop_if_running(current, service.spec.stop_grace, cause));
        steps.push(step(Op::Rename { target: existing(current), to: old_name }, cause));
        steps.push(step(Op::Rename { target: target.clone(), to: name.to_owned() }, cause));
        steps.push(step(Op::Start(target), cause));
        let said = format!("replacing the container (generation {generation})");
        self.act(Action::Replace, steps, (Reason::Replacing, said));
        if begun {
            // What has begun is carried on whatever the dependencies say now.
            self.gate_backoff();
        } else {
            self.gate_creation(service, false);
        }
        self.then_remove_old(service, Some(current));
    }

    // ---- stages and gates ----------------------------------------------------------------------

    fn act(&mut self, action: Action, steps: Vec<Step>, said: (Reason, String)) {
        self.draft.action = Some(action);
        self.draft.reconciling = Some(said);
        self.draft.stages.push(Stage { gate: None, steps });
        self.gate_backoff();
    }

    /// Puts a gate before the first stage.
    fn gate(&mut self, gate: Gate) {
        if let Some(first) = self.draft.stages.first_mut() {
            first.gate = Some(gate);
        }
    }

    /// After a failure nothing is tried until its time has come; what failed is said meanwhile.
    fn gate_backoff(&mut self) {
        let retry = self.cx.retry;
        if let Some(failure) = &retry.failure {
            let wait = retry.next_at.map(|at| at.since(self.cx.now)).filter(|d| !d.is_zero());
            let again = wait.map(|d| format!("; next try in {}", human_duration(d))).unwrap_or_default();
            if failure.terminal || retry.attempts >= self.cx.policy.max_attempts {
                self.draft.stalled = Some((failure.reason, format!("{}{again}", failure.message)));
            } else {
                let (n, max) = (retry.attempts, self.cx.policy.max_attempts);
                let said = format!("attempt {n} of {max} failed: {}{again}", failure.message);
                self.draft.reconciling = Some((Reason::RetryBackoff, said));
            }
        }
        if let Some(at) = retry.next_at.filter(|at| *at > self.cx.now) {
            self.gate(Gate::Backoff(at));
            self.draft.wake_at = earliest(self.draft.wake_at, Some(at));
        }
    }

    /// Gates of a container that is to be created. `nothing_runs`: dependencies hold it back as
    /// "blocked"; else the one that runs goes on serving meanwhile.
    fn gate_creation(&mut self, service: &Arc<Service>, nothing_runs: bool) {
        self.want_image(service);
        if self.draft.stages.first().is_some_and(|s| s.gate.is_some()) {
            return; // backing off
        }
        if self.gate_deps() || (nothing_runs && self.gate_ports(service)) {
            return;
        }
        self.gate_image(service);
    }

    /// Gates of a container that is there and does not run.
    fn gate_start(&mut self, service: &Arc<Service>) {
        if self.draft.stages.first().is_some_and(|s| s.gate.is_some()) {
            return;
        }
        if !self.gate_deps() {
            self.gate_ports(service);
        }
    }

    fn gate_deps(&mut self) -> bool {
        let unmet: Vec<_> = self.cx.deps.iter().filter(|d| !d.is_met()).collect();
        if unmet.is_empty() {
            return false;
        }
        if let Some(stuck) = unmet.iter().find(|d| d.facts.stalled.is_some()) {
            let why = stuck.facts.stalled.as_deref().unwrap_or_default();
            let message = format!("{} does not become {}: {why}", stuck.key, condition_word(stuck.condition));
            self.draft.stalled = Some((Reason::DependencyStalled, message));
        } else {
            let names: Vec<_> =
                unmet.iter().map(|d| format!("{} to be {}", d.key, condition_word(d.condition))).collect();
            self.draft.reconciling = Some((Reason::DependencyNotReady, format!("waits for {}", names.join(", "))));
        }
        self.gate(Gate::Deps(unmet.iter().map(|d| (d.key.clone(), d.condition)).collect()));
        true
    }

    fn gate_ports(&mut self, service: &Arc<Service>) -> bool {
        let taken = service.spec.container.ports.iter().find_map(|p| {
            let port = p.host_port?;
            self.observed.port_holders.get(&(port, p.protocol)).map(|who| (port, who))
        });
        let Some((port, who)) = taken else { return false };
        let message = format!("host port {port} is taken by {who}; it is left alone");
        self.draft.stalled = Some((Reason::PortConflict, message));
        self.draft.wake_at = earliest(self.draft.wake_at, Some(self.cx.now.plus(CONFLICT_POLL)));
        self.gate(Gate::Conflict(format!("host port {port}")));
        true
    }

    fn want_image(&mut self, service: &Arc<Service>) {
        let container = &service.spec.container;
        self.draft.wants.image = Some(ImageWant {
            image: container.image.clone(),
            platform: container.platform.clone(),
            policy: service.spec.pull_policy,
        });
    }

    fn gate_image(&mut self, service: &Arc<Service>) {
        // What is there needs no pull, unless the policy is to ask every time.
        if self.observed.spec_image.is_some() && service.spec.pull_policy != PullPolicy::Always {
            return;
        }
        let image = &service.spec.container.image;
        match self.cx.image {
            ImageState::Present(_) => return,
            ImageState::Unknown | ImageState::Absent => {
                self.draft.reconciling = Some((Reason::Pulling, format!("needs image {image}")));
            }
            ImageState::Pulling(progress) => {
                let text = match progress.total {
                    0 => format!("pulling {image}"),
                    total => format!("pulling {image}: {} of {} MB", progress.current / 1_000_000, total / 1_000_000),
                };
                self.draft.reconciling = Some((Reason::Pulling, text));
            }
            ImageState::Failed { message, reason, terminal, attempts, next_at } => {
                if *terminal || *attempts >= self.cx.policy.max_attempts {
                    let reason = match reason {
                        PullFailureReason::NotFound => Reason::ImageNotFound,
                        PullFailureReason::Denied => Reason::ImagePullDenied,
                        PullFailureReason::Throttled | PullFailureReason::Other => Reason::ImagePullFailed,
                    };
                    self.draft.stalled = Some((reason, message.clone()));
                } else {
                    self.draft.reconciling = Some((Reason::Pulling, message.clone()));
                }
                self.draft.wake_at = earliest(self.draft.wake_at, *next_at);
            }
        }
        self.gate(Gate::Image(image.clone()));
    }

    fn then_ready(&mut self, service: &Service) {
        self.draft
            .stages
            .push(Stage { gate: Some(Gate::Ready(service.spec.container.name.clone())), steps: Vec::new() });
    }

    fn then_remove_old(&mut self, service: &Service, old: Option<&Container>) {
        if let Some(old) = old {
            let name = &service.spec.container.name;
            let target = Target::Existing { id: old.id.clone(), name: format!("{name}{OLD}") };
            let steps = vec![step(Op::RemoveContainer(target), Cause::Superseded)];
            self.draft.stages.push(Stage { gate: Some(Gate::Ready(name.clone())), steps });
        }
    }

    // ---- steps ---------------------------------------------------------------------------------

    fn create_and_start(
        &self,
        service: &Arc<Service>,
        name: &str,
        cause: Cause,
        from: Option<&Container>,
    ) -> Vec<Step> {
        let mut steps = self.create_steps(service, name, cause, from);
        steps.push(step(Op::Start(Target::Created { name: name.to_owned() }), cause));
        steps
    }

    /// Creates a container, attaches it to its further networks, uploads its files.
    fn create_steps(&self, service: &Arc<Service>, name: &str, cause: Cause, from: Option<&Container>) -> Vec<Step> {
        let container = &service.spec.container;
        let mut endpoints = self.endpoints(service).into_iter();
        let target = || Target::Created { name: name.to_owned() };
        let create = ContainerCreate {
            name: name.to_owned(),
            service: Arc::clone(service),
            labels: self.labels(service),
            network: endpoints.next(),
            inherited: from.map(|c| inherited_volumes(service, c)).unwrap_or_default(),
            namespaces: self.observed.namespaces.clone(),
            file_binds: self.file_binds(service),
        };
        let mut steps = vec![step(Op::CreateContainer(Box::new(create)), cause)];
        steps.extend(endpoints.map(|endpoint| step(Op::Connect { target: target(), endpoint }, cause)));
        if !container.security.read_only_root_filesystem
            && let Some(marker) = SaltedHash::of_files(service, &self.cx.policy.salt)
        {
            steps.push(step(Op::Upload { target: target(), service: Arc::clone(service), marker }, cause));
        }
        steps
    }

    fn file_binds(&self, service: &Service) -> BTreeMap<String, String> {
        let container = &service.spec.container;
        if !container.security.read_only_root_filesystem {
            return BTreeMap::new();
        }
        let dir = &self.cx.policy.files_dir;
        container.files.iter().map(|f| (f.target.clone(), format!("{dir}/{}", file_bind(service, &f.target)))).collect()
    }

    /// What inspect and the marker show missing of a container whose creation was cut short.
    fn complete_steps(&self, service: &Arc<Service>, container: &Container) -> Vec<Step> {
        let mut steps = self.attachment_steps(service, container, Cause::Resumed);
        if container.files_marker.is_none()
            && !service.spec.container.security.read_only_root_filesystem
            && let Some(marker) = SaltedHash::of_files(service, &self.cx.policy.salt)
        {
            let op = Op::Upload { target: existing(container), service: Arc::clone(service), marker };
            steps.push(step(op, Cause::Resumed));
        }
        steps
    }

    /// Attaches it to what it should be attached to, and to nothing else. A network that was made
    /// again under its name has another id, and a container still bound to the old one never starts.
    fn attachment_steps(&self, service: &Arc<Service>, container: &Container, cause: Cause) -> Vec<Step> {
        let mut steps = Vec::new();
        if service.spec.container.network_mode.is_some() {
            return steps;
        }
        let endpoints = self.endpoints(service);
        for (network, endpoint) in &container.endpoints {
            if !endpoints.iter().any(|e| e.attachment.network == *network) {
                let id = endpoint.network_id.clone();
                let op = Op::Disconnect { target: existing(container), network: network.clone(), id };
                steps.push(step(op, cause));
            }
        }
        for endpoint in endpoints {
            if endpoint.id.0.is_empty() {
                continue; // The network is not there yet; its own plan makes it.
            }
            let is = container.endpoints.get(&endpoint.attachment.network);
            let same = is.is_some_and(|e| e.network_id == endpoint.id);
            let fits = is.is_some_and(|e| {
                endpoint.aliases.iter().all(|a| e.aliases.contains(a))
                    && (endpoint.attachment.ipv4_address.is_none()
                        || e.ipv4_address == endpoint.attachment.ipv4_address)
            });
            if same && fits {
                continue;
            }
            if same && let Some(is) = is {
                let network = endpoint.attachment.network.clone();
                let op = Op::Disconnect { target: existing(container), network, id: is.network_id.clone() };
                steps.push(step(op, cause));
            }
            steps.push(step(Op::Connect { target: existing(container), endpoint }, cause));
        }
        steps
    }

    fn say_attachments(&mut self, service: &Service, container: &Container, steps: &[Step]) {
        if steps.is_empty() {
            return;
        }
        let names = |items: Vec<&str>| (!items.is_empty()).then(|| items.join(", "));
        self.draft.changes.push(FieldChange {
            field: "networks".to_owned(),
            old: names(container.endpoints.keys().map(String::as_str).collect()),
            new: names(service.spec.container.networks.iter().map(|n| n.network.as_str()).collect()),
            closed_by: ClosedBy::InPlace,
            cause: Cause::ChangedOutside,
        });
    }

    /// The first is the one to be created with: by priority, then as written.
    fn endpoints(&self, service: &Service) -> Vec<Endpoint> {
        let container = &service.spec.container;
        let mut attachments: Vec<&NetworkAttachment> = container.networks.iter().collect();
        attachments.sort_by_key(|a| std::cmp::Reverse(a.priority.unwrap_or(0)));
        attachments
            .into_iter()
            .map(|attachment| {
                let live = self.observed.networks.get(&attachment.network);
                let id = live.and_then(|n| pick_network(n, &self.cx.policy.stack)).map(|n| n.id.clone());
                let mut aliases = vec![service.name.to_string()];
                aliases.extend(attachment.aliases.iter().filter(|a| **a != *service.name).cloned());
                Endpoint { attachment: attachment.clone(), id: id.unwrap_or_default(), aliases }
            })
            .collect()
    }

    fn labels(&self, service: &Service) -> BTreeMap<String, String> {
        let policy = self.cx.policy;
        let container = &service.spec.container;
        let secret_env: Vec<_> = container.secret_env.keys().map(String::as_str).collect();
        let secrets = SaltedHash::of_secrets(service, &policy.salt).map(|h| h.to_string());
        [
            (labels::STACK, Some(policy.stack.clone())),
            (labels::SOURCE, Some(policy.source.0.clone())),
            (labels::SERVICE, Some(service.name.to_string())),
            (labels::SPEC_HASH, Some(service.hash.0.clone())),
            (labels::SECRETS_HASH, secrets),
            (labels::SECRET_ENV, (!secret_env.is_empty()).then(|| secret_env.join(","))),
            (labels::RESTART_POLICY, Some(container.restart.to_string())),
            (labels::REVISION, Some(policy.revision.to_string())),
            (labels::RESTARTED_AT, container.restarted_at.clone()),
            (labels::SETS, Some(sets_label(container)).filter(|s| !s.is_empty())),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|v| (name.to_owned(), v)))
        .collect()
    }

    // ---- what is said --------------------------------------------------------------------------

    /// The verdict on the container that serves, which is also the one to be probed.
    fn say_container(&mut self, service: &Arc<Service>, current: Option<&Container>) -> Option<Verdict> {
        let current = current?;
        self.draft.container = Some(summary(current, self.observed));
        if current.state == RunState::Running && !service.spec.probes.is_empty() {
            self.draft.wants.probe = Some(current.id.clone());
        }
        Some(verdict(service, current, self.cx))
    }

    fn ready_message(&self) -> String {
        self.draft.verdict.as_ref().map(|v| v.message.clone()).unwrap_or_default()
    }

    /// Whether a container of a replacement is what the spec asks for now.
    fn is_current(&self, service: &Service, container: &Container) -> bool {
        drift(service, container, self.observed)
            .iter()
            // Its upload may not have been made yet; that is completed, not replaced.
            .all(|c| c.closed_by == ClosedBy::InPlace || (c.field == "files" && container.files_marker.is_none()))
    }
}

fn existing(container: &Container) -> Target {
    Target::Existing { id: container.id.clone(), name: container.name.clone() }
}

fn step(op: Op, cause: Cause) -> Step {
    Step { op, cause }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What is stopped on purpose gets policy `no` first: the engine starts the others when it starts itself.
fn quiet_stop(container: &Container, grace: Duration, cause: Cause) -> Vec<Step> {
    let mut steps = Vec::new();
    if container.config.restart != RestartPolicy::No {
        steps.push(step(Op::SetRestartPolicy { target: existing(container), policy: RestartPolicy::No }, cause));
    }
    steps.push(step(Op::Stop { target: existing(container), grace }, cause));
    steps
}

fn quiet_stop_if_running(container: &Container, grace: Duration, cause: Cause) -> Vec<Step> {
    let mut steps = quiet_stop(container, grace, cause);
    if !container.is_running() {
        steps.retain(|s| !matches!(s.op, Op::Stop { .. }));
    }
    steps
}

/// Anonymous volumes hold data too: the new container mounts the old one's at the same targets,
/// unless the spec mounts something there.
fn inherited_volumes(service: &Service, from: &Container) -> BTreeMap<String, String> {
    let taken = |target: &str| {
        service.spec.container.mounts.iter().any(|m| {
            m.target.trim_end_matches('/') == target.trim_end_matches('/')
                && m.source != crate::resource::spec::MountSource::Anonymous
        })
    };
    from.anonymous.iter().filter(|(target, _)| !taken(target)).map(|(t, n)| (t.clone(), n.clone())).collect()
}

/// Of several networks of one name: ours, and of those the oldest.
pub fn pick_network<'a>(networks: &'a [Network], stack: &str) -> Option<&'a Network> {
    networks.iter().find(|n| n.stack.as_deref() == Some(stack)).or_else(|| networks.first())
}

fn condition_word(condition: crate::resource::spec::DependencyCondition) -> &'static str {
    use crate::resource::spec::DependencyCondition as C;
    match condition {
        C::Started => "started",
        C::Ready => "ready",
        C::Completed => "completed",
    }
}

fn with_stand_in(message: String, container: Option<&ContainerSummary>) -> String {
    match container.and_then(|c| c.stand_in.as_deref()) {
        Some(program) => format!("{message} (stand-in for {program})"),
        None => message,
    }
}

/// Services whose namespaces this one shares.
pub fn namespace_hosts(service: &Service) -> Vec<&str> {
    let container = &service.spec.container;
    let network = match &container.network_mode {
        Some(NetworkMode::Service(name)) => Some(name.as_str()),
        _ => None,
    };
    let mut names: Vec<&str> = network.into_iter().collect();
    for mode in [&container.pid_mode, &container.ipc_mode] {
        if let Some(NamespaceMode::Service(name)) = mode {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}
