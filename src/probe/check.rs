//! One try of one check over one route, and what people are told of it.
//!
//! | check | passes when | file |
//! |---|---|---|
//! | tcp | connected; over a published port only if the peer then speaks or stays for 200 ms | here |
//! | http | the status is within the ranges | [`super::wire`] |
//! | redis | `PING` is answered by `PONG`, or by a demand for a password | [`super::wire`] |
//! | line | a line of the answer contains the text | [`super::wire`] |
//! | grpc | `grpc.health.v1.Health/Check` says SERVING | [`super::grpc`] |
//! | exec | the command exits with 0 | here |
//! | docker | the engine says that the image's HEALTHCHECK is healthy | here |

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::route::{Route, Target};
use super::{grpc, wire};
use crate::engine::{Class, Engine, EngineError, ErrorKind, ExecResult, Inspected};
use crate::resource::observed::Health;
use crate::resource::probe::{Check, Probe};
use crate::resource::secret::mask;
use crate::resource::units::human_duration;

/// For this long a peer behind a published port must keep a silent connection open.
pub(super) const LINGER: Duration = Duration::from_millis(200);

/// What one try brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub passed: bool,
    /// For people: `PING answered in 0.3 ms`, `connection refused`.
    pub message: String,
    /// The route leads nowhere from here: another should be tried.
    pub unroutable: bool,
    /// The command was left running on the engine: it must have ended before the next begins.
    pub hanging: Option<String>,
    /// The engine could not put the question, which says nothing about the container (P12).
    pub unasked: bool,
    pub latency: Duration,
}

/// A try that did not pass. Messages bear no latency: one that stays the same is no news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub message: String,
    pub unroutable: bool,
    pub hanging: Option<String>,
    pub unasked: bool,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    fn of_the_engine(error: EngineError) -> Self {
        Self { unasked: error.class() == Class::Transient, ..Self::new(error.message) }
    }
}

/// One try. Ends by `probe.timeout`, whatever the peer does (a published port's [`LINGER`] comes on top).
/// `hanging` is the command that the last try left behind.
pub(super) async fn attempt<E: Engine>(
    engine: &E,
    target: &Target,
    probe: &Probe,
    route: &Route,
    hanging: Option<String>,
) -> Tried {
    let begun = Instant::now();
    // Calls to the engine make large futures: boxed once they begin, so that thousands of execs can
    // wait for their turn in little memory.
    let outcome = match (&probe.check, route) {
        (Check::Exec { command }, _) => Box::pin(exec(engine, target, command, probe.timeout, hanging)).await,
        (Check::Docker, _) => limited(probe.timeout, Box::pin(docker(engine, target))).await,
        (Check::Tcp { .. }, route) => tcp(route, probe.timeout).await,
        (Check::Grpc { service, .. }, route) => {
            limited(probe.timeout, Box::pin(grpc::check(route, service, probe.timeout))).await
        }
        (Check::Http { port, path, status, headers }, route) => {
            over(route, probe.timeout, |s| wire::http(s, *port, path, status, headers)).await
        }
        (Check::Redis { .. }, route) => over(route, probe.timeout, |s| wire::redis(s, begun)).await,
        (Check::Line { send, expect, .. }, route) => over(route, probe.timeout, |s| wire::line(s, send, expect)).await,
    };
    let latency = begun.elapsed();
    match outcome {
        Ok(message) => {
            let message = quoted(&message, target);
            Tried { passed: true, message, unroutable: false, hanging: None, unasked: false, latency }
        }
        Err(Failure { message, unroutable, hanging, unasked }) => {
            Tried { passed: false, message: quoted(&message, target), unroutable, hanging, unasked, latency }
        }
    }
}

type Outcome = Result<String, Failure>;

async fn limited(limit: Duration, attempt: impl Future<Output = Outcome>) -> Outcome {
    timeout(limit, attempt).await.unwrap_or_else(|_| Err(no_answer(limit)))
}

fn no_answer(limit: Duration) -> Failure {
    Failure::new(format!("no answer within {}", human_duration(limit)))
}

/// Connects, and lets `talk` have what is left of the time.
async fn over<F, T>(route: &Route, limit: Duration, talk: T) -> Outcome
where
    T: FnOnce(TcpStream) -> F,
    F: Future<Output = Outcome>,
{
    let deadline = Instant::now() + limit;
    let stream = connect(route, deadline, limit).await?;
    timeout_at(deadline, talk(stream)).await.unwrap_or_else(|_| Err(no_answer(limit)))
}

