//! `docs/promises.md` has a row for every promise, each with a mutant (`tests/mutants`) and the test that catches
//! it; `make mutants` shows that it does. UPDATE_PROMISES=1 writes the table.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use syn::visit::{self, Visit};

const PROMISES: [(&str, &str); 20] = [
    ("P1", "Level-triggered: nothing depends on having seen an event"),
    ("P2", "One at a time per resource"),
    ("P3", "Idempotent: what has converged plans to nothing"),
    ("P4", "Only what it owns"),
    ("P5", "A bad manifest deletes nothing"),
    ("P6", "An empty, missing or unreadable source prunes nothing"),
    ("P7", "Volumes are data"),
    ("P8", "Order: dependencies first, removal in reverse"),
    ("P9", "Updates never leave less than before"),
    ("P10", "Smallest change"),
    ("P11", "Crash-safe"),
    ("P12", "Engine outages are weather"),
    ("P13", "No hot loops"),
    ("P14", "Status tells the truth"),
    ("P15", "Secrets stay secret"),
    ("P16", "No one gets in"),
    ("P17", "Foreign containers first"),
    ("P18", "Upgrades change nothing"),
    ("P19", "Suspension is respected"),
    ("P20", "Tasks are not lost"),
];

struct Mutant {
    file: String,
    promise: String,
    breaks: String,
    test: String,
}

fn mutants() -> Vec<Mutant> {
    let mut paths: Vec<_> = std::fs::read_dir("tests/mutants").unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "patch"));
    paths.sort();
    let of = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{}: no `{name}:`", path.display())).to_owned()
        };
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        Mutant { file, promise: field("Promise"), breaks: field("Breaks"), test: field("Test") }
    };
    paths.iter().map(|p| of(p)).collect()
}

/// The names of all test functions below `src` and `tests`, and of those with a module the path in the library.
#[derive(Default)]
struct Tests {
    module: Vec<String>,
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.names
            .insert(self.module.iter().chain([&item.sig.ident.to_string()]).cloned().collect::<Vec<_>>().join("::"));
    }

    // `proptest! { … }`
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let words: Vec<String> = item.tokens.clone().into_iter().map(|t| t.to_string()).collect();
        for pair in words.windows(2).filter(|pair| pair[0] == "fn") {
            self.names.insert(self.module.iter().chain([&pair[1]]).cloned().collect::<Vec<_>>().join("::"));
        }
    }
}

/// By their paths in the library, or after the name of the binary.
fn tests() -> BTreeSet<String> {
    fn walk(folder: &Path, tests: &mut Tests) {
        for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                tests.module.push(stem);
                walk(&path, tests);
                tests.module.pop();
            } else if path.extension().is_some_and(|e| e == "rs") {
                let is_folder = stem == "mod" || stem == "lib" || stem == "main";
                tests.module.extend((!is_folder).then(|| stem.clone()));
                let text = std::fs::read_to_string(&path).unwrap();
                tests.visit_file(&syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
                if !is_folder {
                    tests.module.pop();
                }
            }
        }
    }
    let mut tests = Tests::default();
    walk(Path::new("src"), &mut tests);
    walk(Path::new("tests"), &mut tests);
    tests.names
}

#[test]
fn every_promise_has_a_test_and_a_mutant_and_the_test_is_there() {
    let (mutants, tests) = (mutants(), tests());
    for (promise, _) in PROMISES {
        let prefix = format!("p{:02}_", promise[1..].parse::<u8>().unwrap());
        let bears = |name: &String| name.rsplit("::").next().is_some_and(|n| n.starts_with(&prefix));
        assert!(tests.iter().any(bears), "{promise} has no test {prefix}…");
        assert!(mutants.iter().any(|m| m.promise == promise), "{promise} has no mutant");
    }
    for Mutant { file, promise, breaks, test } in &mutants {
        assert!(PROMISES.iter().any(|(p, _)| p == promise), "{file}: there is no {promise}");
        assert!(tests.contains(test), "{file}: there is no test {test}");
        let number = promise[1..].parse::<u8>().unwrap();
        assert!(test.contains(&format!("::p{number:02}_")), "{file}: {test} does not stand for {promise}");
        assert!(file.starts_with(&format!("p{number:02}-")), "{file} is named after another promise than {promise}");
        assert!(!breaks.contains('|') && !breaks.ends_with('.'), "{file}: {breaks}");
    }
}

/// Whoever changes what a mutant breaks makes the patch anew.
#[test]
fn every_mutant_applies_to_the_sources() {
    for Mutant { file, .. } in mutants() {
        let path = format!("tests/mutants/{file}");
        // `--dry-run` writes nothing; where git says that a file was changed is no matter.
        let done = Command::new("git").args(["apply", "--check", &path]).output().expect("git is there");
        assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn the_document_lists_every_mutant() {
    const BEGIN: &str = "<!-- From here on written by tests/promises.rs (UPDATE_PROMISES=1). -->\n\n";
    let path = "docs/promises.md";
    let text = std::fs::read_to_string(path).unwrap();
    let (by_hand, table) = text.split_once(BEGIN).expect("the marker");
    let mut expected = "| promise | test | mutant |\n|---|---|---|\n".to_owned();
    let all = mutants();
    for (promise, title) in PROMISES {
        for (n, Mutant { file, breaks, test, .. }) in all.iter().filter(|m| m.promise == promise).enumerate() {
            let first = if n == 0 { format!("**{promise}** {title}") } else { String::new() };
            expected.push_str(&format!("| {first} | `{test}` | {breaks} ([patch](../tests/mutants/{file})) |\n"));
        }
    }
    if std::env::var_os("UPDATE_PROMISES").is_some() {
        std::fs::write(path, format!("{by_hand}{BEGIN}{expected}")).unwrap();
        return;
    }
    assert!(table == expected, "{path} is out of date; run this test with UPDATE_PROMISES=1");
}
