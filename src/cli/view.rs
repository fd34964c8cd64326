//! What there is to say about a stack at one moment; [`super::table`] and [`super::json`] say it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exit::Exit;
use crate::clock::Timestamp;
use crate::resource::status::{Phase, Status};
use crate::resource::{Kind, ResourceKey};

/// Where manifests were read, or the engine where none were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    pub kind: SourceKind,
    /// As the user wrote it: `./manifests`.
    pub location: String,
    /// Whole: `sha256:…`.
    pub revision: String,
    /// For people: `3f2a91c`.
    pub short_revision: String,
    /// Why it could not be read, or only in part.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Dir,
    /// No daemon was asked: statuses are what the engine shows right now.
    Engine,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub stack: String,
    pub source: SourceView,
    pub statuses: BTreeMap<ResourceKey, Arc<Status>>,
    /// Documents that could not be applied.
    pub invalid_manifests: usize,
    /// What else is worth a line: orphans of other sources, a refused prune, `no daemon: …`.
    pub notes: Vec<String>,
    pub now: Timestamp,
    /// How long it took to get there, where something was done.
    pub took: Option<Duration>,
}

impl View {
    pub fn services(&self) -> impl Iterator<Item = (&str, &Status)> {
        self.statuses.iter().filter(|(k, _)| k.kind == Kind::Service).map(|(k, s)| (&*k.name, &**s))
    }

    /// Networks and volumes.
    pub fn others(&self) -> impl Iterator<Item = (&ResourceKey, &Status)> {
        self.statuses.iter().filter(|(k, _)| k.kind != Kind::Service).map(|(k, s)| (k, &**s))
    }

    /// P14.
    pub fn is_converged(&self) -> bool {
        self.source.error.is_none() && self.invalid_manifests == 0 && self.statuses.values().all(|s| s.is_converged())
    }

    /// Every required service is ready.
    pub fn is_healthy(&self) -> bool {
        self.services().all(|(_, s)| !s.required || serves(s))
    }

    /// What of the moment goes into an exit code.
    pub fn exit(&self) -> Exit {
        if self.invalid_manifests > 0 || self.source.error.is_some() {
            Exit::Invalid
        } else if self.is_converged() {
            Exit::Done
        } else {
            Exit::NotConverged
        }
    }
}

/// Ready, or done where being done is all that is asked.
pub fn serves(status: &Status) -> bool {
    status.ready || status.phase == Phase::Completed
}
