//! Watching real folders. The system queues an event before the call that caused it returns, so after
//! [`fence`] it is known whether something was noticed: nothing here waits for nothing to happen.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::*;
use crate::manifest::Defaults;
use crate::source::{LoadContext, Loaded, dir};

const DEADLINE: Duration = Duration::from_secs(20);

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  image: busybox:1.36\n{spec}"
    )
}

fn load(path: &Path) -> Loaded {
    let nothing = |_: &str| None;
    let context = LoadContext {
        stack: "default",
        defaults: Defaults::default(),
        overrides: &[],
        variables: &nothing,
        host: "here",
    };
    dir::load(path, &context)
}

fn services(loaded: &Loaded) -> Vec<&str> {
    let keys = loaded.set.resources.keys().filter(|k| k.kind == crate::resource::Kind::Service);
    keys.map(|k| &*k.name).collect()
}

/// A source in `manifests` of a folder of its own, and who watches it.
struct Scene {
    dir: tempfile::TempDir,
    source: PathBuf,
    watcher: Watcher,
}

impl Scene {
    /// Watched, and told all that there was to tell.
    async fn with(files: &[(&str, &str)]) -> Self {
        Self::at("manifests", files, |_| {}).await
    }

    async fn at(source: &str, files: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(&dir.path().join(name), text);
        }
        prepare(dir.path());
        let source = dir.path().join(source);
        let mut scene = Self { dir, source, watcher: Watcher::new() };
        scene.settle().await;
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Loads until nothing is newly watched, as the daemon does.
    async fn settle(&mut self) {
        for _ in 0..10 {
            let loaded = load(&self.source);
            self.watcher.watch(&loaded.watched);
            if !self.has_heard() {
                return;
            }
            self.changed().await;
        }
        panic!("there is no end to it");
    }

    /// Whether something was noticed that has not been told.
    fn has_heard(&mut self) -> bool {
        fence(&mut self.watcher);
        self.watcher.shared.state().burst != Burst::default()
    }

    async fn changed(&mut self) {
        tokio::time::timeout(DEADLINE, self.watcher.changed()).await.expect("nobody told of a change");
    }

    /// Loads on each change until the source is as it should be.
    async fn until(&mut self, is_there: impl Fn(&Loaded) -> bool) {
        let round = async {
            loop {
                self.watcher.changed().await;
                let loaded = load(&self.source);
                self.watcher.watch(&loaded.watched);
                if is_there(&loaded) {
                    break;
                }
            }
        };
        tokio::time::timeout(DEADLINE, round).await.expect("the change was not noticed");
        self.settle().await;
    }

    async fn until_services(&mut self, names: &[&str]) {
        self.until(|loaded| services(loaded) == names).await;
    }
}

