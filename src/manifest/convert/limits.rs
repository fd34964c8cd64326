//! Limits and confinement.

use std::collections::{BTreeMap, BTreeSet};

use super::Convert;
use super::process::MAX_SMALL_FILE;
use crate::manifest::finding::suggestion;
use crate::manifest::form::container::{DnsForm, LoggingForm, ResourcesForm, SecurityForm, UlimitForm};
use crate::manifest::outside::Content;
use crate::manifest::scalar::{Scalar, ScalarType};
use crate::manifest::span::{Span, Spanned};
use crate::manifest::union::{Entries, ShortOr};
use crate::resource::spec::{Dns, Logging, Resources, Security, Ulimit};
use crate::resource::units::Bytes;

/// The engine refuses less.
const MIN_MEMORY: Bytes = Bytes(6 << 20);

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Of Linux 6; a kernel knows them by number, and Docker by name.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

impl Convert<'_> {
    pub(super) fn resources(&mut self, form: Option<&ResourcesForm>) -> Resources {
        let Some(form) = form else { return Resources::default() };
        let ResourcesForm {
            memory,
            memory_reservation,
            swap,
            cpus,
            cpuset,
            cpu_shares,
            pids,
            shm_size,
            oom_score_adj,
            gpus,
        } = form;
        let resources = Resources {
            memory: self.get(memory.as_ref()),
            memory_reservation: self.get(memory_reservation.as_ref()),
            swap: self.get(swap.as_ref()),
            cpus: self.get(cpus.as_ref()),
            cpuset: self.filled(cpuset.as_ref()),
            cpu_shares: self.get(cpu_shares.as_ref()),
            pids: self.get(pids.as_ref()),
            shm_size: self.get(shm_size.as_ref()),
            oom_score_adj: self.get(oom_score_adj.as_ref()).filter(|s| *s != 0),
            gpus: self.get(gpus.as_ref()).map(|g| g.0),
        };
        let span = |s: Option<Span>| s.unwrap_or_default();
        let memory_span = span(memory.as_ref().map(|s| s.span));
        if resources.memory.is_some_and(|m| m < MIN_MEMORY) {
            self.error(memory_span, format!("the engine takes no memory limit below {MIN_MEMORY}"));
        }
        if let (Some(limit), Some(reservation)) = (resources.memory, resources.memory_reservation)
            && reservation > limit
        {
            let at = span(memory_reservation.as_ref().map(|s| s.span));
            self.error(at, format!("memoryReservation ({reservation}) is more than memory ({limit})"));
        }
        if resources.swap.is_some() && resources.memory.is_none() {
            self.error_help(span(swap.as_ref().map(|s| s.span)), "`swap` without `memory`", "set `memory` too");
        }
        if resources.cpuset.as_ref().is_some_and(|c| !is_cpuset(c)) {
            self.error(span(cpuset.as_ref().map(|s| s.span)), "not a set of CPUs; write it as `0-3` or `0,2`");
        }
        if resources.pids.is_some_and(|p| p <= 0) {
            self.error_help(span(pids.as_ref().map(|s| s.span)), "`pids` is at least 1", "leave it out for no limit");
        }
        if resources.oom_score_adj.is_some_and(|s| !(-1000..=1000).contains(&s)) {
            self.error(span(oom_score_adj.as_ref().map(|s| s.span)), "`oomScoreAdj` is −1000 to 1000");
        }
        resources
    }

    pub(super) fn security(&mut self, form: Option<&SecurityForm>) -> Security {
        let Some(form) = form else { return Security::default() };
        let SecurityForm {
            read_only_root_filesystem,
            privileged,
            no_new_privileges,
            cap_add,
            cap_drop,
            seccomp,
            apparmor,
            selinux,
            opts,
        } = form;
        let mut all: BTreeSet<String> = self.list(opts.as_ref()).into_iter().collect();
        if self.get(no_new_privileges.as_ref()).unwrap_or(false) {
            all.insert("no-new-privileges".to_owned());
        }
        if let Some(profile) = seccomp.as_ref() {
            all.extend(self.seccomp(profile).map(|p| format!("seccomp={p}")));
        }
        all.extend(self.filled(apparmor.as_ref()).map(|p| format!("apparmor={p}")));
        all.extend(self.filled(selinux.as_ref()).map(|l| format!("label={l}")));
        Security {
            read_only_root_filesystem: self.get(read_only_root_filesystem.as_ref()).unwrap_or(false),
            privileged: self.get(privileged.as_ref()).unwrap_or(false),
            cap_add: self.capabilities(cap_add.as_ref()),
            cap_drop: self.capabilities(cap_drop.as_ref()),
            opts: all,
        }
    }

    /// `unconfined`, or the profile's JSON without its white space.
    fn seccomp(&mut self, profile: &Scalar<String>) -> Option<String> {
        let path = self.filled(Some(profile))?;
        if path == "unconfined" {
            return Some(path);
        }
        let bytes = self.must_read(&path, profile.span, MAX_SMALL_FILE, Content::Public)?;
        match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(json) if json.is_object() => Some(json.to_string()),
            Ok(_) => {
                self.error(profile.span, format!("`{path}` is not a seccomp profile"));
                None
            }
            Err(e) => {
                self.error(profile.span, format!("`{path}` is not a seccomp profile: {e}"));
                None
            }
        }
    }

    fn capabilities(&mut self, list: Option<&Vec<Scalar<String>>>) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for scalar in list.into_iter().flatten() {
            let Some(text) = self.filled(Some(scalar)) else { continue };
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if CAPABILITIES.contains(&name) {
                all.insert(name.to_owned());
            } else {
                self.error(scalar.span, format!("unknown capability `{text}`{}", suggestion(name, CAPABILITIES)));
            }
        }
        all
    }

    pub(super) fn ulimits(&mut self, form: Option<&Entries<Spanned<ShortOr<UlimitForm>>>>) -> BTreeMap<String, Ulimit> {
        let mut all = BTreeMap::new();
        for (name, form) in form.into_iter().flat_map(|e| &e.0) {
            if !ULIMITS.contains(&name.text.as_str()) {
                let suggestion = suggestion(&name.text, ULIMITS);
                self.error(name.span, format!("unknown ulimit `{}`{suggestion}", name.text));
            }
            let limits = match &form.value {
                ShortOr::Short(text) => self.expand(text, form.span).and_then(|text| match i64::parse(&text) {
                    Ok(n) => Some((n, n)),
                    Err(why) => {
                        self.error(form.span, why);
                        None
                    }
                }),
                ShortOr::Long(long) => {
                    let UlimitForm { soft, hard } = &**long;
                    let soft = self.get(soft.as_ref());
                    let hard = self.get(hard.as_ref()).or(soft);
                    soft.or(hard).zip(hard)
                }
            };
            let Some((soft, hard)) = limits else { continue };
            if soft < -1 || hard < -1 || (hard != -1 && (soft > hard || soft == -1)) {
                self.error(form.span, format!("the soft limit ({soft}) is more than the hard one ({hard})"));
            }
            all.insert(name.text.clone(), Ulimit { soft, hard });
        }
        all
    }

    pub(super) fn dns(&mut self, form: Option<&DnsForm>) -> Dns {
        let Some(DnsForm { servers, search, options }) = form else { return Dns::default() };
        for server in servers.iter().flatten() {
            if let Some(text) = self.expand(&server.text, server.span).map(std::borrow::Cow::into_owned)
                && text.parse::<std::net::IpAddr>().is_err()
            {
                self.error(server.span, format!("`{text}` is not the address of a name server"));
            }
        }
        Dns {
            servers: self.list(servers.as_ref()),
            search: self.list(search.as_ref()),
            options: self.list(options.as_ref()),
        }
    }

    pub(super) fn logging(&mut self, form: Option<&LoggingForm>, span: Span) -> Option<Logging> {
        let LoggingForm { driver, options } = form?;
        let options = self.map(options.as_ref());
        let Some(driver) = driver else {
            self.error(span, "`logging` without `driver`");
            return None;
        };
        Some(Logging { driver: self.filled(Some(driver))?, options })
    }
}

fn is_cpuset(text: &str) -> bool {
    text.split(',').all(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        matches!((from.parse::<u16>(), to.parse::<u16>()), (Ok(a), Ok(b)) if a <= b)
    })
}
