//! From forms to specs: variables replaced, short forms written out, defaults filled in, every value
//! checked. All that is wrong with a document is reported, not only the first.
//!
//! | file | what |
//! |---|---|
//! | this one | [`Convert`]: one document's context, through which every value is read |
//! | [`service`] | a Service as a whole |
//! | [`fields`] | single fields that have a shape of their own |
//! | [`process`] | command, environment, secrets |
//! | [`storage`] | volumes, tmpfs, files, devices |
//! | [`on_change`] | what a changed content of a file does |
//! | [`network`] | ports and networks of a service |
//! | [`limits`] | resources, security, ulimits |
//! | [`probe`] | probes |
//! | [`infra`] | Network, Volume, Stack |

mod fields;
pub(super) mod infra;
mod limits;
mod network;
mod on_change;
pub(super) mod probe;
mod process;
pub(super) mod service;
mod storage;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expand::expand;
use super::file::SourceFile;
use super::finding::{Finding, MAX_MESSAGE, Place};
use super::outside::{Content, Outside, ReadError};
use super::scalar::{Scalar, ScalarType};
use super::span::Span;
use super::union::Entries;
use crate::resource::ResourceKey;
use crate::resource::printable::printable;
use crate::resource::update::Update;

/// What a service gets where its manifest says nothing; from the configuration, then from the `Stack` manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// How long a new container may take to become Ready (`health_check_timeout_secs`).
    pub progress_deadline: Duration,
    /// `deadline` of startup probes (`health_check_timeout_secs`).
    pub startup_deadline: Duration,
    /// From the stop signal to SIGKILL; Docker's own 10 s.
    pub stop_grace: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self { progress_deadline: minute, startup_deadline: minute, stop_grace: Duration::from_secs(10) }
    }
}

/// Errors of a document, and warnings, that are told one by one.
const MAX_FINDINGS: usize = 100;

/// What is the same for every document of a set.
pub(super) struct Shared<'a> {
    pub stack: &'a str,
    pub outside: &'a dyn Outside,
    /// Of the `Stack` manifest.
    pub variables: BTreeMap<String, String>,
    pub defaults: Defaults,
    /// With `{service}` in it.
    pub container_name: String,
    pub stop_signal: Option<String>,
    pub update: Update,
    /// Names on the engine of networks and volumes that have a manifest, by the name that services use.
    pub networks: BTreeMap<String, String>,
    pub volumes: BTreeMap<String, String>,
    /// Networks and volumes whose manifests have errors, by the same names: what they are called on the
    /// engine is not known, so who uses them is frozen.
    pub broken: BTreeSet<ResourceKey>,
}

impl<'a> Shared<'a> {
    pub fn new(stack: &'a str, defaults: Defaults, outside: &'a dyn Outside) -> Self {
        let update = Update { progress_deadline: defaults.progress_deadline, ..Update::default() };
        Self {
            stack,
            outside,
            variables: BTreeMap::new(),
            defaults,
            container_name: "{service}".to_owned(),
            stop_signal: None,
            update,
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }
}

/// The engine's name for a stack's network `default`.
pub fn default_network(stack: &str) -> String {
    if stack == "default" { "env-manager".to_owned() } else { format!("env-manager-{stack}") }
}

/// One document on its way to a spec.
pub(super) struct Convert<'a> {
    pub shared: &'a Shared<'a>,
    /// `None` for values from the TOML configuration.
    pub file: Option<&'a SourceFile>,
    pub base: usize,
    /// What the document is about, once its name is known.
    pub key: Option<ResourceKey>,
    /// Before every message, where no place can be shown.
    pub prefix: String,
    /// A broken network or volume that the service uses.
    pub frozen_by: Option<ResourceKey>,
    pub findings: Vec<Finding>,
}

