//! What is done from outside: to manifests, to the engine, to the daemon.

use std::sync::atomic::Ordering;
use std::time::Duration;

use env_manager::engine::sim::{ContainerView, FaultKind, Faults, Outside, Program, RegistryAnswer, SimEngine};
use env_manager::resource::limits::{Limits, MemoryLimit};
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{Protocol, RestartPolicy};
use env_manager::resource::units::Bytes;

use crate::checks::service_of;
use crate::foreign;
use crate::history::{Life, lock};
use crate::model::{Image, NETWORKS, PORTS};
use crate::random::Random;

/// One kind of interference each; the report counts them, and none may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    Edit,
    // The engine, by others.
    Die,
    Oom,
    Kill,
    Stop,
    Start,
    Remove,
    Rename,
    Pause,
    Unpause,
    ChangeMemory,
    ChangePolicy,
    Disconnect,
    Connect,
    FlipHealth,
    Foreign,
    ForeignGoes,
    ForeignNetwork,
    RemoveNetwork,
    RemoveVolume,
    Retag,
    Untag,
    PruneContainers,
    PruneSystem,
    TakePort,
    FreePort,
    // The engine itself.
    Down,
    Freeze,
    LoseEvents,
    Faults,
    Registry,
    // The daemon.
    KillNow,
    KillAtACall,
    Restart,
    ClockStep,
    AskSync,
    AskPrune,
    AskRetry,
    AskRestart,
    AskSuspend,
    AskResume,
}

/// Of the daemon.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    Sync,
    SyncAndPrune,
    Retry,
    Restart,
    Suspend,
    Resume,
}

impl Act {
    /// With how often each is drawn.
    pub const ALL: &'static [(u64, Self)] = &[
        (40, Self::Edit),
        (5, Self::Die),
        (2, Self::Oom),
        (3, Self::Kill),
        (4, Self::Stop),
        (2, Self::Start),
        (5, Self::Remove),
        (4, Self::Rename),
        (3, Self::Pause),
        (4, Self::Unpause),
        (3, Self::ChangeMemory),
        (2, Self::ChangePolicy),
        (3, Self::Disconnect),
        (2, Self::Connect),
        (4, Self::FlipHealth),
        (5, Self::Foreign),
        (5, Self::ForeignGoes),
        (1, Self::ForeignNetwork),
        (3, Self::RemoveNetwork),
        (1, Self::RemoveVolume),
        (3, Self::Retag),
        (2, Self::Untag),
        (3, Self::PruneContainers),
        (2, Self::PruneSystem),
        (2, Self::TakePort),
        (3, Self::FreePort),
        (3, Self::Down),
        (2, Self::Freeze),
        (3, Self::LoseEvents),
        (6, Self::Faults),
        (4, Self::Registry),
        (4, Self::KillNow),
        (8, Self::KillAtACall),
        (2, Self::Restart),
        (2, Self::ClockStep),
        (2, Self::AskSync),
        (2, Self::AskPrune),
        (3, Self::AskRetry),
        (3, Self::AskRestart),
        (2, Self::AskSuspend),
        (3, Self::AskResume),
    ];

    pub fn draw(random: &mut Random) -> Self {
        random.weighed(Self::ALL).unwrap_or(Self::Edit)
    }
}

/// What is behind each image.
pub fn program(image: Image) -> Program {
    let seconds = Duration::from_secs;
    match image {
        Image::Good(n) => {
            let base = Program::ready_after(Duration::from_millis(300 * u64::from(n)));
            // One of them has a volume without a name.
            let volumes = (n == 3).then(|| "/cache".to_owned()).into_iter().collect();
            Program { build: u64::from(n), volumes, ..base }
        }
        Image::Slow => Program::ready_after(seconds(15)),
        Image::Bad => Program::never_ready(),
        Image::Crash => Program::exits(seconds(2), 3),
        Image::Frail => Program { exits_after: Some((seconds(95), 1)), ..Program::ready_after(seconds(1)) },
        Image::Missing => Program { build: 99, ..Program::default() },
        Image::Job(n) => Program { build: u64::from(n), ..Program::exits(seconds(3), 0) },
        Image::FailingJob => Program { build: 7, ..Program::exits(seconds(3), 1) },
    }
}

/// Some are on the engine from the begin, all but one in the registry.
pub fn install(engine: &SimEngine, random: &mut Random) {
    for image in Image::ALL {
        if *image == Image::Missing {
            continue;
        }
        let reference = image.reference();
        engine.set_registry(&reference, RegistryAnswer::Image(Box::new(program(*image))));
        if random.one_in(2) {
            engine.add_image(&reference, program(*image));
        }
    }
    engine.add_image("sim/foreign:1", Program { build: 1000, ..Program::default() });
    engine.set_faults(faults(random));
}

