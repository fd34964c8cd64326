//! Ports, networks, shared namespaces.

use std::time::Duration;

use crate::common::Scope;
use env_manager::engine::{ContainerFilter, Engine, ErrorKind, ObjectFilter};
use env_manager::resource::container::ContainerCreate;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, NetworkMode, NetworkSpec, Port, Protocol};

/// A port that nobody listens at right now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_port_held_by_a_container_is_a_conflict_until_it_is_free() {
    let scope = Scope::new("port");
    let port = free_port();
    let publishing = |name: &str| {
        let ports = vec![Port {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(port),
            container_port: 80,
            protocol: Protocol::Tcp,
        }];
        ContainerSpec { ports, network_mode: Some(NetworkMode::Bridge), ..scope.spec(name) }
    };
    let first = scope.run(publishing("a")).await;
    assert_eq!(scope.owned(&first).await.published, publishing("a").ports);
    // Creating beside a running one is no conflict: ports are bound at the start.
    let second = scope.create(publishing("b")).await;
    let error = scope.engine.start(&second).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken { port: Some(port) }, "{error}");
    let failed = scope.owned(&second).await;
    assert_eq!((failed.state, failed.started_at), (RunState::Created, None));
    assert!(failed.error.as_deref().unwrap_or_default().contains("already allocated"), "{failed:?}");

    scope.engine.stop(&first, Duration::ZERO).await.unwrap();
    assert_eq!(scope.owned(&first).await.published, []);
    scope.engine.start(&second).await.expect("the same container can start once the port is free");
    assert_eq!(scope.owned(&second).await.error, None);
}

#[tokio::test]
async fn a_port_held_by_a_process_is_a_conflict() {
    let scope = Scope::new("portproc");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ports = vec![Port {
        host_ip: Some("127.0.0.1".to_owned()),
        host_port: Some(port),
        container_port: 80,
        protocol: Protocol::Tcp,
    }];
    let spec = ContainerSpec { ports, network_mode: Some(NetworkMode::Bridge), ..scope.spec("a") };
    let id = scope.create(spec).await;
    let error = scope.engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PortTaken { port: Some(port) }, "{error}");
    drop(listener);
    scope.engine.start(&id).await.expect("it can start once the port is free");
}

#[tokio::test]
async fn an_ephemeral_port_shows_which_one_it_is() {
    let scope = Scope::new("ephemeral");
    let ports = vec![Port { host_ip: None, host_port: None, container_port: 80, protocol: Protocol::Udp }];
    let spec = ContainerSpec { ports: ports.clone(), network_mode: Some(NetworkMode::Bridge), ..scope.spec("a") };
    let id = scope.run(spec).await;
    let container = scope.owned(&id).await;
    assert_eq!(container.config.ports, ports, "what was asked for");
    let [published] = &container.published[..] else { panic!("{:?}", container.published) };
    assert!(published.host_port.is_some_and(|p| p > 0), "{published}");
    let filter = ContainerFilter { stack: Some(scope.name.clone()), service: None };
    assert_eq!(scope.engine.list_containers(&filter).await.unwrap()[0].published, container.published);
}

#[tokio::test]
async fn a_container_is_attached_to_two_networks_and_taken_off_again() {
    let scope = Scope::new("nets");
    let (a, b) = (scope.network("a").await, scope.network("b").await);
    let create = ContainerCreate { network: Some(a.clone()), ..scope.create_of(scope.spec("c")) };
    let engine = &scope.engine;
    let id = engine.create_container(&create).await.unwrap();
    engine.connect(&id, &b).await.unwrap();
    let created = scope.owned(&id).await;
    assert_eq!(created.endpoints.keys().collect::<Vec<_>>(), [&scope.name("a"), &scope.name("b")]);
    assert!(created.endpoints.values().all(|e| e.address.is_none()), "{created:?}");
    engine.start(&id).await.unwrap();
    engine.connect(&id, &b).await.expect("it is connected already");
    let running = scope.owned(&id).await;
    for (name, endpoint) in [(scope.name("a"), &a), (scope.name("b"), &b)] {
        let state = &running.endpoints[&name];
        assert_eq!(state.network_id, endpoint.id);
        assert_eq!(state.aliases, ["web".to_owned()].into(), "the short id is the engine's");
        assert!(state.address.is_some());
    }
    let filter = ContainerFilter { stack: Some(scope.name.clone()), service: None };
    let rows = engine.list_containers(&filter).await.unwrap();
    assert_eq!(rows[0].networks[&scope.name("b")], b.id);

    let error = engine.remove_network(&b.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InUse, "{error}");
    engine.disconnect(&id.0, &b.id.0, false).await.unwrap();
    engine.disconnect(&id.0, &b.id.0, true).await.expect("it is disconnected already");
    engine.disconnect("em-test-nothing", &b.id.0, true).await.expect("no such endpoint is left");
    engine.remove_network(&b.id).await.unwrap();
    engine.remove_network(&b.id).await.expect("it is gone already");
    assert_eq!(scope.owned(&id).await.endpoints.len(), 1);
}

