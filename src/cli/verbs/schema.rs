//! `schema`.

use clap::Args;

use super::Session;
use crate::cli::exit::Exit;
use crate::cli::json;
use crate::manifest;

/// Print the JSON Schema of manifests
///
/// Editors complete and check with it: name it in a manifest's first line,
/// `# yaml-language-server: $schema=schema.json`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  env-manager schema > manifests/schema.json")]
pub struct Arguments {}

pub fn run(session: &Session, Arguments {}: &Arguments) -> Exit {
    session.terminal.out.print(&json::to_json(&manifest::schema()));
    Exit::Done
}
