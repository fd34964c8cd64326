//! The disk that both queues write to.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::calls::ms;
use crate::docker::{Error, Result, error};

const BLOCK: [u8; 4096] = [b'x'; 4096];

/// Which it is. An error where it is none.
pub fn about(folder: &Path) -> Result<Value> {
    let failed = |e: std::io::Error| Error(format!("{}: {e}", folder.display()));
    let (device, kind) = mounted(&folder.canonicalize().map_err(failed)?)?;
    if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
        return error(format!("{} is in memory ({kind}): an fsync there would cost nothing", folder.display()));
    }
    Ok(json!({"device": device, "filesystem": kind}))
}

/// The folders in this one are to be far from each other on the disk, where a filesystem can do that (ext4).
///
/// ext4 without a journal looks at each inode that was removed in the last minutes before it gives one away, and the
/// benchmark before this one removed many: near them a new file costs 0.9 ms instead of 0.03.
pub fn spread(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = ioctl_getflags(&folder).and_then(|flags| ioctl_setflags(&folder, flags | IFlags::TOPDIR));
    }
}

/// How long it takes to have 4 KiB more of a file, in milliseconds.
pub async fn fsyncs(folder: &Path, writes: usize) -> Result<Vec<f64>> {
    let failed = |e: std::io::Error| Error(format!("{}: {e}", folder.display()));
    let mut file = tempfile::tempfile_in(folder).map_err(failed)?;
    let mut took = Vec::with_capacity(writes);
    for _ in 0..writes {
        let begin = Instant::now();
        file.write_all(&BLOCK).and_then(|()| file.sync_all()).map_err(failed)?;
        took.push(ms(begin));
        yield_now().await;
    }
    Ok(took)
}

/// Device and filesystem.
fn mounted(folder: &Path) -> Result<(String, String)> {
    let mounts = std::fs::read_to_string("/proc/mounts").or_else(|e| error(format!("/proc/mounts: {e}")))?;
    let mut found: Option<(usize, String, String)> = None;
    for line in mounts.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [device, place, kind, ..] = words[..] else { continue };
        // The nearest one, and of several at a place the last: it hides the others.
        let depth = Path::new(place).components().count();
        if folder.starts_with(place) && found.as_ref().is_none_or(|(deepest, ..)| depth >= *deepest) {
            found = Some((depth, device.to_owned(), kind.to_owned()));
        }
    }
    let found = found.map(|(_, device, kind)| (device, kind));
    found.map_or_else(|| error(format!("nothing is mounted at {}", folder.display())), Ok)
}
