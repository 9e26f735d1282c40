//! Certificates of brokers, proxies and clients, as PEM files: good ones, and ones with a flaw each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use sealwire::testing::authority::{Authority, DnType, ExtendedKeyUsagePurpose, Issued, Span, Wanted};
use sealwire::transport::certificates::CertificateFiles;

use super::launch::DataFolder;
use super::{HOST, cache, debian};

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Expired,
    NotYetValid,
    /// A server's has the purpose of clients alone, and the reverse.
    WrongPurpose,
    /// Signed by an authority that nobody trusts.
    UnknownAuthority,
    /// `CA:TRUE`.
    IsAuthority,
    /// For another host; servers only.
    WrongHost,
    /// The host is in the common name alone; servers only.
    CommonNameOnly,
    /// Signed with SHA-1.
    Sha1,
    /// [`LONG_CHAIN`] certificates from it to a root, the root not among them.
    LongChain,
}

impl Flaw {
    pub(crate) const ALL: [Self; 9] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongPurpose,
        Self::UnknownAuthority,
        Self::IsAuthority,
        Self::WrongHost,
        Self::CommonNameOnly,
        Self::Sha1,
        Self::LongChain,
    ];
}

/// Who vouches for the servers of one kind, and who for their clients: authorities of their own.
pub(crate) struct Authorities {
    servers: Authority,
    clients: Authority,
    stranger: Authority,
    folder: DataFolder,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) issued: Issued,
    pub(crate) files: CertificateFiles,
    /// Chain and key in one file, as clients and brokers take them.
    pub(crate) together: PathBuf,
}

impl Authorities {
    pub(crate) fn create(name: &str) -> Self {
        let authorities = Self {
            servers: Authority::root(&format!("{name} servers")),
            clients: Authority::root(&format!("{name} clients")),
            stranger: Authority::root(&format!("{name} strangers")),
            folder: DataFolder::create("certificates"),
        };
        let write = |file: &str, authority: &Authority| {
            fs::write(authorities.file(file), authority.pem()).expect("an authority is written");
        };
        write(SERVERS, &authorities.servers);
        write(CLIENTS, &authorities.clients);
        write(STRANGERS, &authorities.stranger);
        authorities
    }

    /// Who vouches for servers.
    pub(crate) fn of_servers(&self) -> PathBuf {
        self.file(SERVERS)
    }

    /// Who vouches for clients.
    pub(crate) fn of_clients(&self) -> PathBuf {
        self.file(CLIENTS)
    }

    /// Who vouches for nobody but those with [`Flaw::UnknownAuthority`].
    pub(crate) fn of_strangers(&self) -> PathBuf {
        self.file(STRANGERS)
    }

    /// A server at [`HOST`] and `localhost`.
    pub(crate) fn server(&self, name: &str, flaw: Option<Flaw>) -> Identity {
        self.server_at(&[HOST, "localhost"], name, flaw)
    }

    pub(crate) fn server_at(&self, hosts: &[&str], name: &str, flaw: Option<Flaw>) -> Identity {
        let mut wanted = Wanted {
            purposes: vec![purpose(true)],
            ..Wanted::for_hosts(hosts)
        };
        match flaw {
            Some(Flaw::WrongHost) => wanted.hosts = vec!["elsewhere.test".to_owned()],
            Some(Flaw::CommonNameOnly) => {
                wanted.hosts.clear();
                wanted.subject = vec![(DnType::CommonName, HOST.to_owned())];
            }
            _ => {}
        }
        self.issue(&self.servers, name, wanted, flaw)
    }

    /// A client whose subject is `CN=NAME`.
    pub(crate) fn client(&self, name: &str, flaw: Option<Flaw>) -> Identity {
        let wanted = Wanted {
            purposes: vec![purpose(false)],
            ..Wanted::named(name)
        };
        self.issue(&self.clients, name, wanted, flaw)
    }

    /// A list with these clients' certificates, due in a week.
    pub(crate) fn revoked(&self, clients: &[&Identity]) -> String {
        let revoked: Vec<&Issued> = clients.iter().map(|client| &client.issued).collect();
        self.clients.revoke(&revoked, Span::In(7 * DAY))
    }

