//! Reads what the engine has of one resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{adoption, lock};
use crate::engine::{ContainerFilter, Engine, EngineError, Inspected, ObjectFilter};
use crate::plan::service::namespace_hosts;
use crate::resource::container::ContainerId;
use crate::resource::desired::{Desired, Service};
use crate::resource::hash::SaltedHash;
use crate::resource::image::{ImageId, ImageInfo};
use crate::resource::key::{Kind, ResourceKey};
use crate::resource::labels::{FAILED, NEXT, OLD, part_of};
use crate::resource::observed::{
    Container, ContainerRow, Foreign, Network, NetworkObserved, NetworkUser, Observed, ServiceObserved, VolumeObserved,
};
use crate::resource::spec::{ContainerSpec, NetworkMode, Port};

/// Remembers what cannot change: the content behind an image id, and where it runs itself.
#[derive(Debug)]
pub struct Observer {
    images: Mutex<BTreeMap<ImageId, Arc<ImageInfo>>>,
    itself: Option<ContainerId>,
}

impl Default for Observer {
    fn default() -> Self {
        Self { images: Mutex::default(), itself: adoption::itself() }
    }
}

/// What was seen a moment ago, for reconciles that only want to say something new: a probe's answer
/// changes nothing on the engine. Before anything is *done* the engine is looked at afresh.
#[derive(Debug, Default)]
pub struct Recent {
    inner: Mutex<RecentInner>,
}

#[derive(Debug, Default)]
struct RecentInner {
    seen: BTreeMap<ResourceKey, (Instant, Arc<Observed>)>,
    /// When each key was last forgotten, counted.
    forgotten: BTreeMap<ResourceKey, u64>,
    count: u64,
}

/// Taken before looking, so that what happens meanwhile is not overlooked.
#[derive(Clone, Copy, Debug)]
pub struct Glance(u64);

impl Recent {
    /// Longer than a start takes from one probe's answer to the next, and no longer: what events
    /// would have told is missed at most for so long.
    const LIFETIME: Duration = Duration::from_secs(1);

    pub fn get(&self, key: &ResourceKey) -> Option<Arc<Observed>> {
        let inner = lock(&self.inner);
        let (at, observed) = inner.seen.get(key)?;
        (at.elapsed() < Self::LIFETIME).then(|| Arc::clone(observed))
    }

    pub fn begin(&self) -> Glance {
        Glance(lock(&self.inner).count)
    }

    /// Kept only if nothing has happened to it since `begun`.
    pub fn put(&self, key: &ResourceKey, observed: Observed, begun: Glance) -> Arc<Observed> {
        let observed = Arc::new(observed);
        let mut inner = lock(&self.inner);
        if inner.forgotten.get(key).is_none_or(|at| *at <= begun.0) {
            inner.seen.insert(key.clone(), (Instant::now(), Arc::clone(&observed)));
        }
        observed
    }

    /// Something happened to it.
    pub fn forget(&self, key: &ResourceKey) {
        let mut inner = lock(&self.inner);
        inner.count += 1;
        let count = inner.count;
        inner.forgotten.insert(key.clone(), count);
        inner.seen.remove(key);
    }
}

/// What an observation is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub key: &'a ResourceKey,
    pub desired: Option<&'a Desired>,
    pub stack: &'a str,
    /// It is to be removed, so who uses it matters.
    pub removing: bool,
}

impl Observer {
    /// # Errors
    /// The first call that failed.
    pub async fn observe<E: Engine>(&self, engine: &E, subject: Subject<'_>) -> Result<Observed, EngineError> {
        let name = &*subject.key.name;
        match subject.key.kind {
            Kind::Service => {
                let service = subject.desired.and_then(|d| d.spec.as_service());
                let observed = self.service(engine, subject, service.map(AsRef::as_ref)).await?;
                Ok(Observed::Service(Box::new(observed)))
            }
            Kind::Network => network(engine, subject).await.map(Observed::Network),
            Kind::Volume => {
                let volumes = engine.list_volumes(&ObjectFilter::Names(vec![name.to_owned()])).await?;
                Ok(Observed::Volume(VolumeObserved { volume: volumes.into_iter().find(|v| v.name == name) }))
            }
        }
    }

