//! The versioned canonical hashes that labels carry (P18).
//!
//! A hash is of the canonical JSON of what a spec *sets*: object keys sorted, nothing that is unset,
//! no defaults of the engine. So an env-manager that knows more fields computes the same hash for a
//! spec that does not use them. The `v1:` says how it was computed.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::desired::Service;
use super::spec::{ContainerSpec, FileSpec, ServiceSpec};

/// `v1:` and 32 hexadecimal digits: what a container was created from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(pub String);

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Of what ends up in the container.
pub fn container_hash(spec: &ContainerSpec) -> SpecHash {
    SpecHash(format!("v1:{}", digest_json(spec)))
}

/// Of the whole service: a change is a new generation. Kept in the state directory, not in labels.
pub fn service_hash(spec: &ServiceSpec) -> SpecHash {
    SpecHash(format!("v1:{}", digest_json(spec)))
}

/// Of anything else that is compared by hash (networks, volumes).
pub fn hash_of(value: &impl Serialize) -> SpecHash {
    SpecHash(format!("v1:{}", digest_json(value)))
}

fn digest_json(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).expect("specs have string keys and finite numbers");
    let mut hasher = Sha256::new();
    feed(&mut hasher, &json);
    hex(&hasher.finalize()[..16])
}

/// Canonical JSON, straight into the hasher. Sorted here, since the order of `serde_json::Map`
/// depends on a cargo feature that any crate can switch on.
fn feed(hasher: &mut Sha256, value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            hasher.update(b"{");
            for (key, value) in entries {
                hasher.update(serde_json::Value::from(key.as_str()).to_string());
                hasher.update(b":");
                feed(hasher, value);
                hasher.update(b",");
            }
            hasher.update(b"}");
        }
        serde_json::Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                feed(hasher, item);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        scalar => hasher.update(scalar.to_string()),
    }
}

/// A salted hash, `v1:<salt>:<hash>`: tells whether secrets or file contents are still the same
/// without telling what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SaltedHash {
    salt: String,
    hash: String,
}

impl SaltedHash {
    pub fn parse(text: &str) -> Option<Self> {
        let (salt, hash) = text.strip_prefix("v1:")?.split_once(':')?;
        Some(Self { salt: salt.to_owned(), hash: hash.to_owned() })
    }

    /// Of the values of a service's secret environment; `None` where it has none.
    pub fn of_secrets(service: &Service, salt: &str) -> Option<Self> {
        (!service.secret_env.is_empty())
            .then(|| Self::of(salt, service.secret_env.iter().map(|(name, value)| (name.as_bytes(), value.reveal()))))
    }

    /// Of the contents, modes and owners of a service's files; `None` where it has none.
    pub fn of_files(service: &Service, salt: &str) -> Option<Self> {
        let files = &service.spec.container.files;
        (!files.is_empty()).then(|| {
            let heads: Vec<_> = files.iter().map(file_head).collect();
            let contents = files.iter().map(|f| service.file_content(&f.target));
            Self::of(salt, heads.iter().map(String::as_bytes).zip(contents))
        })
    }

    /// Of what cannot be changed in a running container: the files without a signal, and which ones
    /// have one. `None` where none has one.
    pub fn of_fixed_files(service: &Service, salt: &str) -> Option<Self> {
        let files = &service.spec.container.files;
        files.iter().any(|f| f.signal.is_some()).then(|| {
            let fixed = |f: &FileSpec| f.signal.is_none();
            let heads: Vec<_> = files.iter().map(|f| if fixed(f) { file_head(f) } else { f.target.clone() }).collect();
            let contents = files.iter().map(|f| if fixed(f) { service.file_content(&f.target) } else { &[] });
            Self::of(salt, heads.iter().map(String::as_bytes).zip(contents))
        })
    }

    /// Of files that are there and that the process was not told of yet: equal to no hash of files.
    #[must_use]
    pub fn unsignalled(&self) -> Self {
        Self { salt: self.salt.clone(), hash: format!("{}:unsignalled", self.hash) }
    }

    /// The same, salted as `self` is, of another service state: equal iff nothing changed.
    pub fn matches_secrets(&self, service: &Service) -> bool {
        Self::of_secrets(service, &self.salt).as_ref() == Some(self)
    }

    pub fn matches_files(&self, service: &Service) -> bool {
        Self::of_files(service, &self.salt).as_ref() == Some(self)
    }

    pub fn matches_fixed_files(&self, service: &Service) -> bool {
        Self::of_fixed_files(service, &self.salt).as_ref() == Some(self)
    }

    fn of<'a>(salt: &str, parts: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(salt);
        for (name, value) in parts {
            // Lengths first, so that no two lists of parts run together to the same bytes.
            for part in [name, value] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Self { salt: salt.to_owned(), hash: hex(&hasher.finalize()[..16]) }
    }
}

impl From<SaltedHash> for String {
    fn from(hash: SaltedHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for SaltedHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("not a salted hash: `{text}`"))
    }
}

fn file_head(file: &FileSpec) -> String {
    format!("{}:{:o}:{}:{}", file.target, file.mode, file.uid, file.gid)
}

impl fmt::Display for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1:{}:{}", self.salt, self.hash)
    }
}

/// SHA-256 of bytes as 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
