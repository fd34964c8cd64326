//! A status document for people: the table, what to do next, and the overall line.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::builder::styling::Style;
use unicode_width::UnicodeWidthStr;

use super::layout::{Cell, Fit, Table, clean, wrap};
use super::terminal::{BAD, BUSY, DIM, ERROR, GOOD, PLAIN, WARN, paint};
use crate::clock::Timestamp;
use crate::report::{ResourceReport, ServiceReport, StatusReport, advice};
use crate::resource::status::Reason;
use crate::resource::units::human_duration;

const HEADER: &[&str] = &["NAME", "READY", "STATUS", "RESTARTS", "AGE", "REVISION", "MESSAGE"];
const WIDE: &[&str] = &["IMAGE", "CONTAINER", "PORTS", "DEPENDS ON"];
/// Below it a terminal has better use for its columns than a revision that every row repeats.
const ROOMY: usize = 100;
/// Between the parts of the overall line.
const SEPARATOR: &str = " · ";
/// Characters of a container's id that people use.
const SHORT_ID: usize = 12;

/// How it is to be shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Show<'a> {
    pub wide: bool,
    /// Only these services; empty: all.
    pub names: &'a [String],
    /// Of the terminal; `None`: nothing is wrapped or cut.
    pub width: Option<usize>,
    /// How long it took to get there, where something was done.
    pub took: Option<Duration>,
    /// Paths below this folder are shown from there: `./manifests`.
    pub here: Option<&'a Path>,
}

impl Show<'_> {
    fn shows(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| n == name)
    }
}

/// Everything: table, advice, findings, notes, overall line. The report is of all services in any case.
pub fn render(report: &StatusReport, show: Show) -> String {
    // Networks and volumes are worth a row only while they are in the way.
    let others =
        report.resources.iter().filter(|r| show.names.is_empty() && !r.converged && !is_away(report, &r.reason));
    let services = report.services.iter().filter(|s| show.shows(&s.name));
    let mut revisions: Vec<&str> = services.clone().map(|s| &*s.revision).collect();
    revisions.dedup();
    let columns = Columns { revision: revisions.len() > 1 || show.width.is_none_or(|w| w >= ROOMY), wide: show.wide };
    let mut table = Table::new(&columns.header());
    for resource in others.clone() {
        table.row(columns.resource(resource));
    }
    let now = Timestamp::parse(&report.time);
    for service in services.clone() {
        let fit = if is_away(report, &service.reason) { Some(Fit::Cut) } else { None };
        table.row(columns.service(service, now, fit));
    }
    let nothing = report.services.is_empty() && report.resources.is_empty();
    let mut out = if nothing { String::new() } else { table.render(show.width) };
    let next = next_steps(report, others, services, show.width);
    if !next.is_empty() {
        out.push('\n');
        out.push_str(&next);
    }
    if !report.findings.is_empty() {
        out.push_str(&format!("\n{}\n", findings(&report.findings)));
    }
    for note in &report.notes {
        out.push_str(&paint(DIM, &format!("note: {}", clean(note))));
        out.push('\n');
    }
    out.push_str(&overall(report, show));
    out.push('\n');
    out
}

