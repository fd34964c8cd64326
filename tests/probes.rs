//! Each kind of probe over each route, on the real engine.
//!
//! What is probed is this very program: a container runs it over the host's C library, and the
//! test `serve` then answers on the ports that its environment names. So a gRPC server, a Redis and
//! the rest need no image of their own, and no registry.

mod common {
    pub mod engine;
}

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::engine::{Scope, docker, eventually};
use env_manager::clock::{Clock, Timestamp};
use env_manager::engine::Engine;
use env_manager::engine::docker::Docker;
use env_manager::probe::route::Route;
use env_manager::probe::{Prober, Target, probe_once};
use env_manager::resource::ResourceKey;
use env_manager::resource::container::ContainerId;
use env_manager::resource::observed::Container;
use env_manager::resource::probe::{Check, Probe, ProbeState, Probes, StatusRanges};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const HTTP: u16 = 8080;
const REDIS: u16 = 6379;
const LINE: u16 = 2181;
const SILENT: u16 = 7000;
const GRPC: u16 = 50051;
/// Ports that are added to each of the above, for a server on the host's own network.
const SHIFT: &str = "EM_TEST_SERVE";

// ---- what is probed --------------------------------------------------------------------------------

/// In a container: answers until it is killed. Elsewhere: nothing to do.
#[tokio::test]
async fn serve() {
    let Some(shift) = std::env::var(SHIFT).ok().and_then(|s| s.parse::<u16>().ok()) else { return };
    let at = |port: u16| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port + shift);
    let mut tasks = JoinSet::new();
    for (port, answer) in [
        (HTTP, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (REDIS, "+PONG\r\n"),
        (LINE, "Zookeeper version: 3.8\nMode: standalone\n"),
        (SILENT, ""),
    ] {
        let listener = TcpListener::bind(at(port)).await.unwrap();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer_each(stream, answer));
            }
        });
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("em.Test", tonic_health::ServingStatus::Serving).await;
    tonic::transport::Server::builder().add_service(health).serve(at(GRPC)).await.unwrap();
}

async fn answer_each(mut stream: TcpStream, answer: &'static str) {
    let mut seen = [0; 1024];
    while let Ok(1..) = stream.read(&mut seen).await {
        if answer.is_empty() {
            continue;
        }
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
}

/// What `docker run` is told so that the container runs [`serve`].
fn serving(shift: u16) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let mut args: Vec<String> = vec!["-e".into(), format!("{SHIFT}={shift}")];
    for dir in ["/lib", "/lib64", "/usr/lib"] {
        args.extend(["-v".into(), format!("{dir}:{dir}:ro")]);
    }
    args.extend(["-v".into(), format!("{}:/probed:ro", program.display())]);
    args
}

const SERVE: [&str; 4] = ["/probed", "--exact", "serve", "--nocapture"];

/// `docker run` of the tests' image, named and labelled as ours.
fn run(scope: &Scope, part: &str, args: &[String], command: &[&str]) -> ContainerId {
    let name = scope.name(part);
    let mut all: Vec<String> = ["run", "-d", "--init", "--name", &name].map(str::to_owned).into();
    for (label, value) in scope.labels() {
        all.extend(["--label".into(), format!("{label}={value}")]);
    }
    all.extend_from_slice(args);
    all.push(common::engine::IMAGE.to_owned());
    all.extend(command.iter().map(|word| (*word).to_owned()));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    ContainerId::new(docker(&all))
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|a| (*a).to_owned()).collect()
}

/// On loopback, at ports of the engine's choice.
fn publishing(ports: &[u16]) -> Vec<String> {
    ports.iter().flat_map(|port| ["-p".to_owned(), format!("127.0.0.1::{port}")]).collect()
}

// ---- asking ----------------------------------------------------------------------------------------

fn probe(check: Check) -> Probe {
    Probe {
        check,
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(2),
        deadline: None,
        failure_threshold: 3,
        success_threshold: 1,
    }
}

