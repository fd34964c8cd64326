//! What a task goes through.

use super::*;

#[tokio::test]
async fn a_task_is_submitted_leased_extended_and_completed_and_all_is_told() {
    let Some(rig) = Rig::new().await else { return };
    rig.store.ready().await.unwrap();
    let map = Content::Map(BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    let task = NewTask { workflow_id: "flow".to_owned(), payload: map.clone(), ..new("t", Class::GpuShort, -3) };
    rig.submit(&[task]).await;

    let pending = rig.get("t").await;
    assert_eq!((pending.state, pending.attempts, pending.max_attempts), (State::Pending, 0, 5));
    assert_eq!((pending.class, pending.priority, pending.workflow_id.as_str()), (Class::GpuShort, -3, "flow"));
    assert_eq!(rig.store.depths().await.unwrap().by_class.of(Class::GpuShort).waiting, 1);

    let lease = rig.one(Class::GpuShort).await;
    assert_eq!((lease.attempt, lease.max_attempts, lease.priority), (1, 5, -3));
    assert_eq!((&lease.payload, lease.workflow_id.as_str()), (&map, "flow"));
    let extended = rig.store.extend(&[(lease.id.clone(), lease.token.clone())], LONG).await.unwrap();
    assert_eq!(extended, [Extension::Ok]);
    let running = rig.get("t").await;
    assert_eq!((running.state, running.worker.as_str(), running.attempts), (State::Running, "w", 1));

    let result = json("{\"x\": 1}");
    assert_eq!(rig.store.complete(&lease.id, &lease.token, &result).await.unwrap(), Answer::Ok);
    let done = rig.get("t").await;
    assert_eq!((done.state, done.result), (State::Completed, Some(result)));
    assert!(done.submitted_at <= done.started_at.unwrap() && done.started_at <= done.ended_at);

    let told = rig.store.events(Position::default(), 100, Duration::ZERO).await.unwrap();
    let what: Vec<_> = told.iter().map(|event| (event.what, event.attempt, event.worker.as_str())).collect();
    assert_eq!(what, [(EventType::Submitted, 0, ""), (EventType::Started, 1, "w"), (EventType::Completed, 1, "w")]);
    assert!(told.iter().all(|event| event.id == lease.id && event.class == Class::GpuShort));
    assert_eq!(told[1].token, lease.token.0);
    assert_eq!(rig.store.newest().await.unwrap(), told[2].position);
}

#[tokio::test]
async fn failed_released_cancelled_and_requeued() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("a"), short("b")]).await;
    let a = rig.one(Class::CpuShort).await;
    assert_eq!(rig.store.release(&a.id, &a.token).await.unwrap(), Answer::Ok);
    let a = rig.one(Class::CpuShort).await;
    assert_eq!((a.id.as_str(), a.attempt), ("a", 1));
    let retry = rig.store.fail(&a.id, &a.token, "no", Retry::Backoff).await.unwrap();
    assert!(matches!(retry, Failed::RetryIn(pause) if (900..=1100).contains(&pause.as_millis())), "{retry:?}");
    assert_eq!(rig.store.depths().await.unwrap().by_class.of(Class::CpuShort).delayed, 1);
    assert_eq!(rig.store.cancel(&a.id, "enough").await.unwrap(), Changed::From(State::Pending));

    let b = rig.one(Class::CpuShort).await;
    assert_eq!(rig.store.fail(&b.id, &b.token, "for good", Retry::Never).await.unwrap(), Failed::Dead);
    assert_eq!(rig.store.requeue(&b.id).await.unwrap(), Changed::From(State::Failed));
    assert_eq!(rig.store.requeue(&id("nobody")).await.unwrap(), Changed::Unknown);
    assert_eq!(rig.one(Class::CpuShort).await.attempt, 1);
    assert_eq!(rig.store.complete(&b.id, &b.token, &json("1")).await.unwrap(), Answer::Stale);
    assert_eq!(rig.store.complete(&b.id, &Token("x".to_owned()), &json("1")).await.unwrap(), Answer::Stale);
    rig.store.sweep().await.unwrap();
    let page = rig.store.list(&State::ALL, None, None, 100).await.unwrap();
    assert_eq!((page.tasks.len(), page.next), (2, None));
}

