//! How a probe reaches what it asks.
//!
//! The container's own address where the engine is on this host; the published port otherwise.
//! An address comes first since a connect to a *published* port proves nothing: Docker's proxy
//! accepts whether or not anything listens behind it. It also needs no exec, which costs a hundred
//! times as much. `exec` and `docker` probes go through the engine.
//!
//! Several routes can look right and lead nowhere (rootless engines and Docker Desktop keep
//! container addresses in another network namespace). So [`routes`] lists all, best first, and the
//! prober goes on to the next when one turns out to be unroutable.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::clock::Timestamp;
use crate::engine::EngineInfo;
use crate::resource::container::ContainerId;
use crate::resource::observed::{Container, RunState};
use crate::resource::probe::Check;
use crate::resource::secret::Secret;
use crate::resource::spec::{NetworkMode, Port, Protocol};

/// The container to be probed, and all that says how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub container: ContainerId,
    /// A changed value is a restart: everything known is forgotten.
    pub started_at: Option<Timestamp>,
    /// An earlier process saw this run pass its startup gate: readiness is asked at once.
    pub passed_before: bool,
    pub paused: bool,
    /// The container's own, in the order of its networks' names.
    pub addresses: Vec<IpAddr>,
    /// It listens on the host itself.
    pub host_network: bool,
    /// What is published right now, ephemeral host ports filled in.
    pub published: Vec<Port>,
    /// The engine runs on this host.
    pub engine_local: bool,
    /// Where a remote engine's published ports are reached.
    pub engine_host: Option<String>,
    /// Masked wherever an answer is quoted.
    pub secrets: Vec<Secret>,
}

impl Target {
    /// From what was observed. A container in another's network namespace has no address of its
    /// own: see [`Target::within`].
    pub fn of(container: &Container, engine: &EngineInfo) -> Self {
        Self {
            container: container.id.clone(),
            started_at: container.started_at,
            passed_before: false,
            paused: container.state == RunState::Paused,
            addresses: container.endpoints.values().filter_map(|e| e.address).collect(),
            host_network: container.config.network_mode == Some(NetworkMode::Host),
            published: container.published.clone(),
            engine_local: engine.local,
            engine_host: if engine.local { None } else { host_of(&engine.address) },
            secrets: Vec::new(),
        }
    }

    /// The same, reached where `holder` is reached, whose network namespace it shares.
    #[must_use]
    pub fn within(mut self, holder: &Container) -> Self {
        self.addresses = holder.endpoints.values().filter_map(|e| e.address).collect();
        self.host_network = holder.config.network_mode == Some(NetworkMode::Host);
        self.published.clone_from(&holder.published);
        self
    }

    /// This run is known to have passed its startup gate.
    #[must_use]
    pub fn passed_before(mut self, passed: bool) -> Self {
        self.passed_before = passed;
        self
    }

    /// Masks these in whatever is quoted from the container.
    #[must_use]
    pub fn masking(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        self.secrets = secrets.into_iter().collect();
        self
    }

    /// The same run of the same container: what was learnt of one holds for the other.
    pub(super) fn is_same_run(&self, other: &Self) -> bool {
        self.container == other.container && self.started_at == other.started_at
    }
}

/// The host in `tcp://host:2375`, `ssh://user@host`.
fn host_of(address: &str) -> Option<String> {
    let rest = address.split_once("://")?.1;
    let authority = rest.split('/').next()?;
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host_port.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

/// One way to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Address(SocketAddr),
    Loopback(SocketAddr),
    /// Something on the way may accept though nothing listens.
    Published {
        host: String,
        port: u16,
    },
    /// A command in the container.
    Exec,
    /// What the engine itself says of it.
    Engine,
}

impl Route {
    /// `host:port`, for those that have one.
    pub(super) fn authority(&self) -> Option<String> {
        match self {
            Self::Address(a) | Self::Loopback(a) => Some(a.to_string()),
            Self::Published { host, port } if host.contains(':') => Some(format!("[{host}]:{port}")),
            Self::Published { host, port } => Some(format!("{host}:{port}")),
            Self::Exec | Self::Engine => None,
        }
    }

    pub(super) fn is_published(&self) -> bool {
        matches!(self, Self::Published { .. })
    }
}

/// As `describe` names it: `container address 172.18.0.2:6379`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Address(_) => "container address",
            Self::Loopback(_) => "loopback",
            Self::Published { .. } => "published port",
            Self::Exec => return f.write_str("exec"),
            Self::Engine => return f.write_str("engine"),
        };
        write!(f, "{kind} {}", self.authority().unwrap_or_default())
    }
}

