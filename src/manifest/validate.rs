//! Checks of documents and services against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::convert::service::Converted;
use super::finding::{Finding, Place, suggestion};
use super::parse::{Body, Document};
use crate::resource::ResourceKey;
use crate::resource::labels;
use crate::resource::spec::{DependencyCondition, Port};

/// Of one kind about a service; who breaks more than that sees the others once these are gone.
const MAX_FINDINGS: usize = 100;

/// The documents that have a good name of their own, in order. What has none is reported.
pub(super) fn names<'d, 'a>(
    documents: &'d [Document<'a>],
    findings: &mut Vec<Finding>,
) -> Vec<(String, &'d Document<'a>)> {
    let mut named: Vec<(String, &Document<'_>)> = Vec::new();
    let mut first_of: BTreeMap<(&str, &str), &Document<'_>> = BTreeMap::new();
    for document in documents {
        let kind = kind(&document.body);
        let Some(name) = &document.metadata.name else {
            if kind != "Stack" {
                let help = "add `metadata: {name: …}`";
                findings.push(Finding::error(format!("a {kind} without a name")).at(document.start_place()).help(help));
            }
            continue;
        };
        let key = document.key();
        let report = |finding: Finding| finding.about(key.clone()).at(document.place(name.span));
        if let Err(why) = good_name(&document.body, &name.text) {
            findings.push(report(Finding::error(format!("`{}` is not a name of a {kind}: {why}", name.text))));
            continue;
        }
        if let Some(first) = first_of.get(&(kind, name.text.as_str())) {
            let finding = Finding::error(format!("{} `{}` is defined twice", kind.to_lowercase(), name.text));
            findings.push(report(finding.related(first.name_place(), "the first one")));
            continue;
        }
        first_of.insert((kind, name.text.as_str()), document);
        named.push((name.text.clone(), document));
    }
    named
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Service(_) => "Service",
        Body::Network(_) => "Network",
        Body::Volume(_) => "Volume",
        Body::Stack(_) => "Stack",
    }
}

fn good_name(body: &Body, name: &str) -> Result<(), String> {
    // Volumes and networks of Compose files have underscores.
    let infra = matches!(body, Body::Network(_) | Body::Volume(_));
    let good = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || b == b'-'
            || (infra && (b"_.".contains(&b) || b.is_ascii_uppercase()))
    };
    if !(2..=63).contains(&name.len()) {
        return Err("names have 2 to 63 characters".to_owned());
    }
    if let Some(c) = name.chars().find(|c| !c.is_ascii() || !good(*c as u8)) {
        let also =
            if infra { ", letters, `_` and `.`" } else { "; use `networkAliases` for a name that breaks this rule" };
        return Err(format!("{c:?} is not one of `a-z`, `0-9` and `-`{also}"));
    }
    if name.starts_with(['-', '_', '.']) || name.ends_with('-') {
        return Err("names begin and end with a letter or digit".to_owned());
    }
    Ok(())
}

/// `names` are all services that are known to be defined, broken ones too. With `unknown` there are
/// broken documents whose names could not be read.
pub(super) fn services(services: &BTreeMap<String, Converted>, names: &[&str], unknown: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, converted) in services {
        dependencies(name, converted, services, names, unknown, &mut findings);
    }
    cycles(services, &mut findings);
    ports(services, &mut findings);
    container_names(services, &mut findings);
    findings
}

fn at(finding: Finding, place: Option<&Place>, service: &str) -> Finding {
    Finding { place: place.cloned(), ..finding }.about([ResourceKey::service(service)])
}

