//! Executes the first stage of a plan, step by step. Decides nothing.
//!
//! What is limited is engine calls, by semaphores held around one call: `starts` for creating and
//! starting containers (not until they are Ready), `calls` for everything. A replacement takes its
//! `starts` permit before the old container stops and keeps it until the new one has started, so that
//! the gap is never spent waiting in line.

mod failure;
mod files;
mod reload;

use std::fmt;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

pub use failure::failure;

use crate::engine::{Engine, EngineError, ErrorKind, archive};
use crate::plan::{Op, Stage, Step, Target};
use crate::resource::container::ContainerId;

/// Calls in flight, over all resources.
#[derive(Debug)]
pub struct Limits {
    starts: Semaphore,
    calls: Semaphore,
}

impl Limits {
    pub const CALLS: usize = 32;

    /// `starts`: how many containers may be created or started at once; 0: as many as there are.
    pub fn new(starts: usize) -> Self {
        let starts = if starts == 0 { Semaphore::MAX_PERMITS } else { starts.min(Semaphore::MAX_PERMITS) };
        Self { starts: Semaphore::new(starts), calls: Semaphore::new(Self::CALLS) }
    }
}

/// What came of a stage.
#[derive(Debug)]
pub struct Report {
    /// Steps that took effect.
    pub done: usize,
    pub end: End,
}

#[derive(Debug)]
pub enum End {
    /// Every step was taken.
    Completed,
    /// What was planned is out of date; the rest was not begun.
    Superseded,
    /// The step after `done` failed. It may have taken effect all the same.
    Failed(EngineError),
}

/// Told of every step. Must be quick.
pub trait Watch: Sync {
    /// Its call is about to be made.
    fn begins(&self, _step: &Step) {}
    fn ended(&self, _step: &Step, _result: Result<(), &EngineError>) {}
}

/// Nobody is told.
impl Watch for () {}

/// Takes the steps of a stage in order, and stops at the first that fails.
///
/// `superseded` is asked before each step and after each wait for a permit, but for those from a stop to
/// the start that follows it, and between two renames: given up there, nothing would serve for as long as
/// nobody plans anew, as while the service is suspended or the daemon is away. A call is never cancelled in
/// flight.
pub async fn execute<E: Engine>(
    engine: &E,
    stage: &Stage,
    limits: &Limits,
    watch: &impl Watch,
    superseded: impl Fn() -> bool,
) -> Report {
    let mut created: Option<ContainerId> = None;
    let mut starts: Option<SemaphorePermit<'_>> = None;
    let mut in_gap = false;
    for (done, step) in stage.steps.iter().enumerate() {
        if !in_gap && superseded() {
            return Report { done, end: End::Superseded };
        }
        let starts_later = stage.steps[done..].iter().any(|s| matches!(s.op, Op::Start(_)));
        let needs_permit = match step.op {
            Op::CreateContainer(_) | Op::Start(_) => true,
            Op::Stop { .. } => starts_later,
            _ => false,
        };
        if needs_permit && starts.is_none() {
            starts = limits.starts.acquire().await.ok();
            if superseded() {
                return Report { done, end: End::Superseded };
            }
        }
        if let Op::Drain(time) = step.op {
            sleep(time).await;
            continue;
        }
        let result = {
            let _call = limits.calls.acquire().await;
            watch.begins(step);
            take(engine, &step.op, created.as_ref()).await
        };
        watch.ended(step, result.as_ref().map(|_| ()));
        match result {
            Ok(id) => created = id.or(created),
            Err(error) => return Report { done, end: End::Failed(error) },
        }
        // From stop to start it is kept.
        let keep = matches!(step.op, Op::Stop { .. } | Op::Rename { .. }) && starts_later;
        if !keep {
            starts = None;
        }
        let is_rename = |s: &Step| matches!(s.op, Op::Rename { .. });
        let nobody_has_the_name = is_rename(step) && stage.steps.get(done + 1).is_some_and(is_rename);
        in_gap = nobody_has_the_name
            || starts_later && (in_gap || matches!(step.op, Op::Stop { .. })) && !matches!(step.op, Op::Start(_));
    }
    Report { done: stage.steps.len(), end: End::Completed }
}

/// One engine call.
async fn take<E: Engine>(
    engine: &E,
    op: &Op,
    created: Option<&ContainerId>,
) -> Result<Option<ContainerId>, EngineError> {
    match op {
        Op::CreateContainer(create) => {
            files::write(create).await?;
            return engine.create_container(create).await.map(Some);
        }
        Op::Connect { target, endpoint } => engine.connect(id(target, created)?, endpoint).await,
        Op::Disconnect { target, network, id: network_id } => {
            // Where an endpoint has lost its network's id, the name has to do.
            let network = if network_id.0.is_empty() { network } else { &*network_id.0 };
            engine.disconnect(&id(target, created)?.0, network, true).await
        }
        Op::Upload { target, service, marker } => {
            engine.upload(id(target, created)?, &archive::archive(service, marker)).await
        }
        Op::Reload { target, signal, marker } => reload::reload(engine, id(target, created)?, signal, marker).await,
        Op::SetRestartPolicy { target, policy } => engine.set_restart_policy(id(target, created)?, *policy).await,
        Op::UpdateLimits { target, limits } => engine.update_limits(id(target, created)?, limits).await,
        Op::Start(target) => engine.start(id(target, created)?).await,
        Op::Stop { target, grace } => engine.stop(id(target, created)?, *grace).await,
        Op::Rename { target, to } => engine.rename(id(target, created)?, to).await,
        // No call: it is waited for above.
        Op::Drain(_) => Ok(()),
        Op::RemoveContainer(target) => engine.remove_container(id(target, created)?).await,
        Op::CreateNetwork { spec, labels } => engine.create_network(spec, labels).await.map(drop),
        Op::RemoveNetwork { id, .. } => engine.remove_network(id).await,
        Op::CreateVolume { spec, labels } => engine.create_volume(spec, labels).await.map(drop),
        Op::RemoveVolume { name } => engine.remove_volume(name).await,
    }
    .map(|()| None)
}

fn id<'a>(target: &'a Target, created: Option<&'a ContainerId>) -> Result<&'a ContainerId, EngineError> {
    match target {
        Target::Existing { id, .. } => Ok(id),
        // A plan that names what it has not created is a bug of the planner; it is planned anew.
        Target::Created { name } => created.ok_or_else(|| {
            EngineError::new(
                "find",
                format!("container {name}"),
                ErrorKind::NotFound,
                "it was not created by this stage",
            )
        }),
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Superseded => f.write_str("superseded"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
