//! How fast the nine services converge: `make bench`, described in `docs/benchmarks.md`.
//!
//! | module | is |
//! |---|---|
//! | here | arguments, rounds, signals |
//! | `stage` | what all contenders find, and the check that they leave the same behind |
//! | `services` | the nine in a table |
//! | `floor` | the least that any program would have to do |
//! | `child` | a program run and measured |
//! | `docker` | the engine's API over its socket |
//! | `report` | JSON lines and the table |

mod child;
mod docker;
mod floor;
mod report;
mod services;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use clap::Parser;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use child::Measured;
use docker::{Docker, Result, error};
use report::{Case, Contender, Report};

/// For one run of one contender.
const RUN: Duration = Duration::from_mins(1);
/// For everything.
const ALL: Duration = Duration::from_mins(15);
/// Between a clean stage and the next run: the engine goes on tidying up for a moment.
const SETTLE: Duration = Duration::from_millis(500);
const NO_OPS: usize = 3;

/// Cold start and no-op of the nine services: env-manager, docker-compose, and the floor
#[derive(Clone, Debug, Parser)]
#[command(name = "converge")]
struct Arguments {
    /// Counted rounds; one more goes before them
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One round and no warm-up: to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only some of them
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Who::EnvManager, Who::Compose, Who::Floor])]
    only: Vec<Who>,
    /// The floor alone, with 1, 3, 5 and 9 at a time, creating as gates open and ahead of them
    #[arg(long)]
    sweep: bool,
    /// What the floor creates and starts at a time
    #[arg(long, default_value_t = 5)]
    floor_concurrency: usize,
    /// Let the floor create each container only when it may be started, instead of all at once
    #[arg(long)]
    floor_at_gates: bool,
    /// Run the floor once, print its timeline as JSON, and leave the containers
    #[arg(long, hide = true, value_name = "MANIFESTS")]
    floor_once: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Who {
    EnvManager,
    Compose,
    Floor,
}

