//! The text of a TOML file to a layer of values. Pure; [`super::load`] reads the file.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::keys::{Key, LATER_SECTIONS, OVERRIDE_FIELDS, OVERRIDES, TABLES};
use super::merge::{Layer, Sourced};
use super::problem::{Document, Origin, Problem};
use super::values::Raw;
use crate::manifest::did_you_mean;

/// Brackets within brackets. Configurations need four.
const MAX_DEPTH: usize = 32;
/// Problems of a file that are told one by one.
const MAX_PROBLEMS: usize = 100;
/// Items of `[[service_overrides]]` that are read.
const MAX_OVERRIDES: usize = 1_000;

/// An item of `[[service_overrides]]`, its names checked and its values as written: what they mean is
/// known to the manifests' module.
#[derive(Clone)]
pub struct RawOverride {
    /// Of the service.
    pub name: String,
    pub origin: Origin,
    fields: Vec<String>,
    /// Where it stands: its number in the list, and the place of its name.
    index: usize,
    name_span: Range<usize>,
    document: Arc<Document>,
}

impl RawOverride {
    /// The fields that it sets, `name` left out. No values: `environment` may hold a password.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    fn wrong(&self, e: &toml::de::Error) -> Problem {
        let span = e.span().unwrap_or_else(|| self.name_span.clone());
        let message = format!("invalid `{OVERRIDES}` of {}: {}", self.name, e.message());
        Problem::in_file(message, &self.document, span)
    }

    /// A finding about this item that only others can make, such as a service that is not there.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::in_file(message, &self.document, self.name_span.clone())
    }
}

/// The values of all items of one file, as a type of the manifests' module reads them.
pub fn read<T: DeserializeOwned>(items: &[RawOverride]) -> Vec<Result<T, Problem>> {
    // A borrowed table cannot be kept beside its text, so the text is parsed once more.
    let Some(first) = items.first() else { return Vec::new() };
    let root = match DeTable::parse(first.document.text()) {
        Ok(root) => root,
        Err(e) => return vec![Err(first.wrong(&e))],
    };
    let list = root.get_ref().get(OVERRIDES);
    let one = |item: &RawOverride| {
        let value = list.and_then(|list| list.get_ref().get(item.index));
        let value = value.ok_or_else(|| item.problem("this override has vanished from the parsed file"))?;
        T::deserialize(value.clone().into_deserializer()).map_err(|e| item.wrong(&e))
    };
    items.iter().map(one).collect()
}

impl std::fmt::Debug for RawOverride {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawOverride").field("name", &self.name).field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// What a file holds, as far as it could be read, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Parsed {
    pub layer: Layer,
    pub overrides: Vec<RawOverride>,
    pub problems: Vec<Problem>,
}

/// `path` is only a name here; relative paths of the file are relative to its folder.
pub fn parse(path: &str, text: String) -> Parsed {
    let document = Arc::new(Document::new(path, text));
    let mut reader = Reader { document: &document, parsed: Parsed::default() };
    reader.parsed.layer.folder = Path::new(path).parent().map(Path::to_path_buf);
    if let Some(span) = too_deep(document.text()) {
        let message = format!("not TOML: brackets are nested more than {MAX_DEPTH} deep, or not closed");
        reader.parsed.problems.push(Problem::in_file(message, &document, span));
        return reader.parsed;
    }
    match DeTable::parse(document.text()) {
        Ok(root) => reader.root(root.get_ref()),
        Err(e) => {
            let span = e.span().unwrap_or(0..0);
            reader.parsed.problems.push(Problem::in_file(format!("not TOML: {}", e.message()), &document, span));
        }
    }
    reader.parsed
}

/// The bracket that is one too many. The parser bounds what nests, but not its way out of what is not closed: it
/// goes on in there, a level for each further bracket, until the stack is used up and the process ends.
fn too_deep(text: &str) -> Option<Range<usize>> {
    let mut open = Vec::new();
    for token in Source::new(text).lex() {
        let kind = token.kind();
        match kind {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                open.push(kind);
                if open.len() > MAX_DEPTH {
                    return Some(token.span().start()..token.span().end());
                }
            }
            // One that closes something else closes nothing.
            TokenKind::RightSquareBracket if open.last() == Some(&TokenKind::LeftSquareBracket) => drop(open.pop()),
            TokenKind::RightCurlyBracket if open.last() == Some(&TokenKind::LeftCurlyBracket) => drop(open.pop()),
            _ => {}
        }
    }
    None
}

struct Reader<'a> {
    document: &'a Arc<Document>,
    parsed: Parsed,
}

