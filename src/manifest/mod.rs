//! Manifests: parsing, validation, and the JSON Schema, from the same structs.
