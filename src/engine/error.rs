//! What can go wrong between us and the engine, and whether trying again can help.

use std::fmt;
use std::time::Duration;

/// A failed call: what was done, to what, why it failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {subject}: {message}")]
pub struct EngineError {
    /// `create container`, `pull image`, …
    pub operation: &'static str,
    /// What it was done to: a name that a person knows.
    pub subject: String,
    pub kind: ErrorKind,
    /// The engine's own words, made readable, in one line.
    pub message: String,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It can: retried with backoff.
    Transient,
    /// It cannot, until the spec or the engine's state changes.
    Terminal,
}

/// Classified by what the engine says, not by its status code alone (`docker-facts.md`, "Answers of the engine").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection, or it broke off.
    Unreachable,
    /// No answer within the call's deadline. The call may have taken effect.
    Timeout,
    /// The container, network, volume or image of the call is gone.
    NotFound,
    /// Another container bears the name; its id where the engine says so.
    NameTaken {
        holder: Option<String>,
    },
    /// A host port is taken.
    PortTaken {
        port: Option<u16>,
    },
    /// A network that the container is attached to is gone, or was made again under its name.
    NetworkGone,
    /// A container whose namespace is shared is gone or stopped.
    NamespaceGone,
    /// Address pools are exhausted, or the subnet overlaps another's.
    NoAddress,
    /// The object is being removed; its name is free in a moment.
    RemovalInProgress,
    /// Somebody still uses it.
    InUse,
    DiskFull,
    ImageNotFound,
    /// Unauthorised at a registry.
    PullDenied,
    /// A registry asks to wait.
    Throttled {
        retry_after: Option<Duration>,
    },
    /// The engine cannot do what the spec asks for: executable not found, no device driver, bad mount, …
    Refused,
    /// The API is too old for a field of the spec.
    Unsupported,
    /// Anything else: worth another try.
    Other,
}

impl EngineError {
    pub fn new(
        operation: &'static str,
        subject: impl Into<String>,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { operation, subject: subject.into(), kind, message: message.into() }
    }

    pub fn class(&self) -> Class {
        match self.kind {
            ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::NotFound
            | ErrorKind::NetworkGone
            | ErrorKind::NamespaceGone
            | ErrorKind::RemovalInProgress
            | ErrorKind::InUse
            | ErrorKind::Throttled { .. }
            | ErrorKind::Other => Class::Transient,
            ErrorKind::NameTaken { .. }
            | ErrorKind::PortTaken { .. }
            | ErrorKind::NoAddress
            | ErrorKind::DiskFull
            | ErrorKind::ImageNotFound
            | ErrorKind::PullDenied
            | ErrorKind::Refused
            | ErrorKind::Unsupported => Class::Terminal,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Terminal => "terminal",
        })
    }
}