/// None at all, a few that are frequent, or all that are rare.
fn faults(random: &mut Random) -> Faults {
    match random.range(0, 10) {
        0..3 => Faults::quiet(),
        3..5 => Faults::all(u16::try_from(random.range(2, 15)).unwrap_or(5)),
        _ => {
            let mut faults = Faults::quiet();
            for _ in 0..random.range(1, 5) {
                let kind = FaultKind::ALL[random.index(FaultKind::ALL.len())];
                faults = faults.with(kind, u16::try_from(random.range(20, 250)).unwrap_or(50));
            }
            faults
        }
    }
}

/// Nothing is away or withheld any more.
pub fn calm(life: &mut Life) {
    life.outside(Outside::EngineUp);
    life.outside(Outside::EngineThaws);
    for image in Image::ALL.iter().filter(|image| **image != Image::Missing) {
        let now = life.tags.get(&image.reference()).copied().unwrap_or(*image);
        life.engine.set_registry(&image.reference(), RegistryAnswer::Image(Box::new(program(now))));
    }
    for port in PORTS {
        life.outside(Outside::FreePort { port: *port, protocol: Protocol::Tcp });
    }
}

/// Does it, and says what; `None`: there was nothing to do it to.
pub async fn perform(life: &mut Life, act: Act) -> Option<String> {
    match act {
        Act::Edit => life.edit(),
        Act::KillNow => {
            if !life.is_running() {
                return None;
            }
            life.kill().await;
            Some(String::new())
        }
        Act::KillAtACall => {
            if !life.is_running() {
                return None;
            }
            let effects = life.random.range(0, 6);
            life.light(effects);
            Some(format!("the daemon is to die at the call of ours after {effects} more"))
        }
        Act::Restart => {
            if !life.is_running() {
                return None;
            }
            life.stop().await;
            Some(String::new())
        }
        Act::ClockStep => {
            let step = i64::try_from(life.random.range(0, 7_200_000)).unwrap_or_default() - 3_600_000;
            life.clock.ahead.fetch_add(step, Ordering::Relaxed);
            life.clock.was_set.store(true, Ordering::Relaxed);
            Some(format!("the system's clock is set by {step} ms"))
        }
        Act::AskSync => life.ask(Ask::Sync),
        Act::AskPrune => life.ask(Ask::SyncAndPrune),
        Act::AskRetry => life.ask(Ask::Retry),
        Act::AskRestart => life.ask(Ask::Restart),
        Act::AskSuspend => life.ask(Ask::Suspend),
        Act::AskResume => life.ask(Ask::Resume),
        Act::Faults => {
            let faults = faults(&mut life.random);
            let what = format!("{faults:?}");
            life.engine.set_faults(faults);
            Some(what)
        }
        Act::Registry => {
            let image = Image::ALL[life.random.index(Image::ALL.len())];
            if image == Image::Missing {
                return None;
            }
            let now = life.tags.get(&image.reference()).copied().unwrap_or(image);
            let answer = match life.random.range(0, 5) {
                0 => RegistryAnswer::NotFound,
                1 => RegistryAnswer::Denied,
                2 => RegistryAnswer::Throttled,
                3 => RegistryAnswer::Down,
                _ => RegistryAnswer::Image(Box::new(program(now))),
            };
            let word = match &answer {
                RegistryAnswer::Image(_) => "has it".to_owned(),
                other => format!("{other:?}"),
            };
            life.engine.set_registry(&image.reference(), answer);
            Some(format!("registry, {}: {word}", image.reference()))
        }
        act => {
            let outside = outside(life, act)?;
            let what = format!("{outside:?}");
            let before = life.engine.world();
            let refused = life.engine.act(outside);
            // A prune tells of nothing that it removes.
            let after = life.engine.world();
            for gone in before.containers.values().filter(|c| !after.containers.contains_key(&c.id)) {
                lock(&life.checks).was_taken(life.now(), gone);
            }
            Some(format!("{what}{}", refused.map(|r| format!(" - refused: {r}")).unwrap_or_default()))
        }
    }
}

/// Somebody does it to a container, mostly to one of ours.
fn to_any(life: &mut Life, which: impl Fn(&ContainerView) -> bool) -> Option<ContainerView> {
    let theirs = if life.random.one_in(5) { foreign::pick(life, &which) } else { None };
    theirs.or_else(|| to_ours(life, which))
}

/// Somebody does it to a container of ours.
fn to_ours(life: &mut Life, which: impl Fn(&ContainerView) -> bool) -> Option<ContainerView> {
    let world = life.engine.world();
    let ours: Vec<_> = world.containers.values().filter(|c| service_of(c).is_some() && which(c)).collect();
    life.random.pick(&ours).map(|c| (*c).clone())
}

