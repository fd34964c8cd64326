//! What the engine says about a container → a spec's words, so that the planner can compare the two.
//!
//! Reported is what the engine says, with its spellings evened out ([`crate::resource::canonical`] does
//! the same to a spec). Three sorts of values are not what a spec said, and stay for the planner to
//! tell: what the *image* filled in (environment, entrypoint, labels, …), what the *engine* filled in
//! (log driver, shm size, ipc mode, runtime, swap, …), and what the *runtime* did (addresses).

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
    HealthStatusEnum, HostConfig, NetworkSettings,
};

use super::create::SYSTEM_PATHS;
use super::{endpoints, mounts, ports, time};
use crate::engine::Inspected;
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::image::{ImageId, ImageRef};
use crate::resource::labels;
use crate::resource::observed::{Container, ContainerRow, Foreign, Health, Owner, RunState};
use crate::resource::spec::{
    ContainerSpec, Device, DeviceRequest, Dns, Logging, NamespaceMode, NetworkMode, Resources, RestartPolicy, Security,
    Ulimit,
};
use crate::resource::units::{Bytes, NanoCpus};

/// Ours iff a stack's label is there, whichever stack's.
pub(in crate::engine) fn container(answer: ContainerInspectResponse) -> Inspected {
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let network = answer.network_settings.unwrap_or_default();
    let id = ContainerId::new(answer.id.unwrap_or_default());
    let name = answer.name.unwrap_or_default().trim_start_matches('/').to_owned();
    let all_labels: BTreeMap<_, _> = config.labels.clone().into_iter().flatten().collect();
    let ours = Owner::from_labels(&all_labels);
    let is_ours = ours.is_some();
    let owner = ours.unwrap_or_default();

    let state = answer.state.unwrap_or_default();
    let run_state = run_state(state.status);
    let filled = short_id(&id);
    let mounted = mounts::from_api(&host, answer.mounts.as_deref().unwrap_or_default());
    let spec = spec(name.clone(), &config, &host, &network, &mounted.mounts, &owner, &id, &all_labels);
    let ends = matches!(run_state, RunState::Exited | RunState::Dead | RunState::Removing | RunState::Restarting);
    let container = Box::new(Container {
        name,
        state: run_state,
        exit_code: state.exit_code.filter(|_| ends),
        oom_killed: state.oom_killed.unwrap_or_default(),
        error: state.error.filter(|e| !e.is_empty()),
        created_at: answer.created.as_deref().and_then(time::parse).unwrap_or_default(),
        started_at: state.started_at.as_deref().and_then(time::parse),
        finished_at: state.finished_at.as_deref().and_then(time::parse),
        restarts: answer.restart_count.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        health: state.health.and_then(health),
        image_id: ImageId(answer.image.unwrap_or_default()),
        endpoints: endpoints::states(network.networks.iter().flatten(), filled),
        published: if run_state == RunState::Running || run_state == RunState::Paused {
            ports::published(network.ports.as_ref(), &spec.ports)
        } else {
            Vec::new()
        },
        anonymous: mounted.anonymous,
        // A call of its own, `Engine::files_marker`, for those that have files.
        files_marker: None,
        auto_remove: host.auto_remove.unwrap_or_default(),
        config: spec,
        owner,
        id,
    });
    if is_ours {
        return Inspected::Owned(container);
    }
    Inspected::Foreign(Box::new(Foreign {
        id: container.id.clone(),
        name: container.name.clone(),
        image: container.config.image.clone(),
        owner: None,
        container: Some(container),
    }))
}

