//! What `-o json` and `-o yaml` print. Names and meanings stand in `docs/schemas/*.schema.json` and only grow.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::exit::Exit;
use crate::report::StatusReport;

/// What `apply -o json` prints. (With `--dry-run` it prints what `plan` prints.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyReport {
    pub exit_code: u8,
    /// Services that were brought up in this run, in the order in which they became ready.
    pub started: Vec<String>,
    /// Services that could not be brought up.
    pub failed: Vec<String>,
    pub took_ms: u64,
    pub status: StatusReport,
}

impl ApplyReport {
    pub fn new(status: StatusReport, took: Duration, exit: Exit, tally: &super::progress::Tally) -> Self {
        Self {
            exit_code: exit.code(),
            started: tally.started().to_vec(),
            failed: tally.failed().map(str::to_owned).collect(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            status,
        }
    }
}

/// One object, two spaces, a newline at the end.
pub fn to_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain structs with text keys");
    format!("{text}\n")
}

/// One object in one line.
pub fn to_line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain structs with text keys");
    format!("{text}\n")
}

/// The same as YAML.
pub fn to_yaml(value: &impl Serialize) -> String {
    let text = serde_yaml::to_string(value).expect("plain structs with text keys");
    format!("{}\n", text.trim_end())
}
