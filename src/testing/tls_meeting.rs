//! Two ends of a TLS connection that know each other, for tests of what lies between them.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuiteCommon, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite, Tls12CipherSuite,
    Tls13CipherSuite,
};

use super::authority::{Authority, Wanted};

/// Whom the certificates are for.
pub(crate) const SERVER: &str = "broker.test";
pub(crate) const CLIENT: &str = "client.test";

/// Whom [`SERVER`] is meant by.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER).expect("a name")
}

/// Which TLS two ends speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// How two ends meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    pub(crate) version: Version,
    /// The server asks the client for a certificate, and the client has one.
    pub(crate) mutual: bool,
    /// A key seals so many records, if not as many as it can.
    pub(crate) records_per_key: Option<u64>,
    /// The server's certificate is of an authority that the client does not know.
    pub(crate) strange: bool,
}

impl Meeting {
    pub(crate) fn of(version: Version) -> Self {
        Self {
            version,
            mutual: false,
            records_per_key: None,
            strange: false,
        }
    }

    fn provider(self) -> Arc<CryptoProvider> {
        let mut own = aws_lc_rs::default_provider();
        own.cipher_suites.retain(|suite| {
            let is_tls13 = suite.tls13().is_some();
            is_tls13 == (self.version == Version::Tls13)
        });
        if let Some(records) = self.records_per_key {
            for suite in &mut own.cipher_suites {
                *suite = limited(*suite, records);
            }
        }
        Arc::new(own)
    }

    pub(crate) fn server(self) -> Arc<ServerConfig> {
        let verifier = if self.mutual {
            WebPkiClientVerifier::builder_with_provider(roots(&AUTHORITY), self.provider())
                .build()
                .expect("an authority")
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let stranger = self.strange.then(|| Authority::root("stranger"));
        let key = certified(stranger.as_ref().unwrap_or(&AUTHORITY), SERVER);
        ServerConfig::builder_with_provider(self.provider())
            .with_safe_default_protocol_versions()
            .expect("suites of a version")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(key))
            .into()
    }

    pub(crate) fn client(self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(self.provider())
            .with_safe_default_protocol_versions()
            .expect("suites of a version")
            .with_root_certificates(roots(&AUTHORITY));
        if self.mutual {
            let key = certified(&AUTHORITY, CLIENT);
            builder.with_client_cert_resolver(Arc::new(key)).into()
        } else {
            builder.with_no_client_auth().into()
        }
    }
}

/// The same cipher suite, whose keys are worn out sooner.
fn limited(suite: SupportedCipherSuite, records: u64) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let mut common = clone(&suite.common);
            common.confidentiality_limit = records;
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite { common, ..*suite })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let mut common = clone(&suite.common);
            common.confidentiality_limit = records;
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite { common, ..*suite })))
        }
    }
}

fn clone(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon { ..*common }
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("an authority");
    roots.into()
}

/// A certificate for `name`, with its key.
fn certified(authority: &Authority, name: &str) -> SingleCertAndKey {
    let issued = authority.issue(&Wanted::for_hosts(&[name]));
    let chain = vec![CertificateDer::from(issued.der.clone())];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .expect("a key of it")
        .into()
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::root("authority of tests"));
