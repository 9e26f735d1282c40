//! A pipeline with one session, fed by hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use sealwire::clocks::Clocks;
use sealwire::config::{ClientAuth, HostPort, Limits, ListenerConfig};
use sealwire::crypto::SecretKey;
use sealwire::envelope::{
    BatchPlace, Domain, HeaderMode, SaltSource, SealBuffers, SealTerms, SealingKey, WrappedDek,
};
use sealwire::identity::{Client, Principal};
use sealwire::ids::{ClusterId, Id as _, KmsId, ListenerId};
use sealwire::keyring::Keyring;
use sealwire::keys::{
    DeliveredDek, KeyFailure, KeyId, KeyOptions, KeyReply, KeyRequest, StableKey, StableKeys,
};
use sealwire::kms::KekNames;
use sealwire::metrics::CloseReason;
use sealwire::pipeline::{
    AddressBook, Cluster, ClusterRules, LearnedAddress, ListenerMap, Pipeline, Session, Step, TopicLook,
    Wait, Work,
};
use sealwire::protocol::policy::Policy;
use sealwire::record_batch::{BatchHeader, BatchWriter, Codec, Decompressor, HEADER_BYTES, RecordCursor};
use sealwire::rules::{
    Access, Forms, GroupRule, GroupRules, Matcher, OnUnreadable, Principals, Rule, RuleAction, RuleSet,
    SealTemplate, Template,
};
use sealwire::testing::compress;
use sealwire::testing::fit_length_and_crc;
use sealwire::testing::{BatchBuilder, RecordInput};

/// A DEK with its wrapped form; the same for the same KEK and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dek {
    pub(crate) kek: &'static str,
    pub(crate) number: u16,
}

impl Dek {
    /// Others for every number, and long enough that they stand nowhere else.
    fn bytes<const N: usize>(&self) -> [u8; N] {
        let [high, low] = self.number.to_be_bytes();
        let mut bytes = [low; N];
        bytes[N - 1] ^= high;
        bytes
    }

    pub(crate) fn secret(&self) -> SecretKey {
        let mut bytes: [u8; 32] = self.bytes();
        bytes[..self.kek.len()].copy_from_slice(self.kek.as_bytes());
        SecretKey::from_bytes(&mut bytes).unwrap()
    }

    /// What it is called where records are sealed with it.
    pub(crate) fn id(&self) -> KeyId {
        KeyId {
            kms: KmsId::from_number(u32::from(self.kek == FAR.kek)),
            ..KeyId::first(self.kek)
        }
    }

    pub(crate) fn wrapped(&self) -> Arc<[u8]> {
        let mut bytes = Vec::new();
        let dek = WrappedDek {
            provider: 1,
            authority: if self.kek == FAR.kek {
                FAR_AUTHORITY
            } else {
                AUTHORITY
            },
            kek: self.kek.as_bytes(),
            version: &[1],
            blob: &self.bytes::<40>(),
        };
        dek.write(&mut bytes).unwrap();
        bytes.into()
    }
}

pub(crate) const fn dek(kek: &'static str, number: u16) -> Dek {
    Dek { kek, number }
}

/// The KEK of most topics.
pub(crate) const PAYMENTS: Dek = dek("payments", 1);
/// The KEK of topics `other-*`.
pub(crate) const OTHER: Dek = dek("other", 2);

/// The KEK of topics `far-*`, in another KMS than all others.
pub(crate) const FAR: Dek = dek("far", 3);

const AUTHORITY: [u8; 4] = *b"test";
const FAR_AUTHORITY: [u8; 4] = *b"afar";

fn seal_rule(pattern: &str, kek: &'static str, adjust: impl FnOnce(&mut SealTemplate)) -> Rule {
    let mut template = SealTemplate::new(dek(kek, 0).id().kms, Template::plain(kek));
    adjust(&mut template);
    Rule {
        matcher: Matcher::glob(pattern).unwrap(),
        action: RuleAction::Seal(Box::new(template)),
    }
}

