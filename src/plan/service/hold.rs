//! What should not run, and what is to be left as it is.

use std::sync::Arc;
use std::time::Duration;

use super::cast::{Cast, sorted};
use super::crash::{hold_back, start_failed};
use super::steps::{discard, hush, own_policy, rename, start, stop_and_start, take_up};
use super::{REMOVAL_POLL, say_container};
use crate::plan::draft::{Draft, said};
use crate::plan::readiness::{Verdict, exit_text, summary};
use crate::plan::types::{Action, Cause, Gate, PlanContext};
use crate::resource::desired::Service;
use crate::resource::observed::{Container, RunState, ServiceObserved};
use crate::resource::spec::RestartPolicy;
use crate::resource::status::Reason;

/// For what no manifest describes any more, and so nobody knows the grace of.
const ORPHAN_GRACE: Duration = Duration::from_secs(30);

/// P19. `service` is not known of one that no manifest describes any more, and of one whose manifest is
/// broken since before the daemon began.
pub(super) fn suspended<'a>(
    mut draft: Draft<'a>,
    service: Option<&Arc<Service>>,
    observed: &'a ServiceObserved,
    cx: &PlanContext<'_>,
) -> Draft<'a> {
    draft.hold();
    let cast = match service {
        Some(service) => Cast::new(&service.spec.container.name, &observed.owned),
        None => Cast::unnamed(&observed.owned).1,
    };
    let running = observed.owned.iter().find(|c| c.is_running());
    match (cast.current.or(observed.adoptees.first()), service) {
        (Some(current), Some(service)) => say_container(&mut draft, service, current, observed, cx),
        (Some(current), None) => {
            draft.container = Some(summary(current, observed));
            let runs = current.state == RunState::Running;
            draft.say(runs, Reason::Suspended, if runs { "it runs" } else { "nothing runs" });
        }
        (None, _) => match running {
            Some(other) => draft.say(false, Reason::Suspended, format!("only {} runs", other.name)),
            None => draft.say(false, Reason::Suspended, "nothing runs"),
        },
    }
    let how = &draft.verdict.message;
    let parts: Vec<_> = [cast.next, cast.old].into_iter().flatten().map(|c| c.name.as_str()).collect();
    let begun =
        if parts.is_empty() { String::new() } else { format!("; a replacement was begun: {}", parts.join(" and ")) };
    let unknown = if service.is_none() { "; no good manifest describes it" } else { "" };
    let how = format!("{how}{begun}{unknown}");
    let name = draft.subject();
    let message = match cx.why {
        Some(who) => format!("suspended by {who}; left as it is until `env-manager resume {name}` ({how})"),
        None => format!("suspended by its manifest (`suspend: true`); left as it is ({how})"),
    };
    draft.verdict = Verdict::new(draft.verdict.ready, Reason::Suspended, message);
    draft
}

/// `state: Stopped`: what is there is kept, stopped, and does not start with the engine.
pub(super) fn stop<'a>(mut draft: Draft<'a>, service: &Service, observed: &ServiceObserved) -> Draft<'a> {
    let name = &service.spec.container.name;
    let steps: Vec<_> = sorted(&observed.owned)
        .into_iter()
        .filter(|c| !matches!(c.state, RunState::Removing | RunState::Dead))
        .flat_map(|c| hush(c, service.spec.stop_grace, Cause::StateStopped))
        .collect();
    draft.container = observed.named(name).map(|c| summary(c, observed));
    let theirs = observed.adoptees.iter().find(|c| c.is_running());
    let theirs = theirs.map(|c| format!("; {} runs and is left alone: it is not ours", c.name)).unwrap_or_default();
    draft.say(false, Reason::StoppedAsDesired, format!("stopped, as its manifest says{theirs}"));
    if !steps.is_empty() {
        draft.act(Action::Stop, steps, said(Reason::Stopping, "stopping"));
    }
    draft
}

