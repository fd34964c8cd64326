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
//! | `frame` | what it shares with the other benchmarks: the begin and the end |
//! | `report` | JSON lines and the table |

#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod child;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod docker;
mod floor;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
mod frame;
mod report;
mod services;
mod stage;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

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
    frame::run(start(&arguments))
}

async fn start(arguments: &Arguments) -> Result<ExitCode> {
    let docker = Docker::from_env()?;
    if let Some(manifests) = &arguments.floor_once {
        println!("{}", floor::run(&docker, manifests, arguments.floor()).await?);
        return Ok(ExitCode::SUCCESS);
    }
    stage::on_stage(&docker, ALL, rounds(&docker, arguments)).await
}

async fn rounds(docker: &Docker, arguments: &Arguments) -> Result<()> {
    let bench = Bench::new(docker, arguments)?;
    stage::preflight(docker).await?;
    let mut report = Report::new(&frame::target(), if arguments.sweep { "floor-sweep" } else { "converge" })?;
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
    /// Manifests, state and logs.
    temporary: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    fn new(docker: &'a Docker, arguments: &Arguments) -> Result<Self> {
        let root = frame::root();
        let temporary = frame::temporary()?;
        stage::copy_manifests(&root.join("manifests"), &temporary.path().join("manifests"))?;
        Ok(Self { docker, options: arguments.floor(), root, temporary })
    }

    fn manifests(&self) -> PathBuf {
        self.temporary.path().join("manifests")
    }

    async fn about(&self) -> Result<Value> {
        let mut about = stage::about(self.docker).await?;
        about["floor"] = json!({"concurrency": self.options.concurrency, "ahead": self.options.ahead});
        about["stage"] = json!("images present; no containers, networks or volumes; page cache warm");
        Ok(about)
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
        frame::with_environment_cleared(&mut command);
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
        let load = frame::load();
        let (begin, wall_begin) = frame::now();
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
