//! The manifests as a verb sees them: read, reported, summed up.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::terminal::Look;
use crate::config;
use crate::config::keys::OVERRIDES;
use crate::config::load::Environment;
use crate::manifest::{Defaults, Finding, render};
use crate::report::{SourceKind, SourceView};
use crate::source::{LoadContext, Loaded, SourceRevision, dir, host_name};

/// Reads the folder that the configuration names.
pub fn read(configuration: &config::Loaded, env: &Environment) -> Loaded {
    let config = &configuration.config;
    let deadline = config.health_check_timeout;
    let variable = |name: &str| env.0.get(OsStr::new(name)).and_then(|v| v.to_str()).map(str::to_owned);
    let mut loaded = dir::load(
        &config.manifests,
        &LoadContext {
            stack: &config.stack,
            defaults: Defaults { progress_deadline: deadline, startup_deadline: deadline, ..Defaults::default() },
            overrides: &config.service_overrides.0,
            variables: &variable,
            host: &host_name(),
        },
    );
    for finding in &mut loaded.findings {
        place_override(finding, configuration);
    }
    loaded
}

/// Findings about `[[service_overrides]]` know no file; we do.
fn place_override(finding: &mut Finding, configuration: &config::Loaded) {
    if finding.place.is_none() && finding.path.is_none() && finding.message.starts_with(OVERRIDES) {
        let named = configuration.overrides.iter().find(|o| finding.message.contains(&format!("`{}`", o.name)));
        finding.path = named.map(|o| o.origin.to_string().into());
    }
}

/// Prints what is wrong, and with `warnings` also what is doubtful.
pub fn report(loaded: &Loaded, warnings: bool, look: &Look) {
    let shown: Vec<_> = loaded.findings.iter().filter(|f| warnings || f.is_error()).cloned().collect();
    if !shown.is_empty() {
        look.print(&format!("{}\n\n", render(&shown, true)));
    }
}

/// The errors, as `validate` prints them but without colours.
pub fn findings(loaded: &Loaded) -> String {
    let errors: Vec<_> = loaded.errors().cloned().collect();
    if errors.is_empty() { String::new() } else { render(&errors, false) }
}

/// For the overall line and for JSON.
pub fn view(configuration: &config::Loaded, loaded: &Loaded, revision: &SourceRevision) -> SourceView {
    SourceView {
        kind: SourceKind::Dir,
        location: absolute(&configuration.config.manifests).display().to_string(),
        revision: revision.full.clone(),
        short_revision: revision.short.clone(),
        error: loaded.errors().next().map(ToString::to_string),
    }
}

/// From wherever it is read: a daemon and whoever asks it may stand in different folders.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Resources that an error is about, and files with errors about none.
pub fn invalid_manifests(loaded: &Loaded) -> usize {
    let about = |f: &Finding| match (&f.keys[..], &f.place, &f.path) {
        ([key, ..], _, _) => key.to_string(),
        ([], Some(place), _) => place.file.to_string(),
        ([], None, path) => path.as_deref().unwrap_or_default().to_owned(),
    };
    loaded.errors().map(about).collect::<BTreeSet<_>>().len()
}
