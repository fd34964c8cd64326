//! What has been found to differ so far, and the few ways in which fields are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crate::plan::types::{Cause, ClosedBy, FieldChange};

pub(super) struct Diff<'a> {
    pub(super) changes: Vec<FieldChange>,
    pub(super) cause: Cause,
    /// Fields of the engine's default that the container's spec set, by the label `sets`.
    pub(super) sets: &'a BTreeSet<String>,
}

impl Diff<'_> {
    pub(super) fn push(&mut self, field: impl Into<String>, old: Option<String>, new: Option<String>) {
        self.push_as(field, old, new, ClosedBy::Replace, self.cause);
    }

    pub(super) fn push_as(
        &mut self,
        field: impl Into<String>,
        old: Option<String>,
        new: Option<String>,
        closed_by: ClosedBy,
        cause: Cause,
    ) {
        self.changes.push(FieldChange { field: field.into(), old, new, closed_by, cause });
    }

    /// What files hold is compared by hashes.
    pub(super) fn contents(&mut self, field: impl Into<String>, closed_by: ClosedBy) {
        let (old, new) = (Some("earlier contents".to_owned()), Some("new contents".to_owned()));
        self.push_as(field, old, new, closed_by, Cause::SpecChanged);
    }

    /// A field that nobody but a spec sets.
    pub(super) fn eq<T: PartialEq>(&mut self, field: &str, old: &T, new: &T, show: impl Fn(&T) -> Option<String>) {
        if old != new {
            self.push(field, show(old), show(new));
        }
    }

    pub(super) fn option<T: PartialEq + Display>(&mut self, field: &str, old: Option<&T>, new: Option<&T>) {
        if old != new {
            self.push(field, old.map(ToString::to_string), new.map(ToString::to_string));
        }
    }

    /// A limit, which the engine sets and changes in place, and does not take away.
    pub(super) fn limit<T: PartialEq + Display>(&mut self, field: &str, old: Option<&T>, new: Option<&T>) {
        let closed_by = if new.is_some() { ClosedBy::InPlace } else { ClosedBy::Replace };
        if old != new {
            self.push_as(field, old.map(ToString::to_string), new.map(ToString::to_string), closed_by, self.cause);
        }
    }

    /// A field that the engine fills in where the spec says nothing.
    pub(super) fn engine_default<T: PartialEq>(
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
    pub(super) fn map(&mut self, field: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (o, n) = (old.get(name), new.get(name));
            if o != n {
                self.push(format!("{field}.{name}"), o.cloned(), n.cloned());
            }
        }
    }

    /// A set, by what is gone and what has come.
    pub(super) fn set<T: Ord + Display>(&mut self, field: &str, old: &BTreeSet<T>, new: &BTreeSet<T>) {
        if old != new {
            self.push(field, list(old.difference(new)), list(new.difference(old)));
        }
    }
}

pub(super) fn list<T: Display>(items: impl Iterator<Item = T>) -> Option<String> {
    let text = items.map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

pub(super) fn words(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(" "))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape that `Diff::eq` takes; `false` is a value and not unset"
)]
pub(super) fn flag(b: &bool) -> Option<String> {
    Some(b.to_string())
}

/// Ours first, then the image's: an entry that neither has is a difference.
pub(super) fn merged_map(
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

pub(super) fn from_image(
    d: &mut Diff<'_>,
    field: &str,
    old: Option<&[String]>,
    new: Option<&[String]>,
    image: Option<&[String]>,
) {
    let Some(wanted) = new.or(image) else { return };
    let old = old.unwrap_or_default();
    if old != wanted {
        d.push(field, words(old), words(wanted));
    }
}

pub(super) fn image_text(d: &mut Diff<'_>, field: &str, old: &str, new: Option<&str>, image: Option<&String>) {
    let Some(wanted) = new.or(image.map(String::as_str)) else { return };
    let show = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    if old.trim_end_matches('/') != wanted.trim_end_matches('/') {
        d.push(field, show(old), show(wanted));
    }
}
