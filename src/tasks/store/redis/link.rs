//! Connections to Redis, and its refusals in our words.
//!
//! One connection is shared by all calls, and replaced once it fails or does not answer. `redis`'s own
//! `ConnectionManager` would not do: it keeps a refused password for ever, never gives up a connection whose peer is
//! gone without a word, and does not tell one connection from the next, which durability needs to know.

use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::durable;
use super::scripts::Call;
use crate::tasks::store::StoreError;

/// For an answer: a disk that stalls holds up every answer, and a call that timed out may have taken effect.
const PATIENCE: Duration = Duration::from_secs(5);
/// For a connection.
const REACH: Duration = Duration::from_secs(2);
/// Between attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// How long durability is known without asking.
const CHECKED: Duration = Duration::from_secs(2);
/// How long it says something of what Redis is doing now ([`durable::judge`]).
const REMEMBERED: Duration = Duration::from_mins(1);

pub const LOADING: &str = "it reads its file back after a start";

pub struct Link {
    client: Client,
    address: String,
    shared: Mutex<Shared>,
    /// Those that nobody waits on.
    waiting: StdMutex<Vec<MultiplexedConnection>>,
    /// The connection on which durability was found, and when.
    durable: StdMutex<Option<(u64, Instant)>>,
}

#[derive(Default)]
struct Shared {
    open: Option<Open>,
    /// Of the last attempt, if it failed.
    failed: Option<(Instant, String)>,
    connected: u64,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    number: u64,
}

