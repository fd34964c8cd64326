//! Networks and namespaces.

use std::collections::BTreeSet;

use super::run::{Measure, Run};
use super::steps::{existing, step};
use crate::plan::types::{Cause, ClosedBy, FieldChange, Op, Step, Target};
use crate::resource::ResourceKey;
use crate::resource::adoption::Adopted;
use crate::resource::container::{Endpoint, NetworkId};
use crate::resource::desired::Service;
use crate::resource::observed::{Container, EndpointState, Network};
use crate::resource::spec::{NamespaceMode, NetworkAttachment, NetworkMode};

impl Run<'_> {
    /// The first is the one to be created with: by priority, then as written.
    ///
    /// `adopted`: what is kept of one that was not ours. A network of it that is gone is gone.
    pub fn endpoints(&self, adopted: Option<&Adopted>) -> Vec<Endpoint> {
        let spec = &self.service.spec.container;
        let is_there = |n: &NetworkAttachment| self.observed.networks.get(&n.network).is_some_and(|n| !n.is_empty());
        let kept: Vec<_> = adopted.map(|a| a.under(spec).networks).unwrap_or_default();
        let kept = kept.iter().filter(|n| is_there(n));
        let mut attachments: Vec<&NetworkAttachment> = spec.networks.iter().chain(kept).collect();
        attachments.sort_by_key(|a| std::cmp::Reverse(a.priority.unwrap_or(0)));
        attachments
            .into_iter()
            .map(|attachment| {
                let live = self.observed.networks.get(&attachment.network);
                let id = live.and_then(|n| pick_network(n, &self.cx.policy.stack)).map(|n| n.id.clone());
                // A container's own name is known on its networks as it is, and moves with the container: as
                // an alias it would stay with one that has lost it.
                let service = Some(self.service.name.to_string()).filter(|n| n != self.name());
                let own = |alias: &&String| **alias == *self.service.name || *alias == self.name();
                let others = attachment.aliases.iter().filter(|a| !own(a)).cloned();
                let aliases = service.into_iter().chain(others).collect();
                Endpoint { attachment: attachment.clone(), id: id.unwrap_or_default(), aliases }
            })
            .collect()
    }

    /// Attaches it to what it should be attached to, and to nothing else. A network that was made
    /// again under its name has another id, and a container still bound to the old one never starts.
    pub fn attachment_steps(&self, container: &Container, cause: Cause) -> Vec<Step> {
        if self.measure == Measure::Itself {
            return self.rejoin_steps(container, &existing(container), cause);
        }
        let target = || existing(container);
        self.attachments(container)
            .into_iter()
            .flat_map(|difference| {
                let Difference { network, leave, join, .. } = difference;
                let leave = leave.map(|id| Op::Disconnect { target: target(), network, id });
                let join = join.map(|endpoint| Op::Connect { target: target(), endpoint });
                [leave, join]
            })
            .flatten()
            .map(|op| step(op, cause))
            .collect()
    }

    /// A network that was made again under its name has another id, and a container that is bound to the
    /// old one never starts. It joins as it had joined before, whatever a spec says.
    pub fn rejoin_steps(&self, container: &Container, target: &Target, cause: Cause) -> Vec<Step> {
        let mut steps = Vec::new();
        for (network, is) in &container.endpoints {
            let live = self.observed.networks.get(network).map(Vec::as_slice).unwrap_or_default();
            let Some(now) = pick_network(live, &self.cx.policy.stack) else { continue };
            if live.iter().any(|n| n.id == is.network_id) {
                continue;
            }
            let attachment = NetworkAttachment {
                network: network.clone(),
                aliases: BTreeSet::new(),
                ipv4_address: is.ipv4_address.clone(),
                priority: None,
            };
            let aliases = is.aliases.iter().filter(|a| !by_engine(a, container)).cloned().collect();
            let endpoint = Endpoint { attachment, id: now.id.clone(), aliases };
            steps.push(step(Op::Connect { target: target.clone(), endpoint }, cause));
        }
        steps
    }

    pub fn attachment_changes(&self, container: &Container, cause: Cause) -> Vec<FieldChange> {
        if self.measure == Measure::Itself {
            return Vec::new();
        }
        let change = |x: Difference| FieldChange {
            field: format!("networks.{}", x.network),
            old: x.is,
            new: x.join.as_ref().map(show_endpoint),
            closed_by: ClosedBy::InPlace,
            cause,
        };
        self.attachments(container).into_iter().map(change).collect()
    }

    /// Networks that were kept of one that was not ours, and that are gone: what does not run and is still
    /// bound to one never starts again.
    pub fn lost_networks(&self, container: &Container) -> Vec<FieldChange> {
        let kept = container.owner.adopted.as_deref().map(|a| a.under(&self.service.spec.container).networks);
        let is_lost = |n: &NetworkAttachment| {
            let live = self.observed.networks.get(&n.network);
            container.endpoints.contains_key(&n.network) && live.is_none_or(Vec::is_empty)
        };
        if container.is_running() || !container.is_owned() {
            return Vec::new();
        }
        let change = |n: NetworkAttachment| FieldChange {
            field: format!("networks.{}", n.network),
            old: Some("a network that is gone".to_owned()),
            new: None,
            closed_by: ClosedBy::Replace,
            cause: Cause::ChangedOutside,
        };
        kept.into_iter().flatten().filter(is_lost).map(change).collect()
    }

    /// One that it should be attached to and that is not on the engine, or about to leave it.
    pub fn network_that_is_gone(&self, container: &Container) -> Option<&str> {
        let spec = &self.service.spec.container;
        let attachments = if spec.network_mode.is_some() { &[][..] } else { &spec.networks };
        let mut names = attachments.iter().map(|a| a.network.as_str());
        let is_gone = |name: &&str| {
            self.observed.networks.get(*name).is_none_or(Vec::is_empty)
                || (!container.endpoints.contains_key(*name) && self.is_leaving(name))
        };
        names.find(is_gone)
    }

    /// Its own plan takes everybody off it: to join it again would keep it for ever.
    fn is_leaving(&self, network: &str) -> bool {
        self.cx.deps.iter().any(|d| d.facts.is_leaving && d.key == ResourceKey::network(network))
    }

    fn attachments(&self, container: &Container) -> Vec<Difference> {
        let spec = &self.service.spec.container;
        if spec.network_mode.is_some() || spec.networks.is_empty() {
            return Vec::new(); // Where it is put is the engine's business.
        }
        let wanted = self.endpoints(container.owner.adopted.as_deref());
        let mut differences: Vec<_> = container
            .endpoints
            .iter()
            .filter(|(network, _)| !wanted.iter().any(|w| w.attachment.network == **network))
            .map(|(network, is)| Difference {
                network: network.clone(),
                is: Some(show_state(is, container)),
                leave: Some(is.network_id.clone()),
                join: None,
            })
            .collect();
        for endpoint in wanted {
            if endpoint.id.0.is_empty() {
                continue; // The network is not there yet; its own plan makes it.
            }
            let network = &endpoint.attachment.network;
            let is = container.endpoints.get(network);
            if is.is_some_and(|is| is.network_id == endpoint.id && fits(is, &endpoint, container)) {
                continue;
            }
            if is.is_none() && self.is_leaving(network) {
                continue;
            }
            // A network that is gone cannot be left.
            let there =
                |id: &NetworkId| self.observed.networks.get(network).is_some_and(|n| n.iter().any(|n| n.id == *id));
            differences.push(Difference {
                network: network.clone(),
                is: is.map(|is| show_state(is, container)),
                leave: is.map(|is| is.network_id.clone()).filter(there),
                join: Some(endpoint),
            });
        }
        differences
    }
}