impl Reader<'_> {
    /// Nothing more is told of it.
    fn is_enough(&self) -> bool {
        self.parsed.problems.len() > MAX_PROBLEMS
    }

    fn problem(&mut self, message: String, span: Range<usize>, help: Option<String>) {
        if self.is_enough() {
            return;
        }
        let (message, help) = if self.parsed.problems.len() < MAX_PROBLEMS {
            (message, help)
        } else {
            ("there is more wrong with the file; it is shown once this is mended".to_owned(), None)
        };
        self.parsed.problems.push(Problem::in_file(message, self.document, span).with_help(help));
    }

    fn root(&mut self, root: &DeTable<'_>) {
        for (key, value) in root {
            let name = &**key.get_ref();
            match value.get_ref() {
                DeValue::Array(items) if name == OVERRIDES => {
                    if let Some(item) = items.get(MAX_OVERRIDES) {
                        self.problem(format!("more than {MAX_OVERRIDES} `{OVERRIDES}`"), item.span(), None);
                    }
                    for (index, item) in items.iter().enumerate().take(MAX_OVERRIDES) {
                        self.service_override(index, item);
                    }
                }
                _ if name == OVERRIDES => {
                    let found = describe(value.get_ref());
                    self.problem(
                        format!("invalid `{OVERRIDES}`: expected a list of tables, found {found}"),
                        value.span(),
                        Some(format!("write each as [[{OVERRIDES}]]")),
                    );
                }
                _ if LATER_SECTIONS.contains(&name) => self.problem(
                    format!("`{name}` is not yet supported by this version of env-manager"),
                    key.span(),
                    Some("remove it from this file".to_owned()),
                ),
                _ => self.value_or_table(name, key.span(), value),
            }
        }
    }

    fn value_or_table(&mut self, name: &str, key_span: Range<usize>, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) if TABLES.contains(&name) => {
                for (inner, value) in table {
                    self.value_or_table(&format!("{name}.{}", inner.get_ref()), inner.span(), value);
                }
            }
            _ => self.value(name, key_span, value),
        }
    }

    fn value(&mut self, name: &str, key_span: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let Some(key) = Key::from_name(name) else {
            if self.is_enough() {
                return;
            }
            let known = Key::ALL.iter().map(|k| k.name()).chain([OVERRIDES]).chain(TABLES.iter().copied());
            let help = did_you_mean(name, known).map(|k| format!("did you mean `{k}`?"));
            return self.problem(format!("unknown key `{name}`"), key_span, help);
        };
        let sourced = Sourced {
            value: raw(value.get_ref()),
            origin: self.document.origin(value.span().start),
            place: Some((Arc::clone(self.document), value.span())),
        };
        self.parsed.layer.values.insert(key, sourced);
    }

    fn service_override(&mut self, index: usize, item: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = item.get_ref() else {
            let found = describe(item.get_ref());
            return self.problem(format!("invalid `{OVERRIDES}`: expected a table, found {found}"), item.span(), None);
        };
        for key in table.keys() {
            let field = &**key.get_ref();
            if !OVERRIDE_FIELDS.contains(&field) {
                let help = did_you_mean(field, OVERRIDE_FIELDS.iter().copied())
                    .map(|k| format!("did you mean `{k}`?"))
                    .or_else(|| Some(format!("an override may set {}", OVERRIDE_FIELDS[1..].join(", "))));
                self.problem(format!("unknown key `{field}` in `{OVERRIDES}`"), key.span(), help);
            }
        }
        let (name, name_span) = match table.get("name").map(|v| (v.span(), v.get_ref().as_str())) {
            Some((span, Some(name))) if !name.is_empty() => (name.to_owned(), span),
            Some((span, _)) => {
                let message = format!("invalid `{OVERRIDES}`: `name` is not the name of a service");
                return self.problem(message, span, None);
            }
            None => {
                let help = Some("add: name = \"the service that it changes\"".to_owned());
                return self.problem(format!("invalid `{OVERRIDES}`: `name` is missing"), item.span(), help);
            }
        };
        if let Some(first) = self.parsed.overrides.iter().find(|o| o.name == name) {
            let message = format!("invalid `{OVERRIDES}`: {name} is overridden twice, first at {}", first.origin);
            return self.problem(message, name_span, Some("make one item of the two".to_owned()));
        }
        let fields = table.keys().map(|k| k.get_ref().to_string()).filter(|k| k != "name").collect();
        self.parsed.overrides.push(RawOverride {
            name,
            origin: self.document.origin(name_span.start),
            fields,
            index,
            name_span,
            document: Arc::clone(self.document),
        });
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(s) => Raw::Text(s.clone().into_owned()),
        DeValue::Boolean(b) => Raw::Bool(*b),
        DeValue::Integer(i) => {
            i64::from_str_radix(i.as_str(), i.radix()).map_or(Raw::Other("a number beyond 64 bits"), Raw::Int)
        }
        other => Raw::Other(describe(other)),
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
