//! Single fields of a service that have a shape of their own.

use super::Convert;
use crate::manifest::finding::did_you_mean;
use crate::manifest::scalar::Scalar;

/// Signals that Docker knows by name, without `SIG`.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

impl Convert<'_> {
    pub(super) fn platform(&mut self, scalar: Option<&Scalar<String>>) -> Option<String> {
        let text = self.filled(scalar)?;
        let parts: Vec<_> = text.split('/').collect();
        if !(2..=3).contains(&parts.len()) || parts.iter().any(|p| p.is_empty()) {
            self.error(scalar?.span, format!("`{text}` is not a platform; write it as `linux/amd64`"));
        }
        Some(text)
    }

    pub(super) fn absolute(&mut self, scalar: Option<&Scalar<String>>, field: &str) -> Option<String> {
        let text = self.filled(scalar)?;
        if !text.starts_with('/') {
            self.error(scalar?.span, format!("`{field}` is an absolute path in the container"));
        }
        Some(super::clean(std::path::Path::new(&text)).to_string_lossy().into_owned())
    }

    pub(super) fn hostname(&mut self, scalar: Option<&Scalar<String>>) -> Option<String> {
        let text = self.filled(scalar)?;
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !text.split('.').all(label) || text.len() > 253 {
            self.error(scalar?.span, format!("`{text}` is not a host name"));
        }
        Some(text)
    }

    pub(super) fn mac_address(&mut self, scalar: Option<&Scalar<String>>) -> Option<String> {
        let text = self.filled(scalar)?.to_ascii_lowercase();
        let parts: Vec<_> = text.split(':').collect();
        let hex = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
        if parts.len() != 6 || !parts.iter().all(hex) {
            self.error(scalar?.span, format!("`{text}` is not a hardware address; write it as `02:42:ac:11:00:02`"));
        }
        Some(text)
    }

    pub(super) fn extra_hosts(&mut self, list: Option<&Vec<Scalar<String>>>) -> std::collections::BTreeSet<String> {
        let mut all = std::collections::BTreeSet::new();
        for scalar in list.into_iter().flatten() {
            let Some(text) = self.filled(Some(scalar)) else { continue };
            let (name, address) = text.split_once([':', '=']).unwrap_or((&text, ""));
            let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            if name.is_empty() || (address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err()) {
                self.error(
                    scalar.span,
                    format!("`{text}` is not `NAME:ADDRESS`; the address `host-gateway` is the host"),
                );
                continue;
            }
            all.insert(format!("{name}:{address}"));
        }
        all
    }

    /// `SIGTERM`, from any spelling of it.
    pub(super) fn signal(&mut self, scalar: Option<&Scalar<String>>) -> Option<String> {
        let text = self.filled(scalar)?;
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let is_number = name.parse::<u8>().is_ok_and(|n| (1..=64).contains(&n));
        let is_realtime = name.starts_with("RTMIN") || name.starts_with("RTMAX");
        if is_number {
            return Some(name.to_owned());
        }
        if !SIGNALS.contains(&name) && !is_realtime {
            let hint = did_you_mean(name, SIGNALS);
            let hint = hint.map_or_else(String::new, |h| format!(", did you mean `SIG{h}`?"));
            self.error(scalar?.span, format!("unknown signal `{text}`{hint}"));
        }
        Some(format!("SIG{name}"))
    }
}
