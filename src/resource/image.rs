//! Image references, and what an image brings with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// An image as a manifest names it: `redis:7-alpine`, `ghcr.io/a/b@sha256:…`.
///
/// Kept as written (it is what `docker ps` shows); [`ImageRef::parse`] has checked its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageRef(String);

impl ImageRef {
    /// Checks the shape of a reference (the grammar of distribution/reference).
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` is not an image reference: {why}"));
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.len() > 512 {
            return wrong("it is longer than 512 characters");
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return wrong(&format!("it contains {c:?}"));
        }
        let (name_tag, digest) = match text.split_once('@') {
            Some((n, d)) => (n, Some(d)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let ok = digest.split_once(':').is_some_and(|(algorithm, hex)| {
                !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
            });
            if !ok {
                return wrong("a digest looks like `@sha256:` and 64 hexadecimal digits");
            }
        }
        let (name, tag) = split_tag(name_tag);
        if let Some(tag) = tag {
            let ok = !tag.is_empty()
                && tag.len() <= 128
                && !tag.starts_with(['.', '-'])
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            if !ok {
                return wrong("a tag is letters, digits, `.`, `_` and `-`");
            }
        }
        let mut parts = name.split('/').peekable();
        let mut first = true;
        while let Some(part) = parts.next() {
            let is_host = first && parts.peek().is_some() && (part.contains(['.', ':']) || part == "localhost");
            first = false;
            if is_host {
                continue;
            }
            let ok = !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
                && !part.starts_with(['.', '_', '-'])
                && !part.ends_with(['.', '_', '-']);
            if !ok {
                if part.bytes().any(|b| b.is_ascii_uppercase()) {
                    return wrong("names are lower case");
                }
                return wrong("a name is lower case letters, digits, and single separators `.`, `_`, `-`, `/`");
            }
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry's host, as Docker normalises it: `docker.io` where none is written.
    pub fn registry(&self) -> &str {
        match self.0.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => "docker.io",
        }
    }

    /// Name without tag and digest, and the tag or digest that a pull asks for (`latest` where none is written).
    pub fn name_and_tag(&self) -> (&str, &str) {
        if let Some((name_tag, digest)) = self.0.split_once('@') {
            return (split_tag(name_tag).0, digest);
        }
        let (name, tag) = split_tag(&self.0);
        (name, tag.unwrap_or("latest"))
    }
}

/// A colon after the last slash begins a tag; one before it is a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let from = text.rfind('/').map_or(0, |i| i + 1);
    match text[from..].find(':') {
        Some(i) => (&text[..from + i], Some(&text[from + i + 1..])),
        None => (text, None),
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image's content address on the engine (`sha256:…`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl fmt::Display for ImageId {
    /// The twelve digits that Docker's own tables show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        f.write_str(hex.get(..12).unwrap_or(hex))
    }
}

/// What an image fills in where a spec says nothing. Drift compares against the *container's own*
/// image, so that a moved tag is one difference and not twenty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageInfo {
    pub id: ImageId,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub stop_signal: String,
    /// `80/tcp`
    pub exposed_ports: BTreeSet<String>,
    /// Targets of `VOLUME`; one that no manifest mounts becomes an anonymous volume.
    pub volumes: BTreeSet<String>,
    pub has_healthcheck: bool,
    /// What registries call it: the digests under which it was pulled or pushed (`sha256:…`). Empty for
    /// what was built here.
    pub digests: BTreeSet<String>,
}

/// How far a pull has come. Bytes; `total` is 0 until the engine has said anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    pub current: u64,
    pub total: u64,
}

/// What is known about an image that services want. An input of `plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageState {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// Not on the engine, and nobody pulls it yet.
    Absent,
    Pulling(PullProgress),
    Present(Arc<ImageInfo>),
    /// The last pull failed, or `pullPolicy: Never` and it is not there.
    Failed {
        /// One line that says what failed and what to do about it.
        message: String,
        reason: PullFailureReason,
        /// Trying again helps only after somebody has done something. It is tried again all the
        /// same, as seldom as backoff allows.
        terminal: bool,
        /// Pulls that have failed in a row.
        attempts: u32,
        /// When it is tried again; `None` where that is not planned.
        next_at: Option<Timestamp>,
    },
}

/// Why an image is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullFailureReason {
    /// The registry does not have it, or `pullPolicy: Never` and the engine does not.
    NotFound,
    /// The registry wants other credentials.
    Denied,
    /// The registry asks to wait.
    Throttled,
    /// No registry answers, the pull broke off, or the engine failed.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_as_docker_splits_them() {
        for (text, registry, name, tag) in [
            ("redis", "docker.io", "redis", "latest"),
            ("redis:7-alpine", "docker.io", "redis", "7-alpine"),
            ("localhost:5000/a/b", "localhost:5000", "localhost:5000/a/b", "latest"),
            ("ghcr.io/a/b:1.2", "ghcr.io", "ghcr.io/a/b", "1.2"),
        ] {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!((image.registry(), image.name_and_tag()), (registry, (name, tag)), "{text}");
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = ImageRef::parse(&format!("redis:7@{digest}")).unwrap();
        assert_eq!(image.name_and_tag(), ("redis", digest.as_str()));
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        for text in ["", "Redis", "redis:", "redis:a b", "a//b", "redis@sha256:12", "-x", "redis:…"] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }
}
