//! The one table of keys. `docs/configuration.md` is checked against it.

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
pub const LATER_SECTIONS: &[&str] = &["git", "policy", "tls", "auth", "tasks"];

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

impl Key {
    pub fn name(self) -> &'static str {
        self.info().name
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.name() == name)
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
