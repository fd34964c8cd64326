//! What nothing asks for any more, and how carefully it goes (P5, P6, P7).

use crate::stack::{Stack, idle, text};

fn three(test: &str) -> Stack {
    let stack = Stack::new(test);
    stack.describe(&[
        idle("alpha", "volumes: [\"${SCOPE}_alpha:/data\"]"),
        idle("beta", ""),
        idle("gamma", "networks: [default, back]"),
    ]);
    stack.write(
        "back.yaml",
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n",
    );
    stack.apply().exits(0);
    stack
}

#[test]
fn p06_what_is_no_longer_described_is_removed_and_its_data_kept() {
    let stack = three("orphan");
    let before = stack.containers();
    let created: Vec<_> = stack.objects("network");
    assert_eq!(created, ["S-back", "env-manager-S"]);
    stack.exec("alpha", &["sh", "-c", "echo kept > /data/mark"]);
    stack.forget("alpha");
    let plan = stack.plan().exits(2);
    assert_eq!((&plan.change("alpha")["action"], &plan.json()["summary"]["remove"]), (&"remove".into(), &1.into()));
    assert_eq!(stack.names(), ["alpha", "beta", "gamma"], "a plan removes nothing");
    stack.apply().exits(0);
    let mut expected = before.clone();
    expected.remove("alpha");
    assert_eq!(stack.containers(), expected);
    assert_eq!(stack.objects("volume"), ["S_alpha"], "P7");
    stack.plan().exits(0);

    // Described again, it has its data again.
    stack.describe(&[idle("alpha", "volumes: [\"${SCOPE}_alpha:/data\"]")]);
    stack.apply().exits(0);
    assert_eq!(stack.exec("alpha", &["cat", "/data/mark"]), "kept");

    // A network goes once nothing is attached to it any more.
    stack.describe(&[idle("gamma", "")]);
    std::fs::remove_file(stack.folder().join("back.yaml")).unwrap();
    stack.apply().exits(0);
    assert_eq!(stack.objects("network"), ["env-manager-S"]);
    stack.is_converged(&["alpha", "beta", "gamma"]);
}

