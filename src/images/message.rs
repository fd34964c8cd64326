//! What people are told of a pull that failed: what, why, and what to do about it.

use super::place;
use crate::engine::{Class, EngineError, ErrorKind};
use crate::resource::image::{ImageRef, PullFailureReason};

/// Why it failed, and whether trying again can help by itself.
pub(super) fn classify(image: &ImageRef, error: &EngineError) -> (PullFailureReason, bool) {
    let reason = match error.kind {
        ErrorKind::ImageNotFound => PullFailureReason::NotFound,
        ErrorKind::PullDenied if is_public(image) => PullFailureReason::NotFound,
        ErrorKind::PullDenied => PullFailureReason::Denied,
        ErrorKind::Throttled { .. } => PullFailureReason::Throttled,
        _ => PullFailureReason::Other,
    };
    (reason, error.class() == Class::Terminal)
}

/// Docker Hub denies access to what does not exist; but its own library is open to all.
fn is_public(image: &ImageRef) -> bool {
    place(image) == "docker.io/library"
}

pub(super) fn never(image: &ImageRef) -> String {
    format!(
        "{image} is not on the engine, and pullPolicy is Never. Build or load it, or set its image in [[service_overrides]]"
    )
}

pub(super) fn failed(image: &ImageRef, error: &EngineError) -> String {
    format!("pull of {image} failed: {}", why(image, error))
}

/// Of a service that goes on as it is.
pub(super) fn not_polled(image: &ImageRef, error: &EngineError) -> String {
    format!("whether {image} has moved is not known: {}", why(image, error))
}

fn why(image: &ImageRef, error: &EngineError) -> String {
    let registry = image.registry();
    let place = place(image);
    let said = error.message.trim().trim_end_matches('.');
    match (&error.kind, classify(image, error).0) {
        (_, PullFailureReason::NotFound) => {
            format!("not found in {place}. Build it, or set its image in [[service_overrides]]")
        }
        (_, PullFailureReason::Denied) => {
            format!(
                "{registry} denies access. Check the name, or `docker login {registry}` as the user that runs env-manager"
            )
        }
        (_, PullFailureReason::Throttled) => {
            format!(
                "{registry} asks to wait (too many requests). `docker login {registry}` raises the limit of some registries"
            )
        }
        (ErrorKind::DiskFull, _) => {
            format!("the engine's disk is full ({said}). Free some, e.g. with `docker image prune`")
        }
        (ErrorKind::Unreachable | ErrorKind::Timeout, _) => format!("the engine does not answer ({said})"),
        _ if is_no_network(said) => {
            format!(
                "no registry answers at {registry} ({said}). Build or load the image here, or set another in [[service_overrides]]"
            )
        }
        _ => said.to_owned(),
    }
}

/// The words of Go's network errors, which the engine hands through.
fn is_no_network(said: &str) -> bool {
    [
        "dial tcp",
        "no such host",
        "i/o timeout",
        "network is unreachable",
        "no route to host",
        "connection refused",
        "TLS handshake timeout",
        "request canceled while waiting for connection",
        "Client.Timeout exceeded",
        "server misbehaving",
        "proxyconnect",
    ]
    .iter()
    .any(|words| said.contains(words))
}
