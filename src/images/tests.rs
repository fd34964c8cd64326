//! Pulls on the paused clock, with an engine whose registry does what a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::Timestamp;
use crate::engine::ErrorKind;
use crate::engine::scripted::ScriptedEngine;
use crate::resource::image::{ImageId, ImageInfo, PullFailureReason};
use crate::resource::spec::PullPolicy;

/// The engine's images, its registry, and what was asked of them.
struct Registry {
    begun: Instant,
    local: Mutex<BTreeMap<String, ImageInfo>>,
    /// By image; succeeds where nothing is said.
    refuses: Mutex<BTreeMap<String, EngineError>>,
    takes: Duration,
    /// Image, platform, and the milliseconds at which its pull began.
    pulls: Mutex<Vec<(String, Option<String>, u64)>>,
    in_flight: Mutex<(usize, usize)>,
    told: Mutex<Vec<Vec<String>>>,
}

/// Counts a pull out again however it ends, being dropped included.
struct InFlight<'a>(&'a Registry);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.lock().unwrap().0 -= 1;
    }
}

impl Registry {
    async fn pull(
        &self,
        image: String,
        platform: Option<String>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> crate::engine::Result<()> {
        self.pulls.lock().unwrap().push((image.clone(), platform, self.now()));
        {
            let mut in_flight = self.in_flight.lock().unwrap();
            in_flight.0 += 1;
            in_flight.1 = in_flight.1.max(in_flight.0);
        }
        let _counted = InFlight(self);
        for part in 1..=10 {
            sleep(self.takes / 10).await;
            progress(PullProgress { current: part, total: 10 });
        }
        if let Some(error) = self.refuses.lock().unwrap().get(&image) {
            return Err(error.clone());
        }
        self.put(&image);
        Ok(())
    }

    fn put(&self, image: &str) {
        let mut local = self.local.lock().unwrap();
        let id = ImageId(format!("sha256:{}", local.len() + 1));
        local.insert(image.to_owned(), ImageInfo { id, ..ImageInfo::default() });
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    /// When pulls of an image began.
    fn times(&self, image: &str) -> Vec<u64> {
        self.pulls.lock().unwrap().iter().filter(|(i, _, _)| i == image).map(|(_, _, at)| *at).collect()
    }

    fn refuse(&self, image: &str, kind: ErrorKind, message: &str) {
        let error = EngineError::new("pull", image, kind, message);
        self.refuses.lock().unwrap().insert(image.to_owned(), error);
    }
}

struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

struct World {
    images: Arc<Images<ScriptedEngine>>,
    registry: Arc<Registry>,
    _tasks: JoinSet<()>,
}

/// Pulls take a second.
fn world() -> World {
    let registry = Arc::new(Registry {
        begun: Instant::now(),
        local: Mutex::default(),
        refuses: Mutex::default(),
        takes: Duration::from_secs(1),
        pulls: Mutex::default(),
        in_flight: Mutex::default(),
        told: Mutex::default(),
    });
    let (pulling, looking, telling) = (registry.clone(), registry.clone(), registry.clone());
    let engine = ScriptedEngine::default()
        .inspect_image(move |image| Ok(looking.local.lock().unwrap().get(image).cloned()))
        .pull(move |image, platform, progress| {
            let pulling = pulling.clone();
            Box::pin(async move { pulling.pull(image.to_string(), platform, progress).await })
        });
    let images = Arc::new(Images::new(
        Arc::new(engine),
        Arc::new(Virtual(Instant::now())),
        Backoff::default(),
        Noise::new(1),
        move |keys| telling.told.lock().unwrap().push(keys.iter().map(ToString::to_string).collect()),
    ));
    let running = images.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { running.run().await });
    World { images, registry, _tasks: tasks }
}

fn wanting(image: &str, policy: PullPolicy) -> ImageWant {
    ImageWant { image: ImageRef::parse(image).unwrap(), platform: None, policy }
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::service(name)
}

impl World {
    fn want(&self, name: &str, image: &str, policy: PullPolicy) {
        self.images.want(&key(name), &wanting(image, policy));
    }

