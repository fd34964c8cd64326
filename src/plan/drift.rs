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
//! Specs are destructured whole, so that a new field does not compile until it is handled here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::types::{Cause, ClosedBy, FieldChange};
use crate::resource::desired::Service;
use crate::resource::image::ImageInfo;
use crate::resource::observed::{Container, ServiceObserved};
use crate::resource::spec::{
    ContainerSpec, DeviceRequest, Dns, Logging, Mount, MountSource, NamespaceMode, NetworkMode, Resources, Security,
};

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
        ("ulimits", !spec.ulimits.is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect::<Vec<_>>()
    .join(",")
}

struct Diff<'a> {
    changes: Vec<FieldChange>,
    cause: Cause,
    sets: &'a BTreeSet<String>,
}

impl Diff<'_> {
    fn push(&mut self, field: impl Into<String>, old: Option<String>, new: Option<String>) {
        self.push_as(field, old, new, ClosedBy::Replace, self.cause);
    }

    fn push_as(
        &mut self,
        field: impl Into<String>,
        old: Option<String>,
        new: Option<String>,
        closed_by: ClosedBy,
        cause: Cause,
    ) {
        self.changes.push(FieldChange { field: field.into(), old, new, closed_by, cause });
    }

    /// A field that nobody but a spec sets.
    fn eq<T: PartialEq>(&mut self, field: &str, old: &T, new: &T, show: impl Fn(&T) -> Option<String>) {
        if old != new {
            self.push(field, show(old), show(new));
        }
    }

    fn option<T: PartialEq + Display>(&mut self, field: &str, old: Option<&T>, new: Option<&T>) {
        if old != new {
            self.push(field, old.map(ToString::to_string), new.map(ToString::to_string));
        }
    }

    /// A field that the engine fills in where the spec says nothing.
    fn engine_default<T: PartialEq>(
        &mut self,
        field: &str,
        old: Option<&T>,
        new: Option<&T>,
        show: impl Fn(&T) -> String,
    ) {
        match new {
            Some(new) if old != Some(new) => self.push(field, old.map(&show), Some(show(new))),
            None if self.sets.contains(field) => self.push(field, old.map(&show), None),
            _ => {}
        }
    }

    /// Map entries, each as a field of its own.
    fn map(&mut self, field: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (o, n) = (old.get(name), new.get(name));
            if o != n {
                self.push(format!("{field}.{name}"), o.cloned(), n.cloned());
            }
        }
    }

    /// A set, by what is gone and what has come.
    fn set<T: Ord + Display>(&mut self, field: &str, old: &BTreeSet<T>, new: &BTreeSet<T>) {
        if old != new {
            self.push(field, list(old.difference(new)), list(new.difference(old)));
        }
    }
}

