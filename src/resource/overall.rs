//! What is said about a stack as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::key::{Kind, ResourceKey};
use super::status::{Phase, Reason, Status};

/// P14: `converged` is true only if every resource is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overall {
    pub converged: bool,
    /// Every required service is ready.
    pub healthy: bool,
    /// Nothing can go on by itself: what is not converged is stalled.
    pub stuck: bool,
    pub services: usize,
    pub ready: usize,
    pub required: usize,
    pub invalid: usize,
}

impl Overall {
    /// `statuses` must hold every resource that is desired; one without a status yet is given as `None`.
    pub fn of<'a>(statuses: impl Iterator<Item = (&'a ResourceKey, Option<&'a Status>)>) -> Self {
        let mut all = Self { converged: true, healthy: true, stuck: true, ..Self::default() };
        for (key, status) in statuses {
            let converged = status.is_some_and(Status::is_converged);
            all.converged &= converged;
            all.stuck &= converged || status.is_some_and(Status::is_stalled);
            if key.kind != Kind::Service {
                continue;
            }
            all.services += 1;
            let (ready, required) = status.map_or((false, true), |s| (s.ready, s.required));
            all.ready += usize::from(ready);
            all.required += usize::from(required);
            all.healthy &= ready || !required;
            all.invalid += usize::from(status.is_some_and(|s| s.phase == Phase::Invalid));
        }
        all.stuck &= !all.converged;
        all
    }

    pub fn of_map(statuses: &BTreeMap<ResourceKey, Arc<Status>>) -> Self {
        Self::of(statuses.iter().map(|(key, status)| (key, Some(&**status))))
    }
}

/// Whether a status says that its resource has left the engine.
pub fn is_gone(status: &Status) -> bool {
    status.settled && status.conditions.first().is_some_and(|c| c.reason == Reason::Removing)
}
