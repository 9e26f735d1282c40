//! A cluster, a proxy in front of it, and a Java client that is also the administrator.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::agent::Agent;
use super::broker_properties::Login;
use super::cluster::KafkaCluster;
use super::keystore::Keystore;
use super::operations::Options;
use super::proxy::{Proxy, ProxySetup, ProxyTls};
use super::shared;
use super::wait;

/// Which way a scenario's clients take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Proxy,
    /// Straight at the broker: proves the scenario itself.
    Direct,
}

impl Route {
    /// `SEALWIRE_TEST_ROUTE=direct`, else through the proxy.
    pub(crate) fn chosen() -> Self {
        match env::var("SEALWIRE_TEST_ROUTE").as_deref() {
            Ok("direct") => Route::Direct,
            Ok(other) => panic!("SEALWIRE_TEST_ROUTE is {other:?}: direct, or nothing"),
            Err(_) => Route::Proxy,
        }
    }
}

pub(crate) struct Rig {
    pub(crate) cluster: &'static KafkaCluster,
    pub(crate) java: &'static Agent,
    pub(crate) keystore: Option<Keystore>,
    proxy: Option<Proxy>,
    login: Login,
    rules: String,
}

/// A topic to be created.
#[derive(Debug, Clone)]
pub(crate) struct Topic<'a> {
    pub(crate) name: &'a str,
    pub(crate) partitions: i32,
    pub(crate) replicas: i32,
    pub(crate) configs: &'a [(&'a str, &'a str)],
}

impl Topic<'_> {
    fn wanted(&self) -> Value {
        let configs = self.configs.iter();
        let configs: Map<String, Value> = configs
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({
            "name": self.name, "partitions": self.partitions, "replicas": self.replicas, "configs": configs,
        })
    }
}

/// Who leads and follows a partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PartitionState {
    /// -1 when there is none.
    pub(crate) leader: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

impl Rig {
    /// A proxy with the tests' rules in front of `cluster`'s listener for `login`, unless the route is direct.
    pub(crate) fn assemble(cluster: &'static KafkaCluster, login: Login) -> Self {
        Self::assemble_with(cluster, login, &["orders", "invoices"], RULES)
    }

    /// The same with other KEKs and rules; the rules' `kms` is `local`.
    pub(crate) fn assemble_with(
        cluster: &'static KafkaCluster,
        login: Login,
        keks: &[&str],
        rules: &str,
    ) -> Self {
        let mut rig = Self {
            login,
            rules: rules.to_owned(),
            ..Self::without_proxy(cluster)
        };
        if Route::chosen() == Route::Proxy {
            let keystore = Keystore::create(keks);
            if rules.contains("key = \"stable\"") {
                keystore.add_stable_keys(keks.first().expect("a KEK"), &["*"]);
            }
            let proxy = start(&rig.setup(&keystore, login), login, &ProxyTls::default());
            rig.proxy = Some(proxy);
            rig.keystore = Some(keystore);
        }
        rig
    }

    /// A client and an administrator, for whoever starts proxies of his own.
    pub(crate) fn without_proxy(cluster: &'static KafkaCluster) -> Self {
        let rig = Rig {
            cluster,
            java: shared::java(cluster.version()),
            keystore: None,
            proxy: None,
            login: Login::Plaintext,
            rules: String::new(),
        };
        rig.await_brokers();
        rig
    }

    /// Another proxy with the same keys and rules, in front of the listener for `login`; none where the route is
    /// direct.
    pub(crate) fn another_proxy(&self, login: Login) -> Option<Proxy> {
        self.another_proxy_with(login, &self.rules)
    }

    /// The same with other rules.
    pub(crate) fn another_proxy_with(&self, login: Login, rules: &str) -> Option<Proxy> {
        let keystore = self.keystore.as_ref()?;
        let setup = ProxySetup {
            rules,
            ..self.setup(keystore, login)
        };
        Some(start(&setup, login, &ProxyTls::default()))
    }

    /// The same with TLS.
    pub(crate) fn another_proxy_with_tls(&self, login: Login, tls: &ProxyTls) -> Option<Proxy> {
        let keystore = self.keystore.as_ref()?;
        Some(start(&self.setup(keystore, login), login, tls))
    }

    /// The same, which serves these nodes only.
    pub(crate) fn proxy_of(&self, nodes: Vec<i32>) -> Option<Proxy> {
        let keystore = self.keystore.as_ref()?;
        let setup = ProxySetup {
            nodes,
            ..self.setup(keystore, self.login)
        };
        Some(start(&setup, self.login, &ProxyTls::default()))
    }

    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    pub(crate) fn proxy_mut(&mut self) -> Option<&mut Proxy> {
        self.proxy.as_mut()
    }

    /// Options of a client on the chosen route.
    pub(crate) fn options(&self) -> Options {
        Options::at(self.bootstrap())
    }

    /// Options of a client of this proxy; straight at the broker where the route has none.
    pub(crate) fn options_at(&self, proxy: Option<&Proxy>) -> Options {
        proxy.map_or_else(|| self.options(), |proxy| Options::at(proxy.bootstrap()))
    }

