//! Answers of workers: in time, twice, too late, of the wrong attempt.

use super::*;
use crate::tasks::store::ClassDepth;

#[tokio::test]
async fn an_answer_that_is_repeated_has_the_same_outcome_and_no_further_effect() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("done"), short("retry"), short("dead"), short("back")]).await;
    let leases = rig.lease(Class::CpuShort, 4).await;
    let [done, retry, dead, back] = &leases[..] else { panic!("{leases:?}") };

    let first = rig.store.fail(&retry.id, &retry.token, "no", Retry::Backoff).await.unwrap();
    for _ in 0..2 {
        let result = if rig.state("done").await == State::Running { json("1") } else { json("2") };
        assert_eq!(rig.store.complete(&done.id, &done.token, &result).await.unwrap(), Answer::Ok);
        assert_eq!(rig.store.fail(&retry.id, &retry.token, "no", Retry::Backoff).await.unwrap(), first);
        assert_eq!(rig.store.fail(&dead.id, &dead.token, "no", Retry::Never).await.unwrap(), Failed::Dead);
        assert_eq!(rig.store.release(&back.id, &back.token).await.unwrap(), Answer::Ok);
    }
    assert_eq!(rig.get("done").await.result, Some(json("1")));
    assert_eq!((rig.get("retry").await.attempts, rig.get("back").await.attempts), (1, 0));
    let told = rig.store.events(Position::default(), 100, Duration::ZERO).await.unwrap();
    let count = |what| told.iter().filter(|event| event.what == what).count();
    let of = [EventType::Completed, EventType::Retrying, EventType::Failed, EventType::Released];
    assert_eq!(of.map(count), [1, 1, 1, 1]);
}

#[tokio::test]
async fn another_answer_with_the_same_token_is_stale() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("a"), short("b"), short("c")]).await;
    let leases = rig.lease(Class::CpuShort, 3).await;
    let [a, b, c] = &leases[..] else { panic!("{leases:?}") };
    let store = &rig.store;
    store.complete(&a.id, &a.token, &json("1")).await.unwrap();
    assert_eq!(store.fail(&a.id, &a.token, "", Retry::Backoff).await.unwrap(), Failed::Stale);
    assert_eq!(store.release(&a.id, &a.token).await.unwrap(), Answer::Stale);
    store.fail(&b.id, &b.token, "", Retry::Backoff).await.unwrap();
    assert_eq!(store.complete(&b.id, &b.token, &json("1")).await.unwrap(), Answer::Stale);
    assert_eq!(store.release(&b.id, &b.token).await.unwrap(), Answer::Stale);
    store.release(&c.id, &c.token).await.unwrap();
    assert_eq!(store.complete(&c.id, &c.token, &json("1")).await.unwrap(), Answer::Stale);
    assert_eq!(store.fail(&c.id, &c.token, "", Retry::Never).await.unwrap(), Failed::Stale);
    let lost = [a, b, c].map(|lease| (lease.id.clone(), lease.token.clone()));
    assert_eq!(store.extend(&lost, LONG).await.unwrap(), [Extension::Lost; 3]);
    assert_eq!(rig.state("a").await, State::Completed);
}

#[tokio::test]
async fn p20_the_token_of_an_earlier_attempt_and_of_nobody_is_stale() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("t")]).await;
    let first = rig.one(Class::CpuShort).await;
    rig.store.fail(&first.id, &first.token, "", Retry::After(Duration::ZERO)).await.unwrap();
    let second = rig.one(Class::CpuShort).await;
    assert_ne!(first.token, second.token);
    assert_eq!(second.attempt, 2);
    let nobody = id("nobody");
    for (id, token) in [(&first.id, &first.token), (&nobody, &second.token), (&first.id, &Token(String::new()))] {
        assert_eq!(rig.store.complete(id, token, &json("1")).await.unwrap(), Answer::Stale);
        assert_eq!(rig.store.fail(id, token, "", Retry::Never).await.unwrap(), Failed::Stale);
        assert_eq!(rig.store.release(id, token).await.unwrap(), Answer::Stale);
        let extended = rig.store.extend(&[(id.clone(), token.clone())], LONG).await.unwrap();
        assert_eq!(extended, [Extension::Lost]);
    }
    assert_eq!(rig.state("t").await, State::Running);
    assert_eq!(rig.store.complete(&second.id, &second.token, &json("1")).await.unwrap(), Answer::Ok);
}

