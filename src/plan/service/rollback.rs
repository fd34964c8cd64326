//! A new revision that does not become Ready makes way for the one before (P9), and is not tried again
//! until it is another one or a person asks for it.
//!
//! What was refused is told from either of two records: the container kept as `kafka.failed`, and what
//! the state directory remembers. Each suffices (rules 16): `docker container prune` removes the one,
//! and a lost state directory the other.

use std::sync::Arc;

use super::run::{Measure, Run};
use super::say_container;
use super::steps::{discard, existing, hush, own_policy, rename, rename_from_any_state, step};
use crate::clock::Timestamp;
use crate::plan::draft::{Draft, said};
use crate::plan::readiness::{Verdict, exit_text, on_our_clock, summary};
use crate::plan::types::{Action, Cause, Op, Step};
use crate::resource::adoption::Adopted;
use crate::resource::desired::Service;
use crate::resource::image::ImageRef;
use crate::resource::labels::FAILED;
use crate::resource::observed::{Container, RunState};
use crate::resource::probe::ProbeState;
use crate::resource::revision::{Proven, Refusal, Revision};
use crate::resource::spec::RestartPolicy;
use crate::resource::status::Reason;
use crate::resource::units::human_duration;

/// What is said where only the container is left to tell of a refusal.
const WHY_IS_LOST: &str = "it did not become ready";

/// Why what the manifest asks for is not to be tried, where that is so.
pub(super) fn refusal(wanted: &Run<'_>) -> Option<String> {
    if wanted.is_to_be_tried_again() || !wanted.rolls_back() {
        return None;
    }
    let remembered = wanted.remembered_refusal().map(|r| r.why.clone());
    remembered.or_else(|| wanted.kept_failure().map(|_| WHY_IS_LOST.to_owned()))
}

