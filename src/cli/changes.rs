//! A plan, for people and for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::exit::Exit;
use super::layout::clean;
use super::terminal::{BAD, DIM, GOOD, HEAD, PLAIN, WARN, paint};
use crate::plan::types::ClosedBy;
use crate::plan::{Action, FieldChange, Plan, Stage};
use crate::report::SourceReport;
use crate::resource::Kind;

/// What `plan -o json` and `apply --dry-run -o json` print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    pub stack: String,
    pub source: SourceReport,
    /// Whether anything would change; `plan` then exits 2.
    pub changes: bool,
    pub summary: Summary,
    /// Those that would change, networks and volumes first.
    pub resources: Vec<ResourceChange>,
    /// Documents that could not be applied; `plan` then exits 4.
    pub invalid_manifests: usize,
    pub notes: Vec<String>,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub create: usize,
    pub start: usize,
    pub replace: usize,
    pub update: usize,
    pub restart: usize,
    pub stop: usize,
    pub remove: usize,
    pub unchanged: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActionWord {
    Create,
    Start,
    Replace,
    /// To the container before, since the new one did not become Ready.
    RollBack,
    /// In place.
    Update,
    Restart,
    Stop,
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceChange {
    /// `service`, `network` or `volume`.
    pub kind: String,
    pub name: String,
    pub action: ActionWord,
    /// Why, in a few words.
    pub cause: String,
    pub fields: Vec<FieldReport>,
    pub stages: Vec<StageReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldReport {
    /// As manifests call it: `resources.memory`.
    pub field: String,
    /// `null`: unset.
    pub old: Option<String>,
    pub new: Option<String>,
    /// What closes the difference: a change in place, or else a new container.
    pub in_place: bool,
    pub cause: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// What must hold before it begins; `null`: nothing.
    pub gate: Option<String>,
    pub steps: Vec<StepReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    pub step: String,
    pub cause: String,
}

impl Summary {
    fn count(&mut self, action: ActionWord) {
        match action {
            ActionWord::Create => self.create += 1,
            ActionWord::Start => self.start += 1,
            ActionWord::Replace | ActionWord::RollBack => self.replace += 1,
            ActionWord::Update => self.update += 1,
            ActionWord::Restart => self.restart += 1,
            ActionWord::Stop => self.stop += 1,
            ActionWord::Remove => self.remove += 1,
        }
    }
}

impl PlanReport {
    /// `plans`: of every resource, in the order in which they are to be shown.
    pub fn new<'a>(stack: &str, source: SourceReport, plans: impl IntoIterator<Item = &'a Plan>) -> Self {
        let (mut summary, mut resources) = (Summary::default(), Vec::new());
        for plan in plans {
            let change = ResourceChange::new(plan);
            // People count services; a network is made in passing.
            match &change {
                Some(change) if plan.key.kind == Kind::Service => summary.count(change.action),
                None if plan.key.kind == Kind::Service => summary.unchanged += 1,
                _ => {}
            }
            resources.extend(change);
        }
        Self {
            stack: stack.to_owned(),
            source,
            changes: !resources.is_empty(),
            summary,
            resources,
            invalid_manifests: 0,
            notes: Vec::new(),
        }
    }

    pub fn exit(&self) -> Exit {
        if self.invalid_manifests > 0 || self.source.error.is_some() {
            Exit::Invalid
        } else if self.changes {
            Exit::Changes
        } else {
            Exit::Done
        }
    }

    /// For people. `detailed`: every step, too.
    pub fn render(&self, detailed: bool) -> String {
        let mut out = String::new();
        for resource in &self.resources {
            resource.render(detailed, &mut out);
        }
        for note in &self.notes {
            out.push_str(&paint(DIM, &format!("note: {}", clean(note))));
            out.push('\n');
        }
        out.push_str(&self.totals());
        out.push('\n');
        out
    }

    fn totals(&self) -> String {
        let Summary { create, start, replace, update, restart, stop, remove, unchanged } = self.summary;
        let invalid = match self.invalid_manifests {
            0 => String::new(),
            1 => paint(BAD, " · 1 invalid manifest"),
            n => paint(BAD, &format!(" · {n} invalid manifests")),
        };
        if !self.changes {
            return format!("nothing to change: {unchanged} of {unchanged} as described{invalid}");
        }
        let parts: Vec<_> = [
            (create, "to create"),
            (start, "to start"),
            (replace, "to replace"),
            (update, "to change in place"),
            (restart, "to restart"),
            (stop, "to stop"),
            (remove, "to remove"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .chain([format!("{unchanged} unchanged")])
        .collect();
        format!("{}{invalid}", parts.join(", "))
    }
}

impl ResourceChange {
    /// `None` where nothing is to be done.
    fn new(plan: &Plan) -> Option<Self> {
        let action = match plan.action {
            Action::None => return None,
            Action::Create => ActionWord::Create,
            Action::Start => ActionWord::Start,
            Action::Replace => ActionWord::Replace,
            Action::RollBack => ActionWord::RollBack,
            Action::Update => ActionWord::Update,
            Action::Restart => ActionWord::Restart,
            Action::Stop => ActionWord::Stop,
            Action::Remove => ActionWord::Remove,
        };
        let cause = plan.stages.iter().flat_map(|s| &s.steps).next().map(|s| s.cause.to_string());
        Some(Self {
            kind: plan.key.kind.to_string(),
            name: plan.key.name.to_string(),
            action,
            cause: cause.unwrap_or_default(),
            fields: plan.changes.iter().map(FieldReport::new).collect(),
            stages: plan.stages.iter().map(StageReport::new).collect(),
        })
    }

    fn render(&self, detailed: bool, out: &mut String) {
        let (what, style) = match self.action {
            ActionWord::Create => ("create", GOOD),
            ActionWord::Start => ("start", GOOD),
            ActionWord::Replace => ("replace container", WARN),
            ActionWord::RollBack => ("roll back to the container before", WARN),
            ActionWord::Update => ("change in place", WARN),
            ActionWord::Restart => ("restart", WARN),
            ActionWord::Stop => ("stop", BAD),
            ActionWord::Remove => ("remove", BAD),
        };
        let name = if self.kind == "service" { self.name.clone() } else { format!("{} {}", self.kind, self.name) };
        let cause = if self.fields.is_empty() { format!(" ({})", self.cause) } else { String::new() };
        out.push_str(&format!("{}: {}{cause}\n", paint(HEAD, &name), paint(style, what)));
        let values: Vec<_> = self.fields.iter().map(FieldReport::values).collect();
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let names = width(&mut self.fields.iter().map(|f| f.field.chars().count()));
        // One long value must not push every cause off the screen.
        let column = width(&mut values.iter().map(|v| v.chars().count()).filter(|n| *n <= 48));
        for (field, values) in self.fields.iter().zip(&values) {
            let cause = paint(DIM, &format!("cause: {}", field.cause));
            out.push_str(&format!("    {:<names$}  {values:<column$}  {cause}\n", field.field));
        }
        if detailed {
            for stage in &self.stages {
                stage.render(out);
            }
        }
    }
}

impl FieldReport {
    fn new(change: &FieldChange) -> Self {
        let FieldChange { field, old, new, closed_by, cause } = change;
        Self {
            field: field.clone(),
            old: old.clone(),
            new: new.clone(),
            in_place: *closed_by == ClosedBy::InPlace,
            cause: cause.to_string(),
        }
    }

    fn values(&self) -> String {
        let side = |value: &Option<String>| value.as_deref().map_or_else(|| "(unset)".to_owned(), clean);
        let (old, new) = (side(&self.old), side(&self.new));
        // `confluentinc/cp-kafka:7.9.1 → 7.9.2`: what stays need not be read twice.
        let tag = match (old.rsplit_once(':'), new.rsplit_once(':')) {
            (Some((a, _)), Some((b, tag))) if self.field == "image" && a == b => tag,
            _ => &new,
        };
        format!("{old} → {tag}")
    }
}

impl StageReport {
    fn new(stage: &Stage) -> Self {
        Self {
            gate: stage.gate.as_ref().map(ToString::to_string),
            steps: stage
                .steps
                .iter()
                .map(|s| StepReport { step: s.op.to_string(), cause: s.cause.to_string() })
                .collect(),
        }
    }

    fn render(&self, out: &mut String) {
        if let Some(gate) = &self.gate {
            out.push_str(&format!("    {}\n", paint(DIM, &format!("{gate}:"))));
        }
        for StepReport { step, cause } in &self.steps {
            out.push_str(&format!(
                "    - {} {}\n",
                paint(PLAIN, &clean(step)),
                paint(DIM, &format!("(cause: {cause})"))
            ));
        }
    }
}
