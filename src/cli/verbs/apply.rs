//! `apply`.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::stack::{CliEngine, Manifests, Removing, Stack, state_dir};
use super::{Session, plan};
use crate::cli::args::{OutputArg, duration};
use crate::cli::exit::{Exit, Failure};
use crate::cli::json::ApplyReport;
use crate::cli::progress::{Progress, Reporter, Seen, Tally};
use crate::cli::table::Show;
use crate::cli::{interrupted, logging, source, table};
use crate::controller::Controller;
use crate::controller::converge::{Ending, Goal};
use crate::engine::EngineError;
use crate::report::StatusReport;
use crate::resource::key::Kind;

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

/// # Errors
/// What keeps it from beginning; what happens on the way is in the table and the exit code.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.dry_run {
        return plan::run(session, arguments.output, true, arguments.allow_prune).await;
    }
    let configuration = session.load(true)?;
    let config = &configuration.config;
    let began = Instant::now();
    logging::announce(config, false);
    let manifests = Manifests::read(session, &configuration);
    manifests.require(config)?;
    logging::connecting(config);
    let stack = Stack::connect(session, config).await?;
    logging::connected(&stack.info);
    let mut state = state_dir(config)?;
    let _lock = state.lock("env-manager apply").map_err(|e| Failure::from_error(Exit::Error, &e))?;

    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
    state.save().map_err(|e| Failure::from_error(Exit::Error, &e))?;
    let prune = controller.judge_orphans(&manifests.loaded.set, arguments.allow_prune).await.map_err(engine_failed)?;
    let mut notes = prune.refusals();
    let mut reporter = Reporter::new(&session.terminal.err, &session.bars, manifests.services());
    let until = began + arguments.timeout;
    let mut round = Round { controller, reporter: &mut reporter, until };
    let mut ending = round.run().await?;

    if !prune.remove.is_empty() && matches!(ending, Ending::Reached | Ending::Stuck) {
        // Last, and only if the manifests are still what they were: half a `git checkout` must not
        // remove what its other half describes.
        if manifests.are_settled(session, &configuration, config.prune_delay).await {
            round.controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
            prune.remove.iter().filter(|k| k.kind == Kind::Service).for_each(|k| state.forget(&k.name));
            round.controller.remove(prune.remove);
            ending = round.run().await?;
        } else {
            notes.push("the manifests changed meanwhile, so nothing was removed; run apply again".to_owned());
            ending = Ending::Stuck;
        }
    }
    let controller = round.controller;
    reporter.finish();
    state.set_passed_gates(controller.passed_gates());
    state.save().map_err(|e| Failure::from_error(Exit::Error, &e))?;

    let source = source::view(&configuration, &manifests.loaded);
    let mut view = stack.view(config, &controller, source, manifests.invalid());
    view.notes = notes;
    let exit = match ending {
        Ending::Interrupted => Exit::Interrupted,
        Ending::TimedOut | Ending::Stuck => Exit::NotConverged,
        Ending::Reached => Exit::Done,
    };
    if ending == Ending::TimedOut {
        view.notes.push(format!("not converged within {}", humantime::format_duration(arguments.timeout)));
    }
    let report = StatusReport::new(&view, &[]);
    Ok(print(session, arguments, report, began.elapsed(), reporter.tally(), exit))
}

/// One controller run to its end, with what it says on the way.
struct Round<'a> {
    controller: Controller<CliEngine>,
    reporter: &'a mut Reporter,
    until: Instant,
}

impl Round<'_> {
    async fn run(&mut self) -> Result<Ending, Failure> {
        let reporter = &mut *self.reporter;
        let left = self.until.saturating_duration_since(Instant::now());
        self.controller
            .converge(Goal::Converged, Some(left), interrupted(), |key, status| {
                if let Some(status) = status {
                    reporter.update(&Seen::of(key, status));
                }
            })
            .await
            .map_err(|e| Failure::from_error(Exit::Error, &e))
    }
}

/// The last word. `exit` takes in what the report does not know: a timeout is [`Exit::NotConverged`],
/// a signal [`Exit::Interrupted`].
fn print(
    session: &Session,
    arguments: &Arguments,
    report: StatusReport,
    took: Duration,
    tally: &Tally,
    exit: Exit,
) -> Exit {
    let exit = exit.and(Exit::of(&report));
    let report = ApplyReport::new(report, took, exit, tally);
    session.print(arguments.output.output, &report, |wide| {
        table::render(&report.status, Show { wide, took: Some(took), ..session.show() })
    });
    exit
}
