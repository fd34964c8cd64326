//! On a real Redis: a process of each test's own.

#[allow(dead_code, reason = "the integration tests have it, too")]
mod server;
mod tasks;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use self::server::RedisServer;
use super::RedisStore;
use crate::tasks::settings::{Class, TaskSettings};
use crate::tasks::store::{Submitted, TaskStore};
use crate::tasks::task::{Content, Lease, NewTask, State, Task, TaskId};

const LONG: Duration = Duration::from_secs(30);

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
        let redis = RedisServer::start(&[]).await?;
        let mut settings = TaskSettings { redis: redis.url(), ..TaskSettings::default() };
        set(&mut settings);
        let store = RedisStore::connect(&settings, "test").unwrap();
        Some(Self { redis, settings, store })
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

    async fn state(&self, name: &str) -> State {
        self.get(name).await.state
    }
}

fn names(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.id.as_str()).collect()
}
