//! Frames as a broker of the test's own reads and writes them.

use std::io::Read;

use bytes::BytesMut;
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};

/// The next frame, without its length; `None` where the peer has ended.
pub(crate) fn read_frame(socket: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    socket.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// A response frame, with its length.
pub(crate) fn answer<R: Request>(version: i16, correlation_id: i32, response: &R::Response) -> Vec<u8> {
    let mut frame = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut frame, R::Response::header_version(version))
        .expect("a header");
    response.encode(&mut frame, version).expect("a response");
    let length = u32::try_from(frame.len()).expect("a small frame");
    [&length.to_be_bytes()[..], &frame].concat()
}
