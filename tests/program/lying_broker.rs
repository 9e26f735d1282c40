//! A broker that lies: it accepts every login, hands out records for whatever it is asked, under names as it likes, and
//! tells whoever asks that it leads everything. Clients whom the rule does not name get no plaintext out of the proxy.
//!
//! A group's assignment comes to the same: what a member was told to read it asks for.

mod delegation_tokens;
mod upstream_login;

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use sealwire::identity::sasl::credentials::Credentials;
use sealwire::identity::sasl::verifier::{Mechanism, Verifier};
use sealwire::transport::suites::TlsChoice;
use sealwire::transport::tls_client::{Trust, UpstreamTls};

use crate::support::HOST;
use crate::support::certificates::Authorities;
use crate::support::configuration::ListenerTls;
use crate::support::frames::{
    all_stored, answer, decoded, head, only_broker, read_frame, request, start_broker,
};
use crate::support::keystore::Keystore;
use crate::support::proxy::{Proxy, ProxySetup, ProxyTls};
use crate::support::raw_client::{RawClient, batch};
use crate::support::secret_files::write_secret;

/// What the broker has been given, and what it gives.
#[derive(Default)]
struct Liar {
    /// Of the last Produce request, as the proxy has sealed it.
    stored: Mutex<Bytes>,
    /// Under which names it hands that out, whatever was asked for.
    names: Mutex<Vec<&'static str>>,
    /// Logins that it has seen.
    logins: AtomicUsize,
}

impl Liar {
    fn serve(&self, mut socket: TcpStream) {
        while let Some(request) = read_frame(&mut socket) {
            if socket.write_all(&self.answer(request)).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: Vec<u8>) -> Vec<u8> {
        let (key, version, id) = head(&request);
        match key {
            ApiVersionsRequest::KEY => answer::<ApiVersionsRequest>(version, id, &everything()),
            SaslHandshakeRequest::KEY => {
                self.logins.fetch_add(1, Ordering::AcqRel);
                answer::<SaslHandshakeRequest>(version, id, &SaslHandshakeResponse::default())
            }
            SaslAuthenticateRequest::KEY => {
                answer::<SaslAuthenticateRequest>(version, id, &SaslAuthenticateResponse::default())
            }
            MetadataRequest::KEY => answer::<MetadataRequest>(version, id, &only_broker(HOST, 9)),
            ProduceRequest::KEY => {
                let topics = decoded::<ProduceRequest>(request, version).topic_data;
                let records = topics[0].partition_data[0].records.clone();
                *self.stored.lock().expect("no panic") = records.expect("records");
                answer::<ProduceRequest>(
                    version,
                    id,
                    &all_stored(topics.into_iter().map(|topic| topic.name)),
                )
            }
            FetchRequest::KEY => answer::<FetchRequest>(version, id, &self.hands_out(version)),
            other => panic!("nobody asks for {other}"),
        }
    }

    fn hands_out(&self, version: i16) -> FetchResponse {
        let records = self.stored.lock().expect("no panic").clone();
        let names = self.names.lock().expect("no panic").clone();
        let topics = names.into_iter().map(|name| {
            let partition = PartitionData::default()
                .with_high_watermark(10)
                .with_last_stable_offset(10)
                .with_records(Some(records.clone()));
            FetchableTopicResponse::default()
                .with_topic(named(name))
                .with_partitions(vec![partition])
        });
        let response = FetchResponse::default().with_responses(topics.collect());
        match version {
            7.. => response.with_session_id(SESSION),
            _ => response,
        }
    }
}

/// Every API that a client of this test may ask for.
fn everything() -> ApiVersionsResponse {
    let range = |key, max| ApiVersion::default().with_api_key(key).with_max_version(max);
    let apis = [(0, 12), (1, 12), (3, 12), (17, 1), (18, 4), (36, 2)];
    ApiVersionsResponse::default().with_api_keys(apis.map(|(key, max)| range(key, max)).to_vec())
}

fn named(topic: &str) -> TopicName {
    StrBytes::from_string(topic.to_owned()).into()
}

struct Scene {
    liar: Arc<Liar>,
    proxy: Proxy,
    tls: UpstreamTls,
    /// Whose files are read again and again.
    _files: (Authorities, Keystore),
}

impl Scene {
    fn set() -> Self {
        let liar = Arc::<Liar>::default();
        let broker = Arc::clone(&liar);
        let brokers = start_broker(move |socket| broker.serve(socket));
        Self::before(brokers, liar, None)
    }

    /// `upstream_login`: its keys, in which `FILE` is the path of a file with that text.
    fn before(brokers: String, liar: Arc<Liar>, upstream_login: Option<(&str, &str)>) -> Self {
        let authorities = Authorities::create("lying-broker");
        let server = authorities.server("server", None);
        let users = authorities.file("users");
        let mut credentials = Credentials::new().expect("random numbers");
        for user in ["writer", "reader", "visitor"] {
            let verifier = Verifier::new(Mechanism::Sha256, PASSWORD.as_bytes(), 4096).expect("it is hashed");
            credentials
                .set(user, Mechanism::Sha256, verifier)
                .expect("a name");
        }
        write_secret(&users, &credentials.text());
        let upstream_login = upstream_login.map(|(keys, text)| {
            let path = authorities.file("login");
            write_secret(&path, text);
            format!(
                "allow_plaintext = true\n{}",
                keys.replace("FILE", &format!("{path:?}"))
            )
        });
        let keystore = Keystore::create(&["orders"]);
        let setup = ProxySetup {
            brokers,
            nodes: vec![0],
            keystore: &keystore,
            rules: RULES,
            executors: 1,
        };
        let mut proxy = Proxy::start_with_tls(
            &setup,
            &ProxyTls {
                listener: Some(ListenerTls {
                    certificate: server.files.certificate,
                    key: server.files.key,
                    client_ca: None,
                    more: String::new(),
                }),
                sasl: Some(format!("credentials = {users:?}\nmechanisms = [\"PLAIN\"]")),
                upstream_login,
                ..ProxyTls::default()
            },
        );
        proxy.terminate();
        // Whoever is refused again and again need not wait here.
        proxy.start_again_with(&["limits.fetch_hold=1ms", "runtime.self_check=false"]);
        let tls = UpstreamTls {
            trust: Trust::File(authorities.of_servers()),
            server_name: None,
            client: None,
            choice: TlsChoice::default(),
        };
        Self {
            liar,
            proxy,
            tls,
            _files: (authorities, keystore),
        }
    }

