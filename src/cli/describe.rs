//! Everything about one service, for people and for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::events::{EventReport, Lines};
use super::layout::{Cell, Fit, Table, clean};
use super::table::{age, style};
use super::terminal::{BAD, GOOD, HEAD, WARN, paint};
use crate::clock::Timestamp;
use crate::grpc::convert::{service_report, timestamp};
use crate::proto::env_manager::v1;
use crate::report::{ServiceReport, StatusReport};
use crate::resource::units::human_duration;

/// Of the newest events, in text.
const EVENTS: usize = 10;

/// What `describe -o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribeReport {
    pub stack: String,
    pub service: ServiceReport,
    /// What the manifest asks for, without values of secrets; `null` where no good manifest is known.
    pub spec: serde_json::Value,
    /// Where the manifest stands: `manifests/redis.yaml`.
    pub manifest: Option<String>,
    pub dependencies: Vec<DependencyState>,
    /// Services that need this one.
    pub dependents: Vec<String>,
    /// What differs between spec and engine right now.
    pub drift: Vec<DriftReport>,
    /// What is to be done, as `plan` prints it; `null`: nothing.
    pub plan: Option<String>,
    pub probes: Vec<ProbeReport>,
    /// Names of its containers on the engine.
    pub containers: Vec<String>,
    /// Who suspended it by call, and since when.
    pub suspended_by: Option<String>,
    pub backoff: Option<BackoffReport>,
    /// How the last run of its container ended that went wrong.
    pub ending: Option<EndingReport>,
    /// Oldest first.
    pub events: Vec<EventReport>,
    /// RFC 3339: when it was so.
    pub time: String,
    /// As it was sent: comments and order of the YAML are for people.
    #[serde(skip)]
    spec_text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DependencyState {
    pub service: String,
    /// `Started`, `Ready` or `Completed`.
    pub condition: String,
    /// `null` where there is no such service (any more).
    pub phase: Option<String>,
    pub ready: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// As manifests call it: `resources.memory`.
    pub field: String,
    /// `null`: unset.
    pub old: Option<String>,
    pub new: Option<String>,
    /// `in place` or `replace`.
    pub closed_by: String,
    pub cause: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    /// `startup`, `readiness` or `liveness`.
    pub probe: String,
    /// `http`, `redis`, …
    pub kind: String,
    pub passed: bool,
    pub message: String,
    /// `container address 172.18.0.3:6379`, `exec`, …
    pub route: String,
    /// RFC 3339: of the last try.
    pub time: String,
    pub took_ms: f64,
    pub consecutive_failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackoffReport {
    /// In a row.
    pub failures: u32,
    /// Until it comes again; `null`: it is not planned.
    pub due_in_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndingReport {
    /// `exited with code 137, killed by the kernel: out of memory`
    pub how: String,
    /// RFC 3339; `null`: the run goes on, and does not become ready.
    pub time: Option<String>,
    /// What it wrote last: at most three lines of 200 characters, secrets masked.
    pub lines: Vec<String>,
}

impl DescribeReport {
    /// `all`: the status of everything, for the dependencies.
    pub fn new(description: v1::DescribeServiceResponse, all: &StatusReport) -> Self {
        let v1::DescribeServiceResponse {
            service,
            spec,
            dependents,
            drift,
            plan,
            probes,
            events,
            manifest,
            containers,
            suspended_by,
            backoff,
            ending,
        } = description;
        let service = service_report(service.unwrap_or_default());
        let some = |text: String| (!text.is_empty()).then_some(text);
        let dependencies = service.depends_on.iter().map(|dependency| {
            let found = all.services.iter().find(|s| s.name == dependency.service);
            DependencyState {
                service: dependency.service.clone(),
                condition: dependency.condition.clone(),
                phase: found.map(|s| s.phase.clone()),
                ready: found.is_some_and(|s| s.ready),
            }
        });
        Self {
            stack: all.stack.clone(),
            dependencies: dependencies.collect(),
            service,
            // Not understood (a newer daemon): programs still have everything else.
            spec: serde_yaml::from_str(&spec).unwrap_or(serde_json::Value::Null),
            manifest: some(manifest),
            dependents,
            drift: drift.into_iter().map(DriftReport::new).collect(),
            plan: some(plan),
            probes: probes.into_iter().map(ProbeReport::new).collect(),
            containers,
            suspended_by: some(suspended_by),
            backoff: backoff.as_ref().map(BackoffReport::new),
            ending: ending.map(EndingReport::new),
            events: events.into_iter().map(EventReport::new).collect(),
            time: all.time.clone(),
            spec_text: spec,
        }
    }
}

impl DriftReport {
    fn new(drift: v1::FieldDrift) -> Self {
        let v1::FieldDrift { field, old, new, closed_by, cause } = drift;
        Self { field, old, new, closed_by, cause }
    }
}

impl ProbeReport {
    fn new(probe: v1::ProbeResult) -> Self {
        let v1::ProbeResult { probe, passed, message, route, time, took, consecutive_failures, kind } = probe;
        let took = took.and_then(|d| std::time::Duration::try_from(d).ok()).unwrap_or_default();
        Self {
            probe,
            kind,
            passed,
            message,
            route,
            time: time.as_ref().and_then(timestamp).map(|t| t.to_string()).unwrap_or_default(),
            took_ms: took.as_secs_f64() * 1e3,
            consecutive_failures,
        }
    }
}

impl BackoffReport {
    fn new(backoff: &v1::KeyBackoff) -> Self {
        let v1::KeyBackoff { key: _, failures, due_in } = backoff;
        let due_in = due_in.and_then(|d| std::time::Duration::try_from(d).ok());
        Self { failures: *failures, due_in_ms: due_in.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)) }
    }
}

