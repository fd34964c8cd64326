//! The engine, in our words: [`Engine`] is what the rest of the system asks of Docker.
//!
//! One method is one call to the engine (`pull` and `events` are streams). Implementations keep a
//! deadline for every call and translate; they decide nothing. Dropping a future aborts nothing on
//! the engine: after a deadline re-inspect, never assume.

pub mod archive;
#[cfg(feature = "crash-points")]
pub mod crash_points;
pub mod docker;
mod error;
#[cfg(test)]
pub mod fake;
#[cfg(test)]
pub mod scripted;
#[cfg(feature = "sim")]
pub mod sim;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use archive::MARKER_PATH;
pub use error::{Class, EngineError, ErrorKind};

use crate::clock::Timestamp;
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::image::{ImageInfo, ImageRef, PullProgress};
use crate::resource::limits::Limits;
use crate::resource::observed::{Container, ContainerRow, Foreign, Network, Volume};
use crate::resource::spec::{NetworkSpec, RestartPolicy, VolumeSpec};

pub type Result<T> = std::result::Result<T, EngineError>;

/// What the engine says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// `20.10.24`
    pub version: String,
    /// The version that both sides speak, negotiated: `1.41`.
    pub api_version: String,
    /// `unix:///var/run/docker.sock`
    pub address: String,
    /// On this host: container addresses can be reached, and host paths are ours.
    pub local: bool,
}

/// Which containers to list. All are listed, running or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Only those with this stack's label.
    pub stack: Option<String>,
    /// And this service's.
    pub service: Option<String>,
}

/// One container, inspected: ours (with any stack's label), or somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    Owned(Box<Container>),
    Foreign(Box<Foreign>),
}

/// A hint that something changed; never the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    pub kind: EventKind,
    /// `die`, `start`, `health_status: unhealthy`, …
    pub action: String,
    /// The id of the container, network, volume or image.
    pub id: String,
    /// Labels, names and details (`name`, `exitCode`, …).
    pub attributes: BTreeMap<String, String>,
    /// On the engine's clock.
    pub time: Timestamp,
    /// For resuming: `sec.nnnnnnnnn`.
    pub cursor: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    Container,
    Network,
    Volume,
    Image,
}

/// What a command in a container did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i64,
    /// Both streams as they came, at most 4 KiB.
    pub output: String,
}

/// How an exec ended from our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecResult {
    Ended(ExecOutput),
    /// The timeout passed; **the command goes on running** in the container. Ask
    /// [`Engine::exec_running`] before starting another.
    TimedOut {
        exec_id: String,
    },
}

/// One line that a container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub container: ContainerId,
    pub stream: LogStream,
    /// On the engine's clock.
    pub time: Timestamp,
    /// Without its end; at most 16 KiB, longer ones come in pieces.
    pub line: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// Which lines of a container to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the container is removed or ends.
    pub follow: bool,
    /// The last so many; `None`: all.
    pub tail: Option<u32>,
    pub since: Option<Timestamp>,
}

/// Told of every call that was made. Must be quick.
pub trait CallMeter: Send + Sync + 'static {
    /// `operation` as errors name it; `ok`: the engine did it, or said that it is not there.
    fn called(&self, operation: &'static str, ok: bool, took: Duration);
}

/// The one tar archive that is unpacked at `/`.
#[derive(Clone, Debug)]
pub struct Archive(pub Bytes);

