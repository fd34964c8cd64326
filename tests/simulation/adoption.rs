//! What is taken over, and what is only looked at (P17): the rules of `docs/adoption.md`, told from the engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use env_manager::engine::sim::{ContainerView, World};
use env_manager::resource::adoption::{Adopted, COMPOSE_ONE_OFF, COMPOSE_PROJECT, COMPOSE_SERVICE};
use env_manager::resource::desired::Service;
use env_manager::resource::labels::{ADOPTED, FAILED, NEXT, OLD};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{Adopt, MountSource, Whom};
use env_manager::resource::status::{Phase, Reason, Status};

use crate::checks::service_of;

/// What a container of ours notes of the one whose place it takes.
pub fn note_of(container: &ContainerView) -> Option<Adopted> {
    serde_json::from_str(container.labels.get(ADOPTED)?).ok()
}

/// The container of ours that takes the place of this one, which is not.
pub fn successor<'a>(world: &'a World, theirs: &ContainerView) -> Option<&'a ContainerView> {
    world.containers.values().find(|c| service_of(c).is_some() && note_of(c).is_some_and(|a| a.from == theirs.id))
}

/// The one that a container of ours has taken over, if it is still there.
pub fn predecessor<'a>(world: &'a World, ours: &ContainerView) -> Option<&'a ContainerView> {
    world.containers.get(&note_of(ours)?.from)
}

/// The containers that the manifest means. Only where nothing of ours serves.
pub fn meant<'a>(world: &'a World, service: &Service) -> Vec<&'a ContainerView> {
    let Some(Whom { project, service: other_name }) = service.spec.adopt.whom() else { return Vec::new() };
    let theirs = || world.containers.values().filter(|c| service_of(c).is_none());
    if project.is_none() && other_name.is_none() {
        let named: Vec<_> = theirs().filter(|c| c.name == service.spec.container.name).collect();
        if !named.is_empty() {
            return named;
        }
    }
    let label = |c: &'a ContainerView, name: &str| c.labels.get(name).map(String::as_str);
    theirs()
        .filter(|c| label(c, COMPOSE_SERVICE) == Some(other_name.as_deref().unwrap_or(&service.name)))
        .filter(|c| label(c, COMPOSE_ONE_OFF) != Some("True"))
        .filter(|c| project.as_deref().is_none_or(|project| label(c, COMPOSE_PROJECT) == Some(project)))
        .filter(|c| c.labels.contains_key(COMPOSE_PROJECT))
        .collect()
}

/// Of a container that is not ours, changed by us: only what makes way for one of ours, or comes back.
pub fn touched(before: &ContainerView, operation: &str, world: &World) -> Option<String> {
    let taking_over = matches!(
        operation,
        "set restart policy of container" | "stop container" | "rename container" | "remove container" | "end"
    );
    let coming_back = matches!(operation, "start container" | "connect container");
    let begun = successor(world, before).is_some();
    (!begun || !(taking_over || coming_back)).then(|| "P4: changed what is not ours".to_owned())
}

/// Of the end of a takeover.
pub fn removed(before: &ContainerView, world: &World, is_ready: impl Fn(&str) -> bool) -> Option<String> {
    let successor = successor(world, before)?;
    let service = service_of(successor)?;
    (!is_ready(service)).then(|| format!("P9: removed {}, and {service} has not been ready in its place", before.name))
}

/// Of one of ours that is made.
pub fn made(made: &ContainerView, wanted: Option<&Arc<Service>>, world: &World, alone: bool) -> Option<String> {
    let service = wanted?;
    let note = note_of(made);
    let theirs = note.as_ref().and_then(|note| world.containers.get(&note.from));
    match &service.spec.adopt {
        Adopt::Observe(_) if alone && !made.name.ends_with(NEXT) => {
            return Some(format!("P17: made {}, which is only to be observed", made.name));
        }
        Adopt::Never | Adopt::Observe(_) if theirs.is_some_and(|t| t.state == RunState::Running) => {
            return Some(format!("P17: made {} to take over what nobody asked to", made.name));
        }
        _ => {}
    }
    // P7: what it had is handed on, unless the manifest names another.
    let (note, theirs) = (note?, theirs?);
    let lost = theirs.volumes.iter().find(|(target, volume)| {
        let named = service.spec.container.mounts.iter().find(|m| m.target == **target).map(|m| &m.source);
        let by_compose = |name: &str| note.project.as_ref().is_some_and(|p| **volume == format!("{p}_{name}"));
        let expected = match named {
            Some(MountSource::Volume { name, .. }) if !by_compose(name) => name,
            _ => *volume,
        };
        made.volumes.get(*target) != Some(expected)
    });
    lost.map(|(target, volume)| format!("P7: {} does not get the volume {volume} at {target}", made.name))
}

