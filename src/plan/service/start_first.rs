//! The new one first: it runs beside the current one, and takes its name once it is Ready.
//!
//! The switch is two renames, which move the name on its networks within milliseconds and cut no
//! connection. The one before runs on for the time of `update.drain`, for those who have just looked the
//! name up, and is then stopped with its grace.

use super::crash::{cause_of_start, hold_back};
use super::rollback::Lost;
use super::run::Run;
use super::steps::{discard, existing, hush, rename, start, step};
use crate::plan::draft::{Draft, said};
use crate::plan::readiness::{Verdict, exit_text, verdict};
use crate::plan::types::{Action, Cause, Gate, Op, PlanContext, Step, Target};
use crate::resource::labels::{NEXT, OLD};
use crate::resource::observed::{Container, RunState};
use crate::resource::status::Reason;
use crate::resource::update::UpdateStrategy;

impl<'a> Run<'a> {
    /// Whether two containers of the service may run side by side.
    pub fn may_run_beside(&self, current: &Container) -> bool {
        let spec = &self.service.spec;
        // What was kept of one that was not ours may hold aliases and mounts that no manifest names.
        let no_obstacle = || spec.start_first_obstacle(&self.service.name).is_none() && current.owner.adopted.is_none();
        match spec.update.strategy {
            UpdateStrategy::Recreate => false,
            UpdateStrategy::StartFirst => no_obstacle(),
            // The new one would mount the volumes of the current one that have no names.
            UpdateStrategy::Auto => no_obstacle() && spec.shares_nothing() && current.anonymous.is_empty(),
        }
    }

    /// Whether the current one serves on until the new one does. One that does not serve is not waited for.
    pub fn starts_first(&self, d: &Draft<'_>, current: &Container) -> bool {
        let serves = current.is_owned() && current.state == RunState::Running && !d.verdict.dead;
        serves && self.cast.old.is_none() && self.may_run_beside(current)
    }

    pub fn start_beside(&self, d: &mut Draft<'_>, current: &'a Container, cause: Cause) {
        let next_name = format!("{}{NEXT}", self.name());
        let Some(next) = self.cast.next.filter(|n| self.fits(n)) else {
            let stale = self.cast.next.iter().flat_map(|n| discard(n, self.grace(), Cause::SpecChanged));
            let steps = stale.chain(self.create_and_start(&next_name, cause, Some(current))).collect();
            let what = format!("starting the new container beside the current one (generation {})", self.generation);
            d.act(Action::Replace, steps, said(Reason::Replacing, what));
            if !self.waits_for_a_name(d) {
                self.gate_creation(d);
            }
            let switch = self.switch_steps(current, Target::Created { name: next_name.clone() }, cause);
            return d.then(Gate::Ready(next_name), switch);
        };
        if next.state == RunState::Running {
            d.probe(next.id.clone());
        }
        let verdict = self.verdict_of_next(next);
        let switch = self.switch_steps(current, existing(next), cause);
        if verdict.ready {
            let what = format!("the new container is ready and takes over (generation {})", self.generation);
            d.act(Action::Replace, switch, said(Reason::Replacing, what));
            self.waits_for_a_name(d);
            return;
        }
        let hope = self.lost_hope(next, None, &verdict, self.cx.next_probes);
        if let Lost::Now(why) = &hope
            && self.rolls_back()
        {
            return self.refuse_next(d, next, why);
        }
        self.await_next(d, next, &verdict);
        match hope {
            Lost::Now(why) => {
                let late = (Reason::StartupDeadlineExceeded, format!("{}: {why}", next.name));
                d.stalled = d.stalled.take().or(Some(late));
            }
            Lost::Then(at) => d.wake(Some(at)),
            Lost::No => {}
        }
        d.then(Gate::Ready(next_name), switch);
    }

    /// The new one is there, and not Ready.
    fn await_next(&self, d: &mut Draft<'_>, next: &Container, verdict: &Verdict) {
        let waits = said(Reason::Replacing, format!("waits until {} is ready: {}", next.name, verdict.message));
        d.wake(verdict.wake_at);
        let steps = match next.state {
            RunState::Created => {
                let mut steps = self.complete_steps(next);
                steps.push(start(next, Cause::Resumed));
                d.act(Action::Replace, steps, said(Reason::Replacing, format!("starting {}", next.name)));
                // Nothing is in a hurry: the current one serves.
                self.gate_deps(d);
                return;
            }
            RunState::Exited => {
                let cause = cause_of_start(next, self.service.spec.container.restart, self.cx);
                d.act(Action::Replace, vec![start(next, cause)], waits);
                if cause.is_crash() {
                    hold_back(d, self.cx, &format!("{}: {}", next.name, exit_text(next)), next.finished_at);
                }
                return;
            }
            RunState::Running => self.attachment_steps(next, Cause::ChangedOutside),
            _ => Vec::new(),
        };
        if steps.is_empty() {
            d.name(Action::Replace);
            d.reconciling = Some(waits);
        } else {
            d.act(Action::Replace, steps, waits);
        }
    }

    fn verdict_of_next(&self, next: &Container) -> Verdict {
        verdict(&self.service, next, &PlanContext { probes: self.cx.next_probes, ..*self.cx })
    }

    /// The name goes from one to the other; who has just looked it up is waited for.
    fn switch_steps(&self, current: &Container, next: Target, cause: Cause) -> Vec<Step> {
        let old_name = format!("{}{OLD}", self.name());
        let mut steps = vec![
            rename(current, &old_name, cause),
            step(Op::Rename { target: next, to: self.name().to_owned() }, cause),
        ];
        steps.extend(self.drain_step());
        let refused = self.cast.failed.iter().flat_map(|c| discard(c, self.grace(), Cause::Superseded));
        steps.extend(refused);
        steps.extend(discard(&Container { name: old_name, ..current.clone() }, self.grace(), Cause::Superseded));
        steps
    }

    fn drain_step(&self) -> Option<Step> {
        let drain = self.service.spec.update.drain;
        (!drain.is_zero()).then(|| step(Op::Drain(drain), Cause::Superseded))
    }

    /// The switch was begun: both run, and none bears the name. (Where the old one is stopped first, the
    /// new one never runs before it has the name.)
    pub fn finish_switch(&self, d: &mut Draft<'_>, next: &Container, old: &Container) {
        d.say(false, Reason::Replacing, "the new container takes over");
        d.probe(next.id.clone());
        let mut steps = vec![rename(next, self.name(), Cause::Resumed)];
        steps.extend(self.drain_step());
        steps.extend(hush(old, self.grace(), Cause::Superseded));
        d.act(Action::Replace, steps, said(Reason::Replacing, "carrying on a replacement that was begun"));
        self.then_remove(d, Some(old));
    }
}