impl<'a> Run<'a> {
    fn remembered_refusal(&self) -> Option<&'a Refusal> {
        let image = self.observed.spec_image.as_deref();
        self.cx.revisions.refused.as_ref().filter(|r| r.revision.is_of(&self.service, image))
    }

    /// Somebody asked for it, or has given it other probes to pass, or more time. With its manifest broken that has to
    /// wait (P5).
    fn is_to_be_tried_again(&self) -> bool {
        let on_other_terms = |r: &Refusal| !r.is_on_the_terms_of(&self.service.spec);
        let is_meant = || self.cx.retry_asked || self.remembered_refusal().is_some_and(on_other_terms);
        self.measure != Measure::Nothing && is_meant()
    }

    /// A container that was refused and is what the manifest asks for still.
    fn kept_failure(&self) -> Option<&'a Container> {
        self.cast.failed.iter().copied().find(|c| self.is_of_this_revision(c))
    }

    /// Made from what the manifest asks for, whatever somebody has changed about it since.
    fn is_of_this_revision(&self, container: &Container) -> bool {
        let owner = &container.owner;
        let same_image = self.observed.spec_image.as_ref().is_none_or(|i| i.id == container.image_id);
        let same_secrets = match &owner.secrets_hash {
            Some(hash) => hash.matches_secrets(&self.service),
            None => self.service.secret_env.is_empty(),
        };
        let same_files = container.files_marker.as_ref().is_none_or(|m| m.matches_files(&self.service));
        owner.spec_hash == self.service.hash && same_image && same_secrets && same_files
    }

    /// It is to be tried again: nothing may be left that speaks against it.
    pub fn forget_failure(&self, d: &mut Draft<'_>) -> bool {
        let Some(failed) = self.kept_failure().filter(|_| self.is_to_be_tried_again()) else { return false };
        let steps = discard(failed, self.grace(), Cause::Requested);
        let why = if self.cx.retry_asked { "as was asked for" } else { "with another strategy, deadline or probes" };
        d.act(Action::Update, steps, said(Reason::Replacing, format!("to be tried again, {why}")));
        true
    }

    /// The current one is what the manifest asks for, and stands in for one that served. Gives up on it
    /// once its time is over, or at once where it cannot start.
    pub fn give_up(&self, d: &mut Draft<'_>, current: &'a Container) -> bool {
        let Some(old) = self.cast.old.filter(|_| self.rolls_back() && !d.verdict.ready) else { return false };
        if old.is_running() {
            return false; // Stopped first, as any second copy.
        }
        match self.lost_hope(current, old.finished_at, &d.verdict, self.cx.probes) {
            Lost::Now(why) => {
                self.roll_back(d, current, Some(old), &why);
                true
            }
            Lost::Then(at) => {
                d.wake(Some(at));
                false
            }
            Lost::No => false,
        }
    }

    pub fn rolls_back(&self) -> bool {
        self.service.spec.update.rollback && !self.service.spec.container.restart.is_one_shot()
    }

    /// Whether a new container has had its time, of which `verdict` and `probes` tell. `since`: when the one
    /// before was stopped.
    pub fn lost_hope(&self, new: &Container, since: Option<Timestamp>, verdict: &Verdict, probes: &ProbeState) -> Lost {
        let retry = self.cx.retry;
        let failing = retry.failure.as_ref().filter(|f| f.reason == Reason::StartFailed);
        if let Some(failure) = failing.filter(|f| f.terminal || retry.attempts >= self.cx.policy.max_attempts) {
            return Lost::Now(failure.message.clone());
        }
        if matches!(new.state, RunState::Created | RunState::Paused) {
            return Lost::No; // It has not had its chance, or somebody holds it.
        }
        let allowed = self.service.spec.update.progress_deadline;
        let since = since.map_or(new.created_at, |since| since.max(new.created_at));
        let mut since = on_our_clock(since, self.cx).max(self.cx.watched_since);
        // Started once more by the engine or by us, and not because it had ended by itself.
        if let Some(started_at) = new.started_at.filter(|_| new.restarts == 0 && self.cx.restarts.count() == 0) {
            since = since.max(on_our_clock(started_at, self.cx));
        }
        let deadline = since.plus(allowed);
        if self.cx.now < deadline {
            return Lost::Then(deadline);
        }
        let how = match new.state {
            RunState::Exited | RunState::Restarting => exit_text(new),
            _ if !probes.message.is_empty() => probes.message.clone(),
            _ => verdict.message.clone(),
        };
        Lost::Now(format!("not ready within {}: {how}", human_duration(allowed)))
    }

    /// Back to the container before; with none left, to a new one of its revision.
    fn roll_back(&self, d: &mut Draft<'_>, current: &'a Container, old: Option<&'a Container>, why: &str) {
        let mut steps = self.set_aside(current);
        match old {
            Some(old) => steps.extend(self.take_back_steps(old)),
            None => steps.extend(self.recreate_steps()),
        }
        self.give_it_up(d, steps, why, format!("going back to the container before: {why}"));
    }

    /// The one that runs beside the current one, which serves on as if nothing had been.
    pub fn refuse_next(&self, d: &mut Draft<'_>, next: &Container, why: &str) {
        self.give_it_up(d, self.set_aside(next), why, format!("giving up {}: {why}", next.name));
    }

    /// Stopped, and kept for its logs where the name for that is free.
    fn set_aside(&self, refused: &Container) -> Vec<Step> {
        let (grace, cause) = (self.grace(), Cause::Refused);
        let name = format!("{}{FAILED}", self.name());
        let mut steps: Vec<_> = self.cast.failed.iter().flat_map(|c| discard(c, grace, cause)).collect();
        if self.observed.foreign.iter().any(|f| f.name == name) {
            steps.extend(discard(refused, grace, cause));
        } else {
            steps.extend(hush(refused, grace, cause));
            steps.push(rename(refused, &name, cause));
        }
        steps
    }

    fn give_it_up(&self, d: &mut Draft<'_>, steps: Vec<Step>, why: &str, what: String) {
        self.note_refusal(d, why);
        let what = said(Reason::Replacing, what);
        if d.refuses.is_some() {
            // What failed until now was the new one.
            d.act_at_once(Action::RollBack, steps, what);
        } else {
            d.act(Action::RollBack, steps, what);
        }
    }

    /// The revision that is asked for is not to be tried again.
    fn note_refusal(&self, d: &mut Draft<'_>, why: &str) {
        if !self.remembered_refusal().is_some_and(|r| r.is_on_the_terms_of(&self.service.spec)) {
            let image = self.observed.spec_image.as_ref().map(|i| &i.id);
            let revision = Revision::of(&self.service, image, &self.cx.policy.salt);
            d.refuses = Some(Refusal::new(revision, &self.service.spec, why, self.cx.now));
        }
    }

    /// Under the service's name, on the networks as they are now, running, and under its own policy.
    fn take_back_steps(&self, old: &Container) -> Vec<Step> {
        let cause = Cause::Refused;
        // One that is not ours gets the name back that it had before it was taken over.
        let name = self.taken_over(old).map_or(self.name(), |adopted| &adopted.name);
        let target = || existing(old).renamed(name);
        let mut steps = rename_from_any_state(old, name, self.grace(), cause);
        steps.extend(self.rejoin_steps(old, &target(), cause));
        let serves = matches!(old.state, RunState::Running | RunState::Paused);
        let policy = self.policy_before(old).on_engine();
        let policy_is_lost = old.config.restart != policy || old.state == RunState::Restarting;
        // The start first: until then the missing policy tells that it did not end by itself.
        steps.extend((!serves).then(|| step(Op::Start(target()), cause)));
        steps.extend(policy_is_lost.then(|| step(Op::SetRestartPolicy { target: target(), policy }, cause)));
        steps
    }

    /// What its successor notes of a container that is not ours.
    fn taken_over(&self, container: &Container) -> Option<&'a Adopted> {
        let mut notes = self.observed.owned.iter().filter_map(|c| c.owner.adopted.as_deref());
        notes.find(|a| a.from == container.id).filter(|_| !container.is_owned())
    }

    /// The policy that it had before it was stopped on purpose.
    pub fn policy_before(&self, container: &Container) -> RestartPolicy {
        self.taken_over(container).map_or_else(|| own_policy(container), |adopted| adopted.restart)
    }

    /// `docker container prune` took the old one away: another of its revision, if that can be told.
    fn recreate_steps(&self) -> Vec<Step> {
        let Some(service) = proven_service(&self.service, self.cx.revisions.proven.as_ref()) else { return Vec::new() };
        let run = Run::new(&service, self.generation, self.observed, self.cx, Measure::Spec);
        run.create_and_start(self.name(), Cause::Refused, None)
    }
}

