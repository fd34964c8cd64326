//! The shell of the configuration: reads the environment and the file, then merges.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::file::{self, Parsed, RawOverride};
use super::keys::{self, CONFIG_VARIABLE, DEFAULT_FILE, Key};
use super::merge::{Layer, Origins, Sourced, merge};
use super::problem::{ConfigError, Origin, Problem, expand_home};
use super::types::{Config, Overrides};
use super::values::Raw;
use crate::manifest::did_you_mean;
use crate::resource::printable::printable;

/// Beyond it a configuration file is a mistake (`/dev/zero`).
const MAX_BYTES: u64 = 1 << 20;
/// Longest path in a message, in bytes; the longest that Linux has.
const MAX_SHOWN: usize = 4_096;

/// The environment, handed in so that tests need not change the process's own.
#[derive(Clone, Debug, Default)]
pub struct Environment(pub BTreeMap<OsString, OsString>);

impl Environment {
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// An empty variable counts as one that is not set, as it does for Docker.
    fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|v| !v.is_empty())
    }

    /// A variable that is set, not empty, and text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|v| v.to_str()).map(str::to_owned)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    fn state_dir(&self) -> PathBuf {
        // The specification has relative paths ignored.
        let xdg = self.path("XDG_STATE_HOME").filter(|p| p.is_absolute());
        match xdg.or_else(|| self.home().map(|h| h.join(".local/state"))) {
            Some(dir) => dir.join("env-manager"),
            None => PathBuf::from("/var/lib/env-manager"),
        }
    }
}

/// A configuration, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub origins: Origins,
    /// Where each of `config.service_overrides` stands, in the same order.
    pub overrides: Vec<RawOverride>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What is accepted and does nothing.
    pub notes: Vec<String>,
}

/// Reads everything. `config_flag` is the value of `--config`.
///
/// # Errors
/// All problems at once; each names its key and where it came from.
pub fn load(flags: Layer, config_flag: Option<&str>, env: &Environment) -> Result<Loaded, ConfigError> {
    let home = env.home();
    let (variables, mut problems) = from_environment(env);
    let (file, parsed) = match read_file(config_flag, env, home.as_deref()) {
        Ok(Some((path, text))) => {
            let parsed = file::parse(&path.to_string_lossy(), text);
            (Some(path), parsed)
        }
        Ok(None) => (None, Parsed::default()),
        Err(e) => return Err(e),
    };
    problems.extend(parsed.problems);
    let defaults = Config { state_dir: env.state_dir(), ..Config::default() };
    let (mut config, origins, wrong) = merge(defaults, &[parsed.layer, variables, flags], home.as_deref());
    problems.extend(wrong);
    let mut overrides = Vec::new();
    for item in file::read(&parsed.overrides) {
        match item {
            Ok(read) => overrides.push(read),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        // Tables come sorted by key; people read from the top.
        problems.sort_by_key(Problem::offset);
        return Err(ConfigError::Invalid(problems));
    }
    config.service_overrides = Overrides(overrides);
    let mut notes = Vec::new();
    let attempts = &origins[&Key::HealthCheckMaxAttempts];
    if *attempts != Origin::Default {
        notes.push(format!(
            "`health_check_max_attempts` ({attempts}) has no effect: a service has {} to become ready, however often it is asked",
            humantime::format_duration(config.health_check_timeout)
        ));
    }
    Ok(Loaded { config, origins, overrides: parsed.overrides, file, notes })
}

fn from_environment(env: &Environment) -> (Layer, Vec<Problem>) {
    let mut layer = Layer::default();
    let mut problems = Vec::new();
    for (name, value) in &env.0 {
        // A name that is not UTF-8 is none of ours.
        let Some(name) = name.to_str() else { continue };
        let Some(key) = Key::from_env(name) else {
            if let Some(rest) = name.strip_prefix("ENV_MANAGER_").filter(|_| !keys::is_foreign(name)) {
                problems.push(unknown_variable(name, rest));
            }
            continue;
        };
        let Some(variable) = key.info().env.filter(|_| !value.is_empty()) else { continue };
        let origin = Origin::Env(variable);
        match value.to_str() {
            Some(text) => {
                let value = Raw::Word(text.to_owned());
                layer.values.insert(key, Sourced { value, origin, place: None });
            }
            None => problems.push(Problem::new(format!("invalid `{}`: not UTF-8", key.name()), Some(origin))),
        }
    }
    (layer, problems)
}

fn unknown_variable(name: &str, rest: &str) -> Problem {
    let section = keys::LATER_SECTIONS.iter().find(|s| {
        rest.to_ascii_lowercase().strip_prefix(**s).is_some_and(|tail| tail.is_empty() || tail.starts_with('_'))
    });
    if let Some(section) = section {
        let message = format!("variable {name}: `{section}` is not yet supported by this version of env-manager");
        return Problem::new(message, None).with_help(Some("unset it".to_owned()));
    }
    let known = Key::ALL.iter().filter_map(|k| k.info().env).chain([CONFIG_VARIABLE]);
    // All begin alike, which would make all of them look alike.
    let tails = known.filter_map(|k| k.strip_prefix("ENV_MANAGER_"));
    let help = did_you_mean(rest, tails).map_or_else(
        || "no key of the configuration has this variable; `env-manager config show` lists them".to_owned(),
        |k| format!("did you mean `ENV_MANAGER_{k}`?"),
    );
    Problem::new(format!("unknown variable {name}"), None).with_help(Some(help))
}

/// The file that is named, which must be there, or the one at the usual place, which need not.
fn read_file(
    flag: Option<&str>,
    env: &Environment,
    home: Option<&Path>,
) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let variable = env.get(CONFIG_VARIABLE);
    let (given, named_by, required) = match (flag, variable) {
        (Some(path), _) => (path.to_owned(), "flag --config".to_owned(), true),
        (None, Some(path)) => (path.to_string_lossy().into_owned(), format!("variable {CONFIG_VARIABLE}"), true),
        (None, None) if home.is_some() => (DEFAULT_FILE.to_owned(), "the usual place".to_owned(), false),
        (None, None) => return Ok(None),
    };
    let path = expand_home(&given, home).map_err(|wrong| {
        ConfigError::Invalid(vec![Problem::new(
            format!("invalid path of the configuration file: {wrong} ({named_by})"),
            None,
        )])
    })?;
    match read_text(&path) {
        Ok(Ok(text)) => Ok(Some((path, text))),
        Ok(Err(what)) => Err(ConfigError::NotText { path: shown(&path), named_by, what }),
        Err(e) if !required && e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: shown(&path), named_by, source }),
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy(), MAX_SHOWN)
}

fn read_text(path: &Path) -> std::io::Result<Result<String, &'static str>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err("is larger than 1 MiB"));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "is not UTF-8 text"))
}
