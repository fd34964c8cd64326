//! What must hold of every input, whatever it is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use env_manager::config::load::Environment;
use env_manager::config::{ConfigError, Layer, Origin, load};
use env_manager::manifest::{self, Content, Defaults, Finding, Outside, Override, Place, ReadError, Set, SourceFile};
use env_manager::resource::desired::DesiredSpec;

/// A rule that an input breaks: its name, and what breaks it.
pub type Broken = (&'static str, String);

/// One thing of an input whose text is shown, with its colours, may have this many bytes.
const LONGEST: usize = 8 << 10;

/// Moves a terminal's cursor, or turns the text of what follows around.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text that is printed as it is, on one line.
fn line(broken: &mut Vec<Broken>, rule: &'static str, text: &str) {
    if text.contains(is_unprintable) {
        broken.push((rule, format!("{text:?}")));
    }
    if text.len() > LONGEST {
        broken.push(("what is said is short", format!("{rule}: {} bytes, {:.200}…", text.len(), text)));
    }
}

/// A text for a terminal, of several lines and with colours.
fn block(broken: &mut Vec<Broken>, rule: &'static str, text: &str, styled: bool) {
    let mut rest = String::with_capacity(text.len());
    let mut pieces = text.split("\u{1b}[");
    rest.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        // Colours only: digits and semicolons up to an `m`.
        let end = piece
            .find(|c: char| !c.is_ascii_digit() && c != ';')
            .filter(|end| styled && piece[*end..].starts_with('m'));
        rest.push_str(end.map_or("\u{1b}", |_| ""));
        rest.push_str(&piece[end.map_or(0, |end| end + 1)..]);
    }
    if rest.contains(|c| is_unprintable(c) && c != '\n') {
        broken.push((rule, format!("{text:?}")));
    }
}

/// Variables and files without a machine: what there is depends on the name alone.
pub struct Nowhere;

impl Outside for Nowhere {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "A" => Some("a value\u{1b}[7m".to_owned()),
            "EVERY_FIELD_TOKEN" => Some("hunter2".to_owned()),
            _ => None,
        }
    }

    fn read(&self, path: &Path, limit: u64, _: Content) -> Result<Vec<u8>, ReadError> {
        match path.as_os_str().as_encoded_bytes().iter().fold(0u8, |sum, b| sum.wrapping_mul(31).wrapping_add(*b)) % 8 {
            0 => Err(ReadError::Missing),
            1 => Err(ReadError::TooLarge(limit)),
            2 => Err(ReadError::NotAFile),
            3 => Err(ReadError::Other("it is\u{7} broken".to_owned())),
            4 => Ok(vec![0xff, 0xfe, 0, b'\n']),
            5 => Ok(b"A=1\nB\n=x\nC='d\n\x1b[0m=\n".to_vec()),
            _ => Ok(b"text\n".to_vec()),
        }
    }
}

/// Overrides as a configuration gives them, if it is one.
pub fn overrides(text: &[u8]) -> Vec<Override> {
    let parsed = env_manager::config::file::parse("env-manager.toml", String::from_utf8_lossy(text).into_owned());
    env_manager::config::file::read(&parsed.overrides).into_iter().filter_map(Result::ok).collect()
}

/// Builds the set of the files, and says what is wrong with the answer. `true`: there is nothing to object to.
pub fn manifests(files: &[(String, Vec<u8>)], overrides: &[Override], again: bool) -> (bool, Vec<Broken>) {
    let build = || {
        let files: Vec<SourceFile> =
            files.iter().map(|(name, bytes)| SourceFile::from_bytes(name, Path::new("/m"), bytes.clone())).collect();
        let set = manifest::build(&files, "default", &Defaults::default(), overrides, &Nowhere);
        (files, set)
    };
    let (files, set) = build();
    let files = Files::of(&files);
    let mut broken = Vec::new();
    for finding in &set.findings {
        of_finding(&mut broken, finding, &files);
    }
    for note in &set.notes {
        line(&mut broken, "a note holds no control characters", note);
    }
    for (key, why) in &set.invalid {
        line(&mut broken, "a frozen resource has a printable name", &key.to_string());
        line(&mut broken, "why a resource is frozen holds no control characters", why);
        if set.resources.contains_key(key) {
            broken.push(("what is frozen is not applied too", key.to_string()));
        }
        if !set.has_errors() {
            broken.push(("nothing is frozen without an error", key.to_string()));
        }
    }
    for (key, spec) in &set.resources {
        line(&mut broken, "a resource has a printable name", &key.to_string());
        if !set.defined.contains_key(key) {
            broken.push(("it is known where a resource stands", key.to_string()));
        }
        if let DesiredSpec::Service(service) = spec {
            // What the daemon keeps of it, and what `describe` prints.
            let kept = serde_json::to_string(&service.spec).unwrap();
            if serde_json::from_str::<env_manager::resource::spec::ServiceSpec>(&kept).ok().as_ref()
                != Some(&service.spec)
            {
                broken.push(("a spec is read back as it was written", kept));
            }
        }
    }
    if again && !same(&set, &build().1) {
        broken.push(("the same files give the same set", format!("{:?}", set.findings)));
    }
    (!set.has_errors(), broken)
}

