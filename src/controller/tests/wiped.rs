//! `docker container prune -f` and `docker system prune -f` after every step of a cold start and of a
//! replacement, on the simulated engine: below a controller that goes on, and below one that died there.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::sync::Notify;

use super::*;
use crate::clock::Timestamp;
use crate::engine::sim::{By, Outside, Program, SimEngine, Target};
use crate::resource::spec::{Mount, MountSource, VolumeSpec};

#[derive(Clone, Copy)]
struct Virtual(tokio::time::Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).plus(self.0.elapsed())
    }
}

/// Two networks, a named and an anonymous volume; `app` needs `db`.
fn described(version: usize) -> DesiredSet {
    let attached = |network: &str| NetworkAttachment {
        network: network.to_owned(),
        aliases: BTreeSet::new(),
        ipv4_address: None,
        priority: None,
    };
    let mut db = service("db", &[]);
    db.container.networks.push(attached("back"));
    let volume = MountSource::Volume { name: "data".to_owned(), subpath: None };
    let mount = |target: &str, source| Mount { target: target.to_owned(), source, read_only: false };
    db.container.mounts = vec![mount("/anonymous", MountSource::Anonymous), mount("/data", volume)];
    let mut services = [db, service("app", &[("db", DependencyCondition::Ready)])];
    for service in &mut services {
        service.container.env.insert("VERSION".to_owned(), version.to_string());
    }
    let mut set = set(services);
    let data = VolumeSpec { name: "data".to_owned(), ..VolumeSpec::default() };
    set.resources.insert(ResourceKey::volume("data"), DesiredSpec::Volume(Arc::new(data)));
    set
}

struct Simulated {
    engine: SimEngine,
    clock: Arc<dyn Clock>,
    state: tempfile::TempDir,
    /// Changes of ours that took effect, and who waits for them.
    steps: Arc<(AtomicUsize, Notify)>,
    /// Volumes that somebody removed.
    volumes_lost: Arc<AtomicUsize>,
}

impl Simulated {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(Virtual(tokio::time::Instant::now()));
        let engine = SimEngine::new(1, Arc::clone(&clock));
        engine.add_image(IMAGE, Program::default());
        let (steps, volumes_lost) = (Arc::new((AtomicUsize::new(0), Notify::new())), Arc::new(AtomicUsize::new(0)));
        let (counted, lost) = (Arc::clone(&steps), Arc::clone(&volumes_lost));
        engine.watch(move |call| {
            if call.by == By::Client {
                counted.0.fetch_add(1, Ordering::SeqCst);
                counted.1.notify_one();
            }
            if matches!((&call.target, &call.after), (Target::Volume(_), None)) {
                lost.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { engine, clock, state: tempfile::tempdir().unwrap(), steps, volumes_lost }
    }

    async fn apply(&self, set: &DesiredSet) -> Ending {
        let settings = settings(set, false);
        let info = EngineInfo { local: true, ..EngineInfo::default() };
        let controller = Controller::new(Arc::new(self.engine.clone()), info, settings, Arc::clone(&self.clock));
        let mut state = StateDir::open(self.state.path()).unwrap();
        controller.set_desired(&Intent::of(set, Arc::from("1")), &mut state);
        state.save().unwrap();
        let within = Some(Duration::from_mins(10));
        controller.converge(Goal::Converged, within, std::future::pending(), |_, _| {}).await.unwrap()
    }

    fn begin(&self) {
        self.steps.0.store(0, Ordering::SeqCst);
    }

    async fn after(&self, steps: usize) {
        while self.steps.0.load(Ordering::SeqCst) < steps {
            self.steps.1.notified().await;
        }
    }

    /// The volume that nobody named.
    fn anonymous(&self, container: &str) -> Option<String> {
        self.engine.world().named(container)?.volumes.get("/anonymous").cloned()
    }

    fn is_whole(&self, story: &str) {
        let world = self.engine.world();
        let names: BTreeSet<_> = world.containers.values().map(|c| c.name.as_str()).collect();
        assert_eq!((names, world.containers.len()), (BTreeSet::from(["app", "db"]), 2), "{story}");
        for container in world.containers.values() {
            assert_eq!(container.state, RunState::Running, "{story}: {}", container.name);
            for (name, id) in &container.networks {
                let there = world.networks.get(id).map(|n| n.name.as_str());
                assert_eq!(there, Some(name.as_str()), "{story}: {} is on a network that is gone", container.name);
            }
        }
        let db = world.named("db").unwrap();
        assert_eq!(db.networks.keys().map(String::as_str).collect::<Vec<_>>(), ["back", "net"], "{story}");
        let ours = world.networks.values().filter(|n| !n.labels.is_empty()).count();
        assert_eq!(ours, 2, "{story}: {:?}", world.networks);
        assert_eq!(db.volumes["/data"], "data", "{story}");
        assert_eq!(self.volumes_lost.load(Ordering::SeqCst), 0, "{story}: P7");
    }
}

/// `from`: the version that is there before, 0: nothing. Returns how many steps there are.
async fn wipe_after(steps: usize, from: usize, prune: &Outside, dies: bool) -> usize {
    let it = Simulated::new();
    if from > 0 {
        assert_eq!(it.apply(&described(from)).await, Ending::Reached);
    }
    let volume = it.anonymous("db");
    it.begin();
    let set = described(from + 1);
    let story = format!("{prune:?} after step {steps} from version {from}, dies: {dies}");
    let wipe = async {
        it.after(steps).await;
        it.engine.act(prune.clone());
        let all = it.engine.world();
        all.containers.values().any(|c| c.volumes.get("/anonymous") == volume.as_ref())
    };
    let one_was_left = if steps == 0 {
        assert_eq!(it.apply(&set).await, Ending::Reached);
        true
    } else if dies {
        let left = tokio::select! {
            biased;
            left = wipe => left,
            ending = it.apply(&set) => panic!("{ending:?} before the step: {story}"),
        };
        assert_eq!(it.apply(&set).await, Ending::Reached, "{story}");
        left
    } else {
        let (ending, left) = tokio::join!(it.apply(&set), wipe);
        assert_eq!(ending, Ending::Reached, "{story}");
        left
    };
    it.is_whole(&story);
    let taken = it.steps.0.load(Ordering::SeqCst);
    // What no container knew of any more is there, and nobody can tell whose it was.
    if from > 0 && one_was_left {
        assert_eq!(it.anonymous("db"), volume, "{story}: rules 4");
    }
    it.begin();
    assert_eq!(it.apply(&set).await, Ending::Reached, "{story}");
    assert_eq!(it.steps.0.load(Ordering::SeqCst), 0, "{story}: nothing is left to do");
    taken
}

#[tokio::test(start_paused = true)]
async fn p11_docker_prunes_after_any_step_of_a_rollout_harm_nothing() {
    let mut tried = 0;
    let mut failed = Vec::new();
    for from in [0, 1] {
        let steps = wipe_after(0, from, &Outside::PruneSystem, false).await;
        assert!(steps >= 8, "{steps} steps from version {from}");
        for step in 1..=steps {
            for prune in [Outside::PruneContainers, Outside::PruneSystem] {
                for dies in [false, true] {
                    let one = AssertUnwindSafe(wipe_after(step, from, &prune, dies)).catch_unwind();
                    failed.extend(one.await.is_err().then(|| (from, step, prune.clone(), dies)));
                    tried += 1;
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {tried} failed: {failed:#?}", failed.len());
    assert!(tried >= 64, "{tried}");
}
