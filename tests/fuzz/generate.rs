//! Inputs that have the right shape and mostly wrong values: manifests from the JSON Schema, so that a new field
//! is among them without a word here, and configurations from the table of keys.

use std::fmt::Write as _;

use env_manager::config::keys::{Key, LATER_SECTIONS, OVERRIDE_FIELDS, TABLES};
use serde_json::{Map, Value, json};

use super::rng::Rng;

/// Few, so that references find something and names clash.
const NAMES: &[&str] = &["web", "db", "cache", "data", "a", "default", "web-2"];

const VALUES: &[&str] = &[
    "web",
    "db",
    "data",
    "default",
    "busybox:1.36",
    "redis",
    "localhost:5000/x/y:1@sha256:ab",
    "80",
    "8080:80",
    "127.0.0.1:8080:80/tcp",
    "[::1]:53:53/udp",
    "8000-8003:8000-8003",
    "data:/data",
    "/srv:/srv:ro",
    "./x:/x:z",
    "data:/data/x",
    "tmp",
    "/",
    "/data",
    "/data/../x",
    "files/a.conf",
    "10s",
    "500ms",
    "2m",
    "1y",
    "0",
    "512MiB",
    "1.5GiB",
    "0.5",
    "1.5",
    "0644",
    "0755",
    "644",
    "200-299,301",
    "/health",
    "sh -c 'exit 0'",
    "a \"b",
    "${A}",
    "${UNSET}",
    "${UNSET:-80}",
    "${UNSET:?why}",
    "$${A}",
    "${A",
    "TOKEN",
    "NAME=value",
    "1000:1000",
    "service:web",
    "service:db",
    "container:x",
    "host",
    "none",
    "bridge",
    "ALL",
    "NET_ADMIN",
    "seccomp=x",
    "SIGTERM",
    "SIGNOPE",
    "json-file",
    "linux/amd64",
    "10.0.0.0/24",
    "10.0.0.1",
    "fd00::/64",
    "1.1.1.1",
    "02:42:ac:11:00:02",
    "host-gateway",
    "x:host-gateway",
    "0-3",
    "nofile",
    "net.core.somaxconn",
    "é",
    "🦀",
    "",
    " ",
    "x y",
    "yes",
    "null",
    "~",
    "a: b",
    "# x",
    "%",
    "&a",
    "*a",
    "!x",
    "\u{1b}[1mx",
    "x\ny",
    "x\ty",
    "\u{202e}x",
];

/// A file of one to five documents.
pub fn manifests(rng: &mut Rng, schema: &Value) -> String {
    let mut text = String::new();
    for _ in 0..=rng.below(5) {
        let mut maker = Maker { root: schema, density: 2 + rng.below(40), rng };
        let document = maker.document();
        let flow = rng.one_in(6);
        text.push_str("---\n");
        if flow {
            text.push_str(&serde_json::to_string(&document).unwrap());
            text.push('\n');
        } else {
            write_block(rng, &document, 0, &mut text);
        }
    }
    text
}

struct Maker<'a> {
    root: &'a Value,
    /// An optional field is there in one of so many.
    density: usize,
    rng: &'a mut Rng,
}

