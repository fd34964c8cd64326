//! Pulls from registries that behave and that do not, on the real engine.
//!
//! The good one is Debian's `docker-registry` on a port of loopback (the engine takes 127.0.0.0/8
//! for insecure registries, so plain HTTP will do). The others are [`Stub`]s: a small HTTP server
//! that knows one image and one way to fail.

mod common {
    pub mod engine;
    pub mod registry;
}

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::engine::{Scope, docker, engine, ensure_image, eventually};
use common::registry::Registry;
use env_manager::backoff::{Backoff, Noise};
use env_manager::clock::{Clock, Timestamp};
use env_manager::engine::docker::Docker;
use env_manager::engine::docker::credentials::Keychain;
use env_manager::engine::{Engine, EngineError, ErrorKind};
use env_manager::images::Images;
use env_manager::plan::ImageWant;
use env_manager::resource::ResourceKey;
use env_manager::resource::image::{ImageRef, ImageState, PullFailureReason};
use env_manager::resource::spec::PullPolicy;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

// ---- asking ----------------------------------------------------------------------------------------

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "tests on the real engine have real time")]
        Timestamp::from_system(SystemTime::now())
    }
}

fn image(text: &str) -> ImageRef {
    ImageRef::parse(text).unwrap()
}

async fn pull(engine: &Docker, reference: &ImageRef) -> Result<(), EngineError> {
    engine.pull(reference, None, &|_| {}).await
}

/// What becomes of an image that a service wants, once it is decided.
async fn outcome(engine: &Docker, reference: &ImageRef) -> ImageState {
    let images =
        Arc::new(Images::new(Arc::new(engine.clone()), Arc::new(Wall), Backoff::default(), Noise::new(1), |_| {}));
    let running = images.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { running.run().await });
    let key = ResourceKey::service("web");
    images.want(&key, &ImageWant { image: reference.clone(), platform: None, policy: PullPolicy::IfNotPresent });
    let decided = eventually(async || {
        Some(images.state(&key)).filter(|s| matches!(s, ImageState::Present(_) | ImageState::Failed { .. }))
    });
    tokio::time::timeout(Duration::from_mins(3), decided).await.expect("it is decided")
}

fn failure(state: &ImageState) -> (String, PullFailureReason, bool) {
    match state {
        ImageState::Failed { message, reason, terminal, .. } => (message.clone(), *reason, *terminal),
        other => panic!("{other:?}"),
    }
}

/// Images of a test, untagged when it ends.
struct Tags(Vec<String>);

impl Tags {
    fn remove(&mut self, tag: &str) {
        self.0.push(tag.to_owned());
        let _ = std::process::Command::new("docker").args(["rmi", "-f", tag]).output();
    }
}

impl Drop for Tags {
    fn drop(&mut self) {
        for tag in std::mem::take(&mut self.0) {
            self.remove(&tag);
            self.0.clear();
        }
    }
}

