//! What people and programs are told about a resource.
//!
//! Programs use conditions and reasons. A phase is a summary for people: a pure function of the
//! conditions, and so of their reasons.

use std::fmt;
use std::sync::Arc;

use super::container::ContainerId;
use super::image::ImageRef;
use super::spec::{Dependency, Port};
use crate::clock::Timestamp;

/// Why something is as it is. Part of the API: names are never changed.
///
/// Every one has a row in `docs/operations.md` that says what to do; a test walks the enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    // On its way.
    Pending,
    DependencyNotReady,
    Pulling,
    Creating,
    Starting,
    Replacing,
    Restarting,
    Stopping,
    Removing,
    RetryBackoff,
    // As it should be.
    ProbeSucceeded,
    Running,
    Exists,
    Completed,
    StoppedAsDesired,
    Suspended,
    Observed,
    // Not as it should be, and not in our hands right now.
    ProbeFailed,
    ProbeUnreachable,
    Paused,
    CrashLoop,
    // Stuck: only somebody from outside can help.
    DependencyStalled,
    ImageNotFound,
    ImagePullDenied,
    ImagePullFailed,
    StartupDeadlineExceeded,
    StartFailed,
    CreateFailed,
    UpdateFailed,
    RetriesExhausted,
    ExitedWithError,
    NameConflict,
    AdoptionRefused,
    NothingToObserve,
    PortConflict,
    NetworkConflict,
    VolumeMissing,
    NetworkMissing,
    ManifestInvalid,
    DiskFull,
    EngineTimeout,
    EngineUnreachable,
    PruneRefused,
    /// What the manifest asks for did not become Ready; what was before it serves.
    RolledBack,
}

impl Reason {
    /// All of them, for tables and tests.
    pub const ALL: &'static [Self] = &[
        Self::Pending,
        Self::DependencyNotReady,
        Self::Pulling,
        Self::Creating,
        Self::Starting,
        Self::Replacing,
        Self::Restarting,
        Self::Stopping,
        Self::Removing,
        Self::RetryBackoff,
        Self::ProbeSucceeded,
        Self::Running,
        Self::Exists,
        Self::Completed,
        Self::StoppedAsDesired,
        Self::Suspended,
        Self::Observed,
        Self::ProbeFailed,
        Self::ProbeUnreachable,
        Self::Paused,
        Self::CrashLoop,
        Self::DependencyStalled,
        Self::ImageNotFound,
        Self::ImagePullDenied,
        Self::ImagePullFailed,
        Self::StartupDeadlineExceeded,
        Self::StartFailed,
        Self::CreateFailed,
        Self::UpdateFailed,
        Self::RetriesExhausted,
        Self::ExitedWithError,
        Self::NameConflict,
        Self::AdoptionRefused,
        Self::NothingToObserve,
        Self::PortConflict,
        Self::NetworkConflict,
        Self::VolumeMissing,
        Self::NetworkMissing,
        Self::ManifestInvalid,
        Self::DiskFull,
        Self::EngineTimeout,
        Self::EngineUnreachable,
        Self::PruneRefused,
        Self::RolledBack,
    ];

    /// The phase that a condition with this reason is summed up as.
    pub fn phase(self) -> Phase {
        match self {
            Self::Pending => Phase::Pending,
            Self::DependencyNotReady | Self::DependencyStalled => Phase::Blocked,
            Self::Pulling => Phase::Pulling,
            Self::Creating | Self::Replacing => Phase::Creating,
            Self::Starting | Self::Restarting => Phase::Starting,
            Self::Stopping | Self::Removing => Phase::Terminating,
            Self::ProbeSucceeded | Self::Running | Self::Exists => Phase::Ready,
            Self::Completed => Phase::Completed,
            Self::StoppedAsDesired => Phase::Stopped,
            Self::Suspended => Phase::Suspended,
            Self::Observed => Phase::Observed,
            // An engine that is away or hangs says nothing about who runs on it.
            Self::ProbeFailed
            | Self::ProbeUnreachable
            | Self::Paused
            | Self::NothingToObserve
            | Self::EngineUnreachable
            | Self::EngineTimeout => Phase::NotReady,
            Self::CrashLoop | Self::RetryBackoff => Phase::BackOff,
            Self::NameConflict | Self::AdoptionRefused | Self::PortConflict | Self::NetworkConflict => Phase::Conflict,
            Self::ManifestInvalid => Phase::Invalid,
            Self::RolledBack => Phase::RolledBack,
            Self::ImageNotFound
            | Self::ImagePullDenied
            | Self::ImagePullFailed
            | Self::StartupDeadlineExceeded
            | Self::StartFailed
            | Self::CreateFailed
            | Self::UpdateFailed
            | Self::RetriesExhausted
            | Self::ExitedWithError
            | Self::VolumeMissing
            | Self::NetworkMissing
            | Self::DiskFull
            | Self::PruneRefused => Phase::Failed,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    Pending,
    Blocked,
    Pulling,
    Creating,
    Starting,
    Ready,
    NotReady,
    BackOff,
    Failed,
    RolledBack,
    Suspended,
    Stopped,
    Observed,
    Completed,
    Conflict,
    Invalid,
    Terminating,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    /// False marks a dependency that failed after this service had come up. Changes no phase.
    DependenciesReady,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: ConditionType,
    pub status: Truth,
    pub reason: Reason,
    /// One sentence that a person can act on.
    pub message: String,
    pub last_transition: Timestamp,
}

/// What a planner says about one resource; [`Status::from_draft`] adds the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusDraft {
    /// Whether dependents may count on it, and why or why not.
    pub ready: bool,
    pub reason: Reason,
    pub message: String,
    /// What is being done, where something is.
    pub reconciling: Option<(Reason, String)>,
    /// Why it cannot go on, where it cannot.
    pub stalled: Option<(Reason, String)>,
    /// Which dependency fails, where one does after the service has come up.
    pub dependency_failing: Option<String>,
    /// What the plan for it is empty, and observed is desired.
    pub settled: bool,
    pub container: Option<ContainerSummary>,
}

