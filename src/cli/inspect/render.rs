//! What was found, as lines of text or of JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::batch_sizes::{Sizes, StoredBatch};
use super::describe::{Item, SealFacts, Stored, Summary, What};
use crate::envelope::StableKeyId;
use crate::envelope::wrapped_dek::{provider, version_text};
use crate::foreign::Foreign;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// Writes one line.
pub(super) fn item(format: Format, item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => writeln!(out, "{}", text(item)),
        Format::Json => writeln!(out, "{}", json(item)),
    }
}

/// Writes the sums.
pub(super) fn summary(format: Format, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => {
            let keys = summary.stable_keys.iter();
            let keys: BTreeMap<_, _> = keys.map(|(key, count)| (key_name(*key), *count)).collect();
            let sums = json!({
                "counts": summary.counts,
                "record_bytes": summary.record_bytes,
                "marker_bytes": summary.marker_bytes,
                "stable_keys": keys,
                "stored": sizes_json(summary.all),
                "sealed": sizes_json(summary.sealed),
            });
            writeln!(out, "{}", json!({ "summary": sums }))
        }
        Format::Text if summary.counts.is_empty() => writeln!(out, "no records"),
        Format::Text => {
            let counts: Vec<String> = summary
                .counts
                .iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let Sizes {
                batches,
                stored_bytes,
                ..
            } = summary.all;
            let each = sizes_each(summary.all);
            write!(
                out,
                "{}; {}, {stored_bytes} B stored, {each}",
                counts.join(", "),
                counted(batches, ["batch", "batches"])
            )?;
            if !summary.stable_keys.is_empty() {
                let keys = summary.stable_keys.iter();
                let keys: Vec<String> = keys
                    .map(|(key, count)| format!("{} {count}", key_name(*key)))
                    .collect();
                write!(out, "; keys sealed under {}", keys.join(", "))?;
            }
            match summary.sealed.batches {
                0 => writeln!(out),
                _ => writeln!(out, "; {}", added_text(summary.sealed)),
            }
        }
    }
}

/// A stable key of the sums; those beyond the first many have no name there.
fn key_name(key: Option<StableKeyId>) -> String {
    key.map_or_else(|| "others".to_owned(), |id| id.to_string())
}

fn text(item: &Item<'_>) -> String {
    let place = match (item.origin.topic, item.origin.partition) {
        (Some(topic), Some(partition)) => format!("{}-{partition} ", escaped(topic)),
        _ => String::new(),
    };
    let offset = item.offset;
    match &item.what {
        What::Record(stored) => format!("{place}offset {offset}: {}", record_text(stored)),
        What::Batch(batch) => format!("{place}offset {offset}: {}", batch_text(batch)),
        What::Control => format!("{place}offset {offset}: control batch"),
        What::OldFormat { magic } => format!("{place}offset {offset}: message format {magic}, not sealed"),
        What::Unreadable { why } => format!("{place}offset {offset}: unreadable: {why}"),
    }
}

fn record_text(stored: &Stored<'_>) -> String {
    let size = |bytes: Option<usize>| bytes.map_or_else(|| "null".to_owned(), |bytes| format!("{bytes} B"));
    let sizes = format!(
        "key {}, value {}, {} headers, record {} B, codec {}, time {}",
        size(stored.key_bytes),
        size(stored.value_bytes),
        stored.headers,
        stored.record_bytes,
        stored.codec,
        stored.timestamp,
    );
    let form = match stored.format {
        Some(format) => format!("{} format {format}", stored.form.name()),
        None => stored.form.name().to_owned(),
    };
    match (&stored.seal, stored.foreign_kek) {
        (None, None) => format!("{form}; {sizes}"),
        (None, Some(kek)) => format!("{form}, KEK {}; {sizes}", escaped(kek)),
        (Some(seal), _) => format!(
            "{form}, {}; {sizes}, seal {} B",
            seal_text(seal, stored.key_bytes.is_some()),
            seal.marker_bytes
        ),
    }
}

