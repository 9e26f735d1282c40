//! Whole frames from and to the oracle's types.

use bytes::BytesMut;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use super::draw::Draw;

/// A request frame without its length prefix.
pub(crate) fn request<M: Encodable + HeaderVersion>(
    draw: &mut Draw,
    api_key: ApiKey,
    version: i16,
    body: &M,
) -> Vec<u8> {
    let header_version = M::header_version(version);
    let mut header = RequestHeader::default();
    header.request_api_key = api_key as i16;
    header.request_api_version = version;
    header.correlation_id = draw.i32();
    header.client_id = draw.nullable_text();
    header.unknown_tagged_fields = draw.tags(header_version >= 2);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, header_version).unwrap();
    body.encode(&mut frame, version).unwrap();
    frame.to_vec()
}

/// A response frame without its length prefix.
pub(crate) fn response<M: Encodable + HeaderVersion>(draw: &mut Draw, version: i16, body: &M) -> Vec<u8> {
    let header_version = M::header_version(version);
    let mut header = ResponseHeader::default();
    header.correlation_id = draw.i32();
    header.unknown_tagged_fields = draw.tags(header_version >= 1);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, header_version).unwrap();
    body.encode(&mut frame, version).unwrap();
    frame.to_vec()
}

/// The frame behind the length prefix of the only frame in `out`.
pub(crate) fn unprefixed(out: &[u8]) -> &[u8] {
    let (prefix, frame) = out.split_first_chunk::<4>().unwrap();
    assert_eq!(
        i32::from_be_bytes(*prefix) as usize,
        frame.len(),
        "the length prefix is wrong"
    );
    frame
}

pub(crate) fn decode_request<M: Decodable + HeaderVersion>(frame: &[u8], version: i16) -> (RequestHeader, M) {
    let mut rest = bytes::Bytes::copy_from_slice(frame);
    let header = RequestHeader::decode(&mut rest, M::header_version(version)).unwrap();
    let body = M::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes are left over", rest.len());
    (header, body)
}

pub(crate) fn decode_response<M: Decodable + HeaderVersion>(
    frame: &[u8],
    version: i16,
) -> (ResponseHeader, M) {
    let mut rest = bytes::Bytes::copy_from_slice(frame);
    let header = ResponseHeader::decode(&mut rest, M::header_version(version)).unwrap();
    let body = M::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes are left over", rest.len());
    (header, body)
}
