//! Manifests as they are written: serde structs whose doc comments are the JSON Schema's descriptions.
//!
//! Every field is optional here, so that what is missing is reported with everything else by
//! `convert`, and every scalar is text (see [`super::scalar`]).
//!
//! | file | what |
//! |---|---|
//! | this one | the document: `apiVersion`, `kind`, `metadata`, `spec` |
//! | [`service`] | `kind: Service` |
//! | [`container`] | its parts that describe the container: files, ports, volumes, limits, security |
//! | [`probe`] | its probes |
//! | [`infra`] | `kind: Network`, `Volume` and `Stack` |

pub mod container;
pub mod infra;
pub mod probe;
pub mod service;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::Scalar;
use super::union::Entries;

/// The only `apiVersion` there is.
pub const API_VERSION: &str = "env-manager.dev/v1";
/// The kinds, for "did you mean".
pub const KINDS: [&str; 4] = ["Service", "Network", "Volume", "Stack"];

/// What is read first, to tell which kind a document is; everything else in it is ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    pub api_version: Option<Scalar<String>>,
    pub kind: Option<Scalar<String>>,
}

/// The name alone, read leniently from a document that is otherwise broken.
#[derive(Debug, Deserialize)]
pub struct NameOnly {
    pub kind: Option<Scalar<String>>,
    pub metadata: Option<NameOnlyMetadata>,
}

#[derive(Debug, Deserialize)]
pub struct NameOnlyMetadata {
    pub name: Option<Scalar<String>>,
}

/// A document of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope<S> {
    #[serde(rename = "apiVersion")]
    pub _api_version: Option<Scalar<String>>,
    #[serde(rename = "kind")]
    pub _kind: Option<Scalar<String>>,
    pub metadata: Option<MetadataForm>,
    pub spec: Option<S>,
}

/// Names the resource.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Metadata")]
pub struct MetadataForm {
    /// 2 to 63 characters of `a-z`, `0-9` and `-`. For a service it is the container's name, and what it is known
    /// by on every network; for a network or volume it is what services call it.
    pub name: Option<Scalar<String>>,
    /// Become labels of the container, verbatim (Traefik and others read them). Labels that begin with
    /// `dev.env-manager.` are env-manager's own and refused.
    pub labels: Option<Entries<Option<Scalar<String>>>>,
    /// Notes for people and tools; they change no container. A new value of `env-manager.dev/restartedAt`
    /// replaces the container.
    pub annotations: Option<Entries<Option<Scalar<String>>>>,
}
