//! Frames to send over streams in memory.

/// A frame with its length in front.
pub(super) fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = i32::try_from(content.len()).expect("a small frame");
    [&length.to_be_bytes(), &content[..]].concat()
}

/// A request without a client id.
pub(super) fn request(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    frame(&[
        &api_key.to_be_bytes(),
        &version.to_be_bytes(),
        &correlation_id.to_be_bytes(),
        &[0xff, 0xff],
        body,
    ])
}

/// A heartbeat: passed on unread in both directions.
pub(super) fn heartbeat(correlation_id: i32) -> Vec<u8> {
    request(12, 0, correlation_id, &[7; 20])
}

/// The answer to a heartbeat.
pub(super) fn beaten(correlation_id: i32) -> Vec<u8> {
    frame(&[&correlation_id.to_be_bytes(), &[0, 0]])
}

/// Produce version 3 with one batch for partition 0 of `topic`.
pub(super) fn produce(correlation_id: i32, acks: i16, topic: &str, batch: &[u8]) -> Vec<u8> {
    produce_all(correlation_id, acks, topic, &[batch])
}

/// Produce version 3 with one batch for each of the first partitions of `topic`.
pub(super) fn produce_all(correlation_id: i32, acks: i16, topic: &str, batches: &[&[u8]]) -> Vec<u8> {
    let count = i32::try_from(batches.len()).expect("a few partitions");
    let mut body = [
        &[0xff, 0xff],
        &acks.to_be_bytes()[..],
        &1000_i32.to_be_bytes(),
        &one_topic(topic),
        &count.to_be_bytes(),
    ]
    .concat();
    for (partition, batch) in (0_i32..).zip(batches) {
        body.extend(partition.to_be_bytes());
        body.extend(bytes(batch));
    }
    request(0, 3, correlation_id, &body)
}

/// Fetch version 4; what it asks for cannot be told, so that its answer is held.
pub(super) fn fetch(correlation_id: i32) -> Vec<u8> {
    request(1, 4, correlation_id, &[0; 20])
}

/// Fetch version 4 for partition 0 of `topic`.
pub(super) fn fetch_of(correlation_id: i32, topic: &str) -> Vec<u8> {
    // Replica, waits and sizes, isolation level; offset and size of the partition.
    let body = [
        &[0; 17],
        &one_topic(topic)[..],
        &[0, 0, 0, 1, 0, 0, 0, 0],
        &[0; 12],
    ]
    .concat();
    request(1, 4, correlation_id, &body)
}

/// The answer to a fetch: `records` of partition 0 of `topic`.
pub(super) fn fetched(correlation_id: i32, topic: &str, records: &[u8]) -> Vec<u8> {
    fetched_all(correlation_id, &[(topic, records)])
}

/// The answer to a fetch: records of partition 0 of each of these topics.
pub(super) fn fetched_all(correlation_id: i32, topics: &[(&str, &[u8])]) -> Vec<u8> {
    let count = i32::try_from(topics.len()).expect("a few topics");
    let mut body = [correlation_id.to_be_bytes(), [0; 4], count.to_be_bytes()].concat();
    for (topic, records) in topics {
        body.extend(named(topic));
        body.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        // Error code, high watermark, last stable offset, no aborted transactions.
        body.extend([0; 2 + 8 + 8]);
        body.extend([0xff; 4]);
        body.extend(bytes(records));
    }
    frame(&[&body])
}

fn one_topic(topic: &str) -> Vec<u8> {
    [&[0, 0, 0, 1][..], &named(topic)].concat()
}

/// A topic's name with its length in front.
pub(super) fn named(topic: &str) -> Vec<u8> {
    let length = i16::try_from(topic.len()).expect("a topic's name");
    [&length.to_be_bytes()[..], topic.as_bytes()].concat()
}

/// The same of bytes.
pub(super) fn bytes(content: &[u8]) -> Vec<u8> {
    frame(&[content])
}
