//! Flags and verbs, as clap reads them.

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::exit;
use super::terminal::When;
use super::verbs::{
    apply, ask, completions, config, describe, down, events, graph, logs, plan, run, schema, status, validate, version,
};
use crate::config::{Key, Layer};
use crate::grpc::client::Address;

/// Keeps Docker services in the state that a folder of YAML manifests describes.
#[derive(Debug, Parser)]
#[command(name = "env-manager", version, propagate_version = false, max_term_width = 100)]
#[command(after_long_help = exit::help_text(), arg_required_else_help = true, infer_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes. Most are keys of the configuration; see `config show`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration file [default: ~/.dspy-agent/env-manager.toml, if there]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<String>,
    /// Folder (or one file) of manifests [default: ./manifests]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub manifests: Option<String>,
    /// Ownership label; two stacks on one engine never meet [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub stack: Option<String>,
    /// Engine: unix://, tcp://, https:// or ssh:// [default: as the docker command finds it]
    #[arg(long, short = 'H', global = true, value_name = "URL")]
    pub docker_host: Option<String>,
    /// Where generations, refused revisions and the lock are kept
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<String>,
    /// The daemon to ask: host:port or unix:/path [default: the one that keeps the stack]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub daemon: Option<Address>,
    /// Log why, too; twice: log everything
    #[arg(long, short = 'v', global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Form of the log on stderr: pretty, compact or json
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// When to use colours; `auto`: on a terminal, unless NO_COLOR or CI is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: When,
}

impl Global {
    /// Values are checked with those of the other layers.
    pub fn layer(&self) -> Layer {
        let Self { config: _, manifests, stack, docker_host, state_dir, daemon: _, verbose, log_format, color: _ } =
            self;
        Layer::default()
            .flag(Key::Manifests, manifests.as_ref())
            .flag(Key::Stack, stack.as_ref())
            .flag(Key::DockerHost, docker_host.as_ref())
            .flag(Key::StateDir, state_dir.as_ref())
            .flag(Key::VerboseLogging, (*verbose > 0).then_some("true"))
            .flag(Key::LogFormat, log_format.as_ref())
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(run::Arguments),
    Apply(apply::Arguments),
    Plan(plan::Arguments),
    Diff(plan::DiffArguments),
    Status(status::Arguments),
    Describe(describe::Arguments),
    Events(events::Arguments),
    Logs(logs::Arguments),
    Sync(ask::Sync),
    Restart(ask::Restart),
    Suspend(ask::Suspend),
    Resume(ask::Resume),
    Retry(ask::Retry),
    Down(down::Arguments),
    Validate(validate::Arguments),
    Schema(schema::Arguments),
    Graph(graph::Arguments),
    Config(config::Arguments),
    Completions(completions::Arguments),
    Version(version::Arguments),
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    // More columns. (A doc comment on a value makes clap print a list for it, in every help.)
    Wide,
    Json,
    Yaml,
}

/// `-o`, for verbs that print data.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OutputArg {
    /// How to print; `wide` has more columns
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Output,
}

impl OutputArg {
    /// For people, not for programs.
    pub fn is_text(self) -> bool {
        matches!(self.output, Output::Table | Output::Wide)
    }
}

/// `90s`, `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it as 90s or 2m"))
}
