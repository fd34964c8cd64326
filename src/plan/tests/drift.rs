//! Every field of a spec: unchanged it is no difference, changed it is exactly that one.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, attachment, kafka, network};
use crate::plan::types::{Cause, ClosedBy};
use crate::resource::container::ContainerId;
use crate::resource::image::ImageRef;
use crate::resource::observed::RunState::Running;
use crate::resource::secret::Secret;
use crate::resource::spec::{
    ContainerSpec, Device, DeviceRequest, Dns, Logging, Mount, MountSource, NamespaceMode, NetworkMode, Port, Protocol,
    Resources, RestartPolicy, SecretSource, Security, Ulimit,
};
use crate::resource::units::{Bytes, NanoCpus};

type Edit = fn(&mut ContainerSpec);

fn text(s: &str) -> String {
    s.to_owned()
}

fn mount(target: &str, source: MountSource) -> Mount {
    Mount { target: text(target), source, read_only: false }
}

fn volume(name: &str) -> MountSource {
    MountSource::Volume { name: text(name), subpath: None }
}

/// Field by field: what a plan calls it, and an edit that changes it and nothing else. Each is tried
/// as an addition (before → after) and as a removal (after → before).
#[expect(clippy::too_many_lines, reason = "a table")]
fn edits() -> Vec<(&'static str, Edit)> {
    // Whole, so that a new field does not compile until it has a row below.
    let ContainerSpec {
        name: _, // `containerName`: told by the planner of the service, a rename
        image: _,
        platform: _,
        labels: _,
        restarted_at: _,
        entrypoint: _,
        command: _,
        working_dir: _,
        user: _,
        group_add: _,
        hostname: _,
        init: _,
        tty: _,
        stdin: _,
        env: _,
        secret_env: _,
        stop_signal: _,
        image_healthcheck: _,
        mounts: _,
        files: _, // below: contents are not in the spec
        devices: _,
        device_requests: _,
        ports: _,
        networks: _,
        network_mode: _,
        mac_address: _,
        extra_hosts: _,
        dns: Dns { servers: _, search: _, options: _ },
        resources:
            Resources {
                memory: _,
                memory_reservation: _,
                swap: _,
                cpus: _,
                cpuset: _,
                cpu_shares: _,
                pids: _,
                shm_size: _,
                oom_score_adj: _,
                gpus: _,
            },
        security: Security { read_only_root_filesystem: _, privileged: _, cap_add: _, cap_drop: _, opts: _ },
        sysctls: _,
        ulimits: _,
        pid_mode: _,
        ipc_mode: _,
        userns_mode: _,
        cgroup_parent: _,
        runtime: _,
        logging: _,
        restart: _,
    } = ContainerSpec::default();
    vec![
        ("image", |c| c.image = ImageRef::parse("kafka:2").unwrap()),
        ("platform", |c| c.platform = Some(text("linux/arm64"))),
        ("metadata.labels.tier", |c| drop(c.labels.insert(text("tier"), text("streaming")))),
        ("annotations.restartedAt", |c| c.restarted_at = Some(text("today"))),
        // An entrypoint of one's own drops the image's command: two fields, so it comes with one.
        ("entrypoint", |c| {
            c.entrypoint = Some(vec![text("/run")]);
            c.command = Some(vec![text("serve")]);
        }),
        ("command", |c| c.command = Some(vec![text("serve"), text("-v")])),
        ("workingDir", |c| c.working_dir = Some(text("/srv"))),
        ("user", |c| c.user = Some(text("1000"))),
        ("groupAdd", |c| c.group_add = vec![text("audio")]),
        ("hostname", |c| c.hostname = Some(text("broker"))),
        ("init", |c| c.init = !c.init),
        ("tty", |c| c.tty = true),
        ("stdin", |c| c.stdin = true),
        ("env.A", |c| drop(c.env.insert(text("A"), text("1")))),
        ("env.LANG", |c| drop(c.env.insert(text("LANG"), text("de_DE")))), // the image's own
        ("secretEnv", |c| drop(c.secret_env.insert(text("TOKEN"), SecretSource::FromEnv(text("TOKEN"))))),
        ("stop.signal", |c| c.stop_signal = Some(text("SIGQUIT"))),
        ("probes.docker", |c| c.image_healthcheck = true),
        ("volumes./data", |c| c.mounts.push(mount("/data", volume("kafka_data")))),
        ("volumes./host", |c| {
            let bind = MountSource::Bind { path: text("/srv/kafka"), propagation: None, selinux: None };
            c.mounts.push(mount("/host", bind));
        }),
        ("volumes./tmp", |c| {
            c.mounts.push(mount("/tmp", MountSource::Tmpfs { size: Some(Bytes(1 << 20)), mode: None }));
        }),
        ("devices", |c| {
            c.devices.push(Device { host: text("/dev/a"), container: text("/dev/a"), permissions: text("rwm") });
        }),
        ("deviceRequests", |c| {
            let capabilities = vec![text("gpu")];
            c.device_requests.push(DeviceRequest {
                driver: Some(text("nvidia")),
                count: Some(1),
                capabilities,
                ids: Vec::new(),
            });
        }),
        ("deviceRequests", |c| c.resources.gpus = Some(-1)),
        ("ports", |c| {
            c.ports.push(Port { host_ip: None, host_port: Some(9092), container_port: 9092, protocol: Protocol::Tcp });
        }),
        ("networks.metrics", |c| c.networks.push(attachment("metrics"))),
        ("networks.env-manager", |c| {
            c.networks[0].aliases.insert(text("broker"));
        }),
        ("networks.env-manager", |c| c.networks[0].ipv4_address = Some(text("172.20.0.9"))),
        ("networkMode", |c| c.network_mode = Some(NetworkMode::Host)),
        ("networkMode", |c| c.network_mode = Some(NetworkMode::Service(text("gateway")))),
        ("macAddress", |c| c.mac_address = Some(text("02:42:ac:11:00:09"))),
        ("extraHosts", |c| {
            c.extra_hosts.insert(text("db:10.0.0.1"));
        }),
        ("dns.servers", |c| c.dns.servers = vec![text("1.1.1.1")]),
        ("dns.search", |c| c.dns.search = vec![text("lan")]),
        ("dns.options", |c| c.dns.options = vec![text("ndots:1")]),
        ("resources.memory", |c| c.resources.memory = Some(Bytes(1 << 30))),
        ("resources.memoryReservation", |c| c.resources.memory_reservation = Some(Bytes(1 << 29))),
        ("resources.swap", |c| c.resources.swap = Some(Bytes(1 << 28))),
        ("resources.cpus", |c| c.resources.cpus = Some(NanoCpus(1_500_000_000))),
        ("resources.cpuset", |c| c.resources.cpuset = Some(text("0-1"))),
        ("resources.cpuShares", |c| c.resources.cpu_shares = Some(512)),
        ("resources.pids", |c| c.resources.pids = Some(100)),
        ("resources.shmSize", |c| c.resources.shm_size = Some(Bytes(1 << 27))),
        ("resources.oomScoreAdj", |c| c.resources.oom_score_adj = Some(-500)),
        ("security.readOnlyRootFilesystem", |c| c.security.read_only_root_filesystem = true),
        ("security.privileged", |c| c.security.privileged = true),
        ("security.capAdd", |c| {
            c.security.cap_add.insert(text("NET_ADMIN"));
        }),
        ("security.capDrop", |c| {
            c.security.cap_drop.insert(text("ALL"));
        }),
        ("security.opts", |c| {
            c.security.opts.insert(text("no-new-privileges"));
        }),
        ("sysctls.net.core.somaxconn", |c| drop(c.sysctls.insert(text("net.core.somaxconn"), text("1024")))),
        ("ulimits.nofile", |c| {
            c.ulimits.insert(text("nofile"), Ulimit { soft: 1024, hard: 2048 });
        }),
        ("pidMode", |c| c.pid_mode = Some(NamespaceMode::Plain(text("host")))),
        ("pidMode", |c| c.pid_mode = Some(NamespaceMode::Service(text("gateway")))),
        ("ipcMode", |c| c.ipc_mode = Some(NamespaceMode::Plain(text("shareable")))),
        ("usernsMode", |c| c.userns_mode = Some(text("host"))),
        ("cgroupParent", |c| c.cgroup_parent = Some(text("/slow"))),
        ("runtime", |c| c.runtime = Some(text("runsc"))),
        ("logging", |c| c.logging = Some(Logging { driver: text("local"), options: BTreeMap::new() })),
        ("restart", |c| c.restart = RestartPolicy::Always),
    ]
}

