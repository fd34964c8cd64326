//! A stack of its own for a test: a folder of manifests, the real program over it, a real engine
//! below it. Names, ports and labels are the test's own, and so is what it removes, before and after.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "engine.rs"]
pub mod engine;
#[path = "schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub use engine::docker;

/// The program whose health, delays and deaths tests can choose: `deploy/local-images/README.md`.
pub const STAND_IN: &str = "env-manager-local/stand-in:1";
/// For everything that should happen "soon" on a machine that is busy with other tests.
const SOON: Duration = Duration::from_mins(1);
/// No run of the program takes this long.
const TOO_LONG: Duration = Duration::from_secs(170);

const SCHEMAS: [(&str, &str); 4] = [
    ("apply", include_str!("../../docs/schemas/apply.schema.json")),
    ("describe", include_str!("../../docs/schemas/describe.schema.json")),
    ("plan", include_str!("../../docs/schemas/plan.schema.json")),
    ("status", include_str!("../../docs/schemas/status.schema.json")),
];

/// One document of a service. `body`: fields of `spec`; without an image it is the stand-in.
pub fn service(name: &str, body: &str) -> String {
    let mut spec = String::from("  pullPolicy: Never\n");
    if body.contains("pullPolicy:") {
        spec.clear();
    }
    if !body.contains("image:") {
        spec.push_str(&format!("  image: {STAND_IN}\n"));
    }
    for line in body.trim().lines() {
        spec.extend(["  ", line, "\n"]);
    }
    format!("apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n{spec}")
}

/// A service that answers lines on port 7000, with a probe that asks for one.
pub fn line(name: &str, more: &str) -> String {
    let probe = "probes: { startup: { line: { port: 7000, send: \"ping\\n\", expect: pong }, timeout: 300ms } }";
    service(name, &format!("command: standin line\n{probe}\n{more}"))
}

/// A service that never listens, and has two seconds for it.
pub fn deaf(name: &str, more: &str) -> String {
    let probe = "probes: { startup: { tcp: { port: 7000 }, deadline: 2s } }";
    service(name, &format!("command: standin line\nenv: {{ STANDIN_NEVER_LISTEN: 1 }}\n{probe}\n{more}"))
}

/// A service that does nothing for ever; Ready as soon as it runs.
pub fn idle(name: &str, more: &str) -> String {
    service(name, &format!("image: {}\ncommand: [sleep, \"1000000\"]\n{more}", engine::IMAGE))
}

pub struct Stack {
    pub scope: engine::Scope,
    home: TempDir,
    /// The folder that verbs read.
    folder: PathBuf,
}

impl Stack {
    /// With a folder `manifests` that gives every container a name of this scope.
    pub fn new(test: &str) -> Self {
        ensure_stand_in();
        let scope = engine::Scope::new(test);
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("manifests");
        let stack = Self { scope, home, folder };
        stack.begin();
        stack
    }

    fn begin(&self) {
        std::fs::create_dir_all(&self.folder).expect("a folder");
        self.write(
            "stack.yaml",
            "apiVersion: env-manager.dev/v1\nkind: Stack\nmetadata: { name: stack }\n\
             spec: { containerName: \"${SCOPE}-{service}\", stop: { gracePeriod: 5s } }\n",
        );
    }

