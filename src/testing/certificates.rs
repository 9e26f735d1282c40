//! An authority for tests, certificates that it has signed, and TLS configurations that trust it.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

use crate::transport::tls::{client_config, provider, server_config};

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
        let mut own = CryptoProvider::clone(&provider());
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
            WebPkiClientVerifier::builder_with_provider(roots(), self.provider())
                .build()
                .expect("an authority")
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let stranger = self.strange.then(|| Authority::new("stranger"));
        let authority = stranger.as_ref().unwrap_or(&AUTHORITY);
        let key = SingleCertAndKey::from(authority.certified(SERVER, ExtendedKeyUsagePurpose::ServerAuth));
        server_config(self.provider(), verifier, Arc::new(key))
            .expect("a configuration")
            .into()
    }

    pub(crate) fn client(self) -> Arc<ClientConfig> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(), self.provider())
            .build()
            .expect("an authority");
        let key = AUTHORITY.certified(CLIENT, ExtendedKeyUsagePurpose::ClientAuth);
        let key = self.mutual.then(|| Arc::new(SingleCertAndKey::from(key)) as _);
        client_config(self.provider(), verifier, key)
            .expect("a configuration")
            .into()
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

fn clone(common: &rustls::CipherSuiteCommon) -> rustls::CipherSuiteCommon {
    rustls::CipherSuiteCommon { ..*common }
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(AUTHORITY.certificate.clone()).expect("an authority");
    roots.into()
}

/// Who has signed all of them.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("authority of tests"));

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new([]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// A certificate for `name`, with its key.
    pub(crate) fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages.push(purpose);
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }

    fn certified(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> CertifiedKey {
        let (certificate, key) = self.sign(name, purpose);
        let chain = vec![certificate.der().clone()];
        CertifiedKey::from_der(chain, PrivateKeyDer::from(key), &provider()).expect("a key of it")
    }
}
