//! A view for people: the table, what to do next, and the overall line.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::builder::styling::Style;

use super::layout::{Cell, Fit, Table};
use super::terminal::{BAD, BUSY, DIM, GOOD, PLAIN, WARN, paint};
use crate::clock::Timestamp;
use crate::report::advice;
use crate::report::{SourceKind, View, serves};
use crate::resource::status::{Phase, Reason, Status};
use crate::resource::units::human_duration;

const HEADER: &[&str] = &["NAME", "READY", "STATUS", "RESTARTS", "AGE", "REVISION", "MESSAGE"];
const WIDE: &[&str] = &["IMAGE", "CONTAINER", "PORTS", "DEPENDS ON"];
/// Below it a terminal has better use for its columns than a revision that every row repeats.
const ROOMY: usize = 100;

/// Everything: table, advice, notes, overall line. `names`: only these services; empty: all.
pub fn render(view: &View, wide: bool, names: &[String], width: Option<usize>) -> String {
    let shown = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    // Networks and volumes are worth a row only while they are in the way.
    let others = view.others().filter(|(_, s)| names.is_empty() && !s.is_converged()).map(|(k, s)| (k.to_string(), s));
    let services = view.services().filter(|(name, _)| shown(name)).map(|(name, s)| (name.to_owned(), s));
    let rows: Vec<_> = others.chain(services).collect();
    let mixed = rows.windows(2).any(|pair| revision(pair[0].1) != revision(pair[1].1));
    let columns = Columns { revision: mixed || width.is_none_or(|w| w >= ROOMY), wide };
    let mut table = Table::new(&columns.header());
    for (name, status) in &rows {
        table.row(columns.row(name, status, view.now));
    }
    let mut out = if view.statuses.is_empty() { String::new() } else { table.render(width) };
    let wanting = view.statuses.iter().filter(|(k, _)| names.is_empty() || names.iter().any(|n| **n == *k.name));
    let next = next_steps(wanting.map(|(k, s)| (k.to_string(), &**s)), width);
    if !next.is_empty() {
        out.push('\n');
        out.push_str(&next);
    }
    for note in &view.notes {
        out.push_str(&paint(DIM, &format!("note: {}", super::layout::clean(note))));
        out.push('\n');
    }
    out.push_str(&overall(view));
    out.push('\n');
    out
}

/// Which columns there are.
#[derive(Clone, Copy)]
struct Columns {
    revision: bool,
    wide: bool,
}

impl Columns {
    fn header(self) -> Vec<&'static str> {
        let mut header: Vec<_> = HEADER.iter().copied().filter(|h| self.revision || *h != "REVISION").collect();
        if self.wide {
            let last = header.len() - 1;
            header.splice(last..last, WIDE.iter().copied());
        }
        header
    }

    fn row(self, name: &str, status: &Status, now: Timestamp) -> Vec<Cell> {
        let container = status.container.as_ref();
        let started = container.filter(|c| c.running).and_then(|c| c.started_at);
        let or_dash =
            |text: Option<String>| Cell::new(text.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".to_owned()));
        let mut cells = vec![
            Cell::new(name),
            if status.ready { Cell::new("yes") } else { Cell::new("no").styled(WARN) },
            Cell::new(status.phase.to_string()).styled(style(status.phase)),
            Cell::new(container.map_or(0, |c| c.restarts).to_string()),
            or_dash(started.map(|t| age(now.since(t)))),
        ];
        if self.revision {
            cells.push(or_dash(Some(revision(status).to_owned())));
        }
        if self.wide {
            let depends: Vec<_> = status.depends_on.iter().map(|d| d.service.as_str()).collect();
            cells.push(or_dash(status.image.as_ref().map(ToString::to_string)));
            cells.push(or_dash(container.map(|c| c.id.to_string())));
            let ports = container.map(|c| c.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            cells.push(or_dash(ports));
            cells.push(or_dash(Some(depends.join(","))));
        }
        // What is well may be cut; what is not says why, and to the end.
        let fit = if serves(status) && !status.is_stalled() { Fit::Cut } else { Fit::Wrap };
        cells.push(Cell::new(&status.message).fit(fit));
        cells
    }
}

/// Of the manifests that it follows; of its container where those are not known.
fn revision(status: &Status) -> &str {
    match (&*status.revision, &status.container) {
        ("", Some(c)) => &c.revision,
        (revision, _) => revision,
    }
}

pub fn style(phase: Phase) -> Style {
    match phase {
        Phase::Ready | Phase::Completed => GOOD,
        Phase::Pending | Phase::Blocked | Phase::Pulling | Phase::Creating | Phase::Starting | Phase::Terminating => {
            BUSY
        }
        Phase::NotReady | Phase::BackOff | Phase::RolledBack => WARN,
        Phase::Failed | Phase::Conflict | Phase::Invalid => BAD,
        Phase::Suspended | Phase::Stopped | Phase::Observed => PLAIN,
    }
}

/// `next: reddb, kafka: …`, a line a reason that asks for somebody.
pub fn next_steps<'a>(statuses: impl Iterator<Item = (String, &'a Status)>, width: Option<usize>) -> String {
    let mut by_reason: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    for (name, status) in statuses {
        if advice(status.reason).acts {
            by_reason.entry(status.reason).or_default().push(name);
        }
    }
    let mut out = String::new();
    for (reason, names) in by_reason {
        let text = format!("next: {}: {}", names.join(", "), advice(reason).next);
        let lines = width.map_or_else(|| vec![text.clone()], |w| super::layout::wrap(&text, w));
        out.push_str(&lines.join("\n      "));
        out.push('\n');
    }
    out
}

/// `converged · healthy · 9 of 9 ready (2 required) · ./manifests @ 3f2a91c · took 1.8 s`
pub fn overall(view: &View) -> String {
    let mut parts = vec![
        if view.is_converged() { paint(GOOD, "converged") } else { paint(WARN, "not converged") },
        if view.is_healthy() { paint(GOOD, "healthy") } else { paint(BAD, "unhealthy") },
    ];
    let total = view.services().count();
    let required = view.services().filter(|(_, s)| s.required).count();
    let ready = view.services().filter(|(_, s)| serves(s)).count();
    parts.push(if total == 0 {
        "no services".to_owned()
    } else {
        format!("{ready} of {total} ready ({required} required)")
    });
    for (phase, word) in [(Phase::Suspended, "suspended"), (Phase::Stopped, "stopped"), (Phase::Observed, "observed")] {
        match view.services().filter(|(_, s)| s.phase == phase).count() {
            0 => {}
            n => parts.push(format!("{n} {word}")),
        }
    }
    match view.invalid_manifests {
        0 => {}
        1 => parts.push(paint(BAD, "1 invalid manifest")),
        n => parts.push(paint(BAD, &format!("{n} invalid manifests"))),
    }
    let source = &view.source;
    if source.kind == SourceKind::Engine {
        parts.push("no daemon: read from the engine".to_owned());
    }
    if !source.location.is_empty() {
        parts.push(match source.short_revision.as_str() {
            "" => source.location.clone(),
            revision => format!("{} @ {revision}", source.location),
        });
    }
    if let Some(took) = view.took {
        parts.push(format!("took {}", human_duration(took)));
    }
    parts.join(" · ")
}

/// One unit is enough for an age: `41s`, `3m`, `5h`, `12d`.
pub fn age(d: Duration) -> String {
    match d.as_secs() {
        s @ ..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}
