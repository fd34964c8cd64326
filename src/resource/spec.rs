//! What a manifest asks for, without spans, with every default filled in and every short form
//! written out.
//!
//! [`ServiceSpec::container`] is what ends up in the container; it is hashed into the label
//! `spec-hash`. The rest says how the service is treated and changes no container.
//!
//! **A field that a manifest leaves unset is `None` or empty here, is not serialised, and so is
//! neither hashed nor compared** (P18). A new field must follow suit, or every container that an
//! older env-manager made would be replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::image::ImageRef;
use super::probe::Probes;
use super::units::{Bytes, NanoCpus, duration_text};
use super::update::Update;

/// A service, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub container: ContainerSpec,
    pub pull_policy: PullPolicy,
    /// Counts towards overall health.
    pub required: bool,
    pub state: DesiredState,
    /// Hands off.
    pub suspend: bool,
    pub depends_on: Vec<Dependency>,
    pub probes: Probes,
    pub update: Update,
    /// From SIGTERM (or `container.stop_signal`) to SIGKILL.
    #[serde(with = "duration_text")]
    pub stop_grace: Duration,
    pub adopt: Adopt,
    pub annotations: BTreeMap<String, String>,
}

/// What the container is made of: everything here is compared with what the engine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The container's name on the engine.
    pub name: String,
    pub image: ImageRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Docker labels, verbatim.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// A changed value replaces the container (annotation `env-manager.dev/restartedAt`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,

    // The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `true` unless a manifest says otherwise: a PID 1 without a signal handler waits out its whole grace.
    pub init: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub tty: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub stdin: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names and where their values come from; the values are in `Desired`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, SecretSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Keep the image's HEALTHCHECK (a `docker` probe asks for it); off otherwise.
    #[serde(skip_serializing_if = "is_false")]
    pub image_healthcheck: bool,

    // Files and data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,

    // Network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkAttachment>,
    /// Instead of `networks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_mode: Option<NetworkMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// `name:address`, sorted.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub extra_hosts: BTreeSet<String>,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    pub dns: Dns,

    // Limits and isolation.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    #[serde(skip_serializing_if = "Security::is_empty")]
    pub security: Security,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<NamespaceMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<NamespaceMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    pub restart: RestartPolicy,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_false(b: &bool) -> bool {
    !*b
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DesiredState {
    #[default]
    Running,
    Stopped,
}

/// What to do with a container of the service that is not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adopt {
    /// It is in the way.
    #[default]
    Never,
    /// It is probed and reported, and never changed. None is made in its place.
    Observe(Whom),
    /// One of ours takes its place.
    Replace(Whom),
}

/// Which container is meant, where its name alone does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Whom {
    /// Compose's project. `None`: any, if there is but one that has the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Compose's name of the service. `None`: as here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl Adopt {
    pub fn whom(&self) -> Option<&Whom> {
        match self {
            Self::Never => None,
            Self::Observe(whom) | Self::Replace(whom) => Some(whom),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub service: String,
    pub condition: DependencyCondition,
    /// Restarted with it: once the condition holds of a container that was started later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DependencyCondition {
    /// Its container runs.
    Started,
    #[default]
    Ready,
    /// It is a one-shot that ended with exit code 0.
    Completed,
}

impl fmt::Display for DependencyCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Who starts a container again that has ended: Docker by its own policies, or env-manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    No,
    OnFailure {
        /// 0: without limit.
        max_retries: u32,
    },
    Always,
    #[default]
    UnlessStopped,
    /// env-manager, in dependency order; `no` on the engine.
    Managed,
}

impl RestartPolicy {
    /// A container that is meant to end: exit code 0 completes it.
    pub fn is_one_shot(self) -> bool {
        matches!(self, Self::No | Self::OnFailure { .. })
    }

    /// What Docker is told.
    #[must_use]
    pub fn on_engine(self) -> Self {
        if self == Self::Managed { Self::No } else { self }
    }

    /// Reads Docker's own words and those of our label, as [`RestartPolicy`] prints them.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':').unwrap_or((text, "0")) {
            ("no" | "", _) => Some(Self::No),
            ("on-failure", n) => n.parse().ok().map(|max_retries| Self::OnFailure { max_retries }),
            ("always", _) => Some(Self::Always),
            ("unless-stopped", _) => Some(Self::UnlessStopped),
            ("managed", _) => Some(Self::Managed),
            _ => None,
        }
    }
}

