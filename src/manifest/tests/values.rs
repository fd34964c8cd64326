use std::time::Duration;

use super::*;
use crate::manifest::expand::{expand, split_words};
use crate::resource::probe::{Check, Probe};
use crate::resource::spec::{
    DependencyCondition, MountSource, NamespaceMode, NetworkMode, Protocol, RestartPolicy, SecretSource,
};

#[test]
fn environment_values_keep_their_text() {
    let spec = "  env:\n    A: 0755\n    B: 1.20\n    C: yes\n    D: ''\n    E: 1_000\n    F: 0x1F\n    G: ~x\n    H: 'null'\n    I: 2026-01-01\n    J: |\n      two\n      lines\n    K: .5\n    L: true\n";
    let env = &service(spec).spec.container.env;
    let values: Vec<&str> = env.values().map(String::as_str).collect();
    assert_eq!(
        values,
        ["0755", "1.20", "yes", "", "1_000", "0x1F", "~x", "null", "2026-01-01", "two\nlines\n", ".5", "true"]
    );
}

#[test]
fn defaults_are_filled_in() {
    let service = service("");
    let spec = &service.spec;
    assert!(spec.required && !spec.suspend && spec.update.rollback && spec.container.init);
    assert_eq!(spec.stop_grace, Duration::from_secs(10));
    assert_eq!(spec.container.restart, RestartPolicy::UnlessStopped);
    assert_eq!(spec.container.name, "web");
    let networks: Vec<_> = spec.container.networks.iter().map(|n| n.network.as_str()).collect();
    assert_eq!(networks, ["env-manager"]);
}

#[test]
fn another_stack_has_a_network_of_its_own() {
    let file = SourceFile::new("a.yaml", "/m", manifest("web", ""));
    let set = build(&[file], "test", &Defaults::default(), &[], &Fake::default());
    assert!(set.resources.contains_key(&ResourceKey::network("env-manager-test")));
    assert!(!set.resources.contains_key(&ResourceKey::network("env-manager")));
}

#[test]
fn networks_and_volumes_are_called_as_on_the_engine() {
    let text = format!(
        "{}---\napiVersion: env-manager.dev/v1\nkind: Network\nmetadata: {{ name: back }}\nspec: {{ name: company-back, external: true }}\n---\napiVersion: env-manager.dev/v1\nkind: Volume\nmetadata: {{ name: data }}\nspec: {{ name: big_disk }}\n",
        manifest(
            "web",
            "  networks: [default, back]\n  volumes: ['data:/data', 'other:/other', '/anonymous', './host:/host:ro']\n  networkAliases: [www]\n"
        )
    );
    let set = set_of(&text, &Fake::default());
    let service = service_of(&set, "web");
    let keys: Vec<String> = set.resources.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["network company-back", "network env-manager", "volume big_disk", "volume other", "web"]);
    let container = &service.spec.container;
    let networks: Vec<_> = container.networks.iter().map(|n| n.network.as_str()).collect();
    assert_eq!(networks, ["env-manager", "company-back"]);
    assert!(container.networks.iter().all(|n| n.aliases.contains("www")));
    let mounts: Vec<_> = container.mounts.iter().map(|m| (m.target.as_str(), m.read_only, m.source.clone())).collect();
    let volume = |name: &str| MountSource::Volume { name: name.to_owned(), subpath: None };
    let bind = MountSource::Bind { path: "/m/host".to_owned(), propagation: None, selinux: None };
    assert_eq!(
        mounts,
        [
            ("/anonymous", false, MountSource::Anonymous),
            ("/data", false, volume("big_disk")),
            ("/host", true, bind),
            ("/other", false, volume("other")),
        ]
    );
    let DesiredSpec::Network(network) = &set.resources[&ResourceKey::network("company-back")] else { panic!() };
    assert!(network.external);
}

