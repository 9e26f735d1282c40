//! What is read, and what is refused.

use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::testing::authority::{Authority, Span, Wanted};
use crate::testing::tls_meeting;
use crate::transport::suites::TlsChoice;
use crate::transport::tls_client::{Trust, UpstreamTls};
use crate::transport::tls_server::ListenerTls;

const HOUR: Duration = Duration::from_secs(3600);

fn load(files: &CertificateFiles) -> Result<OwnCertificate, CertificateError> {
    OwnCertificate::load(files, &TlsChoice::default().provider(), SystemTime::now())
}

fn problem<T>(result: Result<T, CertificateError>) -> String {
    result.err().expect("it is refused").to_string()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// CERTIFICATES-1
#[test]
fn a_chain_is_loaded_with_its_key_and_what_it_says() {
    let folder = folder();
    let root = Authority::root("root");
    let wanted = Wanted::for_hosts(&[
        "Kafka.Example.com",
        "*.kafka.example.com",
        "192.0.2.1",
        "2001:db8::1",
    ]);
    for is_rsa in [false, true] {
        let wanted = Wanted {
            is_rsa,
            ..wanted.clone()
        };
        let files = root
            .intermediate("between")
            .issue(&wanted)
            .write(folder.path(), "server");
        let own = load(&files).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(own.certified.cert.len(), 2, "the root is left to clients");
        let facts = own.facts;
        for host in [
            "kafka.example.com",
            "B1.Kafka.Example.Com",
            "192.0.2.1",
            "2001:db8:0::1",
        ] {
            assert!(facts.covers(host), "{host}");
        }
        for host in [
            "example.com",
            "a.b.kafka.example.com",
            ".kafka.example.com",
            "192.0.2.2",
            "",
        ] {
            assert!(!facts.covers(host), "{host}");
        }
        let valid = facts.not_after - facts.not_before;
        assert!((31 * 86_400 - 1..=31 * 86_400 + 1).contains(&valid), "{valid}");
        assert!(!facts.is_authority);
    }
}

/// CERTIFICATES-1
#[test]
fn what_does_not_go_together_or_is_out_of_date_is_refused() {
    let folder = folder();
    let root = Authority::root("root");
    let good = root
        .issue(&Wanted::for_hosts(&["a"]))
        .write(folder.path(), "good");
    let other = root
        .issue(&Wanted::for_hosts(&["a"]))
        .write(folder.path(), "other");
    let mixed = CertificateFiles {
        certificate: good.certificate.clone(),
        key: other.key.clone(),
    };
    assert!(problem(load(&mixed)).contains("other.key is not the key of the first certificate in"));
    let (over, early) = (
        Wanted {
            ends_in: Span::Ago(HOUR),
            ..Wanted::for_hosts(&["a"])
        },
        Wanted {
            begins_in: Span::In(HOUR),
            ..Wanted::for_hosts(&["a"])
        },
    );
    for wanted in [over, early] {
        let files = root.issue(&wanted).write(folder.path(), "dated");
        assert!(problem(load(&files)).contains("is valid from"));
    }
    let swapped = CertificateFiles {
        certificate: good.key.clone(),
        key: good.certificate.clone(),
    };
    assert!(problem(load(&swapped)).contains("good.key holds no certificate"));
    let keyless = CertificateFiles {
        key: good.certificate.clone(),
        ..good.clone()
    };
    assert!(problem(load(&keyless)).contains("good.pem holds no private key"));
    fs::remove_file(&good.key).expect("it is removed");
    assert!(problem(load(&good)).contains("cannot read"));
}

/// CERTIFICATES-2: whatever is wrong with a key, nothing of its file is repeated.
#[test]
fn keys_that_cannot_be_read_are_told_without_their_bytes() {
    let folder = folder();
    let good = Authority::root("root").issue(&Wanted::for_hosts(&["a"]));
    let files = good.write(folder.path(), "server");
    let body: String = good.key.lines().nth(1).expect("a line of the key").to_owned();
    for (text, expected) in [
        (good.key.replace("PRIVATE", "ENCRYPTED PRIVATE"), "is encrypted"),
        (good.key.replace(&body, "%%%"), "no PEM"),
        (good.key.replace(&body, "AAAA"), "cannot be read"),
        (good.key.replace("-----END", "-----EDN"), "no PEM"),
        (String::new(), "holds no private key"),
    ] {
        fs::write(&files.key, &text).expect("it is written");
        let problem = problem(load(&files));
        assert!(problem.contains(expected), "{expected}: {problem}");
        assert!(!problem.contains(&body), "{problem}");
    }
}

fn listener(files: &CertificateFiles) -> ListenerTls {
    tls_meeting::listener(vec![files.clone()])
}

/// TLS-SERVER-2
#[test]
fn revocation_lists_are_read_in_date_and_for_the_listener() {
    let folder = folder();
    let root = Authority::root("root");
    let files = root
        .issue(&Wanted::for_hosts(&["a"]))
        .write(folder.path(), "server");
    let (ca, crl) = (folder.path().join("ca.pem"), folder.path().join("list.crl"));
    fs::write(&ca, root.pem()).expect("it is written");
    let tls = ListenerTls {
        client_ca: Some(ca.clone()),
        crl: vec![crl.clone()],
        ..listener(&files)
    };
    let now = SystemTime::now();
    assert!(problem(tls.load(now)).contains("cannot read"));
    fs::write(&crl, root.revoke(&[], Span::In(HOUR))).expect("it is written");
    tls.load(now).unwrap_or_else(|error| panic!("{error}"));
    let several = [3, 2, 5].map(|hours| root.revoke(&[], Span::In(hours * HOUR)));
    fs::write(&crl, several.concat()).expect("it is written");
    let set = tls.load(now).unwrap_or_else(|error| panic!("{error}"));
    let [RevocationFacts { path, next_update }] = set.revocations.as_slice() else {
        panic!("{:?}", set.revocations)
    };
    let first = facts::seconds(now + 2 * HOUR);
    assert_eq!(path, &crl);
    assert!(
        next_update.is_some_and(|next| (first..first + 60).contains(&next)),
        "{next_update:?}"
    );
    fs::write(&crl, root.revoke(&[], Span::Ago(HOUR))).expect("it is written");
    assert!(problem(tls.load(now)).contains("was to be replaced by"));
    fs::write(&crl, root.pem()).expect("it is written");
    assert!(problem(tls.load(now)).contains("holds no revocation list"));
    assert_eq!(tls.files().count(), 4);
}

/// TLS-SERVER-1
#[test]
fn nothing_is_resumed_unless_it_is_said_and_nobody_shows_a_certificate() {
    let folder = folder();
    let root = Authority::root("root");
    let files = root
        .issue(&Wanted::for_hosts(&["a"]))
        .write(folder.path(), "server");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, root.pem()).expect("it is written");
    for (resumption, client_ca, expected) in [
        (false, None, false),
        (true, None, true),
        (false, Some(&ca), false),
        (true, Some(&ca), false),
    ] {
        let tls = ListenerTls {
            resumption,
            client_ca: client_ca.cloned(),
            ..listener(&files)
        };
        let set = tls
            .load(SystemTime::now())
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(set.config.send_tls13_tickets > 0, expected);
        assert_eq!(set.config.ticketer.enabled(), expected);
        assert!(!set.config.session_storage.can_cache());
    }
}