/// A row of the list. Its image is a name, or an id where the tag has moved on.
pub(in crate::engine) fn row(row: ContainerSummary) -> ContainerRow {
    let labels: BTreeMap<_, _> = row.labels.into_iter().flatten().collect();
    // `/redis`, beside `/other/alias` for each link.
    let name = row.names.iter().flatten().find(|n| n.matches('/').count() <= 1).cloned().unwrap_or_default();
    let networks = row.network_settings.and_then(|n| n.networks).unwrap_or_default();
    ContainerRow {
        id: ContainerId::new(row.id.unwrap_or_default()),
        name: name.trim_start_matches('/').to_owned(),
        image: image_ref(row.image.as_deref()),
        state: row.state.map_or(RunState::Created, summary_state),
        owner: Owner::from_labels(&labels),
        labels,
        published: ports::listed(row.ports.as_ref()),
        networks: networks
            .into_iter()
            .map(|(name, e)| (name, NetworkId(e.network_id.unwrap_or_default().into())))
            .collect(),
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one answer")]
fn spec(
    name: String,
    config: &ContainerConfig,
    host: &HostConfig,
    network: &NetworkSettings,
    mounts: &[crate::resource::spec::Mount],
    owner: &Owner,
    id: &ContainerId,
    labels: &BTreeMap<String, String>,
) -> ContainerSpec {
    let filled = short_id(id);
    let mode = host.network_mode.as_deref().unwrap_or_default();
    // `--network none`, `host`, `bridge` and `container:` have an endpoint or none, but no attachment of a spec.
    let network_mode = network_mode(mode);
    let networks = match &network_mode {
        Some(_) => Vec::new(),
        None => endpoints::attachments(network.networks.iter().flatten(), filled),
    };
    let (device_requests, gpus) = requests(host);
    ContainerSpec {
        name,
        image: image_ref(config.image.as_deref()),
        platform: labels.get(labels::PLATFORM).cloned(),
        // The image's are merged in by the engine; the planner knows them.
        labels: labels.iter().filter(|(k, _)| !labels::is_ours(k)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        restarted_at: owner.restarted_at.clone(),
        // `[]` and `null` both mean: none.
        entrypoint: config.entrypoint.clone().filter(|e| !e.is_empty()),
        command: config.cmd.clone().filter(|c| !c.is_empty()),
        working_dir: some_text(config.working_dir.as_ref()),
        user: some_text(config.user.as_ref()),
        group_add: host.group_add.clone().unwrap_or_default(),
        // Unset, it is the short id; in the host's network that of the host; in another container's that one's.
        hostname: some_text(config.hostname.as_ref())
            .filter(|h| !id.0.starts_with(h.as_str()) && !matches!(network_mode, Some(NetworkMode::Container(_)))),
        init: host.init.unwrap_or_default(),
        tty: config.tty.unwrap_or_default(),
        stdin: config.open_stdin.unwrap_or_default(),
        env: environment(config.env.as_deref(), owner),
        // Names and values are not for reading back: `owner.secret_env`, `owner.secrets_hash`.
        secret_env: BTreeMap::new(),
        stop_signal: some_text(config.stop_signal.as_ref()),
        // We always say NONE where it is off; where the image has none to say, nothing stands here either.
        image_healthcheck: config
            .healthcheck
            .as_ref()
            .and_then(|h| h.test.as_ref())
            .is_none_or(|test| test.first().is_none_or(|word| word != "NONE")),
        // Files that are bound under a read-only root are among them.
        mounts: mounts.to_vec(),
        // `files_marker` tells whether they are right.
        files: Vec::new(),
        devices: host
            .devices
            .iter()
            .flatten()
            .map(|d| Device {
                host: d.path_on_host.clone().unwrap_or_default(),
                container: d.path_in_container.clone().unwrap_or_default(),
                permissions: d.cgroup_permissions.clone().unwrap_or_default(),
            })
            .collect(),
        device_requests,
        ports: ports::configured(host.port_bindings.as_ref()),
        networks,
        network_mode,
        mac_address: labels.get(labels::MAC_ADDRESS).cloned(),
        extra_hosts: host.extra_hosts.iter().flatten().cloned().collect(),
        dns: Dns {
            servers: host.dns.clone().unwrap_or_default(),
            search: host.dns_search.clone().unwrap_or_default(),
            options: host.dns_options.clone().unwrap_or_default(),
        },
        resources: resources(host, gpus),
        security: Security {
            read_only_root_filesystem: host.readonly_rootfs.unwrap_or_default(),
            privileged: host.privileged.unwrap_or_default(),
            cap_add: capabilities(host.cap_add.as_deref()),
            cap_drop: capabilities(host.cap_drop.as_deref()),
            // The engine adds `label=disable` to a privileged container, or to one in the host's namespaces.
            opts: host.security_opt.iter().flatten().cloned().chain(system_paths(host)).collect(),
        },
        sysctls: host.sysctls.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        ulimits: host
            .ulimits
            .iter()
            .flatten()
            .map(|u| {
                let limit = Ulimit { soft: u.soft.unwrap_or_default(), hard: u.hard.unwrap_or_default() };
                (u.name.clone().unwrap_or_default(), limit)
            })
            .collect(),
        pid_mode: some_text(host.pid_mode.as_ref()).map(NamespaceMode::Plain),
        ipc_mode: some_text(host.ipc_mode.as_ref()).map(NamespaceMode::Plain),
        userns_mode: some_text(host.userns_mode.as_ref()),
        cgroup_parent: some_text(host.cgroup_parent.as_ref()),
        runtime: some_text(host.runtime.as_ref()),
        logging: host.log_config.as_ref().and_then(|l| {
            Some(Logging {
                driver: some_text(l.typ.as_ref())?,
                options: l.config.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            })
        }),
        restart: restart(host),
    }
}

fn resources(host: &HostConfig, gpus: Option<i64>) -> Resources {
    let size = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let memory = size(host.memory);
    Resources {
        memory: memory.map(Bytes),
        memory_reservation: size(host.memory_reservation).map(Bytes),
        // 0: unset, and without a memory limit it stays so. −1: without limit, which no spec asks for but
        // which an engine sets where the kernel does not account for swap; nothing to compare either way.
        swap: size(host.memory_swap).map(|sum| Bytes(sum.saturating_sub(memory.unwrap_or_default()))),
        cpus: size(host.nano_cpus).map(NanoCpus),
        cpuset: some_text(host.cpuset_cpus.as_ref()),
        cpu_shares: size(host.cpu_shares).and_then(|n| u32::try_from(n).ok()),
        // −1 and 0: without limit, the default.
        pids: host.pids_limit.filter(|n| *n > 0),
        shm_size: size(host.shm_size).map(Bytes),
        oom_score_adj: host.oom_score_adj.and_then(|n| i32::try_from(n).ok()).filter(|n| *n != 0),
        gpus,
    }
}

/// A request that says what `gpus` says is reported as that.
fn requests(host: &HostConfig) -> (Vec<DeviceRequest>, Option<i64>) {
    let mut gpus = None;
    let mut requests = Vec::new();
    for request in host.device_requests.iter().flatten() {
        let request = DeviceRequest {
            driver: some_text(request.driver.as_ref()),
            count: request.count.filter(|n| *n != 0),
            ids: request.device_ids.clone().unwrap_or_default(),
            capabilities: request.capabilities.iter().flatten().flatten().cloned().collect(),
        };
        match request.as_gpus() {
            Some(count) if gpus.is_none() => gpus = Some(count),
            _ => requests.push(request),
        }
    }
    (requests, gpus)
}

/// All but the secret ones. The image's are in it.
fn environment(env: Option<&[String]>, owner: &Owner) -> BTreeMap<String, String> {
    env.into_iter()
        .flatten()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .filter(|(name, _)| !owner.secret_env.contains(*name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Without `CAP_`: engines from 28 on report it, older ones what was typed.
fn capabilities(names: Option<&[String]>) -> BTreeSet<String> {
    names.into_iter().flatten().map(|name| crate::resource::canonical::capability(name)).collect()
}

/// No path masked, though it is not privileged.
fn system_paths(host: &HostConfig) -> Option<String> {
    let bare = |paths: Option<&Vec<String>>| paths.is_some_and(Vec::is_empty);
    let unmasked = bare(host.masked_paths.as_ref()) && bare(host.readonly_paths.as_ref());
    (unmasked && !host.privileged.unwrap_or_default()).then(|| SYSTEM_PATHS.to_owned())
}

/// `None`: a network by name, which is an attachment.
fn network_mode(mode: &str) -> Option<NetworkMode> {
    match mode {
        "host" => Some(NetworkMode::Host),
        "none" => Some(NetworkMode::None),
        "bridge" | "default" | "" => Some(NetworkMode::Bridge),
        // An id: the planner knows whose.
        _ => mode.strip_prefix("container:").map(|id| NetworkMode::Container(id.to_owned())),
    }
}

pub(in crate::engine) fn restart(host: &HostConfig) -> RestartPolicy {
    let Some(policy) = &host.restart_policy else { return RestartPolicy::No };
    let retries = policy.maximum_retry_count.unwrap_or_default();
    let name = policy.name.map(|n| n.to_string()).unwrap_or_default();
    RestartPolicy::parse(&format!("{name}:{retries}")).unwrap_or(RestartPolicy::No)
}

fn health(health: bollard::models::Health) -> Option<Health> {
    match health.status? {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => {
            let output = health.log.and_then(|mut log| log.pop()).and_then(|l| l.output).unwrap_or_default();
            let line = output.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
            Some(Health::Unhealthy(line.trim().to_owned()))
        }
    }
}

fn run_state(status: Option<ContainerStateStatusEnum>) -> RunState {
    match status.unwrap_or(ContainerStateStatusEnum::CREATED) {
        ContainerStateStatusEnum::EMPTY | ContainerStateStatusEnum::CREATED => RunState::Created,
        // Until it has ended, a container that is being stopped runs.
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => RunState::Running,
        ContainerStateStatusEnum::PAUSED => RunState::Paused,
        ContainerStateStatusEnum::RESTARTING => RunState::Restarting,
        ContainerStateStatusEnum::REMOVING => RunState::Removing,
        ContainerStateStatusEnum::EXITED => RunState::Exited,
        ContainerStateStatusEnum::DEAD => RunState::Dead,
    }
}

fn summary_state(state: ContainerSummaryStateEnum) -> RunState {
    run_state(state.to_string().parse().ok())
}

/// What the engine puts among the aliases at the first start. (A set hostname too, which a spec may
/// name as well, and so it stays.)
fn short_id(id: &ContainerId) -> &str {
    id.0.get(..12).unwrap_or(&id.0)
}

fn image_ref(text: Option<&str>) -> ImageRef {
    text.and_then(|t| ImageRef::parse(t).ok()).unwrap_or_default()
}

fn some_text(text: Option<&String>) -> Option<String> {
    text.filter(|t| !t.is_empty()).cloned()
}
