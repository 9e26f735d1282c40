//! The hostile set: how long a step of each shape takes at most, and how long a neighbour waits while it is sent.
//!
//! The set and what sends it are the tests' own. The proxy has core 0 to itself; clients and broker share core 1.

#[path = "../../tests/neighbours/broker.rs"]
mod broker;
#[allow(dead_code, reason = "the tests of the pipeline use all of it")]
#[path = "../../tests/pipeline/rig.rs"]
mod rig;
#[allow(dead_code, reason = "other tests use all of it")]
#[path = "../../tests/pipeline/shapes.rs"]
mod shapes;
#[path = "../../tests/neighbours/siege.rs"]
mod siege;
#[allow(dead_code, reason = "the tests of the pipeline use all of it")]
#[path = "../../tests/pipeline/wire.rs"]
mod wire;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::broker::Broker;
use self::shapes::{SHAPES, Shape};
use self::siege::{Besieged, HOSTILE_CONNECTIONS, RULES, besiege};
use crate::children::pause;
use crate::measure::machine::Machine;
use crate::measure::process;
use crate::proxy::{Proxy, Setup, usual_rules};
use crate::{Failure, report};

/// Options of `hostile`.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each step is measured; the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds for which each shape is sent.
    #[arg(long, default_value_t = 1000)]
    siege_ms: u64,
    /// Only shapes with this in their name, and nothing is written.
    #[arg(long)]
    only: Option<String>,
    /// The `sealwire` to measure; the one beside this program, brought up to date, without it.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Only prints: `perf/` stays as it is.
    #[arg(long)]
    no_write: bool,
}

/// One shape.
#[derive(Clone, Debug, Serialize)]
struct Row {
    shape: &'static str,
    longest_step_ms: f64,
    longest_wait_ms: f64,
    /// What the executor ran of the longest wait.
    executor_ran_ms: f64,
    /// The longest wait of whoever asked the broker itself.
    longest_direct_ms: f64,
    median_wait_ms: f64,
    /// How often all of it was sent.
    sent: usize,
}

const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// Many more than are open at once.
const CONNECTIONS_MAX: usize = 1000;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    process::raise_descriptor_limit()?;
    if options.program.is_none() {
        // Before this thread is pinned: cargo may have to build.
        crate::proxy::program()?;
    }
    process::pin(LOAD_CORE)?;
    let directory = crate::children::scratch_directory()?;
    let broker = Broker::start()?;
    let setup = Setup {
        directory: directory.path(),
        program: options.program.as_deref(),
        keks: &["quickstart".to_owned()],
        kms: None,
        bootstrap: vec![broker.address()],
        brokers: 1,
        rules: &format!("{RULES}\n{}", usual_rules("quickstart-*", "")),
        executors: Some(1),
        core: Some(PROXY_CORE),
        connections_max: CONNECTIONS_MAX,
        tls: None,
        beside: None,
        stable_keys: None,
    };
    let mut proxy = Proxy::start(&setup, &mut || {
        pause(Duration::from_millis(20));
        Ok(())
    })?;
    let besieged = Besieged {
        address: format!("127.0.0.1:{}", proxy.port),
        process: proxy.child.id(),
        broker,
    };
    tell!("{}", Machine::of_this_run().text());
    let mut rows = Vec::new();
    let wanted = |shape: &&Shape| {
        let part = options.only.as_deref().unwrap_or_default();
        shape.name.contains(part)
    };
    for shape in SHAPES.iter().filter(wanted) {
        let row = measure(options, shape, &besieged)
            .map_err(|failure| proxy.explain(&format!("{}: {failure}", shape.name).into()))?;
        tell!("{}", line(&row));
        rows.push(row);
    }
    proxy.stop()?;
    write_report(options, &rows)
}

fn measure(options: &Options, shape: &Shape, besieged: &Besieged) -> Result<Row, Failure> {
    let frames = (shape.make)();
    let step = (0..options.rounds).map(|_| frames.longest_step()).min();
    let waits = besiege(besieged, frames, Duration::from_millis(options.siege_ms))?;
    Ok(Row {
        shape: shape.name,
        longest_step_ms: milliseconds(step.ok_or("no rounds")?),
        longest_wait_ms: milliseconds(waits.longest),
        executor_ran_ms: milliseconds(waits.executor_ran),
        longest_direct_ms: milliseconds(waits.longest_direct),
        median_wait_ms: milliseconds(waits.median),
        sent: waits.rounds,
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn line(row: &Row) -> String {
    format!(
        "{:62} step {:5.1} ms, wait {:5.1} ms (executor {:5.1}, direct {:5.1}, median {:6.2}), sent {:4} times{}",
        row.shape,
        row.longest_step_ms,
        row.longest_wait_ms,
        row.executor_ran_ms,
        row.longest_direct_ms,
        row.median_wait_ms,
        row.sent,
        if row.is_kept() { "" } else { "  MISSED" }
    )
}

impl Row {
    fn is_kept(&self) -> bool {
        self.longest_step_ms <= STEP_MS_MAX && self.longest_wait_ms <= WAIT_MS_MAX
    }
}

fn write_report(options: &Options, rows: &[Row]) -> Result<(), Failure> {
    let missed = rows.iter().filter(|row| !row.is_kept()).count();
    let verdict = if missed == 0 { "kept" } else { "MISSED" };
    let limits = format!(
        "limits: a step {STEP_MS_MAX} ms, a wait {WAIT_MS_MAX} ms: {verdict} ({missed} of {} missed)",
        rows.len()
    );
    tell!("{limits}");
    if options.no_write || options.only.is_some() {
        return Ok(());
    }
    let directory = report::directory()?;
    let description = format!(
        "{}; {HOSTILE_CONNECTIONS} hostile connections for {} ms; steps: best of {} rounds",
        Machine::of_this_run().text(),
        options.siege_ms,
        options.rounds
    );
    let json = serde_json::json!({ "description": description, "rows": rows });
    std::fs::write(
        directory.join("hostile.json"),
        serde_json::to_string_pretty(&json)? + "\n",
    )?;
    let mut text = format!(
        "# Hostile: longest step, longest wait\n\n\
         Written by `cargo run --release -p bench-harness --features measurements -- hostile`. \
         One executor on core 0, clients and broker on core 1.\n\n\
         {description}\n\n{limits}\n\n\
         | shape | longest step, ms | neighbour's longest wait, ms | executor ran, ms | without a proxy, ms | \
         median wait, ms | sent |\n|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {} |",
            row.shape,
            row.longest_step_ms,
            row.longest_wait_ms,
            row.executor_ran_ms,
            row.longest_direct_ms,
            row.median_wait_ms,
            row.sent
        )?;
    }
    std::fs::write(directory.join("hostile.md"), text)?;
    tell!("written to {}", directory.display());
    Ok(())
}

/// What no step may take, one record's own cipher call excepted.
const STEP_MS_MAX: f64 = 10.0;
/// What no neighbour may wait.
const WAIT_MS_MAX: f64 = 50.0;
