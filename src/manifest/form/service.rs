//! `kind: Service` as it is written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::container::{
    DeviceForm, DeviceRequestForm, DnsForm, EnvFileForm, FileForm, LoggingForm, NetworkRefForm, PortMappingForm,
    ResourcesForm, SecretFileForm, SecretForm, SecurityForm, UlimitForm, VolumeMountForm,
};
use super::probe::ProbesForm;
use crate::manifest::scalar::{AdoptWord, RestartWord, Scalar, StrategyWord};
use crate::manifest::span::Spanned;
use crate::manifest::union::{CommandForm, Entries, LongForm, ShortOr};
use crate::resource::image::ImageRef;
use crate::resource::spec::{DependencyCondition, DesiredState, PullPolicy};

/// One container and how it is treated.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Service")]
pub struct ServiceForm {
    /// The image, with an exact tag or digest: `redis:7.4.2-alpine`. Required.
    pub image: Option<Scalar<ImageRef>>,
    /// When to ask the registry. `Always`: at each create and replace, and each `image_poll` of the configuration. Default: `IfNotPresent`.
    pub pull_policy: Option<Scalar<PullPolicy>>,
    /// Whether it counts towards overall health. Default: true.
    pub required: Option<Scalar<bool>>,
    /// What should be. Default: `Running`.
    pub state: Option<Scalar<DesiredState>>,
    /// Hands off: leave the container as it is until this is false again. Default: false.
    pub suspend: Option<Scalar<bool>>,
    /// Services that must hold a condition before this one is started; a name alone waits for `Ready`.
    pub depends_on: Option<Vec<Spanned<ShortOr<DependencyForm>>>>,

    /// Instead of the image's CMD. One text is split into words as a shell would, without running one.
    pub command: Option<Spanned<CommandForm>>,
    /// Instead of the image's ENTRYPOINT; the image's CMD is dropped with it.
    pub entrypoint: Option<Spanned<CommandForm>>,
    /// Absolute path in the container. Default: the image's.
    pub working_dir: Option<Scalar<String>>,
    /// `name`, `uid` or `uid:gid`. Default: the image's.
    pub user: Option<Scalar<String>>,
    /// Further groups of the process, by name or number.
    pub group_add: Option<Vec<Scalar<String>>>,
    /// The name that the container has for itself. Default: the engine chooses.
    pub hostname: Option<Scalar<String>>,
    /// Run a tiny init as PID 1, which hands signals on and reaps children. Default: true.
    pub init: Option<Scalar<bool>>,
    /// A terminal. Default: false.
    pub tty: Option<Scalar<bool>>,
    /// Keep standard input open. Default: false.
    pub stdin: Option<Scalar<bool>>,
    /// Environment; every value is kept as written (`0755`, `1.20`, `yes`). An empty text is `""`; a name without a
    /// value is refused, since it could mean two things.
    pub env: Option<Entries<Option<Scalar<String>>>>,
    /// Files of `NAME=value` lines, read before `env`, which wins.
    pub env_from: Option<Vec<EnvFileForm>>,
    /// Environment whose values come from outside the manifests and are shown nowhere.
    pub secret_env: Option<Entries<Spanned<SecretForm>>>,
    /// Files whose contents come from outside the manifests and are shown nowhere.
    pub secret_files: Option<Vec<Spanned<SecretFileForm>>>,

    /// Published ports: `127.0.0.1:9092:29092/tcp`, `8080:80`, `80` (the engine chooses the host's port),
    /// `8000-8010:8000-8010`. Without an address a port is open on all interfaces.
    pub ports: Option<Vec<Spanned<ShortOr<PortMappingForm>>>>,
    /// Named volumes (`data:/var/lib/data`), host paths (`./conf:/etc/conf:ro`, relative to the manifest) or
    /// `{type: tmpfs, …}`.
    pub volumes: Option<Vec<Spanned<ShortOr<VolumeMountForm>>>>,
    /// In-memory file systems: `/run` or `/run:size=64m,mode=1777`.
    pub tmpfs: Option<Vec<Scalar<String>>>,
    /// Files that env-manager puts into the container; their content is part of the spec.
    pub files: Option<Vec<Spanned<FileForm>>>,
    /// Host devices: `/dev/snd`, `/dev/sda:/dev/xvda:r`.
    pub devices: Option<Vec<Spanned<ShortOr<DeviceForm>>>>,
    /// Devices that a driver hands out (GPUs and their like).
    pub device_requests: Option<Vec<DeviceRequestForm>>,

