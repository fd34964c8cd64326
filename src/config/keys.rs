//! The one table of keys. `docs/configuration.md` is checked against it.

use crate::tasks::settings::Class;

/// What is known about a key without its value.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// In the file; dots are tables.
    pub name: &'static str,
    pub env: Option<&'static str>,
    pub flag: Option<&'static str>,
    /// As shown to people; the values themselves are in `Config::default`.
    pub default: &'static str,
    pub about: &'static str,
}

macro_rules! keys {
    ($($key:ident: $name:literal, $env:expr, $flag:expr, $default:literal, $about:literal;)*) => {
        /// A key of the configuration. `[[service_overrides]]` is not among them: it is a list, and only
        /// a file has it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $($key),* }

        impl Key {
            pub const ALL: &'static [Self] = &[$(Self::$key),*];

            pub const fn info(self) -> KeyInfo {
                match self {
                    $(Self::$key => KeyInfo {
                        name: $name, env: $env, flag: $flag, default: $default, about: $about,
                    }),*
                }
            }
        }
    };
}

keys! {
    GrpcAddr: "grpc_addr", Some("ENV_MANAGER_GRPC_ADDR"), None, "0.0.0.0:50100",
        "where the daemon serves gRPC";
    MetricsHttpAddr: "metrics_http_addr", Some("ENV_MANAGER_METRICS_ADDR"), None, "0.0.0.0:50101",
        "where the daemon serves metrics, health and the status page";
    DockerHost: "docker_host", Some("DOCKER_HOST"), Some("--docker-host"), "Docker's current context",
        "the engine: `unix://`, `tcp://`, `http://`, `https://` or `ssh://`";
    Manifests: "manifests", Some("ENV_MANAGER_MANIFESTS"), Some("--manifests"), "./manifests",
        "the folder (or one file) of manifests; in the file it is relative to the file's folder";
    Stack: "stack", Some("ENV_MANAGER_STACK"), Some("--stack"), "default",
        "the ownership label; two stacks on one engine never meet";
    MaxConcurrentStarts: "max_concurrent_starts", Some("ENV_MANAGER_MAX_CONCURRENT"), None, "5",
        "create and start calls in flight at once; 0: as many as there are";
    HealthCheckTimeoutSecs: "health_check_timeout_secs", Some("ENV_MANAGER_HEALTH_TIMEOUT"), None, "60",
        "seconds that a started service has to become ready, unless its manifest says otherwise";
    HealthCheckMaxAttempts: "health_check_max_attempts", None, None, "30",
        "accepted for old files and without effect: time counts, not attempts";
    VerboseLogging: "verbose_logging", Some("ENV_MANAGER_VERBOSE"), Some("--verbose"), "false",
        "log what is decided and why, too";
    LogFormat: "log_format", Some("ENV_MANAGER_LOG_FORMAT"), Some("--log-format"), "pretty",
        "`pretty`, `compact` or `json`";
    RetryMaxAttempts: "retry.max_attempts", Some("ENV_MANAGER_RETRY_MAX_ATTEMPTS"), None, "3",
        "failed attempts after which a service is reported as failed (it is still retried)";
    RetryInitial: "retry.initial", Some("ENV_MANAGER_RETRY_INITIAL"), None, "500ms",
        "the wait after the first failure; it doubles with each";
    RetryMax: "retry.max", Some("ENV_MANAGER_RETRY_MAX"), None, "30s",
        "the longest wait between two attempts";
    Resync: "resync", Some("ENV_MANAGER_RESYNC"), None, "1m",
        "how often everything is compared afresh, ± 10 %";
    ImagePoll: "image_poll", Some("ENV_MANAGER_IMAGE_POLL"), None, "off",
        "how often registries are asked, ± 10 %, whether a tag with `pullPolicy: Always` has moved; `off`: at create and replace alone";
    Prune: "prune", Some("ENV_MANAGER_PRUNE"), None, "true",
        "remove what this source made and no longer names";
    PruneLimit: "prune_limit", Some("ENV_MANAGER_PRUNE_LIMIT"), None, "50%",
        "the share of the owned services that may go at once without `--allow-prune`";
    PruneDelay: "prune_delay", Some("ENV_MANAGER_PRUNE_DELAY"), None, "2s",
        "how long the source must have been unchanged before anything is pruned";
    StateDir: "state_dir", Some("ENV_MANAGER_STATE_DIR"), Some("--state-dir"), "$XDG_STATE_HOME/env-manager",
        "generations, refused revisions and the lock; losing it loses no container";
    TasksEnabled: "tasks.enabled", Some("ENV_MANAGER_TASKS_ENABLED"), None, "true",
        "serve the task queue";
    TasksRedis: "tasks.redis", Some("ENV_MANAGER_TASKS_REDIS"), None, "redis://127.0.0.1:6379",
        "the Redis that keeps tasks: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` or `redis+unix:///PATH`; a password is never shown";
    TasksGrpcAddr: "tasks.grpc_addr", Some("ORCHESTRATOR_GRPC_ADDR"), None, "0.0.0.0:50052",
        "where the task queue serves gRPC; for clients: where it is";
    TasksHttpAddr: "tasks.http_addr", Some("ORCHESTRATOR_HTTP_ADDR"), None, "0.0.0.0:9097",
        "where the task queue serves metrics and health";
    TasksDurability: "tasks.durability", Some("ENV_MANAGER_TASKS_DURABILITY"), None, "strict",
        "`strict`: tasks are taken only where Redis is set so that none is lost; `relaxed`: always";
    TasksAllowRemote: "tasks.allow_remote", Some("ENV_MANAGER_TASKS_ALLOW_REMOTE"), None, "false",
        "callers that are not on this machine may submit and work, too";
    TasksRetryInitial: "tasks.retry_initial", Some("ENV_MANAGER_TASKS_RETRY_INITIAL"), None, "1s",
        "the wait after a task's first failed attempt; it doubles with each";
    TasksRetryMax: "tasks.retry_max", Some("ENV_MANAGER_TASKS_RETRY_MAX"), None, "5m",
        "the longest wait between two attempts at a task";
    TasksLease: "tasks.lease", Some("ENV_MANAGER_TASKS_LEASE"), None, "30s",
        "how long a task is a worker's without a heartbeat, where the worker does not say";
    TasksMaxBacklog: "tasks.max_backlog", Some("ENV_MANAGER_TASKS_MAX_BACKLOG"), None, "1000000",
        "tasks that wait, at most; more are refused";
    TasksMaxPayload: "tasks.max_payload", Some("ENV_MANAGER_TASKS_MAX_PAYLOAD"), None, "1MiB",
        "size of one payload, at most";
    TasksMaxResult: "tasks.max_result", Some("ENV_MANAGER_TASKS_MAX_RESULT"), None, "1MiB",
        "size of one result, at most";
    TasksResultTtl: "tasks.result_ttl", Some("ENV_MANAGER_TASKS_RESULT_TTL"), None, "1day",
        "how long a finished task is known: its result, and that its id is taken";
    TasksMaxDead: "tasks.max_dead", Some("ENV_MANAGER_TASKS_MAX_DEAD"), None, "100000",
        "dead tasks that are kept; the oldest go first";
    TasksCpuShortTimeLimit: "tasks.cpu_short.time_limit", Some("ENV_MANAGER_TASKS_CPU_SHORT_TIME_LIMIT"), None, "5m",
        "how long one attempt at a `cpu_short` task may take";
    TasksCpuShortMaxAttempts: "tasks.cpu_short.max_attempts", Some("ENV_MANAGER_TASKS_CPU_SHORT_MAX_ATTEMPTS"), None, "5",
        "attempts at a `cpu_short` task, in all";
    TasksCpuShortConcurrency: "tasks.cpu_short.concurrency", Some("ENV_MANAGER_TASKS_CPU_SHORT_CONCURRENCY"), None, "0",
        "`cpu_short` tasks that run at once, over all workers; 0: as many as they take";
    TasksCpuShortWeight: "tasks.cpu_short.weight", Some("ENV_MANAGER_TASKS_CPU_SHORT_WEIGHT"), None, "8",
        "the share of `cpu_short` tasks where several classes wait";
    TasksCpuLongTimeLimit: "tasks.cpu_long.time_limit", Some("ENV_MANAGER_TASKS_CPU_LONG_TIME_LIMIT"), None, "1h",
        "how long one attempt at a `cpu_long` task may take";
    TasksCpuLongMaxAttempts: "tasks.cpu_long.max_attempts", Some("ENV_MANAGER_TASKS_CPU_LONG_MAX_ATTEMPTS"), None, "3",
        "attempts at a `cpu_long` task, in all";
    TasksCpuLongConcurrency: "tasks.cpu_long.concurrency", Some("ENV_MANAGER_TASKS_CPU_LONG_CONCURRENCY"), None, "0",
        "`cpu_long` tasks that run at once, over all workers; 0: as many as they take";
    TasksCpuLongWeight: "tasks.cpu_long.weight", Some("ENV_MANAGER_TASKS_CPU_LONG_WEIGHT"), None, "4",
        "the share of `cpu_long` tasks where several classes wait";
    TasksGpuShortTimeLimit: "tasks.gpu_short.time_limit", Some("ENV_MANAGER_TASKS_GPU_SHORT_TIME_LIMIT"), None, "10m",
        "how long one attempt at a `gpu_short` task may take";
    TasksGpuShortMaxAttempts: "tasks.gpu_short.max_attempts", Some("ENV_MANAGER_TASKS_GPU_SHORT_MAX_ATTEMPTS"), None, "5",
        "attempts at a `gpu_short` task, in all";
    TasksGpuShortConcurrency: "tasks.gpu_short.concurrency", Some("ENV_MANAGER_TASKS_GPU_SHORT_CONCURRENCY"), None, "0",
        "`gpu_short` tasks that run at once, over all workers; 0: as many as they take";
    TasksGpuShortWeight: "tasks.gpu_short.weight", Some("ENV_MANAGER_TASKS_GPU_SHORT_WEIGHT"), None, "8",
        "the share of `gpu_short` tasks where several classes wait";
    TasksGpuLongTimeLimit: "tasks.gpu_long.time_limit", Some("ENV_MANAGER_TASKS_GPU_LONG_TIME_LIMIT"), None, "1day",
        "how long one attempt at a `gpu_long` task may take";
    TasksGpuLongMaxAttempts: "tasks.gpu_long.max_attempts", Some("ENV_MANAGER_TASKS_GPU_LONG_MAX_ATTEMPTS"), None, "3",
        "attempts at a `gpu_long` task, in all";
    TasksGpuLongConcurrency: "tasks.gpu_long.concurrency", Some("ENV_MANAGER_TASKS_GPU_LONG_CONCURRENCY"), None, "0",
        "`gpu_long` tasks that run at once, over all workers; 0: as many as they take";
    TasksGpuLongWeight: "tasks.gpu_long.weight", Some("ENV_MANAGER_TASKS_GPU_LONG_WEIGHT"), None, "4",
        "the share of `gpu_long` tasks where several classes wait";
}

