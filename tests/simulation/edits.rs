//! What somebody does to the manifests.

use crate::model::{Adopt, Break, NETWORKS, PORTS, Probes, Restart, Service, Stack, Strategy, image, progress};
use crate::random::Random;

/// What somebody does to the manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    Image,
    Env,
    File,
    Memory,
    RestartPolicy,
    Probes,
    Port,
    Volume,
    Networks,
    Needs,
    ContainerName,
    Adopt,
    Rollback,
    Deadline,
    Strategy,
    Stop,
    Suspend,
    Add,
    Remove,
    /// Removed although others need it.
    RemoveNeeded,
    Rename,
    Break,
    BreakStack,
    Repair,
    Empty,
    Missing,
    Restore,
    NetworkOptions,
}

impl Edit {
    /// With how often each is drawn.
    pub const ALL: &'static [(u64, Self)] = &[
        (14, Self::Image),
        (6, Self::Env),
        (3, Self::File),
        (3, Self::Memory),
        (3, Self::RestartPolicy),
        (2, Self::Probes),
        (3, Self::Port),
        (2, Self::Volume),
        (3, Self::Networks),
        (3, Self::Needs),
        (3, Self::ContainerName),
        (4, Self::Adopt),
        (2, Self::Rollback),
        (2, Self::Deadline),
        (2, Self::Strategy),
        (4, Self::Stop),
        (4, Self::Suspend),
        (5, Self::Add),
        (5, Self::Remove),
        (1, Self::RemoveNeeded),
        (3, Self::Rename),
        (6, Self::Break),
        (1, Self::BreakStack),
        (7, Self::Repair),
        (2, Self::Empty),
        (2, Self::Missing),
        (6, Self::Restore),
        (2, Self::NetworkOptions),
    ];

    /// Changes the stack, and says what was changed; `None`: there was nothing to change.
    #[expect(clippy::too_many_lines, reason = "a table of what can be edited")]
    pub fn apply(self, stack: &mut Stack, random: &mut Random) -> Option<String> {
        let names: Vec<String> = stack.services.keys().cloned().collect();
        let name = random.pick(&names).cloned();
        let taken: Vec<_> = stack.services.values().filter_map(|s| s.port).collect();
        let mut of = |f: &mut dyn FnMut(&mut Service, &mut Random) -> String| {
            let service = stack.services.get_mut(name.as_deref()?)?;
            let what = f(service, random);
            Some(format!("{}: {what}", service.name))
        };
        match self {
            Self::Image => of(&mut |s, random| {
                s.image = image(random, s.is_one_shot(), 4);
                format!("image {}", s.image.reference())
            }),
            Self::Env => of(&mut |s, random| {
                // Back to an earlier one, too: what runs may be as it should be again.
                s.env = random.range(1, 5);
                format!("env {}", s.env)
            }),
            Self::File => of(&mut |s, random| {
                s.file = (!random.one_in(5)).then(|| random.range(1, 5));
                format!("file {:?}", s.file)
            }),
            Self::Memory => of(&mut |s, random| {
                s.memory = (!random.one_in(5)).then(|| 32 * random.range(1, 5));
                format!("memory {:?}", s.memory)
            }),
            Self::RestartPolicy => of(&mut |s, _| {
                s.restart = match s.restart {
                    Restart::No => Restart::OnFailure,
                    Restart::OnFailure => Restart::No,
                    Restart::Always => Restart::UnlessStopped,
                    Restart::UnlessStopped => Restart::Managed,
                    Restart::Managed => Restart::Always,
                };
                format!("restart {:?}", s.restart)
            }),
            Self::Probes => of(&mut |s, random| {
                if !s.is_one_shot() {
                    s.probes =
                        Probes { startup: random.one_in(2), readiness: !random.one_in(4), liveness: random.one_in(2) };
                }
                format!("{:?}", s.probes)
            }),
            Self::Port => of(&mut |s, random| {
                // Now and then one that another has: an error.
                let free: Vec<_> = PORTS.iter().copied().filter(|p| !taken.contains(p) || random.one_in(20)).collect();
                s.port = if s.port.is_some() && random.one_in(2) { None } else { random.pick(&free).copied() };
                format!("port {:?}", s.port)
            }),
            Self::Volume => of(&mut |s, random| {
                s.volume =
                    (!random.one_in(3)).then(|| format!("{}-data", if random.one_in(2) { "shared" } else { &s.name }));
                format!("volume {:?}", s.volume)
            }),
            Self::Networks => of(&mut |s, random| {
                let network = NETWORKS[random.index(NETWORKS.len())];
                if !s.networks.remove(network) {
                    s.networks.insert(network.to_owned());
                }
                format!("networks {:?}", s.networks)
            }),
            Self::Needs => {
                let name = name?;
                let service = stack.services.get_mut(&name)?;
                let first = service.needs.keys().next().cloned();
                match first.filter(|_| random.one_in(2)) {
                    Some(first) => drop(service.needs.remove(&first)),
                    None => stack.need(random, &name),
                }
                Some(format!("{name}: needs {:?}", stack.services.get(&name)?.needs))
            }
            Self::ContainerName => of(&mut |s, random| {
                s.container_name = match random.range(0, 3) {
                    0 => None,
                    1 => Some(format!("the-{}", s.name)),
                    _ => Some(format!("my-{}", s.name)),
                };
                format!("container {}", s.container())
            }),
            Self::Adopt => of(&mut |s, random| {
                s.adopt = random.weighed(Adopt::ALL).unwrap_or(Adopt::Never);
                format!("adopt {:?}", s.adopt)
            }),
            Self::Rollback => of(&mut |s, _| {
                s.rollback = !s.rollback;
                format!("rollback {}", s.rollback)
            }),
            Self::Deadline => of(&mut |s, random| {
                s.progress = progress(random);
                format!("progress deadline {} s", s.progress)
            }),
            Self::Strategy => of(&mut |s, random| {
                s.strategy = random.weighed(Strategy::ALL).unwrap_or(Strategy::Auto);
                format!("strategy {:?}", s.strategy)
            }),
            Self::Stop => of(&mut |s, _| {
                s.stopped = !s.stopped;
                format!("stopped {}", s.stopped)
            }),
            Self::Suspend => of(&mut |s, _| {
                s.suspended = !s.suspended;
                format!("suspended {}", s.suspended)
            }),
            Self::Add => stack.add(random).map(|name| format!("{name}: added")),
            Self::Remove | Self::RemoveNeeded => {
                let name = name.filter(|_| names.len() > 1)?;
                stack.services.remove(&name);
                if self == Self::Remove {
                    stack.forget(&name);
                }
                Some(format!("{name}: removed"))
            }
            Self::Rename => {
                let from = name?;
                let free = stack.free_names();
                let to = (*random.pick(&free)?).to_owned();
                let mut service = stack.services.remove(&from)?;
                service.name.clone_from(&to);
                stack.services.insert(to.clone(), service);
                for other in stack.services.values_mut() {
                    if let Some(condition) = other.needs.remove(&from) {
                        other.needs.insert(to.clone(), condition);
                    }
                }
                Some(format!("{from}: renamed to {to}"))
            }
            Self::Break => of(&mut |s, random| {
                s.broken = random.pick(Break::ALL).copied();
                format!("broken {:?}", s.broken)
            }),
            Self::BreakStack => {
                stack.broken = true;
                Some("the Stack document is broken".to_owned())
            }
            Self::Repair => {
                let was = stack.broken || stack.services.values().any(|s| s.broken.is_some());
                stack.repair();
                was.then(|| "everything is repaired".to_owned())
            }
            Self::Empty => {
                stack.empty = true;
                Some("the folder is empty".to_owned())
            }
            Self::Missing => {
                stack.missing = true;
                Some("the folder is away".to_owned())
            }
            Self::Restore => {
                let was = stack.empty || stack.missing;
                (stack.empty, stack.missing) = (false, false);
                was.then(|| "the folder is back".to_owned())
            }
            Self::NetworkOptions => {
                let network = NETWORKS[1 + random.index(NETWORKS.len() - 1)];
                let internal = !stack.networks.get(network).copied().unwrap_or(false);
                stack.networks.insert(network.to_owned(), internal);
                Some(format!("network {network}: internal {internal}"))
            }
        }
    }
}