/// Returns when the watching thread has seen everything that happened before: it answers in order, and the
/// second answer belongs to a later look at the queue than the first question.
fn fence(watcher: &mut Watcher) {
    for _ in 0..2 {
        watcher.system.as_mut().unwrap().unwatch(Path::new("/nobody/watches/this")).unwrap_err();
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn reading_the_source_is_no_change_of_it() {
    let spec = "  files: [{ target: /x, source: conf }]\n  secretEnv: { S: { fromFile: ../secret } }\n";
    let mut scene =
        Scene::with(&[("manifests/a.yaml", &manifest("aa", spec)), ("manifests/conf", "1"), ("secret", "1")]).await;
    let (text, conf, secret) = (scene.path("manifests/a.yaml"), scene.path("manifests/conf"), scene.path("secret"));
    for path in [&text, &conf, &secret] {
        fs::read(path).unwrap();
    }
    load(&scene.source);
    assert!(!scene.has_heard());
    for path in [&text, &conf, &secret] {
        fs::File::options().append(true).open(path).unwrap().write_all(b" ").unwrap();
        assert!(scene.has_heard(), "{}", path.display());
        scene.changed().await;
    }
}

#[tokio::test]
async fn what_cannot_matter_wakes_nobody() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", "")), ("manifests/data/log.txt", "")]).await;
    for name in ["manifests/.a.yaml.swp", "manifests/4913", "manifests/a.yaml~", "manifests/README.md", "beside.yaml"] {
        write(&scene.path(name), "x");
        fs::remove_file(scene.path(name)).unwrap();
    }
    fs::create_dir(scene.path("manifests/.git")).unwrap();
    write(&scene.path("manifests/data/log.txt"), "one more line");
    assert!(!scene.has_heard());
}

/// What it is, and how it is made.
type Change<'a> = (&'static str, Box<dyn Fn() + 'a>);

#[tokio::test]
async fn every_kind_of_change_of_a_manifest_is_noticed() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    let Scene { watcher, source, .. } = &mut scene;
    let path = |name: &str| source.join(name);
    let (a, b) = (path("a.yaml"), path("b.yml"));
    let changes: [Change<'_>; 8] = [
        ("written", Box::new(|| fs::write(&a, manifest("ab", "")).unwrap())),
        ("chmod", Box::new(|| fs::set_permissions(&a, fs::Permissions::from_mode(0o600)).unwrap())),
        ("renamed", Box::new(|| fs::rename(&a, &b).unwrap())),
        ("renamed to what is no manifest", Box::new(|| fs::rename(&b, path("b.off")).unwrap())),
        (
            "renamed over from a hidden file",
            Box::new(|| {
                fs::write(path(".tmp"), manifest("ac", "")).unwrap();
                fs::rename(path(".tmp"), &a).unwrap();
            }),
        ),
        ("a link", Box::new(|| symlink("b.off", path("c.yaml")).unwrap())),
        ("a hard link", Box::new(|| fs::hard_link(&a, path("d.yaml")).unwrap())),
        ("removed", Box::new(|| fs::remove_file(&a).unwrap())),
    ];
    for (what, change) in changes {
        change();
        fence(watcher);
        assert_ne!(watcher.shared.state().burst, Burst::default(), "{what}");
        tokio::time::timeout(DEADLINE, watcher.changed()).await.unwrap();
    }
}

#[tokio::test]
async fn editors_that_replace_the_file_are_followed_again_and_again() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    let (path, temporary) = (scene.path("manifests/a.yaml"), scene.path("manifests/sedXyZ"));
    for name in ["ab", "ac", "ad"] {
        fs::write(&temporary, manifest(name, "")).unwrap();
        fs::rename(&temporary, &path).unwrap();
        scene.until_services(&[name]).await;
    }
}

#[tokio::test]
async fn a_slow_writer_is_read_again_when_it_is_done() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    let text = manifest("bb", "  env: { A: \"1\" }\n");
    let mut file = fs::File::create(scene.path("manifests/b.yaml")).unwrap();
    file.write_all(&text.as_bytes()[..text.len() - 4]).unwrap();
    scene.until(|loaded| loaded.set.has_errors).await;
    file.write_all(&text.as_bytes()[text.len() - 4..]).unwrap();
    scene.until(|loaded| services(loaded) == ["aa", "bb"] && !loaded.set.has_errors).await;
}

#[tokio::test]
async fn many_files_at_once_are_one_change() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    for i in 0..300 {
        write(&scene.path(&format!("manifests/s{i}.yaml")), &manifest(&format!("s{i}"), ""));
    }
    assert!(scene.has_heard());
    scene.changed().await;
    assert!(!scene.has_heard());
    assert_eq!(services(&load(&scene.source)).len(), 301);
}

#[tokio::test]
async fn folders_that_appear_are_watched_with_what_is_in_them_already() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    // The file is there before anybody could watch its folder.
    write(&scene.path("manifests/one/two/b.yaml"), &manifest("bb", ""));
    scene.until_services(&["aa", "bb"]).await;
    write(&scene.path("manifests/one/two/c.yaml"), &manifest("cc", ""));
    scene.until_services(&["aa", "bb", "cc"]).await;
    fs::rename(scene.path("manifests/one"), scene.path("elsewhere")).unwrap();
    scene.until_services(&["aa"]).await;
    write(&scene.path("elsewhere/two/d.yaml"), &manifest("dd", ""));
    assert!(!scene.has_heard(), "what moved away is watched no more");
    fs::rename(scene.path("elsewhere"), scene.path("manifests/three")).unwrap();
    scene.until_services(&["aa", "bb", "cc", "dd"]).await;
    fs::remove_dir_all(scene.path("manifests/three")).unwrap();
    scene.until_services(&["aa"]).await;
}

