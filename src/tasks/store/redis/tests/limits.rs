//! What is full, too much, the same again, or over.

use super::*;

#[tokio::test]
async fn the_same_id_is_the_same_task_with_the_same_content_and_a_conflict_with_other() {
    let Some(rig) = Rig::new().await else { return };
    let task = short("t");
    rig.submit(std::slice::from_ref(&task)).await;
    let others = [
        NewTask { priority: 1, ..task.clone() },
        NewTask { class: Class::CpuLong, ..task.clone() },
        NewTask { workflow_id: "w".to_owned(), ..task.clone() },
        NewTask { payload: json("2"), ..task.clone() },
    ];
    let again = async |task: &NewTask| rig.store.submit(std::slice::from_ref(task)).await.unwrap().remove(0);
    for other in &others {
        assert_eq!(again(other).await, Submitted::Conflict);
    }
    assert_eq!(again(&task).await, Submitted::Same);
    let came = rig.store.submit(&[short("u"), task.clone(), others[0].clone()]).await.unwrap();
    assert_eq!(came, [Submitted::New, Submitted::Same, Submitted::Conflict]);
    // Also once it has ended.
    let lease = rig.one(Class::CpuShort).await;
    rig.store.complete(&lease.id, &lease.token, &json("1")).await.unwrap();
    assert_eq!((again(&task).await, again(&others[0]).await), (Submitted::Same, Submitted::Conflict));
    assert_eq!(rig.lease(Class::CpuShort, 9).await.len(), 1);
}

#[tokio::test]
async fn a_full_backlog_takes_what_it_has_already_and_what_there_is_room_for() {
    let Some(rig) = Rig::with(|s| s.max_backlog = 3).await else { return };
    rig.submit(&[short("a"), new("b", Class::GpuLong, 0)]).await;
    let lease = rig.one(Class::CpuShort).await;
    // One that waits for its next attempt counts, one that runs does not.
    rig.store.fail(&lease.id, &lease.token, "", Retry::After(HOUR)).await.unwrap();
    let came = rig.store.submit(&[short("c"), short("d"), short("a")]).await.unwrap();
    assert_eq!(came, [Submitted::New, Submitted::Full, Submitted::Same]);
    assert_eq!(rig.store.get(&ids(&["d"]), false).await.unwrap(), [None]);
    rig.one(Class::CpuShort).await;
    rig.submit(&[short("d")]).await;
}

#[tokio::test]
async fn a_call_has_at_most_two_hundred_items() {
    let Some(rig) = Rig::new().await else { return };
    let tasks: Vec<_> = (0..201).map(|i| short(&format!("t{i}"))).collect();
    let too_many = |came: Result<(), StoreError>| assert!(matches!(came, Err(StoreError::Invalid(_))), "{came:?}");
    too_many(rig.store.submit(&tasks).await.map(drop));
    rig.submit(&tasks[..200]).await;
    too_many(rig.store.lease("w", &[(Class::CpuShort, 200), (Class::CpuLong, 1)], LONG).await.map(drop));
    too_many(rig.store.lease("w", &[(Class::CpuShort, u32::MAX), (Class::CpuShort, 5)], LONG).await.map(drop));
    let leases = rig.lease(Class::CpuShort, 200).await;
    assert_eq!(leases.len(), 200);
    let mut held: Vec<_> = leases.into_iter().map(|lease| (lease.id, lease.token)).collect();
    assert_eq!(rig.store.extend(&held, LONG).await.unwrap(), [Extension::Ok; 200]);
    held.push(held[0].clone());
    too_many(rig.store.extend(&held, LONG).await.map(drop));
    let mut all: Vec<_> = held[..200].iter().map(|(id, _)| id.clone()).collect();
    assert!(rig.store.get(&all, true).await.unwrap().iter().all(Option::is_some));
    all.push(id("one-more"));
    too_many(rig.store.get(&all, true).await.map(drop));
    too_many(rig.store.list(&State::ALL, None, None, 201).await.map(drop));
    // None is fine.
    assert!(rig.store.submit(&[]).await.unwrap().is_empty());
    assert!(rig.store.lease("w", &[], LONG).await.unwrap().is_empty());
    assert!(rig.store.extend(&[], LONG).await.unwrap().is_empty());
    assert!(rig.store.get(&[], true).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_ended_long_enough_ago_is_forgotten_and_its_id_is_free() {
    let Some(rig) = Rig::with(|s| s.result_ttl = Duration::from_millis(1)).await else { return };
    rig.submit(&[short("done"), short("cancelled"), short("dead")]).await;
    let leases = rig.lease(Class::CpuShort, 3).await;
    rig.store.complete(&leases[0].id, &leases[0].token, &json("1")).await.unwrap();
    rig.store.cancel(&leases[1].id, &"long".repeat(100)).await.unwrap();
    rig.store.fail(&leases[2].id, &leases[2].token, "", Retry::Never).await.unwrap();
    until("both are forgotten", async || {
        rig.store.sweep().await.unwrap();
        (rig.store.depths().await.unwrap().done == 0).then_some(())
    })
    .await;
    let found = rig.store.get(&ids(&["done", "cancelled", "dead"]), true).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true]);
    let mut keys: Vec<String> = rig.redis.command(&["KEYS", "*"]).await.unwrap();
    keys.sort();
    let left = ["d:cpu_short", "ev", "n", "p:dead", "t:dead", "vt"].map(|key| format!("{{em:test}}:{key}"));
    assert_eq!(keys, left);
    rig.submit(&[NewTask { priority: 9, ..short("done") }]).await;
}