fn batch_text(
    StoredBatch {
        codec,
        is_sealed,
        sizes,
    }: &StoredBatch,
) -> String {
    let added = match is_sealed {
        true => added_text(*sizes),
        false => "not sealed".to_owned(),
    };
    format!(
        "batch of {}, codec {codec}, {} B stored, {}; {added}",
        counted(sizes.records, ["record", "records"]),
        sizes.stored_bytes,
        sizes_each(*sizes),
    )
}

fn sizes_each(sizes: Sizes) -> String {
    format!("{:.1} B a record", sizes.each(sizes.stored_bytes as f64))
}

/// A number of things with their name: of one, and of any other number.
fn counted(count: u64, [one, others]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { others })
}

/// Against the same records as their clients wrote them, not compressed.
fn added_text(sizes: Sizes) -> String {
    let added = sizes.added_bytes();
    let percent = added as f64 * 100.0 / sizes.clear_bytes.max(1) as f64;
    let each = sizes.each(added as f64);
    format!(
        "sealing adds {added} B to {} B, {each:.1} B a record ({percent:+.1}%)",
        sizes.clear_bytes
    )
}

fn seal_text(seal: &SealFacts<'_>, has_key: bool) -> String {
    let domain = match seal.domain_is_topic {
        Some(true) => " (the topic's)",
        Some(false) => " (not the topic's)",
        None => "",
    };
    let key = match &seal.wrapped_dek {
        Some(wrapped) => format!(
            "{}, authority {}, KEK {}, version {}, wrapped DEK {} B",
            provider_name(wrapped.provider),
            hex(&wrapped.authority),
            escaped(wrapped.kek),
            version(wrapped.version),
            seal.wrapped_dek_bytes,
        ),
        None => format!("wrapped DEK of {} B that cannot be read", seal.wrapped_dek_bytes),
    };
    format!(
        "headers {}{}, domain {}{domain}, {key}",
        seal.headers.name(),
        key_text(seal, has_key),
        hex(&seal.domain_hint),
    )
}

/// Nothing of a key that is null, which the sizes say.
fn key_text(seal: &SealFacts<'_>, has_key: bool) -> String {
    match (seal.key_sealed && has_key, seal.stable_key) {
        (true, Some(id)) => format!(", key sealed under {id}"),
        (true, None) => ", key sealed".to_owned(),
        (false, _) => String::new(),
    }
}

fn json(item: &Item<'_>) -> Value {
    let mut object = Map::new();
    if let (Some(topic), Some(partition)) = (item.origin.topic, item.origin.partition) {
        object.insert("topic".to_owned(), json!(escaped(topic)));
        object.insert("partition".to_owned(), json!(partition));
    }
    object.insert("offset".to_owned(), json!(item.offset));
    match &item.what {
        What::Record(stored) => {
            object.insert("form".to_owned(), json!(stored.form.name()));
            object.insert("timestamp".to_owned(), json!(stored.timestamp));
            object.insert("key_bytes".to_owned(), json!(stored.key_bytes));
            object.insert("value_bytes".to_owned(), json!(stored.value_bytes));
            object.insert("headers".to_owned(), json!(stored.headers));
            object.insert("record_bytes".to_owned(), json!(stored.record_bytes));
            object.insert("codec".to_owned(), json!(stored.codec));
            if let (None, Some(format)) = (&stored.seal, stored.format) {
                object.insert("format".to_owned(), json!(format));
            }
            if let Some(kek) = stored.foreign_kek {
                object.insert("kek".to_owned(), json!(escaped(kek)));
            }
            if let Some(seal) = &stored.seal {
                object.insert("seal".to_owned(), seal_json(stored.format, seal));
            }
        }
        What::Batch(batch) => {
            object.insert("codec".to_owned(), json!(batch.codec));
            object.insert("sealed".to_owned(), json!(batch.is_sealed));
            object.insert("batch".to_owned(), sizes_json(batch.sizes));
        }
        What::Control => {
            object.insert("form".to_owned(), json!("control"));
        }
        What::OldFormat { magic } => {
            object.insert("form".to_owned(), json!("old_format"));
            object.insert("magic".to_owned(), json!(magic));
        }
        What::Unreadable { why } => {
            object.insert("form".to_owned(), json!("unreadable"));
            object.insert("why".to_owned(), json!(why));
        }
    }
    Value::Object(object)
}

