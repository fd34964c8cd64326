//! Two hosts that see each other and nobody else: network namespaces of a test's own, with a cable between.

use std::process::{Child, Command, Stdio};

use crate::stack::soon;

/// Of the first host on the cable.
pub const HERE: &str = "10.213.7.1";
const THERE: &str = "10.213.7.2";

/// A network namespace, kept by a process that sleeps in it. Both end with the test, however it ends.
pub struct Host(Child);

/// `None`, and said why, where there can be none.
pub fn two_hosts() -> Option<(Host, Host)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: no network namespaces: this is not root");
        return None;
    }
    let (here, there) = (Host::new(), Host::new());
    let cable = ["link", "add", "name", "cable", "type", "veth", "peer", "name", "cable", "netns", &there.pid()];
    here.ip(&cable);
    for (host, address) in [(&here, HERE), (&there, THERE)] {
        host.ip(&["address", "add", &format!("{address}/30"), "dev", "cable"]);
        host.ip(&["link", "set", "cable", "up"]);
        host.ip(&["link", "set", "lo", "up"]);
    }
    Some((here, there))
}

impl Host {
    fn new() -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]);
        let child = command.stdin(Stdio::null()).spawn().expect("setpriv is there");
        let name = format!("/proc/{}/comm", child.id());
        // Until then it is not in there.
        soon("a network namespace", || (std::fs::read_to_string(&name).ok()?.trim() == "sleep").then_some(()));
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    #[track_caller]
    fn ip(&self, arguments: &[&str]) {
        let done = self.run(Command::new("ip").args(arguments)).output().expect("iproute2 is installed");
        assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// The same command, on this host.
    pub fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &self.pid(), "--net"]).arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if command.get_envs().all(|(name, _)| name != "PATH") {
            inside.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        }
        inside
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
