//! What the stack should be, as it changes: manifests, and what stands beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::graph::Graph;
use super::wakes::Trigger;
use super::{Controller, Shared, lock};
use crate::engine::Engine;
use crate::plan::Mode;
use crate::resource::ResourceKey;
use crate::resource::desired::{Desired, DesiredSet, DesiredSpec};
use crate::state::StateDir;

/// What is wanted of the whole stack.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    pub set: DesiredSet,
    /// Of the source, as short text: `3f2a91c+edits`.
    pub revision: Arc<str>,
    /// Keys whose manifest is broken, and why, with its place. They keep the last spec that was good, where
    /// one is known (P5).
    pub frozen: BTreeMap<ResourceKey, String>,
    /// Services that are suspended by call: who did it, and when.
    pub suspended: BTreeMap<String, String>,
}

impl Intent {
    /// What the manifests ask for, and nothing beside them.
    pub fn of(set: &DesiredSet, revision: Arc<str>) -> Self {
        Self { set: set.clone(), revision, frozen: set.invalid.clone(), suspended: BTreeMap::new() }
    }
}

/// What became of a resource's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestChange {
    Added,
    /// Its generation.
    Changed(u64),
    Removed,
    /// Why.
    Broken(String),
    Repaired,
}

impl<E: Engine> Controller<E> {
    /// Takes a new intent, queues what it changes, and says what that is. Generations are counted in
    /// `state`; whoever calls saves it.
    pub fn set_desired(&self, intent: &Intent, state: &mut StateDir) -> Vec<(ResourceKey, ManifestChange)> {
        let shared = &self.shared;
        let before = shared.desired.snapshot();
        let mut desired: BTreeMap<ResourceKey, Desired> = BTreeMap::new();
        for (key, spec) in &intent.set.resources {
            let generation = match spec {
                DesiredSpec::Service(service) => state.generation(&key.name, &service.spec),
                DesiredSpec::Network(_) | DesiredSpec::Volume(_) => 1,
            };
            // The revision at which this spec came, not the newest one: else every commit would change all.
            let same = before.get(key).filter(|old| old.spec == *spec && old.generation == generation);
            let revision = same.map_or(&intent.revision, |old| &old.revision);
            desired.insert(key.clone(), Desired { generation, revision: Arc::clone(revision), spec: spec.clone() });
        }
        for key in intent.frozen.keys() {
            if let Some(last_good) = before.get(key) {
                desired.entry(key.clone()).or_insert_with(|| (**last_good).clone());
            }
        }
        let frozen = intent.frozen.keys().cloned().collect();
        let was_frozen = std::mem::replace(&mut *lock(&shared.frozen), frozen);
        let changes = changes(&before, &desired, &was_frozen, &intent.frozen);
        let graph = Arc::new(Graph::new(desired.values()));
        *shared.graph.write().unwrap_or_else(PoisonError::into_inner) = graph;
        let treated_anew = shared.set_modes(intent, &desired, |key| state.suspends_itself(&key.name));

        let mut wake: BTreeSet<ResourceKey> = treated_anew;
        for key in before.keys().filter(|k| !desired.contains_key(k)) {
            shared.desired.set(key, None);
            wake.insert(key.clone());
        }
        for (key, value) in desired {
            if before.get(&key).is_some_and(|old| **old == value) {
                continue;
            }
            // No status may claim, even for a moment, to be about a spec that it does not know (P14).
            if let Some(status) = shared.status.get(&key) {
                shared.status.set(&key, Some(status.outdated(value.generation, shared.clock.now())));
            }
            shared.desired.set(&key, Some(value));
            wake.insert(key);
        }
        for key in wake {
            // What was looked for depended on the spec.
            shared.recent.forget(&key);
            shared.wakes.add(key, Trigger::ManifestChanged);
        }
        changes
    }

    /// Every key that a manifest asks for, broken ones included, and what is suspended.
    pub fn known(&self) -> BTreeSet<ResourceKey> {
        self.described().into_iter().chain(self.shared.suspended()).collect()
    }

    /// Every key that a manifest asks for, broken ones included.
    pub fn described(&self) -> BTreeSet<ResourceKey> {
        let frozen = lock(&self.shared.frozen).clone();
        self.shared.desired.snapshot().into_keys().chain(frozen).collect()
    }

