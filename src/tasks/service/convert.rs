//! Our types as messages, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tonic::Status;

use super::refuse::{id_of, too_large};
use crate::clock::Timestamp;
use crate::net::refuse::bad;
use crate::proto::orchestrator::v1;
use crate::tasks::settings::{Class, TaskSettings};
use crate::tasks::task::{Content, Lease, MAX_PRIORITY, NewTask, State, Task, TaskEvent};

/// Bytes of a workflow's id.
const MAX_WORKFLOW: usize = 200;
/// Bytes of a JSON result that fills the old map, too: beyond it, a message would be too large for clients.
const MAX_AS_MAP: usize = 1 << 20;

/// The names of the three fields that a content may be in, and its limit.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    map: &'static str,
    json: &'static str,
    bytes: &'static str,
    limit: &'static str,
}

pub const PAYLOAD: Slot = Slot { map: "payload", json: "payload_json", bytes: "payload_bytes", limit: "max_payload" };
pub const RESULT: Slot = Slot { map: "result", json: "result_json", bytes: "result_bytes", limit: "max_result" };

/// # Errors
/// INVALID_ARGUMENT: more than one, or no JSON. RESOURCE_EXHAUSTED: too large.
pub fn content(
    slot: Slot,
    map: impl IntoIterator<Item = (String, String)>,
    json: impl Into<Bytes>,
    bytes: impl Into<Bytes>,
    limit: usize,
) -> Result<Content, Status> {
    let (map, json, bytes) = (map.into_iter().collect::<BTreeMap<_, _>>(), json.into(), bytes.into());
    let given = [!map.is_empty(), !json.is_empty(), !bytes.is_empty()];
    if given.into_iter().filter(|is| *is).count() > 1 {
        let message = format!("at most one of {}, {} and {} is taken", slot.map, slot.json, slot.bytes);
        return Err(bad(slot.map, &message));
    }
    let (content, field) = match given {
        [_, true, _] => (Content::Json(json), slot.json),
        [_, _, true] => (Content::Bytes(bytes), slot.bytes),
        _ => (Content::Map(map), slot.map),
    };
    if content.size() > limit {
        return Err(too_large(field, content.size(), limit, slot.limit));
    }
    if let Content::Json(json) = &content {
        is_json(json).map_err(|wrong| bad(slot.json, &wrong))?;
    }
    Ok(content)
}

/// One document, by the standard: no NaN, nothing after it.
fn is_json(bytes: &[u8]) -> Result<(), String> {
    // What is passed over is not looked at by the parser.
    let text = std::str::from_utf8(bytes).map_err(|_| "this is not JSON: it is not UTF-8".to_owned())?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|e| format!("this is not JSON: {e}"))
}

/// Of a JSON object: each member, strings as they are, others as JSON. Else under the key `result`.
fn as_map(json: &Bytes) -> BTreeMap<String, String> {
    if json.len() > MAX_AS_MAP {
        return BTreeMap::new();
    }
    let text = String::from_utf8_lossy(json);
    match serde_json::from_str::<BTreeMap<String, &RawValue>>(&text) {
        Ok(members) => members.into_iter().map(|(name, value)| (name, plain(value.get()))).collect(),
        Err(_) => BTreeMap::from([("result".to_owned(), plain(text.trim()))]),
    }
}

fn plain(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
}

/// A result in the old field and in the new ones.
#[derive(Default)]
pub struct Told {
    pub map: BTreeMap<String, String>,
    pub json: Vec<u8>,
    pub bytes: Vec<u8>,
}

impl Told {
    pub fn of(result: Option<Content>) -> Self {
        match result {
            None => Self::default(),
            Some(Content::Map(map)) => Self { map, ..Self::default() },
            Some(Content::Json(json)) => Self { map: as_map(&json), json: json.into(), ..Self::default() },
            Some(Content::Bytes(bytes)) => Self { bytes: bytes.into(), ..Self::default() },
        }
    }
}

