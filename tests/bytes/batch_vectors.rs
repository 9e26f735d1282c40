//! The published vectors of compact batches come out as they were sent.
//!
//! Seals nothing and knows nothing of how they were made: it reads `tests/vectors/compact-batches.json`.

use std::fs;

use sealwire::crypto::SecretKey;
use sealwire::envelope::{AcceptedDomain, Domain, Form, Opener, OpeningKey, form_of};
use sealwire::record_batch::{BatchHeader, BatchWriter, Codec, Decompressor, crc_matches, stored_records};
use serde_json::Value;

use crate::support::cache;

fn from_hex(text: &Value) -> Vec<u8> {
    let pairs = text.as_str().expect("text").as_bytes().chunks(2);
    let digits = pairs.map(|pair| str::from_utf8(pair).expect("digits"));
    digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
        .collect()
}

/// Opens a stored batch record by record.
fn opened(stored: &[u8], key: &OpeningKey, domains: &[AcceptedDomain]) -> Vec<u8> {
    let header = BatchHeader::parse(stored).expect("a batch");
    let (mut decompressor, mut plain) = (Decompressor::new(), Vec::new());
    let found = stored_records(stored, &header, 1 << 20, &mut decompressor, &mut plain);
    let (text, mut cursor) = found.expect("a frame");
    let mut text = text.to_vec();
    let (mut out, mut opener) = (Vec::new(), Opener::default());
    let writer = BatchWriter::begin(&mut out, stored).expect("a header");
    while let Some(record) = cursor.next(&text).expect("a record") {
        let Ok(Form::RecordSeal(marker)) = form_of(&text, &record) else {
            panic!("a record that is not sealed");
        };
        let marker = marker.in_record(&record);
        opener
            .open_record(key, &mut text, marker, domains, &mut out)
            .expect("opening");
    }
    writer.finish(&mut out).expect("a batch");
    out
}

#[test]
fn every_batch_comes_out_as_it_was_sent() {
    let path = cache::workspace().join("tests/vectors/compact-batches.json");
    let text = fs::read_to_string(path).expect("reading the vectors");
    let batches: Vec<Value> = serde_json::from_str(&text).expect("a list");
    assert_eq!(batches.len(), 2);
    for batch in &batches {
        let [sent, stored] = ["sent", "stored"].map(|field| from_hex(&batch[field]));
        let dek = SecretKey::from_bytes(&mut from_hex(&batch["dek"])).expect("a key");
        let key = OpeningKey::new(&dek, &from_hex(&batch["wrapped_dek"])).expect("a key");
        let domain = batch["domains"][0].as_str().expect("text");
        let domains = [Domain::new(domain).expect("a domain").into()];
        let codec = BatchHeader::parse(&stored).expect("a batch").attributes.codec();
        assert_eq!(codec.expect("a codec"), Codec::Lz4);
        assert!(crc_matches(&stored));
        assert!(opened(&stored, &key, &domains) == sent, "{}", batch["name"]);
    }
}
