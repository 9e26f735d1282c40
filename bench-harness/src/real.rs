//! A real broker of Kafka, and real clients: what drives a run with `--real`.
//!
//! Broker, clients and what lies between share all cores, as on a host that does everything: CPU per GB of a process
//! says what it costs, and throughput what is left of the host.
//!
//! - REAL-1: a system takes part only when it was seen that clients are sent back to it, not past it; and that the
//!   broker holds what went through it as that system should leave it: as it was, or unreadable.

mod course;
mod following;
mod java;
pub(crate) mod kafka;
mod librdkafka;
mod order;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use self::course::Course;
use self::kafka::cluster::KafkaCluster;
use self::order::{Done, Order};
use crate::children::scratch_directory;
use crate::generator::{Generator, Turn};
use crate::measure::Exchanged;
use crate::measure::process::{self, nanoseconds};
use crate::scenario::{Client, Direction, Point};
use crate::systems::{Fleet, Site, Version};
use crate::{Failure, load};

/// One broker, and the clients of the point under way.
pub(crate) struct Real {
    cluster: KafkaCluster,
    /// Of the listener that the broker has in any case.
    own_port: u16,
    site: Site,
    directory: TempDir,
    course: Option<Course>,
    /// How many points there were: topics are named by them.
    points: usize,
}

impl Real {
    /// Starts the broker, at `broker_port` if that is not 0; the first time on a machine its jars are fetched.
    pub(crate) fn start(broker_port: u16) -> Result<Self, Failure> {
        kafka::check().map_err(|failure| format!("--real: {failure}"))?;
        let relays = kafka::relays()?;
        let cluster = kafka::start(&relays, broker_port)?;
        let own_port = cluster.address_of(kafka::NODE).rsplit(':').next().map(str::parse);
        let own_port = own_port.ok_or("a broker without a port")??;
        Ok(Self {
            own_port,
            site: Site {
                broker_port: if broker_port == 0 { own_port } else { broker_port },
                relay_core: None,
                relays,
                certificates: None,
            },
            cluster,
            directory: scratch_directory()?,
            course: None,
            points: 0,
        })
    }

    /// Of broker and Java clients.
    pub(crate) fn version() -> Version {
        Version {
            of: "kafka".to_owned(),
            version: kafka::version().to_owned(),
        }
    }

    fn exchange(&self, order: &Order<'_>) -> Result<Done, Failure> {
        let file = self.directory.path().join("client.log");
        match (order.point.client, order.point.direction) {
            (Client::Librdkafka, Direction::Fetch) => librdkafka::fetch(order),
            (Client::Librdkafka, _) => librdkafka::produce(order),
            (_, Direction::Fetch) => java::fetch(&self.cluster, order, &file),
            _ => java::produce(&self.cluster, order, &file),
        }
    }

    /// How many records a second go straight to a broker, and back, that has been warmed up.
    fn records_per_second(&self, point: &Point, turn: &Turn, topic: &str) -> Result<f64, Failure> {
        let mut point = point.clone();
        point.direction = Direction::Produce;
        let bytes = WARM_UP_BYTES_PER_SECOND * turn.duration.as_secs_f64();
        let order = Order {
            bootstrap: load::local(self.site.broker_port),
            topic,
            point: &point,
            warm_up: 0,
            records: order::records(bytes / point.record_bytes as f64),
        };
        self.exchange(&order)?;
        Ok(self.exchange(&order)?.records_per_second)
    }

