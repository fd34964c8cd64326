//! `logs NAME`.

use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::Session;
use super::stack::Stack;
use crate::cli::args::duration;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupted;
use crate::cli::remote::Remote;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::controller::WallClock;
use crate::engine::{ContainerFilter, Engine, EngineError, LogLine, LogOptions, LogStream};
use crate::grpc::convert::{moment, timestamp};
use crate::proto::env_manager::v1;
use crate::resource::labels::{FAILED, NEXT, OLD};

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

/// From the daemon; without one, from the engine.
///
/// # Errors
/// A name that no service has; what the engine says.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let since = arguments.since.map(|ago| before(WallClock::new().now(), ago));
    let mut lines = match Remote::find(session, &configuration).await? {
        Some(remote) => of_daemon(remote, arguments, since).await?,
        None => of_engine(session, &configuration.config, arguments, since).await?,
    };
    let interrupt = interrupted();
    tokio::pin!(interrupt);
    loop {
        let next = tokio::select! {
            biased;
            () = &mut interrupt => return Ok(Exit::Interrupted),
            // Cancel-safe: what has not been taken stays in the stream.
            next = lines.next() => next,
        };
        let Some(Line { stderr, time, text }) = next.transpose()? else { return Ok(Exit::Done) };
        let time = time.filter(|_| arguments.timestamps).map(|t| format!("{t} ")).unwrap_or_default();
        // As the container wrote it, colours and all where they are wanted.
        let look = if stderr { &session.terminal.err } else { &session.terminal.out };
        if !look.print(&format!("{time}{text}\n")) {
            return Ok(Exit::Done);
        }
    }
}

fn before(now: Timestamp, ago: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
}

/// Whoever it came from.
struct Line {
    stderr: bool,
    time: Option<Timestamp>,
    text: String,
}

type Lines = BoxStream<'static, Result<Line, Failure>>;

async fn of_daemon(remote: Remote, arguments: &Arguments, since: Option<Timestamp>) -> Result<Lines, Failure> {
    let request = v1::ReadLogsRequest {
        service_name: arguments.name.clone(),
        follow: arguments.follow,
        tail: arguments.tail,
        since: since.map(moment),
        failed: arguments.failed,
    };
    let lines = remote.ask(remote.client.clone().read_logs(request)).await?;
    Ok(lines
        .map(move |line| {
            let v1::ReadLogsResponse { container_id: _, stream, time, line } =
                line.map_err(|status| remote.failure(&status))?;
            Ok(Line { stderr: stream == "stderr", time: time.as_ref().and_then(timestamp), text: line })
        })
        .boxed())
}

async fn of_engine(
    session: &Session,
    config: &Config,
    arguments: &Arguments,
    since: Option<Timestamp>,
) -> Result<Lines, Failure> {
    let Arguments { name, follow, tail, failed, .. } = arguments;
    let stack = Stack::connect(session, config).await?;
    let engine_failed = |e: EngineError| Failure::from_error(Exit::Unreachable, &e);
    let filter = ContainerFilter { stack: Some(config.stack.clone()), service: Some(name.clone()) };
    let rows = stack.engine.list_containers(&filter).await.map_err(engine_failed)?;
    let Some(row) = rows.iter().max_by_key(|row| rank(&row.name, *failed)).filter(|row| rank(&row.name, *failed) > 0)
    else {
        let what = if *failed { "container of a version that failed" } else { "container" };
        return Err(Failure::new(Exit::Error, format!("stack {} has no {what} of a service `{name}`", config.stack)));
    };
    let options = LogOptions { follow: *follow, tail: *tail, since };
    let lines = stack.engine.logs(&row.id, options);
    Ok(lines
        .map(move |line| {
            let LogLine { container: _, stream, time, line } = line.map_err(engine_failed)?;
            Ok(Line { stderr: stream == LogStream::Stderr, time: Some(time), text: line })
        })
        .boxed())
}

/// Which of a service's containers is meant: the greatest, and none of 0.
fn rank(container: &str, failed: bool) -> u8 {
    match (container.ends_with(FAILED), failed) {
        (true, true) => 1,
        (true, false) | (false, true) => 0,
        // During a replacement: the one that is to stay.
        (false, false) if container.ends_with(NEXT) || container.ends_with(OLD) => 1,
        (false, false) => 2,
    }
}
