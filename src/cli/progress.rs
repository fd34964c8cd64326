//! What happens while it happens: lines in the log, and on a terminal a row a service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing::{info, warn};

use super::layout::clean;
use super::logging::PROGRESS;
use super::terminal::{Look, PLAIN, paint};
use crate::report::{ResourceReport, ServiceReport, serves};
use crate::resource::status::Status;
use crate::resource::{Kind, ResourceKey};

/// What there is to tell of a status, whether it is our own or a daemon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: ResourceKey,
    pub phase: String,
    pub reason: String,
    pub message: String,
    /// It cannot go on by itself.
    pub stalled: bool,
    /// Ready, or done where being done is all that is asked.
    pub serves: bool,
    /// Its container runs.
    pub runs: bool,
}

impl Seen {
    pub fn of(key: &ResourceKey, status: &Status) -> Self {
        Self {
            key: key.clone(),
            phase: status.phase.to_string(),
            reason: status.reason.to_string(),
            message: clean(&status.message),
            stalled: status.is_stalled(),
            serves: serves(status),
            runs: status.container.as_ref().is_some_and(|c| c.running),
        }
    }

    pub fn of_service(service: &ServiceReport) -> Self {
        Self {
            key: ResourceKey::service(&*service.name),
            phase: service.phase.clone(),
            reason: service.reason.clone(),
            message: clean(&service.message),
            stalled: service.is_stalled(),
            serves: service.serves(),
            runs: service.started_at.is_some() && service.exit_code.is_none(),
        }
    }

    pub fn of_resource(resource: &ResourceReport) -> Self {
        let kind = if resource.kind == "volume" { Kind::Volume } else { Kind::Network };
        Self {
            key: ResourceKey::new(kind, &*resource.name),
            phase: resource.phase.clone(),
            reason: resource.reason.clone(),
            message: clean(&resource.message),
            stalled: resource.is_stalled(),
            serves: resource.ready,
            runs: false,
        }
    }
}

/// Told of every status that changes, in the order in which it changes.
pub trait Progress: Send {
    fn update(&mut self, seen: &Seen);
    /// Nothing more comes; nothing of it stays on a terminal.
    fn finish(&mut self);
}

/// Who was started and who failed, from the changes alone.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    phases: BTreeMap<ResourceKey, String>,
    /// Services that were seen on their way up, in order.
    begun: Vec<String>,
    /// Those of them that have arrived, in order.
    started: Vec<String>,
    failed: BTreeSet<String>,
    stalled: BTreeSet<ResourceKey>,
    /// Found running, and waiting for the first answer of a probe: nobody is starting them.
    found: BTreeSet<String>,
}

/// What a change means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// On its way up for the first time: number so many.
    Begun(usize),
    Started,
    /// Another phase, or stuck where it is.
    Phase,
    /// Nothing that is worth a line.
    None,
}

impl Tally {
    pub fn note(&mut self, seen: &Seen) -> Change {
        let Seen { key, phase, reason, stalled, serves, runs, message: _ } = seen;
        let before = self.phases.insert(key.clone(), phase.clone());
        let newly_stalled = *stalled && self.stalled.insert(key.clone());
        if !stalled {
            self.stalled.remove(key);
        }
        let name = &*key.name;
        if key.kind != Kind::Service {
            // Networks and volumes are made in passing; only their troubles are news.
            return if newly_stalled { Change::Phase } else { Change::None };
        }
        if *stalled || matches!(&**phase, "Failed" | "Conflict" | "Invalid") {
            self.failed.insert(name.to_owned());
        } else {
            self.failed.remove(name);
        }
        let known = |list: &[String]| list.iter().any(|n| n == name);
        let first_look = matches!(before.as_deref(), None | Some("Pending"));
        let asked = reason == "Starting" && *runs && (first_look || self.found.contains(name));
        let was_found = if asked { !self.found.insert(name.to_owned()) } else { self.found.remove(name) };
        let under_way = matches!(&**phase, "Creating" | "Starting") && !asked;
        if under_way && !known(&self.begun) {
            self.begun.push(name.to_owned());
            return Change::Begun(self.begun.len());
        }
        if *serves && known(&self.begun) && !known(&self.started) {
            self.started.push(name.to_owned());
            return Change::Started;
        }
        // A first look at what is well already is no news; neither is Creating after Begun.
        let news = !serves || !(first_look || was_found);
        let silent = under_way || asked || phase == "Pending" || !news;
        if newly_stalled || (before.as_ref() != Some(phase) && !silent) { Change::Phase } else { Change::None }
    }

    pub fn started(&self) -> &[String] {
        &self.started
    }

    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.failed.iter().map(String::as_str)
    }
}

/// The log lines of the system that this one replaces, and one for each other change of phase.
#[derive(Debug)]
pub struct LogLines {
    tally: Tally,
    services: usize,
}

