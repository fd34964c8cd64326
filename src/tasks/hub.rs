//! What happens to tasks, told to whoever waits for it: one reader of the store's events for all.
//!
//! The last events are kept here. A stream has a position of its own among them, so that who reads slowly holds up
//! nobody; one that has fallen behind reads the store itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::store::TaskStore;
use super::task::{EventType, Position, TaskEvent, TaskId};

/// Events that are kept here.
const KEPT: usize = 4_096;
/// Of one read.
const READ: usize = 1_000;
/// How long a read waits for an event.
const WAIT: Duration = Duration::from_secs(2);
/// After a read that failed.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub struct Hub {
    ring: Mutex<Ring>,
    /// Counts what came.
    news: watch::Sender<u64>,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Ring {
    /// All events after it are here; `None`: none has been read yet.
    from: Option<Position>,
    events: VecDeque<Arc<TaskEvent>>,
}

#[derive(Debug, Default)]
struct Waiters {
    by_task: BTreeMap<TaskId, Vec<(u64, Arc<Ended>)>>,
    next: u64,
}

/// What comes after a position.
#[derive(Debug, PartialEq, Eq)]
pub enum After {
    Events(Vec<Arc<TaskEvent>>),
    Nothing,
    /// It is too far back: the store has what follows.
    Gone,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is done under these locks cannot panic half-way.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Wakes with everything that comes. Look after having taken it, and after each wake.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub fn after(&self, position: Position, limit: usize) -> After {
        let ring = lock(&self.ring);
        if ring.from.is_none_or(|from| position < from) {
            return After::Gone;
        }
        let first = ring.events.partition_point(|event| event.position <= position);
        let events: Vec<_> = ring.events.range(first..).take(limit).cloned().collect();
        if events.is_empty() { After::Nothing } else { After::Events(events) }
    }

    /// Of the newest event that was read.
    pub fn newest(&self) -> Option<Position> {
        let ring = lock(&self.ring);
        ring.events.back().map(|event| event.position).or(ring.from)
    }

    /// Is told when one of these tasks ends. Take it before looking whether they have.
    pub fn wait_for(self: &Arc<Self>, tasks: impl IntoIterator<Item = TaskId>) -> Waiter {
        let ended = Arc::new(Ended::default());
        let mut waiters = lock(&self.waiters);
        waiters.next += 1;
        let number = waiters.next;
        let mut waiter = Waiter { hub: Arc::clone(self), number, tasks: Vec::new(), ended };
        for task in tasks {
            waiters.by_task.entry(task.clone()).or_default().push((number, Arc::clone(&waiter.ended)));
            waiter.tasks.push(task);
        }
        waiter
    }

    /// Makes known what was read.
    fn tell(&self, events: Vec<TaskEvent>) {
        if events.is_empty() {
            return;
        }
        let count = events.len() as u64;
        {
            let waiters = lock(&self.waiters);
            for event in events.iter().filter(|event| is_end(event.what)) {
                for (_, ended) in waiters.by_task.get(&event.id).into_iter().flatten() {
                    lock(&ended.tasks).push_back(event.id.clone());
                    ended.notify.notify_one();
                }
            }
        }
        {
            let mut ring = lock(&self.ring);
            ring.events.extend(events.into_iter().map(Arc::new));
            while ring.events.len() > KEPT {
                ring.from = ring.events.pop_front().map(|event| event.position);
            }
        }
        self.news.send_modify(|told| *told += count);
    }

    /// Reads events for as long as it is polled. `each` is told of every one, in order.
    pub async fn run<S: TaskStore>(&self, store: S, each: impl Fn(&TaskEvent)) {
        let mut at = loop {
            match store.newest().await {
                Ok(newest) => break newest,
                Err(_) => sleep(PAUSE).await,
            }
        };
        lock(&self.ring).from = Some(at);
        self.news.send_modify(|told| *told += 1);
        loop {
            match store.events(at, READ, WAIT).await {
                Ok(events) => {
                    at = events.last().map_or(at, |event| event.position);
                    events.iter().for_each(&each);
                    self.tell(events);
                }
                // Why is told where it matters: to callers, and by `ready`.
                Err(error) => {
                    tracing::debug!(%error, "task events cannot be read");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The task's state is one of those that last.
pub fn is_end(what: EventType) -> bool {
    matches!(what, EventType::Completed | EventType::Failed | EventType::Cancelled)
}

#[derive(Debug, Default)]
struct Ended {
    tasks: Mutex<VecDeque<TaskId>>,
    notify: Notify,
}

/// Whoever waits for the end of tasks.
#[derive(Debug)]
pub struct Waiter {
    hub: Arc<Hub>,
    number: u64,
    tasks: Vec<TaskId>,
    ended: Arc<Ended>,
}

impl Waiter {
    pub fn take(&self) -> Option<TaskId> {
        lock(&self.ended.tasks).pop_front()
    }

    /// Until there may be something to take. Cancel-safe.
    pub async fn told(&self) {
        self.ended.notify.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = lock(&self.hub.waiters);
        for task in &self.tasks {
            if let Some(of_task) = waiters.by_task.get_mut(task) {
                of_task.retain(|(number, _)| *number != self.number);
                if of_task.is_empty() {
                    waiters.by_task.remove(task);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
