//! From text to forms, document by document: the first error of a document ends it and leaves the
//! others alone.

use serde::de::DeserializeOwned;
use serde_yaml::Error as YamlError;

use super::file::SourceFile;
use super::finding::{Finding, Place, suggestion};
use super::form::infra::{NetworkForm, StackForm, VolumeForm};
use super::form::service::ServiceForm;
use super::form::{API_VERSION, Envelope, Header, KINDS, MetadataForm, NameOnly};
use super::scalar::Scalar;
use super::span::Span;
use crate::resource::ResourceKey;
use crate::resource::printable::is_printable;

/// Deepest nesting of a document. Manifests need eight.
const MAX_DEPTH: usize = 32;
/// Most sequences, mappings and scalars of a document, aliases counted as often as they are used.
const MAX_NODES: usize = 50_000;

/// Longest name of which is spoken, in bytes. Good ones have at most 63.
const MAX_NAME: usize = 253;
/// Most documents of a file.
const MAX_DOCUMENTS: usize = 1_000;

/// A document that has the shape of its kind; its values are unchecked.
#[derive(Debug)]
pub struct Document<'a> {
    pub file: &'a SourceFile,
    /// Where it begins in the file, in bytes; spans count from here.
    pub base: usize,
    pub metadata: MetadataForm,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Service(Box<ServiceForm>),
    Network(NetworkForm),
    Volume(VolumeForm),
    Stack(StackForm),
}

impl Document<'_> {
    pub fn place(&self, span: Span) -> Place {
        self.file.place(self.base + span.start, span.len)
    }

    /// The name, or the begin of the document where it has none.
    pub fn name_place(&self) -> Place {
        self.metadata.name.as_ref().map_or_else(|| self.start_place(), |n| self.place(n.span))
    }

    /// The resource that it is about, by the name that manifests use.
    pub fn key(&self) -> Option<ResourceKey> {
        let name = self.metadata.name.as_ref().map(|n| n.text.as_str()).filter(|n| is_likely_name(n))?;
        match self.body {
            Body::Service(_) => Some(ResourceKey::service(name)),
            Body::Network(_) => Some(ResourceKey::network(name)),
            Body::Volume(_) => Some(ResourceKey::volume(name)),
            Body::Stack(_) => None,
        }
    }

    /// The first line that says something.
    pub fn start_place(&self) -> Place {
        start_place(self.file, self.base)
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed<'a> {
    pub documents: Vec<Document<'a>>,
    pub findings: Vec<Finding>,
    /// What can be told of documents that have an error.
    pub broken: Vec<Broken>,
    /// What was skipped, and why.
    pub notes: Vec<String>,
}

/// Reads all documents of a file.
pub fn parse(file: &SourceFile) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    if let Some(problem) = file.problem() {
        parsed.broken = file.documents().into_iter().map(|range| Broken::read(&file.text()[range])).collect();
        parsed.findings.push(problem.clone().about(parsed.broken.iter().filter_map(Broken::key)));
        return parsed;
    }
    let documents = file.documents();
    if documents.len() > MAX_DOCUMENTS {
        let message = format!("the file has {} documents, more than {MAX_DOCUMENTS}", documents.len());
        let place = start_place(file, documents[MAX_DOCUMENTS].start);
        parsed.findings.push(Finding::error(message).at(place).help("split the file"));
        return parsed;
    }
    for range in documents {
        let text = &file.text()[range.clone()];
        match document(file, range.start, text) {
            Ok(Some(document)) => parsed.documents.push(document),
            Ok(None) => {
                let (line, _) = file.line_of(range.start);
                parsed.notes.push(format!("{}:{line}: skipped, not a manifest of {API_VERSION}", file.name()));
            }
            Err(finding) => {
                let broken = Broken::read(text);
                parsed.findings.push(finding.about(broken.key()));
                parsed.broken.push(broken);
            }
        }
    }
    parsed
}

