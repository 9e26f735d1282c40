//! Each way in which a client may log in at the proxy, with each in which the proxy may log in for it at the brokers:
//! whom brokers see, what they let him do, and what they hold against him.

mod broker;
mod pairs;
mod proxy;

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use self::broker::{Decision, RIG, decisions};
use self::pairs::{Client, Pair, UPSTREAMS, Upstream};
use self::proxy::Entrance;
use crate::support::agent::Agent;
use crate::support::operations::{From, Outcome};
use crate::support::proxy::Proxy;
use crate::support::records::{Record, assert_delivered, assert_same};
use crate::support::rig::Topic;
use crate::support::shared;
use crate::support::skipped;

/// A proxy, and a way in for each pair.
fn start() -> Option<(Proxy, Vec<Entrance>)> {
    let keystore = RIG.keystore.as_ref()?;
    let entrances: Vec<Entrance> = Pair::possible().map(Entrance::of).collect();
    let configuration = keystore.configuration("[runtime]\nexecutors = 2");
    let configuration = entrances
        .iter()
        .fold(configuration, |text, entrance| entrance.add_to(text));
    Some((Proxy::start_by(configuration), entrances))
}

/// Three libraries for each pair, and for one pair of each way towards the brokers all five.
fn agents(pair: Pair) -> Vec<&'static Agent> {
    let mut agents = vec![RIG.java, shared::librdkafka(), shared::franz_go()];
    if fullest(pair.upstream) == pair {
        agents.extend([shared::aiokafka(), shared::kafkajs()]);
    }
    agents
}

/// Another client for each way, as far as there is one.
fn fullest(upstream: Upstream) -> Pair {
    let pairs: Vec<Pair> = Pair::possible()
        .filter(|pair| pair.upstream == upstream)
        .collect();
    let place = UPSTREAMS
        .iter()
        .position(|one| *one == upstream)
        .expect("one of them");
    pairs[place % pairs.len()]
}

fn topic(pair: Pair, agent: &Agent) -> String {
    let library = format!("{:?}", agent.library()).to_lowercase();
    let library: String = library.chars().filter(char::is_ascii_alphabetic).collect();
    format!("{}{library}", pair.prefix())
}

/// A pair whose clients brokers take for somebody else.
fn stranger(pair: Pair) -> Pair {
    let mut others = Pair::possible()
        .skip_while(|other| *other != pair)
        .chain(Pair::possible());
    others
        .find(|other| other.seen() != pair.seen())
        .expect("there are several")
}

/// Each pair, so many at a time.
fn each(entrances: &[Entrance], work: impl Fn(&Entrance) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(entrance) = entrances.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(entrance);
                }
            });
        }
    });
}

/// Produces, consumes in a group, and in a transaction; what somebody else may use is refused.
fn use_what_is_allowed(entrance: &Entrance) {
    let (pair, options) = (entrance.pair, entrance.options());
    for agent in agents(pair) {
        let topic = topic(pair, agent);
        let sent: Vec<_> = (0..10)
            .map(|number| Record::new(&topic, number.to_string(), CANARY).partition(number % 2))
            .collect();
        let deliveries = agent.produce(&options, &sent);
        assert_delivered(&deliveries);
        let group = options.clone().group(&format!("{topic}-group"), "classic");
        assert_same(
            &sent,
            &deliveries,
            &agent.consume(&group, &From::topic(&topic), sent.len()),
        );
        let id = options.clone().transactional(&format!("{topic}-id"));
        assert_delivered(&agent.transact(&id, &[(Outcome::Commit, sent)]));

        let foreign = self::topic(stranger(pair), RIG.java);
        let record = Record::new(&foreign, "1", CANARY).partition(0);
        let told = agent.try_produce(&options.clone().acks("all"), &[record]);
        let told = told.map_or_else(Some, |told| told.into_iter().find_map(|one| one.error));
        let told = told.unwrap_or_else(|| panic!("{pair:?} {:?} has written to {foreign}", agent.library()));
        let words = told.to_lowercase().replace([' ', '_'], "");
        assert!(
            words.contains("topicauthorization") || words.contains("notauthorized"),
            "{pair:?} {:?}: {told}",
            agent.library()
        );
    }
}

