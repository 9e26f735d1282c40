//! The broker of the simulated world, which stores what it is sent and lies now and then.

use kafka_protocol::messages::FetchRequest;
use sealwire::record_batch::BatchHeader;

use super::{FETCH_VERSION, KEYS, NODE, PRODUCE_VERSION, Place, Sent, World};
use crate::rig::{at_offset, contains, keys_of, records_of, tampered};
use crate::wire::{decode_request, fetch_response, fetched, own_answer, prefixed, produced, stored};

impl World {
    pub(super) fn broker_answers(&mut self, frame: &[u8]) {
        let id = i32::from_be_bytes(*frame[4..].first_chunk().unwrap());
        let answer = match frame[1] {
            0 => {
                for (topic, partition, records) in produced(frame, PRODUCE_VERSION) {
                    self.store(id, (topic, partition), records);
                }
                stored(PRODUCE_VERSION, id, frame)
            }
            1 => self.broker_reads(id, frame),
            3 => own_answer(id, &[(NODE, "kafka-1", 9092)]),
            _ => {
                let mut answer = id.to_be_bytes().to_vec();
                answer.resize(4 + self.dice.below(400) as usize, 0);
                prefixed(&answer)
            }
        };
        self.from_broker.extend(answer);
    }

    pub(super) fn store(&mut self, id: i32, place: Place, records: Vec<u8>) {
        let Some((_, Sent::Produce(batches))) = self.unanswered.iter().find(|(sent, _)| *sent == id) else {
            panic!("request {id} is not one that waits")
        };
        let (_, batch) = batches.iter().find(|(sent, _)| *sent == place).unwrap();
        let header = BatchHeader::parse(&records).unwrap();
        assert_eq!(header.base_sequence, batch.sequence);
        // What is compressed has escaped the search for the canary.
        assert!(!contains(&records_of(&records), "sesame"));
        if place.0 == KEYS {
            for (clear, sealed) in keys_of(&batch.clear).into_iter().zip(keys_of(&records)) {
                let before = self.sealed_keys.entry(clear).or_insert_with(|| sealed.clone());
                assert_eq!(*before, sealed, "equal keys are stored equally");
            }
        }
        let log = self.logs.entry(place.clone()).or_default();
        assert_eq!(
            header.base_sequence as usize,
            log.batches.len(),
            "{place:?} is stored out of order"
        );
        log.batches.push((
            log.end,
            at_offset(&records, log.end),
            at_offset(&batch.clear, log.end),
        ));
        log.end += i64::from(header.record_count);
        self.stored.insert((id, place), true);
    }

    pub(super) fn broker_reads(&mut self, id: i32, frame: &[u8]) -> Vec<u8> {
        let request: FetchRequest = decode_request(frame, FETCH_VERSION);
        let lies = !self.resting && self.dice.below(8) == 0;
        let mut answer = Vec::new();
        for topic in &request.topics {
            for wanted in &topic.partitions {
                let name = topic.topic.0.to_string();
                if name == "unknown" {
                    answer.push(fetched(&name, wanted.partition, b"unknown-canary"));
                    continue;
                }
                let log = self.logs.entry((name.clone(), wanted.partition)).or_default();
                let mut records = Vec::new();
                let count = 1 + self.dice.below(4) as usize;
                let behind = log
                    .batches
                    .iter()
                    .filter(|(offset, ..)| *offset >= wanted.fetch_offset);
                for (_, batch, _) in behind.take(count) {
                    if lies && name != "pass-a" && self.dice.below(3) == 0 {
                        records.extend(tampered(batch, 0));
                    } else {
                        records.extend(batch);
                    }
                }
                if self.dice.below(4) == 0 {
                    records.truncate(records.len() - records.len().min(self.dice.below(50) as usize));
                }
                answer.push(fetched(&name, wanted.partition, &records));
            }
        }
        self.lied.insert(id, lies);
        fetch_response(FETCH_VERSION, id, &answer)
    }
}
