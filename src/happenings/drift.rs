//! What is not as its manifest says, field by field.

use super::happening;
use crate::plan::FieldChange;
use crate::plan::types::ClosedBy;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};

/// Told at one look; a manifest that is written anew differs in everything.
const MOST: usize = 20;

/// `changes`: what the look before did not find.
pub fn drift<'a>(key: &ResourceKey, changes: impl IntoIterator<Item = &'a FieldChange>) -> Vec<Happening> {
    let mut texts: Vec<_> = changes.into_iter().map(text).collect();
    if texts.len() > MOST {
        let more = texts.len() - MOST;
        texts.truncate(MOST);
        texts.push(format!("and {more} fields more"));
    }
    texts.into_iter().map(|text| happening(key, EventReason::DriftFound, text, Actor::Outside)).collect()
}

/// Plans mask what is secret, so this holds no value of a secret either.
fn text(change: &FieldChange) -> String {
    let FieldChange { field, old, new, closed_by, cause } = change;
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".to_owned());
    let closed_by = match closed_by {
        ClosedBy::InPlace => "changed in place",
        ClosedBy::Replace => "takes another container",
    };
    format!("{field}: {} → {} ({cause}); {closed_by}", side(old), side(new))
}
