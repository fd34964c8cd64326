//! One pass over everything that changes nothing: what `plan` and `status` show without a daemon.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::observe::Subject;
use super::{Controller, Shared};
use crate::engine::{Engine, EngineError};
use crate::plan::{Mode, Plan};
use crate::probe::probe_once;
use crate::resource::ResourceKey;
use crate::resource::desired::Desired;
use crate::resource::observed::Observed;
use crate::resource::probe::ProbeState;

impl<E: Engine> Controller<E> {
    /// Observes and plans every resource, dependencies first, and publishes what it finds.
    ///
    /// `probe`: ask each running container's probes once. Without it, readiness is unknown, and only
    /// the plans mean anything.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn survey(
        &self,
        also: impl IntoIterator<Item = ResourceKey>,
        probe: bool,
    ) -> Result<BTreeMap<ResourceKey, Plan>, EngineError> {
        let shared = &self.shared;
        let keys = shared.desired.snapshot().into_keys().chain(also).chain(shared.suspended());
        let order = shared.graph().in_order(keys);
        let observations = order.iter().map(|key| shared.look(key, probe));
        let looked = futures_util::future::try_join_all(observations).await?;
        let mut plans = BTreeMap::new();
        for (key, (desired, observed, probes)) in order.into_iter().zip(looked) {
            let mode = shared.mode(&key);
            let deps = shared.deps(&key);
            let mut plan =
                shared.plan_with(&key, desired.as_deref(), &observed, mode, (&probes, &ProbeState::default()), &deps);
            plan.say_pending("`env-manager apply`");
            shared.publish(&key, desired.as_deref(), mode, &plan);
            plans.insert(key, plan);
        }
        Ok(plans)
    }
}

impl<E: Engine> Shared<E> {
    async fn look(
        &self,
        key: &ResourceKey,
        probe: bool,
    ) -> Result<(Option<Arc<Desired>>, Observed, ProbeState), EngineError> {
        let desired = self.desired.get(key);
        let removing = self.mode(key) == Mode::Removing;
        let subject = Subject { key, desired: desired.as_deref(), stack: &self.settings.stack, removing };
        let observed = self.observer.observe(&*self.engine, subject).await?;
        let service = desired.as_ref().and_then(|d| d.spec.as_service());
        let probes = match (service, &observed) {
            (Some(service), Observed::Service(observed)) if probe => {
                let named = observed.named(&service.spec.container.name);
                match named.or_else(|| observed.adoptees.first()).filter(|c| c.is_running()) {
                    Some(container) => {
                        let target = self.probe_target(service, container, observed.network_holder.as_deref());
                        probe_once(&*self.engine, &target, &service.spec.probes).await
                    }
                    None => ProbeState::default(),
                }
            }
            _ => ProbeState::default(),
        };
        Ok((desired, observed, probes))
    }
}