#[test]
fn ports_are_read_as_compose_writes_them() {
    let spec = "  ports: ['127.0.0.1:9092:29092/tcp', 8080:80, '53:53/udp', 443, '[::1]:1:2', '0.0.0.0:5:6', '127.0.0.1::7', '8000-8002:9000-9002', {containerPort: 99, hostPort: 98, hostIP: 10.0.0.1}]\n";
    let service = service(spec);
    let ports: Vec<String> = service.spec.container.ports.iter().map(ToString::to_string).collect();
    assert_eq!(
        ports,
        [
            "443/tcp",
            "5:6/tcp",
            "53:53/udp",
            "8000:9000/tcp",
            "8001:9001/tcp",
            "8002:9002/tcp",
            "8080:80/tcp",
            "10.0.0.1:98:99/tcp",
            "127.0.0.1::7/tcp",
            "127.0.0.1:9092:29092/tcp",
            "[::1]:1:2/tcp",
        ]
    );
    assert_eq!(service.spec.container.ports[2].protocol, Protocol::Udp);
}

#[test]
fn commands_are_lists_or_texts_and_probes_texts_are_a_shells() {
    let spec = "  command: redis-server --save '' \"a b\"\\ c\n  entrypoint: [/bin/sh, -c]\n  probes:\n    startup: { exec: { command: 'test -f /ready && true' } }\n    readiness: { exec: { command: [test, -f, /ready] } }\n";
    let service = service(spec);
    let container = &service.spec.container;
    assert_eq!(container.command.as_deref().unwrap(), ["redis-server", "--save", "", "a b c"]);
    assert_eq!(container.entrypoint.as_deref().unwrap(), ["/bin/sh", "-c"]);
    let startup = service.spec.probes.startup.as_ref().unwrap();
    let words = |words: &[&str]| Check::Exec { command: words.iter().map(|w| (*w).to_owned()).collect() };
    assert_eq!(startup.check, words(&["/bin/sh", "-c", "test -f /ready && true"]));
    assert_eq!(startup.interval, Probe::EXEC_STARTUP_INTERVAL);
    assert_eq!(startup.deadline.unwrap().0, Duration::from_mins(1));
    let readiness = service.spec.probes.readiness.as_ref().unwrap();
    assert_eq!(readiness.check, words(&["test", "-f", "/ready"]));
    assert_eq!((readiness.interval, readiness.deadline), (Probe::DEFAULT_INTERVAL, None));
}

#[test]
fn the_images_healthcheck_is_kept_only_for_a_docker_probe() {
    assert!(!service("").spec.container.image_healthcheck);
    assert!(!service("  probes: { docker: { disable: true } }\n").spec.container.image_healthcheck);
    assert!(service("  probes: { readiness: { docker: {} } }\n").spec.container.image_healthcheck);
}

#[test]
fn dependencies_are_sorted_and_wait_for_ready() {
    let text = format!(
        "{}---\n{}---\n{}",
        manifest("web", "  dependsOn: [{service: job, condition: Completed}, db]\n"),
        manifest("job", "  restart: No\n"),
        manifest("db", "")
    );
    let set = set_of(&text, &Fake::default());
    let service = service_of(&set, "web");
    let all: Vec<_> = service.spec.depends_on.iter().map(|d| (d.service.as_str(), d.condition)).collect();
    assert_eq!(all, [("db", DependencyCondition::Ready), ("job", DependencyCondition::Completed)]);
}

#[test]
fn one_asks_to_be_restarted_with_what_it_needs_but_not_with_what_has_completed() {
    let others = format!("{}---\n{}", manifest("job", "  restart: No\n"), manifest("db", ""));
    let text = |needs: &str| format!("{}---\n{others}", manifest("web", &format!("  dependsOn: {needs}\n")));
    let set = set_of(&text("[{service: db, restart: true}, {service: job, restart: false}]"), &Fake::default());
    let service = service_of(&set, "web");
    let all: Vec<_> = service.spec.depends_on.iter().map(|d| (d.service.as_str(), d.restart)).collect();
    assert_eq!(all, [("db", true), ("job", false)]);
    let set = set_of(&text("[{service: job, condition: Completed, restart: true}]"), &Fake::default());
    assert_eq!(messages(&set), ["`restart` means nothing with `condition: Completed`"]);
}

