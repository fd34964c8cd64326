//! From files to the whole desired set: parse, convert, check everything against everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::convert::infra::StackDefaults;
use super::convert::service::Converted;
use super::convert::{Convert, Defaults, Shared};
use super::file::SourceFile;
use super::finding::Finding;
use super::outside::Outside;
use super::overrides::{self, Override};
use super::parse::{Body, Broken, Document, parse};
use super::scalar::Scalar;
use super::span::Span;
use super::validate;
use crate::resource::desired::{DesiredSpec, Service};
use crate::resource::spec::{NetworkSpec, VolumeSpec};
use crate::resource::{Kind, ResourceKey};

/// Of a whole set. Each document has a limit of its own, and there may be a thousand of them.
const MAX_FINDINGS: usize = 1_000;

/// What a set of files asks for.
#[derive(Debug, Default)]
pub struct Set {
    pub resources: BTreeMap<ResourceKey, DesiredSpec>,
    /// Keys that an error is about, with the first one's message: frozen (P5).
    pub invalid: BTreeMap<ResourceKey, String>,
    /// The file that each resource stands in, also of invalid ones where it is known.
    pub defined: BTreeMap<ResourceKey, Arc<str>>,
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
    /// What was skipped, and why.
    pub notes: Vec<String>,
}

impl Set {
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }
}

/// Builds the set. Pure: variables and files come through `outside`.
pub fn build(
    files: &[SourceFile],
    stack: &str,
    defaults: &Defaults,
    overrides: &[Override],
    outside: &dyn Outside,
) -> Set {
    let mut set = Set::default();
    let mut documents = Vec::new();
    let mut broken = Vec::new();
    let mut broken_keys = Vec::new();
    // Why every service is frozen.
    let mut stack_error = None;
    for file in files {
        let parsed = parse(file);
        if let Some(at) = parsed.broken.iter().position(Broken::is_stack) {
            let error = parsed.findings.get(at).or(parsed.findings.first());
            stack_error = stack_error.or(error.map(ToString::to_string));
        }
        set.findings.extend(parsed.findings);
        set.notes.extend(parsed.notes);
        documents.extend(parsed.documents);
        broken_keys.extend(parsed.broken.iter().filter_map(Broken::key).map(|k| (k, Arc::clone(file.name()))));
        broken.extend(parsed.broken);
    }

    let mut shared = Shared::new(stack, defaults.clone(), outside);
    shared.broken = broken_keys.iter().map(|(key, _)| key.clone()).collect();
    let before = set.findings.len();
    if let Some(stack) = stack_defaults(&documents, &shared, &mut set.findings) {
        if let Ok(stack) = stack {
            shared.apply(stack);
        } else {
            let error = set.findings[before..].iter().find(|f| f.is_error());
            stack_error = stack_error.or(error.map(ToString::to_string));
        }
    }
    let all_documents = documents;
    let documents = validate::names(&all_documents, &mut set.findings);
    let infra = infra(&documents, &shared, &mut set.findings);
    shared.networks = infra.network_names;
    shared.volumes = infra.volume_names;
    shared.broken.extend(infra.broken);

    let mut services = BTreeMap::new();
    for (name, document) in &documents {
        let Body::Service(form) = &document.body else { continue };
        let key = ResourceKey::service(name.as_str());
        let mut cx = convert(&shared, document, Some(key));
        services.insert(name.clone(), cx.service(name, &document.metadata, form, Span::default()));
        if let Some(other) = cx.frozen_by {
            let error = set.findings.iter().find(|f| f.is_error() && f.keys.contains(&other));
            let why = format!("the manifest of {other} has an error{}", after_colon(error));
            set.invalid.insert(ResourceKey::service(name.as_str()), why);
        }
        if let Some(error) = &stack_error {
            let why = "the `Stack` manifest has an error, and every service takes defaults from it";
            set.invalid.insert(ResourceKey::service(name.as_str()), format!("{why}: {error}"));
        }
        set.findings.extend(with_places(cx.findings, document));
    }
    let broken_services: Vec<String> =
        broken_keys.iter().map(|(k, _)| k).filter(|k| k.kind == Kind::Service).map(|k| k.name.to_string()).collect();
    let unknown_document = broken.iter().any(|b| b.name.is_none());
    let names: Vec<&str> = documents
        .iter()
        .filter(|(_, d)| matches!(d.body, Body::Service(_)))
        .map(|(n, _)| n.as_str())
        .chain(broken_services.iter().map(String::as_str))
        .collect();
    // Before the services are checked against each other: an override may move a port out of the way.
    set.findings.extend(overrides::apply(&mut services, &names, overrides, &shared));
    set.findings.extend(validate::services(&services, &names, unknown_document));

    set.defined = defined(&all_documents, broken_keys, &services, &shared);
    assemble(&mut set, services, infra.networks, infra.volumes, stack);
    set
}

