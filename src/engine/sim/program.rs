//! What is inside images, and what registries answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::resource::image::{ImageId, ImageInfo};

/// What a container of an image does, once started. Times count from each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Exec probes pass from then on; `None`: never.
    pub ready_after: Option<Duration>,
    /// It ends by itself, with this exit code.
    pub exits_after: Option<(Duration, i64)>,
    /// Ends because the kernel killed it for its memory.
    pub exits_by_oom: bool,
    /// Exec probes fail from then on.
    pub goes_unhealthy_after: Option<Duration>,
    /// From the stop signal to its end; `None`: it ignores the signal and is killed after its grace.
    pub stops_in: Option<Duration>,
    /// Exit code where the stop signal ends it.
    pub stop_code: i64,
    /// The engine cannot even start it: its command is not in the image.
    pub has_no_command: bool,
    /// How long a command in it takes.
    pub exec_takes: Duration,
    /// Bytes; a limit below that is refused while it runs.
    pub uses_memory: u64,
    /// Lines that it writes when it starts.
    pub writes: Vec<String>,
    /// `HEALTHCHECK`, which tells what exec probes would.
    pub has_healthcheck: bool,
    /// `VOLUME`
    pub volumes: BTreeSet<String>,
    /// `ENV`
    pub env: BTreeMap<String, String>,
    /// `LABEL`
    pub labels: BTreeMap<String, String>,
    /// `CMD`
    pub command: Vec<String>,
    /// Nothing but a difference, for images that are to have ids of their own.
    pub build: u64,
}

impl Default for Program {
    /// Runs, and its probes pass at once.
    fn default() -> Self {
        Self {
            ready_after: Some(Duration::ZERO),
            exits_after: None,
            exits_by_oom: false,
            goes_unhealthy_after: None,
            stops_in: Some(Duration::from_millis(10)),
            stop_code: 143,
            has_no_command: false,
            exec_takes: Duration::from_millis(27),
            uses_memory: 1 << 20,
            writes: Vec::new(),
            has_healthcheck: false,
            volumes: BTreeSet::new(),
            env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
            labels: BTreeMap::new(),
            command: vec!["program".to_owned()],
            build: 0,
        }
    }
}

impl Program {
    /// Ready so long after each start.
    pub fn ready_after(after: Duration) -> Self {
        Self { ready_after: Some(after), ..Self::default() }
    }

    /// Runs, and its probes never pass.
    pub fn never_ready() -> Self {
        Self { ready_after: None, ..Self::default() }
    }

    /// Ends by itself.
    pub fn exits(after: Duration, code: i64) -> Self {
        Self { exits_after: Some((after, code)), ..Self::default() }
    }

    /// Content decides: equal programs are equal images, here and in registries.
    pub(super) fn image_id(&self) -> ImageId {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(format!("{self:?}"));
        ImageId(digest.iter().fold("sha256:".to_owned(), |id, byte| format!("{id}{byte:02x}")))
    }

    pub(super) fn info(&self) -> ImageInfo {
        ImageInfo {
            id: self.image_id(),
            env: self.env.clone(),
            labels: self.labels.clone(),
            command: self.command.clone(),
            volumes: self.volumes.clone(),
            has_healthcheck: self.has_healthcheck,
            // Content decides for registries too.
            digests: BTreeSet::from([self.image_id().0]),
            ..ImageInfo::default()
        }
    }
}

/// What the registry answers to a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryAnswer {
    /// It has it. A pull moves the tag, where the image is another one than before.
    Image(Box<Program>),
    /// It has no such image, and never heard of it where nothing was set.
    NotFound,
    Denied,
    Throttled,
    /// Nobody answers.
    Down,
}

/// One spelling for one image: with its tag, and without Docker Hub's name.
pub(super) fn canonical(reference: &str) -> String {
    let reference = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let reference = reference.strip_prefix("library/").unwrap_or(reference);
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}
