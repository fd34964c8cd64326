use std::net::{IpAddr, SocketAddr, UdpSocket};

use prost::Message;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;

use super::{Daemon, message, rpcs, soon};
use crate::grpc::client::Client;
use crate::net::peer::Peer;
use crate::proto::env_manager::v1;
use crate::resource::ResourceKey;
use crate::resource::overall::Kept;
use crate::resource::status::Reason;

#[test]
fn p16_callers_are_told_apart_by_where_they_are() {
    let tcp = |text: &str| Peer::Tcp(SocketAddr::new(text.parse::<IpAddr>().unwrap(), 1));
    let cases = [
        (Peer::Unix(Some(1000)), true, "uid 1000"),
        (Peer::Unix(None), true, "unix socket"),
        (tcp("127.0.0.1"), true, "127.0.0.1"),
        (tcp("127.8.9.10"), true, "127.8.9.10"),
        (tcp("::1"), true, "::1"),
        (tcp("::ffff:127.0.0.1"), true, "127.0.0.1"),
        (tcp("::ffff:10.0.0.1"), false, "10.0.0.1"),
        (tcp("::127.0.0.1"), false, "::7f00:1"),
        (tcp("0.0.0.0"), false, "0.0.0.0"),
        (tcp("172.17.0.1"), false, "172.17.0.1"),
        (tcp("fe80::1"), false, "fe80::1"),
        (Peer::Unknown, false, "unknown"),
    ];
    for (peer, local, who) in cases {
        assert_eq!((peer.is_local(), peer.to_string()), (local, who.to_owned()), "{peer:?}");
    }
    assert_eq!(Peer::of(&Request::new(())), Peer::Unknown, "a request of which nothing is known");
}

/// One of this machine's that is not loopback: who connects to it has it too. Sends nothing.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn p16_callers_elsewhere_read_the_state_without_its_texts_and_nothing_else() {
    let Some(ip) = other_address() else {
        eprintln!("this machine has no address but loopback: nothing to test with");
        return;
    };
    let daemon = Daemon::start().await;
    daemon.environment.set_service("redis", true, Reason::DiskFull, "hush: no space left on /srv");
    daemon.environment.change_context(|context| {
        context.notes = vec!["hush: an orphan".to_owned()];
        context.kept = vec![Kept {
            key: ResourceKey::service("web"),
            reason: "Suspended",
            message: "hush: it is suspended by ann".to_owned(),
        }];
        context.findings = "hush: a finding".to_owned();
        context.source.error = Some("hush: unreadable".to_owned());
        context.engine.message = "hush: it hangs".to_owned();
    });
    let endpoint = Endpoint::from_shared(format!("http://{ip}:{}", daemon.tcp.port())).unwrap();
    let channel = soon(endpoint.connect()).await.unwrap();
    let mut remote = Client::new(channel.clone());
    let is_silent = |encoded: Vec<u8>| !String::from_utf8_lossy(&encoded).contains("hush");

    let health = remote.get_health(v1::GetHealthRequest {}).await.unwrap().into_inner();
    assert!(!health.healthy && is_silent(health.encode_to_vec()));
    let status = remote.get_convergence(v1::GetConvergenceRequest::default()).await.unwrap().into_inner();
    assert!(is_silent(status.encode_to_vec()), "{status:?}");
    let service = &status.convergence.as_ref().unwrap().services[0];
    assert_eq!((service.reason.as_str(), service.next.as_str(), service.container_id.as_str()), ("DiskFull", "", ""));
    let mut watch = remote.watch_convergence(v1::WatchConvergenceRequest::default()).await.unwrap().into_inner();
    let first = message(&mut watch).await;
    assert!(first.whole && is_silent(first.encode_to_vec()), "{first:?}");
    remote.get_queue_metrics(v1::GetQueueMetricsRequest {}).await.unwrap();
    let metrics = remote.get_metrics(v1::GetMetricsRequest::default()).await.unwrap().into_inner();
    assert!(is_silent(metrics.encode_to_vec()));
    let mut health = HealthClient::new(channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();
    health.watch(HealthCheckRequest::default()).await.unwrap();

    // A change of texts alone is no news to them; the next state is.
    daemon.environment.set_service("redis", true, Reason::DiskFull, "hush: still no space left");
    daemon.environment.change_context(|context| context.notes.push("hush: another".to_owned()));
    daemon.environment.ready("redis");
    let next = message(&mut watch).await;
    assert!(next.convergence.unwrap().services[0].ready);

    let mut denied: Vec<(String, Option<Status>)> = vec![
        ("reflection".to_owned(), reflect(channel.clone()).await.err()),
        ("reflection".to_owned(), reflect_alpha(channel.clone()).await.err()),
    ];
    // Nobody has to remember a new call here: it is refused, or stands among those that are not.
    let calls = rpcs::all(crate::proto::DESCRIPTORS, "env_manager.v1");
    assert!(calls.len() > 10 && rpcs::READERS.iter().all(|r| calls.iter().any(|c| c.name == *r)));
    for call in calls {
        let answer = soon(rpcs::call(&channel, &call.path, Vec::new())).await;
        if call.is_reader() {
            assert!(is_silent(answer.unwrap().unwrap_or_default()), "{}", call.name);
        } else {
            // Whether a service exists, or what else is wrong with the request, is not told either.
            denied.push((call.name, answer.err()));
        }
    }
    for (call, status) in denied {
        let status = status.unwrap_or_else(|| panic!("{call} answered"));
        assert_eq!(status.code(), Code::PermissionDenied, "{call}");
        let sentence = format!("{call} is only for callers on this machine");
        assert!(status.message().starts_with(&sentence), "{}", status.message());
    }
    assert!(daemon.environment.taken().is_empty());
}

