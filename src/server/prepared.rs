//! The program before it serves: memory for keys, KMSs, addresses and ports, which is all that can fail for a reason
//! that an operator can mend; and from there to its end.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::acceptor::{self, Acceptor};
use super::access_files::{AccessFiles, AccessFollowed, Read};
use super::broker_tokens::BrokerTokens;
use super::control::{Control, ControlLinks, Ending, Followed};
use super::delegation_tokens::DelegationTokens;
use super::key_sets::KeySets;
use super::stable_keys::StableKeysFile;
use super::start::{Capacities, Start, new_identity};
use super::state_file::ClusterAddresses;
use super::threads::executor_cpus;
use super::tls_files::{TlsFiles, TlsFollowed};
use super::topic_looks::TopicLooks;
use super::{ServerError, log_start, protect_keys};
use crate::admin::ProcessFacts;
use crate::audit::{AuditLog, AuditState};
use crate::channel::channel;
use crate::clocks;
use crate::config::{Config, OwnPorts};
use crate::crypto::wipe_on_this_thread;
use crate::ids::KmsId;
use crate::keyring;
use crate::keys::{CallBudget, KeyOptions, KeyService, NamedKms};
use crate::kms::Kms;
use crate::messages::{CameBack, TlsNews};
use crate::ring;
use crate::self_check::{self, descriptors::Descriptors};

/// Everything that can fail is done; nothing is served yet.
pub(super) struct Prepared {
    config: Config,
    kms: Vec<NamedKms>,
    acceptor: Acceptor,
    addresses: Vec<ClusterAddresses>,
    tls: (TlsFiles, Vec<TlsNews>),
    logins: (AccessFiles, Read),
    tokens: DelegationTokens,
    broker_tokens: BrokerTokens,
    admin: Option<std::net::TcpListener>,
    audit: AuditLog,
    facts: ProcessFacts,
    cpus: Vec<usize>,
}

impl Prepared {
    /// Each KMS is wrapped by `layer`.
    pub(super) fn from_config(
        config: Config,
        layer: impl Fn(Arc<dyn Kms>) -> Arc<dyn Kms>,
    ) -> Result<Self, ServerError> {
        ring::preflight()?;
        let cpus = executor_cpus(config.runtime.executors);
        let stable_keys = match &config.keyring {
            // One that is being asked for beside each.
            Some(path) => keyring::read_file(path)?.0.keys().len().saturating_mul(2),
            None => 0,
        };
        let keys = key_options(&config).locked_keys(config.kms.len(), cpus.len());
        let protection = protect_keys(keys.saturating_add(stable_keys.min(STABLE_KEYS_LOCKED_MAX)));
        let kms = open_kms(&config, layer)?;
        let public: Vec<KmsId> = kms
            .iter()
            .filter(|named| named.kms.wraps_publicly())
            .map(|named| named.id)
            .collect();
        if let Some(forgeable) = config
            .forgeable_keks(|id| public.contains(&id))
            .into_iter()
            .next()
        {
            return Err(forgeable.into());
        }
        let tls = TlsFollowed::read(&config)?;
        let logins = AccessFollowed::read(&config)?;
        let tokens = DelegationTokens::of(&config)?;
        let broker_tokens = BrokerTokens::of(&config)?;
        let addresses = config.clusters.iter().map(ClusterAddresses::read).collect();
        let acceptor = Acceptor::bind(&config)?;
        let admin = config
            .admin
            .as_ref()
            .map(|admin| acceptor::listen(admin.listen))
            .transpose()?;
        let audit = AuditLog::open(config.audit.as_ref()).map_err(ServerError::Audit)?;
        Ok(Self {
            audit,
            kms,
            acceptor,
            addresses,
            tls,
            logins,
            tokens,
            broker_tokens,
            admin,
            facts: ProcessFacts {
                started: SystemTime::now(),
                keys_locked: protection.locked,
                keys_excluded_from_dumps: protection.excluded_from_dumps,
            },
            cpus,
            config,
        })
    }

