//! Credentials for registries, from the user's Docker configuration, as the `docker` command finds
//! them: the helper that `credHelpers` names for the registry, else `credsStore`, else `auths`.
//!
//! A helper is a program `docker-credential-NAME` that takes the registry on its standard input and
//! answers in JSON ([protocol](https://github.com/docker/docker-credential-helpers)).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::connect::find_program;
use super::user_config::{Env, StoredAuth, UserConfig, UserConfigError, folder};
use crate::resource::image::ImageRef;
use crate::resource::secret::Secret;

/// What Docker Hub is called in `config.json`.
const HUB: &str = "https://index.docker.io/v1/";
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// A helper may ask a keyring, and that a person; nobody looks at a daemon.
const HELPER_DEADLINE: Duration = Duration::from_secs(10);
/// A helper that says more is none.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// What a registry is to be told. Nothing of it is ever printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryAuth {
    server: String,
    login: Login,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    Password { username: Secret, password: Secret },
    IdentityToken(Secret),
    RegistryToken(Secret),
}

/// Errors name registries, programs and files, and never what was found there.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    UserConfig(#[from] UserConfigError),
    #[error(
        "the credentials for {registry} in Docker's config.json are not base64 of `user:password`; `docker login {registry}` writes them anew"
    )]
    Malformed { registry: String },
    #[error(
        "Docker's config.json names the credential helper `{program}` for {registry}, which is not on the PATH; \
         install it, or take it out of credHelpers and credsStore"
    )]
    NoHelper { program: String, registry: String },
    #[error("the credential helper `{program}` cannot be run: {source}")]
    NotRun { program: String, source: io::Error },
    #[error("the credential helper `{program}` did not answer for {registry} within {secs} s", secs = HELPER_DEADLINE.as_secs())]
    HelperHangs { program: String, registry: String },
    #[error("the credential helper `{program}` failed for {registry}: {why}")]
    HelperFailed { program: String, registry: String, why: String },
}

/// Where credentials are looked up. Read anew for each pull.
#[derive(Clone, Debug)]
pub struct Keychain {
    /// Of the user's Docker configuration; `None`: there is none, so pulls are anonymous.
    folder: Option<PathBuf>,
    /// In which helpers are searched.
    path: String,
}

impl Keychain {
    pub fn new(env: Env<'_>) -> Self {
        Self { folder: folder(env), path: env("PATH").unwrap_or_default() }
    }

    /// For an image's registry; `None`: none are stored, so the pull is anonymous.
    pub async fn lookup(&self, image: &ImageRef) -> Result<Option<RegistryAuth>, CredentialError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let config = UserConfig::read(folder)?;
        let registry = image.registry();
        if let Some(helper) = helper_for(&config, registry)
            && let Some(auth) = self.ask(helper, registry).await?
        {
            return Ok(Some(auth));
        }
        match stored_for(&config, registry) {
            Some(stored) => from_stored(stored, registry),
            None => Ok(None),
        }
    }

    async fn ask(&self, helper: &str, registry: &str) -> Result<Option<RegistryAuth>, CredentialError> {
        let program = format!("docker-credential-{helper}");
        let found = if helper.contains(['/', '\\']) { None } else { find_program(&program, &self.path) };
        let Some(path) = found else {
            return Err(CredentialError::NoHelper { program, registry: registry.to_owned() });
        };
        let server = server_of(registry);
        let run = async {
            let mut child = Command::new(&path)
                .arg("get")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A helper that needs no input may have closed it.
                let _ = stdin.write_all(server.as_bytes()).await;
            }
            let mut said = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                stdout.take(LONGEST_ANSWER).read_to_end(&mut said).await?;
            }
            Ok((child.wait().await?, said))
        };
        let (status, said) = match timeout(HELPER_DEADLINE, run).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(source)) => return Err(CredentialError::NotRun { program, source }),
            Err(_) => return Err(CredentialError::HelperHangs { program, registry: registry.to_owned() }),
        };
        let failed = |why: String| CredentialError::HelperFailed { program, registry: registry.to_owned(), why };
        if !status.success() {
            let text = String::from_utf8_lossy(&said);
            // The words of the protocol for "none stored".
            if text.contains("credentials not found") {
                return Ok(None);
            }
            // By the protocol an error's text is on standard output, where an answer would be: what
            // looks like one is not repeated.
            let line = text.lines().next().unwrap_or_default().trim();
            let why = if line.is_empty() || line.contains(['{', '"']) { status.to_string() } else { line.to_owned() };
            return Err(failed(why));
        }
        let answer: HelperAnswer =
            serde_json::from_slice(&said).map_err(|_| failed("its answer is not as the protocol has it".to_owned()))?;
        Ok(answer.login().map(|login| RegistryAuth { server: server.to_owned(), login }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl HelperAnswer {
    fn login(self) -> Option<Login> {
        match (self.username.as_str(), self.secret.as_str()) {
            (_, "") => None,
            ("<token>", _) => Some(Login::IdentityToken(Secret::new(self.secret))),
            _ => Some(Login::Password { username: Secret::new(self.username), password: Secret::new(self.secret) }),
        }
    }
}

/// The name under which a registry's credentials are kept.
fn server_of(registry: &str) -> &str {
    if HUB_HOSTS.contains(&registry) { HUB } else { registry }
}

/// The host of a key in `auths` or `credHelpers`, which may be a URL.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

fn is_for(key: &str, registry: &str) -> bool {
    let host = host_of(key);
    host == registry || (HUB_HOSTS.contains(&registry) && HUB_HOSTS.contains(&host))
}

fn helper_for<'a>(config: &'a UserConfig, registry: &str) -> Option<&'a str> {
    let named = config.cred_helpers.iter().find(|(key, _)| is_for(key, registry)).map(|(_, helper)| helper.as_str());
    named.or(Some(config.creds_store.as_str())).filter(|helper| !helper.is_empty())
}

