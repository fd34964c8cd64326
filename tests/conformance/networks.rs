//! Networks, attachments and ports.

use std::time::Duration;

use env_manager::engine::{Engine, ErrorKind, ObjectFilter};
use env_manager::resource::container::ContainerCreate;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, NetworkMode, NetworkSpec, Port, Protocol};

use crate::rig::{Behaves, Rig, nowhere};
use crate::stack::engine::endpoint;

const GRACE: Duration = Duration::from_secs(5);

scenarios![
    a_port_held_by_a_container_fails_the_start_and_no_create,
    an_ephemeral_port_shows_which_one_it_is,
    a_network_of_a_name_can_be_there_twice,
    a_network_that_was_removed_and_made_again_has_to_be_connected_anew,
    a_create_for_a_network_that_is_gone_fails_at_the_start,
    a_network_by_id_that_is_gone_is_disconnected_by_its_name,
    a_second_connect_is_done,
    a_created_one_is_connected_and_disconnected_without_an_address,
    a_network_that_runs_something_is_not_removed,
    a_network_that_nothing_runs_in_is_removed_under_its_containers,
    a_prune_takes_networks_that_nothing_runs_in,
    a_container_without_a_network_is_not_connected_to_one,
    a_rename_keeps_addresses_and_aliases,
];

async fn a_port_held_by_a_container_fails_the_start_and_no_create(rig: &impl Rig) {
    let port = rig.free_port();
    let publishing = |part: &str| {
        let ports = vec![Port {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(port),
            container_port: 80,
            protocol: Protocol::Tcp,
        }];
        ContainerSpec { ports, network_mode: Some(NetworkMode::Bridge), ..rig.spec(part, Behaves::Sleeps) }
    };
    let first = rig.run(publishing("a")).await;
    assert_eq!(rig.owned(&first).await.published, publishing("a").ports);
    let second = rig.create(publishing("b")).await;
    let error = rig.engine().start(&second).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken { port: Some(port) }, "{error}");
    let failed = rig.owned(&second).await;
    assert_eq!((failed.state, failed.started_at, &failed.published[..]), (RunState::Created, None, &[][..]));
    assert!(failed.error.as_deref().unwrap_or_default().contains("already allocated"), "{failed:?}");

    rig.engine().stop(&first, GRACE).await.unwrap();
    assert_eq!(rig.owned(&first).await.published, []);
    rig.engine().start(&second).await.expect("the same container, once the port is free");
    let seen = rig.owned(&second).await;
    assert_eq!((seen.error, seen.published), (None, publishing("b").ports));
    // One that ran before keeps its last end.
    let error = rig.engine().start(&first).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken { port: Some(port) }, "{error}");
    let failed = rig.owned(&first).await;
    assert_eq!((failed.state, failed.exit_code), (RunState::Exited, Some(143)));
    assert!(failed.error.is_some(), "{failed:?}");
}

async fn an_ephemeral_port_shows_which_one_it_is(rig: &impl Rig) {
    let ports = vec![Port { host_ip: None, host_port: None, container_port: 80, protocol: Protocol::Tcp }];
    let spec = rig.spec("a", Behaves::Sleeps);
    let id = rig.run(ContainerSpec { ports: ports.clone(), network_mode: Some(NetworkMode::Bridge), ..spec }).await;
    let seen = rig.owned(&id).await;
    assert_eq!(seen.config.ports, ports, "what was asked for");
    let [published] = &seen.published[..] else { panic!("{:?}", seen.published) };
    assert!(published.host_ip.is_none() && published.host_port.is_some_and(|p| p > 0), "{published}");
    assert!(seen.address().is_some());
}

