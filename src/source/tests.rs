//! Sources, on real folders.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::manifest::{MAX_FILE_BYTES, render};
use crate::resource::{Kind, ResourceKey};

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  image: busybox:1.36\n{spec}"
    )
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn load_with(path: &Path, variables: &BTreeMap<&str, &str>) -> Loaded {
    let lookup = |name: &str| variables.get(name).map(|v| (*v).to_owned());
    let context = LoadContext {
        stack: "default",
        defaults: Defaults::default(),
        overrides: &[],
        variables: &lookup,
        host: "here",
    };
    dir::load(path, &context)
}

fn load(path: &Path) -> Loaded {
    load_with(path, &BTreeMap::new())
}

fn services(loaded: &Loaded) -> Vec<String> {
    loaded.set.resources.keys().filter(|k| k.kind == Kind::Service).map(|k| k.name.to_string()).collect()
}

/// Findings without the folder's own name.
fn text(loaded: &Loaded, dir: &Path) -> String {
    render(&loaded.findings, false).replace(&format!("{}/", dir.display()), "")
}

#[test]
fn a_folder_is_read_with_its_folders_in_order() {
    let dir = folder(&[
        ("b.yaml", &manifest("bb", "")),
        ("a.yml", &manifest("aa", "")),
        ("sub/deep/c.yaml", &format!("{}---\n{}", manifest("cc", ""), manifest("dd", ""))),
        ("README.md", "not yaml: ["),
        ("data.json", "["),
    ]);
    let loaded = load(dir.path());
    assert_eq!(text(&loaded, dir.path()), "");
    assert!(loaded.read_whole() && !loaded.set.has_errors);
    assert_eq!(services(&loaded), ["aa", "bb", "cc", "dd"]);
    assert_eq!(loaded.files, 3);
    let real = fs::canonicalize(dir.path()).unwrap();
    assert_eq!(loaded.set.source.0, format!("here:{}", real.display()));
}

#[test]
fn one_file_is_a_source_too() {
    let dir = folder(&[("a.yaml", &manifest("aa", "")), ("b.yaml", &manifest("bb", ""))]);
    assert_eq!(services(&load(&dir.path().join("a.yaml"))), ["aa"]);
}

#[test]
fn what_is_not_ours_is_skipped_with_a_note() {
    let dir = folder(&[
        ("a.yaml", &manifest("aa", "")),
        (".hidden.yaml", "["),
        (".git/config.yaml", "["),
        ("kustomization.yaml", "["),
        ("docker-compose.yml", "["),
        ("docker-compose.override.yaml", "["),
        ("compose.yaml", "["),
        ("composed.yaml", "a: b\n"),
        ("k8s.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {}\n"),
        ("empty.yaml", ""),
        ("comments.yaml", "# nothing\n---\n---\n"),
    ]);
    let loaded = load(dir.path());
    assert_eq!(text(&loaded, dir.path()), "");
    let notes: Vec<String> =
        loaded.notes.iter().map(|n| n.replace(&format!("{}/", dir.path().display()), "")).collect();
    insta::assert_snapshot!(notes.join("\n"));
    assert_eq!(services(&loaded), ["aa"]);
}

#[test]
fn what_a_manifest_puts_into_a_container_is_no_manifest() {
    let spec = "  files: [{ target: /etc/t.yaml, source: conf/template.yaml }]\n";
    let dir = folder(&[("a.yaml", &manifest("aa", spec)), ("conf/template.yaml", "{{ range }}\n  - [\n")]);
    let loaded = load(dir.path());
    assert_eq!((text(&loaded, dir.path()), loaded.notes.len()), (String::new(), 0));
    assert!(loaded.read_whole() && !loaded.set.has_errors);
    let key = ResourceKey::service("aa");
    let service = loaded.set.resources[&key].as_service().unwrap();
    assert_eq!(service.file_content("/etc/t.yaml"), b"{{ range }}\n  - [\n");
}

#[test]
fn p06_an_empty_missing_or_unreadable_source_can_be_told_from_a_whole_one() {
    let dir = folder(&[("note.txt", "x")]);
    let empty = load(dir.path());
    assert_eq!(empty.completeness, Completeness::Empty);
    let missing = load(&dir.path().join("nowhere"));
    assert_eq!(missing.completeness, Completeness::Missing);
    // A file in the way of a folder: root reads through permissions, but not through this.
    let unreadable = load(&dir.path().join("note.txt/manifests"));
    assert_eq!(unreadable.completeness, Completeness::Unreadable);
    for loaded in [empty, missing, unreadable] {
        assert!(loaded.set.has_errors && !loaded.read_whole());
        assert!(loaded.set.resources.is_empty());
        assert_eq!(loaded.errors().count(), 1);
    }
}

