//! How fast the daemon is, and what it costs at rest: `make bench`, described in `docs/benchmarks.md`.
//!
//! | module | is |
//! |---|---|
//! | here | arguments, the daemon at rest, the table |
//! | `delays` | a file saved, a container removed, and the least that a replacement takes |
//! | `resident` | `env-manager run` |
//! | `proxy` | before the engine: when the daemon calls it, and for what |
//! | `child`, `docker`, `frame` | shared with the other benchmarks |
//! | `floor`, `services`, `stage` | shared with `converge` |

#[allow(dead_code, reason = "converge uses the rest")]
mod child;
mod delays;
mod docker;
#[allow(dead_code, reason = "converge uses the rest")]
mod floor;
mod frame;
mod proxy;
mod resident;
#[allow(dead_code, reason = "converge uses the rest")]
mod services;
#[allow(dead_code, reason = "converge uses the rest")]
mod stage;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use tokio::time::sleep;

use delays::{Delay, Delays, Tries};
use docker::{Docker, Result};
use frame::{Lines, ms, round_1};
use proxy::{Call, Proxy};
use resident::{Resident, Used};

/// For everything.
const ALL: Duration = Duration::from_mins(10);
/// After the nine are ready: memory of the start is given back, gates have closed.
const SETTLE: Duration = Duration::from_secs(5);
/// Milliseconds at the 99th percentile.
const AIM_SAVED: f64 = 150.0;
/// Milliseconds above the floor, of the medians.
const AIM_REMOVED: f64 = 25.0;

/// The daemon: how soon it acts, and what it uses at rest
#[derive(Clone, Debug, Parser)]
#[command(name = "daemon")]
struct Arguments {
    /// Of each delay
    #[arg(long, default_value_t = 50)]
    tries: usize,
    /// Seconds at rest
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Three tries and five seconds: to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only some of them
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [What::Saved, What::Removed, What::Rest])]
    only: Vec<What>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Saved,
    Removed,
    Rest,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if !arguments.bench {
        // `cargo test --benches` comes here too, and must start nothing.
        println!("run me as `make bench` or `cargo bench --profile quick --bench daemon`");
        return ExitCode::SUCCESS;
    }
    if arguments.quick {
        (arguments.tries, arguments.rest) = (3, 5);
    }
    frame::run(async {
        let docker = Docker::from_env()?;
        stage::on_stage(&docker, ALL, measure(&docker, &arguments)).await
    })
}

async fn measure(docker: &Docker, arguments: &Arguments) -> Result<()> {
    let wanted = |what: What| arguments.only.contains(&what);
    let tries = |what: What| if wanted(what) { arguments.tries } else { 0 };
    stage::image_is_there(docker, delays::IMAGE).await?;
    if wanted(What::Rest) {
        stage::preflight(docker).await?;
    }
    let mut lines = Lines::new(&frame::target(), "daemon")?;
    let about = stage::about(docker).await?;
    println!("{about}");
    lines.add(&about)?;

    let mut delays = Delays::new();
    if wanted(What::Saved) || wanted(What::Removed) {
        let folder = frame::temporary()?;
        let (saved, removed) = (tries(What::Saved), tries(What::Removed));
        delays = Tries { docker, folder: folder.path(), saved, removed }.run(&mut lines).await?;
        stage::clean(docker, true).await?;
    }
    let rest = if wanted(What::Rest) { Some(Rest::measure(docker, arguments.rest).await?) } else { None };
    if let Some(rest) = &rest {
        lines.add(&rest.line())?;
    }

    print_delays(&delays);
    if let Some(rest) = &rest {
        rest.print();
    }
    print_aims(&delays, rest.as_ref());
    println!("\nload average now: {:.2}; figures of a machine at other work are noise", frame::load());
    println!("every try: {}", lines.path.display());
    Ok(())
}

/// The daemon with the nine services converged, and nothing to do.
struct Rest {
    seconds: u64,
    load: f64,
    cpu_ms: u64,
    used: Used,
    /// The exec probes of the nine go through the engine.
    probes: usize,
    others: Vec<String>,
}