    /// Starts the threads and is the control thread until told to stop.
    pub(super) fn run(self, stopped: oneshot::Receiver<()>, signals: bool) -> Result<(), ServerError> {
        let runtime = runtime().map_err(ServerError::Control)?;
        let stable_keys = runtime.block_on(StableKeysFile::of(&self.config, &self.kms))?;
        let options = key_options(&self.config);
        let came_back = Arc::<CameBack>::default();
        let (control, requests) = channel(CONTROL_CAPACITY);
        let (key_service, key_requests) = channel(Capacities::DEFAULT.keys);
        let start = Start {
            config: &self.config,
            options: &options,
            addresses: &self.addresses,
            tls: &self.tls.1,
            logins: &self.logins.1,
            came_back: &came_back,
            audit: &self.audit.state(),
            stable_keys: stable_keys.as_ref().map(StableKeysFile::keys),
            control,
            key_service,
            identity: new_identity()?,
            capacities: Capacities::DEFAULT,
            executor_count: self.cpus.len(),
        };
        let (threads, ways) = start.executors(&self.cpus, &runtime)?;
        let kms_list: Arc<[Arc<dyn Kms>]> = self.kms.iter().map(|named| Arc::clone(&named.kms)).collect();
        let mut key_service = KeyService::new(self.kms, key_requests, ways.key_replies, &options);
        // Rings and ports are there by now.
        let descriptors = Descriptors::raise();
        let connections_max = descriptors.connections(self.config.limits.connections_max);
        let acceptor = self.acceptor.start(ways.accepted, connections_max);
        let acceptor = acceptor.map_err(ServerError::Control)?;
        log_start(&self.config, self.cpus.len(), &self.facts, stable_keys.as_ref());
        if self.config.runtime.self_check {
            let running = self_check::RunningFacts {
                descriptors,
                came_back,
            };
            key_service.look_for(self_check::one_of_each_kms(&self.config));
            runtime.spawn(self_check::log(self.config.clone(), kms_list, running));
        }
        let audit_state = self.audit.state();
        let audit = told_rules(self.audit, &self.config);
        let links = ControlLinks {
            connections: (connections_max, self.config.limits.connections_max),
            requests,
            executors: ways.messages,
            executors_ended: ways.ended,
            addresses: self.addresses,
            kms_names: self.config.kms.iter().map(|kms| kms.name.clone()).collect(),
            ids: self.config.ids.clone(),
            audit,
        };
        let ending = Ending {
            stopped,
            signals,
            stop_accepting: || acceptor.stop(),
            drain_timeout: self.config.limits.drain_timeout,
        };
        let control = Control::new(links, OwnPorts::of(&self.config));
        let followed = Followed {
            tls: self.tls.0,
            logins: self.logins.0,
            key_sets: KeySets::of(&self.config),
            tokens: self.tokens,
            broker_tokens: self.broker_tokens,
            stable_keys,
            topic_looks: TopicLooks::of(&self.config),
        };
        runtime.block_on(control.run(key_service, followed, self.admin, self.facts, ending));
        // What still waits for a disk or a resolver is not waited for.
        runtime.shutdown_background();
        let ended = threads.stop();
        log_lost(&audit_state);
        ended
    }
}

fn open_kms(
    config: &Config,
    layer: impl Fn(Arc<dyn Kms>) -> Arc<dyn Kms>,
) -> Result<Vec<NamedKms>, ServerError> {
    let opened = config.kms.iter().map(|kms| {
        let opened = kms.kind.open().map_err(|source| ServerError::Keystore {
            name: kms.name.clone(),
            source,
        })?;
        Ok(NamedKms {
            id: kms.id,
            name: kms.name.clone(),
            kms: layer(opened),
            budget: CallBudget {
                calls_max: kms.calls_max,
                per_second_max: kms.calls_per_second_max,
            },
        })
    });
    opened.collect()
}

fn told_rules(mut audit: AuditLog, config: &Config) -> AuditLog {
    for cluster in &config.clusters {
        audit.tell_rules(&cluster.name, cluster.rules.rules().len(), None, clocks::now());
    }
    audit
}

/// AUDIT-7, once executors have said what they had left.
fn log_lost(audit: &AuditState) {
    let lost = audit.lost();
    if lost > 0 {
        tracing::error!(
            lost,
            "the program ends, and so many events of the audit log could not be written"
        );
    }
}

fn key_options(config: &Config) -> KeyOptions {
    let mut seed = [0; 8];
    // Without it proxies that are started together ask together.
    let _ = getrandom::fill(&mut seed);
    KeyOptions {
        spread_seed: u64::from_ne_bytes(seed),
        ..KeyOptions::bounded(&config.limits)
    }
}

/// Look-ups, addresses and audit lines of all executors that wait for the control thread.
const CONTROL_CAPACITY: usize = 4096;

/// Places in locked memory for keys of the keyring; more lie on the heap.
const STABLE_KEYS_LOCKED_MAX: usize = 4096;

/// The control thread's; threads beside it read files of passwords and tokens.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread()
        .on_thread_start(wipe_on_this_thread)
        .enable_all()
        .build()
}
