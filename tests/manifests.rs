//! The manifests of this repository, and fixtures of good and bad ones, read from disk as a user's are.

#[path = "manifests/json_schema.rs"]
mod json_schema;
#[path = "manifests/reference.rs"]
mod reference;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use env_manager::manifest::{self, Defaults, render};
use env_manager::resource::desired::DesiredSpec;
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

/// Every folder under `bad` with the findings that it must give, all of them, as people read them.
#[test]
fn every_bad_set_is_reported_with_its_places() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("manifests/bad");
    settings.set_omit_expression(true);
    let here = Path::new("tests/manifests/bad");
    let mut sets: Vec<_> = std::fs::read_dir(here).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    sets.sort();
    assert!(sets.len() >= 15, "the fixtures are there");
    let here = format!("{}/", std::env::current_dir().unwrap().display());
    for set in sets {
        let loaded = load(&set);
        assert!(loaded.set.has_errors, "{}", set.display());
        let frozen: Vec<String> = loaded.set.invalid.keys().map(ToString::to_string).collect();
        let applied: Vec<String> = loaded.set.resources.keys().map(ToString::to_string).collect();
        let text = format!(
            "{}\n\nfrozen: {}\napplied: {}\n",
            render(&loaded.findings, false).replace(&here, ""),
            frozen.join(", "),
            applied.join(", ")
        );
        let name = set.file_name().unwrap().to_string_lossy().into_owned();
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn the_committed_schema_is_that_of_the_code() {
    let path = "manifests/schema.json";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, manifest::schema_text()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == manifest::schema_text(), "{path} is out of date; run this test with UPDATE_SCHEMA=1");
}

#[test]
fn every_manifest_names_the_schema_and_keeps_to_it() {
    let schema = manifest::schema();
    for file in yaml_files("manifests").into_iter().chain(yaml_files("tests/manifests/good/every-field")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let named = text.lines().next().and_then(|l| l.strip_prefix("# yaml-language-server: $schema="));
        let named = named.unwrap_or_else(|| panic!("{} names no schema", file.display()));
        assert!(file.parent().unwrap().join(named).exists(), "{}: {named}", file.display());
        for document in json_schema::documents(&text) {
            assert_eq!(json_schema::violations(&schema, &document), Vec::<String>::new(), "{}", file.display());
        }
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let schema = manifest::schema();
    let base = "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: web }\n";
    for spec in [
        "spec: { imagge: a }",
        "spec: { image: [a] }",
        "spec: { image: a, pullPolicy: Sometimes }",
        "spec: { image: a, ports: 80 }",
        "spec: { image: a, ports: [{ hostPort: 1, contaierPort: 1 }] }",
        "spec: { image: a, probes: { startup: { htpp: {} } } }",
        "spec: { image: a, resources: { memory: lots } }",
        "spec: { image: a, required: 3 }",
        "spec: { image: a, probes: { startup: { tcp: { port: 70000 } } } }",
        "sepc: {}",
    ] {
        let document = json_schema::documents(&format!("{base}{spec}\n")).remove(0);
        assert!(!json_schema::violations(&schema, &document).is_empty(), "{spec}");
    }
    let good = json_schema::documents(&format!(
        "{base}spec: {{ image: a, required: '${{R}}', state: '${{S}}', resources: {{ memory: '${{M}}' }} }}\n"
    ));
    assert_eq!(json_schema::violations(&schema, &good[0]), Vec::<String>::new());
}

/// One fixture sets every field that there is, so that a new one cannot be forgotten in it.
#[test]
fn the_fixture_of_every_field_is_complete_and_sound() {
    let schema = manifest::schema();
    let mut used = BTreeSet::new();
    for file in yaml_files("tests/manifests/good/every-field") {
        for document in json_schema::documents(&std::fs::read_to_string(&file).unwrap()) {
            json_schema::used_properties(&schema, &document, &mut used);
        }
    }
    // What is not yet supported cannot stand in a sound manifest.
    let later: BTreeSet<String> = [
        "File.onChange.signal",
        "OnChange.signal",
        "Secret.fromSecret",
        "SecretFile.fromSecret",
        "SecretRef.file",
        "SecretRef.key",
    ]
    .map(str::to_owned)
    .into();
    let missing: Vec<String> =
        json_schema::all_properties(&schema).into_iter().filter(|p| !used.contains(p) && !later.contains(p)).collect();
    assert_eq!(missing, Vec::<String>::new());

    let context = LoadContext {
        stack: "default",
        defaults: Defaults::default(),
        overrides: &[],
        variables: &|name| (name == "EVERY_FIELD_TOKEN").then(|| "hunter2".to_owned()),
        host: "test",
    };
    let loaded = dir::load(Path::new("tests/manifests/good/every-field"), &context);
    assert_eq!(render(&loaded.findings, false), "");
    let here = std::env::current_dir().unwrap().display().to_string();
    let specs: Vec<String> = loaded
        .set
        .resources
        .iter()
        .map(|(key, spec)| {
            let spec = match spec {
                DesiredSpec::Service(service) => serde_json::to_value(&service.spec),
                DesiredSpec::Network(network) => serde_json::to_value(&**network),
                DesiredSpec::Volume(volume) => serde_json::to_value(&**volume),
            };
            format!("{key}: {:#}", spec.unwrap()).replace(&here, "HERE")
        })
        .collect();
    insta::assert_snapshot!(specs.join("\n"));
}

#[test]
fn the_reference_says_what_the_schema_says() {
    const BEGIN: &str = "<!-- From here on written by tests/manifests.rs (UPDATE_SCHEMA=1). -->\n\n";
    let path = "docs/manifests.md";
    let text = std::fs::read_to_string(path).unwrap();
    let (by_hand, tables) = text.split_once(BEGIN).expect("the marker");
    let expected = reference::tables(&manifest::schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, format!("{by_hand}{BEGIN}{expected}")).unwrap();
        return;
    }
    assert!(tables == expected, "{path} is out of date; run this test with UPDATE_SCHEMA=1");
}

/// Every complete manifest in the document is sound; a fragment begins otherwise.
#[test]
fn the_examples_of_the_reference_are_sound() {
    let text = std::fs::read_to_string("docs/manifests.md").unwrap();
    let examples: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|t| t.split("```").next()).collect();
    let whole: Vec<&str> = examples.into_iter().filter(|e| e.contains("apiVersion:")).collect();
    assert!(whole.len() >= 2);
    for example in whole {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), example).unwrap();
        std::fs::write(dir.path().join("app.conf"), "x").unwrap();
        let loaded = load(dir.path());
        assert_eq!(render(&loaded.findings, false), "", "{example}");
    }
}
