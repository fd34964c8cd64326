//! `down`: its arguments.

use std::time::Duration;

use clap::Args;

use crate::cli::args::duration;

/// Remove what this stack owns, in reverse order
///
/// Volumes stay, unless asked for: they are data.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Examples:\n  env-manager down\n  env-manager down --volumes --stack scratch")]
pub struct Arguments {
    /// Remove the stack's own volumes and the data in them, too
    #[arg(long)]
    pub volumes: bool,
    /// Give up after so long (exit code 3)
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
}
