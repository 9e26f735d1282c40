//! An authority of this run, and what the proxy shows in its name.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::Failure;
use crate::proxy::ListenerTls;

/// See the module.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One that nobody knows yet.
    pub(super) fn new(name: &str) -> Result<Self, Failure> {
        let mut params = params(name, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate, as whoever trusts it needs it.
    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this host and its key, in files of `directory`.
    pub(super) fn issue(&self, directory: &Path) -> Result<ListenerTls, Failure> {
        let key = KeyPair::generate()?;
        let hosts = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut params = params("sealwire", hosts.to_vec())?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let files = ListenerTls {
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
            client_ca: None,
            more: String::new(),
        };
        std::fs::write(&files.certificate, params.signed_by(&key, &self.0)?.pem())?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&files.key)?;
        file.write_all(key.serialize_pem().as_bytes())?;
        Ok(files)
    }
}

fn params(name: &str, hosts: Vec<String>) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    // Clocks of those who try it differ little.
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 7 * DAY).into();
    Ok(params)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
