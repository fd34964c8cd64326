//! Fuzzing of the parsers of manifests and of the configuration: P16. `make fuzz` runs it long, `make test` short.
//!
//! | file | what |
//! |---|---|
//! | this one | the two targets: how an input comes about, and what reads it |
//! | [`corpus`] | what mutation begins with |
//! | [`mutate`] | changes that know no format |
//! | [`generate`] | inputs of the right shape with wrong values |
//! | [`check`] | what must hold of every input |
//! | [`run`] | the loop: panics, hangs, memory; makes what fails small |
//!
//! `RUNS`: how many inputs each target gets, from number `START` on; `SEED`: of which numbers; `CASE`: one of them alone.

mod check;
mod corpus;
mod generate;
mod mutate;
mod rng;
mod run;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use mutate::{MAX_INPUT, mutate};
use rng::Rng;
use run::{Parts, Target, run};
use serde_json::Value;

/// Inputs of each target in `make test`.
const FEW: u64 = 2_000;
/// One in so many inputs may have the largest size that is read, and one is a short text with very much in it.
const LARGE: usize = 2_000;

struct Manifests {
    corpus: Vec<Vec<u8>>,
    configurations: Vec<Vec<u8>>,
    schema: Value,
}

impl Manifests {
    fn file(&self, rng: &mut Rng) -> Vec<u8> {
        let generated = |rng: &mut Rng| generate::manifests(rng, &self.schema).into_bytes();
        let mut bytes = match rng.below(8) {
            0..=2 => generated(rng),
            3 => {
                let (base, other) = (generated(rng), generated(rng));
                mutate(rng, &base, &other)
            }
            4 if rng.one_in(4) => (0..rng.below(300)).map(|_| rng.byte()).collect(),
            _ => {
                let (base, other) = (rng.below(self.corpus.len()), rng.below(self.corpus.len()));
                mutate(rng, &self.corpus[base], &self.corpus[other])
            }
        };
        let limit = usize::try_from(env_manager::manifest::MAX_FILE_BYTES).unwrap();
        match rng.below(LARGE) {
            0 => grow(rng, &mut bytes, limit),
            1 => {
                bytes = generate::wide_manifest(rng).into_bytes();
                bytes.truncate(limit);
            }
            _ => bytes.truncate(MAX_INPUT),
        }
        bytes
    }
}

/// To any size up to the limit, of itself.
fn grow(rng: &mut Rng, bytes: &mut Vec<u8>, limit: usize) {
    let size = rng.below(limit) + 1;
    let piece = if bytes.is_empty() { b"- ".to_vec() } else { bytes.clone() };
    while bytes.len() < size {
        bytes.extend_from_slice(&piece);
    }
    bytes.truncate(size);
}

impl Target for Manifests {
    const NAME: &'static str = "manifests";

    /// A configuration's overrides, then one to three files.
    fn input(&self, rng: &mut Rng) -> Parts {
        let mut parts = vec![Vec::new()];
        if rng.one_in(8) {
            let base = rng.below(self.configurations.len());
            parts[0] = if rng.one_in(2) {
                generate::configuration(rng).into_bytes()
            } else {
                mutate(rng, &self.configurations[base], &self.corpus[0])
            };
        }
        for _ in 0..1 + rng.below(8) / 6 + rng.below(8) / 7 {
            parts.push(self.file(rng));
        }
        parts
    }

    fn check(&self, input: &Parts) -> (bool, Vec<check::Broken>) {
        let size = input.iter().map(Vec::len).sum::<usize>();
        let overrides = check::overrides(&input[0]);
        let name = |n: usize| if size % 16 == 0 { check::file_name(3 - n) } else { check::file_name(n) };
        let files: Vec<(String, Vec<u8>)> =
            input[1..].iter().enumerate().map(|(n, bytes)| (name(n).to_string(), bytes.clone())).collect();
        check::manifests(&files, &overrides, size % 8 == 0)
    }
}

struct Configuration {
    corpus: Vec<Vec<u8>>,
    folder: tempfile::TempDir,
}

impl Target for Configuration {
    const NAME: &'static str = "configuration";

    /// The file, then variables: `NAME=value` with a zero byte after each.
    fn input(&self, rng: &mut Rng) -> Parts {
        let (base, other) = (rng.below(self.corpus.len()), rng.below(self.corpus.len()));
        let mut file = match rng.below(8) {
            0..=1 => generate::configuration(rng).into_bytes(),
            2..=3 => {
                let generated = generate::configuration(rng).into_bytes();
                mutate(rng, &generated, &self.corpus[other])
            }
            4 if rng.one_in(4) => (0..rng.below(300)).map(|_| rng.byte()).collect(),
            _ => mutate(rng, &self.corpus[base], &self.corpus[other]),
        };
        match rng.below(LARGE) {
            0 => grow(rng, &mut file, 1 << 20),
            1 => file = generate::wide_configuration(rng).into_bytes(),
            _ => {}
        }
        let mut variables = Vec::new();
        if rng.one_in(4) {
            for key in env_manager::config::Key::ALL.iter().filter_map(|k| k.info().env) {
                if rng.one_in(4) {
                    let value = mutate(rng, b"30s", &file);
                    variables.extend([key.as_bytes(), b"=", &value, b"\0"].concat());
                }
            }
            variables = mutate(rng, &variables, b"ENV_MANAGER_GIT_X=1\0ENV_MANAGER_\xff=\xff\0");
        }
        vec![file, variables]
    }

    fn check(&self, input: &Parts) -> (bool, Vec<check::Broken>) {
        let variables: BTreeMap<OsString, OsString> = input[1]
            .split(|b| *b == 0)
            .filter_map(|v| {
                let at = v.iter().position(|b| *b == b'=')?;
                Some((OsString::from_vec(v[..at].to_vec()), OsString::from_vec(v[at + 1..].to_vec())))
            })
            .collect();
        let path = self.folder.path().join(format!("{:?}.toml", std::thread::current().id()));
        std::fs::write(&path, &input[0]).unwrap();
        check::configuration(&path, &input[0], variables)
    }
}

#[test]
fn p16_no_manifest_makes_the_parser_panic_hang_grow_or_print_what_a_terminal_obeys() {
    let target = Manifests {
        corpus: corpus::manifests(),
        configurations: corpus::configurations(),
        schema: env_manager::manifest::schema(),
    };
    run(&target, FEW);
}

#[test]
fn p16_no_configuration_makes_the_parser_panic_hang_grow_or_print_what_a_terminal_obeys() {
    let target = Configuration { corpus: corpus::configurations(), folder: tempfile::tempdir().unwrap() };
    run(&target, FEW);
}
