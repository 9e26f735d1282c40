//! Bytes at rest and on the wire, and the texts that describe them: the oracle, published vectors, the fuzz targets'
//! seeds, segments as `inspect` shows them, and what documents say about all of it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

#[path = "../support/fixture.rs"]
mod support;

mod again;
mod batch_vectors;
mod canaries;
mod config_files;
mod documents;
mod envelope_vectors;
mod fuzz_corpus;
mod inspect;
mod libraries;
mod no_plaintext_left;
mod oracle;
mod second_implementations;
mod stored_sizes;
mod summary;
mod tidy;
