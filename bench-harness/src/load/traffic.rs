//! What clients send and the broker answers at one point of a scenario, made and tried once through each system.
//!
//! What is fetched through a system was captured from its own produce direction, or sealed under as many data keys as
//! the history is to have.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::{Batch, CANARY, batch};
use super::frame::{Frame, TopicDigits};
use super::{Load, wire};
use crate::children::pause;
use crate::scenario::{Direction, Point};
use crate::{Failure, contains, requests};

/// Of one system.
#[derive(Clone)]
pub(crate) struct Traffic {
    /// One for all connections, or two that they take in turn.
    pub(super) exchanges: Vec<Exchange>,
    pub(super) topics: usize,
    pub(super) keks: usize,
    /// Whether each request has a connection of its own.
    pub(super) reconnects: bool,
    /// How long the first exchange took.
    pub(super) first_frame: Duration,
}

/// A request, and what the broker answers.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(super) api_key: i16,
    pub(super) request: Frame,
    /// In turn; or, where there are several KEKs, by the topic's KEK.
    pub(super) responses: Vec<Frame>,
    /// Bytes of a response as clients get it: any other is a refusal.
    pub(super) response_bytes: usize,
    pub(super) records: usize,
}

/// What is to be sent through a system.
pub(crate) struct Plan<'a> {
    pub(crate) point: &'a Point,
    /// What topics' names begin with.
    pub(crate) prefix: &'a str,
    /// Whether the broker has to be, or must not be, able to read it; unknown of a program that is not ours.
    pub(crate) readable: Option<bool>,
    /// Batches that were sealed under a data key each, instead of what is captured.
    pub(crate) history: &'a dyn Fn(&Bytes) -> Result<Vec<Bytes>, Failure>,
}

impl Traffic {
    /// Makes it, and exchanges one frame of each kind: nothing is refused, what is to be sealed is, and what is fetched
    /// is what was produced.
    pub(crate) fn prepare(load: &mut Load, group: usize, plan: &Plan<'_>) -> Result<Self, Failure> {
        let point = plan.point;
        let made = batch_of(plan.prefix, point)?;
        let mut traffic = Self {
            exchanges: vec![Exchange::produce(plan.prefix, &made)?],
            topics: point.topics,
            keks: point.keks,
            reconnects: point.reconnects,
            first_frame: Duration::ZERO,
        };
        let start = Instant::now();
        let mut stored = Vec::new();
        for kek in 0..point.keks {
            let (response, frame) = load.once(group, &traffic, PRODUCE, kek)?;
            requests::check_produced(&response)?;
            if kek == 0 {
                traffic.first_frame = start.elapsed();
            }
            traffic.set_response_bytes(PRODUCE, response.len());
            if plan
                .readable
                .is_some_and(|readable| readable != is_readable(&frame, &made))
            {
                return Err("what the broker got is readable and should not be, or the reverse".into());
            }
            stored.push(wire::produced_records(&frame)?);
        }
        if point.direction == Direction::Produce {
            return Ok(traffic);
        }
        if plan.readable == Some(false) && point.deks > 1 {
            stored = (plan.history)(&made.plain)?;
        }
        traffic
            .exchanges
            .push(Exchange::fetch(plan.prefix, &made, &stored)?);
        // A sealed batch comes back as it was before its client compressed it.
        let expected = match plan.readable {
            Some(false) => &made.plain,
            _ => &made.sent,
        };
        for place in 0..stored.len() {
            let fetched = fetch_once(load, group, &traffic, place, expected)?;
            traffic.set_response_bytes(FETCH, fetched);
        }
        if point.direction == Direction::Fetch {
            traffic.exchanges.remove(0);
        }
        Ok(traffic)
    }

    pub(super) fn exchange(&self, member: usize) -> Option<&Exchange> {
        self.exchanges.get(member % self.exchanges.len().max(1))
    }

