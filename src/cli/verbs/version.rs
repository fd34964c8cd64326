//! `version`.

use clap::Args;
use serde::Serialize;

use super::Session;
use crate::cli::args::OutputArg;
use crate::cli::exit::Exit;

/// Print the version
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  env-manager version -o json")]
pub struct Arguments {
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

pub fn run(session: &Session, arguments: &Arguments) -> Exit {
    let version = Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
    session.print(arguments.output.output, &version, |_| format!("{} {}\n", version.name, version.version));
    Exit::Done
}
