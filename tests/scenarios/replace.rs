//! A changed spec: the smallest change, no data lost, nothing left over (P9, P10).

use serde_json::Value;

use crate::stack::{Stack, docker, free_port, idle, line, service, text};

/// The name of the volume that a container mounts somewhere.
fn volume_at(container: &Value, target: &str) -> String {
    let mounts = container["Mounts"].as_array().unwrap();
    text(&mounts.iter().find(|m| m["Destination"] == target).unwrap_or_else(|| panic!("{target}: {mounts:?}"))["Name"])
}

#[test]
fn p10_a_changed_field_replaces_one_container_and_keeps_its_data() {
    let stack = Stack::new("replace");
    let image = format!("{}:2", stack.name());
    docker(&["tag", crate::stack::STAND_IN, &image]);
    let base = "volumes: [\"${SCOPE}_data:/data\", /anonymous]";
    let web = |more: &str| service("web", &format!("command: standin line\n{base}\n{more}"));
    let file = |content: &str| format!("files: [{{ target: /etc/web.conf, content: \"{content}\\n\" }}]");
    stack.describe(&[web(&file("a = 1")), idle("other", "dependsOn: [web]")]);
    stack.apply().exits(0);
    stack.exec("web", &["sh", "-c", "echo kept > /data/mark; echo kept > /anonymous/mark; echo lost > /mark"]);
    let other = stack.inspect("other");
    let anonymous = volume_at(&stack.inspect("web"), "/anonymous");

    for (field, old, new, more) in [
        ("files", None, None, file("a = 2")),
        ("env.LEVEL", None, Some("debug"), format!("{}\nenv: {{ LEVEL: debug }}", file("a = 2"))),
        ("env.LEVEL", Some("debug"), None, file("a = 2")),
        ("hostname", None, Some("box"), format!("{}\nhostname: box", file("a = 2"))),
        ("command", None, None, format!("{}\nhostname: box", file("a = 2"))),
        ("image", None, Some(&image), format!("image: {image}\n{}", file("a = 2"))),
    ] {
        let was = stack.inspect("web");
        let document = match field {
            "command" => web(&more).replace("standin line", "standin line --greeting hello"),
            _ => web(&more),
        };
        stack.describe(&[document]);
        let plan = stack.plan().exits(2);
        let change = plan.change("web");
        assert_eq!(change["action"], "replace", "{field}: {plan}");
        let fields = change["fields"].as_array().unwrap();
        let told = fields.iter().find(|f| f["field"] == field).unwrap_or_else(|| panic!("{field}: {fields:?}"));
        if let Some(old) = old {
            assert_eq!(told["old"], old, "{field}");
        }
        if let Some(new) = new {
            assert_eq!(told["new"], new, "{field}");
        }
        assert_eq!(plan.json()["summary"]["unchanged"], 1, "{field}: {plan}");
        assert_eq!(stack.id("web"), text(&was["Id"]), "a plan changes nothing");

        stack.apply().exits(0);
        let is = stack.inspect("web");
        assert_ne!(is["Id"], was["Id"], "{field}");
        assert_eq!(volume_at(&is, "/anonymous"), anonymous, "{field}: rules 4");
        assert_eq!(stack.exec("web", &["cat", "/data/mark", "/anonymous/mark"]), "kept\nkept", "{field}");
        assert_eq!(stack.exec("web", &["sh", "-c", "test -e /mark || echo fresh"]), "fresh", "{field}");
        stack.is_converged(&["other", "web"]);
    }
    assert_eq!(stack.exec("web", &["cat", "/etc/web.conf"]), "a = 2");
    assert_eq!(stack.inspect("web")["Config"]["Image"], image.as_str());
    let now = stack.inspect("other");
    assert_eq!((&now["Id"], &now["State"]["StartedAt"]), (&other["Id"], &other["State"]["StartedAt"]));
    stack.run(&["down", "--volumes"]).exits(0);
    docker(&["volume", "rm", &anonymous]);
    docker(&["rmi", &image]);
}

