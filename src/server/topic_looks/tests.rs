//! Who is told what of topics, over a broker that is not there.

use std::path::Path;

use super::*;
use crate::channel::{Receiver, channel};
use crate::envelope::StableKeyId;
use crate::ids::Id as _;
use crate::repeats::KEPT;
use crate::testing::configuration::{Cluster as ClusterText, Configuration};

/// A cluster whose broker refuses every connection, with rules for `sealed-*`.
fn looks() -> (TopicLooks, ClusterId) {
    let rules = "[[cluster.main.topics]]\nmatch = \"sealed-*\"\nkms = \"local\"\nkek = \"any\"\n\
                 [[cluster.main.topics]]\nmatch = \"keys-*\"\nkms = \"local\"\nkek = \"any\"\nkey = \"stable\"\n";
    let text = Configuration::default()
        .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
        .cluster(&ClusterText {
            brokers: vec!["127.0.0.1:1".to_owned()],
            ..ClusterText::ruled(rules)
        })
        .text()
        + "\n[keyring]\npath = \"keyring.json\"\n";
    let config = Config::from_toml_text(&text, Path::new("sealwire.toml")).expect("a configuration");
    (TopicLooks::of(&config), config.clusters[0].id)
}

fn executors() -> (Vec<Sender<ExecutorMessage>>, Vec<Receiver<ExecutorMessage>>) {
    (0..2).map(|_| channel(4)).unzip()
}

/// The next of what an executor is told.
async fn told(executor: &mut Receiver<ExecutorMessage>) -> TopicLook {
    match executor.recv().await {
        ExecutorMessage::TopicLook(subject, look) if &*subject.topic == "sealed-a" => look,
        _ => panic!("nothing else is said"),
    }
}

fn subject(cluster: ClusterId, topic: &str) -> LookSubject {
    LookSubject {
        cluster,
        topic: topic.into(),
        stable_key: None,
    }
}

/// TOPIC-LOOK-1, TOPIC-LOOK-2
#[tokio::test]
async fn whoever_asks_a_topic_is_looked_at_once_and_what_nobody_knows_stops_nobody() {
    let ((mut looks, cluster), (executors, mut told_to)) = (looks(), executors());
    let topic = || subject(cluster, "sealed-a");
    for _ in 0..3 {
        looks.ask(&executors, topic());
    }
    // Of a topic that no rule seals nothing is asked.
    looks.ask(&executors, subject(cluster, "other"));
    let ended = looks.ended().await.expect("an end");
    assert!(matches!(ended.fit, KeysFit::Unknown(_)), "{:?}", ended.fit);
    looks.take(&executors, ended);
    assert!(looks.ended.try_recv().is_err(), "nobody else has looked");
    for executor in &mut told_to {
        assert_eq!(told(executor).await, TopicLook::Unknown);
    }
    // For a while that is the answer.
    looks.ask(&executors, topic());
    assert_eq!(told(&mut told_to[0]).await, TopicLook::Unknown);
    let fit = KeysFit::No("its keys are clear".to_owned());
    looks.take(
        &executors,
        Ended {
            subject: topic(),
            fit,
        },
    );
    looks.ask(&executors, topic());
    for _ in 0..2 {
        let unfit = TopicLook::Unfit("its keys are clear".into());
        assert_eq!(told(&mut told_to[0]).await, unfit);
    }
}

/// TOPIC-LOOK-1
#[tokio::test]
async fn what_was_found_is_looked_at_anew_after_a_while_and_for_another_stable_key_at_once() {
    let ((mut looks, cluster), (executors, _told_to)) = (looks(), executors());
    let subject = || subject(cluster, "sealed-a");
    let is_looked_at = |looks: &mut TopicLooks, subject: LookSubject| {
        looks.ask(&executors, subject.clone());
        looks
            .looks
            .get(&subject)
            .is_some_and(|looked| looked.is_under_way)
    };
    let other = LookSubject {
        stable_key: Some(StableKeyId::of_wrapped(b"another")),
        ..subject()
    };
    for (fit, memory) in [
        (KeysFit::No("its keys are clear".to_owned()), 30),
        (KeysFit::Unknown("no answer".to_owned()), 30),
        (KeysFit::Yes, 300),
    ] {
        let ended = Ended {
            subject: subject(),
            fit,
        };
        looks.take(&executors, ended);
        assert!(!is_looked_at(&mut looks, subject()));
        let looked = looks.looks.get_mut(&subject()).expect("it was looked at");
        let (_, until) = looked.found.as_mut().expect("something was found");
        let left = until
            .saturating_duration_since(clocks::now())
            .as_secs_f64()
            .ceil();
        assert_eq!(left, f64::from(memory));
        *until = clocks::now();
        assert!(is_looked_at(&mut looks, subject()));
    }
    assert!(is_looked_at(&mut looks, other));
}

/// TOPIC-LOOK-1
#[tokio::test]
async fn a_cluster_that_does_not_answer_keeps_no_other_waiting() {
    let ((mut looks, cluster), (executors, _told_to)) = (looks(), executors());
    let of = |looks: &TopicLooks| {
        let cluster = looks.clusters.get(cluster).expect("it is configured");
        (Arc::clone(&cluster.config), Arc::clone(&cluster.places))
    };
    let (config, places) = of(&looks);
    let other = ClusterId::from_number(1);
    let places_of_other = Arc::new(Semaphore::new(AT_A_TIME));
    looks.clusters.insert(
        other,
        Cluster {
            config,
            places: places_of_other,
        },
    );
    let _all = places.acquire_many(AT_A_TIME as u32).await.expect("places");
    looks.ask(&executors, subject(cluster, "sealed-a"));
    looks.ask(&executors, subject(other, "sealed-a"));
    let ended = looks.ended().await.expect("an end");
    assert_eq!(ended.subject.cluster, other);
    assert!(looks.ended.try_recv().is_err(), "the first one waits for its own");
}

/// TOPIC-LOOK-4
#[tokio::test]
async fn that_a_topic_has_no_stable_key_is_said_once_a_minute() {
    let ((mut looks, cluster), (executors, _told_to)) = (looks(), executors());
    looks.ask(&executors, subject(cluster, "sealed-a"));
    looks.ask(&executors, subject(cluster, "keys-a"));
    let later = clocks::now() + KEPT;
    let mut is_said = |topic, now| {
        let subject = subject(cluster, topic);
        let rule = looks.rule_of(&subject).expect("a rule");
        looks.log_unpinned("main", &rule, &subject, now)
    };
    assert!(!is_said("keys-a", clocks::now()), "it was asked for");
    assert!(is_said("keys-a", later));
    assert!(
        is_said("sealed-a", clocks::now()),
        "it needs none, and nothing was said of it"
    );
}
