//! The engine's answers → [`ErrorKind`] and one readable line.
//!
//! Classified by what the engine says and not by its status code alone: a 500 may be a taken port
//! (wait for its holder), a missing executable (wait for another spec) or a full disk. The messages
//! in `tests` were recorded.

use std::error::Error as _;
use std::time::Duration;

use bollard::errors::Error;

use super::call::Call;
use crate::engine::{EngineError, ErrorKind};

pub(super) fn translate(call: Call, subject: &str, address: &str, error: &Error) -> EngineError {
    let (kind, message) = match error {
        Error::DockerResponseServerError { status_code, message } => {
            return refused(call, subject, *status_code, message);
        }
        // In the middle of a pull: the status was 200.
        Error::DockerStreamError { error } => {
            let kind = classify(call, 200, error, subject);
            let message = readable(call, &kind, error);
            (kind, message)
        }
        Error::RequestTimeoutError => (ErrorKind::Timeout, "the engine did not answer in time".to_owned()),
        Error::IOError { .. }
        | Error::HyperResponseError { .. }
        | Error::HyperLegacyError { .. }
        | Error::SocketNotFoundError(_) => {
            let message = format!("the engine at {address} cannot be reached: {}", root_cause(error));
            (ErrorKind::Unreachable, message)
        }
        other => (ErrorKind::Other, format!("the answer was not understood: {}", one_line(&other.to_string()))),
    };
    EngineError::new(call.operation(), subject, kind, message)
}

/// A refusal, with the engine's own words.
pub(in crate::engine) fn refused(call: Call, subject: &str, status: u16, message: &str) -> EngineError {
    let kind = classify(call, status, message, subject);
    let message = readable(call, &kind, message);
    let message = if message.is_empty() { format!("the engine answered {status}") } else { message };
    EngineError::new(call.operation(), subject, kind, message)
}

/// Whether the negotiated version no longer suits: the engine was exchanged behind our back.
pub(super) fn speaks_another_version(error: &EngineError) -> bool {
    error.message.contains("client version") && error.message.contains("is too ")
}

/// The table of `docs/engine.md`. The order matters: the more telling phrase first.
pub(super) fn classify(call: Call, status: u16, message: &str, subject: &str) -> ErrorKind {
    let text = message.to_ascii_lowercase();
    let says = |phrase: &str| text.contains(phrase);
    let any = |phrases: &[&str]| phrases.iter().any(|p| text.contains(p));

    if any(&["is already in progress", "marked for removal"]) {
        return ErrorKind::RemovalInProgress;
    }
    if says("is already in use by container") || (says("network with name") && says("already exists")) {
        return ErrorKind::NameTaken { holder: holder(message) };
    }
    if says("port is already allocated") {
        return ErrorKind::PortTaken { port: port(message) };
    }
    if says("address already in use") {
        // The same words for a host port and for an address in a network.
        let about_port = any(&["listen ", "bind", "host port", "userland proxy"]);
        return if about_port { ErrorKind::PortTaken { port: port(message) } } else { ErrorKind::InUse };
    }
    if any(&["no space left on device", "disk quota exceeded"]) {
        return ErrorKind::DiskFull;
    }
    if any(&[
        "could not find an available",
        "all predefined address pools have been fully subnetted",
        "pool overlaps with other one",
        "no available ipv4 addresses",
        "no available addresses",
    ]) {
        return ErrorKind::NoAddress;
    }
    if says("is too new") && says("client version") {
        return ErrorKind::Other;
    }
    if (says("is too old") && says("client version")) || status == 501 {
        return ErrorKind::Unsupported;
    }
    match call {
        Call::AskRegistry if is_no_such_call(status, &text) => return ErrorKind::Unsupported,
        Call::AskRegistry if status == 429 => return ErrorKind::Throttled { retry_after: retry_after(&text) },
        Call::Pull | Call::AskRegistry => return classify_pull(&text),
        Call::Rename if status == 404 && !says("no such container") => return ErrorKind::Other,
        _ => {}
    }
    if says("no such container: ") {
        return if names(&text, "no such container: ", subject) {
            ErrorKind::NotFound
        } else {
            ErrorKind::NamespaceGone
        };
    }
    let cannot_join = any(&["of a non running container", "cannot join ", "can't join "]);
    if cannot_join || (call == Call::Start && says(" is not running")) {
        return ErrorKind::NamespaceGone;
    }
    if any(&["no such image", "no such manifest", "does not match the specified platform"]) {
        return ErrorKind::ImageNotFound;
    }
    if says("no such network") || (status == 404 && text.starts_with("network ") && says("not found")) {
        let about_itself = matches!(call, Call::RemoveNetwork | Call::ListNetworks);
        return if about_itself { ErrorKind::NotFound } else { ErrorKind::NetworkGone };
    }
    if any(&["has active endpoints", "volume is in use", "is being used by"]) {
        return ErrorKind::InUse;
    }
    if is_refusal(call, status, &text) {
        return ErrorKind::Refused;
    }
    if status == 404 { ErrorKind::NotFound } else { ErrorKind::Other }
}