    /// Makes the topics of a point, and fills them as far as they have to be.
    fn prepare(&self, course: &mut Course, point: &Point, turn: &Turn, fleet: &Fleet) -> Result<(), Failure> {
        let is_history = point.direction == Direction::Fetch && point.rate_mb_per_s.is_none();
        for topic in course.topics() {
            kafka::create_topic(&self.cluster, topic, is_history)?;
        }
        // Before anything else: the end of a topic is looked at.
        for (place, topic) in course.of_systems.iter().enumerate() {
            self.check(point, place, fleet, topic)?;
        }
        let rate = match point.rate_mb_per_s {
            Some(rate) => rate * 1e6 / point.record_bytes as f64,
            None => self.records_per_second(point, turn, &course.scratch)?,
        };
        course.warm_up = match is_history {
            // A consumer reads what is there, all of it.
            true => 0,
            false => order::records(rate * turn.warm_up.as_secs_f64()),
        };
        course.records = order::records(rate * turn.duration.as_secs_f64());
        match point.direction {
            Direction::Fetch if is_history => self.produce_histories(course, point, fleet),
            Direction::Fetch => {
                let straight = load::local(self.site.broker_port);
                let stored = course
                    .of_systems
                    .iter()
                    .map(|topic| following::stored(straight, topic));
                course.stored = stored.collect::<Result<_, _>>()?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn produce_histories(&self, course: &Course, point: &Point, fleet: &Fleet) -> Result<(), Failure> {
        let mut point = point.clone();
        point.direction = Direction::Produce;
        for (place, topic) in course.histories() {
            self.exchange(&Order {
                bootstrap: fleet.systems.get(place).ok_or("no such system")?.address,
                topic,
                point: &point,
                warm_up: 0,
                records: course.records,
            })?;
        }
        Ok(())
    }

    /// REAL-1.
    fn check(&self, point: &Point, place: usize, fleet: &Fleet, topic: &str) -> Result<(), Failure> {
        let system = fleet.systems.get(place).ok_or("no such system")?;
        let known = [self.own_port, self.site.broker_port];
        let past = |port| known.contains(&port) || self.relayed().any(|relayed| relayed == port);
        let advertised = librdkafka::advertised_ports(system.address, topic)?;
        if system.process.is_some() && advertised.iter().copied().any(past) {
            return Err(format!("{}: it sends clients past itself, to {advertised:?}", system.name).into());
        }
        librdkafka::produce(&Order {
            bootstrap: system.address,
            topic,
            point,
            warm_up: 0,
            records: CHECKED_RECORDS,
        })?;
        let held = librdkafka::last_value(load::local(self.site.broker_port), topic)?;
        match (system.readable, held == librdkafka::value(point.record_bytes)) {
            (Some(true), false) => Err(format!("{}: the broker has something else", system.name).into()),
            (Some(false), true) => Err(format!("{}: the broker can read what it has", system.name).into()),
            _ => Ok(()),
        }
    }

    /// Where the broker listens for relays.
    fn relayed(&self) -> impl Iterator<Item = u16> {
        self.site.relays.iter().map(|relay| relay.broker_port)
    }

    fn broker_cpu(&self) -> Result<Duration, Failure> {
        let id = self.cluster.process_id(kafka::NODE);
        process::cpu_of_all(id.ok_or("the broker has ended")?)
    }
}

impl Generator for Real {
    fn broker_port(&self) -> u16 {
        self.site.broker_port
    }

    fn site(&mut self, _: &Point, _: &Path) -> Result<Site, Failure> {
        Ok(self.site.clone())
    }

    fn attend(&mut self) -> Result<(), Failure> {
        crate::children::pause(Duration::from_millis(20));
        Ok(())
    }

    fn begin(&mut self, point: &Point, turn: &Turn, fleet: &Fleet, _: &Path) -> Result<(), Failure> {
        self.points += 1;
        let mut course = Course::new(point, fleet, self.points);
        let prepared = self.prepare(&mut course, point, turn, fleet);
        self.course = Some(course);
        prepared
    }

    fn turn(
        &mut self,
        place: usize,
        _: &Turn,
        mark: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<Exchanged, Failure> {
        let course = self.course.as_ref().ok_or("no point was begun")?;
        let order = course.order(place).ok_or("no such system")?;
        let broker_cpu = self.broker_cpu()?;
        mark()?;
        let done = match course.stored.get(place) {
            Some(stored) => following::fetch(&order, load::local(self.site.broker_port), stored)?,
            None => self.exchange(&order)?,
        };
        mark()?;
        let broker_cpu = self.broker_cpu()?.saturating_sub(broker_cpu);
        let records = order.warm_up + order.records;
        Ok(Exchanged {
            wall_ns: (records as f64 * 1e9 / done.records_per_second.max(1.0)) as u64,
            frames: done.frames,
            records,
            bytes: records * order.point.record_bytes as u64,
            dropped: order.late(&done),
            latency_ns: done.latency_ns,
            load_cpu_share: 0.0,
            broker_cpu_ns: Some(nanoseconds(broker_cpu)),
        })
    }

    fn end(&mut self) {
        if let Some(course) = self.course.take() {
            let topics: Vec<&str> = course.topics().map(String::as_str).collect();
            kafka::delete_topics(&self.cluster, &topics);
        }
    }
}

/// What a broker that is still compiling takes at least: so long do clients warm it up before each point.
const WARM_UP_BYTES_PER_SECOND: f64 = 100e6;
const CHECKED_RECORDS: u64 = 10;
