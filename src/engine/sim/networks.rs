//! Networks, volumes, ports and addresses.

use std::collections::BTreeMap;

use super::core::Core;
use super::refusal::{Refusal, marked_for_removal, no_such_container, no_such_network, refusal};
use super::unit::Attached;
use super::world::{NetworkView, VolumeView};
use crate::clock::Timestamp;
use crate::engine::EventKind;
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::hash::SpecHash;
use crate::resource::labels::{self, SourceId};
use crate::resource::observed::{Network, RunState, Volume};
use crate::resource::spec::{NetworkSpec, Port, Protocol, VolumeSpec};

/// Networks without a subnet of their own that fit into Docker's default address pools, its own one beside.
const POOLS: usize = 30;
const PREDEFINED: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

#[derive(Debug)]
pub(super) struct Net {
    pub id: NetworkId,
    pub name: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
    pub subnets: Vec<String>,
    pub created_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Vol {
    pub name: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
}

impl Net {
    pub fn view(&self) -> NetworkView {
        NetworkView {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            created_at: self.created_at,
        }
    }

    pub fn observed(&self) -> Network {
        let label = |name: &str| self.labels.get(name).cloned();
        Network {
            id: self.id.clone(),
            name: self.name.clone(),
            driver: self.driver.clone(),
            stack: label(labels::STACK),
            source: SourceId(label(labels::SOURCE).unwrap_or_default()),
            spec_hash: SpecHash(label(labels::SPEC_HASH).unwrap_or_default()),
            created_at: self.created_at,
        }
    }
}

impl Vol {
    pub fn view(&self) -> VolumeView {
        VolumeView { name: self.name.clone(), labels: self.labels.clone() }
    }

    pub fn observed(&self) -> Volume {
        let label = |name: &str| self.labels.get(name).cloned();
        Volume {
            name: self.name.clone(),
            driver: self.driver.clone(),
            stack: label(labels::STACK),
            source: SourceId(label(labels::SOURCE).unwrap_or_default()),
            labels: self.labels.clone(),
        }
    }
}

impl Core {
    pub fn add_predefined_networks(&mut self) {
        for (name, driver) in PREDEFINED {
            let id = NetworkId(self.new_id().into());
            let net = Net {
                id: id.clone(),
                name: name.to_owned(),
                driver: driver.to_owned(),
                labels: BTreeMap::new(),
                subnets: Vec::new(),
                created_at: self.now,
            };
            self.networks.insert(id, net);
        }
    }

    /// By id, or the first of that name.
    fn net(&self, id_or_name: &str) -> Option<&Net> {
        let by_id = self.networks.get(&NetworkId(id_or_name.into()));
        by_id.or_else(|| self.networks.values().find(|n| n.name == id_or_name))
    }

    pub fn create_network(
        &mut self,
        spec: &NetworkSpec,
        labels: &BTreeMap<String, String>,
    ) -> Result<NetworkId, Refusal> {
        let NetworkSpec { name, external: _, internal: _, ipv6: _, driver, driver_opts: _, ipam } = spec;
        if PREDEFINED.iter().any(|(n, _)| n == name) {
            return Err(refusal(403, format!("operation is not permitted on predefined {name} network ")));
        }
        let subnets: Vec<_> = ipam.iter().map(|pool| pool.subnet.clone()).collect();
        if self.networks.values().any(|n| n.subnets.iter().any(|s| subnets.contains(s))) {
            return Err(refusal(403, "Pool overlaps with other one on this address space"));
        }
        let pooled = |n: &&Net| n.driver == "bridge" && n.name != "bridge" && n.subnets.is_empty();
        if subnets.is_empty() && self.networks.values().filter(pooled).count() >= POOLS {
            let text = "could not find an available, non-overlapping IPv4 address pool among the defaults to assign \
                        to the network";
            return Err(refusal(404, text));
        }
        let id = NetworkId(self.new_id().into());
        let net = Net {
            id: id.clone(),
            name: name.clone(),
            driver: driver.clone().unwrap_or_else(|| "bridge".to_owned()),
            labels: labels.clone(),
            subnets,
            created_at: self.now,
        };
        self.networks.insert(id.clone(), net);
        self.emit(EventKind::Network, "create", &id.0, network_attributes(name));
        Ok(id)
    }

    pub fn remove_network(&mut self, id: &NetworkId) -> Result<(), Refusal> {
        let Some(net) = self.networks.get(id) else { return Err(no_such_network(&id.0)) };
        let name = net.name.clone();
        if PREDEFINED.iter().any(|(n, _)| *n == name) {
            return Err(refusal(403, format!("{name} is a pre-defined network and cannot be removed")));
        }
        if self.is_used(id) {
            let text = format!("error while removing network: network {name} id {} has active endpoints", id.0);
            return Err(refusal(403, text));
        }
        self.networks.remove(id);
        self.emit(EventKind::Network, "destroy", &id.0, network_attributes(&name));
        Ok(())
    }

