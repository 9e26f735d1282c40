//! What the sources have to look like, where neither rustfmt nor clippy says so: width, headers, names, invariants, no
//! circles.
//!
//! Long functions and long lists of parameters are clippy's (`.clippy.toml`); what nobody uses is the compiler's.

pub(crate) mod circles;
mod executors;
mod invariants;
mod names;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Characters of a line, comments too.
const COLUMNS: usize = 120;

/// A source file by its path from the repository's root.
struct Source {
    path: String,
    text: String,
    /// From which line on it is a test's: 0 where all of it is.
    tests_from: usize,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate()
    }
}

/// Every Rust file of the repository.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in ["src", "tests", "perf", "bench-harness"] {
        collect(Path::new(folder), &mut sources);
    }
    assert!(sources.len() > 200, "{} files", sources.len());
    let modules_of_tests: BTreeSet<String> = sources.iter().flat_map(modules_of_tests).collect();
    for source in &mut sources {
        let is_test = !source.path.starts_with("src/")
            || modules_of_tests.iter().any(|module| {
                source
                    .path
                    .strip_prefix(module)
                    .is_some_and(|rest| rest.starts_with(['.', '/']))
            });
        if is_test {
            source.tests_from = 0;
        }
    }
    sources
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root.join(folder)).expect("a folder is read") {
        let entry = entry.expect("an entry");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            if entry.file_name() != "target" {
                collect(&path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).expect("a source is read");
            let lines: Vec<&str> = text.lines().collect();
            let tests_from = lines
                .windows(2)
                .position(|pair| pair[0].starts_with("#[cfg(test)]") && pair[1].ends_with('{'))
                .unwrap_or(usize::MAX);
            let path = path.to_str().expect("names are text").to_owned();
            sources.push(Source {
                path,
                text,
                tests_from,
            });
        }
    }
}

/// Paths, without `.rs`, of the modules that this file declares for tests only.
fn modules_of_tests(source: &Source) -> Vec<String> {
    let folder = source.path.trim_end_matches(".rs").trim_end_matches("/lib");
    let mut modules = Vec::new();
    let mut is_for_tests = false;
    for line in source.text.lines() {
        let declared = line
            .split_once("mod ")
            .and_then(|(_, name)| name.strip_suffix(';'));
        if let Some(name) = declared.filter(|_| is_for_tests) {
            modules.push(format!("{folder}/{name}"));
        }
        is_for_tests = line.starts_with("#[cfg(") && line.contains("test");
    }
    modules
}

#[test]
fn lines_fit_the_screen() {
    let mut long = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            if line.chars().count() > COLUMNS {
                long.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    assert!(
        long.is_empty(),
        "these are longer than {COLUMNS} columns:\n{}",
        long.join("\n")
    );
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|source| {
            let first = source.text.lines().find(|line| !line.starts_with("#!["));
            !first.is_some_and(|line| line.starts_with("//! "))
        })
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "these do not begin with `//!`: {silent:#?}");
}
