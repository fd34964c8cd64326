//! A service's ports and networks.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Convert;
use crate::manifest::finding::{Place, did_you_mean};
use crate::manifest::form::container::{NetworkRefForm, PortMappingForm};
use crate::manifest::scalar::{PortNumber, ProtocolWord, Scalar, ScalarType};
use crate::manifest::span::{Span, Spanned};
use crate::manifest::union::ShortOr;
use crate::resource::spec::{NamespaceMode, NetworkAttachment, NetworkMode, Port, Protocol};

/// A range may open this many ports.
const MAX_RANGE: u16 = 1000;
/// Ports of a service, ranges written out.
const MAX_PORTS: usize = 1000;

impl Convert<'_> {
    /// Sorted, since their order means nothing.
    pub fn ports(&mut self, forms: Option<&Vec<Spanned<ShortOr<PortMappingForm>>>>) -> Vec<(Port, Option<Place>)> {
        let mut all: BTreeMap<Port, Option<Place>> = BTreeMap::new();
        for form in forms.into_iter().flatten() {
            let ports = match &form.value {
                ShortOr::Short(text) => self.expand(text, form.span).and_then(|text| match parse_ports(&text) {
                    Ok(ports) => Some(ports),
                    Err(why) => {
                        self.error_help(
                            form.span,
                            why,
                            "ports are written `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, as `127.0.0.1:8080:80/tcp`",
                        );
                        None
                    }
                }),
                ShortOr::Long(long) => self.long_port(long, form.span).map(|p| vec![p]),
            };
            let place = self.place(form.span);
            for port in ports.into_iter().flatten() {
                match all.entry(port) {
                    Entry::Occupied(first) => {
                        let message = format!("port {} is written twice", first.key());
                        self.error(form.span, message);
                    }
                    Entry::Vacant(new) => drop(new.insert(place.clone())),
                }
            }
            if all.len() > MAX_PORTS {
                let help = "the host's network (`networkMode: host`) needs no ports";
                self.error_help(form.span, format!("more than {MAX_PORTS} ports"), help);
                break;
            }
        }
        all.into_iter().collect()
    }

    fn long_port(&mut self, form: &PortMappingForm, span: Span) -> Option<Port> {
        let PortMappingForm { host_ip, host_port, container_port, protocol } = form;
        let host_ip = match host_ip {
            Some(ip) => {
                let text = self.filled(Some(ip))?;
                match host_address(&text) {
                    Ok(address) => address,
                    Err(why) => {
                        self.error(ip.span, why);
                        return None;
                    }
                }
            }
            None => None,
        };
        let host_port = self.get(host_port.as_ref()).map(|p| p.0);
        let protocol = self.get(protocol.as_ref()).map_or(Protocol::Tcp, |p| p.0);
        let Some(container_port) = container_port else {
            self.error(span, "a port without `containerPort`");
            return None;
        };
        Some(Port { host_ip, host_port, container_port: self.scalar(container_port)?.0, protocol })
    }

    /// In the order of the manifest.
    pub(super) fn networks(
        &mut self,
        forms: Option<&Vec<Spanned<ShortOr<NetworkRefForm>>>>,
        service_aliases: &[String],
    ) -> Vec<NetworkAttachment> {
        let mut all: Vec<NetworkAttachment> = Vec::new();
        for form in forms.into_iter().flatten() {
            let attachment = match &form.value {
                ShortOr::Short(name) => {
                    self.expand(name, form.span).map(|n| (n.into_owned(), form.span, NetworkRefForm::default()))
                }
                ShortOr::Long(long) => {
                    if long.name.is_none() {
                        self.error(form.span, "a network without `name`");
                    }
                    let name = long.name.as_ref();
                    name.and_then(|name| Some((self.scalar(name)?, name.span, (**long).clone())))
                }
            };
            let Some((name, span, long)) = attachment else { continue };
            if let Err(why) = engine_name(&name) {
                self.error(span, format!("`{name}` is not a name of a network: {why}"));
                continue;
            }
            let NetworkRefForm { name: _, aliases, ipv4_address, priority } = &long;
            let mut aliases: BTreeSet<String> = self.list(aliases.as_ref()).into_iter().collect();
            aliases.extend(service_aliases.iter().cloned());
            let ipv4_address = self.filled(ipv4_address.as_ref());
            if let Some(address) = ipv4_address.as_ref().filter(|a| a.parse::<Ipv4Addr>().is_err()) {
                self.error(span, format!("`{address}` is not an IPv4 address"));
            }
            let priority = self.get(priority.as_ref()).filter(|p| *p != 0);
            let network = self.network(&name);
            if all.iter().any(|a| a.network == network) {
                self.error(span, format!("network `{name}` is written twice"));
                continue;
            }
            all.push(NetworkAttachment { network, aliases, ipv4_address, priority });
        }
        if all.is_empty() {
            let network = self.network("default");
            let aliases = service_aliases.iter().cloned().collect();
            all.push(NetworkAttachment { network, aliases, ipv4_address: None, priority: None });
        }
        all
    }

    pub(super) fn network_mode(&mut self, mode: Option<&Scalar<String>>) -> Option<NetworkMode> {
        const WORDS: [&str; 5] = ["host", "none", "bridge", "service:", "container:"];
        let mode = mode?;
        let text = self.filled(Some(mode))?;
        Some(match text.as_str() {
            "host" => NetworkMode::Host,
            "none" => NetworkMode::None,
            "bridge" => NetworkMode::Bridge,
            _ => match text.split_once(':') {
                Some(("service", name)) if !name.is_empty() => NetworkMode::Service(name.to_owned()),
                Some(("container", name)) if !name.is_empty() => NetworkMode::Container(name.to_owned()),
                _ => {
                    let hint =
                        did_you_mean(&text, WORDS).map_or_else(String::new, |w| format!(", did you mean `{w}`?"));
                    let help = "it is `host`, `none`, `bridge`, `service:NAME` or `container:NAME`; names of networks stand in `networks`";
                    self.error_help(mode.span, format!("unknown network mode `{text}`{hint}"), help);
                    return None;
                }
            },
        })
    }

    /// `pidMode` and `ipcMode`.
    pub(super) fn namespace(
        &mut self,
        field: &str,
        mode: Option<&Scalar<String>>,
        words: &[&str],
    ) -> Option<NamespaceMode> {
        let mode = mode?;
        let text = self.filled(Some(mode))?;
        match text.split_once(':') {
            Some(("service", name)) if !name.is_empty() => Some(NamespaceMode::Service(name.to_owned())),
            Some(("container", name)) if !name.is_empty() => Some(NamespaceMode::Plain(text)),
            None if words.contains(&text.as_str()) => Some(NamespaceMode::Plain(text)),
            _ => {
                let help =
                    format!("it is one of {}, `service:NAME`, `container:NAME`", crate::manifest::parse::list(words));
                self.error_help(mode.span, format!("unknown {field} `{text}`"), help);
                None
            }
        }
    }
}

