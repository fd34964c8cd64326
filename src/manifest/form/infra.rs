//! `kind: Network`, `Volume` and `Stack` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::service::{StopForm, UpdateForm};
use crate::manifest::scalar::Scalar;
use crate::manifest::union::Entries;

/// A network; needed only where more than a name is to be said. `default` is the stack's own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Network")]
pub struct NetworkForm {
    /// Name on the engine. Default: `metadata.name`; for `default` it is `env-manager`, or `env-manager-STACK` in
    /// another stack than `default`.
    pub name: Option<Scalar<String>>,
    /// Made by somebody else: it must be there, and is never made or removed. Default: false.
    pub external: Option<Scalar<bool>>,
    /// Without a way out. Default: false.
    pub internal: Option<Scalar<bool>>,
    /// Default: false.
    pub ipv6: Option<Scalar<bool>>,
    /// Default: `bridge`.
    pub driver: Option<Scalar<String>>,
    /// The driver's options.
    pub driver_opts: Option<Entries<Scalar<String>>>,
    /// Address ranges. Default: the engine chooses.
    pub ipam: Option<Vec<IpamForm>>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "IpamPool")]
pub struct IpamForm {
    /// `172.28.0.0/16`. Required.
    pub subnet: Option<Scalar<String>>,
    /// Address of the host in it. Default: the first.
    pub gateway: Option<Scalar<String>>,
    /// The part of the subnet that containers get addresses from.
    pub ip_range: Option<Scalar<String>>,
}

/// A volume; needed only where more than a name is to be said.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Volume")]
pub struct VolumeForm {
    /// Name on the engine. Default: `metadata.name`.
    pub name: Option<Scalar<String>>,
    /// Made by somebody else: it must be there, and is never made or removed. Default: false.
    pub external: Option<Scalar<bool>>,
    /// Default: `local`.
    pub driver: Option<Scalar<String>>,
    /// The driver's options.
    pub driver_opts: Option<Entries<Scalar<String>>>,
}

/// Defaults for every service of the set; at most one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Stack")]
pub struct StackForm {
    /// Values for `${NAME}` in manifests; the environment of env-manager wins. They go into no container.
    pub env: Option<Entries<Scalar<String>>>,
    /// A file of such values, relative to the manifest; `env` wins over it.
    pub env_file: Option<Scalar<String>>,
    /// Names of containers, with `{service}` in it. Default: `{service}`.
    pub container_name: Option<Scalar<String>>,
    /// Defaults of every service's `update`.
    pub update: Option<UpdateForm>,
    /// Defaults of every service's `stop`.
    pub stop: Option<StopForm>,
}
