use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;

fn queue() -> Queue<&'static str> {
    Queue::new(Backoff::default(), Noise::new(1))
}

async fn take(queue: &Queue<&'static str>) -> Lease<&'static str> {
    queue.next().await.expect("the queue is open")
}

/// Nothing comes, however long one waits. The clock is paused, so this takes no time.
async fn nothing_comes(queue: &Queue<&'static str>) -> bool {
    timeout(Duration::from_hours(1), queue.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_key_added_many_times_is_taken_once() {
    let queue = queue();
    for _ in 0..3 {
        queue.add("a");
    }
    take(&queue).await.done(Outcome::Success);
    assert!(nothing_comes(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn keys_come_first_in_first_out() {
    let queue = queue();
    for key in ["b", "a", "c"] {
        queue.add(key);
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(*take(&queue).await.key());
    }
    assert_eq!(seen, ["b", "a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn p02_a_key_added_while_worked_on_comes_once_more_after_that() {
    let queue = queue();
    queue.add("a");
    let lease = take(&queue).await;
    assert!(!lease.superseded());
    queue.add("a");
    queue.add("a");
    assert!(lease.superseded());
    assert!(nothing_comes(&queue).await, "two leases of one key");
    lease.done(Outcome::Success);
    take(&queue).await.done(Outcome::Success);
    assert!(nothing_comes(&queue).await, "exactly one more");
}

#[tokio::test(start_paused = true)]
async fn p02_no_key_is_ever_worked_on_twice_at_once() {
    let queue = queue();
    let at_work = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..50_u64 {
        queue.add("a");
        queue.add_after("a", Duration::from_millis(round % 7));
        let lease = take(&queue).await;
        let at_work = Arc::clone(&at_work);
        tasks.spawn(async move {
            assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0);
            tokio::time::sleep(Duration::from_millis(3)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            lease.done(Outcome::Success);
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_success_forgets() {
    let queue = queue();
    queue.add("a");
    let mut waits = Vec::new();
    for _ in 0..8 {
        let lease = take(&queue).await;
        let before = Instant::now();
        lease.done(Outcome::Retry);
        let again = take(&queue).await;
        waits.push(before.elapsed().as_secs_f64());
        drop_silently(again, &queue);
    }
    for (wait, base) in waits.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]) {
        assert!((base * 0.89..base * 1.11).contains(wait), "{waits:?}");
    }
    assert_eq!(queue.failures(&"a"), 8);
    take(&queue).await.done(Outcome::Success);
    assert_eq!(queue.failures(&"a"), 0);
}

/// Ends a lease so that the key comes again at once, and its failures stay.
fn drop_silently(lease: Lease<&'static str>, queue: &Queue<&'static str>) {
    queue.add("a");
    lease.done(Outcome::RetryAfter(Duration::from_secs(999)));
}

#[tokio::test(start_paused = true)]
async fn delayed_adds_keep_the_earliest_time_and_an_add_comes_first() {
    let queue = queue();
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(10));
    queue.add_after("a", Duration::from_secs(5));
    queue.add_after("a", Duration::from_secs(20));
    take(&queue).await.done(Outcome::Success);
    assert_eq!(start.elapsed().as_secs(), 5);
    queue.add_after("a", Duration::from_secs(10));
    queue.add("a");
    take(&queue).await.done(Outcome::Success);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(nothing_comes(&queue).await, "the add replaced the delay");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_counts_as_a_failure() {
    let queue = queue();
    queue.add("a");
    drop(take(&queue).await);
    assert_eq!(queue.failures(&"a"), 1);
    assert_eq!(*take(&queue).await.key(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_busy_from_its_add_to_the_end_of_its_lease() {
    let queue = queue();
    assert!(!queue.is_busy(&"a"));
    queue.add("a");
    assert!(queue.is_busy(&"a"));
    let lease = take(&queue).await;
    assert!(queue.is_busy(&"a"));
    lease.done(Outcome::RequeueAfter(Duration::from_secs(9)));
    assert!(!queue.is_busy(&"a"), "one that waits for its time is not busy");
}

#[tokio::test(start_paused = true)]
async fn a_refreshed_lease_needs_no_second_run() {
    let queue = queue();
    queue.add("a");
    let lease = take(&queue).await;
    queue.add("a");
    lease.refresh();
    assert!(!lease.superseded());
    lease.done(Outcome::Success);
    assert!(nothing_comes(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_gives_no_more_keys_and_lets_leases_end() {
    let queue = queue();
    queue.add("a");
    let lease = take(&queue).await;
    queue.add("b");
    queue.close();
    assert!(queue.next().await.is_none());
    queue.add("c");
    lease.done(Outcome::RequeueAfter(Duration::from_secs(1)));
    assert!(queue.next().await.is_none());
}
