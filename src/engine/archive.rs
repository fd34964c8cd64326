//! A service's files as one tar archive, to be unpacked at `/` of its container.
//!
//! One archive, since each upload costs the engine about 30 ms whatever its size. Its last entry is a
//! symbolic link whose target is the files' salted hash: the engine unpacks in order, so that who
//! finds the link knows that the upload was completed, and of which files.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Archive;
use crate::resource::desired::Service;
use crate::resource::hash::SaltedHash;
use crate::resource::spec::FileSpec;

/// The link that ends an upload.
pub const MARKER_PATH: &str = "/.env-manager";

/// 2020-01-01: the same on every machine and at every time, so that equal files are equal bytes.
const MODIFIED: u64 = 1_577_836_800;

/// Parents that are missing in the image are made by the engine, as root's and 0755.
pub fn archive(service: &Service, marker: &SaltedHash) -> Archive {
    let mut tar = tar::Builder::new(Vec::new());
    // Sorted by target, whatever the order in the manifest.
    let files: BTreeMap<_, _> = service.spec.container.files.iter().map(|f| (&f.target, f)).collect();
    for FileSpec { target, origin: _, mode, uid, gid, signal: _ } in files.into_values() {
        let content = service.file_content(target);
        let mut header = head(tar::EntryType::Regular, *mode);
        header.set_uid((*uid).into());
        header.set_gid((*gid).into());
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, relative(target), content).expect("writing to memory");
    }
    end(tar, marker)
}

/// Nothing but the marker: the files are there.
pub fn marker_alone(marker: &SaltedHash) -> Archive {
    end(tar::Builder::new(Vec::new()), marker)
}

fn end(mut tar: tar::Builder<Vec<u8>>, marker: &SaltedHash) -> Archive {
    let mut header = head(tar::EntryType::Symlink, 0o777);
    tar.append_link(&mut header, relative(MARKER_PATH), marker.to_string()).expect("writing to memory");
    Archive(Bytes::from(tar.into_inner().expect("writing to memory")))
}

fn head(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(MODIFIED);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// Below the root, and nowhere else: validation has refused `..`, and here it could do no harm.
fn relative(target: &str) -> String {
    let parts: Vec<_> = target.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests;
