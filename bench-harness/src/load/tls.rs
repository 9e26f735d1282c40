//! TLS as the load speaks it, on both sides of every system: version 1.3, one suite, one key exchange, no session that
//! is resumed, so that all systems have the same to do.
//!
//! Clients do not look at the certificate that they are shown: it is the systems that are measured, and a peer has one
//! of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, version,
};
use sealwire::transport::certificates::CertificateFiles;

use crate::Failure;
use crate::certificates::Certificates;

/// See the module.
#[derive(Clone)]
pub(super) struct LoadTls {
    client: Arc<ClientConfig>,
    broker: Arc<ServerConfig>,
}

impl LoadTls {
    pub(super) fn new(certificates: &Certificates) -> Result<Self, Failure> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(Arc::clone(&provider))));
        let mut client = match &certificates.client {
            None => client.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = read(files)?;
                client.with_client_auth_cert(chain, key)?
            }
        };
        client.resumption = Resumption::disabled();
        let (chain, key) = read(&certificates.broker)?;
        let mut broker = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        broker.session_storage = Arc::new(NoServerSessionStorage {});
        broker.send_tls13_tickets = 0;
        Ok(Self {
            client: Arc::new(client),
            broker: Arc::new(broker),
        })
    }

    /// A client's end towards the system at `address`.
    pub(super) fn client(&self, address: SocketAddr) -> Result<Connection, Failure> {
        let name = ServerName::from(address.ip());
        Ok(ClientConnection::new(Arc::clone(&self.client), name)?.into())
    }

    /// The broker's end.
    pub(super) fn broker(&self) -> Result<Connection, Failure> {
        Ok(ServerConnection::new(Arc::clone(&self.broker))?.into())
    }
}

fn read(files: &CertificateFiles) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)?.collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_file(&files.key)?))
}

/// Takes whoever answers for the system.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