#[test]
fn a_shared_namespace_is_a_dependency() {
    let text = format!(
        "{}---\n{}",
        manifest("web", "  networkMode: service:vpn\n  pidMode: service:vpn\n"),
        manifest("vpn", "")
    );
    let set = set_of(&text, &Fake::default());
    let service = service_of(&set, "web");
    assert_eq!(service.spec.container.network_mode, Some(NetworkMode::Service("vpn".to_owned())));
    assert_eq!(service.spec.container.pid_mode, Some(NamespaceMode::Service("vpn".to_owned())));
    assert!(service.spec.container.networks.is_empty());
    let all: Vec<_> = service.spec.depends_on.iter().map(|d| (d.service.as_str(), d.condition)).collect();
    assert_eq!(all, [("vpn", DependencyCondition::Started)]);
}

#[test]
fn variables_stand_for_any_value_and_inject_nothing() {
    let outside = Fake {
        variables: BTreeMap::from([
            ("TAG", "1.0"),
            ("PORT", "8080"),
            ("EVIL", "x\"\n  privileged: true\nspec: {}"),
            ("EMPTY", ""),
            ("REQUIRED", "false"),
        ]),
        ..Fake::default()
    };
    let spec = "  required: ${REQUIRED}\n  ports: ['${PORT}:80']\n  resources: { memory: '${MEMORY:-64MiB}' }\n  env:\n    A: '${EVIL}'\n    B: $$HOME ${EMPTY:-filled} ${EMPTY} ${NONE:-${TAG}} $TAG 5$\n    '${PORT}': key\n";
    let set = set_of(&manifest("web", spec), &outside);
    let service = service_of(&set, "web");
    assert!(!service.spec.required && !service.spec.container.security.privileged);
    assert_eq!(service.spec.container.ports[0].to_string(), "8080:80/tcp");
    assert_eq!(service.spec.container.resources.memory.unwrap().0, 64 << 20);
    let env = &service.spec.container.env;
    assert_eq!(env["A"], "x\"\n  privileged: true\nspec: {}");
    assert_eq!(env["B"], "$HOME filled  1.0 $TAG 5$");
    assert_eq!(env["${PORT}"], "key");
}

#[test]
fn a_wrong_value_out_of_a_variable_is_not_shown() {
    let outside = Fake { variables: BTreeMap::from([("TOKEN", "hunter2")]), ..Fake::default() };
    let set = set_of(&manifest("web", "  resources: { memory: '${TOKEN}' }\n  state: ${TOKEN}\n"), &outside);
    assert_eq!(set.findings.len(), 2);
    assert!(!render(&set.findings, false).contains("hunter2"));
}

#[test]
fn expansion_says_what_is_wrong() {
    let none = |_: &str| None;
    for (text, part) in [
        ("${A", "not closed"),
        ("${}", "does not name"),
        ("${1A}", "does not name"),
        ("${A:+x}", "not a form"),
        ("${A}", "`A` is not set"),
        ("${A:?give it}", "give it"),
        ("${A:-${B:-${C:-${D:-${E:-${F:-x}}}}}}", "nested"),
    ] {
        let why = expand(text, &none).unwrap_err();
        assert!(why.contains(part), "{text}: {why}");
    }
    assert_eq!(expand("${A:-a}b}", &none).unwrap(), "ab}");
}

