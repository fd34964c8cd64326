//! What happened: the words of the event history.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

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
    Signalled,
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
    ImagePollFailed,
    Ready,
    NotReady,
    Completed,
    DependencyNotReady,
    DependencyReady,
    BackOff,
    Stalled,
    RolledBack,
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
    ClockStepped,
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
        Self::Signalled,
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
        Self::ImagePollFailed,
        Self::Ready,
        Self::NotReady,
        Self::Completed,
        Self::DependencyNotReady,
        Self::DependencyReady,
        Self::BackOff,
        Self::Stalled,
        Self::RolledBack,
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
        Self::ClockStepped,
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
                | Self::ImagePollFailed
                | Self::NotReady
                | Self::DependencyNotReady
                | Self::BackOff
                | Self::Stalled
                | Self::RolledBack
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

/// A word that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a word of the event history")]
pub struct UnknownWord(pub String);

impl FromStr for EventReason {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        static BY_NAME: LazyLock<BTreeMap<String, EventReason>> =
            LazyLock::new(|| EventReason::ALL.iter().map(|r| (r.to_string(), *r)).collect());
        BY_NAME.get(text).copied().ok_or_else(|| UnknownWord(text.to_owned()))
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

impl FromStr for Actor {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "env-manager" => Ok(Self::EnvManager),
            "docker" => Ok(Self::Docker),
            "outside" => Ok(Self::Outside),
            _ => match text.strip_prefix("caller ") {
                Some(who) => Ok(Self::Caller(who.to_owned())),
                None => Err(UnknownWord(text.to_owned())),
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_the_list_and_reads_as_it_is_written() {
        for (n, reason) in EventReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, n, "{reason} is out of place: is one missing before it?");
            assert_eq!(reason.to_string().parse(), Ok(*reason));
        }
        // The last one of the enum.
        assert_eq!(EventReason::ALL.last(), Some(&EventReason::RestartRequested));
        assert_eq!("Teleported".parse::<EventReason>(), Err(UnknownWord("Teleported".to_owned())));
        for by in [Actor::EnvManager, Actor::Docker, Actor::Outside, Actor::Caller("uid 0".to_owned())] {
            assert_eq!(by.to_string().parse(), Ok(by));
        }
        assert!("martians".parse::<Actor>().is_err());
    }

    #[test]
    fn the_documentation_has_a_row_for_every_word_and_for_nothing_else() {
        let doc = include_str!("../../docs/events.md");
        let rows: Vec<_> = doc.lines().filter_map(|l| l.strip_prefix("| `")?.split_once("` | ")).collect();
        let (words, meanings): (Vec<_>, Vec<_>) =
            rows.into_iter().filter(|(w, _)| w.starts_with(char::is_uppercase)).unzip();
        let all: Vec<_> = EventReason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(words, all, "docs/events.md has them in the order of the enum");
        for (reason, meaning) in EventReason::ALL.iter().zip(meanings) {
            let cells: Vec<_> = meaning.split(" | ").collect();
            assert_eq!(cells.len(), 3, "{reason}: meaning, by, warning");
            assert_eq!(cells[2].trim_end_matches(" |") == "yes", reason.is_warning(), "{reason}: warning or not");
        }
    }
}
