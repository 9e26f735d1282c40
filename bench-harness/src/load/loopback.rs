//! The load of the harness itself, as what drives a run.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Counts, Load, Plan, Traffic};
use crate::Failure;
use crate::generator::{Exchanged, Generator, Turn};
use crate::measure::{Latency, process};
use crate::scenario::Point;
use crate::systems::{Fleet, sealed_history};

/// Clients and stand-in broker in this thread.
pub(crate) struct Loopback {
    load: Load,
    /// Of each system of the point.
    traffic: Vec<Rc<Traffic>>,
    rate_mb_per_s: Option<f64>,
    /// How many open files this process may have.
    descriptors: u64,
}

/// Listener, clocks, logs.
const DESCRIPTORS_BESIDE: u64 = 64;

impl Loopback {
    pub(crate) fn new(broker_port: u16) -> Result<Self, Failure> {
        Ok(Self {
            load: Load::new(broker_port)?,
            traffic: Vec::new(),
            rate_mb_per_s: None,
            descriptors: process::raise_descriptor_limit()?,
        })
    }
}

impl Generator for Loopback {
    fn broker_port(&self) -> u16 {
        self.load.broker_port()
    }

    fn attend(&mut self) -> Result<(), Failure> {
        self.load.run(Duration::from_millis(20))
    }

    fn begin(&mut self, point: &Point, fleet: &Fleet, directory: &Path) -> Result<(), Failure> {
        self.rate_mb_per_s = point.rate_mb_per_s;
        let sockets = 2 * (point.connections + point.idle_connections) * fleet.systems.len();
        if sockets as u64 + DESCRIPTORS_BESIDE > self.descriptors {
            let limit = self.descriptors;
            return Err(format!("{limit} open files are too few for {sockets} sockets (ulimit -n)").into());
        }
        for (group, system) in fleet.systems.iter().enumerate() {
            let named = |failure| format!("{}: {failure}", system.name);
            // Those that are idle belong to a group that is never driven.
            let idle = fleet.systems.len() + group;
            let mut connect = |group, count| self.load.connect(group, system.address, count);
            connect(idle, point.idle_connections).map_err(named)?;
            connect(group, point.connections).map_err(named)?;
            let plan = Plan {
                point,
                prefix: system.prefix,
                readable: system.readable,
                history: &|batch| sealed_history(directory, point, batch),
            };
            let traffic = Traffic::prepare(&mut self.load, group, &plan).map_err(named)?;
            let traffic = Rc::new(traffic);
            self.load.exchange_all(group, &traffic).map_err(named)?;
            self.traffic.push(traffic);
        }
        Ok(())
    }

    fn turn(
        &mut self,
        place: usize,
        turn: &Turn,
        mark: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Exchanged, Failure> {
        let traffic = self.traffic.get(place).ok_or("no such system")?;
        self.load.start(place, traffic, self.rate_mb_per_s)?;
        self.load.run(turn.warm_up)?;
        mark()?;
        self.load.take_counts();
        let (cpu, start) = (process::own_cpu(), Instant::now());
        self.load.run(turn.duration)?;
        let (counts, wall) = (self.load.take_counts(), start.elapsed());
        let cpu = process::own_cpu().saturating_sub(cpu);
        mark()?;
        self.load.stop()?;
        self.load.take_counts();
        Ok(exchanged(&counts, wall, cpu))
    }

    fn end(&mut self) {
        for group in 0..2 * self.traffic.len() {
            self.load.disconnect(group);
        }
        self.traffic.clear();
    }
}

fn exchanged(counts: &Counts, wall: Duration, cpu: Duration) -> Exchanged {
    let at = |quantile| counts.latency_ns.value_at_quantile(quantile);
    Exchanged {
        wall,
        frames: counts.frames,
        records: counts.records,
        bytes: counts.bytes,
        dropped: counts.dropped,
        latency_ns: (counts.frames > 0).then(|| Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: counts.latency_ns.max(),
        }),
        load_cpu_share: cpu.as_secs_f64() / wall.as_secs_f64().max(1e-9),
    }
}
