//! What is done at one point: topics, and how many records a turn has.

use std::net::SocketAddr;

use rdkafka::message::OwnedMessage;

use super::order::Order;
use crate::scenario::Point;
use crate::systems::{Fleet, PASSED_PREFIX};

/// Of one point.
pub(super) struct Course {
    point: Point,
    /// The topic of each system. Those whose topics would begin with the same word share one, but for those of another
    /// make: what each of them stores only that one reads.
    pub(super) of_systems: Vec<String>,
    /// For warming up.
    pub(super) scratch: String,
    addresses: Vec<SocketAddr>,
    /// What a system stores, where it is fetched at a rate: of each system.
    pub(super) stored: Vec<Vec<OwnedMessage>>,
    pub(super) warm_up: u64,
    pub(super) records: u64,
}

impl Course {
    pub(super) fn new(point: &Point, fleet: &Fleet, number: usize) -> Self {
        // The digits name the KEK.
        let topic = |prefix: &str| format!("{prefix}00000-{number}");
        Self {
            point: point.clone(),
            of_systems: fleet
                .systems
                .iter()
                .enumerate()
                .map(|(place, system)| match system.readable {
                    Some(_) => topic(system.prefix),
                    None => topic(system.prefix) + &format!("-peer{place}"),
                })
                .collect(),
            scratch: topic(PASSED_PREFIX) + "-scratch",
            addresses: fleet.systems.iter().map(|system| system.address).collect(),
            stored: Vec::new(),
            warm_up: 0,
            records: 0,
        }
    }

    /// All of them, once.
    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        let histories = self.histories().map(|(_, topic)| topic);
        histories.chain([&self.scratch])
    }

    /// Topics of systems, once, with the first system that has it.
    pub(super) fn histories(&self) -> impl Iterator<Item = (usize, &String)> {
        let topics = self.of_systems.iter().enumerate();
        topics.filter(|(place, topic)| !self.of_systems.iter().take(*place).any(|other| other == *topic))
    }

    /// A turn of the system at `place`.
    pub(super) fn order(&self, place: usize) -> Option<Order<'_>> {
        Some(Order {
            bootstrap: *self.addresses.get(place)?,
            topic: self.of_systems.get(place)?,
            point: &self.point,
            warm_up: self.warm_up,
            records: self.records,
        })
    }
}
