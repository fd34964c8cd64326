//! What happened: the words of the event history.

use std::fmt;

use super::key::ResourceKey;

/// What happened. Part of the API: names are never changed. Every one has a row in `docs/events.md`;
/// a test walks the enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventReason {
    // What env-manager did on the engine.
    Created,
    Started,
    Stopped,
    Restarted,
    Renamed,
    Updated,
    Connected,
    Disconnected,
    FilesUploaded,
    Removed,
    ActionFailed,
    // What others did there, or what happened by itself.
    ContainerCreated,
    ContainerStarted,
    ContainerStopped,
    ContainerKilled,
    ContainerPaused,
    ContainerUnpaused,
    ContainerRenamed,
    ContainerUpdated,
    ContainerGone,
    NetworkConnected,
    NetworkDisconnected,
    NetworkGone,
    VolumeGone,
    Exited,
    OutOfMemory,
    ImageMoved,
    DriftFound,
    // How services are.
    Pulling,
    PullFailed,
    Ready,
    NotReady,
    Completed,
    DependencyNotReady,
    DependencyReady,
    BackOff,
    Stalled,
    Conflict,
    // Manifests.
    ManifestAdded,
    ManifestChanged,
    ManifestRemoved,
    ManifestInvalid,
    ManifestRepaired,
    SourceUnreadable,
    SourceReadable,
    PruneRefused,
    // The engine and the daemon.
    EngineUnreachable,
    EngineReachable,
    DaemonStarted,
    DaemonStopping,
    Suspended,
    Resumed,
    SyncRequested,
    RetryRequested,
    RestartRequested,
}

impl EventReason {
    pub const ALL: &'static [Self] = &[
        Self::Created,
        Self::Started,
        Self::Stopped,
        Self::Restarted,
        Self::Renamed,
        Self::Updated,
        Self::Connected,
        Self::Disconnected,
        Self::FilesUploaded,
        Self::Removed,
        Self::ActionFailed,
        Self::ContainerCreated,
        Self::ContainerStarted,
        Self::ContainerStopped,
        Self::ContainerKilled,
        Self::ContainerPaused,
        Self::ContainerUnpaused,
        Self::ContainerRenamed,
        Self::ContainerUpdated,
        Self::ContainerGone,
        Self::NetworkConnected,
        Self::NetworkDisconnected,
        Self::NetworkGone,
        Self::VolumeGone,
        Self::Exited,
        Self::OutOfMemory,
        Self::ImageMoved,
        Self::DriftFound,
        Self::Pulling,
        Self::PullFailed,
        Self::Ready,
        Self::NotReady,
        Self::Completed,
        Self::DependencyNotReady,
        Self::DependencyReady,
        Self::BackOff,
        Self::Stalled,
        Self::Conflict,
        Self::ManifestAdded,
        Self::ManifestChanged,
        Self::ManifestRemoved,
        Self::ManifestInvalid,
        Self::ManifestRepaired,
        Self::SourceUnreadable,
        Self::SourceReadable,
        Self::PruneRefused,
        Self::EngineUnreachable,
        Self::EngineReachable,
        Self::DaemonStarted,
        Self::DaemonStopping,
        Self::Suspended,
        Self::Resumed,
        Self::SyncRequested,
        Self::RetryRequested,
        Self::RestartRequested,
    ];

    /// Something is not as it should be.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::ActionFailed
                | Self::ContainerStopped
                | Self::ContainerKilled
                | Self::ContainerPaused
                | Self::ContainerRenamed
                | Self::ContainerUpdated
                | Self::ContainerGone
                | Self::NetworkDisconnected
                | Self::NetworkGone
                | Self::VolumeGone
                | Self::Exited
                | Self::OutOfMemory
                | Self::PullFailed
                | Self::NotReady
                | Self::DependencyNotReady
                | Self::BackOff
                | Self::Stalled
                | Self::Conflict
                | Self::ManifestInvalid
                | Self::SourceUnreadable
                | Self::PruneRefused
                | Self::EngineUnreachable
        )
    }
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// By whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    EnvManager,
    /// The engine by itself: a restart policy, a process that ended.
    Docker,
    /// Somebody by other means; Docker does not tell who.
    Outside,
    /// Who called: `uid 0`, `127.0.0.1`.
    Caller(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnvManager => f.write_str("env-manager"),
            Self::Docker => f.write_str("docker"),
            Self::Outside => f.write_str("outside"),
            Self::Caller(who) => write!(f, "caller {who}"),
        }
    }
}

/// One thing that happened, as whoever saw it tells it. The history adds time, number and revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// `None`: the stack, the source, the engine or the daemon.
    pub subject: Option<ResourceKey>,
    pub reason: EventReason,
    /// One sentence. Never a secret's value.
    pub message: String,
    pub by: Actor,
}