/// As `validate` prints them, from plain text.
fn findings(text: &str) -> String {
    let mut out = String::new();
    for line in text.trim_end().lines() {
        let line: String = anstream::adapter::strip_str(line)
            .flat_map(str::chars)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let painted = [("error", ERROR), ("warning", WARN)].into_iter().find_map(|(word, style)| {
            let rest = line.strip_prefix(word).filter(|rest| rest.starts_with([':', '[']))?;
            Some(format!("{}{rest}", paint(style, word)))
        });
        out.push_str(&painted.unwrap_or(line));
        out.push('\n');
    }
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

    fn service(self, service: &ServiceReport, now: Option<Timestamp>, fit: Option<Fit>) -> Vec<Cell> {
        // What has ended has no age.
        let started = service.started_at.as_deref().filter(|_| service.exit_code.is_none()).and_then(Timestamp::parse);
        let mut cells = vec![
            Cell::new(&service.name),
            ready(service.ready),
            Cell::new(&service.phase).styled(style(&service.phase)),
            Cell::new(service.restarts.to_string()),
            or_dash(started.zip(now).map(|(started, now)| age(now.since(started))).unwrap_or_default()),
        ];
        if self.revision {
            cells.push(or_dash(&service.revision));
        }
        if self.wide {
            let depends: Vec<_> = service.depends_on.iter().map(|d| d.service.as_str()).collect();
            let id = service.container_id.as_deref().unwrap_or_default();
            cells.push(or_dash(service.image.as_deref().unwrap_or_default()));
            cells.push(or_dash(id.get(..SHORT_ID).unwrap_or(id)));
            cells.push(or_dash(service.ports.join(",")));
            cells.push(or_dash(depends.join(",")));
        }
        // What is well may be cut; what is not says why, and to the end.
        let fit = fit.unwrap_or(if service.serves() && !service.is_stalled() { Fit::Cut } else { Fit::Wrap });
        cells.push(Cell::new(&service.message).fit(fit));
        cells
    }

    fn resource(self, resource: &ResourceReport) -> Vec<Cell> {
        let mut cells = vec![
            Cell::new(name_of(resource)),
            ready(resource.ready),
            Cell::new(&resource.phase).styled(style(&resource.phase)),
            Cell::new("0"),
        ];
        let empty = 1 + usize::from(self.revision) + if self.wide { WIDE.len() } else { 0 };
        cells.extend(std::iter::repeat_with(|| Cell::new("-")).take(empty));
        cells.push(Cell::new(&resource.message).fit(Fit::Wrap));
        cells
    }
}

/// Whether something is as it is since the engine is away: that is said once, in the overall line.
fn is_away(report: &StatusReport, reason: &str) -> bool {
    !report.engine.reachable && reason == "EngineUnreachable"
}

/// `network env-manager`
pub fn name_of(resource: &ResourceReport) -> String {
    format!("{} {}", resource.kind, resource.name)
}

fn ready(ready: bool) -> Cell {
    if ready { Cell::new("yes") } else { Cell::new("no").styled(WARN) }
}

fn or_dash(text: impl AsRef<str>) -> Cell {
    Cell::new(Some(text.as_ref()).filter(|t| !t.is_empty()).unwrap_or("-"))
}

/// Of a phase, by its text: a daemon may be newer than this program.
pub fn style(phase: &str) -> Style {
    match phase {
        "Ready" | "Completed" => GOOD,
        "Pending" | "Blocked" | "Pulling" | "Creating" | "Starting" | "Terminating" => BUSY,
        "NotReady" | "BackOff" | "RolledBack" => WARN,
        "Failed" | "Conflict" | "Invalid" => BAD,
        // Suspended, Stopped, Observed, and what is not known here.
        _ => PLAIN,
    }
}

/// `next: reddb, kafka: …`, a line a reason that asks for somebody.
fn next_steps<'a>(
    report: &StatusReport,
    resources: impl Iterator<Item = &'a ResourceReport>,
    services: impl Iterator<Item = &'a ServiceReport>,
    width: Option<usize>,
) -> String {
    let reason = |text: &str| Reason::ALL.iter().copied().find(|r| r.to_string() == text);
    // By reason; what is not known here comes last, in the daemon's words.
    let mut by_advice: BTreeMap<(Option<Reason>, &str), Vec<String>> = BTreeMap::new();
    let mut note = |name: String, known: Option<Reason>, told: Option<&'a str>| {
        let ours = known.map(advice).and_then(|a| a.acts.then_some(a.next));
        if let Some(next) = ours.or(told) {
            by_advice.entry((known, next)).or_default().push(name);
        }
    };
    for resource in resources {
        note(name_of(resource), reason(&resource.reason), None);
    }
    let (away, services): (Vec<_>, Vec<_>) = services.partition(|s| is_away(report, &s.reason));
    if let Some(service) = away.first() {
        // Of all of them it would be the same.
        note("the engine".to_owned(), reason(&service.reason), service.next.as_deref());
    }
    for service in services {
        note(service.name.clone(), reason(&service.reason), service.next.as_deref());
    }
    let mut out = String::new();
    for ((_, next), names) in by_advice {
        let text = format!("next: {}: {}", names.join(", "), clean(next));
        let lines = width.map_or_else(|| vec![text.clone()], |w| wrap(&text, w));
        out.push_str(&lines.join("\n      "));
        out.push('\n');
    }
    out
}

