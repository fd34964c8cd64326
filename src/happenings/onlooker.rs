//! What others did on the engine, or what happened there by itself (`docs/events.md` has the orders of
//! events that were seen).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::happening;
use crate::clock::Timestamp;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::labels;
use crate::resource::units::Bytes;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Container,
    Network,
    Volume,
    Image,
}

/// One event of the engine, and what is known beside it.
#[derive(Clone, Debug)]
pub struct EngineFact<'a> {
    pub thing: Thing,
    /// `die`, `kill`, …
    pub action: &'a str,
    pub id: &'a str,
    pub attributes: &'a BTreeMap<String, String>,
    /// On the engine's clock.
    pub time: Timestamp,
    /// env-manager did it itself just now: the step has told of it.
    pub own: bool,
    /// Of ours: of `connect` and `disconnect` the service whose container it is, of other events of
    /// networks and volumes that resource, of images a service that uses the image. `None`: nobody's.
    /// Events of containers say it themselves, by their labels.
    pub about: Option<ResourceKey>,
    /// The container ran before the event, as far as is known.
    pub running: bool,
    /// Its service may run to its end: exit code 0 is told by its status.
    pub completes: bool,
    /// Of its container.
    pub memory: Option<Bytes>,
    /// At a `die`: inspect says that it is being removed, or finds it no more. The `destroy` that
    /// follows tells; where this is not asked for, there are two lines.
    pub removing: bool,
}

/// What was seen of one container so far.
#[derive(Debug, Default)]
struct Run {
    /// The first signal that Docker was asked to send since its start, and when. Not our own.
    signal: Option<(String, Timestamp)>,
    /// Its process has ended, or has not begun; `None`: not seen.
    ended: Option<bool>,
    /// Somebody ended it or made it: what starts it is somebody, not Docker.
    by_others: bool,
    out_of_memory: Option<Timestamp>,
    /// Networks that it was taken off: the engine tells it twice.
    left: BTreeSet<String>,
}

/// Remembers what belongs together: a `kill` and the `die` after it. Bounded.
#[derive(Debug)]
pub struct Onlooker {
    stack: Arc<str>,
    runs: BTreeMap<String, Run>,
}

/// Containers remembered. Those that are removed are forgotten; this is for events that are lost.
const MAX_RUNS: usize = 4_096;

/// Signals that programs take for news and not for their end, unless they end within this time.
const NEWS: &[&str] = &["1", "10", "12", "17", "18", "19", "20", "23", "28"];
const SOON: Duration = Duration::from_secs(10);

const KILL: &str = "9";

impl Onlooker {
    pub fn new(stack: impl Into<Arc<str>>) -> Self {
        Self { stack: stack.into(), runs: BTreeMap::new() }
    }

    /// Takes an event in, in the engine's order, and says what is to be told of it.
    pub fn see(&mut self, fact: &EngineFact<'_>) -> Option<Happening> {
        match (fact.thing, fact.action) {
            (Thing::Container, _) => self.see_container(fact),
            (Thing::Network, "connect" | "disconnect") => self.see_attachment(fact),
            _ if fact.own => None,
            (Thing::Network, "destroy") => {
                let message = "network removed outside env-manager (docker network rm)";
                Some(happening(fact.about.as_ref()?, EventReason::NetworkGone, message, Actor::Outside))
            }
            (Thing::Volume, "destroy") => {
                let message = "volume removed outside env-manager (docker volume rm); its data is gone";
                Some(happening(fact.about.as_ref()?, EventReason::VolumeGone, message, Actor::Outside))
            }
            // `untag` names the image's id and not the tag.
            (Thing::Image, "tag" | "load" | "pull" | "import") => {
                let name = fact.attributes.get("name").map_or(fact.id, String::as_str);
                let message = format!("image {name} was renewed outside env-manager (docker {})", fact.action);
                Some(happening(fact.about.as_ref()?, EventReason::ImageMoved, message, Actor::Outside))
            }
            _ => None,
        }
    }

