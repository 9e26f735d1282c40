//! A refused record leaves no plaintext behind in the output buffer, not even past its end, where no reader looks.
#![allow(unsafe_code)]

use std::path::PathBuf;

use sealwire::crypto::SecretKey;
use sealwire::envelope::{AcceptedDomain, Domain, Form, Opener, OpeningKey, form_of};
use sealwire::record_batch::parse_record;
use serde_json::Value;

/// What all of these vectors' records hold.
const PLAINTEXT: &[u8] = b"\"amount\"";

#[test]
fn what_was_decrypted_is_overwritten_when_the_record_is_refused() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/envelope-v1.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();

    let (opened, found) = open_and_search(
        vectors
            .iter()
            .find(|vector| vector["name"] == "sealed-ordinary")
            .unwrap(),
    );
    assert!(opened && found, "the search finds plaintext where there is some");

    // The tag verifies, so the plaintext was there; then its header section turned out to be none.
    let refused_late = |vector: &&Value| vector["refused"] == "hidden_headers";
    assert!(vectors.iter().filter(refused_late).count() >= 4);
    // And those whose tag does not verify.
    let refused_early = |vector: &&Value| vector["refused"] == "tag";
    for vector in vectors
        .iter()
        .filter(|vector| refused_late(vector) || refused_early(vector))
    {
        assert_eq!(open_and_search(vector), (false, false), "{}", vector["name"]);
    }
}

/// Whether the vector's record opens, and whether the whole allocation of the output holds [`PLAINTEXT`] afterwards.
fn open_and_search(vector: &Value) -> (bool, bool) {
    let bytes = |field: &str| from_hex(vector[field].as_str().unwrap());
    let dek = SecretKey::from_bytes(&mut bytes("dek")).unwrap();
    let key = OpeningKey::new(&dek, &bytes("wrapped_dek")).unwrap();
    let domains: Vec<AcceptedDomain> = vector["domains"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| Domain::new(name.as_str().unwrap()).unwrap().into())
        .collect();
    let mut stored = bytes("stored");
    let record = parse_record(&stored, 0).unwrap();
    let Ok(Form::RecordSeal(marker)) = form_of(&stored, &record) else {
        panic!("sealed")
    };

    // Initialised to the last byte, so that all of it may be looked at.
    let mut out = vec![0_u8; 4096];
    out.clear();
    let address = out.as_ptr();
    let opened = Opener::default()
        .open_record(&key, &mut stored, marker.in_record(&record), &domains, &mut out)
        .is_ok();
    assert_eq!(out.as_ptr(), address, "the buffer was large enough");
    assert_eq!(out.is_empty(), !opened);
    // SAFETY: all 4096 bytes were initialised above and the allocation is the same.
    unsafe { out.set_len(4096) };
    (
        opened,
        out.windows(PLAINTEXT.len()).any(|window| window == PLAINTEXT),
    )
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
