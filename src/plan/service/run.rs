//! What should run: one decision per state of the containers.

use std::sync::Arc;
use std::time::Duration;

use super::adopt;
use super::cast::Cast;
use super::crash::{cause_of_start, hold_back, start_failed, was_stopped};
use super::replace::keep_serving;
use super::steps::{discard, existing, hush, rename_from_any_state, set_policy, start, step, stop_and_start};
use super::{CONFLICT_POLL, REMOVAL_POLL, say_container};
use crate::plan::draft::{Draft, said};
use crate::plan::drift::drift;
use crate::plan::readiness::{exit_text, summary};
use crate::plan::types::{Action, Cause, ClosedBy, FieldChange, Gate, Op, PlanContext, Step};
use crate::resource::desired::Service;
use crate::resource::observed::{Container, Foreign, RunState, ServiceObserved};
use crate::resource::status::Reason;

/// A dockerd that is killed in the middle of a start leaves a task behind in containerd, which the next
/// one does not know of and stumbles over each time. (Seen on 20.10: `task ID: already exists`.)
fn can_never_start(error: &str) -> bool {
    error.starts_with("task ") && error.ends_with(": already exists")
}

/// What containers are held against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Spec,
    /// Nothing, since the manifest is broken: what exists is as it should be.
    Nothing,
    /// Itself, since what the manifest asks for was refused: what exists is kept as it was made.
    Itself,
}

/// Everything that decisions are made from.
pub(super) struct Run<'a> {
    pub service: Arc<Service>,
    pub generation: u64,
    pub observed: &'a ServiceObserved,
    pub cx: &'a PlanContext<'a>,
    pub cast: Cast<'a>,
    pub measure: Measure,
}

impl<'a> Run<'a> {
    pub fn new(
        service: &Arc<Service>,
        generation: u64,
        observed: &'a ServiceObserved,
        cx: &'a PlanContext<'a>,
        measure: Measure,
    ) -> Self {
        let mut cast = Cast::new(&service.spec.container.name, &observed.owned);
        adopt::place(&mut cast, service, observed);
        Self { service: Arc::clone(service), generation, observed, cx, cast, measure }
    }

    pub fn name(&self) -> &str {
        &self.service.spec.container.name
    }

    pub fn grace(&self) -> Duration {
        self.service.spec.stop_grace
    }

    pub fn decide(&self, mut draft: Draft<'a>) -> Draft<'a> {
        let d = &mut draft;
        let Cast { current, dead, strays, leaving, .. } = &self.cast;
        if !leaving.is_empty() {
            d.unsettle();
            d.wake(Some(self.cx.now.plus(REMOVAL_POLL)));
        }
        if let Some(next) = self.takeover_given_up() {
            let what = "was made to take over another container, as is no longer asked for";
            d.say(false, Reason::Removing, format!("{} {what}", next.name));
            let steps = discard(next, self.grace(), Cause::Superseded);
            d.act(Action::Replace, steps, said(Reason::Removing, "removing what was to take over another container"));
        } else if self.is_adoption(d) {
            // All is said.
        } else if let Some(foreign) = self.foreign_of_the_name() {
            self.conflict(d, foreign);
        } else if !dead.is_empty() {
            let steps = dead.iter().flat_map(|c| discard(c, self.grace(), Cause::Dead)).collect();
            d.say(false, Reason::Removing, "half removed by the engine");
            d.act(Action::Replace, steps, said(Reason::Removing, "removing what the engine left"));
        } else if let steps = self.hush_second_copies()
            && !steps.is_empty()
        {
            if let Some(current) = current {
                say_container(d, &self.service, current, self.observed, self.cx);
            }
            d.mend(steps);
        } else if let Some(current) = current {
            self.with_current(d, current);
        } else if let Some(stray) = strays.iter().max_by_key(|c| (c.is_running(), c.created_at)) {
            self.rename_back(d, stray);
        } else {
            self.without_current(d);
        }
        draft
    }

    /// Two that run would write to the same volumes. One that was started first may.
    pub fn hush_second_copies(&self) -> Vec<Step> {
        let Cast { current, next, old, failed, spare, .. } = &self.cast;
        let beside = next.filter(|n| n.is_running() && current.is_some_and(|c| !self.may_run_beside(c)));
        let beside_current = current.and(*old).into_iter().chain(beside);
        let second = failed.iter().chain(spare).copied().chain(beside_current);
        second.flat_map(|c| hush(c, self.grace(), Cause::SecondCopy)).collect()
    }

    fn foreign_of_the_name(&self) -> Option<&'a Foreign> {
        self.observed.foreign.iter().find(|f| f.name == self.name())
    }

