//! One answer for one question.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Request, Response, Status, async_trait};

use super::convert::{self, RESULT, content, lease_length, new_task};
use super::lease::Leases;
use super::refuse::{self, id_of, of_store, task_id, unknown};
use super::{Orchestrator, events, results};
use crate::metrics::Format;
use crate::metrics::scrape::{is_asked, values};
use crate::net::pull::{self, Stream};
use crate::net::refuse::bad;
use crate::proto::orchestrator::v1;
use crate::proto::orchestrator::v1::orchestrator_service_server::OrchestratorService;
use crate::tasks::queue::Queue;
use crate::tasks::settings::Class;
use crate::tasks::store::{Answer, Changed, Extension, Failed, MAX_ITEMS, Page, Retry, Submitted, TaskStore};
use crate::tasks::task::{NewTask, State, TaskId, Token};

/// Tasks of one SubmitTasks.
const MAX_TASKS: usize = 1_000;
/// Their bytes.
const MAX_BYTES: usize = 3 << 20;
/// Leases of one ExtendLease.
const MAX_LEASES: usize = 1_000;
/// Tasks of one page.
const MAX_PAGE: i32 = 1_000;
const USUAL_PAGE: i32 = 100;
/// Names in one GetMetrics.
const MAX_NAMES: usize = 1_000;
/// Between a failed attempt and the next.
const MAX_PAUSE: Duration = Duration::from_hours(24 * 30);
const WORKFLOWS: &str =
    "workflows are not built, and not planned: a workflow's order is the business of whoever submits its tasks";

impl<S: TaskStore> Orchestrator<S> {
    /// Pages of the store are smaller than those of callers.
    async fn page(&self, states: &[State], class: Option<Class>, limit: i32, token: &str) -> Result<Page, Status> {
        let limit = match limit {
            0 => USUAL_PAGE,
            1..=MAX_PAGE => limit,
            _ => return Err(bad("limit", &format!("a page has 1 to {MAX_PAGE} tasks"))),
        };
        let limit = usize::try_from(limit).unwrap_or_default();
        let mut page = Page { tasks: Vec::new(), next: Some(token.to_owned()).filter(|token| !token.is_empty()) };
        loop {
            let wanted = (limit - page.tasks.len()).min(MAX_ITEMS);
            let part = self.queue.store.list(states, class, page.next.as_deref(), wanted).await;
            let part = part.map_err(|error| match error {
                crate::tasks::store::StoreError::Invalid(what) => bad("page_token", what),
                error => of_store(&error),
            })?;
            page.tasks.extend(part.tasks);
            page.next = part.next;
            if page.next.is_none() || page.tasks.len() >= limit {
                return Ok(page);
            }
        }
    }

    /// `attempt`: as it was known before it was answered.
    fn answered(&self, id: &TaskId, token: &Token, attempt: Option<(Class, Instant)>, completed: bool) {
        if self.queue.dispatcher.answered(id, token) {
            let took = attempt.map(|(class, since)| (class, since.elapsed()));
            self.queue.metrics.answered(completed, took);
        }
    }
}

/// # Errors
/// INVALID_ARGUMENT.
fn token(token: String) -> Result<Token, Status> {
    match token.len() {
        0 => Err(bad("lease_token", "the token of the lease is needed")),
        1..=200 => Ok(Token(token)),
        _ => Err(bad("lease_token", "no lease has such a token")),
    }
}

/// Submits one task, and says whether it was there already.
///
/// # Errors
/// As SubmitTask has them.
pub async fn submit_one<S: TaskStore>(
    queue: &Queue<S>,
    request: v1::SubmitTaskRequest,
) -> Result<(TaskId, bool), Status> {
    let task = new_task(request, &queue.settings)?;
    let id = task.id.clone();
    let outcomes = queue.submitter.submit(vec![task]).await.map_err(|e| of_store(&e))?;
    let outcome = outcomes.first().ok_or_else(|| Status::internal("no outcome"))?;
    let existed = existed(&id, outcome)?;
    Ok((id, existed))
}

fn existed(id: &TaskId, outcome: &Submitted) -> Result<bool, Status> {
    match outcome {
        Submitted::New => Ok(false),
        Submitted::Same => Ok(true),
        Submitted::Conflict => Err(refuse::other_content(id)),
        Submitted::Full => Err(refuse::full()),
    }
}

fn answer(answer: Answer) -> i32 {
    match answer {
        Answer::Ok => v1::Answer::Ok.into(),
        Answer::Stale => v1::Answer::Stale.into(),
    }
}

