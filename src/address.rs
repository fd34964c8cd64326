//! Where something listens, or is reached.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// `IP:PORT` or `NAME:PORT`. One setting says where the daemon listens and where its clients find it, and clients
/// elsewhere know it by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    Name(String, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// It is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(NoAddress)?;
        let port = port.parse().map_err(|_| NoAddress)?;
        if is_host(host) { Ok(Self::Name(host.to_owned(), port)) } else { Err(NoAddress) }
    }
}

/// Of digits and dots alone it would be a mistyped IP address.
fn is_host(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_or_a_name_with_a_port() {
        let shown = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for (text, as_shown) in [
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:50100", "[::1]:50100"),
            ("localhost:80", "localhost:80"),
            ("env-manager:50052", "env-manager:50052"),
            ("a.b_c.example:65535", "a.b_c.example:65535"),
        ] {
            assert_eq!(shown(text), Ok(as_shown.to_owned()));
        }
        for text in
            ["", "50052", ":50052", "host", "host:", "host:65536", "1.2.3:80", "::1:80:", "a b:80", "http://a:80"]
        {
            assert_eq!(shown(text), Err(NoAddress), "{text}");
        }
    }
}
