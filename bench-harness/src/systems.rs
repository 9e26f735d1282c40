//! Who takes part in a run: what lies between clients and broker, and the process whose use counts.
//!
//! Processes are started anew for each point, so that none carries over memory, caches or keys.

mod haproxy;
mod history;
mod peer;
mod sealwire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::history::sealed as sealed_history;
pub(crate) use self::peer::Peer;
pub(crate) use self::sealwire::start as start_sealwire;
use crate::Failure;
use crate::certificates::Certificates;
use crate::children::Child;
use crate::proxy::Proxy;
use crate::scenario::Point;

/// One that takes part.
pub(crate) struct System {
    pub(crate) name: String,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// None: nothing is there but the broker.
    pub(crate) process: Option<u32>,
    /// Of `sealwire`: how long it took from its start until it was ready.
    pub(crate) started_in: Option<Duration>,
    /// What topics' names begin with.
    pub(crate) prefix: &'static str,
    /// Whether the broker can read what went through; unknown of what is not ours.
    pub(crate) readable: Option<bool>,
    /// Whether it is `sealwire`, which says more of itself.
    pub(crate) is_sealwire: bool,
}

/// Those of one point, running.
pub(crate) struct Fleet {
    pub(crate) systems: Vec<System>,
    proxy: Option<Proxy>,
    relays: Vec<Child>,
}

/// What a run may be of, and whom it starts.
pub(crate) struct Choice {
    pub(crate) names: Vec<String>,
    pub(crate) peers: Vec<Peer>,
    /// The binary to measure.
    pub(crate) program: PathBuf,
}

/// Somebody who cannot take part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// A version of something that took part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) of: String,
    pub(crate) version: String,
}

/// Where the broker is, and where what lies in front of it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) broker_port: u16,
    /// The core of what lies between; none: all share all cores.
    pub(crate) relay_core: Option<usize>,
    /// Of relays that the broker has to know of.
    pub(crate) relays: Vec<Relay>,
    /// With them, clients and broker speak TLS.
    pub(crate) certificates: Option<Certificates>,
}

/// A relay whose port a broker advertises at a listener of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) system: &'static str,
    /// Where it has to listen.
    pub(crate) port: u16,
    /// Where it has to forward to.
    pub(crate) broker_port: u16,
}

impl Site {
    /// What lies between has a core to itself.
    pub(crate) fn pinned(broker_port: u16) -> Self {
        Self {
            broker_port,
            relay_core: Some(RELAY_CORE),
            relays: Vec::new(),
            certificates: None,
        }
    }

    /// Where the system of that name listens, if that is given, and where it finds the broker.
    fn ports(&self, system: &str) -> (Option<u16>, u16) {
        let relay = self.relays.iter().find(|relay| relay.system == system);
        relay.map_or((None, self.broker_port), |relay| {
            (Some(relay.port), relay.broker_port)
        })
    }
}

/// What names of systems may be, besides those of peers.
pub(crate) const NAMES: [&str; 6] = [DIRECT, HAPROXY_16K, HAPROXY_64K, PASSING, UNCOMPACTED, SEALWIRE];
pub(crate) const HAPROXY_16K: &str = "haproxy-16k";
pub(crate) const HAPROXY_64K: &str = "haproxy-64k";
const DIRECT: &str = "direct";
/// In a scenario that seals or opens: the same process, with topics that it lets pass.
const PASSING: &str = "sealwire-pass";
/// Where a scenario with real clients seals or opens: the same process, with topics that are stored record by record.
pub(crate) const UNCOMPACTED: &str = "sealwire-none";
const SEALWIRE: &str = "sealwire";

impl Choice {
    /// Leaves out, and says, what cannot be had here. A name that nobody has is an error.
    pub(crate) fn available(
        names: &[String],
        peers: &[Peer],
    ) -> Result<(Vec<String>, Vec<Skipped>), Failure> {
        let (mut available, mut skipped) = (Vec::new(), Vec::new());
        for name in names {
            Self::known(name, peers)?;
            match haproxy::buffer_bytes(name).and_then(|_| haproxy::unavailable()) {
                Some(why) => skipped.push(Skipped {
                    what: name.clone(),
                    why,
                }),
                None => available.push(name.clone()),
            }
        }
        Ok((available, skipped))
    }