impl LogLines {
    /// `services`: how many the manifests describe.
    pub fn new(services: usize) -> Self {
        Self { tally: Tally::default(), services }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Progress for LogLines {
    fn update(&mut self, seen: &Seen) {
        let Seen { key, phase, reason, message, .. } = seen;
        match self.tally.note(seen) {
            Change::Begun(n) => info!(target: PROGRESS, "[{n}/{}] Starting service: {key}", self.services),
            Change::Started => info!(target: PROGRESS, "✓ {key} started successfully"),
            Change::Phase if seen.stalled => {
                warn!(target: PROGRESS, service = %key, phase, reason, "{key}  {phase}  {message}");
            }
            Change::Phase => info!(target: PROGRESS, service = %key, phase, reason, "{key}  {phase}  {message}"),
            Change::None => {}
        }
    }

    fn finish(&mut self) {
        let (started, failed) = (self.tally.started.len(), self.tally.failed.len());
        match (started, failed) {
            (0, 0) if self.tally.begun.is_empty() => info!(target: PROGRESS, "✓ Nothing to start"),
            (_, 0) => info!(target: PROGRESS, "🎉 Startup complete: {started} started, 0 failed"),
            _ => warn!(target: PROGRESS, "⚠ Startup complete: {started} started, {failed} failed"),
        }
    }
}

/// A row for each service that is not as it should be yet, and a line that counts.
///
/// Only that line has a spinner: one thread, however many services there are.
#[derive(Debug)]
pub struct Live {
    bars: MultiProgress,
    total: ProgressBar,
    rows: BTreeMap<ResourceKey, ProgressBar>,
    ready: BTreeSet<ResourceKey>,
    services: usize,
    name_width: usize,
    color: bool,
}

/// Beyond so many services only those have a row that something is being done about: a terminal has
/// an end.
const MAX_ROWS: usize = 20;

const TICK: Duration = Duration::from_millis(120);

impl Live {
    /// `bars`: the same that the log writes around.
    pub fn new<'a>(bars: MultiProgress, names: impl Iterator<Item = &'a str>, color: bool) -> Self {
        let (mut services, mut name_width) = (0, 0);
        for name in names {
            services += 1;
            name_width = name_width.max(name.len());
        }
        let total = bars.add(ProgressBar::new_spinner());
        total.set_style(style("{spinner} {msg} · {elapsed}"));
        total.enable_steady_tick(TICK);
        Self { bars, total, rows: BTreeMap::new(), ready: BTreeSet::new(), services, name_width, color }
    }

    /// Whether it is worth a row.
    fn shows(&self, seen: &Seen) -> bool {
        if seen.key.kind != Kind::Service {
            return seen.stalled;
        }
        let idle = seen.serves || matches!(&*seen.phase, "Pending" | "Blocked");
        if self.services > MAX_ROWS {
            return !idle || seen.stalled;
        }
        // What is well from the first look on is no news; what became so stays in sight.
        !seen.serves || self.rows.contains_key(&seen.key)
    }
}

/// ✓ is as it should be, ✗ cannot go on, … is being worked on, · waits.
fn glyph(seen: &Seen) -> &'static str {
    match &*seen.phase {
        _ if seen.stalled => "✗",
        _ if seen.serves => "✓",
        "Pending" | "Blocked" => "·",
        _ => "…",
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓")
}

/// Whatever ends the work, an error or a signal: no row stays behind.
impl Drop for Live {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Live {
    fn update(&mut self, seen: &Seen) {
        let key = &seen.key;
        if seen.serves && key.kind == Kind::Service {
            self.ready.insert(key.clone());
        } else {
            self.ready.remove(key);
        }
        self.total.set_message(format!("{} of {} ready", self.ready.len(), self.services));
        if !self.shows(seen) {
            if let Some(row) = self.rows.remove(key) {
                self.bars.remove(&row);
            }
            return;
        }
        let row = self.rows.entry(key.clone()).or_insert_with(|| {
            let row = self.bars.insert_before(&self.total, ProgressBar::new_spinner());
            row.set_style(style("{wide_msg}"));
            row
        });
        let color = if self.color { super::table::style(&seen.phase) } else { PLAIN };
        let (width, name, phase) = (self.name_width, key.to_string(), &seen.phase);
        let (glyph, phase) = (paint(color, glyph(seen)), paint(color, &format!("{phase:<9}")));
        // In one go: a repaint between two would show halves of different moments.
        row.set_message(format!("{glyph} {name:<width$}  {phase} {}", seen.message));
    }

    fn finish(&mut self) {
        for row in self.rows.values().chain([&self.total]) {
            row.finish_and_clear();
        }
        let _ = self.bars.clear();
    }
}

/// The log always, rows too where there is a terminal. The log's level decides what is seen of it.
#[derive(Debug)]
pub struct Reporter {
    log: LogLines,
    live: Option<Live>,
}

impl Reporter {
    pub fn new<'a>(look: &Look, bars: &MultiProgress, names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let live = look.live.then(|| Live::new(bars.clone(), names.clone(), look.color));
        Self { log: LogLines::new(names.count()), live }
    }

    pub fn tally(&self) -> &Tally {
        self.log.tally()
    }
}

impl Progress for Reporter {
    fn update(&mut self, seen: &Seen) {
        self.log.update(seen);
        if let Some(live) = &mut self.live {
            live.update(seen);
        }
    }

    fn finish(&mut self) {
        if let Some(live) = &mut self.live {
            live.finish();
        }
        self.log.finish();
    }
}