    fn state(&self, name: &str) -> ImageState {
        self.images.state(&key(name))
    }

    fn is_present(&self, name: &str) -> bool {
        matches!(self.state(name), ImageState::Present(_))
    }

    fn message(&self, name: &str) -> String {
        match self.state(name) {
            ImageState::Failed { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.registry.told.lock().unwrap()).concat()
    }
}

async fn pass(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

use PullPolicy::{Always, IfNotPresent, Never};

#[tokio::test(start_paused = true)]
async fn what_is_there_is_not_pulled() {
    let w = world();
    w.registry.put("redis:7");
    w.want("redis", "redis:7", IfNotPresent);
    assert_eq!(w.state("redis"), ImageState::Unknown);
    pass(1).await;
    assert!(w.is_present("redis"));
    assert_eq!((w.told(), w.registry.times("redis:7")), (vec!["redis".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_pulled_and_its_progress_told_once_a_second() {
    let w = world();
    w.want("redis", "redis:7", IfNotPresent);
    pass(550).await;
    assert_eq!(w.state("redis"), ImageState::Pulling(PullProgress { current: 5, total: 10 }));
    assert_eq!(w.told().len(), 1);
    pass(500).await;
    assert!(w.is_present("redis"));
    assert!(w.told().len() <= 2);
    pass(100_000).await;
    assert_eq!((w.registry.times("redis:7"), w.told().len()), (vec![0], 0), "and that is all");
}

#[tokio::test(start_paused = true)]
async fn several_services_share_one_pull_and_all_are_told() {
    let w = world();
    w.want("a", "node:1", IfNotPresent);
    w.want("b", "node:1", IfNotPresent);
    pass(500).await;
    w.want("c", "node:1", IfNotPresent);
    pass(600).await;
    assert!(["a", "b", "c"].iter().all(|n| w.is_present(n)));
    assert_eq!(w.registry.times("node:1"), [0]);
    let told = w.told();
    assert!(["a", "b", "c"].iter().all(|n| told.contains(&(*n).to_owned())), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_to_leave_ends_the_pull() {
    let w = world();
    w.want("a", "node:1", IfNotPresent);
    w.want("b", "node:1", IfNotPresent);
    pass(100).await;
    w.images.leave(&key("a"));
    pass(100).await;
    assert_eq!(w.registry.in_flight.lock().unwrap().0, 1);
    w.images.leave(&key("b"));
    pass(1).await;
    assert_eq!(w.registry.in_flight.lock().unwrap().0, 0);
    assert_eq!(w.state("b"), ImageState::Unknown);
    pass(2000).await;
    assert!(!w.registry.local.lock().unwrap().contains_key("node:1"));
    w.want("a", "node:1", IfNotPresent);
    pass(1100).await;
    assert!(w.is_present("a"), "coming back begins anew");
}

#[tokio::test(start_paused = true)]
async fn wanting_another_image_leaves_the_first() {
    let w = world();
    w.want("a", "node:1", IfNotPresent);
    pass(100).await;
    w.want("a", "node:2", IfNotPresent);
    pass(1100).await;
    assert!(w.is_present("a"));
    assert!(!w.registry.local.lock().unwrap().contains_key("node:1"));
}

#[tokio::test(start_paused = true)]
async fn at_most_three_pulls_are_in_flight() {
    let w = world();
    for i in 0..10 {
        w.want(&format!("s{i}"), &format!("image:{i}"), IfNotPresent);
    }
    pass(4100).await;
    assert_eq!(w.registry.in_flight.lock().unwrap().1, 3);
    assert!((0..10).all(|i| w.is_present(&format!("s{i}"))));
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_once_for_all_who_want_the_image() {
    let w = world();
    w.registry.refuse("node:1", ErrorKind::Other, "unexpected EOF");
    for name in ["a", "b", "c"] {
        w.want(name, "node:1", IfNotPresent);
    }
    pass(40_000).await;
    let times = w.registry.times("node:1");
    let gaps: Vec<_> = times.windows(2).map(|t| t[1] - t[0] - 1000).collect();
    assert!(gaps.len() >= 4, "{gaps:?}");
    for (gap, nominal) in gaps.iter().zip([500.0, 1000.0, 2000.0, 4000.0, 8000.0]) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        let ratio = *gap as f64 / nominal;
        assert!((0.89..1.11).contains(&ratio), "{gaps:?}");
    }
    let ImageState::Failed { message, reason, terminal, attempts, next_at } = w.state("b") else { panic!() };
    assert_eq!(
        (message.as_str(), reason, terminal),
        ("pull of node:1 failed: unexpected EOF", PullFailureReason::Other, false)
    );
    assert_eq!(attempts as usize, times.len());
    assert!(next_at.unwrap() > Timestamp(*times.last().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn leaving_and_coming_back_is_no_way_round_the_backoff() {
    let w = world();
    w.registry.refuse("node:1", ErrorKind::ImageNotFound, "manifest unknown");
    for _ in 0..100 {
        w.want("a", "node:1", IfNotPresent);
        pass(100).await;
        if matches!(w.state("a"), ImageState::Failed { .. }) {
            w.images.leave(&key("a"));
        }
    }
    assert_eq!(w.registry.times("node:1").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_registry_does_not_have_is_tried_again_at_the_cap() {
    let w = world();
    w.registry.refuse("dspy-lightweight:latest", ErrorKind::PullDenied, "pull access denied");
    w.want("reddb", "dspy-lightweight:latest", IfNotPresent);
    pass(1100).await;
    let ImageState::Failed { message, reason, terminal, .. } = w.state("reddb") else { panic!() };
    assert_eq!(
        message,
        "pull of dspy-lightweight:latest failed: not found in docker.io/library. Build it, or set its image in [[service_overrides]]"
    );
    assert_eq!((reason, terminal), (PullFailureReason::NotFound, true));
    pass(25_000).await;
    assert_eq!(w.registry.times("dspy-lightweight:latest").len(), 1);
    pass(10_000).await;
    assert_eq!(w.registry.times("dspy-lightweight:latest").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_to_wait_is_left_alone_so_long() {
    let w = world();
    let asked = ErrorKind::Throttled { retry_after: Some(Duration::from_mins(2)) };
    w.registry.refuse("redis:7", asked, "toomanyrequests");
    w.want("redis", "redis:7", IfNotPresent);
    pass(120_500).await;
    assert_eq!(w.registry.times("redis:7"), [0]);
    assert!(w.message("redis").contains("docker.io asks to wait"));
    pass(1000).await;
    assert_eq!(w.registry.times("redis:7"), [0, 121_000]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_appears_by_other_means_is_found() {
    let w = world();
    w.registry.refuse("local:1", ErrorKind::ImageNotFound, "manifest unknown");
    w.want("a", "local:1", IfNotPresent);
    w.want("b", "local:2", Never);
    pass(1100).await;
    assert!(matches!(w.state("a"), ImageState::Failed { .. }));
    assert_eq!(
        w.message("b"),
        "local:2 is not on the engine, and pullPolicy is Never. Build or load it, or set its image in [[service_overrides]]"
    );
    w.told();
    w.registry.put("local:1");
    w.registry.put("local:2");
    w.images.refresh();
    pass(1).await;
    assert!(w.is_present("a") && w.is_present("b"));
    let mut told = w.told();
    told.sort();
    assert_eq!(told, ["a", "b"]);
    assert_eq!(w.registry.times("local:1").len(), 1, "looking again is not pulling again");
    w.images.refresh();
    pass(1).await;
    assert!(w.told().is_empty(), "what has not changed is no news");
}

#[tokio::test(start_paused = true)]
async fn without_refresh_a_built_image_is_found_within_the_cap() {
    let w = world();
    w.want("b", "local:2", Never);
    pass(1).await;
    w.registry.put("local:2");
    pass(34_000).await;
    assert!(w.is_present("b"));
    assert!(w.registry.times("local:2").is_empty());
}

#[tokio::test(start_paused = true)]
async fn always_pulls_once_per_wanting() {
    let w = world();
    w.registry.put("redis:7");
    w.want("a", "redis:7", Always);
    w.want("b", "redis:7", IfNotPresent);
    pass(500).await;
    assert!(!w.is_present("a") && w.is_present("b"), "the one waits, the other need not");
    pass(600).await;
    assert!(w.is_present("a"));
    for _ in 0..10 {
        w.want("a", "redis:7", Always);
        pass(1000).await;
    }
    assert_eq!(w.registry.times("redis:7"), [0]);
    w.images.leave(&key("a"));
    w.want("a", "redis:7", Always);
    pass(1).await;
    assert!(!w.is_present("a"), "a new create asks anew");
    pass(1100).await;
    assert!(w.is_present("a"));
    assert_eq!(w.registry.times("redis:7").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_pull_is_an_error_for_always_though_an_older_image_is_there() {
    let w = world();
    w.registry.put("redis:7");
    w.registry.refuse("redis:7", ErrorKind::Other, "unexpected EOF");
    w.want("a", "redis:7", Always);
    w.want("b", "redis:7", IfNotPresent);
    pass(1100).await;
    assert_eq!(w.message("a"), "pull of redis:7 failed: unexpected EOF");
    assert!(w.is_present("b"));
    w.images.refresh();
    pass(1).await;
    assert_eq!(w.message("a"), "pull of redis:7 failed: unexpected EOF", "a look settles nothing");
    w.registry.refuses.lock().unwrap().clear();
    pass(10_000).await;
    assert!(w.is_present("a"));
}

#[tokio::test(start_paused = true)]
async fn a_platform_is_handed_on_and_is_a_pull_of_its_own() {
    let w = world();
    let arm = ImageWant { platform: Some("linux/arm64".to_owned()), ..wanting("redis:7", IfNotPresent) };
    w.images.want(&key("a"), &arm);
    w.images.want(&key("b"), &wanting("redis:7", IfNotPresent));
    pass(10).await;
    let mut platforms: Vec<_> = w.registry.pulls.lock().unwrap().iter().map(|(_, p, _)| p.clone()).collect();
    platforms.sort();
    assert_eq!(platforms, [None, Some("linux/arm64".to_owned())]);
}

#[test]
fn failures_say_what_to_do() {
    let failed = |image: &str, kind: ErrorKind, said: &str| {
        let image = ImageRef::parse(image).unwrap();
        message::failed(&image, &EngineError::new("pull", image.to_string(), kind, said))
    };
    for (image, kind, said, text) in [
        (
            "redis:7",
            ErrorKind::Other,
            "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
            "pull of redis:7 failed: no registry answers at docker.io (Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host). Build or load the image here, or set another in [[service_overrides]]",
        ),
        (
            "ghcr.io/a/b:1",
            ErrorKind::ImageNotFound,
            "manifest unknown",
            "pull of ghcr.io/a/b:1 failed: not found in ghcr.io/a. Build it, or set its image in [[service_overrides]]",
        ),
        (
            "a/b",
            ErrorKind::PullDenied,
            "denied",
            "pull of a/b failed: docker.io denies access. Check the name, or `docker login docker.io` as the user that runs env-manager",
        ),
        (
            "localhost:5000/x",
            ErrorKind::PullDenied,
            "no basic auth credentials",
            "pull of localhost:5000/x failed: localhost:5000 denies access. Check the name, or `docker login localhost:5000` as the user that runs env-manager",
        ),
        (
            "x",
            ErrorKind::DiskFull,
            "no space left on device",
            "pull of x failed: the engine's disk is full (no space left on device). Free some, e.g. with `docker image prune`",
        ),
    ] {
        assert_eq!(failed(image, kind, said), text);
    }
}
