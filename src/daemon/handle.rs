//! What a running daemon answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::environment::{Context, Description, Environment, Identity, LogQuery, Refusal, Synced};
use super::source::Command;
use crate::engine::{ContainerFilter, Engine, EngineError, LogLine, LogOptions};
use crate::history::History;
use crate::manifest::suggestion;
use crate::metrics::Metrics;
use crate::queue;
use crate::report::View;
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::event::{Actor, EventReason};
use crate::resource::key::Kind;
use crate::resource::labels::FAILED;
use crate::resource::status::Status;
use crate::store::Store;

/// A running daemon, as the faces see it.
pub struct Handle<E: Engine> {
    pub(super) parts: Arc<Parts<E>>,
}

impl<E: Engine> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Self { parts: Arc::clone(&self.parts) }
    }
}

impl<E: Engine> Handle<E> {
    fn known(&self) -> BTreeSet<String> {
        let keys =
            self.parts.controller.known().into_iter().chain(self.parts.controller.status().snapshot().into_keys());
        // What is kept although nothing describes it may be suspended, too.
        let kept: Vec<_> = self.parts.context.borrow().kept.iter().map(|kept| kept.key.clone()).collect();
        keys.chain(kept).filter(|k| k.kind == Kind::Service).map(|k| k.name.to_string()).collect()
    }

    /// The manifests have changed: reads them, as when the file system tells so. Who tells waits for nothing;
    /// one that is not received is made up for by the next resync.
    pub fn reread(&self) {
        let _ = self.parts.commands.try_send(Command::Reread);
    }

    /// The keys of these services.
    fn keys(&self, services: &[String]) -> Result<BTreeSet<ResourceKey>, Refusal> {
        let known = self.known();
        let key = |name: &String| {
            if known.contains(name) {
                return Ok(ResourceKey::service(name.as_str()));
            }
            let hint = suggestion(name, known.iter().map(String::as_str));
            Err(Refusal::NoSuchService { name: name.clone(), stack: self.parts.identity.stack.clone(), hint })
        };
        services.iter().map(key).collect()
    }

    fn changing(&self) -> Result<(), Refusal> {
        if self.parts.identity.observe_only { Err(Refusal::ObserveOnly) } else { Ok(()) }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.parts.commands.send(command(answer)).await.map_err(|_| Refusal::Ending)?;
        answered.await.map_err(|_| Refusal::Ending)
    }

    async fn failed_container(&self, service: &str) -> Result<ContainerId, Refusal> {
        let filter =
            ContainerFilter { stack: Some(self.parts.identity.stack.clone()), service: Some(service.to_owned()) };
        let rows = self.parts.engine.list_containers(&filter).await?;
        let failed = rows.into_iter().find(|row| row.name.ends_with(FAILED));
        failed.map(|row| row.id).ok_or_else(|| {
            Refusal::NotNow(format!("no failed revision of {service} is kept; leave out --failed to read what serves"))
        })
    }
}

impl<E: Engine> Environment for Handle<E> {
    fn identity(&self) -> &Identity {
        &self.parts.identity
    }

    fn statuses(&self) -> &Store<ResourceKey, Status> {
        self.parts.controller.status()
    }

    fn context(&self) -> watch::Receiver<Arc<Context>> {
        self.parts.context.subscribe()
    }

    fn view(&self) -> View {
        let context = Arc::clone(&self.parts.context.borrow());
        let Context { source, engine, invalid_manifests, findings, kept, notes, leaving } = (*context).clone();
        View {
            stack: self.parts.identity.stack.clone(),
            source,
            engine,
            observe_only: self.parts.identity.observe_only,
            findings,
            statuses: self.parts.controller.statuses(),
            invalid_manifests,
            leaving,
            kept,
            notes,
            now: self.parts.clock.now(),
            took: None,
        }
    }

    fn history(&self) -> &History {
        &self.parts.history
    }

    fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    fn queue(&self) -> queue::Snapshot<ResourceKey> {
        self.parts.controller.queue()
    }

