//! How a container is replaced by the next one, and what keeps the two from running side by side.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::{Mount, MountSource, ServiceSpec};
use super::units::duration_text;

/// How long the container before goes on after the next one has taken its name, unless a manifest says
/// otherwise: whoever has just looked the name up connects in this time.
const DEFAULT_DRAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    pub strategy: UpdateStrategy,
    /// How long a new container may take to become Ready.
    #[serde(with = "duration_text")]
    pub progress_deadline: Duration,
    pub rollback: bool,
    /// Where the new one is started first: how long the one before runs on when it has lost its name.
    #[serde(default = "default_drain", skip_serializing_if = "is_default_drain", with = "duration_text")]
    pub drain: Duration,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            strategy: UpdateStrategy::default(),
            progress_deadline: Duration::from_mins(1),
            rollback: true,
            drain: DEFAULT_DRAIN,
        }
    }
}

fn default_drain() -> Duration {
    DEFAULT_DRAIN
}

fn is_default_drain(drain: &Duration) -> bool {
    *drain == DEFAULT_DRAIN
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStrategy {
    /// The new one first, where nothing speaks against it.
    #[default]
    Auto,
    /// The one before is stopped, then the new one is started.
    Recreate,
    /// The new one is started beside the one before, and takes its name once it is Ready.
    StartFirst,
}

/// What two containers of one service cannot share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    OneShot,
    HostPort(u16),
    NetworkMode,
    Hostname,
    Alias(String),
    Address,
    MacAddress,
    /// Others reach it by the service's name, which then is an alias.
    Name(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneShot => f.write_str("a one-shot (`restart: No` or `OnFailure`) serves nobody"),
            Self::HostPort(port) => write!(f, "the host's port {port} can be held by one container alone"),
            Self::NetworkMode => f.write_str("`networkMode` gives it no name of its own on a network"),
            Self::Hostname => f.write_str("its `hostname` is a name on its networks, which both would bear"),
            Self::Alias(alias) => write!(f, "both would bear the alias `{alias}` on its networks"),
            Self::Address => f.write_str("its `ipv4Address` can be held by one container alone"),
            Self::MacAddress => f.write_str("its `macAddress` can be held by one container alone"),
            Self::Name(name) => {
                write!(f, "`containerName` is not `{name}`, which is then an alias that both would bear")
            }
        }
    }
}

impl ServiceSpec {
    /// What keeps a second container of the service `name` from running beside the first.
    pub fn start_first_obstacle(&self, name: &str) -> Option<Obstacle> {
        let container = &self.container;
        let alias = || container.networks.iter().flat_map(|n| &n.aliases).find(|a| *a != name);
        if container.restart.is_one_shot() {
            Some(Obstacle::OneShot)
        } else if let Some(port) = container.ports.iter().find_map(|p| p.host_port) {
            Some(Obstacle::HostPort(port))
        } else if container.network_mode.is_some() {
            Some(Obstacle::NetworkMode)
        } else if container.hostname.is_some() {
            Some(Obstacle::Hostname)
        } else if let Some(alias) = alias() {
            Some(Obstacle::Alias(alias.clone()))
        } else if container.networks.iter().any(|n| n.ipv4_address.is_some()) {
            Some(Obstacle::Address)
        } else if container.mac_address.is_some() {
            Some(Obstacle::MacAddress)
        } else if container.name != name {
            Some(Obstacle::Name(name.to_owned()))
        } else {
            None
        }
    }

    /// Whether nothing is known that two containers of the service could spoil for each other: it is asked
    /// over the network whether it is Ready, it keeps nothing, and it has no device for itself.
    pub fn shares_nothing(&self) -> bool {
        let container = &self.container;
        let keeps = |m: &Mount| !m.read_only && !matches!(m.source, MountSource::Tmpfs { .. });
        let gate = self.probes.readiness.as_ref().or(self.probes.startup.as_ref());
        gate.is_some_and(|p| p.check.is_over_network())
            && !container.mounts.iter().any(keeps)
            && container.devices.is_empty()
            && container.device_requests.is_empty()
    }
}
