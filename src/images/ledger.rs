//! Who wants which image, what is known of it, and what is to be done next. Pure: time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use tokio::time::Instant;

use super::message;
use crate::backoff::{Backoff, Noise};
use crate::clock::Timestamp;
use crate::engine::{EngineError, ErrorKind};
use crate::plan::ImageWant;
use crate::resource::ResourceKey;
use crate::resource::image::{ImageInfo, ImageRef, ImageState, PullFailureReason, PullProgress};
use crate::resource::spec::PullPolicy;

/// Whatever a registry asks for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// One pull: the same image for another platform is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullId {
    pub image: ImageRef,
    pub platform: Option<String>,
}

/// What is to be done about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Ask the engine.
    Look,
    /// Pull it if the engine does not have it.
    Fetch,
    /// Pull it though the engine has it.
    Refetch,
}

/// What a job found.
pub(super) struct Found {
    pub there: bool,
    pub pulled: bool,
}

#[derive(Debug)]
struct Wanter {
    policy: PullPolicy,
    /// `Always` only: pulled since it began to want it.
    refreshed: bool,
    /// The state that it was last told of.
    told: ImageState,
}

#[derive(Debug)]
struct Failure {
    message: String,
    reason: PullFailureReason,
    terminal: bool,
    next_at: Timestamp,
}

#[derive(Clone, Debug, Default)]
enum Local {
    #[default]
    NotAsked,
    Missing,
    There(Arc<ImageInfo>),
}

#[derive(Debug, Default)]
struct Entry {
    wanters: BTreeMap<ResourceKey, Wanter>,
    /// What the engine had when it was last asked.
    local: Local,
    failure: Option<Failure>,
    /// Failures in a row.
    attempts: u32,
    running: Option<Running>,
    /// When the next job begins.
    due: Option<Instant>,
    /// No pull before.
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    /// Set as soon as the job has begun.
    abort: Option<AbortHandle>,
    /// Once it pulls.
    progress: Option<PullProgress>,
    pulls: bool,
    /// To be looked at again when it ends: something may have changed meanwhile.
    again: bool,
}

#[derive(Debug)]
pub(super) struct Ledger {
    backoff: Backoff,
    noise: Noise,
    entries: BTreeMap<PullId, Entry>,
    /// Where each key is found in `entries`.
    of: BTreeMap<ResourceKey, PullId>,
}

impl Wanter {
    fn is_content(&self, local: Option<&Arc<ImageInfo>>) -> bool {
        local.is_some() && (self.policy != PullPolicy::Always || self.refreshed)
    }
}

impl Entry {
    fn local(&self) -> Option<&Arc<ImageInfo>> {
        match &self.local {
            Local::There(info) => Some(info),
            Local::NotAsked | Local::Missing => None,
        }
    }

    /// What the discontent call for.
    fn job(&self) -> Option<Job> {
        let mut discontent = self.wanters.values().filter(|w| !w.is_content(self.local())).peekable();
        discontent.peek()?;
        let policies: Vec<_> = discontent.map(|w| w.policy).collect();
        Some(if policies.contains(&PullPolicy::Always) {
            Job::Refetch
        } else if policies.contains(&PullPolicy::IfNotPresent) {
            Job::Fetch
        } else {
            Job::Look
        })
    }
}

impl Ledger {
    pub fn new(backoff: Backoff, noise: Noise) -> Self {
        Self { backoff, noise, entries: BTreeMap::new(), of: BTreeMap::new() }
    }

    /// Whether that changes anything.
    pub fn want(&mut self, key: &ResourceKey, want: &ImageWant, now: Instant) -> bool {
        let ImageWant { image, platform, policy } = want;
        let id = PullId { image: image.clone(), platform: platform.clone() };
        if self.of.get(key).is_some_and(|of| *of == id) {
            let wanter = self.entries.get_mut(&id).and_then(|e| e.wanters.get_mut(key));
            if wanter.is_some_and(|w| w.policy == *policy) {
                return false;
            }
        }
        self.leave(key);
        self.of.insert(key.clone(), id.clone());
        let entry = self.entries.entry(id).or_default();
        entry.wanters.insert(key.clone(), Wanter { policy: *policy, refreshed: false, told: ImageState::Unknown });
        match &mut entry.running {
            Some(running) => running.again = true,
            // What the engine had when somebody else wanted it may be gone by now. A look is cheap,
            // and a pull that has failed a moment ago is not tried before its time.
            None => entry.due = Some(now),
        }
        true
    }

    pub fn leave(&mut self, key: &ResourceKey) {
        let Some(id) = self.of.remove(key) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.wanters.remove(key);
        let nobody_pulls = entry.wanters.values().all(|w| w.policy == PullPolicy::Never);
        if let Some(running) = &entry.running
            && running.pulls
            && nobody_pulls
            && let Some(abort) = &running.abort
        {
            abort.abort();
        }
        if entry.wanters.is_empty() {
            entry.due = None;
        }
        // What has failed is remembered until it may be tried again, so that leaving and coming
        // back is no way round the backoff.
        if entry.wanters.is_empty() && entry.running.is_none() && entry.failure.is_none() {
            self.entries.remove(&id);
        }
    }

