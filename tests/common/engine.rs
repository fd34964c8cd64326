//! A real engine for tests: a tiny image, and a scope that cleans up what a test made.
//!
//! Everything of a scope is called `em-test-TEST-PID…` and bears a stack label of that name, so that
//! runs side by side do not meet, and what a killed run left is found by its dead process.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use env_manager::engine::docker::Docker;
use env_manager::engine::{Engine, Inspected, ObjectFilter};
use env_manager::lease::volume_name;
use env_manager::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use env_manager::resource::desired::Service;
use env_manager::resource::image::ImageRef;
use env_manager::resource::labels;
use env_manager::resource::observed::Container;
use env_manager::resource::probe::Probes;
use env_manager::resource::spec::{
    Adopt, ContainerSpec, DesiredState, NetworkAttachment, NetworkSpec, PullPolicy, RestartPolicy, ServiceSpec,
};
use env_manager::resource::update::Update;

pub const IMAGE: &str = "em-test/busybox:1";
pub const SOCKET: &str = "/var/run/docker.sock";

/// The engine under test.
pub fn engine() -> Docker {
    over(SOCKET)
}

/// The engine behind another socket.
pub fn over(socket: &str) -> Docker {
    let client =
        bollard::Docker::connect_with_unix(socket, 120, bollard::API_DEFAULT_VERSION).expect("the socket is there");
    Docker::new(client, format!("unix://{socket}"), true)
}

