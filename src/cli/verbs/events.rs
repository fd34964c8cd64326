//! `events`.

use std::cell::Cell;

use clap::Args;
use futures_util::StreamExt;

use super::Session;
use crate::cli::args::{Output, OutputArg};
use crate::cli::events::{EventReport, Lines};
use crate::cli::exit::{Exit, Failure};
use crate::cli::follow::{self, News};
use crate::cli::remote::Remote;
use crate::cli::{interrupted, json};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::controller::WallClock;
use crate::grpc::client::Client;
use crate::proto::env_manager::v1;

/// Show what happened: what, why and by whom (needs a daemon)
///
/// Oldest first; times are UTC. What happened again and again is one line with a count. The daemon keeps the
/// history across restarts.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager events\n  env-manager events redis kafka --limit 20 -o wide\n  env-manager events --follow -o json"
)]
pub struct Arguments {
    /// Only about these services
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Go on with each event as it happens
    #[arg(long, short = 'f')]
    follow: bool,
    /// The newest so many [default: all that are kept; 10 with --follow]
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u32>,
    #[command(flatten)]
    output: OutputArg,
}

/// # Errors
/// Exit code 5 without a daemon.
pub async fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let remote = Remote::require(session, &configuration).await?;
    if arguments.follow {
        return follow(session, &configuration, arguments, remote).await;
    }
    let request =
        v1::ListEventsRequest { service_names: arguments.names.clone(), limit: arguments.limit.unwrap_or_default() };
    let events = remote.ask(remote.client.clone().list_events(request)).await?.events;
    let events: Vec<_> = events.into_iter().map(EventReport::new).collect();
    let mut face = Face::new(session, arguments);
    face.lines.measure(&events);
    for event in &events {
        if !face.print(event) {
            break;
        }
    }
    if events.is_empty() && arguments.output.is_text() {
        session.terminal.err.print("nothing has happened yet\n");
    }
    Ok(Exit::Done)
}

async fn follow(
    session: &Session,
    configuration: &Loaded,
    arguments: &Arguments,
    remote: Remote,
) -> Result<Exit, Failure> {
    let past = arguments.limit.unwrap_or(10);
    // After a restart of the daemon it goes on where it was.
    let last = Cell::new(0);
    let open = async |mut client: Client| {
        let after_sequence = last.get();
        let past = if after_sequence == 0 { past } else { 0 };
        client
            .watch_events(v1::WatchEventsRequest { service_names: arguments.names.clone(), past, after_sequence })
            .await
    };
    let mut face = Face::new(session, arguments);
    let report = remote.report().await?;
    let wanted = report.services.iter().map(|s| &*s.name);
    face.lines =
        face.lines.expecting(wanted.filter(|n| arguments.names.is_empty() || arguments.names.iter().any(|w| w == n)));
    let mut news = follow::steady(session, configuration, remote, open);
    let interrupt = interrupted();
    tokio::pin!(interrupt);
    loop {
        let next = tokio::select! {
            biased;
            () = &mut interrupt => return Ok(Exit::Interrupted),
            // Cancel-safe: the stream keeps where it is.
            next = news.next() => next,
        };
        let err = &session.terminal.err;
        match next {
            None => return Ok(Exit::Done),
            Some(Err(failure)) => return Err(failure),
            Some(Ok(News::Away(why))) => {
                err.print(&format!("{}; waiting for it to come back\n", follow::sentence(&why)));
            }
            Some(Ok(News::Back)) => {
                err.print("there is a daemon again\n");
            }
            Some(Ok(News::Came(v1::WatchEventsResponse { event, missed }))) => {
                if missed > 0 {
                    err.print(&format!("{missed} events went by too fast to be shown\n"));
                }
                if let Some(event) = event {
                    last.set(event.sequence);
                    if !face.print(&EventReport::new(event)) {
                        return Ok(Exit::Done);
                    }
                }
            }
        }
    }
}

struct Face<'a> {
    session: &'a Session,
    output: Output,
    lines: Lines,
    clock: WallClock,
    /// Nothing has been printed yet.
    first: bool,
}

impl<'a> Face<'a> {
    fn new(session: &'a Session, arguments: &Arguments) -> Self {
        let output = arguments.output.output;
        Self { session, output, lines: Lines::new(output == Output::Wide), clock: WallClock::new(), first: true }
    }

    /// `false`: the reader has gone away.
    fn print(&mut self, event: &EventReport) -> bool {
        let between = if std::mem::replace(&mut self.first, false) { "" } else { "---\n" };
        self.session.terminal.out.print(&match self.output {
            Output::Table | Output::Wide => self.lines.line(event, self.clock.now()),
            Output::Json => json::to_line(event),
            Output::Yaml => format!("{between}{}", json::to_yaml(event)),
        })
    }
}
