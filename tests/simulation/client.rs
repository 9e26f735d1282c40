//! The client of the simulated world: what it sends, and what it makes of answers.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, FetchRequest, TopicName};
use sealwire::record_batch::{BatchKind, Batches};

use super::{
    Event, FETCH_VERSION, IN_FLIGHT_MAX, KEYS, PARTITIONS, PRODUCE_VERSION, Place, Sent, TOPICS, World,
};
use crate::dice::Batch;
use crate::wire::{
    Fetched, api_versions_request, delivered, prefixed, produce, request, text, to_produce, verdicts,
};

impl World {
    pub(super) fn client_acts(&mut self) {
        if self.unanswered.len() >= IN_FLIGHT_MAX {
            return;
        }
        match self.dice.below(10) {
            0..=4 => self.client_produces(),
            5..=7 => self.client_fetches(),
            8 => {
                let mut frame = vec![0, 2, 0, 7];
                let id = self.send(Sent::Other);
                frame.extend(id.to_be_bytes());
                frame.resize(8 + self.dice.below(400) as usize, 0);
                self.from_client.extend(prefixed(&frame));
            }
            _ => {
                let id = self.send(Sent::Other);
                self.from_client.extend(api_versions_request(99, id));
            }
        }
    }

    pub(super) fn send(&mut self, sent: Sent) -> i32 {
        self.next_id += 1;
        self.unanswered.push_back((self.next_id, sent));
        self.next_id
    }

    pub(super) fn client_produces(&mut self) {
        let mut batches = Vec::new();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                let place = (topic.to_owned(), partition);
                let producer = self.producers.entry(place.clone()).or_default();
                // What was refused goes again once all that was behind it has come back as well.
                let batch = match producer.again.front() {
                    Some(_) if producer.in_flight > 0 => continue,
                    // A refusal for good leaves a gap: nothing is sent behind what may have it.
                    None if topic == KEYS && producer.in_flight > 0 => continue,
                    Some(_) => producer.again.pop_front(),
                    None if self.resting || self.dice.below(3) > 0 => continue,
                    None => {
                        producer.next_sequence += 1;
                        Some(self.dice.batch(topic, producer.next_sequence - 1))
                    }
                };
                producer.in_flight += 1;
                batches.extend(batch.map(|batch| (place, batch)));
            }
        }
        if batches.is_empty() {
            return;
        }
        let id = self.send(Sent::Produce(batches.clone()));
        let partitions: Vec<_> = batches
            .iter()
            .map(|((topic, partition), batch)| to_produce(topic, *partition, &batch.sent))
            .collect();
        self.from_client
            .extend(produce(PRODUCE_VERSION, id, -1, &partitions));
    }

    pub(super) fn client_fetches(&mut self) {
        // All of them, or only the one that passes.
        let passed = || TOPICS.iter().filter(|topic| **topic == "pass-a").collect();
        let wanted: Vec<&&str> = match self.dice.below(3) {
            0 if !self.resting => passed(),
            _ => TOPICS.iter().collect(),
        };
        let topics = wanted.iter().map(|&&topic| {
            let partitions = (0..PARTITIONS).map(|partition| {
                let position = self.positions.get(&(topic.to_owned(), partition));
                FetchPartition::default()
                    .with_partition(partition)
                    .with_fetch_offset(position.copied().unwrap_or_default())
            });
            FetchTopic::default()
                .with_topic(TopicName(text(topic)))
                .with_partitions(partitions.collect())
        });
        let body = FetchRequest::default().with_topics(topics.collect());
        let id = self.send(Sent::Fetch(wanted.len()));
        self.from_client
            .extend(request(ApiKey::Fetch, FETCH_VERSION, id, &body));
    }

    pub(super) fn client_receives(&mut self, frame: &[u8]) {
        let id = i32::from_be_bytes(*frame.first_chunk().unwrap());
        let (expected, sent) = self.unanswered.pop_front().expect("an answer to nothing");
        assert_eq!(id, expected, "answers are out of order");
        match sent {
            Sent::Produce(batches) => self.client_learns(id, &batches, frame),
            Sent::Fetch(topics) => {
                let partitions = delivered(frame, FETCH_VERSION);
                assert_eq!(partitions.len(), topics * PARTITIONS as usize);
                for partition in partitions {
                    self.client_reads(id, &partition);
                }
            }
            Sent::Other => {}
        }
    }

    pub(super) fn client_learns(&mut self, id: i32, batches: &[(Place, Batch)], frame: &[u8]) {
        let verdicts = verdicts(frame, PRODUCE_VERSION);
        assert_eq!(verdicts.len(), batches.len(), "each partition is answered once");
        for verdict in verdicts {
            let place = (verdict.topic, verdict.partition);
            let (_, batch) = batches.iter().find(|(sent, _)| *sent == place).unwrap();
            let is_stored = self.stored.contains_key(&(id, place.clone()));
            assert_eq!(
                verdict.error_code == 0,
                is_stored,
                "{place:?}: {}",
                verdict.message
            );
            let producer = self.producers.get_mut(&place).unwrap();
            producer.in_flight -= 1;
            match (place.0.as_str(), verdict.error_code) {
                (_, 0) => {}
                ("unknown", code) => assert_eq!(code, 44),
                ("pass-a", code) => panic!("what is passed got {code}"),
                (KEYS, 44) => {
                    producer.again.push_back(batch.clone());
                    self.seen.insert(Event::StableKeyRefused);
                }
                (_, code) => {
                    assert_eq!(code, 19, "{}", verdict.message);
                    producer.again.push_back(batch.clone());
                    self.seen.insert(Event::ProduceRefused);
                }
            }
        }
    }

    pub(super) fn client_reads(&mut self, id: i32, partition: &Fetched) {
        let place = (partition.topic.clone(), partition.partition);
        if place.0 == "unknown" {
            assert_eq!(
                (partition.error_code, partition.records.as_slice()),
                (29, &b""[..])
            );
            return;
        }
        match partition.error_code {
            0 => {}
            2 => {
                assert!(self.lied[&id], "{place:?} was not tampered with");
                self.seen.insert(Event::LieRefused);
            }
            29 => {
                assert!(place.0 != "pass-a");
                self.seen.insert(Event::KeyRefused);
            }
            other => panic!("{place:?} got {other}"),
        }
        let log = &self.logs[&place];
        let position = self.positions.entry(place.clone()).or_default();
        let records = &partition.records;
        if partition.error_code == 0 && records.is_empty() && *position < log.end {
            self.seen.insert(Event::NoDataYet);
        }
        for slice in Batches::new(records).map_while(Result::ok) {
            let BatchKind::V2(header) = slice.kind else {
                panic!("an old message set")
            };
            let Some((_, _, clear)) = log
                .batches
                .iter()
                .find(|(offset, ..)| *offset == header.base_offset)
            else {
                panic!("{place:?} has no batch at {}", header.base_offset)
            };
            assert_eq!(
                slice.span.of(records),
                clear,
                "{place:?} at {}",
                header.base_offset
            );
            // Fetches that were sent before the position moved read the same once more.
            if header.base_offset == *position {
                *position += i64::from(header.record_count);
                self.seen.insert(Event::Delivered);
            } else {
                assert!(header.base_offset < *position, "{place:?}: a batch was left out");
            }
        }
    }
}
