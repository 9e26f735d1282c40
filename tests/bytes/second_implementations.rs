//! What the documents in `docs/` say is enough: programs that were written from them alone, in Python and on another
//! cryptographic library, open the published envelope vectors and make the published keystore files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sealwire::crypto::SecretKey;
use sealwire::envelope::{BatchPlace, Domain, HeaderMode, SaltSource, SealBuffers, SealTerms, SealingKey};
use sealwire::record_batch::{BatchHeader, BatchWriter, HEADER_BYTES, RecordCursor};
use serde_json::{Value, json};

use crate::support::compact_shapes::{Shape, shapes};
use crate::support::{artifacts, cache};

#[test]
fn python_opens_the_envelope_vectors() {
    let tests = cache::workspace().join("tests");
    let mut decoder = Command::new(artifacts::python());
    decoder
        .arg(tests.join("envelope_decoder.py"))
        .arg(tests.join("vectors/envelope-v1.json"));
    let said = cache::run(&mut decoder);
    assert!(said.contains(" 0 came out wrong"), "{said}");
}

#[test]
fn python_opens_the_vectors_of_compact_batches() {
    let published = cache::workspace().join("tests/vectors/compact-batches.json");
    let said = decode_by_python(&published);
    let said = String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.trim(), "2 batches, 2 of them compact: 0 came out wrong");
}

const DEK: [u8; 32] = [7; 32];
/// As long as those that a key service has wrapped.
const WRAPPED_DEK: [u8; 92] = [0x5a; 92];
const DOMAIN: &str = "orders";

/// What is sent, as it is stored.
fn sealed(sent: &[u8], headers: HeaderMode, is_compact: bool) -> Vec<u8> {
    let dek = SecretKey::from_bytes(&mut DEK.clone()).expect("a key");
    let key = SealingKey::new(&dek, WRAPPED_DEK).expect("a key");
    let mut sealer = key
        .begin(
            &mut SaltSource::new(0),
            &BatchPlace::default(),
            &SealTerms::new(&Domain::new(DOMAIN).expect("a domain"), headers),
            SealBuffers::default(),
        )
        .expect("a sealer");
    let mut out = Vec::new();
    let begin = if is_compact {
        BatchWriter::begin_compact
    } else {
        BatchWriter::begin
    };
    let mut writer = begin(&mut out, sent).expect("a header");
    let mut cursor = RecordCursor::stored(&BatchHeader::parse(sent).expect("a batch"), HEADER_BYTES);
    while let Some(record) = cursor.next(sent).expect("records") {
        match writer.frame() {
            None => sealer.seal_record(sent, &record, &mut out),
            Some(frame) => sealer.seal_compact_record(sent, &record, frame, &mut out),
        }
        .expect("sealing");
    }
    writer.finish(&mut out).expect("a batch");
    out
}

fn batch_vector(shape: &Shape, headers: HeaderMode) -> Value {
    let sent = shape.batch.build().expect("a batch");
    let stored = sealed(&sent, headers, shape.is_compact);
    json!({
        "name": format!("{}, headers {headers:?}", shape.name),
        "sent": to_hex(&sent),
        "stored": to_hex(&stored),
        "dek": to_hex(&DEK),
        "wrapped_dek": to_hex(&WRAPPED_DEK),
        "domains": [DOMAIN],
    })
}

fn to_hex(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

/// What the Python decoder makes of a file of whole batches.
fn decode_by_python(file: &Path) -> Output {
    let mut decoder = Command::new(artifacts::python());
    decoder
        .arg(cache::workspace().join("tests/envelope_decoder.py"))
        .args([file.as_os_str(), "--batches".as_ref()]);
    cache::leave_cargo(&mut decoder);
    decoder.output().expect("running Python")
}

fn decode_these_by_python(batches: &[Value]) -> Output {
    let folder = tempfile::tempdir().expect("creating a temporary folder");
    let file = folder.path().join("batches.json");
    fs::write(&file, json!(batches).to_string()).expect("writing the batches");
    decode_by_python(&file)
}

/// COMPACT-2, COMPACT-3: LZ4's own library is the judge.
#[test]
fn python_opens_plain_and_compact_batches_by_the_ordinary_lz4_library() {
    let mut batches = Vec::new();
    for shape in shapes() {
        batches.push(batch_vector(&shape, HeaderMode::Sealed));
        if shape.records <= 400 {
            batches.push(batch_vector(&shape, HeaderMode::Bound));
            batches.push(batch_vector(&shape, HeaderMode::Free));
        }
    }
    let output = decode_these_by_python(&batches);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim(),
        "16 batches, 10 of them compact: 0 came out wrong",
        "{output:?}"
    );
    assert!(output.status.success());
}

/// It would notice.
#[test]
fn python_refuses_a_compact_batch_with_an_altered_byte() {
    let shape = Shape::some("altered", 50);
    let whole = batch_vector(&shape, HeaderMode::Sealed);
    let stored = whole["stored"].as_str().expect("text").to_owned();
    // Behind the header and the frame's, from the end: the end mark, the last tag.
    for at in [2 * HEADER_BYTES, stored.len() - 8, stored.len() - 10] {
        let mut altered = stored.clone().into_bytes();
        altered[at] = if altered[at] == b'1' { b'2' } else { b'1' };
        let mut batch = whole.clone();
        batch["stored"] = json!(String::from_utf8_lossy(&altered));
        let output = decode_these_by_python(&[whole.clone(), batch]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(" 1 came out wrong"), "{at}: {output:?}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn python_makes_the_keystore_files() {
    let tests = cache::workspace().join("tests");
    let made = tempfile::tempdir().expect("creating a temporary folder");
    let mut maker = Command::new(artifacts::python());
    cache::run(maker.arg(tests.join("keystore_vectors.py")).arg(made.path()));
    let published = tests.join("vectors/keystore");
    let mut compared = 0;
    for entry in fs::read_dir(made.path()).expect("listing what was made") {
        let file = entry.expect("listing what was made");
        let expected = fs::read(published.join(file.file_name())).expect("reading a published file");
        let made = fs::read(file.path()).expect("reading what was made");
        assert_eq!(made, expected, "{:?}", file.file_name());
        compared += 1;
    }
    assert_eq!(compared, 3);
}
