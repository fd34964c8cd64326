//! Submissions that come at the same time are one call of the store.
//!
//! No timer: what arrives while a call is in flight goes with the next one. So a single submission waits for nobody,
//! and many share what a call costs, which is above all a write to the disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::store::{MAX_ITEMS, StoreError, Submitted, TaskStore};
use super::task::NewTask;

/// Wishes that wait; more wait at their callers.
const WAITING: usize = 1_024;
/// Bytes of payloads in one call.
const MAX_BYTES: usize = 4 << 20;

type Outcome = Result<Vec<Submitted>, Arc<StoreError>>;

/// Takes submissions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Submitter(mpsc::Sender<Wish>);

#[derive(Debug)]
struct Wish {
    /// At most [`MAX_ITEMS`], and no id twice.
    tasks: Vec<NewTask>,
    answer: oneshot::Sender<Outcome>,
}

/// The other end of a [`Submitter`].
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Wish>);

pub fn channel() -> (Submitter, Inbox) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Submitter(sender), Inbox(receiver))
}

impl Submitter {
    /// One outcome for each, in their order, however many there are and whatever is twice among them. Who goes away
    /// undoes nothing, and nothing of others.
    ///
    /// # Errors
    /// Of the store. Some of the tasks may have been taken; the same call again does no harm.
    pub async fn submit(&self, tasks: Vec<NewTask>) -> Outcome {
        let mut outcomes = Vec::with_capacity(tasks.len());
        for tasks in in_calls(tasks) {
            let (answer, outcome) = oneshot::channel();
            let ended = || Arc::new(StoreError::NotReady("the daemon is ending".to_owned()));
            self.0.send(Wish { tasks, answer }).await.map_err(|_| ended())?;
            outcomes.extend(outcome.await.map_err(|_| ended())??);
        }
        Ok(outcomes)
    }
}

/// Parts that one call takes.
fn in_calls(tasks: Vec<NewTask>) -> Vec<Vec<NewTask>> {
    let mut calls: Vec<Vec<NewTask>> = Vec::new();
    let (mut ids, mut bytes) = (BTreeSet::new(), 0);
    for task in tasks {
        let size = task.payload.size();
        let is_new = ids.insert(task.id.clone());
        match calls.last_mut() {
            Some(call) if is_new && call.len() < MAX_ITEMS && bytes + size <= MAX_BYTES => {
                bytes += size;
                call.push(task);
            }
            _ => {
                (ids, bytes) = (BTreeSet::from([task.id.clone()]), size);
                calls.push(vec![task]);
            }
        }
    }
    calls
}

/// Until the last [`Submitter`] is gone and all that it sent is answered. `taken` is told of each call that took
/// something.
pub async fn run<S: TaskStore>(store: S, inbox: Inbox, taken: impl Fn(&[NewTask], &[Submitted])) {
    let Inbox(mut inbox) = inbox;
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(wish) => wish,
            None => match inbox.recv().await {
                Some(wish) => wish,
                None => return,
            },
        };
        let mut batch = Batch::default();
        let mut wish = Some(first);
        while let Some(some) = wish.take() {
            // Whoever has gone does not want it any more.
            if some.answer.is_closed() {
                wish = inbox.try_recv().ok();
            } else {
                match batch.take(some) {
                    Ok(()) => wish = inbox.try_recv().ok(),
                    Err(too_much) => next = Some(too_much),
                }
            }
        }
        if batch.tasks.is_empty() {
            continue;
        }
        match store.submit(&batch.tasks).await {
            Ok(outcomes) if outcomes.len() == batch.tasks.len() => {
                taken(&batch.tasks, &outcomes);
                let mut outcomes = outcomes.into_iter();
                for (answer, count) in batch.answers {
                    let _ = answer.send(Ok(outcomes.by_ref().take(count).collect()));
                }
            }
            answer => {
                let error = answer.err().unwrap_or(StoreError::Unexpected("other outcomes than tasks".to_owned()));
                let away = matches!(error, StoreError::NotReady(_));
                let error = Arc::new(error);
                let mut refused: Vec<_> = batch.answers.into_iter().map(|(answer, _)| answer).collect();
                if away {
                    // They would wait as long for the same answer, one after the other.
                    refused.extend(next.take().map(|wish| wish.answer));
                    refused.extend(std::iter::from_fn(|| inbox.try_recv().ok()).map(|wish| wish.answer));
                }
                for answer in refused {
                    let _ = answer.send(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

/// What goes into one call.
#[derive(Default)]
struct Batch {
    tasks: Vec<NewTask>,
    /// Each with how many of the tasks are its.
    answers: Vec<(oneshot::Sender<Outcome>, usize)>,
    ids: BTreeSet<String>,
    bytes: usize,
}

impl Batch {
    /// Gives back what does not fit any more.
    fn take(&mut self, wish: Wish) -> Result<(), Wish> {
        let bytes: usize = wish.tasks.iter().map(|task| task.payload.size()).sum();
        let fits = self.tasks.is_empty()
            || self.tasks.len() + wish.tasks.len() <= MAX_ITEMS
                && self.bytes + bytes <= MAX_BYTES
                && !wish.tasks.iter().any(|task| self.ids.contains(task.id.as_str()));
        if !fits {
            return Err(wish);
        }
        self.bytes += bytes;
        self.ids.extend(wish.tasks.iter().map(|task| task.id.as_str().to_owned()));
        self.answers.push((wish.answer, wish.tasks.len()));
        self.tasks.extend(wish.tasks);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
