//! Fields that are structures of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::diff::{Diff, flag};
use crate::plan::types::{Cause, ClosedBy};
use crate::resource::container::ContainerId;
use crate::resource::observed::ServiceObserved;
use crate::resource::spec::{DeviceRequest, Logging, NamespaceMode, NetworkMode, Resources, Security, Ulimit};

pub(super) fn show_requests(requests: &[DeviceRequest], gpus: Option<i64>) -> BTreeSet<String> {
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

/// A namespace, as the engine keeps it: one that is shared with a service is kept as the id of its
/// container, so that a replaced one shows as another id.
pub(super) struct Namespace {
    text: String,
    of_service: bool,
}

impl Namespace {
    pub(super) fn of_network(mode: &NetworkMode, observed: &ServiceObserved) -> Self {
        match mode {
            NetworkMode::Host => Self::plain("host"),
            NetworkMode::None => Self::plain("none"),
            NetworkMode::Bridge => Self::plain("bridge"),
            NetworkMode::Service(name) => Self::of_service(name, observed),
            NetworkMode::Container(container) => Self::plain(format!("container:{container}")),
        }
    }

    pub(super) fn of(mode: &NamespaceMode, observed: &ServiceObserved) -> Self {
        match mode {
            NamespaceMode::Plain(word) => Self::plain(word),
            NamespaceMode::Service(name) => Self::of_service(name, observed),
        }
    }

    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), of_service: false }
    }

    fn of_service(name: &str, observed: &ServiceObserved) -> Self {
        let text = match observed.namespaces.get(name) {
            Some(id) => format!("container:{}", id.0),
            None => format!("service:{name}"),
        };
        Self { text, of_service: true }
    }

    /// With the twelve digits of an id that Docker's own tables show.
    fn shown(self) -> String {
        match self.text.strip_prefix("container:") {
            Some(id) => format!("container:{}", ContainerId::new(id)),
            None => self.text,
        }
    }

    fn is_container(&self) -> bool {
        self.text.starts_with("container:")
    }

    /// A container that the spec names by name is an id on the engine; which one cannot be told here.
    fn is_same(&self, wanted: &Self) -> bool {
        let by_name = wanted.is_container() && !wanted.of_service;
        self.text == wanted.text || (by_name && self.is_container())
    }
}

pub(super) fn compare_namespace(d: &mut Diff<'_>, field: &str, old: Option<Namespace>, new: Option<Namespace>) {
    let same = match (&old, &new) {
        (Some(old), Some(new)) => old.is_same(new),
        (None, None) => true,
        _ => false,
    };
    if same {
        return;
    }
    let moved = new.as_ref().is_some_and(|n| n.of_service) && old.as_ref().is_some_and(Namespace::is_container);
    let cause = if moved && d.cause == Cause::ChangedOutside { Cause::NamespaceReplaced } else { d.cause };
    d.push_as(field, old.map(Namespace::shown), new.map(Namespace::shown), ClosedBy::Replace, cause);
}

pub(super) fn compare_resources(d: &mut Diff<'_>, was: &Resources, wanted: &Resources) {
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
    d.limit("resources.memory", was.memory.as_ref(), memory.as_ref());
    d.limit("resources.memoryReservation", was.memory_reservation.as_ref(), memory_reservation.as_ref());
    let before_swap = d.changes.len();
    d.engine_default("resources.swap", was.swap.as_ref(), swap.as_ref(), ToString::to_string);
    // One that it was not created with would be forgotten: no label would tell that a spec has set it.
    if swap.is_some() && memory.is_some() && d.sets.contains("resources.swap") {
        d.changes[before_swap..].iter_mut().for_each(|c| c.closed_by = ClosedBy::InPlace);
    }
    d.limit("resources.cpus", was.cpus.as_ref(), cpus.as_ref());
    d.limit("resources.cpuset", was.cpuset.as_ref(), cpuset.as_ref());
    d.limit("resources.cpuShares", was.cpu_shares.as_ref(), cpu_shares.as_ref());
    if was.pids != *pids {
        let show = |n: Option<i64>| n.map(|n| n.to_string());
        // The one that the engine also takes away.
        d.push_as("resources.pids", show(was.pids), show(*pids), ClosedBy::InPlace, d.cause);
    }
    d.engine_default("resources.shmSize", was.shm_size.as_ref(), shm_size.as_ref(), ToString::to_string);
    d.option("resources.oomScoreAdj", was.oom_score_adj.as_ref(), oom_score_adj.as_ref());
}

pub(super) fn compare_security(d: &mut Diff<'_>, was: &Security, wanted: &Security) {
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

pub(super) fn compare_ulimits(d: &mut Diff<'_>, was: &BTreeMap<String, Ulimit>, wanted: &BTreeMap<String, Ulimit>) {
    let show = |l: &Ulimit| format!("{}:{}", l.soft, l.hard);
    for name in was.keys().chain(wanted.keys()).collect::<BTreeSet<_>>() {
        d.engine_default(&format!("ulimits.{name}"), was.get(name), wanted.get(name), show);
    }
}

pub(super) fn show_logging(logging: &Logging) -> String {
    let options: Vec<_> = logging.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if options.is_empty() { logging.driver.clone() } else { format!("{} ({})", logging.driver, options.join(", ")) }
}
