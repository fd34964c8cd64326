//! `config show`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Session;
use crate::cli::args::OutputArg;
use crate::cli::exit::{Exit, Failure};
use crate::cli::layout::{Cell, Fit, Table};
use crate::cli::terminal::DIM;
use crate::config::{Origin, show};

/// Look at the configuration
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ENV_MANAGER_MAX_CONCURRENT=2 env-manager config show")]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(Show),
}

/// Print every key with its value and where that came from
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  env-manager --config deploy/local.toml config show -o json")]
struct Show {
    #[command(flatten)]
    output: OutputArg,
}

pub fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let Verb::Show(Show { output }) = &arguments.verb;
    let loaded = session.load(false)?;
    let width = session.terminal.out.width;
    session.print(output.output, &show::by_key(&loaded), |_| {
        let mut table = Table::new(&["KEY", "VALUE", "ORIGIN"]);
        for row in show::rows(&loaded) {
            let origin = Cell::new(&row.origin).fit(Fit::Wrap);
            let origin = if row.origin == Origin::Default.to_string() { origin.styled(DIM) } else { origin };
            table.row(vec![Cell::new(&row.key), Cell::new(text(&row.value)), origin]);
        }
        let mut out = table.render(width);
        for note in &loaded.notes {
            out.push_str(&format!("note: {note}\n"));
        }
        out
    });
    Ok(Exit::Done)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        // The one key that may be unset.
        Value::Null => "(Docker's current context)".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
