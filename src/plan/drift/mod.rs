//! Field by field: what a spec asks for against what a container is.
//!
//! Rules (`docs/drift.md`):
//! - We own the whole container: an extra variable, port or mount is a difference too.
//! - What the image fills in is compared with the container's *own* image; "the tag points at another
//!   image" is one field, `image`.
//! - What only the engine fills in (logging, shm size, runtime, …) is compared where the spec sets it.
//!   The label `sets` remembers which of those were set at creation, so that one taken out of a
//!   manifest is noticed and an engine's upgrade is not (P18).
//! - Secrets and file contents are compared by salted hashes.
//!
//! - An anonymous volume that the spec does not name is kept: it may hold data, and the next container
//!   gets it too.
//!
//! Specs are destructured whole, so that a new field does not compile until it is handled here.

mod diff;
mod mounts;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use self::diff::{Diff, flag, from_image, image_text, list, merged_map, words};
use self::mounts::compare_mounts;
use self::parts::{
    Namespace, compare_namespace, compare_resources, compare_security, compare_ulimits, show_logging, show_requests,
};
use super::types::{Cause, ClosedBy, FieldChange};
use crate::resource::desired::Service;
use crate::resource::image::ImageInfo;
use crate::resource::labels::is_ours;
use crate::resource::observed::{Container, ServiceObserved};
use crate::resource::spec::{ContainerSpec, Dns, NamespaceMode, NetworkMode, Resources, RestartPolicy};

/// What differs, in the order of the spec's fields. The name and the network attachments are not
/// looked at here: they are mended in place by steps of their own (see `service`).
pub fn drift(service: &Service, container: &Container, observed: &ServiceObserved) -> Vec<FieldChange> {
    let own_image = observed.images.get(&container.image_id).map(AsRef::as_ref);
    let spec_image = observed.spec_image.as_deref();
    let mut d = Diff {
        changes: Vec::new(),
        // The hash says what it was created from: if that is what is asked for now, somebody else
        // made the difference.
        cause: if container.owner.spec_hash == service.hash { Cause::ChangedOutside } else { Cause::SpecChanged },
        sets: &container.owner.sets,
    };
    compare(&mut d, service, container, own_image, spec_image, observed);
    d.changes
}

/// The fields of `spec` that the label `sets` lists: those whose default is the engine's.
pub fn sets_label(spec: &ContainerSpec) -> String {
    let Resources { shm_size, swap, .. } = &spec.resources;
    [
        ("cgroupParent", spec.cgroup_parent.is_some()),
        ("hostname", spec.hostname.is_some()),
        ("ipcMode", spec.ipc_mode.is_some()),
        ("logging", spec.logging.is_some()),
        ("macAddress", spec.mac_address.is_some()),
        ("resources.shmSize", shm_size.is_some()),
        ("resources.swap", swap.is_some()),
        ("runtime", spec.runtime.is_some()),
        ("stop.signal", spec.stop_signal.is_some()),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(name, _)| name.to_owned())
    .chain(spec.ulimits.keys().map(|name| format!("ulimits.{name}")))
    .collect::<Vec<_>>()
    .join(",")
}

