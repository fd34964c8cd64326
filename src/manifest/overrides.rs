//! `[[service_overrides]]` of the configuration: what differs on this machine from what the manifests say.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::convert::service::Converted;
use super::convert::{Convert, Shared};
use super::finding::{Finding, suggestion};
use super::form::probe::ProbesForm;
use super::scalar::{Scalar, ScalarType};
use super::span::{Span, Spanned};
use super::union::{CommandForm, ShortOr};
use crate::resource::ResourceKey;
use crate::resource::desired::Service;
use crate::resource::image::ImageRef;
use crate::resource::probe::{Check, Probe, StatusRanges};
use crate::resource::spec::{ContainerSpec, NetworkMode, Protocol};

/// One `[[service_overrides]]`. What is not set is left as the manifest has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    pub name: String,
    pub required: Option<bool>,
    pub image: Option<String>,
    /// Replaces the manifest's; one text is split into words.
    pub command: Option<CommandForm>,
    /// Merged with the manifest's, variable by variable; wins over `secretEnv` too.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Replace the manifest's, in the short form.
    pub ports: Option<Vec<String>>,
    /// `http://localhost:PORT/PATH`: readiness by HTTP. PORT is the host's, as the old system had it.
    pub health_check_url: Option<String>,
    /// Replace all of the manifest's, in its own shape.
    pub probes: Option<ProbesForm>,
    pub suspend: Option<bool>,
}

/// Changes the services in place. `names` are all that are defined, broken ones too.
pub(super) fn apply(
    services: &mut BTreeMap<String, Converted>,
    names: &[&str],
    overrides: &[Override],
    shared: &Shared<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, change) in overrides.iter().enumerate() {
        let name = change.name.as_str();
        if !names.contains(&name) {
            let suggestion = suggestion(name, names.iter().copied());
            let message = format!("service_overrides: no service is called `{name}`{suggestion}");
            findings.push(Finding::error(message));
            continue;
        }
        if overrides[..index].iter().any(|o| o.name == name) {
            findings.push(Finding::error(format!("service_overrides: `{name}` is overridden twice")));
            continue;
        }
        // A broken manifest is frozen, with or without overrides.
        let Some(converted) = services.get_mut(name) else { continue };
        let mut cx = Convert {
            shared,
            file: None,
            base: 0,
            key: Some(ResourceKey::service(name)),
            frozen_by: None,
            prefix: format!("service_overrides `{name}`: "),
            findings: Vec::new(),
        };
        cx.change(converted, change);
        findings.extend(cx.findings);
    }
    findings
}

impl Convert<'_> {
    fn change(&mut self, converted: &mut Converted, change: &Override) {
        let Override { name, required, image, command, environment, ports, health_check_url, probes, suspend } = change;
        let Service { name: _, spec, secret_env, files, hash: _ } = converted.service.clone();
        let (mut spec, mut secret_env) = (spec, secret_env);
        spec.required = required.unwrap_or(spec.required);
        spec.suspend = suspend.unwrap_or(spec.suspend);
        if let Some(image) = image {
            let scalar = Scalar::<ImageRef>::new(image.as_str(), Span::default());
            spec.container.image = self.scalar(&scalar).unwrap_or_default();
        }
        if let Some(command) = command {
            spec.container.command = self.command(Some(&Spanned { value: command.clone(), span: Span::default() }));
        }
        for (variable, value) in environment {
            let value = self.scalar(&Scalar::<String>::new(value.as_str(), Span::default())).unwrap_or_default();
            spec.container.env.insert(variable.clone(), value);
            spec.container.secret_env.remove(variable);
            secret_env.remove(variable);
        }
        if let Some(ports) = ports {
            let forms =
                ports.iter().map(|p| Spanned { value: ShortOr::Short(p.clone()), span: Span::default() }).collect();
            let ports = self.ports(Some(&forms));
            spec.container.ports = ports.iter().map(|(port, _)| port.clone()).collect();
            converted.places.ports = ports;
        }
        if let Some(probes) = probes {
            spec.probes = self.probes(Some(probes));
        }
        if let Some(url) = health_check_url {
            if probes.as_ref().is_some_and(|p| p.readiness.is_some()) {
                self.error(Span::default(), "both `health_check_url` and `probes.readiness`; keep one of them");
            }
            match http_check(url, &spec.container) {
                Ok(check) => {
                    let before = spec.probes.readiness.take();
                    spec.probes.readiness = Some(
                        before.map_or_else(|| default_probe(check.clone()), |p| Probe { check: check.clone(), ..p }),
                    );
                }
                Err(why) => self.error(Span::default(), why),
            }
        }
        spec.container.image_healthcheck = spec.probes.uses_docker_health();
        if self.is_sound() {
            converted.service = Service::new(name.as_str(), spec, secret_env, files);
        }
    }
}

fn default_probe(check: Check) -> Probe {
    Probe {
        check,
        interval: Probe::DEFAULT_INTERVAL,
        timeout: Probe::DEFAULT_TIMEOUT,
        deadline: None,
        failure_threshold: Probe::DEFAULT_FAILURE_THRESHOLD,
        success_threshold: 1,
    }
}

/// The old system asked the host's port; probes here ask the container's.
fn http_check(url: &str, container: &ContainerSpec) -> Result<Check, String> {
    let wrong = || format!("health_check_url `{url}` is not `http://localhost:PORT/PATH`");
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        if url.starts_with("https://") { "health_check_url: https is not yet supported".to_owned() } else { wrong() }
    })?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, super::scalar::PortNumber::parse(port)?.0),
        _ => (authority, 80),
    };
    if !["localhost", "127.0.0.1", "0.0.0.0", "[::1]"].contains(&host) {
        return Err(format!("health_check_url `{url}` asks another host; it is about a published port of this one"));
    }
    let published = container.ports.iter().find(|p| p.host_port == Some(port) && p.protocol == Protocol::Tcp);
    let port = match published {
        Some(published) => published.container_port,
        None if container.network_mode == Some(NetworkMode::Host) => port,
        None => {
            let ports: Vec<_> = container.ports.iter().map(ToString::to_string).collect();
            let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
            return Err(format!(
                "health_check_url: the service does not publish host port {port} (published: {ports})"
            ));
        }
    };
    let path = if path.is_empty() { "/" } else { path };
    Ok(Check::Http { port, path: path.to_owned(), status: StatusRanges::default(), headers: BTreeMap::new() })
}
