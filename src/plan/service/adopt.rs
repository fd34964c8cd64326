//! What is not ours, and what a manifest's `adopt` says about it (`docs/adoption.md`).
//!
//! One that is to be replaced plays the part of one of ours from then on: `current` until it has made
//! way, `old` after that. So the replacement, its crash points and the way back are those of every other.

use super::cast::Cast;
use super::run::Run;
use super::{CONFLICT_POLL, say_container};
use crate::plan::draft::{Draft, said};
use crate::plan::readiness::{Verdict, summary};
use crate::plan::types::{Action, Cause, ClosedBy, FieldChange, Gate};
use crate::resource::adoption::{COMPOSE_PREFIX, COMPOSE_PROJECT, COMPOSE_SERVICE};
use crate::resource::desired::Service;
use crate::resource::labels::{FAILED, OLD};
use crate::resource::observed::{Container, RunState, ServiceObserved};
use crate::resource::spec::{Adopt, RestartPolicy};
use crate::resource::status::Reason;

/// Stands for a value that is nobody's business.
const HIDDEN: &str = "(not shown)";

/// What makes a one-shot what it is: one that ran with the same needs not run again (rules 14).
const OF_A_RUN: [&str; 5] = ["image", "entrypoint", "command", "workingDir", "user"];

/// The one that is to be replaced gets its part. `begins`: whether a takeover may be begun now; one that
/// has begun is carried on in any case.
pub(super) fn place<'a>(cast: &mut Cast<'a>, service: &Service, observed: &'a ServiceObserved) {
    let (Adopt::Replace(_), [one]) = (&service.spec.adopt, observed.adoptees.as_slice()) else { return };
    let has_made_way = one.name == format!("{}{OLD}", service.spec.container.name);
    let is_taken_over = observed.owned.iter().any(|c| c.owner.adopted.as_ref().is_some_and(|a| a.from == one.id));
    match one.state {
        RunState::Removing => cast.leaving.push(one),
        // The end of its takeover, which the engine left half done.
        RunState::Dead if has_made_way && is_taken_over => cast.dead.push(one),
        // It is told apart before anything is done.
        RunState::Dead => {}
        _ if cast.current.is_none() && !has_made_way => cast.current = Some(one),
        _ if cast.old.is_none() => cast.old = Some(one),
        _ => {}
    }
}

