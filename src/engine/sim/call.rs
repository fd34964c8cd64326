//! Every call to the simulated engine: it takes a while before and after its effect, goes on when its
//! caller has gone, goes wrong where the faults say so, and ends at the deadline that the adapter of the
//! real engine would keep.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, sleep, timeout};

use super::SimEngine;
use super::core::Core;
use super::faults::FaultKind;
use super::refusal::{Refusal, no_such_container, refusal};
use super::world::{By, Waiting};
use crate::engine::docker::call::{Call, timed_out};
use crate::engine::docker::error;
use crate::engine::{EngineError, ErrorKind, Result};

/// A call's way: how long until its effect and from there to its answer, and what goes wrong.
struct Way {
    before: Duration,
    after: Duration,
    fault: Option<FaultKind>,
}

/// Milliseconds before and after the effect, as measured on a real engine.
fn pace(call: Call) -> (u64, u64) {
    match call {
        Call::CreateContainer => (3, 2),
        Call::Connect => (15, 6),
        Call::Upload => (25, 5),
        Call::Start => (120, 40),
        Call::Stop => (5, 100),
        Call::SetRestartPolicy | Call::UpdateLimits => (5, 3),
        Call::CreateNetwork => (50, 14),
        Call::RemoveNetwork | Call::Disconnect => (30, 10),
        Call::RemoveContainer | Call::CreateVolume | Call::RemoveVolume => (4, 4),
        Call::Pull => (800, 200),
        _ => (1, 1),
    }
}

impl Core {
    fn way(&mut self, call: Call) -> Way {
        use FaultKind::{Conflict409, FailAfter500, FailBefore500, HangAfter, HangBefore, NotFound404};
        let (before, after) = pace(call);
        let (mut before, after) = (self.about(before), self.about(after));
        if self.dice.roll(FaultKind::SlowCall) {
            before += self.dice.between(1_000, 8_000);
        }
        let mut kinds = vec![FailBefore500, FailAfter500, HangBefore, HangAfter];
        match call {
            Call::Pull => {
                kinds = vec![FaultKind::RegistryDown, FaultKind::RegistryThrottled, FaultKind::PullBreaksOff];
                kinds.push(HangBefore);
            }
            Call::CreateContainer
            | Call::Rename
            | Call::Start
            | Call::Stop
            | Call::Connect
            | Call::Disconnect
            | Call::Upload
            | Call::SetRestartPolicy
            | Call::UpdateLimits => kinds.extend([Conflict409, NotFound404]),
            _ => {}
        }
        let fault = self.dice.first(&kinds);
        Way { before, after, fault }
    }
}

/// What a call answers that goes wrong before its effect.
fn wrong(call: Call, fault: FaultKind, subject: &str, id: String) -> Option<Refusal> {
    let whom = subject.split_whitespace().next().unwrap_or_default();
    Some(match (fault, call) {
        (FaultKind::FailBefore500, _) => refusal(500, "unexpected failure of the simulated engine"),
        // A name that is kept for a container which never came to be.
        (FaultKind::Conflict409, Call::CreateContainer) => {
            super::refusal::name_taken(whom, &crate::resource::container::ContainerId::new(id))
        }
        (FaultKind::Conflict409, _) => refusal(409, "conflict: another operation is in progress"),
        (FaultKind::NotFound404, Call::CreateContainer) => refusal(404, format!("No such image: {whom}")),
        (FaultKind::NotFound404, Call::Rename) => refusal(404, format!("sandbox {id} not found")),
        (FaultKind::NotFound404, _) => no_such_container(whom),
        (FaultKind::RegistryDown, _) => super::images::registry_down(),
        (FaultKind::RegistryThrottled, _) => super::images::throttled(),
        (FaultKind::PullBreaksOff, _) => super::images::broke_off(),
        _ => return None,
    })
}

