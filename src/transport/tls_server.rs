//! What a listener presents to its clients, and demands of them.
//!
//! - TLS-SERVER-1: no session is resumed where certificates of clients are demanded: it would bring one back without a
//!   look at dates and revocations. Elsewhere none is unless the listener says so, and then only one of the same
//!   listener, with the same files, for the same name: tickets are sealed under a key of the set, and hold the name.
//! - TLS-SERVER-2: where client certificates are demanded, a revocation list that is out of date lets nobody in.
//! - TLS-SERVER-3: a client that names a host gets the certificate for it; one that names none, or one that no
//!   certificate has, gets the first, and judges by itself.
//! - TLS-SERVER-4: a certificate that names nobody is refused within the handshake: behind it there is no alert that
//!   could say so, and the client would only see that it is disconnected.
//! - TLS-SERVER-5: revocation lists under which all clients of an authority would be refused are no set: what was read
//!   before stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError as Unverified, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme,
};

use super::certificates::{
    Authorities, AuthorityFacts, CertificateError, CertificateFacts, CertificateFiles, OwnCertificate,
    RevocationFacts, Revocations, check_issuers,
};
use super::shown_chain;
use super::suites::TlsChoice;
use crate::identity::certificate_names::{PrincipalMapping, Rules, RulesError};

/// `[cluster.NAME.listeners.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one; the first is for clients that name no host.
    pub certificates: Vec<CertificateFiles>,
    /// Who vouches for clients; without it none is asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of those.
    pub crl: Vec<PathBuf>,
    /// What of their certificates names clients.
    pub principals: PrincipalSource,
    /// What may be negotiated.
    pub choice: TlsChoice,
    /// For the whole handshake.
    pub handshake_timeout: Duration,
    /// Clients may resume sessions; nothing where there is a `client_ca` (TLS-SERVER-1).
    pub resumption: bool,
}

/// What of its certificate names a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalSource {
    /// The subject, by these rules.
    Subject(String),
    /// See [`PrincipalMapping::SanUri`].
    SanUri,
    /// See [`PrincipalMapping::SanDns`].
    SanDns,
}

impl Default for PrincipalSource {
    fn default() -> Self {
        Self::Subject("DEFAULT".to_owned())
    }
}

impl PrincipalSource {
    /// # Errors
    /// What is wrong with the rules.
    pub fn mapping(&self) -> Result<PrincipalMapping, RulesError> {
        Ok(match self {
            Self::Subject(rules) => PrincipalMapping::Subject(Rules::parse(rules)?),
            Self::SanUri => PrincipalMapping::SanUri,
            Self::SanDns => PrincipalMapping::SanDns,
        })
    }
}

