//! What we ask for → the body of a create call.
//!
//! Specs are taken apart exhaustively: a new field does not compile until it is named here.
//! `docs/engine.md` has the table, field by field.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigLogConfig,
    NetworkingConfig, ResourcesUlimits, RestartPolicyNameEnum,
};

use super::mounts::Refusal;
use super::version::Api;
use super::{endpoints, mounts, ports};
use crate::engine::ErrorKind;
use crate::resource::container::{ContainerCreate, ContainerId};
use crate::resource::labels;
use crate::resource::limits::Limits;
use crate::resource::spec::{
    ContainerSpec, Device, DeviceRequest, Dns, Logging, NamespaceMode, NetworkMode, Resources, RestartPolicy, Security,
};
use crate::resource::units::{Bytes, NanoCpus};

/// An option that the docker command takes apart itself: the engine does not know it.
pub(super) const SYSTEM_PATHS: &str = "systempaths=unconfined";

/// A create call, ready to be sent.
#[derive(Debug)]
pub(in crate::engine) struct Body {
    pub config: ContainerCreateBody,
    pub platform: String,
    /// `Config.MacAddress`, which bollard's type no longer has: the field moved to endpoints with API 1.44.
    pub mac_address: Option<String>,
}

#[expect(clippy::too_many_lines, reason = "one line a field: a table, and no place to cut it")]
pub(in crate::engine) fn body(create: &ContainerCreate, api: Api) -> Result<Body, Refusal> {
    let ContainerCreate { name: _, service, labels: ours, network, inherited, namespaces, file_binds } = create;
    let ContainerSpec {
        // The canonical name; a replacement is created under another one.
        name: _,
        image,
        platform,
        labels: own,
        restarted_at,
        entrypoint,
        command,
        working_dir,
        user,
        group_add,
        hostname,
        init,
        tty,
        stdin,
        env,
        secret_env,
        stop_signal,
        image_healthcheck,
        mounts,
        files,
        devices,
        device_requests,
        ports,
        // The first is in `network`, the further ones are connected after: API 1.41 refuses two.
        networks: _,
        network_mode,
        mac_address,
        extra_hosts,
        dns: Dns { servers, search, options },
        resources,
        security: Security { read_only_root_filesystem, privileged, cap_add, cap_drop, opts },
        sysctls,
        ulimits,
        pid_mode,
        ipc_mode,
        userns_mode,
        cgroup_parent,
        runtime,
        logging,
        restart,
    } = &service.spec.container;
    let Resources { memory, memory_reservation, swap, cpus, cpuset, cpu_shares, pids, shm_size, oom_score_adj, gpus } =
        resources;

    if *read_only_root_filesystem && files.iter().any(|f| !file_binds.contains_key(&f.target)) {
        let text = "files: nothing can be uploaded under a read-only root, so each has to be bound from this host";
        return Err((ErrorKind::Unsupported, text.to_owned()));
    }

    let mut labels = own.clone();
    // What no inspect tells, so that it can be compared all the same.
    let told = [(labels::RESTARTED_AT, restarted_at), (labels::PLATFORM, platform), (labels::MAC_ADDRESS, mac_address)];
    labels.extend(told.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v.clone()?))));
    labels.extend(ours.clone());

    let mut environment: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for name in secret_env.keys() {
        let value = service.secret_env.get(name).map(|secret| std::str::from_utf8(secret.reveal()));
        let Some(Ok(value)) = value else {
            return Err((ErrorKind::Refused, format!("secretEnv.{name}: its value is missing or is not UTF-8")));
        };
        environment.push(format!("{name}={value}"));
    }

    let mode = match (network_mode, network) {
        (Some(NetworkMode::Host), _) => "host".to_owned(),
        (Some(NetworkMode::None), _) => "none".to_owned(),
        (Some(NetworkMode::Service(service)), _) => shared("networkMode", service, namespaces)?,
        (Some(NetworkMode::Container(name)), _) => format!("container:{name}"),
        (None, Some(endpoint)) => endpoint.attachment.network.clone(),
        (Some(NetworkMode::Bridge), _) | (None, None) => "bridge".to_owned(),
    };
    let mac = mac_address.as_deref();
    let mut endpoints_config: BTreeMap<_, _> = network
        .iter()
        // Keyed by name with the id beside it: a start is 400 "ambiguous" otherwise once there are duplicates.
        .map(|e| (e.attachment.network.clone(), endpoints::to_api(e, mac, api)))
        .collect();
    if mode == "bridge" && mac.is_some() && api >= Api::ENDPOINT_MAC_ADDRESS {
        endpoints_config.entry(mode.clone()).or_default().mac_address = mac.map(str::to_owned);
    }

    let api_mounts = mounts::to_api(mounts, inherited, file_binds, api)?;
    let host = HostConfig {
        group_add: list(group_add),
        init: Some(*init),
        mounts: list(&api_mounts.mounts),
        binds: list(&api_mounts.binds),
        devices: list(&devices.iter().map(device).collect::<Vec<_>>()),
        device_requests: requests(device_requests, *gpus),
        port_bindings: Some(ports::bindings(ports)).filter(|b| !b.is_empty()),
        network_mode: Some(mode),
        extra_hosts: list(&extra_hosts.iter().cloned().collect::<Vec<_>>()),
        dns: list(servers),
        dns_search: list(search),
        dns_options: list(options),
        memory: memory.map(Bytes::as_i64),
        memory_reservation: memory_reservation.map(Bytes::as_i64),
        memory_swap: swap.map(|swap| swap.as_i64().saturating_add(memory.map_or(0, Bytes::as_i64))),
        nano_cpus: cpus.map(nano_cpus),
        cpuset_cpus: cpuset.clone(),
        cpu_shares: cpu_shares.map(i64::from),
        pids_limit: *pids,
        shm_size: shm_size.map(Bytes::as_i64),
        oom_score_adj: oom_score_adj.map(i64::from),
        readonly_rootfs: Some(*read_only_root_filesystem),
        privileged: Some(*privileged),
        cap_add: list(&cap_add.iter().cloned().collect::<Vec<_>>()),
        cap_drop: list(&cap_drop.iter().cloned().collect::<Vec<_>>()),
        security_opt: list(&opts.iter().filter(|o| *o != SYSTEM_PATHS).cloned().collect::<Vec<_>>()),
        masked_paths: opts.contains(SYSTEM_PATHS).then(Vec::new),
        readonly_paths: opts.contains(SYSTEM_PATHS).then(Vec::new),
        sysctls: Some(sysctls.clone().into_iter().collect()).filter(|_| !sysctls.is_empty()),
        ulimits: list(
            &ulimits
                .iter()
                .map(|(name, limit)| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(limit.soft),
                    hard: Some(limit.hard),
                })
                .collect::<Vec<_>>(),
        ),
        pid_mode: pid_mode.as_ref().map(|m| namespace("pidMode", m, namespaces)).transpose()?,
        ipc_mode: ipc_mode.as_ref().map(|m| namespace("ipcMode", m, namespaces)).transpose()?,
        userns_mode: userns_mode.clone(),
        cgroup_parent: cgroup_parent.clone(),
        runtime: runtime.clone(),
        log_config: logging.as_ref().map(|Logging { driver, options }| HostConfigLogConfig {
            typ: Some(driver.clone()),
            config: Some(options.clone().into_iter().collect()),
        }),
        restart_policy: Some(restart_policy(*restart)),
        ..HostConfig::default()
    };

    let config = ContainerCreateBody {
        image: Some(image.as_str().to_owned()),
        labels: Some(labels.into_iter().collect()),
        entrypoint: entrypoint.clone(),
        cmd: command.clone(),
        working_dir: working_dir.clone(),
        user: user.clone(),
        hostname: hostname.clone(),
        tty: Some(*tty),
        open_stdin: Some(*stdin),
        env: list(&environment),
        // Unset, the image's own holds (PostgreSQL wants SIGINT); never by /kill, which ends the restart policy.
        stop_signal: stop_signal.clone(),
        // For `docker stop` by hand, and for the engine's own shutdown.
        stop_timeout: i64::try_from(service.spec.stop_grace.as_millis().div_ceil(1000)).ok(),
        healthcheck: (!image_healthcheck)
            .then(|| HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        exposed_ports: list(&ports::exposed(ports)),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints_config.into_iter().collect()) }),
        ..ContainerCreateBody::default()
    };
    Ok(Body {
        config,
        platform: platform.clone().unwrap_or_default(),
        mac_address: mac_address.clone().filter(|_| api < Api::ENDPOINT_MAC_ADDRESS),
    })
}