fn world() -> Case {
    let mut case = kafka();
    case.observed.networks.insert(text("metrics"), vec![network("metrics", "net-2")]);
    case.observed.namespaces.insert(text("gateway"), ContainerId::new("a".repeat(64)));
    case.secrets.insert(text("TOKEN"), Secret::new("hunter2"));
    case
}

/// The engine has the image that the spec names.
fn with(case: Case, edit: Edit) -> Case {
    let mut case = case;
    edit(&mut case.spec.container);
    if case.spec.container.secret_env.is_empty() {
        case.secrets.clear();
    } else {
        case.secrets.insert(text("TOKEN"), Secret::new("hunter2"));
    }
    let image = case.spec.container.image.as_str().to_owned();
    let mut case = case.image_is(&image);
    case.remember_images();
    case
}

fn nothing(_: &mut ContainerSpec) {}

fn changes(case: &Case) -> BTreeSet<String> {
    case.plan().changes.into_iter().map(|c| c.field).collect()
}

#[test]
fn p03_every_field_unchanged_is_no_difference() {
    for (field, edit) in edits() {
        let case = with(world(), edit).has("kafka", Running);
        let plan = case.plan();
        assert!(plan.is_empty() && plan.changes.is_empty() && plan.status.settled, "{field}:\n{plan}");
    }
}

