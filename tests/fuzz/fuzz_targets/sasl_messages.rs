//! Random bytes for `targets::sasl_messages`.

#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::sasl_messages(data));
