//! `plan`.

use clap::Args;

use super::Session;
use super::stack::{Manifests, Removing, state_dir};
use crate::cli::args::OutputArg;
use crate::cli::changes::PlanReport;
use crate::cli::exit::{Exit, Failure};
use crate::cli::source;
use crate::engine::EngineError;
use crate::report::SourceReport;

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

/// For `apply --dry-run` too.
///
/// # Errors
/// What keeps it from looking.
pub async fn run(session: &Session, output: OutputArg, detailed: bool, allow_prune: bool) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let config = &configuration.config;
    let mut manifests = Manifests::read(session, &configuration);
    manifests.require(config)?;
    let stack = manifests.connect(session, config).await?;
    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let mut state = state_dir(config)?;
    let controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
    let prune = controller.judge_orphans(&manifests.loaded.set, allow_prune).await.map_err(engine_failed)?;
    let notes = prune.refusals();
    let orphans = prune.remove.clone();
    controller.remove(prune.remove);
    let plans = controller.survey(orphans, false).await.map_err(engine_failed)?;
    let source = SourceReport::new(&source::view(&configuration, &manifests.loaded, &manifests.revision));
    let mut report = PlanReport::new(&config.stack, source, plans.values());
    report.invalid_manifests = manifests.invalid();
    report.notes = notes;
    session.print(output.output, &report, |wide| report.render(detailed || wide));
    Ok(report.exit())
}