/// # Errors
/// As SubmitTask says them.
pub fn new_task(request: v1::SubmitTaskRequest, settings: &TaskSettings) -> Result<NewTask, Status> {
    let v1::SubmitTaskRequest { id, class, payload, priority, workflow_id, payload_json, payload_bytes } = request;
    let id = id_of("id", id)?;
    let class = Class::parse(&class).map_err(|wrong| bad("class", &wrong))?;
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) {
        return Err(bad("priority", &format!("a priority is between -{MAX_PRIORITY} and {MAX_PRIORITY}")));
    }
    if workflow_id.len() > MAX_WORKFLOW || workflow_id.chars().any(char::is_control) {
        let message = format!("a workflow's id has at most {MAX_WORKFLOW} bytes, and no control characters");
        return Err(bad("workflow_id", &message));
    }
    let payload = content(PAYLOAD, payload, payload_json, payload_bytes, settings.max_payload)?;
    Ok(NewTask { id, class, priority, workflow_id, payload })
}

pub fn status(task: Task) -> v1::GetTaskStatusResponse {
    let Task {
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
    } = task;
    let Told { map, json, bytes } = Told::of(result);
    v1::GetTaskStatusResponse {
        task_id: id.to_string(),
        status: state.name().to_owned(),
        result: map.into_iter().collect(),
        error,
        result_json: json,
        result_bytes: bytes,
        class: class.name().to_owned(),
        priority,
        attempts: whole(attempts),
        max_attempts: whole(max_attempts),
        worker_id: worker,
        workflow_id,
        submitted_at: unix_ms(submitted_at),
        started_at: started_at.map(unix_ms).unwrap_or_default(),
        completed_at: ended_at.map(unix_ms).unwrap_or_default(),
        retry_in_ms: retry_in.map(ms).unwrap_or_default(),
    }
}

/// Of a task that has ended.
pub fn result(task: Task) -> v1::TaskResult {
    let Task { id, state, attempts, error, started_at, ended_at, result, .. } = task;
    let Told { map, json, bytes } = Told::of(result);
    let took = started_at.zip(ended_at).map(|(from, to)| to.since(from)).unwrap_or_default();
    v1::TaskResult {
        task_id: id.to_string(),
        status: state.name().to_owned(),
        result: map.into_iter().collect(),
        error,
        duration_ms: took.as_secs_f64() * 1_000.0,
        completed_at: ended_at.map(unix_ms).unwrap_or_default(),
        result_json: json,
        result_bytes: bytes,
        attempts: whole(attempts),
    }
}

pub fn lease(lease: Lease, lasts: Duration, settings: &TaskSettings) -> v1::lease_event::Lease {
    let Lease { id, class, token, attempt, max_attempts, priority, workflow_id, payload, waited: _ } = lease;
    let (map, json, bytes) = match payload {
        Content::Map(map) => (map, Bytes::new(), Bytes::new()),
        Content::Json(json) => (BTreeMap::new(), json, Bytes::new()),
        Content::Bytes(bytes) => (BTreeMap::new(), Bytes::new(), bytes),
    };
    v1::lease_event::Lease {
        task_id: id.to_string(),
        class: class.name().to_owned(),
        payload: map.into_iter().collect(),
        attempt: whole(attempt),
        max_attempts: whole(max_attempts),
        lease_token: token.0,
        lease_ms: ms(lasts),
        time_limit_ms: ms(settings.classes.of(class).time_limit),
        priority,
        workflow_id,
        payload_json: json.into(),
        payload_bytes: bytes.into(),
    }
}

pub fn event(event: &TaskEvent) -> v1::TaskEvent {
    let TaskEvent { position, what, id, class, attempt, worker, token: _, error } = event;
    let attempt = if *attempt > 0 { attempt.to_string() } else { String::new() };
    let data = [
        ("class", class.name().to_owned()),
        ("attempt", attempt),
        ("worker", worker.clone()),
        ("error", error.clone()),
    ];
    v1::TaskEvent {
        event_type: what.name().to_owned(),
        resource_id: id.to_string(),
        data: data.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v)).collect(),
        timestamp: unix_ms(position.at),
    }
}