async fn a_network_of_a_name_can_be_there_twice(rig: &impl Rig) {
    let first = rig.network("n").await;
    let spec = NetworkSpec { name: rig.name("n"), ..NetworkSpec::default() };
    let second = match rig.engine().create_network(&spec, &rig.labels()).await {
        Ok(id) => endpoint(&spec.name, id),
        Err(error) => {
            // Engines from 25 on see to it themselves.
            let version = rig.engine().info().await.unwrap().version;
            let major: u32 = version.split('.').next().unwrap().parse().unwrap();
            assert!(major >= 25, "{version}: {error}");
            return assert_eq!(error.kind, ErrorKind::NameTaken { holder: None }, "{error}");
        }
    };
    let found = rig.engine().list_networks(&ObjectFilter::Names(vec![spec.name.clone()])).await.unwrap();
    assert_eq!(found.iter().map(|n| &n.id).collect::<Vec<_>>(), [&first.id, &second.id], "oldest first");
    let by_stack = rig.engine().list_networks(&ObjectFilter::Stack(rig.scope().to_owned())).await.unwrap();
    assert_eq!(by_stack, found);
    assert_eq!(rig.engine().list_networks(&ObjectFilter::Names(vec![rig.scope().to_owned()])).await.unwrap(), []);
    for (part, network) in [("a", &first), ("b", &second)] {
        let id = rig.create_on(part, network).await;
        rig.engine().start(&id).await.expect("the one that is meant");
        assert_eq!(rig.owned(&id).await.endpoints[&spec.name].network_id, network.id);
    }
}

async fn a_network_that_was_removed_and_made_again_has_to_be_connected_anew(rig: &impl Rig) {
    let old = rig.network("n").await;
    let id = rig.create_on("a", &old).await;
    let engine = rig.engine();
    engine.start(&id).await.unwrap();
    engine.stop(&id, GRACE).await.unwrap();
    engine.remove_network(&old.id).await.unwrap();
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "{error}");
    assert_eq!(rig.state(&id).await, RunState::Exited);
    let new = rig.network("n").await;
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "the name alone does not help: {error}");
    assert_eq!(rig.owned(&id).await.endpoints[&rig.name("n")].network_id, old.id);
    engine.connect(&id, &new).await.unwrap();
    engine.start(&id).await.unwrap();
    assert_eq!(rig.owned(&id).await.endpoints[&rig.name("n")].network_id, new.id);
}

async fn a_create_for_a_network_that_is_gone_fails_at_the_start(rig: &impl Rig) {
    let id = rig.create_on("a", &nowhere()).await;
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "{error}");
    let seen = rig.owned(&id).await;
    assert_eq!((seen.state, seen.started_at), (RunState::Created, None));
    assert_eq!(seen.endpoints.keys().collect::<Vec<_>>(), [&nowhere().attachment.network]);
    // A connect to one that is gone is taken where nothing runs, and refused where something does.
    let there = rig.network("n").await;
    let running = rig.create_on("b", &there).await;
    rig.engine().start(&running).await.unwrap();
    let error = rig.engine().connect(&running, &nowhere()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "{error}");
}

async fn a_network_by_id_that_is_gone_is_disconnected_by_its_name(rig: &impl Rig) {
    let (a, b) = (rig.network("a").await, rig.network("b").await);
    let id = rig.create_on("c", &a).await;
    rig.engine().connect(&id, &b).await.unwrap();
    rig.engine().remove_network(&b.id).await.unwrap();
    let names = async || rig.owned(&id).await.endpoints.into_keys().collect::<Vec<_>>();
    assert_eq!(names().await, [rig.name("a"), rig.name("b")]);
    // By an id that nobody knows, nothing happens; and nothing is said.
    rig.engine().disconnect(&id.0, &b.id.0, true).await.unwrap();
    assert_eq!(names().await, [rig.name("a"), rig.name("b")]);
    rig.engine().disconnect(&id.0, &rig.name("b"), true).await.unwrap();
    assert_eq!(names().await, [rig.name("a")]);
    rig.engine().start(&id).await.unwrap();
}

async fn a_second_connect_is_done(rig: &impl Rig) {
    let (a, b) = (rig.network("a").await, rig.network("b").await);
    let id = rig.create_on("c", &a).await;
    for _ in 0..2 {
        rig.engine().connect(&id, &b).await.unwrap();
    }
    rig.engine().start(&id).await.unwrap();
    for _ in 0..2 {
        rig.engine().connect(&id, &b).await.unwrap();
    }
    let seen = rig.owned(&id).await;
    assert_eq!(seen.endpoints.len(), 2);
    for (name, network) in [(rig.name("a"), a), (rig.name("b"), b)] {
        let state = &seen.endpoints[&name];
        assert_eq!((&state.network_id, &state.aliases), (&network.id, &["web".to_owned()].into()));
        assert!(state.address.is_some(), "{state:?}");
    }
}

