//! When changes are told, on a clock that stands still but for us.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Watcher;
use super::burst::{Burst, LONGEST, QUIET};

/// Long after everything should have been told.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn a_burst_is_told_after_50_ms_of_quiet() {
    let began = Instant::now();
    let mut burst = Burst::default();
    assert_eq!(burst.due(), None);
    burst.add(began);
    tokio::time::advance(Duration::from_millis(30)).await;
    burst.add(Instant::now());
    assert_eq!(burst.due(), Some(began + Duration::from_millis(80)));
    assert!(!burst.take(began + Duration::from_millis(79)));
    assert!(burst.take(began + Duration::from_millis(80)));
    assert_eq!(burst.due(), None, "told once");
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_never_ends_is_told_every_250_ms() {
    let mut watcher = Watcher::new();
    let shared = Arc::clone(&watcher.shared);
    let began = Instant::now();
    let writer = async move {
        for _ in 0..60 {
            shared.ring();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reader = async {
        let mut told = Vec::new();
        for _ in 0..3 {
            watcher.changed().await;
            told.push(began.elapsed().as_millis());
        }
        told
    };
    let both = async { tokio::join!(writer, reader) };
    let ((), told) = tokio::time::timeout(DEADLINE, both).await.expect("told too late");
    assert_eq!(told[0], LONGEST.as_millis());
    // Changes come every 10 ms, so the next row begins at 250 or 260.
    assert!((500..=510).contains(&told[1]), "{told:?}");
    assert_eq!(told[2], 590 + QUIET.as_millis());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_loses_no_change() {
    let mut watcher = Watcher::new();
    let began = Instant::now();
    watcher.shared.ring();
    for _ in 0..4 {
        tokio::time::timeout(Duration::from_millis(10), watcher.changed()).await.unwrap_err();
    }
    watcher.changed().await;
    assert_eq!(began.elapsed(), QUIET);
    watcher.shared.ring();
    tokio::time::advance(Duration::from_secs(1)).await;
    let late = Instant::now();
    watcher.changed().await;
    assert_eq!(late.elapsed(), Duration::ZERO, "the quiet counts from the change, not from who waits");
}
