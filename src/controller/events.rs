//! What Docker says has changed. Every event is a hint: the job that it wakes reads what is true.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::sleep;
use tracing::debug;

use super::Shared;
use crate::engine::{Engine, EngineEvent, EventKind};
use crate::resource::ResourceKey;
use crate::resource::labels;
use crate::resource::status::Reason;

/// Before the stream is opened again. Everything is looked at then, since events may have been lost.
const RECONNECT: Duration = Duration::from_secs(1);

/// Reads the event stream for ever.
pub async fn pump<E: Engine>(shared: &Shared<E>) {
    loop {
        let mut events = shared.engine.events(None);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => wake(shared, &event),
                Err(error) => {
                    debug!("{error}");
                    break;
                }
            }
        }
        sleep(RECONNECT).await;
        shared.images.refresh();
        for key in shared.desired.snapshot().into_keys() {
            look_again(shared, key);
        }
    }
}

fn look_again<E: Engine>(shared: &Shared<E>, key: ResourceKey) {
    shared.recent.forget(&key);
    shared.queue.add(key);
}

fn wake<E: Engine>(shared: &Shared<E>, event: &EngineEvent) {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    match event.kind {
        EventKind::Container if attribute(labels::STACK) == Some(&shared.settings.stack) => {
            if let Some(service) = attribute(labels::SERVICE) {
                look_again(shared, ResourceKey::service(service));
            }
        }
        // Somebody else's container may have made way.
        EventKind::Container if matches!(event.action.as_str(), "die" | "destroy" | "rename") => {
            let in_conflict = shared
                .status
                .snapshot()
                .into_iter()
                .filter(|(_, status)| matches!(status.reason, Reason::NameConflict | Reason::PortConflict));
            in_conflict.for_each(|(key, _)| look_again(shared, key));
        }
        EventKind::Network | EventKind::Volume => {
            let name = attribute("name").unwrap_or(&event.id);
            let key = match event.kind {
                EventKind::Network => ResourceKey::network(name),
                _ => ResourceKey::volume(name),
            };
            // Attachments are the services' business, and a network's disappearance is its own.
            if shared.desired.get(&key).is_some() {
                look_again(shared, key);
            }
        }
        // One that was awaited may have been built or loaded by hand.
        EventKind::Image => shared.images.refresh(),
        EventKind::Container => {}
    }
}
