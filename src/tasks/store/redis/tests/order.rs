//! Who is next.

use super::*;

fn many(prefix: &str, class: Class, number: usize) -> Vec<NewTask> {
    (0..number).map(|i| new(&format!("{prefix}{i}"), class, 0)).collect()
}

fn of(leases: &[Lease], class: Class) -> usize {
    leases.iter().filter(|lease| lease.class == class).count()
}

#[tokio::test]
async fn higher_priorities_are_first_and_older_tasks_within_one() {
    let Some(rig) = Rig::new().await else { return };
    let tasks = [("a", 0), ("b", -7), ("c", 5), ("d", 0), ("e", 1_000_000), ("f", 5), ("g", -1_000_000)];
    for (name, priority) in tasks {
        rig.submit(&[new(name, Class::CpuLong, priority)]).await;
    }
    assert_eq!(names(&rig.lease(Class::CpuLong, 3).await), ["e", "c", "f"]);
    assert_eq!(names(&rig.lease(Class::CpuLong, 9).await), ["a", "d", "b", "g"]);
}

#[tokio::test]
async fn ten_of_high_priority_start_before_any_further_one_of_ten_thousand() {
    let Some(rig) = Rig::new().await else { return };
    for chunk in many("low", Class::CpuShort, 10_000).chunks(200) {
        rig.submit(chunk).await;
    }
    assert_eq!(names(&rig.lease(Class::CpuShort, 2).await), ["low0", "low1"]);
    let high: Vec<_> = (0..10).map(|i| new(&format!("high{i}"), Class::CpuShort, 1)).collect();
    rig.submit(&high).await;
    let next = rig.lease(Class::CpuShort, 11).await;
    let expected: Vec<String> = (0..10).map(|i| format!("high{i}")).chain(["low2".to_owned()]).collect();
    assert_eq!(names(&next), expected);
}

#[tokio::test]
async fn a_class_that_waits_behind_ten_thousand_of_another_is_next() {
    let Some(rig) = Rig::new().await else { return };
    for chunk in many("long", Class::CpuLong, 10_000).chunks(200) {
        rig.submit(chunk).await;
    }
    rig.lease(Class::CpuLong, 100).await;
    rig.submit(&[short("short")]).await;
    let next = rig.store.lease("w", &[(Class::CpuLong, 1), (Class::CpuShort, 1)], LONG).await.unwrap();
    assert_eq!(names(&next), ["short", "long100"]);
}

#[tokio::test]
async fn how_long_a_task_has_waited_is_told_from_its_submission_or_its_requeue() {
    let Some(rig) = Rig::new().await else { return };
    let now = async || {
        let (seconds, micros): (u64, u64) = rig.redis.command(&["TIME"]).await.unwrap();
        seconds * 1_000 + micros / 1_000
    };
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap();
    let oldest = async || ms(rig.store.depths().await.unwrap().by_class.of(Class::GpuLong).oldest);
    assert_eq!(oldest().await, 0);

    rig.submit(&[new("old", Class::GpuLong, 0)]).await;
    until("it has waited", async || (oldest().await >= 20).then_some(())).await;
    // One that is before it counts for what it has waited itself.
    let before = now().await;
    rig.submit(&[new("young", Class::GpuLong, 5)]).await;
    assert!(oldest().await >= 20);
    let leases = rig.lease(Class::GpuLong, 2).await;
    assert_eq!(names(&leases), ["young", "old"]);
    let after = now().await;
    assert!(ms(leases[0].waited) <= after - before && ms(leases[1].waited) >= 20, "{leases:?}");

    rig.store.fail(&leases[1].id, &leases[1].token, "", Retry::Never).await.unwrap();
    let before = now().await;
    rig.store.requeue(&leases[1].id).await.unwrap();
    let (oldest, waited) = (oldest().await, ms(rig.one(Class::GpuLong).await.waited));
    let after = now().await;
    assert!(oldest <= after - before && waited <= after - before, "{oldest} ms, {waited} ms");
}

#[tokio::test]
async fn what_is_tried_again_keeps_its_place() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&many("t", Class::CpuShort, 4)).await;
    let leases = rig.lease(Class::CpuShort, 2).await;
    let [first, second] = &leases[..] else { panic!("{leases:?}") };
    rig.store.release(&second.id, &second.token).await.unwrap();
    let retry = rig.store.fail(&first.id, &first.token, "once more", Retry::After(Duration::ZERO)).await.unwrap();
    assert_eq!(retry, Failed::RetryIn(Duration::ZERO));
    assert_eq!(names(&rig.lease(Class::CpuShort, 4).await), ["t0", "t1", "t2", "t3"]);
}

#[tokio::test]
async fn a_retry_waits_for_its_time_and_is_then_where_it_was() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&many("t", Class::CpuShort, 3)).await;
    let first = rig.one(Class::CpuShort).await;
    rig.store.fail(&first.id, &first.token, "later", Retry::After(HOUR)).await.unwrap();
    assert_eq!(rig.store.sweep().await.unwrap().due, 0);
    let task = rig.get("t0").await;
    assert_eq!((task.state, task.error.as_str()), (State::Pending, "later"));
    assert!(task.retry_in.is_some_and(|left| left <= HOUR && left > HOUR / 2), "{task:?}");
    assert_eq!(names(&rig.lease(Class::CpuShort, 1).await), ["t1"]);

    let second = rig.store.list(&[State::Running], None, None, 1).await.unwrap().tasks.remove(0);
    assert_eq!(second.id.as_str(), "t1");
    rig.submit(&[short("u")]).await;
    let leases = rig.lease(Class::CpuShort, 1).await;
    rig.store.fail(&leases[0].id, &leases[0].token, "soon", Retry::After(Duration::from_millis(1))).await.unwrap();
    until("it is due", async || (rig.store.sweep().await.unwrap().due == 1).then_some(())).await;
    assert_eq!(rig.get("t2").await.retry_in, None);
    assert_eq!(names(&rig.lease(Class::CpuShort, 9).await), ["t2", "u"]);
}

