//! A queue on a Redis of its own, served in this process, and what calls it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use env_manager::clock::{Clock, Timestamp};
use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::lease_event::Event;
use env_manager::proto::orchestrator::v1::lease_request::{Credit, Drain, Hello, Request, Slots};
use env_manager::proto::orchestrator::v1::orchestrator_service_client::OrchestratorServiceClient;
use env_manager::tasks::settings::TaskSettings;
use env_manager::tasks::store::redis::RedisStore;
use env_manager::tasks::{Identity, Queue, TasksError, serve};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::redis_server::RedisServer;

/// That only a hang reaches.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub type Client = OrchestratorServiceClient<Channel>;

/// With a deadline.
pub async fn soon<F: Future>(what: &str, of: F) -> F::Output {
    tokio::time::timeout(DEADLINE, of).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Asks until it is so.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

/// A daemon's queue, as far as tasks are concerned.
pub struct Daemon {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub shutdown: CancellationToken,
    served: JoinSet<Result<(), TasksError>>,
}

impl Daemon {
    pub async fn start(settings: TaskSettings) -> Self {
        Self::at("127.0.0.1", settings).await
    }

    pub async fn at(host: &str, settings: TaskSettings) -> Self {
        let grpc = TcpListener::bind((host, 0)).await.unwrap();
        let http = TcpListener::bind((host, 0)).await.unwrap();
        let (grpc_at, http_at) = (grpc.local_addr().unwrap(), http.local_addr().unwrap());
        let store = RedisStore::connect(&settings, "test").unwrap();
        let identity = Identity {
            stack: "test".to_owned(),
            version: "0.0.0",
            daemon: format!("here:{}", grpc_at.port()),
            clock: Arc::new(Stopped),
        };
        let (queue, works) = Queue::start(store, settings, identity);
        let shutdown = CancellationToken::new();
        let mut served = JoinSet::new();
        served.spawn(serve(queue, works, grpc, http, shutdown.clone()));
        Self { grpc: grpc_at, http: http_at, shutdown, served }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.grpc.port())).unwrap();
        soon("a connection", endpoint.connect()).await.unwrap()
    }

    pub async fn client(&self) -> Client {
        let client = Client::new(self.channel().await);
        client.max_decoding_message_size(16 << 20).max_encoding_message_size(16 << 20)
    }

    pub async fn ended(&mut self) {
        soon("the end", self.served.join_next()).await.unwrap().unwrap().unwrap();
    }
}

/// A Redis and a daemon on it.
pub struct Rig {
    pub redis: RedisServer,
    pub settings: TaskSettings,
    pub daemon: Daemon,
    pub client: Client,
}

impl Rig {
    /// `None`, and said why, where there is no Redis.
    pub async fn new() -> Option<Self> {
        Self::with(&[], |_| {}).await
    }

    pub async fn with(options: &[&str], change: impl FnOnce(&mut TaskSettings)) -> Option<Self> {
        let redis = RedisServer::start(options).await?;
        let mut settings = TaskSettings { redis: redis.url(), ..TaskSettings::default() };
        change(&mut settings);
        let daemon = Daemon::start(settings.clone()).await;
        let client = daemon.client().await;
        Some(Self { redis, settings, daemon, client })
    }

    pub async fn submit(&self, id: &str, class: &str) {
        self.submit_all([task(id, class)]).await;
    }

    /// All are taken.
    pub async fn submit_all(&self, tasks: impl IntoIterator<Item = v1::SubmitTaskRequest>) {
        let tasks: Vec<_> = tasks.into_iter().collect();
        for part in tasks.chunks(1_000) {
            let request = v1::SubmitTasksRequest { tasks: part.to_vec() };
            let results = self.client.clone().submit_tasks(request).await.unwrap().into_inner().results;
            assert!(results.len() == part.len() && results.iter().all(|r| r.success && !r.existed), "{results:?}");
        }
    }

    pub async fn status(&self, id: &str) -> v1::GetTaskStatusResponse {
        let request = v1::GetTaskStatusRequest { task_id: id.to_owned() };
        self.client.clone().get_task_status(request).await.unwrap().into_inner()
    }

    pub async fn metric(&self, name: &str) -> f64 {
        let request = v1::GetMetricsRequest { metric_names: vec![name.to_owned()] };
        let metrics = self.client.clone().get_metrics(request).await.unwrap().into_inner().metrics;
        metrics.values().fold(0.0, |sum, value| sum + value)
    }

