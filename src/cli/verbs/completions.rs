//! `completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Session;
use crate::cli::args::Cli;
use crate::cli::exit::Exit;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  env-manager completions bash > /etc/bash_completion.d/env-manager")]
pub struct Arguments {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(session: &Session, arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "env-manager", &mut script);
    session.terminal.out.print(&String::from_utf8_lossy(&script));
    Exit::Done
}