async fn a_created_one_is_connected_and_disconnected_without_an_address(rig: &impl Rig) {
    let (a, b) = (rig.network("a").await, rig.network("b").await);
    let id = rig.create_on("c", &a).await;
    rig.engine().connect(&id, &b).await.unwrap();
    let seen = rig.owned(&id).await;
    assert_eq!(seen.endpoints.keys().collect::<Vec<_>>(), [&rig.name("a"), &rig.name("b")]);
    assert!(seen.endpoints.values().all(|e| e.address.is_none()), "{seen:?}");
    rig.engine().disconnect(&id.0, &b.id.0, false).await.unwrap();
    rig.engine().disconnect(&id.0, &b.id.0, false).await.expect("it is not connected");
    assert_eq!(rig.owned(&id).await.endpoints.len(), 1);
    rig.engine().start(&id).await.unwrap();
    rig.engine().connect(&id, &b).await.unwrap();
    rig.engine().disconnect(&id.0, &b.id.0, false).await.unwrap();
    assert_eq!(rig.owned(&id).await.endpoints.len(), 1);
    rig.engine().disconnect("em-test-nothing", &b.id.0, true).await.expect("no such endpoint is left");
}

async fn a_network_that_runs_something_is_not_removed(rig: &impl Rig) {
    let network = rig.network("n").await;
    let id = rig.create_on("a", &network).await;
    rig.engine().start(&id).await.unwrap();
    let error = rig.engine().remove_network(&network.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InUse, "{error}");
    rig.pause(&id);
    let error = rig.engine().remove_network(&network.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InUse, "{error}");
    rig.engine().remove_container(&id).await.unwrap();
    rig.engine().remove_network(&network.id).await.unwrap();
    rig.engine().remove_network(&network.id).await.expect("it is gone");
}

async fn a_network_that_nothing_runs_in_is_removed_under_its_containers(rig: &impl Rig) {
    let network = rig.network("n").await;
    let id = rig.create_on("a", &network).await;
    rig.engine().remove_network(&network.id).await.unwrap();
    let seen = rig.owned(&id).await;
    assert_eq!(seen.endpoints[&rig.name("n")].network_id, network.id, "it goes on naming it");
    let error = rig.engine().start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "{error}");
}

async fn a_prune_takes_networks_that_nothing_runs_in(rig: &impl Rig) {
    let (used, idle) = (rig.network("used").await, rig.network("idle").await);
    let running = rig.create_on("a", &used).await;
    rig.engine().start(&running).await.unwrap();
    let created = rig.create_on("b", &idle).await;
    rig.prune_system();
    let left = rig.engine().list_networks(&ObjectFilter::Stack(rig.scope().to_owned())).await.unwrap();
    assert_eq!(left.iter().map(|n| &n.id).collect::<Vec<_>>(), [&used.id]);
    assert_eq!(rig.engine().inspect_container(&created.0).await.unwrap(), None);
    assert_eq!(rig.state(&running).await, RunState::Running);
}

async fn a_container_without_a_network_is_not_connected_to_one(rig: &impl Rig) {
    let network = rig.network("n").await;
    let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    rig.engine().connect(&id, &network).await.unwrap_err();
    rig.engine().start(&id).await.unwrap();
    rig.engine().connect(&id, &network).await.unwrap_err();
    assert_eq!(rig.owned(&id).await.endpoints.keys().collect::<Vec<_>>(), ["none"]);
}

async fn a_rename_keeps_addresses_and_aliases(rig: &impl Rig) {
    let network = rig.network("n").await;
    let create = |part| {
        let spec = ContainerSpec { network_mode: None, ..rig.spec(part, Behaves::Sleeps) };
        ContainerCreate { network: Some(network.clone()), ..rig.creation(spec) }
    };
    let id = rig.engine().create_container(&create("a.next")).await.unwrap();
    rig.engine().start(&id).await.unwrap();
    let before = rig.owned(&id).await;
    rig.engine().rename(&id, &rig.name("a")).await.unwrap();
    let after = rig.owned(&id).await;
    assert_eq!((&after.name, &after.endpoints), (&rig.name("a"), &before.endpoints));
}
