//! Events, logs, the queue, and everything about one service.

use super::{moment, service, span};
use crate::daemon::environment::Description;
use crate::engine::{LogLine, LogStream};
use crate::history::Entry;
use crate::plan::FieldChange;
use crate::plan::types::ClosedBy;
use crate::proto::env_manager::v1;
use crate::queue;
use crate::report::ServiceReport;
use crate::resource::ending::Ending;
use crate::resource::probe::LastTry;
use crate::resource::{Kind, ResourceKey};

/// `redis`, `network/env-manager`
pub fn key(key: &ResourceKey) -> String {
    match key.kind {
        Kind::Service => key.name.to_string(),
        kind => format!("{kind}/{}", key.name),
    }
}

pub fn event(entry: Entry) -> v1::Event {
    let Entry { sequence, first, last, count, subject, reason, message, by, revision } = entry;
    v1::Event {
        sequence,
        first_time: Some(moment(first)),
        last_time: Some(moment(last)),
        count,
        subject: subject.as_ref().map(key).unwrap_or_default(),
        warning: reason.is_warning(),
        reason: reason.to_string(),
        message,
        by: by.to_string(),
        revision: revision.to_string(),
    }
}

pub fn log_line(line: LogLine) -> v1::ReadLogsResponse {
    let LogLine { container, stream, time, line } = line;
    v1::ReadLogsResponse {
        container_id: container.0.to_string(),
        stream: match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        }
        .to_owned(),
        time: Some(moment(time)),
        line,
    }
}

pub fn waiting(waiting: &queue::Waiting<ResourceKey>) -> v1::KeyBackoff {
    let queue::Waiting { key: of, failures, due_in } = waiting;
    v1::KeyBackoff { key: key(of), failures: *failures, due_in: due_in.map(span) }
}

/// `events`: about it, oldest first.
pub fn description(name: &str, description: Description, events: Vec<Entry>) -> v1::DescribeServiceResponse {
    let Description {
        status,
        spec,
        manifest,
        dependents,
        drift,
        plan,
        probes,
        containers,
        suspended_by,
        backoff,
        ending: last,
    } = description;
    v1::DescribeServiceResponse {
        service: Some(service(ServiceReport::new(name, &status))),
        spec,
        dependents,
        drift: drift.into_iter().map(field_drift).collect(),
        plan,
        probes: probes.into_iter().map(probe).collect(),
        events: events.into_iter().map(event).collect(),
        manifest,
        containers,
        suspended_by: suspended_by.map(|(who, since)| format!("{who}, since {since}")).unwrap_or_default(),
        backoff: backoff.as_ref().map(waiting),
        ending: last.map(ending),
    }
}

fn ending(ending: Ending) -> v1::Ending {
    let Ending { container: _, at, how, lines } = ending;
    v1::Ending { how, time: at.map(moment), lines }
}

fn field_drift(change: FieldChange) -> v1::FieldDrift {
    let FieldChange { field, old, new, closed_by, cause } = change;
    v1::FieldDrift {
        field,
        old,
        new,
        closed_by: match closed_by {
            ClosedBy::InPlace => "in place",
            ClosedBy::Replace => "replace",
        }
        .to_owned(),
        cause: cause.to_string(),
    }
}

fn probe(last: LastTry) -> v1::ProbeResult {
    let LastTry { role, kind, route, passed, message, latency, at, in_a_row } = last;
    v1::ProbeResult {
        probe: role.to_string(),
        passed,
        message,
        route,
        time: Some(moment(at)),
        took: Some(span(latency)),
        consecutive_failures: if passed { 0 } else { in_a_row },
        kind: kind.to_owned(),
    }
}