fn sizes_json(sizes: Sizes) -> Value {
    json!({
        "batches": sizes.batches,
        "records": sizes.records,
        "stored_bytes": sizes.stored_bytes,
        "clear_bytes": sizes.clear_bytes,
        "added_bytes": sizes.added_bytes(),
    })
}

fn seal_json(format: Option<u8>, seal: &SealFacts<'_>) -> Value {
    let wrapped = seal.wrapped_dek.map(|wrapped| {
        json!({
            "provider": wrapped.provider,
            "provider_name": provider::name(wrapped.provider),
            "authority": hex(&wrapped.authority),
            "kek": escaped(wrapped.kek),
            "version": hex(wrapped.version),
            "blob_bytes": wrapped.blob.len(),
        })
    });
    json!({
        "format": format,
        "headers": seal.headers.name(),
        "key_sealed": seal.key_sealed,
        "stable_key": seal.stable_key.map(|id| id.to_string()),
        "domain_hint": hex(&seal.domain_hint),
        "domain_is_topic": seal.domain_is_topic,
        "wrapped_dek": wrapped,
        "wrapped_dek_bytes": seal.wrapped_dek_bytes,
        "counter": seal.counter,
        "hidden_bytes": seal.hidden_bytes,
        "marker_bytes": seal.marker_bytes,
    })
}

fn provider_name(number: u8) -> String {
    provider::name(number).map_or_else(|| format!("provider {number}"), str::to_owned)
}

fn version(bytes: &[u8]) -> String {
    version_text(bytes).unwrap_or_else(|| "none".to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record must not write to somebody's terminal.
fn escaped(text: &(impl AsRef<[u8]> + ?Sized)) -> String {
    Foreign::new(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::describe::ReadFrom;
    use super::*;
    use crate::envelope::{FormKind, HeaderMode, WrappedDek};
    use crate::foreign::tests::{HOSTILE, is_printable};

    /// INSPECT-2
    #[test]
    fn nothing_reaches_a_terminal_unescaped() {
        let wrapped_dek = WrappedDek {
            provider: 1,
            authority: [0; 4],
            kek: HOSTILE.as_bytes(),
            version: HOSTILE.as_bytes(),
            blob: &[],
        };
        let seal = SealFacts {
            headers: HeaderMode::Sealed,
            key_sealed: false,
            stable_key: None,
            domain_hint: [0; 4],
            domain_is_topic: Some(true),
            wrapped_dek: Some(wrapped_dek),
            wrapped_dek_bytes: 9,
            counter: 0,
            hidden_bytes: 0,
            marker_bytes: 0,
        };
        let stored = Stored {
            timestamp: 0,
            form: FormKind::Sealwire,
            format: Some(1),
            seal: Some(seal),
            foreign_kek: None,
            key_bytes: None,
            value_bytes: None,
            headers: 0,
            record_bytes: 0,
            codec: "none",
        };
        let item = Item {
            origin: ReadFrom {
                topic: Some(HOSTILE),
                partition: Some(0),
            },
            offset: 0,
            what: What::Record(stored),
        };
        for line in [text(&item), json(&item).to_string()] {
            assert!(is_printable(&line), "{line:?}");
            assert!(line.contains("x1b[2J"), "the name is missing: {line}");
        }
    }

    #[test]
    fn versions_are_numbers_where_they_are_short() {
        assert_eq!(version(&[]), "none");
        assert_eq!(version(&[1, 0]), "256");
        assert_eq!(version(&[0xab; 16]), "ab".repeat(16));
    }
}
