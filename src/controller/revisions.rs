//! Which revisions of services have served, and which were refused: what a later process is to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

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
    by_service: Mutex<BTreeMap<String, Revisions>>,
    /// Services whose refused revision somebody asked to try again.
    asked: Mutex<BTreeSet<ResourceKey>>,
    /// Counts changes that are to be kept.
    changes: watch::Sender<u64>,
    /// This process began.
    pub(super) since: Timestamp,
}

impl Known {
    pub(super) fn new(by_service: BTreeMap<String, Revisions>, since: Timestamp) -> Self {
        Self { by_service: Mutex::new(by_service), asked: Mutex::default(), changes: watch::Sender::new(0), since }
    }

    pub(super) fn of(&self, key: &ResourceKey) -> Revisions {
        lock(&self.by_service).get(&*key.name).cloned().unwrap_or_default()
    }

    fn change(&self, key: &ResourceKey, edit: impl FnOnce(&mut Revisions) -> bool) {
        let changed = edit(lock(&self.by_service).entry(key.name.to_string()).or_default());
        if changed {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    /// What was refused may be tried again.
    pub(super) fn try_again(&self, key: &ResourceKey) {
        lock(&self.asked).insert(key.clone());
        self.change(key, |r| r.refused.take().is_some());
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
            self.revisions.change(key, |r| {
                r.refused = Some(refusal.clone());
                true
            });
            return;
        }
        let Some(service) = desired.and_then(|d| d.spec.as_service()) else { return };
        let Observed::Service(observed) = observed else { return };
        // Ready, and nothing differs from what is asked for.
        let (true, true, Some(container)) = (plan.status.ready, plan.status.settled, &plan.status.container) else {
            return;
        };
        let Some(container) = observed.owned.iter().find(|c| c.id == container.id) else { return };
        self.revisions.change(key, |r| {
            let is_known = r.proven.as_ref().is_some_and(|p| {
                p.spec == service.spec
                    && p.revision.image.as_ref() == Some(&container.image_id)
                    && p.revision.has_the_secrets_and_files_of(service)
            });
            if !is_known {
                let revision = Revision::of(service, Some(&container.image_id), &self.salt());
                r.proven = Some(Proven { spec: service.spec.clone(), revision });
            }
            !is_known
        });
    }
}

impl<E: Engine> Controller<E> {
    /// For the next process.
    pub fn revisions(&self) -> BTreeMap<String, Revisions> {
        lock(&self.shared.revisions.by_service).clone()
    }

    /// Tells when [`Controller::revisions`] has changed.
    pub fn revision_changes(&self) -> watch::Receiver<u64> {
        self.shared.revisions.changes.subscribe()
    }
}