// ---- a registry that does one thing wrong ----------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
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
struct Stub {
    at: SocketAddr,
    /// Request lines, as they came.
    seen: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

struct Content {
    fault: Fault,
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An image of one file that differs from test to test, so that no layer is there already.
fn content(fault: Fault, salt: &str) -> Content {
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
    async fn start(fault: Fault) -> Self {
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

    fn image(&self) -> ImageRef {
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

// ---- tests -----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_stub_without_fault_can_be_pulled_from() {
    let stub = Stub::start(Fault::None).await;
    let mut tags = Tags(vec![]);
    tags.remove(stub.image().as_str());
    let ImageState::Present(info) = outcome(&engine(), &stub.image()).await else { panic!("it is pulled") };
    assert_eq!(info.env.get("STUB").map(String::as_str), Some("yes"));
}

#[tokio::test]
async fn a_registry_that_wants_a_password_is_told_from_one_that_has_not_the_image() {
    let stub = Stub::start(Fault::Unauthorized).await;
    let error = pull(&engine(), &stub.image()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PullDenied, "{error}");
    let (message, reason, terminal) = failure(&outcome(&engine(), &stub.image()).await);
    assert_eq!((reason, terminal), (PullFailureReason::Denied, true));
    assert_eq!(
        message,
        format!(
            "pull of {} failed: {at} denies access. Check the name, or `docker login {at}` as the user that runs env-manager",
            stub.image(),
            at = stub.at
        )
    );

    let stub = Stub::start(Fault::Unknown).await;
    let error = pull(&engine(), &stub.image()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ImageNotFound, "{error}");
    let (message, reason, terminal) = failure(&outcome(&engine(), &stub.image()).await);
    assert_eq!((reason, terminal), (PullFailureReason::NotFound, true));
    let place = format!("{}/em-test", stub.at);
    assert_eq!(
        message,
        format!(
            "pull of {} failed: not found in {place}. Build it, or set its image in [[service_overrides]]",
            stub.image()
        )
    );
}

#[tokio::test]
async fn a_registry_that_asks_to_wait_is_understood() {
    let stub = Stub::start(Fault::TooMany).await;
    let error = pull(&engine(), &stub.image()).await.unwrap_err();
    // The engine keeps the header to itself, so our own backoff has to do.
    assert_eq!(error.kind, ErrorKind::Throttled { retry_after: None }, "{error}");
    let (message, reason, terminal) = failure(&outcome(&engine(), &stub.image()).await);
    assert_eq!((reason, terminal), (PullFailureReason::Throttled, false));
    assert!(message.contains("asks to wait (too many requests)"), "{message}");

    let stub = Stub::start(Fault::TooManySaid).await;
    let error = pull(&engine(), &stub.image()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled { retry_after: Some(Duration::from_secs(42)) }, "{error}");
    let before = Wall.now();
    let ImageState::Failed { next_at: Some(next_at), .. } = outcome(&engine(), &stub.image()).await else { panic!() };
    assert!(next_at.since(before) >= Duration::from_secs(42), "what it says is kept to");
}

#[tokio::test]
async fn a_registry_is_asked_for_a_digest_by_head_and_nothing_is_fetched() {
    let stub = Stub::start(Fault::None).await;
    let wanted = digest(&content(Fault::None, &stub.at.to_string()).manifest);
    assert_eq!(engine().registry_digest(&stub.image()).await.unwrap(), wanted);
    let seen = stub.seen.lock().unwrap().clone();
    assert!(seen.iter().any(|line| line.starts_with("HEAD /v2/em-test/stub/manifests/1 ")), "{seen:?}");
    assert!(engine().inspect_image(stub.image().as_str()).await.unwrap().is_none());
    let mut tags = Tags(vec![]);
    tags.remove(stub.image().as_str());
    pull(&engine(), &stub.image()).await.unwrap();
    let local = engine().inspect_image(stub.image().as_str()).await.unwrap().unwrap();
    assert!(local.digests.contains(&wanted), "{:?}", local.digests);

    for (fault, kind) in [
        (Fault::Unauthorized, ErrorKind::PullDenied),
        (Fault::Unknown, ErrorKind::ImageNotFound),
        (Fault::TooMany, ErrorKind::Throttled { retry_after: None }),
        (Fault::TooManySaid, ErrorKind::Throttled { retry_after: Some(Duration::from_secs(42)) }),
        (Fault::Broken, ErrorKind::Other),
    ] {
        let stub = Stub::start(fault).await;
        let error = engine().registry_digest(&stub.image()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
    }
    let script = r#"echo '{"ServerURL":"x","Username":"me","Secret":"hunter2"}'"#;
    let stub = Stub::start(Fault::BasicAuth).await;
    let config = format!(r#"{{"credHelpers": {{"{}": "em-test"}}}}"#, stub.at);
    let (_home, keychain) = configured(&config, Some(("em-test", script)));
    engine().with_keychain(keychain).registry_digest(&stub.image()).await.expect("the helper's password opens it");
}

#[tokio::test]
async fn a_layer_that_breaks_off_is_an_error_that_says_so() {
    let stub = Stub::start(Fault::BreaksOff).await;
    // The engine tries five times by itself, further apart each time.
    let (message, reason, terminal) = failure(&outcome(&engine(), &stub.image()).await);
    assert_eq!((reason, terminal), (PullFailureReason::Other, false));
    assert!(message.contains("EOF") || message.contains("broke"), "{message}");
    let layers = stub.seen.lock().unwrap().iter().filter(|l| l.contains("/blobs/")).count();
    assert!(layers > 2, "{layers} requests for blobs");
}

#[tokio::test]
async fn a_layer_that_breaks_off_once_is_gone_on_with() {
    let stub = Stub::start(Fault::BreaksOffOnce).await;
    let mut tags = Tags(vec![]);
    tags.remove(stub.image().as_str());
    let state = outcome(&engine(), &stub.image()).await;
    assert!(matches!(state, ImageState::Present(_)), "{state:?}");
}

#[tokio::test]
async fn a_layer_of_another_digest_is_refused() {
    let stub = Stub::start(Fault::OtherLayer).await;
    let error = pull(&engine(), &stub.image()).await.unwrap_err();
    assert!(error.message.contains("verification failed for digest"), "{error}");
    let (message, reason, _) = failure(&outcome(&engine(), &stub.image()).await);
    assert_eq!(reason, PullFailureReason::Other);
    assert!(message.contains("sha256:"), "{message}");
    assert!(engine().inspect_image(stub.image().as_str()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_registry_that_is_broken_or_gone_is_named() {
    let stub = Stub::start(Fault::Broken).await;
    let (message, reason, terminal) = failure(&outcome(&engine(), &stub.image()).await);
    assert_eq!((reason, terminal), (PullFailureReason::Other, false), "{message}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let gone = image(&format!("{at}/em-test/stub:1"));
    let (message, reason, terminal) = failure(&outcome(&engine(), &gone).await);
    assert_eq!((reason, terminal), (PullFailureReason::Other, false), "{message}");
    assert!(message.contains(&format!("no registry answers at {at}")), "{message}");
}

/// A user's Docker configuration with a helper on the search path.
fn configured(config: &str, helper: Option<(&str, &str)>) -> (tempfile::TempDir, Keychain) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.json"), config).unwrap();
    if let Some((name, script)) = helper {
        let path = home.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\nread -r server\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let dir = home.path().to_string_lossy().into_owned();
    let keychain = Keychain::new(&|name| match name {
        "DOCKER_CONFIG" | "PATH" => Some(dir.clone()),
        _ => None,
    });
    (home, keychain)
}

#[tokio::test]
async fn a_credential_helper_opens_a_registry_that_wants_a_password() {
    let stub = Stub::start(Fault::BasicAuth).await;
    let mut tags = Tags(vec![]);
    tags.remove(stub.image().as_str());
    let at = stub.at;
    let script = |secret: &str| {
        format!(
            r#"[ "$server" = "{at}" ] || exit 1; echo '{{"ServerURL":"{at}","Username":"me","Secret":"{secret}"}}'"#
        )
    };
    let config = format!(r#"{{"credHelpers": {{"{at}": "em-test"}}}}"#);

    assert_eq!(pull(&engine(), &stub.image()).await.unwrap_err().kind, ErrorKind::PullDenied, "not without");
    let (_home, wrong) = configured(&config, Some(("em-test", &script("sesame"))));
    let error = pull(&engine().with_keychain(wrong), &stub.image()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PullDenied, "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
    let (_home, right) = configured(&config, Some(("em-test", &script("hunter2"))));
    let state = outcome(&engine().with_keychain(right), &stub.image()).await;
    assert!(matches!(state, ImageState::Present(_)), "{state:?}");
}

#[tokio::test]
async fn a_helper_that_is_missing_is_named_only_where_it_is_needed() {
    let config = r#"{"credsStore": "em-missing"}"#;
    let open = Stub::start(Fault::None).await;
    let mut tags = Tags(vec![]);
    tags.remove(open.image().as_str());
    let (_home, keychain) = configured(config, None);
    let engine = engine().with_keychain(keychain);
    pull(&engine, &open.image()).await.expect("who asks for no password needs no helper");

    let shut = Stub::start(Fault::BasicAuth).await;
    let error = pull(&engine, &shut.image()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PullDenied);
    assert!(error.message.contains("`docker-credential-em-missing`"), "{error}");
}

/// Debian's registry, once it listens.
async fn registry(htpasswd: Option<&str>) -> Option<Registry> {
    let registry = Registry::serve(htpasswd)?;
    let up = eventually(async || TcpStream::connect(registry.at).await.ok());
    tokio::time::timeout(Duration::from_secs(30), up).await.expect("the registry listens");
    Some(registry)
}

/// Puts the tests' image there, under a name that the engine then forgets.
fn push(at: SocketAddr, config: Option<&std::path::Path>) -> ImageRef {
    ensure_image();
    let tag = format!("{at}/em-test/busybox:1");
    docker(&["tag", common::engine::IMAGE, &tag]);
    let config = config.map(|c| c.to_string_lossy().into_owned());
    match &config {
        Some(folder) => docker(&["--config", folder, "push", "-q", &tag]),
        None => docker(&["push", "-q", &tag]),
    };
    docker(&["rmi", &tag]);
    image(&tag)
}

#[tokio::test]
async fn debians_registry_gives_what_was_pushed() {
    let Some(registry) = registry(None).await else { return };
    let reference = push(registry.at, None);
    let mut tags = Tags(vec![]);
    tags.remove(reference.as_str());
    let state = outcome(&engine(), &reference).await;
    let ImageState::Present(info) = state else { panic!("{state:?}") };
    assert_eq!(info.env.get("FROM_IMAGE").map(String::as_str), Some("yes"));
    assert!(registry.folder.path().join("data/docker/registry").is_dir());

    let missing = image(&format!("{}/em-test/busybox:2", registry.at));
    assert_eq!(pull(&engine(), &missing).await.unwrap_err().kind, ErrorKind::ImageNotFound);
    let missing = image(&format!("{}/em-test/nothing:1", registry.at));
    assert_eq!(pull(&engine(), &missing).await.unwrap_err().kind, ErrorKind::ImageNotFound);
}

#[tokio::test]
async fn debians_registry_asks_for_a_password_and_a_helper_knows_it() {
    // bcrypt of `hunter2`
    let line = "me:$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n";
    let Some(registry) = registry(Some(line)).await else { return };
    let at = registry.at;
    let stored = tempfile::tempdir().unwrap();
    std::fs::write(
        stored.path().join("config.json"),
        format!(r#"{{"auths": {{"{at}": {{"auth": "bWU6aHVudGVyMg=="}}}}}}"#),
    )
    .unwrap();
    let reference = push(at, Some(stored.path()));
    let mut tags = Tags(vec![]);
    tags.remove(reference.as_str());

    let error = pull(&engine(), &reference).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PullDenied, "{error}");
    let script = format!(r#"echo '{{"ServerURL":"{at}","Username":"me","Secret":"hunter2"}}'"#);
    let (_home, keychain) =
        configured(&format!(r#"{{"credHelpers": {{"{at}": "em-test"}}}}"#), Some(("em-test", &script)));
    pull(&engine().with_keychain(keychain), &reference).await.expect("the helper's password opens it");
    tags.remove(reference.as_str());
    let dir = stored.path().to_string_lossy().into_owned();
    let keychain = Keychain::new(&|name| (name == "DOCKER_CONFIG").then(|| dir.clone()));
    pull(&engine().with_keychain(keychain), &reference).await.expect("and so does a stored one");
}

#[tokio::test]
async fn without_a_network_the_message_says_so() {
    let scope = Scope::new("registry-none");
    // `.invalid` never resolves (RFC 6761), network or not.
    let nowhere = image("registry.invalid/em-test/x:1");
    let (message, reason, terminal) = failure(&outcome(&scope.engine, &nowhere).await);
    assert_eq!((reason, terminal), (PullFailureReason::Other, false), "{message}");
    assert!(message.starts_with("pull of registry.invalid/em-test/x:1 failed: "), "{message}");
}
