//! What depends on the API's version, and what is refused. That every field arrives is shown on the
//! real engine (`tests/every_field.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::resource::container::{Endpoint, NetworkId};
use crate::resource::desired::Service;
use crate::resource::secret::Secret;
use crate::resource::spec::{Mount, MountSource, NetworkAttachment, SecretSource, ServiceSpec};

fn create(container: ContainerSpec) -> ContainerCreate {
    let attachment = NetworkAttachment {
        network: "n".to_owned(),
        aliases: ["a".to_owned()].into(),
        ipv4_address: None,
        priority: Some(7),
    };
    let spec = ServiceSpec { stop_grace: Duration::from_millis(1500), ..ServiceSpec::plain(container) };
    ContainerCreate {
        name: "web.next".to_owned(),
        service: Arc::new(Service::new("web", spec, BTreeMap::new(), BTreeMap::new())),
        labels: [(labels::STACK.to_owned(), "s".to_owned())].into(),
        network: Some(Endpoint { attachment, id: NetworkId("id".into()), aliases: vec!["web".to_owned()] }),
        inherited: BTreeMap::new(),
        namespaces: BTreeMap::new(),
        file_binds: BTreeMap::new(),
    }
}

#[test]
fn a_mac_address_goes_where_the_version_looks_for_it() {
    let create =
        create(ContainerSpec { mac_address: Some("02:00:00:00:00:01".to_owned()), ..ContainerSpec::default() });
    let at = |api| {
        let body = body(&create, Api(api)).unwrap();
        let endpoints = body.config.networking_config.unwrap().endpoints_config.unwrap();
        (body.mac_address.is_some(), endpoints["n"].mac_address.is_some(), endpoints["n"].gw_priority)
    };
    assert_eq!(at(41), (true, false, None));
    assert_eq!(at(43), (true, false, None));
    assert_eq!(at(44), (false, true, None));
    assert_eq!(at(48), (false, true, Some(7)));
}

#[test]
fn a_field_that_the_version_lacks_is_refused_by_name() {
    let source = MountSource::Volume { name: "v".to_owned(), subpath: Some("below".to_owned()) };
    let mounts = vec![Mount { target: "/v".to_owned(), source, read_only: false }];
    let create = create(ContainerSpec { mounts, ..ContainerSpec::default() });
    let (kind, text) = body(&create, Api(44)).unwrap_err();
    assert_eq!(kind, ErrorKind::Unsupported);
    assert_eq!(text, "volumes.subpath needs API 1.45 or newer, and the engine speaks 1.44");
    assert!(body(&create, Api(45)).is_ok());
}

#[test]
fn what_only_the_engine_should_fill_in_is_left_unset() {
    let body = body(&create(ContainerSpec::default()), Api(41)).unwrap().config;
    let host = body.host_config.unwrap();
    assert_eq!((host.log_config, host.shm_size, host.runtime, host.ipc_mode), (None, None, None, None));
    assert_eq!((host.memory_swap, host.security_opt, host.masked_paths), (None, None, None));
    assert_eq!((body.hostname, body.stop_signal, body.entrypoint, body.cmd), (None, None, None, None));
    assert_eq!((host.init, body.stop_timeout), (Some(false), Some(2)));
    let labels = body.labels.unwrap();
    assert_eq!(labels.len(), 1, "{labels:?}");
    let endpoint = &body.networking_config.unwrap().endpoints_config.unwrap()["n"];
    assert_eq!(endpoint.network_id.as_deref(), Some("id"));
    assert_eq!(endpoint.aliases, Some(vec!["a".to_owned(), "web".to_owned()]));
}

#[test]
fn a_secret_that_cannot_be_handed_over_is_named_and_not_shown() {
    let from = SecretSource::FromEnv("T".to_owned());
    let mut create =
        create(ContainerSpec { secret_env: [("TOKEN".to_owned(), from)].into(), ..ContainerSpec::default() });
    assert_eq!(body(&create, Api(41)).unwrap_err().1, "secretEnv.TOKEN: its value is missing or is not UTF-8");
    let mut service = (*create.service).clone();
    service.secret_env = [("TOKEN".to_owned(), Secret::new(vec![0x70, 0xff]))].into();
    create.service = Arc::new(service.clone());
    assert!(body(&create, Api(41)).is_err());
    service.secret_env = [("TOKEN".to_owned(), Secret::new("pw"))].into();
    create.service = Arc::new(service);
    assert_eq!(body(&create, Api(41)).unwrap().config.env, Some(vec!["TOKEN=pw".to_owned()]));
}

#[test]
fn a_service_whose_namespace_is_shared_has_to_have_a_container() {
    let mode = Some(NetworkMode::Service("vpn".to_owned()));
    let mut create = create(ContainerSpec { network_mode: mode, ..ContainerSpec::default() });
    create.network = None;
    let (kind, text) = body(&create, Api(41)).unwrap_err();
    assert_eq!((kind, &*text), (ErrorKind::NamespaceGone, "networkMode: service vpn has no container to share"));
    create.namespaces = [("vpn".to_owned(), ContainerId::new("abc"))].into();
    let host = body(&create, Api(41)).unwrap().config.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("container:abc"));
}