    pub(super) fn of_api(&self, api_key: i16) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.api_key == api_key)
    }

    /// Of the request that is the `nth`.
    pub(super) fn topic(&self, nth: usize) -> TopicDigits {
        TopicDigits::of(nth % self.topics.max(1), self.keks)
    }

    /// Bytes there and back of one exchange, in the mean.
    pub(super) fn mean_bytes(&self) -> f64 {
        let bytes: usize = self.exchanges.iter().map(Exchange::bytes).sum();
        bytes as f64 / self.exchanges.len().max(1) as f64
    }

    fn set_response_bytes(&mut self, api_key: i16, bytes: usize) {
        for exchange in &mut self.exchanges {
            if exchange.api_key == api_key {
                exchange.response_bytes = bytes;
            }
        }
    }
}

impl Exchange {
    fn produce(prefix: &str, made: &Batch) -> Result<Self, Failure> {
        let topic = TopicDigits::of(0, 1).name(prefix);
        Ok(Self {
            api_key: PRODUCE,
            request: Frame::of_topic(requests::produce_request(&topic, made.sent.clone())?, &topic)?,
            responses: vec![Frame::of_topic(wire::produce_response(&topic)?, &topic)?],
            response_bytes: 0,
            records: made.records,
        })
    }

    fn fetch(prefix: &str, made: &Batch, stored: &[Bytes]) -> Result<Self, Failure> {
        let topic = TopicDigits::of(0, 1).name(prefix);
        let response = |records: &Bytes| -> Result<Frame, Failure> {
            Frame::of_topic(wire::fetch_response(&topic, records.clone())?, &topic)
        };
        Ok(Self {
            api_key: FETCH,
            request: Frame::of_topic(requests::fetch_request(&topic)?, &topic)?,
            responses: stored.iter().map(response).collect::<Result<_, _>>()?,
            response_bytes: 0,
            records: made.records,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.request.len() + self.response_bytes
    }

    /// The broker's answer to its `nth` request of this kind.
    pub(super) fn response(&self, nth: usize, topic: Option<TopicDigits>, keks: usize) -> Option<&Frame> {
        let place = match topic {
            Some(topic) if keks > 1 => topic.kek(),
            _ => nth,
        };
        self.responses.get(place % self.responses.len().max(1))
    }
}

fn batch_of(prefix: &str, point: &Point) -> Result<Batch, Failure> {
    let topic = TopicDigits::of(0, 1).name(prefix);
    batch(&topic, point.frame_kib << 10, point.record_bytes, point.codec)
}

/// The batch of a point as it is before its client compresses it, and how many records it has.
pub(crate) fn plain_batch(point: &Point) -> Result<(Bytes, usize), Failure> {
    let made = batch_of("public-", point)?;
    Ok((made.plain, made.records))
}

fn is_readable(frame: &[u8], made: &Batch) -> bool {
    // What the client compressed is not searched: it is as it was sent, or it is not.
    match made.sent == made.plain {
        true => contains(frame, CANARY),
        false => contains(frame, record_bytes(&made.sent)),
    }
}

/// Fetches until the records are there; bytes of the response that had them.
fn fetch_once(
    load: &mut Load,
    group: usize,
    traffic: &Traffic,
    place: usize,
    expected: &Bytes,
) -> Result<usize, Failure> {
    let deadline = Instant::now() + KEY_PATIENCE;
    loop {
        let (response, _) = load.once(group, traffic, FETCH, place)?;
        let fetched = requests::fetched_records(&response)?;
        if record_bytes(&fetched) == record_bytes(expected) {
            return Ok(response.len());
        }
        // "No data yet" until the key service has unwrapped the DEK.
        if !fetched.is_empty() || Instant::now() > deadline {
            return Err("other records came back than were sent".into());
        }
        pause(Duration::from_millis(5));
    }
}

/// The records of one batch without its header, which a broker (leader epoch) and a proxy (CRC) may write anew.
fn record_bytes(batch: &Bytes) -> &[u8] {
    batch
        .get(sealwire::record_batch::HEADER_BYTES..)
        .unwrap_or_default()
}

pub(super) const PRODUCE: i16 = 0;
pub(super) const FETCH: i16 = 1;
const KEY_PATIENCE: Duration = Duration::from_secs(5);
