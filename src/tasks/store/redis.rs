//! Tasks in Redis: sorted sets and hashes, changed by scripts that are atomic there, and one stream of events.
//!
//! All keys begin with `{em:STACK}:`, so that they are in one slot.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `t:ID` | hash | class, prio, state, att(empts), max, sub(mitted), queued, seq, token, out(come), worker, start, end, due, pause, err, flow, hash (of the content); no value longer than 64 bytes, which keeps it small in memory |
//! | `v:ID` | hash | those values that are longer; `>` stands in their place |
//! | `p:ID`, `o:ID` | string | payload, until the task is completed or cancelled; result |
//! | `w:CLASS` | sorted set | waiting: score −priority, member `%016d(seq):ID`, so by age within a priority; a retry keeps its member, and so its place |
//! | `z:CLASS` | sorted set | waiting for their next attempt, by when it is due |
//! | `l:CLASS` | sorted set | leases, by when they lapse |
//! | `c:`, `x:`, `d:CLASS` | sorted set | completed, cancelled, dead, by when they ended |
//! | `vt` | hash | how far on each class is, for fairness between them (`scripts/lease.lua`) |
//! | `n` | string | counts members and tokens |
//! | `ev` | stream | the last 10,000 events or a few more |
//!
//! Scripts are in `scripts/`. Each may be sent twice: an answer with the token of the last attempt has the outcome
//! that it had. Of a lease that nobody received nothing is left once it lapses.
//!
//! A script that Redis was killed in the middle of writing to its file is half done after the *second* start from
//! then on (`scripts/common.lua`; seen with 7.0.15, and mended in Valkey by its pull request 4342). So writes have an
//! order in which each head of a script is harmless, and a set says only where to look: the record decides.
//!
//! # Durability
//!
//! [`durable`] says which settings it takes. A submission is acknowledged only if Redis, asked on the same connection
//! and in the same breath *after* the script, still has them: a connection never outlives the process it goes to, so
//! neither a restart with other settings nor a `CONFIG SET` can come between. So that nothing is done where it will be
//! refused, they are asked *before*, too, for each new connection, and where the last answer is older than 2 s. (Not
//! behind a proxy that has connections of its own and shares them.) Other calls are not held up by settings: what is
//! lost with the answer to a lease is that answer, and the task runs once more.

mod durable;
mod link;
mod record;
mod scripts;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::{Cmd, Value};

use self::link::{Link, unexpected};
use self::record::{Cursor, cut, events, lease, sets, task, word, words};
use self::scripts::{Call, Scripts};
use super::{Answer, Changed, Depths, Extension, Failed, MAX_ITEMS, Page, Retry, StoreError, Submitted, Swept};
use super::{ClassDepth, TaskStore};
use crate::backoff::Noise;
use crate::tasks::settings::{ByClass, Class, Durability, TaskSettings};
use crate::tasks::task::{Content, Lease, NewTask, Position, State, Task, TaskEvent, TaskId, Token};

/// Payloads in the answer of one lease call; it ends with the one that exceeds it.
const LEASED_BYTES: usize = 4 << 20;
/// Script calls of one sweep.
const SWEEPS: usize = 50;

#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    settings: TaskSettings,
    prefix: String,
    link: Link,
    scripts: Scripts,
    noise: Mutex<Noise>,
}