impl Arguments {
    fn floor(&self) -> floor::Options {
        floor::Options { concurrency: self.floor_concurrency.max(1), ahead: !self.floor_at_gates }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench && arguments.floor_once.is_none() {
        // `cargo test --benches` comes here too, and must start nothing.
        println!("run me as `make bench` or `cargo bench --profile quick --bench converge`");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(start(&arguments)),
        Err(e) => error(format!("cannot start the runtime: {e}")),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn start(arguments: &Arguments) -> Result<ExitCode> {
    let docker = Docker::from_env()?;
    if let Some(manifests) = &arguments.floor_once {
        println!("{}", floor::run(&docker, manifests, arguments.floor()).await?);
        return Ok(ExitCode::SUCCESS);
    }

    let _lock = stage::lock()?;
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        return error("cannot listen to signals");
    };
    // Dropping the rounds kills the program that is being measured; then the stage is cleaned.
    let ended = tokio::select! {
        done = timeout(ALL, rounds(&docker, arguments)) => match done {
            Ok(done) => done.map(|()| ExitCode::SUCCESS),
            Err(_) => error(format!("not done after {ALL:?}")),
        },
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
        _ = hangup.recv() => Ok(ExitCode::from(129)),
    };
    eprintln!("removing what the benchmark made");
    let cleaned = stage::clean(&docker, true).await;
    let code = ended?;
    cleaned.map(|()| code)
}

async fn rounds(docker: &Docker, arguments: &Arguments) -> Result<()> {
    let bench = Bench::new(docker, arguments)?;
    stage::clean(docker, false).await?;
    stage::preflight(docker).await?;
    let mut report = Report::new(&bench.target, if arguments.sweep { "floor-sweep" } else { "converge" })?;
    let about = bench.about().await?;
    println!("{about}");
    report.line(&about)?;
    if arguments.sweep {
        return bench.sweep(arguments).await;
    }
    let (first, last) = if arguments.quick { (1, 1) } else { (0, arguments.rounds) };
    for round in first..=last {
        for who in &arguments.only {
            bench.one(*who, round, &mut report).await?;
        }
    }
    report.print()
}

struct Bench<'a> {
    docker: &'a Docker,
    options: floor::Options,
    root: PathBuf,
    target: PathBuf,
    /// Manifests, state and logs.
    temporary: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn new(docker: &'a Docker, arguments: &Arguments) -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let temporary = tempfile::Builder::new().prefix("em-bench-").tempdir();
        let temporary = temporary.or_else(|e| error(format!("cannot make a temporary folder: {e}")))?;
        stage::copy_manifests(&root.join("manifests"), &temporary.path().join("manifests"))?;
        // target/PROFILE/env-manager
        let target = Path::new(env!("CARGO_BIN_EXE_env-manager")).ancestors().nth(2).unwrap_or(&root).join("bench");
        Ok(Self { docker, options: arguments.floor(), root, target, temporary })
    }

    fn manifests(&self) -> PathBuf {
        self.temporary.path().join("manifests")
    }

    async fn about(&self) -> Result<Value> {
        let engine = self.docker.get("/version").await?;
        let (_, now) = now();
        Ok(json!({
            "date": humantime::format_rfc3339_seconds(now).to_string(),
            "engine": engine["Version"],
            "kernel": engine["KernelVersion"],
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "profile": if cfg!(debug_assertions) { "debug" } else { "optimised" },
            "floor": {"concurrency": self.options.concurrency, "ahead": self.options.ahead},
            "stage": "images present; no containers, networks or volumes; page cache warm",
        }))
    }

    fn command(&self, who: Who) -> Command {
        let mut command = match who {
            Who::EnvManager => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_env-manager"));
                command.arg("apply").arg("--config").arg(self.root.join("deploy/local.toml"));
                command.arg("--manifests").arg(self.manifests());
                command.args(["--stack", stage::STACK, "--state-dir"]).arg(self.temporary.path().join("state"));
                command
            }
            Who::Compose => {
                let mut command = Command::new("docker-compose");
                command.args(["-p", stage::PROJECT, "-f"]).arg(self.root.join("benches/compose/docker-compose.yml"));
                command.args(["up", "-d"]);
                command
            }
            Who::Floor => self.floor(self.options),
        };
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("ENV_MANAGER_") || text.starts_with("COMPOSE_") || text == "REDDB_ADMIN_TOKEN" {
                command.env_remove(&name);
            }
        }
        command.env("DOCKER_HOST", self.docker.host()).current_dir(self.temporary.path());
        command
    }

    fn floor(&self, options: floor::Options) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap_or_default());
        command.arg("--floor-once").arg(self.manifests());
        command.args(["--floor-concurrency", &options.concurrency.to_string()]);
        if !options.ahead {
            command.arg("--floor-at-gates");
        }
        command
    }

    /// Cold start, check, and the no-ops.
    async fn one(&self, who: Who, round: usize, report: &mut Report) -> Result<()> {
        stage::clean(self.docker, false).await?;
        sleep(SETTLE).await;
        let load = load();
        let (begin, wall_begin) = now();
        let mut measured = self.run(self.command(who)).await?;
        if who == Who::Compose {
            match timeout(RUN, stage::all_healthy(self.docker)).await {
                Ok(done) => done?,
                Err(_) => return error(format!("docker-compose's nine were not healthy after {RUN:?}")),
            }
            measured.wall = begin.elapsed();
        }
        let mut left = stage::check(self.docker, wall_begin, who == Who::Compose).await?;
        if !left.wrong.is_empty() {
            let wrong = left.wrong.join("\n  ");
            return error(format!("{} left something else than the table says:\n  {wrong}", contender(who).name()));
        }
        if who == Who::Floor {
            left.timeline = self.timeline();
        }
        report.add(round, Case::Cold, contender(who), measured, load, &left.timeline)?;
        if who != Who::Floor {
            for _ in 0..if round == 0 { 1 } else { NO_OPS } {
                let measured = self.run(self.command(who)).await?;
                report.add(round, Case::NoOp, contender(who), measured, load, &[])?;
            }
        }
        Ok(())
    }

    async fn run(&self, command: Command) -> Result<Measured> {
        child::run(command, &self.log(), RUN).await
    }

    fn log(&self) -> PathBuf {
        self.temporary.path().join("log")
    }

    /// What the floor printed.
    fn timeline(&self) -> Vec<Value> {
        let text = std::fs::read(self.log()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    async fn sweep(&self, arguments: &Arguments) -> Result<()> {
        let variants: Vec<_> = [1, 3, 5, 9]
            .into_iter()
            .flat_map(|concurrency| [false, true].map(|ahead| floor::Options { concurrency, ahead }))
            .collect();
        let mut seen = vec![Vec::new(); variants.len()];
        for round in 0..=arguments.rounds {
            for (options, seen) in variants.iter().zip(&mut seen) {
                stage::clean(self.docker, false).await?;
                sleep(SETTLE).await;
                let mut command = self.floor(*options);
                command.env("DOCKER_HOST", self.docker.host());
                let measured = self.run(command).await?;
                if round > 0 {
                    seen.push(measured.wall.as_secs_f64() * 1000.0);
                }
            }
            eprintln!("round {round} of {}", arguments.rounds);
        }
        println!("{:<40} {:>9} {:>9} {:>9}", "floor", "median", "least", "most");
        for (options, mut seen) in variants.into_iter().zip(seen) {
            seen.sort_by(f64::total_cmp);
            let name =
                format!("{} at a time{}", options.concurrency, if options.ahead { ", created ahead" } else { "" });
            let at = |i: usize| seen.get(i).copied().unwrap_or_default();
            println!("  {name:<38} {:>6.0} ms {:>6.0} ms {:>6.0} ms", at(seen.len() / 2), at(0), at(seen.len() - 1));
        }
        Ok(())
    }
}

fn contender(who: Who) -> Contender {
    match who {
        Who::EnvManager => Contender::EnvManager,
        Who::Compose => Contender::Compose,
        Who::Floor => Contender::Floor,
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine's times are times of day of this machine")]
fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

/// The load average of the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
