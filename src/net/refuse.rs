//! Why a call fails, as gRPC says it: the standard codes, with `google.rpc` details.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Named in one answer: the rest would not fit into a client's limit for headers, in which errors come.
const MAX_VIOLATIONS: usize = 10;
/// Bytes of a message, for the same reason.
const MAX_MESSAGE: usize = 2_000;

/// Streams end with it.
pub fn ending(retry_after: Duration) -> Status {
    unavailable("the daemon is ending".to_owned(), retry_after)
}

pub fn unavailable(message: String, retry_after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::Unavailable, shortened(message), details)
}

pub fn exhausted(message: impl Into<String>, retry_after: Duration) -> Status {
    Status::with_error_details(Code::ResourceExhausted, message, ErrorDetails::with_retry_info(Some(retry_after)))
}

/// One field of a request is wrong.
pub fn bad(field: &str, what: &str) -> Status {
    bad_fields(vec![FieldViolation::new(field, what)])
}

pub fn bad_fields(mut violations: Vec<FieldViolation>) -> Status {
    violations.truncate(MAX_VIOLATIONS);
    let said: Vec<_> = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    Status::with_error_details(Code::InvalidArgument, said.join("; "), ErrorDetails::with_bad_request(violations))
}

/// As it fits into the headers of an answer.
pub fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message
}
