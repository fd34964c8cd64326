//! `image_poll`: what registries have under the tags of services that run.
//!
//! At create and replace a tag with `pullPolicy: Always` is pulled anyway. In between its registry is
//! asked for the digest alone, one image after the other; only where the engine has another one is a
//! pull made, and what comes of that is an image that moved under its tag, as any other. Pure: time is
//! an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{LONGEST_WAIT, PullId};
use super::message;
use crate::backoff::{Backoff, Noise};
use crate::engine::{EngineError, ErrorKind};
use crate::resource::image::{ImageInfo, ImageRef};

/// What registries were asked for, and said.
#[derive(Debug)]
pub struct Poll {
    /// Of registries that ask to wait and do not say for how long.
    backoff: Backoff,
    noise: Noise,
    /// Registries that asked to wait.
    held: BTreeMap<String, Held>,
    /// The kind of trouble that was told, by image.
    told: BTreeMap<PullId, Discriminant<ErrorKind>>,
    /// The digest that was last pulled for, by image.
    pulled: BTreeMap<PullId, String>,
    /// That the engine cannot ask was told.
    told_unsupported: bool,
}

#[derive(Debug)]
struct Held {
    until: Instant,
    /// In a row.
    times: u32,
}

/// What is to be said of a failure, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It was said already.
    Nothing,
    /// Of the services that use the image.
    Image(String),
    /// Of all: the engine cannot ask.
    Engine(String),
}

impl Poll {
    pub fn new(every: Duration, noise: Noise) -> Self {
        Self {
            backoff: Backoff { initial: every, max: LONGEST_WAIT },
            noise,
            held: BTreeMap::new(),
            told: BTreeMap::new(),
            pulled: BTreeMap::new(),
            told_unsupported: false,
        }
    }

    /// From one round to the next.
    pub fn pause(&mut self) -> Duration {
        Backoff { max: self.backoff.initial, ..self.backoff }.delay(1, self.noise.unit())
    }

    /// Only these are of interest any more.
    pub fn retain(&mut self, followed: &BTreeSet<PullId>) {
        self.told.retain(|id, _| followed.contains(id));
        self.pulled.retain(|id, _| followed.contains(id));
    }

    /// A registry that asked to wait is left alone until then.
    pub fn may_ask(&self, image: &ImageRef, now: Instant) -> bool {
        self.held.get(image.registry()).is_none_or(|held| held.until <= now)
    }

    /// The registry has this digest, and the engine that image, under the tag. Says whether to pull.
    pub fn answered(&mut self, id: &PullId, digest: &str, local: Option<&ImageInfo>) -> bool {
        self.told_unsupported = false;
        self.held.remove(id.image.registry());
        let is_there = local.is_some_and(|image| image.digests.contains(digest));
        // What a pull did not bring, another will not bring either.
        let was_pulled = local.is_some() && self.pulled.get(id).is_some_and(|pulled| pulled == digest);
        if is_there || was_pulled {
            self.told.remove(id);
            return false;
        }
        true
    }

    pub fn pulled(&mut self, id: &PullId, digest: String) {
        self.told.remove(id);
        self.pulled.insert(id.clone(), digest);
    }

