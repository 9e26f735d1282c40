//! Certificates of a point whose ends speak TLS: what systems, clients and broker show each other.

use std::fs;
use std::path::{Path, PathBuf};

use sealwire::testing::authority::{Authority, Wanted};
use sealwire::transport::certificates::CertificateFiles;

use crate::Failure;
use crate::scenario::{Point, Tls};

/// All of one authority, made anew. PEM, in the directory that they were made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// Who vouches for all others.
    pub(crate) authority: PathBuf,
    /// What systems show clients: for 127.0.0.1.
    pub(crate) system: CertificateFiles,
    /// The same, the key behind the certificate in one file, as HAProxy wants it.
    pub(crate) system_in_one: PathBuf,
    /// What the broker shows: for 127.0.0.1.
    pub(crate) broker: CertificateFiles,
    /// What clients show, where they are asked.
    pub(crate) client: Option<CertificateFiles>,
}

impl Certificates {
    /// Those of `point`, if it is one with TLS.
    pub(crate) fn make(point: &Point, directory: &Path) -> Result<Option<Self>, Failure> {
        if point.tls == Tls::None {
            return Ok(None);
        }
        let own = Authority::root("bench-harness");
        let authority = directory.join("authority.pem");
        fs::write(&authority, own.pem())?;
        let host = Wanted::for_hosts(&["127.0.0.1"]);
        let shown = own.issue(&Wanted {
            is_rsa: point.tls == Tls::Rsa,
            ..host.clone()
        });
        let system_in_one = directory.join("system-in-one.pem");
        fs::write(&system_in_one, format!("{}{}", shown.chain, shown.key))?;
        let client = (point.tls == Tls::Mtls).then(|| {
            let client = own.issue(&Wanted::named("client"));
            client.write(directory, "client")
        });
        Ok(Some(Self {
            authority,
            system: shown.write(directory, "system"),
            system_in_one,
            broker: own.issue(&host).write(directory, "broker"),
            client,
        }))
    }
}
