//! How the program reaches a daemon.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::MAX_RESPONSE;
use crate::address;
use crate::proto::env_manager::v1::reconciler_service_client::ReconcilerServiceClient;

pub type Client = ReconcilerServiceClient<Channel>;

/// From the call to an open connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A daemon that is gone without a word (its host, its network) is noticed after these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a daemon listens: `unix:/run/env-manager.sock`, `http://127.0.0.1:50100`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Address {
    /// Where a daemon is reached that listens on `bound` of this machine: nobody connects to "all addresses".
    pub fn of_listener(bound: SocketAddr) -> Self {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self::Tcp(SocketAddr::new(ip, bound.port()).to_string())
    }

    /// As [`Self::of_listener`]; a name is looked up when it is connected to.
    pub fn of(configured: &address::Address) -> Self {
        match configured {
            address::Address::Ip(bound) => Self::of_listener(*bound),
            name @ address::Address::Name(..) => Self::Tcp(name.to_string()),
        }
    }

    fn uri(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Tcp(authority) => format!("http://{authority}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

/// `unix:/path`, `unix:///path`, `http://host:port`, `host:port`.
impl FromStr for Address {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        let wrong = |what: &str| {
            ConnectError(format!(
                "`{text}` is not the address of a daemon: {what}; write it as `host:port` or `unix:/path`"
            ))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(wrong("the path of a socket is absolute"))
            };
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        if authority.contains("://") {
            return Err(wrong("the daemon speaks plain HTTP/2"));
        }
        authority.parse().map(|address| Self::of(&address)).map_err(|_| wrong("it has no host and port"))
    }
}

/// Why no daemon is reached there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

/// # Errors
/// When nothing answers there within two seconds.
pub async fn connect(address: &Address) -> Result<Client, ConnectError> {
    let failed = |e: &dyn Error| ConnectError(format!("no daemon answers at {address}: {}", innermost(e)));
    let endpoint = Endpoint::from_shared(address.uri()).map_err(|e| failed(&e))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    // The socket's own time limit ends with the connection; whoever accepts and then says nothing is not ours.
    let channel = match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|e| failed(&e))?,
        Err(_) => {
            return Err(ConnectError(format!("no daemon answers at {address} within {} s", CONNECT_TIMEOUT.as_secs())));
        }
    };
    Ok(Client::new(channel).max_decoding_message_size(MAX_RESPONSE))
}

/// The outer ones say "transport error", and the same again.
fn innermost(mut error: &dyn Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let shown = |text: &str| text.parse::<Address>().map(|a| a.to_string());
        for (written, meant) in [
            ("unix:/run/em.sock", "unix:/run/em.sock"),
            ("unix:///run/em.sock", "unix:/run/em.sock"),
            ("http://host.example:50100", "http://host.example:50100"),
            ("http://127.0.0.1:50100/", "http://127.0.0.1:50100"),
            ("localhost:1", "http://localhost:1"),
            ("[::1]:50100", "http://[::1]:50100"),
            // Nobody connects to all addresses.
            ("0.0.0.0:50100", "http://127.0.0.1:50100"),
            ("[::]:50100", "http://[::1]:50100"),
        ] {
            assert_eq!(shown(written).as_deref(), Ok(meant), "{written}");
        }
        for wrong in ["", "host", ":1", "unix:relative", "https://host:1", "host:99999", "a/b:1", "u@h:1", "a b:1"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_named_with_the_reason() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::of_listener(free.local_addr().unwrap());
        drop(free);
        let error = connect(&address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("no daemon answers at {address}: ")), "{error}");
        assert!(error.to_lowercase().contains("refused"), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.sock");
        let error = connect(&Address::Unix(path.clone())).await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_accepts_and_says_nothing_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::of_listener(silent.local_addr().unwrap());
        // Either the connection is open (and calls find out), or it is given up: it never hangs.
        let _ = tokio::time::timeout(Duration::from_secs(5), connect(&address)).await.expect("an answer");
    }
}