/// An empty list says the same as none, and some engines take `[]` for "replace the default".
fn list<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

fn device(device: &Device) -> DeviceMapping {
    let Device { host, container, permissions } = device;
    DeviceMapping {
        path_on_host: Some(host.clone()),
        path_in_container: Some(container.clone()),
        cgroup_permissions: Some(permissions.clone()),
    }
}

/// `gpus` is short for a request of capability `gpu`, as in `docker run --gpus`.
fn requests(requests: &[DeviceRequest], gpus: Option<i64>) -> Option<Vec<bollard::models::DeviceRequest>> {
    let short = gpus.map(|count| DeviceRequest {
        driver: None,
        count: Some(count),
        ids: Vec::new(),
        capabilities: vec!["gpu".to_owned()],
    });
    let all: Vec<_> = short
        .iter()
        .chain(requests)
        .map(|DeviceRequest { driver, count, ids, capabilities }| bollard::models::DeviceRequest {
            driver: driver.clone(),
            count: *count,
            device_ids: list(ids),
            // A list of alternatives; one of them is all that a manifest can say.
            capabilities: Some(vec![capabilities.clone()]),
            options: None,
        })
        .collect();
    list(&all)
}

pub(in crate::engine) fn restart_policy(policy: RestartPolicy) -> bollard::models::RestartPolicy {
    let (name, retries) = match policy {
        RestartPolicy::No | RestartPolicy::Managed => (RestartPolicyNameEnum::NO, 0),
        RestartPolicy::OnFailure { max_retries } => (RestartPolicyNameEnum::ON_FAILURE, i64::from(max_retries)),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, 0),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, 0),
    };
    bollard::models::RestartPolicy { name: Some(name), maximum_retry_count: Some(retries) }
}

