use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Daemon, message, soon};
use crate::daemon::environment::Environment;
use crate::daemon::played::Played;
use crate::grpc::client::Client;
use crate::grpc::convert;
use crate::grpc::watch::{Begin, EventsWatch};
use crate::net::pull::Pull;
use crate::proto::env_manager::v1;
use crate::report::StatusReport;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::resource::status::Reason;

async fn convergence(client: &mut Client, names: &[&str]) -> Streaming<v1::WatchConvergenceResponse> {
    let service_names = names.iter().map(|&n| n.to_owned()).collect();
    soon(client.watch_convergence(v1::WatchConvergenceRequest { service_names })).await.unwrap().into_inner()
}

fn services(response: &v1::WatchConvergenceResponse) -> Vec<&str> {
    response.convergence.as_ref().unwrap().services.iter().map(|s| s.name.as_str()).collect()
}

#[tokio::test]
async fn a_watcher_gets_the_whole_and_then_what_changed() {
    let daemon = Daemon::start().await;
    let network = ResourceKey::network("env-manager");
    let exists = || Some(crate::daemon::played::status("env-manager", false, Reason::Exists, ""));
    daemon.environment.ready("redis");
    daemon.environment.ready("kafka");
    daemon.environment.statuses.set(&network, exists());
    let mut client = daemon.by_port().await;
    let mut watch = convergence(&mut client, &[]).await;

    let first = message(&mut watch).await;
    assert!(first.whole && first.removed.is_empty());
    let document = StatusReport::new(&daemon.environment.view(), &[]);
    assert_eq!(convert::report(first.convergence.unwrap()), document);

    daemon.environment.set_service("kafka", true, Reason::CrashLoop, "it ended with 1");
    let next = message(&mut watch).await;
    assert_eq!((services(&next), next.removed.len(), next.whole), (vec!["kafka"], 0, false));
    let header = next.convergence.unwrap();
    assert!(!header.healthy && !header.converged && header.resources.is_empty());
    assert_eq!(header.source.unwrap().short_revision, "3f2a91c", "the header is complete each time");

    daemon.environment.remove("kafka");
    let next = message(&mut watch).await;
    assert_eq!((services(&next), next.removed.as_slice()), (vec![], ["kafka".to_owned()].as_slice()));
    assert!(next.convergence.unwrap().converged);

    daemon.environment.statuses.set(&network, None);
    assert_eq!(message(&mut watch).await.removed, ["network/env-manager"]);
    daemon.environment.statuses.set(&network, exists());
    assert_eq!(message(&mut watch).await.convergence.unwrap().resources[0].name, "env-manager");

    daemon.environment.change_context(|context| context.notes.push("an orphan".to_owned()));
    let next = message(&mut watch).await;
    assert_eq!(
        (services(&next), next.convergence.as_ref().unwrap().notes.as_slice()),
        (vec![], ["an orphan".to_owned()].as_slice())
    );
}

#[tokio::test]
async fn nothing_is_sent_when_nothing_changed() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    daemon.environment.ready("kafka");
    let mut client = daemon.by_port().await;
    let mut all = convergence(&mut client, &[]).await;
    let mut one = convergence(&mut client, &["redis"]).await;
    message(&mut all).await;
    message(&mut one).await;
    // Time passes, somebody touches the context, and another service has a new text.
    *daemon.environment.now.lock().unwrap() = crate::clock::Timestamp(1_800_000_000_000);
    daemon.environment.change_context(|_| {});
    daemon.environment.set_service("kafka", true, Reason::ProbeSucceeded, "PING answered again");
    // Whoever watches all has been told of that; the other one was woken at the same time.
    assert_eq!(services(&message(&mut all).await), ["kafka"]);
    daemon.environment.set_service("redis", true, Reason::ProbeSucceeded, "PING answered again");
    assert_eq!(services(&message(&mut all).await), ["redis"]);
    let next = message(&mut one).await;
    assert_eq!(services(&next), ["redis"], "the first message after the first");
    assert!(!next.whole);
}

