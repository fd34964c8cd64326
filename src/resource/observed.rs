//! What the engine runs, in our words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::adoption::Adopted;
use super::container::{ContainerId, NetworkId};
use super::hash::{SaltedHash, SpecHash};
use super::image::{ImageId, ImageInfo, ImageRef};
use super::labels::{self, SourceId};
use super::spec::{ContainerSpec, Port, Protocol, RestartPolicy};
use crate::clock::Timestamp;

/// What was found of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    Service(Box<ServiceObserved>),
    Network(NetworkObserved),
    Volume(VolumeObserved),
}

/// Everything on the engine that has to do with one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceObserved {
    /// Containers with our stack's label and this service's name, whatever they are called.
    pub owned: Vec<Container>,
    /// Containers that bear a name we need and are not ours.
    pub foreign: Vec<Foreign>,
    /// Containers that nobody owns and that `adopt` means: one, unless it cannot be told which.
    pub adoptees: Vec<Container>,
    /// Who publishes a host port that the spec wants (only looked for while ours does not run).
    pub port_holders: BTreeMap<(u16, Protocol), String>,
    /// The networks that the spec names, by name on the engine; several can share one.
    pub networks: BTreeMap<String, Vec<Network>>,
    /// Containers of the services whose namespaces are shared, by service name.
    pub namespaces: BTreeMap<String, ContainerId>,
    /// The container whose network namespace is shared: probes reach the service by its addresses.
    pub network_holder: Option<Box<Container>>,
    /// The containers' own images, as far as they are still there.
    pub images: BTreeMap<ImageId, Arc<ImageInfo>>,
    /// What the spec's image reference points at right now; `None`: it is not there.
    pub spec_image: Option<Arc<ImageInfo>>,
}

impl ServiceObserved {
    pub fn named(&self, name: &str) -> Option<&Container> {
        self.owned.iter().find(|c| c.name == name)
    }

    /// Ours, and those that are to be adopted.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.owned.iter().chain(&self.adoptees)
    }
}

/// A container of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    /// Without Docker's leading slash.
    pub name: String,
    pub state: RunState,
    /// Of the last run that ended.
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    /// The engine's own words on why the last start failed (`State.Error`).
    pub error: Option<String>,
    pub created_at: Timestamp,
    /// `None`: never started.
    pub started_at: Option<Timestamp>,
    /// `None`: never ended.
    pub finished_at: Option<Timestamp>,
    /// By Docker's own policy, since it was created.
    pub restarts: u64,
    /// The verdict of the image's HEALTHCHECK, where it is on.
    pub health: Option<Health>,
    pub owner: Owner,
    /// Its configuration in the words of a spec, for drift. Networks and volumes by their names on
    /// the engine; `files` is empty (see `files_marker`), and so is `secret_env`: variables
    /// that `owner.secret_env` names are dropped when read.
    pub config: ContainerSpec,
    pub image_id: ImageId,
    /// What the engine attached it to, by network name.
    pub endpoints: BTreeMap<String, EndpointState>,
    /// What is published right now (ephemeral host ports filled in). Empty unless it runs.
    pub published: Vec<Port>,
    /// Anonymous volumes by target.
    pub anonymous: BTreeMap<String, String>,
    /// Proof of a completed upload, and of which files.
    pub files_marker: Option<SaltedHash>,
    pub auto_remove: bool,
}

impl Container {
    /// By some stack; else it is one that is to be adopted.
    pub fn is_owned(&self) -> bool {
        !self.owner.stack.is_empty()
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Paused | RunState::Restarting)
    }

    /// The first address to be reached at from the host, if any.
    pub fn address(&self) -> Option<IpAddr> {
        self.endpoints.values().find_map(|e| e.address)
    }
}

/// What our labels on a container say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub stack: String,
    pub source: SourceId,
    pub service: String,
    pub spec_hash: SpecHash,
    pub secrets_hash: Option<SaltedHash>,
    /// Of the files that cannot be changed in place, where there are others.
    pub files_hash: Option<SaltedHash>,
    /// Names of the variables whose values are masked.
    pub secret_env: BTreeSet<String>,
    /// At creation.
    pub restart_policy: Option<RestartPolicy>,
    pub revision: String,
    pub restarted_at: Option<String>,
    /// Fields that the spec set at creation, of those whose default is the engine's (see `plan::drift`).
    pub sets: BTreeSet<String>,
    /// What it has taken over, or could hand on where it is not ours and is to be adopted.
    pub adopted: Option<Box<Adopted>>,
}

impl Owner {
    /// Reads our labels; `None` where the stack label is missing, which is: not owned by any stack.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let list = |name| text(name).split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        Some(Self {
            stack: labels.get(labels::STACK)?.clone(),
            source: SourceId(text(labels::SOURCE)),
            service: text(labels::SERVICE),
            spec_hash: SpecHash(text(labels::SPEC_HASH)),
            secrets_hash: labels.get(labels::SECRETS_HASH).and_then(|h| SaltedHash::parse(h)),
            files_hash: labels.get(labels::FILES_HASH).and_then(|h| SaltedHash::parse(h)),
            secret_env: list(labels::SECRET_ENV),
            sets: list(labels::SETS),
            restart_policy: labels.get(labels::RESTART_POLICY).and_then(|p| RestartPolicy::parse(p)),
            revision: text(labels::REVISION),
            restarted_at: labels.get(labels::RESTARTED_AT).cloned(),
            adopted: labels.get(labels::ADOPTED).and_then(|text| serde_json::from_str(text).ok()),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunState {
    Created,
    Running,
    Paused,
    /// Ended, and Docker waits to start it again.
    Restarting,
    Exited,
    /// Half removed: only a forced removal helps.
    Dead,
    Removing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Starting,
    Healthy,
    /// With the last line that the check wrote.
    Unhealthy(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    pub network_id: NetworkId,
    /// `None` while it does not run.
    pub address: Option<IpAddr>,
    pub aliases: BTreeSet<String>,
    /// As configured, not as given by the engine.
    pub ipv4_address: Option<String>,
}

/// A container that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    pub id: ContainerId,
    pub name: String,
    pub image: ImageRef,
    /// Set where another stack (or another source of ours) owns it.
    pub owner: Option<Owner>,
    /// As inspected, where nobody owns it, for an adoption. Values of its environment are shown nowhere.
    pub container: Option<Box<Container>>,
}

/// A network that bears the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub id: NetworkId,
    pub name: String,
    pub driver: String,
    /// The stack that owns it, if any.
    pub stack: Option<String>,
    pub source: SourceId,
    pub spec_hash: SpecHash,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkObserved {
    /// All that bear the name, oldest first.
    pub networks: Vec<Network>,
    /// Containers that refer to one of them, running or not, by network id.
    pub users: BTreeMap<NetworkId, BTreeSet<NetworkUser>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkUser {
    pub name: String,
    pub id: ContainerId,
    /// The source that put it into our stack; `None`: it is not of our stack.
    pub owner: Option<SourceId>,
    /// Of our stack; empty where it is not of it.
    pub service: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub driver: String,
    pub stack: Option<String>,
    pub source: SourceId,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeObserved {
    pub volume: Option<Volume>,
}

/// A row of the engine's container list: enough to tell whose it is and whether it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    pub id: ContainerId,
    pub name: String,
    pub image: ImageRef,
    pub state: RunState,
    pub owner: Option<Owner>,
    pub labels: BTreeMap<String, String>,
    /// What is published right now.
    pub published: Vec<Port>,
    /// Networks by name and id, as configured.
    pub networks: BTreeMap<String, NetworkId>,
}
