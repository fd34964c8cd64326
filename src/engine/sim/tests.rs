//! What no real engine can show: seeds, faults, callers that go away. The rest is in `tests/conformance`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::*;
use crate::engine::{Engine, ErrorKind, Inspected};
use crate::resource::container::{ContainerCreate, ContainerId};
use crate::resource::image::ImageRef;
use crate::resource::labels;
use crate::resource::observed::RunState;
use crate::resource::spec::RestartPolicy;

fn engine(seed: u64) -> SimEngine {
    let engine = SimEngine::new(seed, Arc::new(VirtualClock::new()));
    engine.add_image("img:1", Program::default());
    engine
}

fn creation(name: &str) -> ContainerCreate {
    let mut create = ContainerCreate::plain(name, "img:1");
    let mut service = (*create.service).clone();
    service.spec.container.restart = RestartPolicy::Always;
    create.service = Arc::new(service);
    create.labels.insert(labels::STACK.to_owned(), "s".to_owned());
    create
}

async fn state(engine: &SimEngine, id: &ContainerId) -> RunState {
    match engine.inspect_container(&id.0).await {
        Ok(Some(Inspected::Owned(container))) => container.state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_has_gone_takes_effect_all_the_same() {
    let engine = engine(1);
    let id = engine.create_container(&creation("web")).await.unwrap();
    let left = timeout(Duration::from_millis(20), engine.start(&id)).await;
    assert!(left.is_err(), "it takes longer");
    assert_eq!(state(&engine, &id).await, RunState::Created);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&engine, &id).await, RunState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_ends_at_its_deadline_with_or_without_its_effect() {
    for (kind, name, there) in [(FaultKind::HangBefore, "before", 0), (FaultKind::HangAfter, "after", 1)] {
        let engine = engine(1);
        engine.set_faults(Faults::quiet().with(kind, 1000));
        let began = Instant::now();
        let error = engine.create_container(&creation(name)).await.unwrap_err();
        assert_eq!((error.kind, began.elapsed().as_secs()), (ErrorKind::Timeout, 60));
        assert_eq!(engine.world().containers.len(), there, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_did_nothing_or_everything() {
    for (kind, there) in [(FaultKind::FailBefore500, 0), (FaultKind::FailAfter500, 1)] {
        let engine = engine(1);
        engine.set_faults(Faults::quiet().with(kind, 1000));
        let error = engine.create_container(&creation("web")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Other, "{error}");
        assert_eq!(engine.world().containers.len(), there);
        assert_eq!(engine.counts()[&kind], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_engine_takes_calls_and_answers_when_it_thaws() {
    let engine = engine(1);
    let id = engine.create_container(&creation("web")).await.unwrap();
    engine.act(Outside::EngineFreezes);
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    engine.act(Outside::EngineThaws);
    engine.tick();
    assert_eq!(state(&engine, &id).await, RunState::Running, "what it took it does");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_fails_its_calls_and_ends_its_streams() {
    let engine = engine(1);
    let id = engine.create_container(&creation("web")).await.unwrap();
    let mut events = engine.events(None);
    let told = async { while events.next().await.unwrap().is_ok() {} };
    let away = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        engine.act(Outside::EngineDown);
    };
    let (answer, (), ()) = tokio::join!(engine.start(&id), told, away);
    assert_eq!(answer.unwrap_err().kind, ErrorKind::Unreachable);
    assert_eq!(engine.info().await.unwrap_err().kind, ErrorKind::Unreachable);
    engine.act(Outside::EngineUp);
    engine.info().await.unwrap();
}

/// Calls, deaths and events under every fault: what came of it, as text.
async fn history(seed: u64) -> (String, BTreeMap<FaultKind, u64>) {
    let engine = engine(seed);
    engine.set_registry("img:2", RegistryAnswer::Image(Box::new(Program::never_ready())));
    engine.set_faults(Faults::all(60));
    let trace = Arc::new(Mutex::new(String::new()));
    let note = |trace: &Arc<Mutex<String>>, line: String| {
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.push_str(&line);
        trace.push('\n');
    };
    let written = trace.clone();
    engine.watch(move |call| {
        note(&written, format!("{} {:?} {} {:?} {:?}", call.at, call.by, call.operation, call.after, call.refused));
    });
    let listen = async {
        loop {
            let mut events = engine.events(None);
            while let Some(Ok(event)) = events.next().await {
                note(&trace, format!("{event:?}"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let work = async {
        for round in 0..40 {
            let name = format!("web{round}");
            if let Ok(id) = engine.create_container(&creation(&name)).await {
                let _ = engine.start(&id).await;
                engine.act(Outside::Die { container: name.clone(), code: 1 });
                tokio::time::sleep(Duration::from_millis(300)).await;
                let _ = engine.rename(&id, &format!("{name}.old")).await;
                let _ = engine.stop(&id, Duration::from_secs(1)).await;
                let _ = engine.remove_container(&id).await;
            }
            let _ = engine.list_containers(&crate::engine::ContainerFilter::default()).await;
            let _ = engine.pull(&ImageRef::parse("img:2").unwrap(), None, &|_| ()).await;
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        () = listen => {}
    }
    let text = trace.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (format!("{text}{:?}", engine.world()), engine.counts())
}

#[tokio::test(start_paused = true)]
async fn a_seed_decides_everything_to_the_byte() {
    let (first, again, other) = (history(7).await.0, history(7).await.0, history(8).await.0);
    // The clock has gone on meanwhile, and starts anew with each engine.
    let differs = first.lines().zip(again.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(first.len(), again.len());
    assert_ne!(first, other);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_fault_is_injected() {
    let mut counts = BTreeMap::<FaultKind, u64>::new();
    for seed in 0..4 {
        for (kind, count) in history(seed).await.1 {
            *counts.entry(kind).or_default() += count;
        }
    }
    let never: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| counts[kind] == 0).collect();
    assert_eq!(never, [], "{counts:?}");
}