#[tokio::test]
async fn a_watcher_elsewhere_hears_nothing_of_what_it_is_not_shown() {
    let Some(ip) = other_address() else { return };
    let daemon = Daemon::start().await;
    daemon.environment.set_service("redis", true, Reason::DiskFull, "one");
    let endpoint = Endpoint::from_shared(format!("http://{ip}:{}", daemon.tcp.port())).unwrap();
    let mut remote = Client::new(soon(endpoint.connect()).await.unwrap());
    let mut local = daemon.by_port().await;
    let request = v1::WatchConvergenceRequest::default;
    let mut far = remote.watch_convergence(request()).await.unwrap().into_inner();
    let mut near = local.watch_convergence(request()).await.unwrap().into_inner();
    message(&mut far).await;
    message(&mut near).await;
    for n in 0..10 {
        daemon.environment.set_service("redis", true, Reason::DiskFull, &format!("text {n}"));
        // By then the other one, woken at the same time, has looked.
        message(&mut near).await;
    }
    daemon.environment.ready("kafka");
    let next = message(&mut far).await.convergence.unwrap();
    assert_eq!(next.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["kafka"]);
}

/// The names of the services that are described.
async fn reflect(channel: tonic::transport::Channel) -> Result<Vec<String>, Status> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    match message(&mut answers).await.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(list.service.into_iter().map(|s| s.name).collect()),
        other => panic!("{other:?}"),
    }
}

async fn reflect_alpha(channel: tonic::transport::Channel) -> Result<usize, Status> {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let symbol = MessageRequest::FileContainingSymbol("env_manager.v1.ReconcilerService".to_owned());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let mut client = AlphaClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    match message(&mut answers).await.message_response {
        Some(MessageResponse::FileDescriptorResponse(files)) => Ok(files.file_descriptor_proto.len()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn callers_here_are_shown_what_there_is_to_call() {
    let daemon = Daemon::start().await;
    let channel = daemon.channel().await;
    let names = reflect(channel.clone()).await.unwrap();
    // A service that is added here has to be added to what callers elsewhere are kept from, above.
    let described =
        ["env_manager.v1.ReconcilerService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    assert_eq!(names, described);
    assert_eq!(reflect_alpha(channel).await.unwrap(), 1);
}
