//! The queue that this one replaces: a folder `pending/` with a JSON file for each task, a worker that looks there every
//! 250 ms, a folder `done/` with its results.
//!
//! The old system's change log has the name of the folder and the line that writes a task. That a submitter looks for
//! its result as often, that a file is written aside and renamed, and what is synced are ours; wherever there was a
//! choice it is the quicker one: a task is not moved before it is worked on, is not parsed, and counts as completed
//! once its result is there, before the task itself is removed.
//!
//! Folders stay until the benchmark ends, and each round has its own ([`disk::spread`](crate::disk::spread) says why).

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use env_manager::backoff::Noise;
use futures_util::future::try_join_all;
use rustix::fs::syncfs;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::calls::{ms, payload, result};
use crate::docker::{Error, Result, error};

const POLL: Duration = Duration::from_millis(250);

/// How a file gets to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Under another name, then renamed: nobody reads half of it.
    Aside,
    /// As the change log has it. A worker may read half of it, and has to try again.
    InPlace,
}

#[derive(Clone, Copy, Debug)]
pub struct How {
    pub written: Written,
    /// File and folder are synced before it counts.
    pub sync: bool,
}

struct FileQueue {
    how: How,
    pending: PathBuf,
    done: PathBuf,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |e| Error(format!("{path}: {e}"))
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn count(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder).map_err(failed(folder))?.count())
}

impl FileQueue {
    fn new(folder: &Path, how: How) -> Result<Self> {
        let (pending, done) = (folder.join("pending"), folder.join("done"));
        for folder in [&pending, &done] {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        sync(folder)?;
        Ok(Self { how, pending, done })
    }

    fn write(&self, folder: &Path, id: &str, text: &str) -> Result<()> {
        let name = format!("{id}.json");
        let place = folder.join(&name);
        let path = match self.how.written {
            Written::Aside => folder.join(format!(".{name}.new")),
            Written::InPlace => place.clone(),
        };
        let written = || {
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            if self.how.sync { file.sync_all() } else { Ok(()) }
        };
        written().map_err(failed(&path))?;
        if self.how.written == Written::Aside {
            fs::rename(&path, &place).map_err(failed(&place))?;
        }
        if self.how.sync { sync(folder) } else { Ok(()) }
    }

    fn submit(&self, id: &str) -> Result<()> {
        self.write(&self.pending, id, &payload(id))
    }

    /// Of the oldest task.
    fn oldest(&self) -> Result<Option<String>> {
        let mut oldest = None;
        for entry in fs::read_dir(&self.pending).map_err(failed(&self.pending))? {
            let entry = entry.map_err(failed(&self.pending))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".json").filter(|id| !id.starts_with('.')) else { continue };
            let modified = entry.metadata().and_then(|found| found.modified()).map_err(failed(&entry.path()))?;
            if oldest.as_ref().is_none_or(|(before, _)| modified < *before) {
                oldest = Some((modified, id.to_owned()));
            }
        }
        Ok(oldest.map(|(_, id)| id))
    }

    fn remove_task(&self, id: &str) -> Result<()> {
        let path = self.pending.join(format!("{id}.json"));
        fs::remove_file(&path).map_err(failed(&path))?;
        if self.how.sync { sync(&self.pending) } else { Ok(()) }
    }

