//! What to do about one resource: a pure function of what is desired and what is observed.
//!
//! Nothing here waits, calls or logs. A plan is data with a cause for every step; the executor
//! decides nothing. Only a first stage without a gate is ever executed; what follows is what a
//! person wants to know beforehand, and is planned anew when its time has come.
//!
//! | file | what |
//! |---|---|
//! | [`types`] | [`Plan`], [`Stage`], [`Op`], [`Gate`], [`Cause`] |
//! | [`text`] | the one text form of a plan: output, log, oracle of tests |
//! | `draft` | a plan in the making, and the one rule for what failures do to it |
//! | [`drift`] | field by field: what a spec asks for against what a container is |
//! | [`service`] | services: create, start, replace, stop, remove |
//! | [`readiness`] | what a service's container, probes and dependencies say about it |
//! | [`restarts`] | crash loops: how long to wait before the next start |
//! | [`network`], [`volume`] | the resources that services stand on |
//! | [`prune`] | what may be removed because nothing asks for it any more |

mod draft;
pub mod drift;
pub mod network;
pub mod prune;
pub mod readiness;
pub mod restarts;
pub mod service;
pub mod text;
pub mod types;
pub mod volume;

#[cfg(test)]
mod tests;

pub use restarts::Restarts;
pub use types::{
    Action, Cause, Dep, DepFacts, FieldChange, Gate, ImageWant, Mode, Op, Plan, PlanContext, Policy, Retry, Stage,
    Step, Target, Wants,
};

use crate::resource::ResourceKey;
use crate::resource::desired::{Desired, DesiredSpec};
use crate::resource::observed::Observed;

/// Plans one resource.
///
/// `desired` is `None` for what nothing asks for any more (then `cx.mode` is [`Mode::Removing`]) and
/// for a service whose manifest is broken and whose last good spec is not known ([`Mode::Frozen`]).
pub fn plan(key: &ResourceKey, desired: Option<&Desired>, observed: &Observed, cx: &PlanContext<'_>) -> Plan {
    match observed {
        Observed::Service(observed) => {
            let service = desired.and_then(|d| d.spec.as_service());
            service::plan(key, desired.map_or(0, |d| d.generation), service, observed, cx)
        }
        Observed::Network(observed) => {
            let spec = desired.and_then(|d| match &d.spec {
                DesiredSpec::Network(spec) => Some(spec),
                _ => None,
            });
            network::plan(key, spec, observed, cx)
        }
        Observed::Volume(observed) => {
            let spec = desired.and_then(|d| match &d.spec {
                DesiredSpec::Volume(spec) => Some(spec),
                _ => None,
            });
            volume::plan(key, spec, observed, cx)
        }
    }
}