    /// By a container that runs.
    pub fn is_used(&self, id: &NetworkId) -> bool {
        let active = |e: &Attached| e.network_id.as_ref() == Some(id) && e.address.is_some();
        self.containers.values().any(|u| u.endpoints.values().any(active))
    }

    // ---- attachments ---------------------------------------------------------------------------

    pub fn connect(&mut self, id: &ContainerId, network: &str, mut attached: Attached) -> Result<(), Refusal> {
        let net = self.net(network).map(|n| (n.id.clone(), n.name.clone()));
        let address = self.new_address(attached.ipv4_address.as_deref());
        let unit = self.unit(id)?;
        if matches!(unit.state, RunState::Removing | RunState::Dead) {
            return Err(marked_for_removal(id, "connected or disconnected to the network"));
        }
        let runs = unit.runs();
        let Some((net_id, name)) = net else {
            if runs {
                return Err(no_such_network(network));
            }
            // It is taken as it is, and fails at the start.
            unit.endpoints.insert(network.to_owned(), attached);
            return Ok(());
        };
        if unit.endpoints.contains_key("none") || unit.endpoints.contains_key("host") {
            let text = "container cannot be connected to multiple networks with one of the networks in private \
                        (none) mode";
            return Err(refusal(403, text));
        }
        let is_there = unit.endpoints.values().any(|e| e.network_id.as_ref() == Some(&net_id));
        match (is_there, runs) {
            (true, true) => {
                let text = format!("endpoint with name {} already exists in network {name}", unit.name);
                return Err(refusal(403, text));
            }
            // Nothing changes, not even the aliases.
            (true, false) => return Ok(()),
            _ => {}
        }
        attached.network_id = Some(net_id.clone());
        if runs {
            attached.address = Some(address);
            attached.aliases.push(id.to_string());
        }
        unit.endpoints.insert(name.clone(), attached);
        if runs {
            self.emit_attachment("connect", id, &name, Some(&net_id));
        }
        Ok(())
    }

    pub fn disconnect(&mut self, container: &str, network: &str, force: bool) -> Result<(), Refusal> {
        let net = self.net(network).map(|n| (n.id.clone(), n.name.clone()));
        let Some(id) = self.find(container) else {
            let gone = || refusal(404, format!("endpoint {container} not found"));
            return Err(if !force {
                no_such_container(container)
            } else if net.is_none() {
                no_such_network(network)
            } else {
                gone()
            });
        };
        let unit = self.unit(&id)?;
        if net.is_none() && unit.runs() && !force {
            return Err(no_such_network(network));
        }
        if matches!(unit.state, RunState::Removing | RunState::Dead) {
            return Err(marked_for_removal(&id, "connected or disconnected to the network"));
        }
        if unit.state == RunState::Restarting {
            // It is, and stays so.
            let text = format!("container {} is not connected to network {network}", id.0);
            return Err(refusal(500, text));
        }
        // Where the network is gone, by the name that the container knows it by, and by no id.
        let name = net.as_ref().map_or(network, |(_, name)| name);
        let Some(attached) = unit.endpoints.remove(name) else {
            let text = format!("container {} is not connected to the network {name}", id.0);
            return Err(refusal(500, text));
        };
        let name = name.to_owned();
        if attached.address.is_some() {
            self.emit_attachment("disconnect", &id, &name, attached.network_id.as_ref());
        }
        Ok(())
    }

    /// At a start: each network by the id it was attached to, or by its name where it never was.
    pub fn attach_all(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let names: Vec<_> = self.unit(id)?.endpoints.keys().cloned().collect();
        let is_user_defined = |name: &str| !PREDEFINED.iter().any(|(n, _)| *n == name);
        for name in names {
            let wanted = self.unit(id)?.endpoints.get(&name).and_then(|e| e.network_id.clone());
            let found = match &wanted {
                Some(wanted) => self.networks.get(wanted),
                None => self.net(&name),
            };
            let Some(net) = found else {
                return Err(no_such_network(wanted.as_ref().map_or(&name, |id| &id.0)));
            };
            let net_id = net.id.clone();
            let has_address = !matches!(net.driver.as_str(), "host" | "null");
            let asked = self.unit(id)?.endpoints.get(&name).and_then(|e| e.ipv4_address.clone());
            let address = self.new_address(asked.as_deref());
            let unit = self.unit(id)?;
            let short = id.to_string();
            if let Some(attached) = unit.endpoints.get_mut(&name) {
                attached.network_id = Some(net_id.clone());
                attached.address = has_address.then_some(address);
                if is_user_defined(&name) && !attached.aliases.contains(&short) {
                    attached.aliases.push(short);
                }
            }
            if has_address {
                self.emit_attachment("connect", id, &name, Some(&net_id));
            }
        }
        Ok(())
    }