#[test]
fn p06_a_part_that_cannot_be_read_makes_the_source_incomplete() {
    let dir = folder(&[("a.yaml", &manifest("aa", ""))]);
    symlink("nowhere", dir.path().join("gone.yaml")).unwrap();
    let loaded = load(dir.path());
    assert_eq!(loaded.completeness, Completeness::Unreadable);
    assert_eq!(services(&loaded), ["aa"], "the others go on");
    assert!(text(&loaded, dir.path()).starts_with("error: cannot read the manifest: no such file\n--> gone.yaml"));
}

#[test]
fn permissions_are_reported() {
    let dir = folder(&[("a.yaml", &manifest("aa", "")), ("b.yaml", "x")]);
    fs::set_permissions(dir.path().join("b.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(dir.path().join("b.yaml")).is_ok() {
        return; // root reads everything
    }
    let loaded = load(dir.path());
    assert_eq!(loaded.completeness, Completeness::Unreadable);
    assert!(text(&loaded, dir.path()).contains("permission denied"));
}

#[test]
fn links_are_followed_and_loops_end() {
    let dir = folder(&[("real/a.yaml", &manifest("aa", "")), ("elsewhere.txt", &manifest("bb", ""))]);
    symlink("..", dir.path().join("real/up")).unwrap();
    symlink(".", dir.path().join("self")).unwrap();
    symlink("real", dir.path().join("again")).unwrap();
    symlink("loop-b", dir.path().join("loop-a")).unwrap();
    symlink("loop-a", dir.path().join("loop-b")).unwrap();
    symlink("elsewhere.txt", dir.path().join("linked.yaml")).unwrap();
    let loaded = load(dir.path());
    assert_eq!(text(&loaded, dir.path()), "");
    assert_eq!(services(&loaded), ["aa", "bb"]);
    assert_eq!(loaded.notes.len(), 3, "{:?}", loaded.notes);
}

#[test]
fn p16_pipes_and_devices_are_refused_without_being_opened() {
    let dir = folder(&[(
        "a.yaml",
        &manifest("aa", "  files: [{ target: /x, source: pipe.yaml }, { target: /y, source: /dev/zero }]\n"),
    )]);
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe.yaml")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", dir.path().join("zero.yaml")).unwrap();
    let loaded = load(dir.path());
    let text = text(&loaded, dir.path());
    assert_eq!(text.matches("not a regular file").count(), 4, "{text}");
    assert_eq!(loaded.completeness, Completeness::Unreadable);
}

#[test]
fn p16_a_file_that_is_too_large_is_refused_unread() {
    let dir = folder(&[("a.yaml", &manifest("aa", ""))]);
    let mut big = manifest("bb", "  user: x\n").into_bytes();
    big.resize(10_000_000, b'#');
    write(dir.path(), "big.yaml", &big);
    let loaded = load(dir.path());
    assert!(
        text(&loaded, dir.path()).starts_with("error: the file is larger than 4 MiB\n--> big.yaml"),
        "{}",
        text(&loaded, dir.path())
    );
    assert!(!loaded.read_whole());
    big.truncate(usize::try_from(MAX_FILE_BYTES).unwrap());
    write(dir.path(), "big.yaml", &big);
    assert_eq!(services(&load(dir.path())), ["aa", "bb"]);
}

#[test]
fn p16_too_many_files_and_folders_that_never_end_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..=dir::MAX_FILES {
        write(dir.path(), &format!("{i}.yaml"), "");
    }
    let loaded = load(dir.path());
    assert!(text(&loaded, dir.path()).contains("2001 manifest files, more than 2000"));
    assert!(!loaded.read_whole());

    let deep = folder(&[(&format!("{}a.yaml", "d/".repeat(40)), "")]);
    let loaded = load(deep.path());
    assert!(text(&loaded, deep.path()).contains("nested more than 16 deep"));
    assert!(!loaded.read_whole());
}

#[test]
fn p05_a_file_that_is_not_utf8_freezes_its_services() {
    let dir = folder(&[("a.yaml", &manifest("aa", ""))]);
    let mut bytes = manifest("bb", "  user: x\n").into_bytes();
    bytes.push(0xe9);
    write(dir.path(), "b.yaml", &bytes);
    let loaded = load(dir.path());
    assert_eq!(services(&loaded), ["aa"]);
    assert_eq!(loaded.set.invalid.keys().map(ToString::to_string).collect::<Vec<_>>(), ["bb"]);
    assert!(loaded.set.has_errors);
}