#[tokio::test]
async fn pauses_double_and_never_exceed_the_longest() {
    let Some(rig) = Rig::with(|s| {
        s.classes.of_mut(Class::CpuShort).max_attempts = 6;
        s.backoff = crate::backoff::Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(6) };
    })
    .await
    else {
        return;
    };
    rig.submit(&[short("t")]).await;
    let mut pauses = Vec::new();
    loop {
        let lease = until("it is due", async || {
            rig.store.sweep().await.unwrap();
            rig.lease(Class::CpuShort, 1).await.pop()
        })
        .await;
        match rig.store.fail(&lease.id, &lease.token, "no", Retry::Backoff).await.unwrap() {
            Failed::RetryIn(pause) => pauses.push(pause.as_millis()),
            other => break assert_eq!((other, lease.attempt), (Failed::Dead, 6)),
        }
    }
    // ± 10 %, rounded down.
    let expected = [0..=1, 1..=2, 3..=4, 5..=6, 5..=6];
    assert!(pauses.iter().zip(&expected).all(|(pause, range)| range.contains(pause)), "{pauses:?}");
    assert_eq!(pauses.len(), 5);
}

#[tokio::test]
async fn classes_share_by_their_weights() {
    let Some(rig) = Rig::with(|s| s.classes.of_mut(Class::GpuShort).weight = 1).await else { return };
    for class in [Class::CpuShort, Class::CpuLong, Class::GpuShort] {
        rig.submit(&many(class.name(), class, 100)).await;
    }
    let wanted = [(Class::GpuShort, 60), (Class::CpuShort, 70), (Class::CpuLong, 70)];
    let leases = rig.store.lease("w", &wanted, LONG).await.unwrap();
    assert_eq!(leases.len(), 200);
    // 8 : 4 : 1, at whatever point one looks, and not one after the other.
    for looked in [13, 26, 52, 104] {
        let (share, first) = (looked / 13, &leases[..looked]);
        for (class, weight) in [(Class::CpuShort, 8), (Class::CpuLong, 4), (Class::GpuShort, 1)] {
            let got = of(first, class);
            assert!(got.abs_diff(share * weight) <= 1, "{got} of {looked} are {class}");
        }
    }
}

/// The trap: 3,000 leases of one class, and then the whole of the next 1,000 to one that is new.
#[tokio::test]
async fn a_class_that_had_nothing_to_do_has_not_saved_up_a_share() {
    let Some(rig) = Rig::new().await else { return };
    for chunk in many("s", Class::CpuShort, 1_200).chunks(200) {
        rig.submit(chunk).await;
    }
    for _ in 0..5 {
        assert_eq!(rig.lease(Class::CpuShort, 200).await.len(), 200);
    }
    rig.submit(&many("g", Class::GpuLong, 200)).await;
    let next = rig.store.lease("w", &[(Class::CpuShort, 100), (Class::GpuLong, 100)], LONG).await.unwrap();
    let gpu = of(&next[..60], Class::GpuLong);
    assert!((19..=22).contains(&gpu), "{gpu} of 60");

    // Nor has one that waited while no worker of it was there.
    for _ in 0..5 {
        rig.submit(&many(&format!("m{}-", rig.store.newest().await.unwrap().at.0), Class::CpuShort, 100)).await;
        rig.lease(Class::CpuShort, 100).await;
    }
    let next = rig.store.lease("w", &[(Class::CpuShort, 100), (Class::GpuLong, 100)], LONG).await.unwrap();
    let gpu = of(&next[..60], Class::GpuLong);
    assert!((19..=22).contains(&gpu), "{gpu} of 60");
}

#[tokio::test]
async fn no_more_of_a_class_run_than_it_may_whoever_asks() {
    let Some(rig) = Rig::with(|s| s.classes.of_mut(Class::GpuLong).concurrency = 3).await else { return };
    rig.submit(&many("g", Class::GpuLong, 10)).await;
    rig.submit(&many("s", Class::CpuShort, 2)).await;
    let other = RedisStore::connect(&rig.settings, "test").unwrap();
    let mut running = rig.lease(Class::GpuLong, 2).await;
    running.extend(other.lease("v", &[(Class::GpuLong, 9), (Class::CpuShort, 9)], LONG).await.unwrap());
    assert_eq!((of(&running, Class::GpuLong), of(&running, Class::CpuShort)), (3, 2));
    assert!(rig.lease(Class::GpuLong, 9).await.is_empty());

    let ended = &running[0];
    rig.store.complete(&ended.id, &ended.token, &json("1")).await.unwrap();
    assert_eq!(rig.lease(Class::GpuLong, 9).await.len(), 1);
    // One that is cancelled makes room, too.
    rig.store.cancel(&running[1].id, "").await.unwrap();
    assert_eq!(rig.lease(Class::GpuLong, 9).await.len(), 1);
}
