//! What is said over a connection: HTTP, Redis, and plain lines. Every read is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::check::{Failure, excerpt, talk_failure};
use crate::resource::probe::StatusRanges;
use crate::resource::units::human_duration;

/// More than this of an answer is never read.
const MOST: usize = 16 * 1024;

/// Reads on until `done` is satisfied with what has come, the peer ends, or [`MOST`] is reached.
/// `Ok(false)`: the end came first.
async fn read_until<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    mut done: impl FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    while !done(buffer) {
        if buffer.len() >= MOST {
            return Ok(false);
        }
        // Straight into the heap: a buffer here would be part of every probe's future.
        buffer.reserve(2048);
        if stream.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// GET. `Host` is `localhost:PORT`, as in a health check from within the container (allow lists of
/// host names know it); `headers` can say otherwise. Redirects are not followed: a 3xx is an answer.
pub(super) async fn http<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    port: u16,
    path: &str,
    status: &StatusRanges,
    headers: &BTreeMap<String, String>,
) -> Result<String, Failure> {
    let request = request(port, path, headers)?;
    stream.write_all(request.as_bytes()).await.map_err(|e| talk_failure(&e))?;
    let mut answer = Vec::new();
    let whole = read_until(&mut stream, &mut answer, |seen| final_head(seen).is_some()).await;
    let Some((code, head_len)) = final_head(&answer) else {
        return Err(match whole {
            Err(e) => talk_failure(&e),
            Ok(_) if answer.is_empty() => Failure::new("connection closed by the peer without an answer"),
            Ok(_) => Failure::new("the answer is not HTTP"),
        });
    };
    // Hanging up in mid-answer shows as an error in many servers' logs: take a moment to read it.
    let _ = timeout(Duration::from_millis(50), async {
        let mut rest = answer.split_off(head_len);
        let length = content_length(&answer).unwrap_or(MOST);
        read_until(&mut stream, &mut rest, |seen| seen.len() >= length).await
    })
    .await;
    let message = format!("HTTP {code} from {path}");
    if status.contains(code) { Ok(message) } else { Err(Failure::new(message)) }
}

fn request(port: u16, path: &str, headers: &BTreeMap<String, String>) -> Result<String, Failure> {
    let breaks = |s: &str| s.chars().any(|c| c == '\r' || c == '\n' || c == '\0');
    if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Failure::new(format!("{path:?} is not a path")));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut text = format!("GET {slash}{path} HTTP/1.1\r\n");
    let has = |name: &str| headers.keys().any(|k| k.eq_ignore_ascii_case(name));
    let ours = [
        ("Host", format!("localhost:{port}")),
        ("User-Agent", concat!("env-manager/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Accept", "*/*".to_owned()),
    ];
    for (name, value) in &ours {
        if !has(name) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    for (name, value) in headers {
        if breaks(name) || breaks(value) || name.is_empty() {
            return Err(Failure::new(format!("{name:?} is not a header")));
        }
        if !name.eq_ignore_ascii_case("connection") {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    text.push_str("Connection: close\r\n\r\n");
    Ok(text)
}

/// The status of the first answer that is not a 1xx, and where its head ends.
fn final_head(seen: &[u8]) -> Option<(u16, usize)> {
    let mut from = 0;
    loop {
        let rest = &seen[from..];
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let line = rest.split(|b| *b == b'\r').next()?;
        let code = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse::<u16>().ok()?;
        from += end;
        if !(100..200).contains(&code) || code == 101 {
            return Some((code, from));
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    String::from_utf8_lossy(head).lines().find_map(|l| {
        let (name, value) = l.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

/// RESP `PING`.
///
/// `-NOAUTH` passes: a server that asks for a password is up and serving, a probe holds no
/// password, and every client of the service has one. Other errors fail; `-LOADING` is the usual one.
pub(super) async fn redis<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, begun: Instant) -> Result<String, Failure> {
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await.map_err(|e| talk_failure(&e))?;
    let mut answer = Vec::new();
    let whole =
        read_until(&mut stream, &mut answer, |seen| seen.contains(&b'\n')).await.map_err(|e| talk_failure(&e))?;
    let latency = human_duration(begun.elapsed());
    let text = String::from_utf8_lossy(&answer);
    let line = text.lines().next().unwrap_or_default();
    match line.split_at_checked(1) {
        _ if !whole => Err(Failure::new("connection closed by the peer without an answer")),
        Some(("+", "PONG")) => Ok(format!("PING answered in {latency}")),
        Some(("-", error)) if error.starts_with("NOAUTH") => {
            Ok(format!("PING answered in {latency} (it asks for a password)"))
        }
        Some(("-", error)) => Err(Failure::new(format!("PING: {}", excerpt(error)))),
        _ => Err(Failure::new("the answer to PING is not Redis")),
    }
}

/// Sends `send` as it is (nothing where it is empty) and looks for a line that contains `expect`,
/// which becomes the message.
pub(super) async fn line<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    send: &str,
    expect: &str,
) -> Result<String, Failure> {
    if !send.is_empty() {
        stream.write_all(send.as_bytes()).await.map_err(|e| talk_failure(&e))?;
    }
    let mut answer = Vec::new();
    // Only whole lines count until the peer has ended: half of one may not contain all of `expect` yet.
    let ended = read_until(&mut stream, &mut answer, |seen| {
        let whole = seen.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        matching(&seen[..whole], expect).is_some()
    })
    .await;
    if let Some(found) = matching(&answer, expect) {
        return Ok(excerpt(&found));
    }
    match ended {
        Err(e) if answer.is_empty() => Err(talk_failure(&e)),
        _ if answer.is_empty() => Err(Failure::new("connection closed by the peer without an answer")),
        _ => {
            let text = String::from_utf8_lossy(&answer);
            let first = text.lines().next().unwrap_or_default();
            Err(Failure::new(format!("no line of the answer contains `{expect}`; it begins: {}", excerpt(first))))
        }
    }
}

fn matching(seen: &[u8], expect: &str) -> Option<String> {
    String::from_utf8_lossy(seen).lines().find(|l| l.contains(expect)).map(str::to_owned)
}
