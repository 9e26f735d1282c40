//! `[cluster.NAME.listeners.tls]` and `[cluster.NAME.upstream_tls]`, and whether the files that they name go together.
#![expect(
    clippy::disallowed_methods,
    reason = "certificates are compared with the date once, when they are read"
)]

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use figment::value::Value;
use rustls::pki_types::ServerName;

use super::by_name::is_said;
use super::keystores::{Secrecy, check_file};
use super::node::{Node, Reach, unless_mistaken};
use crate::config::ClientAuth;
use crate::config::scalars::check_host;
use crate::transport::certificates::{CertificateFacts, CertificateFiles};
use crate::transport::suites::{TlsChoice, suite_named, suites};
use crate::transport::tls_client::{Trust, UpstreamTls};
use crate::transport::tls_server::{ListenerTls, PrincipalSource};

pub(super) fn read_listener_tls(
    table: Node<'_>,
    client_auth: Option<ClientAuth>,
    hosts: &[String],
) -> Option<ListenerTls> {
    let table = table.checked_table()?;
    let first = read_certificate(&table);
    let more: Vec<_> = match table.written("more_certificates") {
        Some(_) => table
            .tables("more_certificates")
            .iter()
            .map(read_certificate)
            .collect(),
        None => Vec::new(),
    };
    let client_ca = read_public_file(&table, "client_ca");
    let crl = read_paths(&table, "crl");
    let principals = read_principals(&table);
    let choice = read_choice(&table);
    let handshake_timeout = table.duration("handshake_timeout");
    let resumption = table.flag("resumption");
    match (client_auth, table.written("client_ca")) {
        (Some(ClientAuth::Mtls), None) => table.missing("client_ca"),
        (Some(ClientAuth::Network | ClientAuth::Broker | ClientAuth::Sasl), Some(written)) => written
            .complain(
                "with this client_auth no client is asked for a certificate",
                "write client_auth = \"mtls\", or remove it",
            ),
        _ => {}
    }
    let crl = crl?;
    if let (None, false, Some(written)) = (&client_ca, crl.is_empty(), table.written("crl")) {
        written.complain(
            "without client_ca there is nobody whose certificate could be revoked",
            "add client_ca, or remove it",
        );
    }
    if let (Some(_), Some(true), Some(written)) = (&client_ca, resumption, table.written("resumption")) {
        written.complain(
            "a resumed session would bring back a client's certificate without a look at dates and revocations",
            "remove it, or client_ca",
        );
    }
    refuse_repeated_files(&table, &first, &more);
    let certificates = std::iter::once(first).chain(more).collect::<Option<_>>()?;
    let tls = ListenerTls {
        certificates,
        client_ca: unless_mistaken(client_ca)?,
        crl,
        principals: principals?,
        choice: choice?,
        handshake_timeout: handshake_timeout?,
        resumption: resumption?,
    };
    if table.reader.reach == Reach::Check && tls.files().all(|path| path.is_file()) {
        match tls.load(SystemTime::now()) {
            Ok(set) => refuse_what_clients_would(&table, &set.certificates, hosts),
            Err(error) => table.complain(&error.to_string(), "correct the files, or name others"),
        }
    }
    Some(tls)
}

fn read_principals(table: &Node<'_>) -> Option<PrincipalSource> {
    let place = table.get("principal")?;
    let rules = table.get("principal_mapping_rules")?;
    let text = rules.as_text()?;
    let source = match place.as_text()?.as_str() {
        "subject" => PrincipalSource::Subject(text),
        "san_uri" => PrincipalSource::SanUri,
        "san_dns" => PrincipalSource::SanDns,
        _ => {
            place.complain(
                "there is no such name in a certificate",
                "write \"subject\", \"san_uri\" or \"san_dns\"",
            );
            return None;
        }
    };
    if table.written("client_ca").is_none() {
        for name in ["principal", "principal_mapping_rules"] {
            if let Some(written) = table.written(name) {
                written.complain(
                    "without client_ca no client is asked for a certificate",
                    "add client_ca and client_auth = \"mtls\", or remove it",
                );
            }
        }
    }
    if let (false, Some(written)) = (
        matches!(source, PrincipalSource::Subject(_)),
        table.written("principal_mapping_rules"),
    ) {
        written.complain(
            "rules are for subjects",
            "write principal = \"subject\", or remove it",
        );
    }
    if let Err(error) = source.mapping() {
        rules.complain(
            &error.to_string(),
            "write rules as for Kafka's ssl.principal.mapping.rules",
        );
        return None;
    }
    Some(source)
}

