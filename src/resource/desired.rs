//! A spec with what it needs to be applied: generation, revision, and the values of its secrets and files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hash::{SpecHash, container_hash};
use super::key::{Kind, ResourceKey};
use super::labels::SourceId;
use super::secret::Secret;
use super::spec::{FileOrigin, FileSpec, MountSource, NetworkSpec, ServiceSpec, VolumeSpec};

/// What one resource should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Counts spec changes, from 1. Kept in the state directory.
    pub generation: u64,
    /// The source's revision that this came from, as short text (`3f2a91c`).
    pub revision: Arc<str>,
    pub spec: DesiredSpec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredSpec {
    Service(Arc<Service>),
    Network(Arc<NetworkSpec>),
    Volume(Arc<VolumeSpec>),
}

impl DesiredSpec {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Network(_) => Kind::Network,
            Self::Volume(_) => Kind::Volume,
        }
    }

    pub fn as_service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Service(service) => Some(service),
            _ => None,
        }
    }
}

/// A service's spec with the values that stand in no spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Arc<str>,
    pub spec: ServiceSpec,
    /// Values of `spec.container.secret_env`.
    pub secret_env: BTreeMap<String, Secret>,
    /// Contents of `spec.container.files` by target. All are treated as secret: a config file often
    /// holds a password.
    pub files: BTreeMap<String, Secret>,
    /// Of `spec.container`.
    pub hash: SpecHash,
}

impl Service {
    pub fn new(
        name: impl Into<Arc<str>>,
        spec: ServiceSpec,
        secret_env: BTreeMap<String, Secret>,
        files: BTreeMap<String, Secret>,
    ) -> Self {
        let hash = container_hash(&spec.container);
        Self { name: name.into(), spec, secret_env, files, hash }
    }

    /// The content of the file with this target; empty for one that is not there, which
    /// validation rules out.
    pub fn file_content(&self, target: &str) -> &[u8] {
        self.files.get(target).map_or(&[], Secret::reveal)
    }

    /// Everything that must be masked in what its container says: values of secret variables, and the
    /// contents of secret files, whole and by lines.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> + '_ {
        let is_secret = |f: &&FileSpec| matches!(f.origin, FileOrigin::Secret(_));
        let contents = self.spec.container.files.iter().filter(is_secret).map(|f| self.file_content(&f.target));
        let whole = contents.clone().map(<[u8]>::trim_ascii);
        let lines = contents.flat_map(|c| c.split(|b| *b == b'\n')).map(<[u8]>::trim_ascii);
        self.secret_env.values().cloned().chain(whole.chain(lines).map(Secret::new))
    }

    /// Networks and volumes that must be there before a container can be created.
    pub fn resources(&self) -> impl Iterator<Item = ResourceKey> + '_ {
        let networks = self.spec.container.networks.iter().map(|n| ResourceKey::network(n.network.as_str()));
        let volumes = self.spec.container.mounts.iter().filter_map(|m| match &m.source {
            MountSource::Volume { name, .. } => Some(ResourceKey::volume(name.as_str())),
            _ => None,
        });
        networks.chain(volumes)
    }
}

/// All that a source asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredSet {
    pub stack: String,
    pub source: SourceId,
    /// Of the whole source (`sha256:…` of its files, or a commit).
    pub revision: String,
    pub resources: BTreeMap<ResourceKey, DesiredSpec>,
    /// Keys whose manifest is broken: frozen (P5), and nothing is pruned while there are any.
    pub invalid: BTreeMap<ResourceKey, String>,
    /// The source has errors (in `invalid` or elsewhere): nothing is pruned in the whole stack.
    pub has_errors: bool,
}
