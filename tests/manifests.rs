//! The manifests of this repository, and fixtures of good and bad ones, read from disk as a user's are.

use std::path::Path;

use env_manager::manifest::{Defaults, render};
use env_manager::source::{LoadContext, Loaded, dir};

fn load(path: impl AsRef<Path>) -> Loaded {
    let context = LoadContext {
        stack: "default",
        defaults: Defaults::default(),
        overrides: &[],
        variables: &|_| None,
        host: "test",
    };
    dir::load(path.as_ref(), &context)
}

#[test]
fn the_nine_services_are_sound() {
    let loaded = load("manifests");
    assert_eq!(render(&loaded.findings, false), "");
    assert!(loaded.read_whole() && !loaded.set.has_errors);
    let keys: Vec<String> = loaded.set.resources.keys().map(ToString::to_string).collect();
    insta::assert_snapshot!(keys.join("\n"));
    assert_eq!(loaded.notes, Vec::<String>::new());
}
