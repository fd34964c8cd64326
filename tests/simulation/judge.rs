//! What each promise says of one effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use env_manager::engine::sim::{Call, ContainerView, World};
use env_manager::resource::ResourceKey;
use env_manager::resource::desired::Service;
use env_manager::resource::labels::{self, NEXT, OLD};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{DependencyCondition, DesiredState};

use crate::adoption;
use crate::checks::{Checks, asks_for, others, service_of};
use crate::daemon::{PRUNE_LIMIT, SOURCE, STACK};
use crate::refusals;

/// From the moment at which a plan saw that a condition held to the effect of the start that it asks for:
/// other steps, permits and slow calls lie between.
const STALE: Duration = Duration::from_secs(40);

/// A service that has been Ready for so long is one that updates must not take away.
const SERVES: Duration = Duration::from_secs(5);

/// P7: the volumes without a name of the one that is replaced hold data, too.
fn volumes_lost(made: &ContainerView, wanted: &Service, others: &[&ContainerView]) -> Option<String> {
    let spec = &wanted.spec.container;
    let old_name = format!("{}{OLD}", spec.name);
    let replaced: Vec<_> = others.iter().filter(|c| c.name == spec.name || c.name == old_name).collect();
    let is_named = |target: &str| spec.mounts.iter().any(|m| m.target == target);
    // An id.
    let has_no_name = |volume: &str| volume.len() == 64;
    let mut targets =
        replaced.iter().flat_map(|c| &c.volumes).filter(|(target, v)| has_no_name(v) && !is_named(target));
    let lost = targets.find(|(target, _)| {
        let got = made.volumes.get(*target);
        !replaced.iter().any(|c| got.is_some() && c.volumes.get(*target) == got)
    });
    lost.map(|(target, _)| format!("P7: {} does not get the volume at {target} of the one it replaces", made.name))
}

impl Checks {
    pub fn judge(&mut self, at: Duration, begun: Duration, call: &Call<'_>) -> Vec<String> {
        let mut verdicts = Vec::new();
        let owned = |labels: Option<&BTreeMap<String, String>>| {
            labels.is_some_and(|l| l.get(labels::STACK).is_some_and(|s| s == STACK) || l.contains_key(labels::LEASE))
        };
        let world = call.world();
        if let Some(before) = &call.before
            && !owned(before.labels())
        {
            match before.container() {
                Some(theirs) => {
                    let is_ready = |service: &str| self.is_held(begun, service, DependencyCondition::Ready);
                    let is_removal = call.operation == "remove container";
                    if !self.was_just_taken(at, &theirs.id.0) {
                        verdicts.extend(adoption::touched(theirs, call.operation, &world));
                    }
                    verdicts.extend(is_removal.then(|| adoption::removed(theirs, &world, is_ready)).flatten());
                }
                None => verdicts.push("P4: changed what is not ours".to_owned()),
            }
        }
        if call.before.is_none()
            && let Some(after) = &call.after
            && !owned(after.labels())
        {
            verdicts.push("P4: made something without its label".to_owned());
        }
        let is_lease = call.view().and_then(|v| v.labels()).is_some_and(|l| l.contains_key(labels::LEASE));
        if call.operation == "remove volume" && !is_lease {
            verdicts.push("P7: removed a volume".to_owned());
        }
        if let Some(container) = call.view().and_then(|v| v.container())
            && let Some(service) = service_of(container)
        {
            let before = call.before.as_ref().and_then(|v| v.container());
            let wanted = self.wanted(begun, service).cloned();
            // A network that is replaced takes its users off it itself.
            let is_its_own = call.operation != "disconnect container";
            if is_its_own && self.converged.get(service).is_some_and(|since| *since < begun) {
                verdicts.push(format!("P14: changes {service}, of which it is said that it has converged"));
            }
            verdicts.extend(self.refusals.judge(begun, service, wanted.as_ref(), call, &world));
            match (call.operation, before) {
                ("remove container", Some(before)) => {
                    verdicts.extend(self.removal(at, begun, service, before, &world));
                }
                ("stop container", Some(before)) => {
                    verdicts.extend(self.stop(at, begun, service, before, &world));
                }
                ("start container", Some(before)) => {
                    verdicts.extend(self.start(begun, at, service, before, &world));
                    verdicts.extend(before.started_at.is_none().then(|| adoption::started(before, &world)).flatten());
                }
                ("create container", None) => {
                    let others = others(&world, service, &container.id.0);
                    let alone = others.is_empty();
                    let serves =
                        |c: &&ContainerView| c.state == RunState::Running && labels::part_of(&c.name).is_none();
                    if self.is_broken(begun, service) && others.iter().any(serves) {
                        verdicts.push(format!("P5: replaces {service}, whose manifest is broken"));
                    }
                    verdicts.extend(adoption::made(container, wanted.as_ref(), &world, alone));
                    verdicts.extend(wanted.and_then(|wanted| volumes_lost(container, &wanted, &others)));
                }
                _ => {}
            }
        }
        if call.operation == "remove network"
            && let Some(network) = &call.before
            && let Some(read) = self.reading(begun)
            && read.set.has_errors
            && !read.set.resources.contains_key(&ResourceKey::network(network.name()))
        {
            verdicts.push("P6: removed a network though the source has errors".to_owned());
        }
        verdicts
    }

