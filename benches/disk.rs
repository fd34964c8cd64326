//! The disk that both queues write to.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::calls::ms;
use crate::docker::{Error, Result, error};
use crate::frame;

const WRITES: usize = 200;
const BLOCK: [u8; 4096] = [b'x'; 4096];

/// Which it is, and how long it takes to have 4 KiB more of a file. An error where it is none.
pub async fn about(folder: &Path) -> Result<Value> {
    let failed = |e: std::io::Error| Error(format!("{}: {e}", folder.display()));
    let (device, kind) = mounted(&folder.canonicalize().map_err(failed)?)?;
    if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
        return error(format!("{} is in memory ({kind}): an fsync there would cost nothing", folder.display()));
    }
    let path = folder.join("fsync");
    let mut file = File::create(&path).map_err(failed)?;
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begin = Instant::now();
        file.write_all(&BLOCK).and_then(|()| file.sync_all()).map_err(failed)?;
        took.push(ms(begin));
        yield_now().await;
    }
    std::fs::remove_file(&path).map_err(failed)?;
    let at = |percent| frame::percentile(&took, percent).map(round_2);
    Ok(json!({"device": device, "filesystem": kind, "fsync_ms": {"p50": at(50), "p99": at(99)}}))
}

fn round_2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
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