fn same(a: &Set, b: &Set) -> bool {
    a.resources == b.resources
        && a.invalid == b.invalid
        && a.findings == b.findings
        && a.notes == b.notes
        && a.defined == b.defined
}

/// The lines of each file. Found once: a set of some MiB may have a thousand findings, each with several places.
struct Files<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Files<'a> {
    fn of(files: &'a [SourceFile]) -> Self {
        // The first of a name, as everywhere.
        Self(files.iter().rev().map(|f| (&**f.name(), f.text().split('\n').collect())).collect())
    }
}

fn of_finding(broken: &mut Vec<Broken>, finding: &Finding, files: &Files) {
    line(broken, "a finding's message holds no control characters", &finding.message);
    line(broken, "a finding's line holds no control characters", &finding.to_string());
    if let Some(help) = &finding.help {
        line(broken, "a finding's help holds no control characters", help);
    }
    let from_configuration = finding.message.starts_with("service_overrides");
    match &finding.place {
        Some(place) => of_place(broken, place, files),
        // There is no line in a file that is no text.
        None if from_configuration || finding.message.contains("UTF-16") => {}
        None => broken.push(("a finding has a line and a column", finding.to_string())),
    }
    for related in &finding.related {
        of_place(broken, &related.place, files);
        line(broken, "what stands at a place holds no control characters", &related.label);
    }
    for key in &finding.keys {
        line(broken, "a resource that a finding is about has a printable name", &key.to_string());
    }
    let one = std::slice::from_ref(finding);
    for styled in [false, true] {
        let text = manifest::render(one, styled);
        block(broken, "a finding is rendered without control characters", &text, styled);
        if text.len() > LONGEST {
            broken.push(("what is said is short", format!("{} bytes, {:.200}…", text.len(), text)));
        }
    }
}

fn of_place(broken: &mut Vec<Broken>, place: &Place, files: &Files) {
    line(broken, "a shown line holds no control characters", &place.text);
    let Some(lines) = files.0.get(&*place.file) else {
        return broken.push(("a place is in a file of the set", place.to_string()));
    };
    let text = lines.get(place.line.wrapping_sub(1));
    if !text.is_some_and(|t| (1..=t.chars().count() + 1).contains(&place.column)) || place.length == 0 {
        broken.push(("a place is in its file", format!("{place} {text:?}")));
    }
}

/// Loads a configuration from a file and variables, and says what is wrong with the answer.
pub fn configuration(path: &Path, text: &[u8], variables: BTreeMap<OsString, OsString>) -> (bool, Vec<Broken>) {
    let mut broken = Vec::new();
    let only_file = variables.is_empty();
    let name = path.to_string_lossy();
    match load(Layer::default(), Some(&*name), &Environment(variables)) {
        Ok(loaded) => {
            for note in &loaded.notes {
                line(&mut broken, "a note holds no control characters", note);
            }
            let rows = env_manager::config::show::rows(&loaded);
            assert!(rows.len() >= env_manager::config::Key::ALL.len());
            (true, broken)
        }
        Err(error) => {
            for styled in [false, true] {
                block(&mut broken, "an error is rendered without control characters", &error.render(styled), styled);
            }
            match &error {
                ConfigError::Invalid(problems) => {
                    for problem in problems {
                        of_problem(&mut broken, problem, text, only_file);
                    }
                }
                other => line(&mut broken, "an error holds no control characters", &other.to_string()),
            }
            (false, broken)
        }
    }
}

fn of_problem(broken: &mut Vec<Broken>, problem: &env_manager::config::Problem, text: &[u8], only_file: bool) {
    line(broken, "a problem's line holds no control characters", &problem.to_string());
    for styled in [false, true] {
        let rendered = problem.render(styled);
        block(broken, "a problem is rendered without control characters", &rendered, styled);
        if rendered.len() > LONGEST {
            broken.push(("what is said is short", format!("{} bytes, {:.200}…", rendered.len(), rendered)));
        }
    }
    match &problem.origin {
        Some(Origin::File { line, column, path: _ }) => {
            let text = String::from_utf8_lossy(text);
            let found = text.split('\n').nth(line.wrapping_sub(1));
            if !found.is_some_and(|t| (1..=t.chars().count() + 1).contains(column)) {
                broken.push(("a place is in its file", format!("{line}:{column} {found:?}")));
            }
        }
        _ if !only_file => {}
        other => broken.push(("a problem of a file has a line and a column", format!("{problem} {other:?}"))),
    }
}

/// The names that files are given: what a person would, and what nobody should.
pub fn file_name(n: usize) -> Arc<str> {
    ["a.yaml", "b.yml", "sub/c.yaml", "d \u{1b}[31m.yaml"][n % 4].into()
}
