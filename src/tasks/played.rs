//! A store that answers as a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::settings::{ByClass, Class};
use super::store::{
    Answer, Changed, ClassDepth, Depths, Extension, Failed, Page, Retry, StoreError, Submitted, Swept, TaskStore,
};
use super::task::{Content, Lease, NewTask, Position, State, Task, TaskEvent, TaskId, Token};

/// A lease call: whose, and what for.
pub type Asked = (String, Vec<(Class, u32)>);

/// Cheap to clone; clones are one.
#[derive(Clone, Default)]
pub struct Played(Arc<Script>);

#[derive(Default)]
struct Script {
    /// Ids of each submission, in the order of the calls.
    submitted: Mutex<Vec<Vec<String>>>,
    /// A submission waits for one; `None`: it does not.
    gate: Mutex<Option<Arc<Semaphore>>>,
    away: Mutex<bool>,
    /// What waits to be leased.
    waiting: Mutex<VecDeque<Lease>>,
    lease_calls: Mutex<Vec<Asked>>,
    released: Mutex<Vec<TaskId>>,
}

pub fn id(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

pub fn new_task(name: &str) -> NewTask {
    let payload = Content::Map(std::collections::BTreeMap::new());
    NewTask { id: id(name), class: Class::CpuShort, priority: 0, workflow_id: String::new(), payload }
}

pub fn lease(name: &str, class: Class) -> Lease {
    Lease {
        id: id(name),
        class,
        token: Token(format!("token of {name}")),
        attempt: 1,
        max_attempts: 3,
        priority: 0,
        workflow_id: String::new(),
        payload: Content::Map(std::collections::BTreeMap::new()),
        waited: Duration::ZERO,
    }
}

impl Played {
    pub fn submitted(&self) -> Vec<Vec<String>> {
        self.0.submitted.lock().unwrap().clone()
    }

    /// Submissions are answered one for each permit.
    pub fn hold_submissions(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    pub fn set_away(&self, away: bool) {
        *self.0.away.lock().unwrap() = away;
    }

    pub fn add(&self, lease: Lease) {
        self.0.waiting.lock().unwrap().push_back(lease);
    }

    pub fn lease_calls(&self) -> Vec<Asked> {
        self.0.lease_calls.lock().unwrap().clone()
    }

    pub fn released(&self) -> Vec<TaskId> {
        self.0.released.lock().unwrap().clone()
    }

    fn answers(&self) -> Result<(), StoreError> {
        if *self.0.away.lock().unwrap() { Err(StoreError::NotReady("it is away".to_owned())) } else { Ok(()) }
    }
}

impl TaskStore for Played {
    async fn submit(&self, tasks: &[NewTask]) -> Result<Vec<Submitted>, StoreError> {
        self.0.submitted.lock().unwrap().push(tasks.iter().map(|task| task.id.to_string()).collect());
        let gate = self.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        self.answers()?;
        Ok(tasks.iter().map(|_| Submitted::New).collect())
    }

    async fn lease(&self, worker: &str, wanted: &[(Class, u32)], _: Duration) -> Result<Vec<Lease>, StoreError> {
        self.0.lease_calls.lock().unwrap().push((worker.to_owned(), wanted.to_vec()));
        self.answers()?;
        let mut waiting = self.0.waiting.lock().unwrap();
        let mut leases = Vec::new();
        for (class, count) in wanted {
            for _ in 0..*count {
                let Some(at) = waiting.iter().position(|lease| lease.class == *class) else { break };
                leases.extend(waiting.remove(at));
            }
        }
        Ok(leases)
    }

    async fn extend(&self, leases: &[(TaskId, Token)], _: Duration) -> Result<Vec<Extension>, StoreError> {
        Ok(leases.iter().map(|_| Extension::Ok).collect())
    }

    async fn complete(&self, _: &TaskId, _: &Token, _: &Content) -> Result<Answer, StoreError> {
        Ok(Answer::Ok)
    }

    async fn fail(&self, _: &TaskId, _: &Token, _: &str, _: Retry) -> Result<Failed, StoreError> {
        Ok(Failed::Dead)
    }

    async fn release(&self, id: &TaskId, _: &Token) -> Result<Answer, StoreError> {
        self.answers()?;
        self.0.released.lock().unwrap().push(id.clone());
        Ok(Answer::Ok)
    }

    async fn cancel(&self, _: &TaskId, _: &str) -> Result<Changed, StoreError> {
        Ok(Changed::Unknown)
    }

    async fn requeue(&self, _: &TaskId) -> Result<Changed, StoreError> {
        Ok(Changed::Unknown)
    }

    async fn get(&self, ids: &[TaskId], _: bool) -> Result<Vec<Option<Task>>, StoreError> {
        Ok(ids.iter().map(|_| None).collect())
    }

    async fn list(&self, _: &[State], _: Option<Class>, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        Ok(Page::default())
    }

    async fn events(&self, _: Position, _: usize, wait: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        tokio::time::sleep(wait).await;
        Ok(Vec::new())
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        Ok(Position::default())
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        Ok(Depths { by_class: ByClass([ClassDepth::default(); 4]), dead: 0, done: 0 })
    }

    async fn sweep(&self) -> Result<Swept, StoreError> {
        Ok(Swept::default())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.answers()
    }
}
