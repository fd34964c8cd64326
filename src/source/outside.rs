//! The variables and files that manifests refer to, and a record of what was read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::manifest::{Content, Outside, ReadError};
use crate::resource::hash::sha256_hex;

/// `O_NONBLOCK`: opening a pipe that nobody writes to must not wait.
#[cfg(target_os = "linux")]
const NONBLOCK: i32 = 0o4000;
#[cfg(not(target_os = "linux"))]
const NONBLOCK: i32 = 0x4;

pub(super) struct Machine<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
    /// Hash of each public file that a manifest named, for the revision.
    pub seen: RefCell<BTreeMap<PathBuf, String>>,
    /// Every file that a manifest named, secret or not, there or not.
    pub asked: RefCell<BTreeSet<PathBuf>>,
}

impl<'a> Machine<'a> {
    pub fn new(variables: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variables, seen: RefCell::default(), asked: RefCell::default() }
    }
}

impl Outside for Machine<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    fn read(&self, path: &Path, limit: u64, content: Content) -> Result<Vec<u8>, ReadError> {
        self.asked.borrow_mut().insert(path.to_owned());
        let result = read_regular(path, limit);
        if content == Content::Public {
            let hash = result.as_ref().map_or_else(ToString::to_string, |bytes| sha256_hex(bytes));
            self.seen.borrow_mut().insert(path.to_owned(), hash);
        }
        result
    }
}

/// Reads a regular file of at most `limit` bytes; a pipe, a device and a folder are refused unread.
pub(super) fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let refused = |e: &std::io::Error| match e.kind() {
        ErrorKind::NotFound => ReadError::Missing,
        ErrorKind::PermissionDenied => ReadError::Other("permission denied".to_owned()),
        _ => ReadError::Other(e.to_string()),
    };
    let is_file = |file: std::io::Result<std::fs::Metadata>| match file {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(ReadError::NotAFile),
        Err(e) => Err(refused(&e)),
    };
    // Asked before opening, since opening a device may do something; and after, since it may be another file by now.
    is_file(std::fs::metadata(path))?;
    let file: File = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).map_err(|e| refused(&e))?;
    is_file(file.metadata())?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| refused(&e))?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge(limit)) } else { Ok(bytes) }
}
