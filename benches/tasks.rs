//! How fast the task queue is, and the file queue before it: `make bench`, described in `docs/benchmarks.md`.
//!
//! | module | is |
//! |---|---|
//! | here | arguments, rounds |
//! | `queue` | Redis and the daemon |
//! | `calls` | what programs and workers ask of them |
//! | `files` | the file queue |
//! | `disk` | what both write to |
//! | `figures` | JSON lines and tables |
//! | `child`, `docker`, `frame` | shared with the other benchmarks; no engine is needed |

mod calls;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod child;
mod disk;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod docker;
mod figures;
mod files;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod frame;
mod queue;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use env_manager::backoff::Noise;
use tokio::time::Instant;

use calls::{PILED, QUICK};
use docker::{Result, error};
use figures::{Delay, Figures, Rate};
use files::{How, Try, Written};
use frame::Lines;
use queue::Queue;

/// For everything.
const ALL: Duration = Duration::from_mins(10);
/// Of SubmitTasks.
const IN_CALL: usize = 200;
/// Of SubmitTasks, of SubmitTask, and those who write files, where several do at once.
const BATCHERS: usize = 4;
const CALLERS: usize = 64;
const WRITERS: usize = 16;
/// Of the worker that works off what has piled up.
const SLOTS: i32 = 64;
const WARM_UP: usize = 20;

/// The task queue, and the file queue with and without fsync
#[derive(Clone, Debug, Parser)]
#[command(name = "tasks")]
struct Arguments {
    /// Each has all contenders in turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One small round: to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only some of them
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [What::Completed, What::Calls, What::Throughput])]
    only: Vec<What>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// From the submission to the result
    Completed,
    /// One submission, and the questions for health
    Calls,
    /// Tasks a second
    Throughput,
}

/// Of one round.
struct Size {
    fsyncs: usize,
    completed: usize,
    /// File queues at once, and tasks of each.
    queues: usize,
    of_queue: usize,
    singles: usize,
    healths: usize,
    /// For each way to submit them.
    tasks: usize,
    /// For a file queue, which may not get there.
    limit: Duration,
}

const FULL: Size = Size {
    fsyncs: 200,
    completed: 200,
    queues: 4,
    of_queue: 5,
    singles: 300,
    healths: 500,
    tasks: 6_000,
    limit: Duration::from_secs(1),
};

const SMALL: Size = Size {
    fsyncs: 50,
    completed: 20,
    queues: 4,
    of_queue: 1,
    singles: 30,
    healths: 50,
    tasks: 1_000,
    limit: Duration::from_millis(200),
};

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if !arguments.bench {
        // `cargo test --benches` comes here too, and must start nothing.
        println!("run me as `make bench` or `cargo bench --profile quick --bench tasks`");
        return ExitCode::SUCCESS;
    }
    if arguments.quick {
        arguments.rounds = 1;
    }
    frame::run(async {
        let _lock = frame::lock()?;
        frame::until_ended(ALL, measure(&arguments)).await
    })
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let target = frame::target();
    let mut lines = Lines::new(&target, "tasks")?;
    // Beside the results: a temporary folder may be in memory.
    let folder = tempfile::Builder::new().prefix("tasks-").tempdir_in(&target);
    let folder = folder.or_else(|e| error(format!("{}: {e}", target.display())))?;
    let mut about = frame::about();
    about["disk"] = disk::about(folder.path())?;
    disk::spread(folder.path());
    let queue = Queue::start(&folder.path().join("about")).await?;
    about["redis"] = queue.settings().await?;
    queue.stop().await?;
    println!("{about}");
    lines.add(&about)?;

    let seed = RandomState::new().build_hasher().finish();
    let mut bench = Bench {
        only: &arguments.only,
        size: if arguments.quick { SMALL } else { FULL },
        folder: folder.path(),
        noise: Noise::new(seed),
        figures: Figures::new(lines),
    };
    for round in 1..=arguments.rounds {
        let begin = Instant::now();
        let fsyncs = disk::fsyncs(folder.path(), bench.size.fsyncs).await?;
        bench.figures.delays(round, Delay::Fsync, fsyncs)?;
        bench.queue(round).await?;
        bench.files(round, true).await?;
        bench.files(round, false).await?;
        eprintln!("round {round} of {}: {:.1} s", arguments.rounds, begin.elapsed().as_secs_f64());
    }
    bench.figures.print()?;
    let (disk, redis) = (&about["disk"], &about["redis"]);
    println!(
        "\n{} on {}; Redis {}, appendonly {}, appendfsync {}",
        text(&disk["filesystem"]),
        text(&disk["device"]),
        text(&redis["version"]),
        text(&redis["appendonly"]),
        text(&redis["appendfsync"]),
    );
    println!(
        "load average: {} before, {:.2} now; figures of a machine at other work are noise",
        about["load"],
        frame::load()
    );
    println!("every round: {}", bench.figures.lines.path.display());
    Ok(())
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

