//! `down`.

use std::time::Duration;

use clap::Args;

use super::Session;
use super::stack::{Manifests, Removing, Stack, state_dir};
use crate::cli::args::duration;
use crate::cli::exit::{Exit, Failure};
use crate::cli::remote::Remote;
use crate::cli::{interrupted, logging};
use crate::controller::converge::{Ending, Goal};
use crate::controller::owned_resources;
use crate::resource::ResourceKey;
use crate::resource::key::Kind;
use crate::resource::overall::is_gone;
use crate::resource::status::Phase;

/// Remove what this stack owns, in reverse order
///
/// Volumes stay, unless asked for: they are data.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:\n  env-manager down\n  env-manager down --volumes --stack scratch")]
pub struct Arguments {
    /// Remove the stack's own volumes and the data in them, too
    #[arg(long)]
    pub volumes: bool,
    /// Remove what other folders of manifests have put into this stack, too
    #[arg(long)]
    pub all_sources: bool,
    /// Give up after so long (exit code 3)
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
}

/// # Errors
/// What keeps it from beginning.
pub async fn run(session: &Session, arguments: Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let config = &configuration.config;
    if let Some(remote) = Remote::find(session, &configuration).await? {
        let stop = remote.process.map(|process| format!(" (`kill {process}`)")).unwrap_or_default();
        return Err(Failure::new(
            Exit::Error,
            format!(
                "{} keeps stack {} and would bring back what `down` removes; stop it first{stop}, or use `make down`",
                remote.who(),
                remote.stack
            ),
        ));
    }
    // They tell the order. Without them everything still goes, in any order.
    let manifests = Manifests::read(session, &configuration);
    let stack = Stack::connect(session, config).await?;
    let mut state = state_dir(config)?;
    let _lock = state.lock("env-manager down").map_err(|e| Failure::from_error(Exit::Error, &e))?;
    stack.is_free(config, "env-manager down").await?;
    let owned =
        owned_resources(&*stack.engine, &config.stack).await.map_err(|e| Failure::from_error(Exit::Unreachable, &e))?;
    let removing = Removing::Stack { volumes: arguments.volumes, all_sources: arguments.all_sources };
    let controller = stack.controller(config, &manifests, &mut state, removing);
    let (ours, others): (Vec<_>, Vec<_>) =
        owned.into_iter().partition(|r| arguments.all_sources || r.source == manifests.loaded.set.source);
    let volumes_too = |key: &ResourceKey| key.kind != Kind::Volume || arguments.volumes;
    controller.remove(ours.into_iter().map(|r| r.key).filter(volumes_too));

    let ending = controller
        .converge(Goal::Gone, Some(arguments.timeout), interrupted(), |key, status| {
            let Some(status) = status else {
                tracing::info!(target: logging::PROGRESS, "{key}  removed");
                return;
            };
            if is_gone(status) {
                tracing::debug!(target: logging::PROGRESS, "{key}  removed");
            } else if status.phase == Phase::Terminating && key.kind == Kind::Service {
                tracing::info!(target: logging::PROGRESS, "{key}  {}", status.message);
            }
        })
        .await
        .map_err(|e| Failure::from_error(Exit::Error, &e))?;
    for other in others.iter().filter(|r| r.key.kind != Kind::Volume) {
        session.terminal.err.print(&format!(
            "note: {} was kept: it belongs to {}, and these manifests are {} (`down --all-sources` removes it too)\n",
            other.key, other.source, manifests.loaded.set.source
        ));
    }
    for (key, status) in controller.status().snapshot().iter().filter(|(_, s)| s.is_stalled()) {
        session.terminal.err.print(&format!("{key}: {}\n", status.message));
    }
    let left =
        owned_resources(&*stack.engine, &config.stack).await.map_err(|e| Failure::from_error(Exit::Unreachable, &e))?;
    let volumes = left.iter().filter(|r| r.key.kind == Kind::Volume).count();
    let rest = left.len() - volumes;
    let kept = if volumes > 0 && !arguments.volumes {
        format!("; {volumes} volumes and their data are kept")
    } else {
        String::new()
    };
    session.terminal.out.print(&match rest {
        0 => format!("nothing of stack {} is left{kept}\n", config.stack),
        n => format!("{n} containers and networks of stack {} are left{kept}\n", config.stack),
    });
    Ok(match ending {
        Ending::Reached => Exit::Done,
        Ending::Interrupted => Exit::Interrupted,
        Ending::Stuck | Ending::TimedOut => Exit::NotConverged,
    })
}