/// `converged · healthy · 9 of 9 ready (2 required) · ./manifests @ 3f2a91c · took 1.8 s`
pub fn overall(report: &StatusReport, show: Show) -> String {
    let mut parts = vec![
        if report.converged { paint(GOOD, "converged") } else { paint(WARN, "not converged") },
        if report.healthy { paint(GOOD, "healthy") } else { paint(BAD, "unhealthy") },
    ];
    let services = &report.services;
    let count = |which: &dyn Fn(&ServiceReport) -> bool| services.iter().filter(|s| which(s)).count();
    let (ready, required) = (count(&ServiceReport::serves), count(&|s| s.required));
    parts.push(match services.len() {
        0 => "no services".to_owned(),
        total => format!("{ready} of {total} ready ({required} required)"),
    });
    for (phase, word) in [("Suspended", "suspended"), ("Stopped", "stopped"), ("Observed", "observed")] {
        match count(&|s| s.phase == phase) {
            0 => {}
            n => parts.push(format!("{n} {word}")),
        }
    }
    match report.invalid_manifests {
        0 => {}
        1 => parts.push(paint(BAD, "1 invalid manifest")),
        n => parts.push(paint(BAD, &format!("{n} invalid manifests"))),
    }
    if !report.engine.reachable {
        parts.push(paint(BAD, &away(report)));
    }
    if report.observe_only {
        parts.push(paint(WARN, "observe only"));
    }
    let source = &report.source;
    if source.kind == "engine" {
        parts.push("no daemon: read from the engine".to_owned());
    }
    if !source.location.is_empty() {
        let location = from_here(&source.location, show.here);
        parts.push(match source.short_revision.as_str() {
            "" => location,
            revision => format!("{location} @ {revision}"),
        });
    }
    if let Some(took) = show.took {
        parts.push(format!("took {}", human_duration(took)));
    }
    broken(&parts, show.width)
}

/// Parts in a line, or in several where a terminal would break it anywhere.
fn broken(parts: &[String], width: Option<usize>) -> String {
    let columns = |part: &str| anstream::adapter::strip_str(part).to_string().width();
    let (mut out, mut used) = (String::new(), 0);
    for part in parts {
        let more = columns(part) + if used == 0 { 0 } else { SEPARATOR.width() };
        if used > 0 && width.is_some_and(|width| used + more > width) {
            out.push_str("\n  ");
            used = 2 + columns(part);
        } else {
            out.push_str(if used == 0 { "" } else { SEPARATOR });
            used += more;
        }
        out.push_str(part);
    }
    out
}

/// `engine away for 41 s: connection refused`
fn away(report: &StatusReport) -> String {
    let engine = &report.engine;
    let since = Timestamp::parse(&engine.since).filter(|t| t.0 > 0);
    let mut text = "engine away".to_owned();
    if let Some((since, now)) = since.zip(Timestamp::parse(&report.time)) {
        text.push_str(&format!(" for {}", age(now.since(since))));
    }
    if let Some(error) = &engine.error {
        text.push_str(&format!(": {}", clean(error)));
    }
    text
}

fn from_here(location: &str, here: Option<&Path>) -> String {
    match here.and_then(|here| Path::new(location).strip_prefix(here).ok()) {
        Some(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Some(rest) => format!("./{}", rest.display()),
        None => location.to_owned(),
    }
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
