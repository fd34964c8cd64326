//! What must hold before something is created or started.

use super::CONFLICT_POLL;
use super::attach::namespace_hosts;
use super::run::{Measure, Run};
use crate::plan::draft::{Draft, condition_word, said};
use crate::plan::types::{Gate, ImageWant};
use crate::resource::image::{ImageState, PullFailureReason};
use crate::resource::spec::{DependencyCondition, PullPolicy};
use crate::resource::status::Reason;
use crate::resource::{Kind, ResourceKey};

impl Run<'_> {
    /// Before a container is created. Pulls go on while something else holds it back.
    pub fn gate_creation(&self, d: &mut Draft<'_>) {
        let container = &self.service.spec.container;
        d.wants.image = Some(ImageWant {
            image: container.image.clone(),
            platform: container.platform.clone(),
            policy: self.service.spec.pull_policy,
        });
        self.gate_files(d);
        self.gate_deps(d);
        self.gate_ports(d);
        self.gate_image(d);
    }

    /// A read-only root refuses uploads, so its files are bound from this host, which an engine
    /// elsewhere cannot see.
    fn gate_files(&self, d: &mut Draft<'_>) {
        let spec = &self.service.spec.container;
        let bound = spec.security.read_only_root_filesystem && !spec.files.is_empty();
        if !bound || self.cx.policy.engine_local || d.first_gate().is_some() {
            return;
        }
        let message =
            "`files` under a read-only root need an engine on this host; bring the files in the image, or in a volume";
        d.stalled = Some((Reason::CreateFailed, message.to_owned()));
        d.gate(Gate::Conflict("a read-only root with `files`".to_owned()));
    }

    /// Before a container is started that is there. In a replace or a rollback it is not held back by
    /// dependencies: else a crash in the middle would leave neither the old one nor the new one.
    pub fn gate_start(&self, d: &mut Draft<'_>) {
        // Until it has its policy back, the rollback is under way.
        let is_taken_back = self.measure == Measure::Itself
            && self.cast.current.is_some_and(|c| c.config.restart != self.policy_before(c).on_engine());
        if self.cast.old.is_none() && self.cast.next.is_none() && !is_taken_back {
            self.gate_deps(d);
        }
        self.gate_ports(d);
    }

    /// P8.
    pub fn gate_deps(&self, d: &mut Draft<'_>) {
        let mut unmet: Vec<_> =
            self.cx.deps.iter().filter(|x| !x.is_met_anew()).map(|x| (x.key.clone(), x.condition)).collect();
        for host in namespace_hosts(&self.service) {
            let key = ResourceKey::service(host);
            if !self.observed.namespaces.contains_key(host) && !unmet.iter().any(|(k, _)| *k == key) {
                unmet.push((key, DependencyCondition::Started));
            }
        }
        if unmet.is_empty() || d.first_gate().is_some() {
            return;
        }
        let stuck = self.cx.deps.iter().filter(|x| !x.is_met_anew()).find_map(|x| Some((x, x.facts.stalled.as_ref()?)));
        if let Some((dep, why)) = stuck {
            let message = format!("{} does not become {}: {why}", dep.key, condition_word(dep.condition));
            d.stalled = Some((Reason::DependencyStalled, message));
        } else {
            let names: Vec<_> = unmet.iter().map(|(key, c)| format!("{key} to be {}", condition_word(*c))).collect();
            // Networks and volumes are made in a moment: that is no blockade.
            let blocked = unmet.iter().any(|(key, _)| key.kind == Kind::Service);
            let reason = if blocked { Reason::DependencyNotReady } else { Reason::Pending };
            d.reconciling = Some((reason, format!("waits for {}", names.join(", "))));
        }
        d.gate(Gate::Deps(unmet));
    }

    /// It runs without one of its networks, which has to be made first: not converged until it is on it.
    pub fn await_network(&self, d: &mut Draft<'_>, network: &str) {
        let key = ResourceKey::network(network);
        let facts = self.cx.deps.iter().find(|x| x.key == key).map(|x| &x.facts);
        if let Some(why) = facts.and_then(|f| f.stalled.as_ref()) {
            d.stalled = Some((Reason::DependencyStalled, format!("{key} is gone and cannot be made again: {why}")));
        } else {
            d.reconciling = Some((Reason::DependencyNotReady, format!("{key} is gone; joins it once it is there")));
        }
        d.unsettle();
    }

    /// P17. `port_holders` never names a container of this service.
    pub fn gate_ports(&self, d: &mut Draft<'_>) {
        let taken = self.service.spec.container.ports.iter().find_map(|p| {
            let port = p.host_port?;
            self.observed.port_holders.get(&(port, p.protocol)).map(|who| (port, who))
        });
        let Some((port, who)) = taken.filter(|_| d.first_gate().is_none()) else { return };
        d.stalled = Some((Reason::PortConflict, format!("host port {port} is taken by {who}; it is left alone")));
        d.wake(Some(self.cx.now.plus(CONFLICT_POLL)));
        d.gate(Gate::Conflict(format!("host port {port}")));
    }

    fn gate_image(&self, d: &mut Draft<'_>) {
        // What is there needs no pull, unless the policy is to ask every time.
        let there = self.observed.spec_image.is_some() && self.service.spec.pull_policy != PullPolicy::Always;
        if there || d.first_gate().is_some() {
            return;
        }
        let image = &self.service.spec.container.image;
        match self.cx.image {
            ImageState::Present(_) => return,
            ImageState::Unknown | ImageState::Absent => {
                d.reconciling = Some(said(Reason::Pulling, format!("needs image {image}")));
            }
            ImageState::Pulling(progress) => {
                let text = match progress.total {
                    0 => format!("pulling {image}"),
                    total => format!("pulling {image}: {} of {} MB", progress.current / 1_000_000, total / 1_000_000),
                };
                d.reconciling = Some((Reason::Pulling, text));
            }
            ImageState::Failed { message, reason, terminal, attempts, next_at } => {
                if *terminal || *attempts >= self.cx.policy.max_attempts {
                    let reason = match reason {
                        PullFailureReason::NotFound => Reason::ImageNotFound,
                        PullFailureReason::Denied => Reason::ImagePullDenied,
                        PullFailureReason::Throttled | PullFailureReason::Other => Reason::ImagePullFailed,
                    };
                    d.stalled = Some((reason, message.clone()));
                } else {
                    d.reconciling = Some((Reason::Pulling, message.clone()));
                }
                d.wake(*next_at);
            }
        }
        d.gate(Gate::Image(image.clone()));
    }
}