#[test]
fn p06_an_emptied_or_vanished_source_prunes_nothing() {
    let stack = three("empty");
    let before = stack.containers();
    for file in std::fs::read_dir(stack.folder()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    for arguments in [&["plan"][..], &["apply"], &["apply", "--allow-prune"]] {
        let ran = stack.run(arguments).exits(4);
        assert!(ran.err.contains("holds no manifest"), "{ran}");
    }
    std::fs::remove_dir(stack.folder()).unwrap();
    for arguments in [&["plan"][..], &["apply"], &["apply", "--allow-prune"]] {
        let ran = stack.run(arguments).exits(4);
        assert!(ran.err.contains("there is no folder"), "{ran}");
    }
    assert_eq!(stack.containers(), before);
}

#[test]
fn p05_while_a_file_is_broken_nothing_is_pruned_and_the_others_go_on() {
    let stack = three("broken");
    let before = stack.containers();
    stack.forget("alpha");
    stack.write(
        "beta.yaml",
        "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: beta }\nspec: { imagee: x }\n",
    );
    stack.describe(&[idle("gamma", "networks: [default, back]\nenv: { NEW: \"1\" }")]);
    for allowed in [&[][..], &["--allow-prune"]] {
        let ran = stack.apply_with(allowed).exits(4);
        assert!(ran.err.contains("beta.yaml:4:"), "the place of the mistake: {ran}");
        assert!(ran.notes().iter().any(|n| n.contains("service alpha") || n.starts_with("alpha ")), "{ran}");
        assert_eq!(ran.service("beta")["reason"], "ManifestInvalid", "{ran}");
        ran.is_ready("gamma");
    }
    let after = stack.containers();
    assert_eq!((&after["alpha"], &after["beta"]), (&before["alpha"], &before["beta"]));
    assert_ne!(after["gamma"], before["gamma"], "the others go on");
    stack.plan().exits(4);

    // Text that is no YAML at all: nobody knows which service it was.
    stack.write("beta.yaml", "spec: [\n");
    stack.apply().exits(4);
    assert_eq!(stack.containers(), after);

    stack.describe(&[idle("beta", "")]);
    stack.apply().exits(0);
    stack.is_converged(&["beta", "gamma"]);
}

#[test]
fn p06_more_than_half_at_once_needs_an_allowance() {
    let stack = three("half");
    let before = stack.containers();
    stack.forget("alpha");
    stack.forget("beta");
    let ran = stack.apply();
    assert!(matches!(ran.code, Some(0 | 3)), "{ran}");
    let refusal = ran.notes().into_iter().find(|n| n.contains("2 of 3 services")).unwrap_or_else(|| panic!("{ran}"));
    assert!(refusal.contains("--allow-prune"), "{refusal}");
    assert_eq!(stack.containers(), before);
    stack.apply_with(&["--allow-prune"]).exits(0);
    assert_eq!(stack.names(), ["gamma"]);
    assert_eq!(stack.containers()["gamma"], before["gamma"]);
    stack.is_converged(&["gamma"]);
}

#[test]
fn p06_pruning_can_be_switched_off() {
    let stack = three("off");
    stack.forget("alpha");
    let mut command = stack.command(&["apply", "-o", "json"]);
    command.env("ENV_MANAGER_PRUNE", "false");
    let ran = crate::stack::Ran::of(command);
    assert!(ran.notes().iter().any(|n| n.contains("switched off")), "{ran}");
    assert_eq!(stack.names(), ["alpha", "beta", "gamma"]);
}

#[test]
fn p04_two_stacks_side_by_side_never_meet() {
    let (one, two) = (Stack::new("one"), Stack::new("two"));
    for stack in [&one, &two] {
        stack.describe(&[idle("web", "volumes: [\"${SCOPE}_data:/data\"]"), idle("gone", "")]);
        stack.apply().exits(0);
    }
    let before = two.containers();
    one.forget("gone");
    one.apply().exits(0);
    assert_eq!(one.names(), ["web"]);
    one.run(&["down", "--volumes"]).exits(0);
    assert_eq!((one.names(), one.objects("network"), one.objects("volume")), (vec![], vec![], vec![]));
    assert_eq!(two.containers(), before);
    assert_eq!((two.objects("network"), two.objects("volume")), (vec!["env-manager-S".into()], vec!["S_data".into()]));
    two.is_converged(&["gone", "web"]);
}

/// Rules 1: two folders that share a stack, by default or by mistake.
#[test]
fn p04_two_folders_in_one_stack_never_prune_each_other_and_both_are_named() {
    let mut stack = Stack::new("folders");
    stack.describe(&[idle("alpha", "")]);
    stack.apply().exits(0);
    let first = stack.folder().to_owned();
    let before = stack.containers();
    let second = stack.with_folder("elsewhere", |stack| {
        stack.describe(&[idle("beta", ""), idle("gamma", "")]);
        let ran = stack.apply().exits(0);
        let notes = ran.notes().join("\n");
        for folder in [&first, stack.folder()] {
            assert!(notes.contains(folder.to_str().unwrap()), "{folder:?}: {ran}");
        }
        assert_eq!(stack.names(), ["alpha", "beta", "gamma"]);
        stack.apply_with(&["--allow-prune"]).exits(0);
        assert_eq!(stack.names(), ["alpha", "beta", "gamma"]);
        stack.forget("gamma");
        stack.apply().exits(0);
        assert_eq!(stack.names(), ["alpha", "beta"], "its own orphans go");
        stack.folder().to_owned()
    });
    let ran = stack.apply().exits(0);
    let notes = ran.notes().join("\n");
    assert!(notes.contains(second.to_str().unwrap()), "{ran}");
    assert_eq!(
        (stack.names(), &stack.containers()["alpha"]),
        (vec!["alpha".to_owned(), "beta".to_owned()], &before["alpha"])
    );
    let down = stack.run(&["down"]).exits(0);
    assert!(down.err.contains(second.to_str().unwrap()), "{down}");
    assert_eq!((stack.names(), stack.objects("network").len()), (vec!["beta".to_owned()], 1), "`down` takes its own");
    stack.run(&["down", "--all-sources"]).exits(0);
    assert_eq!((stack.names(), stack.objects("network")), (vec![], vec![]));
    assert_eq!(text(&stack.status().exits(0).json()["converged"]), "false");
}

/// The stack is what owns: a checkout under another path goes on where the first one was.
#[test]
fn a_folder_that_was_moved_changes_no_container() {
    let mut stack = three("moved");
    let before = stack.containers();
    stack.with_folder("elsewhere", |stack| {
        let back = "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { name: \"${SCOPE}-back\" }\n";
        stack.write("back.yaml", back);
        stack.describe(&[
            idle("alpha", "volumes: [\"${SCOPE}_alpha:/data\"]"),
            idle("beta", ""),
            idle("gamma", "networks: [default, back]"),
        ]);
        stack.apply().exits(0);
        assert_eq!(stack.containers(), before);
        stack.is_converged(&["alpha", "beta", "gamma"]);
    });
}