fn readiness(check: Check) -> Probes {
    Probes { readiness: Some(probe(check)), ..Probes::default() }
}

/// One of each that needs a port.
fn checks(shift: u16) -> Vec<Check> {
    let http = |path: &str| Check::Http {
        port: HTTP + shift,
        path: path.into(),
        status: StatusRanges::default(),
        headers: [].into(),
    };
    vec![
        http("/health"),
        Check::Tcp { port: SILENT + shift },
        Check::Grpc { port: GRPC + shift, service: "em.Test".into() },
        Check::Redis { port: REDIS + shift },
        Check::Line { port: LINE + shift, send: "srvr".into(), expect: "Mode: ".into() },
    ]
}

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "tests on the real engine have real time")]
        Timestamp::from_system(SystemTime::now())
    }
}

/// A prober on the real engine, and its edges.
struct Probing {
    prober: Arc<Prober<Docker>>,
    edges: mpsc::UnboundedReceiver<ResourceKey>,
    _tasks: JoinSet<()>,
}

fn probing(scope: &Scope) -> Probing {
    let (tx, edges) = mpsc::unbounded_channel();
    let prober = Arc::new(Prober::new(Arc::new(scope.engine.clone()), Arc::new(Wall), move |key| {
        let _ = tx.send(key);
    }));
    let running = prober.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { running.run().await });
    Probing { prober, edges, _tasks: tasks }
}

impl Probing {
    /// Waits, edge by edge, for a state.
    async fn until(
        &mut self,
        key: &ResourceKey,
        target: &Target,
        what: &str,
        is: impl Fn(&ProbeState) -> bool,
    ) -> ProbeState {
        let reached = tokio::time::timeout(Duration::from_mins(1), async {
            loop {
                let state = self.prober.state(key, &target.container, target.started_at);
                if is(&state) {
                    return state;
                }
                self.edges.recv().await;
            }
        });
        let Ok(state) = reached.await else {
            let state = self.prober.state(key, &target.container, target.started_at);
            panic!("{key} was never {what}: {state:?} {:?}", self.prober.last(key, &target.container));
        };
        state
    }
}

async fn target(scope: &Scope, id: &ContainerId) -> Target {
    let container: Container = scope.owned(id).await;
    Target::of(&container, &scope.engine.info().await.unwrap())
}

fn is_ready(state: &ProbeState) -> bool {
    state.started && state.ready == Some(true)
}

/// Every kind becomes ready over the route that `target` leaves, and says so.
async fn all_become_ready(scope: &Scope, target: &Target, shift: u16, route: &str) {
    let mut probing = probing(scope);
    for check in checks(shift) {
        let kind = check.kind();
        let key = ResourceKey::service(kind);
        probing.prober.want(&key, std::slice::from_ref(target), &readiness(check));
        let state = probing.until(&key, target, "ready", is_ready).await;
        let last = probing.prober.last(&key, &target.container).remove(0);
        assert!(last.route.starts_with(route) && last.passed, "{kind}: {last:?}");
        let message = match kind {
            "http" => "HTTP 200 from /health",
            "tcp" => "connected in ",
            "grpc" => "SERVING in ",
            "redis" => "PING answered in ",
            _ => "Mode: standalone",
        };
        assert!(state.message.starts_with(message), "{kind}: {state:?}");
    }
}

// ---- tests -----------------------------------------------------------------------------------------

#[tokio::test]
async fn each_kind_answers_at_the_container_address() {
    let scope = Scope::new("probe-address");
    let id = run(&scope, "a", &serving(0), &SERVE);
    let target = target(&scope, &id).await;
    assert!(target.engine_local && target.published.is_empty() && !target.addresses.is_empty(), "{target:?}");
    all_become_ready(&scope, &target, 0, "container address 172.").await;
}

