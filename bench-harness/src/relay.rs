//! CPU per GB of Sealwire, passing and sealing, against HAProxy as a TCP relay, in the same run.
//!
//! The relay has core 0 to itself; load and broker share core 1. Systems take turns in shuffled order inside each
//! round, and a ratio is only ever taken within a round: the speed of a host drifts by more than what is to be
//! measured.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::load::Load;
use crate::results::{Row, Sample, Shuffle, nanoseconds};
use crate::{Failure, cluster, haproxy, layers, ports, results, usage};

/// Options of `relay`.
#[derive(Args)]
pub(crate) struct Options {
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Rounds; every system runs once in each.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Milliseconds of each sample.
    #[arg(long, default_value_t = 300)]
    sample_ms: u64,
    /// Frame sizes in KiB.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 512])]
    sizes: Vec<usize>,
    /// Which directions.
    #[arg(long, value_delimiter = ',', default_values = ["produce", "fetch"])]
    directions: Vec<Direction>,
    /// Which systems; `haproxy` is what the others are compared with.
    #[arg(long, value_delimiter = ',', default_values = [REFERENCE, PASSING, SEALING])]
    systems: Vec<String>,
    /// Repeats the order of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Only prints: `perf/` stays as it is.
    #[arg(long)]
    no_write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Direction {
    Produce,
    Fetch,
}

/// A relay under test: the clients' group in the load, and the process whose CPU counts.
struct System {
    name: &'static str,
    topic: &'static str,
    port: u16,
    process: u32,
}

const REFERENCE: &str = "haproxy";
const PASSING: &str = "sealwire-pass";
const SEALING: &str = "sealwire-seal";
const RELAY_CORE: usize = 0;
const LOAD_CORE: usize = 1;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    usage::raise_descriptor_limit()?;
    let wanted = |name: &str| options.systems.iter().any(|wanted| wanted == name);
    let with_proxy = wanted(PASSING) || wanted(SEALING);
    if with_proxy {
        // Before this thread is pinned: cargo may have to build.
        crate::proxy::program()?;
    }
    usage::pin(LOAD_CORE)?;
    let directory = crate::children::scratch_directory()?;
    let mut load = Load::new()?;
    let [haproxy_port] = ports::free::<1>()?;
    let haproxy = haproxy::start(directory.path(), RELAY_CORE, haproxy_port, load.broker_port())?;
    let mut all = vec![System {
        name: REFERENCE,
        topic: cluster::PASSED,
        port: haproxy_port,
        process: haproxy.id(),
    }];
    let mut proxy = None;
    if with_proxy {
        let started = proxy.insert(cluster::start(&mut load, directory.path(), Some(RELAY_CORE))?);
        all.extend(
            [(PASSING, cluster::PASSED), (SEALING, cluster::SEALED)].map(|(name, topic)| System {
                name,
                topic,
                port: started.port,
                process: started.child.id(),
            }),
        );
    }
    all.retain(|system| wanted(system.name));
    for (group, system) in all.iter().enumerate() {
        load.connect(group, system.port, options.connections)?;
    }
    let samples = measure(options, &mut load, &all).map_err(|failure| match &proxy {
        Some(proxy) => proxy.explain(&failure),
        None => failure,
    })?;
    for group in 0..all.len() {
        load.disconnect(group);
    }
    report(options, &samples)?;
    drop(haproxy);
    proxy.map_or(Ok(()), |mut proxy| proxy.stop())
}

fn measure(options: &Options, load: &mut Load, systems: &[System]) -> Result<Vec<Sample>, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = options.seed.unwrap_or_else(|| nanoseconds(now));
    println!("{}; seed {seed}", results::machine());
    let mut shuffle = Shuffle::new(seed);
    let mut samples = Vec::new();
    for direction in &options.directions {
        for kib in &options.sizes {
            let name = format!("{} {kib} KiB", direction.name());
            let mut cases = Vec::new();
            for (group, system) in systems.iter().enumerate() {
                cases.push(match direction {
                    Direction::Produce => cluster::produce(load, group, system.topic, kib << 10)?,
                    Direction::Fetch => cluster::fetch(load, group, system.topic, kib << 10)?,
                });
            }
            for round in 0..options.rounds {
                let mut order: Vec<usize> = (0..systems.len()).collect();
                shuffle.order(&mut order);
                for group in order {
                    let (Some(system), Some(case)) = (systems.get(group), cases.get(group)) else {
                        continue;
                    };
                    samples.push(sample(options, load, group, system, case, &name, round)?);
                }
            }
            let case: Vec<Sample> = samples
                .iter()
                .filter(|sample| sample.case == name)
                .cloned()
                .collect();
            for row in results::rows(&case, REFERENCE) {
                println!("{}", line(&row));
            }
        }
    }
    Ok(samples)
}

