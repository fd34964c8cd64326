//! What manifests refer to outside themselves: variables and files. A trait, so that this layer stays pure.

use std::fmt;
use std::path::Path;

/// Where variables and files come from.
pub trait Outside {
    /// A variable of env-manager's own environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a regular file of at most `limit` bytes. Never blocks on a pipe or device.
    fn read(&self, path: &Path, limit: u64, content: Content) -> Result<Vec<u8>, ReadError>;
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Part of the source: it counts in the source's revision.
    Public,
    /// A secret; not even its hash is shown.
    Secret,
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    Missing,
    /// It has more bytes than this.
    TooLarge(u64),
    /// A folder, a pipe, a device, a socket.
    NotAFile,
    Other(String),
    /// A finding says it already.
    Reported,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no such file"),
            Self::TooLarge(limit) => write!(f, "larger than {}", crate::resource::units::Bytes(*limit)),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Other(why) => f.write_str(why),
            Self::Reported => f.write_str("see above"),
        }
    }
}

impl std::error::Error for ReadError {}
