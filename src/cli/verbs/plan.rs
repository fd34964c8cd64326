//! `plan`: its arguments, and what it prints.

use clap::Args;

use super::Session;
use crate::cli::args::OutputArg;
use crate::cli::changes::PlanReport;
use crate::cli::exit::Exit;

/// Show what would change, and why, field by field
///
/// The engine is only read. Exits 2 where something would change.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  env-manager plan\n  env-manager plan --detailed --manifests ../next-version")]
pub struct Arguments {
    /// Every step, too
    #[arg(long)]
    pub detailed: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

/// Show what would change, step by step: the same as `plan --detailed`
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Example:\n  env-manager diff")]
pub struct DiffArguments {
    #[command(flatten)]
    pub output: OutputArg,
}

impl From<DiffArguments> for Arguments {
    fn from(DiffArguments { output }: DiffArguments) -> Self {
        Self { detailed: true, output }
    }
}

/// Prints a plan; for `apply --dry-run` too.
pub fn print(session: &Session, detailed: bool, output: OutputArg, report: &PlanReport) -> Exit {
    session.print(output.output, report, |wide| report.render(detailed || wide));
    report.exit()
}
