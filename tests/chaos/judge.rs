//! What each promise says of a call of the daemon, and of everything at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use env_manager::resource::labels::{FAILED, OLD, part_of};
use tokio::time::Instant;

use crate::calls::Call;
use crate::model::{DEAF, LAG, SERVICES, Source, possible};
use crate::stack::text;
use crate::trace::lock;
use crate::witness::{CANARY, FOREIGN, MARK, Witness};
use crate::world::{Container, Object, World, get};

/// What is done to a service so shortly after an act of the test may have been decided before it.
const DISTURBED: Duration = Duration::from_secs(3);
/// From the end of an answer to the moment at which it is noticed, at most.
const ANSWERED: Duration = Duration::from_millis(100);
/// A container that has run for so long is one that updates must not take away.
pub const SERVES: Duration = Duration::from_secs(5);
/// An engine that was ended is as before after this.
const SHAKEN: Duration = Duration::from_secs(15);

/// A call that is not answered yet, or whose answer has just been handed on.
pub struct Flight {
    service: String,
    /// Since when another one for the service is under way, too.
    overtaken: Option<(Instant, String)>,
}

impl Flight {
    /// P2, once it is over: the answer may have been read before its end was noticed here.
    pub fn was_overtaken(self, line: &str) -> Option<String> {
        let (since, by) = self.overtaken?;
        (since.elapsed() > ANSWERED).then(|| format!("P2: {by} was begun while another call was under way: {line}"))
    }
}

#[derive(Default)]
pub struct State {
    pub sources: Vec<Source>,
    /// When a service was last touched by an act.
    pub disturbed: BTreeMap<String, Instant>,
    /// Suspended by a verb, since when.
    pub suspended: BTreeMap<String, Instant>,
    pub restart_asked: BTreeMap<String, Instant>,
    /// Running containers: since when without a break.
    pub serving: BTreeMap<String, Instant>,
    /// When the engine was last ended, started or frozen.
    pub shaken: Option<Instant>,
    /// Calls of the daemon that are not answered yet, by their request lines.
    pub in_flight: BTreeMap<String, Flight>,
    /// Ids of what is to stay: canaries and the named volume.
    pub stays: BTreeMap<String, String>,
    /// The volume has been marked.
    pub marked: bool,
    /// How often each was called by the daemon.
    pub calls: BTreeMap<String, u64>,
    /// Containers that were set aside for a new one, and new ones that were taken back.
    pub replaced: u64,
    pub refused: u64,
}

impl State {
    fn is_within(of: Option<&Instant>, period: Duration) -> bool {
        of.is_some_and(|when| when.elapsed() < period)
    }

    fn is_disturbed(&self, service: &str) -> bool {
        Self::is_within(self.disturbed.get(service), DISTURBED)
    }

    /// Somebody may have read that nobody describes it, and nothing else was wrong.
    fn may_be_pruned(&self, service: &str) -> bool {
        possible(&self.sources, Instant::now()).any(|s| s.whole && !s.described.contains(service))
    }

    fn may_be_whole(&self) -> bool {
        possible(&self.sources, Instant::now()).any(|s| s.whole)
    }
}