fn headers_rule(pattern: &str, headers: HeaderMode, open_headers: HeaderMode) -> Rule {
    seal_rule(pattern, "payments", |rule| {
        rule.headers = headers;
        rule.open_headers = open_headers;
    })
}

fn rules() -> RuleSet {
    let pass = Rule {
        matcher: Matcher::glob("pass-*").unwrap(),
        action: RuleAction::Pass(None),
    };
    let reject = Rule {
        matcher: Matcher::glob("reject-*").unwrap(),
        action: RuleAction::Reject {
            reason: Some("closed for repairs".into()),
        },
    };
    RuleSet::new(vec![
        pass,
        reject,
        seal_rule("sealed-*", "payments", |_| {}),
        seal_rule("other-*", "other", |_| {}),
        seal_rule("far-*", "far", |rule| {
            rule.access.seal_for = Some(Principals::new(["*"]));
        }),
        headers_rule("bound-*", HeaderMode::Bound, HeaderMode::Bound),
        headers_rule("free-*", HeaderMode::Free, HeaderMode::Free),
        headers_rule("raised-*", HeaderMode::Sealed, HeaderMode::Bound),
        seal_rule("skip-*", "payments", |rule| {
            rule.on_unreadable = OnUnreadable::Skip
        }),
        seal_rule("null-*", "payments", |rule| {
            rule.on_unreadable = OnUnreadable::Null;
            rule.accept = Forms::SEALWIRE.with(Forms::TOMBSTONE);
        }),
        seal_rule("mixed-*", "payments", |rule| {
            rule.accept = Forms::SEALWIRE.with(Forms::PLAINTEXT);
        }),
        seal_rule("tombs-*", "payments", |rule| {
            rule.accept = Forms::SEALWIRE.with(Forms::TOMBSTONE);
        }),
        seal_rule("all-*", "payments", |rule| {
            rule.accept = Forms::SEALWIRE.with(Forms::TOMBSTONE).with(Forms::PLAINTEXT);
        }),
        seal_rule("moved-*", "payments", |rule| {
            rule.open_domains = vec![Template::plain("sealed-a")];
        }),
        keys_rule("keys-*", |_| {}),
        keys_rule("both-keys-*", |rule| {
            rule.keys.accept_others = true;
            rule.accept = Forms::SEALWIRE.with(Forms::TOMBSTONE);
        }),
        keys_rule("dead-keys-*", |rule| {
            rule.accept = Forms::SEALWIRE.with(Forms::TOMBSTONE);
        }),
        seal_rule("clear-*", "payments", |rule| {
            rule.open_domains = vec![Template::plain("both-keys-a")];
            rule.keys.accept_others = true;
        }),
        raw_rule("raw-*", true),
        raw_rule("marked-*", false),
        seal_rule("small-*", "payments", |rule| rule.max_message_bytes = 1000),
        seal_rule("roomy-*", "payments", |rule| rule.max_message_bytes = 1 << 22),
        seal_rule("plain-*", "payments", |rule| rule.stored_codec = Codec::None),
    ])
}

/// Record keys are sealed.
fn keys_rule(topics: &str, adjust: impl FnOnce(&mut SealTemplate)) -> Rule {
    seal_rule(topics, "payments", |rule| {
        rule.keys.sealed = true;
        adjust(rule);
    })
}

/// Records come and go as they are stored, for whoever the network vouches for, whom the other lists take in as well.
fn raw_rule(topics: &str, raw_verify: bool) -> Rule {
    seal_rule(topics, "payments", |rule| {
        rule.open_domains = vec![Template::plain("sealed-a")];
        rule.access = Access {
            raw_for: Some(Principals::new(["NETWORK"])),
            raw_verify,
            open_for: Some(Principals::new(["*"])),
            seal_for: Some(Principals::new(["NET*"])),
        };
    })
}

/// How long this thread has run on a processor.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Sessions that share a pipeline are told apart by their numbers.
static CONNECTIONS: AtomicU32 = AtomicU32::new(1);

