//! What the sources have to look like, where neither rustfmt nor clippy says so: width, headers, names, invariants.
//!
//! Long functions and long lists of parameters are clippy's (`.clippy.toml`); what nobody uses is the compiler's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Characters of a line, comments too.
const COLUMNS: usize = 120;

/// Words that say nothing of what is behind them.
const EMPTY_WORDS: [&str; 11] = [
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "manager",
    "handler",
    "handlers",
    "processor",
    "misc",
    "stuff",
];

/// Lines that are longer all the same: texts that are one string. The number may only fall.
const LONG_LINES_LEFT: usize = 99;

/// Invariants that no test cites, one a line. An entry that is not needed any more has to go.
const UNCITED: &str = include_str!("tidy_uncited.txt");

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
        long.len() <= LONG_LINES_LEFT,
        "{} lines are longer than {COLUMNS} columns:\n{}",
        long.len(),
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

#[test]
fn names_say_something() {
    for source in sources() {
        let file = source.path.trim_end_matches(".rs").split('/').map(str::to_owned);
        let declared = source.lines().filter_map(|(_, line)| declared_name(line));
        for name in file.chain(declared) {
            let empty = words(&name)
                .into_iter()
                .find(|word| EMPTY_WORDS.contains(&word.as_str()));
            assert!(
                empty.is_none(),
                "{}: {name} says nothing with {empty:?}",
                source.path
            );
        }
    }
}

/// The name of what a line declares.
fn declared_name(line: &str) -> Option<String> {
    const KINDS: [&str; 8] = ["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let mut parts = line.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    while let Some(part) = parts.next() {
        if KINDS.contains(&part) {
            return parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
        }
        if ![
            "pub", "crate", "super", "async", "unsafe", "extern", "in", "C", "",
        ]
        .contains(&part)
        {
            return None;
        }
    }
    None
}

/// The words of a name in either spelling, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for character in name.chars() {
        if character == '_' || (character.is_ascii_uppercase() && was_small) {
            words.push(String::new());
        }
        was_small = character.is_ascii_lowercase();
        if character != '_' {
            words
                .last_mut()
                .expect("there is a word")
                .extend(character.to_lowercase());
        }
    }
    words
}

#[test]
fn words_of_names_are_found() {
    let empty = |line: &str| {
        let name = declared_name(line).unwrap_or_default();
        words(&name)
            .iter()
            .any(|word| EMPTY_WORDS.contains(&word.as_str()))
    };
    assert!(empty("pub(crate) struct FrameHandler {"));
    assert!(empty("    async fn handler_of(frame: Frame) {"));
    assert!(empty("mod util;"));
    assert!(!empty("    handler.run();"));
    assert!(!empty("fn commonly_known() {"));
    assert!(!empty("// fn helper"));
}

// -----------------------------------------------------------------------------------------------------------
// invariants

/// Names like `FETCH-OPEN-3` in a text.
fn invariants(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || "-_".contains(character)))
        .filter(|word| {
            word.rsplit_once('-').is_some_and(|(name, number)| {
                name.len() > 1
                    && name.starts_with(|first: char| first.is_ascii_uppercase())
                    && name
                        .chars()
                        .all(|character| character.is_ascii_uppercase() || character == '-')
                    && !number.is_empty()
                    && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
}

/// Where each invariant is defined: a line `//! - NAME-1: …`, or `/// - …` where it is a type's.
fn defined(sources: &[Source]) -> BTreeMap<String, Vec<&str>> {
    let mut defined: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in sources {
        for (_, line) in source.lines() {
            if let Some(name) = definition(line) {
                defined.entry(name.to_owned()).or_default().push(&source.path);
            }
        }
    }
    assert!(defined.len() > 100, "only {} invariants are found", defined.len());
    defined
}

fn definition(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line
        .strip_prefix("//! - ")
        .or_else(|| line.strip_prefix("/// - "))?;
    let (name, _) = text.split_once(':')?;
    invariants(name).next().filter(|found| *found == name)
}

#[test]
fn every_invariant_is_defined_once() {
    let sources = sources();
    let mut defined = defined(&sources);
    defined.retain(|_, places| places.len() > 1);
    assert!(defined.is_empty(), "defined more than once: {defined:#?}");
}

#[test]
fn every_invariant_is_cited_by_a_test() {
    let sources = sources();
    let mut cited: BTreeSet<&str> = BTreeSet::new();
    for source in &sources {
        for (_, line) in source.lines().skip(source.tests_from) {
            if definition(line).is_none() {
                cited.extend(invariants(line));
            }
        }
    }
    let defined = defined(&sources);
    let wishes: BTreeSet<&str> = defined
        .keys()
        .map(String::as_str)
        .filter(|name| !cited.contains(name))
        .collect();
    let known: BTreeSet<&str> = UNCITED.lines().collect();
    let new: Vec<_> = wishes
        .difference(&known)
        .map(|name| (name, &defined[*name]))
        .collect();
    assert!(new.is_empty(), "no test cites these: {new:#?}");
    let settled: Vec<_> = known.difference(&wishes).collect();
    assert!(
        settled.is_empty(),
        "take these out of tidy_uncited.txt: {settled:#?}"
    );
}

/// Whatever is cited exists; `ENV-n` and the like are defined in documents.
#[test]
fn every_invariant_that_is_cited_is_defined() {
    let sources = sources();
    let defined = defined(&sources);
    let mut documents = String::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).expect("documents are read")
    {
        documents += &fs::read_to_string(entry.expect("an entry").path()).expect("a document is text");
    }
    let in_documents: BTreeSet<&str> = invariants(&documents).collect();
    let families: BTreeSet<&str> = defined
        .keys()
        .filter_map(|name| name.rsplit_once('-').map(|(family, _)| family))
        .collect();
    for source in &sources {
        for (number, line) in source.lines() {
            for name in invariants(line) {
                let family = name.rsplit_once('-').map_or("", |(family, _)| family);
                assert!(
                    !families.contains(family) || defined.contains_key(name) || in_documents.contains(name),
                    "{}:{} cites {name}, which is defined nowhere",
                    source.path,
                    number + 1
                );
            }
        }
    }
}
