//! Health checks: what to ask, how often, and what was answered.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;

use serde::{Deserialize, Serialize};

use super::units::duration_text;

/// The probes of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Gates Ready for the first time after each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Ready or not, from then on. Without a startup probe it gates the first time too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Failing → restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
}

impl Probes {
    pub fn is_empty(&self) -> bool {
        self.startup.is_none() && self.readiness.is_none() && self.liveness.is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ProbeRole, &Probe)> {
        [
            (ProbeRole::Startup, &self.startup),
            (ProbeRole::Readiness, &self.readiness),
            (ProbeRole::Liveness, &self.liveness),
        ]
        .into_iter()
        .filter_map(|(role, probe)| probe.as_ref().map(|p| (role, p)))
    }

    /// Whether any probe asks for the image's own HEALTHCHECK (which is switched off otherwise).
    pub fn uses_docker_health(&self) -> bool {
        self.iter().any(|(_, p)| p.check == Check::Docker)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeRole {
    Startup,
    Readiness,
    Liveness,
}

impl fmt::Display for ProbeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        })
    }
}

/// One check with its timing. Every value is filled in; [`Probe::DEFAULT_INTERVAL`] and its
/// neighbours are the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub check: Check,
    /// From the end of one try to the begin of the next.
    #[serde(with = "duration_text")]
    pub interval: Duration,
    /// For one try.
    #[serde(with = "duration_text")]
    pub timeout: Duration,
    /// Startup only: from container start until the service counts as not having come up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DeadlineText>,
    /// Failures in a row that make a passing probe fail.
    pub failure_threshold: u32,
    /// Successes in a row that make a failing probe pass.
    pub success_threshold: u32,
}

impl Probe {
    /// A startup probe is asked this often, so that the gate opens at once.
    pub const STARTUP_INTERVAL: Duration = Duration::from_millis(50);
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
    pub const DEFAULT_FAILURE_THRESHOLD: u32 = 3;
    /// An exec costs the engine 28–47 ms, so it is asked less often: while starting, and after.
    pub const EXEC_STARTUP_INTERVAL: Duration = Duration::from_millis(500);
    pub const EXEC_INTERVAL: Duration = Duration::from_secs(1);
}

/// A duration that is written to disk as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeadlineText(#[serde(with = "duration_text")] pub Duration);

/// What is asked, and which answer passes. Ports are container ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// GET; passes on a status within `status`.
    Http { port: u16, path: String, status: StatusRanges, headers: BTreeMap<String, String> },
    /// Connects.
    Tcp { port: u16 },
    /// Runs in the container; passes on exit code 0.
    Exec { command: Vec<String> },
    /// `grpc.health.v1.Health/Check`; passes on SERVING.
    Grpc { port: u16, service: String },
    /// RESP `PING`; passes on `PONG`.
    Redis { port: u16 },
    /// Sends a text, and passes when a line of the answer contains `expect`.
    Line { port: u16, send: String, expect: String },
    /// The image's own HEALTHCHECK.
    Docker,
}

impl Check {
    /// The word that manifests use for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Exec { .. } => "exec",
            Self::Grpc { .. } => "grpc",
            Self::Redis { .. } => "redis",
            Self::Line { .. } => "line",
            Self::Docker => "docker",
        }
    }

    /// What answers it is what serves the network.
    pub fn is_over_network(&self) -> bool {
        self.port().is_some()
    }

    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Http { port, .. }
            | Self::Tcp { port }
            | Self::Grpc { port, .. }
            | Self::Redis { port }
            | Self::Line { port, .. } => Some(*port),
            Self::Exec { .. } | Self::Docker => None,
        }
    }
}

/// HTTP status codes that pass: `200`, `200-399`, `200,204`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRanges(pub Vec<(u16, u16)>);

impl Default for StatusRanges {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl StatusRanges {
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a set of HTTP status codes; write it as `200`, `200-299` or `200,204`");
        let code = |s: &str| s.trim().parse::<u16>().ok().filter(|c| (100..=599).contains(c)).ok_or_else(wrong);
        text.split(',')
            .map(|part| match part.split_once('-') {
                Some((from, to)) => Ok((code(from)?, code(to)?)),
                None => code(part).map(|c| (c, c)),
            })
            .map(|range| range.and_then(|(from, to)| if from <= to { Ok((from, to)) } else { Err(wrong()) }))
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    pub fn contains(&self, code: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&code))
    }
}

/// What the probes of one container have shown so far. An input of `plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeState {
    /// Whether the container has once passed its startup gate since its last start.
    pub started: bool,
    /// Past thresholds; `None` until the first verdict.
    pub ready: Option<bool>,
    /// Past thresholds; `None` until the first verdict.
    pub live: Option<bool>,
    /// The last answer of the probe that decides readiness, for people (`PING answered in 0.3 ms`).
    pub message: String,
    /// The port could be reached by no route at all.
    pub unreachable: bool,
}

/// The last try of one probe, for `describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastTry {
    pub role: ProbeRole,
    /// `http`, `redis`, …
    pub kind: &'static str,
    /// `container address 172.18.0.2:6379`
    pub route: String,
    pub passed: bool,
    pub message: String,
    pub latency: Duration,
    pub at: Timestamp,
    /// Tries in a row with this outcome.
    pub in_a_row: u32,
}