    pub fn name_is_foreign(&self) -> bool {
        self.foreign_of_the_name().is_some()
    }

    /// P17.
    fn conflict(&self, d: &mut Draft<'_>, foreign: &Foreign) {
        let whose = match &foreign.owner {
            Some(owner) if owner.stack == self.cx.policy.stack => format!("of the folder {}", owner.source),
            Some(owner) => format!("of stack {}", owner.stack),
            None => "not made by env-manager".to_owned(),
        };
        let message = format!(
            "a container named {} is there already ({}, image {}, {whose}); it is left alone",
            foreign.name, foreign.id, foreign.image
        );
        d.say(false, Reason::NameConflict, message.clone());
        let steps = self.create_and_start(self.name(), Cause::Missing, None);
        d.act(Action::Create, steps, said(Reason::Pending, "waits for its name"));
        d.stalled = Some((Reason::NameConflict, message));
        d.wake(Some(self.cx.now.plus(CONFLICT_POLL)));
        d.gate(Gate::Conflict(format!("container {}", foreign.name)));
    }

    /// Waits for names that a removal under way still holds.
    pub fn wait_for_names(&self, d: &mut Draft<'_>) -> bool {
        let leaving = !self.cast.leaving.is_empty();
        if leaving {
            let what = said(Reason::Removing, "the engine is removing a container of it");
            d.wait(what, self.cx.now.plus(REMOVAL_POLL));
        }
        leaving
    }

    /// One of ours under another name is the current one: renamed behind our back, or by an edit of
    /// `containerName`. Of several that is the one that serves, or was made last.
    fn rename_back(&self, d: &mut Draft<'_>, stray: &Container) {
        let name = self.name();
        let cause = self.cause(stray);
        d.changes.push(FieldChange {
            field: "containerName".to_owned(),
            old: Some(stray.name.clone()),
            new: Some(name.to_owned()),
            closed_by: ClosedBy::InPlace,
            cause,
        });
        say_container(d, &self.service, stray, self.observed, self.cx);
        if !self.wait_for_names(d) {
            d.mend(rename_from_any_state(stray, name, self.grace(), cause));
        }
    }

    /// Nothing bears the name.
    fn without_current(&self, d: &mut Draft<'_>) {
        let Cast { next, old, .. } = self.cast;
        let (name, grace) = (self.name(), self.grace());
        if let Some(old) = old {
            // What is said until there is something better to say.
            d.container = Some(summary(old, self.observed));
        }
        if self.wait_for_names(d) {
            return;
        }
        let carrying_on = said(Reason::Replacing, "carrying on a replacement that was begun");
        match (next, old) {
            (Some(next), Some(old)) if next.is_running() && old.is_running() && self.fits(next) => {
                self.finish_switch(d, next, old);
            }
            // It serves, or would do: the one to go on from.
            (_, Some(old)) if old.is_running() || (self.fits(old) && !next.is_some_and(|n| self.fits(n))) => {
                d.say(false, Reason::Replacing, "the old container is taken back");
                d.act(Action::Replace, rename_from_any_state(old, name, grace, Cause::Resumed), carrying_on);
            }
            (Some(next), _) if self.fits(next) => {
                d.say(false, Reason::Replacing, "the new container takes over");
                let created = next.state == RunState::Created;
                let mut steps = if created { self.complete_steps(next) } else { Vec::new() };
                steps.extend(rename_from_any_state(next, name, grace, Cause::Resumed));
                if created {
                    steps.push(step(Op::Start(existing(next).renamed(name)), Cause::Resumed));
                }
                d.act(Action::Replace, steps, carrying_on);
                // The rest of what was begun: whatever the dependencies say now.
                self.gate_ports(d);
                self.then_remove(d, old);
            }
            _ => {
                d.say(false, Reason::Pending, "nothing runs yet");
                let mut steps = next.map(|n| discard(n, grace, Cause::SpecChanged)).unwrap_or_default();
                steps.extend(self.create_and_start(name, Cause::Missing, old.or(next)));
                d.act(Action::Create, steps, said(Reason::Creating, "creating the container"));
                self.gate_creation(d);
                self.then_remove(d, old);
                if let Some(old) = old {
                    keep_serving(d, old, self.cx);
                }
            }
        }
    }