impl Witness {
    /// Of a call that is about to be made. `world`: as it is before.
    pub fn judge(&self, line: &str, call: &Call, world: Option<&World>) -> Vec<String> {
        match call.kind.as_str() {
            "containers" => self.judge_container(line, call, world),
            "networks" => world.and_then(|world| self.judge_network(call, world)).into_iter().collect(),
            "volumes" if call.verb == "remove" => {
                let volume = world.and_then(|world| world.volumes.iter().find(|v| v.name == call.target));
                let verdict = volume.filter(|v| !v.is_lease()).map(|v| format!("P7: removes the volume {}", v.name));
                verdict.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn judge_container(&self, line: &str, call: &Call, world: Option<&World>) -> Vec<String> {
        let mut verdicts = Vec::new();
        let found = world.and_then(|world| world.container(&call.target));
        let created = (call.verb == "create").then(|| self.service_named(&call.target)).flatten();
        let service = found.filter(|_| created.is_none()).map_or(created, |c| c.service(&self.stack));
        let Some(service) = service else {
            let not_ours = found.filter(|_| call.verb != "create");
            return not_ours
                .map(|c| format!("P4: {} of {}, which is not ours", call.verb, c.name))
                .into_iter()
                .collect();
        };
        let mut state = lock(&self.state);
        for other in state.in_flight.values_mut().filter(|other| other.service == service) {
            other.overtaken.get_or_insert_with(|| (Instant::now(), line.to_owned()));
        }
        state.in_flight.insert(line.to_owned(), Flight { service: service.to_owned(), overtaken: None });
        let (Some(world), Some(container)) = (world, found.filter(|_| created.is_none())) else { return verdicts };
        let others: Vec<_> =
            world.of(&self.stack, service).filter(|c| c.id != container.id && c.state != "removing").collect();
        let is_held = state.suspended.get(service).is_some_and(|since| since.elapsed() > LAG);
        // What was begun with a stop goes on to the start.
        if is_held && others.is_empty() && part_of(&container.name).is_none() {
            verdicts.push(format!("P19: {service} is suspended"));
        }
        match call.verb.as_str() {
            "rename" => match call.argument("name").and_then(part_of) {
                Some(OLD) => state.replaced += 1,
                Some(FAILED) => state.refused += 1,
                _ => {}
            },
            "remove" => {
                if call.is("v") {
                    verdicts.push(format!("P7: removes {} with its volumes", container.name));
                }
                verdicts.extend(self.removal(&state, service, container, &others));
            }
            "stop" | "kill" => verdicts.extend(stop(&state, service, container, &others)),
            _ => {}
        }
        verdicts
    }

    /// P5, P6, P9: the last container of a service.
    fn removal(&self, state: &State, service: &str, gone: &Container, others: &[&Container]) -> Option<String> {
        if state.is_disturbed(service) || state.may_be_pruned(service) {
            return None;
        }
        if gone.name.ends_with(OLD) && gone.image != DEAF && others.len() == 1 && others[0].image == DEAF {
            return Some(format!("P9: {} goes, and the new one is never ready", gone.name));
        }
        if !others.is_empty() {
            return None;
        }
        // One that never served is made anew where it cannot be started.
        let inspected = tokio::task::block_in_place(|| get(&self.socket, &format!("/containers/{}/json", gone.id)))?;
        let served = gone.state != "created" && gone.state != "dead" && text(&inspected["State"]["Error"]).is_empty();
        served.then(|| match state.sources.last() {
            Some(newest) if newest.described.contains(service) => {
                format!("P9: nothing is left of {service}, which is described")
            }
            _ => format!("P5, P6: {service} is pruned, and no source that nobody describes it in was whole"),
        })
    }

    fn judge_network(&self, call: &Call, world: &World) -> Option<String> {
        if call.verb != "remove" {
            return None;
        }
        let network = world.networks.iter().find(|n| n.id == call.target || n.name == call.target)?;
        if !network.is_ours(&self.stack) {
            return Some(format!("P4: removes the network {}, which is not ours", network.name));
        }
        // One too many of a name may go.
        let alone = world.networks.iter().filter(|n| n.name == network.name).count() == 1;
        let state = lock(&self.state);
        (alone && !state.may_be_whole()).then(|| format!("P6: removes the network {}", network.name))
    }

    /// Of everything at one moment.
    pub fn look(&self, world: &World) -> Vec<String> {
        let mut verdicts = Vec::new();
        let mut state = lock(&self.state);
        let shaken = State::is_within(state.shaken.as_ref(), SHAKEN);
        let canary = world.container(CANARY);
        let by_name = |of: &[Object], name: &str| of.iter().find(|o| o.name == name).map(|o| o.id.clone());
        let canary_id = canary.map(|c| c.id.clone());
        for (what, id) in [
            ("P4: the foreign container", canary_id),
            ("P4: the foreign network", by_name(&world.networks, CANARY)),
            ("P4: the foreign volume", by_name(&world.volumes, CANARY)),
            ("P7: the named volume", by_name(&world.volumes, &self.volume)),
        ] {
            match (state.stays.get(what), id) {
                (None, Some(id)) => drop(state.stays.insert(what.to_owned(), id)),
                (Some(before), id) if Some(before) != id.as_ref() => {
                    verdicts.push(format!("{what} was {before} and is {id:?}"));
                }
                _ => {}
            }
        }
        if let Some(canary) = canary.filter(|c| !shaken && (c.state != "running" || c.networks != [CANARY])) {
            verdicts.push(format!("P4: the foreign container is {canary:?}"));
        }
        if state.marked {
            let mark = std::fs::read_to_string(&self.mark).unwrap_or_else(|e| e.to_string());
            if mark.trim() != MARK {
                verdicts.push(format!("P7: the mark in the named volume is `{mark}`"));
            }
        }
        for container in &world.containers {
            if container.service(&self.stack).is_none() && !container.has(FOREIGN) {
                verdicts.push(format!("P4: {} was made without labels", container.name));
            }
        }
        let objects = world.networks.iter().filter(|n| !["bridge", "host", "none"].contains(&n.name.as_str()));
        for object in objects.chain(&world.volumes) {
            if !object.is_ours(&self.stack) && !object.is_lease() && !object.has(FOREIGN) {
                verdicts.push(format!("P4: {} was made without labels", object.name));
            }
        }
        verdicts
    }
}

/// P9: what serves is not stopped with nothing made to replace it.
fn stop(state: &State, service: &str, ended: &Container, others: &[&Container]) -> Option<String> {
    let serves = state.serving.get(&ended.id).is_some_and(|since| since.elapsed() > SERVES);
    let is_asked = State::is_within(state.restart_asked.get(service), LAG);
    if ended.state != "running" || !serves || part_of(&ended.name).is_some() || ended.image == DEAF {
        return None;
    }
    if is_asked || state.is_disturbed(service) || state.may_be_pruned(service) {
        return None;
    }
    let replacement = others.iter().any(|c| c.state == "created" || c.state == "running");
    (!replacement).then(|| format!("P9: stops {service}, which serves, with nothing made to replace it"))
}

/// Everything that is to be there in the end.
pub fn left_over(world: &World, stack: &str) -> Vec<String> {
    let is_expected = |c: &Container| {
        let name = c.name.strip_prefix(stack).and_then(|n| n.strip_prefix('-')).unwrap_or_default();
        // Refused, and kept for its logs.
        let refused = name.strip_suffix(FAILED).is_some_and(|n| SERVICES.contains(&n)) && c.state != "running";
        SERVICES.contains(&name) || refused
    };
    let ours = world.containers.iter().filter(|c| c.service(stack).is_some() && !is_expected(c));
    ours.map(|c| format!("{} ({})", c.name, c.state)).collect()
}
