//! Which revisions of services have served, and which were refused: what a later process is to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{Controller, Shared, lock};
use crate::clock::Timestamp;
use crate::engine::Engine;
use crate::plan::Plan;
use crate::resource::ResourceKey;
use crate::resource::desired::Desired;
use crate::resource::labels::FAILED;
use crate::resource::observed::Observed;
use crate::resource::revision::{Proven, Revision, Revisions};

#[derive(Debug)]
pub(super) struct Known {
    by_service: Mutex<BTreeMap<ResourceKey, Arc<Revisions>>>,
    /// Services whose refused revision somebody asked to try again.
    asked: Mutex<BTreeSet<ResourceKey>>,
    /// Counts changes that are to be kept.
    changes: watch::Sender<u64>,
    /// This process began.
    pub(super) since: Timestamp,
}

impl Known {
    pub(super) fn new(by_service: BTreeMap<String, Revisions>, since: Timestamp) -> Self {
        let shared = |(name, known): (String, _)| (ResourceKey::service(name.as_str()), Arc::new(known));
        let by_service = by_service.into_iter().map(shared).collect();
        Self { by_service: Mutex::new(by_service), asked: Mutex::default(), changes: watch::Sender::new(0), since }
    }

    pub(super) fn of(&self, key: &ResourceKey) -> Arc<Revisions> {
        lock(&self.by_service).get(key).cloned().unwrap_or_default()
    }

    fn change(&self, key: &ResourceKey, edit: impl FnOnce(&mut Revisions)) {
        edit(Arc::make_mut(lock(&self.by_service).entry(key.clone()).or_default()));
        self.changes.send_modify(|n| *n += 1);
    }

    /// It goes: whoever comes under its name is somebody else.
    pub(super) fn forget(&self, key: &ResourceKey) {
        lock(&self.asked).remove(key);
        if lock(&self.by_service).remove(key).is_some() {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    /// What was refused may be tried again.
    pub(super) fn try_again(&self, key: &ResourceKey) {
        lock(&self.asked).insert(key.clone());
        if self.of(key).refused.is_some() {
            self.change(key, |known| known.refused = None);
        }
    }
}

impl<E: Engine> Shared<E> {
    /// Somebody asked to try again what was refused; forgotten once no container speaks against it.
    pub(super) fn retry_asked(&self, key: &ResourceKey, observed: &Observed) -> bool {
        let Observed::Service(observed) = observed else { return false };
        let mut asked = lock(&self.revisions.asked);
        if !observed.owned.iter().any(|c| c.name.ends_with(FAILED)) {
            asked.remove(key);
        }
        asked.contains(key)
    }

    pub(super) fn remember_revision(
        &self,
        key: &ResourceKey,
        desired: Option<&Desired>,
        observed: &Observed,
        plan: &Plan,
    ) {
        if let Some(refusal) = &plan.refuses {
            return self.revisions.change(key, |known| known.refused = Some(refusal.clone()));
        }
        let Some(service) = desired.and_then(|d| d.spec.as_service()) else { return };
        let Observed::Service(observed) = observed else { return };
        // Ready, and nothing differs from what is asked for.
        let (true, true, Some(container)) = (plan.status.ready, plan.status.settled, &plan.status.container) else {
            return;
        };
        let Some(container) = observed.owned.iter().find(|c| c.id == container.id) else { return };
        let is_it = |proven: &Proven| {
            proven.spec == service.spec
                && proven.revision.image.as_ref() == Some(&container.image_id)
                && proven.revision.has_the_secrets_and_files_of(service)
        };
        if !self.revisions.of(key).proven.as_ref().is_some_and(is_it) {
            let revision = Revision::of(service, Some(&container.image_id), &self.salt());
            let proven = Proven { spec: service.spec.clone(), revision };
            self.revisions.change(key, |known| known.proven = Some(proven));
        }
    }
}

impl<E: Engine> Controller<E> {
    /// For the next process.
    pub fn revisions(&self) -> BTreeMap<String, Revisions> {
        let known = lock(&self.shared.revisions.by_service);
        known.iter().map(|(key, known)| (key.name.to_string(), (**known).clone())).collect()
    }

    /// Tells when [`Controller::revisions`] has changed.
    pub fn revision_changes(&self) -> watch::Receiver<u64> {
        self.shared.revisions.changes.subscribe()
    }
}
