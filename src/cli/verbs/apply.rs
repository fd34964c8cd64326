//! `apply`: its arguments, and what it prints in the end.

use std::time::Duration;

use clap::Args;

use super::Session;
use crate::cli::args::{OutputArg, duration};
use crate::cli::exit::Exit;
use crate::cli::json::ApplyReport;
use crate::cli::progress::{Reporter, Tally};
use crate::cli::table;
use crate::cli::view::View;

/// Bring everything into the described state once, then exit
///
/// Shows what happens on the way. No daemon is needed. What is no longer described is removed, within limits;
/// volumes never.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager apply\n  env-manager apply --timeout 5m --manifests ./staging --stack staging\n  env-manager apply --dry-run"
)]
pub struct Arguments {
    /// Give up after so long (exit code 3)
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
    /// Print the plan and change nothing; exits as `plan` does
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what is no longer described even beyond `prune_limit`
    #[arg(long)]
    pub allow_prune: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

/// Rows on a terminal, lines elsewhere; tell it of every status that changes.
pub fn reporter<'a>(session: &Session, services: impl Iterator<Item = &'a str> + Clone) -> Reporter {
    Reporter::new(&session.terminal.err, &session.bars, services)
}

/// The last word. `exit` takes in what the view does not know: a timeout is [`Exit::NotConverged`],
/// a signal [`Exit::Interrupted`].
pub fn print(session: &Session, arguments: &Arguments, view: &View, tally: &Tally, exit: Exit) -> Exit {
    let exit = exit.and(view.exit());
    let report = ApplyReport::new(view, exit, tally);
    let width = session.terminal.out.width;
    session.print(arguments.output.output, &report, |wide| table::render(view, wide, &[], width));
    exit
}
