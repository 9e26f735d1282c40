//! Random bytes for `targets::principal_rules`.

#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::principal_rules(data));
