//! What every reason means, and what to do about it. `docs/operations.md` repeats it; a test compares.

use crate::resource::status::Reason;

/// For one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    pub meaning: &'static str,
    /// What `status` prints as `next:`, where somebody has to act.
    pub next: &'static str,
    /// Somebody has to act, or should look.
    pub acts: bool,
}

const fn wait(meaning: &'static str, next: &'static str) -> Advice {
    Advice { meaning, next, acts: false }
}

const fn act(meaning: &'static str, next: &'static str) -> Advice {
    Advice { meaning, next, acts: true }
}

const NOTHING: &str = "nothing";

#[expect(clippy::too_many_lines, reason = "a table")]
/// Exhaustive: a new reason does not compile until it has a text.
pub fn advice(reason: Reason) -> Advice {
    match reason {
        Reason::Pending => wait("it has not been looked at yet", "wait"),
        Reason::DependencyNotReady => wait(
            "a service that it needs is not ready yet",
            "wait; if it lasts, look at the service that the message names",
        ),
        Reason::Pulling => wait("its image is being pulled", "wait"),
        Reason::Creating => wait("its container is being created", "wait"),
        Reason::Starting => wait("its container runs, and its startup probe has not succeeded yet", "wait"),
        Reason::Replacing => wait("a new container takes the place of the old one", "wait"),
        Reason::Restarting => wait("its container is being started again", "wait"),
        Reason::Stopping => wait("its container is being stopped", "wait; it has its grace period to end"),
        Reason::Removing => wait("it is being removed", "wait"),
        Reason::RetryBackoff => wait(
            "an action failed and is tried again after a pause",
            "wait; the message says what failed and when it is tried again",
        ),
        Reason::ProbeSucceeded => wait("its probe succeeds", NOTHING),
        Reason::Running => wait("its container runs; it has no probe", "nothing; a readiness probe would tell more"),
        Reason::Exists => wait("the network or volume is there", NOTHING),
        Reason::Completed => wait("it ran to its end with exit code 0", NOTHING),
        Reason::StoppedAsDesired => {
            wait("its manifest says `state: Stopped`", "nothing; set `state: Running` to have it started")
        }
        Reason::Suspended => wait(
            "it is suspended, by its manifest or by call: it is left as it is",
            "nothing; the message says how to have it kept again (remove `suspend: true`, or `env-manager resume NAME`)",
        ),
        Reason::Observed => wait(
            "it is only observed (`adopt: Observe`): somebody else made its container, and it is never changed",
            "nothing; set `adopt: Replace` to have it taken over",
        ),
        Reason::ProbeFailed => act(
            "its container runs, and its probe fails",
            "read the message and `docker logs NAME`; if the program is well, correct the probe in its manifest",
        ),
        Reason::ProbeUnreachable => act(
            "no route leads to the port that its probe asks",
            "publish the port, use an `exec` probe, or run env-manager on the engine's host",
        ),
        Reason::Paused => act("somebody paused its container", "`docker unpause NAME`"),
        Reason::CrashLoop => act(
            "its process keeps ending soon after it was started",
            "`env-manager describe NAME` shows its last lines (all: `docker logs NAME`); correct its command, environment or data",
        ),
        Reason::DependencyStalled => act(
            "a service that it needs cannot go on by itself",
            "help the service that the message names; this one follows by itself",
        ),
        Reason::ImageNotFound => act(
            "neither the engine nor the registry has its image",
            "correct the image's name, build it, or set another in [[service_overrides]]",
        ),
        Reason::ImagePullDenied => act(
            "the registry refuses the image to this user",
            "`docker login REGISTRY` as the user who runs env-manager, or correct the image's name",
        ),
        Reason::ImagePullFailed => act(
            "its image could not be pulled",
            "check that the registry answers from the engine's host; it is tried again by itself",
        ),
        Reason::StartupDeadlineExceeded => act(
            "it was not ready by its deadline",
            "read `docker logs NAME`; if it only needs longer, raise `probes.startup.deadline` or health_check_timeout_secs",
        ),
        Reason::StartFailed => act(
            "the engine could not start its container",
            "the message has the engine's words; correct the manifest or the host",
        ),
        Reason::CreateFailed => {
            act("the engine refused to create it", "the message has the engine's words; correct the manifest")
        }
        Reason::UpdateFailed => act(
            "its container could not be changed in place, and goes on as it is",
            "the message has the engine's words; correct the manifest (memory below what is in use is refused; `onChange: {signal: …}` needs a `/bin/sh` in the image)",
        ),
        Reason::RetriesExhausted => act(
            "an action failed as often as `retry.max_attempts` allows",
            "the message says what failed; correct it and apply again (it is also tried again by itself)",
        ),
        Reason::ExitedWithError => act(
            "its process ended with an error and is not started again",
            "read `docker logs NAME`, correct its command or data, and change its manifest to have it run again",
        ),
        Reason::NameConflict => act(
            "a container that is not ours has its name",
            "remove or rename that container, or set `spec.containerName`",
        ),
        Reason::AdoptionRefused => act(
            "a container that is not ours should be taken over, and that is not safe or not clear",
            "do what the message says, then `env-manager apply`; or set `adopt: Never`",
        ),
        Reason::NothingToObserve => act(
            "it is only observed (`adopt: Observe`), and its container is not there",
            "have it started by what made it, or set `adopt: Replace` to have env-manager make one",
        ),
        Reason::PortConflict => act(
            "something else uses its host port",
            "stop what the message names, or change the host port in the manifest",
        ),
        Reason::NetworkConflict => act(
            "a network that is not ours has its name, or overlaps with its subnet",
            "remove or rename that network, or declare it `external: true` to use it as it is",
        ),
        Reason::VolumeMissing => act(
            "an external volume that it needs is not there",
            "`docker volume create NAME`, or drop `external: true`",
        ),
        Reason::NetworkMissing => act(
            "an external network that it needs is not there",
            "`docker network create NAME`, or drop `external: true`",
        ),
        Reason::ManifestInvalid => act(
            "its manifest has an error: it is left as it is",
            "correct the manifest; `env-manager validate` shows every error with its place",
        ),
        Reason::DiskFull => act(
            "the engine's disk is full",
            "free space (`docker system df` shows what takes it); it goes on by itself",
        ),
        Reason::EngineTimeout => act(
            "the engine did not answer in time",
            "look at the engine (`docker info`) and the load of its host; it is tried again by itself",
        ),
        Reason::EngineUnreachable => {
            act("the engine does not answer", "start it, or correct `docker_host`; it goes on by itself")
        }
        Reason::RolledBack => act(
            "what the manifest asks for did not become Ready in time, so the container before serves again; the new \
             one is not tried again by itself",
            "see why (`env-manager logs NAME --failed`), change its manifest, or `env-manager retry NAME`",
        ),
        Reason::PruneRefused => act(
            "more would be removed at once than `prune_limit` allows",
            "if that is meant: `env-manager apply --allow-prune`",
        ),
    }
}