    pub fn state(&self, key: &ResourceKey) -> ImageState {
        let Some(entry) = self.of.get(key).and_then(|id| self.entries.get(id)) else { return ImageState::Unknown };
        let Some(wanter) = entry.wanters.get(key) else { return ImageState::Unknown };
        if let Some(local) = entry.local().filter(|l| wanter.is_content(Some(l))) {
            return ImageState::Present(local.clone());
        }
        if let Some(progress) = entry.running.as_ref().and_then(|r| r.progress) {
            return ImageState::Pulling(progress);
        }
        if wanter.policy == PullPolicy::Never && matches!(entry.local, Local::Missing) {
            let image = self.of.get(key).map(|id| id.image.clone()).unwrap_or_default();
            return ImageState::Failed {
                message: message::never(&image),
                reason: PullFailureReason::NotFound,
                terminal: true,
                attempts: 1,
                next_at: None,
            };
        }
        match &entry.failure {
            Some(Failure { message, reason, terminal, next_at }) => ImageState::Failed {
                message: message.clone(),
                reason: *reason,
                terminal: *terminal,
                attempts: entry.attempts,
                next_at: Some(*next_at),
            },
            None if matches!(entry.local, Local::Missing) => ImageState::Absent,
            None => ImageState::Unknown,
        }
    }

    pub fn is_wanted(&self, id: &PullId) -> bool {
        self.entries.get(id).is_some_and(|e| !e.wanters.is_empty())
    }

    pub fn refresh(&mut self, now: Instant) {
        for entry in self.entries.values_mut().filter(|e| !e.wanters.is_empty()) {
            match &mut entry.running {
                Some(running) => running.again = true,
                None => entry.due = Some(now),
            }
        }
    }

    /// Forgets the failures of the image that `key` wants, and looks again at once.
    pub fn retry(&mut self, key: &ResourceKey, now: Instant) {
        let Some(entry) = self.of.get(key).and_then(|id| self.entries.get_mut(id)) else { return };
        entry.attempts = 0;
        entry.not_before = None;
        if entry.running.is_none() {
            entry.due = Some(now);
        }
    }

    /// The next job that is due, which is then to be begun; or else when one will be.
    pub fn take_due(&mut self, now: Instant) -> Result<(PullId, Job), Option<Instant>> {
        self.entries
            .retain(|_, e| !e.wanters.is_empty() || e.running.is_some() || e.not_before.is_some_and(|t| t > now));
        let due = self.entries.iter().filter_map(|(id, e)| Some((e.due?, id))).min();
        let Some((due, id)) = due else { return Err(None) };
        if due > now {
            return Err(Some(due));
        }
        let id = id.clone();
        let Some(entry) = self.entries.get_mut(&id) else { return Err(None) };
        entry.due = None;
        // Whoever is content wants to be told if it has gone.
        let wanted = entry.job().unwrap_or(Job::Look);
        let job = if entry.not_before.is_some_and(|t| t > now) { Job::Look } else { wanted };
        entry.running = Some(Running { abort: None, progress: None, pulls: job != Job::Look, again: false });
        Ok((id, job))
    }

    pub fn begun(&mut self, id: &PullId, abort: AbortHandle) {
        if let Some(running) = self.entries.get_mut(id).and_then(|e| e.running.as_mut()) {
            running.abort = Some(abort);
        }
    }

    pub fn progressed(&mut self, id: &PullId, progress: PullProgress) {
        if let Some(running) = self.entries.get_mut(id).and_then(|e| e.running.as_mut()) {
            running.progress = Some(progress);
        }
    }

    /// The engine was asked in the course of a job.
    pub fn looked(&mut self, id: &PullId, found: Option<&Arc<ImageInfo>>) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.local = found.map_or(Local::Missing, |info| Local::There(info.clone()));
        }
    }

    /// Who wants it and has not been told how it stands.
    pub fn news(&mut self, id: &PullId) -> Vec<ResourceKey> {
        let Some(entry) = self.entries.get(id) else { return Vec::new() };
        let states = entry.wanters.iter().map(|(key, w)| (key.clone(), self.state(key), &w.told));
        let news: Vec<_> =
            states.filter(|(_, state, told)| state != *told).map(|(key, state, _)| (key, state)).collect();
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        news.into_iter()
            .map(|(key, state)| {
                if let Some(wanter) = entry.wanters.get_mut(&key) {
                    wanter.told = state;
                }
                key
            })
            .collect()
    }

    /// A job has ended. Returns who wants to know.
    pub fn ended(
        &mut self,
        id: &PullId,
        result: Option<Result<Found, EngineError>>,
        now: Instant,
        at: Timestamp,
    ) -> Vec<ResourceKey> {
        let Some(entry) = self.entries.get_mut(id) else { return Vec::new() };
        let again = entry.running.take().is_some_and(|r| r.again);
        match result {
            // Aborted. Somebody may have come since, who is `again`.
            None => {}
            Some(Ok(Found { there, pulled })) => {
                if pulled {
                    entry.wanters.values_mut().for_each(|w| w.refreshed = true);
                }
                // A look that finds what a pull has failed to renew settles nothing.
                if there && entry.job().is_none() {
                    (entry.failure, entry.attempts, entry.not_before) = (None, 0, None);
                }
            }
            Some(Err(error)) => {
                entry.attempts = entry.attempts.saturating_add(1);
                let (reason, terminal) = message::classify(&id.image, &error);
                let attempt = if terminal { u32::MAX } else { entry.attempts };
                let mut wait = self.backoff.delay(attempt, self.noise.unit());
                if let ErrorKind::Throttled { retry_after: Some(asked) } = error.kind {
                    wait = wait.max(asked.min(LONGEST_WAIT));
                }
                let message = message::failed(&id.image, &error);
                entry.failure = Some(Failure { message, reason, terminal, next_at: at.plus(wait) });
                entry.not_before = Some(now + wait);
            }
        }
        entry.due = match entry.job() {
            _ if entry.wanters.is_empty() => None,
            _ if again => Some(now),
            None => None,
            // It may be built or loaded at any time, and there is no event for every way.
            Some(Job::Look) => Some(now + self.backoff.max),
            Some(Job::Fetch | Job::Refetch) => Some(entry.not_before.map_or(now, |t| t.max(now))),
        };
        self.news(id)
    }
}