#[tokio::test]
async fn a_network_made_again_under_its_name_has_to_be_connected_anew() {
    let scope = Scope::new("netgone");
    let old = scope.network("n").await;
    let create = ContainerCreate { network: Some(old.clone()), ..scope.create_of(scope.spec("c")) };
    let engine = &scope.engine;
    let id = engine.create_container(&create).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.stop(&id, Duration::ZERO).await.unwrap();
    engine.remove_network(&old.id).await.unwrap();
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "{error}");
    let new = scope.network("n").await;
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NetworkGone, "the name alone does not help: {error}");
    assert_eq!(scope.owned(&id).await.endpoints[&scope.name("n")].network_id, old.id);
    engine.connect(&id, &new).await.unwrap();
    engine.start(&id).await.unwrap();
    assert_eq!(scope.owned(&id).await.endpoints[&scope.name("n")].network_id, new.id);
}

#[tokio::test]
async fn of_two_networks_of_one_name_the_one_meant_is_used() {
    let scope = Scope::new("netdup");
    let engine = &scope.engine;
    let first = scope.network("n").await;
    let spec = NetworkSpec { name: scope.name("n"), ..NetworkSpec::default() };
    let second = match engine.create_network(&spec, &scope.labels()).await {
        Ok(id) => crate::common::endpoint(&spec.name, id),
        // Engines from 25 on see to it themselves.
        Err(error) => return assert_eq!(error.kind, ErrorKind::NameTaken { holder: None }, "{error}"),
    };
    let found = engine.list_networks(&crate::common::names(&[&spec.name])).await.unwrap();
    assert_eq!(found.iter().map(|n| &n.id).collect::<Vec<_>>(), [&first.id, &second.id], "oldest first");
    assert!(found.iter().all(|n| n.stack.as_deref() == Some(&scope.name) && n.driver == "bridge"), "{found:?}");
    let by_stack = engine.list_networks(&ObjectFilter::Stack(scope.name.clone())).await.unwrap();
    assert_eq!(by_stack, found);
    // The beginning of a name is another name.
    let none = engine.list_networks(&crate::common::names(&[&scope.name])).await.unwrap();
    assert_eq!(none, []);

    let create = ContainerCreate { network: Some(second.clone()), ..scope.create_of(scope.spec("c")) };
    let id = engine.create_container(&create).await.unwrap();
    engine.start(&id).await.expect("not ambiguous");
    assert_eq!(scope.owned(&id).await.endpoints[&spec.name].network_id, second.id);
}

#[tokio::test]
async fn a_shared_namespace_that_is_gone_says_so() {
    let scope = Scope::new("ns");
    let engine = &scope.engine;
    let target = scope.run(scope.spec("target")).await;
    let shared = NetworkMode::Service("target".to_owned());
    let spec = ContainerSpec { network_mode: Some(shared), ..scope.spec("sharer") };
    let namespaces = [("target".to_owned(), target.clone())].into();
    let id = engine.create_container(&ContainerCreate { namespaces, ..scope.create_of(spec.clone()) }).await.unwrap();
    engine.start(&id).await.unwrap();
    let mode = NetworkMode::Container(target.0.to_string());
    assert_eq!(scope.owned(&id).await.config.network_mode, Some(mode));

    engine.stop(&id, Duration::ZERO).await.unwrap();
    engine.stop(&target, Duration::ZERO).await.unwrap();
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NamespaceGone, "stopped: {error}");
    engine.remove_container(&target).await.unwrap();
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NamespaceGone, "removed: {error}");
    let create = ContainerCreate { name: scope.name("other"), ..scope.create_of(spec) };
    let error = engine.create_container(&create).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NamespaceGone, "not known: {error}");
}
