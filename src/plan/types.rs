//! Plans as data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::restarts::Restarts;
use crate::clock::Timestamp;
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::desired::Service;
use crate::resource::hash::SaltedHash;
use crate::resource::image::{ImageRef, ImageState};
use crate::resource::labels::SourceId;
use crate::resource::limits::Limits;
use crate::resource::observed::Container;
use crate::resource::probe::{ProbeState, Probes};
use crate::resource::revision::{Refusal, Revisions};
use crate::resource::spec::{DependencyCondition, NetworkSpec, PullPolicy, RestartPolicy, VolumeSpec};
use crate::resource::status::{Reason, StatusDraft};
use crate::resource::{Kind, ResourceKey};

/// Everything a planner may know beside what is desired and observed.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext<'a> {
    pub now: Timestamp,
    /// The same moment on the engine's clock, as far as it is known: times of containers are on that one.
    pub engine_now: Timestamp,
    /// What this resource needs, with what is known of each.
    pub deps: &'a [Dep],
    /// Of what is to be removed: resources that need this one and still have something on the engine. They
    /// go first. Of a network that is kept: the services that are suspended.
    pub dependents: &'a [ResourceKey],
    /// Of the spec's image, as far as a pull was asked for.
    pub image: &'a ImageState,
    /// Of the container that serves.
    pub probes: &'a ProbeState,
    /// Of the one that runs beside it, to take its place.
    pub next_probes: &'a ProbeState,
    pub retry: &'a Retry,
    pub restarts: &'a Restarts,
    /// A person asked to restart exactly this run of this container.
    pub restart_asked: Option<&'a ContainerId>,
    /// Which revision has served, and which was refused.
    pub revisions: &'a Revisions,
    /// A person asked to try again what was refused.
    pub retry_asked: bool,
    /// Since when somebody has been watching: this process began, or the engine came back. No rollout is
    /// given up for what happened before.
    pub watched_since: Timestamp,
    pub mode: Mode,
    /// Who suspended it by call and since when (`uid 0 since …`), or what is wrong with its manifest, in
    /// a line with its place. For the words alone.
    pub why: Option<&'a str>,
    pub policy: &'a Policy,
}

/// How a resource is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Normal,
    /// Hands off.
    Suspended,
    /// Its manifest is broken (P5): kept running as it is, nothing is compared.
    Frozen,
    /// To be removed.
    Removing,
}

/// What is the same for all resources of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub stack: String,
    pub source: SourceId,
    /// Short text of the source's revision, for labels.
    pub revision: Arc<str>,
    /// Failures after which a service is reported Failed. It is tried on, at the cap.
    pub max_attempts: u32,
    /// For salted hashes of containers that are created now. Random; any text without a colon.
    pub salt: String,
    /// Volumes are data (P7): only `down --volumes` sets it.
    pub remove_volumes: bool,
    /// What other folders have put into the stack is ours to remove, too: only `down --all-sources` sets it.
    pub all_sources: bool,
    /// Host paths are those of the engine. Files can be bound.
    pub engine_local: bool,
    /// Where files are written that a read-only root has to bind. Empty: nowhere.
    pub files_dir: String,
}

impl Policy {
    /// Whether what a source has made is ours to change and remove.
    pub fn owns(&self, source: &SourceId) -> bool {
        self.all_sources || *source == self.source
    }
}

/// Something that a resource needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dep {
    pub key: ResourceKey,
    pub condition: DependencyCondition,
    /// Who needs it is restarted with it.
    pub restarts: bool,
    pub facts: DepFacts,
}

impl Dep {
    pub fn is_met(&self) -> bool {
        match self.condition {
            DependencyCondition::Started => self.facts.started,
            DependencyCondition::Ready => self.facts.ready,
            DependencyCondition::Completed => self.facts.completed == Some(0),
        }
    }

    /// The same for who is created now (P8): a dependency that is itself about to be replaced does not
    /// count yet.
    pub fn is_met_anew(&self) -> bool {
        self.is_met() && !(self.facts.changing && self.key.kind == Kind::Service)
    }
}

