//! Probes: asking containers whether they are well.
//!
//! | file | what |
//! |---|---|
//! | [`route`] | how a probe reaches what it asks: [`Target`], [`Route`] |
//! | `check` | one try of one check; `wire`, `grpc`: what is said over a connection |
//! | `watch` | pure: thresholds, intervals, the startup gate of one run of one container |
//! | [`prober`] | [`Prober`]: all of them, on one timer heap |
//!
//! `docs/probes.md` says the same to users.

mod check;
mod grpc;
pub mod prober;
pub mod route;
mod watch;
mod wire;

#[cfg(test)]
mod tests;

use futures_util::future::join;

pub use prober::Prober;
pub use route::{Route, Target};

use crate::engine::Engine;
use crate::resource::probe::{Probe, ProbeRole, ProbeState, Probes};
use check::{Tried, attempt};

/// Runs each probe once, for a status that is read without a daemon. One passing answer is enough
/// and one failing one too; there is no history that thresholds could count.
pub async fn probe_once<E: Engine>(engine: &E, target: &Target, probes: &Probes) -> ProbeState {
    if target.paused {
        return ProbeState {
            started: true,
            ready: Some(false),
            message: "the container is paused".to_owned(),
            ..ProbeState::default()
        };
    }
    let ask = |probe: Option<&Probe>| {
        let probe = probe.cloned();
        async move {
            match probe {
                Some(probe) => Some(ask_over_routes(engine, target, &probe).await),
                None => None,
            }
        }
    };
    let ((startup, readiness), liveness) =
        join(join(ask(probes.startup.as_ref()), ask(probes.readiness.as_ref())), ask(probes.liveness.as_ref())).await;
    let passed = |tried: &Option<Asked>| tried.as_ref().is_none_or(|t| t.passed);
    let started = match (&startup, &readiness) {
        (None, readiness) => passed(readiness),
        (startup, _) => passed(startup),
    };
    let decider =
        if started { readiness.as_ref().or(startup.as_ref()) } else { startup.as_ref().or(readiness.as_ref()) };
    ProbeState {
        started,
        ready: Some(started && passed(&readiness)),
        live: liveness.as_ref().filter(|_| started).map(|t| t.passed),
        message: decider.map(|t| t.message.clone()).unwrap_or_default(),
        unreachable: decider.is_some_and(|t| t.unreachable),
    }
}

struct Asked {
    passed: bool,
    message: String,
    unreachable: bool,
}

/// Over the first route that leads anywhere.
async fn ask_over_routes<E: Engine>(engine: &E, target: &Target, probe: &Probe) -> Asked {
    let routes = route::routes(&probe.check, target);
    let mut last = None;
    for route in &routes {
        let Tried { passed, message, unroutable, .. } = attempt(engine, target, probe, route, None).await;
        last = Some(Asked { passed, message, unreachable: false });
        if !unroutable {
            break;
        }
    }
    last.unwrap_or_else(|| Asked { passed: false, message: route::no_route(&probe.check, target), unreachable: true })
}

/// In the order in which they come into play.
const ROLES: [ProbeRole; 3] = [ProbeRole::Startup, ProbeRole::Readiness, ProbeRole::Liveness];
