//! Everything that a container is created with, and what an interrupted creation lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::in_place::files_differ_in_place;
use super::run::{Measure, Run};
use super::steps::{existing, step};
use crate::plan::drift::sets_label;
use crate::plan::types::{Cause, Op, Step, Target};
use crate::resource::adoption::Adopted;
use crate::resource::container::ContainerCreate;
use crate::resource::desired::Service;
use crate::resource::hash::{SaltedHash, sha256_hex};
use crate::resource::labels;
use crate::resource::observed::Container;
use crate::resource::spec::{Mount, MountSource};

impl Run<'_> {
    pub fn create_and_start(&self, name: &str, cause: Cause, from: Option<&Container>) -> Vec<Step> {
        let mut steps = self.create_steps(name, cause, from);
        steps.push(step(Op::Start(Target::Created { name: name.to_owned() }), cause));
        steps
    }

    /// Creates a container, attaches it to its further networks, uploads its files. `from`: the one
    /// that it takes the place of.
    pub fn create_steps(&self, name: &str, cause: Cause, from: Option<&Container>) -> Vec<Step> {
        let spec = &self.service.spec.container;
        // What was kept once is handed on from one to the next.
        let adopted = from.and_then(|c| c.owner.adopted.as_ref()).map(|a| a.under(spec));
        let service = match &adopted {
            Some(adopted) => with_mounts(&self.service, adopted.mounts(spec)),
            None => Arc::clone(&self.service),
        };
        let mut endpoints = self.endpoints(adopted.as_ref()).into_iter();
        let target = || Target::Created { name: name.to_owned() };
        let create = ContainerCreate {
            name: name.to_owned(),
            labels: self.labels(adopted.as_ref()),
            network: endpoints.next(),
            inherited: from.map(|c| inherited_volumes(&service, c)).unwrap_or_default(),
            service,
            namespaces: self.observed.namespaces.clone(),
            file_binds: self.file_binds(),
        };
        let mut steps = vec![step(Op::CreateContainer(Box::new(create)), cause)];
        steps.extend(endpoints.map(|endpoint| step(Op::Connect { target: target(), endpoint }, cause)));
        steps.extend(self.upload(target(), cause));
        steps
    }

    /// What inspect and the marker show missing, of one that does not run.
    pub fn complete_steps(&self, container: &Container) -> Vec<Step> {
        let mut steps = self.attachment_steps(container, Cause::Resumed);
        let never_uploaded = container.files_marker.is_none() && self.measure != Measure::Itself;
        let changes = self.differences(container);
        if never_uploaded || files_differ_in_place(&changes) {
            steps.extend(self.upload(existing(container), Cause::Resumed));
        }
        // What the engine has refused keeps nothing from starting.
        if !self.in_place_was_refused() {
            steps.extend(self.limits_step(container, &changes));
        }
        steps
    }

    fn upload(&self, target: Target, cause: Cause) -> Option<Step> {
        if self.service.spec.container.security.read_only_root_filesystem {
            return None; // It refuses uploads: its files are bound.
        }
        let marker = SaltedHash::of_files(&self.service, &self.cx.policy.salt)?;
        Some(step(Op::Upload { target, service: Arc::clone(&self.service), marker }, cause))
    }

    fn file_binds(&self) -> BTreeMap<String, String> {
        let container = &self.service.spec.container;
        if !container.security.read_only_root_filesystem {
            return BTreeMap::new();
        }
        let path = |target: &str| format!("{}/{}", self.cx.policy.files_dir, file_bind(&self.service, target));
        container.files.iter().map(|f| (f.target.clone(), path(&f.target))).collect()
    }

    fn labels(&self, adopted: Option<&Adopted>) -> BTreeMap<String, String> {
        let (policy, service) = (self.cx.policy, &*self.service);
        let container = &service.spec.container;
        let secret_env: Vec<_> = container.secret_env.keys().map(String::as_str).collect();
        let secrets = SaltedHash::of_secrets(service, &policy.salt).map(|h| h.to_string());
        let fixed_files = SaltedHash::of_fixed_files(service, &policy.salt).map(|h| h.to_string());
        [
            (labels::STACK, Some(policy.stack.clone())),
            (labels::SOURCE, Some(policy.source.0.clone())),
            (labels::SERVICE, Some(service.name.to_string())),
            (labels::SPEC_HASH, Some(service.hash.0.clone())),
            (labels::SECRETS_HASH, secrets),
            (labels::FILES_HASH, fixed_files),
            (labels::SECRET_ENV, (!secret_env.is_empty()).then(|| secret_env.join(","))),
            (labels::RESTART_POLICY, Some(container.restart.to_string())),
            (labels::REVISION, Some(policy.revision.to_string())),
            (labels::RESTARTED_AT, container.restarted_at.clone()),
            (labels::ADOPTED_FROM, adopted.map(|a| a.from.0.to_string())),
            (labels::ADOPTED, adopted.and_then(|a| serde_json::to_string(a).ok())),
            (labels::SETS, Some(sets_label(container)).filter(|s| !s.is_empty())),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|v| (name.to_owned(), v)))
        .collect()
    }
}

/// Where a file is bound from when the root is read-only: below the files folder, by contents.
pub fn file_bind(service: &Service, target: &str) -> String {
    let content = sha256_hex(service.file_content(target));
    format!("{}/{}/{}", service.name, &content[..16], target.trim_start_matches('/').replace('/', "_"))
}

/// The same service with other mounts than its manifest names. It keeps its hash, which is the manifest's.
fn with_mounts(service: &Service, mounts: Vec<Mount>) -> Arc<Service> {
    let mut service = service.clone();
    service.spec.container.mounts = mounts;
    Arc::new(service)
}

/// Anonymous volumes hold data too: the new container mounts the old one's at the same targets,
/// unless the spec mounts something there (rules 4).
fn inherited_volumes(service: &Service, from: &Container) -> BTreeMap<String, String> {
    let taken = |target: &str| {
        service.spec.container.mounts.iter().any(|m| {
            m.target.trim_end_matches('/') == target.trim_end_matches('/') && m.source != MountSource::Anonymous
        })
    };
    from.anonymous.iter().filter(|(target, _)| !taken(target)).map(|(t, n)| (t.clone(), n.clone())).collect()
}
