//! As much of JSON Schema as the manifests' schema uses, to check documents and to walk its properties.

use std::collections::BTreeSet;

use serde_json::Value;

/// The documents of a file as JSON.
pub fn documents(text: &str) -> Vec<Value> {
    serde_yaml::from_multiple::<Value>(text).unwrap()
}

fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let name = reference.strip_prefix("#/definitions/").unwrap();
            &root["definitions"][name]
        }
        None => schema,
    }
}

/// What is wrong with the document, each with its path.
pub fn violations(root: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(root, root, document, "", &mut found);
    found
}

fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    check(root, schema, value, "", &mut found);
    found.is_empty()
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            found.push(format!("{path}: not allowed"));
        }
        return;
    };
    let mut fail = |why: &str| found.push(format!("{path}: {why}"));
    for (rule, what) in rules {
        match rule.as_str() {
            "type" => {
                let types: Vec<&str> = what
                    .as_array()
                    .map_or_else(|| vec![what.as_str().unwrap()], |a| a.iter().filter_map(Value::as_str).collect());
                if !types.iter().any(|t| is_type(value, t)) {
                    fail(&format!("not of type {types:?}"));
                }
            }
            "const" if what != value => fail("not the one value"),
            "enum" if !what.as_array().unwrap().contains(value) => fail("not one of the words"),
            "minimum" if value.as_f64().is_some_and(|v| v < what.as_f64().unwrap()) => fail("too small"),
            "maximum" if value.as_f64().is_some_and(|v| v > what.as_f64().unwrap()) => fail("too large"),
            "pattern" if value.as_str().is_some_and(|v| !matches(what.as_str().unwrap(), v)) => {
                fail("not of the pattern");
            }
            "minLength" if value.as_str().is_some_and(str::is_empty) => fail("empty"),
            "required" if value.is_object() => {
                for name in what.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        fail(&format!("{name} is missing"));
                    }
                }
            }
            "const"
            | "enum"
            | "minimum"
            | "maximum"
            | "pattern"
            | "minLength"
            | "required"
            | "properties"
            | "items"
            | "additionalProperties"
            | "anyOf"
            | "allOf"
            | "if"
            | "then"
            | "$ref"
            | "$schema"
            | "title"
            | "description"
            | "definitions"
            | "default"
            | "format" => {}
            other => panic!("the checker does not know `{other}`"),
        }
    }
    if rules.contains_key("$ref") {
        check(root, resolve(root, schema), value, path, found);
    }
    if let Some(options) = rules.get("anyOf").and_then(Value::as_array)
        && !options.iter().any(|o| holds(root, o, value))
    {
        found.push(format!("{path}: none of the alternatives"));
    }
    for part in rules.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        check(root, part, value, path, found);
    }
    if let (Some(condition), Some(then)) = (rules.get("if"), rules.get("then"))
        && holds(root, condition, value)
    {
        check(root, then, value, path, found);
    }
    if let Some(object) = value.as_object() {
        let properties = rules.get("properties").and_then(Value::as_object);
        for (name, inner) in object {
            let path = format!("{path}.{name}");
            if let Some(property) = properties.and_then(|p| p.get(name)) {
                check(root, property, inner, &path, found);
            } else if let Some(additional) = rules.get("additionalProperties") {
                check(root, additional, inner, &path, found);
            }
        }
    }
    if let (Some(items), Some(array)) = (rules.get("items"), value.as_array()) {
        for (i, item) in array.iter().enumerate() {
            check(root, items, item, &format!("{path}[{i}]"), found);
        }
    }
}

fn is_type(value: &Value, word: &str) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("type {word}"),
    }
}

/// Not a regular expression: each pattern begins with a digit or is only about variables, so a value's
/// first character decides. Enough to tell `lots` from `2GiB`.
fn matches(pattern: &str, value: &str) -> bool {
    value.contains("${")
        || (pattern.contains(r"\d") || pattern.contains("[0-7]"))
            && value.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
}

/// `Definition.property` of all there are.
pub fn all_properties(root: &Value) -> BTreeSet<String> {
    let definitions = root["definitions"].as_object().unwrap();
    let of = |name: &str, schema: &Value| -> Vec<String> {
        schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(p, _)| format!("{name}.{p}"))
            .collect()
    };
    definitions.iter().flat_map(|(name, schema)| of(name, schema)).collect()
}

/// `Definition.property` of those that a document sets.
pub fn used_properties(root: &Value, document: &Value, used: &mut BTreeSet<String>) {
    walk(root, root, "", document, used);
}

fn walk(root: &Value, schema: &Value, name: &str, value: &Value, used: &mut BTreeSet<String>) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.strip_prefix("#/definitions/").unwrap();
        walk(root, resolve(root, schema), name, value, used);
    }
    for part in ["anyOf", "allOf"].iter().filter_map(|k| schema.get(k)).filter_map(Value::as_array).flatten() {
        walk(root, part, name, value, used);
    }
    if let (Some(condition), Some(then)) = (schema.get("if"), schema.get("then"))
        && holds(root, condition, value)
    {
        walk(root, then, name, value, used);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        if let Some(property) = schema.get("properties").and_then(|p| p.get(key)) {
            used.insert(format!("{name}.{key}"));
            walk(root, property, "", inner, used);
        } else if let Some(additional) = schema.get("additionalProperties") {
            walk(root, additional, "", inner, used);
        }
    }
    if let Some(items) = schema.get("items") {
        for item in value.as_array().into_iter().flatten() {
            walk(root, items, "", item, used);
        }
    }
}
