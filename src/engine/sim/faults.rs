//! What goes wrong, and how often.

use std::collections::BTreeMap;
use std::fmt;

use crate::backoff::Noise;

/// What can go wrong with a call, an event or a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A changing call is 500 and did nothing.
    FailBefore500,
    /// A changing call is 500 and took effect.
    FailAfter500,
    /// A changing call is never answered, and does nothing: the caller's deadline ends it.
    HangBefore,
    /// The same, and it took effect.
    HangAfter,
    /// A changing call is 409 though nobody is in its way any more a moment later.
    Conflict409,
    /// A changing call is 404 though what it is about is there.
    NotFound404,
    /// A reading call is 500.
    ReadFails,
    /// A reading call is never answered.
    ReadHangs,
    /// A call takes seconds.
    SlowCall,
    /// A removal fails half-way and leaves the container dead.
    RemovalFails,
    /// Somebody who listens is not told of an event.
    EventLost,
    EventDoubled,
    /// Told seconds later, and so after others.
    EventLate,
    /// Told a moment later, and so perhaps after others.
    EventReordered,
    /// An event stream breaks off.
    StreamCut,
    /// A pull finds no registry.
    RegistryDown,
    /// A registry asks to wait.
    RegistryThrottled,
    /// A pull breaks off in the middle.
    PullBreaksOff,
}

impl FaultKind {
    pub const ALL: [Self; 18] = [
        Self::FailBefore500,
        Self::FailAfter500,
        Self::HangBefore,
        Self::HangAfter,
        Self::Conflict409,
        Self::NotFound404,
        Self::ReadFails,
        Self::ReadHangs,
        Self::SlowCall,
        Self::RemovalFails,
        Self::EventLost,
        Self::EventDoubled,
        Self::EventLate,
        Self::EventReordered,
        Self::StreamCut,
        Self::RegistryDown,
        Self::RegistryThrottled,
        Self::PullBreaksOff,
    ];
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How often each goes wrong, in thousandths of the occasions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<FaultKind, u16>);

impl Faults {
    /// Nothing goes wrong.
    pub fn quiet() -> Self {
        Self::default()
    }

    /// Everything does, equally often.
    pub fn all(permille: u16) -> Self {
        Self(FaultKind::ALL.into_iter().map(|kind| (kind, permille)).collect())
    }

    #[must_use]
    pub fn with(mut self, kind: FaultKind, permille: u16) -> Self {
        self.0.insert(kind, permille);
        self
    }

    pub fn of(&self, kind: FaultKind) -> u16 {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

/// Decides what goes wrong, and counts it. While nothing can, nothing is drawn.
#[derive(Debug)]
pub(super) struct Dice {
    pub faults: Faults,
    pub counts: BTreeMap<FaultKind, u64>,
    noise: Noise,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self {
            faults: Faults::quiet(),
            counts: FaultKind::ALL.into_iter().map(|kind| (kind, 0)).collect(),
            noise: Noise::new(seed),
        }
    }

    pub fn roll(&mut self, kind: FaultKind) -> bool {
        let permille = u64::from(self.faults.of(kind));
        let hit = permille > 0 && self.noise.next_u64() % 1000 < permille;
        if hit {
            *self.counts.entry(kind).or_default() += 1;
        }
        hit
    }

    /// The first of them that goes wrong.
    pub fn first(&mut self, kinds: &[FaultKind]) -> Option<FaultKind> {
        kinds.iter().copied().find(|kind| self.roll(*kind))
    }

    /// Milliseconds, uniform.
    pub fn between(&mut self, from: u64, to: u64) -> std::time::Duration {
        std::time::Duration::from_millis(from + self.noise.next_u64() % (to - from + 1))
    }
}
