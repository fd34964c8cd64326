//! The engine's state, and its agenda: whatever happens later is an entry there, so that everything
//! happens in one order, whoever waits for it and whoever does not any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::events::Events;
use super::faults::Dice;
use super::images::Image;
use super::networks::{Net, Vol};
use super::program::RegistryAnswer;
use super::refusal::Refusal;
use super::unit::Unit;
use super::world::{By, Call, Target};
use crate::backoff::Noise;
use crate::clock::{Clock, Timestamp};
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::image::ImageId;
use crate::resource::spec::Protocol;

type Effect = Box<dyn FnOnce(&mut Core) + Send>;
type Observer = Box<dyn FnMut(&Call<'_>) + Send>;

pub(super) struct Core {
    clock: Arc<dyn Clock>,
    /// The instant whose effects are being worked off, and the same on the engine's clock.
    pub at: Instant,
    pub now: Timestamp,
    agenda: BTreeMap<(Instant, u64), (By, Instant, Effect)>,
    entries: u64,
    /// Who does what is being done.
    pub by: By,
    /// When the call was begun that this is the effect of, or what was done from outside.
    pub begun: Instant,
    /// Answers calls.
    pub up: bool,
    /// Takes calls and does not answer them until it thaws.
    pub frozen: bool,
    pub stuck: VecDeque<Effect>,

    ids: Noise,
    pace: Noise,
    pub dice: Dice,
    observers: Vec<Observer>,
    pub events: Events,

    pub containers: BTreeMap<ContainerId, Unit>,
    pub networks: BTreeMap<NetworkId, Net>,
    pub volumes: BTreeMap<String, Vol>,
    pub images: BTreeMap<ImageId, Image>,
    pub tags: BTreeMap<String, ImageId>,
    pub registry: BTreeMap<String, RegistryAnswer>,
    /// Host ports that processes hold.
    pub held: BTreeSet<(u16, Protocol)>,
    /// Commands in containers, and when they end.
    pub execs: BTreeMap<String, (ContainerId, Instant)>,
    /// The next ephemeral host port.
    pub next_port: u16,
    /// The next address in any network.
    pub next_address: u32,
}

impl Core {
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Self {
        let mut seeds = Noise::new(seed);
        let mut core = Self {
            at: Instant::now(),
            now: clock.system(),
            clock,
            agenda: BTreeMap::new(),
            entries: 0,
            by: By::Engine,
            begun: Instant::now(),
            up: true,
            frozen: false,
            stuck: VecDeque::new(),
            ids: Noise::new(seeds.next_u64()),
            pace: Noise::new(seeds.next_u64()),
            dice: Dice::new(seeds.next_u64()),
            observers: Vec::new(),
            events: Events::default(),
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            registry: BTreeMap::new(),
            held: BTreeSet::new(),
            execs: BTreeMap::new(),
            next_port: 32_768,
            next_address: 0,
        };
        core.add_predefined_networks();
        core
    }

    /// 64 hexadecimal digits.
    pub fn new_id(&mut self) -> String {
        (0..4).fold(String::new(), |id, _| format!("{id}{:016x}", self.ids.next_u64()))
    }

    /// So many milliseconds, give or take a fifth.
    pub fn about(&mut self, ms: u64) -> Duration {
        Duration::from_millis(ms).mul_f64(0.8 + 0.4 * self.pace.unit())
    }

    pub fn coin(&mut self) -> bool {
        self.pace.next_u64().is_multiple_of(2)
    }

    // ---- what happens when ---------------------------------------------------------------------

    /// Works off all that is due.
    pub fn advance(&mut self) {
        let (present, system) = (Instant::now(), self.clock.system());
        while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= present) {
            let ((due, _), (by, begun, effect)) = entry.remove_entry();
            // One that was due before an earlier look does not turn back the clock.
            self.at = due.max(self.at);
            self.now = system.minus(present.saturating_duration_since(self.at));
            self.by = by;
            self.begun = begun;
            effect(self);
        }
        self.at = present;
        self.now = system;
        self.by = By::Engine;
        self.begun = present;
    }

    pub fn later(&mut self, delay: Duration, effect: impl FnOnce(&mut Core) + Send + 'static) {
        let by = self.by;
        self.later_by(by, delay, Box::new(effect));
    }

    pub fn later_by(&mut self, by: By, delay: Duration, effect: Effect) {
        self.entries += 1;
        self.agenda.insert((self.at + delay, self.entries), (by, self.begun, effect));
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.agenda.first_key_value().map(|((due, _), _)| *due)
    }

    /// Who waits for one of them learns that the engine is gone.
    pub fn forget_agenda(&mut self) {
        self.agenda.clear();
        self.stuck.clear();
    }

    // ---- who watches ---------------------------------------------------------------------------

    pub fn watch(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    /// Makes a change, and tells it to those who watch.
    pub fn change<T>(
        &mut self,
        operation: &'static str,
        target: Target,
        change: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.observers.is_empty() {
            return change(self);
        }
        let before = self.view(&target);
        let result = change(self);
        let refused = result.as_ref().err().map(|refusal| refusal.message.clone());
        self.tell(operation, target, before, refused);
        result
    }

    /// The same where what is made gets its id on the way.
    pub fn creation<T: Clone>(
        &mut self,
        operation: &'static str,
        target: impl FnOnce(Option<&T>) -> Target,
        change: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let result = change(self);
        let refused = result.as_ref().err().map(|refusal| refusal.message.clone());
        self.tell(operation, target(result.as_ref().ok()), None, refused);
        result
    }

    fn tell(
        &mut self,
        operation: &'static str,
        target: Target,
        before: Option<super::world::View>,
        refused: Option<String>,
    ) {
        let mut observers = std::mem::take(&mut self.observers);
        let after = self.view(&target);
        let begun = self.begun;
        let call = Call { by: self.by, begun, operation, target, at: self.now, before, after, refused, core: self };
        for observer in &mut observers {
            observer(&call);
        }
        self.observers = observers;
    }
}
