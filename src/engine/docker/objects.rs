//! Networks and volumes.

use std::collections::BTreeMap;

use bollard::models;
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions};

use super::call::Call;
use super::{Docker, time};
use crate::engine::{EngineError, ErrorKind, ObjectFilter, Result};
use crate::resource::container::NetworkId;
use crate::resource::hash::SpecHash;
use crate::resource::labels::{self, SourceId};
use crate::resource::observed::{Network, Volume};
use crate::resource::spec::{IpamPool, NetworkSpec, VolumeSpec};

/// What the engine filters by; it matches parts of names, so that ours is checked once more.
fn filters(filter: &ObjectFilter) -> BTreeMap<String, Vec<String>> {
    match filter {
        ObjectFilter::Stack(stack) => [("label".to_owned(), vec![format!("{}={stack}", labels::STACK)])].into(),
        // Names go into regular expressions on the engine: only plain ones are handed over.
        ObjectFilter::Names(names) if names.iter().all(|n| is_plain(n)) => [("name".to_owned(), names.clone())].into(),
        ObjectFilter::Names(_) => BTreeMap::new(),
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn matches(filter: &ObjectFilter, name: &str, stack: Option<&str>) -> bool {
    match filter {
        ObjectFilter::Names(names) => names.iter().any(|n| n == name),
        ObjectFilter::Stack(wanted) => stack == Some(wanted),
    }
}

fn subject(filter: &ObjectFilter) -> String {
    match filter {
        ObjectFilter::Names(names) => names.join(", "),
        ObjectFilter::Stack(stack) => format!("of stack {stack}"),
    }
}

fn asks_nothing(filter: &ObjectFilter) -> bool {
    matches!(filter, ObjectFilter::Names(names) if names.is_empty())
}

impl Docker {
    pub(super) async fn networks(&self, filter: &ObjectFilter) -> Result<Vec<Network>> {
        if asks_nothing(filter) {
            return Ok(Vec::new());
        }
        let options = ListNetworksOptions { filters: Some(filters(filter).into_iter().collect()) };
        let answer = self.client.list_networks(Some(options));
        let answer = self.call(Call::ListNetworks, &subject(filter), answer).await?;
        let mut networks: Vec<_> = answer.into_iter().map(network).collect();
        networks.retain(|n| matches(filter, &n.name, n.stack.as_deref()));
        // The id decides between two of the same instant, so that everybody calls the same one surplus.
        networks.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(networks)
    }

    pub(super) async fn volumes(&self, filter: &ObjectFilter) -> Result<Vec<Volume>> {
        if asks_nothing(filter) {
            return Ok(Vec::new());
        }
        let options = ListVolumesOptions { filters: Some(filters(filter).into_iter().collect()) };
        let answer = self.client.list_volumes(Some(options));
        let answer = self.call(Call::ListVolumes, &subject(filter), answer).await?;
        let mut volumes: Vec<_> = answer.volumes.unwrap_or_default().into_iter().map(volume).collect();
        volumes.retain(|v| matches(filter, &v.name, v.stack.as_deref()));
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    pub(super) async fn make_network(
        &self,
        spec: &NetworkSpec,
        labels: &BTreeMap<String, String>,
    ) -> Result<NetworkId> {
        let NetworkSpec { name, external: _, internal, ipv6, driver, driver_opts, ipam } = spec;
        let request = models::NetworkCreateRequest {
            name: name.clone(),
            driver: driver.clone(),
            internal: Some(*internal),
            enable_ipv6: Some(*ipv6),
            options: Some(driver_opts.clone().into_iter().collect()),
            ipam: (!ipam.is_empty()).then(|| models::Ipam {
                driver: None,
                config: Some(ipam.iter().map(pool).collect()),
                options: None,
            }),
            labels: Some(labels.clone().into_iter().collect()),
            ..models::NetworkCreateRequest::default()
        };
        let answer = self.call(Call::CreateNetwork, name, self.client.create_network(request)).await?;
        Ok(NetworkId(answer.id.into()))
    }

    /// One that is gone already is as good as removed.
    pub(super) async fn drop_network(&self, id: &NetworkId) -> Result<()> {
        let answer = self.call(Call::RemoveNetwork, &id.to_string(), self.client.remove_network(&id.0)).await;
        gone_is_fine(answer)
    }

    pub(super) async fn make_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Result<Volume> {
        let VolumeSpec { name, external: _, driver, driver_opts } = spec;
        let request = models::VolumeCreateRequest {
            name: Some(name.clone()),
            driver: driver.clone(),
            driver_opts: Some(driver_opts.clone().into_iter().collect()),
            labels: Some(labels.clone().into_iter().collect()),
            cluster_volume_spec: None,
        };
        let answer = volume(self.call(Call::CreateVolume, name, self.client.create_volume(request)).await?);
        if answer.labels == *labels {
            return Ok(answer);
        }
        // Of one that was there before the engine was started, the answer has no labels; the list has them.
        let listed = self.volumes(&ObjectFilter::Names(vec![name.clone()])).await?;
        Ok(listed.into_iter().find(|v| v.name == *name).unwrap_or(answer))
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<()> {
        let answer = self.client.remove_volume(name, None::<RemoveVolumeOptions>);
        gone_is_fine(self.call(Call::RemoveVolume, name, answer).await)
    }
}

pub(super) fn gone_is_fine(answer: Result<()>) -> Result<()> {
    match answer {
        Err(EngineError { kind: ErrorKind::NotFound, .. }) => Ok(()),
        other => other,
    }
}

fn pool(pool: &IpamPool) -> models::IpamConfig {
    let IpamPool { subnet, gateway, ip_range } = pool;
    models::IpamConfig {
        subnet: Some(subnet.clone()),
        gateway: gateway.clone(),
        ip_range: ip_range.clone(),
        auxiliary_addresses: None,
    }
}

fn network(answer: models::Network) -> Network {
    let labels: BTreeMap<_, _> = answer.labels.into_iter().flatten().collect();
    Network {
        id: NetworkId(answer.id.unwrap_or_default().into()),
        name: answer.name.unwrap_or_default(),
        driver: answer.driver.unwrap_or_default(),
        stack: labels.get(labels::STACK).cloned(),
        source: SourceId(labels.get(labels::SOURCE).cloned().unwrap_or_default()),
        spec_hash: SpecHash(labels.get(labels::SPEC_HASH).cloned().unwrap_or_default()),
        created_at: answer.created.as_deref().and_then(time::parse).unwrap_or_default(),
    }
}

fn volume(answer: models::Volume) -> Volume {
    Volume {
        stack: answer.labels.get(labels::STACK).cloned(),
        source: SourceId(answer.labels.get(labels::SOURCE).cloned().unwrap_or_default()),
        name: answer.name,
        driver: answer.driver,
        labels: answer.labels.into_iter().collect(),
    }
}