    fn holds(&self, begun: Duration, what: &(ResourceKey, DependencyCondition)) -> bool {
        self.held.get(what).is_some_and(|when| begun.saturating_sub(*when) <= STALE)
    }

    fn is_held(&self, begun: Duration, service: &str, condition: DependencyCondition) -> bool {
        self.holds(begun, &(ResourceKey::service(service), condition))
    }

    /// What was asked of a service when a call was begun. A reading of that very moment came too late for it.
    fn wanted(&self, begun: Duration, service: &str) -> Option<&Arc<Service>> {
        let read = self.reads.iter().rev().find(|read| read.at < begun).or(self.reads.first());
        refusals::wanted(read.map(|read| &*read.set), &self.known, service)
    }

    /// For longer than whoever was about to do something could have overlooked.
    fn is_broken(&self, begun: Duration, service: &str) -> bool {
        let key = ResourceKey::service(service);
        let since = self.reads.iter().rev().take_while(|r| r.set.invalid.contains_key(&key)).last();
        since.is_some_and(|r| r.at + STALE < begun)
    }

    /// P5, P6, P9.
    fn removal(
        &mut self,
        at: Duration,
        begun: Duration,
        service: &str,
        gone: &ContainerView,
        world: &World,
    ) -> Option<String> {
        let key = ResourceKey::service(service);
        let since = self.reads.iter().rev().take_while(|r| !asks_for(&r.set, &key)).count();
        let read = self.reading(begun)?;
        let others = others(world, service, &gone.id.0);
        if asks_for(&read.set, &key) || read.at == begun {
            let served = gone.started_at.is_some() && gone.state != RunState::Dead && gone.error.is_empty();
            let stopped = self.known.get(service).is_some_and(|s| s.spec.state == DesiredState::Stopped);
            // One that is not ours stands behind it.
            let taken_over = adoption::predecessor(world, gone).is_some() || self.was_just_taken(at, service);
            return (served && !stopped && others.is_empty() && !taken_over)
                .then(|| format!("P9: nothing is left of {service}, which is to run"));
        }
        if !others.is_empty() {
            return None; // The end of a replacement.
        }
        if read.set.has_errors {
            let which = if read.set.resources.is_empty() { "P6" } else { "P5" };
            return Some(format!("{which}: removed {service} although the source could not be read whole"));
        }
        let source = gone.labels.get(labels::SOURCE).map(String::as_str);
        if source != Some(SOURCE) {
            return Some(format!("P6: pruned {service} of another source"));
        }
        // Under the reading from which on nobody asked for it.
        let at = self.reads.len() - since.max(1);
        // What is owned is counted when it is judged, which may be under a later reading.
        let most = self.reads[at..].iter().map(|r| r.most_owned).max().unwrap_or_default();
        let allowed = self.reads[at..].iter().any(|r| r.allowed);
        let read = &mut self.reads[at];
        read.pruned.insert(service.to_owned());
        let pruned = read.pruned.len();
        (!allowed && pruned * 100 > most * usize::from(PRUNE_LIMIT))
            .then(|| format!("P6: pruned {pruned} of {most} services of one revision: {:?}", read.pruned))
    }

