//! A `redis-server` of a test's own: as durable as tasks need it, on a port and a folder of its own. Also of the
//! integration tests (`tests/common/redis_server.rs`).

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::redis::{Client, Cmd, FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    /// Holds its data over restarts.
    pub folder: TempDir,
    options: Vec<String>,
    environment: Vec<(String, String)>,
}

/// As `manifests/redis.yaml` has it.
pub const DURABLE: [&str; 10] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--no-appendfsync-on-rewrite",
    "no",
    "--maxmemory-policy",
    "noeviction",
    "--save",
    "",
];

impl RedisServer {
    /// One that answers. `options` as on its command line; the later of two counts. `None`, and said why, where
    /// there is no `redis-server`.
    pub async fn start(options: &[&str]) -> Option<Self> {
        Self::start_with(options, &[]).await
    }

    /// With these variables, each time it is started.
    pub async fn start_with(options: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options: Vec<String> = DURABLE.iter().chain(options).map(|option| (*option).to_owned()).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { child: None, port: 0, folder, options, environment };
        // Somebody may take the port between its choice and its use.
        for _ in 0..5 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            server.port = listener.local_addr().expect("an address").port();
            drop(listener);
            if let Err(e) = server.spawn() {
                eprintln!("skipped: redis-server cannot be run ({e}); deploy/test-tools installs it");
                return None;
            }
            if server.answers().await {
                return Some(server);
            }
        }
        panic!("redis-server does not start: {}", server.log());
    }

    /// Has it run, without waiting until it answers.
    pub fn spawn(&mut self) -> std::io::Result<()> {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--logfile", "redis.log", "--unixsocket", "redis.sock"])
            .args(&self.options)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// False where it ended instead.
    pub async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if self.child.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some()) {
                return false;
            }
            if self.pong().await.unwrap_or(false) {
                return true;
            }
            assert!(Instant::now() < deadline, "redis-server does not answer: {}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// By its socket: while it was down its port was free for others.
    async fn pong(&self) -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(self.folder.path().join("redis.sock")).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        // One that wants a password is there, too.
        Ok(matches!(&answer, b"+PONG" | b"-NOAU"))
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// With what it has on its disk.
    pub async fn start_again(&mut self) {
        self.spawn().expect("it ran before");
        assert!(self.answers().await, "{}", self.log());
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn socket_url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("redis.sock").display())
    }

    /// The options of its next start.
    pub fn set(&mut self, option: &str, value: &str) {
        self.options.extend([format!("--{option}"), value.to_owned()]);
    }

    /// One command, on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut connection = Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