    /// The same stack, described by another folder as well.
    pub fn with_folder<T>(&mut self, name: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.folder, self.home.path().join(name));
        self.begin();
        let result = body(self);
        self.folder = before;
        result
    }

    pub fn name(&self) -> &str {
        &self.scope.name
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The stack's own network.
    pub fn network(&self) -> String {
        format!("env-manager-{}", self.name())
    }

    /// The container of a service.
    pub fn container(&self, service: &str) -> String {
        self.scope.name(service)
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// `NAME.yaml` for each document of a service.
    pub fn describe(&self, documents: &[String]) {
        for document in documents {
            let name = document.split("name: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a name");
            self.write(&format!("{name}.yaml"), document);
        }
    }

    pub fn forget(&self, service: &str) {
        std::fs::remove_file(self.folder.join(format!("{service}.yaml"))).expect("it was described");
    }

    /// The program over this stack, with nothing of this process's environment but PATH.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_env-manager"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("SCOPE", self.name())
            .env("ENV_MANAGER_PRUNE_DELAY", "1ms")
            .current_dir(self.home())
            .args(["--stack", self.name(), "--state-dir", "state", "--manifests"])
            .arg(&self.folder)
            .args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    pub fn apply(&self) -> Ran {
        self.apply_with(&[])
    }

    pub fn apply_with(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["apply", "-o", "json"][..], arguments].concat()).fits("apply")
    }

    pub fn apply_dry(&self) -> Ran {
        self.run(&["apply", "--dry-run", "-o", "json"]).fits("plan")
    }

    pub fn plan(&self) -> Ran {
        self.run(&["plan", "-o", "json"]).fits("plan")
    }

    pub fn status(&self) -> Ran {
        self.run(&["status", "-o", "json"]).fits("status")
    }

    /// Started and not waited for.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: command.spawn().expect("the program starts"), what: arguments.join(" ") }
    }

    pub fn inspect(&self, service: &str) -> Value {
        engine::inspect(&self.container(service))
    }

    pub fn id(&self, service: &str) -> String {
        text(&self.inspect(service)["Id"])
    }

    pub fn started_at(&self, service: &str) -> u128 {
        nanos(&self.inspect(service)["State"]["StartedAt"])
    }

    /// Every container of the stack or of its names, by name without the scope: ids.
    pub fn containers(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let label = format!("label=dev.env-manager.stack={}", self.name());
        for by in [label, format!("name=^/?{}-", self.name())] {
            let listed = docker(&["ps", "-a", "--no-trunc", "--filter", &by, "--format", "{{.Names}} {{.ID}}"]);
            all.extend(listed.lines().filter_map(|line| {
                let (name, id) = line.split_once(' ')?;
                let part = name.strip_prefix(self.name()).map_or(name, |rest| rest.trim_start_matches('-'));
                Some((part.to_owned(), id.to_owned()))
            }));
        }
        all
    }

    /// Names of what is there, in order.
    pub fn names(&self) -> Vec<String> {
        self.containers().into_keys().collect()
    }

    /// Names of networks and volumes that bear the stack's label, the scope cut off.
    pub fn objects(&self, kind: &str) -> Vec<String> {
        let label = format!("label=dev.env-manager.stack={}", self.name());
        let listed = docker(&[kind, "ls", "--filter", &label, "--format", "{{.Name}}"]);
        let mut names: Vec<_> = listed.lines().map(|l| l.replace(self.name(), "S")).collect();
        names.sort();
        names
    }

    /// Every file of this test that holds one of the texts, but for those that describe the stack.
    pub fn files_with(&self, texts: &[&str]) -> Vec<PathBuf> {
        fn walk(folder: &Path, texts: &[&str], except: &Path, found: &mut Vec<PathBuf>) {
            for path in std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()) {
                if path == except {
                    continue;
                }
                if path.is_dir() {
                    walk(&path, texts, except, found);
                } else if path.is_file() {
                    let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
                    found.extend(texts.iter().any(|s| text.contains(s)).then_some(path));
                }
            }
        }
        let mut found = Vec::new();
        walk(self.home(), texts, &self.folder, &mut found);
        found
    }

    /// Runs a command in a service's container.
    pub fn exec(&self, service: &str, command: &[&str]) -> String {
        docker(&[&["exec", &self.container(service)][..], command].concat())
    }

    /// Nothing is left to do, nothing is left over.
    #[track_caller]
    pub fn is_converged(&self, services: &[&str]) {
        assert_eq!(self.names(), services);
        let plan = self.plan().exits(0);
        assert_eq!(plan.json()["changes"], false, "{plan}");
    }
}

/// A run that has ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    what: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` exited {:?}\n--- out\n{}\n--- err\n{}", self.what, self.code, self.out, self.err)
    }
}