impl Maker<'_> {
    fn document(&mut self) -> Value {
        // Mostly services: there is most to be said of them.
        let kind = *self.rng.pick(&[&"Service", &"Service", &"Service", &"Network", &"Volume", &"Stack"]);
        let root = self.root;
        let mut metadata = self.value(&root["properties"]["metadata"], 0);
        if let Some(metadata) = metadata.as_object_mut()
            && !self.rng.one_in(20)
        {
            metadata.insert("name".to_owned(), json!(self.rng.pick(NAMES)));
        }
        let mut spec = self.value(&root["definitions"][kind], 0);
        if let Some(spec) = spec.as_object_mut()
            && kind == "Service"
            && !self.rng.one_in(20)
        {
            spec.entry("image").or_insert_with(|| json!("busybox:1.36"));
        }
        json!({ "apiVersion": "env-manager.dev/v1", "kind": kind, "metadata": metadata, "spec": spec })
    }

    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > 12 || self.rng.one_in(60) {
            return self.anything();
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/definitions/")) {
            let root = self.root;
            return self.value(&root["definitions"][name], depth);
        }
        if let Some(options) = schema["anyOf"].as_array() {
            let option = &options[self.rng.below(options.len())];
            return self.value(option, depth + 1);
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[self.rng.below(words.len())].clone();
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[self.rng.below(kinds.len())].as_str(),
            other => other.as_str(),
        };
        match kind {
            Some("object") => self.object(schema, depth),
            Some("array") => (0..self.rng.below(4)).map(|_| self.value(&schema["items"], depth + 1)).collect(),
            Some("boolean") => json!(self.rng.one_in(2)),
            Some("integer" | "number") => self.number(),
            Some("null") => Value::Null,
            _ => json!(self.rng.pick(VALUES)),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let mut object = Map::new();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let wanted =
                if required.contains(&name.as_str()) { !self.rng.one_in(30) } else { self.rng.one_in(self.density) };
            if wanted {
                let value = self.value(inner, depth + 1);
                object.insert(if self.rng.one_in(200) { self.misspelt(name) } else { name.clone() }, value);
            }
        }
        if schema["additionalProperties"].is_object() {
            for _ in 0..self.rng.below(4) {
                let name = if self.rng.one_in(3) { self.rng.pick(VALUES) } else { self.rng.pick(NAMES) };
                let value = self.value(&schema["additionalProperties"], depth + 1);
                object.insert(name.to_owned(), value);
            }
        }
        Value::Object(object)
    }

    fn misspelt(&mut self, name: &str) -> String {
        let mut letters: Vec<char> = name.chars().collect();
        let at = self.rng.below(letters.len());
        letters.insert(at, letters[at]);
        letters.into_iter().collect()
    }

    fn number(&mut self) -> Value {
        match self.rng.below(8) {
            0 => json!(0),
            1 => json!(-1),
            2 => json!(i64::MAX),
            3 => json!(u64::MAX),
            4 => json!(1.5),
            5 => json!(65535),
            _ => json!(self.rng.below(100)),
        }
    }

    fn anything(&mut self) -> Value {
        match self.rng.below(7) {
            0 => Value::Null,
            1 => json!([]),
            2 => json!({}),
            3 => json!([[self.rng.pick(VALUES)]]),
            4 => json!({ *self.rng.pick(&[&"web", &"", &"a: b"]): self.rng.pick(VALUES) }),
            5 => self.number(),
            _ => json!(self.rng.pick(VALUES)),
        }
    }
}

/// Block style, as people write it; lists and mappings without elements and some others in flow style.
fn write_block(rng: &mut Rng, value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    let is_block = |v: &Value| match v {
        Value::Object(o) => !o.is_empty(),
        Value::Array(a) => !a.is_empty(),
        _ => false,
    };
    let inner = |rng: &mut Rng, value: &Value, out: &mut String| {
        if is_block(value) && !rng.one_in(5) {
            out.push('\n');
            write_block(rng, value, indent + 2, out);
        } else {
            out.push(' ');
            out.push_str(&scalar(rng, value));
            out.push('\n');
        }
    };
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let _ = write!(out, "{pad}{}:", scalar(rng, &json!(name)));
                inner(rng, value, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{pad}-");
                inner(rng, item, out);
            }
        }
        other => {
            let _ = writeln!(out, "{pad}{}", scalar(rng, other));
        }
    }
}

/// Plain where that is likely to be read as it is, else quoted; now and then plain all the same.
fn scalar(rng: &mut Rng, value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
            if (plain && !text.starts_with('-')) || rng.one_in(20) { text.clone() } else { value.to_string() }
        }
        other => other.to_string(),
    }
}

/// A configuration of all keys, each with one of the values that some key takes.
pub fn configuration(rng: &mut Rng) -> String {
    const VALUES: &[&str] = &[
        "true",
        "false",
        "0",
        "1",
        "5",
        "-1",
        "100",
        "101",
        "1000",
        "4294967296",
        "9223372036854775808",
        "0x10",
        "1_000",
        "1.5",
        "inf",
        "nan",
        "1979-05-27",
        "07:32:00",
        "[]",
        "[1, \"a\"]",
        "{}",
        "{ a = 1 }",
        "{ a = { b = [] } }",
        "\"\"",
        "\"x\"",
        "'x'",
        "\"30s\"",
        "\"1ns\"",
        "\"99999999999999999999y\"",
        "\"1000000000000y\"",
        "\"50%\"",
        "\"-1%\"",
        "\"0.0.0.0:50100\"",
        "\"[::1]:1\"",
        "\"localhost:99999\"",
        "\"unix:///x\"",
        "\"tcp://\"",
        "\"~/x\"",
        "\"~root/x\"",
        "\"/x\"",
        "\"\\u0000\"",
        "\"\\u001b[31m\"",
        "\"\\u202e\"",
        "\"\"\"a\nb\"\"\"",
        "'''\n'''",
        "\"json\"",
        "\"pretti\"",
        "\"web\"",
        "\"db\"",
        "\"Ünïcode\"",
        "\"a-\"",
        "\"http://localhost:80/x\"",
        "[\"80:80\"]",
        "[\"sh\", \"-c\"]",
        "{ A = \"1\" }",
        "{ readiness = { tcp = { port = 80 } } }",
        "{ startup = { http = {} } }",
    ];
    let mut text = String::new();
    let density = 1 + rng.below(12);
    let line = |rng: &mut Rng, text: &mut String, name: &str| {
        let value = rng.pick(VALUES);
        let _ = writeln!(text, "{name} = {value}");
    };
    for key in Key::ALL.iter().filter(|k| !k.name().contains('.')) {
        if rng.one_in(density) {
            line(rng, &mut text, key.name());
        }
    }
    for table in TABLES {
        if rng.one_in(2) {
            let _ = writeln!(text, "[{table}]");
            let within = |key: &Key| key.name().strip_prefix(table)?.strip_prefix('.');
            for key in Key::ALL.iter().filter_map(within).filter(|name| !name.contains('.')) {
                if rng.one_in(2) {
                    line(rng, &mut text, key);
                }
            }
        }
    }
    for section in LATER_SECTIONS {
        if rng.one_in(40) {
            let _ = writeln!(text, "[{section}]");
        }
    }
    for _ in 0..rng.below(4) {
        text.push_str("[[service_overrides]]\n");
        for field in OVERRIDE_FIELDS {
            if *field == "name" && !rng.one_in(10) {
                let _ = writeln!(text, "name = \"{}\"", rng.pick(NAMES));
            } else if rng.one_in(density + 1) {
                line(rng, &mut text, field);
            }
        }
    }
    text
}