#[test]
fn p09_a_fixed_host_port_moves_from_the_old_container_to_the_new_one() {
    let stack = Stack::new("moves");
    let (port, second) = (free_port(), free_port());
    let web = |port: u16, more: &str| line("web", &format!("ports: [\"127.0.0.1:{port}:7000\"]\n{more}"));
    stack.describe(&[web(port, "")]);
    stack.apply().exits(0);
    for (port, more) in [(port, "env: { A: \"1\" }"), (port, "env: { A: \"2\" }"), (second, "env: { A: \"2\" }")] {
        let was = stack.id("web");
        stack.describe(&[web(port, more)]);
        stack.apply().exits(0);
        assert_ne!(stack.id("web"), was);
        let bound = &stack.inspect("web")["NetworkSettings"]["Ports"]["7000/tcp"][0]["HostPort"];
        assert_eq!(*bound, port.to_string());
        stack.is_converged(&["web"]);
    }
}

#[test]
fn p10_what_docker_can_change_in_place_keeps_the_container() {
    let stack = Stack::new("place");
    stack.write(
        "back.yaml",
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n",
    );
    stack.describe(&[idle("web", ""), idle("other", "networks: [default, back]")]);
    stack.apply().exits(0);
    let (id, started) = (stack.id("web"), stack.started_at("web"));
    for more in [
        "restart: Always",
        "restart: UnlessStopped\nnetworks: [default, back]",
        "networks: [default, { name: back, aliases: [front] }]",
        "networks: [back]",
        "",
    ] {
        stack.describe(&[idle("web", more)]);
        let plan = stack.plan().exits(2);
        assert_eq!(plan.change("web")["action"], "update", "{more}: {plan}");
        stack.apply().exits(0);
        assert_eq!((stack.id("web"), stack.started_at("web")), (id.clone(), started), "{more}");
        let seen = stack.inspect("web");
        let policy = if more.contains("Always") { "always" } else { "unless-stopped" };
        assert_eq!(seen["HostConfig"]["RestartPolicy"]["Name"], policy);
        let networks: Vec<_> = seen["NetworkSettings"]["Networks"].as_object().unwrap().keys().cloned().collect();
        let mut wanted = Vec::new();
        if more.contains("back") {
            wanted.push(stack.scope.name("back"));
        }
        if !more.contains("[back]") {
            wanted.push(stack.network());
        }
        assert_eq!(networks, wanted, "{more}");
        stack.is_converged(&["other", "web"]);
    }
}

/// The old one is only removed once the new one is ready; until then both are there, and one runs.
#[test]
fn p09_with_rollback_switched_off_a_replacement_that_does_not_become_ready_keeps_the_old_container() {
    let stack = Stack::new("unready");
    let web = |env: &str| {
        let probe = "probes: { startup: { line: { port: 7000, send: \"ping\\n\", expect: pong }, timeout: 300ms, deadline: 3s } }";
        service("web", &format!("command: standin line\n{probe}\nenv: {{ {env} }}\nupdate: {{ rollback: false }}"))
    };
    stack.describe(&[web("V: \"1\"")]);
    stack.apply().exits(0);
    let old = stack.id("web");
    stack.describe(&[web("STANDIN_NEVER_LISTEN: \"1\"")]);
    let ran = stack.apply().was_stuck();
    ran.says("web", "StartupDeadlineExceeded", &[]);
    assert_eq!(stack.names(), ["web", "web.old"]);
    assert_eq!(stack.containers()["web.old"], old);
    assert_eq!(stack.inspect("web.old")["State"]["Running"], false, "two would write to the same volumes");

    stack.describe(&[web("V: \"3\"")]);
    stack.apply().exits(0);
    stack.is_converged(&["web"]);
}

#[test]
fn a_stopped_service_is_kept_and_starts_again_when_its_manifest_says_so() {
    let stack = Stack::new("stopped");
    stack.describe(&[idle("web", ""), idle("held", "suspend: true")]);
    stack.apply().exits(0);
    let id = stack.id("web");
    assert_eq!(stack.names(), ["web"], "P19: nothing is made for a suspended one");
    stack.describe(&[idle("web", "state: Stopped")]);
    stack.apply().exits(0);
    let seen = stack.inspect("web");
    assert_eq!(
        (&seen["State"]["Status"], &seen["HostConfig"]["RestartPolicy"]["Name"]),
        (&"exited".into(), &"no".into())
    );
    stack.is_converged(&["web"]);
    stack.describe(&[idle("web", "")]);
    stack.apply().exits(0);
    let seen = stack.inspect("web");
    assert_eq!((text(&seen["Id"]), &seen["State"]["Status"]), (id, &"running".into()));
    assert_eq!(seen["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    stack.is_converged(&["web"]);
}
