//! `logs NAME`.

use std::time::Duration;

use clap::Args;

use super::Session;
use crate::cli::args::duration;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupted;
use crate::cli::remote::Remote;
use crate::clock::{Clock, Timestamp};
use crate::controller::WallClock;
use crate::grpc::convert::{moment, timestamp};
use crate::proto::env_manager::v1;

/// Show what a service's container writes
///
/// What it wrote to stdout goes to stdout, and what it wrote to stderr to stderr.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager logs redis --tail 100\n  env-manager logs kafka --since 5m --follow\n  env-manager logs kafka --failed"
)]
pub struct Arguments {
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on with what is written from now on
    #[arg(long, short = 'f')]
    follow: bool,
    /// The last so many lines [default: all]
    #[arg(long, short = 'n', value_name = "N")]
    tail: Option<u32>,
    /// Only lines of the last so long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Of the container of the version that failed, instead of the one that serves
    #[arg(long)]
    failed: bool,
    /// With the time of each line, in UTC
    #[arg(long, short = 't')]
    timestamps: bool,
}

/// # Errors
/// A name that no service has; what the engine says.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let remote = Remote::require(session, &configuration).await?;
    let Arguments { name, follow, tail, since, failed, timestamps } = arguments.clone();
    let since = since.map(|ago| before(WallClock::new().now(), ago));
    let request = v1::ReadLogsRequest { service_name: name, follow, tail, since: since.map(moment), failed };
    let mut lines = remote.ask(remote.client.clone().read_logs(request)).await?;
    let interrupt = interrupted();
    tokio::pin!(interrupt);
    loop {
        let next = tokio::select! {
            biased;
            () = &mut interrupt => return Ok(Exit::Interrupted),
            // Cancel-safe: what has not been taken stays in the stream.
            next = lines.message() => next.map_err(|status| remote.failure(&status))?,
        };
        let Some(v1::ReadLogsResponse { container_id: _, stream, time, line }) = next else { return Ok(Exit::Done) };
        let time = time.as_ref().and_then(timestamp).filter(|_| timestamps);
        print(session, stream == "stderr", time, &line);
    }
}

fn before(now: Timestamp, ago: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
}

/// As the container wrote it, colours and all where they are wanted.
fn print(session: &Session, stderr: bool, time: Option<Timestamp>, line: &str) {
    let look = if stderr { &session.terminal.err } else { &session.terminal.out };
    let time = time.map(|t| format!("{t} ")).unwrap_or_default();
    look.print(&format!("{time}{line}\n"));
}
