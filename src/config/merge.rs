//! Layers of values, lowest first, to a configuration with the origin of each value.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::keys::Key;
use super::problem::{Document, Origin, Problem};
use super::types::Config;
use super::values::{PathContext, Raw, assign};
use crate::backoff::Backoff;
use crate::tasks::settings::masked;

/// A value as it was written, and where.
#[derive(Clone, Debug)]
pub struct Sourced {
    pub value: Raw,
    pub origin: Origin,
    pub place: Option<(Arc<Document>, Range<usize>)>,
}

/// The values of one source.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    pub values: BTreeMap<Key, Sourced>,
    /// What a relative path is relative to, where it is not the working directory.
    pub folder: Option<PathBuf>,
}

impl Layer {
    /// Adds a value that a flag gave.
    #[must_use]
    pub fn flag(mut self, key: Key, value: Option<impl Into<String>>) -> Self {
        if let Some(value) = value {
            let origin = Origin::Flag(key.info().flag.unwrap_or("--?"));
            self.values.insert(key, Sourced { value: Raw::Word(value.into()), origin, place: None });
        }
        self
    }
}

/// Where each value came from. Every key is in it.
pub type Origins = BTreeMap<Key, Origin>;

/// Later layers win. Every value of every layer is checked, also one that a later layer hides: it
/// would come to light on the day that the later one goes.
pub fn merge(defaults: Config, layers: &[Layer], home: Option<&std::path::Path>) -> (Config, Origins, Vec<Problem>) {
    let mut config = defaults;
    let mut origins: Origins = Key::ALL.iter().map(|k| (*k, Origin::Default)).collect();
    let mut problems = Vec::new();
    for layer in layers {
        let context = PathContext { home, folder: layer.folder.as_deref() };
        for (key, sourced) in &layer.values {
            match assign(&mut config, *key, &sourced.value, context) {
                Ok(()) => {
                    origins.insert(*key, sourced.origin.clone());
                }
                Err(wrong) => {
                    // An address with a password may stand where it does not belong.
                    let message = format!("invalid `{}`: {}", key.name(), masked(&wrong));
                    problems.push(Problem::new(message, Some(sourced.origin.clone())).at(sourced.place.clone()));
                }
            }
        }
    }
    if problems.is_empty() {
        let pauses = [
            (config.retry.backoff, Key::RetryInitial, Key::RetryMax),
            (config.tasks.backoff, Key::TasksRetryInitial, Key::TasksRetryMax),
        ];
        problems.extend(pauses.into_iter().filter_map(|(of, first, longest)| too_long(of, first, longest, &origins)));
    }
    (config, origins, problems)
}

fn too_long(Backoff { initial, max }: Backoff, first: Key, longest: Key, origins: &Origins) -> Option<Problem> {
    if initial <= max {
        return None;
    }
    // The one that is not a default is to blame.
    let key = if origins[&first] == Origin::Default { longest } else { first };
    let message = format!(
        "invalid `{}`: `{}` ({}) is longer than `{}` ({})",
        key.name(),
        first.name(),
        humantime::format_duration(initial),
        longest.name(),
        humantime::format_duration(max)
    );
    Some(Problem::new(message, Some(origins[&key].clone())))
}