    fn with_current(&self, d: &mut Draft<'_>, current: &'a Container) {
        say_container(d, &self.service, current, self.observed, self.cx);
        self.say_strays(d);
        d.changes = self.differences(current);
        let is_kept = self.measure == Measure::Itself;
        if (!current.is_owned() && !is_kept) || d.changes.iter().any(|c| c.closed_by == ClosedBy::Replace) {
            if self.forget_failure(d) {
                return;
            }
            return self.replace(d, current);
        }
        if self.compares() && self.give_up(d, current) {
            return;
        }
        match current.state {
            RunState::Running | RunState::Paused | RunState::Restarting => self.up(d, current),
            RunState::Created => self.start_created(d, current),
            RunState::Exited => self.exited(d, current),
            // They play no part.
            RunState::Dead | RunState::Removing => {}
        }
    }

    /// It runs as the spec asks, but for what can be mended in place.
    fn up(&self, d: &mut Draft<'_>, current: &Container) {
        // With its manifest broken nobody knows whether it is still wanted (P5).
        if let Some(next) = self.cast.next.filter(|_| self.measure != Measure::Nothing) {
            // The spec went back to what runs.
            let steps = discard(next, self.grace(), Cause::SpecChanged);
            return d.act(Action::Update, steps, said(Reason::Removing, "removing a replacement no longer wanted"));
        }
        let mut steps: Vec<_> = self.policy_step(d, current).into_iter().collect();
        if current.state == RunState::Running {
            let cause = self.cause(current);
            steps.extend(self.attachment_steps(current, cause));
            d.changes.extend(self.attachment_changes(current, cause));
        }
        let (mut in_place, in_place_last) = (self.in_place_steps(current, &d.changes), self.in_place_was_refused());
        if !in_place_last {
            steps.append(&mut in_place);
        }
        if !steps.is_empty() {
            d.mend(steps);
        } else if self.cx.asks_to_restart(current) && self.cast.old.is_none() {
            self.restart(d, current, Cause::Requested, "restarting, as was asked for".to_owned());
        } else if let Some(dependency) = self.restarted_dependency(d, current) {
            let what = format!("restarting: {dependency} was started after it");
            self.restart(d, current, Cause::DependencyRestarted, what);
        } else if d.verdict.dead {
            let what = d.verdict.message.clone();
            self.restart(d, current, Cause::LivenessFailed, format!("restarting: {what}"));
            hold_back(d, self.cx, &format!("the liveness probe failed: {what}"), None);
        } else if let Some(network) = self.network_that_is_gone(current) {
            self.await_network(d, network);
        } else if d.verdict.ready {
            self.remove_leftovers(d);
        } else if let Some(old) = self.cast.old {
            d.name(Action::Replace);
            d.reconciling = Some((Reason::Replacing, d.verdict.message.clone()));
            // Something is done about it, if only in a while.
            d.verdict.stalled &= !self.rolls_back();
            self.then_remove(d, Some(old));
        }
        if !in_place.is_empty() && d.has_no_steps() {
            d.mend(in_place);
        }
    }

    /// Created and never started, in full or in part.
    fn start_created(&self, d: &mut Draft<'_>, current: &Container) {
        if current.error.as_deref().is_some_and(can_never_start) {
            let steps = discard(current, self.grace(), Cause::Dead);
            d.say(false, Reason::Removing, "the engine was killed while it started this, and cannot start it any more");
            return d.act(Action::Replace, steps, said(Reason::Removing, "removing what cannot be started any more"));
        }
        let mut steps = self.complete_steps(current);
        steps.extend(self.policy_step(d, current));
        steps.push(start(current, Cause::Resumed));
        let what = match current.error.as_deref().filter(|e| !e.is_empty()) {
            Some(error) => format!("starting again: {error}"),
            None => "starting".to_owned(),
        };
        d.act(Action::Start, steps, said(Reason::Starting, what));
        self.gate_start(d);
        self.then_remove(d, self.cast.old);
    }

    fn exited(&self, d: &mut Draft<'_>, current: &Container) {
        if self.has_completed(current) {
            return self.ended(d, current);
        }
        let cause = cause_of_start(current, self.service.spec.container.restart, self.cx);
        self.start_ended(d, current, cause);
        if cause.is_crash() && hold_back(d, self.cx, &exit_text(current), current.finished_at) {
            d.say(false, Reason::CrashLoop, exit_text(current));
        }
        self.gate_start(d);
        self.then_remove(d, self.cast.old);
    }

    fn start_ended(&self, d: &mut Draft<'_>, current: &Container, cause: Cause) {
        let mut steps = self.complete_steps(current);
        // The start first: until then the missing policy tells that it did not end by itself.
        steps.push(start(current, cause));
        steps.extend(self.policy_step(d, current));
        d.say(false, Reason::Starting, exit_text(current));
        let what = match cause {
            Cause::Requested => "starting again, as was asked for".to_owned(),
            _ => format!("starting again: {}", exit_text(current)),
        };
        d.act(Action::Start, steps, said(Reason::Starting, what));
    }