impl PlanContext<'_> {
    pub fn asks_to_restart(&self, container: &Container) -> bool {
        self.restart_asked == Some(&container.id)
    }
}

/// What dependents may know of a resource. A change queues them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepFacts {
    pub started: bool,
    pub ready: bool,
    /// A change of it is on its way: who is to be changed with it waits for that.
    pub changing: bool,
    /// Exit code of a one-shot that ended.
    pub completed: Option<i64>,
    /// Since when its container runs, on the engine's clock.
    pub started_at: Option<Timestamp>,
    /// It cannot go on by itself, and why.
    pub stalled: Option<String>,
    /// A network that is there and about to be replaced: who is taken off it waits for the new one.
    pub is_leaving: bool,
}

/// Failures in a row of carrying out plans for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    pub attempts: u32,
    pub failure: Option<Failure>,
    pub next_at: Option<Timestamp>,
}

/// The last one. What the engine said, in the planner's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// Trying again cannot help until something else changes.
    pub terminal: bool,
    pub message: String,
}

/// What is to be done about one resource, and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub key: ResourceKey,
    /// In one word, for counting and summaries.
    pub action: Action,
    pub stages: Vec<Stage>,
    /// Why, field by field.
    pub changes: Vec<FieldChange>,
    pub wants: Wants,
    pub status: StatusDraft,
    /// Plan again then, whatever happens.
    pub wake_at: Option<Timestamp>,
    /// To be remembered before anything is done.
    pub refuses: Option<Refusal>,
}

impl Plan {
    /// Nothing is to be done, now or later.
    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(|stage| stage.steps.is_empty())
    }

    /// Nobody carries it out, so it is not said to be under way; `how` it would be.
    pub fn say_pending(&mut self, how: &str) {
        if self.executable().is_none() {
            return;
        }
        let fields: Vec<_> = self.changes.iter().map(|c| c.field.as_str()).collect();
        let what = if fields.is_empty() { String::new() } else { format!(" ({} differs)", fields.join(", ")) };
        self.status.reconciling = Some((Reason::Pending, format!("to {}{what}: {how}", self.action)));
    }

    /// The steps that can be carried out right now.
    pub fn executable(&self) -> Option<&Stage> {
        self.stages.first().filter(|stage| stage.gate.is_none() && !stage.steps.is_empty())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    None,
    Create,
    Start,
    Replace,
    /// Back to the container before, since the new one did not become Ready.
    RollBack,
    /// In place: name, restart policy, limits, files with a signal, network attachments.
    Update,
    Restart,
    Stop,
    Remove,
}

/// Steps that belong together, and what must hold before they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub gate: Option<Gate>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    Image(ImageRef),
    Deps(Vec<(ResourceKey, DependencyCondition)>),
    /// The container's readiness.
    Ready(String),
    /// After failures.
    Backoff(Timestamp),
    /// Those that need this one are gone.
    Dependents(Vec<ResourceKey>),
    /// Somebody else must make way; says who.
    Conflict(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    pub cause: Cause,
}

/// One engine call each, but for [`Op::Reload`] and [`Op::Drain`]. There is no pull: pulls belong to the
/// controller, since one serves many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    CreateContainer(Box<ContainerCreate>),
    Connect {
        target: Target,
        endpoint: Endpoint,
    },
    Disconnect {
        target: Target,
        network: String,
        id: NetworkId,
    },
    Upload {
        target: Target,
        service: Arc<Service>,
        marker: SaltedHash,
    },
    /// Its first process gets `signal`; then `marker` says that it knows of its files.
    Reload {
        target: Target,
        signal: String,
        marker: SaltedHash,
    },
    SetRestartPolicy {
        target: Target,
        policy: RestartPolicy,
    },
    /// Running or not.
    UpdateLimits {
        target: Target,
        limits: Limits,
    },
    Start(Target),
    Stop {
        target: Target,
        grace: Duration,
    },
    Rename {
        target: Target,
        to: String,
    },
    /// Waits: whoever has looked up a name just before it went to another container connects meanwhile.
    Drain(Duration),
    /// Without its volumes.
    RemoveContainer(Target),
    CreateNetwork {
        spec: Arc<NetworkSpec>,
        labels: BTreeMap<String, String>,
    },
    RemoveNetwork {
        name: String,
        id: NetworkId,
    },
    CreateVolume {
        spec: Arc<VolumeSpec>,
        labels: BTreeMap<String, String>,
    },
    RemoveVolume {
        name: String,
    },
}

