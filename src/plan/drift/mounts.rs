//! Mounts, and files where they are mounts.

use std::collections::{BTreeMap, BTreeSet};

use super::diff::Diff;
use crate::plan::service::file_bind;
use crate::plan::types::ClosedBy;
use crate::resource::desired::Service;
use crate::resource::observed::Container;
use crate::resource::spec::{Mount, MountSource};

pub(super) fn compare_mounts(d: &mut Diff<'_>, service: &Service, container: &Container, mounts: &[Mount]) {
    let read_only_root = service.spec.container.security.read_only_root_filesystem;
    // Files of a read-only root are binds of ours.
    let file_targets: BTreeSet<&str> = if read_only_root {
        service.spec.container.files.iter().map(|f| f.target.as_str()).collect()
    } else {
        BTreeSet::new()
    };
    // One that was handed on is mounted by the name that the engine once made up for it.
    let handed_on = |m: &Mount| {
        let anonymous = container.anonymous.contains_key(&m.target);
        Mount { source: if anonymous { MountSource::Anonymous } else { m.source.clone() }, ..m.clone() }
    };
    let was: Vec<Mount> = container.config.mounts.iter().map(handed_on).collect();
    let (old, new) = (by_target(&was), by_target(mounts));
    for target in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let field = || format!("volumes.{target}");
        match (old.get(target), new.get(target)) {
            (Some(o), Some(n)) if !same_mount(o, n) => d.push(field(), Some(show_mount(o)), Some(show_mount(n))),
            (None, Some(n)) => d.push(field(), None, Some(show_mount(n))),
            // An anonymous one comes from the image or from the container before, and may hold data.
            (Some(o), None) if o.source != MountSource::Anonymous && !file_targets.contains(target) => {
                d.push(field(), Some(show_mount(o)), None);
            }
            _ => {}
        }
    }
    if read_only_root {
        // The host path carries the hash of the contents, so that a changed one is another path.
        for target in file_targets {
            let wanted = file_bind(service, target);
            let bound = old.get(target.trim_end_matches('/')).and_then(|m| match &m.source {
                MountSource::Bind { path, .. } => Some(path.as_str()),
                _ => None,
            });
            match bound {
                Some(path) if path.ends_with(&wanted) => {}
                Some(_) => d.contents(format!("files.{target}"), ClosedBy::Replace),
                None => d.push(format!("files.{target}"), None, Some("bound".to_owned())),
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
            MountSource::Bind { path: a, propagation: pa, selinux: sa },
            MountSource::Bind { path: b, propagation: pb, selinux: sb },
        ) => a.trim_end_matches('/') == b.trim_end_matches('/') && unset_or_same(pa.as_ref(), pb.as_ref()) && sa == sb,
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
        MountSource::Bind { path, propagation, selinux } => {
            let words = propagation.iter().cloned().chain(selinux.map(|label| format!("label {label}")));
            let words: Vec<_> = words.collect();
            if words.is_empty() { path.clone() } else { format!("{path} ({})", words.join(", ")) }
        }
        MountSource::Tmpfs { size: Some(size), .. } => format!("tmpfs of {size}"),
        MountSource::Tmpfs { size: None, .. } => "tmpfs".to_owned(),
    };
    if mount.read_only { format!("{source} (read only)") } else { source }
}

fn by_target(mounts: &[Mount]) -> BTreeMap<&str, &Mount> {
    mounts.iter().map(|m| (m.target.trim_end_matches('/'), m)).collect()
}
