//! Whether tasks are taken, as it was found last; asked anew every second.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::settings::Durability;
use super::store::{StoreError, TaskStore};

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(1);

/// What Redis was like when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Readiness {
    #[default]
    NotAsked,
    Ready(Durability),
    /// Why not.
    Away(String),
    /// It answers, and would lose tasks: which setting is wrong.
    NotDurable(String),
}

impl Readiness {
    fn of(answer: Result<(), StoreError>, durability: Durability) -> Self {
        match answer {
            Ok(()) => Self::Ready(durability),
            Err(StoreError::NotDurable(wrong)) => Self::NotDurable(wrong.to_string()),
            Err(error) => Self::Away(error.to_string()),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// What is acknowledged is on the disk.
    pub fn is_durable(&self) -> bool {
        *self == Self::Ready(Durability::Strict)
    }

    /// Of Redis: `ready`, or why not.
    pub fn redis(&self) -> &str {
        match self {
            Self::NotAsked => "not asked yet",
            Self::Ready(_) | Self::NotDurable(_) => "ready",
            Self::Away(why) => why,
        }
    }

    /// `always`, `relaxed`, or which setting is wrong.
    pub fn durability(&self) -> &str {
        match self {
            Self::NotAsked | Self::Away(_) => "unknown",
            Self::Ready(Durability::Strict) => "always",
            Self::Ready(Durability::Relaxed) => "relaxed",
            Self::NotDurable(wrong) => wrong,
        }
    }
}

/// Asks again and again, and says in the log what has changed. Ends when it is dropped.
pub async fn follow<S: TaskStore>(store: S, durability: Durability, found: watch::Sender<Readiness>) {
    loop {
        let now = Readiness::of(store.ready().await, durability);
        found.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            // Each of its reasons for being away is not worth a line.
            if !matches!((&*before, &now), (Readiness::Away(_), Readiness::Away(_))) {
                tell(&now);
            }
            *before = now;
            true
        });
        sleep(PERIOD).await;
    }
}

fn tell(now: &Readiness) {
    match now {
        Readiness::NotAsked => {}
        Readiness::Ready(Durability::Strict) => info!("✓ task queue ready"),
        Readiness::Ready(Durability::Relaxed) => {
            warn!(
                "task queue ready; after a crash of Redis, acknowledged tasks may be gone (tasks.durability = relaxed)"
            );
        }
        Readiness::Away(why) => warn!("task queue: {why}; tasks are taken again once it is there"),
        Readiness::NotDurable(wrong) => warn!("task queue: no tasks are taken: {wrong}"),
    }
}
