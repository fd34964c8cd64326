//! What a manifest can say.

use std::collections::BTreeSet;

use serde_json::Value;

/// The properties of a service's manifest, from its JSON Schema: `spec.files[].mode`, `spec.ulimits{}.soft`.
pub fn properties(schema: &Value) -> BTreeSet<String> {
    fn walk(schema: &Value, at: &Value, path: &str, found: &mut BTreeSet<String>) {
        if let Some(reference) = at["$ref"].as_str() {
            let target = schema.pointer(reference.trim_start_matches('#')).expect("a reference within the schema");
            return walk(schema, target, path, found);
        }
        for word in ["anyOf", "oneOf", "allOf"] {
            for part in at[word].as_array().into_iter().flatten() {
                walk(schema, part, path, found);
            }
        }
        if at["items"].is_object() {
            walk(schema, &at["items"], &format!("{path}[]"), found);
        }
        if at["additionalProperties"].is_object() {
            walk(schema, &at["additionalProperties"], &format!("{path}{{}}"), found);
        }
        for (name, property) in at["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            walk(schema, property, &path, found);
            found.insert(path);
        }
    }
    let mut found = BTreeSet::new();
    for (path, definition) in [("metadata", "Metadata"), ("spec", "Service")] {
        walk(schema, &schema["definitions"][definition], path, &mut found);
    }
    found
}
