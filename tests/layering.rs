//! Layers: who may import whom (`docs`: architecture). Reads the source, not the build: every path that
//! begins with `crate::` or `super::`, in `use`, inline, and in macros.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// What a module is, by its path below `src`; the longest match counts.
struct Unit {
    module: &'static str,
    may_import: &'static [&'static str],
    /// Types and pure functions: no async, no tokio, no files, processes or environment.
    pure: bool,
}

const fn pure(module: &'static str, may_import: &'static [&'static str]) -> Unit {
    Unit { module, may_import, pure: true }
}

const fn shell(module: &'static str, may_import: &'static [&'static str]) -> Unit {
    Unit { module, may_import, pure: false }
}

const WORDS: &[&str] = &["resource", "backoff", "clock"];

/// All below the faces.
const DAEMON: &[&str] = &[
    "resource",
    "backoff",
    "clock",
    "plan",
    "report",
    "happenings",
    "store",
    "queue",
    "manifest",
    "config",
    "engine",
    "source",
    "state",
    "lease",
    "history",
    "metrics",
    "controller",
];

/// The table. `WORDS` may be imported by all but the words themselves.
const UNITS: &[Unit] = &[
    // Words.
    pure("clock", &[]),
    pure("address", &[]),
    pure("backoff", &[]),
    pure("resource", &["clock"]),
    // Pure, but for the waiting in `queue` and `store`.
    pure("plan", WORDS),
    pure("report", WORDS),
    pure("happenings", &["resource", "backoff", "clock", "plan"]),
    shell("store", WORDS),
    shell("queue", WORDS),
    pure("manifest", WORDS),
    pure("tasks::settings", &["address", "backoff"]),
    pure("config", &["address", "resource", "backoff", "clock", "manifest", "config::load", "tasks::settings"]),
    // Shell.
    shell("config::load", &["resource", "config", "manifest"]),
    shell("engine", &["resource", "backoff", "clock", "engine::docker"]),
    shell("engine::docker", &["resource", "backoff", "clock", "engine"]),
    shell("engine::sim", &["resource", "backoff", "clock", "engine", "engine::docker"]),
    shell("execute", &["resource", "backoff", "clock", "plan", "engine"]),
    shell("images", &["resource", "backoff", "clock", "plan", "engine"]),
    shell("probe", &["resource", "backoff", "clock", "engine"]),
    shell("source", &["resource", "backoff", "clock", "manifest"]),
    shell("state", &["resource", "backoff", "clock"]),
    shell("lease", &["resource", "backoff", "clock", "engine"]),
    shell("proto", &[]),
    shell("net", &[]),
    shell("history", WORDS),
    // The task queue: nothing of the reconciler.
    pure("tasks::task", &["clock", "tasks::settings"]),
    shell("tasks", &["backoff", "clock", "proto", "net", "metrics", "tasks::settings", "tasks::task"]),
    shell("metrics", &["resource", "backoff", "clock", "store", "queue", "report", "engine", "engine::docker"]),
    // The loop: the only place that knows both sides.
    shell(
        "controller",
        &[
            "resource",
            "backoff",
            "clock",
            "plan",
            "happenings",
            "store",
            "queue",
            "manifest",
            "config",
            "config::load",
            "engine",
            "engine::docker",
            "execute",
            "images",
            "probe",
            "source",
            "state",
            "lease",
            "history",
            "metrics",
        ],
    ),
    shell("daemon", DAEMON),
    // Faces.
    shell(
        "grpc",
        &[
            "address", "resource", "backoff", "clock", "plan", "report", "store", "queue", "manifest", "engine",
            "proto", "history", "metrics", "net", "daemon",
        ],
    ),
    shell("http", &["resource", "report", "queue", "metrics", "net", "daemon"]),
    shell(
        "cli",
        &[
            "address",
            "resource",
            "backoff",
            "clock",
            "plan",
            "store",
            "manifest",
            "config",
            "config::load",
            "engine",
            "engine::docker",
            "source",
            "state",
            "lease",
            "controller",
            "report",
            "proto",
            "history",
            "metrics",
            "net",
            "daemon",
            "grpc",
            "http",
            "tasks",
            "tasks::settings",
        ],
    ),
];

/// Modules that pure code must not name.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "net", "TcpStream"],
];

/// One path that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// `src/plan/service.rs`
    file: String,
    /// The module that it stands in: `plan::service`.
    module: Vec<String>,
    /// Complete and absolute for our own (`crate`, `engine`, …), as written for others (`tokio`, `sync`, …).
    path: Vec<String>,
}

#[derive(Default)]
struct Walk {
    root: PathBuf,
    found: Vec<Found>,
    asynchronous: Vec<(String, Vec<String>)>,
    /// Files that were reached, tests among them.
    files: BTreeSet<PathBuf>,
    file: String,
    module: Vec<String>,
}

