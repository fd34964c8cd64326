//! P18: what an older build made is as the newest one would make it.
//!
//! `tests/fixtures/upgrade/engine.json` is what Docker 20.10.24 said of the containers, networks and volumes that
//! the build of commit 52d8138 had made of `manifests/` there (with `SCOPE` and the stack `em-test-upgrade`; the
//! host is called `builder` in it, and the folder `/srv/manifests`). It is never made anew: a later build's record
//! stands beside it. Here a socket answers with it, and `plan` must find nothing to do.
//! `make upgrade-check FROM=COMMIT` does the same with two builds and a real engine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const STACK: &str = "em-test-upgrade";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgrade").join(name)
}

/// An engine that only repeats what was recorded.
struct Record {
    home: tempfile::TempDir,
    /// Method and path of each request.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Record {
    fn start(change: impl FnOnce(&mut Value)) -> Self {
        let mut recorded = serde_json::from_str(&std::fs::read_to_string(fixture("engine.json")).unwrap()).unwrap();
        change(&mut recorded);
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (recorded, log) = (Arc::new(recorded), Arc::clone(&asked));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (recorded, log) = (Arc::clone(&recorded), Arc::clone(&log));
                std::thread::spawn(move || serve(&stream, &recorded, &log));
            }
        });
        Self { home, asked }
    }

    /// `plan` over these manifests: exit code and what it printed.
    fn plan(&self, manifests: &Path) -> (Option<i32>, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_env-manager"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("SCOPE", STACK)
            .env("DOCKER_HOST", format!("unix://{}", self.home.path().join("docker.sock").display()))
            .current_dir(self.home.path())
            .args(["--stack", STACK, "--state-dir", "state", "--manifests"])
            .arg(manifests)
            .args(["plan", "--detailed"])
            .output()
            .expect("the program runs");
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }
}

