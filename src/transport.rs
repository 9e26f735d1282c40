//! What lies between a socket and Kafka's protocol: TLS, the files that it takes, and the preface of a load balancer.
//!
//! It knows no socket and no thread; the files are read by whoever may block.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod certificates;
pub(crate) mod error_words;
pub mod proxy_protocol;
pub(crate) mod route;
mod shown_chain;
pub mod suites;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
pub mod tls_client;
pub mod tls_server;
