//! Who is next: asserted by order, never by time.

use env_manager::proto::orchestrator::v1;

use crate::rig::{Rig, Worker, complete, task};

const MANY: usize = 10_000;

fn many(class: &str, priority: i32) -> Vec<v1::SubmitTaskRequest> {
    (0..MANY).map(|n| v1::SubmitTaskRequest { priority, ..task(&format!("{class}-{n:05}"), class) }).collect()
}

#[tokio::test]
async fn a_short_task_submitted_last_starts_next_on_a_worker_that_is_idle() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all(many("cpu_long", 0)).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    // Busy with the long ones for a while, so that their class is far on.
    for n in 0..50 {
        worker.credit("cpu_long", 1).await;
        let lease = worker.lease().await;
        assert_eq!(lease.task_id, format!("cpu_long-{n:05}"), "the older ones first");
        complete(&rig.client, &lease).await;
    }
    rig.submit("short", "cpu_short").await;
    // It takes either.
    worker.credit("cpu_short", 1).await;
    worker.credit("cpu_long", 1).await;
    assert_eq!(worker.lease().await.task_id, "short");
    assert_eq!(worker.lease().await.task_id, "cpu_long-00050");
    rig.metric_is("env_queue_depth", 9_949.0).await;
}

#[tokio::test]
async fn in_one_call_for_both_classes_the_short_one_is_not_held_up() {
    let Some(rig) = Rig::new().await else { return };
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_long", 1).await;
    worker.credit("cpu_short", 1).await;
    rig.submit("long-0", "cpu_long").await;
    assert_eq!(worker.lease().await.task_id, "long-0");
    // The long slot is taken, the short one idle: it gets the task that was submitted last.
    rig.submit_all(many("cpu_long", 0)).await;
    rig.submit("short", "cpu_short").await;
    assert_eq!(worker.lease().await.task_id, "short");
}

#[tokio::test]
async fn ten_of_high_priority_start_before_any_further_low_one() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit_all(many("cpu_long", -1)).await;
    let mut worker = Worker::enter(&rig.client, "w").await;
    worker.credit("cpu_long", 5).await;
    for n in 0..5 {
        assert_eq!(worker.lease().await.task_id, format!("cpu_long-{n:05}"));
    }
    rig.submit_all((0..10).map(|n| v1::SubmitTaskRequest { priority: 1, ..task(&format!("high-{n}"), "cpu_long") }))
        .await;
    let mut started = Vec::new();
    for _ in 0..12 {
        worker.credit("cpu_long", 1).await;
        started.push(worker.lease().await.task_id);
    }
    let expected: Vec<_> =
        (0..10).map(|n| format!("high-{n}")).chain((5..7).map(|n| format!("cpu_long-{n:05}"))).collect();
    assert_eq!(started, expected);
}
