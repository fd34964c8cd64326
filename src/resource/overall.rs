//! What is said about a stack as a whole.

use super::ResourceKey;
use super::status::{Reason, Status};

/// P14: `converged` is true only if every resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overall {
    pub converged: bool,
    /// Nothing can go on by itself: what is not converged is stalled.
    pub stuck: bool,
}

impl Overall {
    /// `statuses` must hold every resource that is desired; one without a status yet is given as `None`.
    pub fn of<'a>(statuses: impl Iterator<Item = Option<&'a Status>>) -> Self {
        let mut all = Self { converged: true, stuck: true };
        for status in statuses {
            let converged = status.is_some_and(Status::is_converged);
            all.converged &= converged;
            all.stuck &= converged || status.is_some_and(Status::is_stalled);
        }
        all.stuck &= !all.converged;
        all
    }
}

/// Something of ours that no manifest describes, and that is not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub key: ResourceKey,
    /// CamelCase: `TooMany`, `SourceNotWhole`, …
    pub reason: &'static str,
    /// Why, and what would have it go.
    pub message: String,
}

/// Whether a status says that its resource has left the engine.
pub fn is_gone(status: &Status) -> bool {
    status.settled && status.conditions.first().is_some_and(|c| c.reason == Reason::Removing)
}
