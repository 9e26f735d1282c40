//! Whether brokers are there, which ids they have, and where they say that they are. Blocks.
//!
//! One line for each broker to ask first, or to ask for tokens, one for the ids, one for the addresses, one for the
//! limits of topics, one for their stable keys; one for the login where the proxy has an account of its own there.
//! Where brokers want a login, and there is none, nothing but their being there can be found out.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant, SystemTime};

use super::own_account::{OwnLogin, log_in, own_account};
use super::patience::{CONNECT_MAX, patience};
use super::{Row, Verdict, keyring, left, some_of, stored_keys, topics};
use crate::config::{ClusterConfig, Config, HostPort, OwnPorts, UpstreamLogin};
use crate::kafka_client::{BrokerClient, ClientError, FoundCluster};
use crate::keyring::read_file;
use crate::messages::CameBack;
use crate::transport::tls_client::ClientSet;

/// Tells each row as it is found.
pub(super) fn look(
    config: &Config,
    cluster: &ClusterConfig,
    deadline: Instant,
    came_back: Option<&CameBack>,
    tell: &mut dyn FnMut(Row),
) {
    let account = own_account(cluster, deadline, tell);
    let loaded = cluster
        .upstream_tls
        .as_ref()
        .map(|tls| tls.load(SystemTime::now()));
    let tls = match loaded.transpose() {
        Ok(tls) => tls,
        Err(error) => {
            let subject = format!("{} TLS", cluster.name);
            return tell(Row::new(subject, Verdict::Failed, error.to_string()));
        }
    };
    let greeting = Greeting {
        cluster: &cluster.name,
        tls: tls.as_ref(),
        came_back,
    };
    let makes_elsewhere = look_at_makers(cluster, &greeting, &account, deadline, tell);
    let Some(mut client) = greeting.greet(&cluster.bootstrap, deadline, tell) else {
        return;
    };
    client.wait_until(deadline);
    // An account that makes tokens elsewhere need not be good here.
    if !makes_elsewhere && !log_in(cluster, &account, &mut client, tell) {
        return;
    }
    let is_sealing = cluster.seal_rules().next().is_some();
    match client.cluster(is_sealing) {
        Ok(found) => {
            tell(ids(cluster, &found));
            tell(addresses(config, cluster, &found, deadline));
            if is_sealing {
                topics::look(cluster, &found, &mut client, deadline, tell);
                record_keys(config, cluster, &found, &mut client, deadline, tell);
            }
        }
        Err(error) if error.is_end() => tell(Row::new(
            format!("{} cluster", cluster.name),
            Verdict::Unknown,
            match &cluster.upstream_login {
                Some(UpstreamLogin::PerPrincipal { .. }) => {
                    "brokers want a login, and the proxy has accounts for its clients alone: their ids, their \
                     addresses and the limits of topics cannot be asked"
                }
                _ => {
                    "brokers want a login: their ids, their addresses and the limits of topics cannot be asked \
                     without one"
                }
            },
        )),
        Err(error) => {
            let is_late =
                matches!(&error, ClientError::Broker { source, .. } if source.kind() == ErrorKind::TimedOut);
            let verdict = if is_late {
                Verdict::Failed
            } else {
                Verdict::Unknown
            };
            tell(Row::new(
                format!("{} cluster", cluster.name),
                verdict,
                error.to_string(),
            ));
        }
    }
}

/// What the keyring says of the topics that there are, and whether their logs go together with that.
fn record_keys(
    config: &Config,
    cluster: &ClusterConfig,
    found: &FoundCluster,
    client: &mut BrokerClient,
    deadline: Instant,
    tell: &mut dyn FnMut(Row),
) {
    let Some(path) = &config.keyring else { return };
    match read_file(path) {
        Ok((keyring, _)) => {
            keyring::look_at_topics(config, &keyring, cluster, found)
                .into_iter()
                .for_each(&mut *tell);
            stored_keys::look(cluster, &keyring, found, client, deadline, tell);
        }
        Err(error) => {
            let subject = format!("{} record keys", cluster.name);
            tell(Row::new(subject, Verdict::Unknown, error.to_string()));
        }
    }
}

