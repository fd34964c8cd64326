//! The daemon of a stack: found, and asked.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Response, Status};

use super::exit::{Exit, Failure};
use super::layout::clean;
use super::verbs::Session;
use crate::config::problem::Origin;
use crate::config::{Key, Loaded};
use crate::grpc::client::{self, Address, Client};
use crate::grpc::convert;
use crate::proto::env_manager::v1;
use crate::report::StatusReport;
use crate::state::{DaemonFile, StateError};

/// For an answer that needs no work.
const ANSWER: Duration = Duration::from_secs(5);
/// For one that needs some: a daemon looks for ten seconds at most.
const WORK: Duration = Duration::from_secs(30);

/// From a daemon's begin until it answers.
const BEGIN: Duration = Duration::from_secs(10);
/// Between two looks for it.
pub const LOOK: Duration = Duration::from_millis(300);
/// What a daemon writes into the lock.
const DAEMON: &str = "env-manager run";

/// A daemon that answers.
#[derive(Clone, Debug)]
pub struct Remote {
    pub client: Client,
    pub address: Address,
    /// Of env-manager: `0.1.0`.
    pub version: String,
    pub stack: String,
    /// Unknown where it was found by its address alone.
    pub process: Option<u32>,
    /// RFC 3339. Tells it from the next one; unknown as well.
    pub began: Option<String>,
    /// What it keeps, absolute; unknown as well.
    pub manifests: Option<PathBuf>,
}

/// Why there is none at an address.
enum Missed {
    /// Nobody listens.
    Nobody(String),
    /// Somebody listens and says nothing, or nothing that we understand.
    Silent(String),
    OtherStack(String),
}

impl Remote {
    /// Where `--daemon` names an address, the daemon there. Otherwise the one that the state directory of
    /// the stack names, then one at a `grpc_addr` that was configured; `None`: there is none.
    ///
    /// # Errors
    /// An address of `--daemon` at which none answers, or one of another stack; a daemon that hangs.
    pub async fn find(session: &Session, configuration: &Loaded) -> Result<Option<Self>, Failure> {
        Ok(Self::look(session, configuration).await?.ok())
    }

    /// For verbs that cannot do without.
    ///
    /// # Errors
    /// Exit code 5 where there is none.
    pub async fn require(session: &Session, configuration: &Loaded) -> Result<Self, Failure> {
        Self::look(session, configuration).await?.map_err(|why| Failure::new(Exit::Unreachable, why))
    }

    /// The daemon that holds a lock, once it answers. `None`: the holder is no daemon, or ends.
    ///
    /// # Errors
    /// A daemon that does not answer in time.
    pub async fn appearing(
        session: &Session,
        configuration: &Loaded,
        locked: &StateError,
    ) -> Result<Option<Self>, Failure> {
        let StateError::Locked { holder, .. } = locked else { return Ok(None) };
        if !holder.starts_with(DAEMON) {
            return Ok(None);
        }
        let until = Instant::now() + BEGIN;
        loop {
            if let Some(remote) = Self::find(session, configuration).await? {
                return Ok(Some(remote));
            }
            if Instant::now() >= until {
                let why = format!("{holder} keeps this stack, and has not answered within {} s", BEGIN.as_secs());
                return Err(Failure::new(Exit::Unreachable, why));
            }
            sleep(LOOK).await;
        }
    }

    /// The inner error says that there is none, and what to do.
    async fn look(session: &Session, configuration: &Loaded) -> Result<Result<Self, String>, Failure> {
        let config = &configuration.config;
        if let Some(address) = &session.global.daemon {
            return match Self::at(address, &config.stack).await {
                Ok(remote) => Ok(Ok(remote)),
                Err(Missed::OtherStack(stack)) => {
                    Err(Failure::new(Exit::Error, other_stack(address, &stack, &config.stack)))
                }
                Err(Missed::Nobody(why) | Missed::Silent(why)) => Err(Failure::new(Exit::Unreachable, why)),
            };
        }
        let file = DaemonFile::read(&config.stack_dir()).map_err(|e| Failure::from_error(Exit::Error, &e))?;
        if let Some(file) = file {
            let socket = file.socket.clone().map(Address::Unix);
            let bound = file.grpc.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
            for address in socket.into_iter().chain(bound.map(Address::of_listener)) {
                match Self::at(&address, &config.stack).await {
                    Ok(remote) => {
                        let (process, began) = (Some(file.pid), Some(file.started_at));
                        return Ok(Ok(Self { process, began, manifests: Some(file.manifests), ..remote }));
                    }
                    Err(Missed::Silent(why)) => {
                        let why = format!("{why} (process {})", file.pid);
                        return Err(Failure::new(Exit::Unreachable, why));
                    }
                    // One that was killed leaves its file behind.
                    Err(Missed::Nobody(why) | Missed::OtherStack(why)) => tracing::debug!(%address, "no daemon: {why}"),
                }
            }
        }
        let mut other = None;
        if configuration.origins[&Key::GrpcAddr] != Origin::Default {
            let address = Address::of(&config.grpc_addr);
            match Self::at(&address, &config.stack).await {
                Ok(remote) => return Ok(Ok(remote)),
                // The address is as well the one at which a daemon of ours would serve: nobody there is no error.
                Err(Missed::Nobody(why) | Missed::Silent(why)) => tracing::debug!(%address, "no daemon: {why}"),
                Err(Missed::OtherStack(stack)) => other = Some(other_stack(&address, &stack, &config.stack)),
            }
        }
        Ok(Err(other.unwrap_or_else(|| {
            format!("no daemon keeps stack {}; start one with `env-manager run` (or `make up`)", config.stack)
        })))
    }

