//! Every field of a service's manifest, from YAML to what `docker inspect` says, and back.
//!
//! The test walks the JSON Schema: a property without a row in [`table`] fails it. Then each row is
//! checked, and the planner has to find no difference between what was asked for and what is.

#[path = "common/engine.rs"]
mod common;
#[path = "common/properties.rs"]
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{Scope, inspect};
use env_manager::engine::archive::archive;
use env_manager::engine::{Engine, ErrorKind};
use env_manager::manifest::{Defaults, render, schema};
use env_manager::plan::drift::{drift, sets_label};
use env_manager::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use env_manager::resource::desired::{DesiredSpec, Service};
use env_manager::resource::hash::SaltedHash;
use env_manager::resource::labels;
use env_manager::resource::observed::{Container, ServiceObserved};
use env_manager::source::{LoadContext, Loaded, dir};
use properties::properties;
use serde_json::{Value, json};

const SALT: &str = "salt";

/// Where the value of a property shows.
enum At {
    /// In `docker inspect SERVICE`, at a JSON pointer.
    Docker(&'static str, &'static str, Value),
    /// One of the lines of the list at a JSON pointer of `docker inspect SERVICE`.
    Among(&'static str, &'static str, Value),
    /// In a file of the running container: `MODE UID:GID CONTENT`.
    File(&'static str, &'static str, &'static str),
    /// It does not go into the container: in the service's spec, at a JSON pointer.
    Spec(&'static str, &'static str, Value),
    /// A field of the field, which has rows of its own.
    Parts,
    /// Not built yet: a manifest that uses it is an error that says so.
    NotYet(&'static str),
}

use At::{Among, Docker, File, NotYet, Parts, Spec};

#[expect(clippy::too_many_lines, reason = "a table, one line a property")]
fn table() -> Vec<(&'static str, At)> {
    let mut rows = vec![
        ("metadata.name", Docker("all", "/Config/Labels/dev.env-manager.service", json!("all"))),
        ("metadata.labels", Docker("all", "/Config/Labels/traefik.enable", json!("true"))),
        ("metadata.annotations", Docker("all", "/Config/Labels/dev.env-manager.restarted-at", json!("yesterday"))),
        ("spec.image", Docker("all", "/Config/Image", json!("em-test/busybox:1"))),
        ("spec.pullPolicy", Spec("all", "/pull_policy", json!("Never"))),
        ("spec.required", Spec("all", "/required", json!(false))),
        ("spec.state", Spec("all", "/state", json!("Running"))),
        ("spec.suspend", Spec("all", "/suspend", json!(true))),
        ("spec.dependsOn", Spec("all", "/depends_on/1/service", json!("limits"))),
        ("spec.dependsOn[].service", Spec("all", "/depends_on/0/service", json!("bare"))),
        ("spec.dependsOn[].condition", Spec("all", "/depends_on/0/condition", json!("Started"))),
        ("spec.dependsOn[].restart", Spec("all", "/depends_on/0/restart", json!(true))),
        ("spec.containerName", Docker("all", "/Name", json!("/SCOPE-all"))),
        ("spec.platform", Docker("all", "/Config/Labels/dev.env-manager.platform", json!("linux/amd64"))),
        ("spec.entrypoint", Docker("all", "/Config/Entrypoint", json!(["/bin/sh", "-c"]))),
        ("spec.command", Docker("all", "/Config/Cmd", json!(["exec sleep 1000000"]))),
        ("spec.workingDir", Docker("all", "/Config/WorkingDir", json!("/tmp"))),
        ("spec.user", Docker("all", "/Config/User", json!("1000:1000"))),
        ("spec.groupAdd", Docker("all", "/HostConfig/GroupAdd", json!(["audio"]))),
        ("spec.hostname", Docker("all", "/Config/Hostname", json!("all.example"))),
        ("spec.init", Docker("all", "/HostConfig/Init", json!(false))),
        ("spec.tty", Docker("all", "/Config/Tty", json!(true))),
        ("spec.stdin", Docker("all", "/Config/OpenStdin", json!(true))),
        ("spec.env", Among("all", "/Config/Env", json!("VERSION=1.20"))),
        ("spec.envFrom", Parts),
        ("spec.envFrom[].file", Among("all", "/Config/Env", json!("FROM_FILE_OF_ENV=yes"))),
        ("spec.envFrom[].optional", Among("all", "/Config/Env", json!("MODE=0755"))),
        ("spec.secretEnv", Docker("all", "/Config/Labels/dev.env-manager.secret-env", json!("FROM_ENV,FROM_FILE"))),
        ("spec.secretEnv{}.fromEnv", Among("all", "/Config/Env", json!("FROM_ENV=env-secret"))),
        ("spec.secretEnv{}.fromFile", Among("all", "/Config/Env", json!("FROM_FILE=file-secret"))),
        ("spec.secretEnv{}.optional", Spec("all", "/container/secret_env/NOT_SET", Value::Null)),
        ("spec.secretEnv{}.fromSecret", NotYet("secretEnv: { A: { fromSecret: { file: a.enc.yaml, key: a } } }")),
        ("spec.secretEnv{}.fromSecret.file", Parts),
        ("spec.secretEnv{}.fromSecret.key", Parts),
        ("spec.secretFiles", Parts),
        ("spec.secretFiles[].target", File("all", "/tmp/a/secret", "400 1000:29 file-secret")),
        ("spec.secretFiles[].fromFile", File("all", "/tmp/a/secret", "400 1000:29 file-secret")),
        ("spec.secretFiles[].fromEnv", File("all", "/tmp/a/other", "400 0:0 env-secret")),
        ("spec.secretFiles[].mode", File("all", "/tmp/a/secret", "400 1000:29 file-secret")),
        ("spec.secretFiles[].uid", File("all", "/tmp/a/secret", "400 1000:29 file-secret")),
        ("spec.secretFiles[].gid", File("all", "/tmp/a/secret", "400 1000:29 file-secret")),
        (
            "spec.secretFiles[].fromSecret",
            NotYet("secretFiles: [{ target: /a, fromSecret: { file: a.enc.yaml, key: a } }]"),
        ),
        ("spec.secretFiles[].fromSecret.file", Parts),
        ("spec.secretFiles[].fromSecret.key", Parts),
        ("spec.files", Parts),
        ("spec.files[].target", File("all", "/etc/em.conf", "640 7:8 em = 1")),
        ("spec.files[].source", File("all", "/etc/em.conf", "640 7:8 em = 1")),
        ("spec.files[].mode", File("all", "/etc/em.conf", "640 7:8 em = 1")),
        ("spec.files[].uid", File("all", "/etc/em.conf", "640 7:8 em = 1")),
        ("spec.files[].gid", File("all", "/etc/em.conf", "640 7:8 em = 1")),
        ("spec.files[].content", File("all", "/srv/inline", "644 0:0 inline")),
        ("spec.files[].onChange", Spec("all", "/container/files/1/signal", json!("SIGHUP"))),
        ("spec.files[].onChange.signal", Spec("all", "/container/files/1/signal", json!("SIGHUP"))),
        ("spec.ports", Docker("all", "/Config/ExposedPorts", json!({ "80/tcp": {}, "81/udp": {} }))),
        ("spec.ports[].hostIP", Docker("all", "/HostConfig/PortBindings/80~1tcp/0/HostIp", json!("127.0.0.1"))),
        ("spec.ports[].hostPort", Docker("all", "/HostConfig/PortBindings/81~1udp/0/HostPort", json!("39281"))),
        (
            "spec.ports[].containerPort",
            Docker("all", "/HostConfig/PortBindings/80~1tcp", json!([{ "HostIp": "127.0.0.1", "HostPort": "" }])),
        ),
        (
            "spec.ports[].protocol",
            Docker("all", "/HostConfig/PortBindings/81~1udp", json!([{ "HostIp": "127.0.0.2", "HostPort": "39281" }])),
        ),
        (
            "spec.volumes",
            Among(
                "all",
                "/HostConfig/Mounts",
                json!({ "Type": "volume", "Source": "SCOPE_data", "Target": "/data", "ReadOnly": true }),
            ),
        ),
        (
            "spec.volumes[].type",
            Among("all", "/HostConfig/Mounts", json!({ "Type": "volume", "Target": "/mnt/anonymous" })),
        ),
        ("spec.volumes[].source", Among("all", "/HostConfig/Mounts", share())),
        ("spec.volumes[].target", Among("all", "/HostConfig/Mounts", share())),
        ("spec.volumes[].readOnly", Among("all", "/HostConfig/Mounts", share())),
        ("spec.volumes[].propagation", Among("all", "/HostConfig/Mounts", share())),
        ("spec.volumes[].selinux", Docker("all", "/HostConfig/Binds", json!(["/usr/lib:/mnt/lib:ro,z"]))),
        ("spec.volumes[].size", Among("all", "/HostConfig/Mounts", ram())),
        ("spec.volumes[].mode", Among("all", "/HostConfig/Mounts", ram())),
        // Where the API is too old, the create is refused; see below.
        ("spec.volumes[].subpath", Spec("sub", "/container/mounts/0/source/Volume/subpath", json!("below"))),
        (
            "spec.tmpfs",
            Among("all", "/HostConfig/Mounts", json!({ "Type": "tmpfs", "Target": "/run", "TmpfsOptions": {} })),
        ),
        ("spec.devices", Parts),
        ("spec.devices[].host", Docker("limits", "/HostConfig/Devices/0/PathOnHost", json!("/dev/null"))),
        ("spec.devices[].container", Docker("limits", "/HostConfig/Devices/0/PathInContainer", json!("/dev/em"))),
        ("spec.devices[].permissions", Docker("limits", "/HostConfig/Devices/0/CgroupPermissions", json!("rw"))),
        ("spec.deviceRequests", Parts),
        ("spec.deviceRequests[].driver", Docker("gpu", "/HostConfig/DeviceRequests/1/Driver", json!("nvidia"))),
        ("spec.deviceRequests[].count", Docker("gpu", "/HostConfig/DeviceRequests/1/Count", json!(2))),
        (
            "spec.deviceRequests[].capabilities",
            Docker("gpu", "/HostConfig/DeviceRequests/1/Capabilities", json!([["gpu", "compute"]])),
        ),
        ("spec.deviceRequests[].ids", Docker("gpu", "/HostConfig/DeviceRequests/2/DeviceIDs", json!(["0", "1"]))),
        ("spec.networks", Docker("all", "/NetworkSettings/Networks/SCOPE-b/Aliases/0", json!("all"))),
        ("spec.networks[].name", Docker("all", "/HostConfig/NetworkMode", json!("SCOPE-a"))),
        ("spec.networks[].aliases", Among("all", "/NetworkSettings/Networks/SCOPE-a/Aliases", json!("kafka"))),
        (
            "spec.networks[].ipv4Address",
            Docker("all", "/NetworkSettings/Networks/SCOPE-a/IPAddress", json!("10.213.7.9")),
        ),
        ("spec.networks[].priority", Spec("all", "/container/networks/0/priority", json!(100))),
        ("spec.networkAliases", Among("all", "/NetworkSettings/Networks/SCOPE-b/Aliases", json!("every_alias"))),
        ("spec.networkMode", Docker("sharer", "/HostConfig/NetworkMode", json!("container:ID-OF-all"))),
        ("spec.macAddress", Docker("all", "/NetworkSettings/Networks/SCOPE-a/MacAddress", json!("02:42:0a:d5:07:09"))),
        (
            "spec.extraHosts",
            Docker("all", "/HostConfig/ExtraHosts", json!(["db:10.0.0.9", "host.docker.internal:host-gateway"])),
        ),
        ("spec.dns", Parts),
        ("spec.dns.servers", Docker("all", "/HostConfig/Dns", json!(["9.9.9.9"]))),
        ("spec.dns.search", Docker("all", "/HostConfig/DnsSearch", json!(["example.test"]))),
        ("spec.dns.options", Docker("all", "/HostConfig/DnsOptions", json!(["ndots:2"]))),
        ("spec.stop", Parts),
        ("spec.stop.signal", Docker("all", "/Config/StopSignal", json!("SIGINT"))),
        ("spec.stop.gracePeriod", Docker("all", "/Config/StopTimeout", json!(4))),
        ("spec.sysctls", Docker("all", "/HostConfig/Sysctls", json!({ "net.core.somaxconn": "777" }))),
        ("spec.ulimits", Among("all", "/HostConfig/Ulimits", json!({ "Name": "core", "Soft": 0, "Hard": 0 }))),
        (
            "spec.ulimits{}.soft",
            Among("all", "/HostConfig/Ulimits", json!({ "Name": "nofile", "Soft": 1000, "Hard": 2000 })),
        ),
        (
            "spec.ulimits{}.hard",
            Among("all", "/HostConfig/Ulimits", json!({ "Name": "nofile", "Soft": 1000, "Hard": 2000 })),
        ),
        ("spec.pidMode", Docker("limits", "/HostConfig/PidMode", json!("host"))),
        ("spec.ipcMode", Docker("all", "/HostConfig/IpcMode", json!("shareable"))),
        ("spec.usernsMode", Docker("limits", "/HostConfig/UsernsMode", json!("host"))),
        ("spec.cgroupParent", Docker("all", "/HostConfig/CgroupParent", json!("/em-test"))),
        ("spec.runtime", Docker("all", "/HostConfig/Runtime", json!("runc"))),
        ("spec.logging", Parts),
        ("spec.logging.driver", Docker("all", "/HostConfig/LogConfig/Type", json!("json-file"))),
        (
            "spec.logging.options",
            Docker("all", "/HostConfig/LogConfig/Config", json!({ "max-size": "10m", "max-file": "3" })),
        ),
        ("spec.restart", Docker("all", "/HostConfig/RestartPolicy/Name", json!("on-failure"))),
        ("spec.restartMaxRetries", Docker("all", "/HostConfig/RestartPolicy/MaximumRetryCount", json!(7))),
        ("spec.resources", Parts),
        ("spec.resources.memory", Docker("limits", "/HostConfig/Memory", json!(64 << 20))),
        ("spec.resources.memoryReservation", Docker("limits", "/HostConfig/MemoryReservation", json!(32 << 20))),
        ("spec.resources.swap", Docker("limits", "/HostConfig/MemorySwap", json!(80 << 20))),
        ("spec.resources.cpus", Docker("limits", "/HostConfig/NanoCpus", json!(500_000_000))),
        ("spec.resources.cpuset", Docker("limits", "/HostConfig/CpusetCpus", json!("0"))),
        ("spec.resources.cpuShares", Docker("limits", "/HostConfig/CpuShares", json!(512))),
        ("spec.resources.pids", Docker("limits", "/HostConfig/PidsLimit", json!(99))),
        ("spec.resources.shmSize", Docker("limits", "/HostConfig/ShmSize", json!(8 << 20))),
        ("spec.resources.oomScoreAdj", Docker("limits", "/HostConfig/OomScoreAdj", json!(500))),
        (
            "spec.resources.gpus",
            Docker(
                "gpu",
                "/HostConfig/DeviceRequests/0",
                json!({ "Driver": "", "Count": -1, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": null }),
            ),
        ),
        ("spec.security", Parts),
        ("spec.security.readOnlyRootFilesystem", Docker("bare", "/HostConfig/ReadonlyRootfs", json!(true))),
        ("spec.security.privileged", Docker("gpu", "/HostConfig/Privileged", json!(true))),
        ("spec.security.capAdd", Docker("limits", "/HostConfig/CapAdd", json!(["NET_ADMIN", "SYS_NICE"]))),
        ("spec.security.capDrop", Docker("limits", "/HostConfig/CapDrop", json!(["MKNOD"]))),
        ("spec.security.noNewPrivileges", Among("limits", "/HostConfig/SecurityOpt", json!("no-new-privileges"))),
        ("spec.security.seccomp", Among("limits", "/HostConfig/SecurityOpt", json!("seccomp=unconfined"))),
        ("spec.security.apparmor", Among("bare", "/HostConfig/SecurityOpt", json!("apparmor=unconfined"))),
        ("spec.security.selinux", Among("bare", "/HostConfig/SecurityOpt", json!("label=disable"))),
        // The engine takes the option apart: no path is masked then.
        ("spec.security.opts", Docker("limits", "/HostConfig/MaskedPaths", json!([]))),
        ("spec.update", Parts),
        ("spec.update.strategy", Spec("all", "/update/strategy", json!("Recreate"))),
        ("spec.update.progressDeadline", Spec("all", "/update/progress_deadline", json!("45s"))),
        ("spec.update.rollback", Spec("all", "/update/rollback", json!(false))),
        ("spec.update.drain", Spec("all", "/update/drain", json!("2s"))),
        ("spec.adopt", Parts),
        (
            "spec.adopt.policy",
            Spec("all", "/adopt", json!({ "Replace": { "project": "nobody", "service": "nothing" } })),
        ),
        ("spec.adopt.composeProject", Spec("all", "/adopt/Replace/project", json!("nobody"))),
        ("spec.adopt.composeService", Spec("all", "/adopt/Replace/service", json!("nothing"))),
        ("spec.probes", Parts),
        ("spec.probes.docker", Docker("all", "/Config/Healthcheck/Test", json!(["NONE"]))),
        ("spec.probes.docker.disable", Docker("all", "/Config/Healthcheck/Test", json!(["NONE"]))),
    ];
    rows.extend(probe_rows());
    rows
}

fn share() -> Value {
    json!({
        "Type": "bind", "Source": "/usr/share", "Target": "/mnt/share", "ReadOnly": true,
        "BindOptions": { "Propagation": "private" },
    })
}

fn ram() -> Value {
    let options = json!({ "SizeBytes": 16 << 20, "Mode": 0o750 });
    json!({ "Type": "tmpfs", "Target": "/mnt/ram", "TmpfsOptions": options })
}

/// Probes go into no container but for `docker`; they are in the spec as they were written.
fn probe_rows() -> Vec<(&'static str, At)> {
    let mut rows = Vec::new();
    for role in ["startup", "readiness", "liveness"] {
        let mut row = |property: &str, service: &str, pointer: &str, value: Value| {
            let leak = |text: String| -> &'static str { text.leak() };
            let path = leak(format!("spec.probes.{role}{property}"));
            rows.push((path, Spec(leak(format!("probe-{service}")), leak(format!("/probes/{role}{pointer}")), value)));
        };
        let (interval, timeout, failures, successes) = match role {
            "startup" => ("2s", "3s", 4, 2),
            "readiness" => ("6s", "1s", 5, 3),
            _ => ("7s", "4s", 6, 1),
        };
        let deadline = if role == "startup" { json!("41s") } else { Value::Null };
        row("", "docker", "/check", json!("Docker"));
        row(".docker", "docker", "/check", json!("Docker"));
        row(".docker.disable", "docker", "/check", json!("Docker"));
        row(".interval", "tcp", "/interval", json!(interval));
        row(".timeout", "tcp", "/timeout", json!(timeout));
        row(".deadline", "tcp", "/deadline", deadline);
        row(".failureThreshold", "tcp", "/failure_threshold", json!(failures));
        row(".successThreshold", "tcp", "/success_threshold", json!(successes));
        row(".http", "http", "/check/Http/port", json!(80));
        row(".http.port", "http", "/check/Http/port", json!(80));
        row(".http.path", "http", "/check/Http/path", json!("/health"));
        row(".http.status", "http", "/check/Http/status", json!([[200, 299]]));
        row(".http.headers", "http", "/check/Http/headers", json!({ "X-Em": "1" }));
        row(".tcp", "tcp", "/check/Tcp/port", json!(81));
        row(".tcp.port", "tcp", "/check/Tcp/port", json!(81));
        row(".exec", "exec", "/check/Exec/command/0", json!("check"));
        row(".exec.command", "exec", "/check/Exec/command", json!(["check", "now"]));
        row(".grpc", "grpc", "/check/Grpc/port", json!(82));
        row(".grpc.port", "grpc", "/check/Grpc/port", json!(82));
        row(".grpc.service", "grpc", "/check/Grpc/service", json!("em.Test"));
        row(".redis", "redis", "/check/Redis/port", json!(83));
        row(".redis.port", "redis", "/check/Redis/port", json!(83));
        row(".line", "line", "/check/Line/port", json!(84));
        row(".line.port", "line", "/check/Line/port", json!(84));
        row(".line.send", "line", "/check/Line/send", json!("srvr\n"));
        row(".line.expect", "line", "/check/Line/expect", json!("Mode:"));
    }
    rows
}

#[test]
fn every_property_of_the_schema_has_a_row_and_every_row_a_property() {
    let properties = properties(&schema());
    assert!(properties.len() > 100, "the walk has lost its way: {properties:?}");
    let rows: Vec<_> = table().into_iter().map(|(path, _)| path.to_owned()).collect();
    let unique: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(unique.len(), rows.len(), "a property has two rows");
    let missing: Vec<_> = properties.difference(&unique).collect();
    assert!(missing.is_empty(), "write a row, with an assertion, for {missing:#?}");
    let stale: Vec<_> = unique.difference(&properties).collect();
    assert!(stale.is_empty(), "no such properties: {stale:#?}");
}

#[test]
fn what_is_not_built_yet_is_an_error_that_says_so() {
    for (path, at) in table() {
        let NotYet(line) = at else { continue };
        let folder = tempfile::tempdir().unwrap();
        let head = "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: web }\nspec:\n  image: web:1\n";
        std::fs::write(folder.path().join("web.yaml"), format!("{head}  {line}\n")).unwrap();
        let findings = render(&load(folder.path(), "em-test-x").findings, false);
        assert!(findings.contains("not yet supported"), "{path}: {findings}");
    }
}

fn load(folder: &std::path::Path, scope: &str) -> Loaded {
    let variables = |name: &str| match name {
        "SCOPE" => Some(scope.to_owned()),
        "EVERY_SECRET" => Some("env-secret".to_owned()),
        _ => None,
    };
    let context = LoadContext {
        stack: scope,
        defaults: Defaults::default(),
        overrides: &[],
        variables: &variables,
        host: "test",
    };
    dir::load(folder, &context)
}

/// The labels that the planner gives, as far as drift reads them.
fn owner_labels(scope: &Scope, service: &Service) -> BTreeMap<String, String> {
    let secret_env: Vec<_> = service.spec.container.secret_env.keys().cloned().collect();
    let mut all = scope.labels();
    all.extend([
        (labels::SERVICE.to_owned(), service.name.to_string()),
        (labels::SPEC_HASH.to_owned(), service.hash.to_string()),
        (labels::SECRET_ENV.to_owned(), secret_env.join(",")),
        (labels::SETS.to_owned(), sets_label(&service.spec.container)),
    ]);
    let secrets = SaltedHash::of_secrets(service, SALT).map(|h| (labels::SECRETS_HASH.to_owned(), h.to_string()));
    all.extend(secrets);
    all
}

/// What the test runs, by service.
struct World {
    scope: Scope,
    services: BTreeMap<String, Arc<Service>>,
    networks: BTreeMap<String, NetworkId>,
    ids: BTreeMap<String, ContainerId>,
    files: tempfile::TempDir,
}

impl World {
    async fn create(&mut self, name: &str) -> ContainerId {
        let service = Arc::clone(&self.services[name]);
        let container = &service.spec.container;
        let mut endpoints = container.networks.iter().map(|attachment| Endpoint {
            attachment: attachment.clone(),
            id: self.networks[&attachment.network].clone(),
            aliases: vec![name.to_owned()],
        });
        let mut file_binds = BTreeMap::new();
        if container.security.read_only_root_filesystem {
            for file in &container.files {
                let path = env_manager::plan::service::file_bind(&service, &file.target);
                let path = self.files.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, service.file_content(&file.target)).unwrap();
                file_binds.insert(file.target.clone(), path.to_str().unwrap().to_owned());
            }
        }
        let create = ContainerCreate {
            name: container.name.clone(),
            service: Arc::clone(&service),
            labels: owner_labels(&self.scope, &service),
            network: endpoints.next(),
            inherited: BTreeMap::new(),
            namespaces: self.ids.clone(),
            file_binds,
        };
        let engine = &self.scope.engine;
        let id = engine.create_container(&create).await.unwrap();
        for endpoint in endpoints {
            engine.connect(&id, &endpoint).await.unwrap();
        }
        if !container.security.read_only_root_filesystem
            && let Some(marker) = SaltedHash::of_files(&service, SALT)
        {
            engine.upload(&id, &archive(&service, &marker)).await.unwrap();
        }
        self.ids.insert(name.to_owned(), id.clone());
        id
    }

    /// As the controller observes it.
    async fn observe(&self, name: &str) -> Container {
        let id = &self.ids[name];
        let mut container = self.scope.owned(id).await;
        let marker = self.scope.engine.files_marker(id).await.unwrap();
        container.files_marker = marker.as_deref().and_then(SaltedHash::parse);
        container
    }

    async fn assert_no_drift(&self, name: &str, when: &str) {
        let container = self.observe(name).await;
        let service = &self.services[name];
        let image = Arc::new(self.scope.engine.inspect_image(common::IMAGE).await.unwrap().unwrap());
        let observed = ServiceObserved {
            images: [(image.id.clone(), Arc::clone(&image))].into(),
            spec_image: Some(image),
            namespaces: self.ids.clone(),
            ..ServiceObserved::default()
        };
        let changes = drift(service, &container, &observed);
        assert!(changes.is_empty(), "{name}, {when}: {changes:#?}");
        assert_eq!(container.owner.spec_hash, service.hash, "{name}");
        // The planner looks at the attachments by themselves.
        for wanted in &service.spec.container.networks {
            let is = &container.endpoints[&wanted.network];
            assert_eq!(is.network_id, self.networks[&wanted.network], "{name}, {when}");
            assert_eq!(is.ipv4_address, wanted.ipv4_address, "{name}, {when}");
            assert!(is.aliases.is_superset(&wanted.aliases), "{name}, {when}: {is:?}");
        }
        assert!(container.config.secret_env.is_empty() && !format!("{container:?}").contains("-secret\""), "{name}");
    }

    fn fill(&self, value: &Value) -> Value {
        let text = value.to_string().replace("SCOPE", &self.scope.name);
        let text = text.replace("ID-OF-all", &self.ids["all"].0);
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test]
async fn every_field_ends_up_in_the_container_and_is_read_back_without_a_difference() {
    let scope = Scope::new("every");
    let loaded = load("tests/fixtures/every-field".as_ref(), &scope.name);
    assert_eq!(render(&loaded.findings, false), "");
    let mut world = World {
        services: BTreeMap::new(),
        networks: BTreeMap::new(),
        ids: BTreeMap::new(),
        files: tempfile::tempdir().unwrap(),
        scope,
    };
    for (key, desired) in &loaded.set.resources {
        let engine = &world.scope.engine;
        match desired {
            DesiredSpec::Service(service) => {
                world.services.insert(key.name.to_string(), Arc::clone(service));
            }
            DesiredSpec::Network(spec) => {
                let id = engine.create_network(spec, &world.scope.labels()).await.unwrap();
                world.networks.insert(spec.name.clone(), id);
            }
            DesiredSpec::Volume(spec) => {
                engine.create_volume(spec, &world.scope.labels()).await.unwrap();
            }
        }
    }
    for name in ["all", "limits", "bare", "gpu", "sharer"] {
        let id = world.create(name).await;
        world.assert_no_drift(name, "created").await;
        // No GPU here, and not every machine can start a privileged container.
        if name != "gpu" {
            world.scope.engine.start(&id).await.unwrap();
            world.assert_no_drift(name, "running").await;
        }
    }

    let mut failed = Vec::new();
    for (path, at) in table() {
        let (found, wanted) = match &at {
            Parts | NotYet(_) => continue,
            Docker(service, pointer, value) => {
                let inspected = inspect(&world.ids[*service].0);
                (lookup(&inspected, &world.scope.name, pointer), world.fill(value))
            }
            Among(service, pointer, value) => {
                let inspected = inspect(&world.ids[*service].0);
                let list = lookup(&inspected, &world.scope.name, pointer);
                let wanted = world.fill(value);
                let is_there = list.as_array().is_some_and(|l| l.contains(&wanted));
                if is_there { (wanted.clone(), wanted) } else { (list, wanted) }
            }
            Spec(service, pointer, value) => {
                let spec = serde_json::to_value(&world.services[*service].spec).unwrap();
                (lookup(&spec, &world.scope.name, pointer), world.fill(value))
            }
            File(service, target, value) => {
                let script = format!("echo $(stat -c '%a %u:%g' {target}) $(cat {target})");
                let id = &world.ids[*service].0;
                let text = common::docker(&["exec", "--user", "0", id, "/bin/sh", "-c", &script]);
                (json!(text), json!(value))
            }
        };
        if found != wanted {
            failed.push(format!("{path}: wanted {wanted}, found {found}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Labels have dots and slashes in their names, and networks the scope.
fn lookup(value: &Value, scope: &str, pointer: &str) -> Value {
    value.pointer(&pointer.replace("SCOPE", scope)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_field_that_the_api_is_too_old_for_is_refused_by_name() {
    let scope = Scope::new("subpath");
    let loaded = load("tests/fixtures/every-field".as_ref(), &scope.name);
    let spec = loaded.set.resources.values().filter_map(DesiredSpec::as_service).find(|s| &*s.name == "sub").unwrap();
    let created = scope.engine.create_container(&scope.create_of(spec.spec.container.clone())).await;
    let api = scope.engine.info().await.unwrap().api_version;
    let minor: u32 = api.strip_prefix("1.").unwrap().parse().unwrap();
    if minor < 45 {
        let error = created.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("volumes.subpath needs API 1.45") && text.contains(&api), "{text}");
    } else {
        let id = created.unwrap();
        let options = &inspect(&id.0)["HostConfig"]["Mounts"][0]["VolumeOptions"];
        assert_eq!(options["Subpath"], "below");
    }
}
