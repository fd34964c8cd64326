//! One call after the other.

use env_manager::proto::orchestrator::v1;

use crate::rig::{OK, Rig, STALE, Worker, complete, task};

#[tokio::test]
async fn a_task_is_submitted_leased_completed_and_its_result_is_told() {
    let Some(rig) = Rig::new().await else { return };
    let mut client = rig.client.clone();
    let answer = client.submit_task(task("a", "")).await.unwrap().into_inner();
    assert_eq!((answer.success, answer.task_id.as_str(), answer.existed), (true, "a", false));
    assert!(client.submit_task(task("a", "cpu_short")).await.unwrap().into_inner().existed, "the same");
    assert_eq!((rig.status("a").await.status.as_str(), rig.metric("env_queue_depth").await), ("pending", 1.0));

    let mut worker = Worker::enter(&rig.client, "w:1").await;
    worker.credit("cpu_short", 1).await;
    let lease = worker.lease().await;
    assert_eq!((lease.task_id.as_str(), lease.attempt, &lease.payload_json[..]), ("a", 1, &b"{\"of\":\"a\"}"[..]));
    let running = rig.status("a").await;
    assert_eq!((running.status.as_str(), running.worker_id.as_str()), ("running", "w:1"));

    assert_eq!(complete(&rig.client, &lease).await, OK);
    assert_eq!(complete(&rig.client, &lease).await, OK, "repeated");
    let other = v1::lease_event::Lease { lease_token: "another".to_owned(), ..lease };
    assert_eq!(complete(&rig.client, &other).await, STALE);
    let done = rig.status("a").await;
    assert_eq!(
        (done.status.as_str(), done.result["n"].as_str(), &done.result_json[..]),
        ("completed", "1", &b"{\"n\":1}"[..])
    );
}