/// The only listener: nodes 0 to 2 on ports 9193 to 9195 of proxy.example.com.
fn listener(policy: Policy) -> Arc<ListenerMap> {
    let mut map = ListenerMap::new(main(), &listener_config());
    map.policy = policy;
    Arc::new(map)
}

fn listener_config() -> ListenerConfig {
    ListenerConfig {
        id: ListenerId::from_number(0),
        name: "lan".to_owned(),
        listen: "127.0.0.1:9192".parse().unwrap(),
        client_auth: ClientAuth::Broker,
        sasl: None,
        tls: None,
        proxy_protocol_sources: None,
        advertised_host: "proxy.example.com".to_owned(),
        bootstrap_host: None,
        nodes: vec![0, 1, 2],
        node_ports: vec![9193, 9194, 9195],
    }
}

/// The only cluster.
pub(crate) fn main() -> ClusterId {
    ClusterId::from_number(0)
}

pub(crate) fn address(host: &str, port: u16) -> HostPort {
    HostPort {
        host: host.to_owned(),
        port,
    }
}

/// One side's bytes: what has arrived and is not used up, and what goes out on the other side.
#[derive(Default)]
struct OneWay {
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Why a side stands still.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// More bytes are needed.
    More,
    Blocked(Wait),
    /// There is more to do; only a rig that stops there says so.
    Yielded,
}

pub(crate) struct Rig {
    pub(crate) pipeline: Pipeline,
    pub(crate) session: Session,
    pub(crate) now: Instant,
    clocks: Clocks,
    /// How often others were let go first.
    pub(crate) yields: usize,
    /// Whether to stop there, or to go on at once.
    pub(crate) stops_at_yields: bool,
    /// The longest turn, in time of the processor; only a rig that measures knows.
    pub(crate) longest_step: Duration,
    measures: bool,
    requests: OneWay,
    responses: OneWay,
}