fn stored_for<'a>(config: &'a UserConfig, registry: &str) -> Option<&'a StoredAuth> {
    let exact = config.auths.get(server_of(registry));
    exact.or_else(|| config.auths.iter().find(|(key, _)| is_for(key, registry)).map(|(_, stored)| stored))
}

fn from_stored(stored: &StoredAuth, registry: &str) -> Result<Option<RegistryAuth>, CredentialError> {
    let StoredAuth { auth, username, password, identitytoken, registrytoken } = stored;
    let login = if !identitytoken.is_empty() {
        Login::IdentityToken(Secret::new(identitytoken.as_str()))
    } else if !registrytoken.is_empty() {
        Login::RegistryToken(Secret::new(registrytoken.as_str()))
    } else if !auth.is_empty() {
        let malformed = || CredentialError::Malformed { registry: registry.to_owned() };
        let decoded = STANDARD
            .decode(auth.trim())
            .or_else(|_| STANDARD_NO_PAD.decode(auth.trim()))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(malformed)?;
        let (username, password) = decoded.split_once(':').ok_or_else(malformed)?;
        // Old versions of Docker padded with zeros.
        let password = password.trim_end_matches('\0');
        Login::Password { username: Secret::new(username), password: Secret::new(password) }
    } else if !username.is_empty() {
        Login::Password { username: Secret::new(username.as_str()), password: Secret::new(password.as_str()) }
    } else {
        // An empty entry only says that a helper has it.
        return Ok(None);
    };
    Ok(Some(RegistryAuth { server: server_of(registry).to_owned(), login }))
}

impl RegistryAuth {
    /// For the one call that hands it to the engine. The result's `Debug` shows everything.
    pub fn reveal(&self) -> DockerCredentials {
        let text = |s: &Secret| Some(String::from_utf8_lossy(s.reveal()).into_owned());
        let bare = DockerCredentials { serveraddress: Some(self.server.clone()), ..DockerCredentials::default() };
        match &self.login {
            Login::Password { username, password } => {
                DockerCredentials { username: text(username), password: text(password), ..bare }
            }
            Login::IdentityToken(token) => DockerCredentials { identitytoken: text(token), ..bare },
            Login::RegistryToken(token) => DockerCredentials { registrytoken: text(token), ..bare },
        }
    }
}

/// Whom it is for, and nothing else.
impl fmt::Display for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials for {}", self.server)
    }
}

#[cfg(test)]
mod tests;
