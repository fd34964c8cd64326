//! From what was written to what it means, key by key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::Key;
use super::problem::expand_home;
use super::types::{Config, LogFormat, Percent};
use crate::address::Address;
use crate::manifest::suggestion;
use crate::resource::units::Bytes;
use crate::tasks::settings::{ClassSettings, Durability, LEASES, MAX_CONTENT};

const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// From a flag or a variable, where everything is text.
    Word(String),
    /// A string of the file.
    Text(String),
    Int(i64),
    Bool(bool),
    /// What no key takes, by its name.
    Other(&'static str),
}

/// As an error shows it.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(s) => write!(f, "`{s}`"),
            Self::Text(s) => write!(f, "the string {s:?}"),
            Self::Int(i) => write!(f, "`{i}`"),
            Self::Bool(b) => write!(f, "`{b}`"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// How paths of a layer are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathContext<'a> {
    pub home: Option<&'a Path>,
    pub folder: Option<&'a Path>,
}

/// Sets one key.
///
/// # Errors
/// What is wrong with the value; the caller adds the key and the origin.
pub fn assign(config: &mut Config, key: Key, raw: &Raw, paths: PathContext<'_>) -> Result<(), String> {
    match key {
        Key::GrpcAddr => config.grpc_addr = address(raw)?,
        Key::MetricsHttpAddr => config.metrics_http_addr = address(raw)?,
        Key::DockerHost => config.docker_host = docker_host(raw)?,
        Key::Manifests => config.manifests = path(raw, paths)?,
        Key::Stack => config.stack = stack(raw)?,
        Key::MaxConcurrentStarts => config.max_concurrent_starts = whole(raw, 0..=100_000)? as usize,
        Key::HealthCheckTimeoutSecs => config.health_check_timeout = seconds(raw)?,
        Key::HealthCheckMaxAttempts => config.health_check_max_attempts = whole(raw, 0..=u32::MAX)?,
        Key::VerboseLogging => config.verbose_logging = boolean(raw)?,
        Key::LogFormat => config.log_format = log_format(raw)?,
        Key::RetryMaxAttempts => config.retry.max_attempts = whole(raw, 1..=1000)?,
        Key::RetryInitial => config.retry.backoff.initial = duration(raw, Duration::from_millis(1))?,
        Key::RetryMax => config.retry.backoff.max = duration(raw, Duration::from_millis(1))?,
        Key::Resync => config.resync = duration(raw, Duration::from_secs(1))?,
        Key::ImagePoll => config.image_poll = image_poll(raw)?,
        Key::Prune => config.prune = boolean(raw)?,
        Key::PruneLimit => config.prune_limit = percent(raw)?,
        Key::PruneDelay => config.prune_delay = duration(raw, Duration::ZERO)?,
        Key::StateDir => config.state_dir = path(raw, paths)?,
        Key::TasksEnabled => config.tasks.enabled = boolean(raw)?,
        Key::TasksRedis => config.tasks.redis = redis(raw)?,
        Key::TasksGrpcAddr => config.tasks.grpc_addr = address(raw)?,
        Key::TasksHttpAddr => config.tasks.http_addr = address(raw)?,
        Key::TasksDurability => config.tasks.durability = durability(raw)?,
        Key::TasksAllowRemote => config.tasks.allow_remote = boolean(raw)?,
        Key::TasksRetryInitial => config.tasks.backoff.initial = within(raw, Duration::from_millis(1), DAY)?,
        Key::TasksRetryMax => config.tasks.backoff.max = within(raw, Duration::from_millis(1), DAY)?,
        Key::TasksLease => config.tasks.lease = within(raw, *LEASES.start(), *LEASES.end())?,
        Key::TasksMaxBacklog => config.tasks.max_backlog = whole(raw, 1..=100_000_000)?.into(),
        Key::TasksMaxPayload => config.tasks.max_payload = size(raw, MAX_CONTENT)?,
        Key::TasksMaxResult => config.tasks.max_result = size(raw, MAX_CONTENT)?,
        Key::TasksResultTtl => config.tasks.result_ttl = within(raw, Duration::from_secs(1), YEAR)?,
        Key::TasksMaxDead => config.tasks.max_dead = whole(raw, 1..=100_000_000)?.into(),
        Key::TasksCpuShortTimeLimit
        | Key::TasksCpuLongTimeLimit
        | Key::TasksGpuShortTimeLimit
        | Key::TasksGpuLongTimeLimit => {
            class(config, key).time_limit = within(raw, Duration::from_secs(1), 30 * DAY)?;
        }
        Key::TasksCpuShortMaxAttempts
        | Key::TasksCpuLongMaxAttempts
        | Key::TasksGpuShortMaxAttempts
        | Key::TasksGpuLongMaxAttempts => {
            class(config, key).max_attempts = whole(raw, 1..=1000)?;
        }
        Key::TasksCpuShortConcurrency
        | Key::TasksCpuLongConcurrency
        | Key::TasksGpuShortConcurrency
        | Key::TasksGpuLongConcurrency => {
            class(config, key).concurrency = whole(raw, 0..=1_000_000)?;
        }
        Key::TasksCpuShortWeight | Key::TasksCpuLongWeight | Key::TasksGpuShortWeight | Key::TasksGpuLongWeight => {
            class(config, key).weight = whole(raw, 1..=1000)?;
        }
    }
    Ok(())
}