    /// Where clients on the chosen route bootstrap.
    pub(crate) fn bootstrap(&self) -> String {
        match &self.proxy {
            Some(proxy) => proxy.bootstrap(),
            None => self.cluster.bootstrap_of(self.login),
        }
    }

    /// Options of a client that goes straight at the brokers, whatever the route.
    pub(crate) fn direct(&self) -> Options {
        Options::at(self.cluster.bootstrap())
    }

    /// Whether records pass a proxy, so that topics under a sealing rule are unreadable at rest.
    pub(crate) fn seals(&self) -> bool {
        self.proxy.is_some()
    }

    /// Creates a topic of one replica without configs, and gives its name: `prefix` and a number.
    pub(crate) fn topic(&self, prefix: &str, partitions: i32) -> String {
        let name = unique(prefix);
        self.create(&Topic {
            name: &name,
            partitions,
            replicas: 1,
            configs: &[],
        });
        name
    }

    pub(crate) fn create(&self, topic: &Topic<'_>) {
        self.create_all(std::slice::from_ref(topic));
    }

    /// All in one request.
    pub(crate) fn create_all(&self, topics: &[Topic<'_>]) {
        let wanted: Vec<Value> = topics.iter().map(Topic::wanted).collect();
        let _: Value = self.administer("create_topics", json!({ "topics": wanted }));
        topics.iter().for_each(|topic| self.await_leaders(topic));
    }

    /// Deletes a topic, and waits until brokers know it no more.
    pub(crate) fn delete(&self, topic: &str) {
        let _: Value = self.administer("delete_topic", json!({ "topic": topic }));
        wait::until("a topic to be gone", ADMINISTRATION_LIMIT, || {
            self.try_partitions(topic).is_none().then_some(())
        });
    }

    fn await_leaders(&self, topic: &Topic<'_>) {
        // Metadata reaches the brokers a little later.
        wait::until("leaders of a new topic", ADMINISTRATION_LIMIT, || {
            let state = self.try_partitions(topic.name)?;
            state.iter().all(|partition| partition.leader >= 0).then_some(())
        });
        // A broker is named as leader a moment before it is one, and what comes with acks=0 in that moment is lost.
        // This asks the leaders themselves, once a broker that has heard of the topic has named them.
        wait::until("leaders of a new topic to lead", ADMINISTRATION_LIMIT, || {
            self.try_end_offsets(topic.name, topic.partitions).ok()
        });
    }

    /// `principal` may do everything with topics, groups and transactions whose names begin so.
    pub(crate) fn allow(&self, principal: &str, prefix: &str) {
        let _: Value = self.administer("allow", json!({"principal": principal, "prefix": prefix}));
    }

    /// Whether `principal` may have brokers make delegation tokens for `owner`.
    pub(crate) fn set_tokens_right(&self, principal: &str, owner: &str, is_allowed: bool) {
        let op = if is_allowed {
            "allow_tokens"
        } else {
            "forbid_tokens"
        };
        let _: Value = self.administer(op, json!({"principal": principal, "owner": owner}));
    }

    /// The brokers know this user by SCRAM, with either hash, and that password.
    pub(crate) fn set_password(&self, user: &str, password: &str) {
        let _: Value = self.administer("set_password", json!({"user": user, "password": password}));
    }

    /// The principal of this name may send so many bytes a second.
    pub(crate) fn set_quota(&self, user: &str, producer_byte_rate: u32) {
        let body = json!({"user": user, "producer_byte_rate": producer_byte_rate});
        let _: Value = self.administer("set_quota", body);
    }

    /// Nobody but `principal` may write to the topic any more.
    pub(crate) fn allow_writing(&self, topic: &str, principal: &str) {
        let _: Value = self.administer("allow_writing", json!({"topic": topic, "principal": principal}));
    }

    pub(crate) fn partitions(&self, topic: &str) -> Vec<PartitionState> {
        self.try_partitions(topic)
            .unwrap_or_else(|| panic!("no topic {topic}"))
    }

    /// Makes the first of `replicas` the leader.
    pub(crate) fn move_leader(&self, topic: &str, partition: i32, replicas: &[i32]) {
        let body = json!({"topic": topic, "partition": partition, "replicas": replicas});
        let _: Value = self.administer("move_leader", body);
    }

    /// The broker's end offset of each of the topic's first `count` partitions.
    pub(crate) fn end_offsets(&self, topic: &str, count: i32) -> Vec<i64> {
        self.try_end_offsets(topic, count)
            .unwrap_or_else(|error| panic!("end offsets of {topic}: {error}"))
    }

    fn try_end_offsets(&self, topic: &str, count: i32) -> Result<Vec<i64>, String> {
        let partitions: Vec<Value> = (0..count).map(|partition| json!([topic, partition])).collect();
        let answer: EndOffsets = self.try_administer("end_offsets", json!({"partitions": partitions}))?;
        Ok(answer.offsets)
    }

    /// Topic, partition, offset that the group has committed.
    fn committed_offsets(&self, group: &str) -> Vec<(String, i32, i64)> {
        let answer: CommittedOffsets = self.administer("committed_offsets", json!({"group": group}));
        answer.offsets
    }

    /// Panics unless the group has committed all that these partitions of the topic hold, and nothing else.
    pub(crate) fn assert_read_by(&self, group: &str, topic: &str, partitions: i32) {
        let ends = self.end_offsets(topic, partitions);
        let expected: Vec<(String, i32, i64)> = (0..partitions)
            .zip(ends)
            .map(|(partition, end)| (topic.to_owned(), partition, end))
            .collect();
        let mut committed = self.committed_offsets(group);
        committed.sort();
        assert_eq!(committed, expected, "committed by {group}");
    }

    /// The number of brokers that the cluster says it has, asked by way of `options`.
    pub(crate) fn nodes_seen(&self, options: &Options) -> Vec<ClusterNode> {
        let answer: Result<ClusterState, String> = self.java.call(
            "describe_cluster",
            json!({"options": options}),
            ADMINISTRATION_LIMIT,
        );
        answer.map(|state| state.nodes).unwrap_or_default()
    }

    /// Returns when every broker of the cluster is registered.
    pub(crate) fn await_brokers(&self) {
        let brokers = self.cluster.nodes().len();
        wait::until("all brokers to be registered", ADMINISTRATION_LIMIT, || {
            (self.nodes_seen(&self.direct()).len() == brokers).then_some(())
        });
    }

    fn try_partitions(&self, topic: &str) -> Option<Vec<PartitionState>> {
        let body = json!({"options": self.direct(), "topics": [topic]});
        let answer: Result<Value, String> = self.java.call("describe_topics", body, ADMINISTRATION_LIMIT);
        let mut answer = answer.ok()?;
        serde_json::from_value(answer.get_mut(topic)?.take()).ok()
    }

    fn administer<T: serde::de::DeserializeOwned>(&self, op: &str, body: Value) -> T {
        self.try_administer(op, body)
            .unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    fn try_administer<T: serde::de::DeserializeOwned>(&self, op: &str, mut body: Value) -> Result<T, String> {
        body["options"] = json!(self.direct());
        self.java.call(op, body, ADMINISTRATION_LIMIT)
    }

    fn setup<'a>(&'a self, keystore: &'a Keystore, login: Login) -> ProxySetup<'a> {
        ProxySetup {
            brokers: self.cluster.bootstrap_of(login),
            nodes: self.cluster.nodes(),
            keystore,
            rules: &self.rules,
            executors: 2,
        }
    }
}

/// A proxy whose clients log in as the brokers' listener wants it.
fn start(setup: &ProxySetup<'_>, login: Login, tls: &ProxyTls) -> Proxy {
    let tls = ProxyTls {
        passes_logins: login.is_sasl() && tls.upstream_login.is_none(),
        ..tls.clone()
    };
    Proxy::start_with_tls(setup, &tls)
}

/// A broker as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ClusterNode {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A name that no other test of this process has.
pub(crate) fn unique(prefix: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// `sealed-*`, `bound-*`, `free-*` are sealed with the headers treated as their name says; `skipped-*` and `nulled-*`
/// let readers past what does not open, the latter accept tombstones; `migrating-*` accepts what was never sealed;
/// `invoices-*` is sealed under another key; `public-*` is passed through, `forbidden-*` rejected; anything else has no
/// rule.
pub(crate) const RULES: &str = r#"
[[cluster.main.topics]]
match = "sealed-*"
kms = "local"
kek = "orders"
max_message_bytes = 20971520

[[cluster.main.topics]]
match = "bound-*"
headers = "bound"
kms = "local"
kek = "orders"
max_message_bytes = 20971520

[[cluster.main.topics]]
match = { regex = "^free-.*$" }
headers = "free"
kms = "local"
kek = "orders"
max_message_bytes = 20971520

[[cluster.main.topics]]
match = "skipped-*"
kms = "local"
kek = "orders"
on_unreadable = "skip"

[[cluster.main.topics]]
match = "nulled-*"
kms = "local"
kek = "orders"
accept = ["sealwire", "tombstone"]
on_unreadable = "null"

[[cluster.main.topics]]
match = "migrating-*"
kms = "local"
kek = "orders"
accept = ["sealwire", "plaintext", "tombstone"]

[[cluster.main.topics]]
match = "invoices-*"
kms = "local"
kek = "invoices"
max_message_bytes = 20971520

[[cluster.main.topics]]
match = "public-*"
pass = true

[[cluster.main.topics]]
match = "forbidden-*"
reject = true
"#;

const ADMINISTRATION_LIMIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct EndOffsets {
    offsets: Vec<i64>,
}

#[derive(Deserialize)]
struct CommittedOffsets {
    offsets: Vec<(String, i32, i64)>,
}

#[derive(Deserialize)]
struct ClusterState {
    nodes: Vec<ClusterNode>,
}
