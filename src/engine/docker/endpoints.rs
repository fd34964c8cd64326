//! Attachments to networks, each way.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{EndpointIpamConfig, EndpointSettings};

use super::version::Api;
use crate::resource::container::{Endpoint, NetworkId};
use crate::resource::observed::EndpointState;
use crate::resource::spec::NetworkAttachment;

/// `mac_address` only for the attachment that a container is created with.
pub(super) fn to_api(endpoint: &Endpoint, mac_address: Option<&str>, api: Api) -> EndpointSettings {
    let Endpoint { attachment, id, aliases: own } = endpoint;
    let NetworkAttachment { network: _, aliases, ipv4_address, priority } = attachment;
    let aliases: BTreeSet<_> = aliases.iter().chain(own).cloned().collect();
    EndpointSettings {
        // Names are not unique: the id says which network is meant.
        network_id: Some(id.0.to_string()),
        aliases: Some(aliases.into_iter().collect()),
        ipam_config: ipv4_address
            .as_ref()
            .map(|address| EndpointIpamConfig { ipv4_address: Some(address.clone()), ..EndpointIpamConfig::default() }),
        // Before that version it is the order of connecting that decides.
        gw_priority: priority.filter(|_| api >= Api::GATEWAY_PRIORITY).map(i64::from),
        mac_address: mac_address.filter(|_| api >= Api::ENDPOINT_MAC_ADDRESS).map(str::to_owned),
        ..EndpointSettings::default()
    }
}

pub(super) fn states<'a>(
    endpoints: impl IntoIterator<Item = (&'a String, &'a EndpointSettings)>,
    short_id: &str,
) -> BTreeMap<String, EndpointState> {
    endpoints.into_iter().map(|(name, e)| (name.clone(), state(e, short_id))).collect()
}

/// At the first start the engine adds the short id to the aliases.
fn state(endpoint: &EndpointSettings, short_id: &str) -> EndpointState {
    let aliases = endpoint.aliases.iter().flatten().filter(|a| *a != short_id).cloned().collect();
    EndpointState {
        network_id: NetworkId(endpoint.network_id.clone().unwrap_or_default().into()),
        address: endpoint.ip_address.as_deref().and_then(|a| a.parse().ok()),
        aliases,
        ipv4_address: endpoint
            .ipam_config
            .as_ref()
            .and_then(|c| c.ipv4_address.clone())
            .filter(|address| !address.is_empty()),
    }
}

/// The attachments as a spec would name them, by network name. Aliases include the service's own
/// name, which the caller of `create` gave.
pub(super) fn attachments<'a>(
    endpoints: impl IntoIterator<Item = (&'a String, &'a EndpointSettings)>,
    short_id: &str,
) -> Vec<NetworkAttachment> {
    let mut attachments: Vec<_> = endpoints
        .into_iter()
        .map(|(name, endpoint)| {
            let EndpointState { aliases, ipv4_address, .. } = state(endpoint, short_id);
            NetworkAttachment {
                network: name.clone(),
                aliases,
                ipv4_address,
                priority: endpoint.gw_priority.filter(|p| *p != 0).and_then(|p| i32::try_from(p).ok()),
            }
        })
        .collect();
    attachments.sort_by(|a, b| a.network.cmp(&b.network));
    attachments
}
