//! A daemon's status as it changes, also across restarts of the daemon.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, LocalBoxStream, StreamExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Response, Status, Streaming};

use super::exit::{Exit, Failure};
use super::interrupted;
use super::progress::{Progress, Reporter, Seen, Tally};
use super::remote::{self, Remote};
use super::verbs::Session;
use crate::config::Loaded;
use crate::controller::converge::Ending;
use crate::grpc::client::Client;
use crate::grpc::convert;
use crate::proto::env_manager::v1;
use crate::report::{ResourceReport, ServiceReport, StatusReport};

/// For one look for a daemon: what is about to end accepts connections, and answers none.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The whole, kept up to date from changes.
#[derive(Debug, Default)]
pub struct Whole(Option<StatusReport>);

impl Whole {
    /// The whole after this message, and what of it the message is about. `None`: no whole has come yet.
    pub fn take_in(&mut self, message: v1::WatchConvergenceResponse) -> Option<(&StatusReport, Vec<Seen>)> {
        let v1::WatchConvergenceResponse { convergence, removed, whole } = message;
        let part = convert::report(convergence.unwrap_or_default());
        let services = part.services.iter().map(Seen::of_service);
        let seen = part.resources.iter().map(Seen::of_resource).chain(services).collect();
        match &mut self.0 {
            Some(report) if !whole => {
                let (services, resources) =
                    (std::mem::take(&mut report.services), std::mem::take(&mut report.resources));
                *report = StatusReport {
                    services: merged(services, part.services, |s| s.name.clone(), &removed),
                    resources: merged(resources, part.resources, |r| format!("{}/{}", r.kind, r.name), &removed),
                    ..part
                };
            }
            None if !whole => return None,
            report => *report = Some(part),
        }
        self.0.as_ref().map(|report| (report, seen))
    }
}

/// In the order of their names, as in a whole.
fn merged<T>(old: Vec<T>, new: Vec<T>, name: impl Fn(&T) -> String, removed: &[String]) -> Vec<T> {
    let mut all: BTreeMap<String, T> = old.into_iter().map(|t| (name(&t), t)).collect();
    all.retain(|name, _| !removed.contains(name));
    all.extend(new.into_iter().map(|t| (name(&t), t)));
    all.into_values().collect()
}

/// What a stream tells.
#[derive(Debug)]
pub enum News<T> {
    Came(T),
    /// The daemon has gone, and is waited for.
    Away(String),
    /// There is one again.
    Back,
}

/// Keeps a stream of the daemon open: where it ends because the daemon does, it goes on with the next one.
/// `open` begins it (again). Ends after an error.
pub fn steady<'a, T: 'a, F>(
    session: &'a Session,
    configuration: &'a Loaded,
    remote: Remote,
    open: impl FnMut(Client) -> F + 'a,
) -> LocalBoxStream<'a, Result<News<T>, Failure>>
where
    F: Future<Output = Result<Response<Streaming<T>>, Status>> + 'a,
{
    enum At<T> {
        Closed(Remote),
        Open(Remote, Box<Streaming<T>>),
        /// That one which began then has said that it is ending: it is not waited for.
        Away(Option<String>),
        Ended,
    }
    stream::unfold((At::Closed(remote), open, false), move |(mut at, mut open, mut lost)| async move {
        loop {
            let (remote, status) = match at {
                At::Ended => return None,
                At::Away(ending) => {
                    at = match find_again(session, configuration, ending.as_deref()).await {
                        Ok(remote) => At::Closed(remote),
                        Err(failure) => return Some((Err(failure), (At::Ended, open, lost))),
                    };
                    continue;
                }
                At::Closed(remote) => match open(remote.client.clone()).await {
                    Ok(stream) => {
                        at = At::Open(remote, Box::new(stream.into_inner()));
                        if std::mem::take(&mut lost) {
                            return Some((Ok(News::Back), (at, open, lost)));
                        }
                        continue;
                    }
                    Err(status) => (remote, status),
                },
                At::Open(remote, mut stream) => match stream.message().await {
                    Ok(Some(message)) => {
                        return Some((Ok(News::Came(message)), (At::Open(remote, stream), open, lost)));
                    }
                    // The daemon ends a stream without an error only where there is nothing more to come.
                    Ok(None) => return None,
                    Err(status) => (remote, status),
                },
            };
            if !remote::is_gone(&status) {
                return Some((Err(remote.failure(&status)), (At::Ended, open, lost)));
            }
            // A connection that breaks is not the daemon's word.
            at = At::Away(remote.began.clone().filter(|_| status.source().is_none()));
            if !std::mem::replace(&mut lost, true) {
                let why = remote.failure(&status).text;
                return Some((Ok(News::Away(why)), (at, open, lost)));
            }
        }
    })
    .boxed_local()
}

