//! The result, in plain types.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::backoff::Backoff;
use crate::manifest::Override;
use crate::tasks::settings::TaskSettings;

/// Everything that can be configured, with every default filled in.
#[derive(Clone, Debug)]
pub struct Config {
    pub grpc_addr: Address,
    pub metrics_http_addr: Address,
    /// `None`: `DOCKER_CONTEXT`, then Docker's current context, then its default socket.
    pub docker_host: Option<String>,
    /// As written, `~` expanded; not made absolute, since messages repeat it.
    pub manifests: PathBuf,
    pub stack: String,
    /// 0: without limit.
    pub max_concurrent_starts: usize,
    /// Default of a service's startup and progress deadlines.
    pub health_check_timeout: Duration,
    /// Without effect.
    pub health_check_max_attempts: u32,
    pub verbose_logging: bool,
    pub log_format: LogFormat,
    pub retry: Retry,
    /// ± 10 %.
    pub resync: Duration,
    /// ± 10 %; `None`: off.
    pub image_poll: Option<Duration>,
    pub prune: bool,
    /// Of (owned, not desired) / owned.
    pub prune_limit: Percent,
    pub prune_delay: Duration,
    /// Absolute or relative to the working directory. Shared by all stacks: see [`Config::stack_dir`].
    pub state_dir: PathBuf,
    pub tasks: TaskSettings,
    pub service_overrides: Overrides,
}

impl Config {
    /// Where this stack's state is kept.
    pub fn stack_dir(&self) -> PathBuf {
        self.state_dir.join(&self.stack)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc_addr: Address::Ip(([0, 0, 0, 0], 50100).into()),
            metrics_http_addr: Address::Ip(([0, 0, 0, 0], 50101).into()),
            docker_host: None,
            manifests: PathBuf::from("./manifests"),
            stack: "default".to_owned(),
            max_concurrent_starts: 5,
            health_check_timeout: Duration::from_mins(1),
            health_check_max_attempts: 30,
            verbose_logging: false,
            log_format: LogFormat::Pretty,
            retry: Retry::default(),
            resync: Duration::from_mins(1),
            image_poll: None,
            prune: true,
            prune_limit: Percent(50),
            prune_delay: Duration::from_secs(2),
            // What `load` puts here depends on the user; this one is for tests.
            state_dir: PathBuf::from("/var/lib/env-manager"),
            tasks: TaskSettings::default(),
            service_overrides: Overrides::default(),
        }
    }
}

/// `[[service_overrides]]`.
#[derive(Clone, Default)]
pub struct Overrides(pub Vec<Override>);

/// Names only: `environment` may hold a password.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|o| &o.name)).finish()
    }
}

/// How often, and with what pauses, an engine call that failed is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// At least 1. Past it a service counts as failed; it is still retried at the longest pause.
    pub max_attempts: u32,
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 3, backoff: Backoff::default() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: the message and little else.
    #[default]
    Pretty,
    /// One line an event, with time, level and fields.
    Compact,
    /// One JSON object an event.
    Json,
}

impl LogFormat {
    pub const WORDS: &'static [&'static str] = &["pretty", "compact", "json"];
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pretty => "pretty",
            Self::Compact => "compact",
            Self::Json => "json",
        })
    }
}

/// 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}
