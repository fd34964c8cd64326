//! What a container has taken over from one that was not ours (`docs/adoption.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::ContainerId;
use super::observed::Container;
use super::spec::{ContainerSpec, Mount, MountSource, NetworkAttachment, RestartPolicy};

/// Compose's own labels.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// `True` on what `docker-compose run` has started.
pub const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";
/// All of them begin so.
pub const COMPOSE_PREFIX: &str = "com.docker.compose.";

/// What is kept of an adopted container, in the label `adopted` of those that take its place, from one to
/// the next: no manifest says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    pub from: ContainerId,
    /// What it was called.
    pub name: String,
    /// Before it was stopped.
    pub restart: RestartPolicy,
    /// Compose's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// All but anonymous ones, which every replacement hands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkAttachment>,
}

impl Adopted {
    /// All that a container could hand on.
    pub fn of(container: &Container) -> Self {
        let config = &container.config;
        let is_named = |m: &&Mount| m.source != MountSource::Anonymous && !container.anonymous.contains_key(&m.target);
        Self {
            from: container.id.clone(),
            name: container.name.clone(),
            restart: config.restart,
            project: config.labels.get(COMPOSE_PROJECT).cloned(),
            mounts: config.mounts.iter().filter(is_named).cloned().collect(),
            networks: config.networks.clone(),
        }
    }

    /// That part of it for which `spec` names nothing else.
    #[must_use]
    pub fn under(&self, spec: &ContainerSpec) -> Self {
        let mounts = self.mounts.iter().filter(|kept| self.stays(kept, spec)).cloned().collect();
        let is_named = |name: &str| spec.networks.iter().any(|n| n.network == name);
        // In a namespace of another there is nothing to be attached to.
        let may_join = spec.network_mode.is_none();
        let networks = self.networks.iter().filter(|n| may_join && !is_named(&n.network)).cloned().collect();
        Self { mounts, networks, ..self.clone() }
    }

    /// The mounts of `spec` beside those that are kept, and instead of those that stand in for them.
    pub fn mounts(&self, spec: &ContainerSpec) -> Vec<Mount> {
        let kept: BTreeMap<_, _> =
            self.under(spec).mounts.into_iter().map(|m| (place(&m.target).to_owned(), m)).collect();
        let instead = |named: &Mount| match (kept.get(place(&named.target)), &named.source) {
            // How it is mounted is the manifest's to say.
            (Some(Mount { source: MountSource::Volume { name, .. }, .. }), MountSource::Volume { subpath, .. }) => {
                let source = MountSource::Volume { name: name.clone(), subpath: subpath.clone() };
                Mount { source, ..named.clone() }
            }
            (Some(kept), _) => kept.clone(),
            (None, _) => named.clone(),
        };
        let is_named = |target: &str| spec.mounts.iter().any(|m| place(&m.target) == target);
        let beside = kept.iter().filter(|(target, _)| !is_named(target)).map(|(_, m)| m.clone());
        spec.mounts.iter().map(instead).chain(beside).collect()
    }

    /// A mount that would swallow a file which the manifest puts below it: target and file.
    pub fn covers_file<'a>(&self, spec: &'a ContainerSpec) -> Option<(String, &'a str)> {
        let kept = self.under(spec).mounts;
        let below =
            |file: &str, target: &str| file.strip_prefix(place(target)).is_some_and(|rest| rest.starts_with('/'));
        kept.into_iter().find_map(|mount| {
            let file = spec.files.iter().find(|f| below(&f.target, &mount.target))?;
            Some((mount.target, file.target.as_str()))
        })
    }

    fn stays(&self, kept: &Mount, spec: &ContainerSpec) -> bool {
        let here = place(&kept.target);
        if spec.files.iter().any(|f| place(&f.target) == here) {
            return false;
        }
        let Some(named) = spec.mounts.iter().find(|m| place(&m.target) == here) else { return true };
        match (&named.source, &kept.source) {
            // It names none.
            (MountSource::Anonymous, _) => true,
            // Compose calls a project's volume so.
            (MountSource::Volume { name: named, .. }, MountSource::Volume { name: kept, .. }) => {
                self.project.as_ref().is_some_and(|project| *kept == format!("{project}_{named}"))
            }
            _ => false,
        }
    }
}