/// One request after another, until the other side has had enough.
fn serve(stream: &UnixStream, recorded: &Value, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            header.clear();
        }
        let mut parts = request.split(' ');
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix("/v1.41").unwrap_or(path);
        log.lock().unwrap().push(format!("{method} {path}"));
        let (code, extra, body) = answer(method, path, &unescaped(query), recorded);
        let body = if method == "HEAD" { String::new() } else { body };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {code} Told\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n{extra}Content-Length: {length}\r\n\r\n"
        );
        if (&mut &*stream).write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn unescaped(query: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = query.bytes();
    while let Some(byte) = rest.next() {
        let digits = if byte == b'%' { [rest.next(), rest.next()] } else { [None, None] };
        let code = match digits {
            [Some(a), Some(b)] => u8::from_str_radix(&String::from_utf8_lossy(&[a, b]), 16).ok(),
            _ => None,
        };
        bytes.push(code.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Code, further headers, body.
fn answer(method: &str, path: &str, query: &str, recorded: &Value) -> (u16, String, String) {
    let ok = |value: &Value| (200, String::new(), value.to_string());
    let missing = || (404, String::new(), json!({ "message": "No such thing in the record" }).to_string());
    let filters: BTreeMap<String, Value> = query
        .split('&')
        .find_map(|part| part.strip_prefix("filters="))
        .and_then(|filters| serde_json::from_str(filters).ok())
        .unwrap_or_default();
    // Either form of a filter: a list, or a map of words to true.
    let words = |name: &str| -> Vec<String> {
        match filters.get(name) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::Object(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    };
    let is_asked_for = |labels: &Value, names: &[&str]| {
        let has = |label: &String| {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            labels[name] == *value || (value.is_empty() && !labels[name].is_null())
        };
        // A pattern that begins with `^/` or a name.
        let plain = |pattern: &String| pattern.trim_matches(|c| "^/?$".contains(c)).replace('\\', "");
        let wanted = words("name");
        words("label").iter().all(has) && (wanted.is_empty() || wanted.iter().any(|w| names.contains(&&*plain(w))))
    };
    let list = |name: &str| recorded[name].as_array().cloned().unwrap_or_default();
    let listed = |name: &str| {
        list(name).into_iter().filter(|o| is_asked_for(&o["Labels"], &[o["Name"].as_str().unwrap_or_default()]))
    };
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    match (method, &parts[..]) {
        ("GET" | "HEAD", ["_ping"]) => (200, String::new(), "OK".to_owned()),
        ("GET", ["version"]) => ok(&recorded["version"]),
        ("GET", ["info"]) => ok(&recorded["info"]),
        ("GET", ["containers", "json"]) => {
            let rows = list("containers").into_iter().map(|c| c["row"].clone());
            let rows = rows.filter(|row| {
                let name = row["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
                is_asked_for(&row["Labels"], &[&name])
            });
            ok(&rows.collect())
        }
        ("GET", ["networks"]) => ok(&listed("networks").collect()),
        ("GET", ["volumes"]) => ok(&json!({ "Volumes": listed("volumes").collect::<Vec<_>>(), "Warnings": [] })),
        (_, ["containers", which, rest @ ..]) => {
            let is_it = |c: &&Value| c["inspect"]["Id"] == **which || c["inspect"]["Name"] == *format!("/{which}");
            let all = list("containers");
            match (all.iter().find(is_it), rest) {
                (Some(container), ["json"]) => ok(&container["inspect"]),
                (Some(container), ["archive"]) => {
                    let id = container["inspect"]["Id"].as_str().unwrap_or_default();
                    match recorded["markers"][id].as_str() {
                        Some(stat) => (200, format!("X-Docker-Container-Path-Stat: {stat}\r\n"), String::new()),
                        None => missing(),
                    }
                }
                _ => missing(),
            }
        }
        ("GET", ["images", name @ .., "json"]) => {
            let name = unescaped(&name.join("/"));
            let is_it = |image: &&Value| {
                image["Id"] == *name || image["RepoTags"].as_array().is_some_and(|t| t.contains(&json!(name)))
            };
            list("images").iter().find(is_it).map_or_else(missing, ok)
        }
        _ => missing(),
    }
}

#[test]
fn p18_what_an_older_build_made_is_left_as_it_is() {
    for state in [false, true] {
        let record = Record::start(|_| {});
        if state {
            let folder = record.home.path().join("state").join(STACK);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(fixture("services.json"), folder.join("services.json")).unwrap();
        }
        let (code, said) = record.plan(&fixture("manifests"));
        assert_eq!(code, Some(0), "with its state: {state}\n{said}");
        assert!(said.contains("5 of 5 as described"), "{said}");
        let asked = record.asked.lock().unwrap().clone();
        assert!(asked.iter().all(|a| a.starts_with("GET ") || a.starts_with("HEAD ")), "{asked:#?}");
        assert!(asked.iter().any(|a| a.ends_with("/archive")), "the files are looked at: {asked:#?}");
    }
}

/// Of what inspect says of a container.
type Change = fn(&mut Value);

/// Else the test above could pass by looking at nothing.
#[test]
fn p18_the_record_is_looked_at() {
    let changes: [(&str, Change); 4] = [
        ("env.MODE", |db| db["Config"]["Env"][0] = json!("MODE=9")),
        ("image", |db| db["Config"]["Image"] = json!("em-test/busybox:2")),
        ("restart", |db| db["HostConfig"]["RestartPolicy"]["Name"] = json!("no")),
        ("resources.pids", |db| db["HostConfig"]["PidsLimit"] = json!(7)),
    ];
    for (field, change) in changes {
        let record = Record::start(|recorded| {
            let all = recorded["containers"].as_array_mut().unwrap();
            let db = all.iter_mut().find(|c| c["inspect"]["Name"] == *format!("/{STACK}-db")).unwrap();
            change(&mut db["inspect"]);
        });
        let (code, said) = record.plan(&fixture("manifests"));
        assert_eq!(code, Some(2), "{field}: {said}");
        assert!(said.contains(field), "{field}: {said}");
    }
}
