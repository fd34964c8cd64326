//! What is not ours is named and left alone (P4, P17).

use std::net::{Ipv4Addr, TcpListener};

use crate::stack::engine::IMAGE;
use crate::stack::{Stack, docker, free_port, idle, text};

fn foreign(stack: &Stack, name: &str, more: &[&str]) -> String {
    docker(&[&["run", "-d", "--name", &stack.container(name)][..], more, &[IMAGE, "sleep", "1000000"]].concat())
}

/// Running, and the same as at its beginning.
fn is_untouched(id: &str, before: &serde_json::Value) {
    let now = crate::stack::engine::inspect(id);
    for part in ["Id", "Name", "State", "HostConfig", "Config", "RestartCount"] {
        assert_eq!(now[part], before[part], "{part}");
    }
}

#[test]
fn p17_a_foreign_container_of_the_same_name_is_named_and_left_alone() {
    let stack = Stack::new("name");
    let id = foreign(&stack, "web", &[]);
    let before = crate::stack::engine::inspect(&id);
    stack.describe(&[idle("web", ""), idle("other", ""), idle("needs", "dependsOn: [web]")]);
    let plan = stack.plan().exits(2);
    assert!(text(&plan.change("web")).contains(&stack.container("web")), "{plan}");
    let ran = stack.apply().was_stuck();
    ran.says("web", "NameConflict", &[&stack.container("web"), &id[..12], "not made by env-manager", "left alone"]);
    ran.says("needs", "DependencyStalled", &["web"]);
    ran.is_ready("other");
    is_untouched(&id, &before);

    docker(&["rm", "-f", &id]);
    stack.apply().exits(0);
    assert_ne!(stack.id("web"), id);
    stack.is_converged(&["needs", "other", "web"]);
}

#[test]
fn p17_a_container_of_another_stack_is_named_with_its_stack() {
    let (theirs, ours) = (Stack::new("theirs"), Stack::new("ours"));
    let name = "containerName: ${SHARED}";
    let shared = |stack: &Stack| idle("web", &name.replace("${SHARED}", &ours.container(stack.name())));
    theirs.describe(&[shared(&ours)]);
    ours.describe(&[shared(&ours)]);
    theirs.apply().exits(0);
    let theirs_now = theirs.containers();
    let ran = ours.apply().was_stuck();
    ran.says("web", "NameConflict", &[&format!("of stack {}", theirs.name())]);
    ours.run(&["down"]).exits(0);
    assert_eq!(theirs.containers(), theirs_now);
    theirs.plan().exits(0);
}

#[test]
fn p17_a_host_port_that_a_foreign_container_holds_is_named_and_left_alone() {
    let stack = Stack::new("port");
    let port = free_port();
    let id = foreign(&stack, "holder", &["-p", &format!("127.0.0.1:{port}:80")]);
    let before = crate::stack::engine::inspect(&id);
    stack.describe(&[idle("web", &format!("ports: [\"127.0.0.1:{port}:7000\"]")), idle("other", "")]);
    let ran = stack.apply().was_stuck();
    ran.says("web", "PortConflict", &[&port.to_string(), &stack.container("holder"), "left alone"]);
    ran.is_ready("other");
    is_untouched(&id, &before);

    docker(&["rm", "-f", &id]);
    stack.apply().exits(0);
    stack.is_converged(&["other", "web"]);
    assert_eq!(stack.inspect("web")["NetworkSettings"]["Ports"]["7000/tcp"][0]["HostPort"], port.to_string());
}

#[test]
fn p17_a_host_port_that_a_process_holds_is_named_and_left_alone() {
    let stack = Stack::new("process");
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    stack.describe(&[idle("web", &format!("ports: [\"127.0.0.1:{port}:7000\"]")), idle("other", "")]);
    let ran = stack.apply().was_stuck();
    ran.says("web", "PortConflict", &[&port.to_string()]);
    ran.is_ready("other");
    let made = stack.id("web");

    drop(holder);
    stack.apply().exits(0);
    assert_eq!(stack.id("web"), made, "the same container can start once the port is free");
    stack.is_converged(&["other", "web"]);
}

#[test]
fn p17_a_foreign_container_in_the_way_of_a_replacement_leaves_the_old_one_serving() {
    let stack = Stack::new("way");
    stack.describe(&[idle("web", "env: { V: \"1\" }")]);
    stack.apply().exits(0);
    let serving = stack.id("web");
    let id = foreign(&stack, "web.next", &[]);
    let before = crate::stack::engine::inspect(&id);
    stack.describe(&[idle("web", "env: { V: \"2\" }")]);
    let ran = stack.apply().exits(3);
    assert!(text(&ran.service("web")["message"]).contains(&stack.container("web.next")), "{ran}");
    assert_eq!((stack.id("web"), &stack.inspect("web")["State"]["Running"]), (serving.clone(), &true.into()));
    is_untouched(&id, &before);
    docker(&["rm", "-f", &id]);
    stack.apply().exits(0);
    assert_ne!(stack.id("web"), serving);
    stack.is_converged(&["web"]);
}

#[test]
fn p17_a_foreign_network_of_the_stack_s_name_is_used_or_named_and_never_removed() {
    let stack = Stack::new("net");
    let id = docker(&["network", "create", &stack.network()]);
    stack.describe(&[idle("web", "")]);
    let ran = stack.apply();
    assert!(matches!(ran.code, Some(0 | 3)), "{ran}");
    if ran.code == Some(3) {
        assert!(ran.out.contains("NetworkConflict") && ran.out.contains(&stack.network()), "{ran}");
    }
    stack.run(&["down"]).exits(0);
    let kept = docker(&["network", "ls", "-q", "--no-trunc", "--filter", &format!("name={}", stack.network())]);
    docker(&["network", "rm", &id]);
    assert_eq!(kept, id);
}