/// Whether tokens are made elsewhere than where clients are served; what is said there.
fn look_at_makers(
    cluster: &ClusterConfig,
    greeting: &Greeting<'_>,
    account: &OwnLogin,
    deadline: Instant,
    tell: &mut dyn FnMut(Row),
) -> bool {
    let makers = cluster.upstream_login.as_ref();
    let makers = makers.map_or(&[][..], UpstreamLogin::made_at);
    if makers.is_empty() {
        return false;
    }
    // What is asked of the others needs no less.
    let until = share(deadline, 1);
    if let Some(mut maker) = greeting.greet(makers, until, tell) {
        maker.wait_until(until);
        log_in(cluster, account, &mut maker, tell);
    }
    true
}

/// How brokers of a cluster are asked whether they are there.
struct Greeting<'a> {
    cluster: &'a str,
    tls: Option<&'a ClientSet>,
    came_back: Option<&'a CameBack>,
}

impl Greeting<'_> {
    /// The first of them that is there.
    fn greet(
        &self,
        brokers: &[HostPort],
        deadline: Instant,
        tell: &mut dyn FnMut(Row),
    ) -> Option<BrokerClient> {
        let Self {
            cluster,
            tls,
            came_back,
        } = *self;
        let mut rows = Vec::new();
        let mut answering = None;
        for (place, broker) in brokers.iter().enumerate() {
            let address = broker.to_string();
            let before = came_back.map(CameBack::count);
            let until = share(deadline, brokers.len().saturating_sub(place));
            let greeted = BrokerClient::connect(&address, tls, patience(until)).and_then(|mut client| {
                client.wait_until(until);
                let is_proxy = client.is_proxy()?;
                Ok((client, is_proxy))
            });
            let subject = format!("{cluster} {address}");
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
                Err(error) => {
                    let way = match came_back.map(CameBack::count) {
                        None => LeadsTo::Unknown,
                        now if now != before => LeadsTo::Back,
                        Some(_) => LeadsTo::Elsewhere,
                    };
                    Row::new(subject, Verdict::Warning, why_not(error, way, tls.is_some()))
                }
            });
        }
        if answering.is_none() {
            for row in &mut rows {
                row.verdict = Verdict::Failed;
            }
        }
        rows.into_iter().for_each(&mut *tell);
        answering
    }
}

/// When to go on with the next of `count` brokers: one part of the time for each, and one for what is asked then.
fn share(deadline: Instant, count: usize) -> Instant {
    let parts = u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    let whole = deadline.saturating_duration_since(Instant::now());
    Instant::now() + whole.checked_div(parts).unwrap_or_default()
}

/// Where an address leads whose broker gave no answer.
#[derive(Clone, Copy)]
enum LeadsTo {
    /// To this program.
    Back,
    /// To somebody else.
    Elsewhere,
    /// Only a program that serves clients can know.
    Unknown,
}

fn why_not(error: ClientError, way: LeadsTo, speaks_tls: bool) -> String {
    let listener = if speaks_tls {
        "a Kafka listener"
    } else {
        "a Kafka listener without TLS"
    };
    match error {
        error if error.is_end() => match way {
            LeadsTo::Back => {
                "it leads back to this proxy, by way of a port forward, a load balancer or another proxy: correct \
                 bootstrap"
                    .to_owned()
            }
            LeadsTo::Elsewhere => format!("it closes the connection: is this {listener}?"),
            LeadsTo::Unknown => format!(
                "it closes the connection: is this {listener}? Or does it lead back to the proxy itself, by way of a \
                 port forward, a load balancer or another proxy?"
            ),
        },
        ClientError::Broker { source, .. } => source.to_string(),
        ClientError::Answer { source, .. } => format!("its answer cannot be read: {source}"),
        error @ (ClientError::Refused { .. } | ClientError::Login { .. }) => error.to_string(),
    }
}

/// Each listener has to serve every broker, or its clients do not see them all.
fn ids(cluster: &ClusterConfig, found: &FoundCluster) -> Row {
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
fn addresses(config: &Config, cluster: &ClusterConfig, found: &FoundCluster, deadline: Instant) -> Row {
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
            "not every broker can be reached where it says that it is: {}; look at advertised.listeners and at the \
             names' resolution",
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
