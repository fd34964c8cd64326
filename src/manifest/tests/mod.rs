//! Manifests, without a file system.
//!
//! | file | what |
//! |---|---|
//! | [`values`] | what single fields mean |
//! | [`limits`] | hostile input: bombs, depth, size |
//! | [`on_change`] | what a changed content of a file does |
//! | [`hash`] | P18: what the hash of a spec depends on, and what not |
//! | [`overrides`] | `[[service_overrides]]` |
//!
//! Findings as people read them are snapshots of `tests/manifests.rs`.

mod hash;
mod limits;
mod on_change;
mod overrides;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::resource::ResourceKey;
use crate::resource::desired::{DesiredSpec, Service};

/// Variables and files out of thin air.
#[derive(Default)]
struct Fake {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static [u8]>,
}

impl Outside for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|v| (*v).to_owned())
    }

    fn read(&self, path: &Path, limit: u64, _: Content) -> Result<Vec<u8>, ReadError> {
        let bytes = self.files.get(path.to_str().unwrap()).ok_or(ReadError::Missing)?;
        if bytes.len() as u64 > limit { Err(ReadError::TooLarge(limit)) } else { Ok(bytes.to_vec()) }
    }
}

fn set_of(text: &str, outside: &Fake) -> Set {
    let file = SourceFile::from_bytes("a.yaml", Path::new("/m"), text.as_bytes().to_vec());
    build(&[file], "default", &Defaults::default(), &[], outside)
}

/// `spec` is indented by two.
fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  image: busybox:1.36\n{spec}"
    )
}

#[track_caller]
fn service_of(set: &Set, name: &str) -> Arc<Service> {
    assert_eq!(render(&set.findings, false), "");
    match &set.resources[&ResourceKey::service(name)] {
        DesiredSpec::Service(service) => service.clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn service(spec: &str) -> Arc<Service> {
    service_of(&set_of(&manifest("web", spec), &Fake::default()), "web")
}

/// All messages, without places.
fn messages(set: &Set) -> Vec<&str> {
    set.findings.iter().map(|f| f.message.as_str()).collect()
}
