//! A Redis whose disk is slow: `slow_fsync.c`, preloaded.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

pub struct SlowDisk {
    library: PathBuf,
    _folder: TempDir,
}

impl SlowDisk {
    /// `None`, and said why, where there is no C compiler.
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("slow_fsync.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tasks_killed/slow_fsync.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).args([source, "-ldl"]).output();
        match built {
            Err(error) => {
                eprintln!("skipped: no slow disk without a C compiler (cc: {error})");
                None
            }
            Ok(output) => {
                assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
                Some(Self { library, _folder: folder })
            }
        }
    }

    /// Of a `redis-server`.
    pub fn environment<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let library = self.library.to_str().expect("a path of letters");
        [("LD_PRELOAD", library)].into_iter().chain(more.iter().copied()).collect()
    }
}
