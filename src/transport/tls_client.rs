//! What the proxy demands of brokers, and presents to them.
//!
//! - TLS-CLIENT-1: no session is resumed: a resumed one would take a broker's certificate without a look at its dates.
//! - TLS-CLIENT-2: a pinned certificate is taken by its digest alone, whatever is wrong with it; that the broker has
//!   its key is checked all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError as Unverified, ClientConfig, ClientConnection, DigitallySignedStruct, Error, OtherError,
    SignatureScheme,
};

use super::certificates::{
    Authorities, AuthorityFacts, CertificateError, CertificateFacts, CertificateFiles, OwnCertificate,
    system_roots,
};
use super::shown_chain;
use super::suites::TlsChoice;
use super::tls::NotPinned;

/// `[cluster.NAME.upstream_tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Which brokers are taken for brokers.
    pub trust: Trust,
    /// The name that their certificates are to have; without it the host that was connected to.
    pub server_name: Option<ServerName<'static>>,
    /// What the proxy shows of itself, if anything.
    pub client: Option<CertificateFiles>,
    /// What may be negotiated.
    pub choice: TlsChoice,
}

/// Who is taken for a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever one of this file's certificates vouches for.
    File(PathBuf),
    /// Whoever a root of this host vouches for.
    System,
    /// Whoever has one of these certificates: SHA-256 of their DER.
    Pinned(Vec<[u8; 32]>),
    /// Whoever answers: no protection from anybody who can redirect a connection.
    Anybody,
}

impl UpstreamTls {
    /// Of a peer that is believed for this, with everything else as it is preset.
    #[must_use]
    pub fn trusting(trust: Trust) -> Self {
        Self {
            trust,
            server_name: None,
            client: None,
            choice: TlsChoice::default(),
        }
    }

    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let ca = match &self.trust {
            Trust::File(path) => Some(path),
            Trust::System | Trust::Pinned(_) | Trust::Anybody => None,
        };
        let client = self.client.iter();
        ca.into_iter()
            .chain(client.flat_map(|files| [&files.certificate, &files.key]))
    }

    /// Reads its files and checks them as a set. Blocks.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(&self, now: SystemTime) -> Result<ClientSet, CertificateError> {
        let provider = self.choice.provider();
        let refused = |source| CertificateError::Refused {
            what: "TLS towards brokers",
            source,
        };
        let client = self.client.as_ref();
        let own = client
            .map(|files| OwnCertificate::load(files, &provider, now))
            .transpose()?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.choice.versions())
            .map_err(refused)?;
        let by_digest = |pins| -> Arc<dyn ServerCertVerifier> {
            let provider = Arc::clone(&provider);
            Arc::new(ByDigest { pins, provider })
        };
        let mut ends = None;
        let by_authority = |roots, ends| -> Result<Arc<dyn ServerCertVerifier>, CertificateError> {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let verifier = verifier
                .build()
                .map_err(|error| refused(Error::General(error.to_string())))?;
            Ok(Arc::new(ByAuthority { verifier, ends }))
        };
        let verifier = match &self.trust {
            Trust::File(path) => {
                let authorities = Authorities::read(path, now)?;
                ends = Some(authorities.ends(path));
                by_authority(authorities.roots, ends.clone())?
            }
            Trust::System => by_authority(system_roots()?, None)?,
            Trust::Pinned(pins) => by_digest(Some(pins.clone())),
            Trust::Anybody => by_digest(None),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &own {
            Some(own) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.certified)))),
            None => builder.with_no_client_auth(),
        };
        // TLS-CLIENT-1
        config.resumption = Resumption::disabled();
        Ok(ClientSet {
            config: Arc::new(config),
            server_name: self.server_name.clone(),
            authorities: ends,
            certificate: own.map(|own| own.facts),
        })
    }
}

/// A cluster's files, read and checked.
#[derive(Clone, Debug)]
pub struct ClientSet {
    /// For new connections.
    pub config: Arc<ClientConfig>,
    /// See [`UpstreamTls::server_name`].
    pub server_name: Option<ServerName<'static>>,
    /// Of the file of authorities, if there is one.
    pub authorities: Option<AuthorityFacts>,
    /// Of what the proxy shows of itself.
    pub certificate: Option<CertificateFacts>,
}

impl ClientSet {
    /// The name that the certificate of `host` is to have.
    ///
    /// # Errors
    /// Where `host` is neither a name nor an address.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>, Error> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        let name = ServerName::try_from(host.to_owned());
        name.map_err(|_| Error::General("this is no name that a certificate could have".to_owned()))
    }

    /// A session with `host` for whoever may block.
    ///
    /// # Errors
    /// As [`Self::name_of`].
    pub fn session(&self, host: &str) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name_of(host)?)
    }
}

/// CHAIN-1
#[derive(Debug)]
struct ByAuthority {
    verifier: Arc<WebPkiServerVerifier>,
    ends: Option<AuthorityFacts>,
}

impl ServerCertVerifier for ByAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        shown_chain::check(intermediates)?;
        self.ends.as_ref().map_or(Ok(()), |ends| ends.check(now))?;
        self.verifier
            .verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// TLS-CLIENT-2
#[derive(Debug)]
struct ByDigest {
    /// `None`: all of them.
    pins: Option<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByDigest {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(pins) = &self.pins else {
            return Ok(ServerCertVerified::assertion());
        };
        let mut found = [0; 32];
        found.copy_from_slice(digest(&SHA256, certificate).as_ref());
        if pins.contains(&found) {
            return Ok(ServerCertVerified::assertion());
        }
        let not_pinned = OtherError(Arc::new(NotPinned { digest: found }));
        Err(Error::InvalidCertificate(Unverified::Other(not_pinned)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
