//! What was acknowledged is completed or among the dead, whatever is killed (P20): on a real Redis, by the real
//! daemon, with workers as processes of their own; on a slow disk, too. And why Redis has to be set as it is.
//!
//! | file | what |
//! |---|---|
//! | [`life`] | Redis, daemon and workers as processes |
//! | [`kills`] | who is killed when, from a seed |
//! | [`submit`] | those who submit, and what they were told |
//! | [`worker`], `worker.py` | workers, which note each attempt outside Redis |
//! | [`verdict`] | what has become of the tasks |
//! | [`slow_disk`] | a Redis whose disk is slow |

mod kills;
mod life;
#[path = "../simulation/random.rs"]
#[expect(dead_code, reason = "the simulation draws in more ways")]
mod random;
#[path = "../common/redis_server.rs"]
mod redis_server;
mod slow_disk;
mod submit;
mod verdict;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt;

use kills::Kills;
use life::{Life, until};
use redis_server::RedisServer;
use slow_disk::SlowDisk;
use submit::{Ledger, listed, submit};

/// In `make test`; `make p20` does more.
const TASKS: u64 = 4_000;
const KILLS: u64 = 15;
const WORKERS: usize = 3;
/// On a slow disk.
const SLOW_TASKS: u64 = 2_000;
const SLOW_KILLS: u64 = 10;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Tasks, kills, and then quiet; then the verdict.
async fn run(redis: RedisServer, seed: u64, tasks: u64, kills: u64) {
    let began = Instant::now();
    let mut life = Life::begin(redis, "strict").await;
    life.start_workers(WORKERS);
    let ledger = Arc::new(Ledger::default());
    let mut submitters = JoinSet::new();
    // One by one, and many at once.
    for at_once in [1, 1, 1, 1, 20, 60] {
        submitters.spawn(submit(Arc::clone(&ledger), life.address.clone(), at_once));
    }
    let mut killing = Kills::new(seed, &ledger, tasks / kills.max(1) * 4 / 5);
    killing.go_on(&mut life, kills).await;
    let hits: Vec<_> = killing.hits.iter().map(|(kind, number)| format!("{kind:?} {number}")).collect();
    println!("kills of busy victims: {} ({}); of others: {}", killing.all(), hits.join(", "), killing.misses);
    println!("after {} s: {}", began.elapsed().as_secs(), ledger.said());

    let left = tasks.saturating_sub(ledger.books().released);
    ledger.release(left);
    ledger.close();
    while submitters.join_next().await.is_some() {}
    until("nothing waits or runs", async || life.left().await.is_some_and(|number| number == 0).then_some(())).await;
    // What is told is read back from the disk.
    life.redis.kill();
    life.kill_daemon();
    life.start_redis().await;
    life.start_daemon().await;
    verdict::give(&mut life, &ledger).await;
    println!("{} s in all", began.elapsed().as_secs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p20_what_was_acknowledged_is_completed_or_dead_whatever_is_killed() {
    let Some(redis) = RedisServer::start(&[]).await else { return };
    let seed = variable("SEED").unwrap_or(1);
    let (tasks, kills) = (variable("TASKS").unwrap_or(TASKS), variable("KILLS").unwrap_or(KILLS));
    println!("seed {seed}, {tasks} tasks, {kills} kills");
    run(redis, seed, tasks, kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p20_what_was_acknowledged_is_completed_or_dead_on_a_slow_disk_too() {
    let Some(disk) = SlowDisk::new() else { return };
    // Longer than the daemon waits for an answer: calls time out, and have taken effect.
    let slow = [("SLOW_FSYNC_MS", "20"), ("SLOW_FSYNC_STALL_EVERY", "250"), ("SLOW_FSYNC_STALL_MS", "5500")];
    let Some(redis) = RedisServer::start_with(&[], &disk.environment(&slow)).await else { return };
    run(redis, variable("SEED").unwrap_or(1), SLOW_TASKS, SLOW_KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p20_a_redis_that_could_lose_tasks_is_refused_with_the_setting_named() {
    let Some(redis) = RedisServer::start(&["--appendfsync", "everysec"]).await else { return };
    let life = Life::begin(redis, "strict").await;
    let mut client = life.client.clone();
    let one = until("Redis is asked", async || {
        let refused = client.submit_task(submit::task(1)).await.expect_err("it is refused");
        (refused.code() != Code::Unavailable).then_some(refused)
    })
    .await;
    let tasks = vec![submit::task(1), submit::task(2)];
    let many = client.submit_tasks(env_manager::proto::orchestrator::v1::SubmitTasksRequest { tasks }).await;
    for refused in [one, many.expect_err("it is refused")] {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let details = refused.get_error_details();
        let violation = &details.precondition_failure().expect("what is wrong").violations[0];
        assert_eq!((violation.r#type.as_str(), violation.subject.as_str()), ("DURABILITY", "appendfsync"));
        assert!(refused.message().contains("appendfsync is everysec, always is needed"), "{}", refused.message());
    }
    assert!(listed(&client, &["pending"]).await.unwrap().is_empty(), "nothing was taken");
}

/// In so many rounds a loss shows.
const ROUNDS: u32 = 10;
/// Acknowledged since something was last written.
const AHEAD: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p20_the_loss_that_is_refused_is_real() {
    let Some(disk) = SlowDisk::new() else { return };
    for round in 1..=ROUNDS {
        let environment = disk.environment(&[("SLOW_FSYNC_MS", "1500")]);
        let Some(redis) = RedisServer::start_with(&["--appendfsync", "everysec"], &environment).await else { return };
        let mut life = Life::begin(redis, "relaxed").await;
        let ledger = Arc::new(Ledger::default());
        let mut submitters = JoinSet::new();
        for _ in 0..4 {
            submitters.spawn(submit(Arc::clone(&ledger), life.address.clone(), 1));
        }
        let (mut written, mut then) = (0, 0);
        let is_ahead = async || {
            let (now, taken) = (life.written(), ledger.books().acknowledged.len() as u64);
            if now != written {
                (written, then) = (now, taken);
            }
            // As many as ever are wanted.
            ledger.books().released = taken + 1_000;
            (taken > then + AHEAD).then_some(())
        };
        // Where the disk is not behind in this time it is tried once more.
        let came = tokio::time::timeout(Duration::from_secs(30), until("more is acknowledged than written", is_ahead));
        let is_behind = came.await.is_ok();
        life.redis.kill();
        submitters.shutdown().await;
        let acknowledged = ledger.books().acknowledged.clone();
        life.start_redis().await;
        let there = until("Redis is read", async || listed(&life.client, &["pending"]).await.ok()).await;
        let lost = acknowledged.iter().filter(|number| !there.contains_key(number)).count();
        println!("round {round}: lost {lost} of {} acknowledged (behind: {is_behind})", acknowledged.len());
        if lost > 0 {
            return;
        }
    }
    panic!("nothing was lost in {ROUNDS} rounds: what is refused would do no harm");
}