/// The container that a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Existing {
        id: ContainerId,
        name: String,
    },
    /// The one that this stage has just created.
    Created {
        name: String,
    },
}

impl Target {
    pub fn name(&self) -> &str {
        match self {
            Self::Existing { name, .. } | Self::Created { name } => name,
        }
    }

    /// The same container, after it has taken another name.
    #[must_use]
    pub fn renamed(self, to: &str) -> Self {
        let name = to.to_owned();
        match self {
            Self::Existing { id, .. } => Self::Existing { id, name },
            Self::Created { .. } => Self::Created { name },
        }
    }
}

/// Why a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It is not there.
    Missing,
    /// The manifest asks for something else than the container was created from.
    SpecChanged,
    /// Somebody changed it on the engine.
    ChangedOutside,
    /// The tag points at another image.
    ImageMoved,
    /// A replace or a creation that was begun is carried on.
    Resumed,
    /// Somebody stopped it, or the engine did.
    NotRunning,
    /// It ended by itself, and Docker does not start it again. Counts in [`Restarts`].
    Exited,
    /// A person asked for a restart.
    Requested,
    /// `state: Stopped`.
    StateStopped,
    /// Counts in [`Restarts`].
    LivenessFailed,
    /// The replacement is Ready.
    Superseded,
    /// The replacement did not become Ready in time.
    Refused,
    /// Nothing asks for it any more.
    Orphaned,
    /// `down`.
    Down,
    /// Half removed by the engine.
    Dead,
    /// One of several of the same name.
    Surplus,
    /// A container whose namespace it shares was replaced.
    NamespaceReplaced,
    /// A service that it is to be restarted with was started after it.
    DependencyRestarted,
    /// A refused or superseded one that somebody started.
    SecondCopy,
    /// It takes the place of one that is not ours.
    Adopted,
}

impl Cause {
    /// A start for this cause counts in [`Restarts`].
    pub fn is_crash(self) -> bool {
        matches!(self, Self::Exited | Self::LivenessFailed)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::SpecChanged => "spec differs",
            Self::ChangedOutside => "changed outside env-manager",
            Self::ImageMoved => "the tag points at another image",
            Self::Resumed => "begun earlier",
            Self::NotRunning => "not running",
            Self::Exited => "ended by itself",
            Self::Requested => "restart asked for",
            Self::StateStopped => "state is Stopped",
            Self::LivenessFailed => "liveness probe failed",
            Self::Superseded => "the replacement is ready",
            Self::Refused => "the new one did not become ready",
            Self::Orphaned => "no manifest asks for it",
            Self::Down => "down",
            Self::Dead => "half removed",
            Self::Surplus => "one too many of this name",
            Self::NamespaceReplaced => "shares the namespace of a container that was replaced",
            Self::DependencyRestarted => "dependency restarted",
            Self::SecondCopy => "a second copy of it",
            Self::Adopted => "taken over from what was not made by env-manager",
        })
    }
}

/// One field that is not as the spec asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// As manifests call it: `image`, `env.KAFKA_BROKER_ID`, `resources.memory`.
    pub field: String,
    /// `None`: unset.
    pub old: Option<String>,
    pub new: Option<String>,
    pub closed_by: ClosedBy,
    pub cause: Cause,
}

/// What closes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosedBy {
    InPlace,
    Replace,
}

/// What the controller shall keep going for this resource. Level-triggered: set after each plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// An image is needed for a container that is to be created.
    pub image: Option<ImageWant>,
    /// The containers to probe: the one that serves first.
    pub probes: Vec<ContainerId>,
    /// With these, where they are not those of the spec: what the spec asks for was refused.
    pub as_proven: Option<Probes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageWant {
    pub image: ImageRef,
    pub platform: Option<String>,
    pub policy: PullPolicy,
}
