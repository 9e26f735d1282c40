//! Sealwire: a transparent proxy for Apache Kafka that seals records before a broker sees them and opens them on the
//! way back.
//!
//! This page is the map of the program. `docs/architecture.md` says why it is built so, `docs/envelope.md` what is
//! stored.
//!
//! # Threads
//!
//! ```text
//! client <--> [acceptor] --socket--> [executor 0..n] <--> broker
//!                                       |      ^
//!            addresses, names, audit,   |      |   addresses, keys, revocations,
//!            key requests, counters     v      |   questions for counters, drain
//!                                   [control thread] <--> KMS, files, admin HTTP, signals
//! ```
//!
//! - An executor (`executor`, one for each core) owns its connections, keys, buffers and counters. It never waits on a
//!   lock, calls no KMS, reads no file, writes no log line.
//! - The control thread (`server::control`) does all of that, and never sees a record.
//! - Between threads there are bounded lock-free channels ([`channel`]) and nothing else; what they carry is in
//!   `messages`.
//!
//! # The way of a record
//!
//! ```text
//! Produce   connection -> pipeline::session   peek at 8 bytes, policy, hold the frame
//!                      -> pipeline::produce   rule of each topic, batch checked, sealing key (or wait, or refuse)
//!                      -> seal_batch          record_batch walks, envelope seals into the output, CRC last
//!                      -> connection          one write; refusals are merged into the broker's answer
//!
//! Fetch     connection -> pipeline::session   the response is held
//!                      -> pipeline::fetch     each partition: rule, then batch after batch
//!                      -> open                each record: form, KEK and key; then envelope opens into the output
//!                      -> connection          one write; a batch without its key is "no data yet"
//!
//! at first  connection -> session::own_requests  is the client logged in, and is this the node that it came for?
//!
//! the rest  streamed; responses that carry brokers' addresses are rewritten (protocol::addresses)
//!
//! keys      pipeline -> keys::executor --request--> keys::service -> keys::ledger -> kms
//! ```
//!
//! # Modules
//!
//! - [`cli`] is what an operator types, [`config`] what he writes, [`server`] what then runs, [`admin`] what he
//!   watches; [`self_check`] compares what is written with what is there, by way of [`kafka_client`].
//! - [`pipeline`] decides about frames, purely: no socket, no clock, no thread. `connection` and `executor` give it
//!   sockets and time.
//! - [`transport`] is what lies between a socket and Kafka's bytes: TLS and its files, and the preface of a load
//!   balancer.
//! - [`identity`] says who is at the other end of a connection, `issuer` fetches tokens and the keys behind them,
//!   [`ids`] stand for the names of clusters, listeners and KMSs, [`audit`] says what became of the records that he
//!   sent or read.
//! - [`protocol`] and [`record_batch`] read and write Kafka's bytes, [`rules`] say what happens to a topic,
//!   [`envelope`] seals and opens one record.
//! - [`keys`] bring keys from [`kms`] to executors; [`crypto`] is the only place that touches their bytes.
//! - [`clocks`] say when the machine slept or was set to another time; [`metrics`] are counters that each have one
//!   owner; [`ring`] prepares io_uring and enters it; `buffers` are memory that is used again, and
//!   `growing` is a buffer that moves in steps; [`durable_file`] is for the small files that the program keeps;
//!   [`foreign`] text is shown escaped and cut, and `repeats` keep a log short.
//!
//! # Words
//!
//! - *seal, open*: encrypt and authenticate; verify and decrypt. The *marker* is the record header `sealwire`, which
//!   holds the seal.
//! - *DEK*: data-encryption key, made for one process; *KEK*: key-encryption key, in the KMS; a *wrapped DEK* is stored
//!   with every record.
//! - *rule*: what happens to a topic: seal, pass, reject; no rule means refused. *form*: what a stored record is.
//!   *domain*: the text that a seal is bound to.
//! - *refuse*: not store or not deliver, with a Kafka code; *outage* and *verdict*: a KMS that does not answer, and one
//!   that says no.
//!
//! `docs/glossary.md` has the others.
//!
//! # Surface
//!
//! The program needs [`main`] and its allocator, [`WipedHeap`], and without features nothing else is public: the
//! compiler then names whatever nobody uses. With the feature `testing`, which tests, fuzzers and measurements turn on,
//! the modules are public too, and what only they need is there (`testing`).
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types))]
#![cfg_attr(
    not(feature = "testing"),
    allow(
        unreachable_pub,
        unused_imports,
        reason = "what is public inside is judged with the feature, and what is dead without it"
    )
)]

cfg_if::cfg_if! {
    if #[cfg(feature = "testing")] {
        pub mod admin;
        pub mod audit;
        pub mod broker_login;
        pub mod channel;
        pub mod cli;
        pub mod clocks;
        pub mod config;
        pub mod crypto;
        pub mod durable_file;
        pub mod envelope;
        pub mod foreign;
        pub mod identity;
        pub mod ids;
        pub mod kafka_client;
        pub mod keyring;
        pub mod keys;
        pub mod kms;
        pub mod metrics;
        pub mod pipeline;
        pub mod protocol;
        pub mod record_batch;
        pub mod ring;
        pub mod rules;
        pub mod secret_source;
        pub mod self_check;
        pub mod server;
        pub mod testing;
        pub mod transport;
    } else {
        mod admin;
        mod audit;
        mod broker_login;
        mod channel;
        mod cli;
        mod clocks;
        mod config;
        mod crypto;
        mod durable_file;
        mod envelope;
        mod foreign;
        mod identity;
        mod ids;
        mod kafka_client;
        mod keyring;
        mod keys;
        mod kms;
        mod metrics;
        mod pipeline;
        mod protocol;
        mod record_batch;
        mod ring;
        mod rules;
        mod secret_source;
        mod self_check;
        mod server;
        mod transport;
    }
}
mod buffers;
mod connection;
mod executor;
mod growing;
mod issuer;
mod messages;
mod repeats;

// For cargo-mutants, which evaluates no `cfg` and looks into no macro: where it finds what `make mutants` changes.
#[cfg(false)]
mod crypto;
#[cfg(false)]
mod envelope;
#[cfg(false)]
mod keys;
#[cfg(false)]
mod record_batch;
#[cfg(false)]
mod rules;

pub use crypto::WipedHeap;

/// The program: reads the command line, does what it says, and says how that ended.
pub fn main() -> std::process::ExitCode {
    // This is what becomes the control thread, and where the commands of keystores and users run.
    crypto::wipe_on_this_thread();
    cli::main(server::run)
}
