//! Redis, the daemon and workers, as processes that can be killed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use env_manager::proto::orchestrator::v1;
use env_manager::tasks::settings::TaskSettings;
use env_manager::tasks::store::TaskStore;
use env_manager::tasks::store::redis::RedisStore;
use env_manager::tasks::task::State;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::redis_server::RedisServer;
use crate::submit::{Client, client, number};
use crate::worker;

/// That only a hang reaches.
const DEADLINE: Duration = Duration::from_mins(4);
const STACK: &str = "p20";

/// Asks until it is told.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(told) = ask().await {
                return told;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// A port that no connection is given by chance, since whoever is killed has to get it again.
fn port() -> u16 {
    let first = 16_000 + u16::try_from(std::process::id() % 1_500).unwrap_or_default() * 10;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..first + 1_000).find(free).expect("a free port")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
}

pub struct Worker {
    language: Language,
    /// Of each process another one.
    pub name: String,
    child: Child,
}

impl Worker {
    /// As the daemon knows it.
    fn id(&self) -> String {
        match self.language {
            Language::Rust => self.name.clone(),
            Language::Python => format!(":{}", self.child.id()),
        }
    }
}

/// What workers noted, as far as it was read.
pub struct Runs {
    path: PathBuf,
    read: u64,
    /// Number, attempt and worker.
    pub begun: BTreeSet<(u64, u32, String)>,
    /// Number and attempt; what was repeated stands there once.
    pub done: BTreeSet<(u64, u32)>,
    /// How often a handler came to its end, without having failed on purpose.
    pub ended: u64,
}

impl Runs {
    fn new(path: PathBuf) -> Self {
        File::create(&path).expect("a file");
        Self { path, read: 0, begun: BTreeSet::new(), done: BTreeSet::new(), ended: 0 }
    }

    pub fn read_on(&mut self) {
        let mut file = File::open(&self.path).expect("it is there");
        file.seek(SeekFrom::Start(self.read)).expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [id, attempt, what, name] = words[..] else { panic!("a line of runs: {line}") };
            let (number, attempt) = (number(id).expect("an id"), attempt.parse().expect("a number"));
            if what == "begun" {
                self.begun.insert((number, attempt, name.to_owned()));
            } else if what == "done" {
                self.done.insert((number, attempt));
                self.ended += 1;
            }
        }
        self.read += text.len() as u64;
    }
}

/// All of them, and what is asked of them directly.
pub struct Life {
    pub redis: RedisServer,
    daemon: Option<Child>,
    pub workers: Vec<Worker>,
    pub store: RedisStore,
    pub address: String,
    pub client: Client,
    pub runs: Runs,
    durability: &'static str,
    workers_begun: u32,
    home: TempDir,
}

impl Life {
    /// A daemon that serves on this Redis.
    pub async fn begin(redis: RedisServer, durability: &'static str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join("manifests")).expect("a folder");
        let settings = TaskSettings { redis: redis.url(), ..TaskSettings::default() };
        let address = format!("127.0.0.1:{}", port());
        let mut life = Self {
            store: RedisStore::connect(&settings, STACK).expect("an address"),
            client: client(&address),
            runs: Runs::new(home.path().join("runs")),
            daemon: None,
            workers: Vec::new(),
            workers_begun: 0,
            redis,
            address,
            durability,
            home,
        };
        life.start_daemon().await;
        life
    }

    fn log(&self, name: &str) -> File {
        let path = self.home.path().join(name);
        OpenOptions::new().create(true).append(true).open(path).expect("a log")
    }

