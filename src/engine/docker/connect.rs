//! Finds the engine as the `docker` command does, and makes a client for it.
//!
//! The first that is there: `docker_host` of our own configuration (which takes `DOCKER_HOST` into
//! account), `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context of the user's Docker
//! configuration, the default socket, the socket of a rootless engine.
//!
//! [`EngineAddress::find`] is pure but for reading small files; [`super::Docker::at`] connects
//! to nothing yet; [`EngineAddress::reach`] says in a sentence why nobody answers.
//! `docs/docker-connection.md` says the same to users.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use super::user_config::{Env, UserConfigError, process_env};
use super::user_config::{UserConfig, folder};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// For one attempt to connect, where we try it ourselves.
const PATIENCE: Duration = Duration::from_secs(3);
/// Of bollard's own, which our deadlines undercut.
const CLIENT_TIMEOUT_SECS: u64 = 3600;

/// Where the engine is, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAddress {
    endpoint: Endpoint,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
    /// `host:port`, and the folder of `ca.pem`, `cert.pem` and `key.pem`.
    Tls(String, PathBuf),
    /// `user@host:port`; the far end runs `docker system dial-stdio`.
    Ssh(String),
}

/// Who named the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `docker_host` in a file, a flag or the environment.
    Configured,
    DockerHost,
    Context(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("docker_host"),
            Self::DockerHost => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "Docker's context `{name}`"),
            Self::Default => f.write_str("the default"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{origin} is `{text}`: {why}")]
    BadAddress { origin: Origin, text: String, why: String },
    #[error(transparent)]
    UserConfig(#[from] UserConfigError),
    #[error(
        "Docker's context `{name}` is not there ({path}). `docker context ls` lists those that are",
        path = path.display()
    )]
    NoContext { name: String, path: PathBuf },
    #[error("Docker's context `{name}` cannot be used: {why}")]
    BadContext { name: String, why: String },
    #[error("TLS to {address} needs {file}, which cannot be read: {source}", file = file.display())]
    NoTlsMaterial { address: String, file: PathBuf, source: io::Error },
    #[error("cannot connect to Docker at {address}: {why}")]
    Unreachable { address: String, why: String },
}

impl ConnectError {
    /// Nobody answers, which may pass; everything else is wrong until somebody corrects it.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// As people write it: `unix:///var/run/docker.sock`.
impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(authority) | Endpoint::Tls(authority, _) => write!(f, "tcp://{authority}"),
            Endpoint::Ssh(destination) => write!(f, "ssh://{destination}"),
        }
    }
}

