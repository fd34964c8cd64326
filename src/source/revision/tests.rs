//! Revisions of real repositories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const CONTENT: &str = "sha256:0123456789abcdef";

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=n", "-c", "user.email=e@localhost", "-c", "commit.gpgSign=false"])
        .args(arguments)
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A repository with one commit.
fn repository(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "--quiet"]);
    for name in files {
        write(dir.path(), name, "1");
    }
    commit(dir.path());
    dir
}

fn commit(dir: &Path) {
    git(dir, &["add", "--all"]);
    git(dir, &["commit", "--quiet", "--allow-empty", "--message", "m"]);
}

fn head(dir: &Path) -> String {
    git(dir, &["rev-parse", "HEAD"])
}

async fn full(source: &Path) -> String {
    let revision = revision(source, CONTENT).await;
    assert_eq!(revision.note, None);
    revision.full
}

#[tokio::test]
async fn a_folder_in_git_is_its_commit() {
    let dir = repository(&["deploy/a.yaml", "other/x"]);
    let deploy = dir.path().join("deploy");
    let commit = head(dir.path());
    let clean = revision(&deploy, CONTENT).await;
    assert_eq!(clean, SourceRevision { full: commit.clone(), short: commit[..7].to_owned(), note: None });
    assert_eq!(full(&deploy.join("a.yaml")).await, commit, "one file as a source");
    assert_eq!(full(dir.path()).await, commit);
    symlink("deploy", dir.path().join("current")).unwrap();
    assert_eq!(full(&dir.path().join("current")).await, commit);

    write(&deploy, "a.yaml", "2");
    let edited = revision(&deploy, CONTENT).await;
    assert_eq!(edited.full, format!("{commit}+edits"));
    assert_eq!(edited.short, format!("{}+edits", &commit[..7]));
    git(dir.path(), &["add", "deploy"]);
    assert_eq!(full(&deploy).await, format!("{commit}+edits"), "staged is not committed");
    super::tests::commit(dir.path());
    assert_ne!(head(dir.path()), commit);
    assert_eq!(full(&deploy).await, head(dir.path()));
}

#[tokio::test]
async fn only_what_is_below_the_folder_and_not_ignored_counts_as_an_edit() {
    let dir = repository(&["deploy/a.yaml", "deploy/b.yaml", "other/x", ".gitignore"]);
    write(dir.path(), ".gitignore", "*.log\n");
    commit(dir.path());
    let (deploy, head) = (dir.path().join("deploy"), head(dir.path()));
    write(dir.path(), "other/x", "2");
    write(dir.path(), "other/new", "2");
    write(&deploy, "my.log", "x");
    assert_eq!(full(&deploy).await, head);
    // A user who never wants to see new files in `git status` still has them here.
    git(dir.path(), &["config", "status.showUntrackedFiles", "no"]);
    write(&deploy, "sub/new.yaml", "x");
    assert_eq!(full(&deploy).await, format!("{head}+edits"));
    assert_eq!(full(&deploy.join("b.yaml")).await, head, "a file alone has no neighbours");
    fs::remove_dir_all(deploy.join("sub")).unwrap();
    assert_eq!(full(&deploy).await, head);
    fs::remove_file(deploy.join("a.yaml")).unwrap();
    assert_eq!(full(&deploy).await, format!("{head}+edits"));
}

#[tokio::test]
async fn where_git_has_nothing_to_say_the_contents_do() {
    let plain = tempfile::tempdir().unwrap();
    write(plain.path(), "a.yaml", "1");
    assert_eq!(full(plain.path()).await, CONTENT);
    assert_eq!(revision(plain.path(), CONTENT).await.short, "0123456");
    assert_eq!(full(&plain.path().join("nowhere")).await, CONTENT);

    let unborn = tempfile::tempdir().unwrap();
    git(unborn.path(), &["init", "--quiet"]);
    write(unborn.path(), "a.yaml", "1");
    assert_eq!(full(unborn.path()).await, CONTENT);
    git(unborn.path(), &["add", "--all"]);
    assert_eq!(full(unborn.path()).await, CONTENT, "no commit yet");

    let dir = repository(&["x", ".gitignore"]);
    write(dir.path(), "untracked/a.yaml", "1");
    assert_eq!(full(&dir.path().join("untracked")).await, CONTENT);
    write(dir.path(), ".gitignore", "ignored\n");
    write(dir.path(), "ignored/a.yaml", "1");
    assert_eq!(full(&dir.path().join("ignored")).await, CONTENT);
}

