//! Who asks: callers on this machine are told more (P16).

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, header};

/// What a proxy adds: who asks is then somebody else than who is connected.
const FORWARDED: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-forwarded-for")];

/// Connected over the loopback interface, with no proxy in between, and by a name that nobody else can give out.
pub fn is_local(request: &Request) -> bool {
    // A socket for both families shows IPv4 peers as `::ffff:127.0.0.1`.
    let by_loopback = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(name));
    let authority = request.uri().authority().is_none_or(|a| is_this_machine(a.as_str()));
    by_loopback && !forwarded && authority && hosts_are_this_machine(request.headers())
}

/// The types that are asked for, as one header has them.
pub fn accept(request: &Request) -> String {
    let ranges = request.headers().get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    ranges.collect::<Vec<_>>().join(",")
}

/// Against DNS rebinding: a page from elsewhere can make a browser here ask for its own name, once it has that
/// name point to 127.0.0.1. It cannot do so for an address or for `localhost`.
fn hosts_are_this_machine(headers: &HeaderMap) -> bool {
    headers.get_all(header::HOST).iter().all(|host| host.to_str().is_ok_and(is_this_machine))
}

/// `127.0.0.1:50101`, `[::1]`, `localhost:50101`; empty where a client knows no name.
fn is_this_machine(host: &str) -> bool {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port && matches!(address.parse(), Ok(IpAddr::V6(_)));
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || matches!(name.parse(), Ok(IpAddr::V4(_)))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(peer: &str, headers: &[(&str, &str)], uri: &str) -> Request {
        let mut request = axum::http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer: SocketAddr = peer.parse().unwrap();
        request.extension(ConnectInfo(peer)).body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn callers_on_loopback_are_local_by_address_or_localhost() {
        for host in ["127.0.0.1", "127.0.0.1:50101", "localhost", "LocalHost:50101", "[::1]:50101", "[::1]", ""] {
            assert!(is_local(&request("127.0.0.1:4000", &[("host", host)], "/")), "{host}");
        }
        assert!(is_local(&request("[::1]:4000", &[], "/")));
        assert!(is_local(&request("[::ffff:127.0.0.1]:4000", &[], "/")));
        assert!(is_local(&request("127.0.0.1:4000", &[], "http://127.0.0.1:50101/")));
    }

    #[test]
    fn a_name_that_somebody_else_can_give_out_is_not_ours() {
        let odd = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:50101", "[::1].evil", "[evil]:1"];
        for host in odd.into_iter().chain(["localhost:evil", "127.0.0.1:1:2", "::1", "2130706433"]) {
            assert!(!is_local(&request("127.0.0.1:4000", &[("host", host)], "/")), "{host}");
        }
        // The request line counts before the header, and no header may hide behind another.
        assert!(!is_local(&request("127.0.0.1:4000", &[("host", "localhost")], "http://evil.example/")));
        assert!(!is_local(&request("127.0.0.1:4000", &[("host", "localhost"), ("host", "evil.example")], "/")));
    }

    #[test]
    fn callers_elsewhere_are_not_local_whatever_they_say() {
        for peer in ["192.0.2.1:4000", "[2001:db8::1]:4000", "[::ffff:192.0.2.1]:4000", "0.0.0.0:1"] {
            assert!(!is_local(&request(peer, &[("host", "localhost")], "/")), "{peer}");
        }
        let mut unknown = request("127.0.0.1:4000", &[], "/");
        unknown.extensions_mut().clear();
        assert!(!is_local(&unknown));
    }

    #[test]
    fn who_comes_by_a_proxy_is_elsewhere() {
        for (name, value) in [("x-forwarded-for", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")] {
            assert!(!is_local(&request("127.0.0.1:4000", &[(name, value)], "/")), "{name}");
        }
    }
}
