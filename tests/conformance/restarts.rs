//! What an engine does with its containers when it is stopped and started: the real one is a test's own,
//! and has no networks.

use std::collections::BTreeMap;
use std::time::Duration;

use env_manager::engine::Engine;
use env_manager::resource::container::ContainerId;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, RestartPolicy, VolumeSpec};

use crate::rig::{Behaves, Real, Rig, Simulated};
use crate::stack::engine::eventually;

const GRACE: Duration = Duration::from_secs(5);

/// How a container stood when the engine was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Was {
    Created,
    Running,
    /// By a call.
    Stopped,
    /// By a call, and its policy was set to `no` before.
    StoppedForGood,
    Ended,
}

const POLICIES: [RestartPolicy; 4] = [
    RestartPolicy::No,
    RestartPolicy::OnFailure { max_retries: 0 },
    RestartPolicy::Always,
    RestartPolicy::UnlessStopped,
];

/// What is started with an engine that was ended in order, or killed.
fn is_started(was: Was, policy: RestartPolicy, behaves: Behaves, in_order: bool) -> bool {
    let again = match policy {
        RestartPolicy::No | RestartPolicy::Managed => false,
        RestartPolicy::Always => true,
        // What a killed engine left running it stops when it comes back, and takes that for a purpose.
        RestartPolicy::UnlessStopped => was != Was::Stopped && in_order,
        // Its last exit code decides; who stopped it does not.
        RestartPolicy::OnFailure { .. } => behaves == Behaves::Sleeps,
    };
    again && !matches!(was, Was::Created | Was::StoppedForGood)
}

fn a_volume(rig: &impl Rig) -> VolumeSpec {
    VolumeSpec { name: rig.name("data"), external: false, driver: None, driver_opts: BTreeMap::new() }
}

/// Containers by how they stood, and whether they are to run afterwards.
type Expected = BTreeMap<String, (ContainerId, bool)>;

async fn before_the_restart(rig: &impl Rig, in_order: bool) -> Expected {
    rig.engine().create_volume(&a_volume(rig), &rig.labels()).await.unwrap();
    let mut expected = Expected::new();
    for was in [Was::Created, Was::Running, Was::Stopped, Was::StoppedForGood, Was::Ended] {
        for policy in POLICIES {
            for behaves in [Behaves::Sleeps, Behaves::EndsWell] {
                let part = format!("{was:?}-{policy}-{behaves:?}").replace(':', "-");
                if was == Was::Ended && (behaves == Behaves::EndsWell || policy != RestartPolicy::No) {
                    continue;
                }
                let behaves = if was == Was::Ended { Behaves::Exits(3) } else { behaves };
                let id = rig.create(ContainerSpec { restart: policy, ..rig.spec(&part, behaves) }).await;
                if was != Was::Created {
                    rig.engine().start(&id).await.unwrap();
                }
                if was == Was::StoppedForGood {
                    rig.engine().set_restart_policy(&id, RestartPolicy::No).await.unwrap();
                }
                if matches!(was, Was::Stopped | Was::StoppedForGood) {
                    rig.engine().stop(&id, GRACE).await.unwrap();
                }
                if was == Was::Ended {
                    rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
                }
                expected.insert(part, (id, is_started(was, policy, behaves, in_order)));
            }
        }
    }
    expected
}

async fn after_the_restart(rig: &impl Rig, expected: Expected) {
    // Docker 20.10 forgets its labels in the answer to this, and nowhere else.
    let again = rig.engine().create_volume(&a_volume(rig), &rig.labels()).await.unwrap();
    assert_eq!(again.labels, rig.labels(), "whose volume it is");
    let differing = async || {
        let mut differing = BTreeMap::new();
        for (part, (id, is_to_run)) in &expected {
            let state = rig.state(id).await;
            if (state == RunState::Running) != *is_to_run {
                differing.insert(part.clone(), state);
            }
        }
        differing
    };
    let settled = eventually(async || differing().await.is_empty().then_some(()));
    if tokio::time::timeout(Duration::from_secs(40), settled).await.is_err() {
        assert_eq!(differing().await, BTreeMap::new());
    }
    for (part, (id, _)) in &expected {
        let seen = rig.owned(id).await;
        assert_eq!(seen.restarts, 0, "{part}: the engine's own start is none by policy");
        if part.starts_with("Created") {
            assert_eq!((seen.state, seen.started_at), (RunState::Created, None), "{part}");
        }
    }
}

async fn simulated(in_order: bool) {
    let rig = Simulated::new("restarts");
    let expected = before_the_restart(&rig, in_order).await;
    rig.restart(in_order);
    after_the_restart(&rig, expected).await;
}

fn real(scenario: &str, in_order: bool) {
    let images = [Behaves::Sleeps, Behaves::EndsWell, Behaves::Exits(3)];
    let Some(rig) = Real::private(scenario, &images) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let expected = runtime.block_on(before_the_restart(&rig, in_order));
    rig.restart(in_order);
    runtime.block_on(after_the_restart(&rig, expected));
}

#[tokio::test(start_paused = true)]
async fn sim_every_policy_over_a_restart_of_the_engine() {
    simulated(true).await;
}

#[test]
fn docker_every_policy_over_a_restart_of_the_engine() {
    real("restarts", true);
}

#[tokio::test(start_paused = true)]
async fn sim_every_policy_over_a_death_of_the_engine() {
    simulated(false).await;
}

#[test]
fn docker_every_policy_over_a_death_of_the_engine() {
    real("deaths", false);
}
