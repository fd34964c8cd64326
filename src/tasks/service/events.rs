//! StreamEvents.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use super::convert;
use super::refuse::{ending, of_store};
use crate::clock::Timestamp;
use crate::net::pull::Pull;
use crate::net::refuse::bad;
use crate::proto::orchestrator::v1;
use crate::tasks::hub::After;
use crate::tasks::queue::Queue;
use crate::tasks::store::TaskStore;
use crate::tasks::task::{EventType, Position, TaskEvent};

/// Events of one look.
const LOOK: usize = 200;
const MAX_TYPES: usize = 100;

/// Goes along the events from a position on.
pub struct Follow<S> {
    queue: Queue<S>,
    at: Position,
    events: VecDeque<Arc<TaskEvent>>,
    news: watch::Receiver<u64>,
}

impl<S: TaskStore> Follow<S> {
    pub fn after(queue: Queue<S>, at: Position) -> Self {
        let news = queue.hub.news();
        Self { queue, at, events: VecDeque::new(), news }
    }

    /// # Errors
    /// UNAVAILABLE: Redis is away.
    pub async fn from_now(queue: Queue<S>) -> Result<Self, Status> {
        let at = queue.store.newest().await.map_err(|e| of_store(&e))?;
        Ok(Self::after(queue, at))
    }

    /// # Errors
    /// UNAVAILABLE: the daemon is ending, or the store is needed and away.
    pub async fn next(&mut self) -> Result<Arc<TaskEvent>, Status> {
        loop {
            if self.queue.closing.is_cancelled() {
                return Err(ending());
            }
            if let Some(event) = self.events.pop_front() {
                self.at = event.position;
                return Ok(event);
            }
            self.news.mark_unchanged();
            match self.queue.hub.after(self.at, LOOK) {
                After::Events(events) => {
                    self.events.extend(events);
                    continue;
                }
                After::Gone => {
                    let events = self.queue.store.events(self.at, LOOK, Duration::ZERO).await;
                    self.events.extend(events.map_err(|e| of_store(&e))?.into_iter().map(Arc::new));
                    if !self.events.is_empty() {
                        continue;
                    }
                    // What lay between has been forgotten.
                    if let Some(newest) = self.queue.hub.newest() {
                        self.at = self.at.max(newest);
                    }
                }
                After::Nothing => {}
            }
            // Both are cancel-safe.
            tokio::select! {
                changed = self.news.changed() => changed.map_err(|_| ending())?,
                () = self.queue.closing.cancelled() => {}
            }
        }
    }
}

pub struct Events<S> {
    follow: Follow<S>,
    /// Empty: all.
    types: Vec<EventType>,
}

impl<S: TaskStore> Events<S> {
    /// # Errors
    /// INVALID_ARGUMENT: no such type or time. UNAVAILABLE: Redis is away.
    pub async fn begin(queue: Queue<S>, request: v1::StreamEventsRequest) -> Result<Self, Status> {
        let v1::StreamEventsRequest { event_types, since_timestamp } = request;
        if event_types.len() > MAX_TYPES {
            return Err(bad("event_types", "there are not so many"));
        }
        let read = |name: &String| {
            EventType::from_name(name).ok_or_else(|| {
                let known = EventType::ALL.map(EventType::name).join(", ");
                bad("event_types", &format!("there is no such type of event; there are {known}"))
            })
        };
        let types = event_types.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let since = u64::try_from(since_timestamp);
        let since = since.map_err(|_| bad("since_timestamp", "this is no time after 1970"))?;
        let follow = match since {
            0 => Follow::from_now(queue).await?,
            since => Follow::after(queue, Position { at: Timestamp(since - 1), number: u64::MAX }),
        };
        Ok(Self { follow, types })
    }
}

impl<S: TaskStore> Pull for Events<S> {
    type Message = v1::TaskEvent;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        loop {
            let event = self.follow.next().await?;
            if self.types.is_empty() || self.types.contains(&event.what) {
                return Ok(Some(convert::event(&event)));
            }
        }
    }
}
