//! Certificates that tests and trials make for themselves: an authority, what it signs, and what it takes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
/// What [`Wanted`] is made of.
pub use rcgen::{DnType, ExtendedKeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::transport::certificates::CertificateFiles;

/// Who signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The authorities above it, nearest first, itself included unless it is a root.
    chain: String,
}

/// A certificate as it is wanted; the default has no name, is for brokers and clients, and is valid for a month.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Subject alternative names: hosts and addresses.
    pub hosts: Vec<String>,
    /// Subject alternative names: URIs.
    pub uris: Vec<String>,
    /// The subject: types and values, the most general first.
    pub subject: Vec<(DnType, String)>,
    /// Extended key usage; empty: none is said.
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    /// From now; may be over.
    pub ends_in: Span,
    /// From now; may be past.
    pub begins_in: Span,
    /// `CA:TRUE`.
    pub is_authority: bool,
    /// RSA with 2048 bits instead of ECDSA with P-256.
    pub is_rsa: bool,
}

/// A time from now on, or before.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    /// Later.
    In(Duration),
    /// Earlier.
    Ago(Duration),
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            uris: Vec::new(),
            subject: Vec::new(),
            purposes: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            ends_in: Span::In(30 * DAY),
            begins_in: Span::Ago(DAY),
            is_authority: false,
            is_rsa: false,
        }
    }
}

impl Wanted {
    /// One for these hosts.
    pub fn for_hosts(hosts: &[&str]) -> Self {
        Self {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            subject: vec![(DnType::CommonName, "host".to_owned())],
            ..Self::default()
        }
    }

    /// One of a client with this common name.
    pub fn named(name: &str) -> Self {
        Self {
            subject: vec![(DnType::CommonName, name.to_owned())],
            ..Self::default()
        }
    }
}

/// A signed certificate with its key.
pub struct Issued {
    /// PEM, with what lies between it and a root.
    pub chain: String,
    /// PEM, PKCS #8.
    pub key: String,
    /// The certificate alone.
    pub der: Vec<u8>,
    serial: SerialNumber,
}

impl Authority {
    /// A root.
    ///
    /// # Panics
    /// Where no random bytes are to be had, as all here.
    pub fn root(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority(name), new_key(false)).expect("it is signed");
        Self {
            issuer,
            chain: String::new(),
        }
    }

    /// One below it.
    pub fn intermediate(&self, name: &str) -> Self {
        let issuer =
            CertifiedIssuer::signed_by(authority(name), new_key(false), &self.issuer).expect("it is signed");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self { issuer, chain }
    }

    /// One below it, which ended a day ago.
    pub fn ended(&self, name: &str) -> Self {
        let mut params = authority(name);
        params.not_after = Span::Ago(DAY).time().into();
        let issuer = CertifiedIssuer::signed_by(params, new_key(false), &self.issuer).expect("it is signed");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self { issuer, chain }
    }

    /// Its own certificate, as whoever trusts it needs it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its key; PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Signs a certificate.
    pub fn issue(&self, wanted: &Wanted) -> Issued {
        let (params, key) = (wanted.params(), new_key(wanted.is_rsa));
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        Issued {
            chain: format!("{}{}", certificate.pem(), self.chain),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            serial: params.serial_number.expect("it was given one"),
        }
    }

    /// The list of what it takes back, to be replaced in `due`; PEM.
    pub fn revoke(&self, revoked: &[&Issued], due: Span) -> String {
        let long_ago = Span::Ago(2 * DAY).time();
        let revoked_certs = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: long_ago.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: long_ago.into(),
            next_update: due.time().into(),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("it is signed");
        list.pem().expect("it is written")
    }
}

impl Wanted {
    /// One that nobody else vouches for.
    pub fn self_signed(&self) -> Issued {
        let (params, key) = (self.params(), new_key(self.is_rsa));
        let certificate = params.self_signed(&key).expect("it is signed");
        Issued {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
            serial: params.serial_number.expect("it was given one"),
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.hosts.clone()).expect("names of hosts");
        let uris = self.uris.iter();
        let uris = uris.map(|uri| SanType::URI(uri.as_str().try_into().expect("a URI is ASCII")));
        params.subject_alt_names.extend(uris);
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in &self.subject {
            params.distinguished_name.push(kind.clone(), value.as_str());
        }
        params.extended_key_usages.clone_from(&self.purposes);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = self.begins_in.time().into();
        params.not_after = self.ends_in.time().into();
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).expect("random bytes");
        // A positive number of this length, whatever the rest is.
        serial[0] = 0x5a;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }
}

impl Issued {
    /// The same key under another certificate; PEM.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn with_certificate(mut self, pem: String) -> Self {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        self.der = certificate.to_vec();
        self.chain = pem;
        self
    }

    /// Writes chain and key into `folder`, the key for its owner alone.
    pub fn write(&self, folder: &Path, name: &str) -> CertificateFiles {
        let files = CertificateFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, &self.chain).expect("the chain is written");
        write_key(&files.key, &self.key);
        files
    }
}

fn write_key(path: &PathBuf, key: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::write(path, key).expect("the key is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is its owner's");
}

impl Span {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are made for the time of the host"
    )]
    fn time(self) -> SystemTime {
        match self {
            Self::In(time) => SystemTime::now() + time,
            Self::Ago(time) => SystemTime::now() - time,
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.not_before = Span::Ago(2 * DAY).time().into();
    params.not_after = Span::In(365 * DAY).time().into();
    params
}

fn new_key(is_rsa: bool) -> KeyPair {
    let made = if is_rsa {
        KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)
    } else {
        KeyPair::generate()
    };
    made.expect("a key is made")
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
