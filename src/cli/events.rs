//! What happened, for people and for programs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::layout::clean;
use super::table::age;
use super::terminal::{DIM, WARN, paint};
use crate::clock::Timestamp;
use crate::grpc::convert::timestamp;
use crate::proto::env_manager::v1;
use crate::resource::event::EventReason;

/// What `events -o json` prints, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventReport {
    /// Grows with every event and every repetition.
    pub sequence: u64,
    /// RFC 3339.
    pub first_time: String,
    /// RFC 3339.
    pub last_time: String,
    /// How often it happened between the two.
    pub count: u64,
    /// A service's name; `network/NAME`, `volume/NAME`; empty: the stack, the source or the engine.
    pub subject: String,
    /// Something is not as it should be.
    pub warning: bool,
    /// CamelCase; see `docs/events.md`.
    pub reason: String,
    pub message: String,
    /// `env-manager`, `docker`, `outside` (somebody by other means), or who asked.
    pub by: String,
    /// Of the manifests at that time.
    pub revision: String,
}

impl EventReport {
    pub fn new(event: v1::Event) -> Self {
        let v1::Event { sequence, first_time, last_time, count, subject, warning, reason, message, by, revision } =
            event;
        let text = |time: Option<prost_types::Timestamp>| {
            time.as_ref().and_then(timestamp).map(|t| t.to_string()).unwrap_or_default()
        };
        let (first_time, last_time) = (text(first_time), text(last_time));
        Self { sequence, first_time, last_time, count, subject, warning, reason, message, by, revision }
    }

    /// `(×7 in 2m)`; empty where it happened once.
    fn repeated(&self) -> String {
        let span = Timestamp::parse(&self.first_time).zip(Timestamp::parse(&self.last_time));
        match (self.count, span) {
            (..=1, _) => String::new(),
            (n, Some((first, last))) if last.since(first) >= Duration::from_secs(1) => {
                format!(" (×{n} in {})", age(last.since(first)))
            }
            (n, _) => format!(" (×{n})"),
        }
    }
}

/// Lines whose columns stay where they are, as far as events have been seen.
#[derive(Debug)]
pub struct Lines {
    /// By whom, and at which revision, too.
    wide: bool,
    /// What they are about, too.
    subjects: bool,
    subject: usize,
    reason: usize,
    by: usize,
}

impl Lines {
    pub fn new(wide: bool) -> Self {
        Self { wide, subjects: true, subject: 0, reason: 0, by: 0 }
    }

    /// Of events that are all about the same.
    pub fn about_one() -> Self {
        Self { subjects: false, ..Self::new(false) }
    }

    /// Of events that are yet to come, about these services.
    #[must_use]
    pub fn expecting<'a>(self, services: impl Iterator<Item = &'a str>) -> Self {
        let longest = EventReason::ALL.iter().map(|reason| reason.to_string().width()).max();
        let subject = services.map(UnicodeWidthStr::width).max();
        Self { subject: self.subject.max(subject.unwrap_or(0)), reason: longest.unwrap_or(0), ..self }
    }

    /// For columns that are wide enough from the beginning.
    pub fn measure<'a>(&mut self, events: impl IntoIterator<Item = &'a EventReport>) {
        for event in events {
            self.subject = self.subject.max(subject(event).width());
            self.reason = self.reason.max(event.reason.width());
            self.by = self.by.max(event.by.width());
        }
    }

    /// `10:02:11  zookeeper  ContainerGone  container removed outside env-manager`, in UTC. What is older
    /// than a day has its date.
    pub fn line(&mut self, event: &EventReport, now: Timestamp) -> String {
        self.measure([event]);
        let time = Timestamp::parse(&event.last_time);
        let old = time.is_some_and(|t| now.since(t) >= Duration::from_hours(24));
        let time = if old { event.last_time.get(..19) } else { event.last_time.get(11..19) };
        let time = paint(DIM, &time.unwrap_or("-").replace('T', " "));
        let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(text.width()));
        let reason = clean(&event.reason);
        let reason_pad = pad(&reason, self.reason);
        let reason = if event.warning { paint(WARN, &reason) } else { reason };
        let mut line = time;
        if self.subjects {
            let subject = subject(event);
            line.push_str(&format!("  {subject}{}", pad(&subject, self.subject)));
        }
        line.push_str(&format!("  {reason}{reason_pad}"));
        if self.wide {
            let (by, revision) = (clean(&event.by), clean(&event.revision));
            line.push_str(&format!("  {by}{}  {revision:<12}", pad(&by, self.by)));
        }
        line.push_str(&format!("  {}{}", clean(&event.message), paint(DIM, &event.repeated())));
        format!("{}\n", line.trim_end())
    }
}

/// What an event is about; `-`: the stack as a whole.
fn subject(event: &EventReport) -> String {
    if event.subject.is_empty() { "-".to_owned() } else { clean(&event.subject) }
}
