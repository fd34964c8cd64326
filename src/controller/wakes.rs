//! Why a resource is looked at. For logs and metrics only: a job reads what is true, whatever woke it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::queue::Queue;
use crate::resource::ResourceKey;

/// What woke a key first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    ManifestChanged,
    EngineEvent,
    Probe,
    /// A pull has come further, or an image was found.
    Image,
    DependencyChanged,
    Resync,
    /// A time that a plan asked for, or backoff, is over.
    Requeue,
    /// Somebody asked.
    Asked,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The queue, with a note of why. Clones are one.
#[derive(Clone, Debug)]
pub struct Wakes {
    queue: Queue<ResourceKey>,
    first: Arc<Mutex<BTreeMap<ResourceKey, Trigger>>>,
}

impl Wakes {
    pub fn new(queue: Queue<ResourceKey>) -> Self {
        Self { queue, first: Arc::default() }
    }

    pub fn add(&self, key: ResourceKey, trigger: Trigger) {
        lock(&self.first).entry(key.clone()).or_insert(trigger);
        self.queue.add(key);
    }

    /// What woke it first since it was last taken.
    pub fn take(&self, key: &ResourceKey) -> Trigger {
        lock(&self.first).remove(key).unwrap_or(Trigger::Requeue)
    }
}
