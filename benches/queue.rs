//! The task queue: a `redis-server` and the daemon, each a process of its own, and what connects to them.

#[allow(dead_code, reason = "only its settings are used")]
#[path = "../src/tasks/store/redis/tests/server.rs"]
mod server;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use env_manager::proto::orchestrator::v1::HealthRequest;
use env_manager::proto::orchestrator::v1::orchestrator_service_client::OrchestratorServiceClient;
use env_manager::state::daemon_file::DaemonFile;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, cmd};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;

use crate::child::Process;
use crate::docker::{Error, Result, error};
use crate::frame;
use server::DURABLE;

pub type Client = OrchestratorServiceClient<Channel>;

/// Until each of the two answers, and until it has ended.
const LIMIT: Duration = Duration::from_secs(30);
/// Somebody may take the port between its choice and its use.
const TRIES: usize = 5;
const STACK: &str = "em-bench";

/// Both, and nothing in them. The daemon ends first.
pub struct Queue {
    daemon: Process,
    redis: Process,
    connection: MultiplexedConnection,
    pub client: Client,
    /// Of the environment's port.
    pub environment: HealthClient<Channel>,
}

impl Queue {
    /// Returns once tasks are taken. `folder` is made.
    pub async fn start(folder: &Path) -> Result<Self> {
        let data = folder.join("redis");
        let made = std::fs::create_dir_all(&data).and_then(|()| std::fs::create_dir_all(folder.join("manifests")));
        made.or_else(|e| error(format!("{}: {e}", folder.display())))?;
        let (redis, url, connection) = start_redis(&data).await?;
        let mut daemon = Process::start(command(folder, &url)?, folder.join("daemon.log"))?;

        let deadline = Instant::now() + LIMIT;
        let file = loop {
            match DaemonFile::read(&folder.join("state").join(STACK)) {
                Ok(Some(file)) => break file,
                _ => daemon.in_time(deadline, "daemon.json").await?,
            }
        };
        let (Some(tasks), Some(environment)) = (file.tasks_grpc, file.grpc) else {
            return error("the daemon does not say where it serves");
        };
        let client = Client::new(channel(&tasks).await?);
        let environment = HealthClient::new(channel(&environment).await?);
        while !client.clone().health(HealthRequest {}).await.is_ok_and(|health| health.into_inner().healthy) {
            daemon.in_time(deadline, "a healthy queue").await?;
        }
        Ok(Self { daemon, redis, connection, client, environment })
    }

    /// Of Redis, as it says itself, and what the daemon makes of it.
    pub async fn settings(&self) -> Result<Value> {
        let health = self.client.clone().health(HealthRequest {}).await.map_err(|e| failed("Health", &e))?.into_inner();
        let server: String = ask(&self.connection, &["INFO", "server"]).await?;
        let version = server.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default();
        let of = async |name: &str| -> Result<String> {
            let pair: Vec<String> = ask(&self.connection, &["CONFIG", "GET", name]).await?;
            Ok(pair.into_iter().nth(1).unwrap_or_default())
        };
        Ok(json!({
            "version": version,
            "appendonly": of("appendonly").await?,
            "appendfsync": of("appendfsync").await?,
            "folder": of("dir").await?,
            "durability": health.services.get("durability"),
        }))
    }

    /// As a user ends them.
    pub async fn stop(self) -> Result<()> {
        self.daemon.stop(LIMIT).await?;
        self.redis.stop(LIMIT).await
    }
}

async fn start_redis(data: &Path) -> Result<(Process, String, MultiplexedConnection)> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.or_else(|e| error(format!("no free port: {e}")))?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]).args(DURABLE);
        command.current_dir(data);
        let redis = Process::start(command, data.join("redis.log"));
        let mut redis = redis.map_err(|Error(why)| Error(format!("{why}; deploy/test-tools installs it")))?;

        let url = format!("redis://127.0.0.1:{port}");
        let client = redis::Client::open(url.as_str()).or_else(|e| error(format!("{url}: {e}")))?;
        let deadline = Instant::now() + LIMIT;
        last = loop {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                let folder: Vec<String> = ask(&connection, &["CONFIG", "GET", "dir"]).await?;
                // Another one may have had that port before.
                if folder.get(1).is_some_and(|folder| Path::new(folder) == data) {
                    return Ok((redis, url, connection));
                }
            }
            if let Err(e) = redis.in_time(deadline, "an answer of Redis").await {
                break Err(e);
            }
        };
    }
    last.and_then(|()| error("redis-server does not start"))
}

async fn ask<T: FromRedisValue>(connection: &MultiplexedConnection, words: &[&str]) -> Result<T> {
    let mut command = cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection.clone()).await.or_else(|e| error(format!("{}: {e}", words.join(" "))))
}

/// The daemon with no service and no engine: the queue needs neither.
fn command(folder: &Path, redis: &str) -> Result<Command> {
    let config = folder.join("none.toml");
    std::fs::write(&config, "").or_else(|e| error(format!("{}: {e}", config.display())))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_env-manager"));
    command.arg("run").arg("--config").arg(config).arg("--manifests").arg(folder.join("manifests"));
    command.args(["--stack", STACK, "--state-dir"]).arg(folder.join("state"));
    frame::with_environment_cleared(&mut command);
    command
        .env("DOCKER_HOST", format!("unix://{}", folder.join("none.sock").display()))
        .env("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:0")
        .env("ENV_MANAGER_METRICS_ADDR", "127.0.0.1:0")
        .env("ORCHESTRATOR_GRPC_ADDR", "127.0.0.1:0")
        .env("ORCHESTRATOR_HTTP_ADDR", "127.0.0.1:0")
        .env("ENV_MANAGER_TASKS_REDIS", redis)
        .current_dir(folder);
    Ok(command)
}

async fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).or_else(|e| error(format!("{address}: {e}")))?;
    endpoint.connect().await.or_else(|e| error(format!("{address}: {e}")))
}

pub fn failed(call: &str, status: &tonic::Status) -> Error {
    Error(format!("{call}: {status}"))
}