/// One that is not ours, with what it could hand on. Its name and its restart policy change in a takeover, so
/// what takes its place remembers both (`begun`).
pub fn adoptable(mut container: Container, begun: &[&Adopted]) -> Container {
    let mut adopted = Adopted::of(&container);
    if let Some(before) = begun.iter().find(|b| b.from == container.id) {
        adopted.name.clone_from(&before.name);
        adopted.restart = before.restart;
    }
    container.owner.restart_policy = Some(adopted.restart);
    container.owner.adopted = Some(Box::new(adopted));
    container
}

fn place(target: &str) -> &str {
    target.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, target: &str) -> Mount {
        let source = MountSource::Volume { name: name.to_owned(), subpath: None };
        Mount { target: target.to_owned(), source, read_only: false }
    }

    fn adopted(mounts: Vec<Mount>) -> Adopted {
        Adopted {
            from: ContainerId::new("f"),
            name: "shop_redis_1".to_owned(),
            restart: RestartPolicy::Always,
            project: Some("shop".to_owned()),
            mounts,
            networks: Vec::new(),
        }
    }

    fn spec(mounts: Vec<Mount>) -> ContainerSpec {
        ContainerSpec { mounts, ..ContainerSpec::plain("redis", "redis:7") }
    }

    #[test]
    fn a_project_s_volume_stands_in_for_the_one_that_the_manifest_calls_as_compose_does() {
        let kept = adopted(vec![volume("shop_data", "/data")]);
        let read_only = Mount { read_only: true, ..volume("data", "/data/") };
        let mounts = kept.mounts(&spec(vec![read_only]));
        assert_eq!(mounts, [Mount { read_only: true, ..volume("shop_data", "/data/") }]);
    }

    #[test]
    fn another_volume_or_folder_that_the_manifest_names_is_mounted() {
        let kept = adopted(vec![volume("shop_data", "/data")]);
        let bind = Mount {
            source: MountSource::Bind { path: "/srv".to_owned(), propagation: None, selinux: None },
            ..volume("", "/data")
        };
        for named in [volume("other", "/data"), volume("shop_data", "/data"), bind] {
            assert_eq!(kept.mounts(&spec(vec![named.clone()])), vec![named.clone()]);
            assert!(kept.under(&spec(vec![named])).mounts.is_empty());
        }
    }

    #[test]
    fn what_the_manifest_does_not_name_is_kept() {
        let kept = adopted(vec![volume("shop_data", "/data"), volume("shop_log", "/log")]);
        let anonymous = Mount { source: MountSource::Anonymous, ..volume("", "/data") };
        let mounts = kept.mounts(&spec(vec![anonymous, volume("x", "/x")]));
        assert_eq!(mounts, [volume("shop_data", "/data"), volume("x", "/x"), volume("shop_log", "/log")]);
    }

    #[test]
    fn networks_are_kept_unless_the_manifest_attaches_to_them_itself_or_to_none() {
        let attachment = |name: &str| NetworkAttachment {
            network: name.to_owned(),
            aliases: ["redis".to_owned()].into(),
            ipv4_address: None,
            priority: None,
        };
        let kept = Adopted { networks: vec![attachment("shop_default"), attachment("back")], ..adopted(Vec::new()) };
        let spec = ContainerSpec { networks: vec![attachment("back")], ..spec(Vec::new()) };
        assert_eq!(kept.under(&spec).networks, [attachment("shop_default")]);
        let host = ContainerSpec { network_mode: Some(crate::resource::spec::NetworkMode::Host), ..spec };
        assert!(kept.under(&host).networks.is_empty());
    }
}