/// Of one task among many.
fn refused(id: String, status: &Status) -> v1::SubmitTaskResponse {
    let (error, code) = (status.message().to_owned(), status.code().into());
    v1::SubmitTaskResponse { success: false, task_id: id, error, existed: false, code }
}

#[async_trait]
impl<S: TaskStore> OrchestratorService for Orchestrator<S> {
    async fn submit_task(
        &self,
        request: Request<v1::SubmitTaskRequest>,
    ) -> Result<Response<v1::SubmitTaskResponse>, Status> {
        self.admit(&request, "SubmitTask")?;
        let (id, existed) = submit_one(&self.queue, request.into_inner()).await?;
        let task_id = id.to_string();
        Ok(Response::new(v1::SubmitTaskResponse { success: true, task_id, existed, ..Default::default() }))
    }

    async fn submit_tasks(
        &self,
        request: Request<v1::SubmitTasksRequest>,
    ) -> Result<Response<v1::SubmitTasksResponse>, Status> {
        self.admit(&request, "SubmitTasks")?;
        let tasks = request.into_inner().tasks;
        if tasks.len() > MAX_TASKS {
            return Err(bad("tasks", &format!("{} tasks are too many; {MAX_TASKS} are taken at once", tasks.len())));
        }
        let bytes: usize = tasks.iter().map(prost::Message::encoded_len).sum();
        if bytes > MAX_BYTES {
            let message = format!("{bytes} bytes of tasks are too many; {MAX_BYTES} are taken at once");
            return Err(Status::resource_exhausted(message));
        }
        let mut results = Vec::with_capacity(tasks.len());
        let mut good = Vec::new();
        for (at, task) in tasks.into_iter().enumerate() {
            let id = task.id.clone();
            match new_task(task, &self.queue.settings) {
                Ok(task) => {
                    good.push((at, task));
                    results.push(v1::SubmitTaskResponse { success: true, task_id: id, ..Default::default() });
                }
                Err(status) => results.push(refused(id, &status)),
            }
        }
        let (places, good): (Vec<_>, Vec<_>) = good.into_iter().unzip();
        let ids: Vec<_> = good.iter().map(|task: &NewTask| task.id.clone()).collect();
        let outcomes = self.queue.submitter.submit(good).await.map_err(|e| of_store(&e))?;
        for ((at, id), outcome) in places.into_iter().zip(ids).zip(outcomes) {
            match existed(&id, &outcome) {
                Ok(existed) => results[at].existed = existed,
                Err(status) => results[at] = refused(id.to_string(), &status),
            }
        }
        Ok(Response::new(v1::SubmitTasksResponse { results }))
    }

    type StreamTaskResultsStream = Stream<v1::TaskResult>;

    async fn stream_task_results(
        &self,
        request: Request<v1::StreamTaskResultsRequest>,
    ) -> Result<Response<Self::StreamTaskResultsStream>, Status> {
        let peer = self.admit(&request, "StreamTaskResults")?;
        let v1::StreamTaskResultsRequest { task_ids, include_completed } = request.into_inner();
        let place = self.places.take(peer, refuse::RETRY_AFTER)?;
        let stream = if task_ids.is_empty() {
            pull::stream(results::All::begin(self.queue.clone(), include_completed).await?, place)
        } else {
            pull::stream(results::Of::begin(self.queue.clone(), task_ids, include_completed).await?, place)
        };
        Ok(Response::new(stream))
    }

    async fn get_task_status(
        &self,
        request: Request<v1::GetTaskStatusRequest>,
    ) -> Result<Response<v1::GetTaskStatusResponse>, Status> {
        self.admit(&request, "GetTaskStatus")?;
        let id = task_id(request.into_inner().task_id)?;
        let found = self.queue.store.get(std::slice::from_ref(&id), true).await.map_err(|e| of_store(&e))?;
        let task = found.into_iter().next().flatten().ok_or_else(|| unknown(&id))?;
        Ok(Response::new(convert::status(task)))
    }

    async fn get_metrics(
        &self,
        request: Request<v1::GetMetricsRequest>,
    ) -> Result<Response<v1::GetMetricsResponse>, Status> {
        let names = request.into_inner().metric_names;
        if names.len() > MAX_NAMES {
            return Err(bad("metric_names", "too many names; leave them out to get all"));
        }
        let text = self.queue.metrics.render(Format::Text, &self.queue.moment().await);
        let metrics = values(&text).into_iter().filter(|(name, _)| is_asked(name, &names)).collect();
        Ok(Response::new(v1::GetMetricsResponse {
            metrics,
            timestamp: convert::unix_ms(self.queue.identity.clock.system()),
        }))
    }

