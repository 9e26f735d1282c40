//! Resident memory: of an idle connection pair, plain and with TLS, before and after traffic, and of the process with
//! busy connections.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::children::pause;
use crate::load::{Load, Plan, Traffic, local};
use crate::measure::machine::Machine;
use crate::measure::process;
use crate::proxy::Proxy;
use crate::scenario::{Direction, Point, Tls, What};
use crate::systems::{PASSED_PREFIX, SEALED_PREFIX, start_sealwire};
use crate::{Failure, report};

/// Options of `memory`.
#[derive(Args)]
pub(crate) struct Options {
    /// Idle connections.
    #[arg(long, default_value_t = 2000)]
    idle: usize,
    /// Busy connections.
    #[arg(long, default_value_t = 100)]
    busy: usize,
    /// Seconds of traffic in each direction.
    #[arg(long, default_value_t = 3)]
    traffic_s: u64,
    /// KiB of a frame.
    #[arg(long, default_value_t = 64)]
    frame_kib: usize,
    /// The `sealwire` to measure; the one beside this program, brought up to date, without it.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Only prints: `perf/` stays as it is.
    #[arg(long)]
    no_write: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Measured {
    /// The process before any connection.
    started_bytes: u64,
    idle_connections: usize,
    /// Growth by each idle pair that has only said hello.
    idle_pair_bytes: u64,
    /// The same after every pair has produced and fetched.
    idle_pair_after_traffic_bytes: u64,
    /// The same two with TLS on both sides.
    idle_tls_pair_bytes: u64,
    idle_tls_pair_after_traffic_bytes: u64,
    busy_connections: usize,
    /// The most that the process had with busy connections.
    busy_peak_bytes: u64,
    /// What it had at the end of the traffic.
    busy_bytes: u64,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let descriptors = process::raise_descriptor_limit()?;
    if descriptors < 2 * options.idle as u64 + 64 {
        return Err(format!(
            "{descriptors} open files are too few for {} connections",
            options.idle
        )
        .into());
    }
    let directory = crate::children::scratch_directory()?;
    let plain = idle(options, directory.path(), Tls::None)?;
    let tls = idle(options, directory.path(), Tls::Ecdsa)?;
    let (busy_bytes, busy_peak_bytes) = busy(options, directory.path())?;
    write_report(
        options,
        &Measured {
            started_bytes: plain.started,
            idle_connections: options.idle,
            idle_pair_bytes: plain.pair,
            idle_pair_after_traffic_bytes: plain.pair_after_traffic,
            idle_tls_pair_bytes: tls.pair,
            idle_tls_pair_after_traffic_bytes: tls.pair_after_traffic,
            busy_connections: options.busy,
            busy_peak_bytes,
            busy_bytes,
        },
    )
}

const GROUP: usize = 0;

/// Bytes of a process, and by how much each idle pair makes it grow.
struct Idle {
    started: u64,
    pair: u64,
    pair_after_traffic: u64,
}

fn idle(options: &Options, directory: &Path, tls: Tls) -> Result<Idle, Failure> {
    let mut load = Load::new(0)?;
    let mut proxy = start(options, &mut load, &directory.join(format!("idle-{tls:?}")), tls)?;
    let started = settled(&mut load, &proxy)?;
    load.connect(GROUP, local(proxy.port), options.idle)?;
    let connected = settled(&mut load, &proxy)?;
    traffic(options, &mut load, &proxy)?;
    let after = settled(&mut load, &proxy)?;
    load.disconnect(GROUP);
    proxy.stop()?;
    let pair = |resident: u64| resident.saturating_sub(started) / options.idle.max(1) as u64;
    Ok(Idle {
        started,
        pair: pair(connected),
        pair_after_traffic: pair(after),
    })
}

fn busy(options: &Options, directory: &Path) -> Result<(u64, u64), Failure> {
    let mut load = Load::new(0)?;
    let mut proxy = start(options, &mut load, &directory.join("busy"), Tls::None)?;
    load.connect(GROUP, local(proxy.port), options.busy)?;
    traffic(options, &mut load, &proxy)?;
    let memory = process::memory(proxy.child.id())?;
    load.disconnect(GROUP);
    proxy.stop()?;
    Ok((memory.resident, memory.peak))
}

fn traffic(options: &Options, load: &mut Load, proxy: &Proxy) -> Result<(), Failure> {
    let duration = Duration::from_secs(options.traffic_s);
    let mut drive = || {
        for (what, direction) in [
            (What::Seal, Direction::Produce),
            (What::Open, Direction::Fetch),
            (What::Pass, Direction::Produce),
            (What::Pass, Direction::Fetch),
        ] {
            let mut point = Point::of(what, direction);
            point.frame_kib = options.frame_kib;
            let prefix = [PASSED_PREFIX, SEALED_PREFIX][usize::from(point.is_sealed())];
            let plan = Plan {
                point: &point,
                prefix,
                readable: Some(!point.is_sealed()),
                history: &|_| Err("there is none".into()),
            };
            let traffic = Rc::new(Traffic::prepare(load, GROUP, &plan)?);
            load.start(GROUP, &traffic, None)?;
            load.run(duration)?;
            load.stop()?;
        }
        Ok(())
    };
    drive().map_err(|failure: Failure| proxy.explain(&failure))
}

fn start(options: &Options, load: &mut Load, directory: &Path, tls: Tls) -> Result<Proxy, Failure> {
    std::fs::create_dir_all(directory)?;
    let mut point = Point::of(What::Seal, Direction::Produce);
    (point.connections, point.tls) = (options.idle.max(options.busy), tls);
    let site = load.site(&point, directory)?;
    start_sealwire(options.program.as_deref(), &point, directory, &site, &mut || {
        load.run(Duration::from_millis(20))
    })
}

/// Resident memory once it does not fall any more: allocators give back with a delay.
fn settled(load: &mut Load, proxy: &Proxy) -> Result<u64, Failure> {
    let mut lowest = u64::MAX;
    let mut lowest_since = Instant::now();
    let deadline = Instant::now() + Duration::from_secs(10);
    while lowest_since.elapsed() < Duration::from_secs(1) && Instant::now() < deadline {
        load.run(Duration::from_millis(50))?;
        pause(Duration::from_millis(50));
        let resident = process::memory(proxy.child.id())?.resident;
        if resident < lowest {
            (lowest, lowest_since) = (resident, Instant::now());
        }
    }
    Ok(lowest)
}

fn write_report(options: &Options, measured: &Measured) -> Result<(), Failure> {
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    let mib = |bytes: u64| kib(bytes) / 1024.0;
    let table = format!(
        "| what | measured | limit |\n|---|---|---|\n\
         | process after its start | {:.1} MiB | |\n\
         | idle plain pair, {} of them, hello said | {:.1} KiB | 16 KiB |\n\
         | idle plain pair after traffic | {:.1} KiB | 16 KiB |\n\
         | idle pair with TLS on both sides, as many, hello said | {:.1} KiB | 24 KiB |\n\
         | idle pair with TLS on both sides after traffic | {:.1} KiB | 24 KiB |\n\
         | process with {} busy connections, at the end | {:.1} MiB | 100 MB |\n\
         | process with {} busy connections, peak | {:.1} MiB | 100 MB |\n",
        mib(measured.started_bytes),
        measured.idle_connections,
        kib(measured.idle_pair_bytes),
        kib(measured.idle_pair_after_traffic_bytes),
        kib(measured.idle_tls_pair_bytes),
        kib(measured.idle_tls_pair_after_traffic_bytes),
        measured.busy_connections,
        mib(measured.busy_bytes),
        measured.busy_connections,
        mib(measured.busy_peak_bytes),
    );
    tell_part!("{table}");
    let kept = [
        (measured.idle_pair_bytes, PAIR_BYTES_MAX),
        (measured.idle_pair_after_traffic_bytes, PAIR_BYTES_MAX),
        (measured.idle_tls_pair_bytes, TLS_PAIR_BYTES_MAX),
        (measured.idle_tls_pair_after_traffic_bytes, TLS_PAIR_BYTES_MAX),
        (measured.busy_peak_bytes, BUSY_BYTES_MAX),
    ]
    .iter()
    .all(|(bytes, most)| bytes <= most);
    tell!("{}", if kept { "limits kept" } else { "limits MISSED" });
    if options.no_write {
        return Ok(());
    }
    let directory = report::directory()?;
    let description = format!(
        "{}; one executor; {} KiB frames of 1 KiB records, sealed and passed, {} s in each direction",
        Machine::of_this_run().text(),
        options.frame_kib,
        options.traffic_s
    );
    let json = serde_json::json!({ "description": description, "measured": measured });
    std::fs::write(
        directory.join("memory.json"),
        serde_json::to_string_pretty(&json)? + "\n",
    )?;
    let text = format!(
        "# Memory\n\n\
         Written by `cargo run --release -p bench-harness --features measurements -- memory`. \
         Resident memory of the process (`VmRSS`, `VmHWM`); the kernel's socket buffers are not in it.\n\n\
         {description}\n\n{table}"
    );
    std::fs::write(directory.join("memory.md"), text)?;
    tell!("written to {}", directory.display());
    Ok(())
}

const PAIR_BYTES_MAX: u64 = 16 << 10;
const TLS_PAIR_BYTES_MAX: u64 = 24 << 10;
const BUSY_BYTES_MAX: u64 = 100_000_000;
