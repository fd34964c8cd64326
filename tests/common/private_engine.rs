//! An engine of a test's own, that it may stop, kill and freeze without disturbing anybody.
//!
//! A second `dockerd` is not harmless: one that has no bridge removes the first one's. So this one has
//! a network, mounts and processes of its own (namespaces), reached by nothing but its socket. Killing
//! the first process in there ends everything: containers, mounts and bridges.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::{read_dir, read_to_string, remove_dir, write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::stack::soon;

/// Ready once loopback is up, for programs of its own speak to each other there; adopts and reaps.
const FIRST: &str = "ip link set lo up && echo > ready && while :; do sleep 1000000 & wait; done";

pub struct PrivateEngine {
    /// `unshare`, whose only child is the first process in there.
    outside: Child,
    /// That child, seen from out here.
    first: String,
    /// Short: a socket's path has 107 bytes at most.
    home: TempDir,
    dockerd: Option<Child>,
}

impl PrivateEngine {
    /// Not started. `None`, and said why, where there can be none.
    pub fn new() -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("skipped: no private Docker engine: {why}");
            None
        };
        if !rustix::process::geteuid().is_root() {
            return skipped("this is not root");
        }
        if Command::new("dockerd").arg("--version").output().is_err() {
            return skipped("dockerd is not installed");
        }
        let home = tempfile::Builder::new().prefix("em-").tempdir_in("/tmp").expect("a folder");
        write(home.path().join("daemon.json"), "{}").expect("a file");
        let mut command = Command::new("setpriv");
        // A test that is killed cannot clean up: so all of it dies with the test.
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount-proc", "sh", "-c", FIRST]).current_dir(home.path());
        let log = std::fs::File::create(home.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let Ok(mut outside) = command.spawn() else { return skipped("setpriv is not installed") };
        let up = soon("namespaces", || match outside.try_wait().expect("a child") {
            Some(_) => Some(false),
            None => home.path().join("ready").exists().then_some(true),
        });
        if !up {
            return skipped(&read_to_string(home.path().join("log")).unwrap_or_default());
        }
        let pid = outside.id();
        let first = read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it has a child");
        Some(Self { outside, first: first.trim().to_owned(), home, dockerd: None })
    }

    /// With these images, and stopped.
    pub fn with(images: &[&str]) -> Option<Self> {
        let mut engine = Self::new()?;
        engine.start();
        for image in images {
            engine.load(image);
        }
        engine.end("TERM");
        Some(engine)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// A command that runs in there.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first, "--net", "--mount", "--pid", program]).stdin(Stdio::null());
        command
    }

    /// The same command, on the engine's network: there containers are reached by their addresses. Its process is
    /// the one that is started, and what it does with files stays as it is.
    pub fn beside(&self, command: &Command) -> Command {
        let mut beside = Command::new("nsenter");
        beside.args(["--target", &self.first, "--net"]).arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            beside.current_dir(folder);
        }
        beside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        beside
    }

    /// Starts it, and waits until it answers.
    pub fn start(&mut self) {
        let mut command = self.inside("dockerd");
        for (flag, name) in
            [("--config-file", "daemon.json"), ("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")]
        {
            command.arg(flag).arg(self.path(name));
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a file");
        command
            .args(["--host", &self.host(), "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-masq=false", "--ip-forward=false", "--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--cgroup-parent", &format!("/{}", self.name()), "--containerd-namespace", &self.name()])
            .stdout(Stdio::null())
            .stderr(log);
        self.dockerd = Some(command.spawn().expect("nsenter is there"));
        soon("the private engine to answer", || {
            let ended = self.dockerd.as_mut().is_some_and(|d| d.try_wait().expect("a child").is_some());
            assert!(!ended, "it ended:\n{}", self.log());
            self.command(&["version"]).output().is_ok_and(|o| o.status.success()).then_some(())
        });
    }

    /// To `dockerd` alone.
    pub fn signal(&self, signal: &str) {
        let pid = read_to_string(self.path("pid")).expect("it runs");
        let sent = self.inside("kill").args([&format!("-{signal}"), pid.trim()]).status();
        assert!(sent.expect("nsenter is there").success());
        // nsenter stops when its child does, and goes on for both.
        if let Some(dockerd) = self.dockerd.as_ref().filter(|_| signal == "CONT") {
            let sent = Command::new("kill").args(["-CONT", &dockerd.id().to_string()]).status();
            assert!(sent.expect("kill is there").success());
        }
    }

    /// Sends the signal and waits for the end of `dockerd`.
    pub fn end(&mut self, signal: &str) {
        self.signal(signal);
        let mut dockerd = self.dockerd.take().expect("it was started");
        soon("the end of the private engine", || dockerd.try_wait().expect("a child"));
        // What was killed leaves it, and its number may be somebody else's soon.
        let _ = std::fs::remove_file(self.path("pid"));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.host()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the docker command on it and returns what it wrote; panics where it fails.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let out = self.command(arguments).output().expect("docker is installed");
        assert!(out.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Copies an image from the common engine.
    pub fn load(&self, image: &str) {
        let archive = self.path("image.tar");
        let archive = archive.to_str().expect("UTF-8");
        crate::stack::docker(&["save", "-o", archive, image]);
        self.docker(&["load", "-q", "-i", archive]);
    }

    pub fn log(&self) -> String {
        read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Of its cgroups and in its containerd.
    fn name(&self) -> String {
        let name = self.home.path().file_name().expect("below /tmp");
        name.to_str().expect("ASCII").replace('.', "")
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.first]).status();
        // What is paused dies when it goes on (version 1), and the first process waits for it.
        thaw(&Path::new("/sys/fs/cgroup/freezer").join(self.name()));
        // First nsenter: where it is stopped it reaps nobody, and the first process waits for that.
        if let Some(mut dockerd) = self.dockerd.take() {
            let _ = dockerd.kill();
            let _ = dockerd.wait();
        }
        let _ = self.outside.wait();
        // A folder for each controller (version 1), or one (version 2). Some are links to others.
        let root = Path::new("/sys/fs/cgroup");
        let controllers = read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        for controller in controllers.chain([root.to_owned()]) {
            remove_tree(&controller.join(self.name()));
        }
    }
}

fn thaw(folder: &Path) {
    for entry in read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            thaw(&entry.path());
        }
    }
    let _ = write(folder.join("freezer.state"), "THAWED");
}

/// Folders of cgroups hold files that go with them.
fn remove_tree(folder: &Path) {
    for entry in read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = remove_dir(folder);
}
