//! Asks registries, while services run, whether a tag has moved (`image_poll`).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::wakes::Trigger;
use super::{Controller, Shared, lock};
use crate::backoff::Noise;
use crate::engine::{Engine, EngineError, ErrorKind};
use crate::images::PullId;
use crate::images::poll::{Poll, Telling};
use crate::plan::Mode;
use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason};
use crate::resource::spec::{Adopt, DesiredState, PullPolicy};

type Followed = BTreeMap<PullId, Vec<ResourceKey>>;

impl<E: Engine> Controller<E> {
    /// Asks for ever: one image after the other, and the first time after a pause, since what was just
    /// created was just pulled.
    pub(super) async fn poll_images(&self, every: Duration) {
        let shared = &self.shared;
        let mut poll = Poll::new(every, Noise::new(lock(&shared.noise).next_u64()));
        loop {
            sleep(poll.pause()).await;
            let followed = shared.followed();
            poll.retain(&followed.keys().cloned().collect());
            for (id, users) in &followed {
                if !poll.may_ask(&id.image, Instant::now()) || shared.images.is_wanted(id) {
                    continue;
                }
                let Err(error) = shared.ask_and_pull(&mut poll, id, users).await else { continue };
                shared.weather.doubt(&error);
                match poll.failed(id, &error, Instant::now()) {
                    Telling::Nothing => {}
                    Telling::Image(message) => {
                        warn!("{message}");
                        for key in users {
                            shared.tell(Some(key), EventReason::ImagePollFailed, message.clone(), Actor::EnvManager);
                        }
                    }
                    Telling::Engine(message) => {
                        warn!("{message}");
                        shared.tell(None, EventReason::ImagePollFailed, message, Actor::EnvManager);
                    }
                }
                if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Unsupported) {
                    break;
                }
            }
        }
    }
}

impl<E: Engine> Shared<E> {
    /// Images whose tags may move without anybody telling, and the services that are to move with them.
    fn followed(&self) -> Followed {
        let mut followed = Followed::new();
        for (key, desired) in self.desired.snapshot() {
            let Some(service) = desired.spec.as_service() else { continue };
            let spec = &service.spec;
            let is_ours = spec.state == DesiredState::Running && !matches!(spec.adopt, Adopt::Observe(_));
            // A digest does not move.
            let is_tag = !spec.container.image.as_str().contains('@');
            if spec.pull_policy == PullPolicy::Always && is_ours && is_tag && self.mode(&key) == Mode::Normal {
                let id = PullId { image: spec.container.image.clone(), platform: spec.container.platform.clone() };
                followed.entry(id).or_default().push(key);
            }
        }
        followed
    }

    async fn ask_and_pull(&self, poll: &mut Poll, id: &PullId, users: &[ResourceKey]) -> Result<(), EngineError> {
        let digest = self.engine.registry_digest(&id.image).await?;
        let local = self.engine.inspect_image(id.image.as_str()).await?;
        if !poll.answered(id, &digest, local.as_ref()) {
            return Ok(());
        }
        info!("{}: the registry has another one ({digest}); pulling it", id.image);
        self.images.renew(id).await?;
        poll.pulled(id, digest);
        // The engine tells of the pull, too; but an event is a hint.
        for key in users {
            self.look_again(key.clone(), Trigger::Image);
        }
        Ok(())
    }
}
