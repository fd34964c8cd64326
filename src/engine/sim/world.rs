//! What there is, and what became of it, for those who watch.

use std::collections::{BTreeMap, BTreeSet};

use super::core::Core;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::image::ImageId;
use crate::resource::observed::RunState;
use crate::resource::spec::{Port, RestartPolicy};

/// Everything on the engine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub up: bool,
    pub containers: BTreeMap<ContainerId, ContainerView>,
    pub networks: BTreeMap<NetworkId, NetworkView>,
    pub volumes: BTreeMap<String, VolumeView>,
    /// What each tag points at.
    pub tags: BTreeMap<String, ImageId>,
    /// Images with and without a tag.
    pub images: BTreeSet<ImageId>,
}

impl World {
    pub fn named(&self, name: &str) -> Option<&ContainerView> {
        self.containers.values().find(|c| c.name == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    pub id: ContainerId,
    pub name: String,
    /// All of them: ours, the spec's and the image's.
    pub labels: BTreeMap<String, String>,
    /// As it was asked for.
    pub image: String,
    pub image_id: ImageId,
    pub state: RunState,
    /// Of the last run that ended, or failed to begin.
    pub exit_code: i64,
    pub oom_killed: bool,
    pub error: String,
    pub policy: RestartPolicy,
    /// Which `unless-stopped` heeds when the engine starts; no inspect tells it.
    pub manually_stopped: bool,
    pub restarts: i64,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Exec probes would pass right now.
    pub ready: bool,
    /// By name.
    pub networks: BTreeMap<String, NetworkId>,
    /// Right now.
    pub published: Vec<Port>,
    /// Volumes by target.
    pub volumes: BTreeMap<String, String>,
    /// Of the files that were uploaded.
    pub marker: Option<String>,
    /// Bytes; 0: without limit.
    pub memory: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkView {
    pub id: NetworkId,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// Whoever holds the engine as an [`Engine`](crate::engine::Engine).
    Client,
    /// [`Outside`](super::Outside).
    Outside,
    /// A program that ended, or the engine's own restart policy.
    Engine,
}

/// What something is done to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Container(ContainerId),
    Network(NetworkId),
    Volume(String),
    /// By reference.
    Image(String),
}

/// One of the things of a [`World`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Container(Box<ContainerView>),
    Network(NetworkView),
    Volume(VolumeView),
    Image(ImageId),
}

impl View {
    pub fn container(&self) -> Option<&ContainerView> {
        match self {
            Self::Container(view) => Some(view),
            _ => None,
        }
    }

    /// An image has no name of its own.
    pub fn name(&self) -> &str {
        match self {
            Self::Container(c) => &c.name,
            Self::Network(n) => &n.name,
            Self::Volume(v) => &v.name,
            Self::Image(_) => "",
        }
    }

    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Container(c) => Some(&c.labels),
            Self::Network(n) => Some(&n.labels),
            Self::Volume(v) => Some(&v.labels),
            Self::Image(_) => None,
        }
    }
}

/// A change at the moment of its effect.
pub struct Call<'a> {
    pub by: By,
    /// When its call was begun; what ends by itself: when that was set in motion.
    pub begun: Instant,
    /// As errors name it (`start container`); what ends or is restarted by itself: `end`, `restart`.
    pub operation: &'static str,
    pub target: Target,
    /// On the engine's clock.
    pub at: Timestamp,
    /// `None`: it was not there.
    pub before: Option<View>,
    /// `None`: it is not there any more.
    pub after: Option<View>,
    /// The engine's words, where it refused.
    pub refused: Option<String>,
    pub(super) core: &'a Core,
}

/// A changing call, from its begin to its answer or until nobody waits for it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub number: u64,
    pub operation: &'static str,
    /// The container, by name, or what else it is about.
    pub subject: String,
    /// What the container's labels say.
    pub labels: BTreeMap<String, String>,
    /// Or ends.
    pub begins: bool,
}

impl Call<'_> {
    /// Everything, right after the effect.
    pub fn world(&self) -> World {
        self.core.world()
    }

    pub fn view(&self) -> Option<&View> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

impl Core {
    pub(super) fn world(&self) -> World {
        World {
            up: self.up,
            containers: self.containers.values().map(|u| (u.id.clone(), u.view(self.at))).collect(),
            networks: self.networks.values().map(|n| (n.id.clone(), n.view())).collect(),
            volumes: self.volumes.values().map(|v| (v.name.clone(), v.view())).collect(),
            tags: self.tags.clone(),
            images: self.images.keys().cloned().collect(),
        }
    }

    pub(super) fn view(&self, target: &Target) -> Option<View> {
        match target {
            Target::Container(id) => self.containers.get(id).map(|u| View::Container(Box::new(u.view(self.at)))),
            Target::Network(id) => self.networks.get(id).map(|n| View::Network(n.view())),
            Target::Volume(name) => self.volumes.get(name).map(|v| View::Volume(v.view())),
            Target::Image(reference) => self.tags.get(reference).cloned().map(View::Image),
        }
    }
}
