//! The load of the harness itself, as what drives a run.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Counts, Load, Plan, Traffic};
use crate::Failure;
use crate::generator::{Generator, Turn};
use crate::measure::process::{self, nanoseconds};
use crate::measure::{Exchanged, Latency};
use crate::scenario::Point;
use crate::systems::{Fleet, Site, sealed_history};

/// Clients and stand-in broker in this thread.
pub(crate) struct Loopback {
    load: Load,
    /// One for each system of the point.
    lanes: Vec<Lane>,
    rate_mb_per_s: Option<f64>,
    /// Whether clients of a system are connected in its own turn only: all at once would be more than can be open.
    in_turns: bool,
    /// How many open files this process may have.
    descriptors: usize,
}

/// What is exchanged with one system.
struct Lane {
    address: SocketAddr,
    traffic: Rc<Traffic>,
    first_frame: Duration,
    connections: usize,
    idle_connections: usize,
}

/// Listener, clocks, logs.
const DESCRIPTORS_BESIDE: usize = 64;

impl Loopback {
    pub(crate) fn new(broker_port: u16) -> Result<Self, Failure> {
        Ok(Self {
            load: Load::new(broker_port)?,
            lanes: Vec::new(),
            rate_mb_per_s: None,
            in_turns: false,
            descriptors: usize::try_from(process::raise_descriptor_limit()?).unwrap_or(usize::MAX),
        })
    }

    /// Opens the connections of a system. Those that are idle belong to a group that is never driven.
    fn connect(&mut self, place: usize) -> Result<(), Failure> {
        let lane = self.lanes.get(place).ok_or("no such system")?;
        self.load
            .connect(idle_group(place), lane.address, lane.idle_connections)?;
        self.load.connect(group(place), lane.address, lane.connections)
    }

    fn disconnect(&mut self, place: usize) -> Result<(), Failure> {
        self.load.disconnect(group(place));
        self.load.disconnect(idle_group(place));
        self.load.wait_for_those_who_leave()
    }
}

fn group(place: usize) -> usize {
    2 * place
}

fn idle_group(place: usize) -> usize {
    2 * place + 1
}

impl Generator for Loopback {
    fn broker_port(&self) -> u16 {
        self.load.broker_port()
    }

    fn site(&mut self, point: &Point, directory: &Path) -> Result<Site, Failure> {
        self.load.site(point, directory)
    }

    fn attend(&mut self) -> Result<(), Failure> {
        self.load.run(Duration::from_millis(2))
    }

    fn begin(&mut self, point: &Point, _: &Turn, fleet: &Fleet, directory: &Path) -> Result<(), Failure> {
        self.rate_mb_per_s = point.rate_mb_per_s;
        let sockets = 2 * (point.connections + point.idle_connections);
        let room = self.descriptors.saturating_sub(DESCRIPTORS_BESIDE);
        if sockets > room {
            return Err(format!("{room} open files are too few for {sockets} sockets (ulimit -n)").into());
        }
        self.in_turns = sockets * fleet.systems.len() > room;
        for (place, system) in fleet.systems.iter().enumerate() {
            let named = |failure| format!("{}: {failure} ({})", system.name, system.address);
            let start = Instant::now();
            self.load
                .connect(group(place), system.address, 1)
                .map_err(named)?;
            let connected_in = start.elapsed();
            let plan = Plan {
                point,
                prefix: system.prefix,
                readable: system.readable,
                history: &|batch| sealed_history(directory, point, batch),
            };
            let traffic = Traffic::prepare(&mut self.load, group(place), &plan).map_err(named)?;
            let traffic = Rc::new(traffic);
            self.load.exchange_all(group(place), &traffic).map_err(named)?;
            self.lanes.push(Lane {
                address: system.address,
                first_frame: connected_in + traffic.first_frame,
                traffic,
                connections: point.connections,
                idle_connections: point.idle_connections,
            });
            self.disconnect(place).map_err(named)?;
            if !self.in_turns {
                self.connect(place).map_err(named)?;
            }
        }
        Ok(())
    }

