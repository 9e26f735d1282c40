//! What is read, and what is refused.

use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::testing::authority::{Authority, Span, Wanted};
use crate::testing::tls_meeting;
use crate::transport::suites::{TlsChoice, suite_named};
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

/// TLS-SERVER-5
#[test]
fn lists_that_would_refuse_everybody_are_no_set() {
    let folder = folder();
    let [one, other, namesake] = ["one", "other", "one"].map(Authority::root);
    let below = one.intermediate("below");
    let files = one
        .issue(&Wanted::for_hosts(&["a"]))
        .write(folder.path(), "server");
    let list = |authority: &Authority| authority.revoke(&[], Span::In(HOUR));
    let doubts = |authorities: &[&Authority], lists: &[&Authority]| {
        let (ca, crl) = (folder.path().join("ca.pem"), folder.path().join("list.crl"));
        let pem = |authority: &&Authority| authority.pem();
        fs::write(&ca, authorities.iter().map(pem).collect::<String>()).expect("it is written");
        let text = lists.iter().map(|authority| list(authority)).collect::<String>();
        fs::write(&crl, text).expect("it is written");
        let tls = ListenerTls {
            client_ca: Some(ca),
            crl: vec![crl],
            ..listener(&files)
        };
        match tls.load(SystemTime::now()) {
            Ok(set) => set.doubts.join("\n"),
            Err(error) => error.to_string(),
        }
    };
    let (forged, lacking) = (
        "bears the name of CN=one, and is not signed",
        "no revocation list is one of CN=",
    );
    for (authorities, lists, expected) in [
        (&[&one][..], &[&one][..], ""),
        (&[&one, &other], &[&other, &one], ""),
        // As when a key is new, and the name is not.
        (&[&one, &namesake], &[&one, &namesake], ""),
        // Clients that are signed by the one below find no way through the other.
        (&[&one, &below], &[&below], ""),
        (
            &[&one],
            &[&one, &below],
            "is one of CN=below, which client_ca does not name",
        ),
        (&[&one], &[&namesake], forged),
        (&[&one], &[&namesake, &one], forged),
        (&[&one], &[&other], lacking),
        (&[&one, &other], &[&one], "no revocation list is one of CN=other"),
    ] {
        let found = doubts(authorities, lists);
        let is_expected = match expected {
            "" => found.is_empty(),
            _ => found.contains(expected),
        };
        assert!(is_expected, "{expected:?}: {found}");
    }
}

/// CERTIFICATES-1: what is behind the first certificate is judged as far as it vouches for it.
#[test]
fn what_vouches_for_a_certificate_is_in_date_and_what_does_not_is_told() {
    let folder = folder();
    let root = Authority::root("root");
    let issued = root.intermediate("between").issue(&Wanted::for_hosts(&["a"]));
    let stranger = Authority::root("elsewhere").intermediate("stranger").pem();
    let ended = root.ended("between").pem();
    let (leaf, between) = issued
        .chain
        .split_at(issued.chain.rfind("-----BEGIN").expect("two"));
    let root = root.pem();
    for (chain, expected) in [
        (issued.chain.clone(), Ok(false)),
        (leaf.to_owned(), Ok(false)),
        (format!("{leaf}{between}{root}"), Ok(false)),
        (format!("{leaf}{root}{between}"), Ok(false)),
        // Signed twice: one of them is enough.
        (format!("{leaf}{ended}{between}"), Ok(false)),
        (format!("{leaf}{between}{stranger}"), Ok(true)),
        (format!("{leaf}{ended}"), Err("the certificate of CN=between in ")),
    ] {
        let files = issued.write(folder.path(), "server");
        fs::write(&files.certificate, &chain).expect("it is written");
        match (load(&files), expected) {
            (Ok(own), Ok(is_doubted)) => assert_eq!(own.doubt.is_some(), is_doubted, "{chain}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (Ok(_), Err(expected)) => panic!("{expected}: {chain}"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }
}

/// TLS 1.2 binds suites to kinds of keys; 1.3 does not.
#[test]
fn a_key_that_no_suite_takes_is_refused() {
    let folder = folder();
    let root = Authority::root("root");
    let (rsa, ecdsa) = (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    );
    for is_rsa in [false, true] {
        let wanted = Wanted {
            is_rsa,
            ..Wanted::for_hosts(&["a"])
        };
        let files = root.issue(&wanted).write(folder.path(), "server");
        for (suites, tls13, is_taken) in [
            (vec![], false, true),
            (vec![rsa], false, is_rsa),
            (vec![ecdsa], false, !is_rsa),
            (vec![ecdsa, rsa], false, true),
            (vec![rsa, ecdsa, "TLS_AES_128_GCM_SHA256"], true, true),
            (
                vec![if is_rsa { ecdsa } else { rsa }, "TLS_AES_128_GCM_SHA256"],
                true,
                true,
            ),
        ] {
            let tls = ListenerTls {
                choice: TlsChoice {
                    tls12: true,
                    tls13,
                    suites: suites.iter().filter_map(|name| suite_named(name)).collect(),
                },
                ..listener(&files)
            };
            match tls.load(SystemTime::now()) {
                Ok(_) => assert!(is_taken, "{is_rsa} {suites:?}"),
                Err(error) => {
                    assert!(!is_taken, "{is_rsa} {suites:?}: {error}");
                    assert!(
                        error.to_string().contains("no cipher suite is for the key"),
                        "{error}"
                    );
                }
            }
        }
    }
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
    assert!(problem(Authorities::read(&path, now)).contains("none of an authority"));
    fs::write(&path, root.pem()).expect("it is written");
    assert_eq!(
        Authorities::read(&path, now).expect("an authority").facts.len(),
        1
    );
    let years = Duration::from_secs(3 * 365 * 24 * 3600);
    assert!(problem(Authorities::read(&path, now + years)).contains("is valid from"));
}