impl Run<'_> {
    /// Whether what is not ours decides, and all is said.
    pub fn is_adoption(&self, d: &mut Draft<'_>) -> bool {
        let nothing_of_ours = self.observed.owned.is_empty();
        match (&self.service.spec.adopt, self.observed.adoptees.as_slice()) {
            (Adopt::Never, _) => false,
            (_, several @ [_, _, ..]) => self.cannot_tell(d, several),
            (Adopt::Observe(_), [one]) => self.observe_only(d, one),
            (Adopt::Observe(_), []) => {
                let in_the_way = self.observed.foreign.iter().any(|f| f.name == self.name());
                self.is_only_observed() && !in_the_way && self.nothing_to_observe(d)
            }
            (Adopt::Replace(_), [one]) => self.is_not_taken_over(d, one),
            (Adopt::Replace(_), []) => nothing_of_ours && self.has_lost_its_successor(d),
        }
    }

    /// Made to take over what is no longer to be taken over, and not started yet: it has the mounts of the other one,
    /// which may run on.
    pub fn takeover_given_up(&self) -> Option<&Container> {
        let is_asked_for = matches!(self.service.spec.adopt, Adopt::Replace(_)) || !self.compares();
        self.cast.next.filter(|n| !is_asked_for && n.owner.adopted.is_some() && n.started_at.is_none())
    }

    /// Nothing of ours serves, or is about to: none is made. What was refused once is kept for its logs.
    pub fn is_only_observed(&self) -> bool {
        let is_kept = |c: &Container| c.name.ends_with(FAILED) && !c.is_running();
        matches!(self.service.spec.adopt, Adopt::Observe(_)) && self.observed.owned.iter().all(is_kept)
    }

    /// Probed and told of, and never changed (rules 9).
    fn observe_only(&self, d: &mut Draft<'_>, one: &Container) -> bool {
        say_container(d, &self.service, one, self.observed, self.cx);
        d.hold();
        d.changes = self.differences(one);
        if self.has_run(one, &d.changes) {
            d.say(true, Reason::Completed, format!("completed with exit code 0 ({})", whose(one)));
            return true;
        }
        let fields = match d.changes.len() {
            0 => String::new(),
            1 => "; 1 field is not as described".to_owned(),
            n => format!("; {n} fields are not as described"),
        };
        if d.verdict.reason == Reason::Starting {
            // Its probe has not told anything yet, and is about to.
            d.unsettle();
        }
        let Verdict { ready, wake_at, message, .. } = &d.verdict;
        let message = format!("observed, never changed: {message} ({}{fields})", whose(one));
        d.verdict = Verdict { wake_at: *wake_at, ..Verdict::new(*ready, Reason::Observed, message) };
        true
    }

    fn nothing_to_observe(&self, d: &mut Draft<'_>) -> bool {
        let message = format!("no container of it is there; it is only observed, so none is made ({})", self.sought());
        d.say(false, Reason::NothingToObserve, message.clone());
        d.stalled = Some((Reason::NothingToObserve, message));
        d.unsettle();
        d.wake(Some(self.cx.now.plus(CONFLICT_POLL)));
        true
    }

    /// One that is left as it is although it should be replaced.
    fn is_not_taken_over(&self, d: &mut Draft<'_>, one: &Container) -> bool {
        let begun = self.observed.owned.iter().any(|c| c.owner.adopted.as_ref().is_some_and(|a| a.from == one.id));
        if begun || one.state == RunState::Removing {
            return false;
        }
        if !self.compares() {
            // P5: nothing is begun for a manifest that is broken by now.
            say_container(d, &self.service, one, self.observed, self.cx);
            return true;
        }
        let spec = &self.service.spec.container;
        let adopted = one.owner.adopted.as_deref();
        let why_not = if one.state == RunState::Dead {
            Some("the engine has half removed it; remove it with `docker rm -f`".to_owned())
        } else if one.auto_remove {
            let why =
                "it was started with `--rm`: stopped, it would be gone, and with it the way back; start it without";
            Some(why.to_owned())
        } else {
            adopted.and_then(|a| a.covers_file(spec)).map(|(target, file)| {
                format!("its mount at {target} would be kept, and the file {file} of the manifest would be written into it; \
                         name a mount for {target}, or take the file out")
            })
        };
        if let Some(why) = why_not {
            let message = format!("{} ({}, {}) cannot be taken over: {why}", one.name, one.id, whose(one));
            return self.refuse(d, &one.name, message);
        }
        let one_shot = spec.restart.is_one_shot();
        let changes = if one_shot { self.differences(one) } else { Vec::new() };
        if self.has_run(one, &changes) && !self.cx.asks_to_restart(one) {
            d.container = Some(summary(one, self.observed));
            d.say(true, Reason::Completed, format!("completed with exit code 0 ({}); not run again", whose(one)));
            return true;
        }
        if one_shot && one.is_running() && is_same_run(&changes) {
            if matches!(one.config.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped) {
                let message = format!(
                    "{} ({}) is a one-shot that Docker starts again whenever it has ended (restart policy {}), and it                      is not run twice: `docker update --restart no {}`, and its end is waited for",
                    one.name,
                    whose(one),
                    one.config.restart.on_engine(),
                    one.name
                );
                return self.refuse(d, &one.name, message);
            }
            say_container(d, &self.service, one, self.observed, self.cx);
            d.say(false, Reason::Starting, format!("runs to its end ({}); it is not run twice", whose(one)));
            d.unsettle();
            return true;
        }
        false
    }

    /// It ran to its end, as what the manifest asks for.
    fn has_run(&self, one: &Container, changes: &[FieldChange]) -> bool {
        let ended_well = one.state == RunState::Exited && one.exit_code == Some(0);
        ended_well && self.service.spec.container.restart.is_one_shot() && is_same_run(changes)
    }

    fn cannot_tell(&self, d: &mut Draft<'_>, several: &[Container]) -> bool {
        let names: Vec<_> = several.iter().map(|c| format!("{} ({}, {})", c.name, c.id, whose(c))).collect();
        let message = format!(
            "several containers could be meant, and none is touched: {}; say which with `adopt.composeProject`, or remove the others",
            names.join(", ")
        );
        let names: Vec<_> = several.iter().map(|c| c.name.as_str()).collect();
        self.refuse(d, &names.join(" and "), message)
    }

    /// What looks like one that was taken over, with nothing left of what took its place: created anew,
    /// the service might start without its data.
    fn has_lost_its_successor(&self, d: &mut Draft<'_>) -> bool {
        let old = format!("{}{OLD}", self.name());
        let Some(foreign) = self.observed.foreign.iter().find(|f| f.name == old) else { return false };
        let message = format!(
            "{old} ({}) is not ours, and nothing of {} is there: if it was being taken over, `docker rename {old} {}`; \
             else remove it",
            foreign.id,
            self.service.name,
            self.name()
        );
        self.refuse(d, &old, message)
    }

    fn refuse(&self, d: &mut Draft<'_>, who: &str, message: String) -> bool {
        d.say(false, Reason::AdoptionRefused, message.clone());
        let steps = self.create_and_start(self.name(), Cause::Missing, None);
        d.act(Action::Create, steps, said(Reason::Pending, "waits until it is clear what may be taken over"));
        d.stalled = Some((Reason::AdoptionRefused, message));
        d.wake(Some(self.cx.now.plus(CONFLICT_POLL)));
        d.gate(Gate::Conflict(format!("container {who}")));
        true
    }

    fn sought(&self) -> String {
        let whom = self.service.spec.adopt.whom().cloned().unwrap_or_default();
        let service = whom.service.as_deref().unwrap_or(&self.service.name);
        match &whom.project {
            Some(project) => format!("looked for: service {service} of Compose project {project}"),
            None if whom.service.is_some() => format!("looked for: service {service} of a Compose project"),
            None => format!("looked for: {}, or service {service} of a Compose project", self.name()),
        }
    }
}

fn is_same_run(changes: &[FieldChange]) -> bool {
    !changes.iter().any(|c| OF_A_RUN.contains(&c.field.as_str()) || c.field.starts_with("env."))
}

/// Who made it, as far as that can be told.
pub(super) fn whose(one: &Container) -> String {
    let label = |name: &str| one.config.labels.get(name);
    match (label(COMPOSE_PROJECT), label(COMPOSE_SERVICE)) {
        (Some(project), Some(service)) => format!("service {service} of Compose project {project}"),
        _ => "not made by env-manager".to_owned(),
    }
}

/// Of what is not ours no value of the environment is shown; Compose's own labels and whether Docker runs a
/// HEALTHCHECK are no difference; and nothing is mended in place.
pub(super) fn veil(changes: &mut Vec<FieldChange>) {
    let compose = format!("metadata.labels.{COMPOSE_PREFIX}");
    changes.retain(|c| !c.field.starts_with(&compose) && c.field != "probes.docker");
    for change in changes {
        change.closed_by = ClosedBy::Replace;
        if change.field.starts_with("env.") {
            for side in [&mut change.old, &mut change.new] {
                *side = side.take().map(|_| HIDDEN.to_owned());
            }
        }
    }
}
