//! Two ends of a TLS connection that know each other, for tests of what lies between them.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuiteCommon, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

use super::authority::{Authority, Wanted};
use crate::transport::certificates::CertificateFiles;
use crate::transport::suites::TlsChoice;
use crate::transport::tls_server::{ListenerTls, PrincipalSource};

/// Whom the server's certificate is for.
pub const SERVER: &str = "broker.test";
/// Whom the client's certificate is for.
pub const CLIENT: &str = "client.test";

/// Whom [`SERVER`] is meant by.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER).expect("a name")
}

/// Which TLS two ends speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// Both.
pub const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// How two ends meet.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// What both speak, and nothing else.
    pub version: Version,
    /// The server asks the client for a certificate, and the client has one.
    pub mutual: bool,
    /// A key seals so many records, if not as many as it can.
    pub records_per_key: Option<u64>,
    /// The server's certificate is of an authority that the client does not know.
    pub strange: bool,
}

impl Meeting {
    /// Without anything special about it.
    pub fn of(version: Version) -> Self {
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

    /// The server's configuration.
    ///
    /// # Panics
    /// Where no random bytes are to be had, as all here.
    pub fn server(self) -> Arc<ServerConfig> {
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

    /// The client's configuration.
    pub fn client(self) -> Arc<ClientConfig> {
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

/// Has two ends shake hands, and take what either sends with the end of that.
///
/// # Errors
/// Whatever one finds wrong with the other.
///
/// # Panics
/// Where rustls cannot write to memory.
pub fn shake_hands(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Error> {
    loop {
        let is_over = !client.is_handshaking() && !server.is_handshaking();
        let mut said = Vec::new();
        client.write_tls(&mut said).expect("memory");
        let mut left = said.as_slice();
        while !left.is_empty() {
            server.read_tls(&mut left).expect("memory");
            server.process_new_packets()?;
        }
        said.clear();
        server.write_tls(&mut said).expect("memory");
        let mut left = said.as_slice();
        while !left.is_empty() {
            client.read_tls(&mut left).expect("memory");
            client.process_new_packets()?;
        }
        if is_over {
            return Ok(());
        }
    }
}

/// A listener with these certificates, and else as the configuration presets it.
pub fn listener(certificates: Vec<CertificateFiles>) -> ListenerTls {
    ListenerTls {
        certificates,
        client_ca: None,
        crl: Vec::new(),
        principals: PrincipalSource::default(),
        choice: TlsChoice::default(),
        handshake_timeout: Duration::from_secs(10),
        resumption: false,
    }
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

/// Writes what another implementation needs to meet them: `ca.pem`, and certificates with keys for [`SERVER`] and
/// [`CLIENT`].
pub fn write_files(folder: &Path) {
    fs::write(folder.join("ca.pem"), AUTHORITY.pem()).expect("it is written");
    for name in [SERVER, CLIENT] {
        AUTHORITY.issue(&Wanted::for_hosts(&[name])).write(folder, name);
    }
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::root("authority of tests"));