/// The container that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSummary {
    pub id: ContainerId,
    pub name: String,
    pub image: ImageRef,
    pub running: bool,
    pub started_at: Option<Timestamp>,
    pub restarts: u64,
    pub exit_code: Option<i64>,
    pub revision: String,
    /// What is published right now, ephemeral host ports filled in.
    pub ports: Vec<Port>,
    /// The program that its image stands in for.
    pub stand_in: Option<String>,
}

/// The published status of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub required: bool,
    pub generation: u64,
    /// The generation that the engine was last seen to agree with; 0: none yet.
    pub observed_generation: u64,
    pub ready: bool,
    pub phase: Phase,
    pub reason: Reason,
    pub message: String,
    /// Ready, Reconciling, Stalled, DependenciesReady, in this order.
    pub conditions: Vec<Condition>,
    pub container: Option<ContainerSummary>,
    pub image: Option<ImageRef>,
    pub depends_on: Vec<Dependency>,
    pub revision: Arc<str>,
    pub settled: bool,
}

impl Status {
    /// `previous` keeps transition times and the observed generation.
    pub fn from_draft(draft: StatusDraft, about: About, previous: Option<&Self>, now: Timestamp) -> Self {
        let StatusDraft { ready, reason, message, reconciling, stalled, dependency_failing, settled, container } =
            draft;
        let condition = |kind, status, reason, message: String| {
            let same = previous
                .and_then(|p| p.conditions.iter().find(|c: &&Condition| c.kind == kind))
                .filter(|c| c.status == status);
            Condition { kind, status, reason, message, last_transition: same.map_or(now, |c| c.last_transition) }
        };
        // What is stuck matters most, then what is being done, then how it is.
        let (head_reason, head_message) =
            stalled.clone().or_else(|| reconciling.clone()).unwrap_or_else(|| (reason, message.clone()));
        let flag = |kind, of: Option<(Reason, String)>| match of {
            Some((reason, message)) => condition(kind, Truth::True, reason, message),
            None => condition(kind, Truth::False, reason, String::new()),
        };
        let dependencies = match dependency_failing {
            Some(message) => (Truth::False, Reason::DependencyNotReady, message),
            None => (Truth::True, reason, String::new()),
        };
        let conditions = vec![
            condition(ConditionType::Ready, if ready { Truth::True } else { Truth::False }, reason, message),
            flag(ConditionType::Reconciling, reconciling),
            flag(ConditionType::Stalled, stalled),
            condition(ConditionType::DependenciesReady, dependencies.0, dependencies.1, dependencies.2),
        ];
        let observed_generation =
            if settled { about.generation } else { previous.map_or(0, |p| p.observed_generation) };
        Self {
            required: about.required,
            generation: about.generation,
            observed_generation,
            ready,
            phase: head_reason.phase(),
            reason: head_reason,
            message: head_message,
            conditions,
            image: about.image,
            depends_on: about.depends_on,
            revision: about.revision,
            container,
            settled,
        }
    }

    /// The same once another generation is desired, until that has been looked at: not converged (P14).
    #[must_use]
    pub fn outdated(&self, generation: u64, now: Timestamp) -> Self {
        let message = "its manifest has changed".to_owned();
        let mut status = Self { generation, settled: false, ..self.clone() };
        status.reason = Reason::Pending;
        status.phase = Reason::Pending.phase();
        status.message.clone_from(&message);
        for condition in &mut status.conditions {
            if condition.kind == ConditionType::Reconciling {
                let last_transition = if condition.status == Truth::True { condition.last_transition } else { now };
                *condition = Condition {
                    kind: ConditionType::Reconciling,
                    status: Truth::True,
                    reason: Reason::Pending,
                    message: message.clone(),
                    last_transition,
                };
            }
        }
        status
    }

    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    pub fn is_stalled(&self) -> bool {
        self.condition(ConditionType::Stalled).is_some_and(|c| c.status == Truth::True)
    }

    /// P14, for one resource.
    pub fn is_converged(&self) -> bool {
        let held = matches!(self.phase, Phase::Suspended | Phase::Stopped | Phase::Observed);
        self.settled
            && !self.is_stalled()
            && self.observed_generation == self.generation
            && (self.ready || held || self.phase == Phase::Completed)
    }
}

/// What a status repeats of the desired side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub required: bool,
    pub generation: u64,
    pub image: Option<ImageRef>,
    pub depends_on: Vec<Dependency>,
    pub revision: Arc<str>,
}