struct Bench<'a> {
    only: &'a [What],
    size: Size,
    folder: &'a Path,
    noise: Noise,
    figures: Figures,
}

impl Bench<'_> {
    fn wants(&self, what: What) -> bool {
        self.only.contains(&what)
    }

    /// A Redis that has nothing, a daemon that has just started.
    async fn queue(&mut self, round: usize) -> Result<()> {
        let folder = self.folder.join(format!("round-{round}"));
        let queue = Queue::start(&folder).await?;
        let client = &queue.client;
        calls::until_completed(client, "warm-up", WARM_UP, &mut self.noise).await?;
        if self.wants(What::Completed) {
            let took = calls::until_completed(client, QUICK, self.size.completed, &mut self.noise).await?;
            self.figures.delays(round, Delay::Completed, took)?;
        }
        let mut waiting = 0;
        if self.wants(What::Calls) {
            self.figures.delays(round, Delay::Submitted, calls::singles(client, self.size.singles).await?)?;
            waiting += self.size.singles;
            self.figures.delays(round, Delay::Health, calls::health(client, self.size.healths).await?)?;
            let took = calls::environment_health(&queue, self.size.healths).await?;
            self.figures.delays(round, Delay::Environment, took)?;
        }
        if self.wants(What::Throughput) {
            let tasks = self.size.tasks;
            let took = calls::batches(client, 1, IN_CALL, tasks).await?;
            self.figures.rate(round, Rate::Batches, tasks, took)?;
            let took = calls::batches(client, BATCHERS, IN_CALL, tasks).await?;
            self.figures.rate(round, Rate::BatchesAtOnce, tasks, took)?;
            let took = calls::singles_at_once(client, CALLERS, tasks).await?;
            self.figures.rate(round, Rate::SinglesAtOnce, tasks, took)?;
            waiting += 3 * tasks;
        }
        // All that was taken is there, once.
        calls::wait_for_depth(client, waiting).await?;
        let begin = Instant::now();
        let worked = calls::work(client, PILED, SLOTS, waiting).await?.len();
        if worked != waiting {
            return error(format!("{worked} tasks were completed, and {waiting} had been taken"));
        }
        if self.wants(What::Throughput) {
            self.figures.rate(round, Rate::Worked, worked, begin.elapsed())?;
        }
        calls::wait_for_depth(client, 0).await?;
        queue.stop().await
    }

    async fn files(&mut self, round: usize, sync: bool) -> Result<()> {
        let how = How { written: Written::Aside, sync };
        let Size { queues, of_queue, tasks, limit, singles, .. } = self.size;
        let folder = self.folder.join(format!("round-{round}-{}", if sync { "synced" } else { "bare" }));
        if self.wants(What::Completed) {
            let tries =
                files::until_completed(&folder.join("completed"), how, queues, of_queue, &mut self.noise).await?;
            let of = |field: fn(&Try) -> f64| tries.iter().map(field).collect();
            let [completed, seen] = if sync {
                [Delay::SyncedCompleted, Delay::SyncedSeen]
            } else {
                [Delay::BareCompleted, Delay::BareSeen]
            };
            self.figures.delays(round, completed, of(|one| one.completed_ms))?;
            self.figures.delays(round, seen, of(|one| one.seen_ms))?;
        }
        if self.wants(What::Calls) {
            let took = files::singles(&folder.join("singles"), how, singles).await?;
            let delay = if sync { Delay::SyncedSubmitted } else { Delay::BareSubmitted };
            self.figures.delays(round, delay, took)?;
        }
        if self.wants(What::Throughput) {
            let in_place = How { written: Written::InPlace, sync };
            let ways = if sync {
                &[
                    (Rate::Synced, how, 1),
                    (Rate::SyncedAtOnce, how, WRITERS),
                    (Rate::SyncedInPlace, in_place, 1),
                    (Rate::SyncedInPlaceAtOnce, in_place, WRITERS),
                ][..]
            } else {
                &[(Rate::Bare, how, 1)]
            };
            for (rate, how, writers) in ways {
                let (written, took) =
                    files::submit_all(&folder.join(format!("{rate:?}")), *how, *writers, tasks, limit)?;
                self.figures.rate(round, *rate, written, took)?;
                // A signal is seen between two of them.
                tokio::task::yield_now().await;
            }
        }
        files::settle(self.folder)
    }
}