/// Clients compare each host that they connect to, which is an advertised one from their second connection on, with the
/// names of the certificate that they get for it.
fn refuse_what_clients_would(table: &Node<'_>, certificates: &[CertificateFacts], hosts: &[String]) {
    let Some(place) = table.written("certificate") else {
        return;
    };
    if let Some(authority) = certificates.iter().find(|facts| facts.is_authority) {
        let path = authority.path.display();
        place.complain(
            &format!(
                "the certificate in {path} is one of an authority (CA:TRUE), which many clients refuse for a \
                host"
            ),
            "make one for the host alone, signed by an authority that clients know",
        );
    }
    if let Some(other) = certificates.iter().find(|facts| !facts.is_for_servers) {
        let path = other.path.display();
        place.complain(
            &format!(
                "the certificate in {path} is not for servers: its extended key usage has no serverAuth"
            ),
            "make one with extendedKeyUsage=serverAuth",
        );
    }
    let shown = |host: &str| match is_said(host) {
        true => certificates,
        // TLS-SERVER-3
        false => certificates.get(..1).unwrap_or_default(),
    };
    let is_covered = |host: &&String| shown(host).iter().any(|facts| facts.covers(host));
    let Some(host) = hosts.iter().find(|host| !is_covered(host)) else {
        return;
    };
    if certificates.iter().any(|facts| facts.covers(host)) {
        place.complain(
            &format!(
                "the first certificate does not have {host}, which clients are told to connect to, and of which Java's \
                 do not say that they have: they get the first"
            ),
            "make the certificate with that name the first, or advertise a name with a dot and without underscores",
        );
    } else {
        place.complain(
            &format!("no certificate has {host}, which clients are told to connect to, among its subject alternative \
                names"),
            "make a certificate with that name, or advertise a host that the certificate has",
        );
    }
}

/// Each file has a series of its own in what is exposed.
fn refuse_repeated_files(
    table: &Node<'_>,
    first: &Option<CertificateFiles>,
    more: &[Option<CertificateFiles>],
) {
    let mut seen = HashSet::new();
    let more_tables = table
        .written("more_certificates")
        .map(|_| table.tables("more_certificates"));
    let tables = std::iter::once(table).chain(more_tables.iter().flatten());
    for (table, files) in tables.zip(std::iter::once(first).chain(more)) {
        let Some(files) = files else { continue };
        if let (false, Some(place)) = (
            seen.insert(files.certificate.clone()),
            table.written("certificate"),
        ) {
            place.complain(
                "another certificate of this listener is this file",
                "name each file once",
            );
        }
    }
}

pub(super) fn read_upstream_tls(table: Node<'_>) -> Option<UpstreamTls> {
    let table = table.checked_table()?;
    let trust = read_trust(&table);
    let server_name = table.written("server_name").map(|place| {
        let name = place.as_text()?;
        let parsed = ServerName::try_from(name.clone()).ok();
        match (check_host(&name), parsed) {
            (Ok(_), Some(name)) => Some(name),
            _ => {
                place.complain("this is not a host", &place.example());
                None
            }
        }
    });
    let client = read_own_certificate(&table);
    let choice = read_choice(&table);
    let tls = UpstreamTls {
        trust: trust?,
        server_name: unless_mistaken(server_name)?,
        client: unless_mistaken(client)?,
        choice: choice?,
    };
    check_loading(&table, &tls);
    Some(tls)
}

/// What a server that is no broker has to show, and is shown, where that stands beside other keys: `ca`, `certificate`,
/// `key`.
#[cfg(feature = "kms-vault")]
pub(super) fn read_client_tls(table: &Node<'_>) -> Option<UpstreamTls> {
    let trust = read_server_trust(table);
    let client = unless_mistaken(read_own_certificate(table));
    let tls = UpstreamTls {
        client: client?,
        ..UpstreamTls::trusting(trust?)
    };
    if let Some(place) = table.written("certificate") {
        check_loading(&place, &tls);
    }
    Some(tls)
}

/// Who vouches for a server that is no broker: `ca`.
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
pub(super) fn read_server_trust(table: &Node<'_>) -> Option<Trust> {
    let Some(place) = table.written("ca") else {
        return Some(Trust::System);
    };
    let trust = read_authorities(&place)?;
    check_loading(&place, &UpstreamTls::trusting(trust.clone())).then_some(trust)
}

/// What is shown, if anything.
fn read_own_certificate(table: &Node<'_>) -> Option<Option<CertificateFiles>> {
    match (table.written("certificate"), table.written("key")) {
        (None, None) => None,
        (Some(_), Some(_)) => Some(read_certificate(table)),
        (Some(_), None) => {
            table.missing("key");
            Some(None)
        }
        (None, Some(_)) => {
            table.missing("certificate");
            Some(None)
        }
    }
}

/// Whether what was read from files that are there can be used; complains at `place` where it cannot.
fn check_loading(place: &Node<'_>, tls: &UpstreamTls) -> bool {
    if place.reader.reach == Reach::Check
        && tls.files().all(|path| path.is_file())
        && let Err(error) = tls.load(SystemTime::now())
    {
        place.complain(&error.to_string(), "correct the files, or name others");
        return false;
    }
    true
}