/// One network that a container is not attached to as it should be.
struct Difference {
    network: String,
    is: Option<String>,
    leave: Option<NetworkId>,
    join: Option<Endpoint>,
}

fn fits(is: &EndpointState, wanted: &Endpoint, container: &Container) -> bool {
    let has = |alias: &String| is.aliases.contains(alias);
    let asked_for = |alias: &&String| wanted.aliases.contains(alias);
    wanted.aliases.iter().all(has)
        && is.aliases.iter().filter(|a| !asked_for(a)).all(|a| by_engine(a, container))
        && is.ipv4_address == wanted.attachment.ipv4_address
}

/// The engine adds the short id, the host name and the container's name by itself.
fn by_engine(alias: &str, container: &Container) -> bool {
    alias == container.id.to_string() || Some(alias) == container.config.hostname.as_deref() || alias == container.name
}

fn show_state(is: &EndpointState, container: &Container) -> String {
    let given = |alias: &&str| !by_engine(alias, container);
    let aliases = is.aliases.iter().map(String::as_str).filter(given).collect();
    show(&is.network_id, &aliases, is.ipv4_address.as_deref())
}

fn show_endpoint(endpoint: &Endpoint) -> String {
    let aliases = endpoint.aliases.iter().map(String::as_str).collect();
    show(&endpoint.id, &aliases, endpoint.attachment.ipv4_address.as_deref())
}

fn show(id: &NetworkId, aliases: &BTreeSet<&str>, address: Option<&str>) -> String {
    let aliases: Vec<_> = aliases.iter().copied().collect();
    let address = address.map(|a| format!(" at {a}")).unwrap_or_default();
    let known_as = if aliases.is_empty() { String::new() } else { format!(" as {}", aliases.join(", ")) };
    format!("{id}{known_as}{address}")
}

/// Of several networks of one name: ours, and of those the oldest.
pub fn pick_network<'a>(networks: &'a [Network], stack: &str) -> Option<&'a Network> {
    networks.iter().find(|n| n.stack.as_deref() == Some(stack)).or_else(|| networks.first())
}

/// Services whose namespaces this one shares.
pub fn namespace_hosts(service: &Service) -> Vec<&str> {
    let container = &service.spec.container;
    let network = match &container.network_mode {
        Some(NetworkMode::Service(name)) => Some(name.as_str()),
        _ => None,
    };
    let mut names: Vec<&str> = network.into_iter().collect();
    for mode in [&container.pid_mode, &container.ipc_mode] {
        if let Some(NamespaceMode::Service(name)) = mode {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}
