//! A view for programs. Names and meanings stand in `docs/schemas/*.schema.json` and only grow.

use schemars::JsonSchema;
use serde::Serialize;

use super::view::{EngineView, SourceKind, SourceView, View};
use crate::resource::ResourceKey;
use crate::resource::overall::Kept;
use crate::resource::status::{Condition, Status};

/// What `status -o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Everything is as described, and ready.
    pub converged: bool,
    /// Every required service is ready.
    pub healthy: bool,
    pub stack: String,
    pub source: SourceReport,
    pub services: Vec<ServiceReport>,
    /// Networks and volumes.
    pub resources: Vec<ResourceReport>,
    /// Documents that could not be applied.
    pub invalid_manifests: usize,
    pub notes: Vec<String>,
    /// What no manifest describes, and is not removed; each has a note, too.
    pub kept: Vec<KeptReport>,
    pub engine: EngineReport,
    /// `run --observe`: nothing is changed, whatever the plans say.
    pub observe_only: bool,
    /// What is wrong with the manifests, as `validate` prints it; empty where nothing is.
    pub findings: String,
    /// RFC 3339: when it was so.
    pub time: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineReport {
    pub reachable: bool,
    pub address: String,
    pub version: String,
    /// Why it does not answer.
    pub error: Option<String>,
    /// RFC 3339: since when it has been so.
    pub since: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// `dir`, or `engine` where no manifests were compared.
    pub kind: String,
    pub location: String,
    pub revision: String,
    /// For people: `3f2a91c+edits`.
    pub short_revision: String,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReport {
    pub name: String,
    pub required: bool,
    pub ready: bool,
    /// A summary for people; programs use conditions and reasons.
    pub phase: String,
    pub reason: String,
    pub message: String,
    pub generation: u64,
    pub observed_generation: u64,
    pub converged: bool,
    pub container_id: Option<String>,
    pub image: Option<String>,
    /// Published right now, in the short form of manifests: `127.0.0.1:6379:6379/tcp`.
    pub ports: Vec<String>,
    /// The program that the image stands in for.
    pub stand_in: Option<String>,
    /// RFC 3339.
    pub started_at: Option<String>,
    pub restarts: u64,
    pub exit_code: Option<i64>,
    pub revision: String,
    pub depends_on: Vec<DependencyReport>,
    pub conditions: Vec<ConditionReport>,
    /// What to do, where somebody has to.
    pub next: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DependencyReport {
    pub service: String,
    /// `Started`, `Ready` or `Completed`.
    pub condition: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionReport {
    /// `Ready`, `Reconciling`, `Stalled` or `DependenciesReady`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    pub reason: String,
    pub message: String,
    /// RFC 3339.
    pub last_transition_time: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReport {
    /// `network` or `volume`.
    pub kind: String,
    pub name: String,
    pub ready: bool,
    pub phase: String,
    pub reason: String,
    pub message: String,
    pub converged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptReport {
    /// `service` or `network`.
    pub kind: String,
    pub name: String,
    /// `OtherSource`, `PruneDisabled`, `SourceNotWhole`, `Suspended` or `TooMany`.
    pub reason: String,
    pub message: String,
}

impl KeptReport {
    fn new(kept: &Kept) -> Self {
        let Kept { key, reason, message } = kept;
        Self {
            kind: key.kind.to_string(),
            name: key.name.to_string(),
            reason: (*reason).to_owned(),
            message: message.clone(),
        }
    }
}

impl StatusReport {
    /// `names`: only these services; empty: all. `converged` and `healthy` speak of all in any case.
    pub fn new(view: &View, names: &[String]) -> Self {
        let shown = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
        Self {
            services: view.services().filter(|(n, _)| shown(n)).map(|(n, s)| ServiceReport::new(n, s)).collect(),
            resources: view.others().map(|(k, s)| ResourceReport::new(k, s)).collect(),
            ..Self::header(view)
        }
    }

    /// All but services and resources.
    pub fn header(view: &View) -> Self {
        Self {
            converged: view.is_converged(),
            healthy: view.is_healthy(),
            stack: view.stack.clone(),
            source: SourceReport::new(&view.source),
            services: Vec::new(),
            resources: Vec::new(),
            invalid_manifests: view.invalid_manifests,
            notes: view.notes.clone(),
            kept: view.kept.iter().map(KeptReport::new).collect(),
            engine: EngineReport::new(&view.engine),
            observe_only: view.observe_only,
            findings: view.findings.clone(),
            time: view.now.to_string(),
        }
    }
}

impl EngineReport {
    pub fn new(engine: &EngineView) -> Self {
        let EngineView { reachable, address, version, message, since } = engine;
        Self {
            reachable: *reachable,
            address: address.clone(),
            version: version.clone(),
            error: (!message.is_empty()).then(|| message.clone()),
            since: since.to_string(),
        }
    }
}

impl SourceReport {
    pub fn new(source: &SourceView) -> Self {
        Self {
            kind: match source.kind {
                SourceKind::Dir => "dir",
                SourceKind::Engine => "engine",
            }
            .to_owned(),
            location: source.location.clone(),
            revision: source.revision.clone(),
            short_revision: source.short_revision.clone(),
            error: source.error.clone(),
        }
    }
}

impl ServiceReport {
    pub fn new(name: &str, status: &Status) -> Self {
        let advice = super::advice(status.reason);
        // Exhaustive: a new field is shown, or left out on purpose.
        let Status {
            required,
            generation,
            observed_generation,
            ready,
            phase,
            reason,
            message,
            conditions,
            container,
            image,
            depends_on,
            revision,
            settled: _,
        } = status;
        let container = container.as_ref();
        // Of the manifests that it follows; of its container where those are not known.
        let revision = match (&**revision, container) {
            ("", Some(c)) => &c.revision,
            (revision, _) => revision,
        };
        Self {
            name: name.to_owned(),
            required: *required,
            ready: *ready,
            phase: phase.to_string(),
            reason: reason.to_string(),
            message: message.clone(),
            generation: *generation,
            observed_generation: *observed_generation,
            converged: status.is_converged(),
            container_id: container.map(|c| c.id.0.to_string()),
            image: image.as_ref().map(ToString::to_string),
            ports: container.map(|c| c.ports.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            stand_in: container.and_then(|c| c.stand_in.clone()),
            started_at: container.and_then(|c| c.started_at).map(|t| t.to_string()),
            restarts: container.map_or(0, |c| c.restarts),
            exit_code: container.and_then(|c| c.exit_code),
            revision: revision.to_owned(),
            depends_on: depends_on
                .iter()
                .map(|d| DependencyReport { service: d.service.clone(), condition: d.condition.to_string() })
                .collect(),
            conditions: conditions.iter().map(ConditionReport::new).collect(),
            next: advice.acts.then(|| advice.next.to_owned()),
        }
    }
}

impl ServiceReport {
    /// Ready, or done where being done is all that is asked.
    pub fn serves(&self) -> bool {
        self.ready || self.phase == "Completed"
    }

    /// It cannot go on by itself.
    pub fn is_stalled(&self) -> bool {
        self.conditions.iter().any(|c| c.kind == "Stalled" && c.status == "True")
    }
}

impl ResourceReport {
    /// It cannot go on by itself.
    pub fn is_stalled(&self) -> bool {
        !self.converged && matches!(&*self.phase, "Failed" | "Conflict" | "Invalid")
    }
}

impl ConditionReport {
    fn new(condition: &Condition) -> Self {
        let Condition { kind, status, reason, message, last_transition } = condition;
        Self {
            kind: kind.to_string(),
            status: status.to_string(),
            reason: reason.to_string(),
            message: message.clone(),
            last_transition_time: last_transition.to_string(),
        }
    }
}

impl ResourceReport {
    pub fn new(key: &ResourceKey, status: &Status) -> Self {
        Self {
            kind: key.kind.to_string(),
            name: key.name.to_string(),
            ready: status.ready,
            phase: status.phase.to_string(),
            reason: status.reason.to_string(),
            message: status.message.clone(),
            converged: status.is_converged(),
        }
    }
}
