//! Test builds only (feature `crash-points`): dies like `kill -9` before or after the Nth call that
//! changes the engine, so that a test can try every step (P11).
//!
//! | variable | |
//! |---|---|
//! | `ENV_MANAGER_CRASH_AT` | `N:before` or `N:after`, N from 1 |
//! | `ENV_MANAGER_CRASH_COUNT_FILE` | gets a line for each such call before it is made: `N operation subject` |
//!
//! Calls are counted as they begin. What runs side by side is counted in the order in which it begins.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::BoxStream;

use super::{
    Archive, ContainerFilter, Engine, EngineEvent, EngineInfo, ExecResult, Inspected, LogLine, LogOptions,
    ObjectFilter, Result,
};
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::image::{ImageInfo, ImageRef, PullProgress};
use crate::resource::limits::Limits;
use crate::resource::observed::{ContainerRow, Network, Volume};
use crate::resource::spec::{NetworkSpec, RestartPolicy, VolumeSpec};

/// An engine whose changing calls are counted.
#[derive(Debug)]
pub struct CrashPoints<E> {
    engine: E,
    at: Option<(u64, Side)>,
    count_file: Option<PathBuf>,
    /// Held while a line is written, so that lines are in the order of their numbers.
    begun: Mutex<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

fn parse(text: &str) -> Option<(u64, Side)> {
    let (number, side) = text.split_once(':')?;
    let side = match side {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return None,
    };
    number.parse().ok().filter(|n| *n > 0).map(|n| (n, side))
}

impl<E: Engine> CrashPoints<E> {
    /// # Panics
    /// On a variable that cannot be read: a test would otherwise prove nothing.
    pub fn from_env(engine: E) -> Self {
        let at = std::env::var("ENV_MANAGER_CRASH_AT").ok();
        let at = at
            .map(|text| parse(&text).unwrap_or_else(|| panic!("ENV_MANAGER_CRASH_AT={text}: not N:before or N:after")));
        let count_file = std::env::var_os("ENV_MANAGER_CRASH_COUNT_FILE").map(PathBuf::from);
        Self { engine, at, count_file, begun: Mutex::new(0) }
    }

    async fn changing<T>(
        &self,
        operation: &str,
        subject: &str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let number = self.begin(operation, subject);
        if self.at == Some((number, Side::Before)) {
            die(number, "before", operation, subject);
        }
        let answer = call.await;
        if self.at == Some((number, Side::After)) {
            die(number, "after", operation, subject);
        }
        answer
    }

    fn begin(&self, operation: &str, subject: &str) -> u64 {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        *begun += 1;
        if let Some(path) = &self.count_file {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let written = file.and_then(|mut file| writeln!(file, "{begun} {operation} {subject}"));
            written.unwrap_or_else(|e| panic!("ENV_MANAGER_CRASH_COUNT_FILE={}: {e}", path.display()));
        }
        *begun
    }
}

/// No destructor runs and no buffer is flushed, as with `kill -9`.
fn die(number: u64, side: &str, operation: &str, subject: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "crash point {number}:{side}: {operation} {subject}");
    std::process::abort()
}

impl<E: Engine> Engine for CrashPoints<E> {
    async fn create_container(&self, create: &ContainerCreate) -> Result<ContainerId> {
        self.changing("create_container", &create.name, self.engine.create_container(create)).await
    }