impl Convert<'_> {
    pub fn place(&self, span: Span) -> Option<Place> {
        self.file.filter(|_| span.known).map(|f| f.place(self.base + span.start, span.len))
    }

    pub fn report(&mut self, mut finding: Finding, span: Span) {
        let like = self.findings.iter().filter(|f| f.severity == finding.severity).count();
        if like > MAX_FINDINGS {
            return;
        }
        if like == MAX_FINDINGS {
            "there is more like this in the document; it is shown once these are gone".clone_into(&mut finding.message);
            finding.help = None;
        }
        finding.place = self.place(span);
        finding.keys.extend(self.key.clone());
        finding.message = printable(&format!("{}{}", self.prefix, finding.message), MAX_MESSAGE);
        self.findings.push(finding);
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.report(Finding::error(message), span);
    }

    pub fn error_help(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.report(Finding::error(message).help(help), span);
    }

    pub fn warning(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.report(Finding::warning(message).help(help), span);
    }

    pub fn not_yet(&mut self, span: Span, field: &str) {
        self.error(span, format!("`{field}` is not yet supported"));
    }

    /// The network's name on the engine.
    pub fn network(&mut self, name: &str) -> String {
        self.uses(ResourceKey::network(name));
        match self.shared.networks.get(name) {
            Some(engine) => engine.clone(),
            None if name == "default" => default_network(self.shared.stack),
            None => name.to_owned(),
        }
    }

    /// The volume's name on the engine.
    pub fn volume(&mut self, name: &str) -> String {
        self.uses(ResourceKey::volume(name));
        self.shared.volumes.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn uses(&mut self, key: ResourceKey) {
        if self.shared.broken.contains(&key) {
            self.frozen_by.get_or_insert(key);
        }
    }

    /// Whether the document may be applied.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(Finding::is_error)
    }

    /// Text with its variables replaced; `None` if that is not possible, which is reported.
    pub fn expand<'t>(&mut self, text: &'t str, span: Span) -> Option<Cow<'t, str>> {
        let shared = self.shared;
        let lookup = |name: &str| shared.outside.variable(name).or_else(|| shared.variables.get(name).cloned());
        match expand(text, &lookup) {
            Ok(text) => Some(text),
            Err(why) => {
                self.error(span, why);
                None
            }
        }
    }

    pub fn scalar<T: ScalarType>(&mut self, scalar: &Scalar<T>) -> Option<T> {
        let text = self.expand(&scalar.text, scalar.span)?;
        match T::parse(&text) {
            Ok(value) => Some(value),
            Err(why) if matches!(text, Cow::Borrowed(_)) => {
                self.error(scalar.span, why);
                None
            }
            Err(why) => {
                // What a variable holds may be nobody's business.
                let why = why.replace(&*text, &scalar.text);
                self.error_help(scalar.span, why, "it is the variable's value that is wrong");
                None
            }
        }
    }

    /// What stands in the short form of a field.
    pub fn word<T: ScalarType>(&mut self, text: &str, span: Span) -> Option<T> {
        self.scalar(&Scalar::new(text, span))
    }

    /// `None` where it is not written, or wrong, which is reported.
    pub fn get<T: ScalarType>(&mut self, scalar: Option<&Scalar<T>>) -> Option<T> {
        scalar.and_then(|s| self.scalar(s))
    }

    /// A text that may not be empty.
    pub fn filled(&mut self, scalar: Option<&Scalar<String>>) -> Option<String> {
        let scalar = scalar?;
        let text = self.scalar(scalar)?;
        if text.is_empty() {
            self.error_help(scalar.span, "an empty value", "leave the field out to get its default");
            return None;
        }
        Some(text)
    }

    pub fn list(&mut self, list: Option<&Vec<Scalar<String>>>) -> Vec<String> {
        list.into_iter().flatten().filter_map(|s| self.filled(Some(s))).collect()
    }

    pub fn map(&mut self, entries: Option<&Entries<Scalar<String>>>) -> BTreeMap<String, String> {
        let entries = entries.into_iter().flat_map(|e| &e.0);
        entries.filter_map(|(key, value)| Some((key.text.clone(), self.scalar(value)?))).collect()
    }

    /// Like [`Self::map`], for a mapping in which a value may be forgotten.
    pub fn map_with_gaps(&mut self, entries: Option<&Entries<Option<Scalar<String>>>>) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        for (key, value) in entries.into_iter().flat_map(|e| &e.0) {
            match value {
                Some(value) => map.extend(self.scalar(value).map(|v| (key.text.clone(), v))),
                None => {
                    self.error_help(key.span, format!("`{}` has no value", key.text), "write `\"\"` for an empty one");
                }
            }
        }
        map
    }

    /// A path of the host: absolute, or counted from the manifest's folder; `~/` is the home folder.
    pub fn host_path(&mut self, path: &str, span: Span) -> Option<PathBuf> {
        let path = match path.strip_prefix("~/") {
            Some(rest) => {
                let Some(home) = self.shared.outside.variable("HOME") else {
                    self.error(span, "`~` cannot be replaced: HOME is not set");
                    return None;
                };
                format!("{home}/{rest}")
            }
            None => path.to_owned(),
        };
        let dir = self.file.map_or(Path::new("/"), SourceFile::dir);
        Some(clean(&dir.join(path)))
    }

    /// Reads a file that a manifest names.
    pub fn read(&mut self, path: &str, span: Span, limit: u64, content: Content) -> Result<Vec<u8>, ReadError> {
        let absolute = self.host_path(path, span).ok_or(ReadError::Reported)?;
        self.shared.outside.read(&absolute, limit, content)
    }

    /// Like [`Self::read`], where a failure is an error of the manifest.
    pub fn must_read(&mut self, path: &str, span: Span, limit: u64, content: Content) -> Option<Vec<u8>> {
        match self.read(path, span, limit, content) {
            Ok(bytes) => Some(bytes),
            Err(ReadError::Reported) => None,
            Err(e) => {
                let dir = self.file.map_or(Path::new("/"), SourceFile::dir).display().to_string();
                let message = format!("cannot read `{path}`: {e}");
                if path.starts_with('/') {
                    self.error(span, message);
                } else {
                    self.error_help(span, message, format!("paths count from the manifest's folder, {dir}"));
                }
                None
            }
        }
    }
}

/// Without `.` and `..`, by text alone.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}
