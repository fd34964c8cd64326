//! `status`.

mod watch;

use clap::Args;

use super::Session;
use super::stack::{Manifests, Removing, state_dir};
use crate::cli::args::OutputArg;
use crate::cli::exit::{Exit, Failure};
use crate::cli::remote::Remote;
use crate::cli::table::Show;
use crate::cli::{source, table};
use crate::config::Loaded;
use crate::engine::EngineError;
use crate::manifest::suggestion;
use crate::report::StatusReport;
use crate::report::{SourceKind, SourceView};

/// Show how everything is: a table, what to do next, and the overall line
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager status\n  env-manager status redis kafka -o wide\n  env-manager status --watch\n  env-manager status --exit-code > /dev/null || echo not converged"
)]
pub struct Arguments {
    /// Only these services
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Go on, and show each change (needs a daemon)
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Exit with 3 unless everything is converged
    #[arg(long, conflicts_with = "watch")]
    pub exit_code: bool,
    #[command(flatten)]
    pub output: OutputArg,
}

/// From the daemon; without one, from the engine, with each probe asked once.
///
/// # Errors
/// What keeps it from looking, and a name that no service has.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    if arguments.watch {
        let remote = Remote::require(session, &configuration).await?;
        return watch::run(session, &configuration, arguments, remote).await;
    }
    let report = match Remote::find(session, &configuration).await? {
        Some(remote) => remote.report().await?,
        None => survey(session, &configuration).await?,
    };
    check_names(&arguments.names, &report)?;
    let Arguments { names, exit_code, output, .. } = arguments;
    let shown = only(report, names, *output);
    session.print(output.output, &shown, |wide| table::render(&shown, Show { wide, names, ..session.show() }));
    Ok(if *exit_code && !shown.converged { Exit::NotConverged } else { Exit::Done })
}

/// There is no daemon to ask.
async fn survey(session: &Session, configuration: &Loaded) -> Result<StatusReport, Failure> {
    let config = &configuration.config;
    let mut manifests = Manifests::read_silently(session, configuration);
    let stack = manifests.connect(session, config).await?;
    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let mut state = state_dir(config)?;
    let controller = stack.controller(config, &manifests, &mut state, Removing::Nothing);
    let prune = controller.judge_orphans(&manifests.loaded.set, false).await.map_err(engine_failed)?;
    controller.survey(manifests.loaded.set.invalid.keys().cloned(), true).await.map_err(engine_failed)?;
    let source = source::view(configuration, &manifests.loaded, &manifests.revision);
    let source = SourceView { kind: SourceKind::Engine, ..source };
    let mut view = stack.view(config, &controller, source, manifests.invalid());
    view.findings = source::findings(&manifests.loaded);
    view.kept = prune.kept();
    view.notes = prune.refusals();
    view.notes.extend(prune.remove.iter().map(|key| format!("{key} is not described; `env-manager apply` removes it")));
    Ok(StatusReport::new(&view, &[]))
}

/// # Errors
/// A name that no service has.
fn check_names(names: &[String], report: &StatusReport) -> Result<(), Failure> {
    let known = || report.services.iter().map(|s| &*s.name);
    let Some(name) = names.iter().find(|name| !known().any(|known| known == **name)) else { return Ok(()) };
    let hint = suggestion(name, known());
    Err(Failure::new(Exit::Error, format!("there is no service `{name}` in stack {}{hint}", report.stack)))
}

/// What is printed for programs; a table chooses its rows itself.
fn only(mut report: StatusReport, names: &[String], output: OutputArg) -> StatusReport {
    if !output.is_text() && !names.is_empty() {
        report.services.retain(|s| names.contains(&s.name));
    }
    report
}