pub(super) fn remove<'a>(
    mut draft: Draft<'a>,
    service: Option<&Arc<Service>>,
    observed: &ServiceObserved,
    cx: &PlanContext<'_>,
) -> Draft<'a> {
    let cause = if service.is_some() { Cause::Down } else { Cause::Orphaned };
    let grace = service.map_or(ORPHAN_GRACE, |s| s.spec.stop_grace);
    if observed.owned.is_empty() {
        draft.say(false, Reason::Removing, "removed");
        return draft;
    }
    draft.say(false, Reason::Removing, "to be removed");
    draft.container = observed.owned.iter().find(|c| c.is_running()).map(|c| summary(c, observed));
    let steps: Vec<_> = sorted(&observed.owned).into_iter().flat_map(|c| discard(c, grace, cause)).collect();
    if observed.owned.iter().any(|c| c.state == RunState::Removing) {
        draft.wait(said(Reason::Removing, "the engine is removing it"), cx.now.plus(REMOVAL_POLL));
    }
    if steps.is_empty() {
        return draft;
    }
    draft.act(Action::Remove, steps, said(Reason::Removing, "removing"));
    if !cx.dependents.is_empty() {
        let names = cx.dependents.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        draft.reconciling = Some((Reason::Removing, format!("waits until nothing is left of {names}")));
        draft.gate(Gate::Dependents(cx.dependents.to_vec()));
    }
    draft
}

/// Says of a plan for the last good spec that its manifest is broken.
pub(super) fn broken<'a>(mut draft: Draft<'a>, generation: u64, cx: &PlanContext<'_>) -> Draft<'a> {
    draft.unsettle();
    let how = match draft.stalled.take() {
        Some((_, how)) => format!("generation {generation}: {how}"),
        None if draft.verdict.ready && draft.verdict.reason != Reason::Completed => {
            format!("running generation {generation}")
        }
        None => format!("generation {generation}: {}", draft.verdict.message),
    };
    draft.stalled = Some((Reason::ManifestInvalid, not_applied(&how, cx)));
    draft.verdict.reason = Reason::ManifestInvalid;
    draft
}

fn not_applied(how: &str, cx: &PlanContext<'_>) -> String {
    let why = cx.why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("{how}; manifest not applied{why}")
}

/// Its manifest is broken and the last good spec is not known, as after a restart of the daemon:
/// what runs goes on running, and is started again where it ended (rules 2). Nothing is created.
pub(super) fn frozen<'a>(mut draft: Draft<'a>, observed: &'a ServiceObserved, cx: &PlanContext<'_>) -> Draft<'a> {
    let (name, cast) = Cast::unnamed(&observed.owned);
    draft.unsettle();
    // Who has no policy on the engine is held back by us (P13).
    let managed = |c: &Container| own_policy(c) == RestartPolicy::Managed && !start_failed(c);
    let cause = |c: &Container| if managed(c) { Cause::Exited } else { Cause::NotRunning };
    let mut ended = None;
    let something_runs = observed.owned.iter().any(Container::is_running);
    let mut running = false;
    let mut steps = Vec::new();
    if let Some(current) = cast.current {
        draft.container = Some(summary(current, observed));
        running = current.state == RunState::Running;
        let one_shot = own_policy(current).is_one_shot();
        let asked = cx.asks_to_restart(current) && cast.old.is_none() && cast.next.is_none();
        match current.state {
            RunState::Running | RunState::Paused | RunState::Restarting if asked => {
                steps = stop_and_start(current, ORPHAN_GRACE, Cause::Requested);
            }
            RunState::Exited if asked && !something_runs => steps = take_up(current, Cause::Requested),
            RunState::Exited if !one_shot && !something_runs => {
                ended = Some(current).filter(|c| managed(c));
                steps = take_up(current, cause(current));
            }
            // The old one was stopped for it, so it was complete.
            RunState::Created if cast.old.is_some() && !something_runs => {
                steps.push(start(current, Cause::NotRunning));
            }
            _ => {}
        }
    } else if let Some(old) = cast.old {
        // Died in mid-replace. The new one cannot be judged without its spec; the old one has served.
        draft.container = Some(summary(old, observed));
        if !something_runs && !own_policy(old).is_one_shot() {
            ended = Some(old).filter(|c| managed(c));
            steps = take_up(old, cause(old));
        }
        if old.state != RunState::Restarting {
            steps.push(rename(old, &name, Cause::Resumed));
        }
    }
    let how = if running { "running as last applied" } else { "nothing runs" };
    draft.say(running, Reason::ManifestInvalid, how);
    if !steps.is_empty() {
        draft.act(Action::Start, steps, said(Reason::Starting, "starting what ran before its manifest broke"));
        if let Some(ended) = ended {
            hold_back(&mut draft, cx, &exit_text(ended), ended.finished_at);
        }
    }
    let (_, how) = draft.stalled.take().unwrap_or((Reason::ManifestInvalid, how.to_owned()));
    draft.stalled = Some((Reason::ManifestInvalid, not_applied(&how, cx)));
    draft
}
