//! What scripts answer, read. Pure.

use std::time::Duration;

use ::redis::Value;
use bytes::Bytes;

use super::unexpected;
use crate::clock::Timestamp;
use crate::tasks::settings::Class;
use crate::tasks::store::{Page, StoreError};
use crate::tasks::task::{Content, EventType, Lease, Position, State, Task, TaskEvent, TaskId, Token};

/// Bytes of an error that are kept.
const MAX_ERROR: usize = 2_000;

/// As much of a text as is kept.
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR)]
}

pub fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

pub fn word(value: Value) -> Option<String> {
    text(value)
}

/// One word for each of so many items.
pub fn words<T>(value: Value, items: usize, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StoreError> {
    let Value::Array(values) = value else { return Err(unexpected("a list")) };
    let came: Option<Vec<T>> = values.into_iter().map(|value| read(&text(value)?)).collect();
    came.filter(|came| came.len() == items).ok_or_else(|| unexpected("a list"))
}

pub fn numbers(value: Value) -> Option<Vec<u64>> {
    let Value::Array(values) = value else { return None };
    values.into_iter().map(|value| text(value)?.parse().ok()).collect()
}

/// The fields of a list, one after the other.
struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Array(values) => Some(Self(values.into_iter())),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        text(self.0.next()?)
    }

    fn parse<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    fn class(&mut self) -> Option<Class> {
        Class::parse(&self.text()?).ok()
    }

    fn id(&mut self) -> Option<TaskId> {
        TaskId::parse(self.text()?).ok()
    }

    fn content(&mut self) -> Option<Content> {
        match self.0.next()? {
            Value::BulkString(bytes) => Content::decode(&Bytes::from(bytes)),
            _ => None,
        }
    }
}

/// Of `record.lua`.
pub fn task(value: Value) -> Option<Task> {
    let mut fields = Fields::of(value)?;
    let class = fields.class()?;
    let priority = fields.parse()?;
    let state = State::from_name(&fields.text()?)?;
    let (attempts, max_attempts) = (fields.parse()?, fields.parse()?);
    let submitted_at = Timestamp(fields.parse()?);
    // Those that it need not have are nil.
    let (started_at, ended_at) = (fields.parse().map(Timestamp), fields.parse().map(Timestamp));
    let retry_in = fields.parse().map(Duration::from_millis);
    let (workflow_id, worker, error) = (fields.text()?, fields.text()?, fields.text()?);
    let result = fields.content();
    let id = fields.id()?;
    Some(Task {
        id,
        class,
        priority,
        workflow_id,
        state,
        attempts,
        max_attempts,
        worker,
        error,
        submitted_at,
        started_at,
        ended_at,
        retry_in,
        result,
    })
}

/// Of `lease.lua`.
pub fn lease(value: Value) -> Option<Lease> {
    let mut fields = Fields::of(value)?;
    Some(Lease {
        id: fields.id()?,
        class: fields.class()?,
        token: Token(fields.text()?),
        attempt: fields.parse()?,
        max_attempts: fields.parse()?,
        priority: fields.parse()?,
        workflow_id: fields.text()?,
        waited: Duration::from_millis(fields.parse()?),
        payload: fields.content()?,
    })
}

/// The sorted sets of a list, in its order.
pub fn sets(states: &[State], class: Option<Class>) -> Vec<String> {
    let mut sets = Vec::new();
    for state in states {
        for class in Class::ALL.into_iter().filter(|c| class.is_none_or(|class| class == *c)) {
            let kinds: &[&str] = match state {
                State::Pending => &["w", "z"],
                State::Running => &["l"],
                State::Completed => &["c"],
                State::Failed => &["d"],
                State::Cancelled => &["x"],
            };
            sets.extend(kinds.iter().map(|kind| format!("{kind}:{class}")));
        }
    }
    sets
}

/// Where a page ended: `w:cpu_short/-5/0000000000000012:id`.
pub struct Cursor<'a> {
    /// Which of the sets.
    pub set: usize,
    pub score: &'a str,
    pub member: &'a str,
}

impl<'a> Cursor<'a> {
    pub fn parse(from: &'a str, sets: &[String]) -> Option<Self> {
        let mut parts = from.splitn(3, '/');
        let (set, score, member) = (parts.next()?, parts.next()?, parts.next()?);
        score.parse::<f64>().ok().filter(|score| score.is_finite())?;
        let (seq, id) = member.split_at_checked(16)?;
        seq.parse::<u64>().ok()?;
        TaskId::parse(id.strip_prefix(':')?).ok()?;
        let set = sets.iter().position(|s| s == set)?;
        Some(Self { set, score, member })
    }
}

/// Of `list.lua`, which was given these sets.
pub fn page(value: Value, sets: &[String]) -> Option<Page> {
    let mut fields = Fields::of(value)?;
    let Value::Array(records) = fields.0.next()? else { return None };
    // One that has just been forgotten is none.
    let tasks = records.into_iter().filter(|record| *record != Value::Nil).map(task).collect::<Option<_>>()?;
    let next = match fields.0.next() {
        None => None,
        Some(set) => {
            let set = sets.get(text(set)?.parse::<usize>().ok()?)?;
            Some(format!("{set}/{}/{}", fields.text()?, fields.text()?))
        }
    };
    Some(Page { tasks, next })
}

/// Of XREAD of one stream.
pub fn events(value: Value) -> Option<Vec<TaskEvent>> {
    let entries = match value {
        Value::Nil => return Some(Vec::new()),
        Value::Array(streams) => Fields::of(streams.into_iter().next()?)?.0.nth(1)?,
        Value::Map(streams) => streams.into_iter().next()?.1,
        _ => return None,
    };
    let Value::Array(entries) = entries else { return None };
    entries.into_iter().map(event).collect()
}

fn event(entry: Value) -> Option<TaskEvent> {
    let mut entry = Fields::of(entry)?;
    let position = position(&entry.text()?)?;
    let mut fields = Fields::of(entry.0.next()?)?;
    let (mut what, mut id, mut class, mut attempt) = (None, None, None, None);
    let (mut worker, mut token, mut error) = (String::new(), String::new(), String::new());
    while let Some(name) = fields.0.next() {
        let value = fields.text()?;
        match text(name)?.as_str() {
            "what" => what = EventType::from_name(&value),
            "id" => id = TaskId::parse(value).ok(),
            "class" => class = Class::parse(&value).ok(),
            "attempt" => attempt = value.parse().ok(),
            "worker" => worker = value,
            "token" => token = value,
            "error" => error = value,
            // Of a later version.
            _ => {}
        }
    }
    Some(TaskEvent { position, what: what?, id: id?, class: class?, attempt: attempt?, worker, token, error })
}

fn position(text: &str) -> Option<Position> {
    let (at, number) = text.split_once('-')?;
    Some(Position { at: Timestamp(at.parse().ok()?), number: number.parse().ok()? })
}

/// Of XREVRANGE.
pub fn newest(value: Value) -> Option<Position> {
    let Value::Array(entries) = value else { return None };
    match entries.into_iter().next() {
        None => Some(Position::default()),
        Some(entry) => position(&Fields::of(entry)?.text()?),
    }
}
