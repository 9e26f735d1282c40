//! The program in its world: what it is configured with, the time that it sees, and its restarts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealwire::clocks::Clocks;
use sealwire::clocks::simulated::{self, SimulatedTime};
use sealwire::config::Config;
use sealwire::keys::{CallBudget, DekLimits, KeyOptions};
use sealwire::pipeline::AddressBook;
use sealwire::server::simulated::{
    self as server, Capacities, SimulatedAccess, SimulatedServer, SimulatedSettings,
};
use sealwire::testing::MemoryStream;
use tokio::runtime::{Builder, Runtime};

use super::key_setup::KeySetup;
use super::login_setup::LoginSetup;
use crate::configuration::{Cluster, Configuration};
use crate::dice::Dice;
use crate::world::NODES;
use crate::world::kms::SimulatedKms;

/// Where clients bootstrap; node N has the port behind it by N.
pub(super) const PORT: u16 = 9192;
pub(super) const EXECUTORS: usize = 2;

const RULES: &str = "\
[[cluster.main.topics]]
match = \"sealed-*\"
kms = \"one\"
kek = \"payments\"
[[cluster.main.topics]]
match = \"other-*\"
kms = \"two\"
kek = \"other\"
[[cluster.main.topics]]
match = \"pass-*\"
pass = true
";