/// An address to publish on; `None` for all interfaces.
fn host_address(text: &str) -> Result<Option<String>, String> {
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ok(None),
        Ok(ip) => Ok(Some(ip.to_string())),
        Err(_) if text == "localhost" => Err("`localhost` is not an address; write `127.0.0.1`".to_owned()),
        Err(_) => Err(format!("`{text}` is not an address of the host")),
    }
}

/// `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, each port perhaps a range.
///
/// # Errors
/// Says what is wrong.
pub(in crate::manifest) fn parse_ports(text: &str) -> Result<Vec<Port>, String> {
    let text = text.trim();
    let (addresses, protocol) = match text.rsplit_once('/') {
        Some((rest, word)) => (rest, ProtocolWord::parse(word)?.0),
        None => (text, Protocol::Tcp),
    };
    let (rest, container) = match addresses.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, addresses),
    };
    let (ip, host) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            Some((ip, host)) => (host_address(ip)?, Some(host)),
            None if rest.contains('.') => {
                return Err(format!(
                    "`{text}` has an address but only one port; write `{rest}::{container}` to let the engine choose the host's"
                ));
            }
            None => (None, Some(rest)),
        },
    };
    let container = range(container)?;
    let host = host.filter(|h| !h.is_empty()).map(range).transpose()?;
    let count = container.1 - container.0;
    if host.is_some_and(|host| host.1 - host.0 != count) {
        return Err(format!("the two ranges of `{text}` have different lengths"));
    }
    if count >= MAX_RANGE {
        return Err(format!("`{text}` opens {} ports; at most {MAX_RANGE} at once", u32::from(count) + 1));
    }
    Ok((0..=count)
        .map(|i| Port {
            host_ip: ip.clone(),
            host_port: host.map(|h| h.0 + i),
            container_port: container.0 + i,
            protocol,
        })
        .collect())
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (PortNumber::parse(from)?.0, PortNumber::parse(to)?.0);
    if from <= to { Ok((from, to)) } else { Err(format!("`{text}` ends before it begins")) }
}

/// What Docker takes as a name of a container, network or volume.
pub(in crate::manifest) fn engine_name(name: &str) -> Result<(), &'static str> {
    let mut bytes = name.bytes();
    if !bytes.next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return Err("it begins with a letter or digit");
    }
    if name.len() < 2 {
        return Err("it has at least two characters");
    }
    if name.len() > 200 {
        return Err("it has at most 200 characters");
    }
    if !bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        return Err("it consists of letters, digits, `_`, `.` and `-`");
    }
    Ok(())
}
