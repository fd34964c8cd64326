//! Several daemons on one Redis.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::tasks::store::ClassDepth;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p20_two_daemons_share_the_tasks_and_none_is_leased_twice() {
    const TASKS: usize = 2_000;
    let Some(rig) = Rig::new().await else { return };
    let other = RedisStore::connect(&rig.settings, "test").unwrap();
    let tasks: Vec<_> =
        (0..TASKS).map(|i| new(&format!("t{i}"), Class::ALL[i % 4], i32::try_from(i % 7).unwrap())).collect();
    // Both submit all of them, in other orders.
    let submit = async |store: &RedisStore, chunks: Vec<&[NewTask]>| {
        let mut taken = 0;
        for chunk in chunks {
            taken += store.submit(chunk).await.unwrap().iter().filter(|came| **came == Submitted::New).count();
        }
        taken
    };
    let (a, b) = tokio::join!(
        submit(&rig.store, tasks.chunks(150).collect()),
        submit(&other, tasks.chunks(110).rev().collect())
    );
    assert_eq!(a + b, TASKS);

    let mut workers = JoinSet::new();
    for number in 0..4 {
        let store = if number % 2 == 0 { rig.store.clone() } else { other.clone() };
        workers.spawn(async move {
            let name = format!("worker-{number}");
            let mut had = Vec::new();
            loop {
                let wanted = Class::ALL.map(|class| (class, 5));
                let leases = store.lease(&name, &wanted, HOUR).await.unwrap();
                if leases.is_empty() {
                    return had;
                }
                for lease in leases {
                    assert_eq!(lease.attempt, 1);
                    let done = store.complete(&lease.id, &lease.token, &lease.payload).await.unwrap();
                    assert_eq!(done, Answer::Ok);
                    had.push(lease.id);
                }
            }
        });
    }
    let shares = workers.join_all().await;
    assert!(shares.iter().all(|share| !share.is_empty()), "{:?}", shares.iter().map(Vec::len).collect::<Vec<_>>());
    let all: Vec<_> = shares.concat();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (TASKS, TASKS));
    assert_eq!(rig.store.depths().await.unwrap().done, TASKS as u64);
}

#[tokio::test]
async fn stacks_do_not_meet() {
    let Some(rig) = Rig::new().await else { return };
    let other = RedisStore::connect(&rig.settings, "other").unwrap();
    rig.submit(&[short("t")]).await;
    assert_eq!(other.get(&ids(&["t"]), false).await.unwrap(), [None]);
    assert!(other.lease("w", &[(Class::CpuShort, 9)], LONG).await.unwrap().is_empty());
    assert_eq!(other.submit(&[new("t", Class::CpuShort, 3)]).await.unwrap(), [Submitted::New]);
    assert_eq!(other.newest().await.unwrap(), other.events(Position::default(), 9, LONG).await.unwrap()[0].position);
}

/// Batches of its own, each sent again until it is acknowledged.
async fn submits(store: RedisStore, name: usize, taken: watch::Sender<usize>, end: CancellationToken) -> Vec<TaskId> {
    let mut acknowledged = Vec::new();
    for batch in 0.. {
        let tasks: Vec<_> = (0..20).map(|i| short(&format!("s{name}-{batch}-{i}"))).collect();
        until("it is acknowledged", async || match store.submit(&tasks).await {
            Ok(came) => {
                assert!(came.iter().all(|came| matches!(came, Submitted::New | Submitted::Same)), "{came:?}");
                Some(())
            }
            Err(error) => {
                assert!(matches!(error, StoreError::NotReady(_)), "{error:?}");
                None
            }
        })
        .await;
        taken.send_modify(|taken| *taken += tasks.len());
        acknowledged.extend(tasks.into_iter().map(|task| task.id));
        if end.is_cancelled() {
            break;
        }
    }
    acknowledged
}

/// Works until nothing waits, runs or is delayed any more after the end.
async fn works(store: RedisStore, end: CancellationToken) {
    loop {
        let ending = end.is_cancelled();
        let lease = Duration::from_millis(300);
        for lease in store.lease("w", &[(Class::CpuShort, 20)], lease).await.unwrap_or_default() {
            until("it is answered", async || store.complete(&lease.id, &lease.token, &lease.payload).await.ok()).await;
        }
        let _ = store.sweep().await;
        let depths = store.depths().await;
        if ending && depths.is_ok_and(|depths| *depths.by_class.of(Class::CpuShort) == ClassDepth::default()) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p20_nothing_that_was_acknowledged_is_lost_while_redis_is_killed_again_and_again() {
    const KILLS: usize = 8;
    let Some(mut rig) = Rig::with(|s| {
        // A lease whose answer died with Redis lapses, which counts.
        s.classes.of_mut(Class::CpuShort).max_attempts = 1_000;
        s.backoff = crate::backoff::Backoff { initial: Duration::ZERO, max: Duration::ZERO };
    })
    .await
    else {
        return;
    };
    let (taken, mut seen) = watch::channel(0);
    let (no_more, drain) = (CancellationToken::new(), CancellationToken::new());
    let (mut submitters, mut workers) = (JoinSet::new(), JoinSet::new());
    for name in 0..3 {
        submitters.spawn(submits(rig.store.clone(), name, taken.clone(), no_more.clone()));
        workers.spawn(works(RedisStore::connect(&rig.settings, "test").unwrap(), drain.clone()));
    }
    for _ in 0..KILLS {
        // Busy again.
        let before = *seen.borrow();
        seen.wait_for(|taken| *taken >= before + 200).await.unwrap();
        rig.redis.kill();
        rig.redis.start_again().await;
    }
    no_more.cancel();
    let acknowledged = submitters.join_all().await.concat();
    drain.cancel();
    workers.join_all().await;
    assert!(acknowledged.len() >= KILLS * 200);
    for ids in acknowledged.chunks(200) {
        let found = rig.store.get(ids, false).await.unwrap();
        for (id, found) in ids.iter().zip(found) {
            let state = found.as_ref().map(|task| task.state);
            assert_eq!(state, Some(State::Completed), "{id}: {found:?}, {:?}", rig.store.depths().await);
        }
    }
}
