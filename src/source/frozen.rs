//! P5: a file with an error freezes every key that it defined last.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Completeness, Loaded};
use crate::resource::ResourceKey;

/// The keys that were defined before ([`remembered`] by the last load), that this load does not mention,
/// and that an error may hide; each with the error, in one line with its place. What this load calls
/// invalid is frozen too and not in here; what a healthy file no longer describes is an orphan.
pub fn frozen(previous: &BTreeMap<ResourceKey, Arc<str>>, now: &Loaded) -> BTreeMap<ResourceKey, String> {
    // Which files there would be is not known.
    let whole = (now.completeness != Completeness::Whole)
        .then(|| now.errors().next().map_or_else(|| "the manifests cannot be read".to_owned(), ToString::to_string));
    previous
        .iter()
        .filter(|(key, _)| !now.set.resources.contains_key(key) && !now.set.invalid.contains_key(key))
        .filter_map(|(key, file)| {
            let why = now.broken_files.get(file).or(whole.as_ref())?;
            Some((key.clone(), why.clone()))
        })
        .collect()
}

/// What the next load is compared with: what this one defines, and what it keeps frozen.
pub fn remembered(previous: &BTreeMap<ResourceKey, Arc<str>>, now: &Loaded) -> BTreeMap<ResourceKey, Arc<str>> {
    let kept = frozen(previous, now).into_keys().filter_map(|key| previous.get(&key).cloned().map(|file| (key, file)));
    kept.chain(now.defined.clone()).collect()
}