/// Of one of ours that is started for the first time.
pub fn started(started: &ContainerView, world: &World) -> Option<String> {
    let theirs = predecessor(world, started)?;
    let since = theirs.started_at.filter(|_| theirs.state == RunState::Running)?;
    (since < started.created_at).then(|| format!("P17: started {} beside {}, which runs", started.name, theirs.name))
}

/// Networks that were kept.
pub fn kept_networks(ours: &ContainerView, service: &Service) -> BTreeSet<String> {
    let kept = note_of(ours).map(|note| note.under(&service.spec.container).networks).unwrap_or_default();
    kept.into_iter().map(|n| n.network).collect()
}

/// Whether it is what a service observes or is about to take over, and so not in its way.
pub fn is_meant(world: &World, service: &Service, ours: &[&ContainerView], theirs: &ContainerView) -> bool {
    // What was begun decides, as long as it is there.
    if let Some(begun) = ours.iter().find_map(|c| predecessor(world, c)) {
        return begun.id == theirs.id;
    }
    let beside = |c: &&ContainerView| c.name.ends_with(FAILED) || c.name.ends_with(NEXT);
    ours.iter().all(beside) && matches!(meant(world, service).as_slice(), [one] if one.id == theirs.id)
}

/// Why what is there need not be taken over.
pub fn refused(world: &World, service: &Service, ours: &[&ContainerView]) -> Option<String> {
    if service.spec.adopt.whom().is_none() || !ours.iter().all(|c| c.name.ends_with(FAILED) || c.name.ends_with(NEXT)) {
        return None;
    }
    let meant = meant(world, service);
    // However long that takes: its policy may be to run for ever.
    let runs = |c: &&ContainerView| !matches!(c.state, RunState::Exited | RunState::Created);
    if service.spec.container.restart.is_one_shot() && matches!(meant.as_slice(), [one] if runs(one)) {
        return Some("what is to run once is run by somebody else".to_owned());
    }
    (meant.len() > 1).then(|| format!("{} containers could be meant", meant.len()))
}

/// Whether it is only looked at: nothing of ours serves.
pub fn is_observed(service: &Service, ours: &[&ContainerView]) -> bool {
    matches!(service.spec.adopt, Adopt::Observe(_)) && ours.iter().all(|c| c.name.ends_with(FAILED))
}

/// What is wrong about what is said of one that is only observed.
pub fn misjudged(world: &World, service: &Service, ours: &[&ContainerView], status: &Status) -> Option<String> {
    let says = format!("it is only observed, and it says {} {}: {}", status.phase, status.reason, status.message);
    let is_right = match meant(world, service).as_slice() {
        [] if world.named(&service.spec.container.name).is_some() => status.reason == Reason::NameConflict,
        // What looks like half a takeover, or something refused.
        [] => {
            let old = format!("{}{OLD}", service.spec.container.name);
            status.reason == Reason::NothingToObserve
                || !ours.is_empty() && !status.is_converged()
                || world.named(&old).is_some() && status.reason == Reason::AdoptionRefused
        }
        [one] => {
            let is_well = one.state == RunState::Running && (service.spec.probes.is_empty() || one.ready);
            match status.phase {
                // One that Docker has just started again is not taken for well before it has stayed so.
                Phase::Observed => status.ready == is_well || one.restarts > 0 && !status.ready,
                Phase::Completed => one.state == RunState::Exited && one.exit_code == 0,
                _ => false,
            }
        }
        [..] => status.reason == Reason::AdoptionRefused,
    };
    (!is_right).then_some(says)
}
