//! Whoever cannot be believed is refused, and what clients and the proxy's log say of it is what docs/authentication.md
//! says.

use std::thread;
use std::time::Duration;

use super::document::{Row, documented};
use super::every_way::RIG;
use super::{PROXIES, Side, client_tls, listener};
use crate::support::HOST;
use crate::support::agent::Agent;
use crate::support::broker_properties::Login;
use crate::support::certificates::{self, Flaw, Identity};
use crate::support::configuration::ListenerTls;
use crate::support::kcat;
use crate::support::operations::{ClientTls, Options};
use crate::support::proxy::{Proxy, ProxyTls};
use crate::support::shared;
use crate::support::skipped;
use crate::support::wait;

/// Something that a client has wrong, in the words of the document.
struct Case {
    what: &'static str,
    bootstrap: String,
    tls: Option<ClientTls>,
}

#[test]
fn clients_show_what_the_document_says() {
    let rig = &*RIG;
    let certificates = &PROXIES.authorities;
    let revoked = certificates.client("revoked", None);
    let nobody = certificates.client("nobody", None);
    let list = certificates.file("clients.crl");
    std::fs::write(&list, certificates.revoked(&[&revoked])).expect("a revocation list is written");
    let start = |listener: Option<ListenerTls>| {
        let upstream = None;
        rig.another_proxy_with_tls(
            Login::Plaintext,
            &ProxyTls {
                listener,
                upstream,
                ..ProxyTls::default()
            },
        )
    };
    let here = certificates.server_at(&[HOST], "here", None).files;
    let (Some(mut plain), Some(mut newest), Some(mut mutual)) = (
        start(None),
        start(Some(ListenerTls {
            certificate: here.certificate,
            key: here.key,
            client_ca: None,
            more: "versions = [\"1.3\"]".to_owned(),
        })),
        start(listener(Side::Mutual).map(|tls| ListenerTls {
            more: format!("crl = [{list:?}]\nprincipal_mapping_rules = \"RULE:^CN=(application)$/$1/\""),
            ..tls
        })),
    ) else {
        return skipped::there_is_no_proxy();
    };
    let cases = cases(&mutual, &newest, &plain, [&revoked, &nobody]);
    let rows = documented("What clients show");
    let names: Vec<&str> = rows.iter().map(|row| row.what.as_str()).collect();
    let tried: Vec<&str> = cases.iter().map(|case| case.what).collect();
    assert_eq!(names, tried, "the rows of the document");
    let agents = [
        ("Java", RIG.java),
        ("librdkafka", shared::librdkafka()),
        ("franz-go", shared::franz_go()),
        ("aiokafka", shared::aiokafka()),
        ("kafkajs", shared::kafkajs()),
    ];
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        let (cases, rows) = (&cases, &rows);
        let mut clients: Vec<_> = agents
            .map(|(name, agent)| {
                scope.spawn(move || {
                    differences(name, rows, cases, &|case, limit| of_agent(agent, case, limit))
                })
            })
            .into();
        clients.push(scope.spawn(move || differences("kcat", rows, cases, &of_kcat)));
        for client in clients {
            wrong.extend(client.join().expect("the client was tried"));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (proxy, reason, at_least) in [(&mutual, "tls_failed", 8.0), (&newest, "other_protocol", 1.0)] {
        let label = format!("reason=\"{reason}\"");
        let closed = proxy.metric("sealwire_connections_closed_total", &[&label]);
        assert!(closed >= at_least, "{closed} closed because of {reason}");
    }
    for proxy in [&mut plain, &mut newest, &mut mutual] {
        proxy.terminate();
    }
}

fn cases(mutual: &Proxy, newest: &Proxy, plain: &Proxy, [revoked, nobody]: [&Identity; 2]) -> Vec<Case> {
    let certificates = &PROXIES.authorities;
    let believing = || ClientTls::believing(certificates.of_servers());
    let case = |what, proxy: &Proxy, tls| Case {
        what,
        bootstrap: proxy.bootstrap(),
        tls,
    };
    let shown = |what, identity: &Identity| case(what, mutual, Some(believing().showing(&identity.together)));
    let flawed = |what, flaw| shown(what, &certificates.client("application", Some(flaw)));
    let strangers = ClientTls::believing(certificates.of_strangers());
    let elsewhere = newest.bootstrap().replace(HOST, "localhost");
    let older = ClientTls {
        version_max: Some("1.2"),
        ..believing()
    };
    vec![
        case("the client has no certificate", mutual, Some(believing())),
        flawed("the client's certificate has expired", Flaw::Expired),
        flawed("it is not valid yet", Flaw::NotYetValid),
        flawed("it is for servers only", Flaw::WrongPurpose),
        flawed("`client_ca` does not vouch for it", Flaw::UnknownAuthority),
        flawed("it has `CA:TRUE`", Flaw::IsAuthority),
        flawed("it is signed with SHA-1", Flaw::Sha1),
        flawed("twelve certificates lead from it to `client_ca`", Flaw::LongChain),
        shown("it was revoked", revoked),
        shown("it names nobody", nobody),
        case(
            "the client does not know who vouches for the proxy",
            newest,
            Some(strangers),
        ),
        Case {
            bootstrap: elsewhere,
            ..case(
                "the proxy's certificate is for another host",
                newest,
                Some(believing()),
            )
        },
        case(
            "the client speaks TLS 1.2, `versions` has 1.3 only",
            newest,
            Some(older),
        ),
        case("the client speaks no TLS", newest, None),
        case("the listener speaks no TLS", plain, Some(believing())),
    ]
}

/// Where a client says something else than the document; where that has nothing, the client cannot be made to do it.
fn differences(
    client: &str,
    rows: &[Row],
    cases: &[Case],
    reach: &dyn Fn(&Case, Duration) -> Result<(), String>,
) -> Vec<String> {
    let good = Case {
        what: "nothing",
        bootstrap: cases[0].bootstrap.clone(),
        tls: client_tls(Side::Mutual, true),
    };
    assert_eq!(
        reach(&good, GOOD_LIMIT),
        Ok(()),
        "{client} with a good certificate"
    );
    let mut wrong = Vec::new();
    for (case, row) in cases.iter().zip(rows) {
        let Some(expected) = row.of(client) else { continue };
        match reach(case, LIMIT) {
            Err(shown) if shown.contains(expected) => {}
            Err(shown) => wrong.push(format!("{}, {client}: no {expected:?} in\n{shown}\n", case.what)),
            Ok(()) => wrong.push(format!("{}, {client}: served\n", case.what)),
        }
    }
    wrong
}

fn of_agent(agent: &Agent, case: &Case, limit: Duration) -> Result<(), String> {
    let options = Options::at(&case.bootstrap);
    let options = match &case.tls {
        Some(tls) => options.tls(tls),
        None => options,
    };
    agent.try_reach(&options, limit)
}

fn of_kcat(case: &Case, limit: Duration) -> Result<(), String> {
    let properties = case.tls.as_ref().map_or_else(Vec::new, ClientTls::librdkafka);
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    kcat::try_reach(&case.bootstrap, &properties, limit)
}

#[test]
fn the_log_says_of_brokers_what_the_document_says() {
    let rig = &*RIG;
    let certificates = certificates::of_brokers();
    let ca = format!("ca = {:?}\n", certificates.authorities.of_servers());
    let flaws = [
        ("the broker's certificate has expired", Flaw::Expired),
        ("it is not valid yet", Flaw::NotYetValid),
        ("it is for clients only", Flaw::WrongPurpose),
        ("`ca` does not vouch for it", Flaw::UnknownAuthority),
        ("it has `CA:TRUE`", Flaw::IsAuthority),
        ("it is signed with SHA-1", Flaw::Sha1),
        ("twelve certificates lead from it to `ca`", Flaw::LongChain),
        ("it is for another host", Flaw::WrongHost),
        ("it has its name in the CN only", Flaw::CommonNameOnly),
    ];
    let mut cases: Vec<(&str, Login, Option<String>)> = flaws
        .into_iter()
        .map(|(what, flaw)| (what, Login::FlawedTls(flaw), Some(ca.clone())))
        .collect();
    let newest = format!("{ca}versions = [\"1.3\"]\n");
    cases.extend([
        (
            "`pin_sha256` has another one",
            Login::Tls,
            Some(pin(Some(Flaw::IsAuthority))),
        ),
        (
            "the broker wants a certificate, and none is named",
            Login::MutualTls,
            Some(ca.clone()),
        ),
        (
            "the broker speaks TLS 1.2, `versions` has 1.3 only",
            Login::Tls12,
            Some(newest),
        ),
        ("the broker's listener speaks no TLS", Login::Plaintext, Some(ca)),
        (
            "the broker's listener speaks TLS, and there is no `upstream_tls`",
            Login::Tls,
            None,
        ),
    ]);
    let rows = documented("What the log says of brokers");
    let names: Vec<&str> = rows.iter().map(|row| row.what.as_str()).collect();
    let tried: Vec<&str> = cases.iter().map(|case| case.0).collect();
    assert_eq!(names, tried, "the rows of the document");
    let mut wrong = Vec::new();
    for ((what, login, upstream), row) in cases.into_iter().zip(rows) {
        let tls = ProxyTls {
            listener: None,
            upstream,
            ..ProxyTls::default()
        };
        let Some(mut proxy) = rig.another_proxy_with_tls(login, &tls) else {
            return skipped::there_is_no_proxy();
        };
        let refused = shared::franz_go().try_reach(&Options::at(proxy.bootstrap()), LIMIT);
        assert!(refused.is_err(), "{what}: served");
        let expected = row.of("The log says").expect("it says something");
        let said = wait::within(GOOD_LIMIT, || proxy.output().contains(expected).then_some(()));
        if said.is_none() {
            wrong.push(format!("{what}: no {expected:?} in\n{}\n", proxy.output()));
        }
        proxy.terminate();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What rustls refuses can be pinned, and who is not verified is served all the same; the log and a metric say so.
#[test]
fn pinned_and_unverified_brokers_are_served() {
    let rig = &*RIG;
    let insecure = "insecure_no_verification = true\n".to_owned();
    for (flaw, keys) in [
        (Flaw::IsAuthority, pin(Some(Flaw::IsAuthority))),
        (Flaw::CommonNameOnly, pin(Some(Flaw::CommonNameOnly))),
        (Flaw::Expired, insecure.clone()),
    ] {
        let is_unverified = keys == insecure;
        let tls = ProxyTls {
            listener: None,
            upstream: Some(keys),
            ..ProxyTls::default()
        };
        let Some(mut proxy) = rig.another_proxy_with_tls(Login::FlawedTls(flaw), &tls) else {
            return skipped::there_is_no_proxy();
        };
        let reached = shared::franz_go().try_reach(&Options::at(proxy.bootstrap()), GOOD_LIMIT);
        assert_eq!(reached, Ok(()), "{flaw:?}; {}", proxy.output());
        assert_eq!(
            proxy.metric("sealwire_upstream_unverified", &[]) > 0.0,
            is_unverified
        );
        assert_eq!(proxy.output().contains("brokers are not verified"), is_unverified);
        proxy.terminate();
    }
}

fn pin(flaw: Option<Flaw>) -> String {
    let certificate = &certificates::of_brokers().shown(flaw).issued.der;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let digits: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("pin_sha256 = [\"{}\"]\n", digits.concat())
}

/// For what has to succeed, however busy the machine is.
const GOOD_LIMIT: Duration = Duration::from_secs(30);
/// Clients that try again and again are asked for so long.
const LIMIT: Duration = Duration::from_secs(3);
