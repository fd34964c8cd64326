//! Tags that move: on the engine without an event, and in a registry. On the simulated engine.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::engine::sim::{FaultKind, Faults, Outside, Program, RegistryAnswer, SimEngine, Target};
use crate::resource::image::ImageId;

#[derive(Clone, Copy)]
struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).plus(self.0.elapsed())
    }
}

/// What an image is, apart from its tag.
fn build(number: u64) -> Program {
    Program { build: number, ..Program::default() }
}

struct Simulated {
    world: World,
    engine: Arc<SimEngine>,
    clock: Arc<dyn Clock>,
    /// Of the first and the second build.
    images: [ImageId; 2],
    /// Pulls that came to an end.
    pulls: Arc<AtomicUsize>,
}

impl Simulated {
    fn new(service: &str) -> Self {
        let world = World::new(&[]);
        world.edit(|folder| _ = folder.services.insert("app".to_owned(), service.to_owned()));
        let clock: Arc<dyn Clock> = Arc::new(Virtual(tokio::time::Instant::now()));
        let engine = SimEngine::new(1, Arc::clone(&clock));
        let images = [engine.add_image(IMAGE, build(1)), engine.add_image("elsewhere:2", build(2))];
        engine.set_registry(IMAGE, RegistryAnswer::Image(Box::new(build(1))));
        let pulls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&pulls);
        engine.watch(move |call| {
            if matches!(call.target, Target::Image(_)) && call.operation == "pull image" {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { world, engine: Arc::new(engine), clock, images, pulls }
    }

    async fn run(&self) -> Running<SimEngine> {
        let daemon = self.world.run_on(Arc::clone(&self.engine), Arc::clone(&self.clock), holder()).await;
        daemon.converged().await;
        daemon
    }

    fn pulls(&self) -> usize {
        self.pulls.load(Ordering::SeqCst)
    }

    /// Whether the container is of that build.
    fn runs(&self, number: usize) -> bool {
        let image = self.engine.world().named("app").map(|c| c.image_id.clone());
        image.as_ref() == Some(&self.images[number - 1])
    }
}

impl Running<SimEngine> {
    fn warnings(&self) -> Vec<String> {
        let all = self.handle.history().list(&[], None).into_iter();
        all.filter(|e| e.reason == EventReason::ImagePollFailed).map(|e| e.message).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn p01_a_tag_that_moved_without_an_event_is_rolled_out_at_the_next_resync() {
    let it = Simulated::new("1");
    let daemon = it.run().await;
    assert!(it.runs(1));
    // As a build by BuildKit moves it.
    it.engine.set_faults(Faults::quiet().with(FaultKind::EventLost, 1000));
    it.engine.act(Outside::Retag { reference: IMAGE.to_owned(), program: build(2) });
    it.engine.set_faults(Faults::quiet());
    assert!(!daemon.reasons().contains(&EventReason::ImageMoved), "nobody told");
    daemon.until("the new image serves", |view| it.runs(2) && view.is_converged()).await;
    let drift = daemon.handle.history().list(&[], None);
    let told = drift.iter().find(|e| e.reason == EventReason::DriftFound).expect("it is told");
    assert!(told.message.contains("image"), "{}", told.message);
    assert_eq!(it.pulls(), 0, "it is there");
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_registry_has_under_a_tag_is_asked_at_each_interval_and_only_what_is_newer_is_pulled() {
    let mut it = Simulated::new("1 always");
    it.world.image_poll = Some(Duration::from_mins(10));
    let daemon = it.run().await;
    assert_eq!(it.pulls(), 1, "at create");
    it.engine.set_registry(IMAGE, RegistryAnswer::Image(Box::new(build(2))));
    tokio::time::sleep(Duration::from_mins(8)).await;
    assert!(it.runs(1), "not before its time");
    daemon.until("the new image serves", |view| it.runs(2) && view.is_converged()).await;
    assert_eq!(it.pulls(), 3, "by the poll, and at replace");
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(it.pulls(), 3, "the same digest");
    assert_eq!(daemon.warnings(), [""; 0]);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_degrades_nothing_and_is_told_of_once() {
    let mut it = Simulated::new("1 always");
    it.world.image_poll = Some(Duration::from_mins(10));
    let daemon = it.run().await;
    it.engine.set_registry(IMAGE, RegistryAnswer::Down);
    let mut statuses = daemon.handle.statuses().subscribe();
    statuses.mark_unchanged();
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(daemon.phase("app"), Phase::Ready);
    assert!(!statuses.has_changed().unwrap(), "it goes on as it is");
    let warnings = daemon.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("whether test/app:1 has moved is not known: no registry answers"), "{warnings:?}");
    it.engine.set_registry(IMAGE, RegistryAnswer::Throttled);
    tokio::time::sleep(Duration::from_hours(4)).await;
    assert_eq!(daemon.warnings().len(), 2, "another trouble is told");
    it.engine.set_registry(IMAGE, RegistryAnswer::Image(Box::new(build(2))));
    let came = timeout(Duration::from_mins(70), async {
        while !(it.runs(2) && daemon.handle.view().is_converged()) {
            statuses.changed().await.unwrap();
        }
    });
    came.await.expect("it is asked again");
    assert_eq!(daemon.warnings().len(), 2);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn registries_are_asked_only_for_what_is_always_pulled_and_not_held() {
    for (service, why) in [("1", "another policy"), ("1 suspended", "suspended"), ("1 stopped", "stopped")] {
        let mut it = Simulated::new("1 always");
        it.world.image_poll = Some(Duration::from_mins(1));
        let daemon = it.run().await;
        it.world.edit(|folder| _ = folder.services.insert("app".to_owned(), service.to_owned()));
        daemon.handle.sync(Vec::new(), false, Actor::Outside).await.unwrap();
        daemon.converged().await;
        let pulls = it.pulls();
        it.engine.set_registry(IMAGE, RegistryAnswer::Image(Box::new(build(2))));
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert!(it.runs(1) && it.pulls() == pulls, "{why}");
        daemon.end().await.unwrap();
    }
    // By default nobody asks.
    let it = Simulated::new("1 always");
    let daemon = it.run().await;
    it.engine.set_registry(IMAGE, RegistryAnswer::Image(Box::new(build(2))));
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert!(it.runs(1));
    daemon.end().await.unwrap();
}
