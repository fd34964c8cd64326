//! What was refused is not tried again (P9): not before its spec, its image or its files are others, or somebody
//! asks for it. Told from the engine alone: a revision is refused when its container becomes `NAME.failed`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use env_manager::engine::sim::{Call, ContainerView, World};
use env_manager::resource::desired::{DesiredSet, Service};
use env_manager::resource::image::ImageId;
use env_manager::resource::labels::{FAILED, SPEC_HASH};
use env_manager::resource::{Kind, ResourceKey};

use crate::checks::others;

struct Refused {
    service: Arc<Service>,
    image: ImageId,
}

/// The newest one of each service, as long as it is what the manifests ask for.
#[derive(Default)]
pub struct Refusals {
    by_service: BTreeMap<String, Refused>,
    /// When somebody last asked for it to be tried again. What was on its way to the engine then counts no more.
    asked: BTreeMap<String, Duration>,
    asked_of_all: Option<Duration>,
    /// That were refused at all, for the report.
    pub count: u64,
}

impl Refusals {
    /// A manifest that is broken says nothing new.
    pub fn read(&mut self, set: &DesiredSet) {
        self.by_service.retain(|name, refused| {
            let key = ResourceKey::service(name.as_str());
            match set.resources.get(&key).and_then(|spec| spec.as_service()) {
                Some(now) => now.spec == refused.service.spec && now.files == refused.service.files,
                None => set.invalid.contains_key(&key),
            }
        });
    }

    /// `services`: none are all.
    pub fn may_be_tried_again(&mut self, services: &[String], at: Duration) {
        if services.is_empty() {
            self.asked_of_all = Some(at);
        }
        self.asked.extend(services.iter().map(|name| (name.clone(), at)));
        self.by_service.retain(|name, _| !services.is_empty() && !services.contains(name));
    }

    fn was_asked_since(&self, begun: Duration, service: &str) -> bool {
        self.asked.get(service).copied().max(self.asked_of_all).is_some_and(|at| at >= begun)
    }

    /// `wanted`: what the manifests asked for when the call was `begun`.
    pub fn judge(
        &mut self,
        begun: Duration,
        service: &str,
        wanted: Option<&Arc<Service>>,
        call: &Call<'_>,
        world: &World,
    ) -> Option<String> {
        let after = call.after.as_ref().and_then(|v| v.container())?;
        let wanted = wanted.filter(|wanted| is_of(after, wanted))?;
        match call.operation {
            "rename container" if after.name.ends_with(FAILED) => {
                self.count += 1;
                if !self.was_asked_since(begun, service) {
                    let refused = Refused { service: Arc::clone(wanted), image: after.image_id.clone() };
                    self.by_service.insert(service.to_owned(), refused);
                }
                None
            }
            "create container" => {
                let refused = self.by_service.get(service)?;
                if refused.image != after.image_id {
                    self.by_service.remove(service);
                    return None;
                }
                // Better than nothing, where others have taken everything else away.
                let is_all = others(world, service, &after.id.0).iter().all(|c| c.name.ends_with(FAILED));
                let again = is_of(after, &refused.service) && wanted.files == refused.service.files;
                (again && !is_all).then(|| format!("P9: a revision of {service} that was refused is tried again"))
            }
            _ => None,
        }
    }
}

fn is_of(container: &ContainerView, service: &Service) -> bool {
    container.labels.get(SPEC_HASH).is_some_and(|hash| *hash == service.hash.to_string())
}

/// What a reading asks of a service, or what was good last where that is broken.
pub fn wanted<'a>(
    set: Option<&'a DesiredSet>,
    known: &'a BTreeMap<String, Arc<Service>>,
    service: &str,
) -> Option<&'a Arc<Service>> {
    let key = ResourceKey::new(Kind::Service, service);
    let read = set.and_then(|set| set.resources.get(&key)).and_then(|spec| spec.as_service());
    read.or_else(|| known.get(service))
}