#[tokio::test]
async fn a_repository_that_git_refuses_is_noted() {
    let dir = repository(&["a.yaml"]);
    fs::write(dir.path().join(".git/config"), "[core\n").unwrap();
    let revision = revision(dir.path(), CONTENT).await;
    assert_eq!(revision.full, CONTENT);
    assert!(revision.note.as_ref().unwrap().contains("bad config line 1"), "{revision:?}");
}

#[tokio::test]
async fn work_trees_and_names_that_look_like_patterns_are_read() {
    let dir = repository(&["[a]*/a.yaml", "a/b.yaml"]);
    let head = head(dir.path());
    let tree = dir.path().join("tree");
    git(dir.path(), &["worktree", "add", "--quiet", "tree"]);
    assert_eq!(full(&tree.join("a")).await, head);
    write(&tree, "a/b.yaml", "2");
    assert_eq!(full(&tree.join("[a]*")).await, head);
    assert_eq!(full(&tree.join("a")).await, format!("{head}+edits"));

    let dir = repository(&["a*.yaml", "ab.yaml"]);
    write(dir.path(), "ab.yaml", "2");
    assert_eq!(full(&dir.path().join("a*.yaml")).await, super::tests::head(dir.path()));
}

/// A repository comes from anywhere; looking at it must not run what it names.
#[tokio::test]
async fn no_program_that_a_repository_names_is_run() {
    let dir = repository(&["a.yaml", "big.bin", ".gitattributes", "sub/x"]);
    let trace = dir.path().join(".git/ran");
    let program = dir.path().join(".git/program");
    fs::write(&program, format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", trace.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.display().to_string();
    write(dir.path(), ".gitattributes", "*.yaml filter=one\n*.bin filter=Two.dots\n");
    commit(dir.path());
    for key in [
        "core.fsmonitor",
        "filter.one.clean",
        "filter.Two.dots.process",
        "core.sshCommand",
        "core.pager",
        "pager.status",
        "alias.status",
        "diff.external",
        "core.editor",
        "gpg.program",
    ] {
        git(dir.path(), &["config", key, &program]);
    }
    git(dir.path(), &["config", "filter.Two.dots.required", "true"]);
    for hook in ["post-index-change", "fsmonitor-watchman", "reference-transaction"] {
        fs::create_dir_all(dir.path().join(".git/hooks")).unwrap();
        fs::copy(dir.path().join(".git/program"), dir.path().join(".git/hooks").join(hook)).unwrap();
    }
    // Same size: git has to read the content to know.
    write(dir.path(), "a.yaml", "2");
    write(dir.path(), "big.bin", "2");
    let revision = revision(dir.path(), CONTENT).await;
    assert!(revision.full.ends_with("+edits"), "{revision:?}");
    assert_eq!(fs::read_to_string(&trace).unwrap_or_default(), "");
    // The traps do spring.
    git(dir.path(), &["-c", "filter.Two.dots.process=", "-c", "filter.Two.dots.required=false", "status"]);
    let ran = fs::read_to_string(&trace).unwrap();
    assert!(ran.lines().count() >= 2, "{ran}");
}

#[test]
fn a_filter_whose_name_could_say_something_else_is_refused() {
    assert_eq!(
        without_filters(b"filter.a.b.clean\0filter.a.b.required\0filter.x.other\0").unwrap(),
        ["filter.a.b.clean=", "filter.a.b.required=false"]
    );
    assert!(without_filters(b"filter.a=b.clean\0").is_err());
    assert!(without_filters(b"filter.a\nb.clean\0").is_err());
    assert_eq!(without_filters(b"").unwrap(), Vec::<String>::new());
}

#[test]
fn a_revision_has_a_short_form() {
    for (full, short) in [
        ("sha256:0123456789", "0123456"),
        ("3f2a91c0b1", "3f2a91c"),
        ("3f2a91c0b1+edits", "3f2a91c+edits"),
        ("abc", "abc"),
        ("", ""),
    ] {
        assert_eq!(short_revision(full), short);
    }
}

#[test]
fn the_status_of_git_is_read() {
    let commit = "3f2a91c0".repeat(5);
    let status = |lines: &str| read_status(&format!("# branch.oid {commit}\n# branch.head main\n# stash 1\n{lines}"));
    let checkout = |has_edits| Some(Checkout { commit: commit.clone(), has_edits });
    assert_eq!(status(""), checkout(false));
    for line in ["1 .M N... 100644 100644 100644 a b a.yaml", "2 R. x", "u UU x", "? new.yaml"] {
        assert_eq!(status(line), checkout(true), "{line}");
    }
    assert_eq!(status("! ignored"), checkout(false));
    assert_eq!(read_status("# branch.oid (initial)\n? a\n"), None);
}
