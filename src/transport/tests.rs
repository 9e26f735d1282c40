//! Listeners' and clusters' files shake hands with each other.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, NamedGroup, ServerConnection};
use tempfile::TempDir;

use super::certificates::CertificateFiles;
use super::suites::TlsChoice;
use super::tls::{FailureKind, TlsFailure};
use super::tls_client::{ClientSet, Trust, UpstreamTls};
use super::tls_server::{ListenerTls, ServerSet};
use crate::testing::authority::{Authority, ExtendedKeyUsagePurpose, Issued, Span, Wanted};
use crate::testing::tls_meeting::{listener, shake_hands};

const HOUR: Duration = Duration::from_secs(3600);

struct Files {
    folder: TempDir,
    root: Authority,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            root: Authority::root("root"),
        }
    }

    fn write(&self, name: &str, issued: &Issued) -> CertificateFiles {
        issued.write(self.folder.path(), name)
    }

    fn server(&self, certificates: Vec<CertificateFiles>, clients: Option<&str>) -> ServerSet {
        let file = |text: &str| {
            let path = self.folder.path().join("clients.pem");
            fs::write(&path, text).expect("it is written");
            path
        };
        let tls = ListenerTls {
            client_ca: clients.map(file),
            ..listener(certificates)
        };
        tls.load(SystemTime::now())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn client(&self, trust: Trust, client: Option<CertificateFiles>) -> ClientSet {
        let tls = UpstreamTls {
            trust,
            server_name: None,
            client,
            choice: TlsChoice::default(),
        };
        tls.load(SystemTime::now())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn trust(&self, authority: &Authority) -> Trust {
        let path = self.folder.path().join("brokers.pem");
        fs::write(&path, authority.pem()).expect("it is written");
        Trust::File(path)
    }
}

/// The certificate that the client was shown, once both have shaken hands.
fn meet(server: &ServerSet, client: &ClientSet, host: &str) -> Result<Vec<u8>, Error> {
    let mut client = client.session(host)?;
    let mut server = ServerConnection::new(Arc::clone(&server.config))?;
    shake_hands(&mut client, &mut server)?;
    let shown = client.peer_certificates().and_then(<[_]>::first);
    Ok(shown.expect("it was shown one").to_vec())
}

/// TLS-SERVER-3
#[test]
fn a_client_is_shown_the_certificate_for_the_host_that_it_names() {
    let files = Files::new();
    let [one, other] = ["one.test", "*.other.test"].map(|host| files.root.issue(&Wanted::for_hosts(&[host])));
    let server = files.server(vec![files.write("one", &one), files.write("other", &other)], None);
    let anybody = files.client(Trust::Anybody, None);
    for (host, expected) in [
        ("one.test", &one),
        ("b1.other.test", &other),
        ("B1.Other.Test", &other),
        ("a.b1.other.test", &one),
        ("nobody.test", &one),
        ("192.0.2.1", &one),
    ] {
        assert_eq!(meet(&server, &anybody, host), Ok(expected.der.clone()), "{host}");
    }
    let believing = files.client(files.trust(&files.root), None);
    assert!(meet(&server, &believing, "b1.other.test").is_ok());
    assert!(
        meet(&server, &believing, "nobody.test").is_err(),
        "it judges by itself"
    );
}

/// TLS-SERVER-3: two keys for one name, for clients that verify one kind of signature only.
#[test]
fn rsa_and_ecdsa_stand_side_by_side() {
    let files = Files::new();
    let wanted = Wanted::for_hosts(&["one.test"]);
    let rsa = files.root.issue(&Wanted {
        is_rsa: true,
        ..wanted.clone()
    });
    let ecdsa = files.root.issue(&wanted);
    let server = files.server(vec![files.write("rsa", &rsa), files.write("ecdsa", &ecdsa)], None);
    let choice = |suite: &str| TlsChoice {
        tls12: true,
        tls13: false,
        suites: super::suites::suite_named(suite).into_iter().collect(),
    };
    for (suite, expected) in [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", &rsa),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", &ecdsa),
    ] {
        let tls = UpstreamTls {
            trust: files.trust(&files.root),
            server_name: None,
            client: None,
            choice: choice(suite),
        };
        let client = tls
            .load(SystemTime::now())
            .unwrap_or_else(|error| panic!("{error}"));
        let shown = meet(&server, &client, "one.test");
        assert_eq!(shown, Ok(expected.der.clone()), "{suite}");
    }
}

