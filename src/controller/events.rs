//! What Docker says has changed. Every event is a hint: the job that it wakes reads what is true.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, info, warn};

use super::telling::Listening;
use super::wakes::Trigger;
use super::weather::is_absence;
use super::{Controller, Shared};
use crate::engine::{Engine, EngineError, EngineEvent, EngineInfo, EventKind};
use crate::resource::ResourceKey;
use crate::resource::adoption::COMPOSE_SERVICE;
use crate::resource::event::{Actor, EventReason};
use crate::resource::labels;
use crate::resource::status::Reason;

/// Before a stream that broke is opened again, and between questions to an engine that is away.
const RECONNECT: Duration = Duration::from_secs(1);

/// A stream that has been silent for so long is opened again where it was: the connection may be dead
/// without anybody having been told. Events are rare in a stack at rest.
const SILENCE: Duration = Duration::from_mins(5);

/// What the engine keeps for replaying.
const REPLAYED: usize = 256;

/// What has been heard already: a stream that is opened again repeats some of it.
#[derive(Debug, Default)]
struct Past {
    newest: Option<String>,
    opened_at: Option<String>,
    heard: VecDeque<(String, String, String)>,
}

impl Past {
    /// Events do not come strictly in the order of their times, so an old time alone means nothing.
    fn is_new(&mut self, event: &EngineEvent) -> bool {
        let it = (event.cursor.clone(), event.id.clone(), event.action.clone());
        let may_be_old = self.opened_at.as_deref().is_some_and(|at| event.cursor.as_str() <= at);
        if may_be_old && self.heard.contains(&it) {
            return false;
        }
        if self.newest.as_deref().is_none_or(|newest| newest < event.cursor.as_str()) {
            self.newest = Some(event.cursor.clone());
        }
        self.heard.push_back(it);
        if self.heard.len() > REPLAYED {
            self.heard.pop_front();
        }
        true
    }
}

impl<E: Engine> Controller<E> {
    /// Reads the event stream for ever, from `cursor` on (`sec.nnnnnnnnn` on the engine's clock).
    pub(super) async fn pump(&self, cursor: Option<String>) {
        let shared = &self.shared;
        let mut past = Past { newest: cursor, ..Past::default() };
        let mut listening = Listening::new(&shared.settings.stack);
        loop {
            past.opened_at = past.newest.clone();
            let mut events = shared.engine.events(past.newest.as_deref());
            let broken = loop {
                let death = listening.deaths.due();
                tokio::select! {
                    // Events first: the stream may end with one that matters. Cancel-safe: what is not
                    // returned stays in the stream.
                    biased;
                    event = events.next() => match event {
                        Some(Ok(event)) => {
                            if past.is_new(&event) {
                                shared.tell_event(&event, &mut listening);
                                shared.take_in(&event);
                            }
                        }
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    },
                    () = async { match death { Some(at) => sleep_until(at).await, None => pending().await } } => {
                        shared.tell_deaths(&mut listening);
                    }
                    // A call was not answered, and the stream says nothing: it may hang (P12).
                    () = shared.weather.doubted() => if let Err(error) = shared.engine.info().await {
                        break Some(error);
                    },
                    () = sleep(SILENCE) => break None,
                }
            };
            drop(events);
            if let Some(error) = broken {
                debug!("{error}");
                self.wait_for_engine().await;
                // The engine tells nothing of what ended while it was down, and keeps few events: the
                // list is the truth.
                shared.images.refresh();
                shared.fresh.engine_is_back(shared.seen.ask());
                for key in self.known() {
                    shared.look_again(key, Trigger::EngineEvent);
                }
            }
        }
    }

    /// Asks until it answers; says that it does not.
    async fn wait_for_engine(&self) {
        let shared = &self.shared;
        loop {
            match shared.engine.info().await {
                Ok(info) => {
                    self.is_there(&info);
                    // Also where it answers: a stream that breaks at once must not spin.
                    return sleep(RECONNECT).await;
                }
                Err(error) => self.is_away(&error),
            }
            sleep(RECONNECT).await;
        }
    }

    /// The engine answers: said once in the log and the history, where it had not.
    pub fn is_there(&self, info: &EngineInfo) {
        let shared = &self.shared;
        if let Some(outage) = shared.weather.answers(info, shared.clock.now()) {
            let outage = humantime::format_duration(Duration::from_secs(outage.as_secs()));
            info!("🐳 Docker answers again, after {outage}");
            let message = format!("the engine answers again, after {outage}");
            shared.tell(None, EventReason::EngineReachable, message, Actor::EnvManager);
        }
    }

    /// The engine does not answer: said once in the log and the history, and of every resource.
    pub fn is_away(&self, error: &EngineError) {
        let shared = &self.shared;
        if !is_absence(error) {
            debug!("{error}");
        }
        if shared.weather.is_away(error, shared.clock.now()) {
            warn!("Docker does not answer: {}; asking again until it does", error.message);
            shared.tell(None, EventReason::EngineUnreachable, error.message.clone(), Actor::Docker);
            self.say_away(error);
        }
    }
}