/// Docker's own words, `no`, `on-failure:3`, `always`, `unless-stopped`; and `managed`, which Docker does not know.
impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure { max_retries: 0 } => f.write_str("on-failure"),
            Self::OnFailure { max_retries } => write!(f, "on-failure:{max_retries}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
            Self::Managed => f.write_str("managed"),
        }
    }
}

/// Where a secret's value comes from. `fromSecret` needs the secrets store, which comes later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SecretSource {
    FromEnv(String),
    /// Absolute, or relative to the manifest's folder (made absolute when read).
    FromFile(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// `None`: all interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    /// `None`: the engine chooses one at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host_ip, self.host_port) {
            (Some(ip), Some(port)) if ip.contains(':') => write!(f, "[{ip}]:{port}:")?,
            (Some(ip), Some(port)) => write!(f, "{ip}:{port}:")?,
            (Some(ip), None) if ip.contains(':') => write!(f, "[{ip}]::")?,
            (Some(ip), None) => write!(f, "{ip}::")?,
            (None, Some(port)) => write!(f, "{port}:")?,
            (None, None) => {}
        }
        write!(f, "{}/{}", self.container_port, self.protocol)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    pub target: String,
    pub source: MountSource,
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MountSource {
    /// A named volume, by its name on the engine (the key of the Volume resource).
    Volume {
        name: String,
        /// A folder within it (API 1.45 and newer).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A new volume without a name; a replaced container hands its own on.
    Anonymous,
    /// A path of the host.
    Bind {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        propagation: Option<String>,
        /// `z` shared, `Z` private.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selinux: Option<char>,
    },
    Tmpfs {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<Bytes>,
        /// Octal permission bits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
    },
}

/// A file that env-manager puts into the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    pub target: String,
    pub origin: FileOrigin,
    /// Permission bits, e.g. `0o644`.
    pub mode: u32,
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    /// A changed content is put into the running container, and its first process gets this signal
    /// (`SIGHUP`, or a number). `None`: it takes another container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// Where a file's content comes from; the content itself is in `Desired`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileOrigin {
    /// Below the manifest's folder (made absolute when read).
    Source(String),
    Inline,
    Secret(SecretSource),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    pub host: String,
    pub container: String,
    /// `rwm` or a part of it.
    pub permissions: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// −1: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    pub capabilities: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// By its name on the engine (the key of the Network resource).
    pub network: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    /// The highest is connected first and so gives the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    Host,
    None,
    /// Docker's default bridge.
    Bridge,
    /// The namespace of another service's container.
    Service(String),
    /// The namespace of a container by name.
    Container(String),
}

/// `pidMode`, `ipcMode`: `host`, `private`, `shareable`, `service:X`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// A word that Docker takes as it is.
    Plain(String),
    Service(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<Bytes>,
    /// Beside `memory` (Docker's MemorySwap is the sum of both).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<NanoCpus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// All (−1) or so many GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<i64>,
}

impl Resources {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_root_filesystem: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cap_add: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cap_drop: BTreeSet<String>,
    /// Docker's `SecurityOpt`, complete: from `noNewPrivileges`, `seccomp`, `apparmor`, `selinux` and `opts`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub opts: BTreeSet<String>,
}

impl Security {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub driver: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// A network. Most come from nothing but being named by a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// The name on the engine.
    pub name: String,
    /// Made by somebody else: it must be there, and is never made or removed.
    #[serde(skip_serializing_if = "is_false")]
    pub external: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub internal: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub ipv6: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipam: Vec<IpamPool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamPool {
    pub subnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
}

/// A volume. Most come from nothing but being named by a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// The name on the engine.
    pub name: String,
    /// Made by somebody else: it must be there, and is never made or removed.
    #[serde(skip_serializing_if = "is_false")]
    pub external: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

#[cfg(test)]
impl ContainerSpec {
    /// For tests: nothing but a name and an image.
    pub fn plain(name: &str, image: &str) -> Self {
        let image = ImageRef::parse(image).expect("a test's own");
        Self { name: name.to_owned(), image, ..Self::default() }
    }
}

#[cfg(test)]
impl ServiceSpec {
    /// For tests: a service as a manifest with nothing but a container describes it.
    pub fn plain(container: ContainerSpec) -> Self {
        Self {
            container,
            pull_policy: PullPolicy::IfNotPresent,
            required: true,
            state: DesiredState::Running,
            suspend: false,
            depends_on: Vec::new(),
            probes: Probes::default(),
            update: Update::default(),
            stop_grace: Duration::from_secs(10),
            adopt: Adopt::Never,
            annotations: BTreeMap::new(),
        }
    }
}