    async fn connect(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<()> {
        self.changing("connect", &id.to_string(), self.engine.connect(id, endpoint)).await
    }

    async fn disconnect(&self, container: &str, network: &str, force: bool) -> Result<()> {
        self.changing("disconnect", container, self.engine.disconnect(container, network, force)).await
    }

    async fn upload(&self, id: &ContainerId, archive: &Archive) -> Result<()> {
        self.changing("upload", &id.to_string(), self.engine.upload(id, archive)).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.changing("start", &id.to_string(), self.engine.start(id)).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.changing("stop", &id.to_string(), self.engine.stop(id, grace)).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.changing("rename", &format!("{id} {name}"), self.engine.rename(id, name)).await
    }

    async fn set_restart_policy(&self, id: &ContainerId, policy: RestartPolicy) -> Result<()> {
        self.changing("set_restart_policy", &id.to_string(), self.engine.set_restart_policy(id, policy)).await
    }

    async fn update_limits(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        self.changing("update_limits", &id.to_string(), self.engine.update_limits(id, limits)).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.changing("remove_container", &id.to_string(), self.engine.remove_container(id)).await
    }

    async fn create_network(&self, spec: &NetworkSpec, labels: &BTreeMap<String, String>) -> Result<NetworkId> {
        self.changing("create_network", &spec.name, self.engine.create_network(spec, labels)).await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        self.changing("remove_network", &id.to_string(), self.engine.remove_network(id)).await
    }

    async fn create_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Result<Volume> {
        self.changing("create_volume", &spec.name, self.engine.create_volume(spec, labels)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.changing("remove_volume", name, self.engine.remove_volume(name)).await
    }

    async fn pull(
        &self,
        image: &ImageRef,
        platform: Option<&str>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<()> {
        self.changing("pull", image.as_str(), self.engine.pull(image, platform, progress)).await
    }

    // ---- nothing changes by these --------------------------------------------------------------

    fn known(&self) -> EngineInfo {
        self.engine.known()
    }

    fn info(&self) -> impl Future<Output = Result<EngineInfo>> + Send {
        self.engine.info()
    }

    fn list_containers(&self, filter: &ContainerFilter) -> impl Future<Output = Result<Vec<ContainerRow>>> + Send {
        self.engine.list_containers(filter)
    }

    fn inspect_container(&self, id_or_name: &str) -> impl Future<Output = Result<Option<Inspected>>> + Send {
        self.engine.inspect_container(id_or_name)
    }

    fn files_marker(&self, id: &ContainerId) -> impl Future<Output = Result<Option<String>>> + Send {
        self.engine.files_marker(id)
    }

    fn list_networks(&self, filter: &ObjectFilter) -> impl Future<Output = Result<Vec<Network>>> + Send {
        self.engine.list_networks(filter)
    }

    fn list_volumes(&self, filter: &ObjectFilter) -> impl Future<Output = Result<Vec<Volume>>> + Send {
        self.engine.list_volumes(filter)
    }

    fn inspect_image(&self, reference: &str) -> impl Future<Output = Result<Option<ImageInfo>>> + Send {
        self.engine.inspect_image(reference)
    }

    fn registry_digest(&self, image: &ImageRef) -> impl Future<Output = Result<String>> + Send {
        self.engine.registry_digest(image)
    }

    fn events(&self, cursor: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        self.engine.events(cursor)
    }

    fn log_tail(&self, id: &ContainerId, lines: u32) -> impl Future<Output = Result<Vec<String>>> + Send {
        self.engine.log_tail(id, lines)
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogLine>> {
        self.engine.logs(id, options)
    }

    fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        env: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<ExecResult>> + Send {
        self.engine.exec(id, command, env, timeout)
    }

    fn exec_running(&self, exec_id: &str) -> impl Future<Output = Result<bool>> + Send {
        self.engine.exec_running(exec_id)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus};

    use super::*;
    use crate::engine::scripted::ScriptedEngine;

    #[test]
    fn points_are_read() {
        assert_eq!(parse("3:before"), Some((3, Side::Before)));
        assert_eq!(parse("12:after"), Some((12, Side::After)));
        for text in ["", "3", "0:before", "x:after", "3:during"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    /// Three changing calls and one that is none, in a process of its own: run by the test below.
    #[tokio::test]
    #[ignore = "dies; run by the test below"]
    async fn victim() {
        let engine = CrashPoints::from_env(ScriptedEngine::default());
        let id = ContainerId::new("0123456789abcdef");
        let _ = engine.start(&id).await;
        let _ = engine.info().await;
        let _ = engine.rename(&id, "web.old").await;
        let _ = engine.remove_volume("v").await;
    }

    fn run(at: Option<&str>) -> (ExitStatus, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "engine::crash_points::tests::victim", "--ignored"]);
        command.env("ENV_MANAGER_CRASH_COUNT_FILE", &count).env_remove("ENV_MANAGER_CRASH_AT");
        if let Some(at) = at {
            command.env("ENV_MANAGER_CRASH_AT", at);
        }
        let status = command.output().unwrap().status;
        (status, std::fs::read_to_string(count).unwrap_or_default().lines().map(str::to_owned).collect())
    }

    #[test]
    fn the_process_dies_at_the_point_and_the_calls_before_it_are_listed() {
        let all = ["1 start 0123456789ab", "2 rename 0123456789ab web.old", "3 remove_volume v"];
        let (status, lines) = run(None);
        assert!(status.success());
        assert_eq!(lines, all);
        for (at, begun) in [("1:before", 1), ("1:after", 1), ("2:before", 2), ("3:after", 3)] {
            let (status, lines) = run(Some(at));
            assert_eq!((status.signal(), &lines[..]), (Some(6), &all.map(str::to_owned)[..begun]), "{at}");
        }
        assert!(run(Some("4:before")).0.success(), "there is no fourth");
        assert_eq!(run(Some("x")).0.code(), Some(101), "a point that cannot be read is no point");
    }
}