impl Rig {
    /// Without any key.
    pub(crate) fn new() -> Self {
        // Reading the schema's presets takes longer than most tests.
        static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);
        Self::with(LIMITS.clone())
    }

    /// With the keys of most topics at hand.
    pub(crate) fn with_keys() -> Self {
        let mut rig = Self::new();
        for key in [PAYMENTS, OTHER] {
            rig.give_sealing(&key);
            rig.give_opened(&key);
        }
        rig
    }

    /// With the keys of most topics at hand, doing `piece_bytes` of work in a turn and stopping there.
    pub(crate) fn in_pieces(piece_bytes: usize) -> Self {
        let mut rig = Self::with_keys();
        rig.pipeline.work = Work::new(piece_bytes);
        rig.stops_at_yields = true;
        rig
    }

    /// With the keys of most topics at hand, measuring how long each turn takes.
    pub(crate) fn measured() -> Self {
        let mut rig = Self::with_keys();
        rig.measures = true;
        rig
    }

    /// What is called by [`Self::client_sends`] and [`Self::broker_sends`] around each step.
    fn note_step(&mut self, begun: Option<Duration>) {
        if let Some(begun) = begun {
            self.longest_step = self.longest_step.max(thread_time() - begun);
        }
    }

    /// With a client that the broker takes.
    pub(crate) fn with(limits: Limits) -> Self {
        Self::stranger(limits, None).taken()
    }

    /// With a client that may use what `policy` says.
    pub(crate) fn with_policy(policy: Policy) -> Self {
        let limits = Limits::default();
        let mut rig = Self::stranger(limits.clone(), None);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        rig.session = Session::new(listener(policy), connection, &limits, None);
        rig.taken()
    }

    /// With a client that has a name, where these may change the cluster.
    pub(crate) fn named(admin_for: &[&str]) -> Self {
        Self::at_listener(admin_for, |map| map)
    }

    /// The same where brokers see one and the same, and the client may use topics, groups and transactional ids that
    /// begin with `raw-` alone.
    pub(crate) fn authorised(admin_for: &[&str]) -> Self {
        let rule = GroupRule {
            matcher: Matcher::glob_of_any("raw-*").unwrap(),
            users: Principals::new(["NETWORK"]),
        };
        Self::at_listener(admin_for, |map| map.authorising(GroupRules::new(vec![rule])))
    }

    fn at_listener(admin_for: &[&str], adjust: impl FnOnce(ListenerMap) -> ListenerMap) -> Self {
        let limits = Limits::default();
        let mut rig = Self::stranger(limits.clone(), None);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let names_clients = ListenerConfig {
            client_auth: ClientAuth::Mtls,
            ..listener_config()
        };
        let list = Principals::new(admin_for.iter().copied());
        let map = ListenerMap::new(main(), &names_clients).administered_by(Some(list));
        let client = Client {
            principal: Some(Principal::network()),
            ..Client::default()
        };
        rig.session = Session::new(Arc::new(adjust(map)), connection, &limits, None).of(client);
        rig.taken()
    }

    /// The broker takes the client.
    fn taken(self) -> Self {
        let mut rig = self;
        // Metadata, version 0, and a broker that the listener does not serve.
        let asked = [0, 0, 0, 14, 0, 3, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(rig.client_sends(&asked), Ok(Halt::More));
        let told = [
            0, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, b'k', 0, 0, 0, 9, 0, 0, 0, 0,
        ];
        assert_eq!(rig.broker_sends(&told), Ok(Halt::More));
        rig.at_broker();
        rig.at_client();
        rig
    }

    /// With a client that the broker has not answered yet, and that came on the port of `node`, connected to this
    /// address.
    pub(crate) fn stranger(limits: Limits, node: Option<(i32, HostPort)>) -> Self {
        let mut cluster = ClusterRules::new("main".into(), rules(), 100);
        cluster.name_keks(KmsId::from_number(0), KekNames::as_written(1, AUTHORITY));
        cluster.name_keks(KmsId::from_number(1), KekNames::as_written(1, FAR_AUTHORITY));
        let cluster = Cluster::new(cluster, AddressBook::default());
        let pipeline = Pipeline::new(
            0,
            limits.clone(),
            &KeyOptions::default(),
            [(main(), cluster)].into_iter().collect(),
        );
        Self {
            session: Session::new(
                listener(Policy::BY_NAME),
                CONNECTIONS.fetch_add(1, Ordering::Relaxed),
                &limits,
                node,
            ),
            pipeline,
            now: Instant::now(),
            clocks: Clocks::default(),
            yields: 0,
            stops_at_yields: false,
            longest_step: Duration::ZERO,
            measures: false,
            requests: OneWay::default(),
            responses: OneWay::default(),
        }
    }

    /// Record keys of these domains are sealed under one stable key, and their topics may be written to.
    pub(crate) fn give_stable_key(&mut self, domains: &[&str]) {
        self.pipeline.take_stable_keys(&Self::stable_key_of(domains));
        self.topics_fit(domains);
    }

    /// A keyring of one stable key for these domains.
    pub(crate) fn stable_key_of(domains: &[&str]) -> Arc<StableKeys> {
        let secret = || SecretKey::from_bytes(&mut [0x5b; 32]).unwrap();
        let mut keyring = Keyring::default();
        let id = keyring.add("key", &secret(), &dek("keyring", 1).wrapped(), 0);
        let id = id.unwrap();
        for domain in domains {
            keyring.assign(domain, id, false).unwrap();
        }
        let key = StableKey::opened(keyring.key(id).unwrap(), secret());
        Arc::new(StableKeys::new(keyring, [Arc::new(key)]))
    }

    /// These topics were looked at, and nothing speaks against writing to them.
    pub(crate) fn topics_fit(&mut self, topics: &[&str]) {
        for topic in topics {
            self.topic_is(topic, TopicLook::Good);
        }
    }

    /// This topic is not to be written to.
    pub(crate) fn topic_is_unfit(&mut self, topic: &str, why: &str) {
        self.topic_is(topic, TopicLook::Unfit(why.into()));
    }

    pub(crate) fn topic_is(&mut self, topic: &str, look: TopicLook) {
        let subject = self.pipeline.look_subject(main(), topic).unwrap();
        self.pipeline.take_topic_look(&subject, look, self.now);
    }

    pub(crate) fn pass_time(&mut self, time: Duration) {
        self.now += time;
    }

    /// Hands an answer of the key service over.
    pub(crate) fn apply(&mut self, reply: KeyReply) {
        self.pipeline.apply(reply, self.now);
        self.pipeline.news.keys += 1;
    }

    /// The machine has slept for so long and its time was set forward by so much since the clocks were read last.
    pub(crate) fn clocks_part(&mut self, slept: Duration, set: Duration) {
        self.pipeline.observe_clocks(self.clocks);
        self.clocks.boottime += slept;
        self.clocks.realtime += slept + set;
        self.pipeline.observe_clocks(self.clocks);
    }

    /// The executor's tick.
    pub(crate) fn keys_tick(&mut self) {
        self.pipeline.keys.tick(self.now);
    }

    pub(crate) fn give_sealing(&mut self, key: &Dek) {
        self.give_share(key, 1 << 20, Duration::from_secs(86_400));
    }

    /// Gives a key for so many batches and so long, in the place of what there is: a DEK that comes twice counts on.
    pub(crate) fn give_share(&mut self, key: &Dek, batches_max: u64, time: Duration) {
        self.apply(KeyReply::Released { key: key.id() });
        let delivered = DeliveredDek {
            dek: key.secret(),
            wrapped: key.wrapped(),
            batches_max,
            bytes_max: 1 << 40,
            expires_at: self.now + time,
        };
        self.apply(KeyReply::Sealing {
            key: key.id(),
            result: Ok(delivered),
        });
    }

    pub(crate) fn refuse_sealing(&mut self, key: &Dek, failure: KeyFailure) {
        self.apply(KeyReply::Sealing {
            key: key.id(),
            result: Err(failure),
        });
    }

    pub(crate) fn give_opened(&mut self, key: &Dek) {
        self.apply(KeyReply::Opened {
            wrapped: key.wrapped(),
            result: Ok(key.secret()),
        });
    }

    pub(crate) fn refuse_opened(&mut self, key: &Dek, failure: KeyFailure) {
        self.apply(KeyReply::Opened {
            wrapped: key.wrapped(),
            result: Err(failure),
        });
    }

    /// The wrapped DEKs that were asked for since the last call.
    pub(crate) fn asked_to_open(&mut self) -> Vec<Arc<[u8]>> {
        let requests = self.pipeline.keys.take_requests();
        let wrapped = |request| match request {
            KeyRequest::Open { wrapped, .. } => Some(wrapped),
            _ => None,
        };
        requests.into_iter().filter_map(wrapped).collect()
    }

    /// The control thread has spread the addresses.
    pub(crate) fn learn(&mut self, learned: Vec<LearnedAddress>) {
        let book = self.pipeline.addresses_mut(main()).unwrap();
        for entry in learned {
            book.learn(entry);
        }
        book.spread();
        self.pipeline.news.addresses += 1;
    }

    pub(crate) fn client_sends(&mut self, bytes: &[u8]) -> Result<Halt, CloseReason> {
        self.requests.input.extend_from_slice(bytes);
        self.pipeline.work.begin_turn();
        loop {
            let OneWay { input, output } = &mut self.requests;
            let begun = self.measures.then(thread_time);
            let step = self.session.requests(&mut self.pipeline, self.now, input, output);
            self.note_step(begun);
            let step = step?;
            let yielded = step == Step::Yield;
            if yielded {
                self.yields += 1;
                self.pipeline.work.begin_turn();
            }
            if let Some(halt) = self.requests.take(step) {
                return Ok(halt);
            }
            if yielded && self.stops_at_yields {
                return Ok(Halt::Yielded);
            }
        }
    }

    pub(crate) fn broker_sends(&mut self, bytes: &[u8]) -> Result<Halt, CloseReason> {
        self.responses.input.extend_from_slice(bytes);
        self.pipeline.work.begin_turn();
        loop {
            let OneWay { input, output } = &mut self.responses;
            let begun = self.measures.then(thread_time);
            let step = self
                .session
                .responses(&mut self.pipeline, self.now, input, output);
            self.note_step(begun);
            let step = step?;
            let yielded = step == Step::Yield;
            if yielded {
                self.yields += 1;
                self.pipeline.work.begin_turn();
            }
            if let Some(halt) = self.responses.take(step) {
                return Ok(halt);
            }
            if yielded && self.stops_at_yields {
                return Ok(Halt::Yielded);
            }
        }
    }

    /// What the client has sent and the session has not used up.
    pub(crate) fn unused_requests(&mut self) -> &mut [u8] {
        &mut self.requests.input
    }

    /// What has gone to the broker since the last call.
    pub(crate) fn at_broker(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.requests.output)
    }

    /// What has gone to the client since the last call.
    pub(crate) fn at_client(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.responses.output)
    }

    /// Forgets what has gone out, and keeps the memory for what will.
    pub(crate) fn forget_output(&mut self) {
        self.requests.output.clear();
        self.responses.output.clear();
    }

    /// Produce requests and fetch responses that wait.
    pub(crate) fn parked(&self) -> (u64, u64) {
        let gauges = &self.pipeline.metrics.gauges;
        (gauges.produce_parked, gauges.fetch_parked)
    }

    /// How many partitions the topics' counters say was refused.
    pub(crate) fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut refusals = BTreeMap::new();
        for (_, counters) in self.pipeline.metrics.snapshot().topics {
            for refusal in counters.refusals() {
                *refusals.entry(refusal.reason.as_str()).or_default() += refusal.partitions;
            }
        }
        refusals
    }

    /// Reasons of the audit lines since the last call.
    pub(crate) fn audit(&mut self) -> Vec<&'static str> {
        let events = self.pipeline.audit.take().events;
        events.iter().map(|event| event.reason()).collect()
    }
}

