//! What is told of what happens: to each listener on its own, and not always, in order or once.

use std::collections::{BTreeMap, VecDeque};

use futures_util::stream::{self, BoxStream};
use tokio::time::Instant;

use super::SimEngine;
use super::core::Core;
use super::faults::FaultKind;
use crate::clock::Timestamp;
use crate::engine::docker::call::Call;
use crate::engine::{EngineError, EngineEvent, ErrorKind, EventKind, Result};
use crate::resource::container::{ContainerId, NetworkId};

/// The engine's buffer, in events before filtering.
const KEPT: usize = 256;
/// What an exec makes: three events that nobody asks for, which push others out.
const EXEC_EVENTS: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Events {
    /// `None`: of a kind that nobody asks for.
    kept: VecDeque<Option<EngineEvent>>,
    listeners: BTreeMap<u64, Listener>,
    opened: u64,
    /// Makes each event's time its own, in nanoseconds.
    told: u64,
}

/// What is on its way to one listener, by when it arrives. The second number is the order of what
/// arrives together.
#[derive(Debug, Default)]
struct Listener {
    coming: BTreeMap<(Instant, u64), std::result::Result<EngineEvent, String>>,
    sent: u64,
}

impl Listener {
    fn send(&mut self, at: Instant, event: std::result::Result<EngineEvent, String>) {
        self.sent += 1;
        self.coming.insert((at, self.sent), event);
    }
}

impl Core {
    pub fn emit_container(&mut self, id: &ContainerId, action: &str, more: &[(&str, String)]) {
        let Some(unit) = self.containers.get(id) else { return };
        let mut attributes = unit.labels();
        attributes.insert("name".to_owned(), unit.name.clone());
        attributes.insert("image".to_owned(), unit.config.image.clone().unwrap_or_default());
        attributes.extend(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        self.emit(EventKind::Container, action, &id.0, attributes);
    }

    pub fn emit_attachment(&mut self, action: &str, id: &ContainerId, name: &str, network: Option<&NetworkId>) {
        let pairs = [("container", id.0.to_string()), ("name", name.to_owned()), ("type", "bridge".to_owned())];
        let attributes = pairs.map(|(k, v)| (k.to_owned(), v)).into();
        self.emit(EventKind::Network, action, network.map_or("", |id| &id.0), attributes);
    }

    pub fn emit(&mut self, kind: EventKind, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        self.events.told += 1;
        let nanos = self.now.0 * 1_000_000 + self.events.told % 1_000_000;
        let event = EngineEvent {
            kind,
            action: action.to_owned(),
            id: id.to_owned(),
            attributes,
            time: Timestamp(nanos / 1_000_000),
            cursor: format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000),
        };
        self.keep(Some(event.clone()));
        let numbers: Vec<_> = self.events.listeners.keys().copied().collect();
        for number in numbers {
            self.send(number, &event);
        }
    }

    fn send(&mut self, number: u64, event: &EngineEvent) {
        use FaultKind::{EventDoubled, EventLate, EventLost, EventReordered, StreamCut};
        let fault = self.dice.first(&[StreamCut, EventLost, EventDoubled, EventLate, EventReordered]);
        let delay = match fault {
            Some(EventLate) => self.dice.between(1_000, 10_000),
            Some(EventReordered) => self.dice.between(1, 100),
            _ => std::time::Duration::ZERO,
        };
        let at = self.at;
        let Some(listener) = self.events.listeners.get_mut(&number) else { return };
        match fault {
            Some(EventLost) => {}
            Some(StreamCut) => listener.send(at, Err("the connection was reset by the peer".to_owned())),
            Some(EventDoubled) => {
                listener.send(at, Ok(event.clone()));
                listener.send(at, Ok(event.clone()));
            }
            _ => listener.send(at + delay, Ok(event.clone())),
        }
    }

    fn keep(&mut self, event: Option<EngineEvent>) {
        if self.events.kept.len() == KEPT {
            self.events.kept.pop_front();
        }
        self.events.kept.push_back(event);
    }

    pub fn emit_exec(&mut self) {
        (0..EXEC_EVENTS).for_each(|_| self.keep(None));
    }

    /// All that listen are told, and have to open another one.
    pub fn cut_streams(&mut self, reason: &str) {
        let at = self.at;
        for listener in self.events.listeners.values_mut() {
            listener.send(at, Err(reason.to_owned()));
        }
    }

    /// An engine that was restarted remembers nothing.
    pub fn forget_events(&mut self) {
        self.events.kept.clear();
    }
}

/// Ends the listening when it is dropped.
struct Listening {
    engine: SimEngine,
    number: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.engine.lock().events.listeners.remove(&self.number);
    }
}

impl Listening {
    async fn next(&self) -> std::result::Result<EngineEvent, String> {
        loop {
            let changed = self.engine.changed();
            let mut next = None;
            {
                let mut core = self.engine.lock();
                core.advance();
                let (at, due) = (core.at, core.next_due());
                if let Some(listener) = core.events.listeners.get_mut(&self.number) {
                    let first = listener.coming.first_entry();
                    if let Some(first) = first {
                        if first.key().0 <= at {
                            return first.remove();
                        }
                        next = Some(first.key().0);
                    }
                }
                next = next.into_iter().chain(due).min();
            }
            self.engine.until(next, changed).await;
        }
    }
}

impl SimEngine {
    pub(super) fn event_stream(&self, cursor: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        enum Stage {
            Opening(SimEngine, Option<String>),
            Open(Listening),
            Over,
        }
        let opening = Stage::Opening(self.clone(), cursor.map(str::to_owned));
        let broken = |engine: &SimEngine, text: String| {
            EngineError::new(Call::Events.operation(), engine.address(), ErrorKind::Unreachable, text)
        };
        Box::pin(stream::unfold(opening, move |mut stage| async move {
            loop {
                match stage {
                    Stage::Over => return None,
                    Stage::Opening(engine, cursor) => {
                        let address = engine.address();
                        let opened = engine.read(Call::Events, &address, move |core| Ok(core.listen(cursor))).await;
                        match opened {
                            Ok(number) => stage = Stage::Open(Listening { engine, number }),
                            Err(error) => return Some((Err(error), Stage::Over)),
                        }
                    }
                    Stage::Open(listening) => match listening.next().await {
                        Ok(event) => return Some((Ok(event), Stage::Open(listening))),
                        Err(text) => return Some((Err(broken(&listening.engine, text)), Stage::Over)),
                    },
                }
            }
        }))
    }
}

impl Core {
    /// With what is still kept since then.
    fn listen(&mut self, cursor: Option<String>) -> u64 {
        self.events.opened += 1;
        let mut listener = Listener::default();
        if let Some(cursor) = cursor {
            let time = |text: &str| -> Option<(u64, u64)> {
                let (seconds, nanos) = text.split_once('.')?;
                Some((seconds.parse().ok()?, nanos.parse().ok()?))
            };
            let since = time(&cursor).unwrap_or_default();
            for event in self.events.kept.iter().flatten() {
                // The cursor's own event is told once more.
                if time(&event.cursor).unwrap_or_default() >= since {
                    listener.send(self.at, Ok(event.clone()));
                }
            }
        }
        self.events.listeners.insert(self.events.opened, listener);
        self.events.opened
    }
}
