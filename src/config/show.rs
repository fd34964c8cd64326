//! What `config show` prints: every key with its value and origin.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::keys::{Key, OVERRIDES};
use super::load::Loaded;
use super::types::Config;
use crate::resource::units::Bytes;
use crate::tasks::settings::masked;

/// A key, its value and where that came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    #[serde(skip)]
    pub key: String,
    pub value: serde_json::Value,
    /// `default`, `flag --x`, `variable X` or `FILE:LINE:COLUMN`.
    pub origin: String,
}

/// In the order of the documentation; overrides last, by the names of the fields that they set.
pub fn rows(loaded: &Loaded) -> Vec<Row> {
    let keys = Key::ALL.iter().map(|key| Row {
        key: key.name().to_owned(),
        value: value(&loaded.config, *key),
        origin: loaded.origins[key].to_string(),
    });
    let overrides = loaded.overrides.iter().map(|o| Row {
        key: format!("{OVERRIDES}.{}", o.name),
        value: o.fields().to_vec().into(),
        origin: o.origin.to_string(),
    });
    keys.chain(overrides).collect()
}

/// As `-o json` and `-o yaml` print it: by key.
pub fn by_key(loaded: &Loaded) -> BTreeMap<String, Row> {
    rows(loaded).into_iter().map(|row| (row.key.clone(), row)).collect()
}

/// As the file would say it.
pub fn value(config: &Config, key: Key) -> serde_json::Value {
    let duration = |d: Duration| humantime::format_duration(d).to_string();
    let tasks = &config.tasks;
    let class = || tasks.classes.of(key.class().expect("the key's name has a class in it"));
    match key {
        Key::GrpcAddr => config.grpc_addr.to_string().into(),
        Key::MetricsHttpAddr => config.metrics_http_addr.to_string().into(),
        Key::DockerHost => config.docker_host.clone().into(),
        Key::Manifests => config.manifests.display().to_string().into(),
        Key::Stack => config.stack.clone().into(),
        Key::MaxConcurrentStarts => config.max_concurrent_starts.into(),
        Key::HealthCheckTimeoutSecs => match config.health_check_timeout {
            d if d.subsec_nanos() == 0 => d.as_secs().into(),
            d => duration(d).into(),
        },
        Key::HealthCheckMaxAttempts => config.health_check_max_attempts.into(),
        Key::VerboseLogging => config.verbose_logging.into(),
        Key::LogFormat => config.log_format.to_string().into(),
        Key::RetryMaxAttempts => config.retry.max_attempts.into(),
        Key::RetryInitial => duration(config.retry.backoff.initial).into(),
        Key::RetryMax => duration(config.retry.backoff.max).into(),
        Key::Resync => duration(config.resync).into(),
        Key::ImagePoll => config.image_poll.map_or_else(|| "off".to_owned(), duration).into(),
        Key::Prune => config.prune.into(),
        Key::PruneLimit => config.prune_limit.to_string().into(),
        Key::PruneDelay => duration(config.prune_delay).into(),
        Key::StateDir => config.state_dir.display().to_string().into(),
        Key::TasksEnabled => tasks.enabled.into(),
        Key::TasksRedis => masked(&tasks.redis).into(),
        Key::TasksGrpcAddr => tasks.grpc_addr.to_string().into(),
        Key::TasksHttpAddr => tasks.http_addr.to_string().into(),
        Key::TasksDurability => tasks.durability.name().into(),
        Key::TasksAllowRemote => tasks.allow_remote.into(),
        Key::TasksRetryInitial => duration(tasks.backoff.initial).into(),
        Key::TasksRetryMax => duration(tasks.backoff.max).into(),
        Key::TasksLease => duration(tasks.lease).into(),
        Key::TasksMaxBacklog => tasks.max_backlog.into(),
        Key::TasksMaxPayload => Bytes(tasks.max_payload as u64).to_string().into(),
        Key::TasksMaxResult => Bytes(tasks.max_result as u64).to_string().into(),
        Key::TasksResultTtl => duration(tasks.result_ttl).into(),
        Key::TasksMaxDead => tasks.max_dead.into(),
        Key::TasksCpuShortTimeLimit
        | Key::TasksCpuLongTimeLimit
        | Key::TasksGpuShortTimeLimit
        | Key::TasksGpuLongTimeLimit => duration(class().time_limit).into(),
        Key::TasksCpuShortMaxAttempts
        | Key::TasksCpuLongMaxAttempts
        | Key::TasksGpuShortMaxAttempts
        | Key::TasksGpuLongMaxAttempts => class().max_attempts.into(),
        Key::TasksCpuShortConcurrency
        | Key::TasksCpuLongConcurrency
        | Key::TasksGpuShortConcurrency
        | Key::TasksGpuLongConcurrency => class().concurrency.into(),
        Key::TasksCpuShortWeight | Key::TasksCpuLongWeight | Key::TasksGpuShortWeight | Key::TasksGpuLongWeight => {
            class().weight.into()
        }
    }
}