impl RedisStore {
    /// Connects when it is first asked something; so it needs no Redis, but a runtime later.
    ///
    /// # Errors
    /// A sentence: the URL is none. It does not repeat it, since a password may be in it.
    pub fn connect(settings: &TaskSettings, stack: &str) -> Result<Self, String> {
        let inner = Inner {
            link: Link::new(&settings.redis)?,
            settings: settings.clone(),
            prefix: format!("{{em:{stack}}}:"),
            scripts: Scripts::new(),
            noise: Mutex::new(Noise::new(RandomState::new().build_hasher().finish())),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Where Redis is, without user and password.
    pub fn address(&self) -> &str {
        self.0.link.address()
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    fn script(&self, script: &'static str) -> Call<'_> {
        self.0.scripts.call(script, &self.0.prefix)
    }

    /// The pause after each attempt, in ms: `1000,2000,4000`.
    fn pauses(&self) -> String {
        let noise = self.0.noise.lock().unwrap_or_else(PoisonError::into_inner).unit();
        let attempts = self.0.settings.classes.iter().map(|(_, class)| class.max_attempts).max().unwrap_or(1);
        let pauses = (1..=attempts.clamp(1, 32)).map(|n| ms(self.0.settings.backoff.delay(n, noise)).to_string());
        pauses.collect::<Vec<_>>().join(",")
    }

    fn time_limits(&self) -> impl Iterator<Item = u64> {
        self.0.settings.classes.iter().map(|(_, class)| ms(class.time_limit))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

fn at_most(items: usize) -> Result<(), StoreError> {
    if items > MAX_ITEMS { Err(StoreError::Invalid("a call has at most 200 items")) } else { Ok(()) }
}

impl TaskStore for RedisStore {
    async fn submit(&self, tasks: &[NewTask]) -> Result<Vec<Submitted>, StoreError> {
        at_most(tasks.len())?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.script("submit").arg(self.0.settings.max_backlog);
        for (_, class) in self.0.settings.classes.iter() {
            call = call.arg(class.max_attempts);
        }
        for task in tasks {
            let NewTask { id, class, priority, workflow_id, payload } = task;
            call = call.arg(id.as_str()).arg(task.content_hash()).arg(class.name()).arg(*priority);
            call = call.arg(workflow_id).arg(&payload.encode()[..]);
        }
        let strict = self.0.settings.durability == Durability::Strict;
        let answer = if strict { self.0.link.durably(&call).await? } else { self.0.link.run(&call).await? };
        words(answer, tasks.len(), |word| match word {
            "new" => Some(Submitted::New),
            "same" => Some(Submitted::Same),
            "conflict" => Some(Submitted::Conflict),
            "full" => Some(Submitted::Full),
            _ => None,
        })
    }

    async fn lease(&self, worker: &str, wanted: &[(Class, u32)], duration: Duration) -> Result<Vec<Lease>, StoreError> {
        let mut of_class = ByClass([0_u32; 4]);
        for (class, more) in wanted {
            let sum = of_class.of_mut(*class);
            *sum = sum.saturating_add(*more);
        }
        let all = of_class.0.iter().fold(0_u32, |sum, more| sum.saturating_add(*more));
        at_most(all as usize)?;
        if all == 0 {
            return Ok(Vec::new());
        }
        let mut call = self.script("lease").arg(worker).arg(ms(duration)).arg(LEASED_BYTES);
        for (class, number) in of_class.iter().filter(|(_, number)| **number > 0) {
            let settings = self.0.settings.classes.of(class);
            call = call.arg(class.name()).arg(*number).arg(settings.concurrency);
            call = call.arg(settings.weight.max(1)).arg(ms(settings.time_limit));
        }
        let Value::Array(leases) = self.0.link.run(&call).await? else { return Err(unexpected("lease")) };
        leases.into_iter().map(|answer| lease(answer).ok_or_else(|| unexpected("lease"))).collect()
    }

    async fn extend(&self, leases: &[(TaskId, Token)], duration: Duration) -> Result<Vec<Extension>, StoreError> {
        at_most(leases.len())?;
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.script("extend").arg(ms(duration));
        for limit in self.time_limits() {
            call = call.arg(limit);
        }
        for (id, token) in leases {
            call = call.arg(id.as_str()).arg(&token.0);
        }
        words(self.0.link.run(&call).await?, leases.len(), |word| match word {
            "ok" => Some(Extension::Ok),
            "lost" => Some(Extension::Lost),
            "cancelled" => Some(Extension::Cancelled),
            _ => None,
        })
    }

    async fn complete(&self, id: &TaskId, token: &Token, result: &Content) -> Result<Answer, StoreError> {
        let call = self.script("complete").arg(id.as_str()).arg(&token.0).arg(&result.encode()[..]);
        answer(self.0.link.run(&call).await?)
    }

    async fn fail(&self, id: &TaskId, token: &Token, error: &str, retry: Retry) -> Result<Failed, StoreError> {
        let retry = match retry {
            Retry::Never => "never".to_owned(),
            Retry::Backoff => "backoff".to_owned(),
            Retry::After(pause) => ms(pause).to_string(),
        };
        let call = self.script("fail").arg(id.as_str()).arg(&token.0).arg(cut(error)).arg(retry).arg(self.pauses());
        match self.0.link.run(&call).await? {
            Value::Int(-2) => Ok(Failed::Stale),
            Value::Int(-1) => Ok(Failed::Dead),
            Value::Int(pause) => u64::try_from(pause)
                .map(|ms| Failed::RetryIn(Duration::from_millis(ms)))
                .map_err(|_| unexpected("fail")),
            _ => Err(unexpected("fail")),
        }
    }

    async fn release(&self, id: &TaskId, token: &Token) -> Result<Answer, StoreError> {
        answer(self.0.link.run(&self.script("release").arg(id.as_str()).arg(&token.0)).await?)
    }

    async fn cancel(&self, id: &TaskId, reason: &str) -> Result<Changed, StoreError> {
        changed(self.0.link.run(&self.script("cancel").arg(id.as_str()).arg(cut(reason))).await?)
    }

    async fn requeue(&self, id: &TaskId) -> Result<Changed, StoreError> {
        changed(self.0.link.run(&self.script("requeue").arg(id.as_str())).await?)
    }

    async fn get(&self, ids: &[TaskId], with_results: bool) -> Result<Vec<Option<Task>>, StoreError> {
        at_most(ids.len())?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.script("get").arg(u8::from(with_results));
        for id in ids {
            call = call.arg(id.as_str());
        }
        let Value::Array(records) = self.0.link.run(&call).await? else { return Err(unexpected("get")) };
        let records = records.into_iter().map(|record| match record {
            Value::Nil => Ok(None),
            record => task(record).map(Some).ok_or_else(|| unexpected("get")),
        });
        records.collect()
    }

    async fn list(
        &self,
        states: &[State],
        class: Option<Class>,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        const NO_SUCH_PAGE: StoreError = StoreError::Invalid("there is no such page");
        at_most(limit)?;
        let sets = sets(states, class);
        let cursor = from.map(|from| Cursor::parse(from, &sets).ok_or(NO_SUCH_PAGE)).transpose()?;
        let (score, member, first) = cursor.map_or(("", "", 0), |c| (c.score, c.member, c.set));
        if limit == 0 || sets.is_empty() {
            return Ok(Page::default());
        }
        let mut call = self.script("list").arg(limit).arg(score).arg(member);
        for set in &sets[first..] {
            call = call.arg(set);
        }
        record::page(self.0.link.run(&call).await?, &sets[first..]).ok_or_else(|| unexpected("list"))
    }

    async fn events(&self, after: Position, limit: usize, wait: Duration) -> Result<Vec<TaskEvent>, StoreError> {
        let mut read = Cmd::new();
        read.arg("XREAD").arg("COUNT").arg(limit.clamp(1, 10_000));
        // 0 would be for ever.
        if !wait.is_zero() {
            read.arg("BLOCK").arg(ms(wait).max(1));
        }
        read.arg("STREAMS").arg(self.key("ev")).arg(format!("{}-{}", after.at.0, after.number));
        events(self.0.link.wait(&read, wait).await?).ok_or_else(|| unexpected("XREAD"))
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        let mut read = Cmd::new();
        read.arg("XREVRANGE").arg(self.key("ev")).arg("+").arg("-").arg("COUNT").arg(1);
        record::newest(self.0.link.ask(&read).await?).ok_or_else(|| unexpected("XREVRANGE"))
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        let answer = self.0.link.run(&self.script("depths")).await?;
        let numbers = record::numbers(answer).filter(|n| n.len() == 18).ok_or_else(|| unexpected("depths"))?;
        let mut by_class = ByClass([ClassDepth::default(); 4]);
        for (class, of) in Class::ALL.into_iter().zip(numbers.chunks_exact(4)) {
            let oldest = Duration::from_millis(of[3]);
            *by_class.of_mut(class) = ClassDepth { waiting: of[0], delayed: of[1], running: of[2], oldest };
        }
        Ok(Depths { by_class, dead: numbers[16], done: numbers[17] })
    }

    async fn sweep(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for _ in 0..SWEEPS {
            let mut call = self.script("sweep").arg(MAX_ITEMS).arg(ms(self.0.settings.result_ttl));
            call = call.arg(self.0.settings.max_dead).arg(self.pauses());
            for limit in self.time_limits() {
                call = call.arg(limit);
            }
            let numbers = record::numbers(self.0.link.run(&call).await?);
            let Some(&[due, lapsed, died, forgotten]) = numbers.as_deref() else { return Err(unexpected("sweep")) };
            swept = Swept { due: swept.due + due, lapsed: swept.lapsed + lapsed, died: swept.died + died };
            if due + lapsed + forgotten < MAX_ITEMS as u64 {
                break;
            }
        }
        Ok(swept)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match self.0.settings.durability {
            Durability::Strict => self.0.link.check().await,
            // A read, and one that is refused while it loads.
            Durability::Relaxed => self.newest().await.map(drop),
        }
    }
}

fn answer(value: Value) -> Result<Answer, StoreError> {
    match word(value).as_deref() {
        Some("ok") => Ok(Answer::Ok),
        Some("stale") => Ok(Answer::Stale),
        _ => Err(unexpected("an answer to a lease")),
    }
}

fn changed(value: Value) -> Result<Changed, StoreError> {
    let word = word(value).ok_or_else(|| unexpected("a change"))?;
    if word.is_empty() {
        return Ok(Changed::Unknown);
    }
    State::from_name(&word).map(Changed::From).ok_or_else(|| unexpected("a change"))
}