impl OneWay {
    fn take(&mut self, step: Step) -> Option<Halt> {
        match step {
            Step::Forward(bytes) => {
                assert!(bytes > 0, "nothing is forwarded for ever");
                self.output.extend(self.input.drain(..bytes));
            }
            Step::Wrote(bytes) => drop(self.input.drain(..bytes)),
            Step::More => return Some(Halt::More),
            Step::Blocked(wait) => return Some(Halt::Blocked(wait)),
            Step::Yield => {}
        }
        None
    }
}

/// A producer's batch of `values`, with a key and two headers of one name each.
pub(crate) fn batch_of(values: &[&str]) -> BatchBuilder {
    keyed_batch_of(values.iter().map(|value| (&b"key"[..], *value)))
}

/// The same of keys and values.
pub(crate) fn keyed_batch_of<'r>(records: impl IntoIterator<Item = (&'r [u8], &'r str)>) -> BatchBuilder {
    records
        .into_iter()
        .fold(BatchBuilder::new(), |batch, (key, value)| {
            batch.record(RecordInput {
                timestamp: 1_700_000_000_000,
                key: Some(key),
                value: Some(value.as_bytes()),
                headers: &[(b"h", Some(b"header-canary")), (b"h", None)],
            })
        })
}

pub(crate) fn batch(values: &[&str]) -> Vec<u8> {
    batch_of(values).build().unwrap()
}

