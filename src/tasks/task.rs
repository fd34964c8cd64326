//! Tasks, their states, contents and ids. Plain values and pure functions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::settings::Class;
use crate::clock::Timestamp;

/// Bytes of an id.
pub const MAX_ID: usize = 200;
/// Of a priority, either way.
pub const MAX_PRIORITY: i32 = 1_000_000;

/// What names a task: `[A-Za-z0-9._:-]{1,200}`. Also of workers and their runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(String);

impl TaskId {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(id: impl Into<String>) -> Result<Self, String> {
        let id = id.into();
        if id.is_empty() {
            Err("an id is needed".to_owned())
        } else if id.len() > MAX_ID {
            Err(format!("an id has at most {MAX_ID} characters, this one {}", id.len()))
        } else if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b)) {
            Err("an id has letters, digits and `.`, `_`, `:`, `-`".to_owned())
        } else {
            Ok(Self(id))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one attempt at a task: whoever answers with another one is stale.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub String);

/// What is handed to a handler, and what it hands back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The old wire's. An empty one is also what "nothing" is.
    Map(BTreeMap<String, String>),
    /// One JSON document, as it was written.
    Json(Bytes),
    Bytes(Bytes),
}

impl Content {
    /// In bytes, as it counts towards limits.
    pub fn size(&self) -> usize {
        match self {
            Self::Map(map) => map.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Json(bytes) | Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// One kind, then what it holds; so that no two contents are written alike.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.size() + 16);
        match self {
            Self::Map(map) => {
                out.push(b'm');
                for text in map.iter().flat_map(|(key, value)| [key, value]) {
                    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
            }
            Self::Json(bytes) => {
                out.push(b'j');
                out.extend_from_slice(bytes);
            }
            Self::Bytes(bytes) => {
                out.push(b'b');
                out.extend_from_slice(bytes);
            }
        }
        out.into()
    }

    /// `None`: nothing that [`Self::encode`] wrote.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let (kind, rest) = (bytes.first()?, bytes.slice(1..));
        match kind {
            b'j' => Some(Self::Json(rest)),
            b'b' => Some(Self::Bytes(rest)),
            b'm' => {
                let mut rest = &rest[..];
                let mut text = || {
                    let (length, after) = rest.split_first_chunk::<4>()?;
                    let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                    rest = after;
                    String::from_utf8(text.to_vec()).ok()
                };
                let mut map = BTreeMap::new();
                while let Some(key) = text() {
                    map.insert(key, text()?);
                }
                rest.is_empty().then_some(Self::Map(map))
            }
            _ => None,
        }
    }
}

/// A task that somebody submits. Every default is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    pub id: TaskId,
    pub class: Class,
    pub priority: i32,
    pub workflow_id: String,
    pub payload: Content,
}

impl NewTask {
    /// Alike for tasks that are the same, whatever way they were written in: hexadecimal.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.class.name().as_bytes(), &self.priority.to_le_bytes(), self.workflow_id.as_bytes()] {
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            hash.update(part);
        }
        hash.update(self.payload.encode());
        // Half of it is plenty against accidents, and keeps the record small.
        hash.finalize().iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }
}

/// As the old wire tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waits for a worker, or for its next attempt.
    Pending,
    Running,
    Completed,
    /// Dead: no attempt is left, or none would help.
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Nothing happens to it any more by itself.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a task. Times are Redis's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub class: Class,
    pub priority: i32,
    pub workflow_id: String,
    pub state: State,
    /// Begun so far, without those that were given back.
    pub attempts: u32,
    pub max_attempts: u32,
    /// Who has it, or had it last; empty: nobody yet.
    pub worker: String,
    /// Of the last attempt that failed, or of the cancellation.
    pub error: String,
    pub submitted_at: Timestamp,
    /// Of the last attempt.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Until a task that failed is tried again.
    pub retry_in: Option<Duration>,
    /// Of a completed one, where it was asked for.
    pub result: Option<Content>,
}

/// One attempt at a task, given to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: TaskId,
    pub class: Class,
    pub token: Token,
    /// From 1.
    pub attempt: u32,
    pub max_attempts: u32,
    pub priority: i32,
    pub workflow_id: String,
    pub payload: Content,
    /// How long it waited, from its submission or its requeue.
    pub waited: Duration,
}

/// What happened to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    Submitted,
    Started,
    Completed,
    /// For good: it is dead.
    Failed,
    /// An attempt failed or lapsed; there is another one.
    Retrying,
    Released,
    Cancelled,
    Requeued,
}

impl EventType {
    pub const ALL: [Self; 8] = [
        Self::Submitted,
        Self::Started,
        Self::Completed,
        Self::Failed,
        Self::Retrying,
        Self::Released,
        Self::Cancelled,
        Self::Requeued,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Submitted => "task_submitted",
            Self::Started => "task_started",
            Self::Completed => "task_completed",
            Self::Failed => "task_failed",
            Self::Retrying => "task_retrying",
            Self::Released => "task_released",
            Self::Cancelled => "task_cancelled",
            Self::Requeued => "task_requeued",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// Of the store's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// Where it stands in the stream: `1732871234567-0`.
    pub position: Position,
    pub what: EventType,
    pub id: TaskId,
    pub class: Class,
    /// 0: none begun.
    pub attempt: u32,
    /// Who had it; empty: nobody.
    pub worker: String,
    /// Of the attempt that the event is about; empty: none.
    pub token: String,
    pub error: String,
}

/// In the stream of events: time in milliseconds, and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub at: Timestamp,
    pub number: u64,
}
