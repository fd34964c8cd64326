//! StreamTaskResults: of some tasks, or of all.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::convert;
use super::events::Follow;
use super::refuse::{ending, id_of, of_store, unknown};
use crate::net::pull::Pull;
use crate::net::refuse::bad;
use crate::proto::orchestrator::v1;
use crate::tasks::hub::{Waiter, is_end};
use crate::tasks::queue::Queue;
use crate::tasks::store::{MAX_ITEMS, Page, TaskStore};
use crate::tasks::task::{State, Task, TaskId};

/// Tasks of one stream.
const MAX_IDS: usize = 10_000;
/// How often is looked whether an end went by unheard: events are kept for a while only.
const LOOK: Duration = Duration::from_secs(15);
/// Tasks of one look into the past.
const PAGE: usize = 100;

const ENDED: [State; 3] = [State::Completed, State::Failed, State::Cancelled];

/// Of some, to the last of them.
pub struct Of<S> {
    queue: Queue<S>,
    waiter: Waiter,
    pending: BTreeSet<TaskId>,
    ended: VecDeque<TaskId>,
    look_at: Instant,
}

impl<S: TaskStore> Of<S> {
    /// # Errors
    /// INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE.
    pub async fn begin(queue: Queue<S>, ids: Vec<String>, include_completed: bool) -> Result<Self, Status> {
        if ids.len() > MAX_IDS {
            return Err(bad("task_ids", &format!("{} ids are too many; {MAX_IDS} are followed at once", ids.len())));
        }
        let read = |(n, id)| id_of(&format!("task_ids[{n}]"), id);
        let mut pending = ids.into_iter().enumerate().map(read).collect::<Result<BTreeSet<_>, _>>()?;
        // Before the look: what ends meanwhile is told.
        let waiter = queue.hub.wait_for(pending.iter().cloned());
        let ids: Vec<_> = pending.iter().cloned().collect();
        let mut ended = VecDeque::new();
        for part in ids.chunks(MAX_ITEMS) {
            let tasks = queue.store.get(part, false).await.map_err(|e| of_store(&e))?;
            for (id, task) in part.iter().zip(tasks) {
                let task = task.ok_or_else(|| unknown(id))?;
                if task.state.has_ended() {
                    if include_completed {
                        ended.push_back(task.id);
                    } else {
                        pending.remove(&task.id);
                    }
                }
            }
        }
        Ok(Self { queue, waiter, pending, ended, look_at: Instant::now() + LOOK })
    }

    /// `None`: it has not ended, or was told before.
    async fn result(&mut self, id: &TaskId) -> Result<Option<v1::TaskResult>, Status> {
        if !self.pending.contains(id) {
            return Ok(None);
        }
        let found = self.queue.store.get(std::slice::from_ref(id), true).await.map_err(|e| of_store(&e))?;
        match found.into_iter().next().flatten() {
            Some(task) if task.state.has_ended() => {
                self.pending.remove(id);
                Ok(Some(convert::result(task)))
            }
            // Somebody has put it back.
            Some(_) => Ok(None),
            None => Err(unknown(id)),
        }
    }

    async fn look(&mut self) -> Result<(), Status> {
        let ids: Vec<_> = self.pending.iter().cloned().collect();
        for part in ids.chunks(MAX_ITEMS) {
            let tasks = self.queue.store.get(part, false).await.map_err(|e| of_store(&e))?;
            let over = |task: &Option<Task>| task.as_ref().is_none_or(|task| task.state.has_ended());
            self.ended.extend(part.iter().zip(tasks).filter(|(_, task)| over(task)).map(|(id, _)| id.clone()));
        }
        Ok(())
    }
}

impl<S: TaskStore> Pull for Of<S> {
    type Message = v1::TaskResult;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        loop {
            if self.pending.is_empty() {
                return Ok(None);
            }
            if self.queue.closing.is_cancelled() {
                return Err(ending());
            }
            if let Some(id) = self.ended.pop_front().or_else(|| self.waiter.take()) {
                if let Some(result) = self.result(&id).await? {
                    return Ok(Some(result));
                }
                continue;
            }
            // All are cancel-safe.
            tokio::select! {
                () = self.waiter.told() => {}
                () = self.queue.closing.cancelled() => {}
                () = sleep_until(self.look_at) => {
                    self.look_at = Instant::now() + LOOK;
                    self.look().await?;
                }
            }
        }
    }
}

/// Those that had ended before.
enum Past {
    First,
    /// Where the next part begins.
    From(String),
    Done,
}

/// Of all, without end.
pub struct All<S> {
    queue: Queue<S>,
    follow: Follow<S>,
    past: Past,
    ids: VecDeque<TaskId>,
}

impl<S: TaskStore> All<S> {
    /// # Errors
    /// UNAVAILABLE: Redis is away.
    pub async fn begin(queue: Queue<S>, include_completed: bool) -> Result<Self, Status> {
        let follow = Follow::from_now(queue.clone()).await?;
        let past = if include_completed { Past::First } else { Past::Done };
        Ok(Self { queue, follow, past, ids: VecDeque::new() })
    }
}

impl<S: TaskStore> Pull for All<S> {
    type Message = v1::TaskResult;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        loop {
            if self.queue.closing.is_cancelled() {
                return Err(ending());
            }
            if let Some(id) = self.ids.pop_front() {
                let found = self.queue.store.get(&[id], true).await.map_err(|e| of_store(&e))?;
                match found.into_iter().next().flatten() {
                    Some(task) if task.state.has_ended() => return Ok(Some(convert::result(task))),
                    _ => continue,
                }
            }
            let from = match &self.past {
                Past::First => Some(None),
                Past::From(from) => Some(Some(from.as_str())),
                Past::Done => None,
            };
            if let Some(from) = from {
                let page = self.queue.store.list(&ENDED, None, from, PAGE).await;
                let Page { tasks, next } = page.map_err(|e| of_store(&e))?;
                self.ids.extend(tasks.into_iter().map(|task| task.id));
                self.past = next.map_or(Past::Done, Past::From);
                continue;
            }
            let event = self.follow.next().await?;
            if is_end(event.what) {
                self.ids.push_back(event.id.clone());
            }
        }
    }
}
