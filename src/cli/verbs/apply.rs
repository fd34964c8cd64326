//! `apply`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::stack::{CliEngine, Manifests, Removing, state_dir};
use super::{Session, plan};
use crate::cli::args::{OutputArg, duration};
use crate::cli::exit::{Exit, Failure};
use crate::cli::follow::until_converged;
use crate::cli::json::ApplyReport;
use crate::cli::progress::{Progress, Reporter, Seen, Tally};
use crate::cli::remote::Remote;
use crate::cli::table::Show;
use crate::cli::{interrupted, logging, source, table};
use crate::config::Loaded;
use crate::controller::Controller;
use crate::controller::converge::{Ending, Goal};
use crate::engine::EngineError;
use crate::proto::env_manager::v1;
use crate::report::StatusReport;
use crate::resource::key::Kind;
use crate::state::StateError;

/// Bring everything into the described state once, then exit
///
/// Shows what happens on the way. No daemon is needed; one that keeps the stack is asked to do it, and followed. What is no longer described is removed, within limits;
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
    if let Some(remote) = Remote::find(session, &configuration).await? {
        return beside(session, arguments, &configuration, remote, began).await;
    }
    logging::announce(config, false);
    let mut manifests = Manifests::read(session, &configuration);
    manifests.require(config)?;
    logging::connecting(config);
    let stack = manifests.connect(session, config).await?;
    logging::connected(&stack.info);
    let mut state = state_dir(config)?;
    let _lock = match state.lock("env-manager apply") {
        Ok(lock) => lock,
        // A daemon that has just begun holds the lock before it answers.
        Err(error @ StateError::Locked { .. }) => match Remote::appearing(session, &configuration, &error).await? {
            Some(remote) => return beside(session, arguments, &configuration, remote, began).await,
            None => return Err(Failure::from_error(Exit::Error, &error)),
        },
        Err(error) => return Err(Failure::from_error(Exit::Error, &error)),
    };

    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
    let (free, prune) = tokio::join!(
        stack.is_free(config, "env-manager apply"),
        controller.judge_orphans(&manifests.loaded.set, arguments.allow_prune)
    );
    free?;
    state.save().map_err(|e| Failure::from_error(Exit::Error, &e))?;
    let prune = prune.map_err(engine_failed)?;
    let kept = prune.kept();
    let mut notes = prune.refusals();
    let mut reporter = Reporter::new(&session.terminal.err, &session.bars, manifests.services());
    let until = began + arguments.timeout;
    let mut round = Round { controller, reporter: &mut reporter, until };
    let mut ending = round.run().await?;

    if !prune.remove.is_empty() && matches!(ending, Ending::Reached | Ending::Stuck) {
        // Last, and only if the manifests are still what they were: half a `git checkout` must not
        // remove what its other half describes.
        if manifests.are_settled(session, &configuration, config.prune_delay).await {
            state.set_revisions(round.controller.revisions());
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
    state.set_revisions(controller.revisions());
    state.save().map_err(|e| Failure::from_error(Exit::Error, &e))?;

    let source = source::view(&configuration, &manifests.loaded, &manifests.revision);
    let mut view = stack.view(config, &controller, source, manifests.invalid());
    view.kept = kept;
    view.notes = notes;
    let exit = match ending {
        Ending::Interrupted => Exit::Interrupted,
        Ending::TimedOut | Ending::Stuck => Exit::NotConverged,
        Ending::Reached => Exit::Done,
    };
    if ending == Ending::TimedOut {
        view.notes.push(not_within(arguments.timeout));
    }
    let report = StatusReport::new(&view, &[]);
    Ok(print(session, arguments, report, began.elapsed(), reporter.tally(), exit))
}

/// A daemon keeps the stack: it is asked to look, and followed.
async fn beside(
    session: &Session,
    arguments: &Arguments,
    configuration: &Loaded,
    remote: Remote,
    began: Instant,
) -> Result<Exit, Failure> {
    let theirs = match &remote.manifests {
        Some(manifests) => manifests.clone(),
        None => remote.report().await?.source.location.into(),
    };
    let ours = &configuration.config.manifests;
    if real(&theirs) != real(ours) {
        return Err(Failure::new(
            Exit::Error,
            format!(
                "{} keeps stack {} as {} describes it, and not {}; name that folder with --manifests, another \
                 stack with --stack, or stop the daemon first",
                remote.who(),
                remote.stack,
                theirs.display(),
                real(ours).display()
            ),
        ));
    }
    tracing::info!("{} keeps this stack: it is asked to look, and followed", remote.who());
    let request = v1::SyncRequest { service_names: Vec::new(), allow_prune: arguments.allow_prune };
    let synced = remote.ask(remote.client.clone().sync(request)).await?;
    if !synced.message.is_empty() {
        tracing::warn!("{}", synced.message);
    }
    let until = began + arguments.timeout;
    let mut followed = until_converged(session, configuration, remote, until, |_| true).await?;
    if followed.ending == Ending::TimedOut {
        followed.report.notes.push(not_within(arguments.timeout));
    }
    let exit = followed.exit();
    Ok(print(session, arguments, followed.report, began.elapsed(), &followed.tally, exit))
}

/// Without links on the way, where it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn not_within(timeout: Duration) -> String {
    format!("not converged within {}", humantime::format_duration(timeout))
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