    /// What the processes wrote last.
    pub fn logs(&self) -> String {
        let last = |name: &str| {
            let text = std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().rev().take(30).collect();
            format!("{name}:\n  {}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n  "))
        };
        ["daemon.log", "workers.log"].map(last).concat()
    }

    /// Until it answers, whatever it says of Redis.
    pub async fn start_daemon(&mut self) {
        let log = self.log("daemon.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_env-manager"));
        command
            .arg("run")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // The queue needs no Docker.
            .env("DOCKER_HOST", format!("unix://{}", self.home.path().join("none.sock").display()))
            .env("ENV_MANAGER_STACK", STACK)
            .env("ENV_MANAGER_STATE_DIR", self.home.path().join("state"))
            .env("ENV_MANAGER_MANIFESTS", self.home.path().join("manifests"))
            .env("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:0")
            .env("ENV_MANAGER_METRICS_ADDR", "127.0.0.1:0")
            .env("ORCHESTRATOR_GRPC_ADDR", &self.address)
            .env("ORCHESTRATOR_HTTP_ADDR", "127.0.0.1:0")
            .env("ENV_MANAGER_TASKS_REDIS", self.redis.url())
            .env("ENV_MANAGER_TASKS_DURABILITY", self.durability)
            .env("ENV_MANAGER_TASKS_RETRY_INITIAL", "200ms")
            .env("ENV_MANAGER_TASKS_RETRY_MAX", "1s")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        let mut child = command.spawn().expect("the program starts");
        let client = self.client.clone();
        until("the daemon answers", async || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "the daemon ended by itself:\n{}", self.logs());
            client.clone().health(v1::HealthRequest {}).await.ok()
        })
        .await;
        self.daemon = Some(child);
    }

    pub fn kill_daemon(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            kill(&mut child);
        }
    }

    /// With what it has on its disk. Somebody may have its port for a moment.
    pub async fn start_redis(&mut self) {
        let redis = &mut self.redis;
        until("Redis is there again", async || {
            redis.spawn().expect("it ran before");
            redis.answers().await.then_some(())
        })
        .await;
    }

    /// Bytes of the append-only file.
    pub fn written(&self) -> u64 {
        let files = std::fs::read_dir(self.redis.folder.path().join("appendonlydir"));
        files.into_iter().flatten().flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    pub fn start_workers(&mut self, number: usize) {
        for _ in 0..number {
            let worker = self.worker(Language::Rust);
            self.workers.push(worker);
        }
        if python().exists() {
            let worker = self.worker(Language::Python);
            self.workers.push(worker);
        } else {
            println!("no Python worker: deploy/python-env has not made {}", python().display());
        }
    }

    fn worker(&mut self, language: Language) -> Worker {
        self.workers_begun += 1;
        let (name, mut command) = match language {
            Language::Rust => (format!("rust-{}", self.workers_begun), worker::command()),
            Language::Python => {
                let mut command = Command::new(python());
                command.args(["-m", "env_manager", "worker", "worker", "--lease"]);
                command.arg(worker::LEASE.as_secs().to_string());
                command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tasks_killed"));
                command.env("DSPY_AGENT_RECONNECT_BACKOFF", "0.1");
                (format!("python-{}", self.workers_begun), command)
            }
        };
        let log = self.log("workers.log");
        command.env(worker::NAME, &name).env(worker::RUNS, &self.runs.path).env(worker::DAEMON, &self.address);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        Worker { language, name, child: command.spawn().expect("a worker starts") }
    }

    /// Tasks that wait or run.
    pub async fn left(&self) -> Option<u64> {
        sleep(Duration::from_millis(50)).await;
        let depths = self.store.depths().await.ok()?;
        Some(depths.by_class.iter().map(|(_, class)| class.waiting + class.delayed + class.running).sum())
    }

    /// Tasks that a worker has: leased, and begun by its handler.
    pub async fn held(&mut self, worker: usize) -> usize {
        let id = self.workers[worker].id();
        let Ok(page) = self.store.list(&[State::Running], None, None, 200).await else { return 0 };
        self.runs.read_on();
        let name = &self.workers[worker].name;
        let is_begun = |number, attempt| self.runs.begun.contains(&(number, attempt, name.clone()));
        let held = page.tasks.iter().filter(|task| task.worker.ends_with(&id));
        held.filter(|task| number(task.id.as_str()).is_some_and(|number| is_begun(number, task.attempts))).count()
    }

    pub fn kill_worker(&mut self, worker: usize) {
        kill(&mut self.workers[worker].child);
    }

    /// Another one in its place.
    pub fn replace_worker(&mut self, worker: usize) {
        self.workers[worker] = self.worker(self.workers[worker].language);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}redis: {}", self.logs(), self.redis.log());
        }
        self.kill_daemon();
        for worker in &mut self.workers {
            kill(&mut worker.child);
        }
    }
}

/// SIGKILL, and gone.
fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".env-manager/python/bin/python")
}