impl EngineAddress {
    /// `configured` is `docker_host`, where it is set.
    pub fn find(configured: Option<&str>, env: Env<'_>) -> Result<Self, ConnectError> {
        if let Some(text) = configured {
            return parse(text, Origin::Configured, env);
        }
        if let Some(text) = env("DOCKER_HOST") {
            return parse(&text, Origin::DockerHost, env);
        }
        let folder = folder(env);
        let name = match (env("DOCKER_CONTEXT"), &folder) {
            (Some(name), _) => name,
            (None, Some(folder)) => UserConfig::read(folder)?.current_context,
            (None, None) => String::new(),
        };
        match (name.as_str(), folder) {
            ("" | "default", _) => {
                Ok(Self { endpoint: default_socket(Path::new(DEFAULT_SOCKET), env), origin: Origin::Default })
            }
            (_, Some(folder)) => context(&name, &folder, env),
            (_, None) => Err(ConnectError::BadContext {
                name,
                why: "neither HOME nor DOCKER_CONFIG is set, so there is nowhere to look for it".to_owned(),
            }),
        }
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// On this host: container addresses can be reached, and host paths are ours. An address on
    /// loopback counts as such (a tunnel to elsewhere cannot be told from it).
    pub fn is_local(&self) -> bool {
        match &self.endpoint {
            Endpoint::Unix(_) => true,
            Endpoint::Tcp(authority) | Endpoint::Tls(authority, _) => {
                let host = authority.rsplit_once(':').map_or(authority.as_str(), |(h, _)| h);
                let ip: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
                host == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
            }
            Endpoint::Ssh(_) => false,
        }
    }

    /// The path of a socket.
    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// A client for it; of a socket, one that [`super::version::prepare`] has to send there. Connects
    /// to nothing.
    ///
    /// # Errors
    /// Where certificates cannot be read.
    pub(super) fn client(&self) -> Result<bollard::Docker, ConnectError> {
        let made = match &self.endpoint {
            // bollard wants something to be there already, and a socket may come later.
            Endpoint::Unix(_) => bollard::Docker::connect_with_unix("/", CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION),
            Endpoint::Tcp(authority) => {
                bollard::Docker::connect_with_http(authority, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
            }
            Endpoint::Tls(authority, folder) => {
                let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
                // The client's own certificate is optional, but one half of it is an oversight.
                let has_own = cert.exists() || key.exists();
                for file in
                    [Some(&ca), Some(&cert).filter(|_| has_own), Some(&key).filter(|_| has_own)].into_iter().flatten()
                {
                    std::fs::File::open(file).map_err(|source| ConnectError::NoTlsMaterial {
                        address: self.to_string(),
                        file: file.clone(),
                        source,
                    })?;
                }
                bollard::Docker::connect_with_ssl(authority, &key, &cert, &ca, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
            }
            Endpoint::Ssh(destination) => bollard::Docker::connect_with_ssh(
                &format!("ssh://{destination}"),
                CLIENT_TIMEOUT_SECS,
                API_DEFAULT_VERSION,
                None,
            ),
        };
        made.map_err(|e| self.unreachable(&e.to_string()))
    }

    /// Whether anybody listens, and if not, why, and what to do. To be asked when a first call has
    /// failed (or before it): the client's own errors do not say.
    pub async fn reach(&self) -> Result<(), ConnectError> {
        let failure = match &self.endpoint {
            Endpoint::Unix(path) => match tokio::time::timeout(PATIENCE, tokio::net::UnixStream::connect(path)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(e)) => unix_advice(&e, path),
                Err(_) => "it takes no connections (is it overloaded, or stopped?)".to_owned(),
            },
            Endpoint::Tcp(authority) | Endpoint::Tls(authority, _) => {
                match tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(authority)).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(e)) => tcp_advice(&e, &self.origin),
                    Err(_) => {
                        format!("no answer within {} s. Is the address right ({})?", PATIENCE.as_secs(), self.origin)
                    }
                }
            }
            Endpoint::Ssh(_) if find_program("ssh", process_env("PATH").as_deref().unwrap_or_default()).is_none() => {
                "the program `ssh` is not installed".to_owned()
            }
            // ssh says itself what fails, and only to who signs in.
            Endpoint::Ssh(_) => return Ok(()),
        };
        Err(self.unreachable(&failure))
    }

    fn unreachable(&self, why: &str) -> ConnectError {
        ConnectError::Unreachable { address: self.to_string(), why: why.to_owned() }
    }
}

fn unix_advice(e: &io::Error, path: &Path) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => {
            "no such file. Is it running? Start it (`sudo systemctl start docker`), or say where it is with DOCKER_HOST or docker_host"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "permission denied. Join the group that owns {} (`sudo usermod -aG docker $USER`, then sign in again), or run as root",
            path.display()
        ),
        io::ErrorKind::ConnectionRefused => {
            "nobody listens on the socket. Is it running? Start it (`sudo systemctl start docker`)".to_owned()
        }
        _ => e.to_string(),
    }
}

fn tcp_advice(e: &io::Error, origin: &Origin) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("connection refused. Is it running there, and does it listen on TCP (address by {origin})?")
        }
        _ => format!("{e} (address by {origin})"),
    }
}

