//! What the documents say is true: refusals, tests, links, commands and examples that they name exist.

mod audit;
mod commands;
mod costs;
mod modules;
mod refusals;
mod tls_offers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document that people read, by its path from the repository's root.
fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "docs/kms", "perf"] {
        let entries = fs::read_dir(repository().join(folder)).expect("the folder is read");
        for entry in entries {
            let name = entry.expect("an entry").file_name();
            let name = name.to_str().expect("names are text");
            if name.ends_with(".md") {
                documents.push(format!("{folder}/{name}"));
            }
        }
    }
    assert!(documents.len() > 8, "{documents:?}");
    documents
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let mut named = 0;
    for document in documents() {
        for reference in quoted_outside_of_code(&read(&document)) {
            let Some((file, function)) = reference.split_once("::") else {
                continue;
            };
            if !(file.starts_with("tests/") || file.starts_with("src/")) {
                continue;
            }
            let path = repository().join(file);
            let source =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {file}: {error}"));
            assert!(
                is_test(&source, function),
                "{document} names {reference}, which is no test"
            );
            named += 1;
        }
    }
    assert!(named > 50, "only {named} tests are named");
}

/// Each promise names a test or says that it is not proven.
#[test]
fn every_promise_has_its_proof_or_says_that_it_has_none() {
    let promises = read("docs/promises.md");
    let rows: Vec<Vec<String>> = promises
        .lines()
        .filter(|line| line.starts_with("| **"))
        .map(cells)
        .collect();
    assert!(rows.len() >= 7, "{} promises", rows.len());
    for row in rows {
        let proof = row.last().expect("a row has cells");
        assert!(
            proof.contains("::") || proof.contains("Not proven"),
            "{}: no proof",
            row[0]
        );
    }
}

fn is_test(source: &str, function: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let head = format!("fn {function}(");
    lines.iter().enumerate().any(|(number, line)| {
        line.trim_start_matches("async ").starts_with(&head)
            && lines[..number]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| matches!(*line, "#[test]" | "#[tokio::test]"))
    })
}

/// docs/metrics.md is compared with the program by a unit test; what other documents name has to be in it.
#[test]
fn metrics_that_are_named_exist() {
    let metrics = read("docs/metrics.md");
    let known: BTreeSet<&str> = quoted(&metrics).into_iter().collect();
    let mut named = 0;
    for document in documents() {
        for word in quoted_outside_of_code(&read(&document)) {
            if word.starts_with("sealwire_") {
                assert!(
                    known.contains(word.as_str()),
                    "{document} names {word}, which docs/metrics.md does not have"
                );
                named += 1;
            }
        }
    }
    assert!(named > 40, "only {named} metrics are named");
}

#[test]
fn relative_links_lead_somewhere() {
    let mut followed = 0;
    for document in documents() {
        let folder = PathBuf::from(&document);
        let folder = folder.parent().unwrap_or(Path::new(""));
        for target in links(&read(&document)) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() {
                PathBuf::from(&document)
            } else {
                folder.join(file)
            };
            let path = repository().join(path);
            assert!(path.exists(), "{document} links to {target}, which is not there");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&path).expect("a linked document is read");
                assert!(
                    anchors(&text).contains(anchor),
                    "{document} links to {target}: no such heading"
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links");
}

/// Targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let text = without_code(text);
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Headings as they are linked to: lower case, punctuation gone, spaces as hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    without_code(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
                .map(|character| if character == ' ' { '-' } else { character })
                .collect()
        })
        .collect()
}

/// The text without its fenced blocks.
fn without_code(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

fn quoted_outside_of_code(text: &str) -> Vec<String> {
    let text = without_code(text);
    quoted(&text).into_iter().map(str::to_owned).collect()
}

/// Fenced blocks of a language.
fn code(text: &str, language: &str) -> Vec<String> {
    text.split("\n```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.split_once('\n'))
        .filter(|(name, _)| name.trim() == language)
        .map(|(_, body)| body.to_owned())
        .collect()
}
