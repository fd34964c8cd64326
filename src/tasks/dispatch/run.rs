//! The calls that follow from the state: leases, and what is given back.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Dispatcher;
use super::state::Call;
use crate::tasks::metrics::TaskMetrics;
use crate::tasks::store::{StoreError, TaskStore};
use crate::tasks::task::{Lease, TaskId, Token};

/// After a call that failed.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a release is tried; what is not given back lapses.
const RELEASES: usize = 5;

enum Done {
    Leased(Call, Result<Vec<Lease>, StoreError>),
    Released,
}

/// Until [`Dispatcher::close`], and until everything that was under way is over.
pub async fn run<S: TaskStore>(dispatcher: Dispatcher, store: S, metrics: TaskMetrics) {
    let mut calls: JoinSet<Done> = JoinSet::new();
    // Until then no leases are asked for.
    let mut resume: Option<Instant> = None;
    loop {
        {
            let mut state = dispatcher.state();
            for (id, token) in state.take_releases() {
                calls.spawn(release(store.clone(), id, token));
            }
            if state.is_done() && calls.is_empty() {
                return;
            }
            while resume.is_none()
                && let Some(call) = state.next_call()
            {
                let store = store.clone();
                calls.spawn(async move {
                    let leases = store.lease(&call.name, &call.wanted, call.lease).await;
                    Done::Leased(call, leases)
                });
            }
        }
        let pause = async {
            match resume {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        // All are cancel-safe.
        tokio::select! {
            () = dispatcher.0.wake.notified() => {}
            () = pause => resume = None,
            Some(done) = calls.join_next(), if !calls.is_empty() => {
                let now = Instant::now();
                match done {
                    Ok(Done::Leased(call, Ok(leases))) => {
                        for lease in &leases {
                            metrics.leased(lease.class, lease.waited);
                        }
                        dispatcher.state().called(&call, Some(leases), now);
                    }
                    Ok(Done::Leased(call, Err(error))) => {
                        tracing::debug!(%error, "tasks cannot be leased");
                        dispatcher.state().called(&call, None, now);
                        resume = Some(now + PAUSE);
                    }
                    Ok(Done::Released) => {}
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                }
            }
        }
    }
}

async fn release<S: TaskStore>(store: S, id: TaskId, token: Token) -> Done {
    for _ in 0..RELEASES {
        match store.release(&id, &token).await {
            Ok(_) => break,
            Err(error) => tracing::debug!(%id, %error, "a lease that was not delivered cannot be given back"),
        }
        sleep(PAUSE).await;
    }
    Done::Released
}