fn dependencies(
    name: &str,
    converted: &Converted,
    services: &BTreeMap<String, Converted>,
    names: &[&str],
    unknown: bool,
    findings: &mut Vec<Finding>,
) {
    let before = findings.len();
    for dependency in &converted.service.spec.depends_on {
        if findings.len() - before > MAX_FINDINGS {
            break;
        }
        let place = converted.places.depends_on.get(&dependency.service).and_then(Option::as_ref);
        let other = dependency.service.as_str();
        if !names.contains(&other) {
            let suggestion = suggestion(other, names.iter().copied().filter(|n| *n != name));
            let mut finding =
                Finding::error(format!("`{name}` depends on `{other}`, which is not defined{suggestion}"));
            if unknown {
                finding = finding.help("it may be in a document whose error is reported here too");
            }
            findings.push(at(finding, place, name));
            continue;
        }
        let Some(target) = services.get(other) else { continue };
        if dependency.condition == DependencyCondition::Completed
            && !target.service.spec.container.restart.is_one_shot()
        {
            let message = format!("`{name}` waits for `{other}` to complete, but it is not a one-shot");
            let help = format!("give `{other}` `restart: No` or `restart: OnFailure`, or wait for `Ready`");
            findings.push(at(Finding::error(message).help(help), place, name));
        }
        if converted.service.spec.required && !target.service.spec.required {
            let message = format!("`{name}` is required but depends on `{other}`, which is not");
            let help = format!("set `required: true` on `{other}`, or `required: false` on `{name}`");
            findings.push(at(Finding::warning(message).help(help), place, name));
        }
    }
}

/// Cycles that are told one by one: services that all need each other have thousands.
const MAX_CYCLES: usize = 20;
/// Dependencies of one cycle that are shown where they stand, and names of it that are told.
const MAX_STEPS: usize = 8;

/// Each cycle once, beginning with its alphabetically first service.
fn cycles(services: &BTreeMap<String, Converted>, findings: &mut Vec<Finding>) {
    // 0 unseen, 1 on the path, 2 done. Without recursion: a chain may be as long as there are services.
    let mut colour: BTreeMap<&str, u8> = BTreeMap::new();
    let mut told = 0;
    // Those of the cycles that are not told, and the first of their dependencies.
    let mut untold: BTreeSet<&str> = BTreeSet::new();
    let mut first: Option<(&str, Option<&Place>)> = None;
    for start in services.keys() {
        let mut path: Vec<(&str, usize)> = Vec::new();
        if !colour.contains_key(start.as_str()) {
            colour.insert(start, 1);
            path.push((start, 0));
        }
        while let Some((name, next)) = path.last_mut() {
            let name = *name;
            let depends_on = services.get(name).map_or(&[][..], |c| &c.service.spec.depends_on[..]);
            let Some(dependency) = depends_on.get(*next) else {
                colour.insert(name, 2);
                path.pop();
                continue;
            };
            *next += 1;
            let other = dependency.service.as_str();
            match colour.get(other) {
                None if services.contains_key(other) => {
                    colour.insert(other, 1);
                    path.push((other, 0));
                }
                Some(1) => {
                    let from = path.iter().position(|(n, _)| *n == other).unwrap_or(0);
                    let cycle: Vec<&str> = path[from..].iter().map(|(n, _)| *n).collect();
                    if told < MAX_CYCLES {
                        report_cycle(&cycle, services, findings);
                        told += 1;
                    } else {
                        untold.extend(cycle);
                        let place = || services.get(name)?.places.depends_on.get(other)?.as_ref();
                        first.get_or_insert_with(|| (name, place()));
                    }
                }
                _ => {}
            }
        }
    }
    let Some((name, place)) = first else { return };
    let message = "there are more cycles of dependencies; they are shown once these are removed".to_owned();
    findings
        .push(at(Finding::error(message), place, name).about(untold.iter().map(|name| ResourceKey::service(*name))));
}