/// `ending`: when the one began that will not do.
async fn find_again(session: &Session, configuration: &Loaded, ending: Option<&str>) -> Result<Remote, Failure> {
    loop {
        sleep(remote::LOOK).await;
        match timeout(ATTEMPT, Remote::require(session, configuration)).await {
            Ok(Ok(remote)) if ending.is_some() && remote.began.as_deref() == ending => {}
            Ok(Err(failure)) if failure.exit == Exit::Unreachable => {}
            Ok(found) => return found,
            Err(_) => {}
        }
    }
}

/// The status of everything, from now on.
pub fn convergence<'a>(
    session: &'a Session,
    configuration: &'a Loaded,
    remote: Remote,
) -> LocalBoxStream<'a, Result<News<v1::WatchConvergenceResponse>, Failure>> {
    steady(session, configuration, remote, async |mut client: Client| {
        client.watch_convergence(v1::WatchConvergenceRequest { service_names: Vec::new() }).await
    })
}

/// What came of following.
#[derive(Debug)]
pub struct Followed {
    pub ending: Ending,
    pub report: StatusReport,
    pub tally: Tally,
    /// At the end there was no daemon.
    pub away: bool,
}

impl Followed {
    /// How it ended; what the report says comes on top.
    pub fn exit(&self) -> Exit {
        match self.ending {
            Ending::Reached => Exit::Done,
            Ending::Interrupted => Exit::Interrupted,
            Ending::Stuck | Ending::TimedOut if self.away || !self.report.engine.reachable => Exit::Unreachable,
            Ending::Stuck | Ending::TimedOut => Exit::NotConverged,
        }
    }
}

/// Follows with live progress until everything is converged (and `done`), nothing can progress any more,
/// the time is over, or somebody interrupts.
///
/// # Errors
/// What the daemon refuses.
pub async fn until_converged(
    session: &Session,
    configuration: &Loaded,
    remote: Remote,
    until: Instant,
    done: impl Fn(&StatusReport) -> bool,
) -> Result<Followed, Failure> {
    let mut report = remote.report().await?;
    let names: Vec<_> = report.services.iter().map(|s| s.name.clone()).collect();
    let mut reporter = Reporter::new(&session.terminal.err, &session.bars, names.iter().map(|n| &**n));
    let mut news = convergence(session, configuration, remote);
    let mut whole = Whole::default();
    let mut away = false;
    let interrupt = interrupted();
    tokio::pin!(interrupt);
    let ending = loop {
        let next = tokio::select! {
            // Whoever interrupts wants out, whatever else happens at this moment.
            biased;
            () = &mut interrupt => break Ending::Interrupted,
            // Cancel-safe: the stream keeps where it is.
            next = timeout_at(until, news.next()) => next,
        };
        match next {
            Err(_) => break Ending::TimedOut,
            Ok(None) => return Err(Failure::new(Exit::Unreachable, "the daemon ended its answer")),
            Ok(Some(Err(failure))) => return Err(failure),
            Ok(Some(Ok(News::Away(why)))) => {
                away = true;
                tracing::warn!("{}; waiting for it to come back", sentence(&why));
            }
            Ok(Some(Ok(News::Back))) => away = false,
            Ok(Some(Ok(News::Came(message)))) => {
                let Some((now, seen)) = whole.take_in(message) else { continue };
                for seen in &seen {
                    reporter.update(seen);
                }
                report.clone_from(now);
                if report.converged && done(&report) {
                    break Ending::Reached;
                }
                if is_stuck(&report) {
                    break Ending::Stuck;
                }
            }
        }
    };
    reporter.finish();
    Ok(Followed { ending, report, tally: reporter.tally().clone(), away })
}

/// Whether waiting longer helps nobody: what is not converged is stalled.
pub fn is_stuck(report: &StatusReport) -> bool {
    let services = report.services.iter().filter(|s| !s.converged).all(ServiceReport::is_stalled);
    let resources = report.resources.iter().filter(|r| !r.converged).all(ResourceReport::is_stalled);
    !report.converged && report.engine.reachable && services && resources
}

/// Of a failure's text, for the middle of another.
pub fn sentence(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text.trim_end()).to_string();
    plain.strip_prefix("error: ").unwrap_or(&plain).to_owned()
}
