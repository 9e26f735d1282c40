//! What the documents say is true: refusals, tests, links, commands and examples that they name exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sealwire::audit::KekName;
use sealwire::config::Config;
use sealwire::crypto::CryptoError;
use sealwire::envelope::{Form, OpenError};
use sealwire::keys::KeyFailure;
use sealwire::pipeline::{FetchRefusal, ProduceRefusal};
use sealwire::record_batch::{BatchError, CodecError, RecordError};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document that people read, by its path from the repository's root.
fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "perf"] {
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

// ------------------------------------------------------------------------------------------------------------- refusals

/// One line of a table of refusals: variant, Kafka code, reason, and the word in the audit log.
type Row = (String, i16, String, String);

/// At least one value of each variant; one for each code and reason that it can have.
fn produce_refusals() -> Vec<ProduceRefusal> {
    let batch = [
        BatchError::Missing,
        BatchError::Truncated,
        BatchError::NotAlone,
        BatchError::Magic(1),
        BatchError::Magic(3),
        BatchError::Length(1),
        BatchError::Checksum,
        BatchError::BaseOffset(1),
        BatchError::Count {
            count: 1,
            last_offset_delta: 1,
        },
        BatchError::Control,
        BatchError::Sequence,
        BatchError::Codec { number: 7 },
        BatchError::RecordCount,
        BatchError::OffsetDelta {
            found: 1,
            expected: 0,
        },
        BatchError::TooLarge,
        BatchError::Record(RecordError::Truncated),
        BatchError::Compression(CodecError::LimitExceeded { limit: 1 }),
        BatchError::Compression(CodecError::Truncated("gzip")),
        BatchError::Compression(CodecError::OutOfMemory),
    ];
    let keys = [
        KeyFailure::Unavailable,
        KeyFailure::KekDisabled,
        KeyFailure::KekDestroyed,
        KeyFailure::KekNotFound,
        KeyFailure::KekVersionNotFound,
        KeyFailure::Malformed,
    ];
    let single = [
        ProduceRefusal::NoRule,
        ProduceRefusal::Rejected { reason: None },
        ProduceRefusal::KafkaInternal,
        ProduceRefusal::KeyPending,
        ProduceRefusal::SequenceGuard,
        ProduceRefusal::ClientMarker,
        ProduceRefusal::TooLarge {
            bytes: 2,
            bytes_max: 1,
        },
        ProduceRefusal::RequestFull { bytes_max: 1 },
        ProduceRefusal::RequestTooLarge { bytes_max: 1 },
        ProduceRefusal::Cipher,
    ];
    single
        .into_iter()
        .chain(batch.map(ProduceRefusal::Batch))
        .chain(keys.map(|failure| ProduceRefusal::Key(failure, kek())))
        .collect()
}

fn kek() -> KekName {
    Arc::<str>::from("payments").into()
}

fn fetch_refusals() -> Vec<FetchRefusal> {
    let open = [
        OpenError::Record(RecordError::Truncated),
        OpenError::MarkerTwice,
        OpenError::UnknownFormat,
        OpenError::SealTruncated,
        OpenError::SealReservedBits,
        OpenError::SealNotCanonical,
        OpenError::SealOutOfRange,
        OpenError::KeySealed,
        OpenError::ExtraHeaders,
        OpenError::UnknownDomain,
        OpenError::WrongKey,
        OpenError::Tag,
        OpenError::HiddenHeaders,
        OpenError::Crypto(CryptoError::Library),
    ];
    let forms = [Form::Kroxylicious, Form::Tombstone, Form::Plaintext];
    // An outage is waited for and never refused.
    let keys = [
        KeyFailure::KekDisabled,
        KeyFailure::KekDestroyed,
        KeyFailure::KekNotFound,
        KeyFailure::KekVersionNotFound,
        KeyFailure::Malformed,
    ];
    let batch = [
        BatchError::Checksum,
        BatchError::Magic(3),
        BatchError::Codec { number: 7 },
        BatchError::Compression(CodecError::LimitExceeded { limit: 1 }),
    ];
    let single = [
        FetchRefusal::NoRule,
        FetchRefusal::Rejected,
        FetchRefusal::KekNotNamed(kek()),
        FetchRefusal::TooManyKeys,
        FetchRefusal::WeakHeaders,
    ];
    single
        .into_iter()
        .chain(open.map(FetchRefusal::Open))
        .chain(forms.map(FetchRefusal::Form))
        .chain(keys.map(|failure| FetchRefusal::Key(failure, kek())))
        .chain(batch.map(FetchRefusal::Batch))
        .collect()
}

/// The variant's name, as `Debug` begins with it.
fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

#[test]
fn the_table_of_refusals_is_what_the_program_does() {
    let operations = read("docs/operations.md");
    let produced: BTreeSet<Row> = produce_refusals()
        .iter()
        .map(|refusal| {
            let reason = refusal.reason().as_str().to_owned();
            (variant(refusal), refusal.error_code(), reason.clone(), reason)
        })
        .collect();
    assert_eq!(table(&operations, "produce refusals"), produced);
    let fetched: BTreeSet<Row> = fetch_refusals()
        .iter()
        .map(|refusal| {
            (
                variant(refusal),
                refusal.error_code(),
                refusal.reason().as_str().to_owned(),
                refusal.audit_reason().as_str().to_owned(),
            )
        })
        .collect();
    assert_eq!(table(&operations, "fetch refusals"), fetched);
}

/// The values above must not miss a variant; the compiler cannot say so about enums that may grow.
#[test]
fn no_kind_of_refusal_is_forgotten() {
    let names = |values: Vec<String>| values.into_iter().collect::<BTreeSet<_>>();
    let produced = produce_refusals();
    let fetched = fetch_refusals();
    let batch_errors = produced.iter().filter_map(|refusal| match refusal {
        ProduceRefusal::Batch(error) => Some(variant(error)),
        _ => None,
    });
    let key_failures = produced.iter().filter_map(|refusal| match refusal {
        ProduceRefusal::Key(failure, _) => Some(variant(failure)),
        _ => None,
    });
    let open_errors = fetched.iter().filter_map(|refusal| match refusal {
        FetchRefusal::Open(error) => Some(variant(error)),
        _ => None,
    });
    for (source, enumeration, known) in [
        (
            "src/pipeline/refusal.rs",
            "ProduceRefusal",
            names(produced.iter().map(variant).collect()),
        ),
        (
            "src/pipeline/refusal.rs",
            "FetchRefusal",
            names(fetched.iter().map(variant).collect()),
        ),
        (
            "src/record_batch/error.rs",
            "BatchError",
            names(batch_errors.collect()),
        ),
        ("src/keys/request.rs", "KeyFailure", names(key_failures.collect())),
        ("src/envelope/error.rs", "OpenError", names(open_errors.collect())),
    ] {
        assert_eq!(variants(&read(source), enumeration), known, "{enumeration}");
    }
}

/// The variants of an enum, from its source text as rustfmt leaves it.
fn variants(source: &str, enumeration: &str) -> BTreeSet<String> {
    let head = format!("pub enum {enumeration} {{\n");
    let start = source.find(&head).unwrap_or_else(|| panic!("no {enumeration}"));
    let body = &source[start + head.len()..];
    let body = &body[..body.find("\n}").expect("an enum ends")];
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| {
            line.split(['(', '{', ',', ' '])
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

/// The rows between `<!-- NAME -->` and the next blank line: variant, code, reason and, where there is such a column,
/// the words of the audit log. Columns are found by their titles.
fn table(text: &str, name: &str) -> BTreeSet<Row> {
    let mark = format!("<!-- {name} -->\n");
    let start = text.find(&mark).unwrap_or_else(|| panic!("no {mark}"));
    let mut lines = text[start + mark.len()..]
        .lines()
        .take_while(|line| line.starts_with('|'));
    let titles = cells(lines.next().expect("a table has titles"));
    let column = |title: &str| titles.iter().position(|cell| cell == title);
    let (refusal, code, reason) = (
        column("refusal").expect("a column"),
        column("code").expect("a column"),
        column("reason").expect("a column"),
    );
    let audit = column("audit log").unwrap_or(reason);
    let mut rows = BTreeSet::new();
    for line in lines.skip(1) {
        let cells = cells(line);
        let number = cells[code].split(' ').next().unwrap_or_default();
        let number: i16 = number.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        for audit in quoted(&cells[audit]) {
            let row = (
                quoted(&cells[refusal]).concat(),
                number,
                quoted(&cells[reason]).concat(),
                audit.to_owned(),
            );
            assert!(rows.insert(row), "twice: {line}");
        }
    }
    rows
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

// ---------------------------------------------------------------------------------------------------------------- tests

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

// -------------------------------------------------------------------------------------------------------------- metrics

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

// ---------------------------------------------------------------------------------------------------------------- links

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

// ------------------------------------------------------------------------------------------------- commands and examples

#[test]
fn the_first_screen_has_the_two_commands() {
    let readme = read("README.md");
    let first_screen: Vec<&str> = readme.lines().take(30).collect();
    for command in ["make quickstart", "make test"] {
        assert!(first_screen.contains(&command), "{command}");
    }
}

#[test]
fn commands_in_documents_exist() {
    let makefile = read("Makefile");
    let harness = read("bench-harness/src/main.rs");
    let mut checked = 0;
    for document in documents() {
        for block in code(&read(&document), "sh") {
            for line in block.lines() {
                let line = line.split(" #").next().unwrap_or_default().trim();
                if let Some(target) = line.strip_prefix("make ") {
                    assert!(makefile.contains(&format!("\n{target}:")), "{document}: {line}");
                } else if let Some((_, command)) = line
                    .split_once("-p bench-harness")
                    .and_then(|(_, rest)| rest.split_once(" -- "))
                {
                    let name = command.split(' ').next().unwrap_or_default();
                    let subcommand = name[..1].to_uppercase() + &name[1..];
                    assert!(harness.contains(&format!("{subcommand}(")), "{document}: {line}");
                } else if let Some(at) = line.find("sealwire ").filter(|_| !line.contains("cargo ")) {
                    assert_known(&document, &line[at + "sealwire ".len()..]);
                } else {
                    continue;
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} commands");
}

/// The subcommand and its flags are in the program's own help.
fn assert_known(document: &str, arguments: &str) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let depth = if words.first() == Some(&"keystore") { 2 } else { 1 };
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    let subcommand = words.iter().take(depth);
    let output = program
        .args(subcommand)
        .arg("--help")
        .output()
        .expect("the program runs");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{document}: sealwire {arguments}");
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(
            help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
            "{document}: sealwire {arguments}: no {flag} in\n{help}"
        );
    }
}

/// Examples that are a whole configuration are good ones.
#[test]
fn configurations_in_documents_load() {
    let mut loaded = 0;
    for document in documents() {
        for text in code(&read(&document), "toml") {
            if !text.contains("[cluster.") {
                continue;
            }
            let path = repository().join("docs/example.toml");
            if let Err(errors) = Config::from_toml_text(&text, &path) {
                panic!("{document}: {errors}");
            }
            loaded += 1;
        }
    }
    assert!(loaded > 0, "no document shows a whole configuration");
}

// -------------------------------------------------------------------------------------------------------------- modules

/// The arrows between modules are those of the source: what a module's files, tests apart, `use` of others.
#[test]
fn the_table_of_modules_is_what_the_source_says() {
    let architecture = read("docs/architecture.md");
    let mark = "<!-- modules -->\n";
    let start = architecture.find(mark).expect("a table of modules") + mark.len();
    let documented: BTreeMap<String, BTreeSet<String>> = architecture[start..]
        .lines()
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = cells(line);
            let uses = quoted(&cells[2]).into_iter().map(str::to_owned).collect();
            (quoted(&cells[0]).concat(), uses)
        })
        .collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    collect_uses(&repository().join("src"), None, &mut found);
    assert_eq!(documented, found);
}

fn collect_uses(folder: &Path, module: Option<&str>, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).expect("a folder is read") {
        let path = entry.expect("an entry").path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("names are text");
        if stem == "tests" || (module.is_none() && matches!(stem, "lib" | "main")) {
            continue;
        }
        let module = module.unwrap_or(stem);
        if path.is_dir() {
            collect_uses(&path, Some(module), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let uses = found.entry(module.to_owned()).or_default();
            let text = fs::read_to_string(&path).expect("a source is read");
            for line in text.lines().filter(|line| line.contains("use crate::")) {
                // What is indented belongs to the tests at a file's end.
                let Some((before, path)) = line.split_once("use crate::") else {
                    continue;
                };
                let other: String = path
                    .chars()
                    .take_while(|character| character.is_ascii_lowercase() || *character == '_')
                    .collect();
                if !before.starts_with(' ') && other != module {
                    uses.insert(other);
                }
            }
        }
    }
}
