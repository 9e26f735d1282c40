//! The tables of refusals say what the program does, and forget none.

use std::collections::BTreeSet;
use std::sync::Arc;

use sealwire::audit::KekName;
use sealwire::crypto::CryptoError;
use sealwire::envelope::{FormKind, OpenError, StableKeyId};
use sealwire::keys::KeyFailure;
use sealwire::pipeline::{FetchRefusal, ProduceRefusal, RefusedStableKey};
use sealwire::record_batch::{BatchError, CodecError, RecordError};

use super::{cells, quoted, read};

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
        KeyFailure::KekDenied,
        KeyFailure::KekNotFound,
        KeyFailure::KekVersionNotFound,
        KeyFailure::Malformed,
    ];
    let single = [
        ProduceRefusal::NoRule,
        ProduceRefusal::Rejected { reason: None },
        ProduceRefusal::NotNamed,
        ProduceRefusal::NotSealed(FetchRefusal::NoRule),
        ProduceRefusal::KafkaInternal,
        ProduceRefusal::AuditHeld,
        ProduceRefusal::KeyPending,
        ProduceRefusal::NoStableKey("orders".into()),
        ProduceRefusal::StableKey(RefusedStableKey::for_test(KeyFailure::KekDisabled)),
        ProduceRefusal::KeysUnfit("it holds others".into()),
        ProduceRefusal::KeysUnseen,
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

fn stable_key() -> StableKeyId {
    StableKeyId::of_wrapped(b"wrapped")
}

fn fetch_refusals() -> Vec<FetchRefusal> {
    let open = [
        OpenError::Record(RecordError::Truncated),
        OpenError::MarkerTwice,
        OpenError::UnknownFormat { format: 2 },
        OpenError::SealTruncated,
        OpenError::SealReservedBits,
        OpenError::SealNotCanonical,
        OpenError::SealOutOfRange,
        OpenError::KeySealed,
        OpenError::ClearKey,
        OpenError::MalformedKey,
        OpenError::KeyTag,
        OpenError::ExtraHeaders,
        OpenError::UnknownDomain,
        OpenError::WrongKey,
        OpenError::Tag,
        OpenError::HiddenHeaders,
        OpenError::Crypto(CryptoError::Library),
    ];
    let stable_keys = [OpenError::UnknownStableKey, OpenError::ForeignStableKey];
    let forms = [FormKind::Kroxylicious, FormKind::Tombstone, FormKind::Plaintext];
    // An outage is waited for and never refused.
    let keys = [
        KeyFailure::KekDisabled,
        KeyFailure::KekDestroyed,
        KeyFailure::KekDenied,
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
        FetchRefusal::NotNamed,
        FetchRefusal::KekNotNamed(kek()),
        FetchRefusal::TooManyKeys,
        FetchRefusal::WeakHeaders,
    ];
    single
        .into_iter()
        .chain(open.map(FetchRefusal::Open))
        .chain(stable_keys.map(|error| FetchRefusal::SealedKey(error, stable_key())))
        .chain(forms.map(FetchRefusal::Form))
        .chain(keys.map(|failure| FetchRefusal::Key(failure, kek())))
        .chain(keys.map(|failure| FetchRefusal::StableKey(RefusedStableKey::for_test(failure))))
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
        FetchRefusal::Open(error) | FetchRefusal::SealedKey(error, _) => Some(variant(error)),
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
