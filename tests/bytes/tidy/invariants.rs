//! Every named invariant is defined once and cited by a test, and whatever is cited exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{Source, sources};

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
    let mut wishes = defined(&sources);
    wishes.retain(|name, _| !cited.contains(name.as_str()));
    assert!(wishes.is_empty(), "no test cites these: {wishes:#?}");
}

/// Whatever is cited exists; `ENV-n` and the like are defined in documents.
#[test]
fn every_invariant_that_is_cited_is_defined() {
    let sources = sources();
    let defined = defined(&sources);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = String::new();
    for folder in ["docs", "docs/kms"] {
        for entry in fs::read_dir(root.join(folder)).expect("documents are read") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                documents += &fs::read_to_string(path).expect("a document is text");
            }
        }
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
