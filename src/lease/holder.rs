//! Who holds a stack, in the text of a label, and whether that process is still there.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A process, so that another one can tell whether it is still there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// The host's name.
    pub host: String,
    /// Tells two hosts of one name apart; empty in most containers.
    machine: String,
    /// One kernel, from its start on.
    boot: String,
    pid_namespace: String,
    pub pid: u32,
    /// In the kernel's clock ticks since its start: a number that is used again is another process.
    started: u64,
    /// `env-manager run`
    pub what: String,
    pub since: Timestamp,
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// This one's name.
pub fn host() -> String {
    line("/proc/sys/kernel/hostname")
}

impl Holder {
    /// This process.
    pub fn current(what: &str, since: Timestamp) -> Self {
        let pid = std::process::id();
        Self {
            host: host(),
            machine: line("/etc/machine-id"),
            boot: line("/proc/sys/kernel/random/boot_id"),
            pid_namespace: std::fs::read_link("/proc/self/ns/pid")
                .map(|target| target.to_string_lossy().into_owned())
                .unwrap_or_default(),
            pid,
            started: started_of(pid).unwrap_or_default(),
            what: what.to_owned(),
            since,
        }
    }

    /// As it stands in a label.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What cannot be read is somebody of whom nothing is known.
    pub fn from_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Whether it has surely ended, as far as `me` can see.
    pub(super) fn is_gone(&self, me: &Self) -> bool {
        let same_kernel = !self.boot.is_empty() && self.boot == me.boot;
        if same_kernel {
            let visible = !self.pid_namespace.is_empty() && self.pid_namespace == me.pid_namespace;
            return visible && started_of(self.pid) != Some(self.started);
        }
        // The same machine has started anew since. A name alone does not say that it is the same.
        let same_machine = !self.machine.is_empty() && self.machine == me.machine && self.host == me.host;
        same_machine && !self.boot.is_empty() && !me.boot.is_empty()
    }
}

/// For people.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, pid, what, since, .. } = self;
        if what.is_empty() {
            return f.write_str("nobody that this version can name");
        }
        write!(f, "`{what}` (process {pid} on {host}, since {since})")
    }
}

/// When a process started; `None`: there is none of this number.
fn started_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    started(&stat)
}

/// Field 22; the second, the program's name, may contain anything, spaces and brackets too.
fn started(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A process that has ended and is not yet waited for holds nothing any more.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Holder {
        Holder::current("env-manager run", Timestamp(1_767_268_800_000))
    }

    #[test]
    fn a_holder_is_what_its_label_says() {
        let holder = me();
        assert!(holder.started > 0 && holder.pid_namespace.starts_with("pid:["), "{holder:?}");
        assert_eq!(Holder::from_text(&holder.to_text()), holder);
        let text = holder.to_string();
        assert!(text.starts_with(&format!("`env-manager run` (process {} on ", std::process::id())), "{text}");
        assert_eq!(Holder::from_text("what a later version writes"), Holder::default());
    }

    #[test]
    fn only_what_can_be_seen_to_have_ended_is_gone() {
        let me = me();
        assert!(!me.is_gone(&me), "this very process");
        let other = |edit: &dyn Fn(&mut Holder)| {
            let mut other = me.clone();
            edit(&mut other);
            other.is_gone(&me)
        };
        // A number that was used again, and one that nobody has.
        assert!(other(&|h| h.started -= 1));
        assert!(other(&|h| h.pid = u32::MAX));
        // In another namespace nobody knows.
        assert!(!other(&|h| (h.pid, h.pid_namespace) = (u32::MAX, "pid:[1]".to_owned())));
        assert!(!other(&|h| (h.pid, h.pid_namespace) = (u32::MAX, String::new())));
        // Another kernel: another host, though it may bear the same name; or this one before a restart.
        assert!(!other(&|h| (h.boot, h.machine) = ("another".to_owned(), String::new())));
        assert!(!other(&|h| (h.boot, h.machine) = ("another".to_owned(), "another".to_owned())));
        let mut before = Holder { machine: "m".to_owned(), boot: "earlier".to_owned(), ..me.clone() };
        let now = Holder { machine: "m".to_owned(), ..me.clone() };
        assert!(before.is_gone(&now));
        before.host = "another".to_owned();
        assert!(!before.is_gone(&now));
        assert!(!Holder::default().is_gone(&me), "of whom nothing is known");
    }

    #[test]
    fn the_start_is_read_behind_any_name() {
        let rest = (4..=21).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(started(&format!("7 (a) b) (c) S {rest} 4711 23 24")), Some(4711));
        assert_eq!(started(&format!("7 (a) Z {rest} 4711 23 24")), None, "it has ended");
        assert_eq!(started("7 (a"), None);
    }
}