    async fn service<E: Engine>(
        &self,
        engine: &E,
        subject: Subject<'_>,
        service: Option<&Service>,
    ) -> Result<ServiceObserved, EngineError> {
        let spec = service.map(|s| &s.spec.container);
        let networks = async {
            let names: Vec<_> = spec.iter().flat_map(|s| &s.networks).map(|n| n.network.clone()).collect();
            if names.is_empty() { Ok(Vec::new()) } else { engine.list_networks(&ObjectFilter::Names(names)).await }
        };
        let spec_image = async {
            match spec {
                Some(spec) => self.image_by_reference(engine, spec.image.as_str()).await,
                None => Ok(None),
            }
        };
        let (owned, networks, spec_image) = tokio::try_join!(owned(engine, subject, service), networks, spec_image)?;
        let adoptees = match service {
            Some(service) => adoption::adoptees(engine, subject, service, &owned, self.itself.as_ref()).await?,
            None => Vec::new(),
        };
        let mut observed = ServiceObserved { owned, adoptees, spec_image, ..ServiceObserved::default() };
        let others = other_networks(engine, spec, &observed).await?;
        for network in networks.into_iter().chain(others) {
            observed.networks.entry(network.name.clone()).or_default().push(network);
        }
        let ids: BTreeSet<_> = observed.containers().map(|c| c.image_id.clone()).collect();
        for id in ids {
            if let Some(image) = self.image_by_id(engine, &id).await? {
                observed.images.insert(id, image);
            }
        }
        if let Some(service) = service {
            foreign(engine, subject, service, &mut observed).await?;
            for host in namespace_hosts(service) {
                let Some(id) = namespace_holder(engine, subject.stack, host).await? else { continue };
                let shares_network =
                    matches!(&service.spec.container.network_mode, Some(NetworkMode::Service(name)) if name == host);
                if shares_network && let Some(Inspected::Owned(holder)) = engine.inspect_container(&id.0).await? {
                    observed.network_holder = Some(holder);
                }
                observed.namespaces.insert(host.to_owned(), id);
            }
        }
        Ok(observed)
    }

    async fn image_by_reference<E: Engine>(
        &self,
        engine: &E,
        reference: &str,
    ) -> Result<Option<Arc<ImageInfo>>, EngineError> {
        let Some(image) = engine.inspect_image(reference).await? else { return Ok(None) };
        let image = Arc::new(image);
        lock(&self.images).insert(image.id.clone(), Arc::clone(&image));
        Ok(Some(image))
    }

    async fn image_by_id<E: Engine>(&self, engine: &E, id: &ImageId) -> Result<Option<Arc<ImageInfo>>, EngineError> {
        if let Some(image) = lock(&self.images).get(id) {
            return Ok(Some(Arc::clone(image)));
        }
        self.image_by_reference(engine, &id.0).await
    }
}

