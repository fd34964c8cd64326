//! What is kept of tasks, as a trait. [`redis`] keeps it.

pub mod redis;

use std::future::Future;
use std::time::Duration;

use super::settings::{ByClass, Class};
use super::task::{Content, Lease, NewTask, Position, State, Task, TaskEvent, TaskId, Token};

/// Items that one call may have: a script that works on more would hold up everybody else.
pub const MAX_ITEMS: usize = 200;

/// Why the store did not do what was asked. Where it says nothing else, nothing was done, or it may have been and
/// the same call again does no harm.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reached, or it reads its file back. Worth trying again.
    #[error("Redis is not ready: {0}")]
    NotReady(String),
    /// Set so that what is acknowledged could be lost.
    #[error("{0}")]
    NotDurable(NotDurable),
    /// Redis has no memory left (`maxmemory`, `noeviction`).
    #[error("Redis has no memory left")]
    OutOfMemory,
    /// The call itself is wrong: too many items, or a page that there is none of.
    #[error("{0}")]
    Invalid(&'static str),
    /// It answered what it cannot have meant: another program's keys, a bug.
    #[error("Redis answered what was not expected: {0}")]
    Unexpected(String),
}

/// A setting of Redis that durability needs otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Redis could lose acknowledged tasks: {setting} is {found}, {wanted} is needed; set it, or `durability = \"relaxed\"` in [tasks]"
)]
pub struct NotDurable {
    /// `appendfsync`
    pub setting: String,
    pub found: String,
    pub wanted: String,
}

/// What came of one task of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    New,
    /// It was there, with the same content.
    Same,
    /// It was there, with other content.
    Conflict,
    /// The backlog is full.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    Ok,
    /// Somebody else's by now, or past its time limit, or unknown.
    Lost,
    Cancelled,
}

/// What came of an answer to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok,
    /// Another attempt's.
    Stale,
}

/// What came of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    Stale,
    RetryIn(Duration),
    Dead,
}

/// When a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// As configured, where attempts are left.
    Backoff,
    After(Duration),
}

/// What came of asking for a change of a task by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was so before.
    From(State),
    Unknown,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub tasks: Vec<Task>,
    /// Where the next part begins; `None`: there is none.
    pub next: Option<String>,
}

/// How full it is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depths {
    pub by_class: ByClass<ClassDepth>,
    /// Dead tasks that are kept.
    pub dead: u64,
    /// Ended tasks that are still known, the dead ones left out.
    pub done: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassDepth {
    pub waiting: u64,
    /// Until their next attempt.
    pub delayed: u64,
    pub running: u64,
    /// How long the one that waits longest has waited, from its submission or its requeue.
    pub oldest: Duration,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Due again after a failed attempt.
    pub due: u64,
    /// Leases that lapsed.
    pub lapsed: u64,
    /// Of those: dead now.
    pub died: u64,
}

/// Every call is atomic, also against other daemons on the same store, and is on the disk when it returns (where
/// the store is durable).
pub trait TaskStore: Clone + Send + Sync + 'static {
    /// One outcome for each, in their order. At most [`MAX_ITEMS`]; no id twice.
    fn submit(&self, tasks: &[NewTask]) -> impl Future<Output = Result<Vec<Submitted>, StoreError>> + Send;

    /// Up to so many of each class, fairly between the classes, by priority and age within one; less where the
    /// class has its `concurrency` running. At most [`MAX_ITEMS`] in all.
    fn lease(
        &self,
        worker: &str,
        wanted: &[(Class, u32)],
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Lease>, StoreError>> + Send;

    /// One outcome for each, in their order. At most [`MAX_ITEMS`].
    fn extend(
        &self,
        leases: &[(TaskId, Token)],
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Extension>, StoreError>> + Send;

    fn complete(
        &self,
        id: &TaskId,
        token: &Token,
        result: &Content,
    ) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// `error` is kept up to 2,000 bytes.
    fn fail(
        &self,
        id: &TaskId,
        token: &Token,
        error: &str,
        retry: Retry,
    ) -> impl Future<Output = Result<Failed, StoreError>> + Send;

    /// To its place, the attempt not counted.
    fn release(&self, id: &TaskId, token: &Token) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// [`Changed::From`] an ended state: nothing was changed. `reason` is kept up to 2,000 bytes.
    fn cancel(&self, id: &TaskId, reason: &str) -> impl Future<Output = Result<Changed, StoreError>> + Send;

    /// A dead one waits again. [`Changed::From`] anything but [`State::Failed`]: nothing was changed.
    fn requeue(&self, id: &TaskId) -> impl Future<Output = Result<Changed, StoreError>> + Send;

    /// One for each id, in their order, with results where asked for. At most [`MAX_ITEMS`].
    fn get(
        &self,
        ids: &[TaskId],
        with_results: bool,
    ) -> impl Future<Output = Result<Vec<Option<Task>>, StoreError>> + Send;

    /// In the order of `states`, then of classes, then newest first (waiting ones: next first). `from`:
    /// [`Page::next`]. A task that changes its state meanwhile may be missed or seen twice.
    fn list(
        &self,
        states: &[State],
        class: Option<Class>,
        from: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Those after a position, oldest first; waits so long where there are none.
    fn events(
        &self,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<TaskEvent>, StoreError>> + Send;

    /// Of the newest event; the beginning where there is none.
    fn newest(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    fn depths(&self) -> impl Future<Output = Result<Depths, StoreError>> + Send;

    /// Due retries wait again, lapsed leases are failed attempts, what is past its time is forgotten.
    fn sweep(&self) -> impl Future<Output = Result<Swept, StoreError>> + Send;

    /// Whether tasks are taken: it answers, and is as durable as configured. Asked anew each time.
    fn ready(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
