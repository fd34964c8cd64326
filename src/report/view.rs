//! What there is to say about a stack at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::resource::overall::Kept;
use crate::resource::status::{Phase, Status};
use crate::resource::{Kind, ResourceKey};

/// Where manifests were read, or the engine where none were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    pub kind: SourceKind,
    /// Absolute; tables show it from where they are printed: `./manifests`.
    pub location: String,
    /// Whole: a commit (`+edits` where something was changed since), or `sha256:…` of the contents.
    pub revision: String,
    /// For people: `3f2a91c`, `3f2a91c+edits`.
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

/// The engine, as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineView {
    pub reachable: bool,
    /// `unix:///var/run/docker.sock`
    pub address: String,
    /// `20.10.24`; empty until it has answered once.
    pub version: String,
    /// Why it does not answer; empty while it does.
    pub message: String,
    /// Since when it has been so.
    pub since: Timestamp,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub stack: String,
    pub source: SourceView,
    pub engine: EngineView,
    /// `run --observe`: nothing is changed, whatever the plans say.
    pub observe_only: bool,
    /// What is wrong with the manifests, as `validate` prints it; empty where nothing is.
    pub findings: String,
    pub statuses: BTreeMap<ResourceKey, Arc<Status>>,
    /// Documents that could not be applied.
    pub invalid_manifests: usize,
    /// Resources that nothing asks for any more and that are about to go; `None`: not looked for yet.
    pub leaving: Option<usize>,
    /// What no manifest describes, and is not removed; each has a note, too.
    pub kept: Vec<Kept>,
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
        self.source.error.is_none()
            && self.invalid_manifests == 0
            && self.engine.reachable
            && self.leaving == Some(0)
            && self.statuses.values().all(|s| s.is_converged())
    }

    /// Every required service is ready, and the engine answers.
    pub fn is_healthy(&self) -> bool {
        self.engine.reachable && self.services().all(|(_, s)| !s.required || serves(s))
    }
}

/// Ready, or done where being done is all that is asked.
pub fn serves(status: &Status) -> bool {
    status.ready || status.phase == Phase::Completed
}
