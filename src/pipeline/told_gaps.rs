//! The gaps that one client was told of, by partition: whether it has got past them.
//!
//! Most clients go to a gap's end at once. sarama and kafkajs go one offset further with each fetch, unless a record
//! lies at the gap's end; kafka-go would hand out that record. So a client that comes back is told in the other form,
//! and by then it is none that would have gone past.
//!
//! - TOLD-1: a gap is told [`GapForm::InFront`] [`TOLD_IN_FRONT_MAX`] times; who comes back after that gets this gap,
//!   and all others of this connection, [`GapForm::AtEnd`].
//! - TOLD-2: a gap that a client comes back to though it had a record at its end delivers nothing: its response is
//!   held.
//! - TOLD-3: at most [`PARTITIONS_MAX`] partitions are remembered; beyond them the last one gives way, so that a client
//!   that comes back to many is noticed all the same.
//!
//! Pure. One for each connection.

use std::sync::Arc;

use crate::record_batch::{Gap, GapForm};

/// See the module.
#[derive(Default)]
pub(super) struct ToldGaps {
    partitions: Vec<Partition>,
    /// The client does not get past a gap in one step.
    creeps: bool,
}

/// The last gap of a partition.
struct Partition {
    topic: Arc<str>,
    index: i32,
    gap: Gap,
    /// How often in a row, in either form.
    in_front: u32,
    at_end: u32,
}

/// A gap in a response that is being written.
pub(super) struct Telling {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    pub(super) gap: Gap,
    pub(super) form: GapForm,
}

impl ToldGaps {
    /// The form for a gap, and whether it takes the client any further.
    pub(super) fn form_of(&self, topic: &Arc<str>, index: i32, gap: Gap) -> (GapForm, bool) {
        let told = self
            .find(topic, index)
            .and_then(|at| self.partitions.get(at))
            .filter(|told| told.gap.overlaps(gap));
        let comes_back = told.is_some_and(|told| told.in_front >= TOLD_IN_FRONT_MAX);
        let form = if self.creeps || comes_back {
            GapForm::AtEnd
        } else {
            GapForm::InFront
        };
        (form, told.is_none_or(|told| told.at_end == 0))
    }

    /// The client gets these.
    pub(super) fn tell(&mut self, tellings: impl IntoIterator<Item = Telling>) {
        for telling in tellings {
            let at = self.find(&telling.topic, telling.index);
            let before = at.and_then(|at| self.partitions.get(at));
            let before = before.filter(|told| told.gap.overlaps(telling.gap));
            let (in_front, at_end) = before.map_or((0, 0), |told| (told.in_front, told.at_end));
            let is_at_end = telling.form == GapForm::AtEnd;
            self.creeps |= is_at_end;
            let told = Partition {
                topic: telling.topic,
                index: telling.index,
                gap: telling.gap,
                in_front: in_front.saturating_add(u32::from(!is_at_end)),
                at_end: at_end.saturating_add(u32::from(is_at_end)),
            };
            if let Some(place) = at.and_then(|at| self.partitions.get_mut(at)) {
                *place = told;
                continue;
            }
            self.partitions.truncate(PARTITIONS_MAX.saturating_sub(1));
            self.partitions.push(told);
        }
    }

    fn find(&self, topic: &Arc<str>, index: i32) -> Option<usize> {
        self.partitions
            .iter()
            .position(|told| told.index == index && told.topic == *topic)
    }
}

/// Twice: kafka-go asks once more for what has come as late as its time ran out.
const TOLD_IN_FRONT_MAX: u32 = 2;
/// Of one connection.
const PARTITIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::BatchHeader;
    use crate::testing::{BatchBuilder, RecordInput};

    fn gap(first: i64, last_offset_delta: i32) -> Gap {
        let record = RecordInput {
            timestamp: 1,
            key: None,
            value: None,
            headers: &[],
        };
        let batch = BatchBuilder::new()
            .base_offset(first)
            .record(record)
            .last_offset_delta(last_offset_delta)
            .build()
            .expect("a batch");
        Gap::of(&BatchHeader::parse(&batch).expect("a header"))
    }

    /// As [`ToldGaps::form_of`], and the client gets it.
    fn told(gaps: &mut ToldGaps, index: i32, gap: Gap) -> (GapForm, bool) {
        let topic: Arc<str> = "topic".into();
        let (form, furthers) = gaps.form_of(&topic, index, gap);
        gaps.tell([Telling {
            topic,
            index,
            gap,
            form,
        }]);
        (form, furthers)
    }

    #[test]
    fn who_comes_back_gets_the_record_at_the_end_and_is_held_after_that() {
        let mut gaps = ToldGaps::default();
        for _ in 0..TOLD_IN_FRONT_MAX {
            assert_eq!(told(&mut gaps, 0, gap(5, 99)), (GapForm::InFront, true));
        }
        // What was produced meanwhile belongs to it.
        assert_eq!(told(&mut gaps, 0, gap(5, 109)), (GapForm::AtEnd, true));
        assert_eq!(told(&mut gaps, 0, gap(5, 109)), (GapForm::AtEnd, false));
        assert_eq!(told(&mut gaps, 0, gap(60, 9)), (GapForm::AtEnd, false));
        // It is known by now, and this one it has not seen.
        assert_eq!(told(&mut gaps, 0, gap(115, 0)), (GapForm::AtEnd, true));
        assert_eq!(told(&mut gaps, 1, gap(5, 9)), (GapForm::AtEnd, true));
    }

    #[test]
    fn who_goes_on_always_gets_the_record_in_front() {
        let mut gaps = ToldGaps::default();
        for index in [0, 1, 0, 1] {
            for first in [0, 10, 20, 30] {
                assert_eq!(told(&mut gaps, index, gap(first, 9)), (GapForm::InFront, true));
            }
        }
    }

    /// TOLD-3.
    #[test]
    fn few_partitions_are_remembered_and_one_that_comes_back_to_all_is_noticed() {
        let mut gaps = ToldGaps::default();
        let all = 0..i32::try_from(PARTITIONS_MAX).unwrap() * 3;
        for _ in 0..TOLD_IN_FRONT_MAX {
            for index in all.clone() {
                assert_eq!(told(&mut gaps, index, gap(5, 9)).0, GapForm::InFront);
            }
        }
        assert_eq!(gaps.partitions.len(), PARTITIONS_MAX);
        for index in all {
            assert_eq!(told(&mut gaps, index, gap(5, 9)).0, GapForm::AtEnd);
        }
    }
}
