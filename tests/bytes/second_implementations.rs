//! What the documents in `docs/` say is enough: programs that were written from them alone, in Python and on another
//! cryptographic library, open the published envelope vectors and make the published keystore files.

use std::fs;
use std::process::Command;

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