fn without(map: &BTreeMap<String, String>, is_out: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    map.iter().filter(|(name, _)| !is_out(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[expect(clippy::too_many_lines, reason = "one line or two per field of the spec, in the spec's order")]
fn compare(
    d: &mut Diff<'_>,
    service: &Service,
    container: &Container,
    own_image: Option<&ImageInfo>,
    spec_image: Option<&ImageInfo>,
    observed: &ServiceObserved,
) {
    let ContainerSpec {
        name: _,
        image,
        platform,
        labels,
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
        networks: _,
        network_mode,
        mac_address,
        extra_hosts,
        dns,
        resources,
        security,
        sysctls,
        ulimits,
        pid_mode,
        ipc_mode,
        userns_mode,
        cgroup_parent,
        runtime,
        logging,
        restart,
    } = &service.spec.container.canonical();
    let was = &container.config;

    if was.image != *image {
        d.push("image", Some(was.image.to_string()), Some(image.to_string()));
    } else if let Some(now) = spec_image.filter(|now| now.id != container.image_id) {
        let show = |id: &dyn Display| Some(format!("{image} ({id})"));
        d.push_as("image", show(&container.image_id), show(&now.id), ClosedBy::Replace, Cause::ImageMoved);
    }

    d.option("platform", was.platform.as_ref(), platform.as_ref());

    // Labels of ours are read as what they say, those that an image brings included. Docker Desktop
    // notes what it binds.
    let was_labels = without(&was.labels, |name| name.starts_with("desktop.docker.io/") && !labels.contains_key(name));
    let image_labels = own_image.map(|i| without(&i.labels, is_ours));
    merged_map(d, "metadata.labels", &was_labels, labels, image_labels.as_ref());
    d.option("annotations.restartedAt", container.owner.restarted_at.as_ref(), restarted_at.as_ref());

    from_image(d, "entrypoint", was.entrypoint.as_deref(), entrypoint.as_deref(), own_image.map(|i| &i.entrypoint[..]));
    // An entrypoint of one's own drops the image's command.
    let image_command = if entrypoint.is_some() { Some(&[][..]) } else { own_image.map(|i| &i.command[..]) };
    from_image(d, "command", was.command.as_deref(), command.as_deref(), image_command);
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    image_text(d, "workingDir", &text(&was.working_dir), working_dir.as_deref(), own_image.map(|i| &i.working_dir));
    image_text(d, "user", &text(&was.user), user.as_deref(), own_image.map(|i| &i.user));
    d.eq("groupAdd", &was.group_add, group_add, |g| words(g));
    d.engine_default("hostname", was.hostname.as_ref(), hostname.as_ref(), Clone::clone);
    d.eq("init", &was.init, init, flag);
    d.eq("tty", &was.tty, tty, flag);
    d.eq("stdin", &was.stdin, stdin, flag);
    // What is secret was dropped when read, also where it overrides a variable of the image.
    let secret_names: BTreeSet<_> = secret_env.keys().cloned().collect();
    let is_secret = |name: &str| secret_names.contains(name) || container.owner.secret_env.contains(name);
    let image_env = own_image.map(|i| without(&i.env, is_secret));
    merged_map(d, "env", &was.env, env, image_env.as_ref());
    if container.owner.secret_env != secret_names {
        d.set("secretEnv", &container.owner.secret_env, &secret_names);
    } else if !secret_env.is_empty()
        && !container.owner.secrets_hash.as_ref().is_some_and(|h| h.matches_secrets(service))
    {
        // No spec tells values and contents, so their hashes say nothing of who changed them: the source.
        let (old, new) = (Some("<secret>".to_owned()), Some("<another secret>".to_owned()));
        d.push_as("secretEnv", old, new, ClosedBy::Replace, Cause::SpecChanged);
    }
    d.engine_default("stop.signal", was.stop_signal.as_ref(), stop_signal.as_ref(), Clone::clone);
    d.eq("probes.docker", &was.image_healthcheck, image_healthcheck, |on| {
        Some(if *on { "the image's HEALTHCHECK" } else { "off" }.to_owned())
    });

    // What an adopted container had mounted and the manifest names no other for is kept.
    let with_kept = container.owner.adopted.as_ref().map(|a| a.mounts(&service.spec.container));
    compare_mounts(d, service, container, with_kept.as_deref().unwrap_or(mounts));
    let uploaded = if security.read_only_root_filesystem { &[][..] } else { &files[..] };
    let targets = list(uploaded.iter().map(|f| &f.target));
    match &container.files_marker {
        None if uploaded.is_empty() => {}
        None => d.push("files", None, targets),
        Some(_) if uploaded.is_empty() => d.push("files", Some("uploaded".to_owned()), None),
        Some(marker) if marker.matches_files(service) => {}
        Some(_) => {
            let rest_is_same = container.owner.files_hash.as_ref().is_some_and(|h| h.matches_fixed_files(service));
            d.contents("files", if rest_is_same { ClosedBy::InPlace } else { ClosedBy::Replace });
        }
    }
    let show_device = |x: &crate::resource::spec::Device| format!("{}:{}:{}", x.host, x.container, x.permissions);
    d.set("devices", &was.devices.iter().map(show_device).collect(), &devices.iter().map(show_device).collect());
    d.set(
        "deviceRequests",
        &show_requests(&was.device_requests, was.resources.gpus),
        &show_requests(device_requests, resources.gpus),
    );

    d.set("ports", &was.ports.iter().cloned().collect(), &ports.iter().cloned().collect());
    let network = |mode: &Option<NetworkMode>| mode.as_ref().map(|m| Namespace::of_network(m, observed));
    compare_namespace(d, "networkMode", network(&was.network_mode), network(network_mode));
    d.engine_default("macAddress", was.mac_address.as_ref(), mac_address.as_ref(), Clone::clone);
    d.set("extraHosts", &was.extra_hosts, extra_hosts);
    let Dns { servers, search, options } = dns;
    d.eq("dns.servers", &was.dns.servers, servers, |s| words(s));
    d.eq("dns.search", &was.dns.search, search, |s| words(s));
    d.eq("dns.options", &was.dns.options, options, |s| words(s));

    compare_resources(d, &was.resources, resources);
    compare_security(d, &was.security, security);
    d.map("sysctls", &was.sysctls, sysctls);
    compare_ulimits(d, &was.ulimits, ulimits);
    let namespace = |mode: &Option<NamespaceMode>| mode.as_ref().map(|m| Namespace::of(m, observed));
    compare_namespace(d, "pidMode", namespace(&was.pid_mode), namespace(pid_mode));
    if ipc_mode.is_some() || d.sets.contains("ipcMode") {
        compare_namespace(d, "ipcMode", namespace(&was.ipc_mode), namespace(ipc_mode));
    }
    d.option("usernsMode", was.userns_mode.as_ref(), userns_mode.as_ref());
    d.engine_default("cgroupParent", was.cgroup_parent.as_ref(), cgroup_parent.as_ref(), Clone::clone);
    d.engine_default("runtime", was.runtime.as_ref(), runtime.as_ref(), Clone::clone);
    d.engine_default("logging", was.logging.as_ref(), logging.as_ref(), show_logging);
    if was.restart != restart.on_engine() {
        let (old, new) = (Some(was.restart.to_string()), Some(restart.to_string()));
        // What is stopped on purpose loses its policy to us.
        let taken_by_us = was.restart == RestartPolicy::No
            && !container.is_running()
            && container.owner.restart_policy == Some(*restart);
        let cause = if taken_by_us { Cause::NotRunning } else { d.cause };
        d.push_as("restart", old, new, ClosedBy::InPlace, cause);
    }
}
