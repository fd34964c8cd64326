//! The quiet after it, and what must be so then.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::judge::{SERVES, left_over};
use crate::life::Life;
use crate::model::{DEAF, LONG, SERVICES};
use crate::running::service;
use crate::trace::lock;

/// Everything is as described so long after the last disturbance.
const CONVERGES: Duration = Duration::from_mins(3);

impl Life<'_> {
    /// No more disturbances: what was put in the way is taken away, what was broken is repaired.
    pub fn calm(&mut self) {
        self.tend_daemon();
        if self.armed {
            self.end_daemon();
            self.start_daemon(None);
        }
        while let Some(what) = self.drop_foreigner() {
            self.trace.add("calm", &what);
        }
        for paused in self.docker(&["ps", "-q", "--filter", "status=paused"]).unwrap_or_default().lines() {
            let _ = self.docker(&["unpause", paused]);
        }
        self.repair_manifests();
        let suspended = std::mem::take(&mut lock(&self.witness.state).suspended);
        for service in suspended.keys() {
            let resumed = self.until(Duration::from_secs(20), "an answer to resume", |life| {
                (life.run(&["resume", service]).code == Some(0)).then_some(())
            });
            self.trace.add("calm", &format!("resume {service}: {resumed:?}"));
        }
        self.trace.add("calm", "nothing more is done from outside");
    }

    /// Until everything is as described. What was refused while it was disturbed is tried again, as its status asks.
    pub fn settle(&mut self) {
        let mut refused = BTreeMap::new();
        let mut last = Value::Null;
        let converged = self.until(CONVERGES, "everything to be as described", |life| {
            life.tend_daemon();
            let status = life.status()?;
            // Also of manifests that were edited a moment ago, and not read yet.
            if status["converged"] == true && life.run(&["plan", "-o", "json"]).code == Some(0) {
                return Some(());
            }
            for name in SERVICES {
                let is_refused = service(&status, name).is_some_and(|s| s["phase"] == "RolledBack");
                if !is_refused {
                    continue;
                }
                // What was edited a moment ago may not have been read yet.
                let seen: &mut usize = refused.entry(name).or_default();
                *seen += 1;
                if *seen == 15 {
                    let ran = life.run(&["retry", name]);
                    life.trace.add("calm", &format!("retry {name}: {:?}", ran.code));
                }
            }
            last = status;
            None
        });
        if converged.is_none() {
            self.trace.add("status", &format!("{last:#}"));
            return;
        }
        self.trace.add("calm", "everything is as described");
        self.is_as_described();
    }

    fn is_as_described(&mut self) {
        let Some(world) = self.world() else { return self.trace.fail("the engine is away".to_owned()) };
        for left in left_over(&world, self.stack.name()) {
            self.trace.fail(format!("P11: {left} is left over"));
        }
        for name in SERVICES {
            let container = world.container(&self.stack.container(name));
            let expected = if LONG.contains(&name) { "running" } else { "exited" };
            if container.is_none_or(|c| c.state != expected || c.image == DEAF) {
                self.trace.fail(format!("P14: {name} is said to be converged, and is {container:?}"));
            }
        }
    }

    /// Everything is replaced, undisturbed: what P9 says of it is judged as it passes by.
    pub fn roll_out(&mut self) {
        self.pass(SERVES + Duration::from_secs(1));
        for name in SERVICES {
            self.manifests.of(name).round += 1;
            self.write(name);
        }
        self.trace.add("calm", "everything is to be replaced");
    }

    /// P9, undisturbed: one that does not become ready is taken back, and the one before serves again.
    pub fn takes_back(&mut self) {
        let name = LONG[self.random.index(LONG.len())];
        let id = |life: &Self| life.world()?.container(&life.stack.container(name)).map(|c| c.id.clone());
        let (before, image) = (id(self), self.manifests.of(name).image);
        self.manifests.of(name).image = DEAF;
        self.write(name);
        let refused = self.until(Duration::from_mins(1), "a refused revision", |life| {
            let is_refused = service(&life.status()?, name)?["phase"] == "RolledBack";
            is_refused.then_some(())
        });
        let after = id(self);
        if refused.is_some() && (before.is_none() || before != after) {
            self.trace.fail(format!("P9: {name} was {before:?} before a refused revision, and is {after:?} after it"));
        }
        self.manifests.of(name).image = image;
        self.write(name);
        self.trace.add("calm", &format!("{name} was taken back from one that is never ready"));
    }

    /// P3: at rest nothing is changed, by nobody.
    pub fn rest(&mut self, period: Duration) {
        // What has just been done is told a moment later.
        self.pass(Duration::from_secs(2));
        let mark = self.trace.mark();
        self.pass(period);
        let seen = self.trace.since(mark);
        if !seen.is_empty() {
            self.trace.fail(format!("P3: at rest, and yet: {seen:#?}"));
        }
        let status = self.status().unwrap_or_default();
        let plan = self.run(&["plan", "-o", "json"]);
        if status["converged"] != true || plan.code != Some(0) {
            self.trace.fail(format!("P3, P14: no longer as described at rest: {status:#}\n{plan}"));
        }
        self.is_as_described();
        self.tend_daemon();
    }
}