#[tokio::test]
async fn each_kind_answers_at_the_published_port() {
    let scope = Scope::new("probe-published");
    let args = [serving(0), publishing(&[HTTP, REDIS, LINE, SILENT, GRPC])].concat();
    let id = run(&scope, "a", &args, &SERVE);
    let mut target = target(&scope, &id).await;
    assert_eq!(target.published.len(), 5, "{target:?}");
    target.addresses.clear();
    all_become_ready(&scope, &target, 0, "published port 127.0.0.1:").await;
}

#[tokio::test]
async fn each_kind_answers_on_the_host_network() {
    let scope = Scope::new("probe-host");
    // Some thousands up: what the host itself serves at these ports is not ours.
    let shift = 3000 + u16::try_from(std::process::id() % 5000).unwrap();
    let id = run(&scope, "a", &[serving(shift), words(&["--network", "host"])].concat(), &SERVE);
    let target = target(&scope, &id).await;
    assert!(target.host_network && target.addresses.is_empty(), "{target:?}");
    all_become_ready(&scope, &target, shift, "loopback 127.0.0.1:").await;
}

#[tokio::test]
async fn a_network_without_a_way_out_is_reached_all_the_same() {
    let scope = Scope::new("probe-internal");
    let network = scope.name("net");
    docker(&["network", "create", "--internal", "--label", &format!("dev.env-manager.stack={}", scope.name), &network]);
    let id = run(&scope, "a", &[serving(0), words(&["--network", &network])].concat(), &SERVE);
    let target = target(&scope, &id).await;
    let mut probing = probing(&scope);
    let key = ResourceKey::service("a");
    probing.prober.want(&key, std::slice::from_ref(&target), &readiness(Check::Redis { port: REDIS }));
    probing.until(&key, &target, "ready", is_ready).await;
}

#[tokio::test]
async fn exec_runs_in_the_container() {
    let scope = Scope::new("probe-exec");
    let id = run(&scope, "a", &words(&["--network", "none"]), &["sleep", "1000000"]);
    let target = target(&scope, &id).await;
    let exec = |script: &str| Check::Exec { command: words(&["sh", "-c", script]) };
    let mut probing = probing(&scope);
    let key = ResourceKey::service("a");
    probing.prober.want(
        &key,
        std::slice::from_ref(&target),
        &readiness(exec("test -e /tmp/ready || { echo not yet; exit 3; }")),
    );
    let state = probing.until(&key, &target, "heard of", |s| !s.message.is_empty()).await;
    assert_eq!((state.ready, state.message.as_str()), (None, "exit code 3: not yet"));
    docker(&["exec", &id.0, "sh", "-c", ": > /tmp/ready"]);
    let state = probing.until(&key, &target, "ready", is_ready).await;
    assert!(state.message.starts_with("exit code 0 in "), "{state:?}");
    assert_eq!(probing.prober.last(&key, &target.container)[0].route, "exec");

    // There is no network, so a port cannot be reached at all.
    let state = probe_once(&scope.engine, &target, &readiness(Check::Tcp { port: 80 })).await;
    assert!(state.unreachable && state.ready == Some(false), "{state:?}");
}

#[tokio::test]
async fn an_exec_that_outlives_its_timeout_is_not_started_twice() {
    let scope = Scope::new("probe-hang");
    let id = run(&scope, "a", &words(&["--network", "none"]), &["sleep", "1000000"]);
    let target = target(&scope, &id).await;
    // Each run leaves a line; the first one waits for a file, the later ones do not.
    let script = "echo run >> /tmp/runs; until [ -e /tmp/go ]; do sleep 0.1; done";
    let hanging =
        Probe { timeout: Duration::from_millis(500), ..probe(Check::Exec { command: words(&["sh", "-c", script]) }) };
    let mut probing = probing(&scope);
    let key = ResourceKey::service("a");
    probing.prober.want(&key, std::slice::from_ref(&target), &Probes { readiness: Some(hanging), ..Probes::default() });
    let says = |text: &'static str| move |s: &ProbeState| s.message.starts_with(text);
    probing.until(&key, &target, "given up", says("the command did not end within")).await;
    let runs_on = says("the command still runs");
    tokio::time::timeout(
        Duration::from_secs(30),
        eventually(async || {
            // Not an edge within two seconds of the first message: asked for instead.
            runs_on(&probing.prober.state(&key, &target.container, target.started_at)).then_some(())
        }),
    )
    .await
    .expect("that it still runs is said");
    assert_eq!(docker(&["exec", &id.0, "cat", "/tmp/runs"]), "run", "it was begun once");
    docker(&["exec", &id.0, "sh", "-c", ": > /tmp/go"]);
    probing.until(&key, &target, "ready", is_ready).await;
}