#[tokio::test]
async fn a_service_can_be_waited_for_before_it_is_there() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    let mut client = daemon.by_port().await;
    let mut watch = convergence(&mut client, &["kafka"]).await;
    let first = message(&mut watch).await;
    assert!(first.whole && services(&first).is_empty());
    daemon.environment.ready("kafka");
    assert_eq!(services(&message(&mut watch).await), ["kafka"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_never_claims_more_than_the_statuses_that_came_with_it() {
    let daemon = Daemon::start().await;
    let names = ["a1", "b2", "c3", "d4"];
    for name in names {
        daemon.environment.ready(name);
    }
    let mut client = daemon.by_port().await;
    let mut watch = convergence(&mut client, &[]).await;
    let environment = daemon.environment.clone();
    let enough = CancellationToken::new();
    let until = enough.clone();
    // Also where an assertion fails: a thread that never ends would hold up the test's.
    let enough = enough.drop_guard();
    let mut writer = JoinSet::new();
    // One after the other goes down and comes back, as fast as can be.
    writer.spawn_blocking(move || {
        for name in names.iter().cycle() {
            environment.set_service(name, true, Reason::CrashLoop, "");
            environment.ready(name);
            if until.is_cancelled() {
                return;
            }
        }
    });
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    let mut claimed = [0, 0];
    // Until both have been seen often.
    while claimed.iter().any(|times| *times < 200) {
        let next = message(&mut watch).await;
        let header = next.convergence.unwrap();
        known.extend(header.services.into_iter().map(|s| (s.name, s.ready)));
        let all = known.values().all(|ready| *ready);
        assert_eq!((header.healthy, header.converged), (all, all), "{known:?}");
        claimed[usize::from(all)] += 1;
    }
    drop(enough);
    soon(writer.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_watcher_that_does_not_read_harms_nobody_and_then_gets_the_newest() {
    let daemon = Daemon::start().await;
    daemon.environment.ready("redis");
    let mut narrow = daemon.narrow().await;
    let mut blocked = convergence(&mut narrow, &[]).await;
    let mut client = daemon.by_port().await;
    let mut reading = convergence(&mut client, &[]).await;
    message(&mut reading).await;
    let text = "x".repeat(4_000);
    for n in 1..=10_000_u32 {
        daemon.environment.set_service("redis", true, Reason::ProbeFailed, &format!("{n} {text}"));
        // Who reads, hears of it at once; so the other one could have been sent as many.
        if n % 10 == 0 {
            let next = message(&mut reading).await;
            assert!(next.convergence.unwrap().services[0].message.starts_with(&format!("{n} ")));
        }
    }

    let mut got = 0;
    loop {
        got += 1;
        let next = message(&mut blocked).await.convergence.unwrap();
        if next.services[0].message.starts_with("10000 ") {
            break;
        }
    }
    // What fits into 64 KiB and was on its way, one that was made and waited, and the newest.
    assert!(got < 20, "{got} messages of more than 4 kB were kept for it");
}

#[tokio::test]
async fn a_reader_of_events_that_does_not_read_harms_nobody_and_is_told_what_it_missed() {
    const ALL: u64 = 10_000;
    let daemon = Daemon::start().await;
    let mut narrow = daemon.narrow().await;
    let request = v1::WatchEventsRequest::default;
    let mut blocked = narrow.watch_events(request()).await.unwrap().into_inner();
    let mut client = daemon.by_port().await;
    let mut reading = client.watch_events(request()).await.unwrap().into_inner();
    let text = "x".repeat(1_000);
    for n in 1..=ALL {
        daemon.environment.history.record(happening(None, &format!("{n} {text}")));
        // Who reads, misses nothing.
        if n % 20 == 0 {
            for read in n - 19..=n {
                let next = message(&mut reading).await;
                assert!(next.event.unwrap().message.starts_with(&format!("{read} ")));
                assert_eq!(next.missed, 0);
            }
        }
    }

    let (mut got, mut missed, mut last) = (0, 0, 0);
    loop {
        let next = message(&mut blocked).await;
        let event = next.event.unwrap();
        assert!(event.sequence > last, "oldest first, each once");
        last = event.sequence;
        got += 1;
        missed += next.missed;
        if event.message.starts_with(&format!("{ALL} ")) {
            break;
        }
    }
    assert_eq!(got + missed, ALL, "{got} were sent");
    assert!(got < 1_000, "{got} events were kept for it");
}

#[tokio::test]
async fn what_was_pushed_out_is_counted_once_however_far_behind_a_reader_is() {
    let environment = Played::default();
    let mut watch = EventsWatch::new(&environment, Vec::new(), Begin::Now);
    // More than are taken from the history at once stay; behind them 100 are pushed out from between.
    for n in 0..200 {
        environment.history.record(happening(Some(&format!("service-{n}")), "once"));
    }
    for n in 0..300 {
        environment.history.record(happening(Some("kafka"), &format!("again {n}")));
    }
    let (mut got, mut missed) = (0, 0);
    loop {
        let next = soon(watch.next()).await.unwrap().unwrap();
        got += 1;
        missed += next.missed;
        if next.event.unwrap().message == "again 299" {
            break;
        }
    }
    assert_eq!((got, missed), (400, 100));
}

fn happening(subject: Option<&str>, message: &str) -> Happening {
    Happening {
        subject: subject.map(ResourceKey::service),
        reason: EventReason::Ready,
        message: message.to_owned(),
        by: Actor::EnvManager,
    }
}

#[tokio::test]
async fn events_begin_where_they_are_asked_to() {
    let daemon = Daemon::start().await;
    let history = &daemon.environment.history;
    history.record(happening(Some("redis"), "zero"));
    // More than are taken from the history at once, and more than are kept of one service: the first are pushed
    // out from between what is kept.
    for n in 0..250 {
        history.record(happening(Some("kafka"), &format!("old {n}")));
    }
    history.record(happening(Some("redis"), "one"));
    let second = history.record(happening(Some("redis"), "two"));
    history.record(happening(Some("kafka"), "three"));
    let mut client = daemon.by_port().await;
    let mut begin = async |names: &[&str], past, after_sequence| {
        let service_names = names.iter().map(|&n| n.to_owned()).collect();
        let request = v1::WatchEventsRequest { service_names, past, after_sequence };
        client.watch_events(request).await.unwrap().into_inner()
    };
    let read = async |watch: &mut Streaming<v1::WatchEventsResponse>, until: &str| {
        let mut told = Vec::new();
        loop {
            let next = message(watch).await;
            assert_eq!(next.missed, 0, "what was pushed out before the watch is nobody's loss");
            let event = next.event.unwrap();
            told.push(format!("{} {}", event.count, event.message));
            if event.message == until {
                return told;
            }
        }
    };
    let mut now = begin(&[], 0, 0).await;
    let mut past = begin(&[], 2, 0).await;
    assert_eq!(read(&mut past, "three").await, ["1 two", "1 three"]);
    let mut after = begin(&[], 7, second).await;
    assert_eq!(read(&mut after, "three").await, ["1 three"]);
    let mut redis = begin(&["redis"], 2, 0).await;
    assert_eq!(read(&mut redis, "two").await, ["1 one", "1 two"]);
    let mut all = begin(&[], u32::MAX, 0).await;
    let told = read(&mut all, "three").await;
    assert_eq!((told.len(), told[0].as_str()), (203, "1 zero"));
    let mut never = begin(&["never"], 5, 0).await;

    history.record(happening(Some("redis"), "four"));
    // Repeated: once more, with its count.
    history.record(happening(Some("redis"), "one"));
    history.record(happening(Some("kafka"), "last"));
    history.record(happening(Some("never"), "first"));
    for watch in [&mut now, &mut past, &mut after, &mut all] {
        assert_eq!(read(watch, "last").await, ["1 four", "2 one", "1 last"]);
    }
    assert_eq!(read(&mut redis, "one").await, ["1 four", "2 one"]);
    assert_eq!(read(&mut never, "first").await, ["1 first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_hear_of_a_change() {
    let daemon = Daemon::start().await;
    for n in 0..20 {
        daemon.environment.ready(&format!("service-{n}"));
    }
    let mut watches = Vec::new();
    for _ in 0..4 {
        let client = daemon.by_port().await;
        let begun = stream::iter(0..250).map(|_| {
            let mut client = client.clone();
            async move {
                let mut watch = convergence(&mut client, &[]).await;
                assert_eq!(services(&message(&mut watch).await).len(), 20);
                watch
            }
        });
        watches.extend(begun.buffer_unordered(250).collect::<Vec<_>>().await);
    }
    assert_eq!(watches.len(), 1_000);
    daemon.environment.set_service("service-7", true, Reason::CrashLoop, "it ended with 1");
    let heard = stream::iter(&mut watches).map(message).buffer_unordered(1_000).collect::<Vec<_>>().await;
    assert!(heard.iter().all(|next| services(next) == ["service-7"]));
    // There is room for others on the same connections.
    let mut client = daemon.by_port().await;
    soon(client.get_health(v1::GetHealthRequest {})).await.unwrap();
    let mut health = HealthClient::new(daemon.channel().await);
    soon(health.check(HealthCheckRequest::default())).await.unwrap();
}
