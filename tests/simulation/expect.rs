//! What everything is to be like once it is quiet: as described, or as the inputs explain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use env_manager::clock::Timestamp;
use env_manager::daemon::{Environment, Handle};
use env_manager::engine::sim::{ContainerView, SimEngine, World};
use env_manager::plan::service::namespace_hosts;
use env_manager::resource::desired::{DesiredSet, DesiredSpec, Service};
use env_manager::resource::labels::{self, FAILED, NEXT, OLD};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{Adopt, DependencyCondition, DesiredState, NetworkMode};
use env_manager::resource::status::{Phase, Reason, Status};
use env_manager::resource::{Kind, ResourceKey};

use crate::adoption;
use crate::checks::service_of;
use crate::daemon::{PRUNE_LIMIT, RESYNC, SOURCE};
use crate::model::Image;

/// Everything at one moment.
pub struct Scene<'a> {
    pub world: &'a World,
    pub statuses: &'a BTreeMap<ResourceKey, Arc<Status>>,
    /// What was built under other images' tags.
    pub tags: &'a BTreeMap<String, Image>,
    /// On the engine's clock.
    pub engine_now: Timestamp,
    /// Somebody has set that.
    pub clock_was_set: bool,
    pub held: Option<&'a Handle<SimEngine>>,
}

impl Scene<'_> {
    fn of(&self, service: &str) -> Vec<&ContainerView> {
        self.world.containers.values().filter(|c| service_of(c) == Some(service)).collect()
    }

    fn status(&self, service: &str) -> Option<&Status> {
        self.statuses.get(&ResourceKey::service(service)).map(|s| &**s)
    }

    fn is_suspended_by_call(&self, service: &str) -> bool {
        self.held.and_then(|h| h.describe(service)).is_some_and(|d| d.suspended_by.is_some())
    }

    /// What the image of a service does.
    fn image(&self, service: &Service) -> Option<Image> {
        let reference = service.spec.container.image.as_str();
        self.tags.get(reference).copied().or_else(|| Image::of(reference))
    }

    /// Why it need not be ready; `None`: it must be.
    fn excuse(&self, set: &DesiredSet, service: &Service, depth: usize) -> Option<String> {
        let spec = &service.spec.container;
        let name = &*service.name;
        let ours = self.of(name);
        let is_foreign =
            |c: &&ContainerView| service_of(c) != Some(name) && !adoption::is_meant(self.world, service, &ours, c);
        if let Some(why) = adoption::refused(self.world, service, &ours) {
            return Some(why);
        }
        if depth > 0
            && let Some(status) = self.status(name)
            && !status.ready
            && matches!(status.phase, Phase::RolledBack | Phase::Observed)
        {
            return Some(format!("{name} is {}", status.phase));
        }
        if adoption::is_observed(service, &ours) {
            let meant = adoption::meant(self.world, service);
            if !matches!(meant.as_slice(), [one] if one.state == RunState::Running) {
                return Some("it is only observed, and does not run".to_owned());
            }
        }
        let mut foreign = self.world.containers.values().filter(is_foreign);
        let wanted = [spec.name.clone(), format!("{}{NEXT}", spec.name), format!("{}{OLD}", spec.name)];
        if let Some(c) = foreign.clone().find(|c| wanted.contains(&c.name)) {
            return Some(format!("{} is somebody else's", c.name));
        }
        let ports: BTreeSet<_> = spec.ports.iter().filter_map(|p| p.host_port).collect();
        let publishes =
            |c: &&ContainerView| c.published.iter().any(|p| p.host_port.is_some_and(|n| ports.contains(&n)));
        if let Some(c) = foreign.find(publishes) {
            return Some(format!("{} has its port", c.name));
        }
        if let Some(image @ (Image::Bad | Image::Crash | Image::Frail | Image::Missing | Image::FailingJob)) =
            self.image(service)
        {
            return Some(format!("{image:?}"));
        }
        let is_long = !spec.restart.is_one_shot();
        if spec.restart.is_one_shot() && self.image(service).is_some_and(|image| !image.is_job()) {
            return Some("a one-shot that does not end".to_owned());
        }
        if is_long && self.image(service).is_some_and(Image::is_job) {
            return Some("a job that is to run for ever".to_owned());
        }
        let next = format!("{}{NEXT}", spec.name);
        if self.of(name).iter().any(|c| c.name == next && c.state == RunState::Paused) {
            return Some("what is to take its place is paused".to_owned());
        }
        for container in self.of(name).into_iter().filter(|c| c.name == spec.name) {
            let probed = !service.spec.probes.is_empty();
            match container.state {
                RunState::Paused => return Some("paused".to_owned()),
                RunState::Running if probed && !container.ready => return Some("its health was turned".to_owned()),
                RunState::Exited if !is_long && container.exit_code != 0 => {
                    return Some(format!("a one-shot that ended with {}", container.exit_code));
                }
                _ => {}
            }
        }
        if depth > 8 {
            return Some("a long chain".to_owned());
        }
        for network in &spec.networks {
            let of_name: Vec<_> = self.world.networks.values().filter(|n| n.name == network.network).collect();
            if !of_name.is_empty() && of_name.iter().all(|n| !n.labels.contains_key(labels::STACK)) {
                return Some(format!("network {} is somebody else's", network.network));
            }
        }
        let needs = service.spec.depends_on.iter().map(|d| (d.service.as_str(), d.condition));
        let hosts = namespace_hosts(service).into_iter().map(|host| (host, DependencyCondition::Started));
        for (needed, condition) in needs.chain(hosts) {
            let key = ResourceKey::service(needed);
            let Some(DesiredSpec::Service(other)) = set.resources.get(&key) else {
                return Some(format!("{needed} is not described in order"));
            };
            if other.spec.state == DesiredState::Stopped || other.spec.suspend || self.is_suspended_by_call(needed) {
                return Some(format!("{needed} is held"));
            }
            if let Some(why) = self.excuse(set, other, depth + 1) {
                return Some(format!("{needed} is not {condition}: {why}"));
            }
        }
        None
    }
}