/// # Errors
/// INVALID_ARGUMENT: no such state.
pub fn states(names: Vec<String>) -> Result<Vec<State>, Status> {
    if names.is_empty() {
        return Ok(vec![State::Pending, State::Running]);
    }
    let mut states = Vec::new();
    for name in names {
        let state = State::from_name(&name).ok_or_else(|| {
            let known = State::ALL.map(State::name).join(", ");
            bad("statuses", &format!("there is no such status; there are {known}"))
        })?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

/// A lease's length as a worker wishes it; 0: the daemon's.
///
/// # Errors
/// INVALID_ARGUMENT: too short or too long.
pub fn lease_length(ms: i64, settings: &TaskSettings) -> Result<Duration, Status> {
    use crate::tasks::settings::LEASES;
    if ms == 0 {
        return Ok(settings.lease);
    }
    let wished = u64::try_from(ms).ok().map(Duration::from_millis).filter(|wished| LEASES.contains(wished));
    wished.ok_or_else(|| {
        let (from, to) = (LEASES.start().as_millis(), LEASES.end().as_millis());
        bad("lease_ms", &format!("a lease has between {from} and {to} ms"))
    })
}

pub fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub fn unix_ms(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn whole(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(map: &[(&str, &str)], json: &str, bytes: &[u8]) -> Result<Content, Status> {
        let map = map.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        content(PAYLOAD, map, json.as_bytes().to_vec(), bytes.to_vec(), 20)
    }

    #[test]
    fn a_content_is_a_map_or_json_or_bytes() {
        assert_eq!(of(&[], "", b"").unwrap(), Content::Map(BTreeMap::new()));
        assert!(matches!(of(&[("a", "b")], "", b"").unwrap(), Content::Map(map) if map["a"] == "b"));
        assert!(
            matches!(of(&[], "[1e400, \"\\ud800\"]", b"").unwrap(), Content::Json(_)),
            "numbers and texts of any kind"
        );
        assert!(matches!(of(&[], "", &[0xff]).unwrap(), Content::Bytes(_)));
        for (map, json, bytes) in [(&[("a", "b")][..], "1", &b""[..]), (&[], "1", b"x"), (&[("a", "b")], "", b"x")] {
            let error = of(map, json, bytes).unwrap_err();
            assert!(error.message().contains("at most one of"), "{error}");
        }
        for json in ["NaN", "[Infinity]", "{", "1 2", "\"\u{7f}", "{a: 1}", "[1,]"] {
            let error = of(&[], json, b"").unwrap_err();
            assert!(error.message().starts_with("payload_json: this is not JSON"), "{json}: {error}");
        }
        assert!(content(PAYLOAD, [], vec![b'"', 0xff, b'"'], vec![], 20).is_err(), "not UTF-8");
        let error = of(&[], &format!("\"{}\"", "x".repeat(19)), b"").unwrap_err();
        assert_eq!(error.code(), tonic::Code::ResourceExhausted);
        assert!(error.message().contains("21 bytes; 20 are taken (`max_payload` in [tasks])"), "{error}");
    }

    #[test]
    fn a_json_result_fills_the_old_map_without_losing_a_digit() {
        let told = |json: &str| Told::of(Some(Content::Json(Bytes::copy_from_slice(json.as_bytes()))));
        let object = told(r#"{"a": "text", "b": 123456789012345678901234567890, "c": [1.10, null], "d": "\ud800"}"#);
        let expected =
            [("a", "text"), ("b", "123456789012345678901234567890"), ("c", "[1.10, null]"), ("d", r#""\ud800""#)];
        assert_eq!(object.map, expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        for (json, plain) in [("\"x\"", "x"), (" 7 ", "7"), ("[]", "[]"), ("null", "null")] {
            let told = told(json);
            assert_eq!((told.map["result"].as_str(), told.map.len()), (plain, 1));
            assert_eq!(told.json, json.as_bytes());
        }
        let map = Told::of(Some(Content::Map(BTreeMap::from([("a".to_owned(), "b".to_owned())]))));
        assert_eq!((map.map["a"].as_str(), map.json.len(), map.bytes.len()), ("b", 0, 0));
    }
}
