//! Who is told what of topics, over a broker that is not there.

use std::path::Path;

use super::*;
use crate::channel::{Receiver, channel};
use crate::testing::configuration::{Cluster as ClusterText, Configuration};

/// A cluster whose broker refuses every connection, with rules for `sealed-*`.
fn looks() -> (TopicLooks, ClusterId) {
    let rules = "[[cluster.main.topics]]\nmatch = \"sealed-*\"\nkms = \"local\"\nkek = \"any\"\n";
    let text = Configuration::default()
        .keystore("local", Path::new("keystore.json"), Path::new("master.key"))
        .cluster(&ClusterText {
            brokers: vec!["127.0.0.1:1".to_owned()],
            ..ClusterText::ruled(rules)
        })
        .text();
    let config = Config::from_toml_text(&text, Path::new("sealwire.toml")).expect("a configuration");
    (TopicLooks::of(&config), config.clusters[0].id)
}

fn executors() -> (Vec<Sender<ExecutorMessage>>, Vec<Receiver<ExecutorMessage>>) {
    (0..2).map(|_| channel(4)).unzip()
}

/// The next of what an executor is told.
async fn told(executor: &mut Receiver<ExecutorMessage>) -> TopicLook {
    match executor.recv().await {
        ExecutorMessage::TopicLook(_, topic, look) if &*topic == "sealed-a" => look,
        _ => panic!("nothing else is said"),
    }
}

/// TOPIC-LOOK-1, TOPIC-LOOK-2
#[tokio::test]
async fn whoever_asks_a_topic_is_looked_at_once_and_what_nobody_knows_stops_nobody() {
    let ((mut looks, cluster), (executors, mut told_to)) = (looks(), executors());
    let topic = || Arc::<str>::from("sealed-a");
    for _ in 0..3 {
        looks.ask(&executors, cluster, topic());
    }
    // Of a topic that no rule seals nothing is asked.
    looks.ask(&executors, cluster, "other".into());
    let ended = looks.ended().await.expect("an end");
    assert!(matches!(ended.fit, KeysFit::Unknown(_)), "{:?}", ended.fit);
    looks.take(&executors, ended);
    assert!(looks.ended.try_recv().is_err(), "nobody else has looked");
    for executor in &mut told_to {
        assert_eq!(told(executor).await, TopicLook::Good);
    }
    // For a while that is the answer.
    looks.ask(&executors, cluster, topic());
    assert_eq!(told(&mut told_to[0]).await, TopicLook::Good);
    let fit = KeysFit::No("its keys are clear".to_owned());
    looks.take(
        &executors,
        Ended {
            cluster,
            topic: topic(),
            fit,
        },
    );
    looks.ask(&executors, cluster, topic());
    for _ in 0..2 {
        let unfit = TopicLook::Unfit("its keys are clear".into());
        assert_eq!(told(&mut told_to[0]).await, unfit);
    }
}