/// What is not as it could be.
pub fn unexplained(scene: &Scene<'_>, set: &DesiredSet) -> Vec<String> {
    let mut open = Vec::new();
    for (key, spec) in &set.resources {
        let DesiredSpec::Service(service) = spec else { continue };
        if let Some(what) = service_open(scene, set, key, service) {
            open.push(format!("{key}: {what}"));
        }
    }
    for key in set.invalid.keys().filter(|k| k.kind == Kind::Service) {
        let phase = scene.status(&key.name).map(|s| s.phase);
        if !matches!(phase, Some(Phase::Invalid | Phase::Suspended)) {
            open.push(format!("{key}: its manifest is broken, and it is {phase:?}"));
        }
    }
    open.extend(orphans(scene, set));
    open
}

fn service_open(scene: &Scene<'_>, set: &DesiredSet, key: &ResourceKey, service: &Service) -> Option<String> {
    let Some(status) = scene.status(&key.name) else { return Some("nothing is said of it".to_owned()) };
    let ours = scene.of(&key.name);
    let says = format!("{} {}: {}", status.phase, status.reason, status.message);
    if service.spec.suspend || scene.is_suspended_by_call(&key.name) {
        return (status.phase != Phase::Suspended).then(|| format!("suspended, and it says {says}"));
    }
    if service.spec.state == DesiredState::Stopped {
        let runs = ours.iter().any(|c| matches!(c.state, RunState::Running | RunState::Paused | RunState::Restarting));
        return (status.phase != Phase::Stopped || runs).then(|| format!("to be stopped, and it says {says}"));
    }
    if adoption::is_observed(service, &ours) {
        return adoption::misjudged(scene.world, service, &ours, status);
    }
    let excuse = scene.excuse(set, service, 0);
    if status.is_converged() {
        return differs(scene, service, status).map(|what| format!("it says {says}, but {what}"));
    }
    if status.phase == Phase::RolledBack {
        // What was refused for a fault that has passed stays refused until somebody asks for it.
        return left_over(&ours).map(|left| format!("it says {says}, and {} is left over", left.name));
    }
    if excuse.is_none() {
        return Some(format!("nothing stands in its way, and it says {says}"));
    }
    // P17: who stands in the way is named.
    let spec = &service.spec.container;
    let holder = scene.world.containers.values().find(|c| c.name == spec.name && service_of(c) != Some(&*key.name));
    let holder = holder.filter(|c| !adoption::is_meant(scene.world, service, &ours, c));
    let says_so = matches!(status.reason, Reason::NameConflict | Reason::AdoptionRefused);
    let named = says_so && status.message.contains(&spec.name);
    (holder.is_some() && !named).then(|| format!("P17: its name is taken, and it says {says}"))
}

