//! Events: that they are told, with what the controller reads.

use std::collections::BTreeMap;
use std::time::Duration;

use env_manager::engine::{Engine, EngineEvent, EventKind};
use env_manager::resource::container::ContainerId;
use env_manager::resource::labels;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::{ContainerSpec, RestartPolicy};
use futures_util::StreamExt;

use crate::rig::{Behaves, Rig};

const GRACE: Duration = Duration::from_secs(5);

scenarios![
    a_container_is_told_from_its_creation_to_its_end,
    a_crash_and_a_restart_are_told,
    a_failed_start_is_told_as_no_start,
    networks_and_attachments_are_told_by_name,
    a_moved_tag_is_told,
    a_cursor_tells_what_was_missed_with_its_own_event,
];

/// What `work` causes, up to the event that `last` knows. Others' events are left out.
async fn told(
    rig: &impl Rig,
    work: impl AsyncFnOnce() -> Vec<ContainerId>,
    last: impl Fn(&EngineEvent) -> bool,
) -> (Vec<EngineEvent>, Vec<ContainerId>) {
    let mut stream = rig.engine().events(None);
    // The stream is open once an event has come: a volume's, which nothing else here makes.
    let opening = async {
        let spec = env_manager::resource::spec::VolumeSpec { name: rig.name("open"), ..Default::default() };
        loop {
            rig.engine().create_volume(&spec, &rig.labels()).await.unwrap();
            rig.engine().remove_volume(&spec.name).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let first = async {
        loop {
            let event = stream.next().await.expect("no end").unwrap();
            if event.kind == EventKind::Volume && event.id == rig.name("open") {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = first => {}
        () = opening => {}
    }
    let listen = async {
        let mut all = Vec::new();
        loop {
            let event = stream.next().await.expect("no end").unwrap();
            let stop = last(&event);
            all.push(event);
            if stop {
                return all;
            }
        }
    };
    let both = async { tokio::join!(work(), listen) };
    let (ids, all) = tokio::time::timeout(Duration::from_mins(1), both).await.expect("it is told");
    let own = |e: &EngineEvent| {
        e.attributes.values().any(|v| v.starts_with(rig.scope())) || ids.iter().any(|id| *id.0 == *e.id)
    };
    (all.into_iter().filter(|e| own(e) && e.kind != EventKind::Volume).collect(), ids)
}

fn actions(events: &[EngineEvent], kind: EventKind) -> Vec<&str> {
    events.iter().filter(|e| e.kind == kind).map(|e| e.action.as_str()).collect()
}

fn is(event: &EngineEvent, action: &str, name: &str) -> bool {
    event.action == action && event.attributes.get("name").is_some_and(|n| n == name)
}

async fn a_container_is_told_from_its_creation_to_its_end(rig: &impl Rig) {
    let work = async || {
        let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
        rig.engine().start(&id).await.unwrap();
        rig.engine().rename(&id, &rig.name("b")).await.unwrap();
        rig.engine().set_restart_policy(&id, RestartPolicy::Always).await.unwrap();
        rig.pause(&id);
        rig.unpause(&id);
        rig.engine().stop(&id, GRACE).await.unwrap();
        rig.engine().remove_container(&id).await.unwrap();
        vec![id]
    };
    let (events, ids) = told(rig, work, |e| is(e, "destroy", &rig.name("b"))).await;
    let containers: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Container).collect();
    let names = ["create", "start", "rename", "update", "pause", "unpause", "kill", "die", "destroy"];
    assert_eq!(actions(&events, EventKind::Container), names);
    for event in &containers {
        assert_eq!(*event.id, *ids[0].0);
        assert_eq!(event.attributes[labels::SERVICE], "web");
        assert_eq!(event.attributes[labels::STACK], rig.scope());
        assert_eq!(event.attributes["image"], rig.image(Behaves::Sleeps).to_string());
    }
    let times: Vec<_> = containers.iter().map(|e| (e.time, e.cursor.clone())).collect();
    assert!(times.is_sorted() && times[0].0.0 > 0, "{times:?}");
    let [_, start, rename, _, _, _, kill, die, destroy] = containers[..] else { unreachable!() };
    let attribute = |event: &EngineEvent, name: &str| event.attributes[name].clone();
    assert_eq!(attribute(start, "name"), rig.name("a"));
    assert_eq!(
        [attribute(rename, "name"), attribute(rename, "oldName")],
        [rig.name("b"), format!("/{}", rig.name("a"))]
    );
    assert_eq!([attribute(kill, "signal"), attribute(die, "exitCode")], ["15", "143"]);
    assert_eq!(attribute(destroy, "name"), rig.name("b"));
}

async fn a_crash_and_a_restart_are_told(rig: &impl Rig) {
    let work = async || {
        let spec = rig.spec("a", Behaves::Exits(3));
        let id = rig.run(ContainerSpec { restart: RestartPolicy::OnFailure { max_retries: 1 }, ..spec }).await;
        rig.wait(&id, "given up", |c| c.state == RunState::Exited).await;
        rig.engine().remove_container(&id).await.unwrap();
        vec![id]
    };
    let (events, _) = told(rig, work, |e| is(e, "destroy", &rig.name("a"))).await;
    let names = ["create", "start", "die", "start", "die", "destroy"];
    assert_eq!(actions(&events, EventKind::Container), names);
    let codes: Vec<_> = events.iter().filter_map(|e| e.attributes.get("exitCode")).collect();
    assert_eq!(codes, ["3", "3"]);
}

async fn a_failed_start_is_told_as_no_start(rig: &impl Rig) {
    let work = async || {
        let id = rig.create(ContainerSpec { init: false, ..rig.spec("a", Behaves::HasNoCommand) }).await;
        rig.engine().start(&id).await.unwrap_err();
        rig.engine().remove_container(&id).await.unwrap();
        vec![id]
    };
    let (events, _) = told(rig, work, |e| is(e, "destroy", &rig.name("a"))).await;
    assert_eq!(actions(&events, EventKind::Container), ["create", "destroy"]);
}

async fn networks_and_attachments_are_told_by_name(rig: &impl Rig) {
    let work = async || {
        let network = rig.network("n").await;
        let id = rig.create_on("a", &network).await;
        rig.engine().start(&id).await.unwrap();
        rig.engine().stop(&id, GRACE).await.unwrap();
        rig.engine().remove_container(&id).await.unwrap();
        rig.engine().remove_network(&network.id).await.unwrap();
        vec![id]
    };
    let (events, ids) = told(rig, work, |e| is(e, "destroy", &rig.name("n"))).await;
    assert_eq!(actions(&events, EventKind::Network), ["create", "connect", "disconnect", "destroy"]);
    let of_network: BTreeMap<_, _> =
        events.iter().filter(|e| e.kind == EventKind::Network).map(|e| (e.action.as_str(), e)).collect();
    assert!(of_network.values().all(|e| e.attributes["name"] == rig.name("n")), "{of_network:?}");
    for action in ["connect", "disconnect"] {
        assert_eq!(*of_network[action].attributes["container"], *ids[0].0);
        assert_eq!(of_network[action].id, of_network["create"].id);
    }
}

async fn a_moved_tag_is_told(rig: &impl Rig) {
    let work = async || {
        rig.tag("img", Behaves::Sleeps);
        Vec::new()
    };
    let name = format!("{}:1", rig.name("img"));
    let (events, _) = told(rig, work, |e| is(e, "tag", &name)).await;
    let image = rig.engine().inspect_image(&name).await.unwrap().unwrap();
    let tagged: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Image).map(|e| (&e.action, &e.id)).collect();
    assert_eq!(tagged, [(&"tag".to_owned(), &image.id.0)]);
}

async fn a_cursor_tells_what_was_missed_with_its_own_event(rig: &impl Rig) {
    let work = async || {
        let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
        rig.engine().rename(&id, &rig.name("b")).await.unwrap();
        vec![id]
    };
    let (events, ids) = told(rig, work, |e| is(e, "rename", &rig.name("b"))).await;
    rig.engine().remove_container(&ids[0]).await.unwrap();
    let cursor = &events.last().unwrap().cursor;
    let missed = rig.engine().events(Some(cursor)).map(Result::unwrap);
    let own = missed.filter(|e| std::future::ready(*e.id == *ids[0].0)).take(2).map(|e| e.action);
    let own = tokio::time::timeout(Duration::from_mins(1), own.collect::<Vec<_>>()).await.expect("it is kept");
    assert_eq!(own, ["rename", "destroy"]);
}
