//! What the engine is asked to create.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::desired::Service;
use super::spec::NetworkAttachment;

/// A container's id on the engine: 64 hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub Arc<str>);

impl ContainerId {
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }
}

/// The twelve digits that Docker's own tables show.
impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// A network's id on the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub Arc<str>);

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// A container to be created. Everything is decided; the adapter only translates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerCreate {
    /// `kafka`, or `kafka.next` while another one still bears the name.
    pub name: String,
    pub service: Arc<Service>,
    /// Ours, beside the spec's own.
    pub labels: BTreeMap<String, String>,
    /// The network to be created with; the further ones are connected after (API 1.41 refuses two).
    pub network: Option<Endpoint>,
    /// Anonymous volumes of the container that this one replaces, by target: same data, same place.
    pub inherited: BTreeMap<String, String>,
    /// Containers whose namespaces are shared, by service name.
    pub namespaces: BTreeMap<String, ContainerId>,
    /// Files that are bound read-only instead of uploaded (a read-only root refuses uploads): target
    /// to path on the engine's host. The executor has written them.
    pub file_binds: BTreeMap<String, String>,
}

/// An attachment with the network's id looked up: names are not unique on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub attachment: NetworkAttachment,
    pub id: NetworkId,
    /// The service's name where it is not the container's, and `networkAliases`, beside the attachment's own.
    pub aliases: Vec<String>,
}

#[cfg(test)]
impl ContainerCreate {
    /// For tests: a container of a service of its own name, from nothing but an image.
    pub fn plain(name: &str, image: &str) -> Self {
        use super::spec::{ContainerSpec, ServiceSpec};
        let spec = ServiceSpec::plain(ContainerSpec::plain(name, image));
        Self {
            name: name.to_owned(),
            service: Arc::new(Service::new(name, spec, BTreeMap::new(), BTreeMap::new())),
            labels: BTreeMap::new(),
            network: None,
            inherited: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            file_binds: BTreeMap::new(),
        }
    }
}