#[test]
fn every_field_added_or_taken_away_is_exactly_that_difference() {
    for (field, edit) in edits() {
        let added = with(with(world(), nothing).has("kafka", Running), edit);
        assert_eq!(changes(&added), BTreeSet::from([text(field)]), "added");
        assert!(!added.plan().is_empty(), "{field} is not closed");
        // And back: made with it, asked for without.
        let spec = with(world(), nothing).spec;
        let removed = with(with(world(), edit).has("kafka", Running).spec(|s| *s = spec), nothing);
        assert_eq!(changes(&removed), BTreeSet::from([text(field)]), "taken away");
    }
}

#[test]
fn every_field_changed_outside_is_told_as_such() {
    for (field, edit) in edits() {
        // What labels and names tell is not the engine's to change.
        let by_label = matches!(field, "platform" | "annotations.restartedAt" | "secretEnv" | "macAddress" | "image");
        if by_label || field.starts_with("networks.") || field == "networkMode" {
            continue;
        }
        let case = with(world(), edit).has("kafka", Running);
        let untouched = with(world(), nothing).has("kafka", Running).observed.owned.pop().unwrap();
        let case = case.but(|c| c.config = untouched.config);
        let plan = case.plan();
        let told: Vec<_> = plan.changes.iter().map(|c| (c.field.as_str(), c.cause)).collect();
        assert_eq!(told, [(field, Cause::ChangedOutside)]);
    }
}

#[test]
fn p18_what_an_engine_fills_in_by_itself_is_never_a_difference() {
    let case = with(world(), nothing).has("kafka", Running).but(|c| {
        c.config.logging = Some(Logging { driver: text("journald"), options: BTreeMap::new() });
        c.config.resources.shm_size = Some(Bytes(1 << 20));
        c.config.resources.swap = Some(Bytes(1 << 30));
        c.config.runtime = Some(text("crun"));
        c.config.ipc_mode = Some(NamespaceMode::Plain(text("shareable")));
        c.config.cgroup_parent = Some(text("/docker"));
        c.config.hostname = Some(text("0123456789ab"));
        c.config.stop_signal = Some(text("SIGRTMIN+3"));
        c.config.ulimits.insert(text("nofile"), Ulimit { soft: 1, hard: 2 });
        c.config.security.opts.insert(text("label=disable"));
        c.config.labels.insert(text("desktop.docker.io/binds/0/Source"), text("/x"));
    });
    assert!(case.plan().is_empty() && case.plan().changes.is_empty(), "{}", case.plan());
}

#[test]
fn p18_a_differing_hash_with_no_differing_field_is_converged() {
    let case = with(world(), nothing).has("kafka", Running).but(|c| c.owner.spec_hash.0 = text("v0:from-long-ago"));
    assert!(case.plan().is_empty() && case.plan().status.settled);
}

#[test]
fn a_secret_that_overrides_a_variable_of_the_image_is_no_difference() {
    let secret: Edit = |c| drop(c.secret_env.insert(text("LANG"), SecretSource::FromEnv(text("LANG"))));
    let mut case = world();
    case.secrets.insert(text("LANG"), Secret::new("tlh"));
    let case = with(case, secret).has("kafka", Running);
    assert!(case.plan().is_empty(), "{}", case.plan());
}