async fn connect(route: &Route, deadline: Instant, limit: Duration) -> Result<TcpStream, Failure> {
    let Some(authority) = route.authority() else {
        return Err(Failure { unroutable: true, ..Failure::new("the probe needs an address") });
    };
    let connected = match route {
        Route::Address(a) | Route::Loopback(a) => timeout_at(deadline, TcpStream::connect(a)).await,
        _ => timeout_at(deadline, TcpStream::connect(&authority)).await,
    };
    match connected {
        Ok(Ok(stream)) => {
            // A probe is one small request; there is nothing to gather.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(e)) => Err(connect_failure(&e, &authority)),
        Err(_) => Err(Failure {
            unroutable: true,
            ..Failure::new(format!("no connection to {authority} within {}", human_duration(limit)))
        }),
    }
}

pub(super) fn connect_failure(e: &io::Error, authority: &str) -> Failure {
    use io::ErrorKind as K;
    match e.kind() {
        K::ConnectionRefused => Failure::new("connection refused"),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => Failure::new("connection closed by the peer"),
        K::HostUnreachable | K::NetworkUnreachable | K::TimedOut | K::AddrNotAvailable | K::PermissionDenied => {
            Failure { unroutable: true, ..Failure::new(format!("no route to {authority}")) }
        }
        _ => Failure::new(format!("cannot connect to {authority}: {e}")),
    }
}

/// An error in mid-talk.
pub(super) fn talk_failure(e: &io::Error) -> Failure {
    use io::ErrorKind as K;
    match e.kind() {
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof => {
            Failure::new("connection closed by the peer without an answer")
        }
        _ => Failure::new(format!("connection failed: {e}")),
    }
}

async fn tcp(route: &Route, limit: Duration) -> Outcome {
    let begun = Instant::now();
    let mut stream = connect(route, begun + limit, limit).await?;
    let latency = begun.elapsed();
    if route.is_published() {
        // Docker's proxy accepts for a container that does not listen, and hangs up when its own
        // connect fails. So a connect alone proves nothing here.
        match timeout(LINGER, stream.read(&mut [0u8; 1])).await {
            Ok(Ok(1..)) | Err(_) => {}
            Ok(Ok(0) | Err(_)) => {
                return Err(Failure::new("the published port accepts and hangs up: nothing listens behind it"));
            }
        }
    }
    Ok(format!("connected in {}", human_duration(latency)))
}

async fn exec<E: Engine>(
    engine: &E,
    target: &Target,
    command: &[String],
    limit: Duration,
    hanging: Option<String>,
) -> Outcome {
    if let Some(exec_id) = hanging {
        let still_runs = match engine.exec_running(&exec_id).await {
            Ok(runs) => runs,
            // The engine forgets an exec with its container, and some time after its end.
            Err(e) if e.kind == ErrorKind::NotFound => false,
            Err(e) => return Err(Failure { hanging: Some(exec_id), ..Failure::of_the_engine(e) }),
        };
        if still_runs {
            return Err(Failure {
                hanging: Some(exec_id),
                ..Failure::new(format!("the command still runs, long after its timeout of {}", human_duration(limit)))
            });
        }
    }
    let begun = Instant::now();
    match engine.exec(&target.container, command, &[], limit).await {
        Ok(ExecResult::Ended(output)) if output.exit_code == 0 => {
            Ok(format!("exit code 0 in {}", human_duration(begun.elapsed())))
        }
        Ok(ExecResult::Ended(output)) => {
            let last = output.output.lines().map(str::trim).rfind(|l| !l.is_empty());
            let code = output.exit_code;
            Err(Failure::new(match last {
                Some(line) => format!("exit code {code}: {}", excerpt(line)),
                None => format!("exit code {code}"),
            }))
        }
        Ok(ExecResult::TimedOut { exec_id }) => Err(Failure {
            hanging: Some(exec_id),
            ..Failure::new(format!("the command did not end within {}", human_duration(limit)))
        }),
        Err(e) => Err(Failure::of_the_engine(e)),
    }
}

async fn docker<E: Engine>(engine: &E, target: &Target) -> Outcome {
    let inspected = engine.inspect_container(&target.container.0).await;
    let container = match inspected {
        Ok(Some(Inspected::Owned(container))) => Ok(Some(container)),
        // One that is to be adopted.
        Ok(Some(Inspected::Foreign(foreign))) => Ok(foreign.container),
        Ok(None) => Ok(None),
        Err(e) => Err(e),
    };
    match container {
        Ok(Some(container)) => match container.health {
            Some(Health::Healthy) => Ok("the image's HEALTHCHECK says healthy".to_owned()),
            Some(Health::Starting) => Err(Failure::new("the image's HEALTHCHECK says starting")),
            Some(Health::Unhealthy(line)) if line.trim().is_empty() => {
                Err(Failure::new("the image's HEALTHCHECK says unhealthy"))
            }
            Some(Health::Unhealthy(line)) => {
                Err(Failure::new(format!("the image's HEALTHCHECK says unhealthy: {}", excerpt(line.trim()))))
            }
            None => Err(Failure::new("the image has no HEALTHCHECK; use another kind of probe")),
        },
        Ok(None) => Err(Failure::new("the container is gone")),
        Err(e) => Err(Failure::of_the_engine(e)),
    }
}

/// One line of what a container wrote, short enough for a table.
pub(super) fn excerpt(line: &str) -> String {
    const LONGEST: usize = 160;
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    match clean.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean.to_owned(),
    }
}

/// Whatever a container says may repeat its secrets.
fn quoted(message: &str, target: &Target) -> String {
    mask(message, &target.secrets)
}
