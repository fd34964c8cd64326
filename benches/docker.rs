//! The engine's API with nothing between: HTTP/1.0 over the Unix socket, a connection per call.
//!
//! bollard opens a connection per call too. It costs some 30 µs, against 5 ms for the cheapest changing call.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

#[derive(Clone, Debug)]
pub struct Docker {
    socket: Arc<Path>,
}

#[derive(Debug)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

pub fn error<T>(text: impl Into<String>) -> Result<T> {
    Err(Error(text.into()))
}

impl Docker {
    /// Where `DOCKER_HOST` points, or Docker's own socket. Only Unix sockets: figures of an engine
    /// behind a network would be the network's.
    pub fn from_env() -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let path = match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
            None => return error(format!("DOCKER_HOST is {host}: the benchmark wants a local engine (unix://…)")),
        };
        Ok(Self { socket: path.into() })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Status and body, whatever they are.
    pub async fn raw(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let failed = |e: std::io::Error| Error(format!("{method} {path} at {}: {e}", self.host()));
        let stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        match ask(stream, method, path, kind, body).await.map_err(failed)? {
            Some(answer) => Ok(answer),
            None => error(format!("{method} {path}: the engine's answer is not HTTP")),
        }
    }

    /// The JSON of a call that has to succeed; `Null` where there is no body. "Already so" (304) is success.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let text = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, answer) = self.raw(method, path, "application/json", &text).await?;
        if !(200..300).contains(&status) && status != 304 {
            return error(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer).trim()));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, &Value::Null).await
    }

    /// Lists with `filters`, percent-encoded.
    pub async fn list(&self, what: &str, filters: &Value) -> Result<Vec<Value>> {
        let query = encode(&filters.to_string());
        let mut answer = self.get(&format!("/{what}?{}filters={query}", all(what))).await?;
        if what == "volumes" {
            answer = answer["Volumes"].take();
        }
        Ok(match answer {
            Value::Array(items) => items,
            _ => Vec::new(),
        })
    }
}

/// One exchange over a fresh connection: status and body. `None`: the answer is not HTTP.
pub async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> std::io::Result<Option<(u16, Vec<u8>)>> {
    let mut request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request).await?;
    let mut answer = Vec::with_capacity(4096);
    stream.read_to_end(&mut answer).await?;

    let status = std::str::from_utf8(answer.get(9..12).unwrap_or_default()).ok().and_then(|s| s.parse().ok());
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    Ok(status.zip(end).map(|(status, end)| (status, answer.split_off(end + 4))))
}

fn all(what: &str) -> &'static str {
    if what.starts_with("containers") { "all=1&" } else { "" }
}

pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
