//! The audit log of logins that end at the proxy, and of whom rules do not name.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use kafka_protocol::messages::SaslHandshakeRequest;
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;

use super::super::every_way::RIG;
use super::super::{Side, client_tls, proxy_tls};
use super::named::name;
use super::{CANARY, Door, PASSWORD, authenticate, handshake};
use crate::support::broker_properties::Login;
use crate::support::frames;
use crate::support::operations::{From, Options};
use crate::support::records::Record;
use crate::support::secret_files::write_users;
use crate::support::skipped;
use crate::support::wait;

#[test]
fn who_logs_in_and_who_is_refused_what_is_in_the_audit_log() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"SCRAM-SHA-256\", \"PLAIN\"]") else {
        return skipped::there_is_no_proxy();
    };
    write_users(&door.users(), &[("writer", PASSWORD), ("bob", PASSWORD)]);
    name(&mut door, "[\"User:read??\"]");
    let file = door.folder.path().join("audit.jsonl");
    door.restart(&[&format!("audit.to={file:?}")]);
    let topic = RIG.topic("sealed-audited", 1);
    let sent: Vec<_> = (0..5)
        .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(0))
        .collect();
    let options = |mechanism, user, password| door.options(mechanism, user, password);
    let deliveries = RIG
        .java
        .produce(&options("SCRAM-SHA-256", "writer", PASSWORD), &sent);
    assert!(deliveries.iter().all(|delivery| delivery.error.is_none()));
    let limit = Duration::from_secs(10);
    let from = From::partitions(&topic, 1);
    let refused = RIG
        .java
        .try_consume(&options("PLAIN", "bob", PASSWORD), &from, 1, limit);
    assert!(refused.is_err(), "nobody names him among readers");
    for (user, password) in [("bob", WRONG), ("mallory", WRONG)] {
        let refused = RIG.java.try_reach(&options("PLAIN", user, password), limit);
        assert!(refused.is_err(), "{user}");
    }
    let lines = wait::until("the refused login", limit, || {
        let text = fs::read_to_string(&file).ok()?;
        text.contains("unknown_user").then_some(text)
    });
    assert!(!lines.contains(CANARY) && !lines.contains(PASSWORD) && !lines.contains(WRONG));
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_told(&lines, &topic);
    door.proxy.terminate();
}

/// One line of each login, and of what `bob` was refused.
fn assert_told(lines: &[Value], topic: &str) {
    let expected: [&[(&str, &str)]; 5] = [
        &[
            ("event", "login_accepted"),
            ("principal", "User:writer"),
            ("mechanism", "SCRAM-SHA-256"),
        ],
        &[
            ("event", "login_accepted"),
            ("principal", "User:bob"),
            ("mechanism", "PLAIN"),
        ],
        &[
            ("event", "refused"),
            ("principal", "User:bob"),
            ("operation", "fetch"),
            ("reason", "not_named"),
            ("topic", topic),
        ],
        &[
            ("event", "login_refused"),
            ("reason", "wrong_password"),
            ("mechanism", "PLAIN"),
            ("claimed", "User:bob"),
        ],
        &[
            ("event", "login_refused"),
            ("reason", "unknown_user"),
            ("mechanism", "PLAIN"),
        ],
    ];
    for words in expected {
        let line = lines
            .iter()
            .find(|line| words.iter().all(|(field, text)| line[field] == **text));
        let line = line.unwrap_or_else(|| panic!("{words:?} in {lines:?}"));
        let client = line["client"].as_str().expect("an address");
        assert!(client.starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["cluster"], "main");
    }
    let refused = lines.iter().filter(|line| line["event"] == "login_refused");
    assert!(refused.clone().all(|line| line["principal"].is_null()));
    let claimed = refused.clone().filter(|line| !line["claimed"].is_null());
    assert_eq!(
        claimed.count(),
        1,
        "whoever is not known may be a password: {lines:?}"
    );
    assert_eq!(refused.count(), 2, "once for each reason: {lines:?}");
}