impl Ran {
    pub fn of(command: Command) -> Self {
        let what = command.get_args().skip(5).map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let output = assert_cmd::Command::from_std(command).timeout(TOO_LONG).output().expect("the program runs");
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
            what,
        }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Whether standard output is what a committed schema says. A run that failed prints none.
    #[track_caller]
    pub fn fits(self, schema: &str) -> Self {
        if !self.out.is_empty() {
            let (_, text) = SCHEMAS.iter().find(|(name, _)| *name == schema).expect("a schema");
            let problems = schema::problems(&serde_json::from_str(text).expect("JSON"), &self.json());
            assert!(problems.is_empty(), "{schema}.schema.json: {problems:#?}\n{self}");
        }
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self}"))
    }

    /// The report on one service, of `apply` and `status`.
    #[track_caller]
    pub fn service(&self, name: &str) -> Value {
        let json = self.json();
        let status = json.get("status").unwrap_or(&json);
        let found = status["services"].as_array().into_iter().flatten().find(|s| s["name"] == name);
        found.unwrap_or_else(|| panic!("no service {name}: {self}")).clone()
    }

    #[track_caller]
    pub fn is_ready(&self, name: &str) {
        assert_eq!(self.service(name)["ready"], true, "{name}: {self}");
    }

    /// A service that is not ready says why in these words.
    #[track_caller]
    pub fn says(&self, name: &str, reason: &str, words: &[&str]) {
        let service = self.service(name);
        assert_eq!((&service["ready"], text(&service["reason"]).as_str()), (&Value::Bool(false), reason), "{self}");
        let message = text(&service["message"]);
        for word in words {
            assert!(message.contains(word), "{name} should say `{word}`: {message}\n{self}");
        }
    }

    pub fn notes(&self) -> Vec<String> {
        let json = self.json();
        let status = json.get("status").unwrap_or(&json);
        status["notes"].as_array().into_iter().flatten().map(text).collect()
    }

    /// It ended since nothing could go on, and not since its time was over.
    #[track_caller]
    pub fn was_stuck(self) -> Self {
        let ran = self.exits(3);
        assert!(!ran.notes().iter().any(|n| n.contains("not converged within")), "{ran}");
        ran
    }

    /// What `plan` would do with one resource.
    #[track_caller]
    pub fn change(&self, name: &str) -> Value {
        let json = self.json();
        let found = json["resources"].as_array().into_iter().flatten().find(|r| r["name"] == name);
        found.unwrap_or_else(|| panic!("{name} would not change: {self}")).clone()
    }
}

/// A run under way. Killed if a test forgets it.
pub struct Running {
    child: Child,
    what: String,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn wait(mut self) -> Ran {
        use std::io::Read;
        soon("the end of the program", || self.ended().then_some(()));
        let code = self.child.wait().expect("a child").code();
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("piped").read_to_string(&mut out).expect("UTF-8");
        self.child.stderr.take().expect("piped").read_to_string(&mut err).expect("UTF-8");
        Ran { code, out, err, what: std::mem::take(&mut self.what) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer; panics after a while.
#[track_caller]
pub fn soon<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answer = runtime.block_on(async { tokio::time::timeout(SOON, engine::eventually(async || ask())).await });
    answer.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Nanoseconds of a time as the engine writes it.
pub fn nanos(time: &Value) -> u128 {
    let time = humantime::parse_rfc3339(&text(time)).expect("RFC 3339");
    time.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
}

/// A port of the host that nothing uses right now.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port").port()
}

/// Builds it where it is not there (needs root and Debian; `make test` has done it before).
fn ensure_stand_in() {
    let there = Command::new("docker").args(["image", "inspect", STAND_IN]).output();
    if !there.is_ok_and(|o| o.status.success()) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local-images/build");
        let made = Command::new(script).arg("stand-in").status();
        assert!(made.is_ok_and(|s| s.success()), "{STAND_IN} is built by deploy/local-images/build");
    }
}
