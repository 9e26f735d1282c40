//! The program between real clients and real brokers of Kafka.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

#[path = "../support/fixture.rs"]
mod support;

mod broker_killed;
mod certificate_names;
mod clients;
mod cluster;
mod compact_batches;
mod delegation_tokens;
mod hostile_frames;
mod inspect_broker;
mod inspect_login;
mod key_memory;
mod keys_late;
mod keys_refused;
mod kms;
mod known_addresses;
mod login_pairs;
mod old_message_sets;
mod older_broker;
mod open_transactions;
mod passing;
mod right_broker;
mod round_trip;
mod sasl;
mod scram;
mod self_check;
mod stable_keys;
mod swapped_addresses;
mod tampering;
mod tls;
mod two_clusters;
mod unusual_requests;
mod upstream_logins;