#[expect(clippy::too_many_arguments, reason = "a type is missing")]
fn sample(
    options: &Options,
    load: &mut Load,
    group: usize,
    system: &System,
    case: &cluster::Case,
    name: &str,
    round: usize,
) -> Result<Sample, Failure> {
    load.start(group, &case.exchange, case.response_bytes);
    load.run(WARM_UP)?;
    let (cpu, start) = (usage::cpu(system.process)?, Instant::now());
    let exchanges = load.run(Duration::from_millis(options.sample_ms))?;
    let (cpu, wall) = (usage::cpu(system.process)?.saturating_sub(cpu), start.elapsed());
    load.stop()?;
    let bytes = (case.exchange.request.len() + case.response_bytes) as u64;
    Ok(Sample {
        case: name.to_owned(),
        system: system.name,
        round,
        exchanges,
        bytes: bytes * exchanges,
        cpu_ns: nanoseconds(cpu),
        wall_ns: nanoseconds(wall),
    })
}

/// Pools fill, windows open, keys arrive.
const WARM_UP: Duration = Duration::from_millis(60);

fn line(row: &Row) -> String {
    let ratio = row.ratio.map_or_else(String::new, |ratio| {
        format!(
            "{:5.2} of HAProxy ({:.2}-{:.2})",
            ratio.median, ratio.min, ratio.max
        )
    });
    format!(
        "{:16} {:14} {:7.0} ms/GB {:8.1} µs a frame {:6.2} GB/s  {ratio}",
        row.case, row.system, row.cpu_ms_per_gb.median, row.cpu_us_per_exchange, row.gb_per_second
    )
}

fn report(options: &Options, samples: &[Sample]) -> Result<(), Failure> {
    let rows = results::rows(samples, REFERENCE);
    let [seal, open] = layers::kibibyte_records()?;
    println!("the envelope by itself: {seal:.0} ns to seal, {open:.0} ns to open a record of 1 KiB");
    for (system, limit) in LIMITS {
        let row = rows
            .iter()
            .find(|row| row.case == "produce 64 KiB" && row.system == system);
        if let Some(ratio) = row.and_then(|row| row.ratio) {
            let verdict = if ratio.median <= limit { "kept" } else { "MISSED" };
            println!(
                "{system}, produce 64 KiB: {:.2} of HAProxy, limit {limit}: {verdict}",
                ratio.median
            );
        }
    }
    if options.no_write {
        return Ok(());
    }
    let directory = results::directory()?;
    let version = haproxy::version().unwrap_or_default();
    let machine = results::machine();
    let description = format!(
        "{machine}; by itself, without sockets, the envelope takes {seal:.0} ns to seal and {open:.0} ns to open \
         a record of 1 KiB on this CPU; HAProxy {version} (mode tcp, nbthread 1, tune.bufsize 65536); \
         {} connections, one request in flight on each; {} rounds of {} ms",
        options.connections, options.rounds, options.sample_ms
    );
    let json = serde_json::json!({ "description": description, "rows": rows, "samples": samples });
    std::fs::write(
        directory.join("relay.json"),
        serde_json::to_string_pretty(&json)? + "\n",
    )?;
    let table = results::table(&rows)?;
    let text = format!(
        "# Relay: CPU per GB\n\n\
         Written by `cargo run --release -p bench-harness --features measurements -- relay`. \
         1 KiB records, one executor on core 0, load and broker on core 1. \
         GB: 10^9 bytes of requests and responses as the client has them. \
         Ratios are taken within a round.\n\n{description}\n\n{table}"
    );
    std::fs::write(directory.join("relay.md"), text)?;
    println!("written to {}", directory.display());
    Ok(())
}

/// What the first release has to keep, as CPU against HAProxy in the same round.
const LIMITS: [(&str, f64); 2] = [(PASSING, 1.3), (SEALING, 2.4)];

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
        }
    }
}
