//! What a point may be of: kinds of work, ways, clients and codecs.

use serde::{Deserialize, Serialize};

/// What `sealwire` does with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// Nothing: a rule lets them pass.
    Pass,
    /// Seals what is produced.
    Seal,
    /// Opens what is fetched.
    Open,
    /// Half of the connections produce and the other half fetch.
    Both,
}

/// Which way records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// From client to broker.
    Produce,
    /// From broker to client.
    Fetch,
    /// Both, on a half of the connections each.
    Both,
}

/// Who produces and fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    /// The harness' own load, with its stand-in broker.
    #[default]
    Generator,
    /// Kafka's tools for measuring, with a real broker.
    Java,
    /// librdkafka, with a real broker.
    Librdkafka,
}

/// How a client compresses a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCodec {
    None,
    Lz4,
    Zstd,
}

/// `stored_codec` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoredCodec {
    None,
    Lz4,
}

/// What clients and systems show each other; the certificate of the broker has an ECDSA key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    /// Nobody speaks TLS.
    #[default]
    None,
    /// The system a certificate with an ECDSA key (P-256), clients nothing.
    Ecdsa,
    /// The system one with an RSA key (2048 bits), clients nothing.
    Rsa,
    /// Both one with an ECDSA key.
    Mtls,
}

impl Client {
    pub(crate) fn is_real(self) -> bool {
        self != Self::Generator
    }

    pub(super) fn usual_connections(self) -> usize {
        if self.is_real() { 1 } else { 16 }
    }
}
