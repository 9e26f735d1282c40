//! What may be said on the command line of `run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Failure;
use crate::scenario::Scenario;
use crate::systems::Peer;

/// Options of `run`.
#[derive(Args)]
pub(crate) struct Options {
    /// Names that `list` shows, or paths of TOML files.
    #[arg(required_unless_present = "real")]
    scenarios: Vec<String>,
    /// Measures with a real broker of Kafka, which is started, and real clients; `real` if no scenario is named.
    #[arg(long)]
    pub(super) real: bool,
    /// Rounds, instead of the scenario's; every system has its turn once in each.
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds of each turn, instead of the scenario's.
    #[arg(long)]
    sample_ms: Option<u64>,
    /// Systems, instead of the scenario's.
    #[arg(long, value_delimiter = ',')]
    systems: Option<Vec<String>>,
    /// Another proxy that already runs and forwards to the broker's port.
    #[arg(long = "peer", value_name = "NAME=HOST:PORT,pid=PID")]
    pub(super) peers: Vec<Peer>,
    /// Where the broker listens, so that a peer can be told beforehand; any free port without it.
    #[arg(long, default_value_t = 0)]
    pub(super) broker_port: u16,
    /// The `sealwire` to measure; the one beside this program, brought up to date, without it.
    #[arg(long)]
    pub(super) program: Option<PathBuf>,
    /// Adds the run to `perf/history.jsonl`.
    #[arg(long)]
    pub(super) record: bool,
    /// Writes every sample and every row to this file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Repeats the order of an earlier run.
    #[arg(long)]
    pub(super) seed: Option<u64>,
}

impl Options {
    /// All that are to be measured, as they are to be.
    pub(super) fn scenarios(&self) -> Result<Vec<Scenario>, Failure> {
        let usual = ["real".to_owned()];
        let names = match self.scenarios.is_empty() {
            true => &usual[..],
            false => &self.scenarios,
        };
        let scenarios = names.iter().map(|name| self.adjust(Scenario::load(name)?));
        scenarios.collect()
    }

    /// With what was said here instead of there.
    fn adjust(&self, mut scenario: Scenario) -> Result<Scenario, Failure> {
        if let Some(rounds) = self.rounds {
            scenario.rounds = rounds;
        }
        if let Some(sample_ms) = self.sample_ms {
            scenario.sample_ms = sample_ms;
        }
        if let Some(systems) = &self.systems {
            scenario.systems.clone_from(systems);
        }
        scenario.check()?;
        if scenario.is_real() != self.real {
            let which = if self.real { "no" } else { "a" };
            return Err(format!(
                "scenario {}: its clients need {which} real broker (--real)",
                scenario.name
            )
            .into());
        }
        Ok(scenario)
    }

    /// Whether what it names is there.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if let Some(program) = self.program.as_ref().filter(|program| !program.is_file()) {
            return Err(format!("--program {}: there is no such file", program.display()).into());
        }
        for peer in &self.peers {
            if let Some(id) = peer
                .process
                .filter(|id| !Path::new(&format!("/proc/{id}")).is_dir())
            {
                return Err(format!("--peer {}: there is no process {id}", peer.name).into());
            }
        }
        Ok(())
    }

    /// Those of the scenario, and all peers, once each.
    pub(super) fn systems_of(&self, scenario: &Scenario) -> Vec<String> {
        let peers = self.peers.iter().map(|peer| &peer.name);
        let mut named = BTreeSet::new();
        let all = scenario.systems.iter().chain(peers);
        all.filter(|name| named.insert(name.as_str())).cloned().collect()
    }
}
