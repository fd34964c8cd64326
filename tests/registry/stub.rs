//! A registry that does one thing wrong: a small HTTP server that knows one image and one way to fail.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use env_manager::resource::image::ImageRef;

use crate::image;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// 401 to everybody.
    Unauthorized,
    /// 401 unless the user is `me` and the password `hunter2`.
    BasicAuth,
    /// 429 with a header `Retry-After`.
    TooMany,
    /// 429 with the wait in the text, as GitHub's registry has it.
    TooManySaid,
    /// The layer's connection ends half way, and so does that of each attempt to go on.
    BreaksOff,
    /// The layer's connection ends half way, once.
    BreaksOffOnce,
    /// The layer is another one than the manifest says.
    OtherLayer,
    /// 404 for the manifest.
    Unknown,
    /// 500 to everything.
    Broken,
}

/// One image, served over plain HTTP on loopback.
pub struct Stub {
    pub at: SocketAddr,
    /// Request lines, as they came.
    pub seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

pub struct Content {
    fault: Fault,
    pub manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An image of one file that differs from test to test, so that no layer is there already.
pub fn content(fault: Fault, salt: &str) -> Content {
    let mut tar = tar::Builder::new(Vec::new());
    let body = format!("{fault:?} {salt} {}", "x".repeat(100_000));
    let mut header = tar::Header::new_gnu();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "file", body.as_bytes()).unwrap();
    let layer = tar.into_inner().unwrap();
    let diff_id = digest(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["STUB=yes"]}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},"history":[{{"created":"2026-01-01T00:00:00Z"}}]}}"#
    )
    .into_bytes();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":{},"digest":"{diff_id}"}}]}}"#,
        config.len(),
        digest(&config),
        layer.len(),
    )
    .into_bytes();
    Content { fault, manifest, config, layer }
}

impl Stub {
    pub async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let content = Arc::new(content(fault, &at.to_string()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let log = seen.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, content.clone(), log.clone()));
            }
        });
        Self { at, seen, _tasks: tasks }
    }

    pub fn image(&self) -> ImageRef {
        image(&format!("{}/em-test/stub:1", self.at))
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, content: Arc<Content>, log: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(n @ 1..) => request.extend_from_slice(&chunk[..n]),
            _ => return,
        }
        // The engine tries TLS first.
        if request.first() == Some(&0x16) {
            return;
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let line = request.lines().next().unwrap_or_default().to_owned();
    log.lock().unwrap().push(line.clone());
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, headers, body) = answer(&content, path, &request);
    let mut head =
        format!("HTTP/1.1 {status}\r\nDocker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    if line.starts_with("HEAD") {
        return;
    }
    let is_layer = path.ends_with(&digest(&content.layer));
    let breaks = match content.fault {
        Fault::BreaksOff => is_layer,
        Fault::BreaksOffOnce => is_layer && status.starts_with("200"),
        _ => false,
    };
    let sent = if breaks { body.len() / 2 } else { body.len() };
    let _ = stream.write_all(&body[..sent]).await;
}

/// Where a request wants to go on: `Range: bytes=51200-`.
fn resumed(request: &str) -> Option<usize> {
    let line = request.lines().find(|l| l.to_ascii_lowercase().starts_with("range: bytes="))?;
    line.split('=').nth(1)?.split('-').next()?.parse().ok()
}

type Answer = (&'static str, Vec<(&'static str, String)>, Vec<u8>);

fn answer(content: &Content, path: &str, request: &str) -> Answer {
    let error = |status, headers, code: &str, message: &str| -> Answer {
        (status, headers, format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#).into_bytes())
    };
    let basic = || vec![("WWW-Authenticate", r#"Basic realm="stub""#.to_owned())];
    // me:hunter2
    let signed_in = request.lines().any(|l| l.eq_ignore_ascii_case("authorization: Basic bWU6aHVudGVyMg=="));
    match content.fault {
        Fault::Unauthorized => return error("401 Unauthorized", basic(), "UNAUTHORIZED", "authentication required"),
        Fault::BasicAuth if !signed_in => {
            return error("401 Unauthorized", basic(), "UNAUTHORIZED", "authentication required");
        }
        Fault::TooMany if path != "/v2/" => {
            let wait = vec![("Retry-After", "7".to_owned())];
            return error("429 Too Many Requests", wait, "TOOMANYREQUESTS", "You have reached your pull rate limit.");
        }
        Fault::TooManySaid if path != "/v2/" => {
            return error(
                "429 Too Many Requests",
                vec![],
                "TOOMANYREQUESTS",
                "retry-after: 42s, allowed: 44000/minute",
            );
        }
        Fault::Unknown if path.contains("/manifests/") => {
            return error("404 Not Found", vec![], "MANIFEST_UNKNOWN", "manifest unknown");
        }
        Fault::Broken => {
            return error("500 Internal Server Error", vec![], "UNKNOWN", "the registry's disk is on fire");
        }
        _ => {}
    }
    let json = |kind: &str, body: &[u8]| -> Answer {
        ("200 OK", vec![("Content-Type", kind.to_owned()), ("Docker-Content-Digest", digest(body))], body.to_vec())
    };
    if path == "/v2/" {
        return json("application/json", b"{}");
    }
    if path.contains("/manifests/") {
        return json("application/vnd.docker.distribution.manifest.v2+json", &content.manifest);
    }
    if path.ends_with(&digest(&content.config)) {
        return json("application/octet-stream", &content.config);
    }
    if path.ends_with(&digest(&content.layer)) {
        let mut layer = content.layer.clone();
        if content.fault == Fault::OtherLayer {
            layer[1000] ^= 1;
        }
        let kind = ("Content-Type", "application/octet-stream".to_owned());
        return match resumed(request) {
            Some(from) if from > 0 => {
                let range = format!("bytes {from}-{}/{}", layer.len() - 1, layer.len());
                ("206 Partial Content", vec![kind, ("Content-Range", range)], layer.split_off(from))
            }
            _ => ("200 OK", vec![kind], layer),
        };
    }
    error("404 Not Found", vec![], "BLOB_UNKNOWN", "blob unknown")
}
