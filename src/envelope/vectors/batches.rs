//! Vectors of whole batches, written compact: which bytes a composed frame has, besides what its records say.

use serde::Serialize;

use super::stored::{DEK, DOMAIN, salt, wrapped_dek};
use super::to_hex;
use crate::crypto::SecretKey;
use crate::envelope::{Domain, HeaderMode, SealBuffers, SealTerms, SealingKey};
use crate::record_batch::{BatchHeader, BatchWriter, HEADER_BYTES, RecordCursor, SHARED_RECORD_BYTES_MAX};
use crate::testing::{BatchBuilder, RecordInput};

/// A client's batch, and what a broker is given for it; hex.
#[derive(Serialize)]
pub(super) struct BatchVector {
    name: String,
    dek: String,
    wrapped_dek: String,
    domains: Vec<String>,
    sent: String,
    stored: String,
}

pub(super) fn vectors() -> Vec<BatchVector> {
    [HeaderMode::Sealed, HeaderMode::Bound]
        .map(|headers| {
            let name = format!("compact-{}", headers.name());
            let sent = sent();
            BatchVector {
                dek: to_hex(&DEK),
                wrapped_dek: to_hex(&wrapped_dek()),
                domains: vec![DOMAIN.to_owned()],
                stored: to_hex(&sealed(&name, &sent, headers)),
                sent: to_hex(&sent),
                name,
            }
        })
        .into()
}

/// Nulls, headers that make the middle differ from the one before, a record with blocks of its own between two blocks
/// with matches, and counters of two bytes.
fn sent() -> Vec<u8> {
    let long = [b'l'; SHARED_RECORD_BYTES_MAX];
    let headers = [(&b"trace"[..], Some(&b"a1"[..])), (b"flag", None)];
    let records = [
        (Some(&b"order-17"[..]), Some(&b"{\"amount\": 12}"[..]), 2),
        (Some(b"order-17"), Some(b"{\"amount\": 13}"), 2),
        (None, Some(b"v"), 0),
        (Some(b""), None, 1),
        (Some(b"order-18"), Some(&long), 0),
        (None, None, 0),
    ];
    let short = (0..124).map(|_| (Some(&b"k"[..]), Some(&b"value"[..]), 0));
    let batch = BatchBuilder::new().producer(4711, 3, 250);
    let add = |batch: BatchBuilder, (key, value, count): (_, _, usize)| {
        batch.record(RecordInput {
            timestamp: 1_700_000_000_000,
            key,
            value,
            headers: &headers[..count],
        })
    };
    records.into_iter().chain(short).fold(batch, add).build().unwrap()
}

/// Seals by the product's own code.
fn sealed(name: &str, sent: &[u8], headers: HeaderMode) -> Vec<u8> {
    let dek = SecretKey::from_bytes(&mut DEK.clone()).unwrap();
    let key = SealingKey::new(&dek, wrapped_dek()).unwrap();
    let domain = Domain::new(DOMAIN).unwrap();
    let mut sealer = key
        .begin_with_salt_for_vectors(
            salt(name),
            0,
            &SealTerms::new(&domain, headers),
            SealBuffers::default(),
        )
        .unwrap();
    let mut out = Vec::new();
    let mut writer = BatchWriter::begin_compact(&mut out, sent).unwrap();
    let mut cursor = RecordCursor::stored(&BatchHeader::parse(sent).unwrap(), HEADER_BYTES);
    while let Some(record) = cursor.next(sent).unwrap() {
        let frame = writer.frame().unwrap();
        sealer
            .seal_compact_record(sent, &record, frame, &mut out)
            .unwrap();
    }
    writer.finish(&mut out).unwrap();
    out
}
