//! Leases: credits, shares, cancellation, and workers that go away.

use std::collections::BTreeSet;

use env_manager::proto::orchestrator::v1;
use env_manager::proto::orchestrator::v1::lease_event::Event;
use env_manager::proto::orchestrator::v1::lease_request::{Credit, Hello, Request};
use tonic::Code;

use crate::rig::{Daemon, OK, Rig, STALE, Worker, complete, fail, soon, task, until};

#[tokio::test]
async fn a_worker_is_welcomed_with_its_lease_or_told_what_is_wrong() {
    let Some(rig) = Rig::new().await else { return };
    let (_, usual) = Worker::with_lease(&rig.client, "host:1", 0).await;
    assert_eq!((usual.lease_ms, usual.heartbeat_ms), (30_000, 10_000));
    assert!(usual.daemon_id.starts_with("here:"), "{usual:?}");
    let (_, own) = Worker::with_lease(&rig.client, "host:2", 3_000).await;
    assert_eq!((own.lease_ms, own.heartbeat_ms), (3_000, 1_000));

    let hello = || Hello { worker_id: "w".to_owned(), instance_id: "i".to_owned(), ..Default::default() };
    let credit = |class: &str, add| Request::Credit(Credit { class: class.to_owned(), add });
    for (wrong, field) in [
        (vec![credit("cpu_short", 1)], "request"),
        (vec![Request::Hello(Hello { worker_id: "not one".to_owned(), ..hello() })], "hello.worker_id"),
        (vec![Request::Hello(Hello { instance_id: String::new(), ..hello() })], "hello.instance_id"),
        (vec![Request::Hello(Hello { lease_ms: 999, ..hello() })], "lease_ms"),
        (vec![Request::Hello(hello()), Request::Hello(hello())], "request"),
        (vec![Request::Hello(hello()), credit("", 1)], "credit.class"),
        (vec![Request::Hello(hello()), credit("fpga", 1)], "credit.class"),
        (vec![Request::Hello(hello()), credit("cpu_short", -1)], "credit.add"),
        (vec![Request::Hello(hello()), credit("cpu_short", 10_000), credit("cpu_short", 1)], "credit.add"),
    ] {
        let mut worker = Worker::begin(&rig.client).await;
        for request in wrong {
            worker.say(request).await;
        }
        let status = loop {
            match worker.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{field}: it ended as if all were well"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().starts_with(&format!("{field}:")), "{status:?}");
    }
    rig.metric_is("queue_workers", 0.0).await;
}

#[tokio::test]
async fn a_credit_is_a_lease_and_never_leaks() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all((0..40).map(|n| task(&format!("t{n:02}"), ""))).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 2).await;
    let (first, second) = (worker.lease().await, worker.lease().await);
    assert_eq!((first.task_id.as_str(), second.task_id.as_str()), ("t00", "t01"));
    // However an attempt ends, each credit is one more lease, and without one there is none.
    let mut held = vec![first, second];
    for round in 0..15 {
        let lease = held.remove(0);
        match round % 3 {
            0 => assert_eq!(complete(&rig.client, &lease).await, OK),
            1 => assert_eq!(fail(&rig.client, &lease, false).await.answer, OK),
            // A handler that raises, again and again.
            _ => assert_eq!(fail(&rig.client, &lease, true).await.answer, OK),
        }
        worker.credit("cpu_short", 1).await;
        held.push(worker.lease().await);
        // It would be here by then: a whole call of the store and back, and an event of the hub.
        worker.nothing_while(rig.metric_is("orchestrator_inflight_tasks", 2.0)).await;
    }
    assert_eq!(rig.metric("queue_workers").await.to_bits(), 1.0_f64.to_bits());
}

