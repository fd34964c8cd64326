//! What is changed in a container that is there: limits, and files whose program reads them again.

use super::run::Run;
use super::steps::{existing, step};
use crate::plan::types::{Cause, ClosedBy, FieldChange, Op, Step};
use crate::resource::hash::SaltedHash;
use crate::resource::limits::Limits;
use crate::resource::observed::{Container, RunState};
use crate::resource::status::Reason;

impl Run<'_> {
    /// Of one that is up. A paused one is left alone. `changes`: what differs of it, here and below.
    pub fn in_place_steps(&self, container: &Container, changes: &[FieldChange]) -> Vec<Step> {
        let limits = self.limits_step(container, changes).filter(|_| container.state != RunState::Paused);
        limits.into_iter().chain(self.reload_steps(container, changes)).collect()
    }

    /// The engine has refused such a step (memory below what is in use, no shell to signal with). It is
    /// tried again when nothing else is left to be done: a restart, or the end of a replacement, must not
    /// wait for it.
    pub fn in_place_was_refused(&self) -> bool {
        self.cx.retry.failure.as_ref().is_some_and(|f| f.reason == Reason::UpdateFailed)
    }

    /// Brings the limits of a container to what the spec says, where that can be done in place.
    pub fn limits_step(&self, container: &Container, changes: &[FieldChange]) -> Option<Step> {
        let cause = changes.iter().find(|c| is_in_place(c) && c.field.starts_with("resources."))?.cause;
        let limits = Limits::between(&container.config.resources, &self.service.spec.container.resources);
        Some(step(Op::UpdateLimits { target: existing(container), limits }, cause))
    }

    /// The new files, marked as such, and then the signal: whoever comes after a crash between the two
    /// finds files that nobody was told of.
    fn reload_steps(&self, container: &Container, changes: &[FieldChange]) -> Vec<Step> {
        let signal = self.service.spec.container.files.iter().find_map(|f| f.signal.clone());
        let marker = SaltedHash::of_files(&self.service, &self.cx.policy.salt);
        let (Some(signal), Some(marker)) = (signal, marker) else { return Vec::new() };
        if container.state != RunState::Running || !files_differ_in_place(changes) {
            return Vec::new();
        }
        let target = || existing(container);
        let upload = Op::Upload { target: target(), service: self.service.clone(), marker: marker.unsignalled() };
        let reload = Op::Reload { target: target(), signal, marker };
        [upload, reload].map(|op| step(op, Cause::SpecChanged)).into()
    }
}

fn is_in_place(change: &FieldChange) -> bool {
    change.closed_by == ClosedBy::InPlace
}

/// The files are not those of the spec, and nothing but an upload is needed.
pub(super) fn files_differ_in_place(changes: &[FieldChange]) -> bool {
    changes.iter().any(|c| is_in_place(c) && c.field == "files")
}