#[tokio::test]
async fn docker_follows_the_images_own_healthcheck() {
    let scope = Scope::new("probe-health");
    let health = [
        "--health-cmd",
        "cat /tmp/well || { echo ill; exit 1; }",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
    ];
    let id = run(&scope, "a", &words(&health), &["sleep", "1000000"]);
    let target = target(&scope, &id).await;
    let mut probing = probing(&scope);
    let key = ResourceKey::service("a");
    probing.prober.want(&key, std::slice::from_ref(&target), &readiness(Check::Docker));
    docker(&["exec", &id.0, "sh", "-c", "echo fine > /tmp/well"]);
    let state = probing.until(&key, &target, "ready", is_ready).await;
    assert_eq!(state.message, "the image's HEALTHCHECK says healthy");
    docker(&["exec", &id.0, "sh", "-c", "mv /tmp/well /tmp/gone"]);
    let state = probing.until(&key, &target, "not ready", |s| s.ready == Some(false)).await;
    assert!(state.message.starts_with("the image's HEALTHCHECK says unhealthy: "), "{state:?}");
    assert_eq!(probing.prober.last(&key, &target.container)[0].route, "engine");

    let bare = run(&scope, "b", &[], &["sleep", "1000000"]);
    let target = Target { container: bare, ..target };
    let state = probe_once(&scope.engine, &target, &readiness(Check::Docker)).await;
    assert_eq!((state.ready, state.message.contains("no HEALTHCHECK")), (Some(false), true), "{state:?}");
}

#[tokio::test]
async fn a_port_that_is_published_and_never_listened_on_is_not_ready_after_ten_seconds() {
    let scope = Scope::new("probe-deaf");
    let id = run(&scope, "a", &publishing(&[HTTP, REDIS, LINE, SILENT, GRPC]), &["sleep", "1000000"]);
    let by_address = target(&scope, &id).await;
    let by_published = Target { addresses: Vec::new(), ..by_address.clone() };

    // The trap itself: a bare connect succeeds, where Docker's proxy is in between.
    let port = by_published.published.iter().find(|p| p.container_port == SILENT).and_then(|p| p.host_port).unwrap();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("the proxy accepts for a container that does not listen");

    let mut probing = probing(&scope);
    let mut keys = Vec::new();
    for (route, target) in [("published", &by_published), ("address", &by_address)] {
        for check in checks(0) {
            let key = ResourceKey::service(format!("{route}-{}", check.kind()));
            probing.prober.want(&key, std::slice::from_ref(target), &readiness(check));
            keys.push(key);
        }
    }
    let ready = async {
        while let Some(key) = probing.edges.recv().await {
            let state = probing.prober.state(&key, &id, by_address.started_at);
            if state.started || state.ready == Some(true) {
                return (key, state);
            }
        }
        unreachable!("the prober runs")
    };
    if let Ok(ready) = tokio::time::timeout(Duration::from_secs(10), ready).await {
        panic!("{ready:?}");
    }
    for key in keys {
        let last = probing.prober.last(&key, &id).remove(0);
        assert!(!last.passed && last.in_a_row > 1, "it was asked, and refused: {key} {last:?}");
    }
    let deaf = ResourceKey::service("published-tcp");
    assert_eq!(
        probing.prober.state(&deaf, &id, by_address.started_at).message,
        "the published port accepts and hangs up: nothing listens behind it"
    );
    let address = ResourceKey::service("address-tcp");
    assert_eq!(probing.prober.state(&address, &id, by_address.started_at).message, "connection refused");
}