    async fn at(address: &Address, stack: &str) -> Result<Self, Missed> {
        let start = "start one with `env-manager run`";
        let client = client::connect(address).await.map_err(|e| Missed::Nobody(format!("{e}; {start}")))?;
        let mut asked = client.clone();
        let silent = |why: String| {
            Missed::Silent(format!("something listens at {address}, but does not answer as env-manager does: {why}"))
        };
        let health = match timeout(ANSWER, asked.get_health(v1::GetHealthRequest {})).await {
            Ok(Ok(response)) => response.into_inner(),
            // It was there when we knocked, and has gone since.
            Ok(Err(status)) if is_gone(&status) => {
                return Err(Missed::Nobody(format!("the daemon at {address} has just ended; {start}")));
            }
            Ok(Err(status)) => return Err(silent(clean(status.message()))),
            Err(_) => return Err(silent(format!("nothing came within {} s", ANSWER.as_secs()))),
        };
        if health.stack != stack {
            return Err(Missed::OtherStack(health.stack));
        }
        let v1::GetHealthResponse { version, stack, .. } = health;
        Ok(Self { client, address: address.clone(), version, stack, process: None, began: None, manifests: None })
    }

    /// Asks, with a limit of time.
    ///
    /// # Errors
    /// What the daemon answered, or that it does not.
    pub async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        match timeout(WORK, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => {
                let why = format!("the daemon at {} did not answer within {} s", self.address, WORK.as_secs());
                Err(Failure::new(Exit::Unreachable, why))
            }
        }
    }

    /// The status of everything, as it is now.
    ///
    /// # Errors
    /// As [`Remote::ask`].
    pub async fn report(&self) -> Result<StatusReport, Failure> {
        let request = v1::GetConvergenceRequest { service_names: Vec::new() };
        let response = self.ask(self.client.clone().get_convergence(request)).await?;
        Ok(convert::report(response.convergence.unwrap_or_default()))
    }

    /// What a refusal means here.
    pub fn failure(&self, status: &Status) -> Failure {
        let said = clean(status.message());
        let at = &self.address;
        match status.code() {
            _ if is_gone(status) && status.source().is_some() => {
                Failure::new(Exit::Unreachable, format!("the daemon at {at} is gone: {said}"))
            }
            Code::Unavailable => Failure::new(Exit::Unreachable, said),
            Code::DeadlineExceeded | Code::Cancelled => {
                Failure::new(Exit::Unreachable, format!("the daemon at {at} did not answer: {said}"))
            }
            Code::Unimplemented => {
                let why = format!("the daemon at {at} (env-manager {}) does not know this call", self.version);
                Failure::new(Exit::Error, why)
            }
            _ if said.is_empty() => Failure::new(Exit::Error, format!("the daemon refused: {}", status.code())),
            _ => Failure::new(Exit::Error, said),
        }
    }

    /// `the daemon (process 7)`
    pub fn who(&self) -> String {
        match self.process {
            Some(process) => format!("the daemon (process {process})"),
            None => format!("the daemon at {}", self.address),
        }
    }
}

/// The daemon has ended, or is about to: another may answer in a moment.
pub fn is_gone(status: &Status) -> bool {
    // A connection that breaks comes as one of several codes, always with a source.
    status.code() == Code::Unavailable || status.source().is_some_and(|e| e.downcast_ref::<Status>().is_none())
}

fn other_stack(address: &Address, theirs: &str, ours: &str) -> String {
    format!("the env-manager at {address} keeps stack `{theirs}`, not `{ours}`; name it with --stack {theirs}")
}
