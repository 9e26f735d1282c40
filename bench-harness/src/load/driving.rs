//! What is sent and answered: one frame to try, a closed loop, or requests at a rate; and what the broker says.
//!
//! Without a rate the loop is closed: who has an answer asks again, and latency counts from when it was asked. At a
//! rate it is open: requests are due at fixed times, wait where their connection is busy, and latency counts from when
//! they were due, so that a system that stops for a moment pays for everybody who waits meanwhile.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::{Connection, Side};
use super::frame::{Frame, TopicDigits};
use super::incoming::Received;
use super::pace::Pace;
use super::traffic::{FETCH, PRODUCE, Traffic};
use super::{CLOCK, Load, wire};
use crate::Failure;

impl Load {
    /// The `nth` exchange of that kind on one client of `group`: the response, and the request as the broker got it.
    pub(super) fn once(
        &mut self,
        group: usize,
        traffic: &Traffic,
        api_key: i16,
        nth: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let exchange = traffic.of_api(api_key).ok_or("nothing to exchange")?;
        (self.capturing, self.capture, self.answers) = (true, None, nth);
        self.traffic = Some(Rc::new(traffic.clone()));
        let client = self.client(group).ok_or("no client to send with")?;
        client.incoming.keep = Some(Vec::new());
        client.send(&exchange.request, Some(traffic.topic(nth)), None);
        let done = self.settle();
        self.capturing = false;
        let response = self.client(group).and_then(|client| client.incoming.keep.take());
        done?;
        Ok((
            response.unwrap_or_default(),
            self.capture.take().unwrap_or_default(),
        ))
    }

    /// Keeps every client of `group` busy until [`Self::stop`]; or sends 10^6 bytes `rate_mb_per_s` times a second.
    pub(crate) fn start(
        &mut self,
        group: usize,
        traffic: &Rc<Traffic>,
        rate_mb_per_s: Option<f64>,
    ) -> Result<(), Failure> {
        self.traffic = Some(Rc::clone(traffic));
        self.driven = Some(group);
        self.checking = true;
        let members: Vec<usize> = self.places_of(group).collect();
        if let Some(rate) = rate_mb_per_s {
            let interval = traffic.mean_bytes() / (rate * 1e6);
            let mut pace = Pace::new(members, Duration::from_secs_f64(interval))?;
            pace.register(self.poll.registry(), CLOCK)?;
            self.pace = Some(pace);
            return self.send_what_is_due();
        }
        for place in members {
            self.request(place, Instant::now());
        }
        Ok(())
    }

    /// Goes once through all topics, so that none is new when it counts.
    pub(super) fn exchange_all(&mut self, group: usize, traffic: &Rc<Traffic>) -> Result<(), Failure> {
        if traffic.topics > 1 {
            let until = self.requests + traffic.topics;
            self.start(group, traffic, None)?;
            while self.requests < until {
                self.turn(Duration::from_millis(50))?;
            }
            self.stop()?;
        }
        Ok(())
    }

    /// Sends nothing new and waits until every request has been answered.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        self.driven = None;
        if let Some(mut pace) = self.pace.take() {
            pace.deregister(self.poll.registry())?;
        }
        for connection in self.connections.iter_mut().flatten() {
            connection.due.clear();
        }
        self.settle()?;
        self.checking = false;
        Ok(())
    }

    fn client(&mut self, group: usize) -> Option<&mut Connection> {
        let mut connections = self.connections.iter_mut().flatten();
        connections.find(|connection| connection.is_client_of(group))
    }

    fn places_of(&self, group: usize) -> impl Iterator<Item = usize> {
        let connections = self.connections.iter().enumerate();
        connections.filter_map(move |(place, connection)| {
            connection
                .as_ref()
                .is_some_and(|connection| connection.is_client_of(group))
                .then_some(place)
        })
    }

    /// At a rate: sends what is due on connections that are free, and lets wait what is due on others.
    pub(super) fn send_what_is_due(&mut self) -> Result<(), Failure> {
        let Some(mut pace) = self.pace.take() else {
            return Ok(());
        };
        let now = Instant::now();
        while let Some((place, due)) = pace.next(now) {
            let Some(Some(connection)) = self.connections.get_mut(place) else {
                continue;
            };
            if !connection.waits() {
                self.request(place, due);
            } else if connection.due.len() < DUE_MAX {
                connection.due.push_back(due);
            } else {
                self.counts.dropped += 1;
            }
        }
        pace.arm()?;
        self.pace = Some(pace);
        Ok(())
    }

    /// The next request on a client's connection.
    fn request(&mut self, place: usize, sent_at: Instant) {
        let Some(traffic) = &self.traffic else { return };
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let Some(exchange) = traffic.exchange(connection.member()) else {
            return;
        };
        connection.sent_at = Some(sent_at);
        connection.send(&exchange.request, Some(traffic.topic(self.requests)), None);
        self.requests += 1;
    }

    pub(super) fn received(&mut self, place: usize, received: Received) -> Result<(), Failure> {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return Ok(());
        };
        match connection.side {
            Side::Broker => self.answer(place, received),
            Side::Client { group, member, .. } => {
                let Some(sent_at) = connection.sent_at.take() else {
                    return Ok(());
                };
                let due = connection.due.pop_front();
                let now = Instant::now();
                if let Some(exchange) = self.traffic.as_ref().and_then(|traffic| traffic.exchange(member)) {
                    if self.checking && exchange.response_bytes != received.bytes {
                        return Err(refused(exchange.response_bytes, received.bytes));
                    }
                    let latency = now.saturating_duration_since(sent_at);
                    self.counts.add(exchange.bytes(), exchange.records, latency);
                }
                match due {
                    Some(due) => self.request(place, due),
                    None if self.driven == Some(group) && self.pace.is_none() => {
                        if self.traffic.as_ref().is_some_and(|traffic| traffic.reconnects) {
                            self.reconnect(place)?;
                        }
                        self.request(place, now);
                    }
                    None => {}
                }
                Ok(())
            }
        }
    }

    /// What the stand-in broker says to a request.
    fn answer(&mut self, place: usize, received: Received) -> Result<(), Failure> {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return Ok(());
        };
        if received.api_key == PRODUCE && self.capturing {
            self.capture.clone_from(&received.frame);
        }
        if !matches!(received.api_key, PRODUCE | FETCH) {
            let frame = received
                .frame
                .ok_or("a request was discarded that has to be answered")?;
            connection.send(&Frame::fixed(wire::answer(&frame, self.port)?), None, None);
            return Ok(());
        }
        let traffic = self.traffic.as_ref().ok_or("a request before there was any")?;
        let exchange = traffic
            .of_api(received.api_key)
            .ok_or("a request of another kind than was sent")?;
        let topic = exchange
            .request
            .topic_at
            .and_then(|at| TopicDigits::found(&received.head, at));
        let response = exchange.response(self.answers, topic, traffic.keks);
        connection.send(response.ok_or("no answer")?, topic, Some(received.correlation_id));
        self.answers += 1;
        Ok(())
    }
}

/// A response of another length does not say what the right one says.
fn refused(expected: usize, got: usize) -> Failure {
    format!("a response has {got} bytes instead of {expected}: something was refused").into()
}

/// Requests of one connection that were due and wait; more are not sent, and counted.
const DUE_MAX: usize = 1024;
