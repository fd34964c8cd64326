//! What a controller is told at its start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::history::History;
use crate::metrics::Metrics;
use crate::plan::prune::PruneGuards;
use crate::resource::labels::SourceId;
use crate::resource::revision::Revisions;
use crate::state::PassedGate;

#[derive(Clone, Debug)]
pub struct Settings {
    pub stack: String,
    pub source: SourceId,
    pub max_concurrent_starts: usize,
    /// Failures in a row after which a service is reported Failed.
    pub max_attempts: u32,
    pub backoff: Backoff,
    /// How often registries are asked whether a tag has moved; `None`: never.
    pub image_poll: Option<Duration>,
    pub prune: PruneGuards,
    /// `down`: everything is to be removed, what is desired too.
    pub remove_all: bool,
    /// `down --volumes`.
    pub remove_volumes: bool,
    /// `down --all-sources`.
    pub all_sources: bool,
    /// Where files are written that containers with a read-only root bind.
    pub files_dir: String,
    /// Runs that an earlier process saw pass their startup gate, by service.
    pub passed_gates: BTreeMap<String, PassedGate>,
    /// What earlier processes know of services' revisions.
    pub revisions: BTreeMap<String, Revisions>,
    /// `run --observe`: plans, probes and reports, and changes nothing.
    pub observe_only: bool,
    /// What happens is told to these.
    pub history: History,
    pub metrics: Metrics,
    /// Of jitter and salts.
    pub seed: u64,
}
