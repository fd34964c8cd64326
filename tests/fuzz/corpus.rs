//! What mutation begins with: every manifest and configuration of the repository, good and bad.

use std::path::Path;

/// Inputs that once broke something, and such as a person would try first.
const KEPT: &str = "tests/fuzz/corpus";

/// Every file below the folders whose name ends so, in the order of their paths.
fn files(folders: &[&str], ends: &[&str]) -> Vec<Vec<u8>> {
    fn walk(folder: &Path, ends: &[&str], found: &mut Vec<Vec<u8>>) {
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|e| e.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                walk(&path, ends, found);
            } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
                found.push(std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(Path::new(folder), ends, &mut found);
    }
    found
}

/// The blocks of one language in a document.
fn examples(document: &str, language: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(document).unwrap();
    let begin = format!("```{language}\n");
    text.split(begin.as_str()).skip(1).filter_map(|t| t.split("```").next()).map(|t| t.as_bytes().to_vec()).collect()
}

pub fn manifests() -> Vec<Vec<u8>> {
    let mut corpus = files(&["manifests", "tests/manifests", "tests/fixtures", KEPT], &[".yaml", ".yml"]);
    corpus.extend(examples("docs/manifests.md", "yaml"));
    assert!(corpus.len() > 30, "the corpus is there: {}", corpus.len());
    corpus
}

pub fn configurations() -> Vec<Vec<u8>> {
    let mut corpus = files(&["src/config/fixtures", "deploy", KEPT], &[".toml"]);
    corpus.extend(examples("docs/configuration.md", "toml"));
    assert!(corpus.len() > 2, "the corpus is there: {}", corpus.len());
    corpus
}