    fn describe(&self, service: &str) -> Option<Description> {
        let controller = &self.parts.controller;
        let key = ResourceKey::service(service);
        let status = controller.statuses().remove(&key)?;
        let desired = controller.desired().get(&key);
        let spec = desired.as_ref().and_then(|d| d.spec.as_service());
        let spec = spec.map(|s| serde_yaml::to_string(&s.spec).unwrap_or_default()).unwrap_or_default();
        let (look, probes) = controller.seen(&key);
        let suspension = self.parts.suspensions().get(service).cloned();
        let waiting = controller.queue().waiting.into_iter().find(|w| w.key == key);
        Some(Description {
            status,
            spec,
            manifest: self.parts.manifests().get(&key).map(ToString::to_string).unwrap_or_default(),
            dependents: controller.dependents(&key).iter().map(|k| k.name.to_string()).collect(),
            drift: look.as_ref().map(|l| l.changes.clone()).unwrap_or_default(),
            plan: look.as_ref().map(|l| l.plan.clone()).unwrap_or_default(),
            probes,
            containers: look.map(|l| l.containers).unwrap_or_default(),
            suspended_by: suspension.map(|s| (Actor::Caller(s.by), s.since)),
            backoff: waiting,
            ending: controller.last_end(&key),
        })
    }

    async fn sync(&self, services: Vec<String>, allow_prune: bool, by: Actor) -> Result<Synced, Refusal> {
        // One that was added a moment ago may be asked for: the manifests are read first.
        let named = services.clone();
        let known = self.keys(&services).unwrap_or_default();
        let synced = self.ask(|answer| Command::Sync { services: known, allow_prune, by, answer }).await?;
        self.keys(&named)?;
        Ok(synced)
    }

    async fn suspend(&self, services: Vec<String>, by: Actor) -> Result<Vec<String>, Refusal> {
        self.changing()?;
        self.keys(&services)?;
        self.ask(|answer| Command::Suspend { services, by, answer }).await
    }

    async fn resume(&self, services: Vec<String>, by: Actor) -> Result<(Vec<String>, Vec<String>), Refusal> {
        self.changing()?;
        self.keys(&services)?;
        self.ask(|answer| Command::Resume { services, by, answer }).await
    }

    async fn retry(&self, services: Vec<String>, by: Actor) -> Result<Vec<String>, Refusal> {
        self.changing()?;
        let keys: Vec<_> = if services.is_empty() {
            self.parts.controller.failed()
        } else {
            self.keys(&services)?.into_iter().collect()
        };
        for key in &keys {
            self.parts.tell(Some(key), EventReason::RetryRequested, "tried again at once".to_owned(), by.clone());
        }
        self.parts.controller.retry(keys.clone());
        Ok(keys.iter().map(ToString::to_string).collect())
    }

    async fn restart(&self, services: Vec<String>, by: Actor) -> Result<Vec<String>, Refusal> {
        self.changing()?;
        let keys = self.keys(&services)?;
        let suspended: Vec<_> = keys.iter().filter(|key| self.parts.controller.is_suspended(key)).collect();
        if let Some(key) = suspended.first() {
            return Err(Refusal::NotNow(format!("{key} is suspended: `env-manager resume {key}` first")));
        }
        let mut restarting = Vec::new();
        for key in keys {
            if !self.parts.controller.restart(&key) {
                return Err(Refusal::NotNow(format!("{key} has no container that could be restarted")));
            }
            self.parts.tell(
                Some(&key),
                EventReason::RestartRequested,
                "a restart was asked for".to_owned(),
                by.clone(),
            );
            restarting.push(key.name.to_string());
        }
        Ok(restarting)
    }

    async fn logs(&self, query: LogQuery) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, Refusal> {
        let LogQuery { service, follow, tail, since, failed } = query;
        let key = self.keys(std::slice::from_ref(&service))?.pop_first().ok_or(Refusal::Ending)?;
        let id = if failed {
            self.failed_container(&service).await?
        } else {
            let container = self.parts.controller.status().get(&key).and_then(|s| s.container.clone());
            let none = || {
                Refusal::NotNow(format!("{service} has no container yet; `env-manager describe {service}` says why"))
            };
            container.ok_or_else(none)?.id
        };
        Ok(self.parts.engine.logs(&id, LogOptions { follow, tail, since }))
    }

    fn closing(&self) -> CancellationToken {
        self.parts.closing.clone()
    }
}