    /// Removes these, once what needs them is gone; but not what somebody has suspended meanwhile (P19).
    pub fn remove(&self, keys: impl IntoIterator<Item = ResourceKey>) {
        for key in keys {
            if self.is_suspended(&key) {
                continue;
            }
            lock(&self.shared.modes).insert(key.clone(), Mode::Removing);
            self.shared.revisions.forget(&key);
            self.shared.recent.forget(&key);
            self.shared.wakes.add(key, Trigger::ManifestChanged);
        }
    }
}

impl<E: Engine> Shared<E> {
    /// Says which are treated otherwise than before. `suspends_itself`: whether the manifest that was good
    /// last said so.
    fn set_modes(
        &self,
        intent: &Intent,
        desired: &BTreeMap<ResourceKey, Desired>,
        suspends_itself: impl Fn(&ResourceKey) -> bool,
    ) -> BTreeSet<ResourceKey> {
        let mut modes = BTreeMap::new();
        let mut whys: BTreeMap<ResourceKey, Arc<str>> = BTreeMap::new();
        for (key, why) in &intent.frozen {
            modes.insert(key.clone(), Mode::Frozen);
            whys.insert(key.clone(), why.as_str().into());
        }
        // Hands off, however broken (P19): by call whatever the manifests say, or if they say nothing; and by
        // the manifest, until it says otherwise.
        let suspended_last = intent.frozen.keys().filter(|k| !desired.contains_key(k) && suspends_itself(k));
        let suspends = |value: &Desired| value.spec.as_service().is_some_and(|s| s.spec.suspend);
        let by_manifest = desired.iter().filter(|(_, value)| suspends(value)).map(|(key, _)| key);
        for key in by_manifest.chain(suspended_last) {
            modes.insert(key.clone(), Mode::Suspended);
            // Its manifest says so, which is no reason of its own.
            whys.remove(key);
        }
        for (name, who) in &intent.suspended {
            let key = ResourceKey::service(name.as_str());
            modes.insert(key.clone(), Mode::Suspended);
            whys.insert(key, who.as_str().into());
        }
        if self.settings.remove_all {
            for mode in modes.values_mut() {
                *mode = Mode::Removing;
            }
            modes.extend(desired.keys().map(|key| (key.clone(), Mode::Removing)));
        }
        let mut current = lock(&self.modes);
        if !intent.set.has_errors {
            // A removal that has begun goes on, unless its manifest is back or something is in error now.
            let leaving = current.iter().filter(|(k, m)| **m == Mode::Removing && !desired.contains_key(k));
            let leaving: Vec<_> = leaving.map(|(k, _)| k.clone()).filter(|k| !modes.contains_key(k)).collect();
            modes.extend(leaving.into_iter().map(|key| (key, Mode::Removing)));
        }
        let mut known = lock(&self.whys);
        let keys: BTreeSet<_> = current.keys().chain(modes.keys()).cloned().collect();
        let differs = |key: &ResourceKey| current.get(key) != modes.get(key) || known.get(key) != whys.get(key);
        let anew = keys.into_iter().filter(differs).collect();
        *current = modes;
        *known = whys;
        anew
    }

    pub(super) fn suspended(&self) -> Vec<ResourceKey> {
        lock(&self.modes).iter().filter(|(_, m)| **m == Mode::Suspended).map(|(k, _)| k.clone()).collect()
    }

    /// Why it is not treated normally.
    pub(super) fn why(&self, key: &ResourceKey) -> Option<Arc<str>> {
        lock(&self.whys).get(key).cloned()
    }
}

fn changes(
    before: &BTreeMap<ResourceKey, Arc<Desired>>,
    after: &BTreeMap<ResourceKey, Desired>,
    was_frozen: &BTreeSet<ResourceKey>,
    frozen: &BTreeMap<ResourceKey, String>,
) -> Vec<(ResourceKey, ManifestChange)> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).chain(was_frozen).chain(frozen.keys()).collect();
    let change = |key: &ResourceKey| match (before.get(key), after.get(key)) {
        _ if frozen.contains_key(key) && !was_frozen.contains(key) => Some(ManifestChange::Broken(frozen[key].clone())),
        _ if frozen.contains_key(key) => None,
        (_, None) if was_frozen.contains(key) || before.contains_key(key) => Some(ManifestChange::Removed),
        (Some(old), Some(new)) if **old != *new => Some(ManifestChange::Changed(new.generation)),
        (_, Some(_)) if was_frozen.contains(key) => Some(ManifestChange::Repaired),
        (None, Some(_)) => Some(ManifestChange::Added),
        _ => None,
    };
    keys.into_iter().filter_map(|key| Some((key.clone(), change(key)?))).collect()
}
