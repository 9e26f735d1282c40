//! What lies between a socket and Kafka's protocol: TLS.
//!
//! Pure: bytes in, bytes out. No socket, no clock, no thread.

pub(crate) mod tls;
