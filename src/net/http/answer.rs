//! What answers look like.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

pub fn text(code: StatusCode, text: &str) -> Response {
    (code, [(header::CONTENT_TYPE, TEXT)], text.to_owned()).into_response()
}

pub fn json(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// Every answer says that it is neither to be guessed at nor to be kept. Comes last, when all routes are there.
pub fn plainly(router: Router) -> Router {
    router.layer(map_response(async |mut response: Response<Body>| {
        let headers = response.headers_mut();
        // No browser shall take an answer for a page or a script.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }))
}