fn list<T: Display>(items: impl Iterator<Item = T>) -> Option<String> {
    let text = items.map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

fn words(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(" "))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape that `Diff::eq` takes; `false` is a value and not unset"
)]
fn flag(b: &bool) -> Option<String> {
    Some(b.to_string())
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
    let inherited = |of: fn(&ImageInfo) -> &BTreeMap<String, String>| own_image.map(of);
    // Labels of ours are read as what they say, those that an image brings included.
    let image_labels = own_image.map(|i| {
        let ours = |name: &String| name.starts_with(crate::resource::labels::PREFIX);
        i.labels.iter().filter(|(name, _)| !ours(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
    });
    merged_map(d, "metadata.labels", &was.labels, labels, image_labels.as_ref());
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
    merged_map(d, "env", &was.env, env, inherited(|i| &i.env));
    let secret_names: BTreeSet<_> = secret_env.keys().cloned().collect();
    if container.owner.secret_env != secret_names {
        d.set("secretEnv", &container.owner.secret_env, &secret_names);
    } else if !secret_env.is_empty()
        && !container.owner.secrets_hash.as_ref().is_some_and(|h| h.matches_secrets(service))
    {
        d.push("secretEnv", Some("<secret>".to_owned()), Some("<another secret>".to_owned()));
    }
    d.engine_default("stop.signal", was.stop_signal.as_ref(), stop_signal.as_ref(), Clone::clone);
    d.eq("probes.docker", &was.image_healthcheck, image_healthcheck, |on| {
        Some(if *on { "the image's HEALTHCHECK" } else { "off" }.to_owned())
    });

    compare_mounts(d, service, container, mounts, own_image);
    let uploaded = if security.read_only_root_filesystem { &[][..] } else { &files[..] };
    match &container.files_marker {
        None if uploaded.is_empty() => {}
        None => d.push("files", None, Some(format!("{} files", uploaded.len()))),
        Some(_) if uploaded.is_empty() => d.push("files", Some("uploaded".to_owned()), None),
        Some(marker) if marker.matches_files(service) => {}
        Some(_) => d.push("files", Some("other contents".to_owned()), list(uploaded.iter().map(|f| &f.target))),
    }
    let show_device = |x: &crate::resource::spec::Device| format!("{}:{}:{}", x.host, x.container, x.permissions);
    d.set("devices", &was.devices.iter().map(show_device).collect(), &devices.iter().map(show_device).collect());
    d.set(
        "deviceRequests",
        &show_requests(&was.device_requests, was.resources.gpus),
        &show_requests(device_requests, resources.gpus),
    );

    d.set("ports", &was.ports.iter().cloned().collect(), &ports.iter().cloned().collect());
    compare_network_mode(d, was.network_mode.as_ref(), network_mode.as_ref(), observed);
    d.engine_default("macAddress", was.mac_address.as_ref(), mac_address.as_ref(), Clone::clone);
    d.set("extraHosts", &was.extra_hosts, extra_hosts);
    let Dns { servers, search, options } = dns;
    d.eq("dns.servers", &was.dns.servers, servers, |s| words(s));
    d.eq("dns.search", &was.dns.search, search, |s| words(s));
    d.eq("dns.options", &was.dns.options, options, |s| words(s));

    compare_resources(d, &was.resources, resources);
    compare_security(d, &was.security, security);
    d.map("sysctls", &was.sysctls, sysctls);
    for (name, limit) in ulimits {
        if was.ulimits.get(name) != Some(limit) {
            let show = |l: &crate::resource::spec::Ulimit| format!("{}:{}", l.soft, l.hard);
            d.push(format!("ulimits.{name}"), was.ulimits.get(name).map(show), Some(show(limit)));
        }
    }
    if ulimits.is_empty() && d.sets.contains("ulimits") {
        d.push("ulimits", list(was.ulimits.keys()), None);
    }
    let plain = |mode: Option<&NamespaceMode>| mode.map(|m| show_namespace(m, observed));
    d.option("pidMode", plain(was.pid_mode.as_ref()).as_ref(), plain(pid_mode.as_ref()).as_ref());
    d.engine_default("ipcMode", plain(was.ipc_mode.as_ref()).as_ref(), plain(ipc_mode.as_ref()).as_ref(), Clone::clone);
    d.option("usernsMode", was.userns_mode.as_ref(), userns_mode.as_ref());
    d.engine_default("cgroupParent", was.cgroup_parent.as_ref(), cgroup_parent.as_ref(), Clone::clone);
    d.engine_default("runtime", was.runtime.as_ref(), runtime.as_ref(), Clone::clone);
    d.engine_default("logging", was.logging.as_ref(), logging.as_ref(), show_logging);
    if was.restart != *restart {
        let (old, new) = (Some(was.restart.to_string()), Some(restart.to_string()));
        d.push_as("restart", old, new, ClosedBy::InPlace, d.cause);
    }
}

/// Ours first, then the image's: an entry that neither has is a difference.
fn merged_map(
    d: &mut Diff<'_>,
    field: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    image: Option<&BTreeMap<String, String>>,
) {
    let Some(image) = image else {
        // The image is gone, so what it filled in cannot be told from what somebody added.
        let ours =
            old.iter().filter(|(name, _)| new.contains_key(*name)).map(|(k, v)| (k.clone(), v.clone())).collect();
        return d.map(field, &ours, new);
    };
    let mut wanted = image.clone();
    wanted.extend(new.iter().map(|(k, v)| (k.clone(), v.clone())));
    d.map(field, old, &wanted);
}

fn from_image(d: &mut Diff<'_>, field: &str, old: Option<&[String]>, new: Option<&[String]>, image: Option<&[String]>) {
    let Some(wanted) = new.or(image) else { return };
    let old = old.unwrap_or_default();
    if old != wanted {
        d.push(field, words(old), words(wanted));
    }
}

fn image_text(d: &mut Diff<'_>, field: &str, old: &str, new: Option<&str>, image: Option<&String>) {
    let Some(wanted) = new.or(image.map(String::as_str)) else { return };
    let show = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    if old.trim_end_matches('/') != wanted.trim_end_matches('/') {
        d.push(field, show(old), show(wanted));
    }
}

fn compare_mounts(
    d: &mut Diff<'_>,
    service: &Service,
    container: &Container,
    mounts: &[Mount],
    own_image: Option<&ImageInfo>,
) {
    let read_only_root = service.spec.container.security.read_only_root_filesystem;
    // Files of a read-only root are binds of ours.
    let file_targets: BTreeSet<&str> = if read_only_root {
        service.spec.container.files.iter().map(|f| f.target.as_str()).collect()
    } else {
        BTreeSet::new()
    };
    let old: BTreeMap<&str, &Mount> =
        container.config.mounts.iter().map(|m| (m.target.trim_end_matches('/'), m)).collect();
    let new: BTreeMap<&str, &Mount> = mounts.iter().map(|m| (m.target.trim_end_matches('/'), m)).collect();
    for target in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let field = || format!("volumes.{target}");
        match (old.get(target), new.get(target)) {
            (Some(o), Some(n)) if !same_mount(o, n) => d.push(field(), Some(show_mount(o)), Some(show_mount(n))),
            (None, Some(n)) => d.push(field(), None, Some(show_mount(n))),
            (Some(o), None) => {
                let from_image = o.source == MountSource::Anonymous
                    && own_image.is_none_or(|i| i.volumes.iter().any(|v| v.trim_end_matches('/') == *target));
                if !from_image && !file_targets.contains(target) {
                    d.push(field(), Some(show_mount(o)), None);
                }
            }
            _ => {}
        }
    }
    if read_only_root {
        // The host path carries the hash of the contents, so that a changed one is another path.
        for target in file_targets {
            let wanted = super::service::file_bind(service, target);
            let bound = old.get(target.trim_end_matches('/')).and_then(|m| match &m.source {
                MountSource::Bind { path, .. } => Some(path.as_str()),
                _ => None,
            });
            if !bound.is_some_and(|path| path.ends_with(&wanted)) {
                d.push(format!("files.{target}"), bound.map(str::to_owned), Some(wanted));
            }
        }
    }
}

/// Propagation, size and the like are compared where the spec sets them.
fn same_mount(old: &Mount, new: &Mount) -> bool {
    fn unset_or_same<T: PartialEq>(old: Option<&T>, new: Option<&T>) -> bool {
        new.is_none() || old == new
    }
    let same_source = match (&old.source, &new.source) {
        (MountSource::Volume { name: a, subpath: sa }, MountSource::Volume { name: b, subpath: sb }) => {
            a == b && sa == sb
        }
        (MountSource::Anonymous, MountSource::Anonymous) => true,
        (
            MountSource::Bind { path: a, propagation: pa, selinux: _ },
            MountSource::Bind { path: b, propagation: pb, selinux: _ },
        ) => a.trim_end_matches('/') == b.trim_end_matches('/') && unset_or_same(pa.as_ref(), pb.as_ref()),
        (MountSource::Tmpfs { size: sa, mode: ma }, MountSource::Tmpfs { size: sb, mode: mb }) => {
            unset_or_same(sa.as_ref(), sb.as_ref()) && unset_or_same(ma.as_ref(), mb.as_ref())
        }
        _ => false,
    };
    same_source && old.read_only == new.read_only
}

fn show_mount(mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Volume { name, subpath: None } => name.clone(),
        MountSource::Volume { name, subpath: Some(path) } => format!("{name}/{path}"),
        MountSource::Anonymous => "anonymous volume".to_owned(),
        MountSource::Bind { path, .. } => path.clone(),
        MountSource::Tmpfs { size: Some(size), .. } => format!("tmpfs of {size}"),
        MountSource::Tmpfs { size: None, .. } => "tmpfs".to_owned(),
    };
    if mount.read_only { format!("{source} (read only)") } else { source }
}

