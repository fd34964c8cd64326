//! `events.jsonl`: a line an event or repetition, appended; the last line of an `id` counts.
//!
//! Written anew, and renamed into place, when half of it is out of date. Not synced line by line: it
//! survives `kill -9`, and a power cut may cost the last seconds.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ledger::Kept;
use super::{Entry, MAX_CALLER, MAX_ENTRIES, MAX_MESSAGE, Sequence};
use crate::clock::Timestamp;
use crate::resource::event::{Actor, EventReason};
use crate::resource::printable::printable;
use crate::resource::{Kind, ResourceKey};

pub const FILE: &str = "events.jsonl";
const PARTIAL: &str = "events.jsonl.partial";

/// Of a line. What a line of a higher one means is not known, so it is skipped.
const VERSION: u32 = 1;

/// Twice what is kept, at two kilobytes a line, is below this; of more only the end is read.
const MAX_BYTES: u64 = 32 << 20;

/// Below so many lines a file is not written anew.
const MIN_LINES: usize = 256;

/// Far beyond any clock: a line with a higher number is spoilt. Exact in JavaScript, too.
const MAX_SEQUENCE: Sequence = 1 << 53;

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    id: Sequence,
    sequence: Sequence,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// `service/redis`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    reason: String,
    message: String,
    by: String,
    revision: String,
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    v: u32,
}

/// Why a line is not used.
enum Skipped {
    Newer,
    Spoilt,
}

#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    /// Everything up to here has been written.
    written: Sequence,
    /// In the file.
    lines: usize,
    /// The file ends in the middle of a line, or may do.
    torn: bool,
}

impl Disk {
    /// What is there, in no order.
    pub fn open(dir: &Path) -> io::Result<(Self, Vec<Kept>)> {
        let path = dir.join(FILE);
        let mut disk = Self { dir: dir.to_owned(), written: 0, lines: 0, torn: false };
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(mut file) => {
                let beyond = file.metadata()?.len().saturating_sub(MAX_BYTES);
                file.seek(SeekFrom::Start(beyond))?;
                file.take(MAX_BYTES).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((disk, Vec::new())),
            Err(error) => return Err(error),
        }
        disk.torn = bytes.last().is_some_and(|b| *b != b'\n');
        let (mut by_id, mut newer, mut spoilt) = (BTreeMap::<Sequence, Kept>::new(), 0, 0);
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            disk.lines += 1;
            match parse(line) {
                Ok(kept) => {
                    let stale = by_id.get(&kept.id).is_some_and(|k| k.entry.sequence > kept.entry.sequence);
                    if !stale {
                        disk.written = disk.written.max(kept.entry.sequence);
                        by_id.insert(kept.id, kept);
                    }
                }
                Err(Skipped::Newer) => newer += 1,
                Err(Skipped::Spoilt) => spoilt += 1,
            }
        }
        if spoilt > 0 {
            tracing::warn!(path = %path.display(), lines = spoilt, "lines of the event history cannot be read; the rest is kept");
        }
        if newer > 0 {
            tracing::info!(path = %path.display(), lines = newer, "events of a newer version are skipped");
        }
        Ok((disk, by_id.into_values().collect()))
    }

    pub fn written(&self) -> Sequence {
        self.written
    }

    /// The file is to be written anew, where so many more lines would be added to what is `kept`.
    pub fn is_due(&self, more: usize, kept: usize) -> bool {
        let lines = self.lines + more;
        lines > MIN_LINES && lines > kept.min(MAX_ENTRIES).saturating_mul(2)
    }

    /// One write. `false`: there is no file to append to.
    pub fn append(&mut self, batch: &[Kept]) -> io::Result<bool> {
        let mut file = match OpenOptions::new().append(true).open(self.dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut text = if self.torn { b"\n".to_vec() } else { Vec::new() };
        text.extend(to_lines(batch)?);
        // A full disk can take a part of it.
        self.torn = true;
        file.write_all(&text)?;
        self.torn = false;
        self.lines += batch.len();
        self.mark_written(batch);
        Ok(true)
    }

    /// A crash leaves the old or the new file whole.
    pub fn rewrite(&mut self, all: &[Kept]) -> io::Result<()> {
        let partial = self.dir.join(PARTIAL);
        fs::create_dir_all(&self.dir)?;
        // What happens in a stack is nobody else's business.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&to_lines(all)?)?;
        file.sync_all()?;
        fs::rename(&partial, self.dir.join(FILE))?;
        self.torn = false;
        self.lines = all.len();
        self.mark_written(all);
        Ok(())
    }

    fn mark_written(&mut self, entries: &[Kept]) {
        self.written = entries.last().map_or(self.written, |kept| kept.entry.sequence);
    }
}

fn to_lines(entries: &[Kept]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for Kept { id, entry } in entries {
        let Entry { sequence, first, last, count, subject, reason, message, by, revision } = entry;
        let line = Line {
            v: VERSION,
            id: *id,
            sequence: *sequence,
            first: *first,
            last: *last,
            count: *count,
            subject: subject.as_ref().map(|s| format!("{}/{}", s.kind, s.name)),
            reason: reason.to_string(),
            message: message.clone(),
            by: by.to_string(),
            revision: revision.to_string(),
        };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn parse(line: &[u8]) -> Result<Kept, Skipped> {
    let Ok(line) = serde_json::from_slice::<Line>(line) else {
        let newer = serde_json::from_slice::<Head>(line).is_ok_and(|head| head.v > VERSION);
        return Err(if newer { Skipped::Newer } else { Skipped::Spoilt });
    };
    if line.v > VERSION {
        return Err(Skipped::Newer);
    }
    let Line { v: _, id, sequence, first, last, count, subject, reason, message, by, revision } = line;
    if id > sequence || sequence > MAX_SEQUENCE {
        return Err(Skipped::Spoilt);
    }
    let entry = Entry {
        sequence,
        first,
        last,
        count,
        subject: subject.map(|s| key(&s).ok_or(Skipped::Newer)).transpose()?,
        reason: reason.parse::<EventReason>().map_err(|_| Skipped::Newer)?,
        // Somebody may have edited the file.
        message: printable(&message, MAX_MESSAGE),
        by: match by.parse().map_err(|_| Skipped::Newer)? {
            Actor::Caller(who) => Actor::Caller(printable(&who, MAX_CALLER)),
            by => by,
        },
        revision: printable(&revision, MAX_CALLER).into(),
    };
    Ok(Kept { id, entry })
}

fn key(text: &str) -> Option<ResourceKey> {
    let (kind, name) = text.split_once('/')?;
    let kind = [Kind::Network, Kind::Volume, Kind::Service].into_iter().find(|k| k.to_string() == kind)?;
    Some(ResourceKey::new(kind, printable(name, MAX_CALLER * 2)))
}