#[test]
fn words_are_split_as_a_shell_splits_them() {
    for (text, words) in [
        ("", &[][..]),
        ("  a  b\t'c d' ", &["a", "b", "c d"]),
        (r#"a"b c"d '' "\"" '\n'"#, &["ab cd", "", "\"", "\\n"]),
    ] {
        assert_eq!(split_words(text).unwrap(), words, "{text}");
    }
    assert!(split_words("'a").is_err() && split_words("a\\").is_err());
}

#[test]
fn secrets_are_read_and_never_shown() {
    let outside = Fake {
        variables: BTreeMap::from([("TOKEN", "hunter2")]),
        files: BTreeMap::from([("/m/secret.txt", &b"correct horse\n"[..]), ("/run/key", b"\0key")]),
    };
    let spec = "  secretEnv:\n    A: { fromEnv: TOKEN }\n    B: { fromFile: secret.txt }\n    C: { fromEnv: NOT_THERE, optional: true }\n    D: { fromFile: not-there, optional: true }\n  secretFiles:\n    - { target: /run/secrets/key, fromFile: /run/key, uid: 7 }\n";
    let set = set_of(&manifest("web", spec), &outside);
    let service = service_of(&set, "web");
    assert_eq!(service.secret_env["A"].reveal(), b"hunter2");
    assert_eq!(service.secret_env["B"].reveal(), b"correct horse");
    assert_eq!(service.secret_env.len(), 2, "optional ones that are missing are left out");
    assert_eq!(service.spec.container.secret_env.len(), 2);
    assert_eq!(service.spec.container.secret_env["B"], SecretSource::FromFile("secret.txt".to_owned()));
    assert_eq!(service.file_content("/run/secrets/key"), b"\0key");
    let file = &service.spec.container.files[0];
    assert_eq!((file.mode, file.uid), (0o400, 7));
    let shown = format!("{set:?} {}", serde_json::to_string(&service.spec).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("correct horse"));
}

#[test]
fn environment_files_come_before_env() {
    let outside = Fake {
        files: BTreeMap::from([
            ("/m/a.env", &b"# comment\nA=1\nB= two words \n\nC='x'\n"[..]),
            ("/m/b.env", b"B=3\r\n"),
        ]),
        ..Fake::default()
    };
    let spec = "  envFrom: [{file: a.env}, {file: b.env}, {file: none.env, optional: true}]\n  env: { A: 0 }\n";
    let set = set_of(&manifest("web", spec), &outside);
    let service = service_of(&set, "web");
    let env: Vec<_> = service.spec.container.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["A=0", "B=3", "C='x'"]);
}

#[test]
fn files_have_content_and_mode() {
    let outside = Fake { files: BTreeMap::from([("/m/conf/a.conf", &b"${NOT} replaced"[..])]), ..Fake::default() };
    let spec = "  files:\n    - { target: /etc/b, content: 'x=${V:-1}', mode: 0600, onChange: Restart }\n    - { target: /etc/./a, source: ./conf/../conf/a.conf }\n";
    let service = service_of(&set_of(&manifest("web", spec), &outside), "web");
    assert_eq!(service.file_content("/etc/a"), b"${NOT} replaced");
    assert_eq!(service.file_content("/etc/b"), b"x=1");
    let modes: Vec<_> = service.spec.container.files.iter().map(|f| (f.target.as_str(), f.mode)).collect();
    assert_eq!(modes, [("/etc/a", 0o644), ("/etc/b", 0o600)]);
}

#[test]
fn security_options_are_docker_s_own_texts() {
    let outside = Fake {
        files: BTreeMap::from([("/m/profile.json", &b"{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }\n"[..])]),
        ..Fake::default()
    };
    let spec = "  security: { noNewPrivileges: true, seccomp: profile.json, apparmor: mine, selinux: disable, opts: [systempaths=unconfined], capDrop: [all], capAdd: [CAP_NET_ADMIN, chown] }\n";
    let service = service_of(&set_of(&manifest("web", spec), &outside), "web");
    let security = &service.spec.container.security;
    let opts: Vec<_> = security.opts.iter().map(String::as_str).collect();
    let seccomp = r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#;
    assert_eq!(opts, ["apparmor=mine", "label=disable", "no-new-privileges", seccomp, "systempaths=unconfined"]);
    assert_eq!(security.cap_add.iter().collect::<Vec<_>>(), ["CHOWN", "NET_ADMIN"]);
    assert_eq!(security.cap_drop.iter().collect::<Vec<_>>(), ["ALL"]);
}

