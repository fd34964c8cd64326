//! Between the daemon and its engine, and beside the engine: sees each call before it takes effect, each event, and
//! every now and then everything; and judges what it sees.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use env_manager::resource::labels::part_of;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::calls::Call;
use crate::judge::State;
use crate::model::{SERVICES, Source};
use crate::proxy::Rules;
use crate::trace::{Trace, lock};
use crate::world::World;

/// Label of what is somebody else's.
pub const FOREIGN: &str = "em-chaos.foreign";
/// Container, network and volume that nobody may touch.
pub const CANARY: &str = "em-chaos-canary";
/// What stands in the named volume.
pub const MARK: &str = "kept";

pub struct Witness {
    pub stack: String,
    /// The engine's own.
    pub socket: PathBuf,
    /// The named volume, and the file of that mark in it as this machine sees it.
    pub volume: String,
    pub mark: PathBuf,
    pub trace: Arc<Trace>,
    pub state: Mutex<State>,
}

impl Witness {
    pub fn world(&self) -> Option<World> {
        // The engine may be frozen: nobody else is to wait for it.
        tokio::task::block_in_place(|| World::read(&self.socket))
    }

    /// By a container's name, parts of replacements included.
    pub fn service_named(&self, container: &str) -> Option<&'static str> {
        let base = part_of(container).and_then(|part| container.strip_suffix(part)).unwrap_or(container);
        let name = base.strip_prefix(&self.stack)?.strip_prefix('-')?;
        SERVICES.into_iter().find(|service| *service == name)
    }

    /// From now on the manifests are these; those before may still be the ones that were read last.
    pub fn described(&self, source: Source) {
        lock(&self.state).sources.push(source);
    }

    /// We do something to it, or have just done it.
    pub fn disturb(&self, services: &[&str]) {
        let mut state = lock(&self.state);
        for service in services {
            state.disturbed.insert((*service).to_owned(), Instant::now());
        }
    }

    pub fn engine_is_shaken(&self) {
        lock(&self.state).shaken = Some(Instant::now());
        self.disturb(&SERVICES);
    }

    pub fn daemon_died(&self) {
        lock(&self.state).in_flight.clear();
    }

    fn begun(&self, line: &str, call: &Call) {
        let world = self.world();
        let container = (call.kind == "containers").then(|| world.as_ref()?.container(&call.target)).flatten();
        let name = container.map_or(call.target.clone(), |c| format!("{} ({})", c.name, c.state));
        let to = call.argument("name").filter(|_| call.verb == "rename").map(|n| format!(" to {n}"));
        self.trace.add("we", &format!("{} {} {name}{}", call.verb, call.kind, to.unwrap_or_default()));
        *lock(&self.state).calls.entry(format!("{} {}", call.verb, call.kind)).or_default() += 1;
        let verdicts = self.judge(line, call, world.as_ref());
        for verdict in verdicts {
            self.trace.fail(format!("{verdict} ({} {name})", call.verb));
        }
    }

    /// Looks at everything, for ever.
    pub async fn look_on(self: Arc<Self>) {
        loop {
            if let Some(world) = self.world() {
                for verdict in self.look(&world) {
                    self.trace.fail(verdict);
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Follows the engine's events, for ever.
    pub async fn listen(self: Arc<Self>) {
        let mut since: Option<String> = None;
        loop {
            let client = self
                .socket
                .to_str()
                .and_then(|socket| bollard::Docker::connect_with_unix(socket, 120, bollard::API_DEFAULT_VERSION).ok());
            if let Some(client) = client {
                let negotiated = client.negotiate_version().await;
                if let Ok(client) = negotiated {
                    let mut events =
                        client.events(Some(EventsOptions { since: since.clone(), until: None, filters: None }));
                    while let Some(Ok(event)) = events.next().await {
                        let nanos = event.time_nano.unwrap_or_default() + 1;
                        since = Some(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
                        self.heard(&event);
                    }
                }
            }
            lock(&self.state).serving.clear();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn heard(&self, event: &EventMessage) {
        let action = event.action.clone().unwrap_or_default();
        // Probes, and looks at the files of what is stopped.
        if ["exec_", "archive-path", "mount", "unmount"].iter().any(|reads| action.starts_with(reads)) {
            return;
        }
        let kind = event.typ.as_ref().map(ToString::to_string).unwrap_or_default();
        let actor = event.actor.clone().unwrap_or_default();
        let (id, attributes): (_, BTreeMap<_, _>) =
            (actor.id.unwrap_or_default(), actor.attributes.into_iter().flatten().collect());
        let attribute = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        if kind == "container" {
            let mut state = lock(&self.state);
            match action.as_str() {
                "start" | "unpause" => drop(state.serving.insert(id.clone(), Instant::now())),
                "die" | "kill" | "stop" | "pause" | "destroy" => drop(state.serving.remove(&id)),
                _ => {}
            }
        }
        if kind == "volume" && action == "destroy" && [CANARY, &self.volume].contains(&id.as_str()) {
            self.trace.fail(format!("P7: the volume {id} was removed"));
        }
        let short: String = id.chars().take(12).collect();
        let more: String = [("exitCode", "code"), ("signal", "signal"), ("oldName", "was"), ("container", "container")]
            .into_iter()
            .filter_map(|(key, word)| {
                Some(format!(", {word} {}", attributes.get(key)?.chars().take(60).collect::<String>()))
            })
            .collect();
        self.trace.add("engine", &format!("{kind} {action} {} {short}{more}", attribute("name")));
    }
}

/// What the proxy hands over to a witness that others have, too.
pub struct Passing(pub Arc<Witness>);

impl Rules for Passing {
    fn request(&self, head: &str) -> Result<String, String> {
        let line = head.lines().next().unwrap_or_default();
        if let Some(call) = Call::of(line) {
            self.0.begun(line, &call);
        }
        Ok(head.to_owned())
    }

    fn version(&self, body: &str) -> String {
        body.to_owned()
    }

    fn over(&self, line: &str) {
        let flight = lock(&self.0.state).in_flight.remove(line);
        if let Some(verdict) = flight.and_then(|flight| flight.was_overtaken(line)) {
            self.0.trace.fail(verdict);
        }
    }
}