/// The variable that names the file itself.
pub const CONFIG_VARIABLE: &str = "ENV_MANAGER_CONFIG";

/// The file that is read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "~/.dspy-agent/env-manager.toml";

/// The list of overrides, which only a file has.
pub const OVERRIDES: &str = "service_overrides";

/// What a `[[service_overrides]]` item may set.
pub const OVERRIDE_FIELDS: &[&str] =
    &["name", "required", "image", "command", "environment", "ports", "health_check_url", "probes", "suspend"];

/// Tables of the contract that this version does not have yet.
pub const LATER_SECTIONS: &[&str] = &["git", "policy", "tls", "auth"];

/// `ENV_MANAGER_…` variables that are no configuration, by name or by prefix (`…_*`).
///
/// Docker's links and Kubernetes put `NAME_PORT…` and `NAME_SERVICE…` into the environment of
/// everything that runs beside a service called `env-manager`.
pub const FOREIGN_VARIABLES: &[&str] = &[
    CONFIG_VARIABLE,
    "ENV_MANAGER_LOCAL_IMAGES",
    "ENV_MANAGER_BIN",
    "ENV_MANAGER_CRASH_*",
    "ENV_MANAGER_TEST_*",
    "ENV_MANAGER_BENCH_*",
    "ENV_MANAGER_PORT",
    "ENV_MANAGER_PORT_*",
    "ENV_MANAGER_SERVICE_*",
];

/// Tables of the file: keys that begin with them and a dot are in them. A table within one comes after it.
pub const TABLES: &[&str] =
    &["retry", "tasks", "tasks.cpu_short", "tasks.cpu_long", "tasks.gpu_short", "tasks.gpu_long"];

impl Key {
    pub fn name(self) -> &'static str {
        self.info().name
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.name() == name)
    }

    /// The class of tasks that it is about.
    pub fn class(self) -> Option<Class> {
        let (class, _) = self.name().strip_prefix("tasks.")?.split_once('.')?;
        Class::ALL.into_iter().find(|known| known.name() == class)
    }

    pub fn from_env(variable: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.info().env == Some(variable))
    }
}

/// Whether a variable that begins with `ENV_MANAGER_` is somebody else's.
pub fn is_foreign(variable: &str) -> bool {
    FOREIGN_VARIABLES.iter().any(|known| match known.strip_suffix('*') {
        Some(prefix) => variable.starts_with(prefix),
        None => variable == *known,
    })
}
