//! One file a verb: its arguments with a help text and an example, and what it does.

pub mod apply;
pub mod ask;
pub mod completions;
pub mod config;
pub mod describe;
pub mod down;
pub mod events;
pub mod graph;
pub mod logs;
pub mod plan;
pub mod run;
pub mod schema;
pub mod stack;
pub mod status;
pub mod validate;
pub mod version;

use std::ffi::OsStr;
use std::path::PathBuf;

use indicatif::MultiProgress;

use super::args::{Global, Output, Verb};
use super::exit::{Exit, Failure};
use super::table::Show;
use super::terminal::Terminal;
use super::{json, logging};
use crate::config::load::Environment;
use crate::config::{self as configuration, Loaded};

/// What every verb has at hand.
#[derive(Debug)]
pub struct Session {
    pub global: Global,
    pub env: Environment,
    pub terminal: Terminal,
    /// Rows of progress; the log writes around them.
    pub bars: MultiProgress,
    /// The working directory, where it has a name.
    pub here: Option<PathBuf>,
}

impl Session {
    pub fn new(global: Global, env: Environment) -> Self {
        let terminal = Terminal::of_process(global.color, &env);
        Self { global, env, terminal, bars: MultiProgress::new(), here: std::env::current_dir().ok() }
    }

    /// Reads the configuration and starts the log. `rows`: a terminal shows progress instead of the log.
    ///
    /// # Errors
    /// Exit code 4, with every problem.
    pub fn load(&self, rows: bool) -> Result<Loaded, Failure> {
        let loaded = configuration::load(self.global.layer(), self.global.config.as_deref(), &self.env)?;
        let options = logging::Options {
            format: loaded.config.log_format,
            verbosity: self.global.verbose.max(u8::from(loaded.config.verbose_logging)),
            rows: rows && self.terminal.err.live,
        };
        let rust_log = self.env.0.get(OsStr::new("RUST_LOG")).and_then(|v| v.to_str()).filter(|v| !v.is_empty());
        logging::init(options, self.terminal.err, &self.bars, rust_log);
        for note in &loaded.notes {
            tracing::debug!("{note}");
        }
        Ok(loaded)
    }

    /// How tables are shown here.
    pub fn show(&self) -> Show<'_> {
        Show { width: self.terminal.out.width, here: self.here.as_deref(), ..Show::default() }
    }

    /// Prints data in the form that was asked for.
    pub fn print<T: serde::Serialize>(&self, output: Output, data: &T, table: impl FnOnce(bool) -> String) {
        self.terminal.out.print(&match output {
            Output::Table => table(false),
            Output::Wide => table(true),
            Output::Json => json::to_json(data),
            Output::Yaml => json::to_yaml(data),
        });
    }
}

/// Runs one verb.
pub async fn run(session: &Session, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Run(arguments) => run::run(session, arguments).await,
        Verb::Apply(arguments) => apply::run(session, &arguments).await,
        Verb::Plan(arguments) => plan::run(session, arguments.output, arguments.detailed, false).await,
        Verb::Diff(arguments) => plan::run(session, arguments.output, true, false).await,
        Verb::Status(arguments) => status::run(session, &arguments).await,
        Verb::Describe(arguments) => describe::run(session, &arguments).await,
        Verb::Events(arguments) => events::run(session, &arguments).await,
        Verb::Logs(arguments) => logs::run(session, &arguments).await,
        Verb::Sync(arguments) => ask::sync(session, &arguments).await,
        Verb::Restart(arguments) => ask::restart(session, &arguments).await,
        Verb::Suspend(arguments) => ask::suspend(session, &arguments).await,
        Verb::Resume(arguments) => ask::resume(session, &arguments).await,
        Verb::Retry(arguments) => ask::retry(session, &arguments).await,
        Verb::Down(arguments) => down::run(session, arguments).await,
        Verb::Validate(arguments) => validate::run(session, &arguments),
        Verb::Schema(arguments) => Ok(schema::run(session, &arguments)),
        Verb::Graph(arguments) => graph::run(session, &arguments),
        Verb::Config(arguments) => config::run(session, &arguments),
        Verb::Completions(arguments) => Ok(completions::run(session, &arguments)),
        Verb::Version(arguments) => Ok(version::run(session, &arguments)),
    }
}
