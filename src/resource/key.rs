//! Keys: what the queue, the store and plans are keyed by.

use std::fmt;
use std::sync::Arc;

/// What kind of resource a key names. The order is the order in which a listing shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Network,
    Volume,
    Service,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Service => "service",
        })
    }
}

/// Names one resource of the stack. Cheap to clone.
///
/// For a service the name is `metadata.name`; for networks and volumes it is the name on the
/// engine (`env-manager`, not the manifests' `default`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    pub kind: Kind,
    pub name: Arc<str>,
}

impl ResourceKey {
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }

    pub fn service(name: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Service, name)
    }

    pub fn network(name: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Network, name)
    }

    pub fn volume(name: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Volume, name)
    }
}

/// Services, being what people talk about, are shown by bare name; the others with their kind.
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Service => f.write_str(&self.name),
            kind => write!(f, "{kind} {}", self.name),
        }
    }
}