    fn read(path: &Path) -> Result<Option<String>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(path)(e)),
        }
    }

    /// Whatever is there, every 250 ms, until so many are done. Notes when each result was there.
    async fn work(&self, tasks: usize, completed: &Cell<Option<Instant>>) -> Result<()> {
        let mut done = 0;
        while done < tasks {
            sleep(POLL).await;
            while let Some(id) = self.oldest()? {
                let task = Self::read(&self.pending.join(format!("{id}.json")))?;
                if task.is_none_or(|task| task != payload(&id)) {
                    return error(format!("file queue: {id} is another task"));
                }
                self.write(&self.done, &id, &result(&id))?;
                completed.set(Some(Instant::now()));
                self.remove_task(&id)?;
                done += 1;
            }
        }
        Ok(())
    }

    /// Tasks one after the other, each submitted at any moment between two looks of the worker.
    async fn tries(&self, tries: usize, noise: &mut Noise) -> Result<Vec<Try>> {
        let completed = Cell::new(None);
        // Where the worker is in its round.
        let before = POLL.mul_f64(noise.unit());
        let worker = async {
            sleep(before).await;
            self.work(tries, &completed).await
        };
        let submitter = async {
            let mut took = Vec::with_capacity(tries);
            for number in 0..tries {
                sleep(POLL.mul_f64(noise.unit())).await;
                let (id, begin) = (format!("task-{number}"), Instant::now());
                self.submit(&id)?;
                let path = self.done.join(format!("{id}.json"));
                let found = loop {
                    if let Some(found) = Self::read(&path)? {
                        break found;
                    }
                    sleep(POLL).await;
                };
                let seen_ms = ms(begin);
                let at = completed.take().filter(|_| found == result(&id));
                let Some(at) = at else { return error(format!("file queue: another result for {id}: {found}")) };
                took.push(Try { completed_ms: (at - begin).as_secs_f64() * 1000.0, seen_ms });
            }
            Ok(took)
        };
        let (took, ()) = tokio::try_join!(submitter, worker)?;
        if count(&self.done)? != tries {
            return error(format!("file queue: {tries} results were to be there"));
        }
        Ok(took)
    }

    /// So many tasks wait, and nothing else.
    fn check(&self, waiting: usize) -> Result<()> {
        let found = count(&self.pending)?;
        if found == waiting {
            return Ok(());
        }
        error(format!("file queue: {waiting} tasks were to wait, and {found} do"))
    }
}

/// Milliseconds since before its submission.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// The result is there.
    pub completed_ms: f64,
    /// The submitter has it.
    pub seen_ms: f64,
}

/// Several queues at once in a folder, each with a worker and a submitter of its own: they mostly wait.
pub async fn until_completed(
    folder: &Path,
    how: How,
    queues: usize,
    tries: usize,
    noise: &mut Noise,
) -> Result<Vec<Try>> {
    let made: Result<Vec<_>> = (0..queues).map(|n| FileQueue::new(&folder.join(format!("queue-{n}")), how)).collect();
    let made: Vec<_> = made?.into_iter().map(|queue| (queue, Noise::new(noise.next_u64()))).collect();
    let each = made.into_iter().map(|(queue, mut noise)| async move {
        let took = queue.tries(tries, &mut noise).await?;
        queue.check(0)?;
        Ok(took)
    });
    Ok(try_join_all(each).await?.concat())
}

/// Tasks written one after the other; no worker.
pub async fn singles(folder: &Path, how: How, tries: usize) -> Result<Vec<f64>> {
    let queue = FileQueue::new(folder, how)?;
    let mut took = Vec::with_capacity(tries);
    for number in 0..tries {
        let (id, begin) = (format!("task-{number}"), Instant::now());
        queue.submit(&id)?;
        took.push(ms(begin));
        yield_now().await;
    }
    queue.check(tries)?;
    Ok(took)
}

/// So many writers at once, for as long as it may take, or until so many are there. No worker.
///
/// It holds up the benchmark's thread: whoever ends it waits as long.
pub fn submit_all(folder: &Path, how: How, writers: usize, tasks: usize, limit: Duration) -> Result<(usize, Duration)> {
    let queue = FileQueue::new(folder, how)?;
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let write = || -> Result<usize> {
        let mut written = 0;
        while begin.elapsed() < limit {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= tasks {
                break;
            }
            queue.submit(&format!("task-{number}"))?;
            written += 1;
        }
        Ok(written)
    };
    let written: Result<Vec<usize>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        threads.into_iter().map(|thread| thread.join().or_else(|_| error("a writer panicked"))?).collect()
    });
    let (written, took) = (written?.iter().sum(), begin.elapsed());
    queue.check(written)?;
    Ok((written, took))
}

/// Waits until nothing is left to be written: the next one begins with a quiet disk.
pub fn settle(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| Ok(syncfs(folder)?)).map_err(failed(folder))
}
