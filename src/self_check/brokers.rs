//! Whether brokers are there, which ids they have, and where they say that they are. Blocks.
//!
//! One line for each broker to ask first, one for the ids, one for the addresses, one for the limits of topics. Where brokers want
//! a login, nothing but their being there can be found out.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use super::{Row, Verdict, left, some_of, topics};
use crate::config::{ClusterConfig, Config, OwnPorts};
use crate::kafka_client::{Client, ClientError, Cluster, Patience};
use crate::rules::RuleAction;

pub(super) fn look(config: &Config, cluster: &ClusterConfig, deadline: Instant) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut answering = None;
    for broker in &cluster.bootstrap {
        let address = broker.to_string();
        let greeted = Client::connect(&address, patience(deadline)).and_then(|mut client| {
            let is_proxy = client.is_proxy()?;
            Ok((client, is_proxy))
        });
        let subject = format!("{} {address}", cluster.name);
        rows.push(match greeted {
            Ok((_, true)) => Row::new(
                subject,
                Verdict::Warning,
                "a Sealwire answers, and no broker: records would be sealed twice",
            ),
            Ok((client, false)) => {
                answering.get_or_insert(client);
                Row::new(subject, Verdict::Good, "a broker answers")
            }
            Err(error) => Row::new(subject, Verdict::Warning, why_not(error)),
        });
    }
    let Some(mut client) = answering else {
        for row in &mut rows {
            row.verdict = Verdict::Failed;
        }
        return rows;
    };
    let seals = |rule: &crate::rules::Rule| matches!(rule.action, RuleAction::Seal(_));
    let is_sealing = cluster.rules.rules().iter().any(seals);
    match client.cluster(is_sealing) {
        Ok(found) => {
            rows.push(ids(cluster, &found));
            rows.push(addresses(config, cluster, &found, deadline));
            if is_sealing {
                rows.push(topics::look(cluster, &found, &mut client, deadline));
            }
        }
        Err(ClientError::Broker { .. }) => rows.push(Row::new(
            format!("{} cluster", cluster.name),
            Verdict::Unknown,
            "brokers want a login: their ids, their addresses and the limits of topics cannot be asked without one",
        )),
        Err(error) => {
            rows.push(Row::new(format!("{} cluster", cluster.name), Verdict::Unknown, error.to_string()));
        }
    }
    rows
}

fn patience(deadline: Instant) -> Patience {
    // A time-out of zero would be none at all.
    let wait = |most| left(deadline, most).max(Duration::from_millis(1));
    Patience {
        connect: wait(CONNECT_MAX),
        answer: wait(ANSWER_MAX),
        answer_bytes_max: ANSWER_BYTES_MAX,
    }
}

fn why_not(error: ClientError) -> String {
    match error {
        ClientError::Broker { source, .. } if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it closes the connection: is this a Kafka listener without TLS?".to_owned()
        }
        ClientError::Broker { source, .. } => source.to_string(),
        ClientError::Answer { source, .. } => format!("its answer cannot be read: {source}"),
        error @ ClientError::Refused { .. } => error.to_string(),
    }
}

/// Each listener has to serve every broker, or its clients do not see them all.
fn ids(cluster: &ClusterConfig, found: &Cluster) -> Row {
    let subject = format!("{} broker ids", cluster.name);
    let known: BTreeSet<i32> = found.brokers.iter().map(|(id, ..)| *id).collect();
    let list = |ids: &BTreeSet<i32>| some_of(&ids.iter().map(i32::to_string).collect::<Vec<_>>());
    let mut missing = Vec::new();
    for listener in &cluster.listeners {
        let served: BTreeSet<i32> = listener.nodes.iter().copied().collect();
        let hidden: BTreeSet<i32> = known.difference(&served).copied().collect();
        if !hidden.is_empty() {
            missing.push(format!(
                "nodes of listener {} lacks {}",
                listener.name,
                list(&hidden)
            ));
        }
    }
    if missing.is_empty() {
        return Row::new(
            subject,
            Verdict::Good,
            format!("{}, and every listener serves them", list(&known)),
        );
    }
    let finding = format!(
        "the cluster has {}; {}: clients do not see these brokers; add each id to nodes and a port to node_ports",
        list(&known),
        missing.join("; ")
    );
    Row::new(subject, Verdict::Failed, finding)
}

/// What brokers tell clients is where the proxy connects to.
fn addresses(config: &Config, cluster: &ClusterConfig, found: &Cluster, deadline: Instant) -> Row {
    let subject = format!("{} broker addresses", cluster.name);
    let own = OwnPorts::of(config);
    let mut wrong = Vec::new();
    let mut unasked = 0_usize;
    for (id, host, port) in &found.brokers {
        if Instant::now() >= deadline {
            unasked += 1;
        } else if let Err(reason) = reach(host, *port, &own, deadline) {
            wrong.push(format!("{id} at {host}:{port}: {reason}"));
        }
    }
    if !wrong.is_empty() {
        let finding = format!(
            "not every broker can be reached where it says that it is: {}; look at advertised.listeners and at the names' resolution",
            some_of(&wrong)
        );
        return Row::new(subject, Verdict::Failed, finding);
    }
    if unasked > 0 {
        return Row::new(
            subject,
            Verdict::Unknown,
            format!("{unasked} brokers were not asked in time"),
        );
    }
    Row::new(subject, Verdict::Good, "each resolves and can be connected to")
}

fn reach(host: &str, port: i32, own: &OwnPorts, deadline: Instant) -> Result<(), String> {
    let port = u16::try_from(port).map_err(|_| "no port".to_owned())?;
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let found: Vec<SocketAddr> = found.collect();
    if found.iter().any(|address| own.include(*address)) {
        return Err("a port of this proxy".to_owned());
    }
    let mut last = "it has no address".to_owned();
    for address in found {
        let wait = left(deadline, CONNECT_MAX).max(Duration::from_millis(1));
        match std::net::TcpStream::connect_timeout(&address, wait) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

const CONNECT_MAX: Duration = Duration::from_secs(3);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// As much as the proxy takes of a Metadata response from anybody.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
