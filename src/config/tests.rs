use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::keys::{self, KeyInfo};
use super::load::Environment;
use super::merge::Layer;
use super::*;
use crate::tasks::settings::Class;

/// The example file of the system that this one replaces, to the byte.
const SEED: &str = include_str!("fixtures/seed.toml");

fn env(pairs: &[(&str, &str)]) -> Environment {
    Environment(pairs.iter().map(|(k, v)| (k.into(), v.into())).collect())
}

/// A folder with `env-manager.toml`, and its path as text.
fn config_file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("env-manager.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn load_text(text: &str) -> Result<Loaded, String> {
    let (dir, path) = config_file(text);
    let result = load(Layer::default(), Some(&path), &env(&[]));
    result.map_err(|e| e.render(false).replace(&format!("{}/", dir.path().display()), ""))
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Loaded, String> {
    load(Layer::default(), None, &env(pairs)).map_err(|e| e.to_string())
}

/// Three different values, none of them the default: as the file, a variable and a flag give them, and
/// as they are shown.
struct Sample {
    file: (&'static str, Value),
    env: (&'static str, Value),
    flag: (&'static str, Value),
}

/// A new key does not compile until it has samples here.
fn sample(key: Key) -> Sample {
    let of = |file: (&'static str, Value), env: (&'static str, Value), flag: (&'static str, Value)| Sample {
        file,
        env,
        flag,
    };
    let words = |a: &'static str, b: &'static str, c: &'static str| {
        let quoted: &'static str = Box::leak(format!("\"{a}\"").into_boxed_str());
        of((quoted, json!(a)), (b, json!(b)), (c, json!(c)))
    };
    match key {
        Key::GrpcAddr | Key::MetricsHttpAddr | Key::TasksGrpcAddr | Key::TasksHttpAddr => {
            words("127.0.0.1:1", "[::1]:2", "10.0.0.1:3")
        }
        Key::DockerHost => words("unix:///a.sock", "tcp://b:2375", "ssh://me@c"),
        Key::Manifests | Key::StateDir => words("/a", "/b", "/c"),
        Key::Stack => words("one", "two", "three"),
        Key::MaxConcurrentStarts => of(("0", json!(0)), ("7", json!(7)), ("8", json!(8))),
        Key::HealthCheckTimeoutSecs => of(("61", json!(61)), ("120", json!(120)), ("2m", json!(120))),
        Key::HealthCheckMaxAttempts => of(("31", json!(31)), ("32", json!(32)), ("33", json!(33))),
        Key::VerboseLogging | Key::TasksAllowRemote => {
            of(("true", json!(true)), ("no", json!(false)), ("1", json!(true)))
        }
        Key::LogFormat => of(("\"json\"", json!("json")), ("compact", json!("compact")), ("json", json!("json"))),
        Key::RetryMaxAttempts => of(("4", json!(4)), ("5", json!(5)), ("6", json!(6))),
        Key::RetryInitial => words("1s", "2s", "3s"),
        Key::RetryMax | Key::TasksRetryMax | Key::TasksLease => words("1m", "2m", "3m"),
        Key::Resync => words("5m", "6m", "7m"),
        Key::ImagePoll => words("10m", "20m", "1h"),
        Key::Prune => of(("false", json!(false)), ("TRUE", json!(true)), ("off", json!(false))),
        Key::PruneLimit => of(("\"10%\"", json!("10%")), ("20%", json!("20%")), ("30", json!("30%"))),
        Key::PruneDelay => words("3s", "4s", "5s"),
        Key::TasksEnabled => of(("false", json!(false)), ("1", json!(true)), ("off", json!(false))),
        Key::TasksRedis => words("redis://a:1/2", "redis+unix:///b", "redis://[::1]"),
        Key::TasksDurability => words("relaxed", "strict", "relaxed"),
        Key::TasksRetryInitial => words("2s", "3s", "4s"),
        Key::TasksMaxBacklog | Key::TasksMaxDead => of(("5", json!(5)), ("6", json!(6)), ("7", json!(7))),
        Key::TasksMaxPayload | Key::TasksMaxResult => words("1KiB", "2KiB", "3MiB"),
        Key::TasksResultTtl => words("1h", "2h", "3h"),
        Key::TasksCpuShortTimeLimit
        | Key::TasksCpuLongTimeLimit
        | Key::TasksGpuShortTimeLimit
        | Key::TasksGpuLongTimeLimit => words("1s", "2m", "3h"),
        Key::TasksCpuShortMaxAttempts
        | Key::TasksCpuLongMaxAttempts
        | Key::TasksGpuShortMaxAttempts
        | Key::TasksGpuLongMaxAttempts
        | Key::TasksCpuShortConcurrency
        | Key::TasksCpuLongConcurrency
        | Key::TasksGpuShortConcurrency
        | Key::TasksGpuLongConcurrency
        | Key::TasksCpuShortWeight
        | Key::TasksCpuLongWeight
        | Key::TasksGpuShortWeight
        | Key::TasksGpuLongWeight => of(("2", json!(2)), ("6", json!(6)), ("7", json!(7))),
    }
}

#[test]
fn every_key_is_taken_from_flag_over_variable_over_file_over_default() {
    for key in Key::ALL.iter().copied() {
        let KeyInfo { name, env: variable, .. } = key.info();
        let sample = sample(key);
        let value_and_origin = |loaded: &Loaded| (show::value(&loaded.config, key), loaded.origins[&key].clone());

        let nothing = load(Layer::default(), None, &env(&[])).unwrap();
        assert_eq!(nothing.origins[&key], Origin::Default, "{name}");

        let (_dir, path) = config_file(&format!("\n{name} = {}\n", sample.file.0));
        let file = load(Layer::default(), Some(&path), &env(&[])).unwrap();
        let (value, origin) = value_and_origin(&file);
        assert_eq!(value, sample.file.1, "{name} in a file");
        let column = name.len() + 4;
        assert_eq!(origin, Origin::File { path: path.as_str().into(), line: 2, column }, "{name}");

        let with_variable = variable.map_or_else(|| env(&[]), |v| env(&[(v, sample.env.0)]));
        if let Some(variable) = variable {
            let loaded = load(Layer::default(), Some(&path), &with_variable).unwrap();
            assert_eq!(value_and_origin(&loaded), (sample.env.1, Origin::Env(variable)), "{name}");
        }
        if let Some(flag) = key.info().flag {
            let flags = Layer::default().flag(key, Some(sample.flag.0));
            let loaded = load(flags, Some(&path), &with_variable).unwrap();
            assert_eq!(value_and_origin(&loaded), (sample.flag.1, Origin::Flag(flag)), "{name}");
        }
    }
}

#[test]
fn defaults_are_those_that_the_table_of_keys_promises() {
    let config = load_env(&[("XDG_STATE_HOME", "/state")]).unwrap().config;
    for key in Key::ALL.iter().copied() {
        let shown = match show::value(&config, key) {
            Value::String(s) => s.replace("/state", "$XDG_STATE_HOME"),
            Value::Null => "Docker's current context".to_owned(),
            other => other.to_string(),
        };
        assert_eq!(shown, key.info().default, "{}", key.name());
    }
}

#[test]
fn names_variables_and_flags_are_unique() {
    for pick in [|k: Key| Some(k.info().name), |k: Key| k.info().env, |k: Key| k.info().flag] {
        let all: Vec<_> = Key::ALL.iter().copied().filter_map(pick).collect();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), unique.len(), "{all:?}");
    }
}

#[test]
fn the_seed_s_example_loads_as_it_stands() {
    let loaded = load_text(SEED).unwrap();
    let config = &loaded.config;
    assert_eq!(config.grpc_addr.to_string(), "0.0.0.0:50100");
    assert_eq!((config.max_concurrent_starts, config.health_check_timeout.as_secs()), (5, 60));
    assert!(config.verbose_logging);
    assert_eq!(loaded.notes.len(), 1, "health_check_max_attempts has no effect, and that is said: {:?}", loaded.notes);
    let overrides: Vec<_> = loaded.overrides.iter().map(|o| (o.name.as_str(), o.fields().join(","))).collect();
    assert_eq!(overrides, [("ollama", "health_check_url,required".to_owned()), ("redis", "required".to_owned())]);

    let ollama = &config.service_overrides.0[0];
    assert_eq!(ollama.health_check_url.as_deref(), Some("http://localhost:11435/api/tags"));
    assert_eq!((ollama.name.as_str(), ollama.required), ("ollama", Some(false)));
}

#[test]
fn overrides_take_every_field_that_the_contract_names() {
    let text = "\
[[service_overrides]]
name = \"kafka\"
required = true
image = \"x:1\"
command = [\"run\", \"--it\"]
environment = { A = \"1\" }
ports = [\"127.0.0.1:9092:9092\"]
suspend = false
probes.readiness = { tcp = { port = 9092 }, interval = \"5s\", failureThreshold = 3 }

[[service_overrides]]
name = \"redis\"
command = \"redis-server --save ''\"
health_check_url = \"http://localhost:1/\"
";
    let fields: std::collections::BTreeSet<_> = text.lines().filter_map(|l| l.split([' ', '.']).next()).collect();
    assert!(keys::OVERRIDE_FIELDS.iter().all(|f| fields.contains(f)), "{fields:?}");
    let overrides = load_text(text).unwrap().config.service_overrides.0;
    assert_eq!((overrides[0].image.as_deref(), overrides[0].suspend), (Some("x:1"), Some(false)));
    assert!(overrides[0].probes.is_some() && overrides[1].command.is_some());

    let wrong = "[[service_overrides]]\nname = \"kafka\"\nrequired = \"yes\"\nenvironment = { A = 1 }\n";
    insta::assert_snapshot!(load_text(wrong).unwrap_err());
}

#[test]
fn the_usual_file_is_read_if_it_is_there_and_a_variable_names_another() {
    let home = tempfile::tempdir().unwrap();
    let home_text = home.path().to_str().unwrap();
    assert_eq!(load_env(&[("HOME", home_text)]).unwrap().file, None);

    fs::create_dir(home.path().join(".dspy-agent")).unwrap();
    fs::write(home.path().join(".dspy-agent/env-manager.toml"), "stack = \"usual\"\n").unwrap();
    fs::write(home.path().join("other.toml"), "stack = \"other\"\nmanifests = \"m\"\nstate_dir = \"~/s\"\n").unwrap();
    assert_eq!(load_env(&[("HOME", home_text)]).unwrap().config.stack, "usual");

    let config = load_env(&[("HOME", home_text), ("ENV_MANAGER_CONFIG", "~/other.toml")]).unwrap().config;
    assert_eq!(config.stack, "other");
    assert_eq!(config.manifests, home.path().join("m"), "relative to the file");
    assert_eq!(config.state_dir, home.path().join("s"));
}

#[test]
fn tilde_is_expanded_in_flags_and_variables_too() {
    let flags = Layer::default().flag(Key::StateDir, Some("~/state"));
    let environment = env(&[("HOME", "/home/me"), ("ENV_MANAGER_MANIFESTS", "~")]);
    let config = load(flags, None, &environment).unwrap().config;
    assert_eq!(config.state_dir, Path::new("/home/me/state"));
    assert_eq!(config.manifests, Path::new("/home/me"));
    assert!(load_env(&[("ENV_MANAGER_MANIFESTS", "~/x")]).unwrap_err().contains("HOME is not set"));
    assert!(load_env(&[("ENV_MANAGER_MANIFESTS", "~other/x")]).unwrap_err().contains("another user's"));
}

#[test]
fn a_named_file_that_is_missing_is_an_error_that_says_who_named_it() {
    let by_flag = load(Layer::default(), Some("/nowhere/x.toml"), &env(&[])).unwrap_err().render(false);
    assert!(by_flag.contains("/nowhere/x.toml (flag --config): No such file"), "{by_flag}");
    let by_variable = load_env(&[("ENV_MANAGER_CONFIG", "/nowhere/x.toml")]).unwrap_err();
    assert!(by_variable.contains("/nowhere/x.toml (variable ENV_MANAGER_CONFIG)"), "{by_variable}");
}

#[test]
fn what_is_no_text_or_endless_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let refuse = |path: &str| load(Layer::default(), Some(path), &env(&[])).unwrap_err().render(false);
    assert!(refuse(path.to_str().unwrap()).contains("is not UTF-8 text"));
    assert!(refuse("/dev/zero").contains("is larger than 1 MiB"));
    assert!(refuse(dir.path().to_str().unwrap()).contains("directory"));
}

#[test]
fn everything_wrong_with_a_file_is_reported_at_once_with_its_place() {
    let text = "\
max_concurent_starts = 5
verbose_logging = \"true\"
[retry]
initial = 500
maximum = \"30s\"
[git]
url = \"x\"
[[service_overrides]]
name = \"redis\"
imagge = \"redis:7\"
[[service_overrides]]
image = \"x\"
[[service_overrides]]
name = \"redis\"
";
    insta::assert_snapshot!(load_text(text).unwrap_err());
}

#[test]
fn text_that_is_not_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(load_text("stack = \"a\"\ngrpc_addr = 0.0.0.0:50100\n").unwrap_err());
}

#[test]
fn p16_brackets_that_nobody_closes_end_in_a_problem_and_not_in_the_end_of_the_process() {
    // Each line is a level deeper on the parser's way out of the first.
    let unclosed = "x = { a = 1\n[[s]]\n".repeat(20_000);
    for text in [unclosed.as_str(), &"x = [".repeat(20_000), &format!("x = {}", "{ a = [".repeat(20_000))] {
        let error = load_text(text).unwrap_err();
        assert!(error.contains("not TOML: brackets are nested more than 32 deep, or not closed"), "{error}");
    }
    // Tables that are closed are as many as they like.
    let text = "[[service_overrides]]\nname = \"web\"\ncommand = [\"[[[[\"] # [[[[\n";
    assert!(load_text(text).is_ok(), "brackets in texts and comments are none");
    let error = load_text(&"[retry]\n".repeat(50)).unwrap_err();
    assert!(error.contains("not TOML") && !error.contains("nested"), "{error}");
}

#[test]
fn a_value_that_does_not_parse_names_its_variable() {
    for (variable, value, message) in [
        ("ENV_MANAGER_MAX_CONCURRENT", "many", "expected a whole number from 0 to 100000, found `many`"),
        ("ENV_MANAGER_MAX_CONCURRENT", "-1", "expected a whole number from 0"),
        ("ENV_MANAGER_GRPC_ADDR", "50100", "`50100` is not an address; write it as IP:PORT"),
        ("ENV_MANAGER_VERBOSE", "maybe", "expected true or false, found `maybe`"),
        ("ENV_MANAGER_HEALTH_TIMEOUT", "0", "from 1"),
        ("ENV_MANAGER_RETRY_INITIAL", "fast", "is not a duration such as 500ms"),
        ("ENV_MANAGER_RETRY_MAX_ATTEMPTS", "0", "from 1 to 1000"),
        ("ENV_MANAGER_RESYNC", "10ms", "is shorter than 1s"),
        ("ENV_MANAGER_PRUNE_LIMIT", "101%", "from 0% to 100%"),
        ("ENV_MANAGER_STACK", "My Stack", "is not a stack's name"),
        ("ENV_MANAGER_LOG_FORMAT", "jsn", "did you mean `json`?"),
        ("DOCKER_HOST", "/var/run/docker.sock", "write it as unix:///var/run/docker.sock"),
        ("DOCKER_HOST", "npipe://x", "begins with one of unix://"),
        ("ENV_MANAGER_TASKS_REDIS", "localhost:6379", "write it as redis://"),
        ("ENV_MANAGER_TASKS_REDIS", "rediss://h", "over TLS is not supported"),
        ("ENV_MANAGER_TASKS_REDIS", "redis+unix://redis.sock", "not absolute"),
        ("ENV_MANAGER_TASKS_REDIS", "redis://h:0", "the port is not a number from 1"),
        ("ENV_MANAGER_TASKS_REDIS", "redis://:6379", "the host is missing"),
        ("ENV_MANAGER_TASKS_REDIS", "redis://h/x", "the database is not a number"),
        ("ENV_MANAGER_TASKS_DURABILITY", "relax", "did you mean `relaxed`?"),
        ("ENV_MANAGER_TASKS_LEASE", "1h", "`1h` is longer than 10m"),
        ("ENV_MANAGER_TASKS_MAX_PAYLOAD", "4MiB", "a size of up to 3MiB, found 4MiB"),
        ("ENV_MANAGER_TASKS_MAX_RESULT", "0", "a size of up to 3MiB"),
        ("ENV_MANAGER_TASKS_CPU_SHORT_WEIGHT", "0", "from 1 to 1000"),
        ("ORCHESTRATOR_GRPC_ADDR", "50052", "write it as IP:PORT"),
    ] {
        let error = load_env(&[(variable, value)]).unwrap_err();
        assert!(error.contains(message) && error.contains(&format!("(from variable {variable})")), "{error}");
    }
}

#[test]
fn a_hidden_value_is_checked_too() {
    let flags = Layer::default().flag(Key::Stack, Some("good"));
    let error = load(flags, None, &env(&[("ENV_MANAGER_STACK", "B A D")])).unwrap_err().to_string();
    assert!(error.contains("variable ENV_MANAGER_STACK"), "{error}");
}

#[test]
fn retries_that_start_beyond_their_cap_are_refused() {
    let error = load_env(&[("ENV_MANAGER_RETRY_INITIAL", "1m")]).unwrap_err();
    assert!(error.contains("`retry.initial` (1m) is longer than `retry.max` (30s) (from variable"), "{error}");
}

#[test]
fn tables_are_within_tables() {
    let text = "[tasks]\nenabled = false\n[tasks.gpu_long]\nconcurrency = 1\ncpu_short.weight = 3\n";
    let error = load_text(text).unwrap_err();
    assert!(error.contains("unknown key `tasks.gpu_long.cpu_short`"), "{error}");
    let config = load_text("[tasks]\ncpu_short.weight = 3\n[tasks.gpu_long]\nconcurrency = 1\n").unwrap().config;
    let classes = config.tasks.classes;
    assert_eq!((classes.of(Class::CpuShort).weight, classes.of(Class::GpuLong).concurrency), (3, 1));
    let error = load_text("[tasks.cpu_shrt]\nweight = 3\n").unwrap_err();
    assert!(error.contains("did you mean `tasks.cpu_short`?"), "{error}");
    let error = load_text("[tasks]\nretry_max = \"10ms\"\n").unwrap_err();
    assert!(error.contains("`tasks.retry_initial` (1s) is longer than `tasks.retry_max` (10ms)"), "{error}");
}

#[test]
fn p15_a_password_of_redis_is_never_shown() {
    const PASSWORD: &str = "hunter2-of-redis";
    let good = format!("redis://me:{PASSWORD}@localhost:1/2");
    let loaded = load_text(&format!("[tasks]\nredis = \"{good}\"\n")).unwrap();
    assert_eq!(loaded.config.tasks.redis, good);
    let shown = format!("{:?} {:?} {:?}", show::rows(&loaded), loaded.config, show::by_key(&loaded));
    assert!(shown.contains("redis://me:***@localhost:1/2") && !shown.contains(PASSWORD), "{shown}");
    for text in [
        format!("[tasks]\nredis = \"redis://me:{PASSWORD}@localhost:nought\"\n"),
        format!("[tasks]\nredis = \"{good}\" and more\n"),
        format!("[tasks]\nredis = \"{good}\nenabled = true\n"),
        format!("[tasks]\nenabled = \"{good}\"\n"),
        format!("[tasks]\nreddis = \"{good}\"\n"),
        format!("[tasks]\ndurability = \"{good}\"\n"),
        format!("[tasks]\nlease = \"{good}\"\n"),
    ] {
        let error = load_text(&text).unwrap_err();
        assert!(!error.contains(PASSWORD), "{error}");
    }
    for variable in ["ENV_MANAGER_TASKS_REDIS", "ENV_MANAGER_TASKS_MAX_DEAD", "ENV_MANAGER_TASKS_RESULT_TTL"] {
        let error = load_env(&[(variable, &format!("{good}x"))]).unwrap_err();
        assert!(!error.contains(PASSWORD), "{error}");
    }
}

#[test]
fn unknown_variables_are_errors_except_those_of_others() {
    let error = load_env(&[("ENV_MANAGER_MAX_CONCURENT", "5")]).unwrap_err();
    assert!(
        error.contains("unknown variable ENV_MANAGER_MAX_CONCURENT; did you mean `ENV_MANAGER_MAX_CONCURRENT`?"),
        "{error}"
    );
    let error = load_env(&[("ENV_MANAGER_GIT_URL", "x")]).unwrap_err();
    assert!(error.contains("`git` is not yet supported"), "{error}");
    for foreign in keys::FOREIGN_VARIABLES {
        let name = foreign.replace('*', "X");
        if name != keys::CONFIG_VARIABLE {
            load_env(&[(name.as_str(), "x")]).unwrap();
        }
    }
    load_env(&[("ENV_MANAGER_STACK", ""), ("OTHER", "x")]).unwrap();
}

#[test]
fn the_state_directory_follows_xdg() {
    let dir = |pairs: &[(&str, &str)]| load_env(pairs).unwrap().config.state_dir.display().to_string();
    assert_eq!(dir(&[("HOME", "/h")]), "/h/.local/state/env-manager");
    assert_eq!(dir(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), "/s/env-manager");
    assert_eq!(dir(&[("HOME", "/h"), ("XDG_STATE_HOME", "relative")]), "/h/.local/state/env-manager");
    assert_eq!(dir(&[]), "/var/lib/env-manager");
}

#[test]
fn show_lists_overrides_by_their_fields_and_never_their_values() {
    let text = "[[service_overrides]]\nname = \"redis\"\nenvironment = { PASSWORD = \"hunter2\" }\n";
    let loaded = load_text(text).unwrap();
    let shown = format!("{:?} {:?}", show::rows(&loaded), loaded.config);
    assert!(shown.contains("service_overrides.redis") && shown.contains("environment"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_documentation_has_a_row_for_every_key() {
    let doc = include_str!("../../docs/configuration.md");
    for key in Key::ALL.iter().copied() {
        let KeyInfo { name, env, flag, default, about } = key.info();
        let code = |o: Option<&str>| o.map_or_else(|| "–".to_owned(), |t| format!("`{t}`"));
        let row = format!("| `{name}` | {} | {} | `{default}` | {about} |", code(env), code(flag));
        assert!(doc.contains(&row), "docs/configuration.md lacks\n{row}");
    }
}
