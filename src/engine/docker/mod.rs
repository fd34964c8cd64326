//! Docker, over bollard: the only place that names it.
//!
//! | file | what |
//! |---|---|
//! | [`connect`] | where the engine is, as the docker command finds it |
//! | [`credentials`], [`user_config`] | the user's own Docker configuration: registries' credentials, contexts |
//! | [`call`] | every call with its deadline, and the wrapper that each one goes through |
//! | `version` | which API version is spoken, and how it gets into each request |
//! | `adapter` | `impl Engine for Docker`: containers, exec and the rest |
//! | `create` | what we ask for → the body of a create call; every field of a spec is named there |
//! | `inspect` | what the engine says → a spec's words, so that the two can be compared |
//! | `mounts`, `ports`, `endpoints` | the parts of both, each way side by side |
//! | `objects` | networks and volumes |
//! | `images` | pulls, and what an image brings with it |
//! | `events`, `output`, `logs` | streams: what happens, what containers and execs write |
//! | `error` | the engine's answers → [`super::ErrorKind`] and one readable line |
//! | `time` | RFC 3339 as the engine writes it |
//!
//! `docs/engine.md` has the tables of deadlines and fields; tests keep them true.

mod adapter;
pub mod call;
pub mod connect;
pub(in crate::engine) mod create;
pub mod credentials;
mod endpoints;
pub(in crate::engine) mod error;
mod events;
mod images;
pub(in crate::engine) mod inspect;
mod logs;
mod mounts;
mod objects;
mod output;
pub(in crate::engine) mod ports;
mod time;
pub mod user_config;
pub(in crate::engine) mod version;

use std::sync::Arc;
use std::time::Duration;

use self::call::Deadlines;
use self::connect::{ConnectError, EngineAddress};
use self::credentials::Keychain;
use self::version::Spoken;
use super::CallMeter;

/// A Docker engine. Cheap to clone; clones share the negotiated API version.
#[derive(Clone)]
pub struct Docker {
    client: bollard::Docker,
    /// For people: `unix:///var/run/docker.sock`.
    address: Arc<str>,
    /// On this host.
    local: bool,
    spoken: Spoken,
    /// `None`: pulls are anonymous.
    keychain: Option<Arc<Keychain>>,
    deadlines: Arc<Deadlines>,
    meter: Option<Arc<dyn CallMeter>>,
}

impl Docker {
    /// The engine at an address. Connects to nothing yet: it may come later, go away and come back.
    ///
    /// # Errors
    /// Where certificates cannot be read.
    pub fn at(address: &EngineAddress) -> Result<Self, ConnectError> {
        let spoken = Spoken::of_socket(address.socket());
        Ok(Self::with(address.client()?, address.to_string(), address.is_local(), spoken))
    }

    /// Wraps a client. Connects to nothing yet: the first call negotiates the API version.
    pub fn new(client: bollard::Docker, address: impl Into<Arc<str>>, local: bool) -> Self {
        Self::with(client, address, local, Spoken::default())
    }

    fn with(client: bollard::Docker, address: impl Into<Arc<str>>, local: bool, spoken: Spoken) -> Self {
        let modifier = spoken.clone();
        let client = client
            // Ours are shorter, except that a stop may take as long as its grace.
            .with_timeout(Duration::from_secs(u64::from(u32::MAX)))
            .with_request_modifier(move |request| version::prepare(&modifier, request));
        let deadlines = Arc::new(Deadlines::default());
        Self { client, address: address.into(), local, spoken, keychain: None, deadlines, meter: None }
    }

    /// Asked before each pull. Without one, pulls are anonymous.
    #[must_use]
    pub fn with_keychain(mut self, keychain: Keychain) -> Self {
        self.keychain = Some(Arc::new(keychain));
        self
    }

    /// Other deadlines than those of [`call::DEADLINES`].
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = Arc::new(deadlines);
        self
    }

    /// Is told how long every call took.
    #[must_use]
    pub fn with_meter(mut self, meter: Arc<dyn CallMeter>) -> Self {
        self.meter = Some(meter);
        self
    }
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docker").field("address", &self.address).field("local", &self.local).finish_non_exhaustive()
    }
}
