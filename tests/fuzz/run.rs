//! Runs cases: finds what panics, hangs, takes too much memory or breaks a rule, and makes it small.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tokio::time::Instant;

use super::check::Broken;
use super::rng::Rng;

/// An input that takes longer hangs, on however busy a machine.
const HANG: Duration = Duration::from_mins(2);
/// What all threads together may need above what the process had at the start.
const MEMORY_KIB: u64 = 192 << 10;
/// So often a thread looks at the memory, in cases.
const LOOK: u64 = 64;
/// Tries to make an input smaller, and how long they may take.
const SHRINKS: usize = 4_000;
const SHRINKING: Duration = Duration::from_mins(1);
const DEFAULT_SEED: u64 = 1;

/// An input in parts, so that any can be made smaller without a word about what they mean.
pub type Parts = Vec<Vec<u8>>;

/// What is fuzzed.
pub trait Target: Sync {
    const NAME: &'static str;
    fn input(&self, rng: &mut Rng) -> Parts;
    /// Whether the input was accepted, and the rules that it breaks.
    fn check(&self, input: &Parts) -> (bool, Vec<Broken>);
}

#[derive(Default)]
struct Tally {
    accepted: AtomicU64,
    done: AtomicU64,
    peak_kib: AtomicU64,
    /// Time of the slowest, and which it was.
    slowest: Mutex<(Duration, u64)>,
    /// By rule: the first case that breaks it, and how.
    failures: Mutex<BTreeMap<String, String>>,
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Runs `RUNS` cases from `START` on, or `few`; or the one that `CASE` names.
pub fn run<T: Target>(target: &T, few: u64) {
    let seed = number("SEED").unwrap_or(DEFAULT_SEED);
    let only = number("CASE");
    let runs = number("RUNS").unwrap_or(few);
    let start = number("START").unwrap_or(0);
    let cases = only.map_or(start..start + runs, |case| case..case + 1);
    // The short round runs beside other tests.
    let threads = if runs <= few { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) as u64 };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&folder).unwrap();

    if let Some(case) = only {
        let files = keep(&folder, T::NAME, case, &target.input(&mut Rng::of_case(seed, case)));
        println!("{}: the input is in {}", T::NAME, files.display());
    }

    let before_kib = peak_kib();
    let begin = Instant::now();
    let tally = Tally::default();
    let running: Vec<Mutex<Option<(u64, Instant)>>> = (0..threads).map(|_| Mutex::default()).collect();
    let is_over = AtomicBool::new(false);
    // A panic is a finding; its message is kept, not printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        let (done, ended) = channel::<()>();
        for (thread, slot) in running.iter().enumerate() {
            let (tally, done, is_over, folder, cases) = (&tally, done.clone(), &is_over, &folder, cases.clone());
            scope.spawn(move || {
                // An overflowing stack ends the process without a word: here stands which case it was.
                let last = File::create(folder.join(format!("{}-{thread}.case", T::NAME))).unwrap();
                for case in cases.skip(thread).step_by(usize::try_from(threads).unwrap()) {
                    last.write_all_at(format!("{case:<20}\n").as_bytes(), 0).unwrap();
                    *slot.lock().unwrap() = Some((case, Instant::now()));
                    one(target, seed, case, tally, folder);
                    slot.lock().unwrap().take();
                    if case / threads % LOOK == 0 {
                        look_at_memory(tally, before_kib, case, threads);
                    }
                    if is_over.load(Ordering::Relaxed) || tally.failures.lock().unwrap().len() >= 12 {
                        break;
                    }
                }
                drop(done);
            });
        }
        drop(done);
        while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            for slot in &running {
                let hanging = slot.lock().unwrap().filter(|(_, since)| since.elapsed() > HANG);
                if let Some((case, _)) = hanging {
                    eprintln!(
                        "{}: case {case} of seed {seed} hangs for {HANG:?}: SEED={seed} CASE={case} make fuzz",
                        T::NAME
                    );
                    // The thread cannot be ended, so the process is.
                    std::process::exit(1);
                }
            }
        }
    });
    is_over.store(true, Ordering::Relaxed);
    std::panic::set_hook(hook);
    report(T::NAME, seed, &tally, begin.elapsed(), before_kib);
}