#[tokio::test]
async fn tasks_come_to_those_who_wait_at_once_and_to_each_its_share() {
    let Some(rig) = Rig::new().await else { return };
    let mut workers = Vec::new();
    for n in 0..4 {
        let worker = Worker::enter(&rig.client, &format!("w{n}")).await;
        worker.credit("cpu_short", 25).await;
        workers.push(worker);
    }
    rig.metric_is("queue_workers", 4.0).await;
    rig.submit_all((0..40).map(|n| task(&format!("t{n}"), ""))).await;
    rig.metric_is("orchestrator_inflight_tasks", 40.0).await;
    let request = v1::ListTasksRequest { statuses: vec!["running".to_owned()], ..Default::default() };
    let running = rig.client.clone().list_tasks(request).await.unwrap().into_inner().tasks;
    for n in 0..4 {
        let its = running.iter().filter(|task| task.worker_id == format!("w{n}")).count();
        assert!((5..=20).contains(&its), "w{n} has {its} of 40");
    }
}

#[tokio::test]
async fn what_a_killed_worker_had_lapses_and_another_one_gets_it() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit("a", "").await;
    let (mut killed, _) = Worker::with_lease(&rig.client, "killed", 1_000).await;
    killed.credit("cpu_short", 1).await;
    let lost = killed.lease().await;
    drop(killed);
    let mut other = Worker::enter(&rig.client, "other").await;
    other.credit("cpu_short", 1).await;
    let lease = other.lease().await;
    assert_eq!((lease.task_id.as_str(), lease.attempt), ("a", 2));
    assert_eq!(complete(&rig.client, &lost).await, STALE);
    assert_eq!(complete(&rig.client, &lease).await, OK);
    rig.metric_is("queue_leases_lapsed_total", 1.0).await;
    rig.metric_is("orchestrator_task_errors_total", 1.0).await;
}

#[tokio::test]
async fn what_a_worker_does_not_take_off_its_stream_goes_to_others_without_counting() {
    let Some(rig) = Rig::new().await else { return };
    // More than the buffers of a connection hold.
    let payload = vec![b'x'; 200_000];
    for n in 0..40 {
        let (id, payload_bytes) = (format!("t{n:02}"), payload.clone());
        rig.submit_all([v1::SubmitTaskRequest { id, payload_bytes, ..Default::default() }]).await;
    }
    let deaf = Worker::enter(&rig.client, "deaf").await;
    deaf.credit("cpu_short", 40).await;
    until("it to have some", || async { (rig.metric("orchestrator_inflight_tasks").await > 0.0).then_some(()) }).await;
    // By a connection of its own.
    let client = rig.daemon.client().await;
    let mut other = Worker::enter(&client, "other").await;
    other.credit("cpu_short", 40).await;
    let mut got = BTreeSet::new();
    while got.len() < 20 {
        let lease = other.lease().await;
        assert_eq!(lease.attempt, 1, "it was never there");
        complete(&client, &lease).await;
        got.insert(lease.task_id);
    }
    drop(deaf);
}

#[tokio::test]
async fn what_is_on_its_way_to_a_worker_that_goes_comes_back_and_does_not_count() {
    const ROUNDS: usize = 20;
    let Some(rig) = Rig::new().await else { return };
    for round in 0..ROUNDS {
        let worker = Worker::enter(&rig.daemon.client().await, "gone").await;
        worker.credit("cpu_short", 1).await;
        rig.submit(&format!("t{round}"), "").await;
        // At any moment of the lease.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        drop(worker);
    }
    let mut other = Worker::enter(&rig.client, "other").await;
    other.credit("cpu_short", 20).await;
    // Each is the other one's, or left the daemon in time and is held by one that has gone.
    let held = until("all to be held", || async {
        let request = v1::ListTasksRequest { statuses: vec!["running".to_owned()], ..Default::default() };
        let running = rig.client.clone().list_tasks(request).await.unwrap().into_inner().tasks;
        (running.len() == ROUNDS).then_some(running)
    })
    .await;
    let came_back = held.iter().filter(|task| task.worker_id == "other").count();
    for _ in 0..came_back {
        assert_eq!(other.lease().await.attempt, 1);
    }
}