#[test]
fn the_revision_is_that_of_the_contents() {
    let spec = "  files: [{ target: /x, source: conf }]\n  secretEnv: { S: { fromFile: secret } }\n";
    let files = [("sub/a.yaml", manifest("aa", spec)), ("sub/conf", "1".to_owned()), ("sub/secret", "1".to_owned())];
    let make = || folder(&files.each_ref().map(|(n, t)| (*n, t.as_str())));
    let (one, two) = (make(), make());
    let revision = |dir: &tempfile::TempDir| load(dir.path()).set.revision;
    let first = revision(&one);
    assert_eq!(first, revision(&two), "the same in another place");
    assert!(first.starts_with("sha256:") && short_revision(&first).len() == 7);

    write(one.path(), "sub/conf", "2");
    let changed = revision(&one);
    assert_ne!(changed, first, "a file that a manifest names counts");
    write(one.path(), "sub/secret", "2");
    assert_eq!(revision(&one), changed, "a secret leaves no trace, not even as a hash");
    write(two.path(), "other.txt", "x");
    assert_eq!(revision(&two), first, "what is not read does not count");
    fs::rename(two.path().join("sub/a.yaml"), two.path().join("sub/b.yaml")).unwrap();
    assert_ne!(revision(&two), first);
}

#[test]
fn relative_paths_count_from_the_manifest() {
    let spec = "  volumes: ['./data:/data', '../shared:/shared', '~/home:/home']\n  envFrom: [{ file: my.env }]\n";
    let dir = folder(&[("sub/a.yaml", &manifest("aa", spec)), ("sub/my.env", "A=1\n")]);
    let loaded = load_with(dir.path(), &BTreeMap::from([("HOME", "/home/me")]));
    assert_eq!(text(&loaded, dir.path()), "");
    let service = loaded.set.resources[&ResourceKey::service("aa")].as_service().unwrap();
    let real = fs::canonicalize(dir.path()).unwrap();
    let paths: Vec<String> = service
        .spec
        .container
        .mounts
        .iter()
        .map(|m| match &m.source {
            crate::resource::spec::MountSource::Bind { path, .. } => path.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let below = |path: &str| real.join(path).display().to_string();
    assert_eq!(paths, [below("sub/data"), "/home/me/home".to_owned(), below("shared")]);
    assert_eq!(service.spec.container.env["A"], "1");
}

#[test]
fn this_machine_has_a_name() {
    assert!(!host_name().is_empty() && !host_name().contains(char::is_whitespace));
}

/// What one load after the other freezes: name and why, without the folder's own name.
fn frozen_in_turn(dir: &Path, before: &Loaded, now: &Loaded) -> Vec<String> {
    let remembered = remembered(&BTreeMap::new(), before);
    let frozen = frozen(&remembered, now);
    frozen.iter().map(|(k, why)| format!("{k}: {}", why.replace(&format!("{}/", dir.display()), ""))).collect()
}

#[test]
fn p05_a_broken_file_freezes_every_key_that_it_defined_last() {
    let two = format!("{}---\n{}", manifest("aa", "  volumes: ['data:/x']\n"), manifest("bb", ""));
    let dir = folder(&[("two.yaml", &two), ("cc.yaml", &manifest("cc", "")), ("dd.yaml", &manifest("dd", ""))]);
    let good = load(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let of = |key: &ResourceKey| good.defined[key].to_string();
    assert_eq!(of(&ResourceKey::service("bb")), file("two.yaml"));
    assert_eq!(of(&ResourceKey::volume("data")), file("two.yaml"), "what only a service names stands with it");
    assert_eq!(of(&ResourceKey::network("env-manager")), file("two.yaml"));
    assert!(good.broken_files.is_empty());

    // Not a word of it can be read; another file loses its service on purpose.
    write(dir.path(), "two.yaml", "kind: Service\nmetadata: [\n");
    write(dir.path(), "cc.yaml", "# nothing any more\n");
    let broken = load(dir.path());
    assert!(broken.set.invalid.is_empty());
    assert_eq!(broken.broken_files.keys().map(ToString::to_string).collect::<Vec<_>>(), [file("two.yaml")]);
    let frozen = frozen_in_turn(dir.path(), &good, &broken);
    assert_eq!(frozen.len(), 3, "{frozen:?}");
    for (line, name) in frozen.iter().zip(["volume data", "aa", "bb"]) {
        assert!(line.starts_with(&format!("{name}: two.yaml:")), "{line}");
    }

    // It says which service it is about: that one is invalid, the other is frozen.
    write(dir.path(), "two.yaml", two.replacen("image", "imagge", 1).replace("name: bb", "nmae: bb"));
    let half = load(dir.path());
    assert_eq!(half.set.invalid.keys().map(ToString::to_string).collect::<Vec<_>>(), ["aa"]);
    let frozen = frozen_in_turn(dir.path(), &good, &half);
    assert_eq!(frozen.len(), 2, "{frozen:?}");
    assert!(frozen[1].starts_with("bb: two.yaml:5:3: unknown field `imagge`"), "{frozen:?}");

    // They moved to a good file.
    write(dir.path(), "moved.yaml", &two);
    write(dir.path(), "two.yaml", "kind: Service\nmetadata: [\n");
    assert_eq!(frozen_in_turn(dir.path(), &good, &load(dir.path())), [""; 0]);
}

#[test]
fn p05_what_is_frozen_stays_so_until_the_file_is_good_again() {
    let dir = folder(&[("a.yaml", &manifest("aa", "")), ("b.yaml", &manifest("bb", ""))]);
    let mut known = remembered(&BTreeMap::new(), &load(dir.path()));
    write(dir.path(), "a.yaml", "kind: Service\nmetadata: [\n");
    for _ in 0..3 {
        let now = load(dir.path());
        assert_eq!(frozen(&known, &now).into_keys().collect::<Vec<_>>(), [ResourceKey::service("aa")]);
        known = remembered(&known, &now);
    }
    write(dir.path(), "a.yaml", manifest("new", ""));
    let now = load(dir.path());
    assert!(frozen(&known, &now).is_empty(), "it is no longer described, on purpose");
    assert!(!remembered(&known, &now).contains_key(&ResourceKey::service("aa")));
}

#[test]
fn p06_a_source_that_is_gone_freezes_everything() {
    let dir = folder(&[("m/a.yaml", &manifest("aa", "")), ("m/b.yaml", &manifest("bb", ""))]);
    let source = dir.path().join("m");
    let good = load(&source);
    fs::remove_file(source.join("a.yaml")).unwrap();
    symlink("nowhere", source.join("c.yaml")).unwrap();
    let unreadable = frozen_in_turn(&source, &good, &load(&source));
    assert_eq!(unreadable, ["aa: c.yaml: cannot read the manifest: no such file"], "it may be what `a.yaml` was");
    for name in ["b.yaml", "c.yaml"] {
        fs::remove_file(source.join(name)).unwrap();
    }
    let empty = load(&source);
    fs::remove_dir(&source).unwrap();
    let missing = load(&source);
    for now in [empty, missing] {
        let frozen = frozen(&good.defined, &now);
        assert_eq!(frozen.keys().map(ToString::to_string).collect::<Vec<_>>(), ["network env-manager", "aa", "bb"]);
        assert!(frozen.values().all(|why| why.contains("no manifest in the folder") || why.contains("no such folder")));
    }
}

#[test]
fn p05_who_is_frozen_for_another_manifest_is_told_where_its_error_is() {
    let network =
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: { name: back }\nspec: { drivver: bridge }\n";
    let dir =
        folder(&[("a.yaml", &manifest("aa", "  networks: [back]\n  volumes: ['data:/x']\n")), ("net.yaml", network)]);
    let text = |why: &str| why.replace(&format!("{}/", dir.path().display()), "");
    let loaded = load(dir.path());
    let why = text(&loaded.set.invalid[&ResourceKey::service("aa")]);
    assert!(
        why.starts_with("the manifest of network back has an error: net.yaml:4:9: unknown field `drivver`"),
        "{why}"
    );
    assert!(loaded.broken_files.keys().any(|f| f.ends_with("/a.yaml")), "its volume is missing with it");

    for spec in ["spec: { defualts: {} }", "spec: { envFile: [nowhere.env] }"] {
        write(dir.path(), "net.yaml", format!("apiVersion: env-manager.dev/v1\nkind: Stack\n{spec}\n"));
        let loaded = load(dir.path());
        let why = text(&loaded.set.invalid[&ResourceKey::service("aa")]);
        assert!(why.starts_with("the `Stack` manifest has an error") && why.contains(": net.yaml:3:"), "{why}");
    }
}

#[test]
fn a_template_that_looks_like_a_broken_manifest_hides_no_error_and_is_none() {
    let spec = "  dependsOn: [nobody]\n  files: [{ target: /t.yaml, source: template.yaml }]\n";
    let dir = folder(&[
        ("a.yaml", &manifest("aa", spec)),
        ("template.yaml", "kind: Service\nmetadata:\n  name: ghost\nspec: [\n---\n{{ range }}: [\n"),
    ]);
    let loaded = load(dir.path());
    assert_eq!(loaded.set.invalid.keys().map(ToString::to_string).collect::<Vec<_>>(), ["aa"]);
    assert_eq!(loaded.errors().count(), 1, "{}", text(&loaded, dir.path()));
    assert!(text(&loaded, dir.path()).contains("nobody"));
    assert_eq!(loaded.files, 1);
}