    fn new_address(&mut self, asked: Option<&str>) -> String {
        self.next_address += 1;
        let n = self.next_address;
        asked.map_or_else(|| format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255), str::to_owned)
    }

    // ---- ports ---------------------------------------------------------------------------------

    /// They are bound at the start, and only then.
    pub fn bind_ports(&mut self, id: &ContainerId) -> Result<(), Refusal> {
        let unit = self.containers.get(id).ok_or_else(|| no_such_container(&id.0))?;
        let mode = unit.host.network_mode.as_deref().unwrap_or_default();
        if matches!(mode, "host" | "none") || mode.starts_with("container:") {
            return Ok(());
        }
        let wanted = crate::engine::docker::ports::configured(unit.host.port_bindings.as_ref());
        let head = format!("driver failed programming external connectivity on endpoint {} ({})", unit.name, id.0);
        let mut published = Vec::new();
        for mut port in wanted {
            if let Some(number) = port.host_port {
                let ip = port.host_ip.as_deref().unwrap_or("0.0.0.0");
                if self.is_published(&port, id) {
                    return Err(refusal(
                        500,
                        format!("{head}: Bind for {ip}:{number} failed: port is already allocated"),
                    ));
                }
                if self.held.contains(&(number, port.protocol)) {
                    let text = format!(
                        "{head}: Error starting userland proxy: listen {}4 {ip}:{number}: bind: address already in use",
                        port.protocol
                    );
                    return Err(refusal(500, text));
                }
            } else {
                port.host_port = Some(self.free_port(port.protocol));
            }
            published.push(port);
        }
        self.unit(id)?.published = published;
        Ok(())
    }

    fn is_published(&self, port: &Port, by_other_than: &ContainerId) -> bool {
        let every = |ip: &Option<String>| ip.as_deref().is_none_or(|ip| matches!(ip, "0.0.0.0" | "::"));
        let clashes = |other: &Port| {
            (other.host_port, other.protocol) == (port.host_port, port.protocol)
                && (other.host_ip == port.host_ip || every(&other.host_ip) || every(&port.host_ip))
        };
        self.containers.values().any(|u| u.id != *by_other_than && u.published.iter().any(clashes))
    }

    fn free_port(&mut self, protocol: Protocol) -> u16 {
        loop {
            let number = self.next_port;
            self.next_port = number.checked_add(1).unwrap_or(32_768);
            let used = |p: &Port| p.host_port == Some(number);
            let published = self.containers.values().any(|u| u.published.iter().any(used));
            if !published && !self.held.contains(&(number, protocol)) {
                return number;
            }
        }
    }

    // ---- volumes -------------------------------------------------------------------------------

    /// One that exists stays as it is.
    pub fn create_volume(&mut self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Volume {
        let VolumeSpec { name, external: _, driver, driver_opts: _ } = spec;
        if let Some(volume) = self.volumes.get(name) {
            return volume.observed();
        }
        let driver = driver.clone().unwrap_or_else(|| "local".to_owned());
        let volume = Vol { name: name.clone(), driver: driver.clone(), labels: labels.clone() };
        let observed = volume.observed();
        self.volumes.insert(name.clone(), volume);
        self.emit(EventKind::Volume, "create", name, BTreeMap::from([("driver".to_owned(), driver)]));
        observed
    }

    pub fn remove_volume(&mut self, name: &str) -> Result<(), Refusal> {
        let Some(volume) = self.volumes.get(name) else {
            return Err(refusal(404, format!("get {name}: no such volume")));
        };
        let driver = volume.driver.clone();
        let users: Vec<_> = self
            .containers
            .values()
            .filter(|u| u.volumes().any(|(_, volume)| volume == name))
            .map(|u| u.id.0.to_string())
            .collect();
        if !users.is_empty() {
            return Err(refusal(409, format!("remove {name}: volume is in use - [{}]", users.join(", "))));
        }
        self.volumes.remove(name);
        self.emit(EventKind::Volume, "destroy", name, BTreeMap::from([("driver".to_owned(), driver)]));
        Ok(())
    }
}

fn network_attributes(name: &str) -> BTreeMap<String, String> {
    [("name", name), ("type", "bridge")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}