#[tokio::test]
async fn a_waiting_and_a_delayed_task_are_cancelled_at_once() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("delayed"), short("waiting")]).await;
    let lease = rig.one(Class::CpuShort).await;
    rig.store.fail(&lease.id, &lease.token, "no", Retry::After(HOUR)).await.unwrap();
    for name in ["delayed", "waiting"] {
        assert_eq!(rig.store.cancel(&id(name), "not wanted").await.unwrap(), Changed::From(State::Pending));
        assert_eq!(rig.store.cancel(&id(name), "again").await.unwrap(), Changed::From(State::Cancelled));
        let task = rig.get(name).await;
        assert_eq!((task.state, task.error.as_str(), task.retry_in), (State::Cancelled, "not wanted", None));
        assert!(task.ended_at.is_some());
    }
    // The attempt had ended before.
    let extended = rig.store.extend(&[(lease.id, lease.token)], LONG).await.unwrap();
    assert_eq!(extended, [Extension::Lost]);
    assert!(rig.lease(Class::CpuShort, 9).await.is_empty());
    let depths = rig.store.depths().await.unwrap();
    assert_eq!((*depths.by_class.of(Class::CpuShort), depths.done), (ClassDepth::default(), 2));
    assert_eq!(rig.store.cancel(&id("nobody"), "").await.unwrap(), Changed::Unknown);
}

#[tokio::test]
async fn a_running_task_is_cancelled_its_worker_told_and_its_answer_stale() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("t"), short("done")]).await;
    let lease = rig.one(Class::CpuShort).await;
    let done = rig.one(Class::CpuShort).await;
    assert_eq!(rig.store.cancel(&lease.id, "stop").await.unwrap(), Changed::From(State::Running));
    let held = (lease.id.clone(), lease.token.clone());
    assert_eq!(rig.store.extend(&[held], LONG).await.unwrap(), [Extension::Cancelled]);
    assert_eq!(rig.store.complete(&lease.id, &lease.token, &json("1")).await.unwrap(), Answer::Stale);
    assert_eq!(rig.store.fail(&lease.id, &lease.token, "", Retry::Backoff).await.unwrap(), Failed::Stale);
    assert_eq!(rig.state("t").await, State::Cancelled);
    let told = rig.store.events(Position::default(), 100, Duration::ZERO).await.unwrap();
    let cancelled = told.iter().find(|event| event.what == EventType::Cancelled).unwrap();
    assert_eq!((&cancelled.token, cancelled.worker.as_str(), cancelled.error.as_str()), (&lease.token.0, "w", "stop"));

    rig.store.complete(&done.id, &done.token, &json("1")).await.unwrap();
    assert_eq!(rig.store.cancel(&done.id, "").await.unwrap(), Changed::From(State::Completed));
    assert_eq!(rig.state("done").await, State::Completed);
}

#[tokio::test]
async fn the_dead_wait_until_somebody_requeues_them_with_all_their_attempts() {
    let Some(rig) = Rig::with(|s| s.classes.of_mut(Class::GpuShort).max_attempts = 2).await else { return };
    rig.submit(&[new("t", Class::GpuShort, 0), new("u", Class::GpuShort, 0)]).await;
    for attempt in 1..=2 {
        let lease = rig.one(Class::GpuShort).await;
        assert_eq!((lease.id.as_str(), lease.attempt), ("t", attempt));
        let failed = rig.store.fail(&lease.id, &lease.token, "no", Retry::After(Duration::ZERO)).await.unwrap();
        assert_eq!(failed, if attempt == 2 { Failed::Dead } else { Failed::RetryIn(Duration::ZERO) });
    }
    assert_eq!((rig.state("t").await, rig.store.depths().await.unwrap().dead), (State::Failed, 1));
    assert_eq!(rig.store.cancel(&id("t"), "").await.unwrap(), Changed::From(State::Failed));
    let dead = rig.store.list(&[State::Failed], None, None, 9).await.unwrap();
    assert_eq!(dead.tasks.iter().map(|task| task.error.as_str()).collect::<Vec<_>>(), ["no"]);

    assert_eq!(rig.store.requeue(&id("t")).await.unwrap(), Changed::From(State::Failed));
    assert_eq!(rig.store.requeue(&id("t")).await.unwrap(), Changed::From(State::Pending));
    let task = rig.get("t").await;
    assert_eq!((task.state, task.attempts, task.ended_at), (State::Pending, 0, None));
    let leases = rig.lease(Class::GpuShort, 9).await;
    assert_eq!(names(&leases), ["u", "t"]);
    assert_eq!((leases[1].attempt, &leases[1].payload), (1, &json("\"of t\"")));
    assert_eq!(rig.store.depths().await.unwrap().dead, 0);
}

