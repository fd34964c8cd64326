//! P16: who calls from another machine.

use std::net::{IpAddr, UdpSocket};

use env_manager::proto::DESCRIPTORS;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::redis_server::RedisServer;
use crate::rig::{Daemon, soon};
use crate::rpcs;
use env_manager::tasks::settings::TaskSettings;

/// One of this machine's that is not loopback: who connects to it has it too. Sends nothing.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// What each call of the service answers to somebody elsewhere.
async fn asked_from_elsewhere(ip: IpAddr, settings: TaskSettings) -> Vec<(String, Option<Code>)> {
    let daemon = Daemon::at("0.0.0.0", settings).await;
    let endpoint = Endpoint::from_shared(format!("http://{ip}:{}", daemon.grpc.port())).unwrap();
    let channel = soon("a connection", endpoint.connect()).await.unwrap();
    let mut answers = Vec::new();
    for rpc in rpcs::all(DESCRIPTORS, "orchestrator.v1") {
        // A stream that is open and has nothing to say is answered, too.
        let call = rpcs::call(&channel, &rpc.path, Vec::new());
        let answer = tokio::time::timeout(std::time::Duration::from_millis(500), call).await;
        answers.push((rpc.name, answer.ok().and_then(Result::err).map(|status| status.code())));
    }
    answers
}

#[tokio::test]
async fn p16_callers_elsewhere_get_health_and_metrics_and_nothing_else() {
    let Some(ip) = other_address() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let Some(redis) = RedisServer::start(&[]).await else { return };
    let settings = TaskSettings { redis: redis.url(), ..TaskSettings::default() };
    let answers = asked_from_elsewhere(ip, settings.clone()).await;
    assert_eq!(answers.len(), 19, "{answers:?}");
    for (name, error) in answers {
        let expected = (!matches!(name.as_str(), "Health" | "GetMetrics")).then_some(Code::PermissionDenied);
        assert_eq!(error, expected, "{name}");
    }
    for (name, error) in asked_from_elsewhere(ip, TaskSettings { allow_remote: true, ..settings }).await {
        assert_ne!(error, Some(Code::PermissionDenied), "{name}");
    }
}
