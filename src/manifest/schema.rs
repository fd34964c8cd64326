//! The JSON Schema of manifests, from the forms themselves.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::form::infra::{NetworkForm, StackForm, VolumeForm};
use super::form::service::ServiceForm;
use super::form::{API_VERSION, MetadataForm};

/// One document: `apiVersion` and `kind` say which `spec` it has.
pub fn schema() -> Value {
    // Draft 7 is what editors' YAML support understands best.
    let mut generator = SchemaSettings::draft07().into_generator();
    let metadata = generator.subschema_for::<MetadataForm>().to_value();
    let kinds = [
        kind::<ServiceForm>("Service", &mut generator),
        kind::<NetworkForm>("Network", &mut generator),
        kind::<VolumeForm>("Volume", &mut generator),
        kind::<StackForm>("Stack", &mut generator),
    ];
    let names: Vec<&str> = super::form::KINDS.to_vec();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "env-manager manifest",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "enum": names, "description": "What the document describes." },
            "metadata": metadata,
            "spec": { "type": ["object", "null"] },
        },
        "allOf": kinds,
        "definitions": generator.take_definitions(true),
    })
}

/// As it is committed and printed.
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).expect("a JSON value has a text");
    text.push('\n');
    text
}

fn kind<S: JsonSchema>(word: &str, generator: &mut SchemaGenerator) -> Value {
    let spec = generator.subschema_for::<S>().to_value();
    let mut required = Vec::new();
    if word != "Stack" {
        required.push("metadata");
    }
    if word == "Service" {
        required.push("spec");
    }
    json!({
        "if": { "properties": { "kind": { "const": word } } },
        "then": { "required": required, "properties": { "spec": spec } },
    })
}
