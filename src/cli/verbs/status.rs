//! `status`: its arguments, and what it prints.

use clap::Args;

use super::Session;
use crate::cli::args::OutputArg;
use crate::cli::exit::{Exit, Failure};
use crate::cli::json::StatusReport;
use crate::cli::table;
use crate::cli::view::View;
use crate::manifest::suggestion;

/// Show how everything is: a table, what to do next, and the overall line
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager status\n  env-manager status redis kafka -o wide\n  env-manager status --exit-code > /dev/null || echo not converged"
)]
pub struct Arguments {
    /// Only these services
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Exit with 3 unless everything is converged
    #[arg(long)]
    pub exit_code: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

/// Prints a view.
///
/// # Errors
/// A name that no service has.
pub fn print(session: &Session, arguments: &Arguments, view: &View) -> Result<Exit, Failure> {
    let Arguments { names, exit_code, output } = arguments;
    for name in names {
        if !view.services().any(|(known, _)| known == name) {
            let hint = suggestion(name, view.services().map(|(n, _)| n));
            return Err(Failure::new(
                Exit::Error,
                format!("there is no service `{name}` in stack {}{hint}", view.stack),
            ));
        }
    }
    let width = session.terminal.out.width;
    session.print(output.output, &StatusReport::new(view, names), |wide| table::render(view, wide, names, width));
    Ok(if *exit_code && !view.is_converged() { Exit::NotConverged } else { Exit::Done })
}