/// Where a rootful engine listens, or else a rootless one of this user.
fn default_socket(usual: &Path, env: Env<'_>) -> Endpoint {
    let rootless = env("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("docker.sock"));
    match rootless {
        Some(rootless) if !usual.exists() && rootless.exists() => Endpoint::Unix(rootless),
        _ => Endpoint::Unix(usual.to_owned()),
    }
}

fn parse(text: &str, origin: Origin, env: Env<'_>) -> Result<EngineAddress, ConnectError> {
    let tls = (env("DOCKER_TLS_VERIFY").is_some() || env("DOCKER_TLS").is_some())
        .then(|| env("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| folder(env)).unwrap_or_default());
    parse_with(text, origin, tls, || {
        env("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| folder(env)).unwrap_or_default()
    })
}

/// `tls` is the folder of certificates where a plain `tcp://` means TLS, `certificates` that for `https://`.
fn parse_with(
    text: &str,
    origin: Origin,
    tls: Option<PathBuf>,
    certificates: impl FnOnce() -> PathBuf,
) -> Result<EngineAddress, ConnectError> {
    let bad = |why: &str| {
        Err(ConnectError::BadAddress { origin: origin.clone(), text: text.to_owned(), why: why.to_owned() })
    };
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.starts_with('/') {
            return bad(&format!("write it as unix://{text}"));
        }
        return bad("it begins with none of unix://, tcp://, http://, https://, ssh://");
    };
    let rest = rest.trim_end_matches('/');
    let endpoint = match scheme {
        "unix" if rest.is_empty() => Endpoint::Unix(DEFAULT_SOCKET.into()),
        "unix" if rest.starts_with('/') => Endpoint::Unix(rest.into()),
        "unix" => return bad("the path of a socket is absolute: unix:///var/run/docker.sock"),
        "tcp" | "http" | "https" => {
            if rest.contains('/') {
                return bad("it has a path; only host and port are meant here");
            }
            let tls = if scheme == "https" { Some(certificates()) } else { tls.filter(|_| scheme == "tcp") };
            let default_port = if tls.is_some() { 2376 } else { 2375 };
            let authority = match with_port(rest, default_port) {
                Ok(authority) => authority,
                Err(why) => return bad(why),
            };
            match tls {
                Some(folder) => Endpoint::Tls(authority, folder),
                None => Endpoint::Tcp(authority),
            }
        }
        "ssh" if rest.is_empty() => return bad("it names no host"),
        "ssh" if rest.contains('/') => {
            return bad("it has a path; the far end's own `docker` finds its socket (set DOCKER_HOST there)");
        }
        // Else it would be an option of ssh.
        "ssh" if rest.starts_with('-') || rest.contains("@-") => return bad("it names no host"),
        "ssh" => Endpoint::Ssh(rest.to_owned()),
        "npipe" => return bad("named pipes are Windows'; use unix://, tcp:// or ssh://"),
        "fd" => return bad("fd:// is what the engine listens on; use the socket's path: unix:///var/run/docker.sock"),
        _ => return bad("it begins with none of unix://, tcp://, http://, https://, ssh://"),
    };
    Ok(EngineAddress { endpoint, origin })
}

fn with_port(authority: &str, default: u16) -> Result<String, &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let Some((_, port)) = v6.split_once(']') else { return Err("a `]` is missing") };
            (&authority[..authority.len() - port.len()], port.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address stands in brackets: tcp://[::1]:2375");
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    match port {
        _ if host.is_empty() => Err("it names no host"),
        None | Some("") => Ok(format!("{host}:{default}")),
        Some(port) => match port.parse::<u16>() {
            Ok(1..) => Ok(format!("{host}:{port}")),
            _ => Err("its port is not a number from 1 to 65535"),
        },
    }
}

/// `meta.json` of a context, as far as we use it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextMeta {
    #[serde(default)]
    endpoints: std::collections::BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The folder of a context's files.
fn context_id(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        use fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn context(name: &str, folder: &Path, env: Env<'_>) -> Result<EngineAddress, ConnectError> {
    let bad = |why: String| ConnectError::BadContext { name: name.to_owned(), why };
    let digest = context_id(name);
    let contexts = folder.join("contexts");
    let path = contexts.join("meta").join(&digest).join("meta.json");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(ConnectError::NoContext { name: name.to_owned(), path });
        }
        Err(e) => return Err(bad(format!("cannot read {}: {e}", path.display()))),
    };
    let meta: ContextMeta =
        serde_json::from_slice(&bytes).map_err(|e| bad(format!("{} is not as expected: {e}", path.display())))?;
    let endpoint = meta.endpoints.get("docker").ok_or_else(|| bad("it has no Docker endpoint".to_owned()))?;
    if endpoint.host.is_empty() {
        return Ok(EngineAddress {
            endpoint: default_socket(Path::new(DEFAULT_SOCKET), env),
            origin: Origin::Context(name.to_owned()),
        });
    }
    if endpoint.skip_tls_verify {
        return Err(bad(
            "it skips the verification of certificates, which env-manager does not; give it the engine's CA \
             (`docker context update --docker ca=…`)"
                .to_owned(),
        ));
    }
    let material = contexts.join("tls").join(&digest).join("docker");
    let tls = material.is_dir().then(|| material.clone());
    parse_with(&endpoint.host, Origin::Context(name.to_owned()), tls, || material)
}

/// The first file of this name in a search path.
pub(super) fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|dir| !dir.as_os_str().is_empty())
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

#[cfg(test)]
mod tests;