    /// P9.
    fn stop(
        &self,
        at: Duration,
        begun: Duration,
        service: &str,
        ended: &ContainerView,
        world: &World,
    ) -> Option<String> {
        if ended.state != RunState::Running || !ended.ready || labels::part_of(&ended.name).is_some() {
            return None;
        }
        let (id, since) = self.ready_since.get(service)?;
        if *id != *ended.id.0 || at.saturating_sub(*since) < SERVES {
            return None;
        }
        let read = self.reading(begun)?;
        if !asks_for(&read.set, &ResourceKey::service(service)) || read.at == begun {
            return None;
        }
        // Somebody asked for exactly that.
        if self.restart_asked.contains_key(service) || self.was_just_taken(at, service) {
            return None;
        }
        // What it is restarted with was started after it. It may have been decided before the manifest broke.
        let described = read.set.resources.get(&ResourceKey::service(service)).and_then(|spec| spec.as_service());
        let with = described.iter().flat_map(|s| &s.spec.depends_on).filter(|d| d.restart).map(|d| d.service.as_str());
        let later = |c: &&ContainerView| c.started_at > ended.started_at;
        for with in with {
            // It may be somebody else's that is observed.
            let other = self.wanted(begun, with);
            let theirs = other.iter().flat_map(|other| adoption::meant(world, other));
            let ours = world.containers.values().filter(|c| service_of(c) == Some(with));
            if ours.chain(theirs).any(|c| later(&c)) {
                return None;
            }
        }
        let Some(spec) = self.wanted(begun, service) else {
            return Some(format!("P9: stopped {service}, whose manifest is broken and which served"));
        };
        if spec.spec.state == DesiredState::Stopped {
            return None;
        }
        let image = world.tags.get(spec.spec.container.image.as_str());
        let replacement = others(world, service, &ended.id.0)
            .into_iter()
            .any(|c| c.state == RunState::Created || c.state == RunState::Running && Some(&c.image_id) == image);
        (!replacement).then(|| format!("P9: stopped {service}, which served, with nothing made to replace it"))
    }

    /// P8.
    fn start(
        &self,
        begun: Duration,
        at: Duration,
        service: &str,
        started: &ContainerView,
        world: &World,
    ) -> Option<String> {
        let spec = self.wanted(begun, service)?;
        let part = |name: &str| name.ends_with(NEXT) || name.ends_with(OLD);
        let first = started.started_at.is_none();
        // What was begun is carried on, whatever the dependencies say.
        let others = others(world, service, &started.id.0);
        let takes_over = adoption::predecessor(world, started).is_some();
        if others.iter().any(|c| part(&c.name)) || part(&started.name) || takes_over {
            return None;
        }
        if self.rolled_back.contains(service) || first && self.replacements.contains(&*started.id.0) {
            return None;
        }
        // A restart of what ran.
        if self.stopped.get(&*started.id.0).is_some_and(|when| at.saturating_sub(*when) < Duration::from_mins(1)) {
            return None;
        }
        let resources = spec.resources().map(|key| (key, DependencyCondition::Ready));
        let needs = spec
            .spec
            .depends_on
            .iter()
            .map(|d| (ResourceKey::service(d.service.as_str()), d.condition))
            .chain(resources);
        for need in needs {
            if !self.holds(begun, &need) {
                let when =
                    self.held.get(&need).map_or("never".to_owned(), |when| format!("last at {} s", when.as_secs()));
                return Some(format!("P8: started {service} although {} was not {}: {when}", need.0, need.1));
            }
        }
        None
    }
}