impl EndingReport {
    fn new(ending: v1::Ending) -> Self {
        let v1::Ending { how, time, lines } = ending;
        Self { how, time: time.as_ref().and_then(timestamp).map(|t| t.to_string()), lines }
    }

    fn text(&self, ago: &impl Fn(&str) -> Option<String>) -> String {
        match self.time.as_deref().and_then(ago) {
            Some(age) => format!("{}, {age} ago", self.how),
            None => self.how.clone(),
        }
    }
}

impl DescribeReport {
    pub fn render(&self, width: Option<usize>) -> String {
        let now = Timestamp::parse(&self.time).unwrap_or_default();
        let ago = |time: &str| Timestamp::parse(time).map(|t| age(now.since(t)));
        let mut out = self.head(&ago);
        let mut section = |title: &str, body: String| {
            if !body.is_empty() {
                out.push_str(&format!("\n{}\n{}", paint(HEAD, title), indented(&body)));
            }
        };
        // What is indented has less room.
        let width = width.map(|w| w.saturating_sub(INDENT.len()));
        section("Conditions", self.conditions(&ago, width));
        section("Its last words", lines_as_is(self.ending.as_ref().map(|e| &e.lines[..]).unwrap_or_default()));
        section("Depends on", self.dependencies(width));
        section("Needed by", lines(&self.dependents));
        section("Probes", self.probes(&ago, width));
        section("Differs from its manifest", self.drift(width));
        section("To be done", as_is(self.plan.as_deref().unwrap_or_default()));
        section("Spec", as_is(&self.spec_text));
        section("Events (UTC)", self.events(now));
        out
    }

    /// What it is and how it is, a line each.
    fn head(&self, ago: &impl Fn(&str) -> Option<String>) -> String {
        let s = &self.service;
        let phase = paint(style(&s.phase), &s.phase);
        let required = if s.required { "required" } else { "not required" };
        let agrees = if s.converged { "as described" } else { "not as described yet" };
        let mut out = format!("{}  {phase} · {required} · {agrees}\n", paint(HEAD, &clean(&s.name)));
        let mut row = |what: &str, text: String| {
            if !text.is_empty() {
                out.push_str(&format!("{INDENT}{what:<12}{}\n", clean(&text)));
            }
        };
        row("message", s.message.clone());
        row("next", s.next.clone().unwrap_or_default());
        row(
            "manifest",
            match (&self.manifest, &*s.revision) {
                (Some(manifest), "") => manifest.clone(),
                (Some(manifest), revision) => format!("{manifest} @ {revision}"),
                (None, _) => String::new(),
            },
        );
        row(
            "generation",
            match (s.observed_generation, s.generation) {
                (0, n) => format!("{n}, not seen on the engine yet"),
                (seen, n) if seen == n => n.to_string(),
                (seen, n) => format!("{n}, on the engine: {seen}"),
            },
        );
        row("image", s.image.clone().unwrap_or_default());
        row("stand-in", s.stand_in.as_ref().map(|of| format!("for {of}")).unwrap_or_default());
        row("container", self.container(ago));
        row("ports", s.ports.join(", "));
        row("suspended", self.suspended_by.as_ref().map(|by| format!("by {by}")).unwrap_or_default());
        row("restarted", self.who_restarts().unwrap_or_default().to_owned());
        row("backoff", self.backoff.as_ref().map(BackoffReport::text).unwrap_or_default());
        row("last end", self.ending.as_ref().map(|ending| ending.text(ago)).unwrap_or_default());
        out
    }