#[tokio::test]
async fn p20_a_lease_that_is_not_extended_lapses_which_is_a_failed_attempt() {
    const EXPECTED: [EventType; 5] =
        [EventType::Submitted, EventType::Started, EventType::Retrying, EventType::Started, EventType::Failed];
    let Some(rig) = Rig::with(|s| {
        s.classes.of_mut(Class::CpuShort).max_attempts = 2;
        s.backoff = crate::backoff::Backoff { initial: Duration::ZERO, max: Duration::ZERO };
    })
    .await
    else {
        return;
    };
    rig.submit(&[short("t"), short("held")]).await;
    let short_time = Duration::from_millis(1);
    let first = rig.store.lease("gone", &[(Class::CpuShort, 1)], short_time).await.unwrap().remove(0);
    let held = rig.one(Class::CpuShort).await;
    rig.lapse(1).await;
    assert_eq!(rig.store.complete(&first.id, &first.token, &json("1")).await.unwrap(), Answer::Stale);
    let held = (held.id, held.token);
    let extended = rig.store.extend(&[(first.id.clone(), first.token.clone()), held], LONG).await.unwrap();
    assert_eq!(extended, [Extension::Lost, Extension::Ok]);
    let task = rig.get("t").await;
    assert_eq!((task.state, task.attempts), (State::Pending, 1));
    assert!(task.error.contains("gone was not heard of"), "{}", task.error);

    let second = rig.store.lease("gone", &[(Class::CpuShort, 1)], short_time).await.unwrap().remove(0);
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    rig.lapse(1).await;
    assert_eq!((rig.state("t").await, rig.state("held").await), (State::Failed, State::Running));
    let told = rig.store.events(Position::default(), 100, Duration::ZERO).await.unwrap();
    let of_t: Vec<_> = told.iter().filter(|event| event.id == first.id).map(|event| event.what).collect();
    assert_eq!(of_t, EXPECTED);
}

#[tokio::test]
async fn no_lease_is_extended_past_the_time_limit_of_its_class() {
    let Some(rig) = Rig::with(|s| s.classes.of_mut(Class::CpuShort).time_limit = Duration::from_millis(40)).await
    else {
        return;
    };
    rig.submit(&[short("t"), new("u", Class::CpuLong, 0), short("never-extended")]).await;
    let wanted = [(Class::CpuShort, 2), (Class::CpuLong, 1)];
    let leases = rig.store.lease("w", &wanted, HOUR).await.unwrap();
    let find = |name: &str| leases.iter().find(|lease| lease.id.as_str() == name).unwrap();
    let both = ["t", "u"].map(|name| (find(name).id.clone(), find(name).token.clone()));
    until("the limit is over", async || {
        let extended = rig.store.extend(&both, HOUR).await.unwrap();
        assert_eq!(extended[1], Extension::Ok);
        (extended[0] == Extension::Lost).then_some(())
    })
    .await;
    rig.lapse(2).await;
    assert_eq!(rig.state("never-extended").await, State::Pending);
    let task = rig.get("t").await;
    assert_eq!(
        (task.state, task.error.as_str()),
        (State::Pending, "longer than the 0.04 s that a task of cpu_short may take")
    );
    assert_eq!(rig.state("u").await, State::Running);
}

#[tokio::test]
async fn what_is_given_back_has_not_been_tried() {
    let Some(rig) = Rig::with(|s| s.classes.of_mut(Class::CpuShort).max_attempts = 1).await else { return };
    rig.submit(&[short("t")]).await;
    for _ in 0..3 {
        let lease = rig.one(Class::CpuShort).await;
        assert_eq!(lease.attempt, 1);
        assert_eq!(rig.store.release(&lease.id, &lease.token).await.unwrap(), Answer::Ok);
        assert_eq!((rig.state("t").await, rig.get("t").await.attempts), (State::Pending, 0));
    }
}