fn read_trust(table: &Node<'_>) -> Option<Trust> {
    let insecure = table.flag("insecure_no_verification")?;
    let written: Vec<_> = ["ca", "pin_sha256"]
        .into_iter()
        .filter_map(|name| Some((name, table.written(name)?)))
        .collect();
    match (written.as_slice(), insecure) {
        ([], true) => Some(Trust::Anybody),
        ([("ca", place)], false) => read_authorities(place),
        ([(_, place)], false) => read_pins(place),
        ([], false) => {
            table.complain_of_the_name(
                "this does not say which brokers are believed",
                "add ca = \"brokers-ca.pem\", ca = \"system\", or pin_sha256",
            );
            None
        }
        _ => {
            table.complain_of_the_name(
                "this says in several ways which brokers are believed",
                "write exactly one of ca, pin_sha256 and insecure_no_verification = true",
            );
            None
        }
    }
}

/// `"system"`, or a file of certificates.
pub(super) fn read_authorities(place: &Node<'_>) -> Option<Trust> {
    if matches!(&place.value, Value::String(_, text) if text == "system") {
        return Some(Trust::System);
    }
    read_path(place).map(Trust::File)
}

fn read_pins(place: &Node<'_>) -> Option<Trust> {
    let places = place.elements()?;
    if places.is_empty() {
        place.complain("this is empty", &place.example());
        return None;
    }
    let read = |place: &Node<'_>| {
        let text = place.as_text()?;
        let pin = digest_of(&text);
        if pin.is_none() {
            place.complain("this is not SHA-256 in 64 hexadecimal digits", &place.example());
        }
        pin
    };
    let pins: Vec<_> = places.iter().map(read).collect();
    pins.into_iter().collect::<Option<_>>().map(Trust::Pinned)
}

/// 64 hexadecimal digits, with or without `:` between every two.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    let digits = text.replace(':', "");
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        let start = index.checked_mul(2)?;
        *byte = u8::from_str_radix(digits.get(start..start.checked_add(2)?)?, 16).ok()?;
    }
    Some(digest)
}

fn read_certificate(table: &Node<'_>) -> Option<CertificateFiles> {
    let certificate = table
        .get("certificate")
        .and_then(|_| read_public_file(table, "certificate"));
    let key = table.get("key").and_then(|place| read_path(&place));
    Some(CertificateFiles {
        certificate: certificate??,
        key: key?,
    })
}

/// A path that may not be written; `Some(None)` where it is a mistake.
fn read_public_file(table: &Node<'_>, name: &str) -> Option<Option<PathBuf>> {
    let place = table.written(name)?;
    Some(read_path(&place))
}

fn read_paths(table: &Node<'_>, name: &str) -> Option<Vec<PathBuf>> {
    let places = table.get(name)?.elements()?;
    let mut seen = HashSet::new();
    let mut read_new = |place: &Node<'_>| {
        let path = read_path(place)?;
        if !seen.insert(path.clone()) {
            place.complain("this file is named before", "name each file once");
            return None;
        }
        Some(path)
    };
    places.iter().map(&mut read_new).collect()
}

fn read_path(place: &Node<'_>) -> Option<PathBuf> {
    let text = place.as_text()?;
    if text.is_empty() {
        place.complain("this is empty", &place.example());
        return None;
    }
    if text.contains("-----BEGIN") {
        // Of a key nothing may be repeated (PROBLEM-1).
        place.complain_of_the_name(
            "what belongs into a file stands here itself",
            "write it into a file, and the path of that here",
        );
        return None;
    }
    let path = place.reader.sources.folder().join(text);
    check_file(place, &path, Secrecy::Public, "correct the path");
    Some(path)
}

fn read_choice(table: &Node<'_>) -> Option<TlsChoice> {
    let versions = table.get("versions")?;
    let mut choice = TlsChoice {
        tls12: false,
        tls13: false,
        suites: Vec::new(),
    };
    for place in versions.elements()? {
        match place.as_text()?.as_str() {
            "1.2" => choice.tls12 = true,
            "1.3" => choice.tls13 = true,
            _ => {
                place.complain("there is no such version of TLS here", "write \"1.2\" or \"1.3\"");
                return None;
            }
        }
    }
    if !choice.tls12 && !choice.tls13 {
        versions.complain("without a version nobody can connect", &versions.example());
        return None;
    }
    let list = table.get("cipher_suites")?;
    for place in list.elements()? {
        let Some(suite) = suite_named(&place.as_text()?) else {
            let known: Vec<_> = suites().map(|(name, _)| name).collect();
            place.complain(
                "there is no such cipher suite here",
                &format!("write some of {}", known.join(", ")),
            );
            return None;
        };
        choice.suites.push(suite);
    }
    if !choice.can_be_used() {
        list.complain(
            "these suites leave a version of TLS without any",
            "add suites for each of versions, or take the version out",
        );
        return None;
    }
    Some(choice)
}
