//! How runs ended: what the engine forgets with the next start, and what the process wrote last, read
//! once for each end (P13).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Shared, lock};
use crate::clock::Timestamp;
use crate::engine::{Engine, LogOptions};
use crate::plan::Plan;
use crate::plan::readiness::exit_text;
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::desired::{Desired, Service};
use crate::resource::ending::{ASKED, Ending, last_lines};
use crate::resource::labels::part_of;
use crate::resource::observed::{Container, Observed, RunState};
use crate::resource::secret::Secret;
use crate::resource::spec::FileOrigin;
use crate::resource::status::Reason;

/// A log that does not come within this is done without.
const PATIENCE: Duration = Duration::from_secs(2);

/// The engine notes a start after it was made: the first lines may be older. Between two runs it lets pass
/// at least so much.
const EARLY: Duration = Duration::from_millis(100);

/// The last end that was seen of a container's process.
#[derive(Clone, Debug)]
struct End {
    container: ContainerId,
    at: Option<Timestamp>,
    exit_code: Option<i64>,
    oom_killed: bool,
    how: String,
}

#[derive(Debug, Default)]
pub struct Endings {
    seen: Mutex<BTreeMap<ResourceKey, End>>,
    /// With the last words; only of what went wrong.
    told: Mutex<BTreeMap<ResourceKey, Ending>>,
}

impl Endings {
    /// Takes in how a container ended, or tells one that was started again meanwhile.
    pub(super) fn note(&self, key: &ResourceKey, observed: &mut Observed) {
        let Observed::Service(observed) = observed else { return };
        let mut told = lock(&self.told);
        if told.get(key).is_some_and(|told| observed.owned.iter().all(|c| c.id != told.container)) {
            told.remove(key);
        }
        drop(told);
        let mut seen = lock(&self.seen);
        for container in observed.owned.iter_mut().filter(|c| part_of(&c.name).is_none()) {
            let known = seen.get(key).filter(|end| end.container == container.id && end.at == container.finished_at);
            match (container.state, known) {
                (RunState::Exited | RunState::Restarting, None) => {
                    let end = End {
                        container: container.id.clone(),
                        at: container.finished_at,
                        exit_code: container.exit_code,
                        oom_killed: container.oom_killed,
                        how: exit_text(container),
                    };
                    seen.insert(key.clone(), end);
                }
                (RunState::Running, Some(end)) => {
                    (container.exit_code, container.oom_killed) = (end.exit_code, end.oom_killed);
                }
                _ => {}
            }
        }
    }

    /// `exited with code 1`: the last end that was seen.
    pub(super) fn how(&self, key: &ResourceKey) -> Option<String> {
        lock(&self.seen).get(key).map(|end| end.how.clone())
    }

    pub(super) fn of(&self, key: &ResourceKey) -> Option<Ending> {
        lock(&self.told).get(key).cloned()
    }

    pub(super) fn forget(&self, key: &ResourceKey) {
        lock(&self.seen).remove(key);
        lock(&self.told).remove(key);
    }
}

/// What a container writes can be masked only while its secrets are those that the manifest has now.
pub(super) fn has_known_secrets(service: &Service, container: &Container) -> bool {
    let is_secret = |origin: &FileOrigin| matches!(origin, FileOrigin::Secret(_));
    let secret_files = service.spec.container.files.iter().any(|f| is_secret(&f.origin));
    container.owner.secrets_hash.as_ref().is_none_or(|hash| hash.matches_secrets(service))
        && container.files_marker.as_ref().map_or(!secret_files, |marker| marker.matches_files(service))
}

impl<E: Engine> Shared<E> {
    /// Reads what a process wrote last that ended badly, or does not become ready. Once for each end.
    pub(super) async fn hear_last_words(
        &self,
        key: &ResourceKey,
        desired: Option<&Desired>,
        observed: &Observed,
        plan: &Plan,
    ) {
        let Observed::Service(observed) = observed else { return };
        let status = &plan.status;
        let reasons =
            [Some(status.reason), status.stalled.as_ref().map(|s| s.0), status.reconciling.as_ref().map(|s| s.0)];
        let is = |reason| reasons.contains(&Some(reason));
        let late = is(Reason::StartupDeadlineExceeded);
        if !late && !is(Reason::CrashLoop) && !is(Reason::ExitedWithError) {
            return;
        }
        let Some(container) = status.container.as_ref().and_then(|c| observed.owned.iter().find(|o| o.id == c.id))
        else {
            return;
        };
        let at = container.finished_at.filter(|_| !late);
        if self.endings.of(key).is_some_and(|told| told.container == container.id && told.at == at) {
            return;
        }
        let mut ending = Ending {
            container: container.id.clone(),
            at,
            how: if late { status.message.clone() } else { exit_text(container) },
            lines: Vec::new(),
        };
        // Noted before it is asked for: a log that cannot be read is asked for once.
        lock(&self.endings.told).insert(key.clone(), ending.clone());
        let service = desired.and_then(|d| d.spec.as_service());
        let Some(service) = service.filter(|service| has_known_secrets(service, container)) else { return };
        let followed = container.started_at.filter(|started| at.is_some_and(|at| *started >= at));
        let options = LogOptions { follow: false, tail: u32::try_from(ASKED).ok(), since: None };
        let log = self.engine.logs(&container.id, options);
        let log = log.take_while(|line| std::future::ready(line.is_ok())).filter_map(async |line| line.ok());
        let Ok(mut log) = timeout(PATIENCE, log.collect::<Vec<_>>()).await else { return };
        // The log goes on over all runs. Where this one has been followed by another its begin is not known.
        match (followed, container.started_at) {
            (Some(next), _) => log.retain(|line| line.time < next),
            (None, Some(begin)) if log.iter().any(|line| line.time >= begin.minus(EARLY)) => {
                log.retain(|line| line.time >= begin.minus(EARLY));
            }
            _ => {}
        }
        let secrets: Vec<Secret> = service.secrets().collect();
        let log: Vec<_> = log.into_iter().map(|line| line.line).collect();
        ending.lines = last_lines(&log, &secrets);
        lock(&self.endings.told).insert(key.clone(), ending);
    }
}
