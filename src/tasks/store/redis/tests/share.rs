//! Several daemons on one Redis.

use std::collections::BTreeSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_share_the_tasks_and_none_is_leased_twice() {
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

    let mut workers = tokio::task::JoinSet::new();
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