/// Networks that the manifest does not name: those that are kept of adopted containers, and those that a
/// container which is taken back joins as it had joined them.
async fn other_networks<E: Engine>(
    engine: &E,
    spec: Option<&ContainerSpec>,
    observed: &ServiceObserved,
) -> Result<Vec<Network>, EngineError> {
    let Some(spec) = spec else { return Ok(Vec::new()) };
    let adopted = observed.containers().filter_map(|c| c.owner.adopted.as_deref());
    let kept = adopted.flat_map(|a| a.under(spec).networks).map(|n| n.network);
    // Not those that every engine has.
    let made = |name: &&String| !matches!(name.as_str(), "bridge" | "host" | "none");
    let joined = observed.containers().flat_map(|c| c.endpoints.keys()).filter(made).cloned();
    let is_named = |name: &String| spec.networks.iter().any(|n| n.network == *name);
    let names: BTreeSet<String> = kept.chain(joined).filter(|name| !is_named(name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    engine.list_networks(&ObjectFilter::Names(names.into_iter().collect())).await
}

/// Containers with the labels of stack and service, inspected.
async fn owned<E: Engine>(
    engine: &E,
    subject: Subject<'_>,
    service: Option<&Service>,
) -> Result<Vec<Container>, EngineError> {
    let filter = ContainerFilter { stack: Some(subject.stack.to_owned()), service: Some(subject.key.name.to_string()) };
    let rows = engine.list_containers(&filter).await?;
    let inspected = try_join_all(rows.iter().map(|row| inspect_owned(engine, subject, service, row))).await?;
    Ok(inspected.into_iter().flatten().collect())
}

async fn inspect_owned<E: Engine>(
    engine: &E,
    subject: Subject<'_>,
    service: Option<&Service>,
    row: &ContainerRow,
) -> Result<Option<Container>, EngineError> {
    // Gone since it was listed: as if it had never been there.
    let Some(Inspected::Owned(mut container)) = engine.inspect_container(&row.id.0).await? else { return Ok(None) };
    if container.owner.stack != subject.stack {
        return Ok(None);
    }
    // The marker tells of files: asked for where there should be some, or where the spec has changed
    // and there may have been some.
    let ask = service.is_some_and(|s| !s.spec.container.files.is_empty() || container.owner.spec_hash != s.hash);
    if ask && let Some(marker) = engine.files_marker(&row.id).await? {
        container.files_marker = SaltedHash::parse(&marker);
    }
    Ok(Some(*container))
}

/// Who stands in the way: containers that bear a name we are about to need, and who holds our ports
/// while ours does not run.
async fn foreign<E: Engine>(
    engine: &E,
    subject: Subject<'_>,
    service: &Service,
    observed: &mut ServiceObserved,
) -> Result<(), EngineError> {
    let spec = &service.spec.container;
    let mut names = Vec::new();
    let parts = || [NEXT, OLD].map(|suffix| format!("{}{suffix}", spec.name));
    if service.spec.adopt.whom().is_some() {
        names.extend(parts());
    }
    match observed.named(&spec.name) {
        None => names.push(spec.name.clone()),
        Some(current) if current.owner.spec_hash != service.hash => {
            names.extend(parts());
        }
        Some(_) => {}
    }
    // A rollout is under way, and may fail.
    if observed.owned.iter().any(|c| matches!(part_of(&c.name), Some(NEXT | OLD))) {
        names.push(format!("{}{FAILED}", spec.name));
    }
    names.sort();
    names.dedup();
    names.retain(|name| observed.containers().all(|c| c.name != *name));
    for name in names {
        if let Some(inspected) = engine.inspect_container(&name).await? {
            let foreign = match inspected {
                Inspected::Foreign(foreign) => *foreign,
                Inspected::Owned(container) => Foreign {
                    id: container.id,
                    name: container.name,
                    image: container.config.image,
                    owner: Some(container.owner),
                    container: None,
                },
            };
            // By name the engine also finds ids that begin so.
            if foreign.name == name {
                observed.foreign.push(foreign);
            }
        }
    }
    // What one of ours holds already nobody else holds.
    let held = |port: &Port| observed.owned.iter().any(|c| c.is_running() && c.config.ports.contains(port));
    let wanted: Vec<_> = spec.ports.iter().filter(|p| !held(p)).filter_map(|p| p.host_port.map(|n| (n, p))).collect();
    if !wanted.is_empty() {
        let rows = engine.list_containers(&ContainerFilter::default()).await?;
        for (port, ours) in wanted {
            let holder = rows.iter().find(|row| {
                let own =
                    row.owner.as_ref().is_some_and(|o| o.stack == subject.stack && o.service == *subject.key.name);
                let makes_way = observed.adoptees.iter().any(|c| c.id == row.id);
                !own && !makes_way && row.published.iter().any(|theirs| clash(ours, theirs))
            });
            if let Some(row) = holder {
                observed.port_holders.insert((port, ours.protocol), format!("container {}", row.name));
            }
        }
    }
    Ok(())
}

/// Whether two published ports cannot be bound at once.
fn clash(a: &Port, b: &Port) -> bool {
    let any = |port: &Port| port.host_ip.as_deref().is_none_or(|ip| matches!(ip, "" | "0.0.0.0" | "::"));
    a.protocol == b.protocol
        && a.host_port.is_some()
        && a.host_port == b.host_port
        && (any(a) || any(b) || a.host_ip == b.host_ip)
}

/// The container of a service whose namespace is shared: the one that bears no suffix.
async fn namespace_holder<E: Engine>(
    engine: &E,
    stack: &str,
    service: &str,
) -> Result<Option<ContainerId>, EngineError> {
    let filter = ContainerFilter { stack: Some(stack.to_owned()), service: Some(service.to_owned()) };
    let rows = engine.list_containers(&filter).await?;
    let current = rows.into_iter().find(|row| part_of(&row.name).is_none());
    Ok(current.map(|row| row.id))
}

async fn network<E: Engine>(engine: &E, subject: Subject<'_>) -> Result<NetworkObserved, EngineError> {
    use crate::resource::desired::DesiredSpec;
    use crate::resource::hash::hash_of;
    let name = subject.key.name.to_string();
    let mut networks = engine.list_networks(&ObjectFilter::Names(vec![name.clone()])).await?;
    networks.retain(|n| n.name == name);
    let mut observed = NetworkObserved { networks, users: BTreeMap::new() };
    // Who uses it matters only where it is to go.
    let changed = match subject.desired.map(|d| &d.spec) {
        Some(DesiredSpec::Network(spec)) => observed.networks.iter().any(|n| n.spec_hash != hash_of(&**spec)),
        _ => true,
    };
    if observed.networks.is_empty() || !(subject.removing || changed || observed.networks.len() > 1) {
        return Ok(observed);
    }
    for row in engine.list_containers(&ContainerFilter::default()).await? {
        let owner = row.owner.filter(|o| o.stack == subject.stack);
        let (owner, service) = owner.map(|o| (o.source, o.service)).unzip();
        let service: String = service.unwrap_or_default();
        for (network, id) in row.networks {
            // What was never started may know its network by name alone.
            let by_name = id.0.is_empty() && network == name;
            for candidate in observed.networks.iter().filter(|n| n.id == id || by_name) {
                let user = NetworkUser {
                    name: row.name.clone(),
                    id: row.id.clone(),
                    owner: owner.clone(),
                    service: service.clone(),
                };
                observed.users.entry(candidate.id.clone()).or_default().insert(user);
            }
        }
    }
    Ok(observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Observed {
        Observed::Volume(VolumeObserved::default())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_remembered_for_a_second() {
        let (recent, key) = (Recent::default(), ResourceKey::volume("v"));
        recent.put(&key, seen(), recent.begin());
        assert!(recent.get(&key).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(recent.get(&key).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_while_one_looks_is_not_overlooked() {
        let (recent, key) = (Recent::default(), ResourceKey::volume("v"));
        let begun = recent.begin();
        recent.forget(&key);
        recent.put(&key, seen(), begun);
        assert!(recent.get(&key).is_none(), "it was looked at before the event");
        recent.put(&key, seen(), recent.begin());
        assert!(recent.get(&key).is_some());
        recent.forget(&key);
        assert!(recent.get(&key).is_none());
    }
}
