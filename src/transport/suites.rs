//! Versions of TLS and cipher suites that may be chosen among, and the cryptography that they are made of.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SigningKey;
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

/// What may be negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsChoice {
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
    /// In order of preference; empty: all that there are.
    pub suites: Vec<CipherSuite>,
}

impl Default for TlsChoice {
    fn default() -> Self {
        Self {
            tls12: true,
            tls13: true,
            suites: Vec::new(),
        }
    }
}

impl TlsChoice {
    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let (tls12, tls13) = (self.tls12, self.tls13);
        let all = [(tls13, &version::TLS13), (tls12, &version::TLS12)];
        all.into_iter()
            .filter_map(|(taken, version)| taken.then_some(version))
            .collect()
    }

    /// Whether each version has a suite.
    pub fn can_be_used(&self) -> bool {
        let provider = self.provider();
        let has = |version: &SupportedProtocolVersion| {
            let mut suites = provider.cipher_suites.iter();
            suites.any(|suite| suite.version() == version)
        };
        self.versions().into_iter().all(has)
    }

    /// Whether a handshake may be signed with this key: a suite of TLS 1.3 takes any.
    pub(crate) fn takes(&self, key: &dyn SigningKey) -> bool {
        let provider = self.provider();
        self.tls13
            || provider.cipher_suites.iter().any(|suite| match suite {
                SupportedCipherSuite::Tls12(suite) => key.choose_scheme(suite.sign).is_some(),
                SupportedCipherSuite::Tls13(_) => false,
            })
    }

    /// AWS-LC's, with these suites only. Its key exchanges begin with X25519MLKEM768.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = aws_lc_rs::default_provider();
        if !self.suites.is_empty() {
            let known = std::mem::take(&mut provider.cipher_suites);
            let chosen = |suite: &CipherSuite| known.iter().find(|known| known.suite() == *suite).copied();
            provider.cipher_suites = self.suites.iter().filter_map(chosen).collect();
        }
        Arc::new(provider)
    }
}

/// The suite that Kafka's `ssl.cipher.suites` calls `name` (IANA's name), if there is such a one here.
pub fn suite_named(name: &str) -> Option<CipherSuite> {
    suites().find_map(|(known, suite)| (known == name).then_some(suite))
}

/// Every suite under IANA's name, the preferred ones first.
pub fn suites() -> impl Iterator<Item = (String, CipherSuite)> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().map(|supported| {
        let suite = supported.suite();
        // rustls' own names of those of TLS 1.3 begin otherwise.
        (format!("{suite:?}").replacen("TLS13_", "TLS_", 1), suite)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_ianas_names() {
        for name in [
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ] {
            assert!(suite_named(name).is_some(), "{name}");
        }
        assert_eq!(suite_named("TLS_RSA_WITH_AES_128_CBC_SHA"), None);
        assert_eq!(suites().count(), 9);
    }

    #[test]
    fn only_what_was_chosen_is_offered_and_in_that_order() {
        let suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"].map(suite_named);
        let choice = TlsChoice {
            tls12: false,
            tls13: true,
            suites: suites.into_iter().flatten().collect(),
        };
        let provider = choice.provider();
        let offered: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(offered, choice.suites);
        assert_eq!(choice.versions(), [&version::TLS13]);
        let first = aws_lc_rs::default_provider().kx_groups[0].name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
    }
}
