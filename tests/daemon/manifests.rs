//! A folder of manifests is edited while a daemon watches it.

use crate::stack::{Stack, idle, line, soon, text};

#[test]
fn an_edit_is_rolled_out_and_nothing_else_is_touched() {
    let stack = Stack::new("edit");
    stack.describe(&[line("db", ""), idle("web", "env: { V: 1 }")]);
    let daemon = stack.daemon();
    daemon.converged();
    let (db, web) = (stack.id("db"), stack.id("web"));
    stack.describe(&[idle("web", "env: { V: 2 }")]);
    daemon.replaced("web", &web);
    assert_eq!(stack.exec("web", &["sh", "-c", "echo $V"]), "2");
    assert_eq!(stack.id("db"), db);
    daemon.told("web", "ManifestChanged", "generation 2");
    stack.is_converged(&["db", "web"]);
}

#[test]
fn what_is_added_comes_and_what_is_removed_goes() {
    let stack = Stack::new("add-remove");
    stack.describe(&[idle("aa", ""), idle("bb", ""), idle("cc", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    stack.describe(&[idle("dd", "dependsOn: [aa]")]);
    daemon.service_is("dd", "dd is ready", |s| s["ready"] == true);
    stack.forget("dd");
    soon("dd to be gone", || (stack.names() == ["aa", "bb", "cc"]).then_some(()));
    daemon.converged();
    daemon.told("dd", "ManifestRemoved", "");
    stack.is_converged(&["aa", "bb", "cc"]);
}

#[test]
fn p05_a_broken_manifest_says_where_and_deletes_nothing_until_it_is_repaired() {
    let stack = Stack::new("broken");
    stack.describe(&[idle("db", ""), idle("web", "env: { V: 1 }")]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = stack.containers();
    let good = idle("web", "env: { V: 1 }");
    stack.describe(&[good.replace("image:", "imagge:")]);
    let status = daemon.service_is("web", "web is Invalid", |s| s["phase"] == "Invalid");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("imagge") && message.contains("web.yaml:"), "{message}");
    // The others go on.
    stack.describe(&[idle("other", "")]);
    daemon.service_is("other", "other is ready", |s| s["ready"] == true);
    let status = daemon.status().unwrap();
    assert_eq!((&status["converged"], &status["healthy"]), (&false.into(), &true.into()));
    assert!(status["findings"].as_str().unwrap().contains("did you mean `image`"), "{status:#}");
    // It is looked after all the same.
    crate::stack::docker(&["rm", "-f", &stack.container("web")]);
    soon("web to be back", || stack.names().contains(&"web".to_owned()).then_some(()));
    stack.describe(&[good]);
    daemon.converged();
    assert_eq!(stack.id("db"), before["db"]);
    daemon.told("web", "ManifestInvalid", "imagge");
    daemon.told("web", "ManifestRepaired", "");
    stack.is_converged(&["db", "other", "web"]);
}

#[test]
fn a_manifest_that_is_renamed_or_moved_to_another_file_changes_nothing() {
    let stack = Stack::new("moved");
    stack.describe(&[idle("db", ""), idle("web", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = stack.containers();
    let folder = stack.folder();
    let revision = |status: &serde_json::Value| status["source"]["revision"].clone();
    let first = revision(&daemon.status().unwrap());
    std::fs::rename(folder.join("web.yaml"), folder.join("site.yaml")).unwrap();
    let moved = daemon.until("the renamed file was read", |s| revision(s) != first && s["converged"] == true);
    // Both in one file.
    let both = format!("{}---\n{}", idle("db", ""), idle("web", ""));
    stack.write("all.yaml.partial", &both);
    std::fs::remove_file(folder.join("db.yaml")).unwrap();
    std::fs::remove_file(folder.join("site.yaml")).unwrap();
    std::fs::rename(folder.join("all.yaml.partial"), folder.join("all.yaml")).unwrap();
    let second = revision(&moved);
    daemon.until("the one file was read", |s| revision(s) != second && s["converged"] == true);
    assert_eq!(stack.containers(), before);
}

#[test]
fn p06_a_folder_that_vanishes_and_comes_back_removes_nothing() {
    let stack = Stack::new("vanish");
    stack.describe(&[idle("db", ""), idle("web", "env: { V: 1 }")]);
    let daemon = stack.daemon();
    daemon.converged();
    let before = stack.containers();
    let away = stack.home().join("away");
    std::fs::rename(stack.folder(), &away).unwrap();
    daemon.until("the folder is missed", |s| !s["source"]["error"].is_null());
    assert_eq!(stack.containers(), before);
    std::fs::rename(&away, stack.folder()).unwrap();
    daemon.until("the folder is read again", |s| s["source"]["error"].is_null() && s["converged"] == true);
    assert_eq!(stack.containers(), before);
    stack.describe(&[idle("web", "env: { V: 2 }")]);
    daemon.replaced("web", &before["web"]);
}

#[test]
fn git_names_the_commit_and_what_differs_from_it() {
    let stack = Stack::new("git");
    stack.describe(&[idle("web", "env: { V: 1 }")]);
    let git = |arguments: &[&str]| {
        let out = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-C"])
            .arg(stack.folder())
            .args(arguments)
            .output()
            .expect("git is installed");
        assert!(out.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let daemon = stack.daemon();
    let status = daemon.converged();
    assert_eq!(status["source"]["revision"], commit);
    let id = stack.id("web");
    stack.describe(&[idle("web", "env: { V: 2 }")]);
    let id = daemon.replaced("web", &id);
    let status = daemon.status().unwrap();
    assert_eq!(status["source"]["revision"], format!("{commit}+edits"));
    assert_eq!(status["source"]["shortRevision"], format!("{}+edits", &commit[..7]));
    git(&["checkout", "--quiet", "."]);
    daemon.replaced("web", &id);
    daemon.until("the commit again", |s| s["source"]["revision"] == commit);
}

/// On the engine, over gRPC, HTTP and the verbs alike.
#[test]
fn p06_what_is_kept_is_told_to_everybody_until_a_person_allows_that_it_goes() {
    let stack = Stack::new("kept");
    stack.describe(&[idle("aa", ""), idle("bb", ""), idle("cc", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    stack.forget("bb");
    stack.forget("cc");
    let kept = |status: &serde_json::Value| {
        let list = status["kept"].as_array().cloned().unwrap_or_default();
        list.iter().map(|k| format!("{} {}", text(&k["name"]), text(&k["reason"]))).collect::<Vec<_>>()
    };
    let status = daemon.until("both are listed", |s| kept(s) == ["bb TooMany", "cc TooMany"]);
    assert!(text(&status["kept"][0]["message"]).contains("2 of 3 services"), "{status:#}");
    for service in ["bb", "cc"] {
        daemon.told(service, "PruneRefused", "--allow-prune");
    }
    let verb = stack.status().exits(0);
    assert_eq!((kept(&verb.json()), verb.notes().len()), (vec!["bb TooMany".into(), "cc TooMany".into()], 2));
    assert_eq!(stack.names(), ["aa", "bb", "cc"]);
    // `suspend` of one of them, and `sync --allow-prune`: the other one goes.
    stack.run(&["suspend", "cc"]).exits(0);
    stack.run(&["sync", "--allow-prune"]).exits(0);
    soon("bb to be gone", || (stack.names() == ["aa", "cc"]).then_some(()));
    daemon.until("one is kept", |s| kept(s) == ["cc Suspended"] && s["converged"] == true);
    stack.run(&["resume", "cc"]).exits(0);
    stack.run(&["sync", "--allow-prune"]).exits(0);
    soon("cc to be gone", || (stack.names() == ["aa"]).then_some(()));
    daemon.until("nothing is kept", |s| kept(s).is_empty() && s["converged"] == true);
    assert_eq!(daemon.stop(), 0);
}
