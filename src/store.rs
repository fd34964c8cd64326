//! One generic store for desired, observed and status.
//!
//! A reader waits on [`Store::subscribe`], then calls [`Store::since`] with the revision it has seen:
//! it gets each key that changed once, with its newest value. So slow readers coalesce, and memory is
//! bounded by the number of keys. The lock is never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

/// Counts changes of a whole store; 0 is before the first.
pub type Revision = u64;

/// A changed key with its newest value; `None`: it was removed.
pub type Change<K, V> = (K, Option<Arc<V>>);

/// See the module's text.
#[derive(Debug)]
pub struct Store<K, V> {
    inner: RwLock<Inner<K, V>>,
    revision: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Inner<K, V> {
    /// `None` remembers that a key was removed, so that readers hear of it.
    entries: BTreeMap<K, (Revision, Option<Arc<V>>)>,
    by_revision: BTreeMap<Revision, K>,
    revision: Revision,
}

impl<K: Ord + Clone, V: PartialEq> Default for Store<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V: PartialEq> Store<K, V> {
    pub fn new() -> Self {
        let inner = Inner { entries: BTreeMap::new(), by_revision: BTreeMap::new(), revision: 0 };
        Self { inner: RwLock::new(inner), revision: watch::Sender::new(0) }
    }

    /// Sets or removes a value. Says whether anything changed: what is equal is not published again.
    pub fn set(&self, key: &K, value: Option<V>) -> bool {
        let revision = {
            // A panic elsewhere cannot leave the maps half changed: nothing in here panics.
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            let old = inner.entries.get(key);
            if old.and_then(|(_, v)| v.as_deref()) == value.as_ref() {
                return false;
            }
            let old_revision = old.map(|(revision, _)| *revision);
            if let Some(old) = old_revision {
                inner.by_revision.remove(&old);
            }
            inner.revision += 1;
            let revision = inner.revision;
            inner.entries.insert(key.clone(), (revision, value.map(Arc::new)));
            inner.by_revision.insert(revision, key.clone());
            revision
        };
        // Two writers may get here in either order; the number only grows.
        self.revision.send_if_modified(|seen| {
            let newer = revision > *seen;
            *seen = revision.max(*seen);
            newer
        });
        true
    }

    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.entries.get(key).and_then(|(_, v)| v.clone())
    }

    /// Everything that is there, by key.
    pub fn snapshot(&self) -> BTreeMap<K, Arc<V>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.entries.iter().filter_map(|(k, (_, v))| v.clone().map(|v| (k.clone(), v))).collect()
    }

    /// Every key that changed after `seen`, oldest change first, with its newest value (`None`:
    /// removed), and the revision to go on from.
    pub fn since(&self, seen: Revision) -> (Revision, Vec<Change<K, V>>) {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let changes = inner
            .by_revision
            .range(seen + 1..)
            .filter_map(|(_, key)| inner.entries.get(key).map(|(_, value)| (key.clone(), value.clone())))
            .collect();
        (inner.revision, changes)
    }

    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_the_whole_first_and_then_each_changed_key_once() {
        let store = Store::new();
        store.set(&"a", Some(1));
        store.set(&"b", Some(2));
        let (seen, all) = store.since(0);
        assert_eq!(
            all.iter().map(|(k, v)| (*k, v.as_deref().copied())).collect::<Vec<_>>(),
            [("a", Some(1)), ("b", Some(2))]
        );
        for n in 3..100 {
            store.set(&"a", Some(n));
        }
        store.set(&"b", None);
        let (seen, changes) = store.since(seen);
        let changes: Vec<_> = changes.iter().map(|(k, v)| (*k, v.as_deref().copied())).collect();
        assert_eq!(changes, [("a", Some(99)), ("b", None)]);
        assert!(store.since(seen).1.is_empty());
    }

    #[test]
    fn what_is_equal_is_not_published_again() {
        let store = Store::new();
        assert!(store.set(&1, Some("x")));
        let watch = store.subscribe();
        assert!(!store.set(&1, Some("x")));
        assert!(!store.set(&2, None));
        assert!(!watch.has_changed().unwrap());
        assert!(store.set(&1, None));
        assert!(watch.has_changed().unwrap());
        assert!(store.get(&1).is_none() && store.snapshot().is_empty());
    }
}
