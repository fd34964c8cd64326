//! The limits that the engine changes in a container that is there, running or not.

use std::fmt;

use super::spec::Resources;
use super::units::{Bytes, NanoCpus};

/// What is to become of a container's limits; what is `None` stays as it is.
///
/// But for `pids` none of them can be taken away in place: to the engine 0 means unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory: Option<MemoryLimit>,
    pub memory_reservation: Option<Bytes>,
    pub cpus: Option<NanoCpus>,
    pub cpuset: Option<String>,
    pub cpu_shares: Option<u32>,
    /// 0: without limit.
    pub pids: Option<i64>,
}

/// Memory and swap, which the engine takes together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    pub memory: Bytes,
    /// Beside `memory`; `None`: as much again, as the engine does when it creates a container.
    pub swap: Option<Bytes>,
}

impl MemoryLimit {
    /// Docker's `MemorySwap`: memory and swap.
    pub fn sum(self) -> Bytes {
        Bytes(self.memory.0.saturating_add(self.swap.unwrap_or(self.memory).0))
    }
}

impl Limits {
    /// What turns `was` into `wanted`, as far as it can be done in place.
    pub fn between(was: &Resources, wanted: &Resources) -> Self {
        let Resources {
            memory,
            memory_reservation,
            swap,
            cpus,
            cpuset,
            cpu_shares,
            pids,
            shm_size: _, // only at creation, as those below
            oom_score_adj: _,
            gpus: _,
        } = wanted;
        let memory_differs = was.memory != *memory || (swap.is_some() && was.swap != *swap);
        Self {
            memory: memory.filter(|_| memory_differs).map(|memory| MemoryLimit { memory, swap: *swap }),
            memory_reservation: news(was.memory_reservation.as_ref(), memory_reservation.as_ref()),
            cpus: news(was.cpus.as_ref(), cpus.as_ref()),
            cpuset: news(was.cpuset.as_ref(), cpuset.as_ref()),
            cpu_shares: news(was.cpu_shares.as_ref(), cpu_shares.as_ref()),
            pids: (was.pids != *pids).then(|| pids.unwrap_or(0)),
        }
    }

    /// What the engine makes of it.
    pub fn apply(&self, to: &mut Resources) {
        let Self { memory, memory_reservation, cpus, cpuset, cpu_shares, pids } = self;
        if let Some(limit) = memory {
            to.memory = Some(limit.memory);
            to.swap = Some(limit.swap.unwrap_or(limit.memory));
        }
        to.memory_reservation = memory_reservation.or(to.memory_reservation);
        to.cpus = cpus.or(to.cpus);
        to.cpuset = cpuset.clone().or(to.cpuset.take());
        to.cpu_shares = cpu_shares.or(to.cpu_shares);
        if let Some(pids) = pids {
            to.pids = Some(*pids).filter(|n| *n > 0);
        }
    }

    /// Whether `is` is as this asks. Swap is looked at where it is asked for: not every kernel counts it.
    pub fn hold(&self, is: &Resources) -> bool {
        let mut wanted = is.clone();
        self.apply(&mut wanted);
        if self.memory.is_none_or(|limit| limit.swap.is_none()) {
            wanted.swap = is.swap;
        }
        wanted == *is
    }
}

fn news<T: Clone + PartialEq>(was: Option<&T>, wanted: Option<&T>) -> Option<T> {
    wanted.filter(|_| was != wanted).cloned()
}

/// `memory 64MiB with swap 16MiB, cpus 0.5, pids without limit`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, memory_reservation, cpus, cpuset, cpu_shares, pids } = self;
        let parts = [
            memory.map(|limit| match limit.swap {
                Some(swap) => format!("memory {} with swap {swap}", limit.memory),
                None => format!("memory {}", limit.memory),
            }),
            memory_reservation.map(|n| format!("memory reservation {n}")),
            cpus.map(|n| format!("cpus {n}")),
            cpuset.as_ref().map(|set| format!("cpuset {set}")),
            cpu_shares.map(|n| format!("cpu shares {n}")),
            pids.map(|n| if n > 0 { format!("pids {n}") } else { "pids without limit".to_owned() }),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Resources {
        Resources {
            memory: Some(Bytes(64 << 20)),
            memory_reservation: Some(Bytes(32 << 20)),
            swap: Some(Bytes(16 << 20)),
            cpus: Some(NanoCpus(500_000_000)),
            cpuset: Some("0".to_owned()),
            cpu_shares: Some(512),
            pids: Some(99),
            ..Resources::default()
        }
    }

    #[test]
    fn what_is_applied_holds_and_nothing_else_does() {
        let limits = Limits::between(&Resources::default(), &all());
        assert!(!limits.hold(&Resources::default()));
        let mut is = Resources::default();
        limits.apply(&mut is);
        assert_eq!(is, all());
        assert!(limits.hold(&is));
        assert_eq!(Limits::between(&is, &all()), Limits::default());
    }

    #[test]
    fn memory_and_swap_go_together_and_unasked_swap_is_as_much_again() {
        let mut other_swap = all();
        other_swap.swap = Some(Bytes(8 << 20));
        let limits = Limits::between(&all(), &other_swap);
        assert_eq!(limits.to_string(), "memory 64MiB with swap 8MiB");
        assert_eq!(limits.memory.unwrap().sum(), Bytes(72 << 20));
        let memory_alone = Resources { memory: Some(Bytes(32 << 20)), ..Resources::default() };
        let limits = Limits::between(&all(), &memory_alone);
        assert_eq!(limits.memory.unwrap().sum(), Bytes(64 << 20));
        // A kernel that does not count swap.
        assert!(Limits { pids: None, ..limits.clone() }.hold(&Resources { swap: None, ..memory_alone.clone() }));
        assert!(!limits.hold(&Resources { pids: Some(99), ..memory_alone }), "pids are to go");
    }

    #[test]
    fn pids_alone_are_taken_away_in_place() {
        let limits = Limits::between(&all(), &Resources::default());
        assert_eq!(limits, Limits { pids: Some(0), ..Limits::default() });
        assert_eq!(limits.to_string(), "pids without limit");
        let mut is = all();
        limits.apply(&mut is);
        assert_eq!(is, Resources { pids: None, ..all() });
    }
}
