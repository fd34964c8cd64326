//! Verbs against a daemon that is served over real sockets and played behind them.

use std::cell::RefCell;
use std::path::PathBuf;

use clap::Parser;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::args::Cli;
use super::super::terminal::Stream;
use super::super::verbs::{self, Session};
use super::*;
use crate::config::load::Environment;
use crate::daemon::environment::Refusal;
use crate::daemon::played::{Command, Played};
use crate::engine::{LogLine, LogStream};
use crate::grpc::serve;
use crate::net::listen::Listeners;
use crate::net::serve::ServeError;
use crate::resource::event::{Actor, EventReason, Happening};
use crate::state::DaemonFile;

/// What was printed, without styles.
#[derive(Clone, Debug, Default)]
struct Printed {
    out: String,
    err: String,
}

thread_local! {
    /// Where it goes instead of the process's own streams.
    static PRINTED: RefCell<Option<watch::Sender<Printed>>> = const { RefCell::new(None) };
}

/// Whether a test keeps it. A test runs on one thread, whatever it waits for.
pub fn kept(stream: Stream, text: &str) -> bool {
    PRINTED.with_borrow(|printed| {
        let Some(printed) = printed else { return false };
        printed.send_modify(|printed| match stream {
            Stream::Out => printed.out.push_str(&plain(text)),
            Stream::Err => printed.err.push_str(&plain(text)),
        });
        true
    })
}

/// A stack on this machine, with or without a daemon.
struct Machine {
    folder: TempDir,
    environment: Played,
    server: JoinSet<Result<(), ServeError>>,
    port: u16,
    doors: JoinSet<std::io::Result<(u64, u64)>>,
    /// Daemons so far.
    begun: u64,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        Self {
            folder,
            environment: Played::default(),
            server: JoinSet::new(),
            port: 0,
            doors: JoinSet::new(),
            begun: 0,
        }
    }

    async fn with_daemon() -> Self {
        let mut machine = Self::new();
        machine.start(true).await;
        machine
    }

    fn stack_dir(&self) -> PathBuf {
        self.folder.path().join("state/default")
    }

    /// Another daemon for the same environment.
    async fn start(&mut self, socket: bool) {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = tcp.local_addr().unwrap();
        self.port = grpc.port();
        self.begun += 1;
        let path = DaemonFile::socket_path(&self.stack_dir()).filter(|_| socket);
        std::fs::create_dir_all(self.stack_dir()).unwrap();
        if let Some(path) = &path {
            let _ = std::fs::remove_file(path);
        }
        let unix = path.as_ref().map(|path| UnixListener::bind(path).unwrap());
        let file = DaemonFile {
            pid: 4711,
            version: "0.1.0".to_owned(),
            stack: "default".to_owned(),
            manifests: self.folder.path().join("manifests"),
            grpc: Some(grpc.to_string()),
            http: None,
            tasks_grpc: None,
            tasks_http: None,
            socket: path,
            started_at: Timestamp(NOW.0 + self.begun).to_string(),
        };
        file.write(&self.stack_dir()).unwrap();
        self.server.spawn(serve(Listeners { tcp, unix }, self.environment.clone(), CancellationToken::new()));
    }

    /// As by SIGKILL: what it wrote stays.
    async fn kill(&mut self) {
        self.server.shutdown().await;
    }

    fn session(&self, arguments: &[&str]) -> (Session, args::Verb) {
        let words = ["env-manager"].iter().chain(arguments).map(ToString::to_string);
        let cli = Cli::try_parse_from(words).unwrap();
        let path = |name: &str| self.folder.path().join(name).into_os_string();
        let env = [
            ("HOME", path("home")),
            ("ENV_MANAGER_STATE_DIR", path("state")),
            ("ENV_MANAGER_MANIFESTS", path("manifests")),
            // No engine is to be found.
            ("DOCKER_HOST", "unix:///nowhere/docker.sock".into()),
        ];
        let mut session = Session::new(cli.global, Environment(env.map(|(k, v)| (k.into(), v)).into()));
        // Tests may themselves run on a terminal.
        for look in [&mut session.terminal.out, &mut session.terminal.err] {
            (look.color, look.live, look.width) = (false, false, None);
        }
        (session, cli.verb)
    }

    /// Runs a verb to its end: exit code, stdout, stderr.
    async fn run(&self, arguments: &[&str]) -> (u8, String, String) {
        let printed = watch::Sender::new(Printed::default());
        PRINTED.set(Some(printed.clone()));
        let (session, verb) = self.session(arguments);
        let ended = soon(verbs::run(&session, verb)).await;
        let exit = ended.unwrap_or_else(|failure| {
            session.terminal.err.print(&failure.text);
            failure.exit
        });
        PRINTED.set(None);
        let Printed { out, err } = printed.borrow().clone();
        (exit.code(), out, err)
    }

    /// Runs a verb that does not end, until `meanwhile` does.
    async fn during(&self, arguments: &[&str], meanwhile: impl AsyncFnOnce(&mut Reader)) {
        let (session, verb) = self.session(arguments);
        self.beside(&session, verb, meanwhile).await;
    }

    async fn beside(&self, session: &Session, verb: args::Verb, meanwhile: impl AsyncFnOnce(&mut Reader)) {
        let printed = watch::Sender::new(Printed::default());
        PRINTED.set(Some(printed.clone()));
        let mut reader = Reader(printed.subscribe());
        soon(async {
            tokio::select! {
                ended = verbs::run(session, verb) => panic!("it ended: {ended:?}"),
                () = meanwhile(&mut reader) => {}
            }
        })
        .await;
        PRINTED.set(None);
    }
}