impl ListenerTls {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let own = self.certificates.iter();
        own.flat_map(|files| [&files.certificate, &files.key])
            .chain(&self.client_ca)
            .chain(&self.crl)
    }

    /// Reads its files and checks them as a set. Blocks.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(&self, now: SystemTime) -> Result<ServerSet, CertificateError> {
        let provider = self.choice.provider();
        let own: Vec<_> = self
            .certificates
            .iter()
            .map(|files| OwnCertificate::load(files, &provider, now))
            .collect::<Result<_, _>>()?;
        if let Some(own) = own
            .iter()
            .find(|own| !self.choice.takes(own.certified.key.as_ref()))
        {
            return Err(CertificateError::NoSuite(own.facts.path.clone()));
        }
        let refused = |source| CertificateError::Refused {
            what: "the listener's TLS",
            source,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.choice.versions())
            .map_err(refused)?;
        let demands = self.client_ca.as_ref().map(|ca| self.demands(ca, &provider, now));
        let demands = demands.transpose()?;
        let builder = match &demands {
            None => builder.with_no_client_auth(),
            Some(demands) => builder.with_client_cert_verifier(demands.verifier.clone()),
        };
        let by_name = own
            .iter()
            .map(|own| (own.facts.clone(), Arc::clone(&own.certified)))
            .collect();
        let mut config = builder.with_cert_resolver(Arc::new(CertificateByName(by_name)));
        // TLS-SERVER-1
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if self.resumption && self.client_ca.is_none() {
            config.ticketer = Ticketer::new().map_err(refused)?;
            config.send_tls13_tickets = 1;
        }
        let mut doubts: Vec<_> = own.iter().filter_map(|own| own.doubt.clone()).collect();
        let (mut authorities, mut revocations, mut principals) = (None, Vec::new(), None);
        if let Some(demands) = demands {
            authorities = Some(demands.verifier.authorities_end.clone());
            principals = Some(demands.verifier.mapping.clone());
            revocations = demands.revocations;
            doubts.extend(demands.doubts);
        }
        Ok(ServerSet {
            config: Arc::new(config),
            principals,
            certificates: own.into_iter().map(|own| own.facts).collect(),
            authorities,
            revocations,
            doubts,
            handshake_timeout: self.handshake_timeout,
        })
    }

    fn demands(
        &self,
        ca: &Path,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<Demands, CertificateError> {
        let refused = |error: String| CertificateError::Refused {
            what: "the listener's TLS",
            source: Error::General(error),
        };
        let mapping = self.principals.mapping();
        let mapping = mapping.map_err(|error| refused(error.to_string()))?;
        let read = self.crl.iter().map(|path| Revocations::read(path, now));
        let read = read.collect::<Result<Vec<_>, _>>()?;
        let authorities = Authorities::read(ca, now)?;
        // TLS-SERVER-5
        let doubts = check_issuers(&read, &authorities, provider)?;
        let revocations = read.iter().map(|read| read.facts.clone()).collect();
        let authorities_end = authorities.ends(ca);
        let roots = Arc::new(authorities.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(read.into_iter().flat_map(|read| read.lists))
            // TLS-SERVER-2
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| refused(error.to_string()))?;
        Ok(Demands {
            verifier: Arc::new(NamingSomebody {
                verifier,
                authorities_end,
                mapping,
            }),
            revocations,
            doubts,
        })
    }
}

/// What is demanded of clients, and what is to be known of it.
struct Demands {
    verifier: Arc<NamingSomebody>,
    revocations: Vec<RevocationFacts>,
    doubts: Vec<String>,
}

/// A listener's files, read and checked.
#[derive(Clone, Debug)]
pub struct ServerSet {
    /// For new connections.
    pub config: Arc<ServerConfig>,
    /// Who clients are, where they are asked for certificates.
    pub principals: Option<PrincipalMapping>,
    /// Of each certificate, in the order of the configuration.
    pub certificates: Vec<CertificateFacts>,
    /// Of `client_ca`.
    pub authorities: Option<AuthorityFacts>,
    /// Of each file of revocation lists.
    pub revocations: Vec<RevocationFacts>,
    /// What can be used, and that somebody may stumble over; for the operator.
    pub doubts: Vec<String>,
    /// For the whole handshake.
    pub handshake_timeout: Duration,
}

/// TLS-SERVER-3
#[derive(Debug)]
struct CertificateByName(Vec<(CertificateFacts, Arc<CertifiedKey>)>);

impl ResolvesServerCert for CertificateByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let host = hello.server_name();
        let named = host.and_then(|host| {
            self.0
                .iter()
                .find(|(facts, key)| facts.covers(host) && signs(key))
        });
        // For the same name there may be one key for each kind of signature.
        let any = || self.0.iter().find(|(_, key)| signs(key));
        named
            .or_else(any)
            .or(self.0.first())
            .map(|(_, key)| Arc::clone(key))
    }
}

/// TLS-SERVER-4
#[derive(Debug)]
struct NamingSomebody {
    verifier: Arc<dyn ClientCertVerifier>,
    authorities_end: AuthorityFacts,
    mapping: PrincipalMapping,
}

impl ClientCertVerifier for NamingSomebody {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // CHAIN-1
        shown_chain::check(intermediates)?;
        self.authorities_end.check(now)?;
        let verified = self
            .verifier
            .verify_client_cert(certificate, intermediates, now)?;
        match self.mapping.principal(certificate) {
            Ok(_) => Ok(verified),
            Err(nobody) => Err(Unverified::Other(OtherError(Arc::new(nobody))).into()),
        }
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
