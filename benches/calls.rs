//! What programs and workers ask of the task queue, and how long it takes.
//!
//! All of them are on the benchmark's one thread, and share a connection.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use env_manager::backoff::Noise;
use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::lease_event::{Event, Lease};
use env_manager::proto::orchestrator::v1::lease_request::{Credit, Hello, Request, Slots};
use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::docker::{Error, Result, error};
use crate::queue::{Client, Queue, failed};

/// Of tasks that a worker waits for, and of those that wait for a worker.
pub const QUICK: &str = "cpu_short";
pub const PILED: &str = "cpu_long";
/// The longest pause between two tries: no try is in step with what the daemon does by itself.
const PAUSE: Duration = Duration::from_millis(5);
/// Until the daemon's count is a new one.
const LIMIT: Duration = Duration::from_secs(2);

/// As in the change log of the old system; the file queue's are the same.
pub fn payload(id: &str) -> String {
    format!("{{\"id\": \"{id}\", \"data\": \"value\"}}")
}

pub fn result(id: &str) -> String {
    format!("{{\"id\": \"{id}\", \"success\": true}}")
}

pub fn ms(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

fn task(id: &str, class: &str) -> v1::SubmitTaskRequest {
    let payload_json = payload(id).into_bytes();
    v1::SubmitTaskRequest { id: id.to_owned(), class: class.to_owned(), payload_json, ..Default::default() }
}

async fn submit(client: &Client, id: &str, class: &str) -> Result<()> {
    let answer = client.clone().submit_task(task(id, class)).await.map_err(|e| failed("SubmitTask", &e))?;
    let v1::SubmitTaskResponse { success, existed, task_id, .. } = answer.into_inner();
    if success && !existed && task_id == id { Ok(()) } else { error(format!("{id} was not taken as a new task")) }
}

/// From before its submission until the stream of results has told the submitter: one task after the other, while a
/// worker with one slot waits.
pub async fn until_completed(client: &Client, name: &str, tries: usize, noise: &mut Noise) -> Result<Vec<f64>> {
    let submitter = async {
        let mut took = Vec::with_capacity(tries);
        for number in 0..tries {
            sleep(PAUSE.mul_f64(noise.unit())).await;
            let id = format!("{name}-{number}");
            let begin = Instant::now();
            submit(client, &id, QUICK).await?;
            let asked = v1::StreamTaskResultsRequest { task_ids: vec![id.clone()], include_completed: true };
            let results = client.clone().stream_task_results(asked).await;
            let told = results.map_err(|e| failed("StreamTaskResults", &e))?.into_inner().message().await;
            took.push(ms(begin));
            let told = told.map_err(|e| failed("StreamTaskResults", &e))?.unwrap_or_default();
            if told.task_id != id || told.status != "completed" || told.result_json != result(&id).as_bytes() {
                return error(format!("another result for {id}: {told:?}"));
            }
        }
        Ok(took)
    };
    let (took, worked) = tokio::try_join!(submitter, work(client, QUICK, 1, tries))?;
    if worked.len() == tries { Ok(took) } else { error(format!("{} tasks of {tries} were completed", worked.len())) }
}

/// Leases and completes so many; their ids.
pub async fn work(client: &Client, class: &str, slots: i32, tasks: usize) -> Result<BTreeSet<String>> {
    let ended = |_| Error("the stream of leases has ended".to_owned());
    let (say, requests) = mpsc::channel(64);
    let said = |request| v1::LeaseRequest { request: Some(request) };
    let credit = |add| said(Request::Credit(Credit { class: class.to_owned(), add }));
    let hello = Hello {
        worker_id: "bench".to_owned(),
        instance_id: "bench.1".to_owned(),
        slots: vec![Slots { class: class.to_owned(), slots }],
        ..Default::default()
    };
    say.send(said(Request::Hello(hello))).await.map_err(ended)?;
    say.send(credit(slots)).await.map_err(ended)?;
    let events = client.clone().lease_tasks(ReceiverStream::new(requests)).await;
    let mut events = events.map_err(|e| failed("LeaseTasks", &e))?.into_inner();

    let mut answers = FuturesUnordered::new();
    let (mut leased, mut done) = (BTreeSet::new(), 0);
    while done < tasks {
        // Both are cancel-safe.
        tokio::select! {
            event = events.message() => match event.map_err(|e| failed("LeaseTasks", &e))?.and_then(|event| event.event) {
                Some(Event::Lease(lease)) => {
                    if lease.payload_json != payload(&lease.task_id).as_bytes() || !leased.insert(lease.task_id.clone()) {
                        return error(format!("{} was leased twice, or is another task", lease.task_id));
                    }
                    answers.push(complete(client.clone(), lease));
                }
                Some(Event::Welcome(_)) => {}
                other => return error(format!("instead of a lease: {other:?}")),
            },
            Some(answer) = answers.next() => {
                answer?;
                done += 1;
                say.send(credit(1)).await.map_err(ended)?;
            }
        }
    }
    Ok(leased)
}

async fn complete(mut client: Client, lease: Lease) -> Result<()> {
    let Lease { task_id, lease_token, .. } = lease;
    let result_json = result(&task_id).into_bytes();
    let request = v1::CompleteTaskRequest { task_id, lease_token, result_json, ..Default::default() };
    let answer = client.complete_task(request).await.map_err(|e| failed("CompleteTask", &e))?.into_inner().answer;
    if answer == i32::from(v1::Answer::Ok) { Ok(()) } else { error(format!("CompleteTask: {answer}")) }
}

/// One after the other; nobody works on them.
pub async fn singles(client: &Client, tries: usize) -> Result<Vec<f64>> {
    let mut took = Vec::with_capacity(tries);
    for number in 0..tries {
        let (id, begin) = (format!("single-{number}"), Instant::now());
        submit(client, &id, PILED).await?;
        took.push(ms(begin));
    }
    Ok(took)
}

/// So many callers of SubmitTask at once.
pub async fn singles_at_once(client: &Client, callers: usize, tasks: usize) -> Result<Duration> {
    let next = Cell::new(0);
    let begin = Instant::now();
    let caller = async || -> Result<()> {
        while next.get() < tasks {
            let number = next.replace(next.get() + 1);
            submit(client, &format!("at-once-{callers}-{number}"), PILED).await?;
        }
        Ok(())
    };
    try_join_all((0..callers).map(|_| caller())).await?;
    Ok(begin.elapsed())
}

/// So many callers of SubmitTasks at once, each with so many in a call.
pub async fn batches(client: &Client, callers: usize, in_call: usize, tasks: usize) -> Result<Duration> {
    let next = Cell::new(0);
    let begin = Instant::now();
    let caller = async || -> Result<()> {
        while next.get() < tasks {
            let first = next.get();
            let end = (first + in_call).min(tasks);
            next.set(end);
            let tasks: Vec<_> = (first..end).map(|n| task(&format!("batch-{callers}-{n}"), PILED)).collect();
            let answer = client.clone().submit_tasks(v1::SubmitTasksRequest { tasks }).await;
            let results = answer.map_err(|e| failed("SubmitTasks", &e))?.into_inner().results;
            if results.iter().filter(|one| one.success && !one.existed).count() != end - first {
                return error(format!("of tasks {first} to {end} not all were taken as new ones"));
            }
        }
        Ok(())
    };
    try_join_all((0..callers).map(|_| caller())).await?;
    Ok(begin.elapsed())
}

/// The queue's own `Health`.
pub async fn health(client: &Client, tries: usize) -> Result<Vec<f64>> {
    let mut took = Vec::with_capacity(tries);
    for _ in 0..tries {
        let begin = Instant::now();
        let health = client.clone().health(v1::HealthRequest {}).await.map_err(|e| failed("Health", &e))?;
        took.push(ms(begin));
        if !health.into_inner().healthy {
            return error("the queue is not healthy");
        }
    }
    Ok(took)
}

/// `grpc.health.v1` of the environment's port: of the server as a whole.
pub async fn environment_health(queue: &Queue, tries: usize) -> Result<Vec<f64>> {
    let mut took = Vec::with_capacity(tries);
    for _ in 0..tries {
        let begin = Instant::now();
        let check = queue.environment.clone().check(HealthCheckRequest::default()).await;
        took.push(ms(begin));
        let status = check.map_err(|e| failed("grpc.health.v1", &e))?.into_inner().status();
        if matches!(status, ServingStatus::Unknown | ServingStatus::ServiceUnknown) {
            return error(format!("the environment's health is {status:?}"));
        }
    }
    Ok(took)
}

/// So many tasks wait, by the daemon's own count. It may be 200 ms old.
pub async fn wait_for_depth(client: &Client, tasks: usize) -> Result<()> {
    const DEPTH: &str = "env_queue_depth";
    let deadline = Instant::now() + LIMIT;
    loop {
        let asked = v1::GetMetricsRequest { metric_names: vec![DEPTH.to_owned()] };
        let answer = client.clone().get_metrics(asked).await.map_err(|e| failed("GetMetrics", &e))?;
        let depth = answer.into_inner().metrics.get(DEPTH).copied().unwrap_or(f64::NAN);
        // Whole numbers, both.
        if format!("{depth}") == tasks.to_string() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return error(format!("{tasks} tasks were to wait, and {depth} do"));
        }
        sleep(PAUSE).await;
    }
}
