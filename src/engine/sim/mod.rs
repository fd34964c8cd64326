//! A simulated engine, for tests and benchmarks: Docker's semantics as far as the planner, the executor
//! and the controller rely on them, on virtual time, from a seed.
//!
//! | file | what |
//! |---|---|
//! | [`program`] | what is inside images, and what registries answer |
//! | [`faults`] | what goes wrong, and how often |
//! | [`outside`] | what others do to the engine |
//! | [`world`] | what there is, and who is told of changes |
//! | `core` | the state, and the agenda of what happens later |
//! | `life`, `deeds`, `unit`, `create` | containers: what becomes of them, what is done to them, what they are |
//! | `networks`, `images`, `events`, `output` | the rest |
//! | `call`, `adapter` | `impl Engine`: the way of a call, and each of them |
//! | `refusal` | what the engine says when it refuses |
//!
//! **It speaks Docker's language**: what it answers to an inspect and how it words a refusal goes through
//! the code that translates a real engine's answers, so that kinds of errors and observed specs are the
//! same by construction. `tests/conformance` runs the same scenarios on it and on a real one; where the
//! two differ, the real one is right.
//!
//! **It is deterministic**: ordered maps, seeded noise, tokio's clock, and one agenda in whose order
//! everything happens. A call's effect is an entry there, so that it comes about whether or not the
//! caller still waits. Nothing is spawned: who waits for anything works the agenda off.

mod adapter;
mod call;
mod core;
mod create;
mod deeds;
mod events;
pub mod faults;
mod images;
mod life;
mod networks;
mod output;
pub mod outside;
pub mod program;
mod refusal;
#[cfg(test)]
mod tests;
mod unit;
pub mod world;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::faults::{FaultKind, Faults};
pub use self::outside::{Foreigner, Outside};
pub use self::program::{Program, RegistryAnswer};
pub use self::world::{By, Call, ContainerView, Target, View, Waiting, World};

use self::core::Core;
use super::docker::call::Deadlines;
use crate::clock::{Clock, Timestamp};
use crate::resource::image::ImageId;

/// Tokio's clock, from a fixed date on.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock(Instant);

impl VirtualClock {
    #[allow(clippy::new_without_default, reason = "when it begins matters")]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).plus(self.0.elapsed())
    }
}

/// The simulated engine. Clones share everything.
#[derive(Clone)]
pub struct SimEngine(Arc<Shared>);

struct Shared {
    core: Mutex<Core>,
    /// Something happened, or will happen earlier than those who wait believe.
    changed: Notify,
    deadlines: Deadlines,
    seed: u64,
    /// Who follows calls, and how many there were.
    followers: Mutex<(u64, Vec<Follower>)>,
}

type Follower = Box<dyn FnMut(&Waiting) + Send>;

impl SimEngine {
    /// `clock`: [`Clock::system`] is the clock of the engine's host.
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            core: Mutex::new(Core::new(seed, clock)),
            changed: Notify::new(),
            deadlines: Deadlines::default(),
            seed,
            followers: Mutex::default(),
        }))
    }

    /// Puts an image on the engine; a tag that is there moves.
    pub fn add_image(&self, reference: &str, program: Program) -> ImageId {
        self.with(|core| core.tag(reference, program, "tag"))
    }

    /// What the registry answers from now on.
    pub fn set_registry(&self, reference: &str, answer: RegistryAnswer) {
        self.with(|core| core.registry.insert(program::canonical(reference), answer));
    }

    /// From now on. Counts go on.
    pub fn set_faults(&self, faults: Faults) {
        self.with(|core| core.dice.faults = faults);
    }

    /// How often each fault was injected so far.
    pub fn counts(&self) -> BTreeMap<FaultKind, u64> {
        self.with(|core| core.dice.counts.clone())
    }

    /// Told of each change at the moment of its effect: of refused ones too. The engine must not be
    /// called from within.
    pub fn watch(&self, observer: impl FnMut(&Call<'_>) + Send + 'static) {
        self.with(|core| core.watch(Box::new(observer)));
    }

    /// Told of each changing call when it is begun, and when nobody waits for it any more. The engine must
    /// not be called from within.
    pub fn follow(&self, follower: impl FnMut(&Waiting) + Send + 'static) {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner).1.push(Box::new(follower));
    }

    /// Everything as it is now.
    pub fn world(&self) -> World {
        self.with(|core| core.world())
    }

    /// Works off what is due by now, as every call does.
    pub fn tick(&self) {
        self.with(|_| ());
    }

    /// Brings the state up to now, and wakes those who wait for a change.
    fn with<T>(&self, f: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        core.advance();
        let result = f(&mut core);
        drop(core);
        self.tell_changed();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_changed(&self) {
        self.0.changed.notify_waiters();
    }

    /// Notices every change from the moment of this call on.
    fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.0.changed.notified()
    }

    fn address(&self) -> String {
        format!("sim://{}", self.0.seed)
    }
}
