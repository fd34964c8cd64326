//! Revisions of a service: which has served, and which was refused.

use serde::{Deserialize, Serialize};

use super::desired::Service;
use super::hash::{SaltedHash, SpecHash, hash_of};
use super::image::{ImageId, ImageInfo};
use super::spec::ServiceSpec;
use crate::clock::Timestamp;

/// Everything that a container is made from: spec, image, secrets and files. One that fails its health
/// checks would fail them again, as long as none of these is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub spec: SpecHash,
    /// What the spec's reference pointed at. `None`: not known.
    #[serde(default)]
    pub image: Option<ImageId>,
    #[serde(default)]
    pub secrets: Option<SaltedHash>,
    #[serde(default)]
    pub files: Option<SaltedHash>,
}

impl Revision {
    /// That of a service as it is asked for now. `salt`: of the hashes.
    pub fn of(service: &Service, image: Option<&ImageId>, salt: &str) -> Self {
        Self {
            spec: service.hash.clone(),
            image: image.cloned(),
            secrets: SaltedHash::of_secrets(service, salt),
            files: SaltedHash::of_files(service, salt),
        }
    }

    /// Whether it is what is asked for now. An image that is not there says nothing against it.
    pub fn is_of(&self, service: &Service, image: Option<&ImageInfo>) -> bool {
        let same_image = match (&self.image, image) {
            (Some(then), Some(now)) => *then == now.id,
            _ => true,
        };
        self.spec == service.hash && same_image && self.has_the_secrets_and_files_of(service)
    }

    /// No spec tells what is in them.
    pub fn has_the_secrets_and_files_of(&self, service: &Service) -> bool {
        let secrets = self.secrets.as_ref().map_or(service.secret_env.is_empty(), |h| h.matches_secrets(service));
        let files = self.files.as_ref().map_or(service.spec.container.files.is_empty(), |h| h.matches_files(service));
        secrets && files
    }
}

/// The last revision that was Ready: the one to go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// Secrets and contents of files are not in it.
    pub spec: ServiceSpec,
    pub revision: Revision,
}

/// A revision that did not become Ready in time. It is not tried again until it is another one, or a
/// person asks for it (P9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub revision: Revision,
    /// What it had to pass, and in what time: on others it may do well. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<SpecHash>,
    /// `not ready within 60 s: HTTP 503`
    pub why: String,
    pub at: Timestamp,
}

impl Refusal {
    /// On the terms of `spec`.
    pub fn new(revision: Revision, spec: &ServiceSpec, why: impl Into<String>, at: Timestamp) -> Self {
        Self { revision, terms: Some(terms(spec)), why: why.into(), at }
    }

    /// Whether it would have to pass the same again.
    pub fn is_on_the_terms_of(&self, spec: &ServiceSpec) -> bool {
        self.terms.as_ref().is_none_or(|then| *then == terms(spec))
    }
}

/// Nothing of the container itself.
fn terms(spec: &ServiceSpec) -> SpecHash {
    hash_of(&(&spec.probes, spec.update.strategy, spec.update.progress_deadline))
}

/// What is remembered of a service's revisions. Losing it costs the words of a refusal and the probes
/// of the revision before, and no more: the refused container bears its own mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Revisions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proven: Option<Proven>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}