/// `None` for YAML that is not meant for us.
fn document<'a>(file: &'a SourceFile, base: usize, text: &'a str) -> Result<Option<Document<'a>>, Box<Finding>> {
    let wrong = |e: &YamlError| Box::new(explain(file, base, e));
    // Strangers are skipped only if their YAML is sound; a broken file may be a broken manifest.
    if !text.contains("env-manager.dev") && from_str::<serde::de::IgnoredAny>(text).is_ok() && !looks_like_ours(text) {
        return Ok(None);
    }
    let header: Header = from_str(text).map_err(|e| wrong(&e))?;
    let at = |scalar: &Scalar<String>| file.place(base + scalar.span.start, scalar.span.len);
    let start = || start_place(file, base);
    match &header.api_version {
        Some(version) if version.text == API_VERSION => {}
        Some(version) if version.text.starts_with("env-manager.dev/") => {
            let message = format!("unknown apiVersion `{}`", version.text);
            return Err(Box::new(
                Finding::error(message).at(at(version)).help(format!("this env-manager reads `{API_VERSION}`")),
            ));
        }
        Some(version) if is_misspelt(&version.text) => {
            let message = format!("unknown apiVersion `{}`, did you mean `{API_VERSION}`?", version.text);
            return Err(Box::new(Finding::error(message).at(at(version))));
        }
        Some(_) => return Ok(None),
        None => {
            // The misspelt field itself is the better thing to point at.
            from_str::<Envelope<serde::de::IgnoredAny>>(text).map_err(|e| wrong(&e))?;
            return Err(Box::new(Finding::error(format!("missing field `apiVersion: {API_VERSION}`")).at(start())));
        }
    }
    let Some(kind) = &header.kind else {
        from_str::<Envelope<serde::de::IgnoredAny>>(text).map_err(|e| wrong(&e))?;
        return Err(Box::new(
            Finding::error("missing field `kind`").at(start()).help(format!("one of {}", KINDS.join(", "))),
        ));
    };
    let (metadata, body) = match kind.text.as_str() {
        "Service" => envelope::<ServiceForm>(text).map(|(m, s)| (m, Body::Service(Box::new(s)))),
        "Network" => envelope(text).map(|(m, s)| (m, Body::Network(s))),
        "Volume" => envelope(text).map(|(m, s)| (m, Body::Volume(s))),
        "Stack" => envelope(text).map(|(m, s)| (m, Body::Stack(s))),
        other => {
            let suggestion = suggestion(other, KINDS);
            let finding = Finding::error(format!("unknown kind `{other}`{suggestion}")).at(at(kind));
            let help = format!("kinds are {}", KINDS.join(", "));
            return Err(Box::new(if suggestion.is_empty() { finding.help(help) } else { finding }));
        }
    }
    .map_err(|e| wrong(&e))?;
    Ok(Some(Document { file, base, metadata, body }))
}

fn envelope<S: DeserializeOwned + Default>(text: &str) -> Result<(MetadataForm, S), YamlError> {
    let envelope: Envelope<S> = from_str(text)?;
    Ok((envelope.metadata.unwrap_or_default(), envelope.spec.unwrap_or_default()))
}

/// A manifest whose `apiVersion` is missing or misspelt still has our kind and a spec.
fn looks_like_ours(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Shape {
        #[serde(rename = "apiVersion")]
        api_version: Option<Scalar<String>>,
        kind: Option<Scalar<String>>,
        metadata: Option<serde::de::IgnoredAny>,
        spec: Option<serde::de::IgnoredAny>,
    }
    from_str::<Shape>(text).is_ok_and(|s| match s.api_version {
        Some(version) => is_misspelt(&version.text),
        None => s.metadata.is_some() && s.spec.is_some() && s.kind.is_some_and(|k| KINDS.contains(&k.text.as_str())),
    })
}

fn is_misspelt(version: &str) -> bool {
    version.len() < 40 && strsim::damerau_levenshtein(version, API_VERSION) <= 3
}

pub(super) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let budget = serde_yaml::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 4 * MAX_NODES,
        max_aliases: 1_000,
        max_anchors: 1_000,
        max_recorded_anchor_events: MAX_NODES,
        max_recorded_anchor_bytes: 8 << 20,
        max_merge_keys: 1_000,
        max_documents: 1,
        max_total_scalar_bytes: 16 << 20,
    };
    let options = serde_yaml::options! {
        budget: budget,
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    serde_yaml::from_str_with_options(text, options)
}

/// The first line of a document that says something.
fn start_place(file: &SourceFile, base: usize) -> Place {
    let mut at = base;
    for line in file.text()[base..].split_inclusive('\n') {
        let text = line.trim();
        if !text.is_empty() && !text.starts_with('#') && text != "---" {
            break;
        }
        at += line.len();
    }
    let line = file.text()[at..].lines().next().unwrap_or_default();
    file.place(at, line.len())
}

/// The parser's error in our words, at its place.
fn explain(file: &SourceFile, base: usize, error: &YamlError) -> Finding {
    let error = error.without_snippet();
    let location = error.location().filter(|l| l.line() > 0);
    let place = location.map(|location| {
        let span = Span::of(location);
        if span.known {
            file.place(base + span.start, span.len)
        } else {
            let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            file.place(file.offset_of(base, number(location.line()), number(location.column())), 1)
        }
    });
    let (message, help) = describe(error);
    let mut finding = Finding::error(message).at(place.unwrap_or_else(|| start_place(file, base)));
    if let Some(help) = help {
        finding = finding.help(help);
    }
    let line = finding.place.as_ref().map(|p| p.line).unwrap_or_default();
    if finding.help.is_none() && finding.place.as_ref().is_some_and(|p| is_compose_env(&p.text)) {
        finding.help = Some("a list of `NAME=value` is Compose's form; write `NAME: value` here".to_owned());
    }
    if let Some(tab) = tab_indentation(file, line) {
        "a tab in the indentation; YAML allows spaces only".clone_into(&mut finding.message);
        finding.place = Some(tab);
        finding.help = Some("replace each tab by two spaces".to_owned());
    }
    finding
}

