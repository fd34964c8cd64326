//! HTTP: what monitoring and scripts ask without a client of ours. `docs/http.md` says the same to users.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tonic::{Code, Status};

use super::metrics::Moment;
use super::queue::Queue;
use super::service::calls::submit_one;
use super::settings::Class;
use super::store::TaskStore;
use crate::metrics::Format;
use crate::net::http::answer::{json as json_body, plainly, text};
use crate::net::http::{accept, is_local};
use crate::proto::orchestrator::v1;

/// Bytes of a submission: the largest payload, and what is around it.
const MAX_BODY: usize = 4 << 20;

/// What there is, as `/` and whoever asks for something else is told.
const PATHS: &str = "\
/metrics         numbers for Prometheus
/health          whether tasks are taken, as JSON; 503 when not
/queue/status    what waits and runs, by class, as JSON
/queue/submit    POST: a task, as JSON {id, class, payload, priority, workflow_id}
";

pub fn router<S: TaskStore>(queue: Queue<S>) -> Router {
    let router = Router::new()
        .route("/", get(async || text(StatusCode::OK, &format!("env-manager task queue\n\n{PATHS}"))))
        .route("/metrics", get(metrics::<S>))
        .route("/health", get(health::<S>))
        .route("/queue/status", get(status::<S>))
        .route("/queue/submit", post(submit::<S>))
        .method_not_allowed_fallback(async || text(StatusCode::METHOD_NOT_ALLOWED, "not by this method\n"))
        .fallback(async || text(StatusCode::NOT_FOUND, &format!("there is no such page; there are\n\n{PATHS}")))
        .with_state(queue);
    plainly(router)
}

async fn metrics<S: TaskStore>(State(queue): State<Queue<S>>, request: Request) -> Response {
    let format = Format::accepted(&accept(&request));
    let body = queue.metrics.render(format, &queue.moment().await);
    ([(header::CONTENT_TYPE, format.content_type())], body).into_response()
}

async fn health<S: TaskStore>(State(queue): State<Queue<S>>, request: Request) -> Response {
    let readiness = queue.readiness.borrow().clone();
    let (code, status) =
        if readiness.is_ready() { (StatusCode::OK, "healthy") } else { (StatusCode::SERVICE_UNAVAILABLE, "unhealthy") };
    let mut body = json!({
        "status": status,
        "service": "orchestrator",
        "version": queue.identity.version,
        "timestamp": queue.identity.clock.system().to_string(),
    });
    // Addresses and settings are for those who are here.
    if is_local(&request) || queue.settings.allow_remote {
        body["redis"] = readiness.redis().into();
        body["durability"] = readiness.durability().into();
    }
    json_body(code, format!("{body}\n"))
}

/// # Errors
/// The answer for callers elsewhere, unless `[tasks] allow_remote`.
#[expect(clippy::result_large_err, reason = "an answer is what is made of it at once")]
fn admit<S>(queue: &Queue<S>, request: &Request) -> Result<(), Response> {
    if is_local(request) || queue.settings.allow_remote {
        return Ok(());
    }
    Err(refused(&Status::permission_denied(
        "this is only for callers on this machine; `allow_remote = true` in [tasks] of the daemon lets others in",
    )))
}

async fn status<S: TaskStore>(State(queue): State<Queue<S>>, request: Request) -> Response {
    if let Err(refusal) = admit(&queue, &request) {
        return refusal;
    }
    let Moment { depths, readiness, workers } = queue.moment().await;
    let Some(depths) = depths else {
        return refused(&Status::unavailable(readiness.redis()));
    };
    let of_class = |class: Class| {
        let of = depths.by_class.of(class);
        let oldest = of.oldest.as_secs_f64();
        let body = json!({
            "waiting": of.waiting, "delayed": of.delayed, "running": of.running, "oldest_seconds": oldest
        });
        (class.name().to_owned(), body)
    };
    let body = json!({
        "stack": queue.identity.stack,
        "ready": readiness.is_ready(),
        "redis": readiness.redis(),
        "durability": readiness.durability(),
        "classes": Class::ALL.into_iter().map(of_class).collect::<serde_json::Map<_, _>>(),
        "dead": depths.dead,
        "ended": depths.done,
        "workers": workers,
    });
    json_body(StatusCode::OK, format!("{body:#}\n"))
}

/// As SubmitTask has it, with any JSON for a payload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission<'a> {
    id: String,
    #[serde(default)]
    class: String,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    workflow_id: String,
}

async fn submit<S: TaskStore>(State(queue): State<Queue<S>>, request: Request) -> Response {
    if let Err(refusal) = admit(&queue, &request) {
        return refusal;
    }
    // A page in somebody's browser can send any text to this machine, but not this type.
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the type is to be application/json\n");
    }
    let Ok(body) = to_bytes(request.into_body(), MAX_BODY).await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "this is too large, or broke off\n");
    };
    match taken(&queue, &body).await {
        Ok(answer) => answer,
        Err(status) => refused(&status),
    }
}

async fn taken<S: TaskStore>(queue: &Queue<S>, body: &[u8]) -> Result<Response, Status> {
    let wrong = |e: serde_json::Error| Status::invalid_argument(format!("this is not a task: {e}"));
    let Submission { id, class, payload, priority, workflow_id } = serde_json::from_slice(body).map_err(wrong)?;
    let payload_json = payload.map(|payload| payload.get().as_bytes().to_vec()).unwrap_or_default();
    let request = v1::SubmitTaskRequest { id, class, priority, workflow_id, payload_json, ..Default::default() };
    let (id, existed) = submit_one(queue, request).await?;
    let body = json!({ "success": true, "task_id": id.as_str(), "existed": existed });
    Ok(json_body(StatusCode::OK, format!("{body}\n")))
}

fn refused(status: &Status) -> Response {
    let code = match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists => StatusCode::CONFLICT,
        Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = json!({ "success": false, "error": status.message() });
    let mut answer = json_body(code, format!("{body}\n"));
    if matches!(code, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    answer
}
