//! Limits that are changed in place.

use super::run::Run;
use super::steps::{existing, step};
use crate::plan::types::{ClosedBy, Op, Step};
use crate::resource::limits::Limits;
use crate::resource::observed::Container;
use crate::resource::status::Reason;

impl Run<'_> {
    /// Brings the limits of a container to what the spec says, where that can be done in place.
    pub fn limits_step(&self, container: &Container) -> Option<Step> {
        let differences = self.differences(container);
        let of_limits = |c: &&crate::plan::types::FieldChange| {
            c.closed_by == ClosedBy::InPlace && c.field.starts_with("resources.")
        };
        let cause = differences.iter().find(of_limits)?.cause;
        let limits = Limits::between(&container.config.resources, &self.service.spec.container.resources);
        Some(step(Op::UpdateLimits { target: existing(container), limits }, cause))
    }

    /// The engine has refused to change them (memory below what is in use). It is tried again when
    /// nothing else is left to be done: a restart, or the end of a replacement, must not wait for it.
    pub fn limits_were_refused(&self) -> bool {
        self.cx.retry.failure.as_ref().is_some_and(|f| f.reason == Reason::UpdateFailed)
    }
}