impl Walk {
    fn of_crate() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut walk = Self { root: root.clone(), ..Self::default() };
        walk.read(&root.join("lib.rs"), &[]);
        walk
    }

    fn of_text(module: &[&str], text: &str) -> Self {
        let mut walk = Self { module: module.iter().map(|m| (*m).to_owned()).collect(), ..Self::default() };
        walk.visit_file(&syn::parse_file(text).expect("the test's own text"));
        walk
    }

    fn read(&mut self, file: &Path, module: &[String]) {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let shown = format!("src/{}", file.strip_prefix(&self.root).unwrap().display());
        let before = (std::mem::replace(&mut self.file, shown), std::mem::replace(&mut self.module, module.to_vec()));
        self.files.insert(file.to_owned());
        self.visit_file(&parsed);
        (self.file, self.module) = before;
    }

    /// Where `mod name;` of the current module is kept.
    fn file_of(&self, name: &str) -> PathBuf {
        let folder = self.module.iter().fold(self.root.clone(), |p, m| p.join(m));
        [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")]
            .into_iter()
            .find(|p| p.exists())
            .unwrap_or_else(|| panic!("{}: no file for `mod {name}`", self.file))
    }

    /// Tests may use what they like; that they exist is noted.
    fn skip(&mut self, name: &str) {
        let file = self.file_of(name);
        let folder = file.with_file_name(if file.ends_with("mod.rs") { "" } else { name });
        self.files.insert(file);
        self.skip_folder(&folder);
    }

    fn skip_folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.skip_folder(&path);
            } else {
                self.files.insert(path);
            }
        }
    }

    fn note(&mut self, segments: &[String]) {
        let path = match segments.first().map(String::as_str) {
            Some("super") => {
                let ups = segments.iter().take_while(|s| *s == "super").count();
                let base = self.module.len().saturating_sub(ups);
                let up = self.module[..base].iter().cloned();
                ["crate".to_owned()].into_iter().chain(up).chain(segments[ups..].iter().cloned()).collect()
            }
            Some(_) => segments.to_vec(),
            None => return,
        };
        self.found.push(Found { file: self.file.clone(), module: self.module.clone(), path });
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|t| self.use_tree(t, before)),
        }
    }

    /// Macros are only tokens: every run of words with `::` between them is a path.
    fn tokens(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_word = |w: &str| w.chars().all(|c| c.is_alphanumeric() || c == '_') && !w.is_empty();
        let mut i = 0;
        while i < words.len() {
            let mut path = Vec::new();
            while i < words.len() && is_word(words[i]) {
                path.push(words[i].to_owned());
                if words.get(i + 1) != Some(&"::") {
                    break;
                }
                i += 2;
            }
            if path.len() > 1 {
                self.note(&path);
            }
            i += 1;
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("test")
            || (a.path().is_ident("cfg") && a.parse_args::<syn::Path>().is_ok_and(|p| p.is_ident("test")))
    })
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if is_test(&item.attrs) {
            if item.content.is_none() {
                self.skip(&name);
            }
            return;
        }
        let inner: Vec<String> = self.module.iter().cloned().chain([name.clone()]).collect();
        if item.content.is_some() {
            let before = std::mem::replace(&mut self.module, inner);
            visit::visit_item_mod(self, item);
            self.module = before;
        } else if !self.root.as_os_str().is_empty() {
            self.read(&self.file_of(&name), &inner);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_test(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.use_tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if segments.len() > 1 {
            self.note(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.asyncness.is_some() {
            self.asynchronous.push((self.file.clone(), self.module.clone()));
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expr: &'ast syn::ExprAsync) {
        self.asynchronous.push((self.file.clone(), self.module.clone()));
        visit::visit_expr_async(self, expr);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(&mac.tokens.to_string());
        visit::visit_macro(self, mac);
    }
}

/// The unit that a module path belongs to.
fn unit(path: &[String]) -> Option<&'static Unit> {
    (1..=path.len()).rev().find_map(|n| {
        let name = path[..n].join("::");
        UNITS.iter().find(|u| u.module == name)
    })
}

/// What breaks the table; nothing where all is well.
fn violations(walk: &Walk) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for Found { file, module, path } in &walk.found {
        // `lib.rs` is the map: it names everything.
        let Some(from) = unit(module) else { continue };
        if path[0] == "crate" {
            match unit(&path[1..]) {
                None => {
                    wrong.insert(format!("{file}: {} is in no layer", path.join("::")));
                }
                Some(to) if to.module != from.module && !from.may_import.contains(&to.module) => {
                    wrong.insert(format!("{file}: {} may not import {} ({})", from.module, to.module, path.join("::")));
                }
                Some(_) => {}
            }
        }
        let names = |what: &[&str]| path.iter().zip(what).filter(|(a, b)| a == *b).count() == what.len();
        if from.pure && IMPURE.iter().any(|what| names(what)) {
            wrong.insert(format!("{file}: {} is pure and names {}", from.module, path.join("::")));
        }
        // The simulated engine holds what a real one would say, in the same types.
        if path[0] == "bollard" && !matches!(from.module, "engine::docker" | "engine::sim") {
            wrong.insert(format!("{file}: only engine::docker and its double may name bollard"));
        }
    }
    for (file, module) in &walk.asynchronous {
        if let Some(from) = unit(module).filter(|u| u.pure) {
            wrong.insert(format!("{file}: {} is pure and has async code", from.module));
        }
    }
    wrong.into_iter().collect()
}

#[test]
fn every_import_is_an_allowed_edge() {
    let walk = Walk::of_crate();
    let wrong = violations(&walk);
    assert!(walk.found.len() > 500, "only {} paths were found: is the walk still one?", walk.found.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer_and_every_layer_a_module() {
    let lib = syn::parse_file(&fs::read_to_string(Walk::of_crate().root.join("lib.rs")).unwrap()).unwrap();
    let modules: BTreeSet<String> = lib
        .items
        .iter()
        .filter_map(|i| match i {
            syn::Item::Mod(m) => Some(m.ident.to_string()),
            _ => None,
        })
        .collect();
    let known: BTreeSet<String> =
        UNITS.iter().filter(|u| !u.module.contains("::")).map(|u| u.module.to_owned()).collect();
    assert_eq!(modules, known, "modules of lib.rs and units of the table");
    for Unit { module, may_import, .. } in UNITS {
        let unknown: Vec<_> = may_import.iter().filter(|m| !UNITS.iter().any(|u| u.module == **m)).collect();
        assert!(unknown.is_empty(), "{module} may import what is no unit: {unknown:?}");
    }
}

#[test]
fn layers_have_no_cycle() {
    // A module and its own parts may know each other.
    let top = |m: &str| m.split("::").next().unwrap_or_default().to_owned();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for unit in UNITS {
        let to = unit.may_import.iter().map(|m| top(m)).filter(|m| *m != top(unit.module));
        edges.entry(top(unit.module)).or_default().extend(to);
    }
    while let Some(leaf) = edges.iter().find(|(_, to)| to.is_empty()).map(|(m, _)| m.clone()) {
        edges.remove(&leaf);
        for to in edges.values_mut() {
            to.remove(&leaf);
        }
    }
    assert!(edges.is_empty(), "in a circle: {edges:?}");
}

#[test]
fn no_file_is_beside_the_module_tree() {
    let walk = Walk::of_crate();
    let mut all = Walk { root: walk.root.clone(), ..Walk::default() };
    all.skip_folder(&walk.root);
    let main = walk.root.join("main.rs");
    let lost: Vec<_> = all.files.iter().filter(|f| **f != main && f.extension().is_some_and(|e| e == "rs")).collect();
    let lost: Vec<_> = lost.into_iter().filter(|f| !walk.files.contains(*f)).collect();
    assert!(lost.is_empty(), "no module has these files: {lost:?}");
}

#[test]
fn main_knows_the_command_line_alone() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    let walk = Walk::of_text(&[], &text);
    let ours: BTreeSet<_> = walk.found.iter().filter(|f| f.path[0] == "env_manager").map(|f| &f.path[1]).collect();
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), ["cli"]);
}