impl<E: Engine> Shared<E> {
    fn take_in(&self, event: &EngineEvent) {
        let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
        match event.kind {
            EventKind::Container if attribute(labels::STACK) == Some(&self.settings.stack) => {
                if let Some(service) = attribute(labels::SERVICE) {
                    self.look_again(ResourceKey::service(service), Trigger::EngineEvent);
                }
            }
            // Somebody else's container may have made way.
            EventKind::Container if matches!(event.action.as_str(), "die" | "destroy" | "rename") => {
                let in_conflict = self
                    .status
                    .snapshot()
                    .into_iter()
                    .filter(|(_, status)| matches!(status.reason, Reason::NameConflict | Reason::PortConflict));
                in_conflict.for_each(|(key, _)| self.look_again(key, Trigger::EngineEvent));
                self.look_at_adopters_of(event);
            }
            EventKind::Network | EventKind::Volume => {
                let name = attribute("name").unwrap_or(&event.id);
                let key = match event.kind {
                    EventKind::Network => ResourceKey::network(name),
                    _ => ResourceKey::volume(name),
                };
                // A network's coming and going is its own business …
                if self.desired.get(&key).is_some() {
                    self.look_again(key, Trigger::EngineEvent);
                }
                // … who is attached to it is that service's.
                if matches!(event.action.as_str(), "connect" | "disconnect")
                    && let Some(service) = attribute("container").and_then(|id| self.service_of(id))
                {
                    self.look_again(service, Trigger::EngineEvent);
                }
            }
            // One that was awaited may have been built or loaded by hand, or a tag may have moved.
            EventKind::Image => {
                self.images.refresh();
                self.look_at_users_of(event);
            }
            EventKind::Container => self.look_at_adopters_of(event),
        }
    }

    /// Services that may observe or take over the container of an event, which nobody owns.
    fn look_at_adopters_of(&self, event: &EngineEvent) {
        let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
        if attribute(labels::STACK).is_some() {
            return;
        }
        for (key, desired) in self.desired.snapshot() {
            let Some(service) = desired.spec.as_service() else { continue };
            let Some(whom) = service.spec.adopt.whom() else { continue };
            let composed = attribute(COMPOSE_SERVICE) == Some(whom.service.as_deref().unwrap_or(&service.name));
            let named = [attribute("name"), attribute("oldName").map(|n| n.trim_start_matches('/'))]
                .contains(&Some(&service.spec.container.name));
            let serves = || self.service_of(&event.id).as_ref() == Some(&key);
            if composed || named || serves() {
                self.look_again(key, Trigger::EngineEvent);
            }
        }
    }

    /// The service that a container serves, as far as statuses tell.
    pub(super) fn service_of(&self, container: &str) -> Option<ResourceKey> {
        let serves = |key: &ResourceKey| {
            self.status.get(key).is_some_and(|s| s.container.as_ref().is_some_and(|c| &*c.id.0 == container))
        };
        self.status.snapshot().into_keys().find(serves)
    }

    /// Services whose image an event may be about.
    fn look_at_users_of(&self, event: &EngineEvent) {
        if !matches!(event.action.as_str(), "tag" | "untag" | "load" | "import" | "pull" | "delete") {
            return;
        }
        let name = event.attributes.get("name").map_or(event.id.as_str(), String::as_str);
        for (key, desired) in self.desired.snapshot() {
            let uses = desired.spec.as_service().is_some_and(|s| {
                let image = s.spec.container.image.as_str();
                // `load` names an id; whatever it brought may be anybody's.
                image == name || image.starts_with(name) || event.action == "load"
            });
            if uses {
                self.look_again(key, Trigger::EngineEvent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Timestamp;

    fn event(cursor: &str, action: &str) -> EngineEvent {
        EngineEvent {
            kind: EventKind::Container,
            action: action.to_owned(),
            id: "c1".to_owned(),
            attributes: BTreeMap::new(),
            time: Timestamp(0),
            cursor: cursor.to_owned(),
        }
    }

    #[test]
    fn what_a_reopened_stream_repeats_is_heard_once_and_what_comes_late_is_heard() {
        let mut past = Past::default();
        assert!(past.is_new(&event("5.2", "die")));
        assert!(past.is_new(&event("5.1", "kill")), "late, and new");
        past.opened_at.clone_from(&past.newest);
        assert_eq!(past.newest.as_deref(), Some("5.2"));
        assert!(!past.is_new(&event("5.2", "die")));
        assert!(!past.is_new(&event("5.1", "kill")));
        assert!(past.is_new(&event("5.2", "destroy")), "of the same moment, and never heard");
        assert!(past.is_new(&event("5.3", "create")));
    }
}
