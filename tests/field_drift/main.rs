//! Every field of `spec`, changed on a real engine: what closes the difference, and that it is closed.
//!
//! The table of `docs/drift.md` is written from [`table`] (`UPDATE_DRIFT=1`), and a field of the JSON
//! Schema that the table lacks fails the test.

#[path = "../common/properties.rs"]
mod properties;
#[path = "../common/stack.rs"]
mod stack;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use env_manager::manifest::schema;
use serde_json::Value;

use properties::properties;
use stack::{Stack, docker, service, text};
use table::{Closed, OUTSIDE, Row};

const DOCUMENT: &str = "docs/drift.md";
const BEGIN: &str = "<!-- fields of spec: begin (written by tests/field_drift with UPDATE_DRIFT=1) -->\n";
const END: &str = "<!-- fields of spec: end -->\n";

fn word(closed: &BTreeSet<Closed>) -> &'static str {
    match closed.iter().copied().collect::<Vec<_>>()[..] {
        [Closed::InPlace] => "in place",
        [Closed::Replace] => "replace",
        [Closed::InPlace, Closed::Replace] => "in place or replace, as above",
        [Closed::Nothing] => "not in the container",
        [Closed::NotYet] => "not supported yet",
        _ => panic!("{closed:?}"),
    }
}

#[test]
fn the_document_says_of_every_field_of_spec_what_closes_a_difference() {
    let mut rows: BTreeMap<String, BTreeSet<Closed>> = BTreeMap::new();
    for row in table::all() {
        for path in row.paths {
            rows.entry(format!("spec.{path}")).or_default().insert(row.closed);
        }
    }
    let fields: BTreeSet<_> = properties(&schema()).into_iter().filter(|p| p.starts_with("spec.")).collect();
    let known: BTreeSet<_> = rows.keys().cloned().collect();
    let missing: Vec<_> = fields.difference(&known).collect();
    assert!(missing.is_empty(), "write a row, in tests/field_drift/table.rs, for {missing:#?}");
    let stale: Vec<_> = known.difference(&fields).collect();
    assert!(stale.is_empty(), "no such fields: {stale:#?}");

    let mut expected = "| field | closed by |\n|---|---|\n".to_owned();
    for path in rows.keys() {
        let within =
            |p: &String| p.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']));
        let mut closed: BTreeSet<_> = rows.iter().filter(|(p, _)| within(p)).flat_map(|(_, c)| c.clone()).collect();
        // Of what has parts, what can make a difference counts.
        for less in [Closed::NotYet, Closed::Nothing] {
            if closed.len() > 1 {
                closed.remove(&less);
            }
        }
        writeln!(expected, "| {path} | {} |", word(&closed)).unwrap();
    }
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (head, rest) = document.split_once(BEGIN).expect("the table has a beginning");
    let (found, tail) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("UPDATE_DRIFT").is_some() {
        return std::fs::write(DOCUMENT, format!("{head}{BEGIN}{expected}{END}{tail}")).unwrap();
    }
    assert_eq!(found, expected, "{DOCUMENT} is out of date; run this test with UPDATE_DRIFT=1");
}

/// A service that does nothing, with these lines of `spec`.
fn described(name: &str, lines: &str) -> String {
    let mut body = lines.to_owned();
    let mut default = |key: &str, line: &str, unless: &[&str]| {
        if !unless.iter().chain([&key]).any(|key| lines.contains(&format!("{key}:"))) {
            body.push('\n');
            body.push_str(line);
        }
    };
    default("image", &format!("image: {}", stack::engine::IMAGE), &[]);
    default("command", "command: [sleep, \"1000000\"]", &["entrypoint", "exec"]);
    default("stop", "stop: { gracePeriod: 1s }", &[]);
    // A network costs most of a start.
    default("networkMode", "networkMode: none", &["networks", "ports"]);
    service(name, &body)
}

/// The test's images, which nothing else removes.
struct Images(Vec<String>);

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.0 {
            let _ = std::process::Command::new("docker").args(["rmi", "-f", image]).output();
        }
    }
}

/// The images are removed after the containers.
fn world(test: &str, subnet: u8) -> (Images, Stack) {
    let stack = Stack::new(test);
    let images = Images([1, 2].map(|n| format!("{}:{n}", stack.name())).into());
    for image in &images.0 {
        docker(&["tag", stack::engine::IMAGE, image]);
    }
    for (file, text) in [("a.txt", "a"), ("b.txt", "b"), ("a.env", "A=1"), ("b.env", "A=2")] {
        stack.write(file, text);
    }
    let network = format!(
        "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: {{ name: net-a }}\nspec: {{ name: \"${{SCOPE}}-a\", \
         ipam: [{{ subnet: 10.213.{subnet}.0/24 }}] }}\n"
    );
    stack.write("net.yaml", &network);
    (images, stack)
}

/// Containers by service: the name may change.
fn ids(stack: &Stack) -> BTreeMap<String, String> {
    let label = format!("label=dev.env-manager.stack={}", stack.name());
    let format = "{{.Label \"dev.env-manager.service\"}} {{.ID}}";
    let listed = docker(&["ps", "-a", "--no-trunc", "--filter", &label, "--format", format]);
    listed.lines().filter_map(|l| l.split_once(' ')).map(|(s, id)| (s.to_owned(), id.to_owned())).collect()
}

