//! HTTP: what monitoring and scripts ask without a client of ours.
//!
//! Everything is answered from memory: no request makes the engine do anything. `docs/http.md` says the same
//! to users.

#[cfg(test)]
mod tests;

use std::io;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::daemon::Environment;
use crate::metrics::Format;
use crate::net::http::answer::{json as json_body, plainly, text};
use crate::net::http::{self, accept, is_local};
use crate::report::{StatusReport, View, serves};
use crate::resource::ResourceKey;

/// What there is, as `/` and whoever asks for something else is told.
const PATHS: &str = "\
/metrics         numbers for Prometheus
/health          healthy, degraded or unhealthy, as JSON; 503 when unhealthy
/livez           200 as long as env-manager runs
/readyz          200 once manifests have been read and the engine has been looked at; else 503
/api/v1/status   what `env-manager status -o json` prints; ?service=NAME: of one service
";

/// What of a request matters.
struct Asked {
    /// Whether texts are for them.
    local: bool,
    accept: String,
    /// Without the question mark.
    query: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        Self {
            local: is_local(request),
            accept: accept(request),
            query: request.uri().query().unwrap_or_default().to_owned(),
        }
    }
}

/// Serves until it is told to end. Dropped, it ends all connections at once.
///
/// # Errors
/// The socket accepts no more.
pub async fn serve<E: Environment>(
    listener: TcpListener,
    environment: E,
    shutdown: CancellationToken,
) -> io::Result<()> {
    http::serve(listener, router(environment), shutdown).await
}

fn router<E: Environment>(environment: E) -> Router {
    let answer = |with: fn(&E, &Asked) -> Response| {
        get(
            move |State(environment): State<E>, request: Request| async move { with(&environment, &Asked::of(&request)) },
        )
    };
    let router = Router::new()
        .route("/", answer(|_, _| text(StatusCode::OK, &format!("env-manager\n\n{PATHS}"))))
        .route("/livez", answer(|_, _| text(StatusCode::OK, "ok\n")))
        .route("/metrics", answer(metrics))
        .route("/health", answer(health))
        .route("/readyz", answer(readyz))
        .route("/api/v1/status", answer(status))
        .method_not_allowed_fallback(async || text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"))
        .fallback(async || text(StatusCode::NOT_FOUND, &format!("there is no such page; there are\n\n{PATHS}")))
        .with_state(environment);
    plainly(router)
}

fn metrics<E: Environment>(environment: &E, asked: &Asked) -> Response {
    let format = Format::accepted(&asked.accept);
    let body = environment.metrics().render(format, &environment.view(), &environment.queue());
    ([(header::CONTENT_TYPE, format.content_type())], body).into_response()
}

fn health<E: Environment>(environment: &E, _: &Asked) -> Response {
    let view = environment.view();
    let (code, status) = verdict(&view);
    let body = json!({ "status": status, "service": "env-manager", "timestamp": view.now.to_string() });
    json_body(code, format!("{body}\n"))
}

fn verdict(view: &View) -> (StatusCode, &'static str) {
    if !view.is_healthy() {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    } else if view.services().all(|(_, status)| serves(status)) {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::OK, "degraded")
    }
}

fn readyz<E: Environment>(environment: &E, asked: &Asked) -> Response {
    match not_ready(&environment.view()) {
        None => text(StatusCode::OK, "ready\n"),
        Some(reason) if asked.local => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {reason}\n")),
        Some(_) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

/// Why nobody should count yet on what is said of the services.
fn not_ready(view: &View) -> Option<String> {
    if view.source.revision.is_empty() {
        return Some(match &view.source.error {
            Some(error) => format!("the manifests could not be read: {error}"),
            None => "the manifests have not been read yet".to_owned(),
        });
    }
    if !view.engine.reachable {
        return Some(match view.engine.message.as_str() {
            "" => "the engine has not been asked yet".to_owned(),
            message => format!("the engine does not answer: {message}"),
        });
    }
    view.leaving.is_none().then(|| "not everything on the engine has been looked at yet".to_owned())
}

fn status<E: Environment>(environment: &E, asked: &Asked) -> Response {
    // Names need no escapes in a URL.
    let names = asked.query.split('&').filter_map(|p| p.strip_prefix("service=")).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let view = environment.view();
    if let Some(name) = names.iter().find(|n| !view.statuses.contains_key(&ResourceKey::service(n.as_str()))) {
        // What was asked for is not repeated as it came: it may be anything.
        let name = if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') { name } else { "?" };
        return text(StatusCode::NOT_FOUND, &format!("there is no service `{name}` in stack {}\n", view.stack));
    }
    let mut report = StatusReport::new(&view, &names);
    if !asked.local {
        report.without_texts();
    }
    let body = serde_json::to_string_pretty(&report).expect("a report is made of texts, numbers and lists");
    json_body(StatusCode::OK, format!("{body}\n"))
}
