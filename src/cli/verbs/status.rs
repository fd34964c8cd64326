//! `status`.

use clap::Args;

use super::Session;
use super::stack::{Manifests, Removing, Stack, state_dir};
use crate::cli::args::OutputArg;
use crate::cli::exit::{Exit, Failure};
use crate::cli::table::Show;
use crate::cli::{source, table};
use crate::engine::EngineError;
use crate::manifest::suggestion;
use crate::report::StatusReport;
use crate::report::{SourceKind, SourceView};

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
    let manifests = Manifests::read_silently(session, &configuration);
    let stack = Stack::connect(session, config).await?;
    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let mut state = state_dir(config)?;
    let controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
    let prune = controller.judge_orphans(&manifests.loaded.set, false).await.map_err(engine_failed)?;
    controller.survey(manifests.loaded.set.invalid.keys().cloned(), true).await.map_err(engine_failed)?;
    let source = SourceView { kind: SourceKind::Engine, ..source::view(&configuration, &manifests.loaded) };
    let mut view = stack.view(config, &controller, source, manifests.invalid());
    view.findings = source::findings(&manifests.loaded);
    view.notes = prune.refusals();
    view.notes.extend(prune.remove.iter().map(|key| format!("{key} is not described; `env-manager apply` removes it")));
    print(session, arguments, StatusReport::new(&view, &[]))
}

fn print(session: &Session, arguments: &Arguments, mut report: StatusReport) -> Result<Exit, Failure> {
    let Arguments { names, exit_code, output } = arguments;
    let known = || report.services.iter().map(|s| &*s.name);
    for name in names {
        if !known().any(|known| known == name) {
            let hint = suggestion(name, known());
            return Err(Failure::new(
                Exit::Error,
                format!("there is no service `{name}` in stack {}{hint}", report.stack),
            ));
        }
    }
    if !output.is_text() && !names.is_empty() {
        report.services.retain(|s| names.contains(&s.name));
    }
    session.print(output.output, &report, |wide| table::render(&report, Show { wide, names, ..session.show() }));
    Ok(if *exit_code && !report.converged { Exit::NotConverged } else { Exit::Done })
}
