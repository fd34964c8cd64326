//! `status`.

use clap::Args;

use super::Session;
use super::stack::{Manifests, Removing, Stack, refusals, state_dir};
use crate::cli::args::OutputArg;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{source, table};
use crate::engine::EngineError;
use crate::manifest::suggestion;
use crate::report::StatusReport;
use crate::report::{SourceKind, SourceView, View};

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

/// Reads the engine and asks each probe once: there is no daemon to ask.
///
/// # Errors
/// What keeps it from looking, and a name that no service has.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let config = &configuration.config;
    let manifests = Manifests::read(session, &configuration);
    let stack = Stack::connect(session, config).await?;
    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let mut state = state_dir(config)?;
    let controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
    let prune = controller.judge_orphans(&manifests.loaded.set, false).await.map_err(engine_failed)?;
    controller.survey(manifests.loaded.set.invalid.keys().cloned(), true).await.map_err(engine_failed)?;
    let source = SourceView { kind: SourceKind::Engine, ..source::view(&configuration, &manifests.loaded) };
    let mut view = stack.view(config, &controller, source, manifests.invalid());
    view.notes = refusals(&prune);
    view.notes.extend(prune.remove.iter().map(|key| format!("{key} is not described; `env-manager apply` removes it")));
    print(session, arguments, &view)
}

fn print(session: &Session, arguments: &Arguments, view: &View) -> Result<Exit, Failure> {
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