#[tokio::test]
async fn a_paused_container_is_not_ready_until_it_goes_on() {
    let scope = Scope::new("probe-paused");
    let id = run(&scope, "a", &serving(0), &SERVE);
    let tcp = readiness(Check::Tcp { port: SILENT });
    let mut probing = probing(&scope);
    let key = ResourceKey::service("a");
    let running = target(&scope, &id).await;
    probing.prober.want(&key, std::slice::from_ref(&running), &tcp);
    probing.until(&key, &running, "ready", is_ready).await;

    docker(&["pause", &id.0]);
    let paused = target(&scope, &id).await;
    assert!(paused.paused);
    // The trap: at its address a paused container still accepts.
    let at = SocketAddr::new(paused.addresses[0], SILENT);
    TcpStream::connect(at).await.expect("the kernel accepts for it");
    probing.prober.want(&key, std::slice::from_ref(&paused), &tcp);
    let state = probing.prober.state(&key, &paused.container, paused.started_at);
    assert_eq!((state.ready, state.message.as_str()), (Some(false), "the container is paused"));
    assert_eq!(probe_once(&scope.engine, &paused, &tcp).await.ready, Some(false));

    docker(&["unpause", &id.0]);
    let running = target(&scope, &id).await;
    probing.prober.want(&key, std::slice::from_ref(&running), &tcp);
    probing.until(&key, &running, "ready", is_ready).await;
}

#[tokio::test]
async fn a_restart_begins_anew() {
    let scope = Scope::new("probe-restart");
    let id = run(&scope, "a", &serving(0), &SERVE);
    let http = readiness(checks(0).remove(0));
    let mut probing = probing(&scope);
    let key = ResourceKey::service("a");
    let first = target(&scope, &id).await;
    probing.prober.want(&key, std::slice::from_ref(&first), &http);
    probing.until(&key, &first, "ready", is_ready).await;
    docker(&["restart", "-t", "0", &id.0]);
    let second = target(&scope, &id).await;
    assert!(second.started_at > first.started_at);
    probing.prober.want(&key, std::slice::from_ref(&second), &http);
    let state = probing.prober.state(&key, &id, second.started_at);
    assert_eq!(state, ProbeState::default(), "nothing is known of the new run yet");
    probing.until(&key, &second, "ready again", is_ready).await;
}

#[tokio::test]
async fn without_a_daemon_each_probe_is_asked_once() {
    let scope = Scope::new("probe-once");
    let id = run(&scope, "a", &serving(0), &SERVE);
    let target = target(&scope, &id).await;
    let ready = eventually(async || {
        let state = probe_once(&scope.engine, &target, &readiness(Check::Redis { port: REDIS })).await;
        state.ready.filter(|r| *r)
    });
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("it comes up");
    let probes = Probes {
        startup: Some(probe(Check::Exec { command: words(&["false"]) })),
        readiness: Some(probe(Check::Redis { port: REDIS })),
        liveness: None,
    };
    let state = probe_once(&scope.engine, &target, &probes).await;
    assert_eq!((state.started, state.ready, state.message.as_str()), (false, Some(false), "exit code 1"));
}

#[test]
fn routes_are_named_as_describe_shows_them() {
    let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
    for (route, text) in [
        (Route::Address(at), "container address 127.0.0.1:1"),
        (Route::Loopback(at), "loopback 127.0.0.1:1"),
        (Route::Published { host: "::1".into(), port: 1 }, "published port [::1]:1"),
        (Route::Exec, "exec"),
        (Route::Engine, "engine"),
    ] {
        assert_eq!(route.to_string(), text);
    }
}