    type StreamEventsStream = Stream<v1::TaskEvent>;

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let peer = self.admit(&request, "StreamEvents")?;
        let request = request.into_inner();
        let place = self.places.take(peer, refuse::RETRY_AFTER)?;
        Ok(Response::new(pull::stream(events::Events::begin(self.queue.clone(), request).await?, place)))
    }

    async fn health(&self, _: Request<v1::HealthRequest>) -> Result<Response<v1::HealthResponse>, Status> {
        let readiness = self.queue.readiness.borrow().clone();
        let services = [("redis", readiness.redis()), ("durability", readiness.durability())];
        Ok(Response::new(v1::HealthResponse {
            healthy: readiness.is_ready(),
            version: self.queue.identity.version.to_owned(),
            services: services.into_iter().map(|(name, is)| (name.to_owned(), is.to_owned())).collect(),
            stack: self.queue.identity.stack.clone(),
        }))
    }

    async fn create_workflow(
        &self,
        request: Request<v1::CreateWorkflowRequest>,
    ) -> Result<Response<v1::CreateWorkflowResponse>, Status> {
        self.admit(&request, "CreateWorkflow")?;
        Err(Status::unimplemented(WORKFLOWS))
    }

    async fn start_workflow_run(
        &self,
        request: Request<v1::StartWorkflowRunRequest>,
    ) -> Result<Response<v1::StartWorkflowRunResponse>, Status> {
        self.admit(&request, "StartWorkflowRun")?;
        Err(Status::unimplemented(WORKFLOWS))
    }

    type StreamWorkflowStatusStream = Stream<v1::WorkflowStatus>;

    async fn stream_workflow_status(
        &self,
        request: Request<v1::StreamWorkflowStatusRequest>,
    ) -> Result<Response<Self::StreamWorkflowStatusStream>, Status> {
        self.admit(&request, "StreamWorkflowStatus")?;
        Err(Status::unimplemented(WORKFLOWS))
    }

    type LeaseTasksStream = Stream<v1::LeaseEvent>;

    async fn lease_tasks(
        &self,
        request: Request<tonic::Streaming<v1::LeaseRequest>>,
    ) -> Result<Response<Self::LeaseTasksStream>, Status> {
        let peer = self.admit(&request, "LeaseTasks")?;
        let place = self.places.take(peer, refuse::RETRY_AFTER)?;
        Ok(Response::new(pull::stream(Leases::new(self.queue.clone(), request.into_inner()), place)))
    }

    async fn extend_lease(
        &self,
        request: Request<v1::ExtendLeaseRequest>,
    ) -> Result<Response<v1::ExtendLeaseResponse>, Status> {
        self.admit(&request, "ExtendLease")?;
        let v1::ExtendLeaseRequest { leases, lease_ms } = request.into_inner();
        if leases.len() > MAX_LEASES {
            let message = format!("{} leases are too many; {MAX_LEASES} are extended at once", leases.len());
            return Err(bad("leases", &message));
        }
        let lease = lease_length(lease_ms, &self.queue.settings)?;
        let read = |(n, of): (usize, v1::LeaseRef)| {
            Ok((id_of(&format!("leases[{n}].task_id"), of.task_id)?, token(of.lease_token)?))
        };
        let leases = leases.into_iter().enumerate().map(read).collect::<Result<Vec<_>, Status>>()?;
        let mut extensions = Vec::with_capacity(leases.len());
        for part in leases.chunks(MAX_ITEMS) {
            let outcomes = self.queue.store.extend(part, lease).await.map_err(|e| of_store(&e))?;
            extensions.extend(outcomes.into_iter().map(|outcome| {
                i32::from(match outcome {
                    Extension::Ok => v1::Extension::Ok,
                    Extension::Lost => v1::Extension::Lost,
                    Extension::Cancelled => v1::Extension::Cancel,
                })
            }));
        }
        Ok(Response::new(v1::ExtendLeaseResponse { extensions }))
    }

    async fn complete_task(
        &self,
        request: Request<v1::CompleteTaskRequest>,
    ) -> Result<Response<v1::CompleteTaskResponse>, Status> {
        self.admit(&request, "CompleteTask")?;
        let v1::CompleteTaskRequest { task_id: id, lease_token, result, result_json, result_bytes } =
            request.into_inner();
        let (id, token) = (task_id(id)?, token(lease_token)?);
        let result = content(RESULT, result, result_json, result_bytes, self.queue.settings.max_result)?;
        let attempt = self.queue.dispatcher.attempt(&id, &token);
        let outcome = self.queue.store.complete(&id, &token, &result).await.map_err(|e| of_store(&e))?;
        if outcome == Answer::Ok {
            self.answered(&id, &token, attempt, true);
        }
        Ok(Response::new(v1::CompleteTaskResponse { answer: answer(outcome) }))
    }

    async fn fail_task(&self, request: Request<v1::FailTaskRequest>) -> Result<Response<v1::FailTaskResponse>, Status> {
        self.admit(&request, "FailTask")?;
        let v1::FailTaskRequest { task_id: id, lease_token, error, retryable, retry_after_ms } = request.into_inner();
        let (id, token) = (task_id(id)?, token(lease_token)?);
        let retry = match u64::try_from(retry_after_ms) {
            Err(_) => return Err(bad("retry_after_ms", "a pause is not negative")),
            Ok(_) if !retryable => Retry::Never,
            Ok(0) => Retry::Backoff,
            Ok(ms) => Retry::After(Duration::from_millis(ms).min(MAX_PAUSE)),
        };
        let attempt = self.queue.dispatcher.attempt(&id, &token);
        let outcome = self.queue.store.fail(&id, &token, &error, retry).await.map_err(|e| of_store(&e))?;
        let (outcome, dead, retry_in_ms) = match outcome {
            Failed::Stale => (Answer::Stale, false, 0),
            Failed::Dead => (Answer::Ok, true, 0),
            Failed::RetryIn(pause) => (Answer::Ok, false, convert::ms(pause)),
        };
        if outcome == Answer::Ok {
            self.answered(&id, &token, attempt, false);
        }
        Ok(Response::new(v1::FailTaskResponse { answer: answer(outcome), dead, retry_in_ms }))
    }

    async fn release_task(
        &self,
        request: Request<v1::ReleaseTaskRequest>,
    ) -> Result<Response<v1::ReleaseTaskResponse>, Status> {
        self.admit(&request, "ReleaseTask")?;
        let v1::ReleaseTaskRequest { task_id: id, lease_token } = request.into_inner();
        let (id, token) = (task_id(id)?, token(lease_token)?);
        let outcome = self.queue.store.release(&id, &token).await.map_err(|e| of_store(&e))?;
        self.queue.dispatcher.answered(&id, &token);
        Ok(Response::new(v1::ReleaseTaskResponse { answer: answer(outcome) }))
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Result<Response<v1::CancelTaskResponse>, Status> {
        self.admit(&request, "CancelTask")?;
        let v1::CancelTaskRequest { task_id: id, reason } = request.into_inner();
        let id = task_id(id)?;
        match self.queue.store.cancel(&id, &reason).await.map_err(|e| of_store(&e))? {
            Changed::Unknown => Err(unknown(&id)),
            Changed::From(before @ (State::Completed | State::Failed)) => {
                Err(refuse::not_in_this_state(&id, before, "what has ended is not cancelled"))
            }
            Changed::From(before) => {
                Ok(Response::new(v1::CancelTaskResponse { previous_status: before.name().to_owned() }))
            }
        }
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        self.admit(&request, "ListTasks")?;
        let v1::ListTasksRequest { statuses, class, limit, page_token } = request.into_inner();
        let states = convert::states(statuses)?;
        let class = match class.as_str() {
            "" => None,
            class => Some(Class::parse(class).map_err(|wrong| bad("class", &wrong))?),
        };
        let page = self.page(&states, class, limit, &page_token).await?;
        Ok(Response::new(v1::ListTasksResponse {
            tasks: page.tasks.into_iter().map(convert::status).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn list_dead_tasks(
        &self,
        request: Request<v1::ListDeadTasksRequest>,
    ) -> Result<Response<v1::ListDeadTasksResponse>, Status> {
        self.admit(&request, "ListDeadTasks")?;
        let v1::ListDeadTasksRequest { limit, page_token } = request.into_inner();
        let page = self.page(&[State::Failed], None, limit, &page_token).await?;
        Ok(Response::new(v1::ListDeadTasksResponse {
            tasks: page.tasks.into_iter().map(convert::status).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn requeue_task(
        &self,
        request: Request<v1::RequeueTaskRequest>,
    ) -> Result<Response<v1::RequeueTaskResponse>, Status> {
        self.admit(&request, "RequeueTask")?;
        let id = task_id(request.into_inner().task_id)?;
        match self.queue.store.requeue(&id).await.map_err(|e| of_store(&e))? {
            Changed::Unknown => Err(unknown(&id)),
            Changed::From(State::Failed) => Ok(Response::new(v1::RequeueTaskResponse { task_id: id.to_string() })),
            Changed::From(before) => Err(refuse::not_in_this_state(&id, before, "only a dead one is put back")),
        }
    }
}
