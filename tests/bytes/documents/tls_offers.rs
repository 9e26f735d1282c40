//! What is offered and taken in TLS where nothing is configured: the table of docs/authentication.md is what handshakes
//! show, with peers that have one thing alone.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::Acceptor;
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme,
};
use sealwire::testing::authority::{Authority, Wanted};
use sealwire::testing::tls_meeting::{listener, shake_hands};
use sealwire::transport::suites::{TlsChoice, suites};
use sealwire::transport::tls_client::{ClientSet, Trust, UpstreamTls};
use sealwire::transport::tls_server::{ListenerTls, ServerSet};

use super::{read, repository};

/// `UPDATE_DOCS=1` writes the table instead of comparing it.
#[test]
fn the_table_of_what_is_offered_is_what_handshakes_show() {
    let text = read(DOCUMENT);
    let (begin, rest) = text.split_once(BEGIN).expect("the table begins");
    let (_, end) = rest.split_once(END).expect("the table ends");
    let expected = format!("{begin}{BEGIN}\n{}\n{END}{end}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(repository().join(DOCUMENT), &expected).expect("the document is written");
    }
    assert!(
        read(DOCUMENT) == expected,
        "{DOCUMENT} is stale: run UPDATE_DOCS=1 cargo test --test bytes tls_offers"
    );
}

fn table() -> String {
    let program = Program::load();
    let (taken, offered) = (program.takes_of_clients(), program.offers_to_brokers());
    let mut table = "| | taken of clients | offered to brokers |\n|---|---|---|\n".to_owned();
    for (what, list) in ROWS {
        let _ = writeln!(table, "| {what} | {} | {} |", list(&taken), list(&offered));
    }
    table
}

/// What one side of the program has, in the order in which it prefers it.
struct Side {
    suites: Vec<CipherSuite>,
    groups: Vec<NamedGroup>,
    schemes: Vec<SignatureScheme>,
    /// Who decides among them, in words.
    decides: &'static str,
}

/// Both sides of the program as their files are loaded, with certificates of both kinds.
struct Program {
    listener: ServerSet,
    upstream: ClientSet,
    roots: RootCertStore,
}

impl Program {
    fn load() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::root("root");
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, authority.pem()).expect("written");
        let files = [false, true].map(|is_rsa| {
            let wanted = Wanted {
                is_rsa,
                ..Wanted::for_hosts(&[HOST])
            };
            let name = if is_rsa { "rsa" } else { "ecdsa" };
            authority.issue(&wanted).write(folder.path(), name)
        });
        let upstream = UpstreamTls {
            trust: Trust::File(ca.clone()),
            server_name: None,
            client: files.first().cloned(),
            choice: TlsChoice::default(),
        };
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(&ca).expect("a certificate");
        roots.add(root).expect("an authority");
        let listener = ListenerTls {
            client_ca: Some(ca),
            ..listener(files.to_vec())
        };
        let now = SystemTime::now();
        Self {
            listener: listener.load(now).expect("good files"),
            upstream: upstream.load(now).expect("good files"),
            roots,
        }
    }

    /// Of clients that offer one thing alone, and of some that offer it all, in one order and in the other.
    fn takes_of_clients(&self) -> Side {
        let agreed = |client: CryptoProvider| meet(self.client(client), Arc::clone(&self.listener.config));
        let asked = Arc::new(Asked {
            schemes: Mutex::default(),
            resolver: Arc::clone(&self.upstream.config.client_auth_cert_resolver),
        });
        let mut client = self.client(everything());
        client.client_auth_cert_resolver = Arc::clone(&asked) as Arc<dyn ResolvesClientCert>;
        meet(client, Arc::clone(&self.listener.config)).expect("they meet");
        let schemes = asked.schemes.lock().expect("nobody panicked").clone();
        let side = Side::of(&agreed, schemes, "what the client has first");
        for is_reversed in [false, true] {
            let mut client = everything();
            client
                .kx_groups
                .retain(|group| side.groups.contains(&group.name()));
            // Of suites of 1.2 there is no talk where there are others.
            client.cipher_suites.retain(|suite| suite.tls13().is_some());
            if is_reversed {
                client.cipher_suites.reverse();
                client.kx_groups.reverse();
            }
            let first = (client.cipher_suites[0].suite(), client.kx_groups[0].name());
            assert_eq!(agreed(client), Some(first), "{}", side.decides);
        }
        side
    }

    /// What the ClientHello says, each of which a broker takes that has nothing else.
    fn offers_to_brokers(&self) -> Side {
        let agreed = |server: CryptoProvider| {
            let config = ClientConfig::clone(&self.upstream.config);
            meet(config, Arc::new(self.server(server)))
        };
        let mut said = Vec::new();
        let mut session = self.upstream.session(HOST).expect("a session");
        session.write_tls(&mut said).expect("memory");
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut said.as_slice()).expect("memory");
        let accepted = acceptor.accept().expect("a ClientHello").expect("a whole one");
        let hello = accepted.client_hello();
        assert!(hello.alpn().is_none());
        let side = Side::of(
            &agreed,
            hello.signature_schemes().to_vec(),
            "what the broker prefers",
        );
        let offered = hello.cipher_suites().iter().copied();
        // RFC 5746, 3.3: no suite, though it looks like one.
        let offered = offered.filter(|suite| *suite != CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV);
        assert_eq!(offered.collect::<Vec<_>>(), side.suites);
        assert_eq!(hello.named_groups(), Some(side.groups.as_slice()));
        side
    }

    fn client(&self, provider: CryptoProvider) -> ClientConfig {
        ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("suites of a version")
            .with_root_certificates(self.roots.clone())
            .with_client_cert_resolver(Arc::clone(&self.upstream.config.client_auth_cert_resolver))
    }

    fn server(&self, provider: CryptoProvider) -> ServerConfig {
        ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("suites of a version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.listener.config.cert_resolver))
    }
}

