//! Random bytes for `targets::proxy_protocol`.

#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::proxy_protocol(data));