/// The walk itself: each text breaks the table in its own way.
#[test]
fn forbidden_edges_are_found_wherever_they_hide() {
    for (module, text) in [
        (&["plan"][..], "use crate::engine::Engine;"),
        (&["plan"], "use crate::{resource::Kind, engine::{self, Engine}};"),
        (&["plan", "service"], "fn f() { let _ = super::super::engine::info(); }"),
        (&["plan"], "fn f(e: &crate::engine::EngineError) {}"),
        (&["plan"], "fn f() { println!(\"{}\", crate::engine::name()); }"),
        (&["plan"], "mod inner { use super::super::engine; }"),
        (&["plan"], "pub use crate::nowhere::Thing;"),
        (&["plan"], "async fn f() {}"),
        (&["plan"], "fn f() { let _ = async {}; }"),
        (&["manifest"], "use tokio::sync::watch;"),
        (&["manifest"], "fn f() { let _ = std::fs::read(\"x\"); }"),
        (&["config", "merge"], "use std::{collections::BTreeMap, env};"),
        (&["engine"], "use bollard::Docker;"),
        (&["engine", "docker"], "use crate::controller::Handle;"),
        (&["resource", "status"], "use crate::plan::Plan;"),
        (&["execute"], "use crate::engine::docker::Docker;"),
    ] {
        assert!(!violations(&Walk::of_text(module, text)).is_empty(), "not found: {text}");
    }
    for (module, text) in [
        (&["plan", "service"][..], "use super::super::resource::Kind; use super::types::Plan;"),
        (&["engine", "docker"], "use bollard::Docker; use super::Engine;"),
        (&["plan"], "#[cfg(test)] mod tests { use crate::engine::Engine; }"),
        (&["queue"], "use tokio::sync::Notify; async fn f() {}"),
    ] {
        assert_eq!(violations(&Walk::of_text(module, text)), Vec::<String>::new(), "{text}");
    }
}