#[tokio::test]
async fn what_changes_between_the_load_and_the_watch_is_noticed() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    write(&scene.path("manifests/sub/b.yaml"), &manifest("bb", ""));
    scene.changed().await;
    let loaded = load(&scene.source);
    // Nobody watches `sub` yet.
    write(&scene.path("manifests/sub/b.yaml"), &manifest("cc", ""));
    scene.watcher.watch(&loaded.watched);
    scene.until_services(&["aa", "cc"]).await;
    // The same for a file that nobody looked at before, in a folder that is watched already.
    write(&scene.path("manifests/a.yaml"), &manifest("aa", "  envFrom: [{ file: my.env, optional: true }]\n"));
    scene.changed().await;
    let loaded = load(&scene.source);
    write(&scene.path("manifests/my.env"), "A=1\n");
    assert!(!scene.has_heard());
    scene.watcher.watch(&loaded.watched);
    let has_it = |loaded: &Loaded| {
        loaded.set.resources.values().any(|r| r.as_service().is_some_and(|s| !s.spec.container.env.is_empty()))
    };
    scene.until(has_it).await;
    // And for a folder that is another one under the same path.
    fs::remove_dir_all(&scene.source).unwrap();
    write(&scene.path("manifests/a.yaml"), &manifest("dd", ""));
    scene.changed().await;
    let loaded = load(&scene.source);
    write(&scene.path("manifests/a.yaml"), &manifest("ee", ""));
    scene.watcher.watch(&loaded.watched);
    scene.until_services(&["ee"]).await;
}

