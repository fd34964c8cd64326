//! The labels that mark what we own. Ownership is the stack label, nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

pub const STACK: &str = "dev.env-manager.stack";
pub const SOURCE: &str = "dev.env-manager.source";
pub const SERVICE: &str = "dev.env-manager.service";
pub const SPEC_HASH: &str = "dev.env-manager.spec-hash";
pub const SECRETS_HASH: &str = "dev.env-manager.secrets-hash";
/// Where files have a signal: of what cannot be changed in a running container.
pub const FILES_HASH: &str = "dev.env-manager.files-hash";
/// Names of the environment variables whose values are masked for ever, separated by commas.
pub const SECRET_ENV: &str = "dev.env-manager.secret-env";
/// The restart policy at creation: what is stopped on purpose gets `no`, and a rollback needs to know.
pub const RESTART_POLICY: &str = "dev.env-manager.restart-policy";
/// The source's revision at which this hash was first applied. Never compared.
pub const REVISION: &str = "dev.env-manager.revision";
/// The value of the annotation `env-manager.dev/restartedAt` at creation.
pub const RESTARTED_AT: &str = "dev.env-manager.restarted-at";
/// Fields that the spec set at creation, of those whose default is the engine's, separated by commas:
/// tells a field that was taken out of a manifest from one that an engine fills in by itself.
pub const SETS: &str = "dev.env-manager.sets";
/// The adapter's own, of values that no inspect tells: the platform asked for,
pub const PLATFORM: &str = "dev.env-manager.platform";
/// and the MAC address asked for.
pub const MAC_ADDRESS: &str = "dev.env-manager.mac-address";
/// The id of the container that was not ours and whose place it has taken,
pub const ADOPTED_FROM: &str = "dev.env-manager.adopted-from";
/// and what it has kept of it (`resource::adoption`), as JSON.
pub const ADOPTED: &str = "dev.env-manager.adopted";
/// On the volume that says who owns a stack, which is no part of it: the stack,
pub const LEASE: &str = "dev.env-manager.lease";
/// and the owner (see `lease`).
pub const LEASE_HOLDER: &str = "dev.env-manager.lease-holder";
/// On images: the program that the image stands in for.
pub const STAND_IN: &str = "dev.env-manager.stand-in";

/// Neither the user's nor, where it is on a container, the image's.
pub fn is_ours(label: &str) -> bool {
    label.starts_with(PREFIX)
}

/// Every label that we set begins so; a manifest may not.
pub const PREFIX: &str = "dev.env-manager.";

/// The annotation whose change restarts a service.
pub const RESTARTED_AT_ANNOTATION: &str = "env-manager.dev/restartedAt";

/// Suffixes of the container names that a replace goes through.
pub const NEXT: &str = ".next";
pub const OLD: &str = ".old";
pub const FAILED: &str = ".failed";

/// Which of these a container's name ends in; `None`: it is no part of a replacement.
pub fn part_of(name: &str) -> Option<&'static str> {
    [NEXT, OLD, FAILED].into_iter().find(|suffix| name.ends_with(suffix))
}

/// Where manifests come from: `HOST:/absolute/folder`, or a git URL and path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub String);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
