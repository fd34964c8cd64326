//! `graph`: who needs whom.

use clap::{Args, ValueEnum};

use super::Session;
use crate::cli::exit::{Exit, Failure};
use crate::cli::source;
use crate::resource::Kind;
use crate::resource::desired::DesiredSet;
use crate::resource::spec::{DependencyCondition, NamespaceMode, NetworkMode, ServiceSpec};

/// Draw who needs whom
///
/// An arrow leads from a service to what it needs first; optional services are dashed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager graph > graph.mmd\n  env-manager graph -o dot | dot -Tsvg > graph.svg"
)]
pub struct Arguments {
    /// Language of the drawing: for Mermaid or Graphviz
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t)]
    output: Language,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Language {
    #[default]
    Mermaid,
    // Graphviz.
    Dot,
}

pub fn run(session: &Session, arguments: &Arguments) -> Result<Exit, Failure> {
    let loaded = session.load(false)?;
    let read = source::read(&loaded, &session.env);
    source::report(&read, false, &session.terminal.err);
    session.terminal.out.print(&draw(&read.set, arguments.output));
    Ok(if read.set.has_errors { Exit::Invalid } else { Exit::Done })
}

/// From, to, and what the arrow says.
struct Edge {
    from: String,
    to: String,
    label: Option<String>,
}

/// The same text for the same set.
pub fn draw(set: &DesiredSet, language: Language) -> String {
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for (key, spec) in set.resources.iter().filter(|(key, _)| key.kind == Kind::Service) {
        let Some(service) = spec.as_service() else { continue };
        nodes.push((key.name.to_string(), service.spec.required));
        edges.extend(edges_of(&key.name, &service.spec));
    }
    match language {
        Language::Mermaid => mermaid(&nodes, &edges),
        Language::Dot => dot(&nodes, &edges),
    }
}

fn edges_of(name: &str, spec: &ServiceSpec) -> Vec<Edge> {
    let edge = |to: &str, label: Option<String>| Edge { from: name.to_owned(), to: to.to_owned(), label };
    let needs = spec.depends_on.iter().map(|d| {
        // Ready is what one expects.
        edge(&d.service, (d.condition != DependencyCondition::Ready).then(|| d.condition.to_string()))
    });
    let network = match &spec.container.network_mode {
        Some(NetworkMode::Service(other)) => Some(edge(other, Some("network of".to_owned()))),
        _ => None,
    };
    let shares = |mode: &Option<NamespaceMode>, what: &str| match mode {
        Some(NamespaceMode::Service(other)) => Some(edge(other, Some(format!("{what} of")))),
        _ => None,
    };
    let (pid, ipc) = (shares(&spec.container.pid_mode, "processes"), shares(&spec.container.ipc_mode, "memory"));
    needs.chain(network).chain(pid).chain(ipc).collect()
}

/// Nodes have numbers for ids: `end` is a word of the language.
fn mermaid(nodes: &[(String, bool)], edges: &[Edge]) -> String {
    let mut out = String::from("graph LR\n");
    let id = |name: &str| nodes.iter().position(|(n, _)| n == name).map(|i| format!("n{i}"));
    for (i, (name, required)) in nodes.iter().enumerate() {
        out.push_str(&format!("  n{i}[\"{name}\"]{}\n", if *required { "" } else { ":::optional" }));
    }
    for Edge { from, to, label } in edges {
        // What a broken manifest describes is not drawn.
        if let (Some(from), Some(to)) = (id(from), id(to)) {
            let label = label.as_ref().map_or_else(String::new, |l| format!("|{l}|"));
            out.push_str(&format!("  {from} -->{label} {to}\n"));
        }
    }
    out.push_str("  classDef optional stroke-dasharray: 4 3\n");
    out
}

fn dot(nodes: &[(String, bool)], edges: &[Edge]) -> String {
    let mut out = String::from("digraph services {\n  rankdir=LR;\n  node [shape=box];\n");
    for (name, required) in nodes {
        out.push_str(&format!("  \"{name}\"{};\n", if *required { "" } else { " [style=dashed]" }));
    }
    for Edge { from, to, label } in edges.iter().filter(|e| nodes.iter().any(|(n, _)| *n == e.to)) {
        let label = label.as_ref().map_or_else(String::new, |l| format!(" [label=\"{l}\"]"));
        out.push_str(&format!("  \"{from}\" -> \"{to}\"{label};\n"));
    }
    out.push_str("}\n");
    out
}
