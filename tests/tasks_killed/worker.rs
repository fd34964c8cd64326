//! The process of a worker: this test binary, started once more. It does what a worker's author is told to do, and
//! notes each attempt outside Redis: `ID ATTEMPT begun|done|failed WORKER`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::lease_event::{Event, Lease};
use env_manager::proto::orchestrator::v1::lease_request::{Credit, Hello, Request, Slots};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::submit::{Client, client};

/// What a worker's process is told.
pub const NAME: &str = "P20_WORKER";
pub const RUNS: &str = "P20_RUNS";
pub const DAEMON: &str = "ORCHESTRATOR_GRPC_ADDR";

const CLASS: &str = "cpu_short";
const SLOTS: i32 = 8;
pub const LEASE: Duration = Duration::from_millis(LEASE_MS.unsigned_abs());
const LEASE_MS: i64 = 2_000;
/// Until a call that is not answered is given up, and between two tries.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);

/// The process; the variables are still to be set.
pub fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "worker::the_process_of_a_worker", "--ignored", "--nocapture"]).stdin(Stdio::null());
    command
}

#[tokio::test]
#[ignore = "no test: the process of a worker, which the tests here start"]
async fn the_process_of_a_worker() {
    let [Ok(name), Ok(runs), Ok(daemon)] = [NAME, RUNS, DAEMON].map(std::env::var) else {
        println!("no worker: nobody says where its daemon is");
        return;
    };
    let runs = OpenOptions::new().append(true).open(runs).expect("the file of runs is there");
    let worker = Arc::new(Worker { client: client(&daemon), name, runs, held: Mutex::default() });
    let mut beating = JoinSet::new();
    beating.spawn(beat(Arc::clone(&worker)));
    let mut attempts = JoinSet::new();
    loop {
        if let Err(status) = converse(&worker, &mut attempts).await {
            eprintln!("{}: {status}", worker.name);
        }
        sleep(PAUSE).await;
    }
}

struct Worker {
    name: String,
    client: Client,
    runs: File,
    held: Mutex<Vec<v1::LeaseRef>>,
}

impl Worker {
    /// In one write, which is whole whoever else appends there.
    fn note(&self, lease: &Lease, what: &str) {
        let line = format!("{} {} {what} {}\n", lease.task_id, lease.attempt, self.name);
        (&self.runs).write_all(line.as_bytes()).expect("the file of runs takes it");
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<v1::LeaseRef>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream of leases, until it ends. Attempts outlive it.
async fn converse(worker: &Arc<Worker>, attempts: &mut JoinSet<()>) -> Result<(), Status> {
    let (say, requests) = mpsc::channel(16);
    let ended = |_| Status::cancelled("the stream has ended");
    let said = |request| v1::LeaseRequest { request: Some(request) };
    let credit = |add| said(Request::Credit(Credit { class: CLASS.to_owned(), add }));
    let hello = Hello {
        worker_id: worker.name.clone(),
        instance_id: worker.name.clone(),
        slots: vec![Slots { class: CLASS.to_owned(), slots: SLOTS }],
        lease_ms: LEASE_MS,
        client_version: "0.0.0".to_owned(),
    };
    while attempts.try_join_next().is_some() {}
    say.send(said(Request::Hello(hello))).await.map_err(ended)?;
    let busy = i32::try_from(attempts.len()).unwrap_or(SLOTS);
    say.send(credit(SLOTS - busy)).await.map_err(ended)?;
    let mut events = worker.client.clone().lease_tasks(ReceiverStream::new(requests)).await?.into_inner();
    loop {
        tokio::select! {
            event = events.message() => match event?.map(|event| event.event) {
                Some(Some(Event::Lease(lease))) => {
                    attempts.spawn(attempt(Arc::clone(worker), lease));
                }
                Some(_) => {}
                None => return Ok(()),
            },
            Some(_) = attempts.join_next() => say.send(credit(1)).await.map_err(ended)?,
        }
    }
}

async fn attempt(worker: Arc<Worker>, lease: Lease) {
    let (task_id, lease_token) = (lease.task_id.clone(), lease.lease_token.clone());
    worker.held().push(v1::LeaseRef { task_id: task_id.clone(), lease_token: lease_token.clone() });
    worker.note(&lease, "begun");
    let payload: Value = serde_json::from_slice(&lease.payload_json).expect("a payload that a test has written");
    // What it has to do takes it a moment.
    sleep(Duration::from_millis(payload["takes"].as_u64().unwrap_or_default())).await;
    let fails = match payload["fails"].as_str() {
        Some("for good") => Some(false),
        Some("always") => Some(true),
        Some("once") if lease.attempt == 1 => Some(true),
        _ => None,
    };
    worker.note(&lease, if fails.is_some() { "failed" } else { "done" });
    let answer = if let Some(retryable) = fails {
        let error = "on purpose".to_owned();
        Answer::Failed(v1::FailTaskRequest { task_id, lease_token, error, retryable, retry_after_ms: 0 })
    } else {
        let result_json = json!({ "of": task_id, "attempt": lease.attempt }).to_string().into_bytes();
        Answer::Done(v1::CompleteTaskRequest { task_id, lease_token, result_json, ..Default::default() })
    };
    // OK or stale: the daemon has heard it.
    loop {
        match timeout(PATIENCE, answer.tell(worker.client.clone())).await {
            Ok(Ok(())) => break,
            Ok(Err(status)) => eprintln!("{}: an answer is not heard: {status}", worker.name),
            Err(_) => eprintln!("{}: an answer is not answered", worker.name),
        }
        sleep(PAUSE).await;
    }
    worker.held().retain(|held| held.lease_token != lease.lease_token);
}

enum Answer {
    Done(v1::CompleteTaskRequest),
    Failed(v1::FailTaskRequest),
}

impl Answer {
    async fn tell(&self, mut client: Client) -> Result<(), Status> {
        match self {
            Self::Done(request) => client.complete_task(request.clone()).await.map(drop),
            Self::Failed(request) => client.fail_task(request.clone()).await.map(drop),
        }
    }
}

/// The heartbeat: every third of a lease.
async fn beat(worker: Arc<Worker>) {
    loop {
        let next = Instant::now() + LEASE / 3;
        let leases = worker.held().clone();
        if !leases.is_empty() {
            let request = v1::ExtendLeaseRequest { leases, lease_ms: LEASE_MS };
            // Whose lease is lost finds out when it answers.
            let _ = timeout(LEASE / 3, worker.client.clone().extend_lease(request)).await;
        }
        tokio::time::sleep_until(next).await;
    }
}