#[tokio::test]
async fn a_listener_is_woken_by_the_next_event_and_reads_on_where_it_was() {
    let Some(rig) = Rig::new().await else { return };
    let before = rig.store.newest().await.unwrap();
    assert_eq!(before, Position::default());
    let none = rig.store.events(before, 10, Duration::from_millis(1)).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    let (a, d) = ([short("a")], [short("d")]);
    let (came, ()) = tokio::join!(rig.store.events(before, 10, LONG), rig.submit(&a));
    let came = came.unwrap();
    assert_eq!(came.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["a"]);

    rig.submit(&[short("b"), short("c")]).await;
    let next = rig.store.events(came[0].position, 1, LONG).await.unwrap();
    assert_eq!(next[0].id.as_str(), "b");
    // Two that wait, and calls meanwhile.
    let now = rig.store.newest().await.unwrap();
    let (one, other, ()) =
        tokio::join!(rig.store.events(now, 10, LONG), rig.store.events(now, 10, LONG), rig.submit(&d));
    assert_eq!((one.unwrap().len(), other.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn long_texts_are_kept_and_leave_the_record_small() {
    let Some(rig) = Rig::new().await else { return };
    let long = "x".repeat(200);
    let name = "n".repeat(200);
    rig.submit(&[
        NewTask { workflow_id: long.clone(), ..short(&name) },
        NewTask { workflow_id: ">".into(), ..short("b") },
    ])
    .await;
    let leases = rig.store.lease(&long, &[(Class::CpuShort, 2)], LONG).await.unwrap();
    assert_eq!((leases[0].workflow_id.as_str(), leases[1].workflow_id.as_str()), (long.as_str(), ">"));
    // Of two bytes each, so that the cut falls between two only by care.
    let error = format!("-{}", "é".repeat(1500));
    let failed = rig.store.fail(&leases[0].id, &leases[0].token, &error, Retry::Never).await.unwrap();
    assert_eq!(failed, Failed::Dead);
    let task = rig.get(&name).await;
    assert_eq!(task.error, error[..1999]);
    assert_eq!((task.worker, task.workflow_id), (long, "x".repeat(200)));
    for key in [format!("{{em:test}}:t:{name}"), "{em:test}:t:b".to_owned()] {
        let encoding: String = rig.redis.command(&["OBJECT", "ENCODING", &key]).await.unwrap();
        assert_eq!(encoding, "listpack", "{key}");
    }
    // A short one takes its place.
    assert_eq!(rig.store.requeue(&leases[0].id).await.unwrap(), Changed::From(State::Failed));
    let again = rig.one(Class::CpuShort).await;
    rig.store.fail(&again.id, &again.token, "short", Retry::Never).await.unwrap();
    assert_eq!((rig.get(&name).await.error.as_str(), rig.get(&name).await.worker.as_str()), ("short", "w"));
}

#[tokio::test]
async fn who_asks_for_events_that_are_gone_gets_those_that_are_left() {
    let Some(rig) = Rig::new().await else { return };
    for round in 0..56 {
        let tasks: Vec<_> = (0..200).map(|i| short(&format!("t{round}-{i}"))).collect();
        rig.submit(&tasks).await;
    }
    let first = rig.store.events(Position::default(), 1, Duration::ZERO).await.unwrap().remove(0);
    let all = rig.store.events(Position::default(), 20_000, Duration::ZERO).await.unwrap();
    assert_eq!((all.len(), all[0].position), (10_000, first.position));
    assert!(all.is_sorted_by_key(|event| event.position));
    let length: usize = rig.redis.command(&["XLEN", "{em:test}:ev"]).await.unwrap();
    assert!((10_000..11_200).contains(&length), "{length} of 11,200 are left");
    assert_ne!(first.id.as_str(), "t0-0");
}
