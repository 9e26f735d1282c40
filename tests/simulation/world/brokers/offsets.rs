//! ListOffsets: where a partition begins and ends.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::cluster::{Cluster, Place};
use super::requests::{Outcome, Request};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl Cluster {
    pub(super) fn list_offsets(&self, request: &Request, body: &ListOffsetsRequest) -> Outcome {
        let topics = body.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let place = (topic.name.0.as_str(), wanted.partition_index);
                let answer =
                    ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
                match self.offset(request.node, body, place, wanted) {
                    Ok((timestamp, offset)) => answer.with_timestamp(timestamp).with_offset(offset),
                    Err(error) => answer.with_error_code(error.code()),
                }
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        request.answer(&ListOffsetsResponse::default().with_topics(topics.collect()))
    }

    /// Timestamp and offset; -1 where there is none.
    fn offset(
        &self,
        node: i32,
        body: &ListOffsetsRequest,
        place: Place<'_>,
        wanted: &ListOffsetsPartition,
    ) -> Result<(i64, i64), ResponseError> {
        let partition = self.partition(place)?;
        if partition.leader != node {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        let leading = partition.leading();
        // Before a new leader knows what all have, its end could go back.
        if wanted.timestamp != EARLIEST && leading.high_watermark < partition.epoch_start {
            return Err(ResponseError::OffsetNotAvailable);
        }
        let end = if body.isolation_level == 1 {
            leading.log.last_stable_offset(leading.high_watermark)
        } else {
            leading.high_watermark
        };
        match wanted.timestamp {
            LATEST => Ok((-1, end)),
            EARLIEST => Ok((-1, 0)),
            timestamp => {
                let visible = &leading.log.batches()[..leading.log.index_of(end)];
                let found = visible
                    .iter()
                    .find(|batch| batch.header.max_timestamp >= timestamp);
                Ok(found.map_or((-1, -1), |batch| {
                    (batch.header.max_timestamp, batch.header.base_offset)
                }))
            }
        }
    }
}
