//! The program as its operator has it, without Kafka: it is started, asked, stopped and starved, and what it finds for
//! a broker is a socket of the test's own, or nobody.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]

#[path = "../support/fixture.rs"]
mod support;

mod admin;
mod audit;
mod certificate_recipe;
mod coming_and_going;
mod config_starts;
mod control_thread;
mod handshakes;
mod hardening;
mod jdk;
mod keyring_cli;
mod keystore_cli;
mod keystore_unread;
mod large_fetches;
mod limits;
mod log_lines;
mod lying_broker;
mod memlock;
mod monitoring;
mod openssl;
mod proxy_protocol;
mod refused_starts;
mod state_file;
mod two_clusters;
mod unusual_brokers;
mod users_cli;