    /// The folder of all these files, for more of them.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, authority: &Authority, name: &str, mut wanted: Wanted, flaw: Option<Flaw>) -> Identity {
        match flaw {
            Some(Flaw::Expired) => {
                wanted.begins_in = Span::Ago(30 * DAY);
                wanted.ends_in = Span::Ago(DAY);
            }
            Some(Flaw::NotYetValid) => wanted.begins_in = Span::In(DAY),
            Some(Flaw::WrongPurpose) => wanted.purposes = vec![other(&wanted.purposes)],
            Some(Flaw::IsAuthority) => wanted.is_authority = true,
            _ => {}
        }
        let issued = match flaw {
            Some(Flaw::UnknownAuthority) => self.stranger.issue(&wanted),
            Some(Flaw::Sha1) => signed_with_sha1(authority, wanted.self_signed()),
            Some(Flaw::LongChain) => under_many(authority, &wanted),
            _ => authority.issue(&wanted),
        };
        let name = flaw.map_or_else(|| name.to_owned(), |flaw| format!("{name}-{flaw:?}"));
        Identity::write(issued, self.folder.path(), &name)
    }
}

impl Identity {
    /// Files of this name in `folder`.
    pub(crate) fn write(issued: Issued, folder: &Path, name: &str) -> Self {
        let files = issued.write(folder, name);
        let together = folder.join(format!("{name}-together.pem"));
        fs::write(&together, format!("{}{}", issued.chain, issued.key)).expect("a file is written");
        fs::set_permissions(&together, fs::Permissions::from_mode(0o600)).expect("it is its owner's");
        Self {
            issued,
            files,
            together,
        }
    }
}

/// What the brokers of all tests show on their listeners with TLS.
pub(crate) struct OfBrokers {
    pub(crate) authorities: Authorities,
    shown: Vec<(Option<Flaw>, Identity)>,
}

impl OfBrokers {
    pub(crate) fn shown(&self, flaw: Option<Flaw>) -> &Identity {
        let mut shown = self.shown.iter();
        let found = shown.find(|(has, _)| *has == flaw);
        &found.expect("there is one of each").1
    }
}

pub(crate) fn of_brokers() -> &'static OfBrokers {
    static ALL: LazyLock<OfBrokers> = LazyLock::new(|| {
        let authorities = Authorities::create("broker");
        let flaws = Flaw::ALL.into_iter().map(Some);
        let shown = std::iter::once(None)
            .chain(flaws)
            .map(|flaw| (flaw, authorities.server("broker", flaw)))
            .collect();
        OfBrokers { authorities, shown }
    });
    &ALL
}

/// A certificate that has signed itself, under a signature of the authority that rcgen does not make.
fn signed_with_sha1(authority: &Authority, issued: Issued) -> Issued {
    let openssl = debian::installed("openssl", "version", &["openssl"]);
    let folder = DataFolder::create("sha1");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file is written");
        path
    };
    let mut sign = Command::new(openssl);
    sign.args(["x509", "-sha1", "-preserve_dates", "-set_serial", "1", "-in"]);
    sign.arg(file("certificate.pem", &issued.chain));
    sign.arg("-CA").arg(file("ca.pem", &authority.pem()));
    sign.arg("-CAkey").arg(file("ca.key", &authority.key()));
    issued.with_certificate(cache::run(&mut sign))
}

/// Itself, and between it and the authority as many as make [`LONG_CHAIN`].
fn under_many(authority: &Authority, wanted: &Wanted) -> Issued {
    let mut nearest = authority.intermediate("intermediate 1");
    for number in 2..LONG_CHAIN {
        nearest = nearest.intermediate(&format!("intermediate {number}"));
    }
    nearest.issue(wanted)
}

fn purpose(of_server: bool) -> ExtendedKeyUsagePurpose {
    if of_server {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::ClientAuth
    }
}

fn other(purposes: &[ExtendedKeyUsagePurpose]) -> ExtendedKeyUsagePurpose {
    purpose(!purposes.contains(&ExtendedKeyUsagePurpose::ServerAuth))
}

const LONG_CHAIN: u32 = 12;
const SERVERS: &str = "servers-ca.pem";
const CLIENTS: &str = "clients-ca.pem";
const STRANGERS: &str = "strangers-ca.pem";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
