//! `docs/dependencies.md` has a row with a reason for every crate of `Cargo.toml`, and for no other.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

/// Names in every table of dependencies, wherever it stands.
fn dependencies(table: &DeTable<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (key, value) in table {
        let DeValue::Table(inner) = value.get_ref() else { continue };
        match &**key.get_ref() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                names.extend(inner.keys().map(|k| k.get_ref().to_string()));
            }
            // [target.'cfg(…)'.dependencies]
            _ => names.extend(dependencies(inner)),
        }
    }
    names
}

/// First and second cell of each row whose first cell is code.
fn rows(document: &str) -> Vec<(String, String)> {
    document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name.to_owned(), rest.split(" |").next().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn every_dependency_has_a_row_with_a_reason_and_every_row_a_dependency() {
    let manifest = DeTable::parse(include_str!("../Cargo.toml")).unwrap();
    let wanted = dependencies(manifest.get_ref());
    assert!(wanted.contains("bollard") && wanted.contains("insta"), "{wanted:?}");
    let rows = rows(include_str!("../docs/dependencies.md"));
    let documented: BTreeSet<_> = rows.iter().map(|(name, _)| name.clone()).collect();
    let lacking: Vec<_> = wanted.difference(&documented).collect();
    assert!(lacking.is_empty(), "docs/dependencies.md lacks {lacking:?}");
    let stale: Vec<_> = documented.difference(&wanted).collect();
    assert!(stale.is_empty(), "docs/dependencies.md names what Cargo.toml does not: {stale:?}");
    let unexplained: Vec<_> = rows.iter().filter(|(_, what)| what.trim().is_empty()).collect();
    assert!(unexplained.is_empty(), "no reason: {unexplained:?}");
}

#[test]
fn tables_of_a_target_count_too() {
    let text = "[dependencies]\na = \"1\"\n[target.'cfg(unix)'.dependencies]\nb = { version = \"1\" }\n";
    let names = dependencies(DeTable::parse(text).unwrap().get_ref());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}