/// A container that a replacement should have removed.
fn left_over<'a>(ours: &[&'a ContainerView]) -> Option<&'a ContainerView> {
    ours.iter().copied().find(|c| matches!(labels::part_of(&c.name), Some(NEXT | OLD)))
}

/// What is not as a status that says converged claims (P14).
fn differs(scene: &Scene<'_>, service: &Service, status: &Status) -> Option<String> {
    let spec = &service.spec.container;
    let ours = scene.of(&service.name);
    let Some(current) = ours.iter().find(|c| c.name == spec.name) else {
        // A one-shot that somebody else has run, as it is described, is not run again.
        let is_done = |c: &&ContainerView| c.state == RunState::Exited && c.exit_code == 0;
        if status.phase == Phase::Completed
            && matches!(adoption::meant(scene.world, service).as_slice(), [c] if is_done(c))
        {
            return None;
        }
        return Some("no container bears its name".to_owned());
    };
    if let Some(left) = left_over(&ours) {
        return Some(format!("{} is left over", left.name));
    }
    // Where it is no longer to be taken over, what was not ours stays as far as that had come.
    let takes_over = matches!(service.spec.adopt, Adopt::Replace(_));
    if let Some(theirs) = adoption::predecessor(scene.world, current).filter(|_| takes_over) {
        return Some(format!("{}, which it has taken over, is left over", theirs.name));
    }
    // Refused, and kept for its logs until another revision has been rolled out.
    if let Some(failed) = ours.iter().find(|c| c.name.ends_with(FAILED) && c.state == RunState::Running) {
        return Some(format!("{} runs", failed.name));
    }
    // One under another name is told of, and left alone.
    if let Some(also) =
        ours.iter().find(|c| c.id != current.id && c.state == RunState::Running && !status.message.contains(&c.name))
    {
        return Some(format!("{} runs, too", also.name));
    }
    let completed = status.phase == Phase::Completed;
    let expected = if completed { RunState::Exited } else { RunState::Running };
    if current.state != expected {
        return Some(format!("its container is {:?}", current.state));
    }
    // Without such a probe nobody asks.
    let is_asked = service.spec.probes.readiness.is_some();
    if !completed && is_asked && !current.ready {
        return Some("its probes would fail".to_owned());
    }
    let with = service.spec.depends_on.iter().filter(|d| d.restart && !completed);
    // What is only observed counts as converged, whether it serves or not; it is waited for all the same.
    let serves = |s: &Status| s.is_converged() && (s.ready || s.phase == Phase::Completed);
    for needed in with.filter(|d| scene.status(&d.service).is_some_and(serves)) {
        let container = scene.status(&needed.service).and_then(|s| s.container.as_ref());
        // One in the future is waited for.
        let later = |at: Timestamp| Some(at) > current.started_at && at.plus(RESYNC) <= scene.engine_now;
        if container.and_then(|c| c.started_at).is_some_and(later) {
            return Some(format!("{} was started after it", needed.service));
        }
    }
    if let Some(id) = scene.world.tags.get(spec.image.as_str())
        && *id != current.image_id
    {
        return Some("its image is another one".to_owned());
    }
    if current.image != spec.image.as_str() {
        return Some(format!("its image is {}", current.image));
    }
    let memory = spec.resources.memory.map_or(0, |m| i64::try_from(m.0).unwrap_or_default());
    if current.memory != memory {
        return Some(format!("its limit is {} and not {memory}", current.memory));
    }
    if current.policy != spec.restart.on_engine() {
        return Some(format!("its restart policy is {} and not that of {}", current.policy, spec.restart));
    }
    if !completed && spec.network_mode.is_none() {
        let wanted: BTreeSet<_> = spec.networks.iter().map(|n| n.network.as_str()).collect();
        let is: BTreeSet<_> = current.networks.keys().map(String::as_str).collect();
        let kept = adoption::kept_networks(current, service);
        if !is.is_superset(&wanted) || is.iter().any(|n| !wanted.contains(n) && !kept.contains(*n)) {
            return Some(format!("it is on the networks {is:?} and not {wanted:?}"));
        }
        let stale = current.networks.values().find(|id| !scene.world.networks.contains_key(id));
        if let Some(id) = stale {
            return Some(format!("it is on the network {id}, which is gone"));
        }
    }
    let unshared = !matches!(spec.network_mode, Some(NetworkMode::Service(_)));
    let published: BTreeSet<_> = current.published.iter().filter_map(|p| p.host_port).collect();
    let lacks = spec.ports.iter().filter_map(|p| p.host_port).find(|p| !published.contains(p));
    lacks.filter(|_| unshared && !completed).map(|port| format!("it does not publish {port}"))
}

