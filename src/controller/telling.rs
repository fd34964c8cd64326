//! What goes into the event history and the metrics.

use std::time::Duration;

use super::Shared;
use crate::engine::{Engine, EngineError, EngineEvent};
use crate::execute::Watch;
use crate::plan::Step;
use crate::queue::Outcome;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};

/// The steps of one resource, as they are taken.
pub(super) struct Steps<'a, E: Engine> {
    shared: &'a Shared<E>,
    key: &'a ResourceKey,
}

impl<E: Engine> Watch for Steps<'_, E> {
    fn begins(&self, step: &Step) {
        self.shared.own.begins(&step.op);
    }

    fn ended(&self, step: &Step, result: Result<(), &EngineError>) {
        self.shared.own.ended(&step.op);
        let _ = (self.key, result);
    }
}

impl<E: Engine> Shared<E> {
    pub(super) fn steps_of<'a>(&'a self, key: &'a ResourceKey) -> Steps<'a, E> {
        Steps { shared: self, key }
    }

    pub(super) fn tell(&self, subject: Option<&ResourceKey>, reason: EventReason, message: String, by: Actor) {
        let _ = Happening { subject: subject.cloned(), reason, message, by };
    }

    pub(super) fn tell_event(&self, event: &EngineEvent) {
        let _ = (&self.own, event);
    }

    pub(super) fn count_reconcile(&self, outcome: Outcome, took: Duration) {
        let _ = (outcome, took);
    }
}
