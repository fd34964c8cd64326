//! Deterministic simulation: random histories of a stack over the simulated engine, on virtual time, with
//! what must hold checked at every step (`docs/testing.md`).
//!
//! | file | what |
//! |---|---|
//! | [`random`] | choices, from the seed |
//! | [`model`], [`edits`] | manifests, and edits of them |
//! | [`acts`] | what is done to engine, registry and daemon |
//! | [`foreign`] | containers of other people |
//! | [`daemon`] | a daemon as `run` makes it |
//! | [`history`] | one history, until it is quiet |
//! | [`checks`], [`judge`] | what must hold at every effect |
//! | [`adoption`], [`refusals`] | of what is taken over, and of what is not tried again |
//! | [`ending`], [`expect`] | the quiet after it, and what must be so then |
//! | [`trace`], [`report`] | for people |

mod acts;
mod adoption;
mod checks;
mod daemon;
mod edits;
mod ending;
mod expect;
mod foreign;
mod history;
mod judge;
mod model;
mod random;
mod refusals;
mod report;
mod trace;

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use history::{Counts, Outcome};

/// In `make test`.
const SEEDS: u64 = 200;

/// Fewer histories need not meet everything.
const ENOUGH: u64 = 1_000;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// How to see it again.
fn tell(outcome: &Outcome) -> String {
    let Outcome { seed, violation, trace, .. } = outcome;
    let violation = violation.as_deref().unwrap_or("nothing was violated");
    format!("{trace}\n\nseed {seed}: {violation}\nagain: SEED={seed} make sim\n")
}

struct Sum {
    counts: Counts,
    failed: Vec<Outcome>,
}

/// Runs them on all cores, and stops after a few failures.
fn run_all(first: u64, seeds: u64) -> Sum {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum { counts: Counts::default(), failed: Vec::new() });
    let threads = std::thread::available_parallelism().map_or(2, NonZero::get).min(8);
    let most = variable("FAILURES").unwrap_or(3);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let outcome = history::run(seed, false);
                    let mut sum = sum.lock().expect("nobody panics with it");
                    sum.counts.add(&outcome.counts);
                    if let Some(violation) = &outcome.violation {
                        println!("seed {seed} fails: {violation}");
                        sum.failed.push(outcome);
                    }
                    if sum.failed.len() as u64 >= most {
                        return;
                    }
                }
            });
        }
    });
    sum.into_inner().expect("nobody panics with it")
}

#[test]
fn random_histories_violate_no_promise() {
    report::note_panics();
    if let Some(seed) = variable("SEED") {
        let outcome = history::run(seed, true);
        println!("{}", tell(&outcome));
        assert!(outcome.violation.is_none(), "seed {seed} fails");
        return;
    }
    let (first, seeds) = (variable("START").unwrap_or(0), variable("SEEDS").unwrap_or(SEEDS));
    let begun = tokio::time::Instant::now();
    let mut sum = run_all(first, seeds);
    sum.failed.sort_by_key(|outcome| outcome.seed);
    println!("{}", sum.counts.text(seeds, begun.elapsed()));
    if let Some(outcome) = sum.failed.first() {
        panic!("{}", tell(outcome));
    }
    let missing = sum.counts.missing();
    assert!(seeds < ENOUGH || missing.is_empty(), "never occurred, so nothing is known of it: {}", missing.join(", "));
}

#[test]
fn a_history_is_the_same_each_time() {
    for seed in 1_000_000..1_000_000 + variable("TWICE").unwrap_or(10) {
        let (one, two) = (history::run(seed, true), history::run(seed, true));
        if one.hash != two.hash {
            let differs = one.trace.lines().zip(two.trace.lines()).find(|(a, b)| a != b);
            panic!("seed {seed} differs from itself: {differs:?}");
        }
    }
}
