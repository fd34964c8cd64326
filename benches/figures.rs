//! The task queue's figures: JSON lines as they come, and the tables at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::docker::Result;
use crate::frame::{self, Lines};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delay {
    Completed,
    SyncedCompleted,
    SyncedSeen,
    BareCompleted,
    BareSeen,
    Submitted,
    SyncedSubmitted,
    BareSubmitted,
    Health,
    Environment,
    Fsync,
}

impl Delay {
    fn name(self) -> &'static str {
        match self {
            Self::Completed => "env-manager: submit → submitter told",
            Self::SyncedCompleted => "files, fsync: submit → result there",
            Self::SyncedSeen => "files, fsync: submit → submitter sees it",
            Self::BareCompleted => "files, no fsync: submit → result there",
            Self::BareSeen => "files, no fsync: submit → submitter sees it",
            Self::Submitted => "env-manager: SubmitTask",
            Self::SyncedSubmitted => "files, fsync: one task written",
            Self::BareSubmitted => "files, no fsync: one task written",
            Self::Health => "env-manager: Health of the queue",
            Self::Environment => "env-manager: grpc.health.v1, environment",
            Self::Fsync => "the disk: fsync of 4 KiB more of a file",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    Batches,
    BatchesAtOnce,
    SinglesAtOnce,
    Synced,
    SyncedAtOnce,
    SyncedInPlace,
    SyncedInPlaceAtOnce,
    Bare,
    Worked,
}

impl Rate {
    fn name(self) -> &'static str {
        match self {
            Self::Batches => "env-manager: SubmitTasks, 200 a call",
            Self::BatchesAtOnce => "env-manager: the same, 4 callers",
            Self::SinglesAtOnce => "env-manager: SubmitTask, 64 callers",
            Self::Synced => "files, fsync: 1 writer",
            Self::SyncedAtOnce => "files, fsync: 16 writers",
            Self::SyncedInPlace => "files, fsync, in place: 1 writer",
            Self::SyncedInPlaceAtOnce => "files, fsync, in place: 16 writers",
            Self::Bare => "files, no fsync: 1 writer",
            Self::Worked => "env-manager: leased and completed",
        }
    }
}

/// How many times better the first has to be.
const AIM: f64 = 10.0;

pub struct Figures {
    pub lines: Lines,
    /// Milliseconds of every try, by round.
    delays: BTreeMap<Delay, Vec<Vec<f64>>>,
    /// Tasks a second, of each round.
    rates: BTreeMap<Rate, Vec<f64>>,
}

impl Figures {
    pub fn new(lines: Lines) -> Self {
        Self { lines, delays: BTreeMap::new(), rates: BTreeMap::new() }
    }

    pub fn delays(&mut self, round: usize, delay: Delay, tries: Vec<f64>) -> Result<()> {
        let at = |percent| frame::percentile(&tries, percent).map(|ms| (ms * 1000.0).round() / 1000.0);
        self.lines.add(&json!({
            "round": round, "delay": delay.name(), "tries": tries.len(),
            "p50_ms": at(50), "p99_ms": at(99), "least_ms": at(0), "most_ms": at(100), "load": frame::load(),
        }))?;
        self.delays.entry(delay).or_default().push(tries);
        Ok(())
    }

    pub fn rate(&mut self, round: usize, rate: Rate, tasks: usize, took: Duration) -> Result<()> {
        #[expect(clippy::cast_precision_loss, reason = "some thousand tasks")]
        let per_second = tasks as f64 / took.as_secs_f64();
        self.lines.add(&json!({
            "round": round, "throughput": rate.name(), "tasks": tasks, "took_ms": frame::round_1(took.as_secs_f64() * 1000.0),
            "per_second": frame::round_1(per_second), "load": frame::load(),
        }))?;
        self.rates.entry(rate).or_default().push(per_second);
        Ok(())
    }

    fn p50s(&self, delay: Delay) -> Vec<f64> {
        let rounds = self.delays.get(&delay).into_iter().flatten();
        rounds.filter_map(|tries| frame::percentile(tries, 50)).collect()
    }

    fn p50(&self, delay: Delay) -> Option<f64> {
        frame::percentile(&self.p50s(delay), 50)
    }

    fn per_second(&self, rate: Rate) -> Option<f64> {
        frame::percentile(self.rates.get(&rate)?, 50)
    }

    /// Whether an aim was missed does not change the exit code: a slow machine is not an error.
    pub fn print(&mut self) -> Result<()> {
        if !self.delays.is_empty() {
            println!("\n{:<46} {:>9} {:>21} {:>9} {:>6}", "delay", "p50", "of the rounds", "p99", "tries");
        }
        for (delay, rounds) in &self.delays {
            let (p50s, all) = (self.p50s(*delay), rounds.concat());
            let [p50, least, most] = [50, 0, 100].map(|percent| ms(frame::percentile(&p50s, percent)));
            let p99 = ms(frame::percentile(&all, 99));
            println!("  {:<44} {p50:>9} {least:>9} – {most:>9} {p99:>9} {:>6}", delay.name(), all.len());
        }
        if !self.rates.is_empty() {
            println!("\n{:<46} {:>9} {:>21}", "tasks a second", "median", "of the rounds");
        }
        for (rate, values) in &self.rates {
            let [median, least, most] = [50, 0, 100].map(|percent| number(frame::percentile(values, percent)));
            println!("  {:<44} {median:>9} {least:>9} – {most:>9}", rate.name());
        }

        println!("\n{:<46} {:>9} {:>9}", "how many times better, of the medians", "seen", "aim");
        let ours = self.p50(Delay::Completed);
        let batches = self.per_second(Rate::Batches);
        let at_once = [Rate::SyncedAtOnce, Rate::SyncedInPlaceAtOnce].map(|rate| self.per_second(rate));
        let best = at_once.into_iter().flatten().reduce(f64::max);
        let ratios = [
            ("submit → completed: files, fsync, result there", self.p50(Delay::SyncedCompleted), ours, Some(AIM)),
            ("the same, as its submitter sees it", self.p50(Delay::SyncedSeen), ours, None),
            ("SubmitTasks: files, fsync, 1 writer", batches, self.per_second(Rate::Synced), Some(AIM)),
            ("SubmitTasks: the same, in place", batches, self.per_second(Rate::SyncedInPlace), None),
            ("SubmitTasks, 4 callers: files, fsync, 16 writers", self.per_second(Rate::BatchesAtOnce), best, None),
            ("SubmitTasks: files, no fsync", batches, self.per_second(Rate::Bare), None),
        ];
        let mut seen = Vec::new();
        for (what, above, below, aim) in ratios {
            let (Some(above), Some(below)) = (above, below) else { continue };
            let ratio = above / below;
            let verdict = aim.map_or("", |aim| if ratio >= aim { "met" } else { "MISS" });
            let wanted = aim.map_or_else(|| "–".to_owned(), |aim| format!("≥ {aim:.0}"));
            println!("  {what:<46} {ratio:>7.1} {wanted:>9} {verdict}");
            seen.push(
                json!({"ratio": what, "seen": frame::round_1(ratio), "aim": aim, "met": aim.map(|aim| ratio >= aim)}),
            );
        }
        self.lines.add(&json!({"ratios": seen}))
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ms| if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.1} ms") })
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"))
}
