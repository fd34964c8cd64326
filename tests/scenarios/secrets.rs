//! Files and secrets: in the container, and nowhere else (P15).

use crate::stack::{Ran, Stack, idle, text};

#[test]
fn a_read_only_root_has_its_files_all_the_same() {
    let stack = Stack::new("readonly");
    let web = |content: &str| {
        idle(
            "web",
            &format!(
                "security: {{ readOnlyRootFilesystem: true }}\n\
                 files: [{{ target: /etc/web.conf, content: \"{content}\\n\", mode: \"0600\" }}, {{ target: /srv/x/y, source: y.txt }}]"
            ),
        )
    };
    stack.write("y.txt", "from a file\n");
    stack.describe(&[web("a = 1")]);
    stack.apply().exits(0);
    assert_eq!(stack.exec("web", &["cat", "/etc/web.conf", "/srv/x/y"]), "a = 1\nfrom a file");
    assert_eq!(stack.exec("web", &["stat", "-c", "%a %u", "/etc/web.conf"]), "600 0");
    assert_eq!(stack.exec("web", &["sh", "-c", "echo b >> /etc/web.conf 2>/dev/null || echo refused"]), "refused");
    assert_eq!(stack.inspect("web")["HostConfig"]["ReadonlyRootfs"], true);
    stack.is_converged(&["web"]);
    let was = stack.id("web");
    stack.describe(&[web("a = 2")]);
    stack.apply().exits(0);
    assert_ne!(stack.id("web"), was);
    assert_eq!(stack.exec("web", &["cat", "/etc/web.conf"]), "a = 2");
    stack.write("y.txt", "changed\n");
    stack.apply().exits(0);
    assert_eq!(stack.exec("web", &["cat", "/srv/x/y"]), "changed");
    stack.is_converged(&["web"]);
}

#[test]
fn p15_secrets_are_in_the_container_and_nowhere_else() {
    let stack = Stack::new("secret");
    let secrets = ["hunter2-from-env", "correct-horse-from-file", "battery-staple-as-file", "rotated-from-env"];
    stack.write("password.txt", "correct-horse-from-file\n");
    stack.write("key.txt", "battery-staple-as-file");
    let web = |more: &str| {
        idle(
            "web",
            &format!(
                "secretEnv: {{ TOKEN: {{ fromEnv: THE_TOKEN }}, PASSWORD: {{ fromFile: password.txt }} }}\n\
                 secretFiles: [{{ target: /run/key, fromFile: key.txt }}]\n{more}"
            ),
        )
    };
    // A probe that fails with the secret in what it says, and one that has to hide it.
    let probe = "probes: { readiness: { exec: { command: \"test -e /tmp/well || { echo $$TOKEN $$PASSWORD; cat /run/key; exit 1; }\" } } }\nupdate: { progressDeadline: 2s }";
    stack.describe(&[web(probe)]);
    let mut said = Vec::new();
    let mut run = |token: &str, arguments: &[&str]| {
        let mut command = stack.command(&[&["-vv"][..], arguments].concat());
        command.env("THE_TOKEN", token);
        let ran = Ran::of(command);
        said.push(ran.to_string());
        ran
    };
    let token = secrets[0];
    run(token, &["plan", "-o", "json"]).exits(2);
    run(token, &["diff"]).exits(2);
    run(token, &["--log-format", "json", "apply", "-o", "json"]).exits(3);
    assert_eq!(
        stack.exec("web", &["sh", "-c", "echo $TOKEN $PASSWORD; cat /run/key"]),
        secrets[..3].join("\n").replacen('\n', " ", 1)
    );
    run(token, &["status", "-o", "json"]).exits(0);
    run(token, &["status", "-o", "wide"]).exits(0);
    stack.exec("web", &["sh", "-c", "echo > /tmp/well"]);
    run(token, &["apply"]).exits(0);
    run(token, &["plan"]).exits(0);

    // A changed value is rolled out, and neither the old nor the new one is told.
    let was = stack.id("web");
    let rotated = secrets[3];
    let plan = run(rotated, &["diff", "-o", "json"]).exits(2);
    assert_eq!(plan.change("web")["action"], "replace", "{plan}");
    stack.describe(&[web("")]);
    run(rotated, &["apply", "-o", "yaml"]).exits(0);
    assert_ne!(stack.id("web"), was);
    assert!(stack.exec("web", &["sh", "-c", "echo $TOKEN"]) == rotated);
    run(rotated, &["plan"]).exits(0);

    // A foreign container in its place: what it was told is nobody's business either.
    let labels = text(&stack.inspect("web")["Config"]["Labels"]);
    run(rotated, &["validate"]).exits(0);
    run(rotated, &["config", "show"]).exits(0);
    run(rotated, &["graph"]).exits(0);
    run(rotated, &["down"]).exits(0);
    said.push(labels);
    for text in &said {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is told:\n{text}");
        }
    }
    assert_eq!(stack.files_with(&secrets), Vec::<std::path::PathBuf>::new(), "the state directory");
}