/// The spec asks for something that this engine will not do, however often it is asked.
fn is_refusal(call: Call, status: u16, text: &str) -> bool {
    let any = |phrases: &[&str]| phrases.iter().any(|p| text.contains(p));
    if any(&[
        "executable file not found",
        "no such file or directory",
        "could not select device driver",
        "no device driver",
        "error gathering device information",
        "bind source path does not exist",
        "invalid mount config",
        "unknown runtime specified",
        "unknown or invalid runtime name",
        "no log driver named",
        "failed to initialize logging driver",
        "minimum memory limit allowed",
        "range of cpus is from",
        "requested cpus are not available",
        "conflicting options",
        "marked read-only",
        "read-only file system",
        "operating system is not supported",
        "unable to find user",
        "unable to find group",
        "invalid subnet",
        "it does not belong to any of this network's subnets",
        "error looking up logging plugin",
        "no matching entries in passwd file",
        "not a directory",
        "invalid --security-opt",
        "is not a shared or slave mount",
        "is not a shared mount",
    ]) {
        return true;
    }
    let makes = matches!(
        call,
        Call::CreateContainer
            | Call::Start
            | Call::Connect
            | Call::CreateNetwork
            | Call::CreateVolume
            | Call::SetRestartPolicy
            | Call::UpdateLimits
            | Call::Upload
    );
    // runc's own words for what it was told and cannot do; but an exhausted or slow host passes.
    let runtime = any(&["oci runtime", "failed to create shim", "failed to create task", "runc create failed"])
        && !any(&["deadline exceeded", "temporarily unavailable", "cannot allocate memory", "timed out", "timeout"]);
    // An ambiguous network name is a 400 that goes away with the surplus network.
    // `plugin "nope" not found`: a driver that is not installed.
    let driver = status == 404 && text.contains("plugin") && text.contains("not found");
    makes && ((status == 400 && !text.contains("ambiguous")) || runtime || driver)
}

/// The engine does not know the path, or a proxy before it lets nobody through: no registry's words.
fn is_no_such_call(status: u16, text: &str) -> bool {
    let text = text.trim();
    status == 405
        || (status == 404 && matches!(text, "page not found" | "404 page not found" | "not found"))
        || (status == 403 && (text == "forbidden" || text.contains("administrative rules")))
}

fn classify_pull(text: &str) -> ErrorKind {
    let any = |phrases: &[&str]| phrases.iter().any(|p| text.contains(p));
    if any(&["toomanyrequests", "too many requests", "http response: 429", "http 429", "status code 429"]) {
        return ErrorKind::Throttled { retry_after: retry_after(text) };
    }
    // `pull access denied … denied: requested access` before `… repository does not exist`: Docker Hub
    // answers a repository that is not there and one that is private alike.
    if any(&[
        "pull access denied",
        "unauthorized",
        "no basic auth credentials",
        "authentication required",
        "denied: ",
        "incorrect username or password",
        "403 forbidden",
        "401 unauthorized",
    ]) {
        return ErrorKind::PullDenied;
    }
    if any(&["manifest unknown", "name unknown", "no matching manifest", "not found: manifest", "repository not found"])
        || (text.starts_with("manifest for ") && text.contains("not found"))
        || text.ends_with(": not found")
    {
        return ErrorKind::ImageNotFound;
    }
    if any(&[
        "invalid reference format",
        "invalid registry",
        "server gave http response to https client",
        "certificate signed by unknown authority",
        "certificate is not trusted",
        "unsupported media type",
        "invalid platform",
        "unknown operating system or architecture",
    ]) {
        return ErrorKind::Refused;
    }
    ErrorKind::Other
}