/// Few words, very often: what takes time or memory by the square, or out of a short text a long list. `#` is a number.
pub fn wide_manifest(rng: &mut Rng) -> String {
    const ITEMS: &[&str] = &[
        "ports: [@\"127.0.#:1-1000:1-1000\"@]",
        "ports: [@\"#-#:#-#\"@]",
        "ports: [@x@]",
        "ports: [@{ containerPort: # }@]",
        "dependsOn: [@web-#@]",
        "dependsOn: [@{ service: db, condition: # }@]",
        "env: {@A#: x@}",
        "env: {@ A#: \"${A}${A}${A}\"@}",
        "env: {@#: @}",
        "volumes: [@\"v#:/data/#\"@]",
        "volumes: [@\"x\"@]",
        "networks: [@n#@]",
        "networkAliases: [@n#@]",
        "command: [@x@]",
        "command: \"@x @\"",
        "image: \"@a/@\"",
        "imagge#: [@x@]",
        "@x#: 1, @",
        "envFrom: [@{ file: # }@]",
        "files: [@{ target: /#, content: x }@]",
        "secretEnv: {@A#: { fromEnv: A }@}",
        "tmpfs: [@/#@]",
        "probes: { startup: { http: { headers: {@h#: x@} } } }",
        "ulimits: {@u#: 1@}",
        "sysctls: {@s#: 1@}",
        "extraHosts: [@\"x#:1.1.1.1\"@]",
    ];
    let (before, rest) = rng.pick(ITEMS).split_once('@').unwrap();
    let (item, after) = rest.split_once('@').unwrap();
    // Half of them below all limits.
    let count = 1 << rng.below(18);
    let documents = if rng.one_in(3) { 1 << rng.below(11) } else { 1 };
    let separator = if before.ends_with('"') || item.ends_with(", ") { "" } else { ", " };
    let mut text = String::new();
    for document in 0..documents {
        let head = format!(
            "---\napiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: web-{document} }}\nspec: {{ image: a, "
        );
        text.push_str(&head);
        text.push_str(before);
        for n in 0..count / documents {
            text.push_str(&item.replace('#', &n.to_string()));
            text.push_str(separator);
        }
        text.push_str(after);
        text.push_str(" }\n");
    }
    text
}

/// The same for a configuration.
pub fn wide_configuration(rng: &mut Rng) -> String {
    const ITEMS: &[&str] = &[
        "service_overrides = [@{ name = \"a#\" }, @]",
        "service_overrides = [@{ name = \"a#\", image = # }, @]",
        "service_overrides = [@#, @]",
        "@k# = 1\n@",
        "[retry]\n@k# = 1\n@",
        "@[[service_overrides]]\nname = \"a#\"\nx = 1\n@",
        "stack = [@#, @]",
        "stack = \"@#@\"",
        "@[a#]\n@",
        "@a.@b = 1",
        "x = @[@",
        "x = {@ a = {@",
        "service_overrides = [{ name = \"a\", environment = {@ A# = \"\", @ } }]",
    ];
    let (before, rest) = rng.pick(ITEMS).split_once('@').unwrap();
    let (item, after) = rest.split_once('@').unwrap();
    let items: String = (0..1 << rng.below(18)).map(|n| item.replace('#', &n.to_string())).collect();
    format!("{before}{items}{after}\n")
}