#[tokio::test]
async fn a_folder_that_vanishes_and_returns_is_noticed_each_time() {
    let mut scene = Scene::at("deep/er/manifests", &[("deep/er/manifests/a.yaml", &manifest("aa", ""))], |_| {}).await;
    for name in ["ab", "ac"] {
        fs::remove_dir_all(scene.path("deep")).unwrap();
        scene.until(|loaded| loaded.completeness == crate::source::Completeness::Missing).await;
        write(&scene.path("deep/er/manifests/a.yaml"), &manifest(name, ""));
        scene.until_services(&[name]).await;
    }
    // What is watched meanwhile may vanish, too.
    fs::remove_dir_all(&scene.source).unwrap();
    scene.until(|loaded| loaded.completeness == crate::source::Completeness::Missing).await;
    fs::remove_dir_all(scene.path("deep")).unwrap();
    assert!(scene.has_heard());
    scene.settle().await;
    write(&scene.path("deep/er/manifests/a.yaml"), &manifest("ac", ""));
    scene.until_services(&["ac"]).await;
    // Faster than anybody can look: the same path is another folder.
    fs::remove_dir_all(&scene.source).unwrap();
    write(&scene.path("deep/er/manifests/a.yaml"), &manifest("ad", ""));
    scene.until_services(&["ad"]).await;
    fs::rename(&scene.source, scene.path("old")).unwrap();
    write(&scene.path("deep/er/manifests/a.yaml"), &manifest("ae", ""));
    scene.until_services(&["ae"]).await;
    write(&scene.path("deep/er/manifests/a.yaml"), &manifest("af", ""));
    scene.until_services(&["af"]).await;
    write(&scene.path("old/a.yaml"), &manifest("xx", ""));
    assert!(!scene.has_heard(), "what moved away is watched no more");
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back_is_still_watched() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", "")), ("manifests/sub/b.yaml", "")]).await;
    fs::rename(scene.path("manifests/sub"), scene.path("away")).unwrap();
    fs::rename(scene.path("away"), scene.path("manifests/sub")).unwrap();
    assert!(scene.has_heard());
    scene.settle().await;
    write(&scene.path("manifests/sub/b.yaml"), &manifest("bb", ""));
    scene.until_services(&["aa", "bb"]).await;
    fs::set_permissions(&scene.source, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(scene.has_heard(), "the folder itself");
}

/// What is above the folder is not watched: the next regular load finds it, and watches it from then on.
#[tokio::test]
async fn a_folder_that_was_replaced_unseen_is_watched_after_the_next_load() {
    let files = [("deep/er/manifests/a.yaml", manifest("aa", ""))];
    let mut scene = Scene::at("deep/er/manifests", &files.each_ref().map(|(n, t)| (*n, t.as_str())), |_| {}).await;
    fs::rename(scene.path("deep"), scene.path("old")).unwrap();
    write(&scene.path("deep/er/manifests/a.yaml"), &manifest("ab", ""));
    scene.settle().await;
    write(&scene.path("deep/er/manifests/a.yaml"), &manifest("ac", ""));
    scene.until_services(&["ac"]).await;
}

#[tokio::test]
async fn a_link_on_the_way_may_be_replaced() {
    let one = manifest("one", "");
    let two = manifest("two", "");
    let files = [("releases/1/deploy/a.yaml", one.as_str()), ("releases/2/deploy/a.yaml", two.as_str())];
    let mut scene =
        Scene::at("current/deploy", &files, |dir| symlink("releases/1", dir.join("current")).unwrap()).await;
    for (release, name) in [("releases/2", "two"), ("releases/1", "one"), ("releases/2", "two")] {
        symlink(release, scene.path("next")).unwrap();
        fs::rename(scene.path("next"), scene.path("current")).unwrap();
        scene.until_services(&[name]).await;
    }
    write(&scene.path("releases/2/deploy/a.yaml"), &manifest("three", ""));
    scene.until_services(&["three"]).await;
}

/// As kubelet does: the files are links through `..data`, and only that link is ever replaced.
#[tokio::test]
async fn a_config_map_is_followed() {
    let mut scene = Scene::at("mounted", &[("mounted/..1/a.yaml", &manifest("one", ""))], |dir| {
        symlink("..1", dir.join("mounted/..data")).unwrap();
        symlink("..data/a.yaml", dir.join("mounted/a.yaml")).unwrap();
    })
    .await;
    write(&scene.path("mounted/..2/a.yaml"), &manifest("two", ""));
    symlink("..2", scene.path("mounted/..data_tmp")).unwrap();
    fs::rename(scene.path("mounted/..data_tmp"), scene.path("mounted/..data")).unwrap();
    scene.until_services(&["two"]).await;
}

#[tokio::test]
async fn links_are_watched_where_they_lead() {
    let mut scene = Scene::at(
        "manifests",
        &[("manifests/a.yaml", &manifest("aa", "")), ("far/b.txt", &manifest("bb", ""))],
        |dir| {
            symlink("../far/b.txt", dir.join("manifests/b.yaml")).unwrap();
            symlink("../more", dir.join("manifests/more")).unwrap();
        },
    )
    .await;
    write(&scene.path("far/b.txt"), &manifest("cc", ""));
    scene.until_services(&["aa", "cc"]).await;
    write(&scene.path("more/d.yaml"), &manifest("dd", ""));
    scene.until_services(&["aa", "cc", "dd"]).await;
    fs::remove_file(scene.path("manifests/more")).unwrap();
    scene.until_services(&["aa", "cc"]).await;
}

#[tokio::test]
async fn one_file_as_a_source_is_watched_alone() {
    let mut scene = Scene::at("a.yaml", &[("a.yaml", &manifest("aa", "")), ("b.yaml", "")], |_| {}).await;
    write(&scene.path("b.yaml"), "x");
    assert!(!scene.has_heard());
    write(&scene.path("a.yaml"), &manifest("ab", ""));
    scene.until_services(&["ab"]).await;
}

#[tokio::test]
async fn files_that_manifests_name_are_watched_even_before_they_are_there() {
    let spec = "  files: [{ target: /x, source: ../etc/deep/conf }]\n";
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", spec))]).await;
    write(&scene.path("etc/deep/conf"), "1");
    scene.until_services(&["aa"]).await;
    write(&scene.path("etc/deep/other"), "1");
    assert!(!scene.has_heard(), "its neighbours do not matter");
    fs::remove_file(scene.path("etc/deep/conf")).unwrap();
    scene.until_services(&[]).await;
}

#[tokio::test]
async fn events_that_the_system_dropped_count_as_a_change_of_everything() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    let event = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    scene.watcher.shared.heard(&event);
    assert!(scene.has_heard());
    scene.settle().await;
    write(&scene.path("manifests/a.yaml"), &manifest("ab", ""));
    scene.until_services(&["ab"]).await;
}

#[tokio::test]
async fn without_a_watch_of_the_system_nothing_fails() {
    let mut scene = Scene::with(&[("manifests/a.yaml", &manifest("aa", ""))]).await;
    let mut watched = load(&scene.source).watched;
    watched.walked(Path::new("/nowhere/at/all"));
    scene.watcher.watch(&watched);
    assert!(scene.has_heard(), "one more look");
    scene.changed().await;
    for _ in 0..3 {
        scene.watcher.watch(&watched);
        assert!(!scene.has_heard(), "a folder that is refused for good is not loaded for ever");
    }
}