/// Where each resource stands. The first file wins, as it does where a name is defined twice.
fn defined(
    documents: &[Document<'_>],
    broken: Vec<(ResourceKey, Arc<str>)>,
    services: &BTreeMap<String, Converted>,
    shared: &Shared<'_>,
) -> BTreeMap<ResourceKey, Arc<str>> {
    let mut defined = BTreeMap::new();
    let named = documents.iter().filter_map(|d| Some((d.key()?, Arc::clone(d.file.name()))));
    for (key, file) in named.chain(broken) {
        let engine = match key.kind {
            Kind::Service => None,
            Kind::Network => shared.networks.get(&*key.name),
            Kind::Volume => shared.volumes.get(&*key.name),
        };
        let key =
            engine.map_or_else(|| on_engine(&key, shared.stack), |name| ResourceKey::new(key.kind, name.as_str()));
        defined.entry(key).or_insert(file);
    }
    for (name, converted) in services {
        let Some(file) = defined.get(&ResourceKey::service(name.as_str())).cloned() else { continue };
        for key in converted.service.resources() {
            defined.entry(key).or_insert_with(|| Arc::clone(&file));
        }
    }
    defined
}

/// Networks and volumes are keyed by their names on the engine.
fn on_engine(key: &ResourceKey, stack: &str) -> ResourceKey {
    match key.kind {
        Kind::Network if &*key.name == "default" => ResourceKey::network(super::convert::default_network(stack)),
        _ => key.clone(),
    }
}

/// `: a.yaml:3:1: …`
fn after_colon(error: Option<&Finding>) -> String {
    error.map(|e| format!(": {e}")).unwrap_or_default()
}

fn assemble(
    set: &mut Set,
    services: BTreeMap<String, Converted>,
    networks: Vec<NetworkSpec>,
    volumes: Vec<VolumeSpec>,
    stack: &str,
) {
    set.findings.sort_by_key(Finding::sort_key);
    let mut messages = BTreeMap::new();
    for finding in set.findings.iter().filter(|f| f.is_error()) {
        for key in &finding.keys {
            messages.entry(on_engine(key, stack)).or_insert_with(|| finding.to_string());
        }
    }
    // A service's own error says more than that of what it uses.
    set.invalid.extend(messages);
    cut(&mut set.findings);
    for spec in networks {
        set.resources.insert(ResourceKey::network(spec.name.as_str()), DesiredSpec::Network(Arc::new(spec)));
    }
    for spec in volumes {
        set.resources.insert(ResourceKey::volume(spec.name.as_str()), DesiredSpec::Volume(Arc::new(spec)));
    }
    for (name, converted) in services {
        let key = ResourceKey::service(name.as_str());
        if !set.invalid.contains_key(&key) {
            insert_implied(&mut set.resources, &converted.service);
            set.resources.insert(key, DesiredSpec::Service(Arc::new(converted.service)));
        }
    }
    set.resources.retain(|key, _| !set.invalid.contains_key(key));
}

/// What is beyond would be read by nobody, and would not fit into a message.
fn cut(findings: &mut Vec<Finding>) {
    let Some(beyond) = findings.get(MAX_FINDINGS..).filter(|beyond| !beyond.is_empty()) else { return };
    let errors = beyond.iter().filter(|f| f.is_error()).count();
    let (which, what) = match errors {
        0 => (Finding::warning as fn(String) -> Finding, format!("{} more warnings", beyond.len())),
        n => (Finding::error as fn(String) -> Finding, format!("{n} more errors")),
    };
    let mut last = which(format!("{what} from here on; they are shown once those above are mended"));
    last.place.clone_from(&beyond[0].place);
    last.path.clone_from(&beyond[0].path);
    findings.truncate(MAX_FINDINGS);
    findings.push(last);
}

/// Every network and volume that a service names is a resource, with or without a manifest of its own.
pub(super) fn insert_implied(resources: &mut BTreeMap<ResourceKey, DesiredSpec>, service: &Service) {
    for key in service.resources() {
        let name = key.name.to_string();
        let spec = match key.kind {
            Kind::Network => DesiredSpec::Network(Arc::new(NetworkSpec { name, ..NetworkSpec::default() })),
            Kind::Volume => DesiredSpec::Volume(Arc::new(VolumeSpec { name, ..VolumeSpec::default() })),
            Kind::Service => continue,
        };
        resources.entry(key).or_insert(spec);
    }
}

fn convert<'a>(shared: &'a Shared<'a>, document: &Document<'a>, key: Option<ResourceKey>) -> Convert<'a> {
    Convert {
        shared,
        file: Some(document.file),
        base: document.base,
        key,
        prefix: String::new(),
        frozen_by: None,
        findings: Vec::new(),
    }
}

