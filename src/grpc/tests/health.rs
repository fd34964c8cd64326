use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{Daemon, message, soon};
use crate::resource::status::Reason;

const API: &str = "env_manager.v1.ReconcilerService";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    message(watch).await.status()
}

#[tokio::test]
async fn health_is_told_of_the_whole_and_of_each_service() {
    use ServingStatus::{NotServing, Serving};
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    daemon.environment.set_service("kafka", false, Reason::CrashLoop, "");
    daemon.environment.set_service("migrate", true, Reason::Completed, "");
    let mut client = HealthClient::new(daemon.channel().await);
    let mut check = async |name: &str| client.check(of(name)).await.map(|r| r.into_inner().status());
    for (name, wanted) in
        [("", Serving), ("redis", Serving), ("kafka", NotServing), ("migrate", Serving), (API, Serving)]
    {
        assert_eq!(check(name).await.unwrap(), wanted, "`{name}`");
    }
    let unknown = check("reddis").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().ends_with("did you mean `redis`?"), "{}", unknown.message());

    daemon.environment.set_service("redis", true, Reason::ProbeFailed, "");
    assert_eq!(check("").await.unwrap(), NotServing, "a required service is not ready");
    daemon.environment.ready("redis");
    daemon.environment.change_context(|context| context.engine.reachable = false);
    assert_eq!(check("").await.unwrap(), NotServing, "the engine is away");
    assert_eq!(check(API).await.unwrap(), Serving, "and the API answers");
}

#[tokio::test]
async fn health_is_followed_from_before_a_service_is_there_until_it_is_gone() {
    use ServingStatus::{NotServing, ServiceUnknown, Serving};
    let daemon = Daemon::start().await;
    let mut client = HealthClient::new(daemon.channel().await);
    let mut redis = client.watch(of("redis")).await.unwrap().into_inner();
    let mut whole = client.watch(of("")).await.unwrap().into_inner();
    assert_eq!(next(&mut redis).await, ServiceUnknown);
    assert_eq!(next(&mut whole).await, Serving);
    daemon.environment.set_service("redis", true, Reason::Starting, "");
    assert_eq!(next(&mut redis).await, NotServing);
    assert_eq!(next(&mut whole).await, NotServing);
    daemon.environment.ready("redis");
    assert_eq!(next(&mut redis).await, Serving);
    assert_eq!(next(&mut whole).await, Serving);
    daemon.environment.remove("redis");
    assert_eq!(next(&mut redis).await, ServiceUnknown);
    daemon.environment.change_context(|context| context.engine.reachable = false);
    assert_eq!(next(&mut whole).await, NotServing, "its removal was no news to the whole");
    daemon.environment.ready("redis");
    assert_eq!(next(&mut redis).await, Serving, "what comes again is told again");

    daemon.environment.closing.cancel();
    let ended = soon(redis.message()).await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "the daemon is ending"));
}