/// Whether there is still hope for a new container.
pub(super) enum Lost {
    /// Not any more, and why.
    Now(String),
    /// Until then.
    Then(Timestamp),
    No,
}

/// The service as it was when it was Ready last, if it can be made again: with the secrets and files of
/// then, which nobody has kept, and from the image of then.
fn proven_service(now: &Service, proven: Option<&Proven>) -> Option<Arc<Service>> {
    let Proven { spec, revision } = proven?;
    let then = Service::new(Arc::clone(&now.name), spec.clone(), now.secret_env.clone(), now.files.clone());
    let mut spec = spec.clone();
    if !revision.has_the_secrets_and_files_of(&then) {
        return None;
    }
    spec.container.name.clone_from(&now.spec.container.name);
    if let Some(image) = &revision.image {
        spec.container.image = ImageRef::parse(&image.0).ok()?;
    }
    let service = Service { spec, ..then };
    Some(Arc::new(service))
}

/// What is asked for was refused: the revision before is kept as it is. Only its presence, running, name
/// and policy are seen to.
pub(super) fn keep<'a>(mut draft: Draft<'a>, wanted: &Run<'a>, why: &str) -> Draft<'a> {
    let d = &mut draft;
    let (cast, observed, cx) = (&wanted.cast, wanted.observed, wanted.cx);
    let nobody_in_the_way = cast.leaving.is_empty()
        && cast.dead.is_empty()
        && !wanted.name_is_foreign()
        && wanted.hush_second_copies().is_empty();
    let may_move = wanted.compares() && nobody_in_the_way;
    if wanted.is_only_observed() {
        return wanted.decide(draft);
    }
    match cast.current {
        // One that somebody has changed since is not it, but the one before, which was to be replaced for that.
        Some(refused) if wanted.is_of_this_revision(refused) && wanted.fits(refused) => {
            say_container(d, &wanted.service, refused, observed, cx);
            let old = cast.old;
            let proven = cx.revisions.proven.as_ref();
            let was_proven = proven.is_some_and(|p| p.revision.is_of(&wanted.service, observed.spec_image.as_deref()));
            let nothing_before = old.is_none() && (was_proven || wanted.recreate_steps().is_empty());
            if d.verdict.ready || nothing_before || !may_move {
                // It has made it after all; or there is nothing to go back to, and it is better than nothing.
                return wanted.decide(draft);
            }
            wanted.roll_back(d, refused, old, why);
            say_refused(d, wanted, why);
            return draft;
        }
        None if may_move && cast.strays.is_empty() => {
            let back = cast.old.map_or_else(|| wanted.recreate_steps(), |old| wanted.take_back_steps(old));
            if back.is_empty() {
                return wanted.decide(draft);
            }
            let stale = cast.next.iter().flat_map(|n| discard(n, wanted.grace(), Cause::Refused));
            d.container = cast.old.map(|old| summary(old, observed));
            d.say(false, Reason::Replacing, "the container before is taken back");
            let what = said(Reason::Replacing, "carrying on a rollback that was begun");
            d.act(Action::RollBack, stale.chain(back).collect(), what);
            say_refused(d, wanted, why);
            return draft;
        }
        None => return wanted.decide(draft),
        Some(other) => {
            let beside = cast.next.filter(|n| n.started_at.is_some() && wanted.is_of_this_revision(n));
            if let Some(next) = beside.filter(|_| may_move) {
                say_container(d, &wanted.service, other, observed, cx);
                wanted.refuse_next(d, next, why);
                say_refused(d, wanted, why);
                return draft;
            }
            if let Some(old) = cast.old.filter(|old| may_move && !old.is_running()) {
                // Neither asked for nor well, and another one stands behind it that was.
                say_container(d, &wanted.service, other, observed, cx);
                match wanted.lost_hope(other, old.finished_at, &d.verdict, cx.probes) {
                    Lost::Now(_) if !d.verdict.ready => {
                        let mut steps = discard(other, wanted.grace(), Cause::Refused);
                        steps.extend(wanted.take_back_steps(old));
                        d.act(Action::RollBack, steps, said(Reason::Replacing, "going back to the one before"));
                        say_refused(d, wanted, why);
                        return draft;
                    }
                    Lost::Then(at) => d.wake(Some(at)),
                    Lost::Now(_) | Lost::No => {}
                }
            }
        }
    }
    let mut service = (*wanted.service).clone();
    if let Some(proven) = &cx.revisions.proven {
        // Asked and ended as it was when it was Ready: a probe may be what was wrong.
        service.spec = proven.spec.clone();
        wanted.name().clone_into(&mut service.spec.container.name);
    }
    let kept = Run::new(&Arc::new(service), wanted.generation, observed, cx, Measure::Itself);
    let mut draft = kept.decide(draft);
    draft.wants.as_proven = cx.revisions.proven.as_ref().map(|p| p.spec.probes.clone());
    say_refused(&mut draft, wanted, why);
    draft
}

fn say_refused(d: &mut Draft<'_>, wanted: &Run<'_>, why: &str) {
    let (generation, name) = (wanted.generation, &wanted.service.name);
    let failing = d.stalled.is_some() || (d.verdict.stalled && !d.is_acting(Action::RollBack));
    let on_its_way = !d.verdict.ready && !failing;
    let how = match &d.stalled {
        _ if let Some((Reason::RetryBackoff, how)) = &d.reconciling => format!("the revision before: {how}"),
        Some((_, how)) => format!("the revision before: {how}"),
        None if d.is_acting(Action::RollBack) => "going back to the revision before".to_owned(),
        None if d.verdict.ready => "the revision before serves".to_owned(),
        None => format!("the revision before: {}", d.verdict.message),
    };
    let message = format!(
        "generation {generation} was refused: {why}; {how}; change its manifest, or `env-manager retry {name}`"
    );
    // Whoever waits for it waits until the revision before serves, and no longer.
    let told = if on_its_way { &mut d.reconciling } else { &mut d.stalled };
    *told = Some((Reason::RolledBack, message));
    d.unsettle();
}