fn outside(life: &mut Life, act: Act) -> Option<Outside> {
    let runs = |c: &ContainerView| c.state == RunState::Running;
    let any = |_: &ContainerView| true;
    let id = |c: ContainerView| c.id.0.to_string();
    Some(match act {
        Act::Die => {
            let code = i64::from(!life.random.one_in(4));
            Outside::Die { container: id(to_any(life, runs)?), code }
        }
        Act::Oom => Outside::Oom { container: id(to_any(life, runs)?) },
        Act::Kill => Outside::Kill { container: id(to_any(life, runs)?) },
        Act::Stop => Outside::Stop { container: id(to_any(life, runs)?) },
        Act::Start => Outside::Start { container: id(to_any(life, |c| c.state == RunState::Exited)?) },
        Act::Remove => Outside::Remove { container: id(to_ours(life, any)?) },
        Act::Rename => {
            let container = to_any(life, any)?;
            let names = [format!("{}-moved", container.name), format!("x{}", life.random.range(0, 9))];
            Outside::Rename { container: id(container), name: life.random.pick(&names)?.clone() }
        }
        Act::Pause => Outside::Pause { container: id(to_any(life, runs)?) },
        Act::Unpause => Outside::Unpause { container: id(to_any(life, |c| c.state == RunState::Paused)?) },
        Act::ChangeMemory => {
            let memory = MemoryLimit { memory: Bytes(life.random.range(10, 200) << 20), swap: None };
            let limits = Limits { memory: Some(memory), ..Limits::default() };
            Outside::UpdateLimits { container: id(to_ours(life, runs)?), limits }
        }
        Act::ChangePolicy => {
            let policies = [RestartPolicy::No, RestartPolicy::Always, RestartPolicy::OnFailure { max_retries: 1 }];
            let policy = *life.random.pick(&policies)?;
            Outside::UpdatePolicy { container: id(to_any(life, any)?), policy }
        }
        Act::Disconnect => {
            let container = to_ours(life, |c| runs(c) && !c.networks.is_empty())?;
            let networks: Vec<_> = container.networks.keys().cloned().collect();
            Outside::Disconnect { network: life.random.pick(&networks)?.clone(), container: id(container) }
        }
        Act::Connect => {
            let networks: Vec<_> = life.engine.world().networks.values().map(|n| n.name.clone()).collect();
            let network = life.random.pick(&networks)?.clone();
            Outside::Connect { container: id(to_ours(life, runs)?), network }
        }
        Act::FlipHealth => Outside::FlipHealth { container: id(to_any(life, runs)?) },
        Act::Foreign => Outside::CreateForeign(foreign::draw(life)?),
        Act::ForeignGoes => Outside::Remove { container: id(foreign::pick(life, any)?) },
        Act::ForeignNetwork => {
            let names = [NETWORKS[1], NETWORKS[2], foreign::NETWORK];
            Outside::CreateNetwork { name: (*life.random.pick(&names)?).to_owned() }
        }
        Act::RemoveNetwork => {
            let world = life.engine.world();
            let networks: Vec<_> = world.networks.values().filter(|n| !n.labels.is_empty()).collect();
            let network = life.random.pick(&networks)?;
            // As somebody does who means it: with `-f` on who is attached.
            for container in world.containers.values().filter(|c| c.networks.values().any(|n| *n == network.id)) {
                let container = container.id.0.to_string();
                life.engine.act(Outside::Disconnect { container, network: network.name.clone() });
            }
            Outside::RemoveNetwork { network: network.id.0.to_string() }
        }
        Act::RemoveVolume => {
            let volumes: Vec<_> = life.engine.world().volumes.into_keys().collect();
            Outside::RemoveVolume { name: life.random.pick(&volumes)?.clone() }
        }
        Act::Retag => {
            // Somebody builds something else under the same tag: mostly something that works.
            let n = u8::try_from(life.random.range(1, 4)).unwrap_or(1);
            let now = if life.random.one_in(5) { Image::Bad } else { Image::Good(1 + n % 3) };
            let reference = Image::Good(n).reference();
            life.tags.insert(reference.clone(), now);
            let program = Program { build: life.random.range(100, 200), ..program(now) };
            Outside::Retag { reference, program }
        }
        Act::Untag => Outside::Untag { reference: Image::ALL[life.random.index(Image::ALL.len())].reference() },
        Act::PruneContainers => Outside::PruneContainers,
        Act::PruneSystem => Outside::PruneSystem,
        Act::TakePort => Outside::TakePort { port: *life.random.pick(PORTS)?, protocol: Protocol::Tcp },
        Act::FreePort => Outside::FreePort { port: *life.random.pick(PORTS)?, protocol: Protocol::Tcp },
        Act::Down => {
            if life.engine.world().up {
                Outside::EngineDown
            } else {
                Outside::EngineUp
            }
        }
        Act::Freeze => {
            life.frozen = !life.frozen;
            if life.frozen { Outside::EngineFreezes } else { Outside::EngineThaws }
        }
        Act::LoseEvents => Outside::LoseEventStreams,
        _ => return None,
    })
}
