//! The command line: arguments in, text and an exit code out.
//!
//! | file | what |
//! |---|---|
//! | [`args`] | flags and verbs, as clap reads them |
//! | [`verbs`] | one file a verb |
//! | [`exit`] | exit codes, and which one wins |
//! | [`terminal`] | where text goes: colours, width, broken pipes |
//! | [`source`] | the manifests: read, reported, summed up |
//! | [`layout`] | tables: columns, wrapping, cutting |
//! | [`table`] | a moment, for people |
//! | [`json`] | the same for programs; its schemas are under `docs/schemas` |
//! | [`remote`] | the daemon: found, and asked |
//! | [`follow`] | its status as it changes, across its restarts |
//! | [`screen`] | text that is drawn again and again |
//! | [`changes`] | a plan, for people and for programs |
//! | [`describe`] | everything about one service |
//! | [`events`] | what happened |
//! | [`progress`] | what happens while it happens |
//! | [`logging`] | `tracing` to stderr, and the log lines that scripts know |

pub mod args;
pub mod changes;
pub mod describe;
pub mod events;
pub mod exit;
pub mod follow;
pub mod json;
pub mod layout;
pub mod logging;
pub mod progress;
pub mod remote;
pub mod screen;
pub mod source;
pub mod table;
pub mod terminal;
pub mod verbs;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::Parser;

pub use exit::{Exit, Failure};

use crate::config::load::Environment;
use args::Cli;

/// Parses and runs; whatever is to be said has been said when it returns.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        // Help and version are no errors; a wrong flag is 1, since 2 means that `plan` found changes.
        Err(e) => {
            let failed = e.use_stderr();
            let _ = e.print();
            return if failed { Exit::Error } else { Exit::Done };
        }
    };
    let env = Environment::of_process();
    let session = verbs::Session::new(cli.global, env);
    match verbs::run(&session, cli.verb).await {
        Ok(exit) => exit,
        Err(failure) => {
            session.terminal.err.print(&failure.text);
            failure.exit
        }
    }
}

/// Resolves when the user (or the system) asks us to end: SIGINT or SIGTERM.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        biased;
        // Cancel-safe: a signal that arrives while neither is polled is kept.
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}
