//! From one container to the next, so that every state between two calls can be gone on from.

use super::CONFLICT_POLL;
use super::adopt::whose;
use super::run::Run;
use super::steps::{discard, existing, hush, own_policy, rename, step, take_up};
use crate::plan::draft::{Draft, said};
use crate::plan::types::{Action, Cause, ClosedBy, Gate, Op, PlanContext, Target};
use crate::resource::labels::{NEXT, OLD};
use crate::resource::observed::{Container, RunState};
use crate::resource::spec::RestartPolicy;
use crate::resource::status::Reason;

impl<'a> Run<'a> {
    pub fn replace(&self, d: &mut Draft<'_>, current: &'a Container) {
        if self.wait_for_names(d) {
            return;
        }
        let (name, grace) = (self.name(), self.grace());
        let (next_name, old_name) = (format!("{name}{NEXT}"), format!("{name}{OLD}"));
        let differs = d.changes.iter().find(|c| c.closed_by == ClosedBy::Replace);
        let cause = match differs {
            _ if !current.is_owned() => Cause::Adopted,
            Some(change) => change.cause,
            None => Cause::SpecChanged,
        };
        let serving = d.verdict.ready || self.has_ended_as_one_shot(current);
        if let Some(old) = self.cast.old.filter(|_| serving) {
            // The last replacement is done but for this.
            let steps = discard(old, grace, Cause::Superseded);
            return d.act(Action::Replace, steps, said(Reason::Replacing, "removing the old container"));
        }
        if self.has_ended_as_one_shot(current) {
            // Whoever waits for its completion waits for the next run.
            d.say(false, Reason::Replacing, "what ran is not what the manifest asks for now");
        }

        if self.starts_first(d, current) {
            return self.start_beside(d, current, cause);
        }

        // 1. The new one, complete.
        let takes_its_place =
            |n: &Container| current.is_owned() || n.owner.adopted.as_ref().is_some_and(|a| a.from == current.id);
        // It runs where it was started first, and the current one has ended since.
        let is_up = |n: &Container| n.state == RunState::Running;
        let can_take_over = |n: &Container| is_up(n) || n.state == RunState::Created;
        let usable = self.cast.next.filter(|n| can_take_over(n) && self.fits(n) && takes_its_place(n));
        let (mut steps, target) = if let Some(next) = usable {
            (if is_up(next) { Vec::new() } else { self.complete_steps(next) }, existing(next))
        } else {
            let stale = self.cast.next.iter().flat_map(|n| discard(n, grace, Cause::SpecChanged));
            let steps = stale.chain(self.create_steps(&next_name, cause, Some(current))).collect();
            (steps, Target::Created { name: next_name.clone() })
        };
        // 2. The current one stops and makes way. One that never served, or that an older one still
        // stands behind, is not worth keeping.
        let never_started = current.is_owned() && current.state == RunState::Created && current.started_at.is_none();
        let kept = if self.cast.old.is_some() || never_started {
            steps.extend(discard(current, grace, cause));
            self.cast.old
        } else {
            steps.extend(hush(current, grace, cause));
            steps.push(rename(current, &old_name, cause));
            Some(current)
        };
        // 3. The new one takes the name and starts.
        steps.push(step(Op::Rename { target: target.clone(), to: name.to_owned() }, cause));
        if !usable.is_some_and(is_up) {
            steps.push(step(Op::Start(target.renamed(name)), cause));
        }
        let what = if current.is_owned() {
            format!("replacing the container (generation {})", self.generation)
        } else {
            format!("taking over {} ({})", current.name, whose(current))
        };
        d.act(Action::Replace, steps, said(Reason::Replacing, what));

        if self.waits_for_a_name(d) {
            // It is said.
        } else if usable.is_some() {
            // What has begun is carried on whatever the dependencies say now.
            self.gate_ports(d);
        } else {
            self.gate_creation(d);
        }
        // 4. Once it is Ready, nothing is left of the old one.
        self.then_remove(d, kept);
        if self.cast.next.is_some() {
            keep_serving(d, current, self.cx);
        }
    }

    /// A container that is not ours bears a name that the replacement needs. Says so, and holds it back.
    pub fn waits_for_a_name(&self, d: &mut Draft<'_>) -> bool {
        let names = [NEXT, OLD].map(|suffix| format!("{}{suffix}", self.name()));
        let Some(foreign) = self.observed.foreign.iter().find(|f| names.contains(&f.name)) else { return false };
        let what = format!("a container named {} that is not ours is in the way of the replacement", foreign.name);
        d.stalled = Some((Reason::NameConflict, what));
        d.wake(Some(self.cx.now.plus(CONFLICT_POLL)));
        d.gate(Gate::Conflict(format!("container {}", foreign.name)));
        true
    }

    fn has_ended_as_one_shot(&self, current: &Container) -> bool {
        current.state == RunState::Exited && self.service.spec.container.restart.is_one_shot()
    }

    pub fn then_remove(&self, d: &mut Draft<'_>, old: Option<&Container>) {
        if let Some(old) = old {
            let target = Target::Existing { id: old.id.clone(), name: format!("{}{OLD}", self.name()) };
            let steps = vec![step(Op::RemoveContainer(target), Cause::Superseded)];
            d.then(Gate::Ready(self.name().to_owned()), steps);
        }
    }
}

/// The one that was stopped for a replacement serves on while a newer replacement has to wait (P9).
pub(super) fn keep_serving(d: &mut Draft<'_>, stopped: &Container, cx: &PlanContext<'_>) {
    let waits = matches!(d.first_gate(), Some(Gate::Image(_) | Gate::Deps(_)));
    let ours_to_start = stopped.state == RunState::Exited && !own_policy(stopped).is_one_shot();
    if !waits || !ours_to_start {
        return;
    }
    // Docker does not start it again, and nothing tells whether we stopped it or it ended (P13).
    let managed = own_policy(stopped) == RestartPolicy::Managed;
    let held_until = cx.restarts.next_at(stopped.finished_at, cx.now).filter(|_| managed);
    d.wake(held_until);
    if held_until.is_none() {
        d.first(take_up(stopped, if managed { Cause::Exited } else { Cause::Resumed }));
    }
}
