//! Lists, a part at a time.

use super::*;

async fn all(rig: &Rig, states: &[State], class: Option<Class>, limit: usize) -> Vec<String> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = rig.store.list(states, class, from.as_deref(), limit).await.unwrap();
        assert!(page.tasks.len() <= limit);
        found.extend(page.tasks.into_iter().map(|task| task.id.as_str().to_owned()));
        from = page.next;
        if from.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn whatever_the_parts_are_the_list_is_whole_and_in_its_order() {
    let Some(rig) = Rig::new().await else { return };
    // Running: r1 r2. Ended: c1 c2, x1 x2, d1. Delayed: z1 (sooner), z2. Waiting: the rest.
    let leased = ["c1", "c2", "d1", "z2", "z1", "r1", "r2"];
    rig.submit(&leased.map(short)).await;
    for lease in rig.lease(Class::CpuShort, 7).await {
        let pause = if lease.id.as_str() == "z1" { HOUR } else { 2 * HOUR };
        match &lease.id.as_str()[..1] {
            "c" => drop(rig.store.complete(&lease.id, &lease.token, &json("1")).await.unwrap()),
            "d" => drop(rig.store.fail(&lease.id, &lease.token, "", Retry::Never).await.unwrap()),
            "z" => drop(rig.store.fail(&lease.id, &lease.token, "", Retry::After(pause)).await.unwrap()),
            _ => {}
        }
    }
    rig.submit(&["x1", "x2", "w1", "w2", "w3"].map(short)).await;
    rig.submit(&[new("first", Class::CpuShort, 3), new("last", Class::CpuShort, -3), new("other", Class::GpuLong, 9)])
        .await;
    for name in ["x1", "x2"] {
        rig.store.cancel(&id(name), "").await.unwrap();
    }
    let waiting = ["first", "w1", "w2", "w3", "last", "z1", "z2"];
    let expected = [&waiting[..], &["other", "r2", "r1", "c2", "c1", "d1", "x2", "x1"]].concat();
    for limit in [1, 2, 3, 5, 14, 15, 16, 200] {
        assert_eq!(all(&rig, &State::ALL, None, limit).await, expected, "{limit} at a time");
        assert_eq!(all(&rig, &[State::Pending], Some(Class::CpuShort), limit).await, waiting);
        assert_eq!(all(&rig, &[State::Cancelled, State::Running], None, limit).await, ["x2", "x1", "r2", "r1"]);
    }
    assert!(all(&rig, &[State::Running], Some(Class::GpuLong), 5).await.is_empty());
    assert!(all(&rig, &[], None, 5).await.is_empty());
}

#[tokio::test]
async fn what_ended_in_the_same_moment_is_listed_once_too() {
    let Some(rig) = Rig::with(|s| s.classes.of_mut(Class::CpuShort).max_attempts = 1).await else { return };
    rig.submit(&["a", "b", "c", "d", "e"].map(short)).await;
    let leases = rig.lease(Class::CpuShort, 5).await;
    let held: Vec<_> = leases.into_iter().map(|lease| (lease.id, lease.token)).collect();
    rig.store.extend(&held, Duration::ZERO).await.unwrap();
    // One sweep, one moment.
    assert_eq!(rig.store.sweep().await.unwrap().died, 5);
    for limit in [1, 2, 3, 5, 6] {
        assert_eq!(all(&rig, &[State::Failed], None, limit).await, ["e", "d", "c", "b", "a"], "{limit} at a time");
    }
}

#[tokio::test]
async fn what_leaves_the_list_meanwhile_takes_nothing_else_with_it() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&["a", "b", "c", "d", "e", "f"].map(short)).await;
    let page = rig.store.list(&[State::Pending], None, None, 3).await.unwrap();
    assert_eq!(page.tasks[2].id.as_str(), "c");
    // Also the one that the next part begins after.
    rig.lease(Class::CpuShort, 4).await;
    let rest = rig.store.list(&[State::Pending], None, page.next.as_deref(), 3).await.unwrap();
    assert_eq!(rest.tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["e", "f"]);
}

#[tokio::test]
async fn a_part_that_there_is_not_is_refused() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&["a", "b"].map(short)).await;
    let page = rig.store.list(&[State::Pending], None, None, 1).await.unwrap();
    let next = page.next.unwrap();
    let list = async |states: &[State], from: &str| rig.store.list(states, None, Some(from), 1).await;
    assert_eq!(list(&[State::Pending], &next).await.unwrap().tasks.len(), 1);
    for wrong in ["", "x", "w:cpu_short/0/1:a", "w:cpu_short/nan/0000000000000001:a", "t:a/0/0000000000000001:a"] {
        assert!(matches!(list(&[State::Pending], wrong).await, Err(StoreError::Invalid(_))), "{wrong}");
    }
    // Of another list.
    assert!(matches!(list(&[State::Failed], &next).await, Err(StoreError::Invalid(_))));
}
