//! Commands in containers, and what containers write.

use std::time::Duration;

use futures_util::stream::{self, Stream};

use super::SimEngine;
use super::core::Core;
use super::refusal::{Refusal, refusal};
use crate::engine::docker::call::Call;
use crate::engine::{LogLine, LogOptions, Result};
use crate::resource::container::ContainerId;
use crate::resource::observed::RunState;

impl Core {
    /// Its id, and how long it takes.
    pub fn begin_exec(&mut self, id: &ContainerId) -> std::result::Result<(String, Duration), Refusal> {
        let unit = self.unit(id)?;
        match unit.state {
            RunState::Running => {}
            RunState::Paused => {
                return Err(refusal(409, format!("Container {} is paused, unpause the container before exec", id.0)));
            }
            RunState::Restarting => {
                let text = format!("Container {} is restarting, wait until the container is running", id.0);
                return Err(refusal(409, text));
            }
            _ => return Err(refusal(409, format!("Container {} is not running", id.0))),
        }
        let takes = unit.program.exec_takes;
        let exec_id = self.new_id();
        self.emit_exec();
        let at = self.at;
        self.execs.retain(|_, (_, ends)| *ends > at);
        self.execs.insert(exec_id.clone(), (id.clone(), at + takes));
        Ok((exec_id, takes))
    }
}

/// Who follows a container's log.
pub(super) struct Follow {
    engine: SimEngine,
    id: ContainerId,
    options: LogOptions,
    /// The next line's index; `None`: not looked at yet.
    next: Option<usize>,
}

impl Follow {
    pub fn new(engine: SimEngine, id: ContainerId, options: LogOptions) -> Self {
        Self { engine, id, options, next: None }
    }

    /// Nothing after the first error.
    pub fn lines(self) -> impl Stream<Item = Result<LogLine>> + Send + 'static {
        stream::unfold(Some(self), |follow| async move {
            let mut follow = follow?;
            match follow.line().await {
                Ok(Some(line)) => Some((Ok(line), Some(follow))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn line(&mut self) -> Result<Option<LogLine>> {
        if self.next.is_none() {
            let (id, LogOptions { follow: _, tail, since }) = (self.id.clone(), self.options);
            let subject = self.id.to_string();
            let first = self.engine.read(Call::Logs, &subject, move |core| {
                let logs = &core.unit(&id)?.logs;
                let old = logs.iter().take_while(|l| since.is_some_and(|at| l.time < at)).count();
                let tail = tail.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
                Ok(old.max(logs.len().saturating_sub(tail)))
            });
            self.next = Some(first.await?);
        }
        let next = self.next.unwrap_or_default();
        loop {
            let changed = self.engine.changed();
            let due = {
                let mut core = self.engine.lock();
                core.advance();
                let Some(unit) = core.containers.get(&self.id) else { return Ok(None) };
                if let Some(line) = unit.logs.get(next) {
                    self.next = Some(next + 1);
                    return Ok(Some(line.clone()));
                }
                if !self.options.follow || !unit.runs() {
                    return Ok(None);
                }
                core.next_due()
            };
            self.engine.until(due, changed).await;
        }
    }
}