#[test]
fn whom_a_certificate_names_is_in_it() {
    let tls = proxy_tls(Side::Mutual, Side::Plain);
    let Some(mut proxy) = RIG.another_proxy_with_tls(Login::Plaintext, &tls) else {
        return skipped::there_is_no_proxy();
    };
    let file = proxy.file("audit.jsonl");
    proxy.terminate();
    proxy.start_again_with(&[&format!("audit.to={file:?}")]);
    let tls = client_tls(Side::Mutual, true).expect("a certificate");
    let reached = RIG
        .java
        .try_reach(&Options::at(proxy.bootstrap()).tls(&tls), LIMIT);
    reached.expect("it is let in");
    let line = wait::until("the client", LIMIT, || {
        let text = fs::read_to_string(&file).ok()?;
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.find(|line| line["event"] == "login_accepted")
    });
    assert_eq!(
        (&line["mechanism"], &line["again"]),
        (&"mtls".into(), &false.into())
    );
    let principal = line["principal"].as_str().expect("a name");
    assert!(principal.starts_with("User:"), "{line}");
    proxy.terminate();
}

/// AUDIT-4
#[test]
fn nobody_logs_in_while_it_cannot_be_written() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\"]\nsession_lifetime = \"1h\"") else {
        return skipped::there_is_no_proxy();
    };
    let file = door.folder.path().join("audit.jsonl");
    door.restart(&[&format!("audit.to={file:?}")]);
    let mut client = door.connect();
    for again in ["false", "true"] {
        assert_eq!(handshake(&mut client, "PLAIN"), 0);
        assert_eq!(authenticate(&mut client, PASSWORD).0, 0);
        wait::until("the login", LIMIT, || {
            let text = fs::read_to_string(&file).ok()?;
            text.contains(&format!("\"again\":{again}")).then_some(())
        });
        // Another login is taken in a second.
        wait::pause(Duration::from_millis(1100));
    }
    fs::rename(&file, file.with_extension("1")).expect("it is moved");
    symlink("/dev/full", &file).expect("a link");
    assert_eq!(log_in(&door), 0, "nothing was written since");
    let metric = |name, labels: &[&str]| door.proxy.metric(name, labels);
    wait::until("the audit log to stand still", LIMIT, || {
        (metric("sealwire_audit_held", &[]) == 1.0).then_some(())
    });
    let closed = || {
        metric(
            "sealwire_connections_closed_total",
            &["reason=\"login_unavailable\""],
        )
    };
    let _stranger = door.connect();
    wait::until("a client that is sent away", LIMIT, || {
        (closed() == 1.0).then_some(())
    });
    let mechanism = StrBytes::from_static_str("PLAIN");
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    client.send_frame(&frames::request(1, 7, "tests", &request));
    wait::until("one that had logged in before", LIMIT, || {
        (closed() == 2.0).then_some(())
    });
    fs::remove_file(&file).expect("it is removed");
    wait::until("the audit log to go on", LIMIT, || {
        (metric("sealwire_audit_held", &[]) == 0.0).then_some(())
    });
    assert_eq!(log_in(&door), 0);
    let lines = wait::until("both logins", LIMIT, || {
        let text = fs::read_to_string(&file).ok()?;
        (text.matches("login_accepted").count() == 2).then_some(text)
    });
    assert_eq!(lines.lines().count(), 2, "{lines}");
    door.proxy.terminate();
}

/// The code that a login by PLAIN is answered with.
fn log_in(door: &Door) -> i16 {
    let mut client = door.connect();
    assert_eq!(handshake(&mut client, "PLAIN"), 0);
    authenticate(&mut client, PASSWORD).0
}

const LIMIT: Duration = Duration::from_secs(20);
const WRONG: &str = "not-the-password-7f1c";