/// A finding without a place of its own points at the document's name.
fn with_places(findings: Vec<Finding>, document: &Document<'_>) -> impl Iterator<Item = Finding> {
    let fallback = document.name_place();
    findings.into_iter().map(move |mut f| {
        f.place.get_or_insert_with(|| fallback.clone());
        f
    })
}

fn stack_defaults(
    documents: &[Document<'_>],
    shared: &Shared<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Result<StackDefaults, ()>> {
    let mut stacks = documents.iter().filter(|d| matches!(d.body, Body::Stack(_)));
    let first = stacks.next()?;
    let mut is_only = true;
    for second in stacks {
        is_only = false;
        let finding = Finding::error("a second `Stack`; there is one for the whole set").at(second.start_place());
        findings.push(finding.related(first.start_place(), "the first one"));
    }
    let Body::Stack(form) = &first.body else { return None };
    let mut cx = convert(shared, first, None);
    let stack = cx.stack(form);
    let stack = if is_only && cx.is_sound() { Ok(stack) } else { Err(()) };
    findings.extend(with_places(cx.findings, first));
    Some(stack)
}

#[derive(Default)]
struct Infra {
    networks: Vec<NetworkSpec>,
    volumes: Vec<VolumeSpec>,
    network_names: BTreeMap<String, String>,
    volume_names: BTreeMap<String, String>,
    /// By the names that services use.
    broken: Vec<ResourceKey>,
}

fn infra(named: &[(String, &Document<'_>)], shared: &Shared<'_>, findings: &mut Vec<Finding>) -> Infra {
    let mut infra = Infra::default();
    for (name, document) in named {
        match &document.body {
            Body::Network(form) => {
                let mut cx = convert(shared, document, Some(ResourceKey::network(name.as_str())));
                let spec = cx.network_spec(name, form);
                infra.network_names.insert(name.clone(), spec.name.clone());
                if cx.is_sound() {
                    clash(&mut cx, form.name.as_ref(), infra.networks.iter().any(|n| n.name == spec.name));
                    infra.networks.push(spec);
                }
                if !cx.is_sound() {
                    infra.broken.extend(cx.key.clone());
                }
                findings.extend(with_places(cx.findings, document));
            }
            Body::Volume(form) => {
                let mut cx = convert(shared, document, Some(ResourceKey::volume(name.as_str())));
                let spec = cx.volume_spec(name, form);
                infra.volume_names.insert(name.clone(), spec.name.clone());
                if cx.is_sound() {
                    clash(&mut cx, form.name.as_ref(), infra.volumes.iter().any(|v| v.name == spec.name));
                    infra.volumes.push(spec);
                }
                if !cx.is_sound() {
                    infra.broken.extend(cx.key.clone());
                }
                findings.extend(with_places(cx.findings, document));
            }
            Body::Service(_) | Body::Stack(_) => {}
        }
    }
    infra
}

fn clash(cx: &mut Convert<'_>, name: Option<&Scalar<String>>, is_taken: bool) {
    if is_taken {
        cx.error(name.map_or(Span::default(), |n| n.span), "another manifest has the same name on the engine");
    }
}