/// A tab before the first word of the line, which YAML's own messages do not name.
fn tab_indentation(file: &SourceFile, line: usize) -> Option<Place> {
    let start = file.offset_of(0, line, 1);
    let text = file.text()[start..].lines().next()?;
    let indent = &text[..text.len() - text.trim_start().len()];
    indent.find('\t').map(|i| file.place(start + i, 1))
}

fn describe(error: &YamlError) -> (String, Option<String>) {
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let suggestion = suggestion(field, expected.iter().copied());
            let help = suggestion.is_empty().then(|| format!("fields here are {}", list(expected)));
            (format!("unknown field `{field}`{suggestion}"), help)
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let message =
                key.as_ref().map_or_else(|| "the same key twice".to_owned(), |k| format!("duplicate key `{k}`"));
            (message, Some("it stands in this mapping before; keep one of them".to_owned()))
        }
        YamlError::SerdeInvalidType { unexpected, expected, .. } => {
            let found = match unexpected.as_str() {
                "sequence" => "a list",
                "map" => "a mapping",
                other => other,
            };
            (format!("expected {expected}, found {found}"), None)
        }
        YamlError::Unexpected { expected, .. } => (
            match *expected {
                "mapping start" => "expected a mapping (`key: value` lines)".to_owned(),
                "sequence start" => "expected a list (`- item` lines or `[a, b]`)".to_owned(),
                "string scalar" => "expected a single value".to_owned(),
                other => format!("expected {other}"),
            },
            None,
        ),
        YamlError::NullIntoString { .. } => {
            ("a value is missing".to_owned(), Some("write `\"\"` for an empty text".to_owned()))
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. } => (
            "the document is nested too deeply, too large, or uses too many aliases".to_owned(),
            Some(format!("limits: {MAX_DEPTH} levels, {MAX_NODES} values, 1000 aliases")),
        ),
        YamlError::AliasError { error, .. } => describe(error.without_snippet()),
        other => (sentence(&other.to_string()), None),
    }
}

/// Without the place that the parser appends, which is counted from the document's begin.
fn sentence(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    let text = text.strip_prefix("error: ").unwrap_or(text).replace('\'', "`");
    format!("not valid YAML: {text}")
}

pub(super) fn list(words: &[&str]) -> String {
    words.iter().filter(|w| !w.starts_with('_')).map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// `- NAME=value`
fn is_compose_env(line: &str) -> bool {
    let Some((name, _)) = line.trim().strip_prefix("- ").and_then(|l| l.split_once('=')) else { return false };
    super::expand::is_variable_name(name.trim_matches(['"', '\'']))
}

/// What can be told of a document that has an error.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    pub kind: Option<String>,
    pub name: Option<String>,
}

impl Broken {
    pub fn read(text: &str) -> Self {
        let (kind, name) = match from_str::<NameOnly>(text) {
            Ok(only) => (only.kind.map(|k| k.text), only.metadata.and_then(|m| m.name).map(|n| n.text)),
            Err(_) => scan_name(text),
        };
        Self { kind, name: name.filter(|n| is_likely_name(n)) }
    }

    pub fn is_stack(&self) -> bool {
        self.kind.as_deref() == Some("Stack")
    }

    /// The resource that it is about: frozen (P5).
    pub fn key(&self) -> Option<ResourceKey> {
        let name = self.name.as_deref()?;
        match self.kind.as_deref() {
            Some("Network") => Some(ResourceKey::network(name)),
            Some("Volume") => Some(ResourceKey::volume(name)),
            Some("Stack") => None,
            // A misspelt or missing kind is most likely a service: there is most of them.
            _ => Some(ResourceKey::service(name)),
        }
    }
}

/// What may be meant as a name. Nothing that was ever applied has another, so there is nothing to freeze.
fn is_likely_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_printable)
}

/// By lines, since the YAML itself cannot be read: `kind:` at the margin, `name:` below `metadata:`.
fn scan_name(text: &str) -> (Option<String>, Option<String>) {
    let mut kind = None;
    let mut name = None;
    let mut in_metadata = false;
    for line in text.lines().take(10_000) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        let Some((key, value)) = line.split_once(':') else { continue };
        if indented && in_metadata && name.is_none() && key.trim() == "name" {
            name = plain(value);
        } else if !indented {
            in_metadata = key.trim() == "metadata";
            if key.trim() == "kind" {
                kind = plain(value);
            }
            if in_metadata && name.is_none() {
                // `metadata: { name: kafka }`
                let inner = value.split_once("name:").map(|(_, rest)| rest.split([',', '}']).next().unwrap_or(rest));
                name = inner.and_then(plain);
            }
        }
    }
    (kind, name)
}

fn plain(value: &str) -> Option<String> {
    let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
    let ok = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    ok.then(|| value.to_owned())
}