    /// An error if nobody has that name.
    pub(crate) fn known(name: &str, peers: &[Peer]) -> Result<(), Failure> {
        match NAMES.contains(&name) || peers.iter().any(|peer| peer.name == *name) {
            true => Ok(()),
            false => Err(format!("no system {name}: {}, or the name of a --peer", NAMES.join(", ")).into()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|chosen| chosen == name)
    }

    /// Versions of what takes part; `built`: the commit that the program was built from, if the harness has built it.
    pub(crate) fn versions(&self, built: Option<&str>) -> Vec<Version> {
        let version = |of: &str, version: Option<String>| Version {
            of: of.to_owned(),
            version: version.unwrap_or_else(|| "unknown".to_owned()),
        };
        let mut versions = Vec::new();
        if [SEALWIRE, PASSING, UNCOMPACTED].iter().any(|name| self.has(name)) {
            versions.push(version(SEALWIRE, sealwire::version(&self.program, built)));
        }
        if self
            .names
            .iter()
            .any(|name| haproxy::buffer_bytes(name).is_some())
        {
            versions.push(version("haproxy", haproxy::version()));
        }
        versions
    }
}

impl Fleet {
    /// Starts those of `choice` in front of the broker of `site`, which answers in `meanwhile`.
    pub(crate) fn start(
        choice: &Choice,
        point: &Point,
        directory: &Path,
        site: &Site,
        meanwhile: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut fleet = Self {
            systems: Vec::new(),
            proxy: None,
            relays: Vec::new(),
        };
        // One more to see whether it listens.
        let connections = point.connections + point.idle_connections + 8;
        let plain = [PASSED_PREFIX, SEALED_PREFIX][usize::from(point.is_sealed())];
        for name in &choice.names {
            let mut system = System {
                name: name.clone(),
                address: crate::load::local(site.broker_port),
                process: None,
                started_in: None,
                prefix: PASSED_PREFIX,
                readable: Some(true),
                is_sealwire: false,
            };
            if let Some(bytes) = haproxy::buffer_bytes(name) {
                let (relay, port) = haproxy::start(directory, name, bytes, connections, site)?;
                system.address = crate::load::local(port);
                system.process = Some(relay.id());
                fleet.relays.push(relay);
            } else if [SEALWIRE, PASSING, UNCOMPACTED].contains(&name.as_str()) {
                if fleet.proxy.is_none() {
                    let started = start_sealwire(Some(&choice.program), point, directory, site, meanwhile)?;
                    fleet.proxy = Some(started);
                }
                let proxy = fleet.proxy.as_ref().ok_or("the proxy was not started")?;
                system.address = crate::load::local(proxy.port);
                system.process = Some(proxy.child.id());
                system.is_sealwire = true;
                system.started_in = Some(proxy.started_in);
                if name != PASSING {
                    system.prefix = plain;
                    system.readable = Some(!point.is_sealed());
                }
                if name == UNCOMPACTED && point.is_sealed() {
                    system.prefix = UNCOMPACTED_PREFIX;
                }
            } else if let Some(peer) = choice.peers.iter().find(|peer| peer.name == *name) {
                system.address = peer.address;
                system.process = peer.process;
                system.prefix = plain;
                system.readable = None;
            }
            fleet.systems.push(system);
        }
        Ok(fleet)
    }

    /// Calls to a KMS of the proxy so far, if there is one.
    pub(crate) fn kms_calls(&self) -> Option<u64> {
        sealwire::kms_calls(&self.proxy.as_ref()?.ask("/metrics").ok()?)
    }

    /// `failure`, and what the proxy's log says.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match &self.proxy {
            Some(proxy) => proxy.explain(&failure),
            None => failure,
        }
    }

    /// Stops all that were started.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        drop(self.relays);
        self.proxy.map_or(Ok(()), |mut proxy| proxy.stop())
    }
}

/// Topics that a rule lets pass.
pub(crate) const PASSED_PREFIX: &str = "public-";
/// Topics that a rule seals.
pub(crate) const SEALED_PREFIX: &str = "sealed-";
/// Topics that a rule seals and stores record by record.
const UNCOMPACTED_PREFIX: &str = "uncompacted-";
/// The core of whatever lies between.
const RELAY_CORE: usize = 0;
/// The core of clients and broker.
pub(crate) const LOAD_CORE: usize = 1;