fn report_cycle(cycle: &[&str], services: &BTreeMap<String, Converted>, findings: &mut Vec<Finding>) {
    let first = cycle.iter().enumerate().min_by_key(|(_, n)| **n).map_or(0, |(i, _)| i);
    let order: Vec<&str> = cycle[first..].iter().chain(&cycle[..first]).copied().collect();
    let mut text: Vec<String> = order.iter().chain(order.first()).map(|n| format!("`{n}`")).collect();
    if text.len() > 2 * MAX_STEPS {
        let left_out = text.len() - 2 * MAX_STEPS;
        text.splice(MAX_STEPS..MAX_STEPS + left_out, [format!("({left_out} more)")]);
    }
    let message = if order.len() == 1 {
        format!("`{}` depends on itself", order[0])
    } else {
        format!("a cycle of dependencies: {}", text.join(" → "))
    };
    let edge = |i: usize| {
        let (from, to) = (order[i], order[(i + 1) % order.len()]);
        services.get(from).and_then(|c| c.places.depends_on.get(to)).and_then(Clone::clone)
    };
    let mut finding = at(
        Finding::error(message).help("none of them could ever start; remove one of these dependencies"),
        edge(0).as_ref(),
        order[0],
    );
    for i in 1..order.len().min(MAX_STEPS) {
        if let Some(place) = edge(i) {
            finding = finding.related(place, format!("`{}` depends on `{}`", order[i], order[(i + 1) % order.len()]));
        }
    }
    // Every member is frozen, not only the one that the finding points at.
    finding = finding.about(order[1..].iter().map(|name| ResourceKey::service(*name)));
    findings.push(finding);
}

/// Two services that publish the same port of the host: the second could never start.
fn ports(services: &BTreeMap<String, Converted>, findings: &mut Vec<Finding>) {
    type Owner<'a> = (&'a str, &'a Port, Option<&'a Place>);
    let mut taken: BTreeMap<(u16, crate::resource::spec::Protocol), Vec<Owner<'_>>> = BTreeMap::new();
    for (name, converted) in services {
        let before = findings.len();
        for (port, place) in &converted.places.ports {
            if findings.len() - before > MAX_FINDINGS {
                break;
            }
            let Some(host_port) = port.host_port else { continue };
            let owners = taken.entry((host_port, port.protocol)).or_default();
            if let Some((other, theirs, first)) = owners.iter().find(|(_, p, _)| overlap(p, port)) {
                let message = if *other == name {
                    format!("host port {host_port}/{} is published twice", port.protocol)
                } else {
                    format!("host port {host_port}/{} is published by `{other}` too", port.protocol)
                };
                let mut finding =
                    at(Finding::error(message).help("give one of them another host port"), place.as_ref(), name);
                if let Some(first) = first {
                    finding = finding.related((*first).clone(), format!("`{other}` publishes {theirs}"));
                }
                findings.push(finding);
            } else {
                owners.push((name, port, place.as_ref()));
            }
        }
    }
}

/// An address clashes with itself and with "all interfaces"; `127.0.0.1` and `192.168.0.1` get along.
fn overlap(a: &Port, b: &Port) -> bool {
    let any = |p: &Port| p.host_ip.as_deref().is_none_or(|ip| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()));
    any(a) || any(b) || a.host_ip == b.host_ip
}

fn container_names(services: &BTreeMap<String, Converted>, findings: &mut Vec<Finding>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    // Who bears its own name goes first: the one that chose another's is to blame.
    let mut order: Vec<_> = services.iter().collect();
    order.sort_by_key(|(_, c)| c.places.container_name.is_some());
    for (name, converted) in order {
        let container = &converted.service.spec.container.name;
        let place = converted.places.container_name.as_ref().or(converted.places.name.as_ref());
        let mut all = vec![container.clone()];
        all.extend([labels::NEXT, labels::OLD, labels::FAILED].map(|suffix| format!("{container}{suffix}")));
        if let Some(other) = all.iter().find_map(|n| taken.get(n)) {
            let mut finding = at(
                Finding::error(format!("container name `{container}` clashes with that of service `{other}`")),
                place,
                name,
            );
            let theirs = services.get(*other).map(|c| &c.places);
            if let Some(first) = theirs.and_then(|p| p.container_name.as_ref().or(p.name.as_ref())) {
                finding = finding.related(first.clone(), "the other one");
            }
            findings.push(finding.help("give one of them another `containerName`"));
            continue;
        }
        taken.extend(all.into_iter().map(|n| (n, name.as_str())));
    }
}
