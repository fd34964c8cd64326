//! What may be removed because nothing asks for it any more (P5, P6; rules 1–3).

use std::collections::BTreeMap;
use std::fmt;

use crate::resource::ResourceKey;
use crate::resource::key::Kind;
use crate::resource::labels::SourceId;
use crate::resource::overall::Kept;

/// Something on the engine that our stack owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedResource {
    pub key: ResourceKey,
    pub source: SourceId,
}

/// What limits pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneGuards {
    /// Whether to prune at all.
    pub enabled: bool,
    /// The largest share of the owned services, in percent, that may go at once.
    pub limit_percent: u8,
    /// The source was read whole: it is there, it is not empty, and no file is in error.
    pub source_is_whole: bool,
    /// The limit was lifted, by a person, for this revision.
    pub allowed: bool,
}

/// What is to be removed, and what is kept and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    pub remove: Vec<ResourceKey>,
    pub refused: Vec<Refused>,
}

impl Prune {
    /// A line for each thing that nothing asks for and that is kept all the same.
    pub fn refusals(&self) -> Vec<String> {
        let line = |refused: &Refused| format!("{} is not described and was kept: {}", refused.key, refused.why);
        self.refused.iter().map(line).collect()
    }

    /// The same for programs.
    pub fn kept(&self) -> Vec<Kept> {
        let kept = |r: &Refused| Kept { key: r.key.clone(), reason: r.why.word(), message: r.why.to_string() };
        self.refused.iter().map(kept).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub key: ResourceKey,
    pub why: WhyKept,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyKept {
    /// Another folder of the same stack asked for it.
    OtherSource {
        theirs: SourceId,
        ours: SourceId,
    },
    /// Somebody has suspended it (P19).
    Suspended {
        /// `uid 0 since …`
        by: String,
    },
    Disabled,
    SourceNotWhole,
    TooMany {
        removed: usize,
        owned: usize,
        limit_percent: u8,
    },
}

impl WhyKept {
    pub fn word(&self) -> &'static str {
        match self {
            Self::OtherSource { .. } => "OtherSource",
            Self::Suspended { .. } => "Suspended",
            Self::Disabled => "PruneDisabled",
            Self::SourceNotWhole => "SourceNotWhole",
            Self::TooMany { .. } => "TooMany",
        }
    }
}

impl fmt::Display for WhyKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSource { theirs, ours } => write!(f, "it belongs to {theirs}, and these manifests are {ours}"),
            Self::Suspended { by } => write!(f, "it is suspended by {by}; once resumed, it goes"),
            Self::Disabled => f.write_str("pruning is switched off"),
            Self::SourceNotWhole => f.write_str("the manifests could not be read whole"),
            Self::TooMany { removed, owned, limit_percent } => write!(
                f,
                "{removed} of {owned} services would go at once, and the limit is {limit_percent} %; \
                 `--allow-prune` lifts it"
            ),
        }
    }
}

/// Judges every owned resource that is not desired. Volumes are not asked about: they are data.
pub fn prune(
    owned: &[OwnedResource],
    is_desired: impl Fn(&ResourceKey) -> bool,
    ours: &SourceId,
    guards: PruneGuards,
) -> Prune {
    // Several containers of a service are one service; one of another source makes it that source's.
    let mut by_key: BTreeMap<&ResourceKey, &SourceId> = BTreeMap::new();
    for resource in owned.iter().filter(|r| r.key.kind != Kind::Volume) {
        let source = by_key.entry(&resource.key).or_insert(&resource.source);
        if resource.source != *ours {
            *source = &resource.source;
        }
    }
    let mut result = Prune::default();
    let mut candidates = Vec::new();
    for (key, source) in &by_key {
        if is_desired(key) {
            continue;
        }
        if *source == ours {
            candidates.push((*key).clone());
        } else {
            let why = WhyKept::OtherSource { theirs: (*source).clone(), ours: ours.clone() };
            result.refused.push(Refused { key: (*key).clone(), why });
        }
    }
    let services = |keys: &mut dyn Iterator<Item = &ResourceKey>| keys.filter(|k| k.kind == Kind::Service).count();
    let removed = services(&mut candidates.iter());
    let owned_here = services(&mut by_key.iter().filter(|(_, source)| **source == ours).map(|(key, _)| *key));
    let why = if !guards.enabled {
        Some(WhyKept::Disabled)
    } else if !guards.source_is_whole {
        Some(WhyKept::SourceNotWhole)
    } else if !guards.allowed && removed * 100 > owned_here * usize::from(guards.limit_percent) {
        Some(WhyKept::TooMany { removed, owned: owned_here, limit_percent: guards.limit_percent })
    } else {
        None
    };
    match why {
        None => result.remove = candidates,
        Some(why) => result.refused.extend(candidates.into_iter().map(|key| Refused { key, why: why.clone() })),
    }
    result
}
