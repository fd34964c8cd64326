//! Which API version is spoken, and how it gets into each request.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bollard::BollardRequest;

use super::Docker;
use super::call::Call;
use crate::engine::{EngineError, EngineInfo, ErrorKind, Result};

/// A version of the API, `1.x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api(pub u32);

impl Api {
    /// Docker 20.10: the first that takes a platform at create.
    pub const OLDEST: Self = Self(41);
    /// What bollard's types were written for.
    pub const NEWEST: Self = Self(53);

    /// Where a MAC address belongs to an endpoint and no longer to the container.
    pub const ENDPOINT_MAC_ADDRESS: Self = Self(44);
    pub const VOLUME_SUBPATH: Self = Self(45);
    pub const GATEWAY_PRIORITY: Self = Self(48);

    fn parse(text: &str) -> Option<Self> {
        text.trim().strip_prefix("1.")?.parse().ok().map(Self)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// What every request has to say: shared by all clones of a client.
#[derive(Clone, Debug, Default)]
pub(super) struct Spoken {
    /// The negotiated version; 0 until negotiated.
    api: Arc<AtomicU32>,
    /// A socket as bollard writes it into a request, in hexadecimal digits.
    host: Option<Arc<str>>,
}

impl Spoken {
    pub fn of_socket(path: Option<&Path>) -> Self {
        let digits = |path: &Path| {
            path.as_os_str().as_encoded_bytes().iter().fold(String::new(), |mut digits, byte| {
                let _ = write!(digits, "{byte:02x}");
                digits
            })
        };
        Self { api: Arc::default(), host: path.map(|p| Arc::from(digits(p))) }
    }

    fn get(&self) -> Option<Api> {
        Some(Api(self.api.load(Ordering::Relaxed))).filter(|api| api.0 > 0)
    }

    fn set(&self, api: Api) {
        self.api.store(api.0, Ordering::Relaxed);
    }

    pub fn forget(&self) {
        self.api.store(0, Ordering::Relaxed);
    }
}

/// Mends three things in each request that bollard 0.21 builds.
///
/// It makes no client for a socket that is not there yet, so one for another place is sent to it.
/// It joins the path so that the version is dropped, and the engine would then speak its newest,
/// whatever was negotiated. And it writes registry credentials in base64's ordinary alphabet where
/// the engine reads the one for URLs and takes what it cannot read for "anonymous".
pub(super) fn prepare(spoken: &Spoken, mut request: BollardRequest) -> BollardRequest {
    if let Some(host) = &spoken.host {
        let rest = request.uri().path_and_query().map_or("/", |p| p.as_str());
        if let Ok(uri) = format!("unix://{host}{rest}").parse() {
            *request.uri_mut() = uri;
        }
    }
    let path = request.uri().path();
    let versioned = path.starts_with("/v1.");
    // The one call that has to work before a version is known.
    if let Some(api) = spoken.get().filter(|_| !versioned && path != "/version") {
        let rest = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
        request = pointed_at(request, &format!("/v{api}{rest}"));
    }
    if let Some(auth) = request.headers_mut().get_mut("x-registry-auth") {
        let mended = auth.to_str().unwrap_or_default().replace('+', "-").replace('/', "_");
        if let Ok(value) = mended.parse() {
            *auth = value;
            auth.set_sensitive(true);
        }
    }
    request
}

/// The same request, for another path and query.
pub(super) fn pointed_at(mut request: BollardRequest, path_and_query: &str) -> BollardRequest {
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |a| a.as_str());
    if let Ok(uri) = format!("{scheme}://{authority}{path_and_query}").parse() {
        *request.uri_mut() = uri;
    }
    request
}

impl Docker {
    /// The version spoken, negotiated now if it has not been yet.
    pub(super) async fn api(&self, call: Call, subject: &str) -> Result<Api> {
        match self.spoken.get() {
            Some(api) => Ok(api),
            None => match self.negotiate().await {
                Ok(_) => Ok(self.spoken.get().unwrap_or(Api::OLDEST)),
                // What could not be done is the caller's call, not our question before it.
                Err(e) => Err(EngineError::new(call.operation(), subject, e.kind, e.message)),
            },
        }
    }

    /// Asks the engine for its versions and settles on the newest that both sides know.
    pub(super) async fn negotiate(&self) -> Result<EngineInfo> {
        let deadline = self.deadlines.of(Call::Info);
        let answer = self.within(Call::Info, deadline, &self.address, self.client.version()).await?;
        let unusable = |kind, text: String| Err(EngineError::new(Call::Info.operation(), &*self.address, kind, text));
        let version = answer.version.unwrap_or_default();
        let Some(newest) = answer.api_version.as_deref().and_then(Api::parse) else {
            return unusable(ErrorKind::Other, "what answers there does not say which API it speaks".to_owned());
        };
        let oldest = answer.min_api_version.as_deref().and_then(Api::parse).unwrap_or(Api(0));
        if newest < Api::OLDEST {
            let text = format!(
                "engine {version} speaks API {newest}; {} (Docker 20.10) is the oldest that works here",
                Api::OLDEST
            );
            return unusable(ErrorKind::Unsupported, text);
        }
        if oldest > Api::NEWEST {
            let text =
                format!("engine {version} wants API {oldest} or newer; this env-manager speaks up to {}", Api::NEWEST);
            return unusable(ErrorKind::Unsupported, text);
        }
        let api = newest.min(Api::NEWEST);
        self.spoken.set(api);
        Ok(EngineInfo { version, api_version: api.to_string(), address: self.address.to_string(), local: self.local })
    }
}
