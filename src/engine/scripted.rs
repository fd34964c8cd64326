//! An engine for unit tests of what stands on it: inspecting, pulling and executing do what a test
//! says; everything else is an error. It proves nothing about Docker.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::{
    Archive, ContainerFilter, Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, ExecResult, Inspected, LogLine,
    LogOptions, ObjectFilter, Result,
};
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::image::{ImageInfo, ImageRef, PullProgress};
use crate::resource::limits::Limits;
use crate::resource::observed::{ContainerRow, Network, Volume};
use crate::resource::spec::{NetworkSpec, RestartPolicy, VolumeSpec};

type Progress<'a> = &'a (dyn Fn(PullProgress) + Send + Sync);
type OnExec = Box<dyn Fn(Vec<String>, Duration) -> BoxFuture<'static, Result<ExecResult>> + Send + Sync>;
type OnExecRunning = Box<dyn Fn(&str) -> Result<bool> + Send + Sync>;
type OnInspect = Box<dyn Fn(&str) -> Result<Option<Inspected>> + Send + Sync>;
type OnInspectImage = Box<dyn Fn(&str) -> Result<Option<ImageInfo>> + Send + Sync>;
type OnPull = Box<dyn for<'a> Fn(ImageRef, Option<String>, Progress<'a>) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// What a test fills in.
#[derive(Default)]
#[must_use]
pub struct ScriptedEngine {
    pub on_exec: Mutex<Option<OnExec>>,
    pub on_exec_running: Mutex<Option<OnExecRunning>>,
    pub on_inspect: Mutex<Option<OnInspect>>,
    pub on_inspect_image: Mutex<Option<OnInspectImage>>,
    pub on_pull: Mutex<Option<OnPull>>,
}

fn unscripted(operation: &'static str) -> EngineError {
    EngineError::new(operation, "test", ErrorKind::Unsupported, "not scripted")
}

impl ScriptedEngine {
    pub fn exec(
        self,
        f: impl Fn(Vec<String>, Duration) -> BoxFuture<'static, Result<ExecResult>> + Send + Sync + 'static,
    ) -> Self {
        Self { on_exec: Mutex::new(Some(Box::new(f))), ..self }
    }

    pub fn exec_running(self, f: impl Fn(&str) -> Result<bool> + Send + Sync + 'static) -> Self {
        Self { on_exec_running: Mutex::new(Some(Box::new(f))), ..self }
    }

    pub fn inspect(self, f: impl Fn(&str) -> Result<Option<Inspected>> + Send + Sync + 'static) -> Self {
        Self { on_inspect: Mutex::new(Some(Box::new(f))), ..self }
    }

    pub fn inspect_image(self, f: impl Fn(&str) -> Result<Option<ImageInfo>> + Send + Sync + 'static) -> Self {
        Self { on_inspect_image: Mutex::new(Some(Box::new(f))), ..self }
    }

    pub fn pull(
        self,
        f: impl for<'a> Fn(ImageRef, Option<String>, Progress<'a>) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self { on_pull: Mutex::new(Some(Box::new(f))), ..self }
    }
}

/// The script's answer, with the lock given back before it is awaited.
macro_rules! scripted {
    ($self:ident . $field:ident, $operation:literal, $($arg:expr),*) => {
        match &*$self.$field.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(f) => Ok(f($($arg),*)),
            None => Err(unscripted($operation)),
        }
    };
}

impl Engine for ScriptedEngine {
    fn known(&self) -> EngineInfo {
        EngineInfo { local: true, ..EngineInfo::default() }
    }

    async fn info(&self) -> Result<EngineInfo> {
        Ok(self.known())
    }

    async fn list_containers(&self, _: &ContainerFilter) -> Result<Vec<ContainerRow>> {
        Err(unscripted("list containers"))
    }

    async fn inspect_container(&self, id_or_name: &str) -> Result<Option<Inspected>> {
        scripted!(self.on_inspect, "inspect container", id_or_name)?
    }

    async fn files_marker(&self, _: &ContainerId) -> Result<Option<String>> {
        Err(unscripted("read marker"))
    }

    async fn list_networks(&self, _: &ObjectFilter) -> Result<Vec<Network>> {
        Err(unscripted("list networks"))
    }

    async fn list_volumes(&self, _: &ObjectFilter) -> Result<Vec<Volume>> {
        Err(unscripted("list volumes"))
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        scripted!(self.on_inspect_image, "inspect image", reference)?
    }

    async fn registry_digest(&self, _: &ImageRef) -> Result<String> {
        Err(unscripted("ask the registry"))
    }

    fn events(&self, _: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        Box::pin(tokio_stream::empty())
    }

    async fn log_tail(&self, _: &ContainerId, _: u32) -> Result<Vec<String>> {
        Err(unscripted("read logs"))
    }

    fn logs(&self, _: &ContainerId, _: LogOptions) -> BoxStream<'static, Result<LogLine>> {
        Box::pin(tokio_stream::once(Err(unscripted("follow logs"))))
    }

    async fn create_container(&self, _: &ContainerCreate) -> Result<ContainerId> {
        Err(unscripted("create container"))
    }

    async fn connect(&self, _: &ContainerId, _: &Endpoint) -> Result<()> {
        Err(unscripted("connect"))
    }

    async fn disconnect(&self, _: &str, _: &str, _: bool) -> Result<()> {
        Err(unscripted("disconnect"))
    }

    async fn upload(&self, _: &ContainerId, _: &Archive) -> Result<()> {
        Err(unscripted("upload"))
    }

    async fn start(&self, _: &ContainerId) -> Result<()> {
        Err(unscripted("start"))
    }

    async fn stop(&self, _: &ContainerId, _: Duration) -> Result<()> {
        Err(unscripted("stop"))
    }

    async fn rename(&self, _: &ContainerId, _: &str) -> Result<()> {
        Err(unscripted("rename"))
    }

    async fn set_restart_policy(&self, _: &ContainerId, _: RestartPolicy) -> Result<()> {
        Err(unscripted("update"))
    }

    async fn update_limits(&self, _: &ContainerId, _: &Limits) -> Result<()> {
        Err(unscripted("update limits"))
    }

    async fn remove_container(&self, _: &ContainerId) -> Result<()> {
        Err(unscripted("remove container"))
    }

    async fn create_network(&self, _: &NetworkSpec, _: &BTreeMap<String, String>) -> Result<NetworkId> {
        Err(unscripted("create network"))
    }

    async fn remove_network(&self, _: &NetworkId) -> Result<()> {
        Err(unscripted("remove network"))
    }

    async fn create_volume(&self, _: &VolumeSpec, _: &BTreeMap<String, String>) -> Result<Volume> {
        Err(unscripted("create volume"))
    }

    async fn remove_volume(&self, _: &str) -> Result<()> {
        Err(unscripted("remove volume"))
    }

    async fn pull(&self, image: &ImageRef, platform: Option<&str>, progress: Progress<'_>) -> Result<()> {
        let pull = scripted!(self.on_pull, "pull", image.clone(), platform.map(str::to_owned), progress)?;
        pull.await
    }

    async fn exec(&self, _: &ContainerId, command: &[String], _: &[String], timeout: Duration) -> Result<ExecResult> {
        let exec = scripted!(self.on_exec, "exec", command.to_vec(), timeout)?;
        exec.await
    }

    async fn exec_running(&self, exec_id: &str) -> Result<bool> {
        scripted!(self.on_exec_running, "inspect exec", exec_id)?
    }
}