fn show_requests(requests: &[DeviceRequest], gpus: Option<i64>) -> BTreeSet<String> {
    let gpu_request = gpus.map(|count| DeviceRequest {
        driver: None,
        count: Some(count),
        ids: Vec::new(),
        capabilities: vec!["gpu".to_owned()],
    });
    requests
        .iter()
        .chain(gpu_request.as_ref())
        .map(|r| {
            let what = match (r.count, r.ids.is_empty()) {
                (_, false) => r.ids.join("+"),
                (Some(-1), _) => "all".to_owned(),
                (Some(n), _) => n.to_string(),
                (None, _) => "1".to_owned(),
            };
            let driver = r.driver.as_deref().filter(|d| !d.is_empty());
            let driver = driver.map(|d| format!(" by {d}")).unwrap_or_default();
            format!("{what} of {}{driver}", r.capabilities.join("+"))
        })
        .collect()
}

fn compare_network_mode(
    d: &mut Diff<'_>,
    old: Option<&NetworkMode>,
    new: Option<&NetworkMode>,
    observed: &ServiceObserved,
) {
    let show = |mode: &NetworkMode| match mode {
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Service(name) => match observed.namespaces.get(name) {
            Some(id) => format!("container:{}", id.0),
            None => format!("service:{name}"),
        },
        NetworkMode::Container(id) => format!("container:{id}"),
    };
    let (old_text, new_text) = (old.map(show), new.map(show));
    if old_text != new_text {
        // The engine stores the id of the container, so a replaced one shows as another id.
        let shared = matches!(new, Some(NetworkMode::Service(_))) && matches!(old, Some(NetworkMode::Container(_)));
        let cause = if shared && d.cause == Cause::ChangedOutside { Cause::NamespaceReplaced } else { d.cause };
        d.push_as("networkMode", old_text, new_text, ClosedBy::Replace, cause);
    }
}