    fn first_frame(&self, place: usize) -> Option<Duration> {
        Some(self.lanes.get(place)?.first_frame)
    }

    fn turn(
        &mut self,
        place: usize,
        turn: &Turn,
        mark: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Exchanged, Failure> {
        if self.in_turns {
            self.connect(place)?;
        }
        let lane = self.lanes.get(place).ok_or("no such system")?;
        self.load.start(group(place), &lane.traffic, self.rate_mb_per_s)?;
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
        if self.in_turns {
            self.disconnect(place)?;
        }
        Ok(exchanged(&counts, wall, cpu))
    }

    fn end(&mut self) {
        self.load.clear();
        self.lanes.clear();
    }
}

fn exchanged(counts: &Counts, wall: Duration, cpu: Duration) -> Exchanged {
    Exchanged {
        wall_ns: nanoseconds(wall),
        frames: counts.frames,
        records: counts.records,
        bytes: counts.bytes,
        dropped: counts.dropped,
        latency_ns: (counts.frames > 0).then(|| Latency::of(&counts.latency_ns)),
        broker_cpu_ns: None,
        load_cpu_share: cpu.as_secs_f64() / wall.as_secs_f64().max(1e-9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Direction, What};
    use crate::systems::Choice;

    const TURN: Turn = Turn {
        warm_up: Duration::from_millis(10),
        duration: Duration::from_millis(100),
    };

    /// The same place twice, so that nothing has to be started.
    fn begin(generator: &mut Loopback, point: &Point) {
        let choice = Choice {
            names: vec!["direct".to_owned(); 2],
            peers: Vec::new(),
            program: "none".into(),
        };
        let directory = crate::children::scratch_directory().unwrap();
        let directory = directory.path();
        let site = generator.site(point, directory).unwrap();
        let fleet = Fleet::start(&choice, point, directory, &site, &mut || Ok(())).unwrap();
        generator.begin(point, &TURN, &fleet, directory).unwrap();
    }

    /// Half of the connections produce.
    fn point() -> Point {
        let mut point = Point::of(What::Pass, Direction::Both);
        (point.connections, point.idle_connections) = (6, 4);
        point
    }

    fn turns(descriptors: usize) -> (Vec<Exchanged>, usize) {
        let mut generator = Loopback::new(0).unwrap();
        generator.descriptors = descriptors;
        begin(&mut generator, &point());
        let mut marks = 0;
        let exchanged = [1, 0, 1].map(|place| {
            let mut mark = || {
                marks += 1;
                Ok(())
            };
            generator.turn(place, &TURN, &mut mark).unwrap()
        });
        assert_eq!(marks, 6);
        (exchanged.into(), generator.load.open())
    }

    /// RUN-1: another point, with frames of another length.
    #[test]
    fn a_turn_that_fails_leaves_nothing_to_the_next_point() {
        for rate in [None, Some(1.0)] {
            let mut generator = Loopback::new(0).unwrap();
            let mut point = point();
            point.rate_mb_per_s = rate;
            begin(&mut generator, &point);
            let failed = generator.turn(0, &TURN, &mut || Err("it broke".into()));
            assert!(failed.is_err());
            generator.end();
            (point.frame_kib, point.rate_mb_per_s) = (4, None);
            begin(&mut generator, &point);
            let exchanged = generator.turn(0, &TURN, &mut || Ok(())).unwrap();
            assert!(exchanged.frames > 0, "{exchanged:?}");
        }
    }

    #[test]
    fn clients_are_connected_for_good_or_in_their_turn_if_they_are_too_many() {
        for (descriptors, left_open) in [(1000, 2 * 2 * (6 + 4)), (DESCRIPTORS_BESIDE + 2 * (6 + 4), 0)] {
            let (exchanged, open) = turns(descriptors);
            assert_eq!(open, left_open);
            for exchanged in exchanged {
                assert!(
                    exchanged.frames > 0 && exchanged.load_cpu_share > 0.0,
                    "{exchanged:?}"
                );
                assert_eq!(exchanged.records, exchanged.frames);
            }
        }
    }
}
