//! Pulls from registries that behave and that do not, on the real engine.
//!
//! The good one is Debian's `docker-registry` on a port of loopback (the engine takes 127.0.0.0/8
//! for insecure registries, so plain HTTP will do). The others are [`Stub`]s.

#[path = "../common"]
mod common {
    pub mod engine;
    pub mod registry;
}
mod stub;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
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
use stub::{Fault, Stub, content, digest};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

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
