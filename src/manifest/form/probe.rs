//! Probes as they are written; the same shape serves `[[service_overrides]]` in TOML.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::manifest::scalar::{PortNumber, Scalar};
use crate::manifest::span::Spanned;
use crate::manifest::union::{CommandForm, Entries};
use crate::resource::probe::StatusRanges;

/// Health checks that env-manager runs itself. Ports are container ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Probes")]
pub struct ProbesForm {
    /// Gates Ready for the first time after each start; asked every 50 ms (`exec`: 500 ms) by default.
    pub startup: Option<Spanned<ProbeForm>>,
    /// Ready or not, from then on. Without a startup probe it gates the first time too.
    pub readiness: Option<Spanned<ProbeForm>>,
    /// Failing restarts the container.
    pub liveness: Option<Spanned<ProbeForm>>,
    /// `{disable: true}` says that the image's own HEALTHCHECK stays off, which is the default.
    pub docker: Option<Spanned<DockerHealthForm>>,
}

/// One of `http`, `tcp`, `exec`, `grpc`, `redis`, `line` and `docker`, with its timing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub struct ProbeForm {
    /// GET; passes on a status within `status`.
    pub http: Option<HttpForm>,
    /// Connects. Proves little: a program may accept connections long before it serves.
    pub tcp: Option<PortForm>,
    /// Runs a command in the container; passes on exit code 0. Costs 30 to 50 ms a try.
    pub exec: Option<ExecForm>,
    /// `grpc.health.v1.Health/Check`; passes on SERVING.
    pub grpc: Option<GrpcForm>,
    /// Sends `PING` in Redis' protocol; passes on `PONG`.
    pub redis: Option<PortForm>,
    /// Sends a text; passes when a line of the answer contains `expect`.
    pub line: Option<LineForm>,
    /// The image's own HEALTHCHECK.
    pub docker: Option<DockerHealthForm>,
    /// From the end of one try to the next. Default: `5s`; startup `50ms` (`exec`: `500ms`). An `exec` is asked
    /// at most every `500ms` while starting and every `1s` afterwards.
    pub interval: Option<Scalar<Duration>>,
    /// For one try. Default: `2s`.
    pub timeout: Option<Scalar<Duration>>,
    /// Startup only: from the container's start until it counts as not having come up. Default:
    /// `health_check_timeout_secs` of the configuration.
    pub deadline: Option<Scalar<Duration>>,
    /// Failures in a row that make a passing probe fail. Default: 3.
    pub failure_threshold: Option<Scalar<u32>>,
    /// Successes in a row that make a failing probe pass. Default: 1.
    pub success_threshold: Option<Scalar<u32>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "HttpCheck")]
pub struct HttpForm {
    /// Container port.
    pub port: Option<Scalar<PortNumber>>,
    /// Path and query. Default: `/`.
    pub path: Option<Scalar<String>>,
    /// Status codes that pass: `200`, `200-299`, `200,204`. Default: `200-399`.
    pub status: Option<Scalar<StatusRanges>>,
    /// Request headers.
    pub headers: Option<Entries<Scalar<String>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "PortCheck")]
pub struct PortForm {
    /// Container port.
    pub port: Option<Scalar<PortNumber>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ExecCheck")]
pub struct ExecForm {
    /// A list is run as it is; one text is run by `/bin/sh -c` in the container.
    pub command: Option<Spanned<CommandForm>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GrpcCheck")]
pub struct GrpcForm {
    /// Container port.
    pub port: Option<Scalar<PortNumber>>,
    /// Service name to ask for. Default: empty, the whole server.
    pub service: Option<Scalar<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "LineCheck")]
pub struct LineForm {
    /// Container port.
    pub port: Option<Scalar<PortNumber>>,
    /// Text to send, as it is; end it with `\n` in double quotes where the protocol wants a line. Default: nothing.
    pub send: Option<Scalar<String>>,
    /// What a line of the answer must contain.
    pub expect: Option<Scalar<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "DockerCheck")]
pub struct DockerHealthForm {
    /// Keep the image's HEALTHCHECK off. Default: false.
    pub disable: Option<Scalar<bool>>,
}
