//! The tables of docs/manifests.md, from the schema: what the code says about a field is said once.

use serde_json::Value;

/// One heading and table a definition, `Service` first.
pub fn tables(schema: &Value) -> String {
    let definitions = schema["definitions"].as_object().unwrap();
    let mut names: Vec<&String> = definitions.keys().collect();
    let first = ["Metadata", "Service", "Network", "Volume", "Stack"];
    names.sort_by_key(|n| (first.iter().position(|f| f == n).unwrap_or(first.len()), (*n).clone()));
    let mut out = String::new();
    for name in names {
        let definition = &definitions[name];
        out.push_str(&format!("### {name}\n\n"));
        if let Some(text) = definition.get("description").and_then(Value::as_str) {
            out.push_str(&format!("{}\n\n", one_line(text)));
        }
        out.push_str("| field | value | what |\n|---|---|---|\n");
        for (field, property) in definition["properties"].as_object().unwrap() {
            let what = property.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(!what.is_empty(), "{name}.{field} has no description");
            out.push_str(&format!("| `{field}` | {} | {} |\n", kind(property), one_line(what).replace('|', "\\|")));
        }
        out.push('\n');
    }
    out
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.trim_start_matches("#/definitions/");
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(Value::as_str).map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    for part in ["anyOf", "allOf"] {
        if let Some(options) = schema.get(part).and_then(Value::as_array) {
            // Null and `${VAR}` go without saying.
            let is_said = |o: &&Value| o["type"] != "null" && !(o["type"] == "string" && o.get("pattern").is_some());
            let mut texts: Vec<String> = options.iter().filter(is_said).map(kind).collect();
            texts.dedup();
            return texts.join(" or ");
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => vec![],
    };
    let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
    match types[..] {
        ["array"] => format!("list of {}", kind(&schema["items"])),
        ["object"] => format!("names → {}", kind(&schema["additionalProperties"])),
        ["integer"] => "whole number".to_owned(),
        ["boolean"] => "`true`, `false`".to_owned(),
        [_, ..] if pattern.contains("µ") => "duration".to_owned(),
        [_, ..] if pattern.contains("Kk") => "size".to_owned(),
        [_, ..] if pattern.contains("[0-7]") => "octal mode".to_owned(),
        [_, ..] if pattern.contains(r"\d{1,9}") => "number of CPUs".to_owned(),
        [_, ..] if pattern.contains(r"\d{3}") => "status codes".to_owned(),
        _ => "text".to_owned(),
    }
}