#[tokio::test]
async fn payloads_go_when_they_cannot_be_wanted_any_more() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("done"), short("cancelled"), short("dead")]).await;
    let leases = rig.lease(Class::CpuShort, 3).await;
    rig.store.complete(&leases[0].id, &leases[0].token, &json("1")).await.unwrap();
    rig.store.cancel(&leases[1].id, "").await.unwrap();
    rig.store.fail(&leases[2].id, &leases[2].token, "", Retry::Never).await.unwrap();
    let keys: Vec<String> = rig.redis.command(&["KEYS", "{em:test}:p:*"]).await.unwrap();
    assert_eq!(keys, ["{em:test}:p:dead"]);
}

#[tokio::test]
async fn of_the_dead_the_oldest_go_first_whatever_their_class() {
    let Some(rig) = Rig::with(|s| s.max_dead = 2).await else { return };
    let order = [("a", Class::GpuLong), ("b", Class::CpuShort), ("c", Class::GpuLong), ("d", Class::CpuShort)];
    for (name, class) in order {
        rig.submit(&[new(name, class, 0)]).await;
        let lease = rig.one(class).await;
        rig.store.fail(&lease.id, &lease.token, "", Retry::Never).await.unwrap();
        // The next one dies in a later millisecond.
        let ended = rig.get(name).await.ended_at.unwrap();
        until("a millisecond", async || {
            let now: (u64, u64) = rig.redis.command(&["TIME"]).await.unwrap();
            (now.0 * 1_000 + now.1 / 1_000 > ended.0).then_some(())
        })
        .await;
    }
    rig.store.sweep().await.unwrap();
    let found = rig.store.get(&ids(&["a", "b", "c", "d"]), true).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, true]);
}

#[tokio::test]
async fn one_sweep_forgets_more_than_one_script_may() {
    let Some(rig) = Rig::with(|s| s.result_ttl = Duration::ZERO).await else { return };
    for round in 0..3 {
        let tasks: Vec<_> = (0..200).map(|i| short(&format!("t{round}-{i}"))).collect();
        rig.submit(&tasks).await;
        for task in &tasks {
            rig.store.cancel(&task.id, "").await.unwrap();
        }
    }
    rig.store.sweep().await.unwrap();
    assert_eq!(rig.store.depths().await.unwrap().done, 0);
}

#[tokio::test]
async fn p20_without_memory_nothing_is_taken_and_what_is_there_is_worked_off() {
    let Some(rig) = Rig::new().await else { return };
    let used: String = rig.redis.command(&["INFO", "memory"]).await.unwrap();
    let used: u64 = used.lines().find_map(|l| l.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    let limit = (used + (8 << 20)).to_string();
    let _: () = rig.redis.command(&["CONFIG", "SET", "maxmemory", &limit]).await.unwrap();

    let payload = Content::Bytes(Bytes::from(vec![7; 100_000]));
    let mut taken = Vec::new();
    let refused = loop {
        let task = NewTask { payload: payload.clone(), ..short(&format!("t{}", taken.len())) };
        match rig.store.submit(std::slice::from_ref(&task)).await {
            Ok(came) => assert_eq!(came, [Submitted::New]),
            Err(error) => break error,
        }
        taken.push(task.id);
        assert!(taken.len() < 200, "no limit was met");
    };
    assert!(matches!(refused, StoreError::OutOfMemory), "{refused:?}");
    assert!(taken.len() > 10, "{}", taken.len());
    assert_eq!(rig.store.get(&[id(&format!("t{}", taken.len()))], false).await.unwrap(), [None]);

    // Leased, extended, given back, failed and completed all the same.
    let leases = rig.lease(Class::CpuShort, 5).await;
    assert_eq!(leases.iter().map(|lease| &lease.id).collect::<Vec<_>>(), taken.iter().take(5).collect::<Vec<_>>());
    assert!(leases.iter().all(|lease| lease.payload == payload));
    let held: Vec<_> = leases.iter().map(|lease| (lease.id.clone(), lease.token.clone())).collect();
    assert_eq!(rig.store.extend(&held, LONG).await.unwrap(), [Extension::Ok; 5]);
    assert_eq!(rig.store.release(&held[0].0, &held[0].1).await.unwrap(), Answer::Ok);
    assert_eq!(rig.store.fail(&held[1].0, &held[1].1, "no", Retry::Never).await.unwrap(), Failed::Dead);
    assert_eq!(rig.store.cancel(&held[2].0, "no").await.unwrap(), Changed::From(State::Running));
    for (id, token) in &held[3..] {
        assert_eq!(rig.store.complete(id, token, &json("1")).await.unwrap(), Answer::Ok);
    }
    rig.store.sweep().await.unwrap();
    // Which makes room.
    let again = NewTask { payload, ..short("later") };
    until("there is room", async || rig.store.submit(std::slice::from_ref(&again)).await.ok()).await;
    let all = rig.store.get(&taken, false).await.unwrap();
    assert!(all.iter().all(Option::is_some), "what was taken is there");
}
