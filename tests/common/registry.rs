//! Debian's `docker-registry`, on a port of loopback (the engine takes 127.0.0.0/8 for insecure registries,
//! so plain HTTP will do).

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

pub struct Registry {
    child: Child,
    pub at: SocketAddr,
    pub folder: tempfile::TempDir,
}

impl Registry {
    /// One that begins to listen; says why it is not there, where it cannot be run.
    ///
    /// `htpasswd` has it ask for a password (a bcrypt hash after the user's name).
    pub fn serve(htpasswd: Option<&str>) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: '{at}' }}\n",
            data.display()
        );
        if let Some(line) = htpasswd {
            let path = folder.path().join("htpasswd");
            std::fs::write(&path, line).expect("a file");
            let _ = writeln!(config, "auth: {{ htpasswd: {{ realm: test, path: {} }} }}", path.display());
        }
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).expect("a file");
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match spawned {
            Ok(child) => Some(Self { child, at, folder }),
            Err(e) => {
                eprintln!("skipped: docker-registry cannot be run ({e}); deploy/test-tools installs it");
                None
            }
        }
    }

    /// Has one tag of a repository point where another one does, without any engine.
    pub fn retag(&self, repository: &str, from: &str, to: &str) {
        let tags =
            self.folder.path().join("data/docker/registry/v2/repositories").join(repository).join("_manifests/tags");
        let link = |tag: &str| tags.join(tag).join("current/link");
        std::fs::copy(link(from), link(to)).expect("both were pushed");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