    /// Asking or pulling failed. What a message says may differ from try to try (ports, times), so what
    /// counts is its kind.
    pub fn failed(&mut self, id: &PullId, error: &EngineError, now: Instant) -> Telling {
        match error.kind {
            // Of the engine as a whole, which has words of its own.
            ErrorKind::Unreachable => return Telling::Nothing,
            ErrorKind::Unsupported if self.told_unsupported => return Telling::Nothing,
            ErrorKind::Unsupported => {
                self.told_unsupported = true;
                return Telling::Engine(format!(
                    "image_poll has no effect: the engine cannot ask registries for digests ({})",
                    error.message.trim()
                ));
            }
            ErrorKind::Throttled { retry_after } => {
                let held = self.held.entry(id.image.registry().to_owned()).or_insert(Held { until: now, times: 0 });
                held.times = held.times.saturating_add(1);
                let wait = self.backoff.delay(held.times, self.noise.unit());
                held.until = now + wait.max(retry_after.unwrap_or_default().min(LONGEST_WAIT));
            }
            _ => {}
        }
        let kind = discriminant(&error.kind);
        if self.told.insert(id.clone(), kind) == Some(kind) {
            return Telling::Nothing;
        }
        Telling::Image(message::not_polled(&id.image, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_mins(10);

    fn id(image: &str) -> PullId {
        PullId { image: ImageRef::parse(image).unwrap(), platform: None }
    }

    fn poll() -> Poll {
        Poll::new(EVERY, Noise::new(1))
    }

    fn having(digest: &str) -> ImageInfo {
        ImageInfo { digests: BTreeSet::from([digest.to_owned()]), ..ImageInfo::default() }
    }

    fn error(kind: ErrorKind, message: &str) -> EngineError {
        EngineError::new("ask the registry about image", "x", kind, message)
    }

    #[test]
    fn only_another_digest_is_pulled_and_each_only_once() {
        let (mut poll, web) = (poll(), id("r.example/web:1"));
        assert!(!poll.answered(&web, "sha256:a", Some(&having("sha256:a"))));
        assert!(poll.answered(&web, "sha256:b", Some(&having("sha256:a"))));
        // A pull that failed is made again.
        assert!(poll.answered(&web, "sha256:b", Some(&having("sha256:a"))));
        poll.pulled(&web, "sha256:b".to_owned());
        assert!(!poll.answered(&web, "sha256:b", Some(&having("sha256:a"))), "it would bring the same again");
        assert!(poll.answered(&web, "sha256:c", Some(&having("sha256:a"))));
        assert!(poll.answered(&web, "sha256:b", None), "the engine has nothing under the tag");
        poll.retain(&BTreeSet::new());
        assert!(poll.answered(&web, "sha256:b", Some(&having("sha256:a"))), "forgotten with who used it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_asks_to_wait_is_left_alone_with_all_its_images() {
        let (mut poll, now) = (poll(), Instant::now());
        let (web, api, elsewhere) = (id("r.example/web:1"), id("r.example/api:1"), id("redis:7"));
        let after = |wait| now + wait;
        let throttled = |wait| error(ErrorKind::Throttled { retry_after: wait }, "toomanyrequests");
        let told = poll.failed(&web, &throttled(Some(Duration::from_mins(45))), now);
        assert!(matches!(told, Telling::Image(ref text) if text.contains("asks to wait")), "{told:?}");
        assert!(!poll.may_ask(&api.image, after(Duration::from_mins(44))));
        assert!(poll.may_ask(&api.image, after(Duration::from_mins(45))));
        assert!(poll.may_ask(&elsewhere.image, now));
        // One that does not say for how long is asked ever less often, and once an hour at least.
        assert_eq!(poll.failed(&web, &throttled(None), now), Telling::Nothing);
        assert!(!poll.may_ask(&web.image, after(EVERY * 2 * 8 / 10)));
        for _ in 0..10 {
            poll.failed(&web, &throttled(None), now);
        }
        assert!(!poll.may_ask(&web.image, after(LONGEST_WAIT * 8 / 10)));
        assert!(poll.may_ask(&web.image, after(LONGEST_WAIT * 12 / 10)));
        poll.answered(&web, "sha256:a", Some(&having("sha256:a")));
        assert!(poll.may_ask(&web.image, now));
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_is_told_once_until_it_is_over_or_another() {
        let (mut poll, now, web) = (poll(), Instant::now(), id("r.example/web:1"));
        let tells = |poll: &mut Poll, kind, message: &str| match poll.failed(&web, &error(kind, message), now) {
            Telling::Image(text) => Some(text),
            _ => None,
        };
        let text = tells(&mut poll, ErrorKind::Other, "dial tcp 10.0.0.1:443: i/o timeout (from port 4711)").unwrap();
        assert!(text.starts_with("whether r.example/web:1 has moved is not known: no registry answers"), "{text}");
        assert_eq!(tells(&mut poll, ErrorKind::Other, "dial tcp 10.0.0.1:443: i/o timeout (from port 4712)"), None);
        assert!(tells(&mut poll, ErrorKind::PullDenied, "unauthorized").is_some());
        assert_eq!(tells(&mut poll, ErrorKind::PullDenied, "unauthorized"), None);
        assert!(!poll.answered(&web, "sha256:a", Some(&having("sha256:a"))));
        assert!(tells(&mut poll, ErrorKind::PullDenied, "unauthorized").is_some(), "it was well in between");
        assert_eq!(
            tells(&mut poll, ErrorKind::Unreachable, "no socket"),
            None,
            "the engine's own absence is told elsewhere"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_cannot_ask_is_told_of_once_and_not_per_image() {
        let (mut poll, now) = (poll(), Instant::now());
        let cannot = error(ErrorKind::Unsupported, "page not found");
        let told = poll.failed(&id("a/b:1"), &cannot, now);
        assert!(matches!(told, Telling::Engine(ref text) if text.contains("image_poll has no effect")), "{told:?}");
        assert_eq!(poll.failed(&id("a/b:1"), &cannot, now), Telling::Nothing);
        assert_eq!(poll.failed(&id("redis:7"), &cannot, now), Telling::Nothing);
    }

    #[test]
    fn pauses_differ_by_a_tenth() {
        let mut poll = poll();
        let pauses: BTreeSet<_> = (0..100).map(|_| poll.pause()).collect();
        assert!(pauses.iter().all(|p| *p >= EVERY * 9 / 10 && *p <= EVERY * 11 / 10), "{pauses:?}");
        assert!(pauses.len() > 50);
    }
}