impl Rest {
    async fn measure(docker: &Docker, seconds: u64) -> Result<Self> {
        let folder = frame::temporary()?;
        let manifests = folder.path().join("manifests");
        stage::copy_manifests(&frame::root().join("manifests"), &manifests)?;
        let mut proxy = Proxy::start(folder.path().join("rest.sock"), docker.socket())?;
        let config = frame::root().join("deploy/local.toml");
        let mut resident = Resident::start(folder.path(), &manifests, &config, &proxy).await?;
        resident.until("the nine", |status| status["converged"] == true).await?;
        sleep(SETTLE).await;

        eprintln!("the nine are converged; {seconds} s at rest");
        let load = frame::load();
        proxy.so_far();
        let before = resident.used()?;
        sleep(Duration::from_secs(seconds)).await;
        let (used, calls) = (resident.used()?, proxy.so_far());
        resident.stop().await?;
        let (probes, others): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(is_of_a_probe);
        Ok(Self {
            seconds,
            load,
            cpu_ms: used.cpu_ms.saturating_sub(before.cpu_ms),
            used,
            probes: probes.len(),
            others: others.into_iter().map(|call| call.line).collect(),
        })
    }

    fn line(&self) -> Value {
        json!({
            "case": "at rest", "seconds": self.seconds, "load_before": self.load, "cpu_ms": self.cpu_ms,
            "resident_mib": round_1(mib(self.used.resident_kib)),
            "most_resident_mib": round_1(mib(self.used.most_resident_kib)),
            "engine_calls_of_probes": self.probes, "other_engine_calls": self.others,
        })
    }

    fn print(&self) {
        let Self { seconds, cpu_ms, used, probes, others, .. } = self;
        #[expect(clippy::cast_precision_loss, reason = "a minute's milliseconds are far below 2^52")]
        let share = *cpu_ms as f64 / (*seconds as f64 * 10.0);
        println!("\n{:<44}", format!("the nine at rest, {seconds} s without a resync"));
        println!("  {:<42} {cpu_ms:>6} ms ({share:.2} % of a core)", "own processor time");
        println!("  {:<42} {:>6.1} MiB (most: {:.1})", "memory", mib(used.resident_kib), mib(used.most_resident_kib));
        println!("  {:<42} {probes:>6}", "engine calls of exec probes");
        println!("  {:<42} {:>6}", "other engine calls", others.len());
        for line in others.iter().take(10) {
            println!("    {line}");
        }
    }
}

/// `POST /containers/ID/exec`, `POST /exec/ID/start`, `GET /exec/ID/json`.
fn is_of_a_probe(call: &Call) -> bool {
    let path = call.line.split(' ').nth(1).unwrap_or_default();
    path.ends_with("/exec") || path.contains("/exec/")
}

fn mib(kib: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "KiB of a program's memory are far below 2^52")]
    let kib = kib as f64;
    kib / 1024.0
}

fn percentile(delays: &Delays, delay: Delay, percent: usize) -> Option<f64> {
    frame::percentile(delays.get(&delay)?, percent)
}

fn print_delays(delays: &Delays) {
    if delays.is_empty() {
        return;
    }
    println!("\n{:<44} {:>9} {:>9} {:>9} {:>9} {:>5}", "delay", "p50", "p99", "least", "most", "tries");
    for (delay, values) in delays {
        let [p50, p99, least, most] = [50, 99, 0, 100].map(|percent| ms(percentile(delays, *delay, percent)));
        println!("  {:<42} {p50:>9} {p99:>9} {least:>9} {most:>9} {:>5}", delay.name(), values.len());
    }
}

/// A missed aim does not change the exit code: a slow machine is not an error.
fn print_aims(delays: &Delays, rest: Option<&Rest>) {
    println!("\n{:<44} {:>9} {:>9}", "aim", "seen", "at most");
    let print = |what: &str, seen: f64, most: f64, unit: &str| {
        let verdict = if seen <= most { "met" } else { "MISS" };
        println!("  {what:<42} {:>9} {:>9} {verdict}", format!("{seen:.0}{unit}"), format!("{most:.0}{unit}"));
    };
    let at = |delay, percent| percentile(delays, delay, percent);
    if let Some(p99) = at(Delay::Saved, 99) {
        print("saved → first call, p99", p99, AIM_SAVED, " ms");
    }
    if let (Some(ours), Some(floor)) = (at(Delay::Removed, 50), at(Delay::Floor, 50)) {
        print("removed → started, p50 above the floor's", ours - floor, AIM_REMOVED, " ms");
    }
    if let (Some(ours), Some(floor)) = (at(Delay::Removed, 99), at(Delay::Floor, 99)) {
        println!("  {:<42} {:>9} {:>9}", "the same of the p99", format!("{:.0} ms", ours - floor), "–");
    }
    if let Some(rest) = rest {
        #[expect(clippy::cast_precision_loss, reason = "a few calls")]
        let others = rest.others.len() as f64;
        print("engine calls at rest, beside probes", others, 0.0, "");
    }
}
