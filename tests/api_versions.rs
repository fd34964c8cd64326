//! Engines of other versions, played by a proxy before the real one: versions are negotiated, and each
//! request says which one it speaks.

#[path = "common/engine.rs"]
mod common;
#[path = "common/proxy.rs"]
mod proxy;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use common::{Scope, over};
use env_manager::engine::docker::Docker;
use env_manager::engine::docker::credentials::Keychain;
use env_manager::engine::{Engine, ErrorKind, ExecResult};
use env_manager::resource::image::ImageRef;
use env_manager::resource::observed::RunState;
use proxy::{Proxy, Rules};
use serde_json::{Value, json};

/// An engine that speaks API `min` to `max`, over one that may know less.
#[derive(Clone, Copy)]
struct Claims {
    min: u32,
    max: u32,
    /// What the real engine is spoken to with, at most.
    real: u32,
}

impl Claims {
    /// `1.44` of `GET /v1.44/containers/json HTTP/1.1`
    fn version(head: &str) -> Option<u32> {
        head.split_whitespace().nth(1)?.strip_prefix("/v1.")?.split('/').next()?.parse().ok()
    }
}

impl Rules for Claims {
    fn request(&self, head: &str) -> Result<String, String> {
        let refuse = |text: String| Err(json!({ "message": text }).to_string());
        match Self::version(head) {
            // The engine's own way with an unversioned request: its newest.
            None => Ok(head.to_owned()),
            Some(v) if v < self.min => refuse(format!(
                "client version 1.{v} is too old. Minimum supported API version is 1.{}, please upgrade your client to a newer version",
                self.min
            )),
            Some(v) if v > self.max => {
                refuse(format!("client version 1.{v} is too new. Maximum supported API version is 1.{}", self.max))
            }
            Some(v) => Ok(head.replacen(&format!("/v1.{v}/"), &format!("/v1.{}/", v.min(self.real)), 1)),
        }
    }

    fn version(&self, body: &str) -> String {
        let mut json: Value = serde_json::from_str(body).expect("JSON");
        json["ApiVersion"] = json!(format!("1.{}", self.max));
        json["MinAPIVersion"] = json!(format!("1.{}", self.min));
        json.to_string()
    }
}

async fn real_api() -> u32 {
    let info = common::engine().info().await.unwrap();
    info.api_version.strip_prefix("1.").unwrap().parse().unwrap()
}

async fn claims(min: u32, max: u32) -> (Proxy, Docker) {
    let proxy = Proxy::start(common::SOCKET, Claims { min, max, real: real_api().await });
    let docker = over(proxy.socket.to_str().unwrap());
    (proxy, docker)
}

/// A round of calls, streams and upgrades among them; each must have said its version.
async fn a_round(test: &str, min: u32, max: u32, wanted: &str) {
    let (proxy, docker) = claims(min, max).await;
    let mut scope = Scope::new(test);
    scope.engine = docker;
    let engine = &scope.engine;
    // Without a call of `info` first.
    let id = scope.run(scope.spec("a")).await;
    assert_eq!(engine.info().await.unwrap().api_version, wanted);
    assert_eq!(scope.owned(&id).await.state, RunState::Running);
    let exec = engine.exec(&id, &["echo".to_owned(), "hello".to_owned()], &[], Duration::from_secs(20)).await.unwrap();
    assert!(matches!(&exec, ExecResult::Ended(e) if e.output == "hello\n"), "{exec:?}");
    assert_eq!(engine.files_marker(&id).await.unwrap(), None);
    assert_eq!(engine.log_tail(&id, 5).await.unwrap(), Vec::<String>::new());
    engine.stop(&id, Duration::ZERO).await.unwrap();
    engine.remove_container(&id).await.unwrap();
    let seen = proxy.seen.lock().unwrap().clone();
    let (asks, calls): (Vec<_>, Vec<_>) = seen.iter().partition(|line| line.starts_with("GET /version "));
    assert_eq!(asks.len(), 2, "negotiated at the first call, and by `info`: {seen:?}");
    assert!(calls.len() >= 8, "{seen:?}");
    let strangers: Vec<_> = calls.iter().filter(|line| !line.contains(&format!(" /v{wanted}/"))).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[tokio::test]
async fn an_engine_whose_newest_is_1_41_is_spoken_to_in_1_41() {
    a_round("max", 12, 41, "1.41").await;
}

#[tokio::test]
async fn an_engine_whose_oldest_is_1_44_is_spoken_to_in_its_newest() {
    a_round("min", 44, 51, "1.51").await;
}

#[tokio::test]
async fn an_engine_newer_than_this_program_is_spoken_to_in_what_both_know() {
    a_round("newer", 44, 99, "1.53").await;
}

#[tokio::test]
async fn an_engine_that_is_too_old_or_too_new_is_refused_with_a_sentence() {
    for (min, max, sentence) in [
        (12, 40, "speaks API 1.40; 1.41 (Docker 20.10) is the oldest that works here"),
        (60, 70, "wants API 1.60 or newer; this env-manager speaks up to 1.53"),
    ] {
        let (_proxy, docker) = claims(min, max).await;
        let error = docker.info().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.to_string().contains(sentence), "{error}");
        let error = docker.inspect_image(common::IMAGE).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "whichever call comes first");
        assert!(error.to_string().starts_with("inspect image em-test/busybox:1: "), "{error}");
    }
}