    /// A client that has said who it is; the code that it was answered with.
    fn log_in(&self, user: &str, password: &str) -> (RawClient, i16) {
        let (client, told) = self.try_to_log_in(user, password);
        (client, told.expect("an answer").error_code)
    }

    /// The same; `None` where the connection ends without an answer.
    fn try_to_log_in(&self, user: &str, password: &str) -> (RawClient, Option<SaslAuthenticateResponse>) {
        let mut client =
            RawClient::connect_by_tls(&self.proxy.bootstrap(), "localhost", &self.tls).expect("TLS");
        let mechanism = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        assert_eq!(client.ask(1, &mechanism).error_code, 0);
        let token = format!("\0{user}\0{password}").into();
        let told = client.ask_if_any(1, &SaslAuthenticateRequest::default().with_auth_bytes(token));
        (client, told)
    }

    /// Every byte that `user` is answered with, who asks for these topics, until the connection is closed, if it is.
    fn fetch(&self, user: &str, version: i16, session: (i32, i32), topics: &[&str]) -> Vec<u8> {
        let (mut client, code) = self.log_in(user, PASSWORD);
        assert_eq!(code, 0, "{user} may log in");
        let topics = topics.iter().map(|name| {
            FetchTopic::default()
                .with_topic(named(name))
                .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1 << 20)])
        });
        let mut asked = FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_topics(topics.collect());
        if version >= 7 {
            asked = asked.with_session_id(session.0).with_session_epoch(session.1);
        }
        client.send_frame(&request(version, 9, "visitor", &asked));
        client.receive_what_comes()
    }
}

fn has_canary(bytes: &[u8]) -> bool {
    bytes
        .windows(CANARY.len())
        .any(|window| window == CANARY.as_bytes())
}

/// LOGIN-4, ACCESS-1
#[test]
fn no_plaintext_to_whom_the_rule_does_not_name() {
    let mut scene = Scene::set();
    let (mut writer, code) = scene.log_in("writer", PASSWORD);
    assert_eq!(code, 0);
    assert_eq!(writer.produce("sealed-a", batch(None, CANARY)).error_code, 0);
    assert!(
        !has_canary(&scene.liar.stored.lock().expect("no panic")),
        "it is sealed"
    );
    // It can be opened at all.
    *scene.liar.names.lock().expect("no panic") = vec!["sealed-a"];
    for version in VERSIONS {
        assert!(has_canary(&scene.fetch(
            "reader",
            version,
            SESSIONLESS,
            &["sealed-a"]
        )));
    }
    let mut looked_at = 0;
    for asked in [
        &["sealed-a"][..],
        &["pass-a"],
        &["visitors-a"],
        &["unknown-a"],
        &["pass-a", "visitors-a"],
        &[],
    ] {
        for told in [
            vec!["sealed-a"],
            vec!["pass-a"],
            vec!["visitors-a"],
            vec!["unknown-a", "sealed-a"],
            vec!["pass-a", "sealed-a"],
            vec!["sealed-a", "pass-a"],
            vec!["visitors-a", "sealed-a"],
            vec!["sealed-a"; 3],
        ] {
            scene.liar.names.lock().expect("no panic").clone_from(&told);
            for (version, session) in [
                (4, SESSIONLESS),
                (12, SESSIONLESS),
                (12, (0, 0)),
                (12, (SESSION, 1)),
            ] {
                for user in ["visitor", "writer"] {
                    let answer = scene.fetch(user, version, session, asked);
                    assert!(
                        !has_canary(&answer),
                        "{user} asks for {asked:?} and is told of {told:?}"
                    );
                    looked_at += 1;
                }
            }
        }
    }
    assert_eq!(looked_at, 6 * 8 * 4 * 2);
    // A broker that lets everybody in is not asked.
    let (_, code) = scene.log_in("visitor", "guessed");
    assert_eq!((code, scene.liar.logins.load(Ordering::Acquire)), (58, 0));
    scene.proxy.terminate();
}

const VERSIONS: [i16; 3] = [4, 11, 12];
const SESSIONLESS: (i32, i32) = (0, -1);
/// What the broker calls each session.
const SESSION: i32 = 7;
const PASSWORD: &str = "secret";
const CANARY: &str = "lying-broker-canary-3f0c";
const RULES: &str = "[[cluster.main.topics]]\nmatch = \"sealed-*\"\nkms = \"local\"\nkek = \"orders\"\n\
    open_for = [\"User:reader\"]\nseal_for = [\"User:writer\"]\n\
    [[cluster.main.topics]]\nmatch = \"visitors-*\"\nkms = \"local\"\nkek = \"orders\"\n\
    open_for = [\"User:visitor\"]\nseal_for = [\"User:visitor\"]\n\
    [[cluster.main.topics]]\nmatch = \"pass-*\"\npass = true\n";