/// What the rest of the system asks of a container engine.
///
/// Written as `-> impl Future + Send` since an `async fn` in a trait cannot be spawned once generic;
/// implementations may write `async fn`.
pub trait Engine: Send + Sync + 'static {
    /// What is known of it without a call: no versions.
    fn known(&self) -> EngineInfo;

    /// Connects and negotiates the API version. Also what tells whether the engine answers.
    fn info(&self) -> impl Future<Output = Result<EngineInfo>> + Send;

    // ---- reading -------------------------------------------------------------------------------

    fn list_containers(&self, filter: &ContainerFilter) -> impl Future<Output = Result<Vec<ContainerRow>>> + Send;

    /// By id or name; `None` where there is none. A name is matched exactly.
    fn inspect_container(&self, id_or_name: &str) -> impl Future<Output = Result<Option<Inspected>>> + Send;

    /// The target of the marker that ends a completed upload (`v1:<salt>:<hash>`), if it is there.
    fn files_marker(&self, id: &ContainerId) -> impl Future<Output = Result<Option<String>>> + Send;

    /// Networks, oldest first: all that bear one of the names exactly, or all of a stack.
    fn list_networks(&self, filter: &ObjectFilter) -> impl Future<Output = Result<Vec<Network>>> + Send;

    /// Volumes: those with one of the names, or all of a stack.
    fn list_volumes(&self, filter: &ObjectFilter) -> impl Future<Output = Result<Vec<Volume>>> + Send;

    /// By reference or id; `None` where it is not there.
    fn inspect_image(&self, reference: &str) -> impl Future<Output = Result<Option<ImageInfo>>> + Send;

    /// The digest that the image's registry has under its tag now (`sha256:…`), asked by the engine,
    /// which fetches nothing. `Unsupported` where the engine cannot ask.
    fn registry_digest(&self, image: &ImageRef) -> impl Future<Output = Result<String>> + Send;

    /// Changes as they happen, and those since `cursor` where it is given (a hint: the engine keeps
    /// 256 events). Ends with an error when the connection does.
    fn events(&self, cursor: Option<&str>) -> BoxStream<'static, Result<EngineEvent>>;

    /// The last lines that a container wrote, both streams.
    fn log_tail(&self, id: &ContainerId, lines: u32) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// What a container wrote and writes. Ends when its log does, and with the first error.
    fn logs(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogLine>>;

    // ---- changing ------------------------------------------------------------------------------

    fn create_container(&self, create: &ContainerCreate) -> impl Future<Output = Result<ContainerId>> + Send;
    fn connect(&self, id: &ContainerId, endpoint: &Endpoint) -> impl Future<Output = Result<()>> + Send;
    /// By network id, or by name where the network is gone. `container` may be a name: an endpoint
    /// can outlive its container, and is removed by `force`.
    fn disconnect(&self, container: &str, network: &str, force: bool) -> impl Future<Output = Result<()>> + Send;
    fn upload(&self, id: &ContainerId, archive: &Archive) -> impl Future<Output = Result<()>> + Send;
    fn start(&self, id: &ContainerId) -> impl Future<Output = Result<()>> + Send;
    /// Returns when it has ended. Kills after `grace`.
    fn stop(&self, id: &ContainerId, grace: Duration) -> impl Future<Output = Result<()>> + Send;
    fn rename(&self, id: &ContainerId, name: &str) -> impl Future<Output = Result<()>> + Send;
    fn set_restart_policy(&self, id: &ContainerId, policy: RestartPolicy) -> impl Future<Output = Result<()>> + Send;
    /// Changes limits, running or not, and looks whether they hold: engines pass over in silence what
    /// they do not change. An error changed nothing. Memory below what is in use is one.
    fn update_limits(&self, id: &ContainerId, limits: &Limits) -> impl Future<Output = Result<()>> + Send;
    /// Forced, and without its volumes. Returns when its name is free.
    fn remove_container(&self, id: &ContainerId) -> impl Future<Output = Result<()>> + Send;

    fn create_network(
        &self,
        spec: &NetworkSpec,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<NetworkId>> + Send;
    fn remove_network(&self, id: &NetworkId) -> impl Future<Output = Result<()>> + Send;
    /// The volume of that name as it is now: one that exists keeps its own labels, and may be
    /// somebody else's.
    fn create_volume(
        &self,
        spec: &VolumeSpec,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<Volume>> + Send;
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<()>> + Send;

    /// Pulls until the engine says that the image is there. Dropping the future ends the pull.
    /// `progress` is called often and must be quick.
    fn pull(
        &self,
        image: &ImageRef,
        platform: Option<&str>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> impl Future<Output = Result<()>> + Send;

    // ---- probing -------------------------------------------------------------------------------

    /// Runs a command in a container, with `env` beside the container's own.
    fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        env: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<ExecResult>> + Send;

    fn exec_running(&self, exec_id: &str) -> impl Future<Output = Result<bool>> + Send;
}

/// Which networks or volumes to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectFilter {
    Names(Vec<String>),
    Stack(String),
}
