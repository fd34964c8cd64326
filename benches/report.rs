//! JSON lines as they come, and the table at the end.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::child::Measured;
use crate::docker::Result;
use crate::frame::{Lines, ms, round_1};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    Cold,
    NoOp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    EnvManager,
    Compose,
    Floor,
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::EnvManager => "env-manager apply",
            Self::Compose => "docker-compose up -d",
            Self::Floor => "floor",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    wall_ms: f64,
    cpu_ms: f64,
    max_rss_mib: f64,
}

pub struct Report {
    lines: Lines,
    samples: BTreeMap<(Case, Contender), Vec<Sample>>,
    /// Created, started, ready per service.
    timelines: BTreeMap<(String, Contender), Vec<[Option<f64>; 3]>>,
    loads: Vec<f64>,
}

/// What has to be reached: case, numerator, denominator, ratio.
const AIMS: [(Case, Contender, Contender, f64); 3] = [
    (Case::Cold, Contender::EnvManager, Contender::Compose, 0.4),
    (Case::Cold, Contender::EnvManager, Contender::Floor, 1.25),
    (Case::NoOp, Contender::EnvManager, Contender::Compose, 0.1),
];

impl Report {
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let lines = Lines::new(folder, name)?;
        Ok(Self { lines, samples: BTreeMap::new(), timelines: BTreeMap::new(), loads: Vec::new() })
    }

    pub fn line(&mut self, value: &Value) -> Result<()> {
        self.lines.add(value)
    }

    /// Round 0 is the warm-up: written and not counted.
    pub fn add(
        &mut self,
        round: usize,
        case: Case,
        who: Contender,
        measured: Measured,
        load: f64,
        timeline: &[Value],
    ) -> Result<()> {
        let Measured { wall, cpu, max_rss_kib } = measured;
        #[expect(clippy::cast_precision_loss, reason = "KiB of a program's memory are far below 2^52")]
        let max_rss_mib = max_rss_kib as f64 / 1024.0;
        let (wall_ms, cpu_ms) = (wall.as_secs_f64() * 1000.0, cpu.as_secs_f64() * 1000.0);
        let word = match case {
            Case::Cold => "cold",
            Case::NoOp => "no-op",
        };
        let of = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
        eprintln!("{of}: {:<20} {word:<5} {wall_ms:>8.1} ms", who.name());
        self.line(&json!({
            "round": round,
            "case": word,
            "contender": who.name(),
            "wall_ms": round_1(wall_ms), "cpu_ms": round_1(cpu_ms), "max_rss_mib": round_1(max_rss_mib),
            "load_before": load,
            "services": timeline,
        }))?;
        if round == 0 {
            return Ok(());
        }
        self.loads.push(load);
        self.samples.entry((case, who)).or_default().push(Sample { wall_ms, cpu_ms, max_rss_mib });
        for service in timeline {
            let name = service["service"].as_str().unwrap_or_default().to_owned();
            let point = ["created_ms", "started_ms", "ready_ms"].map(|f| service[f].as_f64());
            self.timelines.entry((name, who)).or_default().push(point);
        }
        Ok(())
    }

    fn median(&self, case: Case, who: Contender, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.samples.get(&(case, who))?.iter().map(of).collect())
    }

    /// Whether an aim was missed does not change the exit code: a slow machine is not an error.
    pub fn print(&mut self) -> Result<()> {
        for (case, title) in [
            (Case::Cold, "cold start of the nine until all are ready"),
            (Case::NoOp, "nothing to do: all nine are as described"),
        ] {
            if !self.samples.keys().any(|(c, _)| *c == case) {
                continue;
            }
            println!(
                "\n{title:<44} {:>9} {:>9} {:>9} {:>9} {:>9} {:>5}",
                "median", "least", "most", "own cpu", "max rss", "runs"
            );
            for ((_, who), samples) in self.samples.iter().filter(|((c, _), _)| *c == case) {
                let walls = samples.iter().map(|s| s.wall_ms);
                let (least, most) = (walls.clone().fold(f64::MAX, f64::min), walls.clone().fold(0.0, f64::max));
                println!(
                    "  {:<42} {:>9} {:>9} {:>9} {:>9} {:>5.0} MiB {:>5}",
                    who.name(),
                    ms(median(walls.collect())),
                    ms(Some(least)),
                    ms(Some(most)),
                    ms(self.median(case, *who, |s| s.cpu_ms)),
                    self.median(case, *who, |s| s.max_rss_mib).unwrap_or_default(),
                    samples.len(),
                );
            }
        }

        println!("\n{:<44} {:>9} {:>9}", "ratio of medians", "seen", "aim");
        let mut ratios = Vec::new();
        for (case, who, against, aim) in AIMS {
            let medians = (self.median(case, who, |s| s.wall_ms), self.median(case, against, |s| s.wall_ms));
            let (Some(a), Some(b)) = medians else { continue };
            let (ratio, word) = (a / b, if case == Case::Cold { "cold start" } else { "no-op" });
            let verdict = if ratio <= aim { "met" } else { "MISS" };
            println!(
                "  {:<42} {ratio:>9.2} {:>9} {verdict}",
                format!("{word}, to {}", against.name()),
                format!("≤ {aim:.2}")
            );
            ratios.push(json!({"case": word, "against": against.name(), "ratio": (ratio * 1000.0).round() / 1000.0, "aim": aim, "met": ratio <= aim}));
        }
        self.line(&json!({"ratios": ratios}))?;

        self.print_timelines();
        let (least, most) = self.loads.iter().fold((f64::MAX, 0.0_f64), |(a, b), l| (a.min(*l), b.max(*l)));
        println!(
            "\nload average before the runs: {least:.2} to {most:.2}; figures of a machine at other work are noise"
        );
        println!("every run: {}", self.lines.path.display());
        Ok(())
    }

    fn print_timelines(&self) {
        let whos = [Contender::EnvManager, Contender::Floor, Contender::Compose];
        let whos: Vec<_> = whos.into_iter().filter(|w| self.timelines.keys().any(|(_, who)| who == w)).collect();
        if whos.is_empty() {
            return;
        }
        print!("\n{:<44}", "created / started / ready, median ms");
        for who in &whos {
            print!("{:>24}", who.name());
        }
        println!();
        for service in crate::services::SERVICES.iter().map(|s| s.name) {
            print!("  {service:<42}");
            for who in &whos {
                let points = self.timelines.get(&(service.to_owned(), *who));
                let at = |i: usize| {
                    let seen: Vec<_> = points.into_iter().flatten().filter_map(|p| p[i]).collect();
                    median(seen).map_or_else(|| "–".to_owned(), |m| format!("{m:.0}"))
                };
                print!("{:>24}", format!("{} / {} / {}", at(0), at(1), at(2)));
            }
            println!();
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
