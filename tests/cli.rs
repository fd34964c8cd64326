//! The program from outside: exit codes, messages, streams. Verbs that need no engine.

use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::assert::OutputAssertExt;

/// The program in an empty folder, with nothing of this process's environment.
fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_env-manager"));
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(home: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
    let output = program(home).args(arguments).envs(env.iter().copied()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn version_prints_itself_in_every_form() {
    let home = folder();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(home.path(), &["version"], &[]).out, format!("env-manager {version}\n"));
    let json: serde_json::Value = serde_json::from_str(&run(home.path(), &["version", "-o", "json"], &[]).out).unwrap();
    assert_eq!(json["version"], version);
    program(home.path()).arg("--version").assert().success();
}

#[test]
fn no_verb_shows_help_and_a_wrong_flag_exits_1_not_2() {
    let home = folder();
    let nothing = run(home.path(), &[], &[]);
    assert!(nothing.code == 1 && nothing.err.contains("Usage:"), "{} {}", nothing.code, nothing.err);
    let wrong = run(home.path(), &["version", "--outputt", "json"], &[]);
    assert_eq!((wrong.code, wrong.out.as_str()), (1, ""));
    assert!(wrong.err.contains("--output"), "suggests: {}", wrong.err);
    let help = run(home.path(), &["--help"], &[]);
    assert!(help.code == 0 && help.out.contains("130  interrupted"), "{}", help.out);
}

#[test]
fn config_show_prints_values_with_their_origins() {
    let home = folder();
    std::fs::write(home.path().join("c.toml"), "max_concurrent_starts = 7\n[retry]\nmax = \"1m\"\n").unwrap();
    let arguments = ["--config", "c.toml", "--stack", "mine", "config", "show"];
    let shown = run(home.path(), &arguments, &[("ENV_MANAGER_MAX_CONCURRENT", "9"), ("DOCKER_HOST", "tcp://h:1")]);
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    for line in [
        "max_concurrent_starts 9 variable ENV_MANAGER_MAX_CONCURRENT",
        "retry.max 1m c.toml:3:7",
        "stack mine flag --stack",
        "docker_host tcp://h:1 variable DOCKER_HOST",
        "grpc_addr 0.0.0.0:50100 default",
    ] {
        let found = shown.out.lines().any(|l| l.split_whitespace().eq(line.split(' ')));
        assert!(found, "no line {line:?} in\n{}", shown.out);
    }
    let json = run(home.path(), &[&arguments[..], &["-o", "json"]].concat(), &[]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["max_concurrent_starts"], serde_json::json!({"value": 7, "origin": "c.toml:1:25"}));
    let yaml = run(home.path(), &[&arguments[..], &["-o", "yaml"]].concat(), &[]).out;
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(yaml, json);
}

#[test]
fn a_broken_configuration_exits_4_with_every_problem_on_stderr() {
    let home = folder();
    std::fs::write(home.path().join("c.toml"), "max_concurent_starts = 7\nprune = 3\n").unwrap();
    let broken = run(home.path(), &["--config", "c.toml", "config", "show"], &[("ENV_MANAGER_RESYNC", "soon")]);
    assert_eq!((broken.code, broken.out.as_str()), (4, ""));
    for part in [
        "--> c.toml:1:1",
        "did you mean `max_concurrent_starts`?",
        "--> c.toml:2:9",
        "expected true or false, found `3`",
        "invalid `resync`",
        "(from variable ENV_MANAGER_RESYNC)",
    ] {
        assert!(broken.err.contains(part), "no {part:?} in\n{}", broken.err);
    }
    let missing = run(home.path(), &["config", "show"], &[("ENV_MANAGER_CONFIG", "nowhere.toml")]);
    assert!(missing.code == 4 && missing.err.contains("nowhere.toml (variable ENV_MANAGER_CONFIG)"), "{}", missing.err);
    let flag = run(home.path(), &["--stack", "No!", "config", "show"], &[]);
    assert!(flag.code == 4 && flag.err.contains("(from flag --stack)"), "{}", flag.err);
}

#[test]
fn pipes_get_plain_text_unless_colours_are_asked_for() {
    let home = folder();
    let plain = run(home.path(), &["config", "show"], &[]);
    assert!(!plain.out.contains('\u{1b}'), "{:?}", plain.out);
    let broken = run(home.path(), &["--stack", "No!", "config", "show"], &[]);
    assert!(!broken.err.contains('\u{1b}'), "{:?}", broken.err);
    let asked = run(home.path(), &["--color", "always", "config", "show"], &[("NO_COLOR", "1")]);
    assert!(asked.out.contains("\u{1b}[1mKEY"), "{:?}", asked.out);
    let declined = run(home.path(), &["config", "show"], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]);
    assert!(!declined.out.contains('\u{1b}'), "{:?}", declined.out);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = folder();
    let mut child = program(home.path())
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn completions_are_scripts_that_name_every_verb() {
    let home = folder();
    for shell in ["bash", "fish", "zsh", "elvish", "powershell"] {
        let script = run(home.path(), &["completions", shell], &[]);
        assert!(script.code == 0 && script.out.contains("completions") && script.out.contains("config"), "{shell}");
    }
    assert_eq!(run(home.path(), &["completions", "tcsh"], &[]).code, 1);
}

const REDIS: &str = "\
apiVersion: env-manager.dev/v1
kind: Service
metadata: { name: redis }
spec: { image: 'redis:7' }
";
const KAFKA: &str = "\
apiVersion: env-manager.dev/v1
kind: Service
metadata: { name: kafka }
spec: { image: 'kafka:1', required: false, dependsOn: [{ service: redis, condition: Started }] }
";

fn manifests(kafka: &str) -> tempfile::TempDir {
    let home = folder();
    std::fs::create_dir(home.path().join("manifests")).unwrap();
    std::fs::write(home.path().join("manifests/redis.yaml"), REDIS).unwrap();
    std::fs::write(home.path().join("manifests/kafka.yaml"), kafka).unwrap();
    home
}

#[test]
fn validate_says_what_is_there_and_what_is_wrong() {
    let good = manifests(KAFKA);
    let ran = run(good.path(), &["validate"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("valid · 2 files · 2 services"), "{}", ran.out);

    let bad = manifests(&KAFKA.replace("image", "imagge"));
    let ran = run(bad.path(), &["validate"], &[]);
    assert!(ran.code == 4 && ran.out.starts_with("1 error · 2 files"), "{}", ran.out);
    assert!(ran.err.contains("manifests/kafka.yaml:4:9") && ran.err.contains("did you mean `image`?"), "{}", ran.err);

    let ran = run(bad.path(), &["validate", "-o", "json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, ran.err.as_str(), &json["valid"], &json["errors"]), (4, "", &false.into(), &1.into()));
    assert_eq!(json["findings"][0]["line"], 4);

    let one = run(bad.path(), &["validate", "manifests/redis.yaml"], &[]);
    assert_eq!(one.code, 0, "{}", one.err);
    let missing = run(bad.path(), &["validate", "nowhere"], &[]);
    assert!(missing.code == 4 && missing.err.contains("nowhere"), "{}", missing.err);
}

#[test]
fn an_override_of_an_unknown_service_names_its_file_and_line() {
    let home = manifests(KAFKA);
    std::fs::write(home.path().join("c.toml"), "[[service_overrides]]\nname = \"kafak\"\n").unwrap();
    let ran = run(home.path(), &["--config", "c.toml", "--manifests", "manifests", "validate"], &[]);
    assert!(
        ran.code == 4 && ran.err.contains("did you mean `kafka`?") && ran.err.contains("c.toml:2:8"),
        "{}",
        ran.err
    );
}

#[test]
fn graphs_are_drawn_in_two_languages() {
    let home = manifests(KAFKA);
    let mermaid = run(home.path(), &["graph"], &[]);
    let expected = "graph LR\n  n0[\"kafka\"]:::optional\n  n1[\"redis\"]\n  n0 -->|Started| n1\n  classDef optional stroke-dasharray: 4 3\n";
    assert_eq!((mermaid.code, mermaid.out.as_str()), (0, expected));
    let dot = run(home.path(), &["graph", "-o", "dot"], &[]);
    assert!(dot.out.contains("\"kafka\" -> \"redis\" [label=\"Started\"];"), "{}", dot.out);
    let bad = run(manifests(&KAFKA.replace("image", "imagge")).path(), &["graph"], &[]);
    assert!(bad.code == 4 && bad.out.contains("redis") && bad.err.contains("imagge"), "{} {}", bad.out, bad.err);
}

#[test]
fn schema_is_one_json_object() {
    let home = folder();
    let ran = run(home.path(), &["schema"], &[]);
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &schema["title"]), (0, &"env-manager manifest".into()));
}

#[test]
fn verbs_that_need_a_daemon_exit_5_and_say_how_to_start_one() {
    let home = folder();
    for arguments in [
        &["status", "--watch"][..],
        &["describe", "redis"],
        &["events"],
        &["events", "-f"],
        &["sync"],
        &["restart", "redis"],
        &["suspend", "redis"],
        &["resume", "redis"],
        &["retry"],
    ] {
        let ran = run(home.path(), arguments, &[]);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (5, "", "error: no daemon keeps stack default; start one with `env-manager run` (or `make up`)\n"),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_daemon_that_was_named_must_answer_and_one_that_was_killed_is_none() {
    let home = folder();
    let named = run(home.path(), &["--daemon", "127.0.0.1:1", "status"], &[]);
    assert_eq!(named.code, 5);
    let said = named.err.to_lowercase();
    assert!(said.contains("127.0.0.1:1") && said.contains("refused") && said.contains("`env-manager run`"), "{said}");
    let wrong = run(home.path(), &["--daemon", "nowhere", "status"], &[]);
    assert!(wrong.code == 1 && wrong.err.contains("`host:port` or `unix:/path`"), "{}", wrong.err);

    let state = home.path().join("state/default");
    std::fs::create_dir_all(&state).unwrap();
    let file = serde_json::json!({
        "pid": 1, "version": "0.1.0", "stack": "default", "manifests": "/m", "grpc": "127.0.0.1:1", "http": null,
        "socket": state.join("daemon.sock"), "startedAt": "2026-11-18T10:00:00.000Z",
    });
    std::fs::write(state.join("daemon.json"), file.to_string()).unwrap();
    let env = [("ENV_MANAGER_STATE_DIR", "state"), ("ENV_MANAGER_GRPC_ADDR", "127.0.0.1:1")];
    let killed = run(home.path(), &["sync"], &env);
    assert!(killed.code == 5 && killed.err.contains("no daemon keeps stack default"), "{}", killed.err);
}