fn class(config: &mut Config, key: Key) -> &mut ClassSettings {
    config.tasks.classes.of_mut(key.class().expect("the key's name has a class in it"))
}

fn text(raw: &Raw) -> Result<&str, String> {
    match raw {
        Raw::Word(s) | Raw::Text(s) => Ok(s),
        other => Err(format!("expected a string, found {other}")),
    }
}

fn boolean(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Bool(b) => Ok(*b),
        Raw::Word(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("expected true or false, found {raw}")),
        },
        other => Err(format!("expected true or false, found {other}")),
    }
}

fn whole(raw: &Raw, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    let wrong = || match (*range.start(), *range.end()) {
        (low, u32::MAX) => format!("expected a whole number from {low}, found {raw}"),
        (low, high) => format!("expected a whole number from {low} to {high}, found {raw}"),
    };
    let number: i64 = match raw {
        Raw::Int(i) => *i,
        Raw::Word(word) => word.trim().parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    u32::try_from(number).ok().filter(|n| range.contains(n)).ok_or_else(wrong)
}

/// Whole seconds, as the key's name says; with a unit it is a duration.
fn seconds(raw: &Raw) -> Result<Duration, String> {
    match raw {
        Raw::Word(s) | Raw::Text(s) if s.bytes().any(|b| b.is_ascii_alphabetic()) => {
            duration(raw, Duration::from_secs(1))
        }
        _ => whole(raw, 1..=31_536_000).map(|n| Duration::from_secs(n.into())),
    }
}

fn duration(raw: &Raw, least: Duration) -> Result<Duration, String> {
    let given = match raw {
        Raw::Word(s) | Raw::Text(s) => s.trim(),
        Raw::Int(i) => return Err(format!("`{i}` has no unit; write it as \"{i}s\" or \"{i}ms\"")),
        other => return Err(format!("expected a duration such as \"30s\", found {other}")),
    };
    let parsed = humantime::parse_duration(given)
        .map_err(|e| format!("`{given}` is not a duration such as 500ms, 30s or 2m ({e})"))?;
    if parsed < least {
        return Err(format!("`{given}` is shorter than {}", humantime::format_duration(least)));
    }
    Ok(parsed)
}

fn within(raw: &Raw, least: Duration, most: Duration) -> Result<Duration, String> {
    let given = duration(raw, least)?;
    if given > most {
        let shown = |d| humantime::format_duration(d).to_string();
        return Err(format!("`{}` is longer than {}", shown(given), shown(most)));
    }
    Ok(given)
}

/// In bytes, at least one.
fn size(raw: &Raw, most: usize) -> Result<usize, String> {
    let given = match raw {
        Raw::Word(s) | Raw::Text(s) => Bytes::parse(s.trim())?,
        Raw::Int(i) => Bytes(u64::try_from(*i).map_err(|_| format!("expected a size, found {raw}"))?),
        other => return Err(format!("expected a size such as \"1MiB\", found {other}")),
    };
    let bytes = usize::try_from(given.0).unwrap_or(usize::MAX);
    if bytes == 0 || bytes > most {
        return Err(format!("expected a size of up to {}, found {given}", Bytes(most as u64)));
    }
    Ok(bytes)
}

fn redis(raw: &Raw) -> Result<String, String> {
    let given = text(raw)?.trim();
    let wrong =
        |what: &str| Err(format!("{what}; write it as redis://[USER:PASSWORD@]HOST[:PORT][/DB] or redis+unix:///PATH"));
    if let Some(path) = given.strip_prefix("redis+unix://") {
        return if path.starts_with('/') {
            Ok(given.to_owned())
        } else {
            wrong("the path of the socket is not absolute")
        };
    }
    let Some(rest) = given.strip_prefix("redis://") else {
        let encrypted = given.starts_with("rediss://");
        return wrong(if encrypted { "Redis over TLS is not supported" } else { "this is not an address of Redis" });
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, db) = match rest.rsplit_once('@') {
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        None => rest.split_once('/').unwrap_or((rest, "")),
    };
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
    let (host, port) = match after_host.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (after_host, None),
    };
    if host.is_empty() && !authority.starts_with('[') {
        return wrong("the host is missing");
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return wrong("the port is not a number from 1 to 65535");
    }
    if !db.is_empty() && db.parse::<u16>().is_err() {
        return wrong("the database is not a number");
    }
    Ok(given.to_owned())
}