#[test]
fn an_image_that_is_gone_leaves_its_fields_uncompared() {
    let mut case = with(world(), nothing).has("kafka", Running);
    case.observed.images.clear();
    assert!(case.plan().is_empty(), "{}", case.plan());
}

#[test]
fn an_anonymous_volume_that_nobody_names_any_more_is_kept() {
    let anonymous: Edit = |c| c.mounts.push(mount("/data", MountSource::Anonymous));
    let spec = with(world(), nothing).spec;
    let case = with(with(world(), anonymous).has("kafka", Running).spec(|s| *s = spec), nothing);
    assert!(case.plan().is_empty(), "{}", case.plan());
}

#[test]
fn a_volume_that_was_handed_on_is_no_difference() {
    let anonymous: Edit = |c| c.mounts.push(mount("/data", MountSource::Anonymous));
    let case = with(world(), anonymous).has("kafka", Running).but(|c| {
        c.config.mounts = vec![mount("/data", volume(&"d".repeat(64)))];
        c.anonymous = BTreeMap::from([(text("/data"), "d".repeat(64))]);
    });
    assert!(case.plan().is_empty(), "{}", case.plan());
}

#[test]
fn a_container_shared_by_name_is_not_compared_by_its_id() {
    let by_name: Edit = |c| c.network_mode = Some(NetworkMode::Container(text("vpn")));
    let case = with(world(), by_name).has("kafka", Running).but(|c| {
        c.config.network_mode = Some(NetworkMode::Container("b".repeat(64)));
    });
    assert!(case.plan().is_empty(), "{}", case.plan());
}

#[test]
fn what_the_engine_adds_to_aliases_is_no_difference() {
    let case = with(world(), nothing).has("kafka", Running).but(|c| {
        let (id, endpoint) = (c.id.to_string(), c.endpoints.get_mut("env-manager").unwrap());
        endpoint.aliases.extend([id, text("kafka")]);
    });
    assert!(case.plan().is_empty(), "{}", case.plan());
}

/// `docs/drift.md` has a row for each field, and says of each what closes it.
#[test]
fn the_document_has_a_row_for_every_field() {
    let document = include_str!("../../../docs/drift.md");
    let rows: BTreeMap<&str, &str> = document
        .lines()
        .filter_map(|line| {
            let (field, rest) = line.strip_prefix("| `")?.split_once("` |")?;
            Some((field, rest.trim_end_matches('|').rsplit('|').next()?.trim()))
        })
        .collect();
    let mut fields = BTreeMap::new();
    for (field, edit) in edits() {
        let plain = || with(world(), nothing).has("kafka", Running);
        let closed_by = |case: Case| case.plan().changes[0].closed_by;
        let spec = with(world(), nothing).spec;
        let taken_away = with(with(world(), edit).has("kafka", Running).spec(|s| *s = spec), nothing);
        let word = match (closed_by(with(plain(), edit)), closed_by(taken_away)) {
            (ClosedBy::InPlace, ClosedBy::InPlace) => "in place",
            (ClosedBy::InPlace, ClosedBy::Replace) => "in place; taken away: replace",
            // `limits` has the test of its changes.
            _ if field == "resources.swap" => "changed: in place; else replace",
            (ClosedBy::Replace, ClosedBy::Replace) => "replace",
            (ClosedBy::Replace, ClosedBy::InPlace) => panic!("{field}: what is it?"),
        };
        let family = ["env", "metadata.labels", "volumes", "sysctls", "ulimits", "networks"];
        let family = family.iter().find(|f| field.strip_prefix(**f).is_some_and(|rest| rest.starts_with('.')));
        let name = family.map_or_else(|| text(field), |f| format!("{f}.NAME"));
        fields.insert(name, word);
    }
    fields.insert(text("files"), "replace; with `onChange: {signal: …}`: in place"); // `reload` has the tests
    fields.insert(text("containerName"), "in place");
    for (field, word) in &fields {
        let row = rows.get(field.as_str()).unwrap_or_else(|| panic!("docs/drift.md has no row for `{field}`"));
        assert_eq!(row, word, "{field}");
    }
    let known: BTreeSet<_> = fields.keys().map(String::as_str).collect();
    let rows: BTreeSet<_> = rows.into_keys().collect();
    assert_eq!(rows.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "rows without a field");
}
