//! From nothing to as described, and no further (P3, P14).

use std::process::Command;

use crate::stack::engine::{self, docker};
use crate::stack::{Stack, free_port, idle, line, service, soon, text};

#[test]
fn p03_plan_apply_plan_and_a_second_apply_changes_nothing() {
    let stack = Stack::new("again");
    stack.describe(&[
        line("db", "volumes: [\"${SCOPE}_db:/data\"]\nfiles: [{ target: /etc/db.conf, content: \"a = 1\\n\" }]"),
        idle("web", "dependsOn: [db]\nnetworks: [default, back]\nresources: { memory: 64MiB, pids: 50 }"),
    ]);
    stack.write(
        "back.yaml",
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n",
    );
    let plan = stack.plan().exits(2);
    let create = |name: &str| text(&plan.change(name)["action"]);
    assert_eq!((create("db"), create("web")), ("create".to_owned(), "create".to_owned()));
    assert_eq!(plan.json()["summary"]["create"], 2);
    stack.apply_dry().exits(2);
    assert_eq!(stack.names(), Vec::<String>::new(), "plans make nothing");
    assert_eq!(stack.objects("network"), Vec::<String>::new());
    assert_eq!(stack.status().exits(0).json()["converged"], false);
    stack.run(&["status", "--exit-code"]).exits(3);

    let first = stack.apply().exits(0);
    assert_eq!(
        (&first.json()["status"]["converged"], &first.json()["status"]["healthy"]),
        (&true.into(), &true.into())
    );
    stack.is_converged(&["db", "web"]);
    let state = |name: &str| {
        let seen = stack.inspect(name);
        (text(&seen["Id"]), text(&seen["State"]["StartedAt"]), seen["RestartCount"].clone())
    };
    let before = (state("db"), state("web"), stack.objects("network"), stack.objects("volume"));
    assert_eq!(
        (&before.2[..], &before.3[..]),
        (&["S-back", "env-manager-S"].map(str::to_owned)[..], &["S_db".to_owned()][..])
    );

    let second = stack.apply().exits(0);
    assert_eq!(second.json()["started"], serde_json::json!([]), "{second}");
    assert_eq!((state("db"), state("web"), stack.objects("network"), stack.objects("volume")), before);
    assert_eq!(stack.plan().exits(0).json()["summary"]["unchanged"], 2);
    let status = stack.status().exits(0);
    assert_eq!((&status.json()["converged"], &status.json()["source"]["kind"]), (&true.into(), &"engine".into()));
    stack.run(&["status", "--exit-code"]).exits(0);
    for name in ["db", "web"] {
        assert_eq!(text(&status.service(name)["containerId"]), stack.id(name));
    }
}

#[test]
fn values_of_the_environment_are_kept_as_they_are_written() {
    let stack = Stack::new("env");
    stack.describe(&[idle("web", "env: { MODE: 0755, VERSION: 1.20, ANSWER: yes, EMPTY: \"\", PRICE: \"5$$\" }")]);
    stack.apply().exits(0);
    let env = stack.inspect("web")["Config"]["Env"].clone();
    for value in ["MODE=0755", "VERSION=1.20", "ANSWER=yes", "EMPTY=", "PRICE=5$"] {
        assert!(env.as_array().unwrap().contains(&value.into()), "{value}: {env}");
    }
    stack.is_converged(&["web"]);
}

/// The image's own check, at its own pace: the engine runs it, and only since a probe asks for it.
#[test]
fn a_docker_probe_waits_for_the_health_check_of_the_image() {
    let image = "em-test/health-check:1";
    let there = Command::new("docker").args(["image", "inspect", image]).output().unwrap().status.success();
    engine::ensure_image();
    if !there {
        use std::io::Write;
        let mut build = Command::new("docker")
            .args(["build", "-q", "-t", image, "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let text = format!("FROM {}\nHEALTHCHECK --interval=1s CMD test -e /tmp/well\n", engine::IMAGE);
        build.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(build.wait().unwrap().success());
    }
    let stack = Stack::new("health");
    let checked = |name: &str, command: &str, more: &str| {
        service(name, &format!("image: {image}\ncommand: [sh, -c, \"{command}\"]\n{more}"))
    };
    let probe = "probes: { readiness: { docker: {} } }\nupdate: { progressDeadline: 8s }";
    stack.describe(&[
        checked("well", "echo > /tmp/well; exec sleep 1000000", probe),
        checked("ill", "exec sleep 1000000", probe),
        checked("unasked", "exec sleep 1000000", ""),
    ]);
    let ran = stack.apply().was_stuck();
    ran.is_ready("well");
    ran.is_ready("unasked");
    assert_eq!(ran.service("ill")["ready"], false);
    assert_eq!(stack.inspect("well")["State"]["Health"]["Status"], "healthy");
    assert_eq!(stack.inspect("unasked")["Config"]["Healthcheck"]["Test"], serde_json::json!(["NONE"]));
    docker(&["exec", &stack.container("ill"), "sh", "-c", "echo > /tmp/well"]);
    soon("the engine's next check", || (stack.inspect("ill")["State"]["Health"]["Status"] == "healthy").then_some(()));
    stack.apply().exits(0);
    stack.is_converged(&["ill", "unasked", "well"]);
}

/// The engine's proxy accepts connections to a published port whatever listens behind it.
#[test]
fn a_published_port_that_nobody_listens_on_is_not_ready() {
    let stack = Stack::new("deaf");
    let port = free_port();
    let probe = "probes: { readiness: { tcp: { port: 7000 } } }\nupdate: { progressDeadline: 2s }";
    stack.describe(&[service(
        "deaf",
        &format!(
            "command: standin tcp\nenv: {{ STANDIN_NEVER_LISTEN: 1 }}\nports: [\"127.0.0.1:{port}:7000\"]\n{probe}"
        ),
    )]);
    std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).expect_err("nothing is there yet");
    let ran = stack.apply().was_stuck();
    ran.says("deaf", "StartupDeadlineExceeded", &["not ready within 2.0 s"]);
    assert_eq!(stack.status().service("deaf")["ready"], false);
}