/// The body of an update. Nothing but limits is in it: the rest would be ignored.
pub(in crate::engine) fn update(limits: &Limits) -> ContainerUpdateBody {
    let Limits { memory, memory_reservation, cpus, cpuset, cpu_shares, pids } = limits;
    ContainerUpdateBody {
        memory: memory.map(|limit| limit.memory.as_i64()),
        memory_swap: memory.map(|limit| limit.sum().as_i64()),
        memory_reservation: memory_reservation.map(Bytes::as_i64),
        nano_cpus: cpus.map(nano_cpus),
        cpuset_cpus: cpuset.clone(),
        cpu_shares: cpu_shares.map(i64::from),
        pids_limit: *pids,
        ..ContainerUpdateBody::default()
    }
}

fn nano_cpus(NanoCpus(n): NanoCpus) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn namespace(field: &str, mode: &NamespaceMode, ids: &BTreeMap<String, ContainerId>) -> Result<String, Refusal> {
    match mode {
        NamespaceMode::Plain(word) => Ok(word.clone()),
        NamespaceMode::Service(service) => shared(field, service, ids),
    }
}

/// By id: a name would move to the replacement while the namespace stays with the old one.
fn shared(field: &str, service: &str, ids: &BTreeMap<String, ContainerId>) -> Result<String, Refusal> {
    ids.get(service)
        .map(|id| format!("container:{}", id.0))
        .ok_or_else(|| (ErrorKind::NamespaceGone, format!("{field}: service {service} has no container to share")))
}

#[cfg(test)]
mod tests;