#[test]
fn the_stack_gives_defaults_and_variables() {
    let text = format!(
        "{}---\n{}---\napiVersion: env-manager.dev/v1\nkind: Stack\nspec:\n  env: {{ WHO: stack, MEM: 32MiB }}\n  envFile: stack.env\n  containerName: 'my-{{service}}'\n  stop: {{ gracePeriod: 3s, signal: int }}\n  update: {{ progressDeadline: 9s, rollback: false }}\n",
        manifest("web", "  env: { A: '${WHO}', B: '${FILE}', C: '${SHELL_TOO}' }\n  resources: { memory: '${MEM}' }\n"),
        manifest("db", "  containerName: database\n  stop: { gracePeriod: 5s }\n"),
    );
    let outside = Fake {
        variables: BTreeMap::from([("SHELL_TOO", "environment")]),
        files: BTreeMap::from([("/m/stack.env", &b"WHO=file\nFILE=file\nSHELL_TOO=file\n"[..])]),
    };
    let set = set_of(&text, &outside);
    let web = service_of(&set, "web");
    let env: Vec<_> = web.spec.container.env.values().map(String::as_str).collect();
    assert_eq!(env, ["stack", "file", "environment"]);
    assert_eq!(web.spec.container.name, "my-web");
    assert_eq!(web.spec.container.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(
        (web.spec.stop_grace, web.spec.update.progress_deadline),
        (Duration::from_secs(3), Duration::from_secs(9))
    );
    assert!(!web.spec.update.rollback);
    let db = service_of(&set, "db");
    assert_eq!((db.spec.container.name.as_str(), db.spec.stop_grace), ("database", Duration::from_secs(5)));
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: web }\nspec:\n  image: busybox:1.36\n  resources: { memory: &m 64MiB, memoryReservation: *m }\n  env: &e { A: 1 }\n  sysctls: { <<: *e, B: 2 }\n";
    let set = set_of(text, &Fake::default());
    let service = service_of(&set, "web");
    assert_eq!(service.spec.container.resources.memory, service.spec.container.resources.memory_reservation);
    assert_eq!(service.spec.container.sysctls.len(), 2);
}

#[test]
fn documents_end_at_their_markers_only() {
    let text = format!(
        "%YAML 1.2\n--- # first\n{}  env:\n    A: |\n      text\n      --- not a marker\n      ----\n...\n# nothing\n---\n---   \n{}",
        manifest("web", ""),
        manifest("db", "")
    );
    let set = set_of(&text, &Fake::default());
    assert_eq!(service_of(&set, "web").spec.container.env["A"], "text\n--- not a marker\n----\n");
    service_of(&set, "db");
    assert_eq!(set.notes, Vec::<String>::new());
}

#[test]
fn crlf_and_a_byte_order_mark_are_read_over() {
    let text = format!("\u{feff}{}", manifest("web", "  env:\n    A: x\n  imagge: y\n")).replace('\n', "\r\n");
    let set = set_of(&text, &Fake::default());
    let place = set.findings[0].place.as_ref().unwrap();
    assert_eq!((place.line, place.column, place.text.as_str()), (8, 3, "  imagge: y"));
    let text = text.replace("  imagge: y\r\n", "");
    assert_eq!(service_of(&set_of(&text, &Fake::default()), "web").spec.container.env["A"], "x");
}

#[test]
fn columns_count_characters_and_long_lines_are_cut() {
    let long = "é".repeat(300);
    let set = set_of(&manifest("web", &format!("  env: {{ A: '{long}', B: '${{NOPE}}' }}\n")), &Fake::default());
    let place = set.findings[0].place.as_ref().unwrap();
    assert_eq!((place.line, place.column), (6, 320));
    assert!(place.text.chars().count() <= 160);
    let text = render(&set.findings, false);
    assert!(text.contains("a.yaml:6:320"), "{text}");
}
