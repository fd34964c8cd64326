//! Why a call fails.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::net::refuse::{self, bad, exhausted, shortened, unavailable};
use crate::tasks::store::StoreError;
use crate::tasks::task::{State, TaskId};

/// When the same call may succeed.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

pub fn ending() -> Status {
    refuse::ending(RETRY_AFTER)
}

pub fn of_store(error: &StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::NotReady(_) => unavailable(message, RETRY_AFTER),
        StoreError::NotDurable(wrong) => {
            let details = ErrorDetails::with_precondition_failure_violation("DURABILITY", &wrong.setting, &message);
            Status::with_error_details(Code::FailedPrecondition, shortened(message), details)
        }
        StoreError::OutOfMemory => exhausted(message, RETRY_AFTER),
        StoreError::Invalid(what) => Status::invalid_argument(*what),
        StoreError::Unexpected(_) => {
            tracing::error!(%error, "task queue");
            Status::internal(shortened(message))
        }
    }
}

pub fn unknown(id: &TaskId) -> Status {
    let message = format!("there is no task `{id}`; finished ones are forgotten after a while");
    let details = ErrorDetails::with_resource_info("task", id.as_str(), "", "not known, or not any more");
    Status::with_error_details(Code::NotFound, message, details)
}

pub fn other_content(id: &TaskId) -> Status {
    let details = ErrorDetails::with_resource_info("task", id.as_str(), "", "it has other content");
    Status::with_error_details(Code::AlreadyExists, conflict(id), details)
}

pub fn conflict(id: &TaskId) -> String {
    format!("there is a task `{id}` with other content: choose another id, or send the same content")
}

pub fn full() -> Status {
    exhausted(FULL, RETRY_AFTER)
}

pub const FULL: &str = "the backlog is full (`max_backlog` in [tasks]); try again once some tasks are done";

/// No retry helps.
pub fn too_large(what: &str, size: usize, limit: usize, key: &str) -> Status {
    Status::resource_exhausted(format!("{what} has {size} bytes; {limit} are taken (`{key}` in [tasks])"))
}

pub fn not_in_this_state(id: &TaskId, state: State, wanted: &str) -> Status {
    let message = format!("task `{id}` is {state}; {wanted}");
    let details = ErrorDetails::with_precondition_failure_violation("STATE", id.as_str(), &message);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// The field `task_id`.
///
/// # Errors
/// INVALID_ARGUMENT.
pub fn task_id(id: String) -> Result<TaskId, Status> {
    id_of("task_id", id)
}

/// # Errors
/// INVALID_ARGUMENT.
pub fn id_of(field: &str, id: String) -> Result<TaskId, Status> {
    TaskId::parse(id).map_err(|wrong| bad(field, &wrong))
}