    /// A one-shot that ran to its end, one way or the other. One that was stopped, by hand or for a
    /// replacement which then was not made, did not end by itself.
    fn has_completed(&self, current: &Container) -> bool {
        let stopped = current.exit_code != Some(0)
            && (self.cast.next.is_some() || was_stopped(current, self.service.spec.container.restart));
        self.service.spec.container.restart.is_one_shot() && !start_failed(current) && !stopped
    }

    fn ended(&self, d: &mut Draft<'_>, current: &Container) {
        if self.cx.asks_to_restart(current) && self.cast.old.is_none() && self.cast.next.is_none() {
            self.start_ended(d, current, Cause::Requested);
            return self.gate_start(d);
        }
        let done = current.exit_code == Some(0);
        if done {
            d.say(true, Reason::Completed, "completed with exit code 0");
        } else {
            d.say(false, Reason::ExitedWithError, exit_text(current));
            d.verdict.stalled = true;
        }
        // Of what is to be as described when somebody runs it again.
        let limits = self.limits_step(current, &d.changes);
        let mut steps: Vec<_> = self.policy_step(d, current).into_iter().chain(limits).collect();
        steps.extend(self.cast.next.iter().flat_map(|n| discard(n, self.grace(), Cause::SpecChanged)));
        if !steps.is_empty() {
            d.mend(steps);
        } else if done {
            self.remove_leftovers(d);
        }
    }

    /// The replacement is up: nothing else of the service is needed.
    fn remove_leftovers(&self, d: &mut Draft<'_>) {
        let leftovers: Vec<_> = self.cast.old.into_iter().chain(self.cast.spare.iter().copied()).collect();
        // A refused revision is kept for its logs until another one has made it. It goes first: what is
        // left of a rollout is told by the old one.
        let refused = self.cast.failed.iter().copied().filter(|_| !leftovers.is_empty());
        let steps: Vec<_> = refused
            .chain(leftovers.iter().copied())
            .flat_map(|c| discard(c, self.grace(), Cause::Superseded))
            .collect();
        if !steps.is_empty() {
            d.act(Action::Replace, steps, said(Reason::Replacing, "removing the old container"));
        }
    }

    fn restart(&self, d: &mut Draft<'_>, current: &Container, cause: Cause, what: String) {
        let steps = stop_and_start(current, self.grace(), cause);
        d.act(Action::Restart, steps, said(Reason::Restarting, what));
    }

    fn policy_step(&self, d: &Draft<'_>, current: &Container) -> Option<Step> {
        let change = d.changes.iter().find(|c| c.field == "restart");
        let cause = change.map_or(Cause::NotRunning, |c| c.cause);
        let policy = match self.measure {
            Measure::Spec | Measure::Nothing => self.service.spec.container.restart,
            Measure::Itself => self.policy_before(current),
        };
        set_policy(current, policy, cause)
    }

    /// A misnamed container beside the one that bears the name is left alone (docker-facts).
    fn say_strays(&self, d: &mut Draft<'_>) {
        let names: Vec<_> = self.cast.strays.iter().map(|c| c.name.as_str()).collect();
        if !names.is_empty() {
            let message = &d.verdict.message;
            d.verdict.message =
                format!("{message}; also labelled as this service, and left alone: {}", names.join(", "));
        }
    }

    /// What differs from the spec. An upload that was not made yet is no difference: it is made before
    /// the start.
    pub fn differences(&self, container: &Container) -> Vec<FieldChange> {
        if !self.compares() {
            return Vec::new();
        }
        let mut changes = drift(&self.service, container, self.observed);
        if container.state == RunState::Created && container.files_marker.is_none() {
            changes.retain(|c| c.field != "files");
        }
        changes.extend(self.lost_networks(container));
        if !container.is_owned() {
            adopt::veil(&mut changes);
        }
        changes
    }

    /// Off while the manifest is broken, or what it asks for was refused.
    pub fn compares(&self) -> bool {
        self.measure == Measure::Spec
    }

    /// Whether a container can become what the spec asks for without being replaced.
    pub fn fits(&self, container: &Container) -> bool {
        self.differences(container).iter().all(|c| c.closed_by == ClosedBy::InPlace)
    }

    /// If the hash says that it was created from this very spec, somebody else made the difference.
    fn cause(&self, container: &Container) -> Cause {
        if container.owner.spec_hash == self.service.hash { Cause::ChangedOutside } else { Cause::SpecChanged }
    }
}
