//! Random bytes for `targets::certificate_names`.

#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::certificate_names(data));
