//! A proxy before the engine: HTTP over a unix socket, one request a connection, with a say in what
//! goes by. Small on purpose; it knows only what dockerd and bollard make of HTTP/1.1.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// What a proxy does to the head of a request (`GET /v1.44/version HTTP/1.1` and its headers) and to
/// a whole answer of `/version`.
pub trait Rules: Send + Sync + 'static {
    /// The new head; or an answer that is given in the engine's place.
    fn request(&self, head: &str) -> Result<String, String>;
    fn version(&self, body: &str) -> String;
    /// The request of this line is over: answered whole, refused, or nobody waits for it any more.
    fn over(&self, _line: &str) {}
}

pub struct Proxy {
    pub socket: PathBuf,
    /// Request lines as they came.
    pub seen: Arc<Mutex<Vec<String>>>,
    /// Requests that are being answered.
    open: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
    _serving: JoinSet<()>,
}

impl Proxy {
    pub fn start(engine: impl Into<PathBuf>, rules: impl Rules) -> Self {
        let engine = engine.into();
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("proxy.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let rules = Arc::new(rules);
        let mut serving = JoinSet::new();
        let open = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&seen), Arc::clone(&open));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (rules, log, count) = (Arc::clone(&rules), Arc::clone(&log), Arc::clone(&count));
                let engine = engine.clone();
                connections.spawn(async move {
                    // Whoever hangs up first ends it.
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = serve(client, &engine, &*rules, &log).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { socket, seen, open, _dir: dir, _serving: serving }
    }

    /// Request lines so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    /// How many requests are being answered right now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut client: UnixStream,
    engine: &Path,
    rules: &impl Rules,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (head, rest) = read_head(&mut client).await?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    log.lock().expect("no test panics with it").push(line.clone());
    let done = pass_on(client, engine, rules, &line, &head, &rest).await;
    rules.over(&line);
    done
}

async fn pass_on(
    mut client: UnixStream,
    engine: &Path,
    rules: &impl Rules,
    line: &str,
    head: &str,
    rest: &[u8],
) -> std::io::Result<()> {
    let head = match rules.request(head) {
        Ok(head) => head,
        Err(answer) => {
            let length = answer.len();
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n";
            return client.write_all(format!("{head}Content-Length: {length}\r\n\r\n{answer}").as_bytes()).await;
        }
    };
    let mut upstream = UnixStream::connect(engine).await?;
    let is_upgrade = head.to_ascii_lowercase().contains("\r\nupgrade:");
    upstream.write_all(closing(&head, is_upgrade).as_bytes()).await?;
    upstream.write_all(rest).await?;
    if line.contains("/version ") {
        let mut answer = String::new();
        upstream.read_to_string(&mut answer).await?;
        let body = rules.version(&answer[answer.find('{').unwrap_or_default()..=answer.rfind('}').unwrap_or_default()]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        client.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
        return Ok(());
    }
    if is_upgrade {
        return tokio::io::copy_bidirectional(&mut client, &mut upstream).await.map(|_| ());
    }
    // Whoever hangs up ends it: the engine is to see that as it would without us.
    let (mut from_client, mut to_client) = client.split();
    let (mut from_engine, mut to_engine) = upstream.split();
    tokio::select! {
        asked = tokio::io::copy(&mut from_client, &mut to_engine) => asked.map(|_| ()),
        answered = tokio::io::copy(&mut from_engine, &mut to_client) => answered.map(|_| ()),
    }
}

/// One request a connection, so that each passes by here.
fn closing(head: &str, is_upgrade: bool) -> String {
    if is_upgrade {
        return head.to_owned();
    }
    let lines: Vec<_> =
        head.trim_end().split("\r\n").filter(|l| !l.to_ascii_lowercase().starts_with("connection:")).collect();
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}

/// The head with its empty line, and what came of the body along with it.
async fn read_head(client: &mut UnixStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let mut chunk = [0; 4096];
        match client.read(&mut chunk).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}
