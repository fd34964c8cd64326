//! What a service's container and probes say about it.

use std::time::Duration;

use super::types::PlanContext;
use crate::clock::Timestamp;
use crate::resource::desired::Service;
use crate::resource::labels;
use crate::resource::observed::{Container, RunState, ServiceObserved};
use crate::resource::status::{ContainerSummary, Reason};
use crate::resource::units::human_duration;

/// A run of this length is no crash loop: Docker forgets its own backoff then too.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How the container that serves is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub ready: bool,
    pub reason: Reason,
    pub message: String,
    pub stalled: bool,
    /// Look again then: a deadline passes.
    pub wake_at: Option<Timestamp>,
    /// The liveness probe has failed past its threshold.
    pub dead: bool,
}

impl Verdict {
    pub fn new(ready: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { ready, reason, message: message.into(), stalled: false, wake_at: None, dead: false }
    }

    fn stalled(mut self) -> Self {
        self.stalled = true;
        self
    }

    fn waking(mut self, at: Timestamp) -> Self {
        self.wake_at = Some(at);
        self
    }
}

/// Reads container and probes. For a container that runs, is paused, or is being restarted by Docker.
pub fn verdict(service: &Service, container: &Container, cx: &PlanContext<'_>) -> Verdict {
    match container.state {
        RunState::Running => running(service, container, cx),
        RunState::Paused => Verdict::new(false, Reason::Paused, "paused outside env-manager; left alone").stalled(),
        RunState::Restarting => {
            let verdict = Verdict::new(false, Reason::CrashLoop, crash_text(container));
            let ended_at = container.finished_at.unwrap_or(cx.engine_now);
            if is_looping(container, ended_at, cx) { verdict.stalled() } else { verdict }
        }
        RunState::Created => Verdict::new(false, Reason::Creating, "created, not started"),
        RunState::Exited => Verdict::new(false, Reason::ExitedWithError, exit_text(container)),
        RunState::Dead | RunState::Removing => Verdict::new(false, Reason::Removing, "being removed"),
    }
}

/// Docker counts restarts since creation, so only a short run makes an old count a crash loop.
fn is_looping(container: &Container, until: Timestamp, cx: &PlanContext<'_>) -> bool {
    let started_at = container.started_at.unwrap_or(container.created_at);
    container.restarts >= u64::from(cx.policy.max_attempts) && until.since(started_at) < STABLE_AFTER
}

/// A time of the engine on our own clock, which nobody sets: somebody may have set the other one.
pub(super) fn on_our_clock(at: Timestamp, cx: &PlanContext<'_>) -> Timestamp {
    at.plus(cx.now.since(cx.engine_now)).minus(cx.engine_now.since(cx.now))
}

fn running(service: &Service, container: &Container, cx: &PlanContext<'_>) -> Verdict {
    let looping = is_looping(container, cx.engine_now, cx);
    let probes = &service.spec.probes;
    let seen = cx.probes;
    let started_at = on_our_clock(container.started_at.unwrap_or(container.created_at), cx);
    let stable_at = started_at.plus(STABLE_AFTER);
    if probes.is_empty() {
        // A start in the future tells of a clock that was set, and not of a short run.
        let is_young = started_at <= cx.now && cx.now < stable_at;
        if container.restarts > 0 && is_young {
            let verdict = Verdict::new(false, Reason::CrashLoop, crash_text(container)).waking(stable_at);
            return if looping { verdict.stalled() } else { verdict };
        }
        return Verdict::new(true, Reason::Running, "running; it has no probe");
    }
    // With nothing that gates the start, running is started.
    let gated = probes.startup.is_some() || probes.readiness.is_some();
    let started = seen.started || !gated;
    let ready = started && (probes.readiness.is_none() || seen.ready == Some(true));
    let told = |fallback: &str| if seen.message.is_empty() { fallback.to_owned() } else { seen.message.clone() };
    if ready {
        let mut verdict = Verdict::new(true, Reason::ProbeSucceeded, told("running"));
        verdict.dead = seen.live == Some(false);
        return verdict;
    }
    let reason = if seen.unreachable { Reason::ProbeUnreachable } else { Reason::ProbeFailed };
    if started {
        // Until it has answered it is on its way up, not failing.
        let reason = if seen.ready.is_none() && !seen.unreachable { Reason::Starting } else { reason };
        let mut verdict = Verdict::new(false, reason, told("the readiness probe has not answered yet"));
        verdict.dead = seen.live == Some(false);
        return verdict;
    }
    if looping {
        return Verdict::new(false, Reason::CrashLoop, crash_text(container)).stalled().waking(stable_at);
    }
    let allowed = startup_deadline(service);
    let deadline = started_at.plus(allowed);
    // Long up, and nobody has asked it yet: env-manager has just started.
    let asked = seen.ready.is_some() || seen.unreachable || !seen.message.is_empty();
    if cx.now >= deadline && !asked {
        let first_answer = probes.iter().map(|(_, p)| p.timeout + p.interval).max().unwrap_or_default();
        let verdict = Verdict::new(false, Reason::Starting, "running; waiting for its probe's first answer");
        return verdict.waking(cx.now.plus(first_answer));
    }
    if cx.now >= deadline {
        let message = format!("not ready within {}: {}", human_duration(allowed), told("no probe has answered"));
        return Verdict::new(false, Reason::StartupDeadlineExceeded, message).stalled();
    }
    let reason = if seen.unreachable { Reason::ProbeUnreachable } else { Reason::Starting };
    Verdict::new(false, reason, told("started; waiting for its probe")).waking(deadline)
}

/// From container start; the startup probe's own, else the update's.
pub fn startup_deadline(service: &Service) -> Duration {
    let startup = service.spec.probes.startup.as_ref().and_then(|p| p.deadline);
    startup.map_or(service.spec.update.progress_deadline, |d| d.0)
}

/// How the last run ended.
pub fn exit_text(container: &Container) -> String {
    let mut text = match container.exit_code {
        Some(code) => format!("exited with code {code}"),
        None => "exited".to_owned(),
    };
    if container.oom_killed {
        text.push_str(", killed by the kernel: out of memory");
    }
    if let Some(error) = container.error.as_deref().filter(|e| !e.is_empty()) {
        text.push_str(": ");
        text.push_str(error);
    }
    text
}

fn crash_text(container: &Container) -> String {
    let times = match container.restarts {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    match (container.state, container.restarts) {
        (RunState::Restarting, 0) => format!("{}; Docker is about to restart it", exit_text(container)),
        (RunState::Restarting, _) => format!("{}; Docker has restarted it {times}", exit_text(container)),
        _ => match container.exit_code {
            Some(_) => {
                format!("{}, and has just been started again; Docker has restarted it {times}", exit_text(container))
            }
            // Nobody has seen how it ended.
            None => format!("it has just been started again; Docker has restarted it {times}"),
        },
    }
}

/// For statuses.
pub fn summary(container: &Container, observed: &ServiceObserved) -> ContainerSummary {
    let image = observed.images.get(&container.image_id);
    ContainerSummary {
        id: container.id.clone(),
        name: container.name.clone(),
        image: container.config.image.clone(),
        running: container.is_running(),
        started_at: container.started_at.filter(|_| container.is_running()),
        restarts: container.restarts,
        exit_code: container.exit_code.filter(|_| matches!(container.state, RunState::Exited | RunState::Restarting)),
        revision: container.owner.revision.clone(),
        ports: container.published.clone(),
        stand_in: image.and_then(|i| i.labels.get(labels::STAND_IN).cloned()),
    }
}