/// What a plan has of each service: action and fields.
fn changes(plan: &stack::Ran) -> BTreeMap<String, (String, Vec<Value>)> {
    let json = plan.json();
    let of = |r: &Value| (text(&r["name"]), (text(&r["action"]), r["fields"].as_array().cloned().unwrap_or_default()));
    json["resources"].as_array().into_iter().flatten().filter(|r| r["kind"] == "service").map(of).collect()
}

fn check(found: Option<&(String, Vec<Value>)>, closed: Closed) -> Result<(), String> {
    let (action, fields) = found.map_or(("nothing", &[][..]), |(action, fields)| (action.as_str(), fields));
    let in_place = fields.iter().map(|f| f["inPlace"] == true);
    let right = match closed {
        Closed::InPlace => action == "update" && in_place.clone().all(|is| is) && !fields.is_empty(),
        Closed::Replace => action == "replace" && in_place.clone().any(|is| !is),
        // `state: Stopped` stops it.
        Closed::Nothing => fields.is_empty() && matches!(action, "nothing" | "stop"),
        Closed::NotYet => true,
    };
    if right { Ok(()) } else { Err(format!("{action} of {fields:?}, and not {closed:?}")) }
}

/// As many services as rows; each is changed by its row, planned, and carried out.
fn each_is_closed(test: &str, subnet: u8, rows: &[Row]) {
    let (_images, stack) = world(test, subnet);
    let rows: Vec<_> = rows.iter().filter(|r| r.closed != Closed::NotYet).enumerate().collect();
    let describe = |n: usize, lines: &str| stack.write(&format!("f{n}.yaml"), &described(&format!("f{n}"), lines));
    for (n, row) in &rows {
        describe(*n, &row.was);
    }
    stack.apply().exits(0);
    let before = ids(&stack);
    assert_eq!(before.len(), rows.len());

    for (n, row) in &rows {
        describe(*n, &row.now);
    }
    let plan = stack.plan().exits(2);
    let mut wrong = Vec::new();
    let planned = changes(&plan);
    for (n, row) in &rows {
        if let Err(why) = check(planned.get(&format!("f{n}")), row.closed) {
            wrong.push(format!("{:?}, planned: {why}", row.paths));
        }
        if !row.applied {
            describe(*n, &row.was);
        }
    }
    assert!(wrong.is_empty(), "{}\n{plan}", wrong.join("\n"));

    stack.apply().exits(0);
    let after = ids(&stack);
    for (n, row) in &rows {
        let name = format!("f{n}");
        let replaced = row.applied && row.closed == Closed::Replace;
        if !after.contains_key(&name) || (before[&name] != after[&name]) != replaced {
            wrong.push(format!("{:?}: {} and then {:?}", row.paths, before[&name], after.get(&name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let plan = stack.plan().exits(0);
    assert_eq!(plan.json()["changes"], false, "{plan}");
}

#[test]
fn p10_fields_of_the_process_are_closed_by_the_smallest_change() {
    each_is_closed("fields-process", 8, &table::process());
}

#[test]
fn p10_fields_of_data_and_networks_are_closed_by_the_smallest_change() {
    each_is_closed("fields-data", 9, &table::data_and_networks());
}

#[test]
fn p10_limits_and_isolation_are_closed_by_the_smallest_change() {
    each_is_closed("fields-limits", 10, &table::limits_and_isolation());
}

#[test]
fn p10_how_a_service_is_treated_changes_no_container() {
    each_is_closed("fields-treatment", 11, &table::treatment());
}

/// By every means that Docker has for it, all at once and each in a service of its own.
#[test]
fn p10_what_docker_changes_behind_its_back_is_put_back_by_the_smallest_change() {
    let (_images, stack) = world("fields-outside", 12);
    for (n, outside) in OUTSIDE.iter().enumerate() {
        stack.write(&format!("f{n}.yaml"), &described(&format!("f{n}"), outside.spec));
    }
    stack.apply().exits(0);
    let before = ids(&stack);
    for (n, outside) in OUTSIDE.iter().enumerate() {
        let container = stack.container(&format!("f{n}"));
        for command in outside.commands {
            let words: Vec<_> =
                command.iter().map(|w| w.replace("{}", &container).replace("SCOPE", stack.name())).collect();
            docker(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    let plan = stack.plan().exits(2);
    let planned = changes(&plan);
    for (n, outside) in OUTSIDE.iter().enumerate() {
        let found = planned.get(&format!("f{n}"));
        check(found, outside.closed).unwrap_or_else(|why| panic!("{}: {why}\n{plan}", outside.field));
        let field = outside.field.replace("SCOPE", stack.name());
        let told = found.unwrap().1.iter().find(|f| f["field"] == field.as_str());
        let cause = if field == "image" { "the tag points at another image" } else { "changed outside env-manager" };
        assert_eq!(told.map(|f| text(&f["cause"])).as_deref(), Some(cause), "{field}: {plan}");
    }
    stack.apply().exits(0);
    let after = ids(&stack);
    for (n, outside) in OUTSIDE.iter().enumerate() {
        let name = format!("f{n}");
        assert_eq!(before[&name] != after[&name], outside.closed == Closed::Replace, "{}", outside.field);
    }
    assert_eq!(stack.plan().exits(0).json()["changes"], false);
}
