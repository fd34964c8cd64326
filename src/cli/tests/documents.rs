use std::collections::BTreeMap;

use clap::CommandFactory;

use super::super::args::Cli;
use super::super::changes::PlanReport;
use super::super::describe::DescribeReport;
use super::super::events::EventReport;
use super::super::json::{ApplyReport, to_json};
use super::super::terminal::{Look, Stream, When};
use super::*;
use crate::report::StatusReport;
use crate::report::{Advice, advice};
use crate::resource::Kind;
use crate::resource::status::Phase;

#[test]
fn colours_are_for_terminals_that_did_not_decline() {
    let look = |when, vars: &[(&str, &str)], width| {
        let env = Environment(vars.iter().map(|(k, v)| (k.into(), v.into())).collect());
        let look = Look::new(Stream::Out, when, &env, width);
        (look.color, look.live)
    };
    let terminal = Some(80);
    assert_eq!(look(When::Auto, &[], terminal), (true, true));
    assert_eq!(look(When::Auto, &[], None), (false, false));
    assert_eq!(look(When::Auto, &[("NO_COLOR", "1")], terminal), (false, true));
    assert_eq!(look(When::Auto, &[("NO_COLOR", "")], terminal), (true, true));
    assert_eq!(look(When::Auto, &[("CI", "true")], terminal), (false, false));
    assert_eq!(look(When::Auto, &[("TERM", "dumb")], terminal), (false, false));
    assert_eq!(look(When::Auto, &[("CLICOLOR_FORCE", "1")], None), (true, false));
    assert_eq!(look(When::Always, &[("NO_COLOR", "1")], None), (true, false));
    assert_eq!(look(When::Never, &[], terminal), (false, true));
}

#[test]
fn the_heaviest_exit_code_wins() {
    let mut all = Exit::ALL.to_vec();
    all.sort();
    all.reverse();
    assert_eq!(all.iter().map(|e| e.code()).collect::<Vec<_>>(), [130, 5, 4, 1, 3, 2, 0]);
    assert_eq!(Exit::Changes.and(Exit::Invalid), Exit::Invalid);
    assert_eq!(Exit::Error.and(Exit::NotConverged), Exit::Error);
}

#[test]
fn the_documentation_has_every_exit_code_and_verb() {
    let doc = include_str!("../../../docs/cli.md");
    for exit in Exit::ALL {
        let row = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(doc.contains(&row), "docs/cli.md lacks\n{row}");
        assert!(exit::help_text().contains(exit.meaning()));
    }
    for verb in verbs(&Cli::command()) {
        assert!(doc.contains(&format!("| `{verb}")), "docs/cli.md lacks a row for `{verb}`");
    }
}

/// `config show`, not `config`.
fn verbs(command: &clap::Command) -> Vec<String> {
    let leaf = |c: &clap::Command| match c.get_subcommands().next() {
        None => vec![c.get_name().to_owned()],
        Some(_) => c.get_subcommands().map(|s| format!("{} {}", c.get_name(), s.get_name())).collect(),
    };
    command.get_subcommands().filter(|c| c.get_name() != "help").flat_map(leaf).collect()
}

fn walk(command: &clap::Command, seen: &mut BTreeMap<String, bool>) {
    for sub in command.get_subcommands() {
        let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
        seen.insert(sub.get_name().to_owned(), help.contains("Example") && help.contains("env-manager "));
        walk(sub, seen);
    }
}

#[test]
fn every_verb_s_help_has_an_example_and_the_definition_is_sound() {
    Cli::command().debug_assert();
    let mut seen = BTreeMap::new();
    walk(&Cli::command(), &mut seen);
    let without: Vec<_> = seen.iter().filter(|(_, has)| !**has).map(|(name, _)| name).collect();
    assert!(!seen.is_empty() && without.is_empty(), "no example: {without:?}");
}

#[test]
fn every_reason_has_a_row_in_the_operations_manual() {
    let doc = include_str!("../../../docs/operations.md");
    for reason in Reason::ALL {
        let Advice { meaning, next, .. } = advice(*reason);
        let row = format!("| `{reason}` | {} | {meaning} | {next} |", reason.phase());
        assert!(doc.contains(&row), "docs/operations.md lacks\n{row}");
    }
    let rows = doc.lines().filter(|l| l.starts_with("| `")).count();
    assert_eq!(rows, Reason::ALL.len(), "docs/operations.md has a row for something that is no reason");
}

#[test]
fn who_is_stuck_is_always_told_what_to_do() {
    for reason in Reason::ALL {
        let bad = matches!(reason.phase(), Phase::Failed | Phase::Conflict | Phase::Invalid | Phase::NotReady);
        assert!(!bad || advice(*reason).acts, "{reason}");
    }
    assert!(Kind::Network < Kind::Service, "networks are listed before services");
}

#[test]
fn schemas_under_docs_are_up_to_date() {
    let schemas = [
        ("status", schemars::schema_for!(StatusReport)),
        ("plan", schemars::schema_for!(PlanReport)),
        ("apply", schemars::schema_for!(ApplyReport)),
        ("describe", schemars::schema_for!(DescribeReport)),
        ("event", schemars::schema_for!(EventReport)),
    ];
    for (name, schema) in schemas {
        let path = format!("{}/docs/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let text = to_json(&schema);
        if std::env::var_os("ENV_MANAGER_TEST_WRITE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{path} is stale: run this test with ENV_MANAGER_TEST_WRITE=1 and commit it");
    }
}