/// Of the listener, in front of the rules.
const BALANCER: &str = "\
proxy_protocol = \"required\"
proxy_protocol_sources = [\"10.1.0.0/16\"]
";

pub(super) struct Program {
    /// `None` only between a crash and the start behind it.
    server: Option<SimulatedServer>,
    kms: Vec<(Arc<SimulatedKms>, CallBudget)>,
    config: Config,
    pub(super) keys: KeyOptions,
    /// Clients come by way of a load balancer, which says so.
    pub(super) is_behind_balancer: bool,
    capacities: Capacities,
    control_capacity: usize,
    /// The time when the world began.
    began: Instant,
    pub(super) now: Duration,
    /// How far the clocks have parted: the machine slept, and its time was set.
    slept: Duration,
    set: Duration,
    /// What the state file has: written now and then.
    kept: Vec<AddressBook>,
}

impl Program {
    /// `is_tight`: with as little memory as it may have. The thread's time and randomness are its own from now on.
    pub(super) fn new(
        kms: Vec<Arc<SimulatedKms>>,
        is_tight: bool,
        logins: Option<&mut LoginSetup>,
        keys: &mut KeySetup,
        dice: &mut Dice,
    ) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let began = runtime.block_on(async { tokio::time::Instant::now().into_std() });
        let dek = DekLimits {
            // Each executor has an equal part.
            batches_max: EXECUTORS as u64 + dice.below(60),
            bytes_max: 1000 + dice.below(100_000),
            age_max: Duration::from_millis(1000 + dice.below(20_000)),
        };
        let is_behind_balancer = dice.below(4) == 0 && logins.is_none();
        let narrow = |dice: &mut Dice| 1 + dice.below(16) as usize;
        let config = config(is_tight, is_behind_balancer, logins.as_deref(), dice);
        let mut program = Self {
            server: None,
            kms: kms.into_iter().map(|kms| (kms, keys.budget())).collect(),
            keys: keys.options(dek, &config.limits),
            config,
            is_behind_balancer,
            capacities: Capacities {
                messages: 2 + narrow(dice),
                accepted: narrow(dice),
                keys: narrow(dice),
            },
            control_capacity: narrow(dice),
            began,
            now: Duration::ZERO,
            slept: Duration::ZERO,
            set: Duration::ZERO,
            kept: vec![AddressBook::default()],
        };
        simulated::set(Some(program.time()));
        let access = program.access(logins);
        program.start(runtime, access);
        program
    }

    fn access(&self, logins: Option<&mut LoginSetup>) -> Vec<SimulatedAccess> {
        logins.map_or_else(Vec::new, |logins| logins.access(&self.config))
    }

    fn start(&mut self, runtime: Runtime, access: Vec<SimulatedAccess>) {
        let kms = self.kms.iter().map(|(kms, budget)| {
            kms.begin_anew(*budget);
            server::SimulatedKms {
                kms: Arc::clone(kms) as Arc<_>,
                budget: *budget,
            }
        });
        let settings = SimulatedSettings {
            config: self.config.clone(),
            kms: kms.collect(),
            books: self.kept.clone(),
            access,
            executors: EXECUTORS,
            capacities: self.capacities,
            control_capacity: self.control_capacity,
            keys: self.keys.clone(),
        };
        self.server = Some(SimulatedServer::start(runtime, settings));
    }

    /// How much a KMS may be asked.
    pub(super) fn budget(&self, kms: usize) -> CallBudget {
        self.kms[kms].1
    }

    pub(super) fn server(&self) -> &SimulatedServer {
        self.server.as_ref().expect("it runs")
    }

    /// Cut off and started anew, with the addresses that were written last.
    pub(super) fn crash(&mut self, logins: Option<&mut LoginSetup>) {
        let runtime = self.server.take().expect("it runs").kill();
        let access = self.access(logins);
        self.start(runtime, access);
    }

    /// The file of accounts has changed.
    pub(super) fn take_accounts(&self, logins: &mut LoginSetup) {
        self.server().take_access(logins.new_accounts(&self.config));
    }

    /// It is told to end; whether it was not already.
    pub(super) fn drain(&mut self, at_most: Duration) -> bool {
        let server = self.server.as_mut().expect("it runs");
        if server.is_draining() {
            return false;
        }
        server.drain(at_most);
        true
    }

    /// Whether connections had ended by themselves when the drain was over, if it is.
    pub(super) fn drained(&mut self) -> Option<bool> {
        self.server.as_mut().expect("it runs").drained()
    }

    /// The state file is written.
    pub(super) fn write_state(&mut self) {
        self.kept = self.server().books();
    }

    pub(super) fn connect(&self, from: SocketAddr, to: SocketAddr, room: usize) -> Option<MemoryStream> {
        self.server().connect(from, to, room)
    }

    /// The machine sleeps: nothing happens meanwhile, and one clock goes on.
    pub(super) fn sleep(&mut self, by: Duration) {
        self.slept += by;
    }

    /// Somebody sets the time forward.
    pub(super) fn set_time(&mut self, by: Duration) {
        self.set += by;
    }

    pub(super) fn pass(&mut self, by: Duration) {
        self.now += by;
        self.server().pass(by, self.time());
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// When a timer of it is due, from now on.
    pub(super) fn next_due(&self) -> Duration {
        let due = self.server().next_timer();
        due.map_or(TICK, |due| due.saturating_duration_since(self.began + self.now))
    }

    fn time(&self) -> SimulatedTime {
        let monotonic = UP_FOR + self.now;
        let boottime = monotonic + self.slept;
        SimulatedTime {
            now: self.began + self.now,
            clocks: Clocks {
                monotonic,
                boottime,
                realtime: TODAY + boottime + self.set,
            },
        }
    }

    /// What it takes the time to be, since 1970.
    pub(super) fn realtime(&self) -> Duration {
        self.time().clocks.realtime
    }

    /// The program is gone, with the tasks and timers of its thread.
    pub(super) fn end(mut self) {
        if let Some(server) = self.server.take() {
            drop(server.kill());
        }
        simulated::set(None);
    }
}

fn config(is_tight: bool, is_behind_balancer: bool, logins: Option<&LoginSetup>, dice: &mut Dice) -> Config {
    let bytes = if is_tight { 1 << 20 } else { 1 << 30 };
    let limits = format!(
        "[limits]\nexecutor_bytes_max = {bytes}\nrequest_bytes_max = \"1MiB\"\nfetch_response_bytes_max = \"1MiB\"\n\
         decompressed_batch_bytes_max = \"2MiB\"\nin_flight_bytes_max = \"2MiB\"\nseal_wait = \"{}ms\"\n\
         in_flight_requests_max = {}\n",
        50 + dice.below(2000),
        1 + dice.below(10),
    );
    // Wherever they move, somebody answers.
    let bootstrap = NODES
        .iter()
        .flat_map(|node| (9092..9095).map(move |port| format!("10.0.0.{node}:{port}")))
        .collect();
    let balancer = if is_behind_balancer { BALANCER } else { "" };
    let nodes = NODES.map(|node| (node, port_of(node)));
    let (sasl, tables) = logins.map(|logins| (logins.sasl(), logins.tables())).unzip();
    let text = Configuration::with(&limits)
        .keystore("one", Path::new("/one"), Path::new("/key"))
        .keystore("two", Path::new("/two"), Path::new("/key"))
        .cluster(&Cluster {
            brokers: bootstrap,
            port: PORT,
            nodes: nodes.to_vec(),
            rules: &format!("{balancer}{RULES}{}", tables.unwrap_or_default()),
            sasl: sasl.as_deref(),
            ..Cluster::default()
        })
        .text();
    let mut config = Config::from_toml_text(&text, Path::new("/sealwire.toml"))
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    if let Some(logins) = logins {
        logins.complete(&mut config);
    }
    config
}

/// The port that leads to a node.
pub(super) fn port_of(node: i32) -> u16 {
    PORT + u16::try_from(node).expect("nodes have small numbers")
}

/// An executor looks at what is due so often.
const TICK: Duration = Duration::from_millis(20);
/// How long the machine has been up when the world begins.
const UP_FOR: Duration = Duration::from_secs(10_000);
/// What day it is then.
const TODAY: Duration = Duration::from_secs(1_800_000_000);
