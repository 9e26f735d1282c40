//! What the start of a connection costs, for each way of logging in at the proxy and at brokers: how long it takes a
//! client from connecting until a broker has answered who leads, and the proxy's CPU.
//!
//! One connection after the other, at one broker of Kafka; broker, client and proxy share all cores. The kinds take
//! turns, so that each has met the broker, and the machine, as the others have.

mod client;
mod kinds;
mod site;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use self::client::Client;
use self::kinds::Kind;
use self::site::Site;
use crate::measure::machine::Machine;
use crate::measure::process;
use crate::{Failure, report};

/// Options of `logins`.
#[derive(Args)]
pub(crate) struct Options {
    /// Turns of each kind.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Connections of a turn.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Connections of each kind before that: the broker compiles its code while it runs.
    #[arg(long, default_value_t = 300)]
    warm_up: usize,
    /// The `sealwire` to measure; the one beside this program, brought up to date, without it.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Only prints: `perf/` stays as it is.
    #[arg(long)]
    no_write: bool,
}

/// One kind.
#[derive(Clone, Debug, Serialize)]
struct Row {
    client: &'static str,
    brokers: &'static str,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    cpu_ms: f64,
    /// How many times as much CPU as the first row: in all rounds, and in those in which it was least and most.
    cpu_ratio: f64,
    cpu_ratio_least: f64,
    cpu_ratio_most: f64,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if options.connections == 0 || options.rounds == 0 {
        return Err("without a connection there is nothing to measure".into());
    }
    let directory = crate::children::scratch_directory()?;
    let mut site = Site::start(options.program.as_deref(), directory.path())?;
    let measured = measure(options, &site).map_err(|failure| site.proxy.explain(&failure))?;
    site.proxy.stop()?;
    let first = measured.first().ok_or("there are no kinds")?;
    let rows: Vec<Row> = measured.iter().map(|one| one.row(options, first)).collect();
    write_report(options, &rows)
}

/// What came of one kind.
struct Measured {
    kind: Kind,
    client: Client,
    latencies: Vec<Duration>,
    /// The proxy's, of each round.
    cpu: Vec<Duration>,
}

fn measure(options: &Options, site: &Site) -> Result<Vec<Measured>, Failure> {
    let mut measured = Vec::new();
    for (kind, port) in site.kinds() {
        let client = Client::new(&site.files, kind, port)?;
        for _ in 0..options.warm_up {
            client.start().map_err(|failure| kind.explain(&failure))?;
        }
        measured.push(Measured {
            kind,
            client,
            latencies: Vec::with_capacity(options.rounds * options.connections),
            cpu: Vec::with_capacity(options.rounds),
        });
    }
    for _ in 0..options.rounds {
        for one in &mut measured {
            let before = cpu(site)?;
            for _ in 0..options.connections {
                let begun = Instant::now();
                one.client.start().map_err(|failure| one.kind.explain(&failure))?;
                one.latencies.push(begun.elapsed());
            }
            one.cpu.push(cpu(site)?.saturating_sub(before));
        }
    }
    for one in &mut measured {
        one.latencies.sort_unstable();
    }
    Ok(measured)
}

/// Of the proxy, which keeps all its threads.
fn cpu(site: &Site) -> Result<Duration, Failure> {
    Ok(process::cpu(site.proxy.child.id())?.values().sum())
}

impl Measured {
    fn row(&self, options: &Options, first: &Self) -> Row {
        let total = |one: &Self| one.cpu.iter().sum::<Duration>().as_secs_f64();
        let of_rounds = self.cpu.iter().zip(&first.cpu);
        let mut ratios: Vec<f64> = of_rounds
            .map(|(cpu, first)| cpu.as_secs_f64() / first.as_secs_f64())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        Row {
            client: self.kind.client.name(),
            brokers: self.kind.upstream.name(),
            latency_p50_ms: self.quantile(50),
            latency_p99_ms: self.quantile(99),
            cpu_ms: total(self) * 1e3 / (options.rounds * options.connections) as f64,
            cpu_ratio: total(self) / total(first),
            cpu_ratio_least: ratios.first().copied().unwrap_or_default(),
            cpu_ratio_most: ratios.last().copied().unwrap_or_default(),
        }
    }

    /// Milliseconds.
    fn quantile(&self, percent: usize) -> f64 {
        let count = self.latencies.len();
        let place = (count * percent / 100).min(count.saturating_sub(1));
        self.latencies
            .get(place)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3
    }
}

fn write_report(options: &Options, rows: &[Row]) -> Result<(), Failure> {
    let description = format!(
        "{}; one executor; Kafka {}; {} rounds of {} connections of each kind, after {} that do not count",
        Machine::of_this_run().text(),
        crate::real::kafka::version(),
        options.rounds,
        options.connections,
        options.warm_up
    );
    let mut table =
        "| clients | brokers see | p50 ms | p99 ms | CPU ms | of the first (least to most of a round) |\n\
                     |---|---|---|---|---|---|\n"
            .to_owned();
    for row in rows {
        table += &format!(
            "| {} | {} | {:.2} | {:.2} | {:.3} | {:.2} ({:.2}-{:.2}) |\n",
            row.client,
            row.brokers,
            row.latency_p50_ms,
            row.latency_p99_ms,
            row.cpu_ms,
            row.cpu_ratio,
            row.cpu_ratio_least,
            row.cpu_ratio_most
        );
    }
    tell!("{description}");
    tell_part!("{table}");
    if options.no_write {
        return Ok(());
    }
    let directory = report::directory()?;
    let json = serde_json::json!({ "description": description, "rows": rows });
    std::fs::write(
        directory.join("logins.json"),
        serde_json::to_string_pretty(&json)? + "\n",
    )?;
    let text = format!(
        "# Logins\n\n\
         Written by `cargo run --release -p bench-harness --features measurements -- logins`. Of one connection: from \
         connecting until a broker has answered the first Metadata request, and the proxy's CPU until the next one.\n\n\
         {description}\n\n{table}"
    );
    std::fs::write(directory.join("logins.md"), text)?;
    tell!("written to {}", directory.display());
    Ok(())
}
