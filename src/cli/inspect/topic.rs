//! The records of a topic, straight from its brokers.

use super::brokers::Brokers;
use super::describe::{self, Item, ReadFrom};
use super::{InspectError, Selection};
use crate::kafka_client::{ClientError, Leader};
use crate::record_batch::{BatchKind, BatchSlice, Batches, Decompressor};

/// What is to be shown.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) topic: &'a str,
    /// `None`: all of them.
    pub(super) partition: Option<i32>,
    pub(super) selection: Selection,
}

/// Shows the records of a topic, of one partition or of all, up to what was there when each was begun. `note` is told
/// the address where it is a proxy's.
pub(super) fn inspect(
    brokers: &Brokers,
    wanted: Wanted<'_>,
    note: &mut dyn FnMut(&str),
    show: &mut dyn FnMut(&Item<'_>) -> Result<(), InspectError>,
) -> Result<(), InspectError> {
    let mut leaders = leaders(brokers, wanted.topic, note)?;
    if let Some(partition) = wanted.partition {
        leaders.retain(|leader| leader.partition == partition);
        if leaders.is_empty() {
            leaders.push(Leader {
                partition,
                address: None,
            });
        }
    }
    leaders
        .iter()
        .try_for_each(|leader| one_partition(brokers, wanted, leader, show))
}

/// As the first broker says that can be asked.
fn leaders(brokers: &Brokers, topic: &str, note: &mut dyn FnMut(&str)) -> Result<Vec<Leader>, InspectError> {
    let mut unreached = InspectError::Arguments;
    for address in &brokers.bootstrap {
        let asked = brokers.connect(address).and_then(|mut client| {
            // Before any login, and on a connection of its own: whoever does not take the question is no Sealwire.
            if client.is_proxy().unwrap_or(false) {
                note(address);
            }
            brokers.log_in(address)?.leaders(topic)
        });
        match asked {
            Ok(leaders) => return Ok(leaders),
            Err(error) if error.is_end() && brokers.is_nobody() => return Err(InspectError::Nobody(error)),
            Err(error @ ClientError::Broker { .. }) => unreached = error.into(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(unreached)
}

fn one_partition(
    brokers: &Brokers,
    wanted: Wanted<'_>,
    leader: &Leader,
    show: &mut dyn FnMut(&Item<'_>) -> Result<(), InspectError>,
) -> Result<(), InspectError> {
    let Wanted { topic, selection, .. } = wanted;
    let address = leader.address.as_ref().ok_or_else(|| InspectError::NoLeader {
        topic: topic.to_owned(),
        partition: leader.partition,
    })?;
    let mut client = brokers.log_in(address)?;
    let origin = ReadFrom {
        topic: Some(topic),
        partition: Some(leader.partition),
    };
    let mut offset = match selection.offset {
        Some(offset) => offset,
        None => client.first_offset(topic, leader.partition)?,
    };
    let mut decompressor = Decompressor::new();
    let (mut left, mut end) = (selection.count, None);
    while left > 0 && end.is_none_or(|end| offset < end) {
        let fetched = client.fetch(topic, leader.partition, offset)?;
        end = end.or(Some(fetched.high_watermark));
        let mut batches = Batches::new(&fetched.records);
        let before = offset;
        while left > 0 {
            let slice = match batches.next() {
                None => break,
                Some(Ok(slice)) => slice,
                Some(Err(error)) => {
                    let what = describe::What::Unreadable {
                        why: error.to_string(),
                    };
                    return show(&Item { origin, offset, what });
                }
            };
            let rest = Selection {
                offset: Some(selection.offset.unwrap_or(offset)),
                count: left,
            };
            let shown = describe::batch(&fetched.records, &slice, origin, rest, &mut decompressor, show)?;
            left = left.saturating_sub(shown);
            offset = next_offset(&fetched.records, &slice).max(offset);
        }
        // No whole batch, or one that leads nowhere: asking again would bring the same.
        if offset == before {
            return Ok(());
        }
    }
    Ok(())
}

fn next_offset(records: &[u8], slice: &BatchSlice) -> i64 {
    match &slice.kind {
        BatchKind::V2(header) => header
            .base_offset
            .saturating_add(i64::from(header.last_offset_delta))
            .saturating_add(1),
        BatchKind::Old { .. } => {
            let first = slice.span.of(records).first_chunk();
            first.map_or(0, |bytes| i64::from_be_bytes(*bytes).saturating_add(1))
        }
    }
}