/// All ways to ask, best first. Empty: there is none, and the service can never become Ready.
pub fn routes(check: &Check, target: &Target) -> Vec<Route> {
    let port = match check {
        Check::Exec { .. } => return vec![Route::Exec],
        Check::Docker => return vec![Route::Engine],
        Check::Http { port, .. }
        | Check::Tcp { port }
        | Check::Grpc { port, .. }
        | Check::Redis { port }
        | Check::Line { port, .. } => *port,
    };
    let mut found = Vec::new();
    if target.host_network {
        match &target.engine_host {
            _ if target.engine_local => found.push(Route::Loopback(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))),
            Some(host) => found.push(Route::Published { host: host.clone(), port }),
            None => {}
        }
        return found;
    }
    if target.engine_local {
        found.extend(target.addresses.iter().map(|ip| Route::Address(SocketAddr::new(*ip, port))));
    }
    for published in &target.published {
        if let Some(route) = published_route(published, port, target)
            && !found.contains(&route)
        {
            found.push(route);
        }
    }
    found
}

/// Why [`routes`] found nothing.
pub(super) fn no_route(check: &Check, target: &Target) -> String {
    let port = check.port().unwrap_or_default();
    let why = if target.engine_local {
        "the container has no address, and does not publish it"
    } else {
        "the engine is on another host, and the container does not publish it to this one"
    };
    format!("port {port} cannot be reached: {why}")
}

fn published_route(published: &Port, port: u16, target: &Target) -> Option<Route> {
    let Port { host_ip, host_port, container_port, protocol } = published;
    if *container_port != port || *protocol != Protocol::Tcp {
        return None;
    }
    let ip: Option<IpAddr> =
        host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified());
    let host = match ip {
        Some(ip) if ip.is_loopback() && !target.engine_local => return None,
        Some(ip) => ip.to_string(),
        None if target.engine_local => Ipv4Addr::LOCALHOST.to_string(),
        None => target.engine_host.clone()?,
    };
    Some(Route::Published { host, port: (*host_port)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            addresses: vec!["172.18.0.2".parse().unwrap()],
            published: vec![
                Port { host_ip: None, host_port: Some(53), container_port: 80, protocol: Protocol::Udp },
                Port {
                    host_ip: Some("0.0.0.0".into()),
                    host_port: Some(8080),
                    container_port: 80,
                    protocol: Protocol::Tcp,
                },
                Port { host_ip: Some("::".into()), host_port: Some(8080), container_port: 80, protocol: Protocol::Tcp },
            ],
            engine_local: true,
            ..Target::default()
        }
    }

    fn texts(check: &Check, target: &Target) -> Vec<String> {
        routes(check, target).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_container_address_comes_before_the_published_port() {
        let tcp = Check::Tcp { port: 80 };
        assert_eq!(texts(&tcp, &target()), ["container address 172.18.0.2:80", "published port 127.0.0.1:8080"]);
        assert_eq!(texts(&Check::Redis { port: 81 }, &target()), ["container address 172.18.0.2:81"]);
    }

    #[test]
    fn a_remote_engine_is_reached_by_what_it_publishes_to_others() {
        let mut remote = Target { engine_local: false, engine_host: host_of("ssh://me@[fd00::1]:22/x"), ..target() };
        assert_eq!(texts(&Check::Tcp { port: 80 }, &remote), ["published port [fd00::1]:8080"]);
        remote.published = vec![Port {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some(8080),
            container_port: 80,
            protocol: Protocol::Tcp,
        }];
        assert!(routes(&Check::Tcp { port: 80 }, &remote).is_empty(), "its loopback is not ours");
        remote.host_network = true;
        assert_eq!(texts(&Check::Tcp { port: 80 }, &remote), ["published port [fd00::1]:80"]);
    }

    #[test]
    fn on_the_host_network_it_listens_on_loopback() {
        let host = Target { host_network: true, addresses: Vec::new(), ..target() };
        assert_eq!(texts(&Check::Tcp { port: 80 }, &host), ["loopback 127.0.0.1:80"]);
    }

    #[test]
    fn without_a_network_only_the_engine_is_left() {
        let none = Target { engine_local: true, ..Target::default() };
        assert!(routes(&Check::Tcp { port: 80 }, &none).is_empty());
        assert_eq!(texts(&Check::Exec { command: vec![] }, &none), ["exec"]);
        assert_eq!(texts(&Check::Docker, &none), ["engine"]);
    }

    #[test]
    fn hosts_are_read_from_engine_addresses() {
        for (address, host) in [
            ("tcp://10.0.0.1:2376", Some("10.0.0.1")),
            ("ssh://me@far", Some("far")),
            ("unix:///var/run/docker.sock", None),
            ("nonsense", None),
        ] {
            assert_eq!(host_of(address).as_deref(), host, "{address}");
        }
    }
}