/// A case; what is wrong with it is made small and kept.
fn one<T: Target>(target: &T, seed: u64, case: u64, tally: &Tally, folder: &Path) {
    let input = target.input(&mut Rng::of_case(seed, case));
    let begin = Instant::now();
    let (accepted, broken) = checked(target, &input);
    let taken = begin.elapsed();
    tally.done.fetch_add(1, Ordering::Relaxed);
    tally.accepted.fetch_add(accepted.into(), Ordering::Relaxed);
    {
        let mut slowest = tally.slowest.lock().unwrap();
        *slowest = (*slowest).max((taken, case));
    }
    for (rule, what) in broken {
        let known = !tally.failures.lock().unwrap().entry(rule.clone()).or_default().is_empty();
        if known {
            continue;
        }
        tally.failures.lock().unwrap().insert(rule.clone(), what);
        let small = shrink(target, &input, &rule);
        let (_, broken) = checked(target, &small);
        let what = broken.into_iter().find(|(r, _)| *r == rule).map(|(_, what)| what).unwrap_or_default();
        let files = keep(folder, T::NAME, case, &small);
        let text =
            format!("{rule}\n  {what:.2000}\n  SEED={seed} CASE={case} make fuzz; made small: {}", files.display());
        tally.failures.lock().unwrap().insert(rule, text);
    }
}

fn checked<T: Target>(target: &T, input: &Parts) -> (bool, Vec<(String, String)>) {
    match catch_unwind(AssertUnwindSafe(|| target.check(input))) {
        Ok((accepted, broken)) => (accepted, broken.into_iter().map(|(rule, what)| (rule.to_owned(), what)).collect()),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let text = text.unwrap_or_default();
            // Numbers differ from input to input, words do not.
            let kind: String = text.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(60).collect();
            (false, vec![(format!("nothing panics ({kind})"), text)])
        }
    }
}

/// Takes out pieces, large ones first, as long as the rule stays broken.
fn shrink<T: Target>(target: &T, input: &Parts, rule: &str) -> Parts {
    let mut best = input.clone();
    let mut tries = 0;
    let begin = Instant::now();
    let mut holds = |candidate: &Parts| {
        tries += 1;
        tries < SHRINKS && begin.elapsed() < SHRINKING && checked(target, candidate).1.iter().any(|(r, _)| r == rule)
    };
    for part in 0..best.len() {
        let mut size = best[part].len().next_power_of_two();
        while size > 0 {
            let mut at = 0;
            while at < best[part].len() {
                let mut candidate = best.clone();
                let end = (at + size).min(candidate[part].len());
                candidate[part].drain(at..end);
                if holds(&candidate) {
                    best = candidate;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
    }
    best
}

fn keep(folder: &Path, name: &str, case: u64, input: &Parts) -> PathBuf {
    let folder = folder.join(format!("{name}-{case}"));
    std::fs::create_dir_all(&folder).unwrap();
    for (n, part) in input.iter().enumerate() {
        std::fs::write(folder.join(format!("part-{n}")), part).unwrap();
    }
    folder
}

/// The most memory that the process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn look_at_memory(tally: &Tally, before_kib: u64, case: u64, threads: u64) {
    let peak = peak_kib();
    tally.peak_kib.fetch_max(peak, Ordering::Relaxed);
    let grown = peak.saturating_sub(before_kib);
    if grown > MEMORY_KIB {
        let first = case.saturating_sub(LOOK * threads);
        let what = format!(
            "memory is bounded\n  {} MiB more than at the start, in one of the cases {first}–{case}",
            grown >> 10
        );
        tally.failures.lock().unwrap().entry("memory is bounded".to_owned()).or_insert(what);
    }
}

fn report(name: &str, seed: u64, tally: &Tally, taken: Duration, before_kib: u64) {
    let done = tally.done.load(Ordering::Relaxed);
    let accepted = tally.accepted.load(Ordering::Relaxed);
    let peak = tally.peak_kib.load(Ordering::Relaxed).max(peak_kib());
    let (slowest, case) = *tally.slowest.lock().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = done as f64 / taken.as_secs_f64();
    println!(
        "fuzz {name}: {done} inputs of seed {seed} in {:.1} s ({rate:.0}/s), {accepted} accepted; slowest {:.1} ms (case {case}); \
         peak memory {} MiB, {} MiB above the start",
        taken.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
        peak >> 10,
        peak.saturating_sub(before_kib) >> 10,
    );
    let failures = tally.failures.lock().unwrap();
    let texts: Vec<&str> = failures.values().map(String::as_str).collect();
    assert!(failures.is_empty(), "{} rules are broken:\n\n{}\n", failures.len(), texts.join("\n\n"));
}