struct Reader(watch::Receiver<Printed>);

impl Reader {
    /// Waits until something like it stands on stdout, and returns all of it.
    async fn out(&mut self, is_there: impl Fn(&str) -> bool) -> String {
        self.0.wait_for(|printed| is_there(&printed.out)).await.unwrap().out.clone()
    }

    async fn err(&mut self, text: &str) -> String {
        self.0.wait_for(|printed| printed.err.contains(text)).await.unwrap().err.clone()
    }
}

/// With a deadline that only a hang reaches.
async fn soon<F: Future>(of: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), of).await.expect("no end within 30 s")
}

fn by_caller(command: &Command) -> bool {
    let (Command::Sync { by, .. }
    | Command::Suspend { by, .. }
    | Command::Resume { by, .. }
    | Command::Retry { by, .. }
    | Command::Restart { by, .. }) = command
    else {
        return false;
    };
    matches!(by, Actor::Caller(_))
}

#[tokio::test]
async fn status_is_the_daemon_s_by_socket_or_by_port() {
    let mut machine = Machine::with_daemon().await;
    machine.environment.ready("redis");
    let (code, by_socket, err) = machine.run(&["status"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(by_socket.contains("redis  yes    Ready") && !by_socket.contains("read from the engine"), "{by_socket}");
    machine.kill().await;
    machine.start(false).await;
    let (_, by_port, _) = machine.run(&["status"]).await;
    assert_eq!(by_socket, by_port);
    let (code, out, _) = machine.run(&["status", "redis", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["source"]["kind"], &json["services"][0]["name"]), (0, &"dir".into(), &"redis".into()));
    let (code, _, err) = machine.run(&["status", "reds"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("no service `reds` in stack default") && err.contains("redis"), "{err}");
}

#[tokio::test]
async fn a_daemon_of_another_stack_is_named_and_not_asked() {
    let machine = Machine::with_daemon().await;
    let address = format!("127.0.0.1:{}", machine.port);
    let (code, _, err) = machine.run(&["--daemon", &address, "--stack", "mine", "sync"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("keeps stack `default`, not `mine`"), "{err}");
    let (code, _, _) = machine.run(&["--daemon", &address, "sync"]).await;
    assert_eq!(code, 0);
    let socket = format!("unix:{}", machine.stack_dir().join(DaemonFile::SOCKET).display());
    assert_eq!(machine.run(&["--daemon", &socket, "sync"]).await.0, 0);
    let (code, _, err) = machine.run(&["--stack", "mine", "sync"]).await;
    assert!(code == 5 && err.contains("no daemon keeps stack mine"), "{err}");
}

#[tokio::test]
async fn a_daemon_that_was_killed_is_none() {
    let mut machine = Machine::with_daemon().await;
    machine.kill().await;
    let (code, _, err) = machine.run(&["sync"]).await;
    assert!(code == 5 && err.contains("start one with `env-manager run`"), "{err}");
}

#[tokio::test]
async fn what_the_daemon_is_asked_to_do_is_said_in_a_line() {
    let machine = Machine::with_daemon().await;
    machine.environment.ready("redis");
    machine.environment.ready("kafka");
    machine.environment.synced.lock().unwrap().services = 2;
    *machine.environment.still_suspended.lock().unwrap() = vec!["kafka".to_owned()];
    for (arguments, said) in [
        (&["sync", "redis", "--allow-prune"][..], "read 2 services at 3f2a91c, and looked at the engine\n"),
        (&["restart", "redis", "kafka"], "restarting redis, kafka\n"),
        (&["suspend", "redis"], "suspended redis: hands off until `env-manager resume redis`\n"),
        (
            &["resume", "redis", "kafka"],
            "resumed redis\nkafka goes on being suspended: its manifest says `suspend: true`\n",
        ),
        (&["retry", "redis"], "trying again: redis\n"),
        (&["retry"], "nothing to try again: no service has failed\n"),
    ] {
        assert_eq!(machine.run(arguments).await, (0, said.to_owned(), String::new()), "{arguments:?}");
    }
    let commands = machine.environment.taken();
    assert!(commands.len() == 6 && commands.iter().all(by_caller), "{commands:?}");
    assert!(matches!(&commands[0], Command::Sync { services, allow_prune: true, .. } if *services == ["redis"]));
}

#[tokio::test]
async fn refusals_have_the_daemon_s_words_and_an_exit_code() {
    let machine = Machine::with_daemon().await;
    let (code, _, err) = machine.run(&["restart", "redis"]).await;
    assert_eq!((code, err.as_str()), (1, "error: there is no service `redis` in stack default\n"));
    let (code, _, err) = machine.run(&["describe", "redis"]).await;
    assert!(code == 1 && err.contains("no service `redis` in stack default"), "{err}");
    machine.environment.ready("redis");
    for (refusal, expected, words) in [
        (Refusal::ObserveOnly, 1, "changes nothing"),
        (Refusal::NotNow("not while it rains".to_owned()), 1, "not while it rains"),
        (Refusal::Ending, 5, "the daemon is ending"),
    ] {
        machine.environment.refuse(Some(refusal));
        let (code, out, err) = machine.run(&["restart", "redis"]).await;
        assert!(code == expected && out.is_empty() && err.contains(words), "{code} {out} {err}");
    }
}

#[tokio::test]
async fn apply_has_the_daemon_look_and_follows_it_to_the_end() {
    let machine = Machine::with_daemon().await;
    machine.environment.set_service("redis", true, Reason::Starting, "started");
    let (session, verb) = machine.session(&["apply", "--allow-prune", "-o", "json"]);
    let printed = watch::Sender::new(Printed::default());
    PRINTED.set(Some(printed.clone()));
    let begun = async {
        // Once it has been asked.
        while machine.environment.commands.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        machine.environment.ready("redis");
        std::future::pending::<()>().await;
    };
    let exit = soon(async {
        tokio::select! { exit = verbs::run(&session, verb) => exit.unwrap(), () = begun => unreachable!() }
    })
    .await;
    PRINTED.set(None);
    let json: serde_json::Value = serde_json::from_str(&printed.borrow().out).unwrap();
    assert_eq!((exit, &json["exitCode"], &json["status"]["converged"]), (Exit::Done, &0.into(), &true.into()));
    assert!(matches!(&machine.environment.taken()[..], [Command::Sync { allow_prune: true, .. }]));
}

#[tokio::test]
async fn apply_beside_a_daemon_ends_as_it_would_alone() {
    let machine = Machine::with_daemon().await;
    machine.environment.ready("redis");
    let (code, out, _) = machine.run(&["apply"]).await;
    assert!(code == 0 && out.contains("converged · healthy · 1 of 1 ready (1 required)"), "{out}");
    assert!(out.contains(" · took "), "{out}");

    machine.environment.set_service("kafka", false, Reason::Starting, "started");
    let (code, out, _) = machine.run(&["apply", "--timeout", "100ms"]).await;
    assert!(code == 3 && out.contains("note: not converged within 100ms"), "{code} {out}");

    let status = super::stalled(false, Reason::ImageNotFound, "not found");
    machine.environment.statuses.set(&ResourceKey::service("kafka"), Some(status));
    let (code, out, _) = machine.run(&["apply"]).await;
    assert!(code == 3 && out.contains("next: kafka: "), "{code} {out}");

    machine.environment.change_context(|context| context.engine.reachable = false);
    assert_eq!(machine.run(&["apply", "--timeout", "100ms"]).await.0, 5, "the engine is away");

    machine.environment.remove("kafka");
    machine.environment.change_context(|context| {
        context.engine.reachable = true;
        context.invalid_manifests = 1;
        context.findings = "error: unknown field `imagge`".to_owned();
    });
    let (code, out, _) = machine.run(&["apply"]).await;
    assert!(code == 4 && out.contains("\nerror: unknown field `imagge`\n"), "{code} {out}");
}

#[tokio::test]
async fn apply_of_another_folder_and_down_leave_the_daemon_s_stack_alone() {
    let machine = Machine::with_daemon().await;
    let other = machine.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (code, _, err) = machine.run(&["--manifests", other.to_str().unwrap(), "apply"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("the daemon (process 4711)") && err.contains("/manifests") && err.contains("/other"), "{err}");
    // By another way to the same folder.
    let link = machine.folder.path().join("link");
    std::os::unix::fs::symlink(machine.folder.path().join("manifests"), &link).unwrap();
    machine.environment.ready("redis");
    assert_eq!(machine.run(&["--manifests", link.to_str().unwrap(), "apply"]).await.0, 0);
    let (code, _, err) = machine.run(&["down"]).await;
    assert!(code == 1 && err.contains("the daemon (process 4711)") && err.contains("`kill 4711`"), "{err}");
}

#[tokio::test]
async fn a_watch_prints_each_change_and_goes_on_with_the_next_daemon() {
    let mut machine = Machine::with_daemon().await;
    machine.environment.set_service("redis", true, Reason::Starting, "started");
    let environment = machine.environment.clone();
    let (session, verb) = machine.session(&["status", "--watch", "-o", "json"]);
    let (here, watched) = (&mut machine, Machine::new());
    watched
        .beside(&session, verb, async |reader| {
            let lines = |n: usize| move |out: &str| out.lines().count() == n;
            reader.out(lines(1)).await;
            environment.ready("redis");
            reader.out(lines(2)).await;
            here.kill().await;
            reader.err("waiting for it to come back").await;
            here.start(true).await;
            reader.err("there is a daemon again").await;
            environment.set_service("redis", true, Reason::ProbeFailed, "no answer");
            let out = reader.out(lines(3)).await;
            let phases: Vec<_> = out
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["services"][0]["phase"].clone())
                .collect();
            assert_eq!(phases, ["Starting", "Ready", "NotReady"]);
        })
        .await;
}

#[tokio::test]
async fn a_daemon_that_is_ending_is_not_taken_for_the_next_one() {
    let mut machine = Machine::with_daemon().await;
    machine.environment.ready("redis");
    let (session, verb) = machine.session(&["status", "--watch", "-o", "json"]);
    let here = &mut machine;
    Machine::new()
        .beside(&session, verb, async |reader| {
            reader.out(|out| !out.is_empty()).await;
            // It goes on answering, but no stream goes on.
            let mut file = DaemonFile::read(&here.stack_dir()).unwrap().unwrap();
            let door = here.stack_dir().join("door.sock");
            let listener = UnixListener::bind(&door).unwrap();
            let behind = file.socket.replace(door).unwrap();
            file.write(&here.stack_dir()).unwrap();
            here.environment.closing.cancel();
            reader.err("waiting for it to come back").await;
            for _ in 0..2 {
                // Whoever comes again has seen enough of the first time.
                let (mut from, _) = listener.accept().await.unwrap();
                let mut to = UnixStream::connect(&behind).await.unwrap();
                here.doors.spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
            }
            here.environment = Played::default();
            here.start(true).await;
            let err = reader.err("there is a daemon again").await;
            assert_eq!(err.lines().count(), 2, "{err}");
        })
        .await;
}

#[tokio::test]
async fn events_are_listed_and_followed_and_the_next_daemon_takes_them_up() {
    let mut machine = Machine::with_daemon().await;
    let environment = machine.environment.clone();
    let record = |name: &str, reason: EventReason| {
        let subject = Some(ResourceKey::service(name));
        let message = format!("of {name}");
        environment.history.record(Happening { subject, reason, message, by: Actor::EnvManager });
    };
    record("redis", EventReason::Created);
    record("kafka", EventReason::Ready);
    let (code, out, _) = machine.run(&["events", "kafka"]).await;
    assert_eq!(code, 0);
    assert!(out.lines().count() == 1 && out.ends_with("  kafka  Ready  of kafka\n"), "{out}");

    let (session, verb) = machine.session(&["events", "-f", "-n", "1", "-o", "json"]);
    let here = &mut machine;
    Machine::new()
        .beside(&session, verb, async |reader| {
            let lines = |n: usize| move |out: &str| out.lines().count() == n;
            reader.out(lines(1)).await;
            record("redis", EventReason::Started);
            reader.out(lines(2)).await;
            here.kill().await;
            reader.err("waiting for it to come back").await;
            record("redis", EventReason::Exited);
            record("redis", EventReason::BackOff);
            here.start(true).await;
            let out = reader.out(lines(4)).await;
            let reasons: Vec<_> = out
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["reason"].clone())
                .collect();
            assert_eq!(reasons, ["Ready", "Started", "Exited", "BackOff"], "each once, none left out");
        })
        .await;
}

#[tokio::test]
async fn logs_go_where_the_container_wrote_them() {
    let machine = Machine::with_daemon().await;
    machine.environment.ready("redis");
    let line = |stream, line: &str| {
        Ok(LogLine { container: ContainerId::new("c1"), stream, time: NOW, line: line.to_owned() })
    };
    *machine.environment.lines.lock().unwrap() =
        vec![line(LogStream::Stdout, "ready to accept"), line(LogStream::Stderr, "overcommit is off")];
    let arguments = ["logs", "redis", "--tail", "5", "--failed"];
    assert_eq!(machine.run(&arguments).await, (0, "ready to accept\n".to_owned(), "overcommit is off\n".to_owned()));
    let [Command::Logs(query)] = &machine.environment.taken()[..] else { panic!("one") };
    assert_eq!((query.tail, query.failed, query.follow, query.since), (Some(5), true, false, None));
    let (_, out, _) = machine.run(&["logs", "redis", "-t"]).await;
    assert_eq!(out, format!("{NOW} ready to accept\n"));
    machine.during(&["logs", "redis", "-f"], async |reader| drop(reader.out(|out| !out.is_empty()).await)).await;
}

#[tokio::test]
async fn a_description_is_put_together_from_two_answers() {
    let machine = Machine::with_daemon().await;
    machine.environment.ready("redis");
    let (code, out, _) = machine.run(&["describe", "redis", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["spec"]["image"], &json["stack"]), (0, &"redis:1".into(), &"default".into()));
    let (_, out, _) = machine.run(&["describe", "redis"]).await;
    assert!(
        out.starts_with("redis  Ready · required · as described\n") && out.contains("\nSpec\n  image: redis:1\n"),
        "{out}"
    );
}
