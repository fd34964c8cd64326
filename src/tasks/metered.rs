//! A store whose calls are timed.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::TaskMetrics;
use super::settings::Class;
use super::store::{Answer, Changed, Depths, Extension, Failed, Page, Retry, StoreError, Submitted, Swept, TaskStore};
use super::task::{Content, Lease, NewTask, Position, State, Task, TaskEvent, TaskId, Token};

#[derive(Clone)]
pub struct Metered<S> {
    store: S,
    metrics: TaskMetrics,
}

impl<S: TaskStore> Metered<S> {
    pub fn new(store: S, metrics: TaskMetrics) -> Self {
        Self { store, metrics }
    }

    async fn timed<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let answer = answer.await;
        self.metrics.called(call, answer.is_ok(), began.elapsed());
        answer
    }
}

impl<S: TaskStore> TaskStore for Metered<S> {
    async fn submit(&self, tasks: &[NewTask]) -> Result<Vec<Submitted>, StoreError> {
        self.timed("submit", self.store.submit(tasks)).await
    }

    async fn lease(&self, worker: &str, wanted: &[(Class, u32)], lease: Duration) -> Result<Vec<Lease>, StoreError> {
        self.timed("lease", self.store.lease(worker, wanted, lease)).await
    }

    async fn extend(&self, leases: &[(TaskId, Token)], lease: Duration) -> Result<Vec<Extension>, StoreError> {
        self.timed("extend", self.store.extend(leases, lease)).await
    }

    async fn complete(&self, id: &TaskId, token: &Token, result: &Content) -> Result<Answer, StoreError> {
        self.timed("complete", self.store.complete(id, token, result)).await
    }

    async fn fail(&self, id: &TaskId, token: &Token, error: &str, retry: Retry) -> Result<Failed, StoreError> {
        self.timed("fail", self.store.fail(id, token, error, retry)).await
    }

    async fn release(&self, id: &TaskId, token: &Token) -> Result<Answer, StoreError> {
        self.timed("release", self.store.release(id, token)).await
    }

    async fn cancel(&self, id: &TaskId, reason: &str) -> Result<Changed, StoreError> {
        self.timed("cancel", self.store.cancel(id, reason)).await
    }

    async fn requeue(&self, id: &TaskId) -> Result<Changed, StoreError> {
        self.timed("requeue", self.store.requeue(id)).await
    }

    async fn get(&self, ids: &[TaskId], with_results: bool) -> Result<Vec<Option<Task>>, StoreError> {
        self.timed("get", self.store.get(ids, with_results)).await
    }

    async fn list(
        &self,
        states: &[State],
        class: Option<Class>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.timed("list", self.store.list(states, class, from, limit)).await
    }

    /// Not timed: it waits.
    async fn events(&self, after: Position, limit: usize, wait: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        self.store.events(after, limit, wait).await
    }

    /// Not timed: once a stream.
    async fn newest(&self) -> Result<Position, StoreError> {
        self.store.newest().await
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        self.timed("depths", self.store.depths()).await
    }

    async fn sweep(&self) -> Result<Swept, StoreError> {
        self.timed("sweep", self.store.sweep()).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.timed("ready", self.store.ready()).await
    }
}