/// What nobody describes goes, unless that is refused.
fn orphans(scene: &Scene<'_>, set: &DesiredSet) -> Vec<String> {
    let known = |key: &ResourceKey| set.resources.contains_key(key) || set.invalid.contains_key(key);
    let mut owned = BTreeSet::new();
    for container in scene.world.containers.values() {
        if let Some(service) = service_of(container) {
            owned.insert((service.to_owned(), container.labels.get(labels::SOURCE).is_some_and(|s| s == SOURCE)));
        }
    }
    let left: Vec<_> =
        owned.iter().filter(|(service, ours)| *ours && !known(&ResourceKey::service(service.as_str()))).collect();
    if left.is_empty() || set.has_errors || left.len() * 100 > owned.len() * usize::from(PRUNE_LIMIT) {
        return Vec::new();
    }
    // Hands off, also of what nobody describes any more.
    let left = left.into_iter().filter(|(service, _)| !scene.is_suspended_by_call(service));
    left.map(|(service, _)| format!("{service}: nobody describes it, and it is there")).collect()
}

/// Somebody who ends again and again is started again and again, and whoever waits for it goes on when it is up.
pub fn may_be_busy(scene: &Scene<'_>, set: &DesiredSet, service: &str) -> bool {
    let ends = |c: &ContainerView| {
        let image = scene.tags.get(&c.image).copied().or_else(|| Image::of(&c.image));
        matches!(image, Some(Image::Crash | Image::Frail | Image::Bad | Image::FailingJob | Image::Job(_)))
    };
    let described = set.resources.get(&ResourceKey::service(service)).and_then(|spec| spec.as_service());
    // The port of somebody else who does is free now and then.
    let theirs = || scene.world.containers.values().filter(|c| service_of(c).is_none());
    let has_port = described.is_some_and(|s| !s.spec.container.ports.is_empty());
    // Whoever is restarted with such a one is as busy; and once where a start came to lie in the future.
    let mut needs = described.iter().flat_map(|s| &s.spec.depends_on);
    let needed = needs.any(|d| (d.restart && scene.clock_was_set) || may_be_busy(scene, set, &d.service));
    // A new container whose start came to lie in the future is given up late.
    let is_late =
        scene.clock_was_set && (service.is_empty() || scene.of(service).iter().any(|c| c.name.ends_with(FAILED)));
    needed
        || is_late
        || has_port && theirs().any(ends)
        || scene.of(service).iter().any(|c| {
            // Also where its tag names another image by now.
            let ended = c.state == RunState::Exited && c.exit_code != 0;
            ends(c) || ended || c.state == RunState::Running && !c.ready
        })
        || described.is_some_and(|s| adoption::meant(scene.world, s).into_iter().any(ends))
}