/// Runs the docker command and returns what it wrote; panics where it fails.
pub fn docker(args: &[&str]) -> String {
    let out = Command::new("docker").args(args).stdin(Stdio::null()).output().expect("docker is installed");
    assert!(out.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// `docker inspect`, as JSON.
pub fn inspect(id: &str) -> serde_json::Value {
    let mut all: Vec<serde_json::Value> = serde_json::from_str(&docker(&["inspect", id])).expect("JSON");
    all.pop().expect("one object")
}

/// Makes the image from the host's static busybox, once.
pub fn ensure_image() {
    let there = |image: &str| {
        Command::new("docker").args(["image", "inspect", image]).output().is_ok_and(|o| o.status.success())
    };
    if there(IMAGE) {
        return;
    }
    let busybox = "/usr/bin/busybox";
    assert!(Path::new(busybox).exists(), "install busybox-static (deploy/test-tools does)");
    let root = tempfile::tempdir().expect("a folder");
    for dir in ["bin", "tmp", "etc", "proc", "dev", "sys", "data"] {
        std::fs::create_dir(root.path().join(dir)).expect("a folder");
    }
    std::fs::copy(busybox, root.path().join("bin/busybox")).expect("a copy");
    for tool in ["sh", "sleep", "cat", "echo", "nc", "ls", "true", "false", "env", "stat", "id", "httpd", "readlink"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(tool)).expect("a link");
    }
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nem:x:1000:1000::/:/bin/sh\n")
        .expect("a file");
    std::fs::write(root.path().join("etc/group"), "root:x:0:\nem:x:1000:\naudio:x:29:\n").expect("a file");
    let tar = root.path().with_extension("tar");
    let packed = Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg(".").status();
    assert!(packed.is_ok_and(|s| s.success()), "tar");
    docker(&[
        "import",
        "-c",
        "ENV PATH=/bin FROM_IMAGE=yes",
        "-c",
        "LABEL em-test.image=yes",
        "-c",
        r#"CMD ["sleep", "1000000"]"#,
        tar.to_str().expect("UTF-8"),
        IMAGE,
    ]);
    std::fs::remove_file(tar).expect("the archive is there");
}

/// What one test makes on the engine; removed before and after.
pub struct Scope {
    /// `em-test-NAME-PID`: prefix of every name, and the stack.
    pub name: String,
    pub engine: Docker,
}

impl Scope {
    pub fn new(test: &str) -> Self {
        ensure_image();
        for stale in stale_scopes(test) {
            clean(&stale);
        }
        Self { name: format!("em-test-{test}-{}", std::process::id()), engine: engine() }
    }

    /// A name of this scope.
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        [(labels::STACK, self.name.as_str()), (labels::SOURCE, "test:/here"), (labels::SERVICE, "web")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    /// A service that sleeps, without networks.
    pub fn spec(&self, part: &str) -> ContainerSpec {
        ContainerSpec {
            name: self.name(part),
            image: ImageRef::parse(IMAGE).expect("a reference"),
            command: Some(["sleep", "1000000"].map(str::to_owned).into()),
            init: true,
            restart: RestartPolicy::No,
            ..ContainerSpec::default()
        }
    }

    pub fn create_of(&self, spec: ContainerSpec) -> ContainerCreate {
        ContainerCreate {
            name: spec.name.clone(),
            service: Arc::new(service(spec)),
            labels: self.labels(),
            network: None,
            inherited: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            file_binds: BTreeMap::new(),
        }
    }

    pub async fn create(&self, spec: ContainerSpec) -> ContainerId {
        self.engine.create_container(&self.create_of(spec)).await.expect("created")
    }

    pub async fn run(&self, spec: ContainerSpec) -> ContainerId {
        let id = self.create(spec).await;
        self.engine.start(&id).await.expect("started");
        id
    }

    pub async fn network(&self, part: &str) -> Endpoint {
        let spec = NetworkSpec { name: self.name(part), ..NetworkSpec::default() };
        let id = self.engine.create_network(&spec, &self.labels()).await.expect("a network");
        endpoint(&spec.name, id)
    }

    pub async fn owned(&self, id: &ContainerId) -> Container {
        owned(&self.engine, id).await
    }

    /// Waits for a state, with a deadline.
    pub async fn wait(&self, id: &ContainerId, what: &str, until: impl Fn(&Container) -> bool) -> Container {
        wait(&self.engine, id, Duration::from_secs(30), what, until).await
    }
}

/// One of ours, inspected.
pub async fn owned(engine: &impl Engine, id: &ContainerId) -> Container {
    match engine.inspect_container(&id.0).await.expect("inspected") {
        Some(Inspected::Owned(container)) => *container,
        other => panic!("{id} should be ours: {other:?}"),
    }
}

/// Waits for a state of a container, with a deadline.
pub async fn wait(
    engine: &impl Engine,
    id: &ContainerId,
    within: Duration,
    what: &str,
    until: impl Fn(&Container) -> bool,
) -> Container {
    let mut last = None;
    let found = eventually(async || {
        let container = owned(engine, id).await;
        let done = until(&container);
        last = Some(container.clone());
        done.then_some(container)
    });
    let Ok(container) = tokio::time::timeout(within, found).await else {
        panic!("{id} was never {what}: {last:?}");
    };
    container
}

/// Asks until there is an answer. The caller keeps the deadline.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn endpoint(network: &str, id: NetworkId) -> Endpoint {
    let attachment =
        NetworkAttachment { network: network.to_owned(), aliases: [].into(), ipv4_address: None, priority: None };
    Endpoint { attachment, id, aliases: vec!["web".to_owned()] }
}

pub fn service(container: ContainerSpec) -> Service {
    let spec = ServiceSpec {
        container,
        pull_policy: PullPolicy::Never,
        required: true,
        state: DesiredState::Running,
        suspend: false,
        depends_on: Vec::new(),
        probes: Probes::default(),
        update: Update::default(),
        stop_grace: Duration::from_secs(2),
        adopt: Adopt::Never,
        annotations: BTreeMap::new(),
    };
    Service::new("web", spec, BTreeMap::new(), BTreeMap::new())
}

impl Drop for Scope {
    fn drop(&mut self) {
        clean(&self.name);
    }
}

/// Scopes of this test whose process is gone.
fn stale_scopes(test: &str) -> Vec<String> {
    let prefix = format!("em-test-{test}-");
    let mut names = Vec::new();
    for list in [
        &["ps", "-a", "--format", "{{.Names}}"][..],
        &["network", "ls", "--format", "{{.Name}}"],
        &["volume", "ls", "--format", "{{.Name}}"],
    ] {
        for name in docker(list).lines() {
            let name = name.strip_prefix("env-manager-lease-").unwrap_or(name);
            let pid = name.strip_prefix(&prefix).and_then(|rest| rest.split(['-', '.']).next());
            let dead = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
            if let Some(pid) = pid.filter(|pid| dead(pid)) {
                names.push(format!("{prefix}{pid}"));
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Best effort: a container may be in the middle of its own removal.
fn clean(scope: &str) {
    let run = |args: &[&str]| {
        let out = Command::new("docker").args(args).output().expect("docker is installed");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let label = format!("label={}={scope}", labels::STACK);
    for by in [label, format!("name=^/?{scope}")] {
        for id in run(&["ps", "-aq", "--filter", &by]).lines() {
            run(&["rm", "-fv", id]);
        }
        for id in run(&["network", "ls", "-q", "--filter", &by]).lines() {
            run(&["network", "rm", id]);
        }
        for name in run(&["volume", "ls", "-q", "--filter", &by]).lines() {
            run(&["volume", "rm", "-f", name]);
        }
    }
    // Of daemons that were killed; no part of the stack, so not labelled as such.
    let lease = volume_name(scope);
    run(&["volume", "rm", "-f", &lease, &format!("{lease}.takeover")]);
}

pub fn names(names: &[&str]) -> ObjectFilter {
    ObjectFilter::Names(names.iter().map(|n| (*n).to_owned()).collect())
}