type Agreed = Option<(CipherSuite, NamedGroup)>;

impl Side {
    /// `agreed`: what it agrees on with a peer that has so much.
    fn of(
        agreed: &dyn Fn(CryptoProvider) -> Agreed,
        schemes: Vec<SignatureScheme>,
        decides: &'static str,
    ) -> Self {
        let suites = everything().cipher_suites.into_iter().filter(|suite| {
            let peer = CryptoProvider {
                cipher_suites: vec![*suite],
                ..everything()
            };
            agreed(peer).is_some_and(|(agreed, _)| agreed == suite.suite())
        });
        let groups = everything().kx_groups.into_iter().filter(|group| {
            let peer = CryptoProvider {
                kx_groups: vec![*group],
                ..everything()
            };
            agreed(peer).is_some_and(|(_, agreed)| agreed == group.name())
        });
        Self {
            suites: suites.map(|suite| suite.suite()).collect(),
            groups: groups.map(|group| group.name()).collect(),
            schemes,
            decides,
        }
    }

    fn suites_of(&self, is_newest: bool) -> Vec<String> {
        let suites = self.suites.iter();
        let known = suites.filter_map(|suite| self::suites().find(|(_, known)| known == suite));
        known
            .map(|(name, _)| name)
            .filter(|name| name.contains("_WITH_") != is_newest)
            .collect()
    }

    fn versions(&self) -> Vec<String> {
        [(true, "1.3"), (false, "1.2")]
            .into_iter()
            .filter(|(is_newest, _)| !self.suites_of(*is_newest).is_empty())
            .map(|(_, version)| version.to_owned())
            .collect()
    }
}

type List = fn(&Side) -> String;

const ROWS: [(&str, List); 6] = [
    ("versions", |side| side.versions().join(", ")),
    ("cipher suites of 1.3", |side| quoted(side.suites_of(true))),
    ("cipher suites of 1.2", |side| quoted(side.suites_of(false))),
    ("key exchange", |side| {
        quoted(side.groups.iter().map(|group| format!("{group:?}")).collect())
    }),
    ("signatures of the peer", |side| {
        quoted(side.schemes.iter().map(|scheme| name(*scheme)).collect())
    }),
    ("of which is chosen", |side| side.decides.to_owned()),
];

fn quoted(names: Vec<String>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// IANA's.
fn name(scheme: SignatureScheme) -> String {
    let name = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        SignatureScheme::ED25519 => "ed25519",
        SignatureScheme::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        SignatureScheme::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        SignatureScheme::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        SignatureScheme::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        SignatureScheme::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        SignatureScheme::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        SignatureScheme::ML_DSA_44 => "mldsa44",
        SignatureScheme::ML_DSA_65 => "mldsa65",
        SignatureScheme::ML_DSA_87 => "mldsa87",
        other => panic!("{other:?} has no name here"),
    };
    name.to_owned()
}

/// All that the library has, with what nobody is offered.
fn everything() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: aws_lc_rs::ALL_CIPHER_SUITES.to_vec(),
        kx_groups: aws_lc_rs::ALL_KX_GROUPS.to_vec(),
        ..aws_lc_rs::default_provider()
    }
}

/// What both agree on; `None` where they do not.
fn meet(client: ClientConfig, server: Arc<ServerConfig>) -> Agreed {
    let host = HOST.try_into().expect("a name");
    let mut client = ClientConnection::new(client.into(), host).expect("a session");
    let mut server = ServerConnection::new(server).expect("a session");
    shake_hands(&mut client, &mut server).ok()?;
    let suite = client.negotiated_cipher_suite()?.suite();
    Some((suite, client.negotiated_key_exchange_group()?.name()))
}

/// Notes which signatures a client's certificate is asked for with.
#[derive(Debug)]
struct Asked {
    schemes: Mutex<Vec<SignatureScheme>>,
    resolver: Arc<dyn ResolvesClientCert>,
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, roots: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.schemes.lock().expect("nobody panicked") = schemes.to_vec();
        self.resolver.resolve(roots, schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

const DOCUMENT: &str = "docs/authentication.md";
const BEGIN: &str = "<!-- what is offered: written by tests/bytes/documents/tls_offers.rs -->\n";
const END: &str = "<!-- end of what is offered -->";
const HOST: &str = "broker.test";
