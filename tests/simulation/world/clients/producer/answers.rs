//! What a producer makes of answers, and of requests that are not answered.

use kafka_protocol::messages::{InitProducerIdResponse, ProduceResponse};

use super::batch::Identity;
use super::{Acknowledged, Asked, Kind, Producer, RETRY_BACK_OFF, Reason};
use crate::wire::decode_response;
use crate::world::clients::errors::{Fate, fate};
use crate::world::clients::network::Event;
use crate::world::clients::value::is_passed;
use crate::world::clients::{Family, Place};

impl Producer {
    pub(super) fn takes_in(&mut self, event: Event) {
        match event {
            Event::Answered {
                correlation_id,
                frame,
            } => match self.asked.remove(&correlation_id) {
                Some(Asked::Identity) => self.learns_identity(&frame),
                Some(Asked::Coordinated) => self.is_coordinated(Some(&frame)),
                Some(Asked::Produce {
                    node,
                    version,
                    places,
                }) => {
                    let answer: ProduceResponse = decode_response(&frame, version);
                    self.network.throttle(node, answer.throttle_time_ms, self.now);
                    self.learns_fates((correlation_id, node), &places, &answer);
                }
                None => panic!("an answer to nothing"),
            },
            Event::Unanswered { correlation_id } => match self.asked.remove(&correlation_id) {
                Some(Asked::Identity) => self.identity_asked = false,
                Some(Asked::Coordinated) => self.is_coordinated(None),
                Some(Asked::Produce { node, places, .. }) => {
                    for place in places {
                        self.goes_again(correlation_id, node, &place);
                    }
                }
                None => {}
            },
        }
    }

    fn learns_identity(&mut self, frame: &[u8]) {
        let answer: InitProducerIdResponse = decode_response(frame, 4);
        self.identity_asked = false;
        self.not_before = self.now + RETRY_BACK_OFF;
        if answer.error_code == 0 {
            self.identity = Some(Identity {
                id: answer.producer_id.0,
                epoch: answer.producer_epoch,
            });
        } else {
            assert!(
                matches!(answer.error_code, 7 | 14 | 15 | 16 | 51),
                "no identity: {}",
                answer.error_code
            );
        }
    }

    fn goes_again(&mut self, correlation_id: i32, node: i32, place: &Place) {
        let lane = self.lanes.get_mut(place).expect("a lane for each place");
        if let Some(mut batch) = lane.take_back(correlation_id) {
            batch.may_be_stored = true;
            lane.note_doubt(&batch, node);
            lane.put_back(batch, self.now + RETRY_BACK_OFF);
        }
    }

    fn learns_fates(&mut self, asked: (i32, i32), places: &[Place], answer: &ProduceResponse) {
        let mut answered: Vec<Place> = Vec::new();
        for topic in &answer.responses {
            for partition in &topic.partition_responses {
                let place = (topic.name.0.to_string(), partition.index);
                self.learns_fate(asked, &place, partition.error_code, partition.base_offset);
                answered.push(place);
            }
        }
        answered.sort();
        assert_eq!(answered, places, "each partition is answered once");
    }

    /// What `node` says of the batch for `place` that went with this request.
    fn learns_fate(
        &mut self,
        (correlation_id, node): (i32, i32),
        place: &Place,
        code: i16,
        base_offset: i64,
    ) {
        let lane = self.lanes.get_mut(place).expect("a lane for each place");
        let Some(mut batch) = lane.take_back(correlation_id) else {
            assert_eq!(
                self.settings.client.family,
                Family::Java,
                "the batch is under way"
            );
            return; // It was given up meanwhile.
        };
        let again = self.now + RETRY_BACK_OFF;
        let fate = fate(code);
        // All others may come behind the append: a leader that waits for followers and leads no more says so.
        batch.may_be_stored |= fate == Fate::Again && code != NOT_ENOUGH_REPLICAS;
        match fate {
            Fate::Stored | Fate::StoredBefore => {
                lane.is_stored(&batch, node);
                self.acknowledged.push(Acknowledged {
                    place: place.clone(),
                    base_offset: (fate == Fate::Stored && base_offset >= 0).then_some(base_offset),
                    numbers: batch.numbers,
                    transaction: batch.transaction,
                });
                return;
            }
            Fate::Again => {
                match code {
                    NOT_LEADER => lane.note_missing(&batch, None),
                    NOT_ENOUGH_REPLICAS => lane.note_refused(&batch, node),
                    _ => {}
                }
                lane.put_back(batch, again);
                self.network.refresh(self.now);
                return;
            }
            // What comes before it goes again first.
            Fate::OutOfOrder if lane.has_lower(&batch) => {
                lane.put_back(batch, again);
                return;
            }
            Fate::OutOfOrder | Fate::Fenced if self.settings.kind == Kind::Idempotent => {
                lane.is_broken = true;
                // A leader that knew nothing of it any more has taken a later one: nobody between has a part in that.
                lane.may_be_out_of_order |= is_passed(&place.0);
                lane.put_back(batch, again);
                return;
            }
            Fate::Fails
                if code == TOO_LARGE && self.settings.client.family == Family::Java && batch.count() > 1 =>
            {
                let [first, second] = batch.split();
                lane.put_back(second, self.now);
                lane.put_back(first, self.now);
                return;
            }
            Fate::OutOfOrder | Fate::Fenced | Fate::Fails => {}
        }
        lane.is_broken |= batch.stamp.is_some();
        self.failed.push(batch.failed(place, Reason::Refused(code)));
        if let Some(transactions) = &mut self.transactions {
            transactions.must_abort(fate == Fate::Fenced);
        }
    }
}

const NOT_LEADER: i16 = 6;
/// Java makes two batches of one.
const TOO_LARGE: i16 = 10;
const NOT_ENOUGH_REPLICAS: i16 = 19;