#[tokio::test]
async fn a_cancellation_reaches_the_worker_that_runs_it() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all([task("a", ""), task("b", "")]).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 1).await;
    let lease = worker.lease().await;
    let cancel = v1::CancelTaskRequest { task_id: "a".to_owned(), reason: "not needed".to_owned() };
    assert_eq!(rig.client.clone().cancel_task(cancel).await.unwrap().into_inner().previous_status, "running");
    let Event::Cancel(told) = worker.event().await else { panic!("no cancellation") };
    let expected = (lease.task_id.as_str(), lease.lease_token.as_str(), "not needed");
    assert_eq!((told.task_id.as_str(), told.lease_token.as_str(), told.reason.as_str()), expected);
    assert_eq!(complete(&rig.client, &lease).await, STALE);
    assert_eq!(rig.status("a").await.status, "cancelled");
    // The slot is the worker's to offer again.
    worker.credit("cpu_short", 1).await;
    assert_eq!(worker.lease().await.task_id, "b");
}

#[tokio::test]
async fn a_worker_that_drains_gets_nothing_more_and_answers_what_it_has() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit("a", "").await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_short", 5).await;
    let lease = worker.lease().await;
    worker.drain().await;
    let Event::Drain(told) = worker.event().await else { panic!("no end of leases") };
    assert_eq!(told.reason, "as the worker asked");
    rig.submit("b", "").await;
    worker.credit("cpu_short", 5).await;
    let mut other = Worker::enter(&rig.client, "other").await;
    other.credit("cpu_short", 1).await;
    let taken = worker.nothing_while(other.lease()).await;
    assert_eq!(taken.task_id, "b");
    assert_eq!(complete(&rig.client, &lease).await, OK);
}

#[tokio::test]
async fn two_daemons_on_one_redis_share_the_work() {
    let Some(rig) = Rig::new().await else { return };
    let second = Daemon::start(rig.settings.clone()).await;
    let clients = [rig.client.clone(), second.client().await];
    let mut workers = Vec::new();
    for (client, name) in clients.iter().zip(["first", "second"]) {
        let worker = Worker::enter(client, name).await;
        worker.credit("cpu_short", 1).await;
        workers.push(worker);
    }
    let mut results = clients[1].clone();
    let task_ids = (0..60).map(|n| format!("t{n}")).collect();
    rig.submit_all((0..60).map(|n| task(&format!("t{n}"), ""))).await;
    let request = v1::StreamTaskResultsRequest { task_ids, include_completed: true };
    let mut results = results.stream_task_results(request).await.unwrap().into_inner();
    let mut workers = workers.into_iter();
    let (mut first, mut second_worker) = (workers.next().unwrap(), workers.next().unwrap());
    let work = async |worker: &mut Worker, client: &crate::rig::Client| {
        let mut done = 0;
        loop {
            let lease = worker.lease().await;
            // Answered at the other one: leases belong to no daemon.
            assert_eq!(complete(client, &lease).await, OK);
            done += 1;
            if done == 30 {
                return;
            }
            worker.credit("cpu_short", 1).await;
        }
    };
    let told = async {
        let mut seen = BTreeSet::new();
        while let Some(result) = results.message().await.unwrap() {
            assert!(seen.insert(result.task_id), "told twice");
        }
        seen.len()
    };
    let ((), (), told) = soon("all of them", async {
        tokio::join!(work(&mut first, &clients[1]), work(&mut second_worker, &clients[0]), told)
    })
    .await;
    assert_eq!(told, 60);
    // What is cancelled at one is told to the worker at the other.
    rig.submit("last", "").await;
    second_worker.credit("cpu_short", 1).await;
    let lease = second_worker.lease().await;
    let cancel = v1::CancelTaskRequest { task_id: lease.task_id, ..Default::default() };
    rig.client.clone().cancel_task(cancel).await.unwrap();
    assert!(matches!(second_worker.event().await, Event::Cancel(_)));
}
