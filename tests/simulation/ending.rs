//! The quiet after a history, and what must be so then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use env_manager::clock::Clock;
use env_manager::engine::sim::{Faults, World};
use tokio::time::Instant;

use crate::history::{Life, lock};
use crate::{acts, expect};

/// From the last disturbance on, everything is to be as it can be within this.
const CONVERGES: Duration = Duration::from_mins(30);
/// Nothing has happened for so long: it is at rest. A call that is never answered is given up after two
/// minutes, and tried again within half a one.
const REST: Duration = Duration::from_secs(200);
/// At rest it stays at rest.
const QUIET: Duration = Duration::from_hours(1);

impl Life {
    /// No more disturbances: what is away comes back, what is broken stays so or is repaired.
    pub async fn calm(&mut self) {
        self.engine.set_faults(Faults::quiet());
        acts::calm(self);
        *lock(&self.fuse.left) = None;
        self.stack.missing = false;
        if self.random.one_in(2) {
            self.stack.empty = false;
        }
        if self.random.one_in(2) {
            self.stack.repair();
        }
        self.write();
        self.note("calm", "nothing more is done from outside");
        if self.running.is_none() {
            self.start().await;
        }
        if let Some(running) = &self.running {
            running.handle.reread();
        }
    }

    /// Until everything is as it can be.
    pub async fn settle(&mut self) {
        let begun = self.now();
        let until = Instant::now() + CONVERGES;
        loop {
            if self.is_over() {
                return;
            }
            self.pass(Instant::now() + Duration::from_secs(10)).await;
            let since = self.now().saturating_sub(lock(&self.checks).last_change.max(begun));
            let open = if since >= REST { self.unexplained() } else { vec![format!("busy {} s ago", since.as_secs())] };
            if open.is_empty() {
                return self.note("calm", "everything is as it can be");
            }
            if Instant::now() >= until {
                // One that ends again and again is never at rest.
                let open = self.unexplained();
                if open.is_empty() {
                    return;
                }
                return self.fail(format!(
                    "not as it could be after {} min: {}",
                    CONVERGES.as_secs() / 60,
                    open.join("; ")
                ));
            }
        }
    }

    pub async fn rest(&mut self) {
        lock(&self.checks).watch_rest();
        self.pass(Instant::now() + QUIET).await;
        if self.is_over() {
            return;
        }
        let busy = lock(&self.checks).busy_at_rest();
        let world = self.engine.world();
        let view = self.view(&world);
        let set = lock(&self.checks).newest().map(Arc::clone).unwrap_or_default();
        for (service, what) in busy {
            if !expect::may_be_busy(&view, &set, &service) {
                return self.fail(format!("P3: {service} is at rest, and yet: {what}"));
            }
        }
        let open = self.unexplained();
        if !open.is_empty() {
            self.fail(format!("not as it was after an hour of rest: {}", open.join("; ")));
        }
    }

    fn view<'a>(&'a self, world: &'a World) -> expect::Scene<'a> {
        expect::Scene {
            world,
            statuses: &self.statuses,
            tags: &self.tags,
            engine_now: self.clock.system(),
            clock_was_set: self.clock.was_set.load(Ordering::Relaxed),
            held: self.running.as_ref().map(|r| &r.handle),
        }
    }

    fn unexplained(&mut self) -> Vec<String> {
        let world = self.engine.world();
        let set = lock(&self.checks).newest().map(Arc::clone);
        let Some(set) = set else { return vec!["nothing was read".to_owned()] };
        expect::unexplained(&self.view(&world), &set)
    }
}
