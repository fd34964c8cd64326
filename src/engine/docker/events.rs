//! What happens on the engine, as it happens. A hint, never the truth: the engine drops events when a
//! reader is slow, and replays at most 256, counted before filtering.

use std::collections::BTreeMap;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptions;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::Docker;
use super::call::Call;
use crate::clock::Timestamp;
use crate::engine::{EngineError, EngineEvent, ErrorKind, EventKind, Result};

const TYPES: &[&str] = &["container", "network", "volume", "image"];

/// Filtered at the API, since each exec probe makes three events of its own.
const ACTIONS: &[&str] = &[
    "create",
    "start",
    // Tells who stopped it from what ended by itself.
    "kill",
    "die",
    "destroy",
    "rename",
    "update",
    "oom",
    "pause",
    "unpause",
    "health_status",
    "connect",
    "disconnect",
    "tag",
    "untag",
    "delete",
    "load",
    "pull",
    "import",
    "remove",
];

impl Docker {
    pub(super) fn event_stream(&self, cursor: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        let docker = self.clone();
        let since = cursor.map(str::to_owned);
        let opened = async move {
            docker.api(Call::Events, &docker.address).await?;
            let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
            // No label filter: events of networks carry no labels.
            let filters: BTreeMap<_, _> =
                [("type".to_owned(), words(TYPES)), ("event".to_owned(), words(ACTIONS))].into();
            let options = EventsOptions { since, until: None, filters: Some(filters.into_iter().collect()) };
            // bollard's own timeout ends with the headers, which is what is wanted here.
            let client = docker.client.clone().with_timeout(docker.deadlines.of(Call::Events));
            let events = client.events(Some(options));
            Ok::<_, EngineError>(events.map(move |event| match event {
                Ok(message) => Ok(event_of(message)),
                Err(error) => Err(docker.translate(Call::Events, &docker.address, &error)),
            }))
        };
        let address = self.address.clone();
        let end = stream::once(async move {
            let text = "the engine ended the event stream";
            Err(EngineError::new(Call::Events.operation(), &*address, ErrorKind::Unreachable, text))
        });
        let events = stream::once(opened).try_flatten().try_filter_map(|event| async { Ok(event) }).chain(end);
        // Nothing after the first error.
        events
            .scan(false, |ended, event| {
                let item = (!*ended).then(|| event.clone());
                *ended |= event.is_err();
                async { item }
            })
            .boxed()
    }
}

fn event_of(message: EventMessage) -> Option<EngineEvent> {
    let kind = match message.typ? {
        EventMessageTypeEnum::CONTAINER => EventKind::Container,
        EventMessageTypeEnum::NETWORK => EventKind::Network,
        EventMessageTypeEnum::VOLUME => EventKind::Volume,
        EventMessageTypeEnum::IMAGE => EventKind::Image,
        _ => return None,
    };
    let nanos = u64::try_from(message.time_nano.unwrap_or_default()).unwrap_or_default();
    let actor = message.actor.unwrap_or_default();
    Some(EngineEvent {
        kind,
        action: message.action.unwrap_or_default(),
        id: actor.id.unwrap_or_default(),
        attributes: actor.attributes.into_iter().flatten().collect(),
        time: Timestamp(nanos / 1_000_000),
        cursor: format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000),
    })
}