    pub async fn metric_is(&self, name: &str, value: f64) {
        until(&format!("{name} to be {value}"), || async {
            (self.metric(name).await.to_bits() == value.to_bits()).then_some(())
        })
        .await;
    }
}

pub fn task(id: &str, class: &str) -> v1::SubmitTaskRequest {
    v1::SubmitTaskRequest {
        id: id.to_owned(),
        class: class.to_owned(),
        payload_json: format!("{{\"of\":\"{id}\"}}").into_bytes(),
        ..Default::default()
    }
}

/// A worker's stream.
pub struct Worker {
    send: mpsc::Sender<v1::LeaseRequest>,
    receive: Streaming<v1::LeaseEvent>,
}

impl Worker {
    /// Welcome already.
    pub async fn enter(client: &Client, name: &str) -> Self {
        Self::with_lease(client, name, 0).await.0
    }

    pub async fn with_lease(client: &Client, name: &str, lease_ms: i64) -> (Self, v1::lease_event::Welcome) {
        let mut worker = Self::begin(client).await;
        let slots = vec![Slots { class: "cpu_short".to_owned(), slots: 1 }];
        let (worker_id, instance_id) = (name.to_owned(), format!("{name}.1"));
        let client_version = "0.0.0".to_owned();
        worker.say(Request::Hello(Hello { worker_id, instance_id, slots, lease_ms, client_version })).await;
        let Event::Welcome(welcome) = worker.event().await else { panic!("welcome comes first") };
        (worker, welcome)
    }

    /// Has said nothing yet.
    pub async fn begin(client: &Client) -> Self {
        let (send, requests) = mpsc::channel(100);
        let answer = soon("the stream", client.clone().lease_tasks(ReceiverStream::new(requests))).await;
        Self { send, receive: answer.unwrap().into_inner() }
    }

    pub async fn say(&self, request: Request) {
        self.send.send(v1::LeaseRequest { request: Some(request) }).await.expect("the stream goes on");
    }

    pub async fn credit(&self, class: &str, add: i32) {
        self.say(Request::Credit(Credit { class: class.to_owned(), add })).await;
    }

    pub async fn drain(&self) {
        self.say(Request::Drain(Drain {})).await;
    }

    pub async fn next(&mut self) -> Result<Option<Event>, tonic::Status> {
        let event = soon("an event of the stream", self.receive.message()).await?;
        Ok(event.map(|event| event.event.expect("an event of a known kind")))
    }

    pub async fn event(&mut self) -> Event {
        self.next().await.unwrap().expect("the stream goes on")
    }

    pub async fn lease(&mut self) -> v1::lease_event::Lease {
        match self.event().await {
            Event::Lease(lease) => lease,
            other => panic!("no lease: {other:?}"),
        }
    }

    /// The next one; cancellations are passed over.
    pub async fn lease_past_cancels(&mut self) -> v1::lease_event::Lease {
        loop {
            match self.event().await {
                Event::Lease(lease) => return lease,
                Event::Cancel(_) => {}
                other => panic!("no lease: {other:?}"),
            }
        }
    }

    /// Nothing comes as long as `meanwhile` takes.
    pub async fn nothing_while<T>(&mut self, meanwhile: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            event = self.receive.message() => panic!("this was to come later, or not at all: {event:?}"),
            done = meanwhile => done,
        }
    }
}

pub async fn complete(client: &Client, lease: &v1::lease_event::Lease) -> i32 {
    let request = v1::CompleteTaskRequest {
        task_id: lease.task_id.clone(),
        lease_token: lease.lease_token.clone(),
        result_json: b"{\"n\":1}".to_vec(),
        ..Default::default()
    };
    client.clone().complete_task(request).await.unwrap().into_inner().answer
}

pub async fn fail(client: &Client, lease: &v1::lease_event::Lease, retryable: bool) -> v1::FailTaskResponse {
    let request = v1::FailTaskRequest {
        task_id: lease.task_id.clone(),
        lease_token: lease.lease_token.clone(),
        error: "it was too hard".to_owned(),
        retryable,
        retry_after_ms: 1,
    };
    client.clone().fail_task(request).await.unwrap().into_inner()
}

pub const OK: i32 = v1::Answer::Ok as i32;
pub const STALE: i32 = v1::Answer::Stale as i32;
