//! What a failed call means to a planner.

use super::reload::OPERATION;
use crate::engine::{Class, EngineError, ErrorKind};
use crate::plan::types::Failure;
use crate::resource::status::Reason;

/// Puts an engine's error into the planner's words.
pub fn failure(error: &EngineError) -> Failure {
    let reason = match &error.kind {
        ErrorKind::Unreachable => Reason::EngineUnreachable,
        ErrorKind::Timeout => Reason::EngineTimeout,
        ErrorKind::NameTaken { .. } => Reason::NameConflict,
        ErrorKind::PortTaken { .. } => Reason::PortConflict,
        ErrorKind::NoAddress | ErrorKind::InUse => Reason::NetworkConflict,
        ErrorKind::DiskFull => Reason::DiskFull,
        ErrorKind::ImageNotFound => Reason::ImageNotFound,
        ErrorKind::PullDenied => Reason::ImagePullDenied,
        ErrorKind::Throttled { .. } => Reason::ImagePullFailed,
        ErrorKind::NotFound
        | ErrorKind::NetworkGone
        | ErrorKind::NamespaceGone
        | ErrorKind::RemovalInProgress
        | ErrorKind::Refused
        | ErrorKind::Unsupported
        | ErrorKind::Other => match error.operation {
            "start container" => Reason::StartFailed,
            "update limits of container" | OPERATION => Reason::UpdateFailed,
            op if op.starts_with("create") => Reason::CreateFailed,
            _ => Reason::RetriesExhausted,
        },
    };
    Failure { reason, terminal: error.class() == Class::Terminal, message: error.to_string() }
}