    /// Once its process has ended.
    fn who_restarts(&self) -> Option<&'static str> {
        let restart = &self.spec.get("container").unwrap_or(&self.spec)["restart"];
        match restart.as_str() {
            Some("Managed") => Some("by env-manager, once what it needs is there; not while no daemon runs"),
            Some("UnlessStopped" | "Always") => Some("by Docker, in any order when the engine starts"),
            Some("No") => Some("by nobody: it is meant to end"),
            None if restart.is_object() => Some("by Docker, while its exit code is not 0"),
            _ => None,
        }
    }

    /// `kafka 4be1f0c2a97d, running for 41s, 3 restarts`
    fn container(&self, ago: &impl Fn(&str) -> Option<String>) -> String {
        let s = &self.service;
        let mut parts = Vec::new();
        let id = s.container_id.as_deref().map(|id| id.get(..12).unwrap_or(id));
        match (&self.containers[..], id) {
            ([], None) => return String::new(),
            ([name], Some(id)) => parts.push(format!("{name} {id}")),
            (names, id) => parts.extend(names.iter().cloned().chain(id.map(|id| format!("serving: {id}")))),
        }
        let started = s.started_at.as_deref().and_then(ago);
        parts.extend(match (s.exit_code, started) {
            (Some(code), _) => Some(format!("ended with exit code {code}")),
            (None, Some(age)) => Some(format!("running for {age}")),
            (None, None) => None,
        });
        parts.extend(match s.restarts {
            0 => None,
            1 => Some("1 restart".to_owned()),
            n => Some(format!("{n} restarts")),
        });
        parts.join(", ")
    }

    fn conditions(&self, ago: &impl Fn(&str) -> Option<String>, width: Option<usize>) -> String {
        let mut table = Table::new(&["TYPE", "STATUS", "REASON", "FOR", "MESSAGE"]);
        for c in &self.service.conditions {
            let since = ago(&c.last_transition_time).unwrap_or_else(|| "-".to_owned());
            table.row(vec![
                Cell::new(&c.kind),
                Cell::new(&c.status),
                Cell::new(&c.reason),
                Cell::new(since),
                Cell::new(&c.message).fit(Fit::Wrap),
            ]);
        }
        if self.service.conditions.is_empty() { String::new() } else { table.render(width) }
    }

    fn dependencies(&self, width: Option<usize>) -> String {
        let mut table = Table::new(&["NAME", "UNTIL", "READY", "STATUS"]);
        for d in &self.dependencies {
            let phase = d.phase.as_deref().unwrap_or("missing");
            let phase_style = d.phase.as_deref().map_or(BAD, style);
            table.row(vec![
                Cell::new(&d.service),
                Cell::new(&d.condition),
                Cell::new(if d.ready { "yes" } else { "no" }),
                Cell::new(phase).styled(phase_style),
            ]);
        }
        if self.dependencies.is_empty() { String::new() } else { table.render(width) }
    }

    fn probes(&self, ago: &impl Fn(&str) -> Option<String>, width: Option<usize>) -> String {
        let mut table = Table::new(&["PROBE", "KIND", "RESULT", "AGE", "TOOK", "ROUTE", "MESSAGE"]);
        for p in &self.probes {
            let result = match (p.passed, p.consecutive_failures) {
                (true, _) => Cell::new("passed").styled(GOOD),
                (false, 0 | 1) => Cell::new("failed").styled(WARN),
                (false, n) => Cell::new(format!("failed ×{n}")).styled(WARN),
            };
            let took = std::time::Duration::try_from_secs_f64(p.took_ms / 1e3).unwrap_or_default();
            table.row(vec![
                Cell::new(&p.probe),
                Cell::new(&p.kind),
                result,
                Cell::new(ago(&p.time).unwrap_or_else(|| "-".to_owned())),
                Cell::new(human_duration(took)),
                Cell::new(&p.route),
                Cell::new(&p.message).fit(Fit::Wrap),
            ]);
        }
        if self.probes.is_empty() { String::new() } else { table.render(width) }
    }

    fn drift(&self, width: Option<usize>) -> String {
        let mut table = Table::new(&["FIELD", "CLOSED BY", "CAUSE", "ENGINE → MANIFEST"]);
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".to_owned());
        for d in &self.drift {
            table.row(vec![
                Cell::new(&d.field),
                Cell::new(&d.closed_by),
                Cell::new(&d.cause),
                Cell::new(format!("{} → {}", side(&d.old), side(&d.new))).fit(Fit::Wrap),
            ]);
        }
        if self.drift.is_empty() { String::new() } else { table.render(width) }
    }

    fn events(&self, now: Timestamp) -> String {
        let newest = &self.events[self.events.len().saturating_sub(EVENTS)..];
        let mut lines = Lines::about_one();
        lines.measure(newest);
        newest.iter().map(|event| lines.line(event, now)).collect()
    }
}

impl BackoffReport {
    fn text(&self) -> String {
        let failures = match self.failures {
            0 => String::new(),
            1 => "failed once".to_owned(),
            n => format!("failed {n} times in a row"),
        };
        let due = self.due_in_ms.map(|ms| {
            format!(
                "{} in {}",
                if failures.is_empty() { "looked at again" } else { ", tried again" },
                human_duration(std::time::Duration::from_millis(ms))
            )
        });
        format!("{failures}{}", due.unwrap_or_default())
    }
}

const INDENT: &str = "  ";

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{INDENT}{line}\n") }).collect()
}

fn lines(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{}\n", clean(&names.join(", "))) }
}

fn lines_as_is(lines: &[String]) -> String {
    as_is(&lines.join("\n"))
}

/// Lines as they were sent, which must not steer the terminal.
fn as_is(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text.trim_end()).to_string();
    let mut out: String = plain.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    if !out.is_empty() {
        out.push('\n');
    }
    out
}