/// The brokers' own log: whoever was allowed anything of a pair's is whom the pair was to show, and each that tried
/// what is another's was denied it by that name.
fn assert_brokers_saw_whom_they_should(entrances: &[Entrance]) {
    let decisions = decisions();
    for pair in entrances.iter().map(|entrance| entrance.pair) {
        let (prefix, seen) = (pair.prefix(), pair.seen());
        let of_pair: Vec<&Decision> = decisions
            .iter()
            .filter(|decision| decision.is_allowed && decision.resource.starts_with(&prefix))
            .collect();
        for decision in &of_pair {
            assert_eq!(decision.principal, seen, "{pair:?}: {decision:?}");
        }
        for agent in agents(pair) {
            let topic = topic(pair, agent);
            for (kind, resource, operation) in [
                ("Topic", topic.clone(), "WRITE"),
                ("Topic", topic.clone(), "READ"),
                ("Group", format!("{topic}-group"), "READ"),
                ("TransactionalId", format!("{topic}-id"), "WRITE"),
            ] {
                let is_it = |decision: &&Decision| {
                    (decision.kind.as_str(), decision.operation.as_str()) == (kind, operation)
                        && decision.resource == resource
                };
                assert!(
                    of_pair.iter().copied().any(|decision| is_it(&decision)),
                    "{operation} of {resource}"
                );
            }
        }
        let foreign = topic(stranger(pair), RIG.java);
        let was_denied = |decision: &Decision| {
            !decision.is_allowed && decision.principal == seen && decision.resource == foreign
        };
        assert!(decisions.iter().any(was_denied), "{pair:?} on {foreign}");
    }
}

/// Quotas of some principals slow whoever brokers take for these, and nobody else.
fn assert_quotas_hold(entrances: &[Entrance]) {
    let is_slow = |pair: Pair| {
        pair.client == Client::Plain
            || [
                (Client::Broker, Upstream::Pass),
                (Client::Token, Upstream::ForwardToken),
            ]
            .contains(&(pair.client, pair.upstream))
    };
    let mut slow: Vec<String> = Pair::possible()
        .filter(|pair| is_slow(*pair))
        .map(Pair::seen)
        .collect();
    slow.sort();
    slow.dedup();
    for user in &slow {
        RIG.set_quota(user, BYTES_PER_SECOND);
    }
    each(entrances, |entrance| {
        let pair = entrance.pair;
        let topic = topic(pair, RIG.java);
        // In one request: a second one would wait for as long as the first is over the quota.
        let record = Record::new(&topic, "large", CANARY.repeat(RECORD_BYTES / CANARY.len())).partition(0);
        let throttled = RIG.java.produce_and_be_throttled(&entrance.options(), &[record]);
        assert_eq!(
            throttled > 0.0,
            slow.contains(&pair.seen()),
            "{pair:?}: {throttled} ms"
        );
    });
}

#[test]
fn brokers_see_whom_they_should_for_each_pair() {
    let Some((mut proxy, entrances)) = start() else {
        return skipped::there_is_no_proxy();
    };
    let names: Vec<String> = entrances
        .iter()
        .flat_map(|entrance| {
            agents(entrance.pair)
                .into_iter()
                .map(|agent| topic(entrance.pair, agent))
        })
        .collect();
    let topics: Vec<Topic<'_>> = names
        .iter()
        .map(|name| Topic {
            name,
            partitions: 2,
            replicas: 1,
            configs: &[],
        })
        .collect();
    RIG.create_all(&topics);
    each(&entrances, use_what_is_allowed);
    assert_brokers_saw_whom_they_should(&entrances);
    assert_quotas_hold(&entrances);
    for result in ["failed", "refused"] {
        let label = format!("result={result:?}");
        assert_eq!(
            proxy.metric("sealwire_broker_logins_total", &[&label]),
            0.0,
            "{result}"
        );
    }
    let readable = RIG.cluster.canary_in_data_dir(CANARY.as_bytes());
    assert!(readable.is_empty(), "readable at rest: {readable:?}");
    proxy.terminate();
}

/// They are refused before anything is listened on, in words that say why.
#[test]
fn the_configuration_refuses_pairs_that_make_no_sense() {
    let Some(keystore) = RIG.keystore.as_ref() else {
        return skipped::there_is_no_proxy();
    };
    let folder = TempDir::new().expect("a folder");
    let check = |pair: Pair| {
        let configuration = keystore.configuration("[runtime]\nexecutors = 1");
        let path = folder.path().join("sealwire.toml");
        fs::write(&path, Entrance::of(pair).add_to(configuration).text()).expect("written");
        let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        let said = program.arg("check-config").arg(path).output().expect("it runs");
        (
            said.status.success(),
            String::from_utf8_lossy(&said.stderr).into_owned(),
        )
    };
    for pair in Pair::all() {
        let (is_good, said) = check(pair);
        match pair.refusal() {
            None => assert!(is_good, "{pair:?}: {said}"),
            Some(words) => assert!(!is_good && said.contains(words), "{pair:?}: {said}"),
        }
    }
}

/// Two cores have room for the waits of so many.
const AT_A_TIME: usize = 6;
const BYTES_PER_SECOND: u32 = 15_000;
const RECORD_BYTES: usize = 400_000;
/// In every value: what must not be found at rest.
const CANARY: &str = "pairs-canary-0f4d";
