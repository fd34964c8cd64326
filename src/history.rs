//! What happened, bounded: on disk, repeated events counted.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason};

/// Counts events and their repetitions; 0 is before the first.
pub type Sequence = u64;

/// What happened, bounded. Cheap to clone; clones are one.
#[derive(Clone, Debug, Default)]
pub struct History;

/// What happened, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Grows with every event and every repetition: that of the last one.
    pub sequence: Sequence,
    pub first: Timestamp,
    pub last: Timestamp,
    /// How often it happened between the two.
    pub count: u64,
    /// `None`: the stack, the source, the engine or the daemon.
    pub subject: Option<ResourceKey>,
    pub reason: EventReason,
    pub message: String,
    pub by: Actor,
    /// Of the manifests at that time.
    pub revision: Arc<str>,
}