fn durability(raw: &Raw) -> Result<Durability, String> {
    let given = text(raw)?;
    Durability::ALL.into_iter().find(|known| known.name() == given).ok_or_else(|| {
        let known = Durability::ALL.map(Durability::name);
        format!("`{given}` is none of {}{}", known.join(", "), suggestion(given, known))
    })
}

/// Registries count what they are asked, and some refuse who asks too often.
fn image_poll(raw: &Raw) -> Result<Option<Duration>, String> {
    match raw {
        Raw::Bool(false) => Ok(None),
        Raw::Word(s) | Raw::Text(s) if s.trim().eq_ignore_ascii_case("off") => Ok(None),
        _ => duration(raw, Duration::from_secs(1)).map(Some),
    }
}

fn percent(raw: &Raw) -> Result<Percent, String> {
    let wrong = || format!("expected a share from 0% to 100%, found {raw}");
    let number: i64 = match raw {
        Raw::Int(i) => *i,
        Raw::Word(s) | Raw::Text(s) => {
            s.trim().strip_suffix('%').unwrap_or(s.trim()).trim_end().parse().map_err(|_| wrong())?
        }
        _ => return Err(wrong()),
    };
    u8::try_from(number).ok().filter(|n| *n <= 100).map(Percent).ok_or_else(wrong)
}

fn address(raw: &Raw) -> Result<Address, String> {
    let given = text(raw)?.trim();
    match given.parse() {
        // The one name that needs no resolver.
        Ok(Address::Name(host, port)) if host == "localhost" => Ok(Address::Ip(([127, 0, 0, 1], port).into())),
        parsed => parsed,
    }
    .map_err(|_| {
        format!("`{given}` is not an address; write it as IP:PORT or NAME:PORT, such as 0.0.0.0:50100 or [::1]:50100")
    })
}

fn docker_host(raw: &Raw) -> Result<Option<String>, String> {
    const SCHEMES: &[&str] = &["unix://", "tcp://", "http://", "https://", "ssh://"];
    let given = text(raw)?.trim();
    if given.is_empty() {
        return Ok(None);
    }
    match SCHEMES.iter().find_map(|s| given.strip_prefix(s)) {
        Some(rest) if !rest.is_empty() => Ok(Some(given.to_owned())),
        _ if given.starts_with('/') => Err(format!("`{given}` has no scheme; write it as unix://{given}")),
        _ => Err(format!("`{given}` is not an engine's address; it begins with one of {}", SCHEMES.join(", "))),
    }
}

fn path(raw: &Raw, context: PathContext<'_>) -> Result<PathBuf, String> {
    let given = text(raw)?;
    if given.is_empty() {
        return Err("expected a path, found an empty string".to_owned());
    }
    let expanded = expand_home(given, context.home)?;
    Ok(match context.folder {
        Some(folder) if expanded.is_relative() => folder.join(expanded),
        _ => expanded,
    })
}

fn stack(raw: &Raw) -> Result<String, String> {
    let given = text(raw)?;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edge = |b: Option<u8>| b.is_some_and(|b| inner(b) && b != b'-');
    let bytes = given.as_bytes();
    if bytes.len() > 63
        || !bytes.iter().all(|b| inner(*b))
        || !edge(bytes.first().copied())
        || !edge(bytes.last().copied())
    {
        return Err(format!("`{given}` is not a stack's name: 1 to 63 of a-z, 0-9 and `-`, not at an end"));
    }
    Ok(given.to_owned())
}

fn log_format(raw: &Raw) -> Result<LogFormat, String> {
    match text(raw)? {
        "pretty" => Ok(LogFormat::Pretty),
        "compact" => Ok(LogFormat::Compact),
        "json" => Ok(LogFormat::Json),
        other => {
            let hint = suggestion(other, LogFormat::WORDS.iter().copied());
            Err(format!("`{other}` is none of {}{hint}", LogFormat::WORDS.join(", ")))
        }
    }
}
