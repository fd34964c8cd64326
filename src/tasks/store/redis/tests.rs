//! On a real Redis: a process of each test's own.

#[allow(dead_code, reason = "the integration tests have it, too")]
mod server;

mod answers;
mod limits;
mod list;
mod model;
mod order;
mod outages;
mod settings;
mod share;
mod tasks;
mod torn;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use self::server::RedisServer;
use super::RedisStore;
use crate::tasks::settings::{Class, TaskSettings};
use crate::tasks::store::{Answer, Changed, Extension, Failed, Retry, StoreError, Submitted, TaskStore};
use crate::tasks::task::{Content, EventType, Lease, NewTask, Position, State, Task, TaskId, Token};

const LONG: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_hours(1);

/// What a call tells in the end, asked again and again.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(told) = ask().await {
            return told;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn id(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

fn ids(names: &[&str]) -> Vec<TaskId> {
    names.iter().map(|name| id(name)).collect()
}

fn json(text: &str) -> Content {
    Content::Json(Bytes::copy_from_slice(text.as_bytes()))
}

fn new(name: &str, class: Class, priority: i32) -> NewTask {
    NewTask { id: id(name), class, priority, workflow_id: String::new(), payload: json(&format!("\"of {name}\"")) }
}

fn short(name: &str) -> NewTask {
    new(name, Class::CpuShort, 0)
}

/// A store, and the Redis it keeps its tasks in.
struct Rig {
    redis: RedisServer,
    settings: TaskSettings,
    store: RedisStore,
}

impl Rig {
    async fn new() -> Option<Self> {
        Self::with(|_| {}).await
    }

    async fn with(set: impl FnOnce(&mut TaskSettings)) -> Option<Self> {
        Some(Self::on(RedisServer::start(&[]).await?, set))
    }

    fn on(redis: RedisServer, set: impl FnOnce(&mut TaskSettings)) -> Self {
        let mut settings = TaskSettings { redis: redis.url(), ..TaskSettings::default() };
        set(&mut settings);
        let store = RedisStore::connect(&settings, "test").unwrap();
        Self { redis, settings, store }
    }

    /// All are new.
    async fn submit(&self, tasks: &[NewTask]) {
        let came = self.store.submit(tasks).await.unwrap();
        assert!(came.iter().all(|c| *c == Submitted::New), "{came:?}");
    }

    async fn lease(&self, class: Class, number: u32) -> Vec<Lease> {
        self.store.lease("w", &[(class, number)], LONG).await.unwrap()
    }

    async fn one(&self, class: Class) -> Lease {
        let mut leases = self.lease(class, 1).await;
        leases.pop().expect("a task waits")
    }

    async fn get(&self, name: &str) -> Task {
        self.store.get(&ids(&[name]), true).await.unwrap().remove(0).expect("a task")
    }

    /// Sweeps until so many leases have lapsed.
    async fn lapse(&self, number: u64) {
        let mut lapsed = 0;
        while lapsed < number {
            lapsed += until("a lease lapses", async || {
                Some(self.store.sweep().await.unwrap().lapsed).filter(|lapsed| *lapsed > 0)
            })
            .await;
        }
        assert_eq!(lapsed, number);
    }

    async fn state(&self, name: &str) -> State {
        self.get(name).await.state
    }
}

fn names(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.id.as_str()).collect()
}