/// Whether what stands behind `phrase` is the container that the call was about.
fn names(text: &str, phrase: &str, subject: &str) -> bool {
    let named = text.split(phrase).nth(1).unwrap_or_default();
    let named = named.split(|c: char| c.is_whitespace() || c == '"' || c == ',').next().unwrap_or_default();
    let named = named.trim_end_matches(['.', ':']);
    // `4f2a… to network …`
    let subject = subject.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    !named.is_empty() && !subject.is_empty() && (named.starts_with(&subject) || subject.starts_with(named))
}

/// `… is already in use by container "4f2a…". You have to …`
fn holder(message: &str) -> Option<String> {
    let rest = message.split("by container ").nth(1)?;
    let id: String = rest.trim_start_matches('"').chars().take_while(char::is_ascii_hexdigit).collect();
    (id.len() >= 12).then_some(id)
}

/// The host port of the first `ADDRESS:PORT` in a message.
fn port(message: &str) -> Option<u16> {
    message.split_whitespace().find_map(|word| {
        let digits = if let Some(rest) = word.strip_prefix(":::") {
            rest
        } else if let Some((_, rest)) = word.split_once("]:") {
            rest
        } else {
            let (address, rest) = word.split_once(':')?;
            address.parse::<std::net::Ipv4Addr>().ok()?;
            rest
        };
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

/// `toomanyrequests: retry-after: 1.5s, allowed: 44000/minute`; registries' headers are not passed on.
fn retry_after(text: &str) -> Option<Duration> {
    let value = text.split("retry-after:").nth(1)?.split([',', ';', '\n']).next()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let unit = value.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = value[..unit].parse().ok()?;
    let scale = match &value[unit..] {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * scale).ok()
}

/// One line, without what only a developer of Docker can use, and with what a person can do.
fn readable(call: Call, kind: &ErrorKind, message: &str) -> String {
    let line = one_line(message);
    let mut text = line.strip_prefix("Error response from daemon: ").unwrap_or(&line);
    // `driver failed programming external connectivity on endpoint NAME (64 digits): …`
    if let Some(rest) = text.strip_prefix("driver failed programming external connectivity on endpoint ")
        && let Some((_, rest)) = rest.split_once("): ")
    {
        text = rest;
    }
    match kind {
        ErrorKind::PullDenied => format!("the registry refuses: not there, or it needs `docker login` ({text})"),
        ErrorKind::Throttled { .. } => format!("the registry asks to wait ({text})"),
        ErrorKind::ImageNotFound => format!("the image is not there ({text})"),
        ErrorKind::Other if matches!(call, Call::Pull | Call::AskRegistry) => {
            match pull_trouble(&text.to_ascii_lowercase()) {
                Some(trouble) => format!("{trouble} ({text})"),
                None => text.to_owned(),
            }
        }
        _ => text.to_owned(),
    }
}

/// What a person makes of Go's network errors.
fn pull_trouble(text: &str) -> Option<&'static str> {
    let any = |phrases: &[&str]| phrases.iter().any(|p| text.contains(p));
    if any(&["verification failed", "digest mismatch", "unexpected commit digest", "failed size validation"]) {
        Some("what came is not what its digest promises")
    } else if any(&["unexpected eof", "connection reset", "broken pipe"]) {
        Some("the download broke off")
    } else if text.contains("no such host") {
        Some("the registry's name does not resolve")
    } else if any(&[
        "connection refused",
        "i/o timeout",
        "awaiting headers",
        "tls handshake timeout",
        "no route to host",
    ]) {
        Some("the registry cannot be reached")
    } else {
        None
    }
}

fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(at);
        line.push('…');
    }
    line
}

/// bollard's and hyper's errors say what happened only at the end of the chain.
fn root_cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = source.to_string();
        next = source.source();
    }
    let text = one_line(&text);
    // `Connection refused (os error 111)`: the number says nothing more.
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests;