impl SimEngine {
    /// A changing call whose effect comes at one moment.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        call: Call,
        subject: &str,
        effect: impl FnOnce(&mut Core) -> std::result::Result<T, Refusal> + Send + 'static,
    ) -> Result<T> {
        let deadline = self.deadline(call);
        self.change_within(call, deadline, subject, |core, to| {
            let result = effect(core);
            // Who has gone is not told.
            let _ = to.send(result);
        })
        .await
    }

    /// One that answers later, and whose caller waits `deadline` at most.
    pub(super) async fn change_within<T: Send + 'static>(
        &self,
        call: Call,
        deadline: Duration,
        subject: &str,
        effect: impl FnOnce(&mut Core, oneshot::Sender<std::result::Result<T, Refusal>>) + Send + 'static,
    ) -> Result<T> {
        let (to, from) = oneshot::channel();
        let _followed = self.followed(call, subject);
        let way = {
            let mut core = self.lock();
            core.advance();
            if !core.up {
                return Err(self.unreachable(call, subject));
            }
            let way = core.way(call);
            let id = if way.fault.is_some() { core.new_id() } else { String::new() };
            let fails = way.fault.and_then(|fault| wrong(call, fault, subject, id));
            if let Some(refusal) = fails {
                core.call_later(way.before, move |_| drop(to.send(Err(refusal))));
            } else if way.fault == Some(FaultKind::HangBefore) {
                // Kept unanswered, for as long as somebody may wait.
                core.call_later(deadline * 2, move |_| drop(to));
            } else {
                core.call_later(way.before, move |core| effect(core, to));
            }
            way
        };
        self.tell_changed();
        let answered = async {
            let answer = self.answer(from).await;
            sleep(way.after).await;
            match way.fault {
                Some(FaultKind::HangAfter) => std::future::pending().await,
                Some(FaultKind::FailAfter500) => {
                    Some(Err(refusal(500, "unexpected failure of the simulated engine, after the fact")))
                }
                _ => answer,
            }
        };
        match timeout(deadline, answered).await {
            Err(_) => Err(timed_out(call, subject, deadline)),
            Ok(None) => Err(self.unreachable(call, subject)),
            Ok(Some(answer)) => answer.map_err(|refusal| refused(call, subject, &refusal)),
        }
    }

    fn followed(&self, call: Call, subject: &str) -> Followed {
        let whom = subject.split_whitespace().next().unwrap_or_default();
        let (subject, labels) = {
            let core = self.lock();
            let unit = core.find(whom).and_then(|id| core.containers.get(&id));
            unit.map_or_else(|| (whom.to_owned(), BTreeMap::new()), |u| (u.name.clone(), u.labels()))
        };
        let number = {
            let mut followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
            followers.0 += 1;
            followers.0
        };
        let followed = Followed {
            engine: self.clone(),
            waiting: Waiting { number, operation: call.operation(), subject, labels, begins: true },
        };
        followed.tell();
        followed
    }

    /// `None`: the engine is gone, and nobody will answer.
    async fn answer<T>(&self, mut from: oneshot::Receiver<T>) -> Option<T> {
        loop {
            let changed = self.changed();
            let next = {
                let mut core = self.lock();
                core.advance();
                core.next_due()
            };
            match from.try_recv() {
                Ok(answer) => return Some(answer),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => self.until(next, changed).await,
            }
        }
    }

    /// A call that changes nothing.
    pub(super) async fn read<T>(
        &self,
        call: Call,
        subject: &str,
        look: impl FnOnce(&mut Core) -> std::result::Result<T, Refusal>,
    ) -> Result<T> {
        let deadline = self.deadline(call);
        let (fault, delay, first) = {
            let mut core = self.lock();
            core.advance();
            if !core.up {
                return Err(self.unreachable(call, subject));
            }
            let slow = core.dice.roll(FaultKind::SlowCall).then(|| core.dice.between(1_000, 8_000));
            let fault = core.dice.first(&[FaultKind::ReadFails, FaultKind::ReadHangs]);
            (fault, slow.unwrap_or(Duration::from_millis(1)), core.coin())
        };
        if fault == Some(FaultKind::ReadHangs) {
            sleep(deadline).await;
            return Err(timed_out(call, subject, deadline));
        }
        let looked = async {
            // What is told is as old as the way back, or as new as it can be.
            if first {
                sleep(delay).await;
            }
            let result = loop {
                let changed = self.changed();
                {
                    let mut core = self.lock();
                    core.advance();
                    if !core.up {
                        return Err(self.unreachable(call, subject));
                    }
                    if !core.frozen {
                        break look(&mut core);
                    }
                }
                changed.await;
            };
            if !first {
                sleep(delay).await;
            }
            match fault {
                Some(_) => Err(refused(call, subject, &refusal(500, "unexpected failure of the simulated engine"))),
                None => result.map_err(|refusal| refused(call, subject, &refusal)),
            }
        };
        match timeout(deadline, looked).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(call, subject, deadline)),
        }
    }

    fn unreachable(&self, call: Call, subject: &str) -> EngineError {
        let text = format!("the engine at {} cannot be reached: connection refused", self.address());
        EngineError::new(call.operation(), subject, ErrorKind::Unreachable, text)
    }

    /// Until the next thing is due, or something has changed.
    pub(super) async fn until(&self, next: Option<Instant>, changed: impl Future<Output = ()>) {
        match next {
            Some(next) => tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(next) => {}
            },
            None => changed.await,
        }
    }
}

/// Tells of a call's begin and of its end, however it ends.
struct Followed {
    engine: SimEngine,
    waiting: Waiting,
}

impl Followed {
    fn tell(&self) {
        let mut followers = self.engine.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        for follower in &mut followers.1 {
            follower(&self.waiting);
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.waiting.begins = false;
        self.tell();
    }
}

impl Core {
    /// A frozen engine takes a call and keeps it.
    fn call_later(&mut self, delay: Duration, effect: impl FnOnce(&mut Core) + Send + 'static) {
        if self.frozen {
            let begun = self.begun;
            self.stuck.push_back(Box::new(move |core| {
                core.begun = begun;
                effect(core);
            }));
        } else {
            self.later_by(By::Client, delay, Box::new(effect));
        }
    }

    pub(super) fn thaw(&mut self) {
        self.frozen = false;
        for effect in std::mem::take(&mut self.stuck) {
            self.later_by(By::Client, Duration::ZERO, effect);
        }
    }
}

/// As the adapter would say it.
fn refused(call: Call, subject: &str, refusal: &Refusal) -> EngineError {
    error::refused(call, subject, refusal.status, &refusal.message)
}
