//! One owner per stack, and how a daemon ends.

use crate::stack::{Ran, Stack, docker, idle, line, soon};

#[test]
fn a_second_daemon_exits_1_and_names_the_first() {
    let stack = Stack::new("second");
    stack.describe(&[idle("web", "")]);
    let first = stack.daemon();
    first.converged();
    let second = Ran::of(stack.daemon_command(&[])).exits(1);
    assert!(second.err.contains(&format!("process {}", first.pid())), "{second}");
    // With a state directory of its own only the engine can tell.
    let mut elsewhere = stack.daemon_command(&[]);
    elsewhere.env("ENV_MANAGER_STATE_DIR", stack.home().join("elsewhere"));
    // The flag of the harness wins over the variable.
    let elsewhere = {
        let mut command = std::process::Command::new(elsewhere.get_program());
        command.args(elsewhere.get_args().map(|a| if a == "state" { "elsewhere".into() } else { a.to_owned() }));
        command.env_clear().current_dir(stack.home());
        command.envs(
            elsewhere.get_envs().filter_map(|(k, v)| Some((k, v?))).filter(|(k, _)| *k != "ENV_MANAGER_STATE_DIR"),
        );
        command
    };
    let third = Ran::of(elsewhere).exits(1);
    assert!(third.err.contains(&first.pid().to_string()) && third.err.contains("env-manager-lease-"), "{third}");
    // Nor does anybody apply or remove beside it from elsewhere.
    for verb in ["apply", "down"] {
        let mut command = stack.command(&[verb]);
        let arguments: Vec<_> =
            command.get_args().map(|a| if a == "state" { "elsewhere".into() } else { a.to_owned() }).collect();
        command = {
            let mut other = std::process::Command::new(command.get_program());
            other.args(arguments).env_clear().current_dir(stack.home());
            other.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
            other
        };
        let refused = Ran::of(command).exits(1);
        assert!(refused.err.contains(&first.pid().to_string()), "{refused}");
    }
    let converged = first.converged();
    assert_eq!(converged["converged"], true);
    assert_eq!(first.stop(), 0);
}

#[test]
fn sigterm_ends_it_with_0_and_containers_are_kept() {
    let stack = Stack::new("sigterm");
    stack.describe(&[line("db", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = (stack.id("db"), stack.started_at("db"));
    assert_eq!(daemon.stop(), 0);
    assert_eq!((stack.id("db"), stack.started_at("db")), before);
    assert!(stack.daemon_file().is_none(), "nobody is told of a daemon that is gone");
    let lease = format!("env-manager-lease-{}", stack.name());
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &format!("name={lease}")]), "");
    let daemon = stack.daemon();
    daemon.converged();
    assert_eq!((stack.id("db"), stack.started_at("db")), before, "a restart of the daemon changes nothing");
}

#[test]
fn p11_what_a_killed_daemon_leaves_is_taken_over() {
    let stack = Stack::new("taken-over");
    stack.describe(&[line("db", ""), line("web", "dependsOn: [db]")]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = stack.containers();
    daemon.kill();
    docker(&["rm", "-f", &stack.container("db")]);
    let daemon = stack.daemon();
    daemon.converged();
    assert_eq!(stack.id("web"), before["web"]);
    assert_ne!(stack.id("db"), before["db"]);
    stack.is_converged(&["db", "web"]);
}

#[test]
fn the_state_directory_may_be_lost() {
    let stack = Stack::new("state-lost");
    stack.describe(&[line("db", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = (stack.id("db"), stack.started_at("db"));
    std::fs::remove_dir_all(stack.home().join("state")).unwrap();
    stack.describe(&[line("web", "dependsOn: [db]")]);
    soon("the new service", || (stack.names() == ["db", "web"]).then_some(()));
    daemon.kill();
    let _ = std::fs::remove_dir_all(stack.home().join("state"));
    let daemon = stack.daemon();
    daemon.converged();
    assert_eq!((stack.id("db"), stack.started_at("db")), before);
}