/// TLS-CLIENT-2
#[test]
fn a_pinned_certificate_is_taken_whatever_it_says_and_no_other() {
    let files = Files::new();
    let strange = Wanted {
        is_authority: true,
        purposes: Vec::new(),
        ..Wanted::named("broker")
    };
    let issued = strange.self_signed();
    let server = files.server(vec![files.write("broker", &issued)], None);
    let pin: [u8; 32] = digest(&SHA256, &issued.der)
        .as_ref()
        .try_into()
        .expect("32 bytes");
    let pinned = files.client(Trust::Pinned(vec![[0; 32], pin]), None);
    assert!(meet(&server, &pinned, "wherever.test").is_ok());
    for trust in [Trust::Pinned(vec![[0; 32]]), files.trust(&files.root)] {
        let refusing = files.client(trust, None);
        assert!(meet(&server, &refusing, "wherever.test").is_err());
    }
}

#[test]
fn brokers_and_clients_are_refused_for_what_is_wrong_with_them() {
    let files = Files::new();
    let other_root = Authority::root("other");
    let good = Wanted::for_hosts(&["broker.test"]);
    let server_of = |issued: &Issued| files.server(vec![files.write("broker", issued)], None);
    let believing = files.client(files.trust(&files.root), None);
    let only = |purpose| Wanted {
        purposes: vec![purpose],
        ..good.clone()
    };
    for (issued, expected) in [
        (files.root.issue(&good), "Ok"),
        (files.root.intermediate("between").issue(&good), "Ok"),
        (other_root.issue(&good), "UnknownIssuer"),
        (
            files.root.issue(&Wanted::for_hosts(&["other.test"])),
            "NotValidForName",
        ),
        (
            files.root.issue(&only(ExtendedKeyUsagePurpose::ClientAuth)),
            "InvalidPurpose",
        ),
        (
            files.root.issue(&Wanted {
                is_authority: true,
                ..good.clone()
            }),
            "CaUsedAsEndEntity",
        ),
        (files.root.issue(&Wanted::named("broker.test")), "NotValidForName"),
    ] {
        let met = meet(&server_of(&issued), &believing, "broker.test");
        let shown = format!("{:?}", met.map(drop));
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let server = files.server(
        vec![files.write("broker", &files.root.issue(&good))],
        Some(&files.root.pem()),
    );
    let showing =
        |issued: &Issued| files.client(files.trust(&files.root), Some(files.write("client", issued)));
    let alice = Wanted::named("alice");
    assert!(meet(&server, &showing(&files.root.issue(&alice)), "broker.test").is_ok());
    for (client, expected) in [
        (believing, "NoCertificatesPresented"),
        (showing(&other_root.issue(&alice)), "UnknownIssuer"),
        (
            showing(&files.root.issue(&Wanted {
                purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
                ..alice.clone()
            })),
            "InvalidPurpose",
        ),
    ] {
        let met = meet(&server, &client, "broker.test");
        let shown = format!("{:?}", met.map(drop));
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[test]
fn six_certificates_may_lie_between_and_no_more() {
    let files = Files::new();
    let believing = files.client(files.trust(&files.root), None);
    let mut above = files.root.intermediate("1");
    for between in 2..=7 {
        above = above.intermediate(&between.to_string());
        let issued = above.issue(&Wanted::for_hosts(&["broker.test"]));
        let server = files.server(vec![files.write("broker", &issued)], None);
        let refused = meet(&server, &believing, "broker.test")
            .err()
            .map(TlsFailure::from);
        let expected = "more than six certificates lie between it and an authority that is trusted";
        let said = refused.map(|failure| failure.to_string());
        assert_eq!(said.as_deref(), (between > 6).then_some(expected), "{between}");
    }
}

/// The certificate of somebody whom an authority of this name vouches for, with others behind it: names of who signs,
/// and of who is signed. No key of theirs is one that anybody trusts.
fn with_strangers(issuer: &str, behind: &[(&str, &str)]) -> Issued {
    let host = Wanted::for_hosts(&["broker.test"]);
    let mut shown = Authority::root(issuer).issue(&host);
    for (issuer, subject) in behind {
        let stranger = Authority::root(issuer).intermediate(subject);
        shown.chain.push_str(&stranger.pem());
    }
    shown
}

/// CHAIN-1
#[test]
fn a_peer_cannot_have_us_look_for_ways_to_an_authority() {
    let files = Files::new();
    let host = Wanted::for_hosts(&["broker.test"]);
    let own = files.write("broker", &files.root.issue(&host));
    let listener = files.server(vec![own], Some(&files.root.pem()));
    let names: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    let line: Vec<_> = names
        .iter()
        .zip(names.iter().skip(1))
        .map(|(subject, issuer)| (issuer.as_str(), subject.as_str()))
        .collect();
    let twice =
        "two of the certificates that are shown with it have the same subject: leave all away but one";
    let many =
        "more than 7 certificates are shown with it: six may lie between it and an authority that is trusted";
    let unknown = "invalid peer certificate: UnknownIssuer";
    let depth = "more than six certificates lie between it and an authority that is trusted";
    let long = "x".repeat(5 << 10);
    let wide: Vec<_> = line[..6]
        .iter()
        .map(|(issuer, _)| (long.as_str(), *issuer))
        .collect();
    let wide_of = |count: usize| with_strangers("0", &wide[..count]);
    for (shown, expected) in [
        (with_strangers("X", &[("X", "X"), ("X", "X")]), twice),
        (with_strangers("X", &[("X", "X"), ("Y", "Z")]), unknown),
        (with_strangers("0", &line[..8]), many),
        (with_strangers("0", &line[..7]), depth),
        (with_strangers("0", &line[..6]), unknown),
        (wide_of(5), unknown),
        (
            wide_of(6),
            "the certificates that are shown with it have more than 32 KiB",
        ),
    ] {
        let believing = files.client(files.trust(&files.root), None);
        let server = files.server(vec![files.write("strange", &shown)], None);
        let of_broker = meet(&server, &believing, "broker.test");
        let showing = files.client(files.trust(&files.root), Some(files.write("strange", &shown)));
        let of_client = meet(&listener, &showing, "broker.test");
        for met in [of_broker, of_client] {
            let failure = TlsFailure::from(met.expect_err("nobody vouches for it"));
            assert_eq!(failure.kind, FailureKind::Certificate);
            assert_eq!(failure.to_string(), expected);
        }
    }
}

/// TLS-SERVER-4
#[test]
fn a_client_whose_certificate_names_nobody_is_told_so() {
    let files = Files::new();
    let host = Wanted::for_hosts(&["broker.test"]);
    let server = files.server(
        vec![files.write("broker", &files.root.issue(&host))],
        Some(&files.root.pem()),
    );
    for tls12 in [true, false] {
        let shown = files.root.issue(&Wanted::default());
        let tls = UpstreamTls {
            trust: files.trust(&files.root),
            server_name: None,
            client: Some(files.write("nobody", &shown)),
            choice: TlsChoice {
                tls12,
                tls13: !tls12,
                ..TlsChoice::default()
            },
        };
        let client = tls.load(SystemTime::now()).expect("files of TLS");
        let mut client = client.session("broker.test").expect("a name");
        let mut session = ServerConnection::new(Arc::clone(&server.config)).expect("a session");
        let refused = shake_hands(&mut client, &mut session).expect_err("it names nobody");
        let failure = TlsFailure::from(refused);
        assert_eq!(failure.kind, FailureKind::Certificate);
        let said = failure.to_string();
        assert_eq!(
            said,
            "no principal: its name would be empty or longer than a principal may be"
        );
        let mut alert = Vec::new();
        session.write_tls(&mut alert).expect("into memory");
        client.read_tls(&mut alert.as_slice()).expect("from memory");
        let told = client.process_new_packets().map(drop);
        let unknown = AlertDescription::CertificateUnknown;
        assert_eq!(told, Err(Error::AlertReceived(unknown)), "TLS 1.2: {tls12}");
    }
}

/// TLS-SERVER-2
#[test]
fn revoked_clients_are_refused_and_a_list_that_is_out_of_date_refuses_all() {
    let files = Files::new();
    let server = files.write("broker", &files.root.issue(&Wanted::for_hosts(&["broker.test"])));
    let [alice, mallory] = ["alice", "mallory"].map(|name| files.root.issue(&Wanted::named(name)));
    let (ca, crl) = (
        files.folder.path().join("ca.pem"),
        files.folder.path().join("list.crl"),
    );
    fs::write(&ca, files.root.pem()).expect("it is written");
    fs::write(&crl, files.root.revoke(&[&mallory], Span::In(HOUR))).expect("it is written");
    let tls = ListenerTls {
        client_ca: Some(ca),
        crl: vec![crl],
        ..listener(vec![server])
    };
    let set = tls
        .load(SystemTime::now())
        .unwrap_or_else(|error| panic!("{error}"));
    let met = |issued: &Issued| {
        let client = files.client(files.trust(&files.root), Some(files.write("client", issued)));
        meet(&set, &client, "broker.test").map(drop)
    };
    assert_eq!(met(&alice), Ok(()));
    assert!(format!("{:?}", met(&mallory)).contains("Revoked"));
}

/// CERTIFICATES-3
#[test]
fn nobody_is_vouched_for_by_an_authority_that_has_ended_since() {
    let files = Files::new();
    let ended = files.root.ended("ended");
    let days = |days: u32| HOUR * 24 * days;
    let lasting = |wanted: Wanted| Wanted {
        begins_in: Span::Ago(days(2)),
        ..wanted
    };
    let issue = |wanted| {
        let mut issued = ended.issue(&lasting(wanted));
        // Only its own certificate, which is in date.
        issued
            .chain
            .truncate(issued.chain.rfind("-----BEGIN").expect("two"));
        issued
    };
    let host = issue(Wanted::for_hosts(&["broker.test"]));
    let alice = issue(Wanted::named("alice"));
    let before = SystemTime::now() - HOUR * 36;
    let write = |name: &str, text: String| {
        let path = files.folder.path().join(name);
        fs::write(&path, text).expect("it is written");
        path
    };
    let [only, both] = [ended.pem(), format!("{}{}", ended.pem(), files.root.pem())];
    for (name, text, is_ended) in [("only.pem", only, true), ("both.pem", both, false)] {
        let ca = write(name, text);
        let listener = ListenerTls {
            client_ca: Some(ca.clone()),
            ..listener(vec![files.write("broker", &host)])
        };
        let listener = listener.load(before).unwrap_or_else(|error| panic!("{error}"));
        let upstream = UpstreamTls {
            trust: Trust::File(ca),
            server_name: None,
            client: None,
            choice: TlsChoice::default(),
        };
        let believing = upstream.load(before).unwrap_or_else(|error| panic!("{error}"));
        let showing = files.client(Trust::Anybody, Some(files.write("alice", &alice)));
        let open = files.server(vec![files.write("broker", &host)], None);
        let met = [
            meet(&open, &believing, "broker.test"),
            meet(&listener, &showing, "broker.test"),
        ];
        for met in met {
            let shown = format!("{:?}", met.map(drop));
            assert_eq!(shown.contains("Expired"), is_ended, "{shown}");
        }
    }
}

/// TLS-CLIENT-1
#[test]
fn a_second_handshake_is_a_whole_one() {
    let files = Files::new();
    let server = files.server(
        vec![files.write("broker", &files.root.issue(&Wanted::for_hosts(&["broker.test"])))],
        None,
    );
    let client = files.client(files.trust(&files.root), None);
    for _ in 0..2 {
        let mut session = client.session("broker.test").expect("a name");
        let mut other = ServerConnection::new(Arc::clone(&server.config)).expect("a session");
        shake_hands(&mut session, &mut other).expect("nothing is wrong");
        assert_ne!(session.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    }
}

/// A client's memory of sessions that takes every server for the same one.
#[derive(Debug)]
struct OneForAll(ClientSessionMemoryCache);

impl OneForAll {
    fn name() -> ServerName<'static> {
        ServerName::try_from("all.test").expect("a name")
    }
}

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

/// TLS-SERVER-1
#[test]
fn a_session_is_resumed_with_the_same_set_for_the_same_name_and_no_other() {
    use HandshakeKind::{Full, Resumed};
    let files = Files::new();
    let issued = files.root.issue(&Wanted::for_hosts(&["one.test", "other.test"]));
    let load = |resumption| {
        let tls = ListenerTls {
            resumption,
            ..listener(vec![files.write("server", &issued)])
        };
        tls.load(SystemTime::now())
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let (server, again, off) = (load(true), load(true), load(false));
    for tls13 in [false, true] {
        let upstream = UpstreamTls {
            trust: files.trust(&files.root),
            server_name: None,
            client: None,
            choice: TlsChoice {
                tls12: !tls13,
                tls13,
                suites: Vec::new(),
            },
        };
        let mut client = upstream
            .load(SystemTime::now())
            .unwrap_or_else(|error| panic!("{error}"));
        let memory = OneForAll(ClientSessionMemoryCache::new(8));
        let mut config = ClientConfig::clone(&client.config);
        config.resumption = Resumption::store(Arc::new(memory));
        client.config = Arc::new(config);
        for (step, (server, host, expected)) in [
            (&server, "one.test", Full),
            (&server, "one.test", Resumed),
            (&server, "other.test", Full),
            (&server, "other.test", Resumed),
            // As another listener, or the same one when its files have changed.
            (&again, "other.test", Full),
            (&again, "other.test", Resumed),
            (&off, "other.test", Full),
            (&off, "other.test", Full),
        ]
        .into_iter()
        .enumerate()
        {
            let mut session = client.session(host).expect("a name");
            let mut other = ServerConnection::new(Arc::clone(&server.config)).expect("a session");
            shake_hands(&mut session, &mut other).expect("nothing is wrong");
            assert_eq!(
                session.handshake_kind(),
                Some(expected),
                "1.3: {tls13}, step {step}"
            );
        }
    }
}
