//! Interference with a stack on a real engine: the daemon and the engine are killed, containers are taken away below
//! them, manifests are broken, all from a seed; and the promises are judged all through (`docs/testing.md`).
//!
//! | file | what |
//! |---|---|
//! | [`model`] | the manifests, and what they may have been to whoever read them |
//! | [`acts`] | what is done to containers, engine, manifests and daemon |
//! | [`life`] | engine, daemon and witness of one run |
//! | [`calls`], [`witness`] | the daemon's calls as they pass by, the engine's events |
//! | [`world`], [`judge`] | everything at one moment, and what the promises say of it |
//! | [`ending`] | the quiet after it |
//! | [`trace`] | for people |

#![cfg(feature = "crash-points")]

mod acts;
mod calls;
mod ending;
mod judge;
mod life;
mod model;
#[path = "../common/private_engine.rs"]
mod private_engine;
#[path = "../common/proxy.rs"]
mod proxy;
#[path = "../simulation/random.rs"]
#[expect(dead_code, reason = "the simulation draws by weight, too")]
mod random;
#[path = "../common/running.rs"]
mod running;
#[path = "../common/stack.rs"]
mod stack;
mod trace;
mod witness;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use acts::Kind;
use life::Life;
use random::Random;
use stack::Stack;
use trace::{Trace, counts, lock};

/// In `make test`.
const SECONDS: u64 = 20;
/// Shorter runs need not meet everything.
const FULL: u64 = 120;

/// At rest it stays at rest.
const REST: Duration = Duration::from_secs(20);
const SHORT_REST: Duration = Duration::from_secs(5);

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Every kind, in an order of its own each time.
fn deck(random: &mut Random) -> Vec<Kind> {
    let mut cards: Vec<_> = Kind::ALL.iter().flat_map(|(kind, times)| vec![*kind; *times]).collect();
    for last in (1..cards.len()).rev() {
        cards.swap(last, random.index(last + 1));
    }
    cards
}

/// Until the time is over, or something is violated.
fn interfere(life: &mut Life<'_>, seconds: u64) {
    let end = life.trace.at() + Duration::from_secs(seconds);
    let mut cards = Vec::new();
    while life.trace.at() < end && life.trace.violation().is_none() {
        life.tend_daemon();
        let kind = cards.pop().unwrap_or_else(|| {
            // Drawn apart, so that it is the same however the acts went.
            cards = deck(&mut life.random.branch());
            cards.pop().expect("there are some")
        });
        match life.perform(kind) {
            Some(what) => {
                life.trace.add("act", &format!("{kind:?}: {what}"));
                *life.counts.entry(kind).or_default() += 1;
            }
            None => life.trace.add("act", &format!("{kind:?}: there was nothing to do it to")),
        }
        // One in three comes close upon the one before.
        if !life.random.one_in(3) {
            let pause = life.random.millis(100, 1_500);
            life.pass(pause);
        }
    }
}

fn run(stack: &Stack, seed: u64, seconds: u64, trace: &Arc<Trace>) {
    let Some(mut life) = Life::begin(stack, seed, trace) else { return };
    interfere(&mut life, seconds);
    let steps: [&dyn Fn(&mut Life<'_>); 7] = [
        &|life| life.calm(),
        &|life| life.settle(),
        &|life| life.roll_out(),
        &|life| life.settle(),
        &|life| life.takes_back(),
        &|life| life.settle(),
        &|life| life.rest(if seconds < FULL { SHORT_REST } else { REST }),
    ];
    for step in steps {
        if trace.violation().is_none() {
            step(&mut life);
        }
    }
    if trace.violation().is_none() {
        life.end_daemon();
    }
    let log = std::fs::read_to_string(stack.home().join("daemon.log")).unwrap_or_default();
    if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
        trace.fail(format!("P12: a daemon panicked: {line}"));
    }
    let state = lock(&life.witness.state);
    let acts = life.counts.iter().map(|(kind, count)| (format!("{kind:?}"), *count));
    println!("{} kinds of acts: {}", life.counts.len(), counts(acts));
    println!("calls of the daemon: {}", counts(state.calls.clone()));
    println!("containers replaced: {}, revisions taken back: {}", state.replaced, state.refused);
    let missing: Vec<_> = Kind::ALL.iter().map(|(kind, _)| kind).filter(|k| !life.counts.contains_key(k)).collect();
    if seconds >= FULL && !missing.is_empty() && trace.violation().is_none() {
        trace.fail(format!("never occurred, so nothing is known of it: {missing:?}"));
    }
}

#[test]
fn random_interference_violates_no_promise() {
    let (seed, seconds) = (variable("SEED").unwrap_or(1), variable("SECONDS").unwrap_or(SECONDS));
    println!("seed {seed}, {seconds} s");
    let trace = Arc::new(Trace::new());
    let stack = Stack::new("chaos");
    let ended = catch_unwind(AssertUnwindSafe(|| run(&stack, seed, seconds, &trace)));
    let violation = trace.violation();
    let folder = trace.leave(seed, stack.home());
    if ended.is_ok() && violation.is_none() {
        return;
    }
    println!(
        "seed {seed}: {}\nacts, calls, events and the daemon's log are in {}\nagain: SEED={seed} SECONDS={seconds} make chaos",
        violation.as_deref().unwrap_or("the run itself ended"),
        folder.display()
    );
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    panic!("seed {seed}: {}", violation.unwrap_or_default());
}
