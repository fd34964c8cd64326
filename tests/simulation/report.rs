//! What the histories came to, for people; and what never occurred.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use env_manager::engine::sim::FaultKind;
use env_manager::resource::status::Phase;

use crate::acts::Act;
use crate::edits::Edit;
use crate::history::{Counts, Most};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A panic in a task of the daemon is caught there, and yet a finding.
pub fn note_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.borrow_mut().push(info.to_string()));
            before(info);
        }));
    });
}

/// Of this thread, since the last question.
pub fn panics() -> Vec<String> {
    PANICS.with(|panics| std::mem::take(&mut *panics.borrow_mut()))
}

const PHASES: &[Phase] = &[
    Phase::Pending,
    Phase::Blocked,
    Phase::Pulling,
    Phase::Creating,
    Phase::Starting,
    Phase::Ready,
    Phase::NotReady,
    Phase::BackOff,
    Phase::Failed,
    Phase::RolledBack,
    Phase::Suspended,
    Phase::Stopped,
    Phase::Observed,
    Phase::Completed,
    Phase::Conflict,
    Phase::Invalid,
    Phase::Terminating,
];

impl Counts {
    pub fn add(&mut self, other: &Self) {
        fn sum<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, n) in from {
                *into.entry(key.clone()).or_default() += n;
            }
        }
        sum(&mut self.faults, &other.faults);
        sum(&mut self.acts, &other.acts);
        sum(&mut self.edits, &other.edits);
        sum(&mut self.phases, &other.phases);
        self.changes += other.changes;
        self.time += other.time;
        let (most, of) = (&mut self.most, &other.most);
        most.lines = most.lines.max(of.lines);
        most.bytes = most.bytes.max(of.bytes);
        most.words = most.words.max(of.words);
        most.asked = (most.asked.0.max(of.asked.0), most.asked.1.max(of.asked.1));
    }

    /// Kinds and phases that never occurred.
    pub fn missing(&self) -> Vec<String> {
        let lacks = |n: Option<&u64>| n.is_none_or(|n| *n == 0);
        let faults = FaultKind::ALL.iter().filter(|k| lacks(self.faults.get(k))).map(|k| format!("fault {k}"));
        let acts = Act::ALL.iter().filter(|(_, a)| lacks(self.acts.get(a))).map(|(_, a)| format!("act {a:?}"));
        let edits = Edit::ALL.iter().filter(|(_, e)| lacks(self.edits.get(e))).map(|(_, e)| format!("edit {e:?}"));
        let phases = PHASES.iter().filter(|p| lacks(self.phases.get(p))).map(|p| format!("phase {p}"));
        faults.chain(acts).chain(edits).chain(phases).collect()
    }

    pub fn text(&self, histories: u64, took: Duration) -> String {
        let mut out = String::new();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = histories as f64 / took.as_secs_f64().max(0.001);
        let hours = self.time.as_secs() / 3600;
        let _ = writeln!(
            out,
            "{histories} histories in {:.1} s: {rate:.1} a second; {hours} virtual hours, {} changing calls",
            took.as_secs_f64(),
            self.changes
        );
        let Most { lines, bytes, words, asked: (asked, in_all) } = self.most;
        let _ = writeln!(
            out,
            "the most of one: {lines} lines and {bytes} bytes of trace, {words} bytes of words, the time asked for {asked} times at one moment, {in_all} in all"
        );
        let line = |out: &mut String, title: &str, of: Vec<(String, u64)>| {
            let of: Vec<_> = of.into_iter().map(|(name, n)| format!("{name} {n}")).collect();
            let _ = writeln!(out, "{title}: {}", of.join(", "));
        };
        line(&mut out, "faults", self.faults.iter().map(|(k, n)| (k.to_string(), *n)).collect());
        line(&mut out, "acts", self.acts.iter().map(|(k, n)| (format!("{k:?}"), *n)).collect());
        line(&mut out, "edits", self.edits.iter().map(|(k, n)| (format!("{k:?}"), *n)).collect());
        line(&mut out, "phases", self.phases.iter().map(|(k, n)| (k.to_string(), *n)).collect());
        out
    }
}
