//! Services: create, start, replace, stop, remove.
//!
//! A replace goes through names that tell a fresh process how far it has come (P9, P11;
//! `docs/replace.md`):
//!
//! | on the engine | what it means, and what comes next |
//! |---|---|
//! | `kafka` | nothing is under way |
//! | `kafka`, `kafka.next` | the new one is made: complete it, stop the old one, swap names |
//! | `kafka.old`, `kafka.next` | the old one is stopped: the new one takes the name and starts |
//! | `kafka.old`, `kafka` | the new one has started: once it is Ready, remove the old one |
//! | `kafka`, `kafka.next` running | the new one was started first: once it is Ready, swap names, drain, remove the old one |
//! | `kafka.old`, `kafka.next` running | the swap was begun: the new one takes the name |
//! | `kafka.old` | the new one was lost: create it again; while that has to wait, the old one serves |
//! | `kafka`, `kafka.failed` | the new one did not become Ready: the old one serves again |
//!
//! | file | what |
//! |---|---|
//! | [`adopt`] | what is not ours, and may be observed or taken over |
//! | [`cast`] | which container plays which part |
//! | [`run`] | what should run: one decision per state |
//! | [`replace`] | from one container to the next |
//! | [`start_first`] | the same, with the next one started beside it |
//! | [`rollback`] | back to the one before, and not again |
//! | [`crash`] | what ended by itself, and how long it is held back |
//! | [`dependent`] | what is restarted with a service that it needs |
//! | [`hold`] | what should not run, or be left as it is |
//! | [`gates`] | what must hold before something is created or started |
//! | [`create`] | everything that a container is created with |
//! | [`attach`] | networks and namespaces |
//! | [`in_place`] | limits and files that are changed in place |
//! | [`steps`] | the few sequences that all of these share |

mod adopt;
mod attach;
mod cast;
mod crash;
mod create;
mod dependent;
mod gates;
mod hold;
mod in_place;
mod replace;
mod rollback;
mod run;
mod start_first;
mod steps;

use std::sync::Arc;
use std::time::Duration;

pub use attach::{namespace_hosts, pick_network};
pub use create::file_bind;

use self::run::{Measure, Run};
use super::draft::Draft;
use super::readiness::{Verdict, summary, verdict};
use super::types::{Mode, Plan, PlanContext};
use crate::resource::ResourceKey;
use crate::resource::desired::Service;
use crate::resource::observed::{Container, RunState, ServiceObserved};
use crate::resource::spec::DesiredState;
use crate::resource::status::Reason;

/// A removal that is under way is looked at again after this; the event of its end comes first.
const REMOVAL_POLL: Duration = Duration::from_secs(1);
/// A conflict that may have gone is looked at again after this.
const CONFLICT_POLL: Duration = Duration::from_secs(30);

pub fn plan(
    key: &ResourceKey,
    generation: u64,
    service: Option<&Arc<Service>>,
    observed: &ServiceObserved,
    cx: &PlanContext<'_>,
) -> Plan {
    let draft = Draft::new(key, cx, Verdict::new(false, Reason::Pending, "nothing runs yet"));
    let run = |draft, service, measure| {
        let run = Run::new(service, generation, observed, cx, measure);
        match rollback::refusal(&run) {
            Some(why) => rollback::keep(draft, &run, &why),
            None => run.decide(draft),
        }
    };
    let draft = match (cx.mode, service) {
        (Mode::Removing, service) => hold::remove(draft, service, observed, cx),
        (Mode::Suspended, service) => hold::suspended(draft, service, observed, cx),
        (Mode::Frozen, None) => hold::frozen(draft, observed, cx),
        // Not asked for and not to be removed: nothing is known of it, so nothing is done.
        (Mode::Normal, None) => draft,
        (Mode::Normal, Some(service)) => match service.spec.state {
            DesiredState::Running => run(draft, service, Measure::Spec),
            DesiredState::Stopped => hold::stop(draft, service, observed),
        },
        // P5: the last good spec goes on, but nothing that exists is compared with it.
        (Mode::Frozen, Some(service)) => {
            let draft = match service.spec.state {
                DesiredState::Running => run(draft, service, Measure::Nothing),
                DesiredState::Stopped => hold::stop(draft, service, observed),
            };
            hold::broken(draft, generation, cx)
        }
    };
    draft.finish()
}

/// The container that serves: what is said of it, and that it is to be probed.
fn say_container(
    draft: &mut Draft<'_>,
    service: &Service,
    container: &Container,
    observed: &ServiceObserved,
    cx: &PlanContext<'_>,
) {
    draft.container = Some(summary(container, observed));
    if container.state == RunState::Running && !service.spec.probes.is_empty() {
        draft.probe(container.id.clone());
    }
    draft.verdict = verdict(service, container, cx);
}