#[test]
fn brokers_are_believed_by_file_system_or_digest() {
    let folder = folder();
    let root = Authority::root("root");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, root.pem()).expect("it is written");
    let upstream = |trust| UpstreamTls {
        trust,
        server_name: None,
        client: None,
        choice: TlsChoice::default(),
    };
    let now = SystemTime::now();
    for trust in [
        Trust::File(ca.clone()),
        Trust::Pinned(vec![[7; 32]]),
        Trust::Anybody,
    ] {
        upstream(trust)
            .load(now)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    fs::write(&ca, "nothing of the kind").expect("it is written");
    assert!(problem(upstream(Trust::File(ca)).load(now)).contains("holds no certificate"));
}

/// Whoever holds the key of a root vouches for anybody: a certificate of a host or a client is none.
#[test]
fn roots_are_authorities_in_date() {
    let folder = folder();
    let root = Authority::root("root");
    let path = folder.path().join("ca.pem");
    let now = SystemTime::now();
    let leaf = root.issue(&Wanted::named("alice"));
    fs::write(&path, format!("{}{}", root.pem(), leaf.chain)).expect("it is written");
    assert!(problem(read_roots(&path, now)).contains("none of an authority"));
    fs::write(&path, root.pem()).expect("it is written");
    assert_eq!(read_roots(&path, now).expect("an authority").len(), 1);
    let years = Duration::from_secs(3 * 365 * 24 * 3600);
    assert!(problem(read_roots(&path, now + years)).contains("is valid from"));
}
