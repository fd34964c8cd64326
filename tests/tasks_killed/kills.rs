//! Who is killed when, from a seed; and whether it was busy.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::life::{Life, until};
use crate::random::Random;
use crate::submit::Ledger;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Worker,
    Daemon,
    Redis,
}

/// Who is killed at the same time, and how often among these.
const CARDS: [(&[Kind], usize); 6] = [
    (&[Kind::Worker], 5),
    (&[Kind::Daemon], 3),
    (&[Kind::Redis], 3),
    (&[Kind::Redis, Kind::Daemon], 1),
    (&[Kind::Daemon, Kind::Worker], 1),
    (&[Kind::Redis, Kind::Worker], 1),
];

fn deck(random: &mut Random) -> Vec<&'static [Kind]> {
    let mut cards: Vec<_> = CARDS.iter().flat_map(|(card, times)| vec![*card; *times]).collect();
    for last in (1..cards.len()).rev() {
        cards.swap(last, random.index(last + 1));
    }
    cards
}

/// How often a victim is looked at until it is busy.
const LOOKS: usize = 2_000;

pub struct Kills<'a> {
    random: Random,
    ledger: &'a Ledger,
    /// Tasks that are submitted around one kill.
    around: u64,
    /// Of those that were busy.
    pub hits: BTreeMap<Kind, u64>,
    /// Of those that turned out not to have been.
    pub misses: u64,
}

impl<'a> Kills<'a> {
    pub fn new(seed: u64, ledger: &'a Ledger, around: u64) -> Self {
        Self { random: Random::new(seed), ledger, around, hits: BTreeMap::new(), misses: 0 }
    }

    pub fn all(&self) -> u64 {
        self.hits.values().sum()
    }

    /// Until so many have hit, of each kind one at least.
    pub async fn go_on(&mut self, life: &mut Life, number: u64) {
        let mut cards = Vec::new();
        while self.all() < number || self.hits.len() < 3 {
            let card = cards.pop().unwrap_or_else(|| {
                cards = deck(&mut self.random);
                cards.pop().expect("there are some")
            });
            self.play(life, card).await;
        }
    }

    async fn play(&mut self, life: &mut Life, card: &[Kind]) {
        let around = self.around * card.len() as u64;
        let taken = self.ledger.books().acknowledged.len() as u64;
        self.ledger.release(around);
        // The moment is chosen by how far submissions are: at this point some are under way, and some are to come.
        let point = taken + self.random.range(around / 10, around * 7 / 10);
        let ledger = self.ledger;
        until("tasks are taken", async || (ledger.books().acknowledged.len() as u64 >= point).then_some(())).await;
        let victim = self.random.index(life.workers.len());
        let after = self.random.one_in(3).then(|| self.random.millis(200, 3_000));

        let kills = |kind| card.contains(&kind);
        self.wait_until_busy(life, card, victim).await;
        let under_way = self.ledger.books().open.clone();
        for kind in card {
            match kind {
                Kind::Worker => life.kill_worker(victim),
                Kind::Daemon => life.kill_daemon(),
                Kind::Redis => life.redis.kill(),
            }
        }
        let broken = until("calls end", async || ledger.broken(&under_way)).await;
        if let Some(pause) = after {
            // Dead for a while: leases lapse, calls pile up.
            sleep(pause).await;
        }
        if kills(Kind::Redis) {
            life.start_redis().await;
        }
        let held = if kills(Kind::Worker) { life.held(victim).await } else { 0 };
        if kills(Kind::Daemon) {
            life.start_daemon().await;
        }
        if kills(Kind::Worker) {
            life.replace_worker(victim);
        }
        for kind in card {
            let was_busy = if *kind == Kind::Worker { held > 0 } else { broken > 0 };
            if was_busy {
                *self.hits.entry(*kind).or_default() += 1;
            } else {
                self.misses += 1;
            }
        }
    }

    /// The worker has a task, calls are under way, something has just been written: of those who are to be killed.
    async fn wait_until_busy(&self, life: &mut Life, card: &[Kind], victim: usize) {
        for _ in 0..LOOKS {
            let has_task = !card.contains(&Kind::Worker) || life.held(victim).await > 0;
            let before = life.written();
            sleep(Duration::from_millis(1)).await;
            let is_written = !card.contains(&Kind::Redis) || life.written() > before;
            let is_called = card == [Kind::Worker] || !self.ledger.books().open.is_empty();
            if has_task && is_written && is_called {
                return;
            }
            let books = self.ledger.books();
            let is_idle = books.acknowledged.len() as u64 >= books.released;
            drop(books);
            if is_idle {
                // All has been submitted by now.
                self.ledger.release(self.around / 10 + 1);
            }
        }
        // It is killed as it is, and counts as a miss.
    }
}