    /// Networks to attach to. Default: `[default]`.
    pub networks: Option<Vec<Spanned<ShortOr<NetworkRefForm>>>>,
    /// Further names of the service on every network that it is attached to.
    pub network_aliases: Option<Vec<Scalar<String>>>,
    /// Instead of `networks`: `host`, `none`, `bridge`, `service:NAME` or `container:NAME`.
    pub network_mode: Option<Scalar<String>>,
    /// Name of the container. Default: the service's name (or `Stack.spec.containerName`).
    pub container_name: Option<Scalar<String>>,
    /// Hardware address on the first network.
    pub mac_address: Option<Scalar<String>>,
    /// Lines for /etc/hosts: `name:address`; the address `host-gateway` is the host.
    pub extra_hosts: Option<Vec<Scalar<String>>>,
    /// Name servers instead of the engine's.
    pub dns: Option<DnsForm>,

    /// Limits. Default: none.
    pub resources: Option<ResourcesForm>,
    /// Rights and confinement.
    pub security: Option<SecurityForm>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: Option<Entries<Scalar<String>>>,
    /// Limits per process: `nofile: 65536` or `{soft, hard}`; −1 is without limit.
    pub ulimits: Option<Entries<Spanned<ShortOr<UlimitForm>>>>,
    /// PID namespace: `host`, `service:NAME` or `container:NAME`. Default: its own.
    pub pid_mode: Option<Scalar<String>>,
    /// IPC namespace: `none`, `private`, `shareable`, `host`, `service:NAME` or `container:NAME`. Default: the engine's.
    pub ipc_mode: Option<Scalar<String>>,
    /// User namespace: `host`. Default: the engine's.
    pub userns_mode: Option<Scalar<String>>,
    /// Parent of the container's control group.
    pub cgroup_parent: Option<Scalar<String>>,
    /// OCI runtime by its name on the engine (`runc`, `nvidia`). Default: the engine's.
    pub runtime: Option<Scalar<String>>,
    /// `linux/amd64`, `linux/arm64` …. Default: the engine's own.
    pub platform: Option<Scalar<String>>,

    /// Log driver. Default: the engine's.
    pub logging: Option<LoggingForm>,
    /// Docker's restart policy; `No` and `OnFailure` make a one-shot, which completes with exit code 0.
    /// `Managed`: the daemon starts it again, whatever its exit code, once what it needs is there. Default: `UnlessStopped`.
    pub restart: Option<Scalar<RestartWord>>,
    /// For `restart: OnFailure`: give up after so many restarts. Default: 0, without limit.
    pub restart_max_retries: Option<Scalar<u32>>,
    /// Health checks. Without any, a running container is Ready.
    pub probes: Option<ProbesForm>,
    /// How a changed container is replaced.
    pub update: Option<UpdateForm>,
    /// How it is stopped.
    pub stop: Option<StopForm>,
    /// What to do with a container of this service that is not ours, found by its name or as Compose's: `Never`, and it
    /// is a conflict; `Observe`: it is probed and never changed; `Replace`: it is taken over. Default: `Never`.
    pub adopt: Option<Spanned<ShortOr<AdoptForm>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Adopt")]
pub struct AdoptForm {
    /// What to do with it. Required.
    pub policy: Option<Scalar<AdoptWord>>,
    /// Only a container of this Compose project is meant. Default: of any, if no more than one has the service.
    pub compose_project: Option<Scalar<String>>,
    /// What Compose calls the service. Default: as it is called here.
    pub compose_service: Option<Scalar<String>>,
}

impl LongForm for AdoptForm {
    const EXPECTING: &'static str =
        "`Never`, `Observe`, `Replace`, or a mapping of `policy`, `composeProject` and `composeService`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Dependency")]
pub struct DependencyForm {
    /// Name of a service of the set. Required.
    pub service: Option<Scalar<String>>,
    /// `Started`: its container runs. `Ready`: its probes pass. `Completed`: it is a one-shot that ended with exit
    /// code 0. Default: `Ready`.
    pub condition: Option<Scalar<DependencyCondition>>,
    /// Restart this one where the other was started after it, once the condition holds again. Default: false.
    pub restart: Option<Scalar<bool>>,
}

impl LongForm for DependencyForm {
    const EXPECTING: &'static str = "a service's name, or a mapping of `service`, `condition` and `restart`";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Update")]
pub struct UpdateForm {
    /// `Recreate`: the old container is stopped before the new one is started. `StartFirst`: the new one is started beside it,
    /// and takes its name once it is Ready. Default: `Auto`, which is `StartFirst` where that is safe.
    pub strategy: Option<Scalar<StrategyWord>>,
    /// How long a new container may take to become Ready. Default: `health_check_timeout_secs` of the configuration (60 s).
    pub progress_deadline: Option<Scalar<Duration>>,
    /// Go back to the old container when the new one does not become Ready. Default: true.
    pub rollback: Option<Scalar<bool>>,
    /// Where the new container is started first: how long the old one runs on after the new one has taken its name. At most `1m`.
    /// Default: `500ms`.
    pub drain: Option<Scalar<Duration>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Stop")]
pub struct StopForm {
    /// Default: the image's, or SIGTERM.
    pub signal: Option<Scalar<String>>,
    /// From that signal to SIGKILL. Default: `10s`.
    pub grace_period: Option<Scalar<Duration>>,
}
