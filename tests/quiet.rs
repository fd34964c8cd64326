//! A daemon at rest asks the engine nothing (P3): what goes over the engine's socket is counted there.

#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/running.rs"]
mod running;
#[path = "common/stack.rs"]
mod stack;

use std::time::Duration;

use proxy::{Proxy, Rules};
use running::{Daemon, service};
use stack::engine::SOCKET;
use stack::{Stack, docker, idle, line, soon, text};
use tokio::runtime::{Builder, Runtime};

/// A stack is at rest for so long.
const QUIET: Duration = Duration::from_mins(1);

/// Everything goes by as it is.
struct Unchanged;

impl Rules for Unchanged {
    fn request(&self, head: &str) -> Result<String, String> {
        Ok(head.to_owned())
    }

    fn version(&self, body: &str) -> String {
        body.to_owned()
    }
}

/// Questions in one resync, at most: four a service (list, inspect, image, network), one for the network,
/// three for what nobody asks for, two for the images, and two to spare.
const MOST_A_RESYNC: usize = 20;
/// Questions while one container is made anew, at most: eight looks at one service. Each of Docker's events
/// is worth one, and several that come at once are worth one together.
const MOST_A_RESTORE: usize = 32;

/// One with a probe, one that needs it, one by itself.
fn describe(stack: &Stack) {
    let ongoing = "probes: { readiness: { line: { port: 7000, send: \"ping\\n\", expect: pong }, interval: 1s } }";
    let db = stack::service("db", &format!("command: standin line\n{ongoing}"));
    stack.describe(&[db, line("app", "dependsOn: [db]"), idle("web", "")]);
}

/// The engine, with a look at what goes by.
struct Watched {
    proxy: Proxy,
    /// Serves the proxy while the test waits elsewhere.
    runtime: Runtime,
}

impl Watched {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let proxy = runtime.block_on(async { Proxy::start(SOCKET, Unchanged) });
        Self { proxy, runtime }
    }

    fn requests(&self) -> Vec<String> {
        self.proxy.requests()
    }

    /// A state over a period: nothing comes that could be waited for.
    fn pass(&self, period: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(period).await });
    }

    /// How many there were once what has just happened is over with.
    fn settled(&self) -> usize {
        for _ in 0..10 {
            let seen = self.requests().len();
            // Longer than what follows an event by itself (own events count for 2 s).
            self.pass(Duration::from_secs(3));
            if self.requests().len() == seen {
                return seen;
            }
        }
        panic!("it is never still: {:#?}", self.requests())
    }

    fn daemon<'a>(&self, stack: &'a Stack, resync: &str) -> Daemon<'a> {
        let daemon = stack.daemon_with(|command| {
            let socket = format!("unix://{}", self.proxy.socket.display());
            command.env("DOCKER_HOST", socket).env("ENV_MANAGER_RESYNC", resync);
        });
        daemon.converged();
        daemon
    }
}

fn changing(requests: &[String]) -> Vec<String> {
    requests.iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")).cloned().collect()
}

#[test]
fn p03_a_stack_at_rest_is_asked_nothing() {
    let stack = Stack::new("quiet");
    describe(&stack);
    let engine = Watched::new();
    let daemon = engine.daemon(&stack, "1h");
    let before = engine.settled();
    assert_eq!(engine.proxy.open(), 1, "the event stream and nothing else: {:#?}", engine.requests());
    engine.pass(QUIET);
    let requests = engine.requests();
    assert_eq!(requests[before..], [""; 0], "asked of a stack at rest");
    let streams = requests.iter().filter(|line| line.contains("/events?")).count();
    assert_eq!((streams, engine.proxy.open()), (1, 1), "one stream from the start on: {requests:#?}");
    assert_eq!(daemon.status().expect("it answers")["converged"], true);
    // It was awake all the time.
    docker(&["stop", &stack.container("web")]);
    soon("a request", || (engine.requests().len() > before).then_some(()));
    daemon.converged();
}

#[test]
fn p03_resyncs_only_look() {
    const RESYNCS: usize = 3;
    let stack = Stack::new("quiet-resync");
    describe(&stack);
    let engine = Watched::new();
    let daemon = engine.daemon(&stack, "5s");
    let containers = stack.containers();
    let before = engine.settled();
    // Each asks once for everything that the stack owns, volumes too; these services have none.
    let requests = soon("three resyncs", || {
        let requests = engine.requests().split_off(before);
        (requests.iter().filter(|line| line.contains("/volumes?")).count() >= RESYNCS).then_some(requests)
    });
    assert_eq!(changing(&requests), [""; 0]);
    assert!(requests.len() <= RESYNCS * MOST_A_RESYNC, "{}: {requests:#?}", requests.len());
    assert_eq!(stack.containers(), containers);
    daemon.converged();
}

#[test]
fn p03_a_container_that_is_removed_costs_the_calls_that_are_needed() {
    let stack = Stack::new("quiet-removed");
    describe(&stack);
    let engine = Watched::new();
    let daemon = engine.daemon(&stack, "1h");
    let before = engine.settled();
    let (web, others) = (stack.id("web"), [stack.id("app"), stack.id("db")]);
    docker(&["rm", "-f", &stack.container("web")]);
    daemon.until("converged with another container", |status| {
        let id = service(status, "web").map(|s| text(&s["containerId"]));
        status["converged"] == true && id.is_some_and(|id| id != web && id.len() == 64)
    });
    engine.settled();
    let requests = engine.requests().split_off(before);
    let changes = changing(&requests);
    let is_needed =
        matches!(&changes[..], [create, start] if create.contains("/containers/create?") && start.contains("/start"));
    assert!(is_needed, "one create and one start: {requests:#?}");
    let looks = requests.len() - changes.len();
    assert!(looks <= MOST_A_RESTORE, "{looks} looks: {requests:#?}");
    for other in &others {
        assert!(!requests.iter().any(|line| line.contains(other.as_str())), "nobody else is asked for: {requests:#?}");
    }
    assert_eq!([stack.id("app"), stack.id("db")], others);
}
