//! A request: read, and given to what answers it.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, ApiKey, ApiVersionsRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, RequestHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::cluster::Cluster;
use super::connection::{Answer, Malformed, Quota, Waiting};
use super::metadata::{highest_api_versions, served_versions};
use crate::wire::response;

/// A request as it reached a node.
pub(super) struct Request {
    pub(super) node: i32,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    /// Of the whole frame.
    pub(super) bytes: usize,
    pub(super) now: Duration,
}

/// What becomes of a request.
pub(super) enum Outcome {
    Answer(Answer),
    /// It gets no answer.
    Nothing,
    /// It gets none, and its connection ends: that is how one learns of an error who wants no answers.
    Close,
    Waits(Waiting),
}

impl Request {
    pub(super) fn answer<M: Encodable + HeaderVersion>(&self, body: &M) -> Outcome {
        Outcome::Answer(response(self.version, self.correlation_id, body).into())
    }
}

/// Key and version of a frame that has at least eight bytes.
pub(super) fn key_and_version(frame: &[u8]) -> (i16, i16) {
    let field = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    (field(0), field(2))
}

/// Whatever it is; nothing where there is none.
pub(super) fn client_id(frame: &[u8]) -> String {
    let id = || {
        let (length, rest) = frame.get(8..)?.split_first_chunk()?;
        rest.get(..usize::try_from(i16::from_be_bytes(*length)).ok()?)
    };
    String::from_utf8_lossy(id().unwrap_or_default()).into_owned()
}

impl Cluster {
    pub(super) fn receive(
        &mut self,
        node: i32,
        frame: &Bytes,
        quota: &mut Quota,
        now: Duration,
    ) -> Result<Outcome, Malformed> {
        let (key, version) = key_and_version(frame);
        let request = Request {
            node,
            version,
            correlation_id: i32::from_be_bytes(frame[4..8].try_into().map_err(|_| Malformed)?),
            bytes: frame.len(),
            now,
        };
        let api = ApiKey::try_from(key).map_err(|()| Malformed)?;
        if !served_versions(key).is_some_and(|versions| versions.contains(&version)) {
            return match api {
                ApiKey::ApiVersions => Ok(highest_api_versions(&request)),
                _ => Err(Malformed),
            };
        }
        match api {
            ApiKey::Produce => {
                let body: ProduceRequest = body(frame, version)?;
                self.produce(&request, body, quota)
            }
            ApiKey::Fetch => {
                let body: FetchRequest = body(frame, version)?;
                Ok(self.fetch(&request, body, quota))
            }
            ApiKey::ListOffsets => {
                let body: ListOffsetsRequest = body(frame, version)?;
                Ok(self.list_offsets(&request, &body))
            }
            ApiKey::Metadata => {
                let body: MetadataRequest = body(frame, version)?;
                Ok(self.metadata(&request, &body))
            }
            ApiKey::FindCoordinator => {
                let body: FindCoordinatorRequest = body(frame, version)?;
                Ok(self.find_coordinator(&request, &body))
            }
            ApiKey::Heartbeat => {
                let body: HeartbeatRequest = body(frame, version)?;
                Ok(self.heartbeat(&request, &body))
            }
            ApiKey::ApiVersions => {
                let body: ApiVersionsRequest = body(frame, version)?;
                Ok(self.api_versions(&request, &body))
            }
            ApiKey::InitProducerId => {
                let body: InitProducerIdRequest = body(frame, version)?;
                Ok(self.init_producer_id(&request, &body))
            }
            ApiKey::AddPartitionsToTxn => {
                let body: AddPartitionsToTxnRequest = body(frame, version)?;
                Ok(self.add_partitions(&request, &body))
            }
            ApiKey::EndTxn => {
                let body: EndTxnRequest = body(frame, version)?;
                Ok(self.end_transaction(&request, &body))
            }
            _ => Err(Malformed),
        }
    }
}

/// The body of a request's frame, all of which it is.
fn body<M: Decodable + HeaderVersion>(frame: &Bytes, version: i16) -> Result<M, Malformed> {
    let mut rest = frame.clone();
    RequestHeader::decode(&mut rest, M::header_version(version)).map_err(|_| Malformed)?;
    let body = M::decode(&mut rest, version).map_err(|_| Malformed)?;
    if rest.is_empty() { Ok(body) } else { Err(Malformed) }
}
