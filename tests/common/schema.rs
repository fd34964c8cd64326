//! As much of JSON Schema as the committed schemas use; a keyword beyond that is an error, so that
//! nothing is passed over in silence.

use serde_json::Value;

/// Everything in which `value` is not as the schema says.
pub fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root: schema, found: &mut found }.check(schema, value, "$");
    found
}

struct Check<'a> {
    root: &'a Value,
    found: &'a mut Vec<String>,
}

impl Check<'_> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        let schema = schema.as_object().expect("a schema is an object");
        for (keyword, says) in schema {
            match keyword.as_str() {
                "$ref" => {
                    let name = says.as_str().and_then(|r| r.strip_prefix("#/$defs/")).expect("a local reference");
                    self.check(&self.root["$defs"][name], value, at);
                }
                "type" => {
                    let types = says.as_array().cloned().unwrap_or_else(|| vec![says.clone()]);
                    if !types.iter().any(|t| is_a(value, t.as_str().expect("a type"))) {
                        self.found.push(format!("{at}: {value} is not {says}"));
                    }
                }
                "properties" => {
                    let (Some(properties), Some(fields)) = (says.as_object(), value.as_object()) else { continue };
                    for (name, field) in fields {
                        match properties.get(name) {
                            Some(property) => self.check(property, field, &format!("{at}.{name}")),
                            None => self.found.push(format!("{at}.{name} is in no schema")),
                        }
                    }
                }
                "required" => {
                    let lacks = |name: &&Value| value.get(name.as_str().expect("a name")).is_none();
                    let lacking: Vec<_> = says.as_array().expect("a list").iter().filter(lacks).collect();
                    if !lacking.is_empty() {
                        self.found.push(format!("{at} lacks {lacking:?}"));
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(says, item, &format!("{at}[{index}]"));
                    }
                }
                "enum" => {
                    if !says.as_array().expect("a list").contains(value) {
                        self.found.push(format!("{at}: {value} is none of {says}"));
                    }
                }
                "const" => {
                    if says != value {
                        self.found.push(format!("{at}: {value} is not {says}"));
                    }
                }
                "anyOf" | "oneOf" => {
                    let fits = |one: &Value| {
                        let mut found = Vec::new();
                        Check { root: self.root, found: &mut found }.check(one, value, at);
                        found.is_empty()
                    };
                    if !says.as_array().expect("a list").iter().any(fits) {
                        self.found.push(format!("{at}: {value} fits no alternative"));
                    }
                }
                "minimum" => {
                    if value.as_f64().zip(says.as_f64()).is_some_and(|(v, least)| v < least) {
                        self.found.push(format!("{at}: {value} is below {says}"));
                    }
                }
                "maximum" => {
                    if value.as_f64().zip(says.as_f64()).is_some_and(|(v, most)| v > most) {
                        self.found.push(format!("{at}: {value} is above {says}"));
                    }
                }
                "$schema" | "$defs" | "title" | "description" | "format" => {}
                other => panic!("this check does not know the keyword {other}"),
            }
        }
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("no type {other}"),
    }
}
