//! LeaseTasks: says what a worker can do, gets it tasks.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::convert::{self, lease_length};
use super::refuse::id_of;
use crate::net::pull::Pull;
use crate::net::refuse::bad;
use crate::proto::orchestrator::v1;
use crate::proto::orchestrator::v1::lease_event::{Cancel, Drain, Event, Welcome};
use crate::proto::orchestrator::v1::lease_request::{Credit, Hello, Request};
use crate::tasks::dispatch::state::Out;
use crate::tasks::dispatch::{MAX_CREDIT, Seat, Taken};
use crate::tasks::queue::Queue;
use crate::tasks::settings::Class;
use crate::tasks::store::TaskStore;

/// Until a worker has said who it is.
const GREETING: Duration = Duration::from_secs(10);

pub struct Leases<S> {
    queue: Queue<S>,
    requests: Streaming<v1::LeaseRequest>,
    /// `None`: it has not said who it is.
    worker: Option<Worker>,
}

struct Worker {
    seat: Seat,
    lease: Duration,
}

impl<S: TaskStore> Leases<S> {
    pub fn new(queue: Queue<S>, requests: Streaming<v1::LeaseRequest>) -> Self {
        Self { queue, requests, worker: None }
    }

    async fn greeted(&mut self) -> Result<(Worker, v1::LeaseEvent), Status> {
        let first = timeout(GREETING, self.requests.message()).await;
        let first = first.map_err(|_| bad("request", "the worker does not say who it is: `hello` comes first"))??;
        let Some(v1::LeaseRequest { request: Some(Request::Hello(hello)) }) = first else {
            return Err(bad("request", "`hello` comes first"));
        };
        let Hello { worker_id, instance_id, slots, lease_ms, client_version } = hello;
        let name = id_of("hello.worker_id", worker_id)?;
        id_of("hello.instance_id", instance_id)?;
        for slots in slots {
            class(&slots.class, "hello.slots.class")?;
        }
        let lease = lease_length(lease_ms, &self.queue.settings)?;
        tracing::debug!(worker = %name, client = %client_version.escape_debug(), "a worker is there");
        let worker = Worker { seat: self.queue.dispatcher.enter(name.as_str(), lease), lease };
        let welcome = Welcome {
            lease_ms: convert::ms(lease),
            heartbeat_ms: convert::ms(lease / 3),
            daemon_id: self.queue.identity.daemon.clone(),
        };
        Ok((worker, told(Event::Welcome(welcome))))
    }
}

/// Here an empty one is a mistake.
fn class(name: &str, field: &str) -> Result<Class, Status> {
    if name.is_empty() { Err(bad(field, "a class is needed")) } else { Class::parse(name).map_err(|e| bad(field, &e)) }
}

fn told(event: Event) -> v1::LeaseEvent {
    v1::LeaseEvent { event: Some(event) }
}

fn asked(worker: &Worker, request: v1::LeaseRequest) -> Result<(), Status> {
    match request.request {
        Some(Request::Credit(Credit { class: name, add })) => {
            let class = class(&name, "credit.class")?;
            let add = u32::try_from(add).ok().filter(|add| *add <= MAX_CREDIT);
            let add = add.ok_or_else(|| bad("credit.add", &format!("0 to {MAX_CREDIT} are added at once")))?;
            worker.seat.credit(class, add).map_err(|wrong| bad("credit.add", &wrong))
        }
        Some(Request::Drain(_)) => {
            worker.seat.drain();
            Ok(())
        }
        Some(Request::Hello(_)) => Err(bad("request", "`hello` comes once")),
        // A newer worker's.
        None => Ok(()),
    }
}

impl<S: TaskStore> Pull for Leases<S> {
    type Message = v1::LeaseEvent;

    async fn next(&mut self) -> Result<Option<Self::Message>, Status> {
        let Some(worker) = &self.worker else {
            let (worker, welcome) = self.greeted().await?;
            self.worker = Some(worker);
            return Ok(Some(welcome));
        };
        loop {
            match worker.seat.take() {
                Taken::Out(out) => return Ok(Some(told(sent(out, worker.lease, &self.queue)))),
                Taken::End => return Ok(None),
                Taken::Nothing => {}
            }
            // Both are cancel-safe.
            tokio::select! {
                () = worker.seat.told() => {}
                request = self.requests.message() => match request? {
                    Some(request) => asked(worker, request)?,
                    // It asks for nothing more: what it has it answers by calls.
                    None => return Ok(None),
                },
            }
        }
    }
}

fn sent<S: TaskStore>(out: Out, lasts: Duration, queue: &Queue<S>) -> Event {
    match out {
        Out::Lease(lease) => Event::Lease(convert::lease(lease, lasts, &queue.settings)),
        Out::Cancel { id, token, reason } => {
            Event::Cancel(Cancel { task_id: id.to_string(), lease_token: token.0, reason })
        }
        Out::Drain { reason, grace } => Event::Drain(Drain { reason: reason.to_owned(), grace_ms: convert::ms(grace) }),
    }
}