fn show_namespace(mode: &NamespaceMode, observed: &ServiceObserved) -> String {
    match mode {
        NamespaceMode::Plain(word) => word.clone(),
        NamespaceMode::Service(name) => match observed.namespaces.get(name) {
            Some(id) => format!("container:{}", id.0),
            None => format!("service:{name}"),
        },
    }
}

fn compare_resources(d: &mut Diff<'_>, was: &Resources, wanted: &Resources) {
    let Resources {
        memory,
        memory_reservation,
        swap,
        cpus,
        cpuset,
        cpu_shares,
        pids,
        shm_size,
        oom_score_adj,
        gpus: _, // with the device requests
    } = wanted;
    d.option("resources.memory", was.memory.as_ref(), memory.as_ref());
    d.option("resources.memoryReservation", was.memory_reservation.as_ref(), memory_reservation.as_ref());
    d.engine_default("resources.swap", was.swap.as_ref(), swap.as_ref(), ToString::to_string);
    d.option("resources.cpus", was.cpus.as_ref(), cpus.as_ref());
    d.option("resources.cpuset", was.cpuset.as_ref(), cpuset.as_ref());
    d.option("resources.cpuShares", was.cpu_shares.as_ref(), cpu_shares.as_ref());
    d.option("resources.pids", was.pids.as_ref(), pids.as_ref());
    d.engine_default("resources.shmSize", was.shm_size.as_ref(), shm_size.as_ref(), ToString::to_string);
    d.option("resources.oomScoreAdj", was.oom_score_adj.as_ref(), oom_score_adj.as_ref());
}

fn compare_security(d: &mut Diff<'_>, was: &Security, wanted: &Security) {
    let Security { read_only_root_filesystem, privileged, cap_add, cap_drop, opts } = wanted;
    d.eq("security.readOnlyRootFilesystem", &was.read_only_root_filesystem, read_only_root_filesystem, flag);
    d.eq("security.privileged", &was.privileged, privileged, flag);
    d.set("security.capAdd", &was.cap_add, cap_add);
    d.set("security.capDrop", &was.cap_drop, cap_drop);
    // The engine adds `label=disable` by itself to what shares a namespace or is privileged.
    let by_engine = |opt: &&String| opt.starts_with("label") && !opts.contains(*opt);
    let old: BTreeSet<_> = was.opts.iter().filter(|o| !by_engine(o)).cloned().collect();
    d.set("security.opts", &old, opts);
}

fn show_logging(logging: &Logging) -> String {
    let options: Vec<_> = logging.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if options.is_empty() { logging.driver.clone() } else { format!("{} ({})", logging.driver, options.join(", ")) }
}
