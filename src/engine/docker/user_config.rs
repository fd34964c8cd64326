//! What the user's own Docker configuration says: `config.json` in `$DOCKER_CONFIG` or `~/.docker`.
//!
//! Read anew at each use: `docker login` and `docker context use` take effect without a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How the environment is asked. Handed in, so that tests set no variables of their own process.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The real environment; a variable that is set to nothing counts as unset, as Docker has it.
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The folder of the user's Docker configuration, if there is a home to look for it in.
pub fn folder(env: Env<'_>) -> Option<PathBuf> {
    env("DOCKER_CONFIG").map(PathBuf::from).or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

/// `config.json`, as far as we use it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UserConfig {
    pub current_context: String,
    /// By registry: `https://index.docker.io/v1/`, `ghcr.io`, `localhost:5000`.
    pub auths: BTreeMap<String, StoredAuth>,
    /// Program name by registry.
    pub cred_helpers: BTreeMap<String, String>,
    /// For the registries that `cred_helpers` does not name.
    pub creds_store: String,
}

/// Credentials as `docker login` stores them without a helper.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StoredAuth {
    /// Base64 of `user:password`.
    pub auth: String,
    pub username: String,
    pub password: String,
    pub identitytoken: String,
    pub registrytoken: String,
}

/// Nothing of it may be shown.
impl fmt::Debug for StoredAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UserConfigError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Without serde's own text, which quotes what it did not understand.
    #[error("{path} is not a Docker configuration: line {line}, column {column} is not as expected", path = path.display())]
    Malformed { path: PathBuf, line: usize, column: usize },
}

impl UserConfig {
    /// Empty where there is no such file.
    pub fn read(folder: &Path) -> Result<Self, UserConfigError> {
        let path = folder.join("config.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(UserConfigError::Unreadable { path, source }),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(&bytes).map_err(|e| UserConfigError::Malformed {
            path,
            line: e.line(),
            column: e.column(),
        })
    }
}
