//! Who needs whom, both ways.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::service::namespace_hosts;
use crate::resource::ResourceKey;
use crate::resource::desired::{Desired, DesiredSpec};
use crate::resource::spec::DependencyCondition;

/// The edges of a desired state. Acyclic: validation has seen to that.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    needs: BTreeMap<ResourceKey, Vec<(ResourceKey, DependencyCondition)>>,
    needed_by: BTreeMap<ResourceKey, BTreeSet<ResourceKey>>,
    /// Who is restarted with whom.
    restarted_with: BTreeMap<ResourceKey, BTreeSet<ResourceKey>>,
}

impl Graph {
    pub fn new<'a>(desired: impl Iterator<Item = &'a Desired>) -> Self {
        let mut graph = Self::default();
        for desired in desired {
            let DesiredSpec::Service(service) = &desired.spec else { continue };
            let key = ResourceKey::service(&*service.name);
            // A dependency that is named twice holds at its strictest.
            let mut needs: BTreeMap<ResourceKey, DependencyCondition> = BTreeMap::new();
            let resources = service.resources().map(|r| (r, DependencyCondition::Ready));
            let hosts = namespace_hosts(service)
                .into_iter()
                .map(|name| (ResourceKey::service(name), DependencyCondition::Started));
            let services =
                service.spec.depends_on.iter().map(|d| (ResourceKey::service(d.service.as_str()), d.condition));
            for (needed, condition) in resources.chain(hosts).chain(services) {
                let strictest = needs.entry(needed).or_insert(condition);
                *strictest = (*strictest).max(condition);
            }
            for needed in needs.keys() {
                graph.needed_by.entry(needed.clone()).or_default().insert(key.clone());
            }
            let with = service.spec.depends_on.iter().filter(|d| d.restart);
            let with: BTreeSet<_> = with.map(|d| ResourceKey::service(d.service.as_str())).collect();
            graph.restarted_with.insert(key.clone(), with);
            graph.needs.insert(key, needs.into_iter().collect());
        }
        graph
    }

    pub fn needs(&self, key: &ResourceKey) -> &[(ResourceKey, DependencyCondition)] {
        self.needs.get(key).map_or(&[], Vec::as_slice)
    }

    pub fn needed_by(&self, key: &ResourceKey) -> impl Iterator<Item = &ResourceKey> {
        self.needed_by.get(key).into_iter().flatten()
    }

    /// Whether `key` is restarted with what it needs.
    pub fn is_restarted_with(&self, key: &ResourceKey, needed: &ResourceKey) -> bool {
        self.restarted_with.get(key).is_some_and(|with| with.contains(needed))
    }

    /// These keys with what each needs before it; ties by key. Keys on a cycle come last.
    pub fn in_order(&self, keys: impl IntoIterator<Item = ResourceKey>) -> Vec<ResourceKey> {
        let mut left: BTreeSet<ResourceKey> = keys.into_iter().collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let mut free: Vec<_> =
                left.iter().filter(|k| !self.needs(k).iter().any(|(n, _)| left.contains(n))).cloned().collect();
            if free.is_empty() {
                free = left.iter().cloned().collect();
            }
            for key in &free {
                left.remove(key);
            }
            order.extend(free);
        }
        order
    }
}