impl Link {
    pub fn new(url: &str) -> Result<Self, String> {
        let client = Client::open(url).map_err(|_| {
            "`redis` in [tasks] has to be redis://[user:password@]host:port[/db] or redis+unix:///path".to_owned()
        })?;
        let address = client.get_connection_info().addr().to_string();
        Ok(Self {
            client,
            address,
            shared: Mutex::default(),
            waiting: StdMutex::default(),
            durable: StdMutex::default(),
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    async fn connect(&self, patience: Option<Duration>) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(REACH)).set_response_timeout(patience);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn open(&self) -> Result<Open, StoreError> {
        let asked = Instant::now();
        let mut shared = self.shared.lock().await;
        if let Some(open) = &shared.open {
            return Ok(open.clone());
        }
        // Whoever waited for somebody else's attempt has its outcome; nobody tries again and again.
        if let Some((when, why)) = &shared.failed
            && (*when >= asked || when.elapsed() < PAUSE)
        {
            return Err(StoreError::NotReady(why.clone()));
        }
        match self.connect(Some(PATIENCE)).await {
            Ok(connection) => {
                shared.connected += 1;
                shared.failed = None;
                let open = Open { connection, number: shared.connected };
                shared.open = Some(open.clone());
                Ok(open)
            }
            Err(error) => {
                let refused = refused(&error, &self.address);
                if let StoreError::NotReady(why) = &refused {
                    shared.failed = Some((Instant::now(), why.clone()));
                }
                Err(refused)
            }
        }
    }

    /// After an error: the next call gets another connection, if it may be this one's fault.
    async fn after(&self, error: &RedisError, number: u64) -> StoreError {
        if !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
            let mut shared = self.shared.lock().await;
            if shared.open.as_ref().is_some_and(|open| open.number == number) {
                shared.open = None;
            }
        }
        refused(error, &self.address)
    }

    pub async fn ask(&self, command: &Cmd) -> Result<Value, StoreError> {
        let Open { mut connection, number } = self.open().await?;
        match whole(connection.send_packed_command(command).await) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.after(&error, number).await),
        }
    }

    /// A script, which is loaded where Redis does not have it.
    pub async fn run(&self, call: &Call<'_>) -> Result<Value, StoreError> {
        let Open { mut connection, number } = self.open().await?;
        let mut came = whole(connection.send_packed_command(&call.evalsha).await);
        if came.as_ref().is_err_and(is_unknown_script) {
            came = match call.script.load_async(&mut connection).await {
                Ok(_) => whole(connection.send_packed_command(&call.evalsha).await),
                Err(error) => Err(error),
            };
        }
        match came {
            Ok(value) => Ok(value),
            Err(error) => Err(self.after(&error, number).await),
        }
    }

    /// A script whose effect may not be lost; refused otherwise (see the module of the store).
    pub async fn durably(&self, call: &Call<'_>) -> Result<Value, StoreError> {
        let open = self.open().await?;
        if self.known(open.number).is_none_or(|when| when.elapsed() >= CHECKED) {
            self.check_on(&open).await?;
        }
        let Open { mut connection, number } = open.clone();
        for _ in 0..2 {
            let mut answers =
                self.pipeline(&open, [call.evalsha.clone()].into_iter().chain(durable::questions())).await?;
            match answers.remove(0) {
                Err(error) if is_unknown_script(&error) => {
                    if let Err(error) = call.script.load_async(&mut connection).await {
                        return Err(self.after(&error, number).await);
                    }
                }
                Err(error) => return Err(self.after(&error, number).await),
                Ok(value) => {
                    self.judge(number, answers)?;
                    return Ok(value);
                }
            }
        }
        Err(StoreError::NotReady("it forgets scripts as soon as they are loaded".to_owned()))
    }

    /// Whether it is durable now.
    pub async fn check(&self) -> Result<(), StoreError> {
        let open = self.open().await?;
        self.check_on(&open).await
    }

    async fn check_on(&self, open: &Open) -> Result<(), StoreError> {
        let answers = self.pipeline(open, durable::questions()).await?;
        self.judge(open.number, answers)
    }

    /// When a connection was found durable, if it was at the last look.
    fn known(&self, number: u64) -> Option<Instant> {
        let known = *self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        known.and_then(|(of, when)| (of == number).then_some(when))
    }

    fn judge(&self, number: u64, answers: Vec<RedisResult<Value>>) -> Result<(), StoreError> {
        let verdict = durable::judge(answers, self.known(number).is_some_and(|when| when.elapsed() < REMEMBERED));
        let known = verdict.is_ok().then(|| (number, Instant::now()));
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = known;
        verdict
    }

    async fn pipeline(
        &self,
        open: &Open,
        commands: impl Iterator<Item = Cmd>,
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        let count = pipeline.len();
        match open.connection.clone().send_packed_commands(&pipeline, 0, count).await {
            Ok(answers) if answers.len() == count => Ok(answers.into_iter().map(|value| whole(Ok(value))).collect()),
            Ok(_) => Err(unexpected("a pipeline")),
            Err(error) => Err(self.after(&error, open.number).await),
        }
    }

    /// A command that blocks for `wait`, on a connection of its own. One that is given up closes it.
    pub async fn wait(&self, command: &Cmd, wait: Duration) -> Result<Value, StoreError> {
        let idle = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect(None).await.map_err(|error| refused(&error, &self.address))?,
        };
        let came = tokio::time::timeout(wait + PATIENCE, connection.send_packed_command(command)).await;
        let value = match came.map(whole) {
            Ok(Ok(value)) => value,
            failed => {
                // The others go to the same Redis.
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return Err(match failed {
                    Ok(Err(error)) => refused(&error, &self.address),
                    _ => no_answer(&self.address),
                });
            }
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(value)
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// An error of the server is an error wherever it stands.
fn whole(came: RedisResult<Value>) -> RedisResult<Value> {
    match came {
        Ok(Value::ServerError(error)) => Err(error.into()),
        came => came,
    }
}

pub fn unexpected(of: &str) -> StoreError {
    StoreError::Unexpected(format!("another form of {of}"))
}

fn no_answer(address: &str) -> StoreError {
    StoreError::NotReady(format!("no answer from {address} within {} s", PATIENCE.as_secs()))
}

/// In our words. `address`: without a password.
pub fn refused(error: &RedisError, address: &str) -> StoreError {
    let detail = error.detail().unwrap_or_default();
    let not_ready = |why: String| StoreError::NotReady(why);
    // Redis 6 wraps what a command of a script was refused with.
    if error.code() == Some("OOM") || detail.contains("OOM command not allowed") {
        return StoreError::OutOfMemory;
    }
    match error.code().unwrap_or_default() {
        "LOADING" => return not_ready(LOADING.to_owned()),
        "BUSY" => return not_ready("a script runs there that does not end".to_owned()),
        "NOAUTH" => return not_ready("it wants a password: `redis` in [tasks]".to_owned()),
        "WRONGPASS" => return not_ready("it refuses the password in `redis` of [tasks]".to_owned()),
        "NOPERM" => return not_ready(format!("its user may not do what tasks need: {detail}")),
        "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" => return not_ready("its master is away".to_owned()),
        "READONLY" => return not_ready("it is a replica that takes no writes".to_owned()),
        "MISCONF" => return not_ready(format!("it cannot write to its disk: {detail}")),
        _ => {}
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed if detail.contains("no password") => {
            not_ready("it has no password, and `redis` in [tasks] names one".to_owned())
        }
        ErrorKind::AuthenticationFailed => not_ready("it refuses the password in `redis` of [tasks]".to_owned()),
        ErrorKind::Io if error.is_timeout() => no_answer(address),
        ErrorKind::Io if error.is_connection_refusal() => not_ready(format!("nothing listens at {address}")),
        ErrorKind::Io => not_ready(format!("{address}: {error}")),
        _ if detail.contains("max number of clients") => not_ready("it has no room for one more client".to_owned()),
        _ => StoreError::Unexpected(error.to_string().chars().take(300).collect()),
    }
}
