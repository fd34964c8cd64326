//! Why a call fails because of what it asks of the environment.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::daemon::environment::Refusal;
use crate::engine::{Class, EngineError, ErrorKind};
use crate::manifest::suggestion;
use crate::net::refuse::{bad, bad_fields, shortened, unavailable};
use crate::report::View;

/// Names in one request.
pub const MAX_NAMES: usize = 1_000;
/// Bytes of a name.
const MAX_NAME: usize = 63;

pub fn refused(refusal: Refusal, retry_after: Duration) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::NoSuchService { name, .. } => {
            let details = ErrorDetails::with_resource_info("service", name, "", "no manifest describes it");
            Status::with_error_details(Code::NotFound, message, details)
        }
        Refusal::ObserveOnly => {
            let details = ErrorDetails::with_precondition_failure_violation("OBSERVE_ONLY", "daemon", message.clone());
            Status::with_error_details(Code::FailedPrecondition, message, details)
        }
        Refusal::NotNow(_) => Status::failed_precondition(shortened(message)),
        Refusal::Engine(error) => engine(&error, retry_after),
        Refusal::Ending => unavailable(message, retry_after),
    }
}

pub fn engine(error: &EngineError, retry_after: Duration) -> Status {
    let message = error.to_string();
    match &error.kind {
        ErrorKind::Throttled { retry_after: Some(wait) } => unavailable(message, *wait),
        // Containers come and go: the next one has the service's name.
        ErrorKind::NotFound => unavailable(message, retry_after),
        _ if error.class() == Class::Transient => unavailable(message, retry_after),
        _ => Status::failed_precondition(shortened(message)),
    }
}

/// What a reader of `view` is told who asks for a service that is not in it.
pub fn no_such_service(view: &View, name: &str) -> Refusal {
    Refusal::NoSuchService {
        name: name.to_owned(),
        stack: view.stack.clone(),
        hint: suggestion(name, view.services().map(|(known, _)| known)),
    }
}

/// Whether a list of names may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// None means all.
    Any,
    AtLeastOne,
}

/// The field `service_names` without repetitions, in its order.
///
/// # Errors
/// INVALID_ARGUMENT where it is too long, empty, or has what no service can be called.
pub fn service_names(names: Vec<String>, wanted: Names) -> Result<Vec<String>, Status> {
    const FIELD: &str = "service_names";
    if names.len() > MAX_NAMES {
        return Err(bad(FIELD, &format!("{} names are too many; {MAX_NAMES} are taken at once", names.len())));
    }
    if names.is_empty() && wanted == Names::AtLeastOne {
        return Err(bad(FIELD, "name the services that are meant"));
    }
    let wrong = |(n, name): (usize, &String)| {
        name_problem(name).map(|problem| FieldViolation::new(format!("{FIELD}[{n}]"), problem))
    };
    let violations: Vec<_> = names.iter().enumerate().filter_map(wrong).collect();
    if !violations.is_empty() {
        return Err(bad_fields(violations));
    }
    let mut seen = std::collections::BTreeSet::new();
    Ok(names.into_iter().filter(|name| seen.insert(name.clone())).collect())
}

/// The field `service_name`.
///
/// # Errors
/// INVALID_ARGUMENT where it is empty, or what no service can be called.
pub fn service_name(name: String) -> Result<String, Status> {
    match name_problem(&name) {
        Some(problem) => Err(bad("service_name", problem)),
        None => Ok(name),
    }
}

/// Wider than the rule for manifests: what breaks that rule only a little (`Redis`) is not found, with the
/// name that may be meant.
fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("a service's name is needed")
    } else if name.len() > MAX_NAME {
        Some("no service has a name of more than 63 characters")
    } else if !name.bytes().all(|b| b.is_ascii_graphic()) {
        Some("no service's name has such characters; they have `a-z`, `0-9` and `-`")
    } else {
        None
    }
}
