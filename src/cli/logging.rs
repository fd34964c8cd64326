//! `tracing` to stderr: pretty for people, compact and JSON for machines; and the log lines that
//! scripts of the system before this one know.

use std::fmt;
use std::io::Write;

use indicatif::MultiProgress;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, info};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::terminal::{BAD, DIM, Look, WARN};
use crate::config::{Config, LogFormat};

/// Target of lines that a terminal's rows already show.
pub const PROGRESS: &str = "env_manager::progress";

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub format: LogFormat,
    /// 0: what happens; 1: why, too; 2: everything.
    pub verbosity: u8,
    /// Rows on a terminal show what happens; only trouble is logged.
    pub rows: bool,
}

impl Options {
    /// The directives of the filter; `RUST_LOG` replaces them.
    pub fn directives(&self) -> String {
        match (self.verbosity, self.rows) {
            (0, true) => format!("warn,{PROGRESS}=off"),
            (0, false) => "warn,env_manager=info".to_owned(),
            (1, _) => "warn,env_manager=debug".to_owned(),
            _ => "info,env_manager=trace".to_owned(),
        }
    }
}

/// Installs the subscriber, once a process. `bars`: what the log must not write across.
pub fn init(options: Options, look: Look, bars: &MultiProgress, rust_log: Option<&str>) {
    let (directives, wrong) = match rust_log.map(|text| (text, EnvFilter::try_new(text))) {
        None => (options.directives(), None),
        Some((text, Ok(_))) => (text.to_owned(), None),
        Some((_, Err(e))) => (options.directives(), Some(e)),
    };
    let writer = AroundBars { bars: bars.clone(), look };
    // A second call (in tests) finds the first one's subscriber: that is fine.
    let _ = tracing::subscriber::set_global_default(subscriber(options.format, &directives, look.color, writer));
    if let Some(e) = wrong {
        tracing::warn!("RUST_LOG is ignored: {e}");
    }
}

/// What [`init`] installs.
pub fn subscriber(
    format: LogFormat,
    directives: &str,
    ansi: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(directives)).with_ansi(ansi).with_writer(writer);
    match format {
        LogFormat::Pretty => Box::new(builder.event_format(Pretty).finish()),
        LogFormat::Compact => Box::new(builder.compact().finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

/// Message first; level only where it is not the usual one; fields after it, dimmed.
#[derive(Debug)]
struct Pretty;

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let ansi = writer.has_ansi_escapes();
        let paint = |style, text: &str| if ansi { super::terminal::paint(style, text) } else { text.to_owned() };
        match *event.metadata().level() {
            Level::ERROR => write!(writer, "{}: ", paint(BAD, "error"))?,
            Level::WARN if fields.message.starts_with('⚠') => {}
            Level::WARN => write!(writer, "{}: ", paint(WARN, "warning"))?,
            Level::INFO => {}
            level => write!(writer, "{} ", paint(DIM, &format!("{level} {}:", event.metadata().target())))?,
        }
        writer.write_str(&fields.message)?;
        // Progress lines say in their message what their fields say to machines.
        if event.metadata().target() != PROGRESS && !fields.others.is_empty() {
            write!(writer, " {}", paint(DIM, fields.others.trim_start()))?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

/// Writes each event at once, with the rows taken away meanwhile.
#[derive(Debug)]
struct AroundBars {
    bars: MultiProgress,
    look: Look,
}

#[derive(Debug)]
struct Line<'a> {
    around: &'a AroundBars,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for AroundBars {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { around: self, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        self.around.bars.suspend(|| self.around.look.print(&text));
    }
}

/// `🚀 Starting DSPy Environment Manager v0.1.0` and `📋 Configuration:` with its lines.
/// `serves`: the daemon's addresses, too.
pub fn announce(config: &Config, serves: bool) {
    info!("🚀 Starting DSPy Environment Manager v{}", env!("CARGO_PKG_VERSION"));
    info!("📋 Configuration:");
    if serves {
        info!("  gRPC Address: {}", config.grpc_addr);
        info!("  Metrics Address: {}", config.metrics_http_addr);
    }
    info!("  Docker Host: {}", config.docker_host.as_deref().unwrap_or("default"));
    info!("  Manifests: {}", config.manifests.display());
    info!("  Stack: {}", config.stack);
    match config.max_concurrent_starts {
        0 => info!("  Max Concurrent Starts: unlimited"),
        n => info!("  Max Concurrent Starts: {n}"),
    }
}

/// `🐳 Connecting to default Docker socket`
pub fn connecting(config: &Config) {
    match &config.docker_host {
        None => info!("🐳 Connecting to default Docker socket"),
        Some(host) => info!("🐳 Connecting to Docker at {host}"),
    }
}

/// `✓ Docker connection successful`
pub fn connected(engine: &crate::engine::EngineInfo) {
    info!("✓ Docker connection successful");
    tracing::debug!(version = %engine.version, api = %engine.api_version, address = %engine.address, "engine");
}