/// `batch` as it is stored once sealed.
pub(crate) fn sealed(batch: &[u8], key: &Dek, domain: &str) -> Vec<u8> {
    sealed_with(batch, key, domain, HeaderMode::Sealed)
}

/// The same with its headers treated in another way.
pub(crate) fn sealed_with(batch: &[u8], key: &Dek, domain: &str, headers: HeaderMode) -> Vec<u8> {
    let header = BatchHeader::parse(batch).unwrap();
    let key = SealingKey::new(&key.secret(), &*key.wrapped()).unwrap();
    let domain = Domain::new(domain).unwrap();
    let mut sealer = key
        .begin(
            &mut SaltSource::new(0),
            &BatchPlace::default(),
            &SealTerms::new(&domain, headers),
            SealBuffers::default(),
        )
        .unwrap();
    let mut out = Vec::new();
    let writer = BatchWriter::begin(&mut out, batch).unwrap();
    let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
    while let Some(record) = cursor.next(batch).unwrap() {
        sealer.seal_record(batch, &record, &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap();
    out
}

/// As a broker may put it together: each record under a key of its own.
pub(crate) fn sealed_record_by_record(batch: &[u8], domain: &str, key_of: impl Fn(u16) -> Dek) -> Vec<u8> {
    let header = BatchHeader::parse(batch).unwrap();
    let domain = Domain::new(domain).unwrap();
    let (mut out, mut salts) = (Vec::new(), SaltSource::new(0));
    let writer = BatchWriter::begin(&mut out, batch).unwrap();
    let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
    for number in 0.. {
        let Some(record) = cursor.next(batch).unwrap() else {
            break;
        };
        let key = key_of(number);
        let key = SealingKey::new(&key.secret(), &*key.wrapped()).unwrap();
        let place = BatchPlace::default();
        let mut sealer = key
            .begin(
                &mut salts,
                &place,
                &SealTerms::new(&domain, HeaderMode::Sealed),
                SealBuffers::default(),
            )
            .unwrap();
        sealer.seal_record(batch, &record, &mut out).unwrap();
    }
    writer.finish(&mut out).unwrap();
    out
}

/// The batch compressed as a broker or a cleaner does it, whatever it was before.
pub(crate) fn recompressed(batch: &[u8], codec: Codec) -> Vec<u8> {
    let mut out = batch[..HEADER_BYTES].to_vec();
    out[22] = out[22] & !7 | codec.number();
    compress(codec, &records_of(batch), &mut out).unwrap();
    fit_length_and_crc(&mut out);
    out
}

/// The records of a batch, decompressed.
pub(crate) fn records_of(batch: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(batch).unwrap();
    let codec = header.attributes.codec().unwrap();
    let mut records = Vec::new();
    let decompressed =
        Decompressor::new().decompress(codec, &batch[HEADER_BYTES..], usize::MAX >> 1, &mut records);
    decompressed.unwrap();
    records
}

/// The keys of the records of a batch.
pub(crate) fn keys_of(batch: &[u8]) -> Vec<Option<Vec<u8>>> {
    let records = records_of(batch);
    let mut cursor = RecordCursor::stored(&BatchHeader::parse(batch).unwrap(), 0);
    std::iter::from_fn(|| cursor.next(&records).unwrap())
        .map(|record| record.key.map(|key| key.of(&records).to_vec()))
        .collect()
}

/// A batch with another base offset, which no checksum covers.
pub(crate) fn at_offset(batch: &[u8], base_offset: i64) -> Vec<u8> {
    [&base_offset.to_be_bytes()[..], &batch[8..]].concat()
}

/// The batch with a checksum that fits.
pub(crate) fn with_checksum(mut batch: Vec<u8>) -> Vec<u8> {
    fit_length_and_crc(&mut batch);
    batch
}

/// Alters the byte of the sealed batch that is `from_end` bytes before its end, with a checksum that fits.
pub(crate) fn tampered(batch: &[u8], from_end: usize) -> Vec<u8> {
    let mut batch = batch.to_vec();
    let at = batch.len() - 1 - from_end;
    batch[at] ^= 1;
    with_checksum(batch)
}

pub(crate) fn contains(bytes: &[u8], text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    bytes.windows(text.len()).any(|window| window == text)
}
