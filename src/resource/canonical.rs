//! One spelling for what a spec can say in several, so that a desired and an observed container can
//! be compared field by field.
//!
//! Engines report some fields in another form than they were given (sorted, without `CAP_`, 0 for
//! "without limit"). [`ContainerSpec::canonical`] brings a spec into the form in which
//! `engine::Engine::inspect_container` reports it. What is left to the planner: values that the image
//! or the engine fills in, the service's own name among the aliases, and ids for `service:X`.

use super::spec::{ContainerSpec, DeviceRequest, NetworkMode, Resources};

impl ContainerSpec {
    /// The same container, spelled as the engine reports it. (`files` and `secret_env` stay as they
    /// are; of those the engine reports nothing, and hashes tell.)
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut spec = self.clone();
        spec.mounts.sort();
        spec.ports.sort();
        spec.ports.dedup();
        spec.networks.sort_by(|a, b| a.network.cmp(&b.network));
        if spec.networks.is_empty() && spec.network_mode.is_none() {
            spec.network_mode = Some(NetworkMode::Bridge);
        }
        // Empty says the same as unset.
        spec.entrypoint = spec.entrypoint.filter(|e| !e.is_empty());
        spec.command = spec.command.filter(|c| !c.is_empty());
        spec.working_dir = spec.working_dir.as_deref().map(clean_path).filter(|d| !d.is_empty());
        spec.mac_address = spec.mac_address.filter(|m| !m.is_empty());
        for text in [&mut spec.user, &mut spec.hostname, &mut spec.stop_signal, &mut spec.userns_mode] {
            *text = text.take().filter(|t| !t.is_empty());
        }
        let security = &mut spec.security;
        for names in [&mut security.cap_add, &mut security.cap_drop] {
            *names = names.iter().map(|name| capability(name)).collect();
        }
        let Resources { pids, oom_score_adj, cpu_shares, gpus, .. } = &mut spec.resources;
        *pids = pids.filter(|n| *n > 0);
        *oom_score_adj = oom_score_adj.filter(|n| *n != 0);
        *cpu_shares = cpu_shares.filter(|n| *n != 0);
        if gpus.is_none()
            && let Some(at) = spec.device_requests.iter().position(|r| r.as_gpus().is_some())
        {
            *gpus = spec.device_requests.remove(at).as_gpus();
        }
        spec
    }
}

impl DeviceRequest {
    /// The count, where this says what `gpus` says.
    pub fn as_gpus(&self) -> Option<i64> {
        let plain = self.driver.is_none() && self.ids.is_empty() && self.capabilities == ["gpu"];
        self.count.filter(|_| plain)
    }
}

/// `CAP_NET_ADMIN`, `net_admin` and `NET_ADMIN` are one.
pub fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map_or_else(|| name.clone(), str::to_owned)
}

/// As Go's `path.Clean` does for an absolute path: `/a//b/./c/..` is `/a/b`.
fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if path.is_empty() { String::new() } else { format!("/{}", parts.join("/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_and_paths_have_one_spelling() {
        for name in ["CAP_NET_ADMIN", "net_admin", "NET_ADMIN"] {
            assert_eq!(capability(name), "NET_ADMIN");
        }
        for (path, clean) in [("/a//b/./c/..", "/a/b"), ("/", "/"), ("", ""), ("/srv/", "/srv"), ("/../x", "/x")] {
            assert_eq!(clean_path(path), clean);
        }
    }

    #[test]
    fn canonical_is_idempotent_and_knows_gpus_in_both_forms() {
        let request = DeviceRequest { count: Some(-1), capabilities: vec!["gpu".into()], ..DeviceRequest::default() };
        let spec = ContainerSpec { device_requests: vec![request], ..ContainerSpec::default() };
        let canonical = spec.canonical();
        assert_eq!((canonical.resources.gpus, canonical.device_requests.len()), (Some(-1), 0));
        assert_eq!(canonical.canonical(), canonical);
    }
}