#[tokio::test]
async fn an_engine_exchanged_for_an_older_one_is_negotiated_with_anew() {
    common::ensure_image();
    let (proxy, docker) = claims(12, 51).await;
    assert_eq!(docker.info().await.unwrap().api_version, "1.51");
    drop(proxy.seen);
    let real = real_api().await;
    // The same socket, another engine.
    std::fs::remove_file(&proxy.socket).unwrap();
    let older = Proxy::start(common::SOCKET, Claims { min: 12, max: 41, real });
    std::os::unix::fs::symlink(&older.socket, &proxy.socket).unwrap();
    let error = docker.inspect_image(common::IMAGE).await.unwrap_err();
    assert!(error.message.contains("client version 1.51 is too new"), "{error}");
    assert!(docker.inspect_image(common::IMAGE).await.unwrap().is_some());
    let seen = older.seen.lock().unwrap().clone();
    assert!(seen.last().is_some_and(|line| line.contains(" /v1.41/")), "{seen:?}");
}

/// Keeps the credentials that a pull sends.
struct Keeps(std::sync::Arc<std::sync::Mutex<Option<String>>>);

impl Rules for Keeps {
    fn request(&self, head: &str) -> Result<String, String> {
        if head.starts_with("GET /version ") {
            return Ok(head.to_owned());
        }
        let header = head.lines().find_map(|line| line.strip_prefix("x-registry-auth: "));
        *self.0.lock().unwrap() = header.map(str::to_owned);
        Err(json!({ "message": "enough" }).to_string())
    }

    fn version(&self, body: &str) -> String {
        body.to_owned()
    }
}

/// bollard writes them in the ordinary alphabet; what dockerd cannot read it takes for "anonymous".
#[tokio::test]
async fn credentials_are_written_in_the_alphabet_that_the_engine_reads() {
    let folder = tempfile::tempdir().unwrap();
    let password = "~~~???>>>öß";
    let auth = STANDARD.encode(format!("me:{password}"));
    let config = json!({ "auths": { "registry.test": { "auth": auth } } });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let env = |name: &str| (name == "DOCKER_CONFIG").then(|| folder.path().to_str().unwrap().to_owned());

    let kept = std::sync::Arc::default();
    let proxy = Proxy::start(common::SOCKET, Keeps(std::sync::Arc::clone(&kept)));
    let docker = over(proxy.socket.to_str().unwrap()).with_keychain(Keychain::new(&env));
    let image = ImageRef::parse("registry.test/web:1").unwrap();
    let error = docker.pull(&image, None, &|_| {}).await.unwrap_err();
    assert!(error.message.contains("enough"), "{error}");
    let header = kept.lock().unwrap().clone().expect("credentials were sent");
    let json: Value = serde_json::from_slice(&URL_SAFE.decode(&header).expect("URL-safe base64")).unwrap();
    assert_eq!((json["username"].as_str(), json["password"].as_str()), (Some("me"), Some(password)));
    assert!(STANDARD.decode(&header).is_err(), "the alphabets differ here, else this shows nothing");
}
