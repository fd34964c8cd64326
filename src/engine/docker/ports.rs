//! Ports, each way. The engine accepts nonsense and publishes nothing for it, so all is typed here.

use std::collections::BTreeMap;

use bollard::models::{PortBinding, PortMap, PortSummary};

use crate::resource::spec::{Port, Protocol};

/// `6379/tcp`, for `ExposedPorts`; a binding without it publishes nothing and says nothing.
pub(in crate::engine) fn exposed(ports: &[Port]) -> Vec<String> {
    let mut names: Vec<_> = ports.iter().map(|p| format!("{}/{}", p.container_port, p.protocol)).collect();
    names.sort();
    names.dedup();
    names
}

pub(in crate::engine) fn bindings(ports: &[Port]) -> PortMap {
    let mut map: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for Port { host_ip, host_port, container_port, protocol } in ports {
        map.entry(format!("{container_port}/{protocol}")).or_default().push(PortBinding {
            host_ip: Some(host_ip.clone().unwrap_or_default()),
            // Empty: the engine chooses one at each start.
            host_port: Some(host_port.map(|p| p.to_string()).unwrap_or_default()),
        });
    }
    map.into_iter().map(|(port, bindings)| (port, Some(bindings))).collect()
}

/// `HostConfig.PortBindings`: as asked for, sorted.
pub(in crate::engine) fn configured(map: Option<&PortMap>) -> Vec<Port> {
    read(map, |ip| (!ip.is_empty()).then(|| ip.to_owned()))
}

/// `NetworkSettings.Ports`: as published right now, sorted. All interfaces show as two bindings,
/// `0.0.0.0` and `::`; they are one here, unless the spec names the address.
pub(super) fn published(map: Option<&PortMap>, configured: &[Port]) -> Vec<Port> {
    let mut ports = read(map, |ip| Some(ip.to_owned()));
    for port in &mut ports {
        let named = configured.iter().any(|c| c.container_port == port.container_port && c.host_ip == port.host_ip);
        if !named && is_every(port.host_ip.as_deref()) {
            port.host_ip = None;
        }
    }
    ports.retain(|p| p.host_port.is_some());
    ports.sort();
    ports.dedup();
    ports
}

/// A row of the container list.
pub(super) fn listed(ports: Option<&Vec<PortSummary>>) -> Vec<Port> {
    let mut ports: Vec<_> = ports
        .into_iter()
        .flatten()
        .filter_map(|p| {
            Some(Port {
                host_ip: p.ip.clone().filter(|ip| !ip.is_empty() && !is_every(Some(ip))),
                host_port: Some(p.public_port.filter(|p| *p > 0)?),
                container_port: p.private_port,
                protocol: protocol(&p.typ.map(|t| t.to_string()).unwrap_or_default())?,
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

fn is_every(ip: Option<&str>) -> bool {
    matches!(ip, Some("0.0.0.0" | "::"))
}

fn read(map: Option<&PortMap>, host_ip: impl Fn(&str) -> Option<String>) -> Vec<Port> {
    let mut ports = Vec::new();
    for (name, bindings) in map.into_iter().flatten() {
        let (number, word) = name.split_once('/').unwrap_or((name, "tcp"));
        let (Ok(container_port), Some(protocol)) = (number.parse(), protocol(word)) else { continue };
        for binding in bindings.iter().flatten() {
            ports.push(Port {
                host_ip: host_ip(binding.host_ip.as_deref().unwrap_or_default()),
                host_port: binding.host_port.as_deref().and_then(|p| p.parse().ok()).filter(|p| *p > 0),
                container_port,
                protocol,
            });
        }
    }
    ports.sort();
    ports
}

fn protocol(word: &str) -> Option<Protocol> {
    match word {
        "tcp" | "" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}