    fn see_container(&mut self, fact: &EngineFact<'_>) -> Option<Happening> {
        let attribute = |name: &str| fact.attributes.get(name).map(String::as_str);
        if attribute(labels::STACK) != Some(&*self.stack) {
            return None;
        }
        let key = ResourceKey::service(attribute(labels::SERVICE)?);
        let outside = |reason, message: &str| Some(happening(&key, reason, message, Actor::Outside));
        if fact.action == "destroy" {
            self.runs.remove(fact.id);
            let message = "container removed outside env-manager (docker rm)";
            return (!fact.own).then(|| happening(&key, EventReason::ContainerGone, message, Actor::Outside));
        }
        let run = self.run(fact.id);
        match fact.action {
            "create" => {
                run.ended = Some(true);
                run.by_others = !fact.own;
            }
            "start" => {
                let by_others = run.by_others;
                *run = Run { ended: Some(false), ..Run::default() };
                if by_others && !fact.own {
                    return outside(EventReason::ContainerStarted, "started outside env-manager (docker start)");
                }
                return None;
            }
            "kill" if !fact.own => {
                let signal = attribute("signal").unwrap_or(KILL);
                let is_news = |s: &str| NEWS.contains(&s);
                // A later one counts where the first was but news.
                if run.signal.as_ref().is_none_or(|(first, _)| is_news(first)) {
                    run.signal = Some((signal.to_owned(), fact.time));
                }
                return None;
            }
            "oom" => {
                let first = run.out_of_memory.is_none_or(|at| fact.time.since(at) > SOON);
                run.out_of_memory = Some(fact.time);
                let limit = fact.memory.map(|m| format!(" (limit {})", size(m))).unwrap_or_default();
                let message = format!("killed by the kernel: out of memory{limit}");
                // It may take several processes one after another.
                return first.then(|| happening(&key, EventReason::OutOfMemory, message, Actor::Docker));
            }
            "die" => return run.died(&key, fact),
            _ => {}
        }
        if fact.own {
            return None;
        }
        match fact.action {
            "create" => outside(EventReason::ContainerCreated, "container created outside env-manager"),
            "pause" => outside(EventReason::ContainerPaused, "paused outside env-manager; it is left alone"),
            "unpause" => outside(EventReason::ContainerUnpaused, "unpaused outside env-manager"),
            "update" => {
                let message = "limits or restart policy changed outside env-manager (docker update)";
                outside(EventReason::ContainerUpdated, message)
            }
            "rename" => {
                let old = attribute("oldName").unwrap_or_default().trim_start_matches('/');
                let new = attribute("name").unwrap_or_default();
                let message = format!("renamed outside env-manager: {old} → {new}");
                outside(EventReason::ContainerRenamed, &message)
            }
            _ => None,
        }
    }

    /// Every start and end has them too, and then they say nothing.
    fn see_attachment(&mut self, fact: &EngineFact<'_>) -> Option<Happening> {
        let attribute = |name: &str| fact.attributes.get(name).map(String::as_str);
        let (container, network) = (attribute("container")?, attribute("name").unwrap_or(fact.id));
        let key = fact.about.as_ref()?;
        let run = self.run(container);
        if run.ended.unwrap_or(!fact.running) {
            return None;
        }
        if fact.action == "connect" {
            run.left.remove(network);
            let message = format!("connected to network {network} outside env-manager");
            return (!fact.own).then(|| happening(key, EventReason::NetworkConnected, message, Actor::Outside));
        }
        let first = run.left.insert(network.to_owned());
        let message = format!("taken off network {network} outside env-manager (docker network disconnect)");
        (first && !fact.own).then(|| happening(key, EventReason::NetworkDisconnected, message, Actor::Outside))
    }

    fn run(&mut self, id: &str) -> &mut Run {
        if self.runs.len() >= MAX_RUNS && !self.runs.contains_key(id) {
            // Any: what is lost is a better word for how it ends.
            self.runs.pop_first();
        }
        self.runs.entry(id.to_owned()).or_default()
    }
}

impl Run {
    fn died(&mut self, key: &ResourceKey, fact: &EngineFact<'_>) -> Option<Happening> {
        self.ended = Some(true);
        let soon = |at: &Timestamp| fact.time.since(*at) <= SOON;
        let signal = self.signal.take().filter(|(s, at)| !NEWS.contains(&s.as_str()) || soon(at));
        let out_of_memory = self.out_of_memory.take().is_some_and(|at| soon(&at));
        if fact.own {
            self.by_others = false;
            return None;
        }
        self.by_others = signal.is_some();
        let code = fact.attributes.get("exitCode").map(String::as_str);
        let outside = |reason, message: &str| Some(happening(key, reason, message, Actor::Outside));
        match signal.as_ref().map(|(s, _)| s.as_str()) {
            Some(_) if fact.removing => None,
            Some(KILL) => outside(EventReason::ContainerKilled, "killed outside env-manager (SIGKILL)"),
            Some(_) => outside(EventReason::ContainerStopped, "stopped outside env-manager (docker stop)"),
            // Told already.
            None if out_of_memory && code == Some("137") => None,
            None if fact.completes && code == Some("0") => None,
            None => {
                let with = code.map(|c| format!(" with exit code {c}")).unwrap_or_default();
                Some(happening(key, EventReason::Exited, format!("process ended{with}"), Actor::Docker))
            }
        }
    }
}

/// `64 MiB`.
fn size(bytes: Bytes) -> String {
    let text = bytes.to_string();
    match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(unit) => format!("{} {}", &text[..unit], &text[unit..]),
        None => format!("{text} bytes"),
    }
}
