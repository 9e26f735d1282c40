//! The program between real clients and real brokers of Kafka.

#[path = "../support/fixture.rs"]
mod support;

mod clients;
mod cluster;
mod hostile_frames;
mod inspect_broker;
mod keys_late;
mod keys_refused;
mod old_message_sets;
mod older_broker;
mod open_transactions;
mod right_broker;
mod round_trip;
mod sasl;
mod self_check;
mod tampering;
mod unusual_requests;
