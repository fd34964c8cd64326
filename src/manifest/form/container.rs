//! The parts of a service that describe its container, as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::manifest::scalar::{
    CountOrAll, Mode, MountWord, PortNumber, PropagationWord, ProtocolWord, Scalar, SelinuxWord,
};
use crate::manifest::span::Spanned;
use crate::manifest::union::{Entries, LongForm, ShortOr};
use crate::resource::units::{Bytes, NanoCpus};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "EnvFile")]
pub struct EnvFileForm {
    /// Path, relative to the manifest. Lines of `NAME=value`; `#` begins a comment.
    pub file: Option<Scalar<String>>,
    /// A missing file is no error. Default: false.
    pub optional: Option<Scalar<bool>>,
}

/// Where a secret's value comes from: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Secret")]
pub struct SecretForm {
    /// Path, relative to the manifest. One newline at the end is dropped.
    pub from_file: Option<Scalar<String>>,
    /// Name of a variable of env-manager's own environment.
    pub from_env: Option<Scalar<String>>,
    /// An encrypted store. Not yet supported.
    pub from_secret: Option<Spanned<SecretRefForm>>,
    /// Where the source is missing the variable is left unset, instead of an error. Default: false.
    pub optional: Option<Scalar<bool>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SecretRef")]
pub struct SecretRefForm {
    /// The encrypted file.
    pub file: Option<Scalar<String>>,
    /// The key in it.
    pub key: Option<Scalar<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SecretFile")]
pub struct SecretFileForm {
    /// Absolute path in the container. Required.
    pub target: Option<Scalar<String>>,
    /// Path, relative to the manifest; taken byte for byte.
    pub from_file: Option<Scalar<String>>,
    /// Name of a variable of env-manager's own environment.
    pub from_env: Option<Scalar<String>>,
    /// An encrypted store. Not yet supported.
    pub from_secret: Option<Spanned<SecretRefForm>>,
    /// Permission bits, octal. Default: `0400`.
    pub mode: Option<Scalar<Mode>>,
    /// Owner, by number. Default: 0.
    pub uid: Option<Scalar<u32>>,
    /// Group, by number. Default: 0.
    pub gid: Option<Scalar<u32>>,
}

/// A file that env-manager puts into the container before it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "File")]
pub struct FileForm {
    /// Absolute path in the container; not below a volume or tmpfs. Required.
    pub target: Option<Scalar<String>>,
    /// Path of the content, relative to the manifest; at most 1 MiB. Either this or `content`.
    pub source: Option<Scalar<String>>,
    /// The content itself. `${VAR}` is replaced in it, `$$` is a dollar. Either this or `source`.
    pub content: Option<Scalar<String>>,
    /// Permission bits, octal. Default: `0644`.
    pub mode: Option<Scalar<Mode>>,
    /// Owner, by number. Default: 0.
    pub uid: Option<Scalar<u32>>,
    /// Group, by number. Default: 0.
    pub gid: Option<Scalar<u32>>,
    /// What a changed content does. Default: `Restart`, which replaces the container. With `{signal: …}` it is put into the running container, and the process is told.
    pub on_change: Option<Spanned<ShortOr<OnChangeForm>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "OnChange")]
pub struct OnChangeForm {
    /// For the first process of the container, once its new file is there: `SIGHUP`. One for all files of a service. The image needs a `/bin/sh`. Required.
    pub signal: Option<Scalar<String>>,
}

impl LongForm for OnChangeForm {
    const EXPECTING: &'static str = "`Restart`, or a mapping with `signal`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "PortMapping")]
pub struct PortMappingForm {
    /// Address of the host. Default: all interfaces.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<Scalar<String>>,
    /// Default: the engine chooses one at each start.
    pub host_port: Option<Scalar<PortNumber>>,
    /// Required.
    pub container_port: Option<Scalar<PortNumber>>,
    /// Default: `tcp`.
    pub protocol: Option<Scalar<ProtocolWord>>,
}

impl LongForm for PortMappingForm {
    const EXPECTING: &'static str = "a port like `127.0.0.1:8080:80`, or a mapping with `containerPort`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "VolumeMount")]
pub struct VolumeMountForm {
    /// Default: `bind` where `source` is a path, else `volume`.
    #[serde(rename = "type")]
    pub kind: Option<Scalar<MountWord>>,
    /// A volume's name, or a path of the host (relative to the manifest). None for tmpfs and for a volume without a name.
    pub source: Option<Scalar<String>>,
    /// Absolute path in the container. Required.
    pub target: Option<Scalar<String>>,
    /// Default: false.
    pub read_only: Option<Scalar<bool>>,
    /// Relabel a host path for SELinux, for all containers or this one.
    pub selinux: Option<Scalar<SelinuxWord>>,
    /// How mounts below a host path spread.
    pub propagation: Option<Scalar<PropagationWord>>,
    /// A folder within the volume (Docker 26 and newer).
    pub subpath: Option<Scalar<String>>,
    /// tmpfs only: most bytes that it holds, as `64MiB`. Default: half of the host's memory.
    pub size: Option<Scalar<Bytes>>,
    /// tmpfs only: permission bits, octal. Default: `1777`.
    pub mode: Option<Scalar<Mode>>,
}

impl LongForm for VolumeMountForm {
    const EXPECTING: &'static str = "a volume like `data:/var/lib/data`, or a mapping with `target`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Device")]
pub struct DeviceForm {
    /// Path on the host. Required.
    pub host: Option<Scalar<String>>,
    /// Path in the container. Default: the same.
    pub container: Option<Scalar<String>>,
    /// `r`ead, `w`rite, `m`knod. Default: `rwm`.
    pub permissions: Option<Scalar<String>>,
}

impl LongForm for DeviceForm {
    const EXPECTING: &'static str = "a device like `/dev/snd`, or a mapping with `host`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "DeviceRequest")]
pub struct DeviceRequestForm {
    /// Default: the engine finds one that has the capabilities.
    pub driver: Option<Scalar<String>>,
    /// How many, or `all`. Either this or `ids`.
    pub count: Option<Scalar<CountOrAll>>,
    /// Which ones.
    pub ids: Option<Vec<Scalar<String>>>,
    /// What they must be able to do: `[gpu]`.
    pub capabilities: Option<Vec<Scalar<String>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "NetworkRef")]
pub struct NetworkRefForm {
    /// `default`, or the network's name. Required.
    pub name: Option<Scalar<String>>,
    /// Further names of the service on this network.
    pub aliases: Option<Vec<Scalar<String>>>,
    /// A fixed address; the network needs a subnet of its own.
    #[serde(rename = "ipv4Address")]
    pub ipv4_address: Option<Scalar<String>>,
    /// The highest gives the default route. Default: 0.
    pub priority: Option<Scalar<i32>>,
}

impl LongForm for NetworkRefForm {
    const EXPECTING: &'static str = "a network's name, or a mapping with `name`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Dns")]
pub struct DnsForm {
    /// Addresses of name servers.
    pub servers: Option<Vec<Scalar<String>>>,
    /// Domains that short names are tried in.
    pub search: Option<Vec<Scalar<String>>>,
    /// Options of resolv.conf.
    pub options: Option<Vec<Scalar<String>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Resources")]
pub struct ResourcesForm {
    /// Most memory; more kills the process. At least 6 MiB.
    pub memory: Option<Scalar<Bytes>>,
    /// Memory that the kernel tries to leave it when memory is short.
    pub memory_reservation: Option<Scalar<Bytes>>,
    /// Swap beside `memory`, which it needs.
    pub swap: Option<Scalar<Bytes>>,
    /// CPUs, as `1.5`. The engine refuses more than the host has.
    pub cpus: Option<Scalar<NanoCpus>>,
    /// Which CPUs: `0-3`, `0,2`.
    pub cpuset: Option<Scalar<String>>,
    /// Weight against other containers when CPU is short; Docker's default is 1024.
    pub cpu_shares: Option<Scalar<u32>>,
    /// Most processes and threads.
    pub pids: Option<Scalar<i64>>,
    /// Size of /dev/shm. Default: the engine's (64 MiB).
    pub shm_size: Option<Scalar<Bytes>>,
    /// −1000 to 1000: whom the kernel kills last and first.
    pub oom_score_adj: Option<Scalar<i32>>,
    /// `all`, or how many.
    pub gpus: Option<Scalar<CountOrAll>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Security")]
pub struct SecurityForm {
    /// Default: false.
    pub read_only_root_filesystem: Option<Scalar<bool>>,
    /// All rights of the host. Default: false.
    pub privileged: Option<Scalar<bool>>,
    /// Programs gain no rights by being executed (setuid). Default: false.
    pub no_new_privileges: Option<Scalar<bool>>,
    /// Capabilities beyond Docker's default, without `CAP_`: `[NET_ADMIN]`.
    pub cap_add: Option<Vec<Scalar<String>>>,
    /// Capabilities to take away: `[ALL]`.
    pub cap_drop: Option<Vec<Scalar<String>>>,
    /// `unconfined`, or the path of a profile, relative to the manifest. Default: the engine's.
    pub seccomp: Option<Scalar<String>>,
    /// `unconfined`, or the name of a loaded profile. Default: the engine's.
    pub apparmor: Option<Scalar<String>>,
    /// SELinux label: `disable`, `type:…`, `level:…`.
    pub selinux: Option<Scalar<String>>,
    /// Further `--security-opt` texts, verbatim.
    pub opts: Option<Vec<Scalar<String>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Ulimit")]
pub struct UlimitForm {
    /// What the process starts with. Required.
    pub soft: Option<Scalar<i64>>,
    /// How far it may raise it. Default: as `soft`.
    pub hard: Option<Scalar<i64>>,
}

impl LongForm for UlimitForm {
    const EXPECTING: &'static str = "a number, or a mapping of `soft` and `hard`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Logging")]
pub struct LoggingForm {
    /// `json-file`, `local`, `journald`, … Required.
    pub driver: Option<Scalar<String>>,
    /// The driver's options: `max-size: 10m`.
    pub options: Option<Entries<Scalar<String>>>,
}
