//! Sealwire: a transparent proxy for Apache Kafka that seals records before a broker sees them and opens them on the way back.

pub mod admin;
pub mod channel;
pub mod cli;
pub mod config;
mod connection;
pub mod crypto;
pub mod envelope;
mod executor;
pub mod keys;
pub mod kms;
pub mod metrics;
pub mod pipeline;
pub mod protocol;
pub mod record_batch;
pub mod ring;
pub mod rules;
pub mod server;
