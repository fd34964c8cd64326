use super::*;
use crate::resource::probe::Check;

#[derive(serde::Deserialize)]
struct Config {
    service_overrides: Vec<Override>,
}

const SPEC: &str = "  env: { A: 1, B: 2 }
  secretEnv: { TOKEN: { fromEnv: TOKEN } }
  command: [old]
  ports: ['127.0.0.1:11435:11434']
  probes:
    startup: { exec: { command: [check] } }
    readiness: { tcp: { port: 11434 }, interval: 7s }
";

fn apply(toml: &str) -> Set {
    let config: Config = toml::from_str(toml).unwrap();
    let text = format!(
        "{}---\n{}---\n{}",
        manifest("ollama", SPEC),
        manifest("other", "  ports: ['7000:1']\n"),
        manifest("broken", "  imagge: x\n")
    );
    let file = SourceFile::new("a.yaml", "/m", text);
    let outside = Fake { variables: BTreeMap::from([("TOKEN", "t"), ("TAG", "9")]), ..Fake::default() };
    let mut set = build(&[file], "default", &Defaults::default(), &config.service_overrides, &outside);
    let broken = set.findings.iter().position(|f| f.message.contains("imagge")).unwrap();
    set.findings.remove(broken);
    set
}

#[test]
fn the_seed_s_example_is_read() {
    let set = apply(
        "[[service_overrides]]\nname = \"ollama\"\nrequired = false\nhealth_check_url = \"http://localhost:11435/api/tags\"\n\n[[service_overrides]]\nname = \"other\"\nrequired = true\n",
    );
    let ollama = service_of(&set, "ollama");
    assert!(!ollama.spec.required);
    let readiness = ollama.spec.probes.readiness.as_ref().unwrap();
    let Check::Http { port, path, .. } = &readiness.check else { panic!("{readiness:?}") };
    assert_eq!((*port, path.as_str()), (11434, "/api/tags"));
    assert_eq!(readiness.interval.as_secs(), 7, "its timing stays");
    assert!(ollama.spec.probes.startup.is_some());
}

#[test]
fn variables_merge_and_lists_replace() {
    let set = apply(
        "[[service_overrides]]\nname = \"ollama\"\nimage = \"local:${TAG}\"\ncommand = [\"new\", \"words\"]\nenvironment = { B = \"3\", C = \"4\", TOKEN = \"open\" }\nports = [\"127.0.0.1:1:2\"]\nsuspend = true\n",
    );
    let ollama = service_of(&set, "ollama");
    let container = &ollama.spec.container;
    assert_eq!(container.image.as_str(), "local:9");
    assert_eq!(container.command.as_deref().unwrap(), ["new", "words"]);
    let env: Vec<_> = container.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["A=1", "B=3", "C=4", "TOKEN=open"]);
    assert!(container.secret_env.is_empty() && ollama.secret_env.is_empty());
    assert_eq!(container.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:1:2/tcp"]);
    assert!(ollama.spec.suspend);
    assert_eq!(ollama.hash, crate::resource::hash::container_hash(container), "the hash is that of the changed spec");
}

#[test]
fn probes_have_the_manifests_shape_and_replace_all() {
    let set = apply(
        "[[service_overrides]]\nname = \"ollama\"\n[service_overrides.probes.readiness]\nhttp = { port = 8080, path = \"/h\", status = 200, headers = { Host = \"x\" } }\ninterval = \"1s\"\nfailureThreshold = 5\n",
    );
    let probes = &service_of(&set, "ollama").spec.probes;
    assert!(probes.startup.is_none());
    let readiness = probes.readiness.as_ref().unwrap();
    let Check::Http { port: 8080, path, status, headers } = &readiness.check else { panic!("{readiness:?}") };
    assert!(path == "/h" && status.contains(200) && !status.contains(201) && headers["Host"] == "x");
    assert_eq!(readiness.failure_threshold, 5);
}

#[test]
fn the_same_override_as_in_the_manifest_changes_nothing() {
    let set = apply(
        "[[service_overrides]]\nname = \"ollama\"\nrequired = true\nimage = \"busybox:1.36\"\ncommand = \"old\"\nports = [\"127.0.0.1:11435:11434/tcp\"]\n",
    );
    let plain = apply("service_overrides = []\n");
    assert_eq!(service_of(&set, "ollama"), service_of(&plain, "ollama"));
}

#[test]
fn what_is_wrong_is_said_and_freezes_the_service() {
    for (toml, message) in [
        ("name = \"olama\"", "service_overrides: no service is called `olama`, did you mean `ollama`?"),
        (
            "name = \"ollama\"\nimage = \"Bad\"",
            "service_overrides `ollama`: `Bad` is not an image reference: names are lower case",
        ),
        (
            "name = \"ollama\"\nhealth_check_url = \"http://localhost:1/x\"",
            "service_overrides `ollama`: health_check_url: the service does not publish host port 1 (published: 127.0.0.1:11435:11434/tcp)",
        ),
        (
            "name = \"ollama\"\nhealth_check_url = \"http://example.com/x\"",
            "service_overrides `ollama`: health_check_url `http://example.com/x` asks another host; it is about a published port of this one",
        ),
        (
            "name = \"ollama\"\nhealth_check_url = \"ftp://x\"",
            "service_overrides `ollama`: health_check_url `ftp://x` is not `http://localhost:PORT/PATH`",
        ),
        ("name = \"ollama\"\nports = [\"x\"]", "service_overrides `ollama`: `x` is not a port; ports are 1 to 65535"),
        ("name = \"ollama\"\nprobes = { startup = {} }", "service_overrides `ollama`: the startup probe asks nothing"),
        ("name = \"ollama\"\nports = [\"7000:1\"]", "host port 7000/tcp is published by `ollama` too"),
    ] {
        let set = apply(&format!("[[service_overrides]]\n{toml}\n"));
        assert_eq!(messages(&set), [message]);
        assert!(set.has_errors());
        assert!(set.invalid.len() >= 2 || toml.contains("olama"), "{:?}", set.invalid);
    }
    // A service whose manifest is broken is known.
    assert_eq!(messages(&apply("[[service_overrides]]\nname = \"broken\"\nimage = \"x\"\n")), Vec::<&str>::new());
    assert!(toml::from_str::<Config>("[[service_overrides]]\nname = \"a\"\nimagge = \"b\"\n").is_err());
}
