//! Gives tasks to the workers that are connected to this daemon.
//!
//! | file | what |
//! |---|---|
//! | [`state`] | workers, their credits, what is on its way to them; no waiting |
//! | [`run`](mod@run) | the calls that follow from it |
//!
//! A lease is asked for only for a worker that has credit and whose stream has room, and comes by a call that is ours:
//! it goes on if the worker goes away meanwhile, and what it got is then given back at once.
//!
//! Which class has nothing waiting is remembered until something happens to a task of that class, so that workers who
//! wait cost nothing; every sweep asks once more, for what other daemons did.

pub mod run;
pub mod state;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::state::{Out, State};
use super::settings::{Class, TaskSettings};
use super::task::{TaskEvent, TaskId, Token};

/// Of one class that one worker may have at once.
pub const MAX_CREDIT: u32 = 10_000;
/// Of one lease call: what the store takes.
const MAX_SHARE: u32 = 200;
/// Lease calls at once.
const CALLS: usize = 4;
/// A lease that a worker does not take off its stream for so long is given back.
const UNTAKEN: Duration = Duration::from_secs(5);
/// Bytes after which a lease call may end early; what it brought then says nothing of what is left.
const LEASED_BYTES: usize = 1 << 20;

/// Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something may be there to be done.
    wake: Notify,
}

/// What a worker's stream is to send.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Out(Out),
    Nothing,
    /// The stream ends.
    End,
}

impl Dispatcher {
    pub fn new(settings: &TaskSettings) -> Self {
        let state = Mutex::new(State::new(settings));
        Self(Arc::new(Shared { state, wake: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is done under the lock cannot panic half-way.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker whose stream has begun. It is gone when this is dropped.
    pub fn enter(&self, name: &str, lease: Duration) -> Seat {
        let wake = Arc::new(Notify::new());
        let number = self.state().enter(name.to_owned(), lease, Arc::clone(&wake));
        Seat { dispatcher: self.clone(), number, wake }
    }

    /// Tasks of these classes wait now.
    pub fn arrived(&self, classes: impl IntoIterator<Item = Class>) {
        let mut state = self.state();
        for class in classes {
            state.stir(class);
        }
        drop(state);
        self.0.wake.notify_one();
    }

    /// Time has passed: whatever was not there before may be by now.
    pub fn tick(&self) {
        let mut state = self.state();
        for class in Class::ALL {
            state.stir(class);
        }
        state.tick(Instant::now());
        drop(state);
        self.0.wake.notify_one();
    }

    /// Something happened to a task, whoever did it.
    pub fn event(&self, event: &TaskEvent) {
        if self.state().event(event) {
            self.0.wake.notify_one();
        }
    }

    /// The class of an attempt and when it began, where it was leased here. To be asked before it is answered: what
    /// comes of that may be heard at once.
    pub fn attempt(&self, id: &TaskId, token: &Token) -> Option<(Class, Instant)> {
        self.state().attempt(id, token)
    }

    /// An attempt was answered here. Says whether for the first time, as far as is remembered.
    pub fn answered(&self, id: &TaskId, token: &Token) -> bool {
        self.state().answered(id, token)
    }

    /// No more leases; workers are told that they have `grace`, and their streams end.
    pub fn close(&self, grace: Duration) {
        self.state().close(grace);
        self.0.wake.notify_one();
    }

    /// Workers whose streams are open.
    pub fn workers(&self) -> usize {
        self.state().workers()
    }

    /// Attempts that were leased here and are not answered yet, as far as is known.
    pub fn held(&self) -> usize {
        self.state().held()
    }
}

/// A worker's place.
#[derive(Debug)]
pub struct Seat {
    dispatcher: Dispatcher,
    number: u64,
    wake: Arc<Notify>,
}

impl Seat {
    /// # Errors
    /// A sentence: that is too much.
    pub fn credit(&self, class: Class, add: u32) -> Result<(), String> {
        self.dispatcher.state().credit(self.number, class, add)?;
        self.dispatcher.0.wake.notify_one();
        Ok(())
    }

    pub fn drain(&self) {
        self.dispatcher.state().drain(self.number);
        self.dispatcher.0.wake.notify_one();
    }

    /// What is to be sent next. With [`Taken::Nothing`] the stream has room, and is given what there is.
    pub fn take(&self) -> Taken {
        let taken = self.dispatcher.state().take(self.number, Instant::now());
        if taken == Taken::Nothing {
            self.dispatcher.0.wake.notify_one();
        }
        taken
    }

    /// Until there may be something to take. Cancel-safe.
    pub async fn told(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.dispatcher.state().leave(self.number);
        self.dispatcher.0.wake.notify_one();
    }
}
