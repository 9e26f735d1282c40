//! What the tests that drive real brokers and real clients stand on: a Kafka cluster, the proxy's own binary, client
//! programs, and the records that go between them.
//!
//! A test file says `#[path = "support/fixture.rs"] mod support;`.
//!
//! - Everything that is fetched or compiled lies in `.cache/` at the workspace root, made once under a file lock.
//! - Every process is started by one thread that lives as long as the test process, with a parent-death signal:
//!   however the test ends, nothing is left running, and a watchdog removes the folders.
//! - Everything binds to 127.0.0.1, on ports reserved by lock files, so that test processes do not meet.
//! - `SEALWIRE_TEST_ROUTE=direct` runs every scenario straight at the broker: it proves the scenario, not the proxy.

// Each test binary uses its own part of the fixture.
#![allow(dead_code)]

pub(crate) mod admin_page;
pub(crate) mod agent;
pub(crate) mod artifacts;
pub(crate) mod aws_emulator;
pub(crate) mod broker_properties;
pub(crate) mod cache;
pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod compact_shapes;
pub(crate) mod configuration;
pub(crate) mod debian;
pub(crate) mod fault_layer;
pub(crate) mod faulty_proxy;
pub(crate) mod frames;
pub(crate) mod group_reader;
pub(crate) mod java;
pub(crate) mod kcat;
pub(crate) mod keystore;
pub(crate) mod launch;
pub(crate) mod maven;
pub(crate) mod openbao;
pub(crate) mod openbao_program;
pub(crate) mod operations;
pub(crate) mod package_files;
pub(crate) mod ports;
pub(crate) mod process_memory;
pub(crate) mod proxy;
pub(crate) mod raw_client;
pub(crate) mod records;
pub(crate) mod rig;
pub(crate) mod secret_files;
pub(crate) mod shared;
pub(crate) mod skipped;
pub(crate) mod sockets;
pub(crate) mod stored_seal;
pub(crate) mod streams;
pub(crate) mod wait;

pub(crate) const HOST: &str = "127.0.0.1";
