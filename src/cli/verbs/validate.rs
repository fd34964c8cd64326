//! `validate [PATH]`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde::Serialize;

use super::Session;
use crate::cli::args::OutputArg;
use crate::cli::exit::{Exit, Failure};
use crate::cli::source;
use crate::cli::terminal::{BAD, DIM, GOOD, WARN, paint};
use crate::manifest::Finding;
use crate::resource::Kind;
use crate::source::Loaded;

/// Check the manifests, without an engine
///
/// Every finding is shown with its place. Exits 4 where something is wrong; warnings are no errors.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  env-manager validate\n  env-manager validate ./staging -o json")]
pub struct Arguments {
    /// Folder or file [default: what --manifests says]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    path: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    valid: bool,
    revision: &'a str,
    files: usize,
    services: usize,
    networks: usize,
    volumes: usize,
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
    notes: &'a [String],
}

impl<'a> Report<'a> {
    fn new(loaded: &'a Loaded) -> Self {
        let count = |kind| loaded.set.resources.keys().filter(|k| k.kind == kind).count();
        let errors = loaded.errors().count();
        Self {
            valid: errors == 0,
            revision: &loaded.set.revision,
            files: loaded.files,
            services: count(Kind::Service),
            networks: count(Kind::Network),
            volumes: count(Kind::Volume),
            errors,
            warnings: loaded.findings.len() - errors,
            findings: &loaded.findings,
            notes: &loaded.notes,
        }
    }

    fn render(&self) -> String {
        let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let verdict = if self.valid { paint(GOOD, "valid") } else { paint(BAD, &count(self.errors, "error")) };
        let warnings = match self.warnings {
            0 => String::new(),
            n => paint(WARN, &format!(" · {}", count(n, "warning"))),
        };
        let mut out = String::new();
        for note in self.notes {
            out.push_str(&format!("{}\n", paint(DIM, &format!("note: {note}"))));
        }
        out.push_str(&format!(
            "{verdict}{warnings} · {} · {}, {}, {}\n",
            count(self.files, "file"),
            count(self.services, "service"),
            count(self.networks, "network"),
            count(self.volumes, "volume"),
        ));
        out
    }
}

pub fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let mut loaded = session.load(false)?;
    if let Some(path) = &arguments.path {
        loaded.config.manifests.clone_from(path);
    }
    let read = source::read(&loaded, &session.env);
    let report = Report::new(&read);
    if arguments.output.is_text() {
        source::report(&read, true, &session.terminal.err);
    }
    session.print(arguments.output.output, &report, |_| report.render());
    Ok(if report.valid { Exit::Done } else { Exit::Invalid })
}
